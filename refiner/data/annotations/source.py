"""Interface of the annotation formats: readers of the labels of a folder, and writers."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, Self

from refiner.data.labels.objects import AnnotationInfo
from refiner.data.labels.records import Labels


class LabelSource(Protocol):
    """The labels of a folder's images in one format, such as COCO; a mapping from sample id to labels.

    Reading the labels of an image may fail with an :class:`refiner.core.errors.ImageError` that names what is wrong
    with them; it concerns this image alone. Sources are picklable and safe to read from several threads.

    A source may also have an attribute ``oddities``: one sentence for each thing that programs read in different ways,
    such as two annotations with one id, by which no label is lost here. Its attribute ``constant_files`` names files
    about the whole data set that hold no positions in images, such as those of the renderer's sensors. They are copied
    as they are, whatever happens to the images.

    Attributes:
        format: name of the format.
        files: the annotation files that it reads, relative to the folder. They are written anew when images change.
        label_images: pictures that are labels, such as masks, each with its image, or None if it is unknown.
        problems: one sentence for each fault of the annotations that concerns no single image. Images that are named
            and do not exist are no such faults: they are among the ids, as in a label table.
        info: facts about the whole data set; None if the format knows no objects.
    """

    format: str
    files: frozenset[str]
    label_images: Mapping[str, str | None]
    problems: Sequence[str]

    @property
    def info(self) -> AnnotationInfo | None:
        """Facts about the whole data set; None if the format knows no objects."""

    @property
    def names(self) -> Sequence[str]:
        """Names of the labels that images can have."""

    def __contains__(self, sample: object) -> bool:
        """Return whether an image has labels, without reading them."""

    def __iter__(self) -> Iterator[str]:
        """Iterate over the sample ids that have labels, and the names of images that do not exist and have some."""

    def __len__(self) -> int:
        """Return the number of images that have labels."""

    def __getitem__(self, sample: str) -> Labels:
        """Return the labels of an image.

        Raises:
            KeyError: the image has none.
            ImageError: they are faulty.
        """

    def only(self, samples: Iterable[str], labels: Sequence[str]) -> Self:
        """Return the labels of some images, small enough to send to another process.

        Args:
            samples: ids of the images.
            labels: names of the labels that are wanted; others may be left out.
        """


class LabelFormat(Protocol):
    """A module of this package that reads a format; its functions have no ``self``."""

    def find(self, root: Path, files: Sequence[str], images: Sequence[str]) -> Sequence[LabelSource]:
        """Return the sources of this format in a folder; none if it has none.

        Args:
            root: the folder.
            files: every file below it that the user did not exclude, as relative paths with forward slashes.
            images: those that may be images, label images among them.

        Raises:
            DataError: a file is certainly of this format, and cannot be used.
        """


class LabelledImage(NamedTuple):
    """An image in a folder that is written, with its labels.

    Attributes:
        name: path below the folder.
        size: (height, width).
        labels: its labels.
    """

    name: str
    size: tuple[int, int]
    labels: Labels


Lost = Callable[[str, str], None]
"""Callback for a label that a format cannot hold as it is: what happens to such labels, and the name of the image."""


class LabelWriter(Protocol):
    """A module of this package that writes a format; its functions have no ``self``."""

    def image_name(self, name: str) -> str:
        """Return the path below the folder under which the format expects an image; usually the same."""

    def holds(self, label: str) -> bool:
        """Return whether the format holds a label of this name; ``labels.csv`` beside it takes the others."""

    def write(
        self, root: Path, images: Iterable[LabelledImage], info: AnnotationInfo | None, lost: Lost | None = None
    ) -> list[str]:
        """Write the annotation files of a folder.

        Args:
            root: the folder to write below. It is empty and has any name: the files move to the images later.
            images: the images, in order; they are read once, and not kept. Labels that the format does not hold are
                missing.
            info: facts about the data set, if its labels came with any, maybe in another format.
            lost: called for each label that the format cannot hold as it is, as in "masks are written as boxes".

        Returns:
            Names of the files that were written, relative to the folder.

        Raises:
            DataError: the format cannot hold these labels; the message names the label and the image.
            OutputError: a file cannot be written.
        """
