"""Rendered eyes on disk: a folder with ``labels.csv``, or UnityEyes' layout of jpg and json."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from refiner.core.errors import OutputError
from refiner.core.files import write_text
from refiner.eyes.camera import StandInCamera
from refiner.eyes.parameters import EyeParameters
from refiner.eyes.rendering import EyeBatch, render_eyes
from refiner.images.arrays import grey_levels
from refiner.images.io import write_image
from refiner.parts import Parts, fingerprint, write_part
from refiner.records import Labels, Record
from refiner.tables import LABELS_FILE, write_labels
from refiner.targets import open_store

CHUNK = 256
"""Images rendered between two writes."""

DETAILS = {
    "pupil_radius_mm": "iris.pupil_radius_mm",
    "iris_radius_mm": "geometry.iris_radius_mm",
    "ambient_light": "light.ambient",
    "direct_light": "light.direct",
}
"""Drawn values that are written as labels, and what they are called in :class:`EyeBatch`."""

PART = 1024
"""Images in a part of a store: what a kill costs."""

Report = Callable[[int, int], None]


def rendered_records(
    parameters: EyeParameters,
    count: int,
    *,
    seed: int,
    size: tuple[int, int] = (36, 60),
    channels: int = 1,
    camera: StandInCamera | None = None,
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
            image = grey_levels(planes)
            if camera is not None:
                image = camera(image, start + offset)
            yield Record(f"{start + offset:06d}.png", image, _labels(batch, offset))


def write_folder(out: Path, records: Iterator[Record], count: int, *, labelled: bool, report: Report) -> None:
    """Write records as PNG files, with ``labels.csv`` when ``labelled``.

    Raises:
        OutputError: the folder holds something already, or cannot be written.
    """
    _check_empty(out)
    labels: dict[str, Labels] = {}
    with ThreadPoolExecutor(2) as pool:
        for done, (record, _) in enumerate(_written(pool, records, lambda r: write_image(out / r.id, r.image)), 1):
            labels[record.id] = record.labels
            report(done, count)
    if labelled:
        write_labels(out / LABELS_FILE, labels)


def write_store(
    out: Path, records: Callable[[int, int], Iterator[Record]], count: int, *, job: str, overwrite: bool, report: Report
) -> None:
    """Write records as a store; a killed one goes on from its finished parts.

    Args:
        out: the file.
        records: gives those from one number up to another.
        count: how many there are.
        job: all that they follow from, as one text.
        overwrite: replace a store that is there.
        report: told how many of how many are done.

    Raises:
        OutputError: something else is there, or the disk refuses.
    """
    attributes = {"source": "procedural renders of simgan-refiner", "licence": "none needed", "parameters": job}
    with open_store(None, out, attributes=attributes, overwrite=overwrite) as target:
        if target.finished(fingerprint(job)) is not None:
            report(count, count)
            return
        parts = Parts(target.parts_folder, job=fingerprint(job), count=-(-count // PART))
        unfinished = set(parts.unfinished())
        report(0, count)
        for number in range(parts.count):
            end = min((number + 1) * PART, count)
            if number in unfinished:
                samples = ((r.id, r.id, partial(_given, r)) for r in records(number * PART, end))
                write_part(parts.files(number, None), samples)
            report(end, count)
        target.finish(parts, fingerprint(job), "")


def _given(record: Record) -> Record:
    return record


def write_unityeyes(out: Path, records: Iterator[Record], count: int, *, report: Report) -> None:
    """Write records as UnityEyes does: ``1.jpg`` beside ``1.json``, every leaf a string, y counted from the bottom.

    Raises:
        OutputError: the folder holds something already, or cannot be written.
    """
    _check_empty(out)

    def write(numbered: tuple[int, Record]) -> None:
        number, record = numbered
        write_text(out / f"{number}.json", json.dumps(unityeyes_scene(record), indent=1))
        write_image(out / f"{number}.jpg", record.image)

    with ThreadPoolExecutor(2) as pool:
        for done, _ in enumerate(_written(pool, enumerate(records, 1), write), 1):
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


def _check_empty(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out}: is there already and not an empty folder; choose another place")


def _written(
    pool: ThreadPoolExecutor, items: Iterator[Any], write: Callable[[Any], None]
) -> Iterator[tuple[Any, None]]:
    """Items as they are written, a bounded number ahead."""
    pending: list[tuple[Any, Any]] = []
    for item in items:
        pending.append((item, pool.submit(write, item)))
        if len(pending) >= CHUNK:
            first, future = pending.pop(0)
            yield first, future.result()
    for first, future in pending:
        yield first, future.result()
