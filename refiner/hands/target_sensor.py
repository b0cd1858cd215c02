"""The simulated target sensor: a statistical model of a structured-light depth sensor that looks at a hand.

Depth is smoothed over the matched patch and quantised. It scatters more on surfaces that turn away. It is lost at
edges, where the light misses the hand, and in spots. The labels stay valid.

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
    """Sensor that degrades depth images; the same image number always gets the same noise.

    Attributes:
        seed: seed of all noise.
        blur_mm: standard deviation of the smoothing over the matched patch.
        step_mm: distance between two depth levels.
        scatter_mm: standard deviation of the depth of a surface that faces the sensor.
        edge_loss: share of pixels lost at the edge of the hand.
        spots: mean number of lost spots in an image.
    """

    seed: int = 0
    blur_mm: float = 5.0
    step_mm: float = 4.0
    scatter_mm: float = 2.5
    edge_loss: float = 0.75
    spots: float = 2.5

    def __call__(self, depth: Image, number: int) -> Image:
        """Return the image that the sensor takes of a depth image.

        Args:
            depth: (H, W), uint16, cropped to a cube of 300 mm.
            number: number of the image.

        Returns:
            (H, W), uint16, in the same levels.
        """
        rng = numpy_generator(self.seed, "sensor", number)
        hand = depth != BACKGROUND
        pixel = CUBE_MM / min(depth.shape)

        # Smooth within the hand, then add noise that grows with the slope, then quantise.
        millimetres = np.where(hand, depth, 0).astype(np.float32) / FAR_LEVEL * CUBE_MM
        smooth = _mean_within(millimetres, hand, self.blur_mm / pixel)
        down, across = np.gradient(smooth)
        slope = np.where(_inner(hand), np.hypot(down, across) / pixel, 1.0)
        smooth += rng.normal(0, self.scatter_mm, depth.shape) * (1 + np.minimum(slope, 4))
        steps = np.rint(smooth / self.step_mm) * self.step_mm
        levels = np.clip(np.rint(steps / CUBE_MM * FAR_LEVEL), 0, FAR_LEVEL)

        # Lose pixels at the edges and in spots.
        lost = (hand & ~_inner(hand) & (rng.random(depth.shape) < self.edge_loss)) | self._spots(depth.shape, rng)
        return np.where(hand & ~lost, levels, BACKGROUND).astype(np.uint16)

    def _spots(
        self, shape: tuple[int, ...], rng: np.random.Generator
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """Return the pixels of randomly placed elliptic spots."""
        y, x = np.ogrid[: shape[0], : shape[1]]
        lost = np.zeros(shape, bool)
        for _ in range(rng.poisson(self.spots)):
            centre, radii = rng.uniform(0, shape), rng.uniform(0.008, 0.025, 2) * min(shape)
            lost |= ((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2 < 1
        return lost


def _mean_within(values: Any, hand: Any, sigma: float) -> Any:
    """Blur ``values`` within the hand only, because a mean of hand and background is no surface."""
    weights = cv2.GaussianBlur(hand.astype(np.float32), (0, 0), max(sigma, 0.1))
    return cv2.GaussianBlur(values * hand, (0, 0), max(sigma, 0.1)) / np.maximum(weights, 1e-6)


def _inner(hand: Any) -> Any:
    """Return the pixels of the hand that have no background pixel next to them."""
    return cv2.erode(hand.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
