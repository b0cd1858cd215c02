"""JSON files of UnityEyes and UnityEyes2: the labels of one picture, as texts that are parsed and never evaluated.

UnityEyes writes ``1.json`` for ``1.jpg``. UnityEyes2 renders a frame with several cameras, ``1_left.jpg`` and so on,
and writes one ``1.json``, with landmarks and camera angles below ``cameras``. Its look vector is in the axes of the
main camera, whose angles stand in ``camera_pose``. Source: alexanderdsmith/UnityEyes2, ``EyeballController.cs``.

Pixels count y from the bottom. The look vector has x right, y up, z away from the camera. Angles of cameras are Unity's
Euler angles in degrees.
"""

import json
import math
import re
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np

from refiner.core.errors import ImageError
from refiner.core.files import read_regular

Points = np.ndarray[Any, np.dtype[np.float64]]
"""Arrays (K, 2): x and y in pixels, y down, pixel centres at whole numbers."""

Scene = dict[str, Any]
"""JSON object of one picture, with UnityEyes' keys; a picture of UnityEyes2 also has ``camera``, the camera's name."""


class Landmarks(NamedTuple):
    """Landmarks of an eye, in pixels of the picture; y counts from the bottom until :func:`placed` turns it.

    Attributes:
        corners: (2, 2), inner and outer eye corner.
        iris: (K, 2), points on the limbus.
        lids: (K, 2), the lid margin.
    """

    corners: Points
    iris: Points
    lids: Points


KEYS = ("interior_margin_2d", "caruncle_2d", "iris_2d", "eye_details", "head_pose")
"""Keys by which a scene is recognised."""

OUTER_CORNER = 8
"""Index of the outer eye corner in ``interior_margin_2d``."""

_MAX_NAME = 200
_NUMBER = r"\s*([-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)\s*"
_VECTOR = re.compile(rf"\({_NUMBER},{_NUMBER},{_NUMBER}(?:,{_NUMBER})?\)")
_COMMA_NUMBER = r"\s*([-+\u2212]?\d+,\d+(?:[eE][-+\u2212]?\d+)?)\s*"
_COMMA_VECTOR = re.compile(rf"\({_COMMA_NUMBER},{_COMMA_NUMBER},{_COMMA_NUMBER}(?:,{_COMMA_NUMBER})?\)")


def json_names(image: PurePath) -> list[PurePath]:
    """Return the paths at which the JSON file of a picture may be: that of its own name, then those of its frame.

    The name of the frame ends at an underscore; the name of a camera may hold further ones.
    """
    parts = image.stem.split("_")
    frames = ["_".join(parts[:number]) for number in range(1, len(parts))]
    return [image.with_suffix(".json"), *(image.with_name(f"{frame}.json") for frame in frames if frame)]


def read_scene(image: Path) -> Scene:
    """Read the JSON object of a picture.

    Args:
        image: ``1.jpg`` beside ``1.json``, or ``1_left.jpg`` beside a ``1.json`` that has the camera ``left``.

    Raises:
        ImageError: there is no such file, or it cannot be used.
    """
    for path in map(Path, json_names(image)):
        try:
            is_there = path.exists()
        except OSError:  # the name is too long with this suffix
            is_there = False
        if is_there:
            scene = _load(path)
            return scene if path.stem == image.stem else _of_camera(scene, image.stem[len(path.stem) + 1 :], path)
    raise ImageError(image, "has no .json file of the same name, which holds its labels")


def _load(path: Path) -> Scene:
    try:
        scene = json.loads(read_regular(path))
    except (OSError, ValueError, RecursionError) as error:
        raise ImageError(path, f"cannot be read as JSON ({error})") from error
    if not isinstance(scene, dict):
        raise ImageError(path, "holds no JSON object")
    return scene


def _of_camera(scene: Scene, name: str, path: Path) -> Scene:
    """The scene of one camera, with the keys of UnityEyes."""
    cameras = scene.get("cameras")
    if not isinstance(cameras, dict) or not isinstance(cameras.get(name), dict):
        known = ", ".join(map(str, cameras)) if isinstance(cameras, dict) else "none"
        raise ImageError(path, f"has no camera {name}; its cameras are: {known[:_MAX_NAME]}")
    return {**{key: value for key, value in scene.items() if key != "cameras"}, **cameras[name], "camera": name}


def angles_of(scene: Scene, path: Path) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return gaze and head pose, each (pitch, yaw) in radians, in the axes of the picture.

    Raises:
        ImageError: the look vector or the angles are missing or cannot be used.
    """
    try:
        look, head_pose = parse_vector(scene["eye_details"]["look_vec"]), parse_vector(scene["head_pose"])
        if "camera" not in scene:
            return gaze_angles(look), head_angles(head_pose)
        # Turn the look vector from the main camera into the world, and from there into this camera.
        main, camera = rotation(parse_vector(scene["camera_pose"]["rotation"])), rotation(head_pose)
        forward = camera.T @ np.array([0.0, 0.0, 1.0])  # the head faces the world's z axis
        return gaze_angles(_triple(camera.T @ main @ look)), gaze_angles(_triple(forward))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ImageError(path, f"its JSON file has no usable look_vec and head_pose ({error})") from error


def rotation(degrees: tuple[float, float, float]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the matrix (3, 3) from an object's axes to the world's, of Unity's Euler angles in degrees.

    The axes are left-handed. Unity turns about z first, then about x, then about y.
    """
    (cx, cy, cz), (sx, sy, sz) = (
        tuple(part(math.radians(angle)) for angle in degrees) for part in (math.cos, math.sin)
    )
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_y @ about_x @ about_z)


def _triple(vector: np.ndarray[Any, Any]) -> tuple[float, float, float]:
    x, y, z = vector.tolist()
    return x, y, z


def skin_of(scene: Scene, path: Path) -> str | None:
    """The skin texture, or None if the scene does not name it."""
    details = scene.get("eye_region_details", {})
    if not isinstance(details, dict):
        raise ImageError(path, f"its JSON file has no usable eye_region_details ({details!r:.40})")
    skin = str(details.get("primary_skin_texture", ""))
    if len(skin) > _MAX_NAME or not skin.isprintable():
        raise ImageError(path, f"its primary_skin_texture is not a name ({skin!r:.40})")
    return skin or None


def landmarks_of(scene: Scene, path: Path) -> Landmarks:
    """Read the landmarks of a picture.

    Raises:
        ImageError: landmarks are missing or cannot be used.
    """
    try:
        lids, caruncle, iris = (
            np.array([parse_vector(text)[:2] for text in scene[key]])
            for key in ("interior_margin_2d", "caruncle_2d", "iris_2d")
        )
        if not (len(caruncle) and len(iris)):
            raise ValueError("there are no points")
        return Landmarks(np.stack([caruncle.mean(axis=0), lids[OUTER_CORNER]]), iris, lids)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ImageError(path, f"its JSON file has no usable eye landmarks ({error})") from error


def placed(landmarks: Landmarks, size: tuple[int, int], path: Path) -> Landmarks:
    """Return the landmarks in pixels of an image of (height, width), y down.

    Raises:
        ImageError: they are outside the image, or the image was flipped without them.
    """
    height, width = size
    corners, iris, lids = (points * [1, -1] + [0, height] for points in landmarks)
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
    return Landmarks(corners, iris, lids)


def parse_vector(text: object) -> tuple[float, float, float]:
    """Return the first three numbers of ``"(x, y, z)"`` or ``"(x, y, z, w)"``.

    A program that runs under a locale with decimal commas writes ``"(1,5000, 2,0000, 3,2500)"``. That is read, too: it
    has six or eight groups of digits, where the other form has three or four numbers.

    Raises:
        ValueError: the text is malformed, or a number is not finite.
    """
    text_ = text.strip() if isinstance(text, str) else ""
    numbers = match.groups() if (match := _VECTOR.fullmatch(text_)) else None
    if numbers is None and (match := _COMMA_VECTOR.fullmatch(text_)):
        numbers = tuple(part and part.replace(",", ".").replace("\u2212", "-") for part in match.groups())
    if numbers is None:
        raise ValueError(f"{text!r} is not a vector like '(1.0, 2.0, 3.0)'")
    x, y, z = (float(part) for part in numbers[:3])
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
