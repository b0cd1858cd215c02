"""Readers of data sets: one file a layout, one interface, found by looking at what is there.

A reader lists the ids of its samples without decoding anything, and reads any one of them as a record, from
any thread. A new layout is a file here and one line in ``FORMATS``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from refiner.core.errors import DataError
from refiner.data.formats.folder import ImageFolder
from refiner.data.formats.mpiigaze import MPIIGaze, MPIIGazeEvaluation
from refiner.data.formats.mpiigaze_hdf5 import GazeHDF5, MPIIGazeHDF5
from refiner.data.formats.nyu_hand import NyuHand, NyuHandSynthetic
from refiner.data.formats.syntheseyes import SynthesEyes
from refiner.data.formats.unityeyes import UnityEyes
from refiner.data.labels.records import Record
from refiner.data.store.reader import Store
from refiner.data.store.store_names import is_store_name
from refiner.images.io import Image


class Dataset(Protocol):
    """A data set on disk: a folder or a file.

    Attributes:
        root: the folder or file.
    """

    root: Path

    @property
    def licence(self) -> str:
        """Licence of the images in a few words, as it is written into a store."""

    def __init__(self, root: Path, *, size: tuple[int, int] | None = None, crop: bool = True) -> None:
        """Open a data set; see :func:`open_dataset`."""

    @staticmethod
    def recognises(root: Path) -> bool:
        """Whether a folder or a file has this layout; never raises."""

    @property
    def ids(self) -> Sequence[str]:
        """Sample ids in a fixed order: paths relative to the root, with an image suffix.

        Raises:
            DataError: there are none.
        """

    def subject(self, sample: str) -> str | None:
        """Whose image this is, found without decoding it; None where the data set does not say.

        Raises:
            ImageError: what says it cannot be read.
        """

    def read_image(self, sample: str) -> Image:
        """Read one image as :meth:`read` does, without looking at its labels where that is possible."""

    def read(self, sample: str) -> Record:
        """Read one sample.

        Raises:
            ImageError: this sample cannot be used; the others still can.
        """


FORMATS: dict[str, type[Dataset]] = {
    "store": Store,
    "unityeyes": UnityEyes,
    "syntheseyes": SynthesEyes,
    "mpiigaze": MPIIGaze,
    "mpiigaze-evaluation": MPIIGazeEvaluation,
    "mpiigaze-hdf5": MPIIGazeHDF5,
    "gaze-hdf5": GazeHDF5,
    "nyu-hand": NyuHand,
    "nyu-hand-synthetic": NyuHandSynthetic,
    "folder": ImageFolder,
}
"""Readers by name, the most particular first: the first that recognises what is there reads it."""


def open_dataset(
    path: Path, *, format: str | None = None, size: tuple[int, int] | None = None, crop: bool = True
) -> Dataset:
    """Open a data set.

    Args:
        path: its folder or file.
        format: a name in ``FORMATS``; None looks at what is there.
        size: (height, width) of the crops that a layout of whole scenes is cut into.
        crop: whether a layout of whole scenes is cut at all.

    Raises:
        DataError: the path is missing, or no reader knows what is there.
    """
    if format is not None and format not in FORMATS:
        raise DataError(f"format {format} is unknown; expected one of {', '.join(FORMATS)}")
    if not path.exists():
        raise DataError(f"{path}: does not exist; name the folder or file that holds the images")
    for reader in [FORMATS[format]] if format else FORMATS.values():
        if format or reader.recognises(path):
            return reader(path, size=size, crop=crop)
    if is_store_name(path) and path.is_file():
        _ = Store(path).file  # says what is wrong with it
    raise DataError(f"{path}: is not a data set that is known here; expected a folder of images, or a store (.h5)")
