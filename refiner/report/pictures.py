"""Pictures for a page: PNG data URIs of images, and of the changes that a refiner made."""

import base64
from typing import Any, NamedTuple

import cv2
import numpy as np
from torch import Tensor

from refiner.data.labels.drift_table import LabelDrift
from refiner.images.arrays import to_uint8

FULL_CHANGE = 0.5
"""Change that is shown in full colour, in the units of images in [-1, 1]."""


class Pair(NamedTuple):
    """A render and its refined image, as data URIs for a page.

    Attributes:
        name: name of the image.
        before, after: the render and the refined image.
        difference: their difference; red if the refined image is brighter, blue if it is darker.
        nearest: the real image that is nearest to the refined image.
        drift: label drift of the pair.
        distance: distance to the nearest real image; 0 for the same picture.
    """

    name: str
    before: str
    after: str
    difference: str
    nearest: str
    drift: LabelDrift
    distance: float


def data_uri(image: np.ndarray[Any, np.dtype[np.uint8]]) -> str:
    """Return a grey (H, W) or RGB (H, W, 3) image as PNG in a data URI."""
    # OpenCV expects BGR.
    stored = image if image.ndim == 2 else image[..., ::-1]
    done, data = cv2.imencode(".png", stored)
    assert done, "OpenCV writes PNG"
    return "data:image/png;base64," + base64.b64encode(data.tobytes()).decode()


def grey_uri(image: Tensor) -> str:
    """Return a grey image (1, H, W) in [-1, 1] as PNG in a data URI."""
    return data_uri(to_uint8(image.numpy()))


def difference_uri(before: Tensor, after: Tensor) -> str:
    """Return the change of images (C, H, W) in [-1, 1] as a data URI: red is brighter, blue darker, white the same."""
    change = ((after - before).mean(dim=0) / FULL_CHANGE).clamp(-1, 1).numpy()
    brighter, darker = np.clip(change, 0, 1), np.clip(-change, 0, 1)
    # Take red and green from darker pixels, green and blue from brighter ones.
    colour = np.stack([1 - darker, 1 - brighter - darker, 1 - brighter], axis=-1)
    return data_uri(np.rint(255 * np.clip(colour, 0, 1)).astype(np.uint8))
