"""The simulated target camera, which turns clean renders into softer, noisier, unevenly lit images.

Together with :func:`target_parameters` it makes the "real" images of the demo and the tests. This second domain differs
from the renders both in the people and in the camera, and needs no licence. The geometry is unchanged.
"""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refiner.core.rng import derived_seed
from refiner.eyes.scene.parameters import (
    EyeParameters,
    GeometryRanges,
    HairRanges,
    IrisRanges,
    LidRanges,
    LightRanges,
    OpticsRanges,
    ScleraRanges,
    SkinRanges,
)
from refiner.images.arrays import to_grey


class TargetCamera:
    """Apply blur, uneven light, exposure, gamma, sensor noise and JPEG artefacts, drawn anew for each image.

    Args:
        seed: seed of all draws.

    Examples:
        >>> image = TargetCamera(7)(np.full((36, 60), 128, np.uint8), 0)
        >>> image.shape, image.dtype
        ((36, 60), dtype('uint8'))
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._pipeline: Any = None

    def __call__(self, image: NDArray[np.uint8], index: int) -> NDArray[np.uint8]:
        """Return the image that the camera takes of a render.

        Args:
            image: uint8 (H, W) or (H, W, 3), 0 to 255.
            index: number of the image; the same seed and index draw the same degradation.

        Returns:
            uint8, of the same shape; no point moves.

        Raises:
            ValueError: the shape or type of ``image`` is wrong.
        """
        if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
            raise ValueError(f"image is {image.dtype} of shape {image.shape}, but must be uint8 (H, W) or (H, W, 3)")
        if self._pipeline is None:
            self._pipeline = _pipeline()
        # "stand-in-camera" is part of the random stream; do not change it.
        self._pipeline.set_random_seed(derived_seed(self.seed, "stand-in-camera", index) % 2**32)
        # albumentations needs a channel axis, but some of its steps drop an axis of length 1: repeat it to three.
        colour = image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)
        taken: NDArray[np.uint8] = self._pipeline(image=colour)["image"]
        if image.ndim == 3:
            return taken
        return to_grey(taken)


def _pipeline() -> Any:
    # albumentations checks for updates online at import unless this is set. The import takes seconds.
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    import albumentations

    return albumentations.Compose(
        [
            albumentations.GaussianBlur(sigma_limit=(0.7, 1.3), blur_limit=0, p=1.0),
            albumentations.Illumination(mode="linear", intensity_range=(0.1, 0.2), effect_type="both", p=0.8),
            albumentations.RandomBrightnessContrast(brightness_limit=(0.03, 0.1), contrast_limit=(-0.5, -0.3), p=1.0),
            albumentations.RandomGamma(gamma_limit=(80, 120), p=0.8),
            albumentations.GaussNoise(std_range=(0.01, 0.022), per_channel=False, p=1.0),
            albumentations.ImageCompression(compression_type="jpeg", quality_range=(50, 85), p=1.0),
        ]
    )


def target_parameters() -> EyeParameters:
    """Return the ranges of the target domain, which overlap the default ranges but are clearly shifted.

    The skin is darker and more mottled, the lids are heavier, the lashes stronger, the brows lower, the eyes deeper,
    the irises darker and the sclera duller. More light comes from above and from the side.
    """
    return EyeParameters(
        geometry=GeometryRanges(
            eyeball_depth_mm=(5.5, 8.0),
            eyeball_up_mm=(1.2, 2.8),
            eyeball_right_mm=(0.2, 2.2),
            iris_radius_mm=(5.5, 5.9),
        ),
        lids=LidRanges(
            upper_elevation_degrees=(12.0, 19.0),
            lower_elevation_degrees=(-27.0, -21.0),
            crease_distance_mm=(1.0, 3.5),
            crease_strength=(0.4, 1.0),
            bag_strength=(0.3, 1.0),
            waterline=(0.0, 0.25),
        ),
        hair=HairRanges(
            darkness=(0.6, 0.97), lash_density=(0.4, 0.95), lower_lash_density=(0.1, 0.5), brow_height_mm=(12.0, 20.0)
        ),
        skin=SkinRanges(
            luminance=(0.25, 0.6),
            mottle=(0.02, 0.07),
            grain=(0.02, 0.07),
            dark_circle=(0.1, 0.4),
            socket_depth_mm=(1.0, 4.0),
            brow_ridge_mm=(2.0, 7.0),
        ),
        iris=IrisRanges(luminance=(0.04, 0.24), pupil_radius_mm=(1.0, 2.2)),
        sclera=ScleraRanges(luminance=(0.45, 0.7), redness=(0.1, 0.5), corner_shade=(0.35, 0.85)),
        light=LightRanges(elevation_degrees=(15.0, 80.0), direct=(0.3, 1.1), ambient=(0.25, 0.5)),
        optics=OpticsRanges(contrast=(0.7, 1.0)),
    )
