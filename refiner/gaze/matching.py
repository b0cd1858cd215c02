"""Renders whose gaze is like that of photographs: what a discriminator sees should be style, not where people look.

A refiner whose renders look farther aside than the photographs learns to change what shows the gaze, for that tells
the domains apart. Train it on renders drawn like the photographs' gaze, and refine all of them with it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from refiner.core.files import check_apart
from refiner.core.rng import numpy_generator
from refiner.data.convert import Conversion, convert
from refiner.data.labels.angles import Angles
from refiner.gaze.data import load_patches
from refiner.gaze.prediction import GazeEstimator, predict_all

BANDWIDTH = np.radians(3.0)
"""Of the densities of angles, in radians: about what an estimator is unsure of."""

_KERNELS = 12_000  # of a density at most, spread evenly over all
_BLOCK = 256  # points that a density is asked for at a time, so that memory does not grow

_MOST_WANTED = 0.9  # quantile of the ratio of densities from which on every render is taken


class Matching(NamedTuple):
    """What was done.

    Attributes:
        renders: that have the labels.
        taken: how many of them were drawn.
        photographs: whose gaze was estimated.
        rejected: path and reason of each image that could not be used.
    """

    synthetic: int
    taken: int
    real: int
    rejected: dict[str, str]


def match_synthetic(
    path: Path,
    synthetic: Path,
    real: Path,
    destination: Path,
    *,
    seed: int = 0,
    device: str = "auto",
    overwrite: bool = False,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Matching:
    """Write those renders whose gaze is distributed like the estimated gaze of photographs.

    Args:
        path: the estimator, file or run folder, trained on such renders.
        renders: labelled, with head poses where the estimator is told them.
        photographs: unlabelled, with head poses where the estimator is told them.
        destination: the folder, or the store (.h5), to write.
        seed: of the draws.
        device: ``auto``, ``cpu`` or ``cuda``.
        overwrite: make everything again, and replace files that are there.
        report: told how many of how many photographs, and then renders, are done.

    Raises:
        RefinerError: the estimator, a data set or the destination cannot be used.
    """
    for source in (path, synthetic, real):
        check_apart(source, destination)
    estimator = GazeEstimator.load(path, device=device)
    posed = bool(estimator.head_pose)
    known = load_patches([synthetic], size=estimator.size, equalize=False, head_pose=posed, key="RENDERS")
    found = predict_all(estimator, real, report=report)
    taken = draw_like(
        known_angles(estimator, known.gaze, known.head_pose),
        known_angles(estimator, found.gaze, found.head_pose),
        numpy_generator(seed, "matching"),
    )
    convert(
        synthetic,
        destination,
        Conversion(),
        only={known.ids[number] for number in taken},
        overwrite=overwrite,
        report=report,
    )
    rejected = {str(real / sample): reason for sample, reason in found.rejected.items()}
    return Matching(len(known), len(taken), len(found.ids), {**known.rejected, **rejected})


def draw_like(synthetic: Angles, real: Angles, rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Numbers of renders, drawn so that their angles are distributed like those of photographs.

    A render is taken with a probability in proportion to the ratio of the two densities at its angles. Where
    photographs look and no render does, there is nothing to take.

    Args:
        renders, photographs: (N, D) and (M, D), radians: pitch and yaw of the gaze, and whatever else is known of both.
        rng: for the draws.

    Returns:
        (K,), ascending; K is some share of N, at least 1.
    """
    ratio = _density(real, synthetic) / _density(synthetic, synthetic)
    wanted = np.quantile(ratio, _MOST_WANTED)
    taken = np.flatnonzero(rng.random(len(synthetic)) * wanted < ratio)
    return taken if len(taken) else np.array([int(ratio.argmax())])


def known_angles(estimator: GazeEstimator, gaze: Angles, head_pose: Angles | None) -> Angles:
    """The angles to compare, (N, 2 to 4): the gaze, and of the head's pose what the estimator is told."""
    if not estimator.head_pose or head_pose is None:
        return gaze
    return np.concatenate([gaze, head_pose[:, 1:] if estimator.head_pose == "yaw" else head_pose], axis=1)


def _density(angles: Angles, at: Angles) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Of Gaussian kernels on ``angles``, at each of ``at``, but for a constant; (len(at),)."""
    count = min(len(angles), _KERNELS)
    kernels = cKDTree(angles[np.linspace(0, len(angles) - 1, count).astype(int)])
    density = np.empty(len(at))
    for start in range(0, len(at), _BLOCK):
        block = cKDTree(at[start : start + _BLOCK])
        near = kernels.sparse_distance_matrix(block, 3.5 * BANDWIDTH, output_type="coo_matrix")
        heights = np.exp(-((near.data / BANDWIDTH) ** 2) / 2)
        density[start : start + _BLOCK] = np.bincount(near.col, heights, minlength=block.n) / count
    return density
