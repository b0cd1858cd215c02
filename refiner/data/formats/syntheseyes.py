"""SynthesEyes renders: PNG files whose names hold the gaze, ``f01_122_-0.1963_0.3927.png``.

The name is subject, number, pitch and yaw in radians, of the eyeball; the signs are already ours (found on the
pictures: the pupil follows the first angle up and the second to the image's left). The pickle beside each image
in the original data set is not read: reading a pickle runs the code in it.

Source: Wood et al., "Rendering of eyes for eye-shape registration and gaze estimation", ICCV 2015.
"""

import logging
import re
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from refiner.core.errors import DataError, ImageError
from refiner.data.formats.file_access import first_files
from refiner.data.formats.folder import list_files
from refiner.data.labels.records import Record
from refiner.data.labels.tables import LABELS_FILE
from refiner.images.io import Image, is_image_file, read_image

log = logging.getLogger(__name__)

_NAME = re.compile(r"([fm]\d+)_(\d+)_(-?\d\.\d+)_(-?\d\.\d+)", re.ASCII)


class Name(NamedTuple):
    """What a file name says: subject, and the eyeball's (pitch, yaw) in radians."""

    subject: str
    pitch: float
    yaw: float


def parse_name(stem: str) -> Name:
    """What ``f01_122_-0.1963_0.3927`` says.

    Raises:
        ValueError: it is anything else, or looks backwards.
    """
    match = _NAME.fullmatch(stem)
    if not match:
        raise ValueError("its name says no gaze; expected one like f01_122_-0.1963_0.3927.png")
    pitch, yaw = (float(match[group]) + 0.0 for group in (3, 4))  # -0.0000 is zero
    if max(abs(pitch), abs(yaw)) > 1.571:  # pi / 2, rounded up
        raise ValueError(f"its name says a gaze of ({pitch}, {yaw}) radians; expected at most a quarter turn")
    return Name(match[1], pitch, yaw)


class SynthesEyes:
    """A folder of SynthesEyes images, at any depth; see :class:`refiner.data.formats.registry.Dataset`.

    Labels: ``gaze`` and ``subject``. There is no head pose and no landmark without the pickles.

    Args:
        root: the folder.
        size, crop: unused, images are eye patches already and are read whole: 80x120 RGBA.

    Raises:
        DataError: it is no folder.
    """

    licence = "research use"

    def __init__(self, root: Path, *, size: tuple[int, int] | None = None, crop: bool = True) -> None:
        if not root.is_dir():
            raise DataError(f"{root}: is not a folder; name the folder of the SynthesEyes images")
        self.root = root

    @staticmethod
    def recognises(root: Path) -> bool:
        """Whether one of the first images, or pickles, is named so; a folder with a label table is our own."""
        if not root.is_dir() or (root / LABELS_FILE).exists():
            return False
        names = first_files(root, lambda name: is_image_file(Path(name)) or name.endswith(".pkl"))
        return any(_NAME.fullmatch(PurePosixPath(name).stem) for name in names)

    @cached_property
    def ids(self) -> list[str]:
        """Relative paths of all images, sorted, those whose names say nothing too.

        Raises:
            DataError: there are none.
        """
        names = list_files(self.root)
        ids = [name for name in names if is_image_file(Path(name))]
        pickles = sum(name.endswith(".pkl") for name in names)
        if not ids and pickles:
            raise DataError(
                f"{self.root}: holds only pickles, which are not read, as reading one runs the code in it; "
                "put the images beside them: the labels come from their names"
            )
        if not ids:
            raise DataError(f"{self.root}: holds no images; expected f01_122_-0.1963_0.3927.png and so on")
        if pickles:
            log.warning("%s: its %d pickles are not read; labels come from the file names", self.root, pickles)
        return ids

    def subject(self, sample: str) -> str | None:
        """The face that was rendered, as in ``f01``; see :class:`refiner.data.formats.registry.Dataset`."""
        return self._name(sample).subject

    def read_image(self, sample: str) -> Image:
        """Read one image; what its name says is not looked at."""
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
