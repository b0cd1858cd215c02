"""Writer of YOLO data sets: a text file for each image, and ``data.yaml`` as Ultralytics reads it.

Objects keep the text of their line as long as it still fits their image. All lines of a data set are of one kind, since
YOLO reads a box beside outlines as an outline: boxes, outlines, or boxes with keypoints. Masks become outlines.
"""

import json
import logging
import posixpath
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from refiner.core.errors import DataError
from refiner.core.files import write_text
from refiner.data.annotations.source import LabelledImage, Lost
from refiner.data.annotations.yolo.data_file import data_text
from refiner.data.annotations.yolo.layout import label_path
from refiner.data.annotations.yolo.lines import (
    KeypointShape,
    Pixels,
    are_close,
    format_share,
    parse_line,
    to_pixels,
)
from refiner.data.annotations.yolo.new_lines import line_values, say_further_fields
from refiner.data.annotations.yolo.reader import FORMAT, LINE, LISTED, SCORE
from refiner.data.labels.objects import OBJECTS, AnnotationInfo, Category, ImageAnnotations, ObjectLabel

log = logging.getLogger(__name__)


def image_name(name: str) -> str:
    """Return the path of an image: below a folder ``images``, which stands beside the ``labels``."""
    return name if "images" in name.split("/")[:-1] else f"images/{name}"


def holds(label: str) -> bool:
    """Return whether a label is the one with the objects."""
    return label == OBJECTS


@dataclass
class _Plan:
    """Properties of the lines of a data set, from the first pass over all images.

    Attributes:
        is_own: the objects came from YOLO, so that any object can be written as it is.
        names: name of each class by its number.
        numbers: number of each class by its name.
        keypoints: number of keypoints, and of values for each; None if objects have none.
        outlines: objects are written as outlines.
    """

    is_own: bool = False
    names: dict[int, str] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    keypoints: KeypointShape | None = None
    outlines: bool = False

    def add_class(self, name: str) -> int:
        """Return the number of a class; a new one gets the next number."""
        if name not in self.numbers:
            self.numbers[name] = max(self.names, default=-1) + 1
            self.names[self.numbers[name]] = name
        return self.numbers[name]


def write(
    root: Path, images: Iterable[LabelledImage], info: AnnotationInfo | None, lost: Lost | None = None
) -> list[str]:
    """Write the text files and ``data.yaml``; see :class:`refiner.data.annotations.source.LabelWriter`.

    Raises:
        DataError: an object has no class or too many keypoints, or two images have one text file.
        OutputError: a file cannot be written.
    """
    say = lost or (lambda what, name: log.warning("%s: %s", name, what))
    with tempfile.TemporaryFile() as spool:
        # Whether there are outlines or keypoints is known only when all images have been seen; they wait on the disk.
        plan = _make_plan(_spooled(spool, images), info)
        header: Mapping[str, Any] = info.header if info is not None and plan.is_own else {}
        written: dict[str, str] = {}
        folders: dict[str, None] = {}
        listed: dict[str, list[str]] = {}
        for image in _read(spool):
            folders[posixpath.dirname(image.name)] = None
            for name, before in _lists_of(image, header.get("lists", {})):
                listed.setdefault(name, []).append(f"{before}{image.name}\n")
            if image.annotations is None:
                continue
            path = label_path(image.name)
            if path in written:
                raise DataError(
                    f"{image.name} and {written[path]} would share the label file {path}; rename one of them"
                )
            lines = _lines(image, image.annotations, plan, say)
            write_text(root / path, "".join(f"{line}\n" for line in lines))
            written[path] = image.name
    for name, rows in listed.items():
        write_text(root / name, "".join(rows))
    others = _write_classes(root, plan, header, [*folders], [*listed]) if folders else []
    return [*written, *listed, *others]


def _lists_of(image: "_Image", lists: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield the lists that an image is in, each with what stands before its path."""
    for name, unlabelled in lists.items():
        entry = image.annotations.entries.get(name) if image.annotations is not None else None
        if isinstance(entry, Mapping) and LISTED in entry:
            yield name, str(entry[LISTED])
        elif image.annotations is None:
            # The image may have another suffix, and be in a folder images since.
            keys = (label_path(image.name), label_path(image.name.removeprefix("images/")))
            if key := next((key for key in keys if key in unlabelled), ""):
                yield name, unlabelled[key]


def _write_classes(
    root: Path, plan: _Plan, header: Mapping[str, Any], folders: list[str], lists_of_images: list[str]
) -> list[str]:
    """Write ``data.yaml``, and lists of classes where the data set had some; return their names."""
    kept = [str(name) for name in header.get("files", ())]
    data_file = next((name for name in kept if name.endswith((".yaml", ".yml")) and "/" not in name), "data.yaml")
    points = None if plan.keypoints is None else list(plan.keypoints)
    write_text(root / data_file, data_text(plan.names, points, header.get("data", {}), folders, lists_of_images))
    lists = [name for name in kept if name.endswith((".txt", ".names"))]
    for name in lists:
        last = max(plan.names, default=-1)
        write_text(root / name, "".join(f"{plan.names.get(number, '')}\n" for number in range(last + 1)))
    return [data_file, *lists]


# --- the first pass ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Image:
    """An image with its objects; None if they are not known."""

    name: str
    size: tuple[int, int]
    annotations: ImageAnnotations | None


def _spooled(spool: IO[bytes], images: Iterable[LabelledImage]) -> Iterator[_Image]:
    """Note the images on the disk, and yield each."""
    for image in images:
        found = image.labels.get(OBJECTS)
        annotations = found if isinstance(found, ImageAnnotations) else None
        row = [image.name, image.size, annotations and annotations.to_json()]
        spool.write(json.dumps(row).encode() + b"\n")
        yield _Image(image.name, image.size, annotations)


def _read(spool: IO[bytes]) -> Iterator[_Image]:
    spool.seek(0)
    for name, size, text in map(json.loads, spool):
        yield _Image(name, (size[0], size[1]), text and ImageAnnotations.from_json(text, name))


def _make_plan(images: Iterable[_Image], info: AnnotationInfo | None) -> _Plan:
    """Find the classes, and the kind of lines that holds most of the objects."""
    plan = _Plan(is_own=info is not None and info.format == FORMAT)
    categories = info.categories if info is not None else ()
    for number, category in enumerate(categories):
        plan.names[category.id if plan.is_own else number] = category.name
    plan.numbers = {name: number for number, name in reversed(plan.names.items())}
    most = 0
    for image in images:
        for each in image.annotations.objects if image.annotations else ():
            if not each.category:
                raise DataError(f"{image.name}: object {each.id or '(no id)'} has no class, and YOLO needs one")
            plan.add_class(each.category)
            most = max(most, len(each.keypoints) // 3)
            plan.outlines = plan.outlines or bool(each.polygons) or each.mask is not None
    header = info.header if info is not None and plan.is_own else {}
    if "kpt_shape" in header:
        plan.keypoints = KeypointShape(*header["kpt_shape"])
    elif most:
        plan.keypoints = KeypointShape(max(most, _most_named(categories)), 3)
    return plan


def _most_named(categories: Iterable[Category]) -> int:
    return max((len(each.keypoints) for each in categories), default=0)


# --- lines ---------------------------------------------------------------------------------------------------------


def _lines(image: _Image, annotations: ImageAnnotations, plan: _Plan, say: Lost) -> Iterator[str]:
    """Yield the line of each object that YOLO can hold: the one that it had if that still fits, else a new one.

    Raises:
        DataError: an object cannot be written.
    """

    def say_here(what: str) -> None:
        say(what, image.name)

    say_further_fields(annotations, frozenset([LINE, SCORE] if plan.is_own else [LINE]), say_here)
    for each in annotations.objects:
        number = plan.numbers[each.category]
        before = each.extra.get(LINE)
        if plan.is_own and isinstance(before, str) and (kept := _kept_line(before, each, image, plan, number)):
            yield kept
            continue
        try:
            values = line_values(each, image.size, plan.keypoints, plan.outlines and not plan.is_own, say_here)
        except (ValueError, DataError) as error:
            raise DataError(f"{image.name}: object {each.id or '(no id)'} cannot be written: {error}") from error
        if values is not None:
            score = [format_share(each.extra[SCORE])] if plan.is_own and SCORE in each.extra else []
            yield " ".join([str(number), *values, *score])


def _kept_line(line: str, each: ObjectLabel, image: _Image, plan: _Plan, number: int) -> str | None:
    """Return the line that an object had, with the present number of its class; None if it does not fit any more."""
    try:
        shape = parse_line(line, plan.keypoints)
    except ValueError:
        return None
    now = Pixels(each.box, each.polygons[0] if len(each.polygons) == 1 else (), each.keypoints)
    if len(each.polygons) > 1 or not are_close(to_pixels(shape, image.size), now):
        return None
    if plan.names.get(shape.number) == each.category:
        return line
    return " ".join([str(number), *line.split()[1:]])
