"""Rendered eyes on disk: a folder with ``labels.csv``, or UnityEyes' layout of jpg and json."""

import json
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from refiner.core.files import write_text
from refiner.data.labels.records import Labels, Record
from refiner.data.output.records_writer import CHUNK, Report, check_empty, written_ahead
from refiner.eyes.rendering import EyeBatch, render_eyes
from refiner.eyes.scene.parameters import EyeParameters
from refiner.eyes.target_camera import TargetCamera
from refiner.images.arrays import to_uint8
from refiner.images.io import write_image

DETAILS = {
    "pupil_radius_mm": "iris.pupil_radius_mm",
    "iris_radius_mm": "geometry.iris_radius_mm",
    "ambient_light": "light.ambient",
    "direct_light": "light.direct",
}
"""Drawn values that are written as labels, and what they are called in :class:`EyeBatch`."""


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
    """Labelled eyes, 8 bits, one after another; ids count from ``000000.png`` on.

    Args:
        parameters, seed, size, channels: see :func:`refiner.eyes.render_eyes`.
        count: how many there are; ``first`` is the number of the first that is wanted.
        camera: takes each image through the stand-in camera; labels stay valid.
    """
    for start in range(first, count, CHUNK):
        batch = render_eyes(
            parameters, range(start, min(start + CHUNK, count)), seed=seed, size=size, channels=channels
        )
        for offset, planes in enumerate(batch.images.numpy()):
            image = to_uint8(planes)
            if camera is not None:
                image = camera(image, start + offset)
            yield Record(f"{start + offset:06d}.png", image, _labels(batch, offset))


def write_unityeyes(out: Path, records: Iterator[Record], count: int, *, report: Report) -> None:
    """Write records as UnityEyes does: ``1.jpg`` beside ``1.json``, every leaf a string, y counted from the bottom.

    Raises:
        OutputError: the folder holds something already, or cannot be written.
    """
    check_empty(out)

    def write(numbered: tuple[int, Record]) -> None:
        number, record = numbered
        write_text(out / f"{number}.json", json.dumps(unityeyes_scene(record), indent=1))
        write_image(out / f"{number}.jpg", record.image)

    with ThreadPoolExecutor(2) as pool:
        for done, _ in enumerate(written_ahead(pool, enumerate(records, 1), write), 1):
            report(done, count)


def unityeyes_scene(record: Record) -> dict[str, Any]:
    """The JSON object of a frame, with UnityEyes' keys and string-valued vectors."""
    height, labels = record.image.shape[0], record.labels
    pitch, yaw = labels["gaze"]
    look = (-math.cos(pitch) * math.sin(yaw), math.sin(pitch), -math.cos(pitch) * math.cos(yaw), 0.0)
    return {
        "interior_margin_2d": _points(labels["lid_outline"], height),
        "caruncle_2d": _points(labels["caruncle"], height),
        "iris_2d": _points(labels["iris_outline"], height),
        "eye_details": {
            "look_vec": _vector(look),
            "pupil_size": f"{labels['pupil_radius_mm']:.4f}",
            "iris_size": f"{labels['iris_radius_mm']:.4f}",
            "iris_texture": f"procedural_{labels['subject']}",
        },
        "lighting_details": {
            "skybox_texture": "procedural",
            "skybox_exposure": "1.0000",
            "skybox_rotation": "0",
            "ambient_intensity": f"{labels['ambient_light']:.4f}",
            "light_rotation": _vector((0.0, 0.0, 0.0)),
            "light_intensity": f"{labels['direct_light']:.4f}",
        },
        "eye_region_details": {
            "pca_shape_coeffs": [],
            "primary_skin_texture": f"procedural_{labels['subject']}",
        },
        "head_pose": _vector(_camera_angles(*labels["head_pose"])),
    }


def _camera_angles(pitch: float, yaw: float) -> tuple[float, float, float]:
    """Euler angles in degrees, 0 to 360, of UnityEyes' camera that sees a head of (pitch, yaw) in radians."""
    aside = math.asin(-math.cos(pitch) * math.sin(yaw))
    down = math.atan2(-math.sin(pitch), math.cos(pitch) * math.cos(yaw))
    return math.degrees(down) % 360, (math.degrees(aside) + 180) % 360, 0.0


def _labels(batch: EyeBatch, index: int) -> Labels:
    pairs = ("gaze", "head_pose", "pupil", "iris_outline", "lid_outline", "caruncle")
    labels: Labels = {name: getattr(batch, name)[index].double().numpy() for name in pairs}
    labels |= {name: float(batch.details[field][index]) for name, field in DETAILS.items()}
    return {**labels, "subject": str(int(batch.subjects[index])), "mirrored": 0}


def _points(points: np.ndarray[Any, Any], height: int) -> list[str]:
    return [_vector((x, height - y, 0.0)) for x, y in points]


def _vector(parts: Sequence[float]) -> str:
    return f"({', '.join(f'{part:.4f}' for part in parts)})"
