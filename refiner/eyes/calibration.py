"""Fit the renderer's ranges to unlabelled photographs: rejection sampling by likeness (approximate Bayesian).

A pool of eyes is rendered over the whole ranges. The renders that look most like each photograph vote for the values
that they were drawn with, and each range shrinks to where the votes are. No label is read. What is known beforehand (a
range of the gaze, say) can be kept as it is stated.
"""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from refiner.core.errors import DataError
from refiner.eyes.rendering import render_eyes
from refiner.eyes.scene.parameters import EyeParameters
from refiner.eyes.scene.sampling import SKEWED, Draws, draw_values
from refiner.images.arrays import to_uint8

POOL = 8000
"""Renders of a round."""
ROUNDS = 2
NEAREST = 3
"""Renders that vote for a photograph."""
LEAST = 10
"""Photographs needed to speak of a distribution."""
MOST = 2000
"""Photographs looked at, evenly spread over those given."""

RANGES = tuple(
    f"{section}.{field}"
    for section, values in EyeParameters().model_dump().items()
    if isinstance(values, dict) and section != "glasses"  # seen too seldom, and their glare not at a glance
    for field, bounds in values.items()
    if isinstance(bounds, tuple)
)
"""Names of the ranges that can be fitted."""

_FEATURES = (12, 20)
_SMOOTHING = 1.5 / 60  # deviation of the blur before sampling, in widths of the image
_CHUNK = 512

Patches = NDArray[np.uint8]
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Fit:
    """What a calibration came to.

    Attributes:
        parameters: the shrunken ranges.
        likeness: for each round, mean correlation of a photograph with the render most like it; 1 is alike.
    """

    parameters: EyeParameters
    likeness: tuple[float, ...]


def calibrate(
    real: Patches,
    base: EyeParameters,
    *,
    keep: Collection[str] = (),
    pool: int | None = None,
    seed: int = 0,
    report: Report = lambda *_: None,
) -> Fit:
    """Shrink the ranges of ``base`` to what photographs show.

    Args:
        photographs: (N, 1, H, W) uint8, grey; equalised or not.
        base: ranges to start from.
        keep: ranges that stay as they are, such as ``gaze.pitch_degrees``.
        pool: renders in each of the rounds; POOL where it is not given.
        seed: of the pool; the same photographs and seed give the same ranges.
        report: told how many of how many renders are done.

    Raises:
        DataError: there are fewer than ten photographs, or all ranges are kept.
    """
    if set(keep) >= set(RANGES):
        raise DataError(
            "--calibrate: all ranges of the eyes are stated (a file that it wrote states all); leave out those to fit"
        )
    if len(real) < LEAST:
        raise DataError(f"{len(real)} photographs are too few to calibrate on; give {LEAST} or more")
    pool = pool or POOL
    seen = real[evenly(len(real)), 0]
    height, width = seen.shape[1:]
    size = max(4, round(60 * height / width)), 60
    wanted = _features(seen)
    parameters, likeness = base, []
    for number in range(ROUNDS):
        lonely = parameters.model_copy(update={"images_per_person": 1})  # every render votes for a person of its own
        glances = []
        for start in range(0, pool, _CHUNK):
            batch = render_eyes(lonely, range(start, min(start + _CHUNK, pool)), seed=seed + number, size=size)
            glances.append(_features(np.stack([to_uint8(planes) for planes in batch.images.numpy()])))
            report(number * pool + min(start + _CHUNK, pool), ROUNDS * pool)
        nearest, alike = _nearest(wanted, np.concatenate(glances))
        parameters = _shrunken(parameters, draw_values(lonely, range(pool), seed=seed + number), nearest, keep)
        likeness.append(alike)
    return Fit(parameters, tuple(likeness))


def stated(parameters: EyeParameters) -> list[str]:
    """Names of the values that were set, such as ``gaze.pitch_degrees``, and not left at their defaults."""
    sections = parameters.model_dump(exclude_unset=True)
    return [f"{section}.{name}" for section, fields in sections.items() if isinstance(fields, dict) for name in fields]


def evenly(count: int) -> NDArray[np.intp]:
    """Numbers of the photographs that are looked at, of ``count``."""
    return np.linspace(0, count - 1, min(count, MOST)).astype(np.intp)


def _features(images: Patches) -> NDArray[np.float32]:
    """What images (N, H, W) look like at a glance: equalised, blurred, sampled; unit vectors (N, F) of mean 0."""
    height, width = _FEATURES
    glances = np.empty((len(images), height * width), np.float32)
    for number, image in enumerate(images):
        smooth = cv2.GaussianBlur(cv2.equalizeHist(image).astype(np.float32), (0, 0), _SMOOTHING * image.shape[1])
        glances[number] = cv2.resize(smooth, (width, height), interpolation=cv2.INTER_AREA).ravel()
    glances -= glances.mean(axis=1, keepdims=True)
    glances /= np.maximum(np.linalg.norm(glances, axis=1, keepdims=True), 1e-6)
    return glances


def _nearest(wanted: NDArray[np.float32], pool: NDArray[np.float32]) -> tuple[NDArray[np.intp], float]:
    """Numbers of the renders nearest to each photograph, all together, and the mean correlation of the nearest."""
    correlation = wanted @ pool.T
    nearest = np.argpartition(-correlation, NEAREST, axis=1)[:, :NEAREST]
    return nearest.ravel(), float(correlation.max(axis=1).mean())


def _shrunken(
    parameters: EyeParameters, draws: Draws, nearest: NDArray[np.intp], keep: Collection[str]
) -> EyeParameters:
    """Ranges with the mean and the deviation of the values voted for, inside the ranges there were."""
    sections: dict[str, dict[str, tuple[float, float]]] = {}
    for name in RANGES:
        section, _, field = name.partition(".")
        bounds = getattr(getattr(parameters, section), field)
        if name in keep or bounds[0] == bounds[1]:
            continue
        low, high = bounds
        unit = ((draws[name].double().numpy()[nearest] - low) / (high - low)).clip(0, 1) ** (1 / SKEWED.get(name, 1))
        middle, half = float(unit.mean()), float(unit.std()) * math.sqrt(3)  # of a uniform range
        ends = (max(0.0, middle - half), min(1.0, middle + half))
        start, end = (low + (high - low) * share ** SKEWED.get(name, 1) for share in ends)
        sections.setdefault(section, {})[field] = (round(start, 4), round(end, 4))
    update = {name: getattr(parameters, name).model_copy(update=fields) for name, fields in sections.items()}
    return parameters.model_copy(update=update)
