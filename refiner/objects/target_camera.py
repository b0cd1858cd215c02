"""The simulated target camera for scenes of objects: a cheap camera in warm, dim light.

It changes how things look, and moves nothing: the labels of a render hold for the image that the camera takes.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from refiner.core.rng import numpy_generator
from refiner.images.io import Image

Range = tuple[float, float]
Planes = NDArray[np.float32]


@dataclass(frozen=True)
class ObjectCamera:
    """Camera that takes images of scenes; the same image number always gets the same light and noise.

    The light is linear up to the sensor. Each pixel of the sensor sees one colour, as in a Bayer pattern.

    Attributes:
        seed: seed of all draws.
        red, blue: strength of red and blue light against green.
        exposure: brightness.
        crosstalk: share of the other colours that each colour filter lets through.
        vignette: loss of light in the corners.
        blur: standard deviation of the lens's blur, in pixels of a 96x128 image.
        shot_noise, read_noise: noise of full light, and of darkness.
        gamma: exponent of the tone curve; the renderer's is 2.
        black: level that darkness is lifted to.
        quality: quality of the JPEG file.
    """

    seed: int = 0
    red: Range = (1.0, 1.1)
    blue: Range = (0.65, 0.8)
    exposure: Range = (0.35, 0.5)
    crosstalk: Range = (0.05, 0.08)
    vignette: Range = (0.25, 0.45)
    blur: Range = (0.7, 1.0)
    shot_noise: float = 0.012
    read_noise: float = 0.004
    gamma: Range = (1.7, 2.0)
    black: Range = (0.05, 0.08)
    quality: tuple[int, int] = (75, 90)

    def __call__(self, image: Image, number: int) -> Image:
        """Return the image that the camera takes of a render.

        Args:
            image: (H, W, 3), uint8, RGB.
            number: number of the image.

        Returns:
            (H, W, 3), uint8, RGB.

        Raises:
            ValueError: the shape or type of ``image`` is wrong.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"image is {image.dtype} of shape {image.shape}, but must be uint8 (H, W, 3)")
        rng = numpy_generator(self.seed, "object-camera", number)
        # Light through the lens: its colour, the loss in the corners, the blur.
        light: Planes = np.square(image.astype(np.float32) / np.float32(255))
        gains = np.array([rng.uniform(*self.red), 1.0, rng.uniform(*self.blue)]) * rng.uniform(*self.exposure)
        light *= gains.astype(np.float32) * _vignette(image.shape[:2], rng.uniform(*self.vignette))[..., None]
        sigma = rng.uniform(*self.blur) * image.shape[0] / 96
        light = np.asarray(cv2.GaussianBlur(light, (0, 0), sigma), np.float32)
        # The sensor: colours leak into each other, every pixel sees one of them, with noise.
        leak = rng.uniform(*self.crosstalk)
        light = (1 - 2 * leak) * light + leak * (light.sum(axis=2, keepdims=True) - light)
        spread = np.sqrt(self.read_noise**2 + self.shot_noise**2 * light)
        light = _demosaic(light + spread * rng.standard_normal(light.shape, np.float32))
        # Develop the picture: tone curve, lifted darkness, JPEG.
        toned = np.clip(light / self.exposure[1], 0, 1) ** np.float32(1 / rng.uniform(*self.gamma))
        black = rng.uniform(*self.black)
        levels = np.rint(255 * (black + (1 - black) * toned) * np.float32(0.9)).astype(np.uint8)
        return _compress(levels, int(rng.integers(*self.quality, endpoint=True)))


def _vignette(size: tuple[int, ...], loss: float) -> Planes:
    """Return the share of light that arrives at each pixel, (H, W): 1 in the middle, 1 - loss in the corners."""
    y, x = ((np.arange(side, dtype=np.float32) - (side - 1) / 2) / (max(size) / 2) for side in size)
    distance = y[:, None] ** 2 + x[None, :] ** 2
    return np.asarray(1 - loss * distance / distance.max(), np.float32)


def _demosaic(light: Planes) -> Planes:
    """Keep one colour of each pixel, and fill the others from its neighbours, symmetrically, so that nothing moves."""
    seen = np.zeros_like(light)
    seen[::2, ::2, 0] = seen[::2, 1::2, 1] = seen[1::2, ::2, 1] = seen[1::2, 1::2, 2] = 1
    kernel = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float32)
    filled: Any = cv2.filter2D(light * seen, -1, kernel) / cv2.filter2D(seen, -1, kernel)
    return np.where(seen > 0, light, filled)


def _compress(image: Image, quality: int) -> Image:
    """Return an RGB image as it comes out of a JPEG file."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None, "OpenCV reads its own files"
    return np.ascontiguousarray(decoded[..., ::-1], np.uint8)
