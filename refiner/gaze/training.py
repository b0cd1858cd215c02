"""Training a gaze estimator in a run folder: killed anywhere, the same command goes on to the same bits.

Every random choice follows from (seed, purpose, step); what cannot be recomputed is in the checkpoint.
"""

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate.tracking import TensorBoardTracker
from torch import Tensor

from refiner.core.devices import choose_precision, keep_freed_memory
from refiner.core.errors import RunError
from refiner.core.rng import capture_globals, restore_globals, seed_globals
from refiner.core.sampler import Sampler
from refiner.core.signals import Interruption
from refiner.data.augmentation import Augmentation
from refiner.gaze.augmentation import strong_augmentation
from refiner.gaze.config import GazeConfiguration
from refiner.gaze.data import LabelledPatches, load_patches, split_held_out, to_float
from refiner.gaze.learner import Learner, architecture, trial_of
from refiner.gaze.saving import fit_neighbours, held_out_error, save_trained
from refiner.runs.checkpoints import load_checkpoint, save_checkpoint
from refiner.runs.distributed import process_count
from refiner.runs.folder import RunFolder, open_run

log = logging.getLogger(__name__)

Report = Callable[[int, int, dict[str, float]], None]
"""Called after each step with the step, the number of steps and the latest means."""


def train_estimator(
    configuration: GazeConfiguration,
    run: Path,
    *,
    device: str = "auto",
    new: bool = False,
    report: Report = lambda step, steps, means: None,
) -> Path:
    """Train a gaze estimator, or go on where the run was stopped.

    Args:
        configuration: what to do; on a run that exists it must be the one the run was started with.
        run: the run folder.
        device: ``auto``, ``cpu`` or ``cuda``.
        new: throw the run away that is there.
        report: told about each step.

    Returns:
        The estimator file.

    Raises:
        RefinerError: the data, the configuration or the run folder cannot be used, or a loss is not finite.
    """
    if process_count() > 1:
        raise RunError("gaze train is the work of one process; start it without accelerate launch")
    keep_freed_memory()
    patches = load_patches(
        configuration.data.train,
        size=configuration.size,
        equalize=configuration.equalize,
        head_pose=bool(configuration.head_pose),
        key="data.train",
    )
    training, held_out = split_held_out(patches, configuration.data.held_out, "data.held_out")
    log.info("%d training images, %d held out", len(training), len(held_out) if held_out else 0)
    augmentation = _build_augmentation(configuration)
    with open_run(run, configuration, new=new) as folder, Interruption() as interruption:
        folder.write_rejected(patches.rejected)
        inputs = {"data.train": patches.digest()}
        if configuration.network == "knn":
            folder.settle_environment("cpu", inputs, lambda _: "fp32")
            report(1, 1, fit_neighbours(configuration, folder, training, held_out))
            return folder.estimator
        state = load_checkpoint(folder.checkpoints)
        job = GazeTraining(configuration, folder, training, held_out, augmentation, device=device, inputs=inputs)
        if state is not None:
            job.load_state_dict(state)
            log.info("going on from step %d of %d", job.step, configuration.steps)
        job.run(report, interruption)
    return folder.estimator


def _build_augmentation(configuration: GazeConfiguration) -> Augmentation | None:
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


class GazeTraining:
    """A network, its optimizer, the best weights so far, and what is written on the way.

    Args:
        configuration: what to do; not of the network ``knn``.
        folder: where it is written.
        training: patches to learn from.
        held_out: patches to choose the best weights by; None takes the last.
        augmentation: albumentations transforms, where there are any.
        device: ``auto``, ``cpu`` or ``cuda``.
        inputs: digests of the data by name.

    Raises:
        RunError: the run was started on other data.
    """

    def __init__(
        self,
        configuration: GazeConfiguration,
        folder: RunFolder,
        training: LabelledPatches,
        held_out: LabelledPatches | None,
        augmentation: Augmentation | None,
        *,
        device: str,
        inputs: dict[str, str],
    ) -> None:
        self.configuration, self.folder, self.augmentation = configuration, folder, augmentation
        self.training, self.held_out = training, held_out
        self.images, self.gaze, self.head_pose = training.tensors()
        self.sampler = Sampler(len(training), configuration.batch_size, seed=configuration.seed, purpose="gaze")
        seed_globals(configuration.seed)
        device, precision = folder.settle_environment(device, inputs, self._choose_precision)
        self.learner = Learner(configuration, device=device, precision=precision)
        self.step = 0
        self.best: dict[str, Any] = {"step": 0, "error": math.inf, "weights": {}}
        self.waited = 0  # looks at the held-out images since the best
        self.sums: dict[str, Tensor] = {}
        self.count = 0

    def _choose_precision(self, device: str) -> str:
        precision: str = self.configuration.precision
        if precision == "auto":
            return choose_precision(device, trial_of(self.configuration, device))
        return precision

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""
        return {
            "step": self.step,
            **self.learner.state_dict(),
            "best": self.best,
            "waited": self.waited,
            "sums": self.sums,
            "count": self.count,
            "randomness": capture_globals(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.step, self.best, self.waited = state["step"], state["best"], state["waited"]
        self.sums, self.count = dict(state["sums"]), state["count"]
        self.learner.load_state_dict(state)
        restore_globals(state["randomness"])

    @property
    def is_finished(self) -> bool:
        """Whether all steps are done, or the held-out error has long stopped falling."""
        patience = self.configuration.patience
        return self.step >= self.configuration.steps or bool(patience and self.waited >= patience)

    def run(self, report: Report, interruption: Interruption) -> None:
        """All steps that are left, with logs and checkpoints on the way."""
        configuration, total = self.configuration, self.configuration.steps
        self.folder.cut_metrics(self.step)
        tracker = TensorBoardTracker("", str(self.folder.path), purge_step=self.step + 1)
        tracker.start()
        means, start, first = dict[str, float](), time.perf_counter(), self.step
        while not self.is_finished:
            self.take_step()
            self.step += 1
            stopping, metrics = interruption.requested, dict[str, float]()
            if self.held_out and (self.step == total or self.step % configuration.evaluate_every == 0):
                metrics["held_out_degrees"] = self.look()
            if self.is_finished or self.step % configuration.log_every == 0 or metrics:
                rate = (self.step - first) * configuration.batch_size / (time.perf_counter() - start)
                clock = {"seconds": time.perf_counter() - start, "images_per_second": rate}
                means = {**means, **self._log(tracker, metrics, clock)}
            if self.is_finished or self.step % configuration.checkpoint_every == 0 or stopping:
                save_checkpoint(self.folder.checkpoints, self.step, self.state_dict())
            report(self.step, total, means)
            if stopping and not self.is_finished:
                raise RunError(f"stopped at step {self.step} of {total}; the same command goes on from there")
        if self.step < total:
            log.info("stopped early: the best held-out error, %.2f degrees, came at step %d", *self._best())
        self.save()
        tracker.finish()

    def take_step(self) -> None:
        """One update.

        Raises:
            TrainingError: the loss is not finite.
        """
        metrics = self.learner.update(*self.batch(self.step), step=self.step)
        for name, value in metrics.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.count += 1

    def batch(self, step: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Images (N, 1, H, W) in [-1, 1], gaze (N, 2) and head pose of one update, changed where that is asked for."""
        chosen = torch.from_numpy(self.sampler.batch(step))
        pixels, gaze = self.images[chosen], self.gaze[chosen]
        head_pose = None if self.head_pose is None else self.head_pose[chosen]
        if self.augmentation is not None:
            labels = {"gaze": gaze.numpy()} | ({} if head_pose is None else {"head_pose": head_pose.numpy()})
            positions = [(step, place) for place in range(len(pixels))]
            changed, labels = self.augmentation.batch(pixels[:, 0].numpy(), labels, positions=positions)
            pixels, gaze = torch.from_numpy(changed)[:, None], torch.from_numpy(labels["gaze"])
            head_pose = None if head_pose is None else torch.from_numpy(labels["head_pose"])
        strength, seed = self.configuration.augmentation.strong, self.configuration.seed
        images = strong_augmentation(to_float(pixels), strength=strength, seed=seed, step=step)
        device = self.learner.device
        images = images.to(device, memory_format=torch.channels_last)
        return images, gaze.to(device), None if head_pose is None else head_pose.to(device)

    def look(self) -> float:
        """Mean error on the held-out images in degrees; the weights are kept when it is the best so far."""
        assert self.held_out is not None
        error = held_out_error(self.learner.judged, self.held_out, self.learner.device)
        if error < self.best["error"]:
            weights = {name: tensor.cpu().clone() for name, tensor in self.learner.judged.state_dict().items()}
            self.best, self.waited = {"step": self.step, "error": error, "weights": weights}, 0
        else:
            self.waited += 1
        return error

    def _best(self) -> tuple[float, int]:
        return self.best["error"], self.best["step"]

    def _log(self, tracker: TensorBoardTracker, metrics: dict[str, float], clock: dict[str, float]) -> dict[str, float]:
        """Write the means since the last log line."""
        means = {name: float(total) / self.count for name, total in self.sums.items()} | metrics
        self.sums, self.count = {}, 0
        rounded = {name: float(f"{value:.6g}") for name, value in {**means, **clock}.items()}
        self.folder.log_metrics({"step": self.step, **rounded})
        tracker.log(means, step=self.step)
        return means

    def save(self) -> None:
        """Write the estimator file: the best weights, or the last where nothing was held out."""
        weights = self.best["weights"] or self.learner.judged.state_dict()
        chosen = {"steps": self.step, "step": self.best["step"] or self.step, "precision": self.learner.precision}
        error = self.best["error"] if self.held_out else None
        save_trained(
            self.configuration, self.folder, weights, architecture(self.configuration), self.training, error, chosen
        )
