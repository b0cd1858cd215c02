"""Objects from the masks beside images, where a data set has no other source of objects.

One object is one value or one colour of a mask, or one value of an instance segmentation. It is read when it is asked
for. Names of classes come from the files that Omniverse Replicator writes beside its segmentations; in CARLA's
instance segmentation the red channel is the number of the class. Other instances have the class that a semantic
segmentation gives to most of their pixels. Any other class is called by its value.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from refiner.core.errors import DataError, ImageError
from refiner.data.annotations.json_records import read_json
from refiner.data.annotations.mask_images import codes_of, colour_of, mask_and_box, open_as_stored, values_in
from refiner.data.annotations.object_source import ObjectSource
from refiner.data.labels.objects import AnnotationInfo, Category, ImageAnnotations, ObjectLabel
from refiner.data.labels.picture_names import has_label_word, has_map_word
from refiner.images.io import LOSSLESS_SUFFIXES, read_image

MAX_OBJECTS = 1024
"""Largest number of values of a mask; a picture with more is a map of measures."""

IGNORED = 255
"""Value for pixels that belong to no class, if the other values are small numbers, as in VOC and Cityscapes."""

_SMALL = 64
_CARLA_CLASSES = 32  # more than it has
_COLOUR = re.compile(r"\(\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)")
_NOTHING = ("background", "unlabelled", "unlabeled")
_INSTANCES = re.compile(r"(?i)instances?(?![a-z])|SegmentationObject")
_PLAIN = re.compile(r"(?i)masks?|seg(?:m|s|mentation)?|labels?|gt|png|semantic|instance|[\W\d_]+")

NO_CLASS = "object"
"""Name of the class of objects whose class is not known."""

SAMPLED_IMAGES = 32
"""Number of images whose masks tell the classes of a data set."""


class _Value(NamedTuple):
    """A value of a picture: its name, its class and its pixels."""

    name: str
    category: str
    pixels: NDArray[np.bool_]


class Masks(NamedTuple):
    """The masks of an image.

    Attributes:
        names: pictures whose values are the objects.
        classes: picture of the classes of instances; empty if there is none.
    """

    names: tuple[str, ...] = ()
    classes: str = ""


class MaskObjects(ObjectSource[Masks]):
    """The objects in the masks of a folder.

    Args:
        root: the folder.
        label_images: pictures that are labels, each with its image; maps, such as depth, are no masks.
        images: images that count as images without objects if they have no mask.
    """

    format = "masks"

    def __init__(self, root: Path, label_images: Mapping[str, str | None], images: Sequence[str] = ()) -> None:
        super().__init__(root, (), label_images)
        self._images = images

    def _find_places(self) -> dict[str, Masks]:
        """Return the masks of each image that has some: one of its instance segmentations, else all."""
        masks: dict[str, list[str]] = {}
        for name, image in self.label_images.items():
            if image is not None and PurePosixPath(name).suffix.lower() in LOSSLESS_SUFFIXES and not _is_map(name):
                masks.setdefault(image, []).append(name)
        found = {image: self._best(names) for image, names in masks.items()}
        return dict.fromkeys(self._images, Masks()) | found if found else {}

    def _shrink(self) -> None:
        self._images = ()

    def _best(self, names: Sequence[str]) -> Masks:
        instances = [name for name in names if _INSTANCES.search(name)]
        if not instances:
            return Masks(tuple(names))
        with_classes = [name for name in instances if len(names) > 1 and self._names_file(name) is not None]
        classes = [name for name in names if name not in instances]
        semantic = [name for name in classes if "semantic" in name.lower() or "class" in name.lower()]
        return Masks(((with_classes or instances)[0],), next(iter(semantic or classes), ""))

    @property
    def info(self) -> AnnotationInfo:
        """The classes in some of the masks, spread over the data set."""
        names: dict[str, None] = {}
        samples = list(self.places)
        for number in range(min(SAMPLED_IMAGES, len(samples))):
            sample = samples[number * len(samples) // min(SAMPLED_IMAGES, len(samples))]
            try:
                names |= dict.fromkeys(each.category for each in self._read(sample, self.places[sample]).objects)
            except DataError:  # told when its objects are read
                continue
        numbered = sorted(int(name) for name in names if name.isdecimal())
        others = enumerate(sorted(name for name in names if not name.isdecimal()), max(numbered, default=0) + 1)
        categories = [Category(number, str(number)) for number in numbered]
        return AnnotationInfo(self.format, [*categories, *(Category(number, name) for number, name in others)])

    def _read(self, sample: str, place: Masks) -> ImageAnnotations:
        objects = []
        for name in place.names:
            values = list(self._values(sample, name))
            # Instances whose class no file names have that of their pixels.
            if _INSTANCES.search(name) and all(value.category == value.name for value in values):
                class_of = self._class_of(sample, place.classes)
                values = [value._replace(category=class_of(value.pixels)) for value in values]
            for value in values:
                mask, box = mask_and_box(value.pixels)
                if mask is not None:
                    which = value.name if len(place.names) == 1 else f"{name}:{value.name}"
                    objects.append(ObjectLabel(which, value.category, box=box, mask=mask, extra={"label_image": name}))
        return ImageAnnotations(tuple(objects))

    def _class_of(self, sample: str, name: str) -> Callable[[NDArray[np.bool_]], str]:
        """Return a function from pixels to the class of most of them; ``object`` if there is none."""
        classes = list(self._values(sample, name)) if name else []
        if not classes:
            return lambda pixels: NO_CLASS
        numbers = np.zeros(classes[0].pixels.shape, np.int64)
        for number, each in enumerate(classes, 1):
            numbers[each.pixels] = number

        def find(pixels: NDArray[np.bool_]) -> str:
            if pixels.shape != numbers.shape:
                raise ImageError(self.root / name, "has another size than the instance segmentation of its image")
            most = int(np.bincount(numbers[pixels]).argmax())
            return classes[most - 1].category if most else NO_CLASS

        return find

    def _values(self, sample: str, name: str) -> Iterator[_Value]:
        """Yield the values of a mask that are objects."""
        numbers = open_as_stored(self.root / name, ("P", "1"))
        image = read_image(self.root / name) if numbers is None else np.asarray(numbers).astype(np.uint8)
        codes = codes_of(image)
        values = values_in(codes)
        if len(values) > MAX_OBJECTS:
            raise ImageError(self.root / name, f"has {len(values):,} values; a mask has at most {MAX_OBJECTS:,}")
        # Leave out what is no object: zero or black, and pixels of no class.
        found: list[tuple[int, tuple[int, ...]]]
        if image.ndim == 2:
            found = [(int(value), (int(value),)) for value in values if value]
            small = [value for value, _ in found if value != IGNORED]
            if image.dtype == np.uint8 and small and max(small) < _SMALL:
                found = [pair for pair in found if pair[0] != IGNORED]
        else:
            found = [(int(value), colour_of(int(value), image)) for value in values]
            found = [pair for pair in found if any(pair[1][:3])]
        # Name the classes.
        classes = self._classes(name)
        in_red = image.ndim == 3 and not classes and _is_carla(name, [colour for _, colour in found])
        is_single = [value for value, _ in found] == [np.iinfo(image.dtype).max] or (numbers and numbers.mode == "1")
        only = _kind(sample, name) if is_single else ""
        for value, colour in found:
            known = classes.get(colour, classes.get(colour[:3], "")) if classes else str(colour[0]) if in_red else only
            if known.lower() not in _NOTHING:
                text = str(value) if len(colour) == 1 else "#" + "".join(f"{part:02x}" for part in colour[:3])
                yield _Value(text, known or text, codes == value)

    def _names_file(self, name: str) -> Path | None:
        """Return the file of Replicator that names the classes of a segmentation; None if there is none."""
        path = self.root / name
        start, _, number = path.stem.rpartition("_")
        for kind in ("semantics_mapping", "labels"):
            if (other := path.with_name(f"{start}_{kind}_{number}.json")).is_file():
                return other
        return None

    def _classes(self, name: str) -> dict[tuple[int, ...], str]:
        """Return the classes of a segmentation by value or colour; empty if no file names them."""
        path = self._names_file(name)
        if path is None:
            return {}
        content = read_json(path)
        classes: dict[tuple[int, ...], str] = {}
        for key, value in content.items() if isinstance(content, dict) else ():
            text = value.get("class") if isinstance(value, dict) else value
            if not isinstance(text, str):
                continue
            if match := _COLOUR.fullmatch(key):
                colour = tuple(int(part) for part in match.groups() if part is not None)
                classes |= {colour: text, colour[:3]: text}
            elif key.isdecimal():
                classes[int(key),] = text
        return classes


def _is_map(name: str) -> bool:
    """Return whether a label image holds measures by its name, and no classes."""
    path = PurePosixPath(name)
    return (has_map_word(path.stem) or has_map_word(path.parent.name)) and not has_label_word(path.stem)


def _is_carla(name: str, colours: Sequence[tuple[int, ...]]) -> bool:
    """Return whether colours are those of CARLA: the class in red, and the instance, or nothing, in green and blue."""
    is_named = _INSTANCES.search(name) is not None or "semantic" in name.lower()
    return is_named and any(colour[0] for colour in colours) and all(colour[0] < _CARLA_CLASSES for colour in colours)


def _kind(sample: str, name: str) -> str:
    """Return what the name of a mask adds to that of its image: iris for 0001_iris.png; ``object`` for a plain word."""
    image, mask = PurePosixPath(sample).stem, PurePosixPath(name).stem
    rest = mask.replace(image, "", 1).strip("_-. ")
    folder = PurePosixPath(name).parent.name
    for text in (rest, folder):
        if text and not _PLAIN.fullmatch(text) and text != PurePosixPath(sample).parent.name:
            return text
    return NO_CLASS
