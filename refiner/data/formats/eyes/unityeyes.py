"""Reader of UnityEyes renders: for each frame a ``.jpg`` of the whole scene and a ``.json`` of vectors as texts.

UnityEyes2 renders a frame with several cameras, which share a ``.json``; see
:mod:`refiner.data.formats.eyes.unityeyes_scene`.

Each frame is cut to a patch in the way MPIIGaze normalises its photographs: centred between the eye corners, with an
iris of the same size. It can also be read whole. Vectors are parsed by a strict pattern and never evaluated.

A picture that was scaled or cropped after rendering no longer fits the pixels in its JSON file, and is refused.

Source: Wood et al., "Learning an appearance-based gaze estimator from one million synthesised images", ETRA 2016.
"""

import contextlib
import threading
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np

from refiner.core.errors import ImageError, WrongInputError
from refiner.data.folders.listing import list_files
from refiner.data.formats.eyes.landmark_fit import LandmarkFit
from refiner.data.formats.eyes.unityeyes_scene import (
    KEYS,
    Landmarks,
    Points,
    angles_of,
    json_names,
    landmarks_of,
    placed,
    read_scene,
    skin_of,
)
from refiner.data.formats.file_access import first_files
from refiner.data.labels.records import Record
from refiner.images.arrays import resize
from refiner.images.io import Image, is_image_file, read_image

WIDTH_IN_IRISES = 60 / 18.7
"""Ratio of patch width and iris diameter: an iris of 11.7 mm has 18.7 of 60 px in MPIIGaze (960 px, 600 mm)."""


_measuring = threading.Lock()

FIT_SAMPLE = 24
"""Number of frames on which the fit of the landmarks is measured."""


class UnityEyes:
    """A folder of UnityEyes frames; see :class:`refiner.data.formats.registry.Dataset`.

    Images are uint8, (H, W, 3), RGB. Labels: ``gaze`` and ``head_pose``, (pitch, yaw) in radians, positive up and to
    the image's left; ``subject``, the skin texture; ``camera``, for UnityEyes2; in pixels of the image that is read
    ``pupil`` (2,), the middle of the iris, ``iris_outline`` (K, 2) and ``lid_outline`` (K, 2).

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
        self._measured: LandmarkFit | None = None

    @staticmethod
    def recognises(root: Path) -> bool:
        """Return whether one of the first images has a JSON file of the same name with UnityEyes' keys."""
        if not root.is_dir():
            return False
        for name in first_files(root, lambda name: is_image_file(Path(name))):  # skip damaged frames
            try:
                scene = read_scene(root / name)
            except ImageError:
                continue
            if all(key in scene for key in KEYS):
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
        if not any(path.as_posix() in known for name in ids for path in json_names(PurePosixPath(name))):
            raise WrongInputError(f"{self.root} holds no UnityEyes frames; expected 1.jpg with 1.json and so on")
        return ids

    @cached_property
    def _scene_files(self) -> set[str]:
        return {path.as_posix() for name in self.ids for path in json_names(PurePosixPath(name))}

    def is_part(self, name: str) -> bool:
        """Return whether a file is a frame or the JSON file of one."""
        return is_image_file(Path(name)) or name in self._scene_files

    def subject(self, sample: str) -> str | None:
        """Return the skin texture from the JSON file; see :class:`refiner.data.formats.registry.Dataset`."""
        return skin_of(read_scene(self.root / sample), self.root / sample)

    def read_image(self, sample: str) -> Image:
        """Read one frame, cut or whole; a cut frame needs its landmarks."""
        return self.read(sample).image if self.crop else read_image(self.root / sample)

    @property
    def _fit(self) -> LandmarkFit:
        """The fit of the landmarks to the pictures, measured once, on some of them."""
        with _measuring:
            if self._measured is None:
                self._measured = LandmarkFit(self._sample())
            return self._measured

    def _sample(self) -> Iterator[tuple[Image, Landmarks]]:
        count = min(FIT_SAMPLE, len(self.ids))
        for number in range(count):
            path = self.root / self.ids[number * len(self.ids) // count]
            with contextlib.suppress(ImageError):  # a faulty frame is reported when it is read
                yield read_image(path), landmarks_of(read_scene(path), path)

    def read(self, sample: str) -> Record:
        """Read one frame, cut or whole; see :class:`refiner.data.formats.registry.Dataset`."""
        # Check that the landmarks fit the picture.
        path = self.root / sample
        scene = read_scene(path)
        frame = read_image(path)
        landmarks = landmarks_of(scene, path)
        if problem := self._fit.problem(frame, landmarks):
            raise ImageError(path, problem)
        # Cut the frame to the eye, and move points along.
        corners, iris, lids = placed(landmarks, frame.shape[:2], path)
        image, to_image = cut_patch(frame, corners, iris, self.size) if self.crop else (frame, np.asarray)
        gaze, head = angles_of(scene, path)
        labels: dict[str, Any] = {
            "gaze": np.array(gaze),
            "head_pose": np.array(head),
            "pupil": to_image(iris.mean(axis=0)),
            "iris_outline": to_image(iris),
            "lid_outline": to_image(lids),
        }
        skin = skin_of(scene, path)
        if skin:
            labels["subject"] = skin
        if "camera" in scene:
            labels["camera"] = scene["camera"]
        return Record(sample, image, labels)


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
