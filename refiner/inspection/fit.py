"""Compare two data sets: differences that a discriminator sees at once, and that a refiner should not learn.

Training (as pre-flight) and ``refiner inspect`` use the same rules. The remedy of each finding is a complete command:
crop, size and equalisation of a data set are in one command.
"""

import math
import shlex
from collections.abc import Sequence

import numpy as np

from refiner.images.arrays import EQUALIZED_BELOW, MAX_SQUEEZE, equalization, to_grey
from refiner.images.io import Image
from refiner.inspection.facts import Appearance, Finding
from refiner.inspection.irises import IrisScale, Reading, find_iris, iris_scale

HISTOGRAM_GAP = 0.6
"""Largest distance of grey level histograms, from 0 to 1, that a refiner may learn."""

SIZE_RATIO = 1.5
"""Ratio of stored widths beyond which one domain is sharper than the other after resizing."""

IRIS_GAP = 0.15
"""Largest relative difference of iris diameters. Smaller ones are within the error of the estimate."""

SAMPLE = 400
"""Number of images that the appearance of a data set is measured on; the iris takes 1 to 2 ms each."""


class AppearanceMeter:
    """Collect the appearance of a few hundred images, one after the other."""

    def __init__(self) -> None:
        self._sizes: list[tuple[int, int]] = []
        self._equalizations: list[float] = []
        self._levels = np.zeros(256, np.int64)
        self._diameters: list[float] = []

    def add(self, image: Image) -> Reading | None:
        """Add one image, and return its iris; None if no iris is found."""
        grey = to_grey(image)
        self._sizes.append((image.shape[0], image.shape[1]))
        self._equalizations.append(equalization(grey))
        self._levels += np.bincount((grey >> 8 if grey.dtype == np.uint16 else grey).ravel(), minlength=256)
        iris = find_iris(grey)
        if iris:
            self._diameters.append(iris.diameter)
        return iris

    def result(self, size: tuple[int, int] | None = None, outline: IrisScale | None = None) -> Appearance:
        """Return the appearance of the images that were added.

        Args:
            size: stored size of the images, if they were resized before they were added.
            outline: size of the iris by the labels.

        Raises:
            ValueError: no image was added.
        """
        if not self._sizes:
            raise ValueError("no image was added")
        height, width = np.median(self._sizes, axis=0)
        shares = self._levels / self._levels.sum()
        equalizations = np.array(self._equalizations)
        return Appearance(
            count=len(self._sizes),
            size=size or (int(height), int(width)),
            equalization=float(np.median(equalizations)),
            equalized_share=float(np.mean(equalizations < EQUALIZED_BELOW)),
            histogram=tuple(float(share) for share in shares.reshape(32, 8).sum(axis=1)),
            mean_level=float(shares @ np.arange(256)) / 255,
            iris=iris_scale(self._diameters, source="estimate"),
            outline=outline,
        )


def compare(
    synthetic: Appearance, real: Appearance, *, paths: Sequence[tuple[str, str]] = (("DIR", "OUT"),) * 2
) -> list[Finding]:
    """Return findings about the fit of two data sets, the most harmful first; empty if they fit.

    Args:
        synthetic, real: appearance of the two data sets.
        paths: for each data set, its path and the path of a corrected copy; both appear in the commands.
    """
    pair = (synthetic, real)
    crops = _crops(synthetic, real)
    commands = [_command(pair, crops, index, *paths[index]) for index in (0, 1)]
    findings = [_equalized_finding(pair, commands) or _histogram_finding(pair, commands)]
    findings += [_shape_finding(pair, commands), _iris_finding(pair, commands)]
    return [finding for finding in findings if finding]


def histogram_gap(first: Appearance, second: Appearance) -> float:
    """Return half the summed difference of the histograms: 0 if equal, 1 if disjoint."""
    return float(np.abs(np.subtract(first.histogram, second.histogram)).sum() / 2)


def iris_shares(synthetic: Appearance, real: Appearance) -> tuple[float, float] | None:
    """Return both iris diameters as shares of the width, after a crop to one shape; None if one is unknown.

    Estimates are preferred to labels, because estimates of both data sets have similar errors.
    """
    shares = []
    for own, other in ((synthetic, real), (real, synthetic)):
        # A label replaces an estimate that is missing or unreliable.
        iris = own.iris if own.iris and own.iris.reliable else own.outline
        if iris is None:
            return None
        shares.append(iris.diameter * own.size[1] / _one_shape(own, other)[1])
    return shares[0], shares[1]


def _iris_ratio(pair: "_Pair") -> float | None:
    """Return the iris size of the real images over that of the renders; None if unknown or close enough to 1."""
    shares = iris_shares(*pair)
    if shares is None or abs(math.log(shares[1] / shares[0])) <= math.log(1 + IRIS_GAP):
        return None
    return shares[1] / shares[0]


_NAMES = ("renders", "real images")
_Pair = tuple[Appearance, Appearance]


def _equalized_finding(pair: _Pair, commands: Sequence[str]) -> Finding | None:
    if pair[0].equalized == pair[1].equalized:
        return None
    other = 1 if pair[0].equalized else 0
    return Finding(
        "equalised",
        f"the {_NAMES[1 - other]} are histogram-equalised and the {_NAMES[other]} are not; a discriminator sees this "
        "difference at once",
        f"equalise the {_NAMES[other]} too: {commands[other]}",
    )


def _histogram_finding(pair: _Pair, commands: Sequence[str]) -> Finding | None:
    gap = histogram_gap(*pair)
    if gap <= HISTOGRAM_GAP:
        return None
    return Finding(
        "histogram",
        f"the grey levels differ: the distance of the histograms is {gap:.2f} (0 equal, 1 disjoint), and the mean "
        f"level is {pair[0].mean_level:.2f} in renders and {pair[1].mean_level:.2f} in real images (1 is white)",
        f"match the exposure in the renderer, or equalise both: {' and '.join(dict.fromkeys(commands))}",
    )


def _shape_finding(pair: _Pair, commands: Sequence[str]) -> Finding | None:
    stored = ["{}x{}".format(*own.size) for own in pair]
    larger = int(math.prod(pair[1].size) > math.prod(pair[0].size))
    if _aspect_gap(*pair) > MAX_SQUEEZE:
        return Finding(
            "aspect",
            f"the renders are {stored[0]} and the real images {stored[1]}; resizing to one size squeezes one of them",
            f"crop the {_NAMES[larger]} to the shape of the {_NAMES[1 - larger]}: {commands[larger]}",
        )
    if 1 / SIZE_RATIO < pair[0].size[1] / pair[1].size[1] < SIZE_RATIO:
        return None
    return Finding(
        "size",
        f"the renders are stored at {stored[0]} and the real images at {stored[1]}; after resizing to one size, one of "
        "them is sharper than the other",
        f"render at the size of the real images, or shrink the {_NAMES[larger]}: {commands[larger]}",
    )


def _iris_finding(pair: _Pair, commands: Sequence[str]) -> Finding | None:
    ratio, shares = _iris_ratio(pair), iris_shares(*pair)
    if ratio is None or shares is None:
        return None
    smaller = 0 if ratio > 1 else 1
    return Finding(
        "iris",
        f"the iris takes {shares[0]:.0%} of the image width in renders and {shares[1]:.0%} in real images; a refiner "
        "that learns to change its size moves what the labels describe",
        f"crop the {_NAMES[smaller]} more closely, or set the scale of the renderer: {commands[smaller]}",
    )


def _aspect_gap(first: Appearance, second: Appearance) -> float:
    return abs(math.log(first.size[0] * second.size[1] / (first.size[1] * second.size[0])))


def _one_shape(own: Appearance, other: Appearance) -> tuple[int, int]:
    """Return the (height, width) to crop an image to for one shape with the other; only the larger is cropped."""
    height, width = own.size
    if _aspect_gap(own, other) <= MAX_SQUEEZE or math.prod(own.size) < math.prod(other.size):
        return height, width
    aspect = other.size[0] / other.size[1]
    return min(height, round(width * aspect)), min(width, round(height / aspect))


def _crops(synthetic: Appearance, real: Appearance) -> list[tuple[int, int] | None]:
    """Return the (height, width) to crop each to, first for one shape, then for one iris size; None for no crop."""
    pair = (synthetic, real)
    # Crop the larger image to the shape of the other.
    shapes = [_one_shape(synthetic, real), _one_shape(real, synthetic)]
    ratio = _iris_ratio(pair)
    # Then crop the one with the smaller iris, until both irises take the same share.
    if ratio is not None:
        smaller = 0 if ratio > 1 else 1
        share = min(ratio, 1 / ratio)
        height, width = shapes[smaller]
        shapes[smaller] = max(1, round(height * share)), max(1, round(width * share))
    return [shape if shape != own.size else None for shape, own in zip(shapes, pair)]


def _command(pair: _Pair, crops: Sequence[tuple[int, int] | None], index: int, path: str, out: str) -> str:
    """Return the command that corrects size, shape, iris scale and levels of one of the two data sets."""
    own, other, crop = pair[index], pair[1 - index], crops[index]
    # Crop, then resize, then equalise, as refiner convert does.
    words = ["refiner", "convert", path, out]
    if crop:
        words += ["--crop", "{}x{}".format(*crop)]
    # Resize to the smaller of both sizes, if they differ much or the crop changed it.
    differs_in_size = not 1 / SIZE_RATIO < own.size[1] / other.size[1] < SIZE_RATIO
    target = min(own.size, other.size, key=math.prod)
    if (crop or differs_in_size) and (crop or own.size) != target:
        words += ["--size", "{}x{}".format(*target)]
    lacks_equalization = other.equalized and not own.equalized
    if lacks_equalization or (own.equalized == other.equalized and histogram_gap(own, other) > HISTOGRAM_GAP):
        words.append("--equalize")
    return shlex.join(words)
