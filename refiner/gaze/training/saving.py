"""The end of a training run: held-out error, nearest-neighbour baseline, and the estimator file."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from refiner.data.labels.angles import angular_error_degrees
from refiner.gaze.config import GazeConfiguration
from refiner.gaze.data import LabelledPatches
from refiner.gaze.networks.file import member_path, save_estimator
from refiner.gaze.networks.knn import NearestNeighbours
from refiner.images.arrays import to_float
from refiner.runs.folder import RunFolder

BATCH = 256
"""Images of a batch in evaluation."""


@torch.inference_mode()
def held_out_error(network: nn.Module, patches: LabelledPatches, device: str) -> float:
    """Return the mean angular error of a network on held-out patches, in degrees."""
    images, _, head_pose = patches.tensors()
    parts = []
    for start in range(0, len(images), BATCH):
        part = slice(start, start + BATCH)
        batch = to_float(images[part]).to(device, memory_format=torch.channels_last)
        pose = None if head_pose is None else head_pose[part].to(device)
        parts.append(network(batch, pose).double().cpu().numpy())
    return float(angular_error_degrees(np.concatenate(parts), patches.gaze).mean())


def save_trained(
    configuration: GazeConfiguration,
    folder: RunFolder,
    weights: dict[str, Tensor],
    design: dict[str, Any],
    training: LabelledPatches,
    held_out_degrees: float | None,
    chosen: dict[str, Any],
    *,
    member: int = 1,
) -> None:
    """Write the estimator file of a run, or one of them.

    Args:
        configuration: configuration of the run.
        folder: folder of the run.
        weights: state of the network.
        design: arguments of :func:`refiner.gaze.networks.estimators.build_estimator`.
        training: the training patches.
        held_out_degrees: error of these weights on held-out patches; None if none were held out.
        chosen: summary entries that say which weights these are: ``steps``, ``step``, ``precision``,
            ``held_out_by``, what the held-out patches are (see :func:`refiner.gaze.data.split_held_out`), and
            ``refiner``, the SHA-256 of the refiner file of every batch if there is one.
        member: number of the estimator in the run, from 1.

    Raises:
        OutputError: the file cannot be written.
    """
    # Summarise the training; the paths of the data would differ between equal runs.
    pitch, yaw = training.gaze.mean(axis=0)
    summary = {
        **chosen,
        "images": len(training),
        "held_out_degrees": held_out_degrees,
        "configuration": configuration.model_dump(mode="json", exclude=_left_out(configuration)),
    }
    save_estimator(
        member_path(folder.path, member),
        weights,
        architecture=design,
        equalize=configuration.equalize,
        mean_gaze=(float(pitch), float(yaw)),
        training=summary,
    )


def _left_out(configuration: GazeConfiguration) -> dict[str, Any]:
    """Return the settings that the summary leaves out: they may differ between equal runs, or have no effect."""
    paths: dict[str, Any] = {"data": {"train", "unlabelled"}, "augmentation": {"refiner"}, "precision": True}
    return paths if configuration.data.unlabelled else {**paths, "co_teaching": True}


def fit_neighbours(
    configuration: GazeConfiguration,
    folder: RunFolder,
    training: LabelledPatches,
    held_out: LabelledPatches | None,
    held_out_by: str | None,
) -> dict[str, float]:
    """Fit and save the nearest-neighbour baseline, and return its metrics."""
    # Store the training images in the network.
    section = configuration.neighbours
    arguments = {"patch": list(section.size), "neighbours": section.count, "samples": len(training)}
    network = NearestNeighbours(
        configuration.size, patch=section.size, neighbours=section.count, samples=len(training)
    ).eval()
    images, gaze, _ = training.tensors()
    for start in range(0, len(images), BATCH):
        part = slice(start, start + BATCH)
        network.remember(start, to_float(images[part]), gaze[part])
    # Measure and write the result.
    error = held_out_error(network, held_out, "cpu") if held_out else None
    metrics = {} if error is None else {"held_out_degrees": error}
    folder.cut_metrics(0)
    folder.log_metrics({"step": 1, **metrics})
    design = {"network": "knn", "size": list(configuration.size), **arguments}
    chosen = {"steps": 0, "step": 0, "precision": "fp32", "held_out_by": held_out_by}
    save_trained(configuration, folder, network.state_dict(), design, training, error, chosen)
    return metrics
