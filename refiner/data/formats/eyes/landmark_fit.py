"""Check that landmarks lie on the eye in the picture: its pupil must be darker than the white around the iris.

Renders are often scaled to save space, and their JSON files left as they were. The landmarks then lie beside the eye.
In 80 real renders of UnityEyes the contrast is 2.3 in the median, and above 1.06 in 95 %. If the pictures are scaled by
5 %, it is 0.8 in the median; by 10 %, 0.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import cv2
import numpy as np

from refiner.data.formats.eyes.unityeyes_scene import Landmarks, Points
from refiner.images.io import Image

DOUBTFUL = 1.0
"""Median contrast of many pictures below which the landmarks may be off the eye: another size is tried."""

OFF = 0.5
"""Median contrast below which the landmarks are off the eye, even if no other size fits."""

CERTAIN = 1.2
"""Contrast above which the landmarks lie on the eye."""

_MANY, _SEVERAL = 8, 3  # pictures
_WIDTH = 96  # pixels to which the surroundings of the eye are resized
_HEIGHTS = [
    *(*range(120, 720, 30), *range(720, 2180, 80), 128, 144, 192, 224, 256, 288, 320, 384, 400, 432, 500, 512, 576),
    *(640, 768, 864, 1024, 1050, 1080, 1152, 1536),
]
_ASPECTS = (4 / 3, 16 / 9, 16 / 10, 5 / 4, 3 / 2, 1.0)

Grey = np.ndarray[Any, np.dtype[Any]]
Size = tuple[int, int]


class _Seen(NamedTuple):
    """A picture of the sample, its green channel or grey, and its landmarks."""

    grey: Grey
    landmarks: Landmarks


class LandmarkFit:
    """The fit of landmarks to the pictures of one data set, by the size of the pictures.

    Args:
        sample: pictures of the data set, each with its landmarks, y from the bottom.
    """

    def __init__(self, sample: Iterable[tuple[Image, Landmarks]]) -> None:
        by_size: dict[Size, list[_Seen]] = {}
        for picture, landmarks in sample:
            grey = _green(picture)
            by_size.setdefault((grey.shape[0], grey.shape[1]), []).append(_Seen(grey, landmarks))
        self._sound: set[Size] = set()  # sizes of many pictures that fit
        self._problems: dict[Size, str] = {}
        for size, seen in by_size.items():
            contrast = _median(seen, size)
            if len(seen) >= _MANY and not contrast < DOUBTFUL:
                self._sound.add(size)
            elif contrast < (DOUBTFUL if len(seen) >= _MANY else OFF):
                best, reached = _best_size(seen[:_MANY])
                if reached > max(CERTAIN, contrast + OFF):
                    self._problems[size] = _sentence(size, best)
                elif contrast < OFF and len(seen) >= _SEVERAL:
                    self._problems[size] = _sentence(size, None)

    def problem(self, picture: Image, landmarks: Landmarks) -> str:
        """Return the reason why landmarks do not fit a picture; empty if they do.

        Args:
            picture: a picture of the data set.
            landmarks: its landmarks, y from the bottom.
        """
        size = (picture.shape[0], picture.shape[1])
        if size in self._sound or size in self._problems:
            return self._problems.get(size, "")
        # A picture of a rare size is refused only if its landmarks clearly fit another size.
        seen = _Seen(_green(picture), landmarks)
        if not _contrast(seen, size) < OFF / 2:
            return ""
        best, reached = _best_size([seen])
        return _sentence(size, best) if reached > CERTAIN else ""


def _green(picture: Image) -> Grey:
    return picture if picture.ndim == 2 else picture[..., 1]


def _sentence(size: Size, best: Size | None) -> str:
    height, width = size
    if best is None:
        return (
            "has landmarks in its JSON file that do not lie on an eye; the picture was scaled, cropped or exchanged "
            "after rendering, so use the original picture"
        )
    return (
        f"has landmarks in its JSON file that do not lie on an eye; they fit a picture of about {best[0]}x{best[1]} "
        f"(height x width), and this one is {height}x{width}, so it was scaled or cropped after rendering; "
        "scale it back, or use the original picture"
    )


def _best_size(seen: list[_Seen]) -> tuple[Size, float]:
    """Return the size of the render that the landmarks fit best, and the median contrast for it."""
    height, width = seen[0].grey.shape
    same = [(high, round(high * width / height)) for high in _HEIGHTS]
    squeezed = [(high, round(high * aspect)) for high in _HEIGHTS for aspect in _ASPECTS]
    first, second = (
        max((np.nan_to_num(_median(seen, size, sharp=True)), size) for size in sizes) for sizes in (same, squeezed)
    )
    # Another shape must be clearly better, since a picture is scaled more often than squeezed.
    _, best = second if second[0] > 1.2 * first[0] else first
    return best, _median(seen, best)


def _median(seen: list[_Seen], rendered: Size, *, sharp: bool = False) -> float:
    contrasts = [contrast for one in seen if not np.isnan(contrast := _contrast(one, rendered, sharp=sharp))]
    return float(np.median(contrasts)) if contrasts else np.nan


def _contrast(seen: _Seen, rendered: Size, *, sharp: bool = False) -> float:
    """Return how much darker the pupil is than the white of the eye, if the render had a certain size.

    Args:
        seen: the picture and its landmarks.
        rendered: (height, width) of the render to which the landmarks belong.
        sharp: compare the means of the whole iris and the white, which fall with the smallest shift.

    Returns:
        Difference of the levels, as a share of the standard deviation around the eye; 0 if the landmarks are outside
        the picture; NaN if the eye is nearly closed or too small.
    """
    if not min(rendered):  # the picture is a single line
        return np.nan
    height, width = seen.grey.shape
    scale = np.array([width / rendered[1], height / rendered[0]])
    iris, lids = (
        (points * [1, -1] + [0, rendered[0]]) * scale for points in (seen.landmarks.iris, seen.landmarks.lids)
    )
    # Resize the surroundings of the eye.
    every = np.concatenate([iris, lids])
    low, high = every.min(axis=0), every.max(axis=0)
    low, high = low - 0.15 * (high - low), high + 0.15 * (high - low)
    if not (np.isfinite(every).all() and 8 < high[0] - low[0] < 1e5 and high[1] - low[1] > 4):
        return np.nan
    if (low + high)[0] / 2 >= width - 1 or (low + high)[1] / 2 >= height - 1 or (low + high).min() < 0:
        return 0.0
    zoom = _WIDTH / (high[0] - low[0])
    rows = max(4, min(2 * _WIDTH, round((high[1] - low[1]) * zoom)))
    left, top = (max(0, int(part)) for part in low)
    part = np.ascontiguousarray(seen.grey[top : int(high[1]) + 2, left : int(high[0]) + 2])
    matrix = np.array([[zoom, 0, (left - low[0]) * zoom], [0, zoom, (top - low[1]) * zoom]])
    around = cv2.warpAffine(part, matrix, (_WIDTH, rows), borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    # Compare the middle of the iris with the white of the eye.
    middle = iris.mean(axis=0)

    def mask(points: Points) -> np.ndarray[Any, np.dtype[np.bool_]]:
        filled = np.zeros((rows, _WIDTH), np.uint8)
        cv2.fillPoly(filled, [np.rint((points - low) * zoom).astype(np.int32)], 1)
        return filled.astype(bool)

    opening = mask(lids)
    near, far = (0.97, 1.03) if sharp else (0.4, 1.2)
    inner = opening & mask(middle + near * (iris - middle))
    white = opening & ~mask(middle + far * (iris - middle))
    if inner.sum() < 8 or white.sum() < 8:
        return np.nan
    if not around.any():  # a black picture shows no eye
        return np.nan
    level = np.mean if sharp else np.median
    return float((level(around[white]) - level(around[inner])) / (around.std() + 5 * around.max() / 255))
