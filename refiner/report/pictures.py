"""Pictures inside a page: PNG data, real pixels, and where a refiner changed what."""

import base64
from typing import Any, NamedTuple

import cv2
import numpy as np
from torch import Tensor

from refiner.data.labels.drift import LabelDrift
from refiner.images.arrays import to_uint8

FULL_CHANGE = 0.5
"""Change, in units of [-1, 1], that is shown in full colour."""


class Pair(NamedTuple):
    """A render with its refined image, ready for a page.

    Attributes:
        name: of the image.
        before, after, difference, nearest: PNG as data URIs; red is where the refined image is brighter, blue where it
            is darker; nearest is the photograph most like it.
        drift: of its label.
        distance: to that photograph, 0 for the same picture.
    """

    name: str
    before: str
    after: str
    difference: str
    nearest: str
    drift: LabelDrift
    distance: float


def data_uri(image: np.ndarray[Any, np.dtype[np.uint8]]) -> str:
    """A PNG of grey (H, W) or RGB (H, W, 3) levels, inside an address."""
    stored = image if image.ndim == 2 else image[..., ::-1]
    found, data = cv2.imencode(".png", stored)
    assert found, "OpenCV writes PNG"
    return "data:image/png;base64," + base64.b64encode(data.tobytes()).decode()


def grey_uri(image: Tensor) -> str:
    """Of (1, H, W) in [-1, 1]."""
    return data_uri(to_uint8(image.numpy()))


def difference_uri(before: Tensor, after: Tensor) -> str:
    """Where (1, H, W) in [-1, 1] changed: white stays, red becomes brighter, blue darker."""
    change = ((after - before).mean(dim=0) / FULL_CHANGE).clamp(-1, 1).numpy()
    brighter, darker = np.clip(change, 0, 1), np.clip(-change, 0, 1)
    colour = np.stack([1 - darker, 1 - brighter - darker, 1 - brighter], axis=-1)
    return data_uri(np.rint(255 * np.clip(colour, 0, 1)).astype(np.uint8))
