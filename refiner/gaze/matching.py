"""Renders whose gaze is like that of photographs: what a discriminator sees should be style, not where people look.

A refiner whose renders look farther aside than the photographs learns to move gaze, for that tells the domains apart.
"""

from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from refiner.gaze.angles import Angles
from refiner.gaze.prediction import GazeEstimator

BANDWIDTH = np.radians(3.0)
"""Of the densities of angles, in radians: about what an estimator is unsure of."""

_MOST_WANTED = 0.9  # quantile of the ratio of densities from which on every render is taken


def draw_like(renders: Angles, photographs: Angles, rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Numbers of renders, drawn so that their angles are distributed like those of photographs.

    A render is taken with a probability in proportion to the ratio of the two densities at its angles. Where
    photographs look and no render does, there is nothing to take.

    Args:
        renders, photographs: (N, D) and (M, D), radians: pitch and yaw of the gaze, and whatever else is known of both.
        rng: for the draws.

    Returns:
        (K,), ascending; K is some share of N, at least 1.
    """
    ratio = _density(photographs, renders) / _density(renders, renders)
    wanted = np.quantile(ratio, _MOST_WANTED)
    taken = np.flatnonzero(rng.random(len(renders)) * wanted < ratio)
    return taken if len(taken) else np.array([int(ratio.argmax())])


def known_angles(estimator: GazeEstimator, gaze: Angles, head_pose: Angles | None) -> Angles:
    """The angles to compare, (N, 2 to 4): the gaze, and of the head's pose what the estimator is told."""
    if not estimator.head_pose or head_pose is None:
        return gaze
    return np.concatenate([gaze, head_pose[:, 1:] if estimator.head_pose == "yaw" else head_pose], axis=1)


def _density(angles: Angles, at: Angles) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Of Gaussian kernels on ``angles``, at each of ``at``, but for a constant; (len(at),)."""
    near = cKDTree(angles).sparse_distance_matrix(cKDTree(at), 3.5 * BANDWIDTH, output_type="coo_matrix")
    return np.bincount(near.col, np.exp(-((near.data / BANDWIDTH) ** 2) / 2), minlength=len(at)) / len(angles)
