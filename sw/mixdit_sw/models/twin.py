"""A twin of a model: the same function, with outlier channels as large models have them.

A channel of an adaLN-modulated input is multiplied by a factor, and the column of the weight that
reads it divided by it: y = W m(x) with m(x) = norm(x) * (1 + scale) + shift stays what it is. The
factor goes into the rows of the adaLN linear that make shift and scale, so the twin is a model of
the same shape. Its outliers are artificial, and results on it are to be labelled as the twin's.
"""

import copy
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor, nn

from mixdit_sw.errors import MixditError
from mixdit_sw.models.dit import DiT
from mixdit_sw.models.load import DiTBundle


@dataclass(frozen=True, kw_only=True)
class TwinConfig:
    """Strength of a twin's outliers.

    Attributes
    ----------
    share : float
        Share of the channels of each modulated input, rounded up to a channel.
    factor : float
        What they are multiplied by; 10, 30 and 100 are usual.
    seed : int
        Seed of the choice of channels, which differs between inputs.
    """

    share: float = 0.01
    factor: float = 30.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise MixditError(f"Twin share must be in (0, 1], not {self.share!r}")
        if not (math.isfinite(self.factor) and self.factor > 0):
            raise MixditError(f"Twin factor must be positive, not {self.factor!r}")

    @property
    def label(self) -> str:
        """How results on this twin are labelled."""
        return f"twin, {100 * self.share:g} % of channels x{self.factor:g}"


@torch.no_grad()
def make_twin(bundle: DiTBundle, config: TwinConfig | None = None) -> DiTBundle:
    """Return the twin of a model; its `facts` have the configuration under `twin`.

    FP32 only: the factor's roundings are of the last bit of FP32, but FP16 could not hold them.

    Parameters
    ----------
    bundle : DiTBundle
        FP32 model, which stays as it is.
    config : TwinConfig, optional
        1 % of channels x30 by default.
    """
    config = config or TwinConfig()
    model = copy.deepcopy(bundle.model)
    for (modulation, part, linear), channels in zip(
        _sites(model), twin_channels(model, config), strict=True
    ):
        hidden = linear.in_features
        shift, scale = (channels + (part + n) * hidden for n in range(2))
        for rows in (shift, scale):
            modulation.weight[rows] *= config.factor
            modulation.bias[rows] *= config.factor
        # (1 + scale) * factor = 1 + (factor * scale + factor - 1).
        modulation.bias[scale] += config.factor - 1
        linear.weight[:, channels] /= config.factor
    return replace(bundle, model=model, facts={**bundle.facts, "twin": asdict(config)})


def twin_channels(model: DiT, config: TwinConfig) -> list[Tensor]:
    """Return the outlier channels of each modulated input, ascending: qkv's, fc1's, by block."""
    rng = torch.Generator().manual_seed(config.seed)
    hidden = model.config.hidden
    count = math.ceil(config.share * hidden - 1e-9)
    return [
        torch.randperm(hidden, generator=rng)[:count].sort().values
        for _ in range(2 * len(model.blocks))
    ]


def _sites(model: DiT) -> Iterator[tuple[nn.Linear, int, nn.Linear]]:
    """Yield the adaLN linear, its part that is the shift (the scale follows), and the reader."""
    for block in model.blocks:
        modulation, qkv, fc1 = (
            block.get_submodule(name) for name in ("adaLN_modulation.1", "attn.qkv", "mlp.fc1")
        )
        assert isinstance(modulation, nn.Linear)
        assert isinstance(qkv, nn.Linear)
        assert isinstance(fc1, nn.Linear)
        yield modulation, 0, qkv
        yield modulation, 3, fc1
