"""Selection of renders whose gaze is distributed like the gaze of real images.

If the synthetic gaze range is wider than the real one, the gaze tells the domains apart. A refiner then learns to
change how the eye looks, and with it the label. Train the refiner on matched renders, and refine all renders with it.
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
"""Standard deviation of the kernels of a density of angles, in radians: about the error of an estimator."""

_KERNELS = 12_000  # most kernels of a density, spread evenly over its angles
_BLOCK = 256  # angles at which a density is evaluated at a time, which bounds the memory

_SURE_QUANTILE = 0.9  # quantile of the density ratio from which on a render is always selected


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

    This is rejection sampling: the probability of a render is proportional to the ratio of the two densities at its
    angles. Real angles that no render has stay without a match.

    Args:
        synthetic, real: (N, D) and (M, D), radians: pitch and yaw of the gaze, and further angles known for both.
        rng: generator of the random choices.

    Returns:
        (K,), ascending indices of renders; K is between 1 and N.
    """
    ratio = _density(real, synthetic) / _density(synthetic, synthetic)
    sure = np.quantile(ratio, _SURE_QUANTILE)
    selected = np.flatnonzero(rng.random(len(synthetic)) * sure < ratio)
    return selected if len(selected) else np.array([int(ratio.argmax())])


def known_angles(estimator: GazeEstimator, gaze: Angles, head_pose: Angles | None) -> Angles:
    """Return the angles to compare, (N, 2 to 4): gaze, and the head angles that the estimator is conditioned on."""
    if not estimator.head_pose or head_pose is None:
        return gaze
    return np.concatenate([gaze, head_pose[:, 1:] if estimator.head_pose == "yaw" else head_pose], axis=1)


def _density(angles: Angles, at: Angles) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the Gaussian kernel density of ``angles`` at each row of ``at``, up to a constant factor; (len(at),)."""
    count = min(len(angles), _KERNELS)
    kernels = cKDTree(angles[np.linspace(0, len(angles) - 1, count).astype(int)])
    density = np.empty(len(at))
    for start in range(0, len(at), _BLOCK):
        # Kernels farther away than 3.5 standard deviations count as zero.
        block = cKDTree(at[start : start + _BLOCK])
        near = kernels.sparse_distance_matrix(block, 3.5 * BANDWIDTH, output_type="coo_matrix")
        heights = np.exp(-((near.data / BANDWIDTH) ** 2) / 2)
        density[start : start + _BLOCK] = np.bincount(near.col, heights, minlength=block.n) / count
    return density
