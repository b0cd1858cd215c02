"""Reader of UnityEyes renders: for each frame a ``.jpg`` of the whole scene and a ``.json`` of vectors as texts.

Each frame is cut to a patch in the way MPIIGaze normalises its photographs: centred between the eye corners, with an
iris of the same size. It can also be read whole. Vectors are parsed by a strict pattern and never evaluated.

In the JSON file, pixels count y from the bottom. The look vector has x right, y up, z away from the camera.

Source: Wood et al., "Learning an appearance-based gaze estimator from one million synthesised images", ETRA 2016.
"""

import json
import math
import re
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np

from refiner.core.errors import ImageError, WrongInputError
from refiner.core.files import read_regular
from refiner.data.folders.listing import list_files
from refiner.data.formats.file_access import first_files
from refiner.data.labels.records import Record
from refiner.images.arrays import resize
from refiner.images.io import Image, is_image_file, read_image

Points = np.ndarray[Any, np.dtype[np.float64]]
"""Arrays (K, 2): x and y in pixels, y down, pixel centres at whole numbers."""

WIDTH_IN_IRISES = 60 / 18.7
"""Ratio of patch width and iris diameter: an iris of 11.7 mm has 18.7 of 60 px in MPIIGaze (960 px, 600 mm)."""

OUTER_CORNER = 8
"""Index of the outer eye corner in ``interior_margin_2d``."""

_MAX_NAME = 200
_NUMBER = r"\s*([-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)\s*"
_VECTOR = re.compile(rf"\({_NUMBER},{_NUMBER},{_NUMBER}(?:,{_NUMBER})?\)")
_KEYS = ("interior_margin_2d", "caruncle_2d", "iris_2d", "eye_details", "head_pose")


class UnityEyes:
    """A folder of UnityEyes frames; see :class:`refiner.data.formats.registry.Dataset`.

    Images are uint8, (H, W, 3), RGB. Labels: ``gaze`` and ``head_pose``, (pitch, yaw) in radians, positive up and to
    the image's left; ``subject``, the skin texture; in pixels of the image that is read ``pupil`` (2,), the middle of
    the iris, ``iris_outline`` (K, 2) and ``lid_outline`` (K, 2).

    Args:
        root: the folder with the ``.jpg`` and ``.json`` files.
        size: (height, width) of the patches, 36x60 by default; whole frames keep their own size.
        crop: cut each frame to the eye; False reads whole frames.

    Raises:
        DataError: ``root`` is not a folder.
    """

    licence = "research use, where UnityEyes rendered it"

    def __init__(self, root: Path, *, size: tuple[int, int] | None = None, crop: bool = True) -> None:
        if not root.is_dir():
            raise WrongInputError(f"{root} is not a folder; name the folder of the UnityEyes frames")
        self.root = root
        self.size = size or (36, 60)
        self.crop = crop

    @staticmethod
    def recognises(root: Path) -> bool:
        """Return whether one of the first images has a JSON file of the same name with UnityEyes' keys."""
        if not root.is_dir():
            return False
        for name in first_files(root, lambda name: is_image_file(Path(name))):  # skip damaged frames
            try:
                scene = _read_scene(root / name)
            except ImageError:
                continue
            if all(key in scene for key in _KEYS):
                return True
        return False

    @cached_property
    def ids(self) -> list[str]:
        """Relative paths of all images, sorted; reading one without a JSON file fails.

        Raises:
            DataError: no image has a JSON file.
        """
        names = list_files(self.root)
        known = set(names)
        ids = [name for name in names if is_image_file(Path(name))]
        if not any(PurePosixPath(name).with_suffix(".json").as_posix() in known for name in ids):
            raise WrongInputError(f"{self.root} holds no UnityEyes frames; expected 1.jpg with 1.json and so on")
        return ids

    def subject(self, sample: str) -> str | None:
        """Return the skin texture from the JSON file; see :class:`refiner.data.formats.registry.Dataset`."""
        return _skin(_read_scene(self.root / sample), self.root / sample)

    def read_image(self, sample: str) -> Image:
        """Read one frame, cut or whole; a cut frame needs its landmarks."""
        return self.read(sample).image if self.crop else read_image(self.root / sample)

    def read(self, sample: str) -> Record:
        """Read one frame, cut or whole; see :class:`refiner.data.formats.registry.Dataset`."""
        # Cut the frame to the eye.
        path = self.root / sample
        scene = _read_scene(path)
        frame = read_image(path)
        corners, iris, lids = _landmarks(scene, frame.shape[:2], path)
        image, to_image = cut_patch(frame, corners, iris, self.size) if self.crop else (frame, np.asarray)
        # Read the labels, and move points along with the cut.
        try:
            gaze = gaze_angles(parse_vector(scene["eye_details"]["look_vec"]))
            head = head_angles(parse_vector(scene["head_pose"]))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ImageError(path, f"its JSON file has no usable look_vec and head_pose ({error})") from error
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
    """Return the first three numbers of ``"(x, y, z)"`` or ``"(x, y, z, w)"``.

    Raises:
        ValueError: the text is malformed, or a number is not finite.
    """
    match = _VECTOR.fullmatch(text.strip()) if isinstance(text, str) else None
    if not match:
        raise ValueError(f"{text!r} is not a vector like '(1.0, 2.0, 3.0)'")
    x, y, z = (float(part) for part in match.groups()[:3])
    if not math.isfinite(x + y + z):
        raise ValueError(f"{text!r} is not finite")
    return x, y, z


def gaze_angles(look: tuple[float, float, float]) -> tuple[float, float]:
    """Return (pitch, yaw) in radians of a look vector with x right, y up, z away from the camera.

    Raises:
        ValueError: the vector has no direction: its length is 0 or not finite.
    """
    length = math.hypot(*look)
    if not 0 < length < math.inf:
        raise ValueError(f"{look} has no direction")
    x, y, z = (part / length for part in look)
    return math.asin(max(-1, min(1, y))), math.atan2(-x, -z)


def head_angles(head_pose: tuple[float, float, float]) -> tuple[float, float]:
    """Return (pitch, yaw) in radians by MPIIGaze's convention, from the camera's Euler angles in degrees.

    A head that faces the camera has angles of about (0, 180, 0). UnityEyes turns the camera about the head. From a
    camera above (positive first angle) the face looks down; from one turned past 180 it looks to the image's right. So
    both signs change. The result is the gaze of eyes that look straight ahead: up and image-left are positive. Roll is
    left out, since MPIIGaze's normalisation removes it.
    """
    # Turn the camera's angles around: zero is a head that faces the camera.
    down, aside = math.radians(head_pose[0]), math.radians(head_pose[1] - 180)
    return gaze_angles((math.sin(aside), -math.sin(down) * math.cos(aside), -math.cos(down) * math.cos(aside)))


def cut_patch(frame: Image, corners: Points, iris: Points, size: tuple[int, int]) -> tuple[Image, Any]:
    """Cut the eye out of a frame, at MPIIGaze's scale.

    Args:
        frame: the whole render, (H, W) or (H, W, C).
        corners: (2, 2), inner and outer eye corner, in pixels.
        iris: (K, 2), points on the limbus, in pixels.
        size: (height, width) of the patch.

    Returns:
        The patch, with edge pixels repeated beyond the frame; and a function from points of the frame to points of
        the patch, both (K, 2) in pixels.
    """
    # Place the patch in the frame.
    height, width = size
    diameter = max(float(np.linalg.norm(iris[:, None] - iris[None], axis=-1).max()), 1.0)
    wide = max(2, round(diameter * WIDTH_IN_IRISES))
    high = max(2, round(wide * height / width))
    left, top = (round(float(part)) for part in corners.mean(axis=0) - np.array([wide - 1, high - 1]) / 2)
    # Pad the frame if the patch extends beyond it.
    missing = (-top, top + high - frame.shape[0], -left, left + wide - frame.shape[1])
    above, below, before, after = (max(0, part) for part in missing)
    padded = np.asarray(cv2.copyMakeBorder(frame, above, below, before, after, cv2.BORDER_REPLICATE))
    y, x = top + above, left + before
    scale = np.array([width / wide, height / high])

    def to_patch(points: Points) -> Points:
        return np.asarray((points - np.array([left, top]) + 0.5) * scale - 0.5)

    return resize(padded[y : y + high, x : x + wide], size), to_patch


def _read_scene(image: Path) -> dict[str, Any]:
    """The JSON object of an image, from the file of the same name."""
    path = image.with_suffix(".json")
    try:
        scene = json.loads(read_regular(path))
    except FileNotFoundError as error:
        raise ImageError(image, "has no .json file of the same name, which holds its labels") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ImageError(path, f"cannot be read as JSON ({error})") from error
    if not isinstance(scene, dict):
        raise ImageError(path, "holds no JSON object")
    return scene


def _skin(scene: dict[str, Any], path: Path) -> str | None:
    """The skin texture, or None if the scene does not name it."""
    details = scene.get("eye_region_details", {})
    if not isinstance(details, dict):
        raise ImageError(path, f"its JSON file has no usable eye_region_details ({details!r:.40})")
    skin = str(details.get("primary_skin_texture", ""))
    if len(skin) > _MAX_NAME or not skin.isprintable():
        raise ImageError(path, f"its primary_skin_texture is not a name ({skin!r:.40})")
    return skin or None


def _landmarks(scene: dict[str, Any], size: tuple[int, int], path: Path) -> tuple[Points, Points, Points]:
    """Eye corners (2, 2), iris (K, 2) and lid margin (K, 2) in pixels of an image of (height, width), y down."""
    height, width = size
    # Read the landmarks, and turn y down.
    try:
        lids, caruncle, iris = (
            np.array([parse_vector(text)[:2] for text in scene[key]])
            for key in ("interior_margin_2d", "caruncle_2d", "iris_2d")
        )
        for points in (lids, caruncle, iris):
            points[:, 1] = height - points[:, 1]
        corners = np.stack([caruncle.mean(axis=0), lids[OUTER_CORNER]])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ImageError(path, f"its JSON file has no usable eye landmarks ({error})") from error
    # Refuse landmarks that do not belong to this image.
    middle = corners.mean(axis=0)
    extent = np.abs(np.concatenate([iris, lids]) - middle).max()  # bounds the patch that is cut
    if not (0 <= middle[0] <= width and 0 <= middle[1] <= height and extent <= max(size)):
        raise ImageError(path, "its JSON file has eye landmarks outside the image")
    if corners[0, 0] >= corners[1, 0]:
        raise ImageError(
            path,
            "its caruncle is not left of its outer eye corner; UnityEyes renders left eyes only, so the frame was "
            "flipped or rotated without its labels",
        )
    return corners, iris, lids
