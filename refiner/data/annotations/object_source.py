"""Base of the readers that find the objects of one image at a time, and keep none of them."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

from refiner.core.errors import DataError, ImageError
from refiner.data.labels.objects import OBJECTS, AnnotationInfo, ImageAnnotations
from refiner.data.labels.records import Labels

Place = TypeVar("Place")
"""Place of the labels of one image, such as a file and a number in it."""


class ObjectSource(ABC, Generic[Place]):
    """Objects of the images of a folder; see :class:`refiner.data.annotations.source.LabelSource`.

    Args:
        root: the folder.
        files: the annotation files, relative to it.
        label_images: pictures that are labels, each with its image.
    """

    format = ""
    names = (OBJECTS,)

    def __init__(self, root: Path, files: Iterable[str], label_images: Mapping[str, str | None]) -> None:
        self.root = root
        self.files = frozenset(files)
        self.label_images = label_images
        self.problems: Sequence[str] = ()

    @cached_property
    def places(self) -> Mapping[str, Place]:
        """Place of the labels of each image, by its sample id."""
        return self._find_places()

    @abstractmethod
    def _find_places(self) -> Mapping[str, Place]:
        """Find the labels of each image."""

    @abstractmethod
    def _read(self, sample: str, place: Place) -> ImageAnnotations:
        """Read the objects of one image.

        Raises:
            DataError: they are faulty.
        """

    @property
    @abstractmethod
    def info(self) -> AnnotationInfo | None:
        """Facts about the whole data set."""

    def __contains__(self, sample: object) -> bool:
        return sample in self.places

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, sample: str) -> Labels:
        place = self.places[sample]
        try:
            return {OBJECTS: self._read(sample, place)}
        except ImageError as error:
            if error.path == Path(sample):
                raise
            raise ImageError(sample, f"its labels cannot be read: {error}") from error
        except DataError as error:
            raise ImageError(sample, f"its labels cannot be read: {error}") from error

    def only(self, samples: Iterable[str], labels: Sequence[str]) -> Self:
        """Return the labels of some images; see :class:`refiner.data.annotations.source.LabelSource`."""
        part = copy.copy(self)
        wanted = samples if OBJECTS in labels else ()
        part.__dict__["places"] = {sample: self.places[sample] for sample in wanted if sample in self.places}
        part.files, part.label_images = frozenset(), {}
        part._shrink()
        return part

    def _shrink(self) -> None:
        """Forget what is not needed to read the images in :attr:`places`, before another process gets this source."""


def checked(values: Any, kind: type, what: str) -> Any:
    """Return a value of JSON if it has the type that is needed.

    Raises:
        DataError: it has another; ``what`` names it.
    """
    if not isinstance(values, kind):
        names = {list: "a list", dict: "an object", str: "text", int: "a whole number"}
        raise DataError(f"{what} is {values!r:.60}; expected {names[kind]}")
    return values


def numbers(values: Any, count: int, what: str) -> tuple[float, ...]:
    """Return a list of numbers of JSON as it was read.

    Raises:
        DataError: it is no list, or has another length; ``what`` names it.
    """
    if not isinstance(values, list) or len(values) != count or not all(map(_is_number, values)):
        raise DataError(f"{what} is {values!r:.60}; expected {count} numbers")
    return tuple(values)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
