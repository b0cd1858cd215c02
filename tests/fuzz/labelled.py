"""Labelled folders whose every pixel and label is known: each image is a plane of grey values, different in each image.

A plane shows where each part of an image went: after a crop and a resize it is a plane again, whose values tell the
place in the original. Labels are of every kind that ``labels.csv`` can hold.
"""

import json
import unicodedata
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from choices import Random, pick
from PIL import Image

NAMES = ("a", "b 1", "Ünïcode", unicodedata.normalize("NFD", "é0"), "x,y", "q'uote", 'd"q', "semi;c", "sub/a", "sub/c",
         "sub/deep er/k", "UPPER", "dot.ted", "7", "007", "+1", "日本", "s2/a", "--x", "#1", "a_b")  # fmt: skip

SUFFIXES = (".png", ".png", ".png", ".PNG", ".tif", ".bmp", ".jpg", ".JPG", ".jpeg", ".ppm", ".tiff")

TEXTS = ("plain", "ü, ö", 'with "quotes"', "semi;colon", "two\nlines", " padded ", "007", "-", "nan", "1e5", "true")

POINTS, XYWH, XYXY, SAME = "points", "xywh", "xyxy", "same"
"""How a label follows its image; ``SAME`` does not."""


class Label(NamedTuple):
    """One label of all images.

    Attributes:
        name: its name; a name of :data:`PAIRS` has two columns.
        kind: how it follows the image.
        declared: whether its name and form show that, so that nothing has to be declared.
    """

    name: str
    kind: str
    declared: bool


PAIRS = {"gaze": ("gaze_pitch_rad", "gaze_yaw_rad"), "head_pose": ("head_pitch_rad", "head_yaw_rad"),
         "pupil": ("pupil_x", "pupil_y"), "nose": ("nose_x", "nose_y")}  # fmt: skip

LABELS = (
    Label("gaze", SAME, True), Label("head_pose", SAME, True), Label("pupil", POINTS, True),
    Label("nose", POINTS, True), Label("subject", SAME, True), Label("mirrored", SAME, True),
    Label("corner", POINTS, False), Label("outline", POINTS, True), Label("joints", POINTS, True),
    Label("face", XYWH, False), Label("window", XYXY, False), Label("light", SAME, False),
    Label("number", SAME, True), Label("weight", SAME, True), Label("note", SAME, True),
)  # fmt: skip


class Sample(NamedTuple):
    """One image with its labels; ``labels`` holds texts, lists of numbers, or None for an empty cell."""

    name: str
    image: np.ndarray[Any, Any]
    labels: dict[str, Any]


class Folder(NamedTuple):
    """A labelled folder.

    Attributes:
        samples: the images in it.
        schema: the labels of its table; empty without a table.
        way: how the table is written; a key of ``tables.WAYS``.
        orphans: names in the table without an image.
        unlabelled: names of images without a row.
    """

    samples: dict[str, Sample]
    schema: tuple[Label, ...]
    way: str
    orphans: tuple[str, ...]
    unlabelled: tuple[str, ...]

    @property
    def is_plain(self) -> bool:
        """True if no command has a reason to leave anything out."""
        values = [value for sample in self.samples.values() for value in sample.labels.values()]
        return self.way == "plain" and not self.orphans and not self.unlabelled and not any(map(_is_odd, values))


def _is_odd(value: Any) -> bool:
    return isinstance(value, list) and not np.isfinite(np.array(value, float)).all()


def make_folder(root: Path, way: str, rng: Random, *, uniform: bool, aspect: float | None = None) -> Folder:
    """Write images, and return them with random labels; the table is not written yet.

    Args:
        root: the folder.
        way: how the table will be written.
        rng: decides everything.
        uniform: give all images one size, depth and number of channels, as a store needs.
        aspect: width divided by height; None for any.
    """
    count = int(rng.integers(2, 9))
    names = [str(name) for name in rng.permutation(NAMES)[:count]]
    schema = tuple(label for label in LABELS if rng.random() < 0.35)
    size = _size(rng, aspect)
    channels, bits = int(pick([1, 1, 3, 4], rng)), int(pick([8, 8, 16], rng))
    lossy = rng.random() < 0.3
    samples = {}
    for number, stem in enumerate(names):
        if not uniform:
            size = _size(rng, aspect)
            channels, bits = int(pick([1, 3, 4], rng)), int(pick([8, 8, 16], rng))
        name = stem + _suffix(channels, bits, lossy, rng)
        image = plane(number, size, channels, bits, rng)
        write(root / name, image)
        samples[name] = Sample(name, image, {label.name: value(label, number, size, rng) for label in schema})
    odd = rng.random() < 0.15 and bool(schema)
    orphans = ("gone.png", "sub/gone too.png")[: int(rng.integers(0, 3))] if odd else ()
    unlabelled = tuple(name for name in samples if odd and rng.random() < 0.3)
    return Folder(samples, schema, way if schema else "plain", orphans, unlabelled)


def _size(rng: Random, aspect: float | None) -> tuple[int, int]:
    height = int(rng.integers(9, 50))
    return height, int(rng.integers(9, 60)) if aspect is None else round(height * aspect)


def _suffix(channels: int, bits: int, lossy: bool, rng: Random) -> str:
    """Choose a suffix whose type keeps these pixels."""
    while True:
        suffix = str(pick(SUFFIXES, rng))
        kind = suffix.lower()
        if kind in (".jpg", ".jpeg") and (not lossy or bits == 16 or channels == 4):
            continue
        if (kind == ".bmp" and (bits == 16 or channels == 4)) or (kind == ".ppm" and channels != 3):
            continue
        return suffix


def plane(number: int, size: tuple[int, int], channels: int, bits: int, rng: Random) -> np.ndarray[Any, Any]:
    """Return a plane of values around a mean that tells the number of the image, (H, W) or (H, W, C)."""
    down, across = rng.uniform(12, 30, 2) * rng.choice([-1, 1], 2)
    rows, columns = np.linspace(-1, 1, size[0])[:, None], np.linspace(-1, 1, size[1])[None]
    values = 80.0 + 11 * number + down * rows + across * columns
    image = np.stack([values + 4 * channel for channel in range(channels)], axis=-1) * (257 if bits == 16 else 1)
    whole = np.round(image).astype(np.uint16 if bits == 16 else np.uint8)
    return whole[..., 0] if channels == 1 else whole


def write(path: Path, image: np.ndarray[Any, Any]) -> None:
    """Write an image with OpenCV, whose channels are reversed; with Pillow if it says what the alpha channel is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if _is_for_pillow(path, image.shape, image.dtype):
        Image.fromarray(image).save(path)
        return
    done, data = cv2.imencode(path.suffix, swapped(image), [cv2.IMWRITE_JPEG_QUALITY, 100])
    assert done
    path.write_bytes(data.tobytes())


def read(path: Path) -> np.ndarray[Any, Any]:
    """Read an image with OpenCV or Pillow, without any code of the package."""
    image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    assert image is not None, f"{path} is no image"
    return np.asarray(Image.open(path)) if _is_for_pillow(path, image.shape, image.dtype) else swapped(image)


def _is_for_pillow(path: Path, shape: tuple[int, ...], dtype: Any) -> bool:
    """Return whether OpenCV would multiply colours by alpha."""
    return path.suffix.lower() in (".tif", ".tiff") and len(shape) == 3 and shape[2] == 4 and dtype == np.uint8


def swapped(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Exchange red and blue."""
    return image if image.ndim == 2 else image[..., [2, 1, 0, 3][: image.shape[2]]]


def value(label: Label, number: int, size: tuple[int, int], rng: Random) -> Any:
    """Return a random value: a text, a list of numbers with three decimals, or None."""
    height, width = size
    if rng.random() < 0.08 and label.name not in ("subject", "joints"):
        return None

    def points(count: int) -> np.ndarray[Any, Any]:
        low, high = (-9, 9) if rng.random() < 0.1 else (1, -1)  # some lie outside the image
        return np.round(rng.uniform([low, low], [width - 1 + high, height - 1 + high], (count, 2)), 3)

    if label.name in ("gaze", "head_pose"):
        return np.round(rng.uniform(-0.6, 0.6, 2), 6).tolist()
    if label.name == "subject":
        return f"p{number // 2:02d}"
    if label.name == "mirrored":
        return str(int(rng.integers(2)))
    if label.name == "number":
        return str(int(rng.integers(-3, 4000)))
    if label.name == "weight":
        return f"{rng.uniform(2, 9):.6g}"
    if label.name == "note":
        return str(pick(TEXTS, rng))
    if label.name == "light":
        return np.round(rng.uniform(-2, 2, 3), 3).tolist()
    if label.name in ("face", "window"):
        (corner, other) = np.sort(points(2), axis=0)
        return np.round([*corner, *(other - corner if label.kind == XYWH else other)], 3).tolist()
    if label.name == "joints":
        return np.round(np.c_[points(4), rng.uniform(500, 900, 4)], 3).tolist()
    found = points(5 if label.name == "outline" else 1).tolist()
    if label.name == "outline" and rng.random() < 0.05:
        found[1] = [float("nan"), float("nan")]
    return found if label.name == "outline" else found[0]


def cells(sample: Sample, schema: tuple[Label, ...]) -> dict[str, str]:
    """Return the labels of a sample as the cells of a table row, without the column of the file."""
    row: dict[str, str] = {}
    for label in schema:
        content = sample.labels[label.name]
        if label.name in PAIRS:
            row |= dict(zip(PAIRS[label.name], ["", ""] if content is None else map(repr, content), strict=True))
        else:
            row[label.name] = content if isinstance(content, str) else "" if content is None else json.dumps(content)
    return row
