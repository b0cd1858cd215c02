"""Reader of SynthesEyes renders: PNG files whose names hold the gaze, ``f01_122_-0.1963_0.3927.png``.

The name holds subject, number, and pitch and yaw of the eyeball in radians. Positive pitch looks up and positive yaw
to the image's left, as in :mod:`refiner.data.labels.angles`; this was checked on the images. The original data set
also has a pickle for each image. It is not read, since reading a pickle runs the code in it.

Source: Wood et al., "Rendering of eyes for eye-shape registration and gaze estimation", ICCV 2015.
"""

import logging
import re
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from refiner.core.errors import ImageError, WrongInputError
from refiner.data.folders.listing import list_files
from refiner.data.formats.file_access import first_files
from refiner.data.labels.records import Record
from refiner.data.labels.tables import LABELS_FILE
from refiner.images.io import Image, is_image_file, read_image

log = logging.getLogger(__name__)

_NAME = re.compile(r"([fm]\d+)_(\d+)_(-?\d\.\d+)_(-?\d\.\d+)", re.ASCII)


class Name(NamedTuple):
    """Contents of a file name: subject, and the eyeball's pitch and yaw in radians."""

    subject: str
    pitch: float
    yaw: float


def parse_name(stem: str) -> Name:
    """Parse the stem of a file name, such as ``f01_122_-0.1963_0.3927``.

    Raises:
        ValueError: the name is malformed, or an angle exceeds a quarter turn.
    """
    match = _NAME.fullmatch(stem)
    if not match:
        raise ValueError("its name holds no gaze; expected a name like f01_122_-0.1963_0.3927.png")
    pitch, yaw = (float(match[group]) + 0.0 for group in (3, 4))  # adding 0.0 turns -0.0 into 0.0
    if max(abs(pitch), abs(yaw)) > 1.571:  # pi / 2, rounded up
        raise ValueError(f"its name holds a gaze of ({pitch}, {yaw}) radians; expected at most a quarter turn")
    return Name(match[1], pitch, yaw)


class SynthesEyes:
    """A folder of SynthesEyes images, at any depth; see :class:`refiner.data.formats.registry.Dataset`.

    Images are (80, 120, 4), uint8, RGBA. Labels: ``gaze``, (pitch, yaw) in radians, positive up and to the image's
    left; ``subject`` (f01). Head pose and landmarks are only in the pickles, which are not read.

    Args:
        root: the folder.
        size, crop: not used; images are eye patches already and are read whole.

    Raises:
        DataError: ``root`` is not a folder.
    """

    licence = "research use"

    def __init__(self, root: Path, *, size: tuple[int, int] | None = None, crop: bool = True) -> None:
        if not root.is_dir():
            raise WrongInputError(f"{root} is not a folder; name the folder of the SynthesEyes images")
        self.root = root

    @staticmethod
    def recognises(root: Path) -> bool:
        """Return whether one of the first images or pickles has such a name.

        A folder with ``labels.csv`` is a converted data set and has another layout.
        """
        if not root.is_dir() or (root / LABELS_FILE).exists():
            return False
        names = first_files(root, lambda name: is_image_file(Path(name)) or name.endswith(".pkl"))
        return any(_NAME.fullmatch(PurePosixPath(name).stem) for name in names)

    @cached_property
    def ids(self) -> list[str]:
        """Relative paths of all images, sorted; images without a gaze in their names are included.

        Raises:
            DataError: the folder holds no images.
        """
        names = list_files(self.root)
        ids = [name for name in names if is_image_file(Path(name))]
        pickles = sum(name.endswith(".pkl") for name in names)
        # Explain why pickles alone are not enough.
        if not ids and pickles:
            raise WrongInputError(
                f"{self.root} holds only pickles, which are not read, since reading one runs the code in it; "
                "add the images, whose names hold the labels"
            )
        if not ids:
            raise WrongInputError(f"{self.root} holds no images; expected f01_122_-0.1963_0.3927.png and so on")
        if pickles:
            log.warning("the %d pickles in %s are not read; labels come from the file names", pickles, self.root)
        return ids

    def is_part(self, name: str) -> bool:
        """Return whether a file is an image, or a pickle, of which a warning is logged."""
        return is_image_file(Path(name)) or name.endswith(".pkl")

    def subject(self, sample: str) -> str | None:
        """Return the face that was rendered, such as ``f01``; see :class:`refiner.data.formats.registry.Dataset`."""
        return self._name(sample).subject

    def read_image(self, sample: str) -> Image:
        """Read one image, whatever its name."""
        return read_image(self.root / sample)

    def read(self, sample: str) -> Record:
        """Read one image with its labels; see :class:`refiner.data.formats.registry.Dataset`."""
        name = self._name(sample)
        labels = {"gaze": np.array([name.pitch, name.yaw]), "subject": name.subject}
        return Record(sample, read_image(self.root / sample), labels)

    def _name(self, sample: str) -> Name:
        try:
            return parse_name(PurePosixPath(sample).stem)
        except ValueError as error:
            raise ImageError(self.root / sample, str(error)) from error
