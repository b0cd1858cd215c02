"""The estimator file of a run, and the held-out error that it tells of."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from refiner.data.labels.angles import angular_error_degrees
from refiner.gaze.configuration import GazeConfiguration
from refiner.gaze.data import LabelledPatches, to_levels
from refiner.gaze.estimator_files import save_estimator
from refiner.runs.folder import RunFolder

BATCH = 256
"""Images that a network judges at once."""


@torch.inference_mode()
def held_out_error(network: nn.Module, patches: LabelledPatches, device: str) -> float:
    """Mean angular error in degrees."""
    images, _, head_pose = patches.tensors()
    parts = []
    for start in range(0, len(images), BATCH):
        part = slice(start, start + BATCH)
        batch = to_levels(images[part]).to(device, memory_format=torch.channels_last)
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
) -> None:
    """Write the estimator file.

    Args:
        configuration: of the run.
        folder: of the run.
        weights, design: of the network, and the arguments that build it.
        training: the patches that it learnt from.
        held_out_degrees: its error on others, where any were held out.
        chosen: which weights these are.
    """
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
