"""Selection of renders whose gaze is distributed like the gaze of real images.

If the synthetic gaze range is wider than the real one, the gaze tells the domains apart. A refiner then learns to
change how the eye looks, and with it the label. Train the refiner on matched renders, and refine all renders with it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from refiner.core.errors import DataError, WrongOutputError
from refiner.core.files import check_apart
from refiner.core.path_kinds import path_kind
from refiner.core.rng import numpy_generator
from refiner.data.conversion import Conversion
from refiner.data.convert import convert
from refiner.data.labels.angles import Angles
from refiner.data.store.store_names import is_store_name
from refiner.gaze.data import load_patches
from refiner.gaze.prediction import GazeEstimator, predict_all

BANDWIDTH = np.radians(3.0)
"""Standard deviation of the kernels of a density of angles, in radians: about the error of an estimator."""

_EXACT = 12_000  # most angles that are compared one by one; more are gathered in cells
_CELL = np.radians(1.0)  # side of a cell; it widens the kernel by half a percent
_BLOCK = 256  # angles at which a density is evaluated at a time, which bounds the memory

_SURE_QUANTILE = 0.9  # quantile of the density ratio from which on a render is always selected

_LEAST_SHARE = 0.01  # smaller selections are refused


class Matching(NamedTuple):
    """Result of a selection.

    Attributes:
        synthetic: number of renders with the labels needed.
        selected: number of renders that were selected.
        real: number of real images whose gaze was estimated.
        rejected: reason of each image that could not be used, by path.
    """

    synthetic: int
    selected: int
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
    """Write the renders whose gaze is distributed like the estimated gaze of real images.

    Args:
        path: the estimator, its file or its run folder, trained on such renders.
        synthetic: labelled renders; with head poses if the estimator is conditioned on head pose.
        real: unlabelled real images; with head poses if the estimator is conditioned on head pose.
        destination: the folder, or the store (.h5), to write.
        seed: every random choice follows from it.
        device: ``auto``, ``cpu`` or ``cuda``.
        overwrite: replace files that exist instead of keeping finished ones.
        report: called with the number of finished images and the number of all images; first for the real images, then
            for the selected renders.

    Raises:
        RefinerError: the estimator, a data set or the destination cannot be used.
    """
    for source in (path, synthetic, real):
        check_apart(source, destination)
    if destination.exists() and destination.is_dir() == is_store_name(destination):
        raise WrongOutputError(f"{destination} is {path_kind(destination)}; choose another folder or store (.h5)")

    # Collect the angles of both domains: labels of the renders, predictions for the real images.
    estimator = GazeEstimator.load(path, device=device)
    posed = bool(estimator.head_pose)
    labelled = load_patches([synthetic], size=estimator.size, equalize=False, head_pose=posed, key="SYNTHETIC")
    predictions = predict_all(estimator, real, report=report)

    # Select renders and copy them with their labels.
    selected = draw_like(
        known_angles(estimator, labelled.gaze, labelled.head_pose),
        known_angles(estimator, predictions.gaze, predictions.head_pose),
        numpy_generator(seed, "matching"),
    )
    convert(
        synthetic,
        destination,
        Conversion(),
        only={labelled.ids[number] for number in selected},
        overwrite=overwrite,
        report=report,
    )
    rejected = {str(real / sample): reason for sample, reason in predictions.rejected.items()}
    return Matching(len(labelled), len(selected), len(predictions.ids), {**labelled.rejected, **rejected})


def draw_like(synthetic: Angles, real: Angles, rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Select renders at random so that their angles are distributed like those of real images.

    This is rejection sampling with :func:`selection_probability`. Real angles that no render has stay without a match.

    Args:
        synthetic, real: (N, D) and (M, D), radians: pitch and yaw of the gaze, and further angles known for both.
        rng: generator of the random choices.

    Returns:
        (K,), ascending indices of renders.

    Raises:
        DataError: no render, or less than 1 % of them, was selected.
    """
    selected = np.flatnonzero(rng.random(len(synthetic)) < selection_probability(synthetic, real))
    if len(selected) < max(1.0, _LEAST_SHARE * len(synthetic)):
        raise DataError(
            f"only {len(selected)} of {len(synthetic)} renders look where the real images do; expected at least "
            f"{_LEAST_SHARE:.0%}. Gaze of the renders: {_range(synthetic)}; estimated for the real images: "
            f"{_range(real)}. Render the range of the real images, or use an estimator that suits them"
        )
    return selected


def selection_probability(synthetic: Angles, real: Angles) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the probability of selecting each render, (N,): proportional to the ratio of both densities there.

    Args:
        synthetic, real: (N, D) and (M, D), radians.
    """
    # A density includes the kernel of the render itself, so it is never 0 and the ratio is finite.
    at, _, place = _gathered(synthetic)
    ratio = (_density(real, at) / _density(synthetic, at))[place]
    sure = np.quantile(ratio, _SURE_QUANTILE)
    # If few renders are near any real angle, these alone set the scale; else all of them would be selected.
    if sure == 0 and ratio.any():
        sure = np.quantile(ratio[ratio > 0], _SURE_QUANTILE)
    probability: np.ndarray[Any, np.dtype[np.float64]] = np.minimum(ratio / (sure or 1.0), 1.0)
    return probability


def _range(angles: Angles) -> str:
    """Describe the range of pitch and yaw that holds the middle 90 % of the angles."""
    low, high = np.degrees(np.quantile(angles[:, :2], (0.05, 0.95), axis=0))
    return f"pitch {low[0]:+.0f} to {high[0]:+.0f}, yaw {low[1]:+.0f} to {high[1]:+.0f} degrees"


def known_angles(estimator: GazeEstimator, gaze: Angles, head_pose: Angles | None) -> Angles:
    """Return the angles to compare, (N, 2 to 4): gaze, and the head angles that the estimator is conditioned on."""
    if not estimator.head_pose or head_pose is None:
        return gaze
    return np.concatenate([gaze, head_pose[:, 1:] if estimator.head_pose == "yaw" else head_pose], axis=1)


def _density(angles: Angles, at: Angles) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the Gaussian kernel density of ``angles`` at each row of ``at``, up to a constant factor; (len(at),)."""
    places, counts, _ = _gathered(angles)
    kernels, density = cKDTree(places), np.empty(len(at))
    for start in range(0, len(at), _BLOCK):
        # Kernels farther away than 3.5 standard deviations count as zero.
        block = cKDTree(at[start : start + _BLOCK])
        near = kernels.sparse_distance_matrix(block, 3.5 * BANDWIDTH, output_type="coo_matrix")
        heights = counts[near.row] * np.exp(-((near.data / BANDWIDTH) ** 2) / 2)
        density[start : start + _BLOCK] = np.bincount(near.col, heights, minlength=block.n) / len(angles)
    return density


def _gathered(angles: Angles) -> tuple[Angles, Any, Any]:
    """Gather many angles in cells, so that all of them count, at a bounded cost; few stay as they are.

    Returns:
        The places (P, D), the number of angles at each place (P,), and the place of each angle (N,).
    """
    if len(angles) <= _EXACT:
        return angles, np.ones(len(angles)), np.arange(len(angles))
    cells, place, counts = np.unique(np.rint(angles / _CELL), axis=0, return_inverse=True, return_counts=True)
    return cells * _CELL, counts.astype(np.float64), place.reshape(-1)
