"""UnityEyes renders: one ``.jpg`` of a whole scene and one ``.json`` of string-valued vectors per frame.

Each frame is cut to a patch as MPIIGaze normalises its photographs: centred between the eye corners, the iris
as large as there; or it is left whole. Vectors are parsed by a strict pattern and never evaluated.

Source: Wood et al., "Learning an appearance-based gaze estimator from one million synthesised images",
ETRA 2016. JSON pixels count y from the bottom; the look vector has x right, y up, z away from the camera.
"""

import json
import math
import re
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np

from refiner.core.errors import DataError, ImageError
from refiner.core.files import read_regular
from refiner.data.formats.file_access import first_files
from refiner.data.formats.folder import list_files
from refiner.data.labels.records import Record
from refiner.images.arrays import resize
from refiner.images.io import Image, is_image_file, read_image

Points = np.ndarray[Any, np.dtype[np.float64]]
"""(K, 2), x and y in pixels, y down, pixel centres at whole numbers."""

WIDTH_IN_IRISES = 60 / 18.7
"""Patch width over iris diameter: 18.7 px of 60 is an 11.7 mm iris in MPIIGaze's camera (960 px, 600 mm)."""

OUTER_CORNER = 8
"""Index of the outer eye corner in ``interior_margin_2d``."""

_MAX_NAME = 200
_NUMBER = r"\s*([-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)\s*"
_VECTOR = re.compile(rf"\({_NUMBER},{_NUMBER},{_NUMBER}(?:,{_NUMBER})?\)")
_KEYS = ("interior_margin_2d", "caruncle_2d", "iris_2d", "eye_details", "head_pose")


class UnityEyes:
    """A folder of UnityEyes frames; see :class:`refiner.data.formats.registry.Dataset`.

    Labels: ``gaze``, ``head_pose``, ``subject`` (the skin texture), and in pixels of the image that is read
    ``pupil`` (the middle of the iris), ``iris_outline`` and ``lid_outline``.

    Args:
        root: the folder with the ``.jpg`` and ``.json`` files.
        size: (height, width) of the patches; whole frames keep their own.
        crop: cut each frame to the eye; False reads whole frames.

    Raises:
        DataError: it is no folder.
    """

    licence = "research use, where UnityEyes rendered it"

    def __init__(self, root: Path, *, size: tuple[int, int] | None = None, crop: bool = True) -> None:
        if not root.is_dir():
            raise DataError(f"{root}: is not a folder; name the folder of the UnityEyes frames")
        self.root = root
        self.size = size or (36, 60)
        self.crop = crop

    @staticmethod
    def recognises(root: Path) -> bool:
        """Whether one of the first images has a JSON file beside it with UnityEyes' keys."""
        if not root.is_dir():
            return False
        for name in first_files(root, lambda name: is_image_file(Path(name))):  # one of them may be damaged
            try:
                scene = _read_scene(root / name)
            except ImageError:
                continue
            if all(key in scene for key in _KEYS):
                return True
        return False

    @cached_property
    def ids(self) -> list[str]:
        """Relative paths of all images, sorted; one without a JSON file is refused when it is read.

        Raises:
            DataError: none has a JSON file beside it.
        """
        names = list_files(self.root)
        known = set(names)
        ids = [name for name in names if is_image_file(Path(name))]
        if not any(PurePosixPath(name).with_suffix(".json").as_posix() in known for name in ids):
            raise DataError(f"{self.root}: holds no UnityEyes frames; expected 1.jpg beside 1.json and so on")
        return ids

    def subject(self, sample: str) -> str | None:
        """The skin texture, out of the JSON file; see :class:`refiner.data.formats.registry.Dataset`."""
        return _skin(_read_scene(self.root / sample), self.root / sample)

    def read_image(self, sample: str) -> Image:
        """Read one frame; to cut it, its landmarks are needed."""
        return self.read(sample).image if self.crop else read_image(self.root / sample)

    def read(self, sample: str) -> Record:
        """Read one frame, cut or whole; see :class:`refiner.data.formats.registry.Dataset`."""
        path = self.root / sample
        scene = _read_scene(path)
        frame = read_image(path)
        corners, iris, lids = _landmarks(scene, frame.shape[:2], path)
        image, to_image = cut_patch(frame, corners, iris, self.size) if self.crop else (frame, np.asarray)
        try:
            gaze = gaze_angles(parse_vector(scene["eye_details"]["look_vec"]))
            head = head_angles(parse_vector(scene["head_pose"]))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ImageError(path, f"its JSON has no usable look_vec and head_pose ({error})") from error
        labels: dict[str, Any] = {
            "gaze": np.array(gaze),
            "head_pose": np.array(head),
            "pupil": to_image(iris.mean(axis=0)),
            "iris_outline": to_image(iris),
            "lid_outline": to_image(lids),
        }
        skin = _skin(scene, path)
        if skin:
            labels["subject"] = skin
        return Record(sample, image, labels)


def parse_vector(text: object) -> tuple[float, float, float]:
    """The first three numbers of ``"(x, y, z)"`` or ``"(x, y, z, w)"``.

    Raises:
        ValueError: it is anything else, NaN and infinities included.
    """
    match = _VECTOR.fullmatch(text.strip()) if isinstance(text, str) else None
    if not match:
        raise ValueError(f"{text!r} is not a vector like '(1.0, 2.0, 3.0)'")
    x, y, z = (float(part) for part in match.groups()[:3])
    if not math.isfinite(x + y + z):
        raise ValueError(f"{text!r} is not finite")
    return x, y, z


def gaze_angles(look: tuple[float, float, float]) -> tuple[float, float]:
    """(pitch, yaw) in radians of a look vector with x right, y up, z away from the camera.

    Raises:
        ValueError: it has no direction.
    """
    length = math.hypot(*look)
    if not 0 < length < math.inf:
        raise ValueError(f"{look} has no direction")
    x, y, z = (part / length for part in look)
    return math.asin(max(-1, min(1, y))), math.atan2(-x, -z)


def head_angles(head_pose: tuple[float, float, float]) -> tuple[float, float]:
    """(pitch, yaw) in radians by MPIIGaze's rule, from the camera's Euler angles in degrees.

    A head that faces the camera has angles of about (0, 180, 0). UnityEyes turns the camera about the head: from
    a camera above (positive first angle) the face looks down, from one turned past 180 to the image's right. So
    both signs change, and a head's angles are those of a gaze straight ahead of it: up and image-left positive.
    The roll is left out, as MPIIGaze's normalisation takes it out.
    """
    down, aside = math.radians(head_pose[0]), math.radians(head_pose[1] - 180)
    return gaze_angles((math.sin(aside), -math.sin(down) * math.cos(aside), -math.cos(down) * math.cos(aside)))


def cut_patch(frame: Image, corners: Points, iris: Points, size: tuple[int, int]) -> tuple[Image, Any]:
    """Cut the eye out of a frame, at MPIIGaze's scale.

    Args:
        frame: the whole render.
        corners: (2, 2), inner and outer eye corner.
        iris: (K, 2), points on the limbus.
        size: (height, width) of the patch.

    Returns:
        The patch, edge pixels repeated where it reaches beyond the frame; and a function from points of the
        frame to points of the patch.
    """
    height, width = size
    diameter = max(float(np.linalg.norm(iris[:, None] - iris[None], axis=-1).max()), 1.0)
    wide = max(2, round(diameter * WIDTH_IN_IRISES))
    high = max(2, round(wide * height / width))
    left, top = (round(float(part)) for part in corners.mean(axis=0) - np.array([wide - 1, high - 1]) / 2)
    missing = (-top, top + high - frame.shape[0], -left, left + wide - frame.shape[1])
    above, below, before, after = (max(0, part) for part in missing)
    padded = np.asarray(cv2.copyMakeBorder(frame, above, below, before, after, cv2.BORDER_REPLICATE))
    y, x = top + above, left + before
    scale = np.array([width / wide, height / high])

    def to_patch(points: Points) -> Points:
        return np.asarray((points - np.array([left, top]) + 0.5) * scale - 0.5)

    return resize(padded[y : y + high, x : x + wide], size), to_patch


def _read_scene(image: Path) -> dict[str, Any]:
    """The JSON object beside an image."""
    path = image.with_suffix(".json")
    try:
        scene = json.loads(read_regular(path))
    except FileNotFoundError as error:
        raise ImageError(image, "has no .json beside it, which holds its labels") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ImageError(path, f"cannot be read as JSON ({error})") from error
    if not isinstance(scene, dict):
        raise ImageError(path, "holds no JSON object")
    return scene


def _skin(scene: dict[str, Any], path: Path) -> str | None:
    """The skin texture, None where the scene does not name it."""
    details = scene.get("eye_region_details", {})
    if not isinstance(details, dict):
        raise ImageError(path, f"its JSON has no usable eye_region_details ({details!r:.40})")
    skin = str(details.get("primary_skin_texture", ""))
    if len(skin) > _MAX_NAME or not skin.isprintable():
        raise ImageError(path, f"its primary_skin_texture is no name ({skin!r:.40})")
    return skin or None


def _landmarks(scene: dict[str, Any], size: tuple[int, int], path: Path) -> tuple[Points, Points, Points]:
    """Eye corners (2, 2), iris (K, 2) and lid margin (K, 2) in pixels of an image of (height, width), y down."""
    height, width = size
    try:
        lids, caruncle, iris = (
            np.array([parse_vector(text)[:2] for text in scene[key]])
            for key in ("interior_margin_2d", "caruncle_2d", "iris_2d")
        )
        for points in (lids, caruncle, iris):
            points[:, 1] = height - points[:, 1]
        corners = np.stack([caruncle.mean(axis=0), lids[OUTER_CORNER]])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ImageError(path, f"its JSON has no usable eye landmarks ({error})") from error
    middle = corners.mean(axis=0)
    extent = np.abs(np.concatenate([iris, lids]) - middle).max()  # bounds the patch that is cut
    if not (0 <= middle[0] <= width and 0 <= middle[1] <= height and extent <= max(size)):
        raise ImageError(path, "its JSON has eye landmarks outside the image")
    if corners[0, 0] >= corners[1, 0]:
        raise ImageError(
            path,
            "its caruncle does not lie left of its outer corner; UnityEyes renders left eyes only, so the frame "
            "was flipped without its labels, or turned",
        )
    return corners, iris, lids
