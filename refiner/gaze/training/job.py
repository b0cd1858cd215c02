"""The training job of a gaze estimator: its data, its network, and the choice of the best weights.

Every random choice follows from (seed, purpose, step), and all other state is in the checkpoint. So a run that is
killed anywhere and started again by the same command ends with the same bits.
"""

import logging
import math
from typing import Any

from torch import Tensor

from refiner.core.devices import choose_precision
from refiner.core.rng import capture_globals, restore_globals, seed_globals
from refiner.data.augmentation import Augmentation
from refiner.gaze.config import GazeConfiguration
from refiner.gaze.data import LabelledPatches
from refiner.gaze.training.batches import LabelledBatches
from refiner.gaze.training.learner import Learner, network_arguments, precision_trial
from refiner.gaze.training.refining import BatchRefiner
from refiner.gaze.training.saving import held_out_error, save_trained
from refiner.runs.checkpoints import save_checkpoint
from refiner.runs.folder import RunFolder
from refiner.runs.metrics_log import MetricsLog
from refiner.training.loop import TrainingJob

log = logging.getLogger(__name__)


class GazeTraining(TrainingJob):
    """Training of a gaze network: its data, and the weights with the lowest held-out error.

    Args:
        configuration: of the run, with any network but ``knn``.
        folder: the run folder.
        training: patches to learn from.
        held_out: patches that choose the best weights; None takes the last weights.
        augmentation: albumentations transforms, if there are any.
        refiner: refines every batch, and the held-out patches once, if there is one. The patches are then not
            equalised.
        device: ``auto``, ``cpu`` or ``cuda``.
        inputs: digests of the data by name.

    Raises:
        RunError: the run was started with other data.
    """

    def __init__(
        self,
        configuration: GazeConfiguration,
        folder: RunFolder,
        training: LabelledPatches,
        held_out: LabelledPatches | None,
        augmentation: Augmentation | None,
        refiner: BatchRefiner | None = None,
        *,
        device: str,
        inputs: dict[str, str],
    ) -> None:
        self.configuration, self.folder, self.refiner = configuration, folder, refiner
        self.training, self.held_out = training, held_out
        self.held_out_by: str | None = None
        seed_globals(configuration.seed)
        # The precision is settled once for each run, so that a resumed run gives the same bits.
        device, precision = folder.settle_environment(device, inputs, self._choose_precision)
        self.learner = Learner(configuration, device=device, precision=precision)
        if refiner is not None:
            refiner.to(device)
            self.held_out = refiner.held_out(held_out) if held_out else None
        self.batches = LabelledBatches(configuration, training, augmentation, refiner, device=device)
        self.metrics = MetricsLog(folder, batch_size=configuration.batch_size)
        self.best: dict[str, Any] = {"step": 0, "error": math.inf, "weights": {}}
        self.waited = 0  # evaluations since the best
        self.step, self.total_steps = 0, configuration.steps
        self.log_every, self.checkpoint_every = configuration.log_every, configuration.checkpoint_every

    def _choose_precision(self, device: str) -> str:
        chosen: str = self.configuration.precision
        return choose_precision(device, precision_trial(self.configuration, device)) if chosen == "auto" else chosen

    @property
    def is_finished(self) -> bool:
        """Whether all steps are done, or the held-out error has stopped falling for ``patience`` evaluations."""
        patience = self.configuration.patience
        return self.step >= self.total_steps or bool(patience and self.waited >= patience)

    # --- one step ----------------------------------------------------------------------------------------------

    def take_step(self) -> None:
        """Update the network once."""
        self.metrics.add(self.learner.update(*self.batches.draw(self.step), step=self.step))

    # --- evaluation --------------------------------------------------------------------------------------------

    @property
    def is_evaluation_due(self) -> bool:
        """Whether the held-out images are due at this step."""
        return self.step == self.total_steps or self.step % self.configuration.evaluate_every == 0

    def evaluate(self) -> dict[str, float]:
        """Measure the mean error on the held-out images in degrees, and keep the weights if it is the lowest so far."""
        if not self.held_out or not self.is_evaluation_due:
            return {}
        network = self.learner.saved_network
        error = held_out_error(network, self.held_out, self.learner.device)
        # Copy the weights, since the next step changes them in place.
        if error < self.best["error"]:
            weights = {name: tensor.cpu().clone() for name, tensor in network.state_dict().items()}
            self.best, self.waited = {"step": self.step, "error": error, "weights": weights}, 0
        else:
            self.waited += 1
        return {"held_out_degrees": error}

    # --- state -------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a resumed run needs."""
        return {
            "step": self.step,
            **self.learner.state_dict(),
            "best": self.best,
            "waited": self.waited,
            "metrics": self.metrics.state_dict(),
            "randomness": capture_globals(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        self.step, self.best, self.waited = state["step"], state["best"], state["waited"]
        self.metrics.load_state_dict(state["metrics"])
        self.learner.load_state_dict(state)
        restore_globals(state["randomness"])

    def save(self) -> None:
        """Write a checkpoint; the estimator file is written when the run is finished."""
        save_checkpoint(self.folder.checkpoints, self.step, self.state_dict())

    def save_estimator(self) -> None:
        """Write the estimator file: the best weights, or the last if nothing was held out."""
        if self.step < self.total_steps:
            best = self.best["error"], self.best["step"]
            log.info("stopped early: the best held-out error, %.2f degrees, was reached at step %d", *best)
        weights = self.best["weights"] or self.learner.saved_network.state_dict()
        error = self.best["error"] if self.held_out else None
        self.save_weights(weights, step=self.best["step"] or self.step, held_out_degrees=error)

    def save_weights(
        self, weights: dict[str, Tensor], *, step: int, held_out_degrees: float | None, member: int = 1, **further: Any
    ) -> None:
        """Write an estimator file.

        Args:
            weights: state of the network.
            step: step that the weights are from.
            held_out_degrees: their error on the held-out images; None if there are none.
            member: number of the estimator in the run, from 1.
            further: entries for the summary of the training.
        """
        chosen = {"steps": self.step, "step": step, "precision": self.learner.precision}
        chosen |= {"held_out_by": self.held_out_by, **further}
        if self.refiner is not None:
            chosen["refiner"] = self.refiner.digest
        arguments = network_arguments(self.configuration)
        save_trained(
            self.configuration, self.folder, weights, arguments, self.training, held_out_degrees, chosen, member=member
        )
