"""Magnitudes of the operands of each layer, measured while the model samples."""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from mixdit_sw.errors import MixditError
from mixdit_sw.files import write_atomically
from mixdit_sw.models.diffusion import SamplerConfig, initial_noise, trajectory
from mixdit_sw.models.dit import DiT
from mixdit_sw.models.schedule import Schedule
from mixdit_sw.policy.description import Policy
from mixdit_sw.policy.record import TimestepOf, record, second_argument
from mixdit_sw.policy.targets import fingerprint

_KEY = "mixdit_calibration"
_SEED = 2**30


@dataclass(frozen=True, kw_only=True)
class CalibrationConfig:
    """What is sampled to calibrate.

    Attributes
    ----------
    images : int
        Samples, cycling through the classes.
    steps : int
        Denoising steps; statistics are kept for each.
    cfg_scale : float
        Guidance scale.
    seed : int
        Seed of the noise; by default far from those of evaluations.
    hessians : bool
        Also sum the inputs' outer products, which GPTQ needs.
    """

    images: int = 20
    steps: int = 10
    cfg_scale: float = 2.0
    seed: int = _SEED
    hessians: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.images, int) or self.images < 1:
            raise MixditError(f"Calibration images must be a positive integer, not {self.images!r}")


@dataclass(frozen=True)
class Calibration:
    """Statistics of a model's layers.

    Attributes
    ----------
    model : str
        `fingerprint` of the model.
    timesteps : tuple of int
        Timestep of each sampled step, in the order in which they ran.
    statistics : dict
        float32 tensors (steps, channels or heads) by layer and kind. Linears have `absmax`, `mean`
        and `square`, the largest, mean and mean squared magnitude of each input channel; products
        have `a_absmax`, `a_mean`, `b_absmax` and `b_mean` of each head.
    hessians : dict
        float32 (K, K) by layer: mean outer product of a linear's inputs over all steps.
    config : CalibrationConfig, optional
        What was sampled; None where the caller ran the model.
    """

    model: str
    timesteps: tuple[int, ...]
    statistics: dict[str, dict[str, Tensor]]
    hessians: dict[str, Tensor]
    config: CalibrationConfig | None

    def over(self, layer: str, kind: str, timesteps: tuple[int, int]) -> Tensor:
        """Return a statistic float32 (channels or heads,) over the steps within `timesteps`.

        Maxima are joined by maximum, means by mean. Where no step was sampled in the range, the
        nearest one is taken.

        Raises
        ------
        MixditError
            When the layer was not calibrated.
        """
        try:
            values = self.statistics[layer][kind]
        except KeyError:
            raise MixditError(
                f"Layer {layer} has no calibration: calibrate with the policy's layers"
            ) from None
        first, last = timesteps
        chosen = [n for n, t in enumerate(self.timesteps) if first <= t <= last]
        if not chosen:
            distance = [max(first - t, t - last) for t in self.timesteps]
            chosen = [distance.index(min(distance))]
        part = values[chosen]
        return part.amax(dim=0) if kind.endswith("absmax") else part.mean(dim=0)

    def check_model(self, model: nn.Module) -> None:
        """Check that this is the calibration of a model.

        Raises
        ------
        MixditError
            When the model has other weights.
        """
        found = fingerprint(model)
        if found != self.model:
            raise MixditError(
                f"The calibration is of model {self.model}, not of {found}: calibrate this model"
            )

    def save(self, path: Path) -> None:
        """Write a safetensors file, whole or not at all."""
        tensors = {
            f"{layer}/{kind}": value.contiguous()
            for layer, kinds in self.statistics.items()
            for kind, value in kinds.items()
        }
        tensors |= {f"{layer}/hessian": value for layer, value in self.hessians.items()}
        facts = {
            "model": self.model,
            "timesteps": self.timesteps,
            "config": None if self.config is None else asdict(self.config),
            "layers": list(self.statistics),
        }
        content = save(tensors, {_KEY: json.dumps(facts)})
        write_atomically(path, lambda partial: partial.write_bytes(content))

    @classmethod
    def load(cls, path: Path) -> "Calibration":
        """Read a file that `save` wrote.

        Raises
        ------
        MixditError
            When it is missing, damaged or something else.
        """
        try:
            with safe_open(path, framework="pt") as file:
                facts = json.loads((file.metadata() or {})[_KEY])
                names = file.keys()
                tensors = {name: file.get_tensor(name) for name in names}
            found, layers = facts["config"], facts["layers"]
            config = None if found is None else CalibrationConfig(**found)
        except FileNotFoundError:
            raise MixditError(f"Calibration {path} does not exist") from None
        except (SafetensorError, OSError, KeyError, TypeError, ValueError):
            raise MixditError(
                f"{path} is not a calibration, or damaged: delete it and calibrate again "
                "(a search does so by itself)"
            ) from None
        statistics: dict[str, dict[str, Tensor]] = {layer: {} for layer in layers}
        hessians: dict[str, Tensor] = {}
        for name, value in tensors.items():
            layer, _, kind = name.rpartition("/")
            if kind == "hessian":
                hessians[layer] = value
            else:
                statistics[layer][kind] = value
        return cls(facts["model"], tuple(facts["timesteps"]), statistics, hessians, config)


def calibrate(
    model: DiT,
    schedule: Schedule,
    config: CalibrationConfig | None = None,
    *,
    layers: Iterable[str] = Policy().layers,
    progress: Callable[[int], Any] = lambda done: None,
) -> Calibration:
    """Sample with the float model and measure; the same arguments give the same result.

    Parameters
    ----------
    model : DiT
        Float model in evaluation mode.
    schedule : Schedule
        Its noise schedule.
    config : CalibrationConfig, optional
        What to sample.
    layers : iterable of str
        Patterns of the modules to measure.
    progress : callable
        Called with the number of finished steps after each.

    Raises
    ------
    MixditError
        When a pattern names no layer, or one that is not supported.
    """
    config = config or CalibrationConfig()
    device = model.pos_embed.device
    sampler = SamplerConfig(steps=config.steps, cfg_scale=config.cfg_scale, seed=config.seed)
    labels = torch.arange(config.images, device=device) % model.config.classes
    noise = initial_noise(model.config, config.images, config.seed).to(device)

    def run() -> None:
        for done, _ in enumerate(trajectory(model, schedule, labels, noise, sampler)):
            progress(done)

    found = calibrate_run(model, run, second_argument, layers=layers, hessians=config.hessians)
    return replace(found, config=config)


@torch.no_grad()
def calibrate_run(
    model: nn.Module,
    run: Callable[[], Any],
    timestep_of: TimestepOf,
    *,
    layers: Iterable[str],
    hessians: bool = False,
) -> Calibration:
    """Measure while something else runs a model.

    Parameters
    ----------
    model : Module
        Float model in evaluation mode.
    run : callable
        Calls the model, once a step: a sampler, or a pipeline of another library.
    timestep_of : callable
        Where the model's timesteps are.
    layers : iterable of str
        Patterns of the modules to measure.
    hessians : bool
        Also sum the inputs' outer products, which GPTQ needs.

    Raises
    ------
    MixditError
        When a pattern names no layer, or one that is not supported, or a layer did not run in each
        call of the model.
    """
    timesteps, recorders = record(model, run, timestep_of, layers, hessians)
    return Calibration(
        model=fingerprint(model),
        timesteps=tuple(timesteps),
        statistics={name: recorder.statistics() for name, recorder in recorders.items()},
        hessians={n: r.hessian() for n, r in recorders.items() if r.outer is not None},
        config=None,
    )
