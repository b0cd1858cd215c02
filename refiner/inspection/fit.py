"""Whether two data sets fit each other: what a discriminator would see before it looks at an eye.

One set of rules, for the pre-flight of training and for ``refiner inspect``. Every finding ends in the command
that mends it, complete: crop, size and equalisation of a data set stand in one command.
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
"""Share of the grey levels that must move before the difference is no longer the refiner's to learn."""

SIZE_RATIO = 1.5
"""Ratio of stored widths beyond which resizing leaves one domain sharper than the other."""

IRIS_GAP = 0.15
"""Share by which iris diameters may differ: what the estimate can tell for certain, and a refiner can bear."""

SAMPLE = 400
"""Images that are enough to judge a data set's looks, at 1 to 2 ms each for the iris."""


class AppearanceMeter:
    """Gathers the appearance of a few hundred images, one after the other."""

    def __init__(self) -> None:
        self._sizes: list[tuple[int, int]] = []
        self._equalizations: list[float] = []
        self._levels = np.zeros(256, np.int64)
        self._diameters: list[float] = []

    def add(self, image: Image) -> Reading | None:
        """Take one image into account; and find its iris."""
        grey = to_grey(image)
        self._sizes.append((image.shape[0], image.shape[1]))
        self._equalizations.append(equalization(grey))
        self._levels += np.bincount((grey >> 8 if grey.dtype == np.uint16 else grey).ravel(), minlength=256)
        iris = find_iris(grey)
        if iris:
            self._diameters.append(iris.diameter)
        return iris

    def result(self, size: tuple[int, int] | None = None, outline: IrisScale | None = None) -> Appearance:
        """What was gathered.

        Args:
            size: the size the images are stored at, where those that were added had been resized.
            outline: how large the iris is by the labels.
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
    synthetic: Appearance, real: Appearance, *, places: Sequence[tuple[str, str]] = (("DIR", "OUT"),) * 2
) -> list[Finding]:
    """What does not fit, most harmful first; empty when the two can be trained on as they are.

    Args:
        renders, photographs: the two data sets.
        places: for each, where it is and where a mended copy of it would go, for the commands.
    """
    pair = (synthetic, real)
    crops = _crops(synthetic, real)
    commands = [_command(pair, crops, index, *places[index]) for index in (0, 1)]
    findings = [_equalized_finding(pair, commands) or _histogram_finding(pair, commands)]
    findings += [_shape_finding(pair, commands), _iris_finding(pair, commands)]
    return [finding for finding in findings if finding]


def histogram_gap(first: Appearance, second: Appearance) -> float:
    """Half the summed difference of the histograms: 0 the same, 1 disjoint."""
    return float(np.abs(np.subtract(first.histogram, second.histogram)).sum() / 2)


def iris_shares(synthetic: Appearance, real: Appearance) -> tuple[float, float] | None:
    """Iris diameter as a share of the width in each, once both have one shape; None where it cannot be told.

    Estimates are compared with estimates, since they err alike; a label stands in for an estimate that failed.
    """
    shares = []
    for look, other in ((synthetic, real), (real, synthetic)):
        iris = look.iris if look.iris and look.iris.reliable else look.outline
        if iris is None:
            return None
        shares.append(iris.diameter * look.size[1] / _one_shape(look, other)[1])
    return shares[0], shares[1]


def _iris_ratio(pair: "_Pair") -> float | None:
    """Iris of the photographs over that of the renders where it is too far from 1, else None."""
    shares = iris_shares(*pair)
    if shares is None or abs(math.log(shares[1] / shares[0])) <= math.log(1 + IRIS_GAP):
        return None
    return shares[1] / shares[0]


_NAMES = ("synthetic", "real")
_Pair = tuple[Appearance, Appearance]


def _equalized_finding(pair: _Pair, commands: Sequence[str]) -> Finding | None:
    if pair[0].equalized == pair[1].equalized:
        return None
    other = 1 if pair[0].equalized else 0
    return Finding(
        "equalised",
        f"the {_NAMES[1 - other]} are histogram-equalised and the {_NAMES[other]} are not, which a discriminator sees "
        "at once",
        f"equalise the {_NAMES[other]} too: {commands[other]}",
    )


def _histogram_finding(pair: _Pair, commands: Sequence[str]) -> Finding | None:
    gap = histogram_gap(*pair)
    if gap <= HISTOGRAM_GAP:
        return None
    return Finding(
        "histogram",
        f"grey levels differ: their histograms are {gap:.2f} apart of 1 (mean level {pair[0].mean_level:.2f} in "
        f"renders, {pair[1].mean_level:.2f} in photographs, of 1)",
        f"match exposure in the renderer, or equalise both: {' and '.join(dict.fromkeys(commands))}",
    )


def _shape_finding(pair: _Pair, commands: Sequence[str]) -> Finding | None:
    stored = ["{}x{}".format(*look.size) for look in pair]
    larger = int(math.prod(pair[1].size) > math.prod(pair[0].size))
    if _aspect_gap(*pair) > MAX_SQUEEZE:
        return Finding(
            "aspect",
            f"renders are {stored[0]} and photographs {stored[1]}: resized to one size, one of them would be squeezed",
            f"cut the {_NAMES[larger]} to the others' shape: {commands[larger]}",
        )
    if 1 / SIZE_RATIO < pair[0].size[1] / pair[1].size[1] < SIZE_RATIO:
        return None
    return Finding(
        "size",
        f"renders are stored at {stored[0]} and photographs at {stored[1]}, so one of them is sharper than the "
        "other once both are resized",
        f"render at the photographs' size, or bring the {_NAMES[larger]} to the others': {commands[larger]}",
    )


def _iris_finding(pair: _Pair, commands: Sequence[str]) -> Finding | None:
    ratio, shares = _iris_ratio(pair), iris_shares(*pair)
    if ratio is None or shares is None:
        return None
    smaller = 0 if ratio > 1 else 1
    return Finding(
        "iris",
        f"in images of one shape, the iris is {shares[0]:.0%} of the width in renders and {shares[1]:.0%} in "
        "photographs: a refiner that makes up for that moves what the labels describe",
        f"cut the {_NAMES[smaller]} closer, or set the renderer's scale: {commands[smaller]}",
    )


def _aspect_gap(first: Appearance, second: Appearance) -> float:
    return abs(math.log(first.size[0] * second.size[1] / (first.size[1] * second.size[0])))


def _one_shape(look: Appearance, other: Appearance) -> tuple[int, int]:
    """(height, width) of the part of an image that has the shape of the other's: the larger image gives way."""
    height, width = look.size
    if _aspect_gap(look, other) <= MAX_SQUEEZE or math.prod(look.size) < math.prod(other.size):
        return height, width
    aspect = other.size[0] / other.size[1]
    return min(height, round(width * aspect)), min(width, round(height / aspect))


def _crops(synthetic: Appearance, real: Appearance) -> list[tuple[int, int] | None]:
    """What has to be cut from each: one shape first, then one iris scale; None leaves it whole."""
    pair = (synthetic, real)
    shapes = [_one_shape(synthetic, real), _one_shape(real, synthetic)]
    ratio = _iris_ratio(pair)
    if ratio is not None:
        smaller = 0 if ratio > 1 else 1
        share = min(ratio, 1 / ratio)
        height, width = shapes[smaller]
        shapes[smaller] = max(1, round(height * share)), max(1, round(width * share))
    return [shape if shape != look.size else None for shape, look in zip(shapes, pair)]


def _command(pair: _Pair, crops: Sequence[tuple[int, int] | None], index: int, place: str, out: str) -> str:
    """The command that mends one of the two, everything at once."""
    look, other, crop = pair[index], pair[1 - index], crops[index]
    words = ["refiner", "convert", place, out]
    if crop:
        words += ["--crop", "{}x{}".format(*crop)]
    apart = not 1 / SIZE_RATIO < look.size[1] / other.size[1] < SIZE_RATIO
    target = min(look.size, other.size, key=math.prod)
    if (crop or apart) and (crop or look.size) != target:
        words += ["--size", "{}x{}".format(*target)]
    different = look.equalized != other.equalized and not look.equalized
    if different or (look.equalized == other.equalized and histogram_gap(look, other) > HISTOGRAM_GAP):
        words.append("--equalize")
    return shlex.join(words)
