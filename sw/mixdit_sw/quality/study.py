"""A study: one model, the float samples, and any number of policies paired with them."""

from pathlib import Path

import torch
from torch import Tensor

from mixdit_sw.models.classifier import load_classifier
from mixdit_sw.models.load import DiTBundle
from mixdit_sw.policy.apply import apply_plan
from mixdit_sw.policy.calibrate import Calibration, CalibrationConfig, calibrate
from mixdit_sw.policy.description import Policy
from mixdit_sw.policy.json_form import to_plain
from mixdit_sw.policy.plan import Plan
from mixdit_sw.policy.select import resolve
from mixdit_sw.policy.targets import fingerprint
from mixdit_sw.quality.reference import load_reference
from mixdit_sw.quality.sampling import Progress, StudyConfig, pick_device, sample_study
from mixdit_sw.quality.score import Scores, score_samples


class Study:
    """Paired samples of policies on one model; what a folder holds already is not sampled again.

    Parameters
    ----------
    bundle : DiTBundle
        Float model. It is moved to the device, and quantized while a policy is run.
    config : StudyConfig
        Seeds and images.
    folder : Path
        Holds the calibration and a folder for each policy.
    device : str, optional
        "cpu" or "cuda"; by default a GPU if there is one.
    """

    def __init__(
        self, bundle: DiTBundle, config: StudyConfig, folder: Path, device: str | None = None
    ) -> None:
        self.device = pick_device(device)
        self.bundle, self.config, self.folder = bundle, config, folder
        bundle.model.to(self.device)
        self._model = fingerprint(bundle.model)
        self._classifier = load_classifier()
        self._reference = load_reference()
        self._floats: list[Tensor] | None = None

    def calibration(self, config: CalibrationConfig | None = None) -> Calibration:
        """Return the calibration in the folder; make it if it is not there or of another kind."""
        config = config or CalibrationConfig(hessians=True)
        path = self.folder / "calibration.safetensors"
        if path.exists():
            found = Calibration.load(path)
            if found.config == config and found.model == self._model:
                return found
        found = calibrate(self.bundle.model, self.bundle.schedule, config)
        found.save(path)
        return found

    def floats(self, progress: Progress = lambda done, total: None) -> list[Tensor]:
        """Return the float model's images of each seed."""
        if self._floats is None:
            self._floats = sample_study(
                self.bundle,
                self.config,
                self.folder / "float",
                {"model": self._model, "policy": None},
                progress=progress,
            )
        return self._floats

    def plan(self, policy: Policy, calibration: Calibration) -> Plan:
        """Resolve a policy for this model."""
        timesteps = self.bundle.schedule.timesteps
        return resolve(policy, calibration, self.bundle.model, timesteps=timesteps)

    def run(
        self,
        policy: Policy,
        calibration: Calibration,
        progress: Progress = lambda done, total: None,
    ) -> Scores:
        """Sample with a policy, in a folder of its name, and score it.

        Raises
        ------
        NotFiniteError
            When a layer's result has NaN or Inf.
        MixditError
            When the policy does not fit the model, or the folder holds another study.
        """
        floats = self.floats(progress)
        plan = self.plan(policy, calibration)
        identity = {
            "model": self._model,
            "policy": to_plain(policy),
            "calibration": to_plain(calibration.config),
        }
        with apply_plan(self.bundle.model, plan, calibration):
            images = sample_study(
                self.bundle, self.config, self.folder / policy.name, identity, progress=progress
            )
        return self.score(images, floats)

    @torch.no_grad()
    def score(self, images: list[Tensor], floats: list[Tensor] | None = None) -> Scores:
        """Score images of each seed against the float model's."""
        labels = self.config.labels(self.bundle.model.config.classes)
        paired = self.floats() if floats is None else floats
        return score_samples(images, paired, labels, self._classifier, self._reference)
