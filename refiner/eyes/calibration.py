"""Fit the renderer's ranges to unlabelled real images, by approximate Bayesian computation with rejection sampling.

Each round renders a pool of eyes over the whole ranges. The renders most similar to each real image vote for the values
they were drawn with, and each range shrinks to the values voted for. No label is read. A range that is already known,
such as that of the gaze, can be kept.
"""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from refiner.core.errors import DataError, UsageError
from refiner.data.domains import load_domain
from refiner.eyes.rendering import render_eyes
from refiner.eyes.scene.parameters import EyeParameters
from refiner.eyes.scene.sampling import SKEWED, Draws, draw_values
from refiner.images.arrays import to_uint8

POOL = 8000
"""Renders in a round."""
ROUNDS = 2
"""Rounds of a calibration; the second starts from the ranges of the first."""
NEAREST = 3
"""Renders that vote for one real image."""
MIN_IMAGES = 10
"""Fewest real images that describe a distribution."""
MAX_IMAGES = 2000
"""Most real images that are compared, spread evenly over all."""

RANGES = tuple(
    f"{section}.{field}"
    for section, values in EyeParameters().model_dump().items()
    if isinstance(values, dict) and section != "glasses"  # rare, and their glare is lost in small, blurred features
    for field, bounds in values.items()
    if isinstance(bounds, tuple)
)
"""Names of the ranges that can be fitted."""

_FEATURE_SIZE = (12, 20)  # height and width
_SMOOTHING = 1.5 / 60  # standard deviation of the blur before sampling, relative to the image's width
_CHUNK = 512

Patches = NDArray[np.uint8]
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Fit:
    """Result of a calibration.

    Attributes:
        parameters: the shrunken ranges.
        likeness: for each round, the correlation of a real image with its most similar render, averaged over the real
            images; 1 is identical.
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
    """Shrink the ranges of ``base`` to the values that real images show.

    Args:
        real: (N, 1, H, W) uint8, grey, with or without histogram equalisation.
        base: ranges to start from.
        keep: names of ranges to leave unchanged, such as ``gaze.pitch_degrees``.
        pool: renders in each round; default POOL.
        seed: seed of the renders; the same images and seed give the same ranges.
        report: called with the number of finished renders and the total.

    Raises:
        DataError: there are fewer than MIN_IMAGES real images, or ``keep`` names all ranges.

    Source:
        Pritchard et al. 1999 (rejection sampling without a likelihood). We shrink uniform ranges instead of keeping the
        accepted samples, so that the result is again a set of ranges.
    """
    if set(keep) >= set(RANGES):
        raise UsageError(
            "--calibrate has no range to fit, because --config or --set gives all of them (a file written by "
            "--calibrate does); leave out the ranges to fit"
        )
    if len(real) < MIN_IMAGES:
        raise DataError(f"{len(real)} real images are too few to calibrate on; give {MIN_IMAGES} or more")
    pool = pool or POOL
    compared = real[evenly_spaced(len(real)), 0]
    height, width = compared.shape[1:]
    size = max(4, round(60 * height / width)), 60
    real_features = _features(compared)
    parameters, likeness = base, []
    for round_ in range(ROUNDS):
        # Render the pool. Every image shows another person, so that all votes are independent.
        single_views = parameters.model_copy(update={"images_per_person": 1})
        features = []
        for start in range(0, pool, _CHUNK):
            batch = render_eyes(single_views, range(start, min(start + _CHUNK, pool)), seed=seed + round_, size=size)
            features.append(_features(np.stack([to_uint8(planes) for planes in batch.images.numpy()])))
            report(round_ * pool + min(start + _CHUNK, pool), ROUNDS * pool)

        # Shrink each range to the values of the renders nearest to the real images.
        nearest, similarity = _nearest(real_features, np.concatenate(features))
        draws = draw_values(single_views, range(pool), seed=seed + round_)
        parameters = _shrunken(parameters, draws, nearest, keep)
        likeness.append(similarity)
    return Fit(parameters, tuple(likeness))


def calibrate_on(
    path: Path,
    base: EyeParameters,
    *,
    key: str,
    size: tuple[int, int],
    report: Report = lambda *_: None,
) -> tuple[Fit, int]:
    """Calibrate on a data set of real images; the values that were set in ``base`` are kept.

    Args:
        path: folder or file of the data set.
        base: ranges to start with.
        key: option of the path, for messages.
        size: (height, width) at which the images are read.
        report: called with the progress.

    Returns:
        The fit, and the number of images it was made on.

    Raises:
        DataError: the images cannot be used, or are too few.
    """
    domain = load_domain(path, key=key, size=size, channels=1)
    images = domain.batch(evenly_spaced(len(domain))).numpy()
    patches = np.stack([to_uint8(planes)[None] for planes in images])
    return calibrate(patches, base, keep=explicitly_set(base), report=report), len(images)


def explicitly_set(parameters: EyeParameters) -> list[str]:
    """Return the names of the values that were given, such as ``gaze.pitch_degrees``, rather than left at defaults."""
    sections = parameters.model_dump(exclude_unset=True)
    return [f"{section}.{name}" for section, fields in sections.items() if isinstance(fields, dict) for name in fields]


def evenly_spaced(count: int) -> NDArray[np.intp]:
    """Return the indices, at most MAX_IMAGES of ``count``, of the real images to compare."""
    return np.linspace(0, count - 1, min(count, MAX_IMAGES)).astype(np.intp)


def _features(images: Patches) -> NDArray[np.float32]:
    """Equalise, blur and sample images (N, H, W): unit vectors (N, F) of mean 0."""
    height, width = _FEATURE_SIZE
    features = np.empty((len(images), height * width), np.float32)
    for number, image in enumerate(images):
        smooth = cv2.GaussianBlur(cv2.equalizeHist(image).astype(np.float32), (0, 0), _SMOOTHING * image.shape[1])
        features[number] = cv2.resize(smooth, (width, height), interpolation=cv2.INTER_AREA).ravel()
    features -= features.mean(axis=1, keepdims=True)
    features /= np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-6)
    return features


def _nearest(real: NDArray[np.float32], pool: NDArray[np.float32]) -> tuple[NDArray[np.intp], float]:
    """Return the indices of the renders nearest to each real image, flat, and the mean correlation of the nearest."""
    correlation = real @ pool.T  # (N, pool)
    nearest = np.argpartition(-correlation, NEAREST, axis=1)[:, :NEAREST]
    return nearest.ravel(), float(correlation.max(axis=1).mean())


def _shrunken(
    parameters: EyeParameters, draws: Draws, nearest: NDArray[np.intp], keep: Collection[str]
) -> EyeParameters:
    """Return ranges with the mean and the deviation of the values voted for, inside the previous ranges."""
    sections: dict[str, dict[str, tuple[float, float]]] = {}
    for name in RANGES:
        section, _, field = name.partition(".")
        bounds = getattr(getattr(parameters, section), field)
        if name in keep or bounds[0] == bounds[1]:
            continue
        low, high = bounds
        # Undo the skew of the draw, so that votes are compared on the uniform scale of [0, 1].
        unit = ((draws[name].double().numpy()[nearest] - low) / (high - low)).clip(0, 1) ** (1 / SKEWED.get(name, 1))
        middle, half = float(unit.mean()), float(unit.std()) * math.sqrt(3)  # a uniform range of this deviation
        ends = (max(0.0, middle - half), min(1.0, middle + half))
        start, end = (low + (high - low) * share ** SKEWED.get(name, 1) for share in ends)
        sections.setdefault(section, {})[field] = (round(start, 4), round(end, 4))
    update = {name: getattr(parameters, name).model_copy(update=fields) for name, fields in sections.items()}
    return parameters.model_copy(update=update)
