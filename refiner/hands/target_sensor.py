"""A stand-in for a depth sensor: what structured light does to the depth of a hand, as far as statistics go.

Depth is smoothed over the patch that is matched, comes in steps, scatters more where the surface turns away, and is
lost at the edges, where light falls past, and in spots. Labels stay where they are.

Source: Khoshelham and Elberink, Accuracy and Resolution of Kinect Depth Data, Sensors 2012 (steps and scatter grow with
distance); Nguyen et al., Modeling Kinect Sensor Noise, 3DIMPVT 2012 (scatter by angle, loss at edges).
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from refiner.core.rng import numpy_generator
from refiner.data.formats.nyu_hand import BACKGROUND, CUBE_MM, FAR_LEVEL
from refiner.images.io import Image


@dataclass(frozen=True)
class TargetSensor:
    """Takes depth images as a sensor would; the same number, the same noise.

    Attributes:
        seed: of all noise.
        blur_mm: standard deviation of the patch that is matched.
        step_mm: between two depths that it can tell.
        scatter_mm: standard deviation of depth on a surface that faces it.
        edge_loss: share of pixels lost at the edge of the hand.
        spots: mean number of spots that are lost.
    """

    seed: int = 0
    blur_mm: float = 5.0
    step_mm: float = 4.0
    scatter_mm: float = 2.5
    edge_loss: float = 0.75
    spots: float = 2.5

    def __call__(self, depth: Image, number: int) -> Image:
        """What it makes of a cut depth image, (H, W), uint16."""
        rng = numpy_generator(self.seed, "sensor", number)
        hand = depth != BACKGROUND
        pixel = CUBE_MM / min(depth.shape)
        millimetres = np.where(hand, depth, 0).astype(np.float32) / FAR_LEVEL * CUBE_MM
        smooth = _mean_within(millimetres, hand, self.blur_mm / pixel)
        down, across = np.gradient(smooth)
        slope = np.where(_inner(hand), np.hypot(down, across) / pixel, 1.0)
        smooth += rng.normal(0, self.scatter_mm, depth.shape) * (1 + np.minimum(slope, 4))
        steps = np.rint(smooth / self.step_mm) * self.step_mm
        levels = np.clip(np.rint(steps / CUBE_MM * FAR_LEVEL), 0, FAR_LEVEL)
        lost = (hand & ~_inner(hand) & (rng.random(depth.shape) < self.edge_loss)) | self._spots(depth.shape, rng)
        return np.where(hand & ~lost, levels, BACKGROUND).astype(np.uint16)

    def _spots(
        self, shape: tuple[int, ...], rng: np.random.Generator
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        y, x = np.ogrid[: shape[0], : shape[1]]
        lost = np.zeros(shape, bool)
        for _ in range(rng.poisson(self.spots)):
            centre, radii = rng.uniform(0, shape), rng.uniform(0.008, 0.025, 2) * min(shape)
            lost |= ((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2 < 1
        return lost


def _mean_within(values: Any, hand: Any, sigma: float) -> Any:
    """Blurred over the hand alone: the mean of a finger and the wall behind lies nowhere."""
    weights = cv2.GaussianBlur(hand.astype(np.float32), (0, 0), max(sigma, 0.1))
    return cv2.GaussianBlur(values * hand, (0, 0), max(sigma, 0.1)) / np.maximum(weights, 1e-6)


def _inner(hand: Any) -> Any:
    """Pixels of the hand that have none of the background beside them."""
    return cv2.erode(hand.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
