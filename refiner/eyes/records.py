"""Rendered eyes as labelled records: 8-bit images and the labels of each."""

from collections.abc import Iterator

from refiner.data.labels.records import Labels, Record
from refiner.eyes.rendering import EyeBatch, render_eyes
from refiner.eyes.scene.parameters import EyeParameters
from refiner.eyes.target_camera import TargetCamera
from refiner.images.arrays import to_uint8

BATCH = 256
"""Images rendered at once."""

DETAILS = {
    "pupil_radius_mm": "iris.pupil_radius_mm",
    "iris_radius_mm": "geometry.iris_radius_mm",
    "ambient_light": "light.ambient",
    "direct_light": "light.direct",
}
"""Labels that come from a drawn value, and the key of that value in :attr:`EyeBatch.details`."""


def rendered_records(
    parameters: EyeParameters,
    count: int,
    *,
    seed: int,
    size: tuple[int, int] = (36, 60),
    channels: int = 1,
    camera: TargetCamera | None = None,
    first: int = 0,
) -> Iterator[Record]:
    """Yield labelled eyes with the numbers ``first`` to ``count - 1``; the ids are ``000000.png`` and so on.

    Args:
        parameters, seed, size, channels: see :func:`refiner.eyes.rendering.render_eyes`.
        count: number after the last image.
        camera: simulated target camera that takes each image; the labels stay valid.
        first: number of the first image.

    Yields:
        Records with uint8 images of shape (H, W) or (H, W, 3).
    """
    for start in range(first, count, BATCH):
        numbers = range(start, min(start + BATCH, count))
        batch = render_eyes(parameters, numbers, seed=seed, size=size, channels=channels)
        for offset, planes in enumerate(batch.images.numpy()):
            image = to_uint8(planes)
            if camera is not None:
                image = camera(image, start + offset)
            yield Record(f"{start + offset:06d}.png", image, _labels(batch, offset))


def _labels(batch: EyeBatch, index: int) -> Labels:
    names = ("gaze", "head_pose", "pupil", "iris_outline", "lid_outline", "caruncle")
    labels: Labels = {name: getattr(batch, name)[index].double().numpy() for name in names}
    labels |= {name: float(batch.details[key][index]) for name, key in DETAILS.items()}
    return {**labels, "subject": str(int(batch.subjects[index])), "mirrored": 0}
