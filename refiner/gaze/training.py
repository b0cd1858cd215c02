"""Training of a gaze estimator, by the same loop as that of a refiner.

Every random choice follows from (seed, purpose, step), and all other state is in the checkpoint. So a run that is
killed anywhere and started again by the same command ends with the same bits.
"""

import logging
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from refiner.core.devices import choose_precision
from refiner.core.errors import UsageError
from refiner.core.rng import capture_globals, restore_globals, seed_globals
from refiner.core.sampler import Sampler
from refiner.core.signals import Interruption
from refiner.data.augmentation import Augmentation
from refiner.gaze.augmentation import strong_augmentation
from refiner.gaze.config import GazeConfiguration
from refiner.gaze.data import LabelledPatches, load_patches, split_held_out
from refiner.gaze.learner import Learner, network_arguments, precision_trial
from refiner.gaze.refining import BatchRefiner, load_batch_refiner
from refiner.gaze.saving import fit_neighbours, held_out_error, save_trained
from refiner.images.arrays import to_float
from refiner.runs.checkpoints import load_checkpoint, save_checkpoint
from refiner.runs.distributed import num_processes
from refiner.runs.folder import RunFolder, open_run
from refiner.runs.metrics_log import MetricsLog
from refiner.training.loop import Report, TrainingJob, run_training

log = logging.getLogger(__name__)


def train_estimator(
    configuration: GazeConfiguration,
    run: Path,
    *,
    device: str = "auto",
    new: bool = False,
    report: Report = lambda step, steps, means: None,
) -> Path:
    """Train a gaze estimator, or resume a run.

    Args:
        configuration: all settings. An existing run must have been started with the same, except for fewer ``steps``.
        run: the run folder.
        device: ``auto``, ``cpu`` or ``cuda``.
        new: delete an existing run first.
        report: called after each step.

    Returns:
        The estimator file.

    Raises:
        RefinerError: the data, the configuration or the run folder cannot be used, or a loss is not finite.
    """
    if num_processes() > 1:
        raise UsageError("gaze train runs in one process; start it without accelerate launch")
    # Check the inputs before the run folder is touched: a typo must cost nothing.
    augmentation, refiner = build_augmentation(configuration), load_batch_refiner(configuration)
    patches = load_patches(
        configuration.data.train,
        size=configuration.size,
        equalize=configuration.equalize and refiner is None,
        head_pose=bool(configuration.head_pose),
        key="data.train",
    )
    training, held_out, what = split_held_out(patches, configuration.data.held_out, "data.held_out")
    log.info("%d training images, %d held out (%s)", len(training), len(held_out) if held_out else 0, what or "none")

    with open_run(run, configuration, new=new) as folder, Interruption() as interruption:
        folder.write_rejected(patches.rejected)
        inputs = {"data.train": patches.digest()}
        if refiner is not None:
            inputs["augmentation.refiner"] = refiner.digest
        if configuration.network == "knn":
            folder.settle_environment("cpu", inputs, lambda _: "fp32")
            report(1, 1, fit_neighbours(configuration, folder, training, held_out, what))
            return folder.estimator

        # Resume from the newest checkpoint.
        state = load_checkpoint(folder.checkpoints)
        job = GazeTraining(
            configuration, folder, training, held_out, augmentation, refiner, device=device, inputs=inputs
        )
        job.held_out_by = what
        if state is not None:
            job.load_state_dict(state)
            log.info("resuming at step %d of %d", job.step, configuration.steps)
        folder.write_configuration(configuration)  # steps may have grown

        # Train.
        run_training(job, report, lambda: interruption.requested)
        job.save_estimator()
    return folder.estimator


def build_augmentation(configuration: GazeConfiguration) -> Augmentation | None:
    """Build the transforms of a configuration; None if it has none.

    Raises:
        ConfigurationError: a transform is unknown, does not fit the images, or changes labels in an unknown way.
    """
    if not configuration.augmentation.transforms:
        return None
    return Augmentation(
        configuration.augmentation.transforms,
        key="augmentation.transforms",
        seed=configuration.seed,
        purpose="gaze",
        shape=configuration.size,
        labelled=True,
    )


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
        # The data, and the order in which it is drawn.
        self.configuration, self.folder = configuration, folder
        self.augmentation, self.refiner = augmentation, refiner
        self.training, self.held_out = training, held_out
        self.held_out_by: str | None = None
        self.images, self.gaze, self.head_pose = training.tensors()
        self.sampler = Sampler(len(training), configuration.batch_size, seed=configuration.seed, purpose="gaze")
        seed_globals(configuration.seed)
        # The precision is settled once for each run, so that a resumed run gives the same bits.
        device, precision = folder.settle_environment(device, inputs, self._choose_precision)
        self.learner = Learner(configuration, device=device, precision=precision)
        if refiner is not None:
            refiner.to(device)
            self.held_out = refiner.held_out(held_out) if held_out else None
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
        self.metrics.add(self.learner.update(*self.batch(self.step), step=self.step))

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the augmented images (N, 1, H, W) in [-1, 1], gaze (N, 2) and head pose (N, 2) of one update."""
        # Draw images and labels.
        chosen = torch.from_numpy(self.sampler.batch(step))
        pixels, gaze = self.images[chosen], self.gaze[chosen]
        head_pose = None if self.head_pose is None else self.head_pose[chosen]

        # Refine the images anew.
        if self.refiner is not None:
            pixels = self.refiner.batch(pixels, step)

        # Apply the transforms of the configuration, which may change the labels.
        if self.augmentation is not None:
            labels = {"gaze": gaze.numpy()} | ({} if head_pose is None else {"head_pose": head_pose.numpy()})
            positions = [(step, place) for place in range(len(pixels))]
            changed, labels = self.augmentation.batch(pixels[:, 0].numpy(), labels, positions=positions)
            pixels, gaze = torch.from_numpy(changed)[:, None], torch.from_numpy(labels["gaze"])
            head_pose = None if head_pose is None else torch.from_numpy(labels["head_pose"])

        # Apply strong augmentation, which keeps the labels.
        strength, seed = self.configuration.augmentation.strong, self.configuration.seed
        images = strong_augmentation(to_float(pixels), strength=strength, seed=seed, step=step)
        device = self.learner.device
        images = images.to(device, memory_format=torch.channels_last)
        return images, gaze.to(device), None if head_pose is None else head_pose.to(device)

    # --- evaluation --------------------------------------------------------------------------------------------

    def evaluate(self) -> dict[str, float]:
        """Measure the mean error on the held-out images in degrees, and keep the weights if it is the lowest so far."""
        is_due = self.step == self.total_steps or self.step % self.configuration.evaluate_every == 0
        if not self.held_out or not is_due:
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
        chosen = {"steps": self.step, "step": self.best["step"] or self.step, "precision": self.learner.precision}
        chosen["held_out_by"] = self.held_out_by
        error = self.best["error"] if self.held_out else None
        arguments = network_arguments(self.configuration)
        if self.refiner is not None:
            chosen["refiner"] = self.refiner.digest
        save_trained(self.configuration, self.folder, weights, arguments, self.training, error, chosen)
