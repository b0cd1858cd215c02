"""Reader of NYU hand pose: depth frames ``depth_1_0000001.png``, renders ``synthdepth_...``, and ``joint_data.mat``.

Depth in millimetres is ``green * 256 + blue``, and red is 0; 0 means no reading. Frames of 16-bit grey millimetres are
read, too, if there are joints by which the depth can be checked. ``joint_data.mat`` is in the folder of the frames or
at the root. It has ``joint_uvd`` and ``joint_xyz``, [view][frame][36][3]; file names count frames from 1. u and v are
pixels; d and xyz are millimetres, y up: u = 320 + 588.03 x / z, v = 240 - 587.07 y / z.

A frame is cut to a cube around the hand, the usual input of hand pose estimators, and keeps its metric scale::

    millimetres = depth_near_mm + level / 65534 * (depth_far_mm - depth_near_mm)      level 65535: background

Level 0 is the near face of the cube and 65534 the far face. Nearer points are clamped to 0. Farther points, points
outside the cube's face, and pixels without a reading are background. Whole frames hold millimetres, 0 for no reading.

Source: Tompson et al., "Real-time continuous pose recovery of human hands using convolutional networks", 2014.
"""

import re
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, NamedTuple

import numpy as np

from refiner.core.errors import DataError, ImageError, WrongInputError
from refiner.data.folders.listing import list_files
from refiner.data.formats.file_access import RecentFiles, first_files
from refiner.data.formats.mat_files import read_mat
from refiner.data.labels.records import Labels, Record
from refiner.data.labels.tables import LABELS_FILE
from refiner.images.io import Image, read_image

FX, FY = 588.03, 587.07
"""Focal lengths of the camera, in pixels."""

CUBE_MM = 300.0
"""Side of the cube that is cut out, in millimetres."""

BACKGROUND = 65535
"""Level of background pixels in a cut image."""

FAR_LEVEL = 65534
"""Level of the far face of the cube in a cut image."""

EVALUATED = (0, 3, 6, 9, 12, 15, 18, 21, 24, 25, 27, 30, 31, 32)
"""Indices of the 14 joints, of 36, on which results are reported."""

FRAME_SIZE = (480, 640)
"""Height and width of every frame; the joints are in its pixels."""

JOINTS_FILE = "joint_data.mat"

_ANY_FRAME = re.compile(r"(?:synth)?(?:depth|rgb)_\d_\d{7}\.png", re.ASCII)
_ID = re.compile(r"(?:.*/)?(?:synth)?depth_(\d)_(\d{7})\.png", re.ASCII)

Points = np.ndarray[Any, np.dtype[np.float64]]
"""(K, 2), x and y in pixels, y down, pixel centres at whole numbers."""


class Joints(NamedTuple):
    """The evaluated joints of all frames of all views.

    Attributes:
        uvd: (V, F, 14, 3), float32: u and v in pixels, d in millimetres.
        xyz: (V, F, 14, 3), float32, in millimetres, y up.
    """

    uvd: np.ndarray[Any, np.dtype[np.float32]]
    xyz: np.ndarray[Any, np.dtype[np.float32]]


class NyuHand:
    """Depth frames of the NYU hand data set; see :class:`refiner.data.formats.registry.Dataset`.

    Ids are file names relative to the root. Frames and renders can both be read, whichever are listed.

    Images are uint16, (H, W). A cut image holds levels, see the module's docstring; a whole frame holds millimetres.
    Labels: ``view``; with the joint file also ``joints`` (14, 2) in pixels of the image and ``joints_mm`` (14, 3) in
    millimetres, y up; for a cut image also ``depth_near_mm`` and ``depth_far_mm``. The subject is not known.

    Args:
        root: the folder with the frames, or one that holds such folders.
        size: (height, width) of cut images, 224x224 by default.
        crop: cut each frame to a cube of 300 mm around the joints; False reads whole frames.

    Raises:
        DataError: ``root`` is not a folder.
    """

    licence = "research use"
    kind: ClassVar[str] = "depth"

    def __init__(self, root: Path, *, size: tuple[int, int] | None = None, crop: bool = True) -> None:
        if not root.is_dir():
            raise WrongInputError(f"{root} is not a folder; name the folder of the NYU hand frames")
        self.root = root
        self.size = size or (224, 224)
        self.crop = crop
        self._joints = RecentFiles(_load_joints, 2)  # one file of the training set, one of the test set

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Return whether a folder holds frames of this kind; one with ``labels.csv`` is a converted data set."""
        if not root.is_dir() or (root / LABELS_FILE).exists():
            return False
        return bool(first_files(root, cls._is_frame, 1))

    @classmethod
    def _is_frame(cls, name: str) -> bool:
        return name.rpartition("/")[2].startswith(f"{cls.kind}_") and _ID.fullmatch(name) is not None

    @cached_property
    def ids(self) -> list[str]:
        """Relative paths of the frames of this kind, sorted.

        Raises:
            DataError: the folder holds no frames, or no joint file although frames are cut.
        """
        names = list_files(self.root)
        ids = [name for name in names if self._is_frame(name)]
        if not ids:
            raise WrongInputError(
                f"{self.root} holds no {self.kind} frames; expected {self.kind}_1_0000001.png and so on"
            )
        if self.crop and not any(PurePosixPath(name).name == JOINTS_FILE for name in names):
            raise WrongInputError(
                f"{self.root} has no {JOINTS_FILE}, which locates the hands; download it, or use --crop none"
            )
        return ids

    def is_part(self, name: str) -> bool:
        """Return whether a file is a frame of any kind, or the file of the joints."""
        return _ANY_FRAME.fullmatch(PurePosixPath(name).name) is not None or PurePosixPath(name).name == JOINTS_FILE

    def subject(self, sample: str) -> str | None:
        """Return None: the subject is not known."""
        return None

    def read_image(self, sample: str) -> Image:
        """Read one frame, cut or whole; a cut frame needs its joints."""
        if self.crop:
            return self.read(sample).image
        depth, coded = self._depth(sample)
        return depth if coded else self.read(sample).image

    def read(self, sample: str) -> Record:
        """Read one frame, cut or whole; see :class:`refiner.data.formats.registry.Dataset`."""
        # Find the frame and the file of its joints.
        path = self.root / sample
        match = _ID.fullmatch(sample)
        if not match:
            raise ImageError(path, "is not an NYU hand frame; expected a name like depth_1_0000001.png")
        view, frame = int(match[1]), int(match[2])
        labels: Labels = {"view": view}
        file = self._joints_file(path)
        if file is None and self.crop:
            raise ImageError(
                path, f"has no {JOINTS_FILE} in its folder, which locates the hand; download it, or use --crop none"
            )
        depth, coded = self._depth(sample)
        if file is None:
            return Record(sample, depth, labels)
        # Look up the joints.
        uvd, labels["joints_mm"] = self._joints_of(file, view, frame, path)
        labels["joints"] = uvd[:, :2]
        if not self.crop and coded:
            return Record(sample, depth, labels)
        # Cut the cube around the middle of the joints.
        centre = (uvd.min(axis=0) + uvd.max(axis=0)) / 2
        if not centre[2] > CUBE_MM / 2:
            raise ImageError(path, f"has joints {centre[2]:.0f} mm away; expected more than {CUBE_MM / 2:.0f} mm")
        image, to_image = cut_cube(depth, centre, self.size)
        if (image == BACKGROUND).all():
            raise ImageError(
                path,
                f"shows nothing within {CUBE_MM / 2:.0f} mm of its joints, which are {centre[2]:.0f} mm away; expected "
                f"depth in millimetres, and the {JOINTS_FILE} of the same frames",
            )
        if not self.crop:
            return Record(sample, depth, labels)
        labels["joints"] = to_image(uvd[:, :2])
        near = float(centre[2] - CUBE_MM / 2)
        return Record(sample, image, {**labels, "depth_near_mm": near, "depth_far_mm": near + CUBE_MM})

    def _depth(self, sample: str) -> tuple[Image, bool]:
        """(H, W) uint16 millimetres, and whether they were coded as colours."""
        path = self.root / sample
        image = read_image(path)
        if image.shape[:2] != FRAME_SIZE:
            raise ImageError(
                path,
                f"is {image.shape[0]}x{image.shape[1]}; expected {FRAME_SIZE[0]}x{FRAME_SIZE[1]}, since resizing mixes "
                "the bytes of the depth, and the joints are in pixels of the original frame",
            )
        # Millimetres as grey levels: only joints tell them from other units.
        if image.dtype == np.uint16 and image.ndim == 2:
            if self._joints_file(path) is None:
                raise ImageError(
                    path, f"is 16-bit grey, whose unit is not certain without {JOINTS_FILE}; add that file"
                )
            return image, False
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ImageError(path, "is not coded depth; expected 8-bit RGB, green * 256 + blue")
        if image[..., 0].any():
            raise ImageError(
                path,
                "is not coded depth but a picture, since its red channel is not 0; expected the original frame, "
                "green * 256 + blue",
            )
        return np.asarray(image[..., 1].astype(np.uint16) << 8 | image[..., 2]), True

    def _joints_file(self, frame: Path) -> Path | None:
        return next((path for path in (frame.parent / JOINTS_FILE, self.root / JOINTS_FILE) if path.exists()), None)

    def _joints_of(self, file: Path, view: int, frame: int, path: Path) -> tuple[Points, Points]:
        """(14, 3) in pixels and millimetres, and (14, 3) in millimetres."""
        joints = self._joints(file)
        if isinstance(joints, str):
            raise ImageError(path, joints)
        views, frames = joints.uvd.shape[:2]
        if not (1 <= view <= views and 1 <= frame <= frames):
            raise ImageError(path, f"is missing in {JOINTS_FILE}, which has {views} views of {frames} frames")
        uvd, xyz = (part[view - 1, frame - 1].astype(np.float64) for part in joints)
        if not (np.isfinite(uvd).all() and np.isfinite(xyz).all()):
            raise ImageError(path, f"has joints in {JOINTS_FILE} that are not finite")
        return uvd, xyz


class NyuHandSynthetic(NyuHand):
    """The renders of the NYU hand data set, ``synthdepth_1_0000001.png``; see :class:`NyuHand` for the rest.

    Each render shows the same hand pose as the depth frame of the same number. For unpaired training, use different
    numbers for the two domains.
    """

    kind = "synthdepth"


def cut_cube(depth: Image, centre: np.ndarray[Any, Any], size: tuple[int, int]) -> tuple[Image, Any]:
    """Cut a cube of 300 mm out of a depth frame; the module's docstring explains the levels.

    Depth is sampled at the nearest pixel, since the mean of a finger and the wall behind it is the depth of neither.

    Args:
        depth: (H, W), uint16, in millimetres, 0 for no reading.
        centre: middle of the cube, (u, v, d) in pixels and millimetres; d is more than half a cube.
        size: (height, width) of the result. The cube's face is nearly square and fits into it without distortion.

    Returns:
        The levels, uint16 of ``size``; and a function from points of the frame to points of the result, both (K, 2)
        in pixels.
    """
    # Project the cube's face into the frame.
    height, width = size
    u, v, d = (float(part) for part in centre)
    half = CUBE_MM / 2
    across, down = half * FX / d, half * FY / d  # half the cube's face, in pixels of the frame
    scale = max(2 * across / width, 2 * down / height)
    origin = np.array([u, v]) - (np.array([width, height]) - 1) / 2 * scale  # the frame's point at (0, 0)

    # Sample the frame at each pixel of the result.
    columns, rows = origin[0] + np.arange(width) * scale, origin[1] + np.arange(height) * scale
    x, y = np.rint(columns).astype(np.int64), np.rint(rows).astype(np.int64)
    inside = ((y >= 0) & (y < depth.shape[0]) & (np.abs(rows - v) <= down))[:, None] & (
        (x >= 0) & (x < depth.shape[1]) & (np.abs(columns - u) <= across)
    )
    found = depth[np.clip(y, 0, depth.shape[0] - 1)[:, None], np.clip(x, 0, depth.shape[1] - 1)].astype(np.float64)
    # Map depth to levels; the rest is background.
    hand = inside & (found > 0) & (found <= d + half)
    levels = np.clip(np.rint((found - (d - half)) / CUBE_MM * FAR_LEVEL), 0, FAR_LEVEL)
    image = np.where(hand, levels, BACKGROUND).astype(np.uint16)

    def to_image(points: Points) -> Points:
        return np.asarray((points - origin) / scale)

    return image, to_image


def _load_joints(path: Path) -> Joints | str:
    """Read the evaluated joints of all frames; return the reason as text if they cannot be used.

    The arrays are large and are read one after the other.
    """
    parts: list[np.ndarray[Any, np.dtype[np.float32]]] = []
    # Read one array after the other, because both together take much memory.
    for name in ("joint_uvd", "joint_xyz"):
        try:
            values = read_mat(path, [name]).get(name)
        except DataError as error:
            return str(error).removeprefix(f"{path.parent}/")
        shape = getattr(values, "shape", None)
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu" or shape is None or len(shape) != 4:
            return f"{JOINTS_FILE} has no usable {name}; expected numbers [view][frame][36][3]"
        if shape[2:] != (36, 3) or (parts and shape[:2] != parts[0].shape[:2]):
            return f"{JOINTS_FILE} has {name} of shape {shape}; expected [view][frame][36][3], the same for both arrays"
        with np.errstate(over="ignore"):  # infinite values are refused frame by frame
            parts.append(np.ascontiguousarray(values[:, :, EVALUATED], np.float32))
        del values
    return Joints(*parts)
