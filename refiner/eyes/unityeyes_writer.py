"""Write rendered eyes in UnityEyes' layout: a JPEG and a JSON file for each image."""

import json
import math
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from refiner.core.files import write_text
from refiner.data.labels.records import Record
from refiner.data.output.records_writer import Report, make_empty, written_ahead
from refiner.images.io import write_image

_FILES = re.compile(r"\d+\.(jpg|json)")


def write_unityeyes(
    out: Path, records: Iterator[Record], count: int, *, overwrite: bool = False, report: Report
) -> None:
    """Write records as UnityEyes does: ``1.jpg`` with ``1.json``, all values strings, y counted from the bottom.

    Args:
        out: new or empty folder.
        records: labelled eyes, as from :func:`refiner.eyes.records.rendered_records`.
        count: number of records, for the progress report.
        overwrite: first delete the numbered files of an earlier call.
        report: called with the number of finished records and ``count``.

    Raises:
        OutputError: the folder is not empty, holds other files, or cannot be written.
    """
    make_empty(out, _FILES, overwrite=overwrite)

    def write(numbered: tuple[int, Record]) -> None:
        number, record = numbered
        write_text(out / f"{number}.json", json.dumps(unityeyes_scene(record), indent=1))
        write_image(out / f"{number}.jpg", record.image)

    with ThreadPoolExecutor(2) as pool:
        for done, _ in enumerate(written_ahead(pool, enumerate(records, 1), write), 1):
            report(done, count)


def unityeyes_scene(record: Record) -> dict[str, Any]:
    """Return the JSON object of an image, with UnityEyes' keys and with vectors as strings."""
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
    """Return the Euler angles of UnityEyes' camera, 0 to 360 degrees, for a head of (pitch, yaw) in radians."""
    aside = math.asin(-math.cos(pitch) * math.sin(yaw))
    down = math.atan2(-math.sin(pitch), math.cos(pitch) * math.cos(yaw))
    return math.degrees(down) % 360, (math.degrees(aside) + 180) % 360, 0.0


def _points(points: np.ndarray[Any, Any], height: int) -> list[str]:
    # UnityEyes counts y from the bottom of the image.
    return [_vector((x, height - y, 0.0)) for x, y in points]


def _vector(values: Sequence[float]) -> str:
    return f"({', '.join(f'{value:.4f}' for value in values)})"
