"""Registry of the readers of data sets: their interface, their names, and recognition of a layout.

A reader lists the ids of its samples without decoding images, and reads any sample as a record, from any thread. A
new layout needs a module in this package and a line in ``FORMATS``.
"""

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, cast

from refiner.core.errors import DataError, WrongInputError
from refiner.core.path_kinds import is_network, path_kind
from refiner.data.folders.contents import is_document
from refiner.data.folders.left_out import LeftOut, left_out
from refiner.data.folders.listing import list_files
from refiner.data.folders.selection import EVERYTHING, Selection
from refiner.data.formats.eyes.mpiigaze import MPIIGaze, MPIIGazeEvaluation
from refiner.data.formats.eyes.mpiigaze_hdf5 import GazeHDF5, MPIIGazeHDF5
from refiner.data.formats.eyes.syntheseyes import SynthesEyes
from refiner.data.formats.eyes.unityeyes import UnityEyes
from refiner.data.formats.folder import ImageFolder
from refiner.data.formats.nyu_hand import NyuHand, NyuHandSynthetic
from refiner.data.labels.objects import AnnotationInfo
from refiner.data.labels.records import Record
from refiner.data.store.reader import Store
from refiner.data.store.store_names import is_store_name
from refiner.images.io import Image

log = logging.getLogger(__name__)


class Dataset(Protocol):
    """Interface of a data set on disk: a folder or a file.

    Every reader gives images as uint8 or uint16, (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA. Labels follow
    :data:`refiner.data.labels.records.Labels`: angles are (pitch, yaw) in radians, points are (x, y) in pixels of the
    image that is read.

    Attributes:
        root: the folder or file.
    """

    root: Path

    @property
    def licence(self) -> str:
        """Licence of the images in a few words; it is written into a store."""

    def __init__(self, root: Path, *, size: tuple[int, int] | None = None, crop: bool = True) -> None:
        """Open a data set; see :func:`open_dataset`."""

    @staticmethod
    def recognises(root: Path) -> bool:
        """Return whether a folder or a file has this layout; a damaged or missing one gives False, not an error."""

    @property
    def ids(self) -> Sequence[str]:
        """Sample ids in a fixed order: paths relative to the root, with an image suffix.

        Raises:
            DataError: the data set has no samples or cannot be read.
        """

    def subject(self, sample: str) -> str | None:
        """Return the subject that an image shows, without decoding the image; None if it is not known.

        Raises:
            ImageError: the label of the subject cannot be read.
        """

    def read_image(self, sample: str) -> Image:
        """Read one image as :meth:`read` does, without its labels if the layout allows it.

        Raises:
            ImageError: the image cannot be used.
        """

    def read(self, sample: str) -> Record:
        """Read one sample: the image and its labels.

        Raises:
            ImageError: this sample cannot be used; other samples may be usable.
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
"""Readers by name. The first that recognises a path reads it, so special layouts come before general ones."""


class _SelectedDataset:
    """Some samples of a folder in a special layout; everything else is that of the data set."""

    def __init__(self, dataset: Dataset, selection: Selection) -> None:
        self._dataset, self._selection = dataset, selection

    @cached_property
    def ids(self) -> Sequence[str]:
        """Ids of the selected samples.

        Raises:
            DataError: none is selected.
        """
        chosen = [sample for sample in self._dataset.ids if self._selection.takes(sample)]
        if not chosen:
            raise WrongInputError(f"{self._dataset.root}: --include and --exclude select none of its images")
        return chosen

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked by pickle and copy before there is a data set
            raise AttributeError(name)
        return getattr(self._dataset, name)


def info_of(dataset: Dataset) -> AnnotationInfo | None:
    """Return facts about the annotated objects of a data set; None if it has none.

    Raises:
        DataError: they are damaged.
    """
    info = getattr(dataset, "info", None)
    return info if isinstance(info, AnnotationInfo) else None


def left_out_of(dataset: Dataset) -> list[LeftOut]:
    """Return reports about what a folder holds besides its samples; empty for other data sets.

    A special layout has no files beside its own; whatever else lies there is not read and does not go along.
    """
    if isinstance(dataset, ImageFolder):
        return dataset.left_out
    if not hasattr(dataset, "is_part"):
        return []
    _ = dataset.ids  # listing the samples names the fault of a folder that cannot be read
    strangers = (name for name in list_files(dataset.root) if not dataset.is_part(name) and not is_document(name))
    return list(
        left_out(
            "other files",
            strangers,
            "{count} file is no part of this layout and is not read",
            "{count} files are no part of this layout and are not read",
            is_loss=True,
        )
    )


def warn_of_left_out(dataset: Dataset) -> None:
    """Log what a data set holds besides its samples; a label table that cannot be read is logged, too."""
    try:
        reports = left_out_of(dataset)
    except DataError as error:
        log.warning("%s", error)
        return
    for report in reports:
        log.warning("%s: %s", dataset.root, report.text)


def open_dataset(
    path: Path,
    *,
    format: str | None = None,
    size: tuple[int, int] | None = None,
    crop: bool = True,
    selection: Selection = EVERYTHING,
    masks: Path | None = None,
) -> Dataset:
    """Open a data set.

    Args:
        path: its folder or file.
        format: a name in ``FORMATS``; None recognises the layout.
        size: (height, width) of the patches that whole scenes are cut to; other layouts ignore it.
        crop: cut whole scenes to the eye or the hand; False reads them whole.
        selection: the files of a folder to use.
        masks: a mask or a folder of masks that the user named; if it is in the folder, its files are no samples.

    Raises:
        DataError: the path is missing, the format is unknown, no reader recognises the layout, or files are selected
            of something that is no folder.
    """
    # Take the reader that was named, or the first that recognises the layout.
    if format is not None and format not in FORMATS:
        raise WrongInputError(f"format {format} is unknown; expected one of {', '.join(FORMATS)}")
    if not path.exists():
        raise WrongInputError(f"{path} does not exist; name the folder or file that holds the images")
    kind = path_kind(path)
    if is_network(kind):
        raise WrongInputError(f"{path} is {kind}, not a data set; name a folder of images, or a store (.h5)")
    for reader in [FORMATS[format]] if format else FORMATS.values():
        if format or reader.recognises(path):
            if selection and not path.is_dir():
                raise WrongInputError(f"--include and --exclude select files of a folder, but {path} is {kind}")
            if reader is ImageFolder:
                return ImageFolder(path, selection=selection, masks=masks)
            dataset = reader(path, size=size, crop=crop)
            return cast(Dataset, _SelectedDataset(dataset, selection)) if selection else dataset
    # A damaged store is not recognised; opening it raises the error that explains the fault.
    if is_store_name(path) and path.is_file():
        _ = Store(path).file
    if kind == "an image":
        raise WrongInputError(f"{path} is a single image, not a data set; name the folder that holds it")
    raise WrongInputError(f"{path} is {kind}, not a data set; expected a folder of images, or a store (.h5)")
