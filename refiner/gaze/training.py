"""Training a gaze estimator in a run folder: killed anywhere, the same command goes on to the same bits.

Every random choice follows from (seed, purpose, step); what cannot be recomputed is in the checkpoint.
"""

import copy
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.tracking import TensorBoardTracker
from torch import Tensor

from refiner.augmentation import Augmentation
from refiner.checkpoints import load_checkpoint, save_checkpoint
from refiner.data import Sampler
from refiner.errors import RunError, TrainingError
from refiner.gaze.angles import angular_error_degrees
from refiner.gaze.augmentation import strong_augmentation
from refiner.gaze.configuration import GazeConfiguration
from refiner.gaze.data import LabelledPatches, load_patches, split_held_out, to_levels
from refiner.gaze.estimator_files import save_estimator
from refiner.gaze.estimators import GazeNetwork
from refiner.gaze.losses import LOSSES
from refiner.gaze.neighbours import NearestNeighbours
from refiner.hardware import choose_precision
from refiner.interruption import Interruption
from refiner.randomness import capture_globals, derived_seed, restore_globals, seed_globals
from refiner.runs import RunFolder, open_run

log = logging.getLogger(__name__)

Report = Callable[[int, int, dict[str, float]], None]
"""Called after each step with the step, the number of steps and the latest means."""

_EVALUATION_BATCH = 256


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
        self.device, self.precision = folder.settle_environment(device, inputs, self._choose_precision)
        self.network = build_network(configuration).to(self.device)
        self.average = copy.deepcopy(self.network) if configuration.ema_decay else None
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(),
            lr=configuration.optimizer.learning_rate,
            weight_decay=configuration.optimizer.weight_decay,
            fused=True,
        )
        self.step = 0
        self.best: dict[str, Any] = {"step": 0, "error": math.inf, "weights": {}}
        self.waited = 0  # looks at the held-out images since the best
        self.sums: dict[str, Tensor] = {}
        self.count = 0

    def _choose_precision(self, device: str) -> str:
        precision: str = self.configuration.precision
        if precision == "auto":
            return choose_precision(device, _trial(self.configuration, device))
        return precision

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""
        return {
            "step": self.step,
            "network": self.network.state_dict(),
            "average": {} if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
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
        self.network.load_state_dict(state["network"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
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
            stopping, figures = interruption.requested, dict[str, float]()
            if self.held_out and (self.step == total or self.step % configuration.evaluate_every == 0):
                figures["held_out_degrees"] = self.look()
            if self.is_finished or self.step % configuration.log_every == 0 or figures:
                rate = (self.step - first) * configuration.batch_size / (time.perf_counter() - start)
                clock = {"seconds": time.perf_counter() - start, "images_per_second": rate}
                means = {**means, **self._log(tracker, figures, clock)}
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
        configuration, section = self.configuration, self.configuration.optimizer
        for group in self.optimizer.param_groups:
            share = (1 + math.cos(math.pi * self.step / configuration.steps)) / 2
            group["lr"] = section.learning_rate * (share if section.schedule == "cosine" else 1.0)
        images, gaze, head_pose = self.batch(self.step)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16"):
            predicted = self.network(images, head_pose)
        loss = LOSSES[configuration.loss](predicted.float(), gaze)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"step {self.step + 1}: the loss is not finite ({loss.item():.4g}); lower optimizer.learning_rate, or "
                "set precision: fp32"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        if self.average is not None:
            with torch.no_grad():
                torch._foreach_lerp_(
                    list(self.average.parameters()), list(self.network.parameters()), 1 - configuration.ema_decay
                )
        error = angular_error_degrees(predicted.detach().double().cpu().numpy(), gaze.double().cpu().numpy()).mean()
        for name, value in {"loss": loss.detach().double().cpu(), "error_degrees": torch.tensor(error)}.items():
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
        images = strong_augmentation(to_levels(pixels), strength=strength, seed=seed, step=step)
        images = images.to(self.device, memory_format=torch.channels_last)
        return images, gaze.to(self.device), None if head_pose is None else head_pose.to(self.device)

    def look(self) -> float:
        """Mean error on the held-out images in degrees; the weights are kept when it is the best so far."""
        assert self.held_out is not None
        error = held_out_error(self.judged, self.held_out, self.device)
        if error < self.best["error"]:
            weights = {name: tensor.cpu().clone() for name, tensor in self.judged.state_dict().items()}
            self.best, self.waited = {"step": self.step, "error": error, "weights": weights}, 0
        else:
            self.waited += 1
        return error

    @property
    def judged(self) -> GazeNetwork:
        """The network that is judged and saved: the running mean of the weights where there is one."""
        return self.network if self.average is None else self.average

    def _best(self) -> tuple[float, int]:
        return self.best["error"], self.best["step"]

    def _log(self, tracker: TensorBoardTracker, figures: dict[str, float], clock: dict[str, float]) -> dict[str, float]:
        """Write the means since the last log line."""
        means = {name: float(total) / self.count for name, total in self.sums.items()} | figures
        self.sums, self.count = {}, 0
        rounded = {name: float(f"{value:.6g}") for name, value in {**means, **clock}.items()}
        self.folder.log_metrics({"step": self.step, **rounded})
        tracker.log(means, step=self.step)
        return means

    def save(self) -> None:
        """Write the estimator file: the best weights, or the last where nothing was held out."""
        weights = self.best["weights"] or self.judged.state_dict()
        chosen = {"steps": self.step, "step": self.best["step"] or self.step, "precision": self.precision}
        error = self.best["error"] if self.held_out else None
        _save(self.configuration, self.folder, weights, architecture(self.configuration), self.training, error, chosen)


def fit_neighbours(
    configuration: GazeConfiguration, folder: RunFolder, training: LabelledPatches, held_out: LabelledPatches | None
) -> dict[str, float]:
    """Fit and save the nearest-neighbour baseline; gives its figures."""
    section = configuration.neighbours
    arguments = {"patch": list(section.size), "neighbours": section.count, "samples": len(training)}
    network = NearestNeighbours(
        configuration.size, patch=section.size, neighbours=section.count, samples=len(training)
    ).eval()
    images, gaze, _ = training.tensors()
    for start in range(0, len(images), _EVALUATION_BATCH):
        part = slice(start, start + _EVALUATION_BATCH)
        network.remember(start, to_levels(images[part]), gaze[part])
    error = held_out_error(network, held_out, "cpu") if held_out else None
    figures = {} if error is None else {"held_out_degrees": error}
    folder.cut_metrics(0)
    folder.log_metrics({"step": 1, **figures})
    design = {"network": "knn", "size": list(configuration.size), **arguments}
    chosen = {"steps": 0, "step": 0, "precision": "fp32"}
    _save(configuration, folder, network.state_dict(), design, training, error, chosen)
    return figures


@torch.inference_mode()
def held_out_error(network: GazeNetwork | NearestNeighbours, patches: LabelledPatches, device: str) -> float:
    """Mean angular error in degrees."""
    images, _, head_pose = patches.tensors()
    parts = []
    for start in range(0, len(images), _EVALUATION_BATCH):
        part = slice(start, start + _EVALUATION_BATCH)
        batch = to_levels(images[part]).to(device, memory_format=torch.channels_last)
        pose = None if head_pose is None else head_pose[part].to(device)
        parts.append(network(batch, pose).double().cpu().numpy())
    return float(angular_error_degrees(np.concatenate(parts), patches.gaze).mean())


def architecture(configuration: GazeConfiguration) -> dict[str, Any]:
    """The arguments of :class:`GazeNetwork` that a configuration asks for."""
    return {
        "network": configuration.network,
        "size": list(configuration.size),
        "head_pose": configuration.head_pose,
        "standardize": configuration.standardize,
    }


def build_network(configuration: GazeConfiguration) -> GazeNetwork:
    """The network on the CPU, with initial weights that follow from the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(configuration.seed, "estimator"))
        network = GazeNetwork(**{**architecture(configuration), "size": configuration.size})
    return network.to(memory_format=torch.channels_last)


def _trial(configuration: GazeConfiguration, device: str) -> Callable[[str], None]:
    """A little of the real work, forwards and backwards, for :func:`refiner.hardware.choose_precision`."""
    network = build_network(configuration).to(device)
    images = torch.zeros(min(configuration.batch_size, 64), 1, *configuration.size, device=device)
    pose = torch.zeros(len(images), 2, device=device) if configuration.head_pose else None

    def trial(precision: str) -> None:
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            network(images, pose).mean().backward()
        if device == "cuda":
            torch.cuda.synchronize()

    return trial


def _save(
    configuration: GazeConfiguration,
    folder: RunFolder,
    weights: dict[str, Tensor],
    design: dict[str, Any],
    training: LabelledPatches,
    held_out_degrees: float | None,
    chosen: dict[str, Any],
) -> None:
    pitch, yaw = training.gaze.mean(axis=0)
    summary = {
        **chosen,
        "images": len(training),
        "held_out_degrees": held_out_degrees,
        "configuration": configuration.model_dump(mode="json", exclude={"data": {"train"}, "precision": True}),
    }
    save_estimator(
        folder.estimator,
        weights,
        architecture=design,
        equalize=configuration.equalize,
        mean_gaze=(float(pitch), float(yaw)),
        training=summary,
    )
