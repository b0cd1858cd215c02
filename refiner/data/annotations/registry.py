"""Registry of the annotation formats: which are read, which are written, and the search for their files in a folder.

A new format needs a module in this package, and a line here.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from refiner.data.annotations.coco import reader as coco
from refiner.data.annotations.coco import writer as coco_writer
from refiner.data.annotations.imagefolder import reader as imagefolder
from refiner.data.annotations.imagefolder import writer as imagefolder_writer
from refiner.data.annotations.renderers import bop, perception, solo
from refiner.data.annotations.source import LabelFormat, LabelSource, LabelWriter
from refiner.data.annotations.yolo import reader as yolo
from refiner.data.annotations.yolo import writer as yolo_writer
from refiner.data.labels.objects import AnnotationInfo

READERS: Mapping[str, LabelFormat] = {
    "imagefolder": imagefolder,
    "bop": bop,
    "solo": solo,
    "perception": perception,
    "coco": coco,
    "yolo": yolo,
}
"""Modules that read a format, by its name. If two formats give an image the same label, the first one counts."""

WRITERS: Mapping[str, LabelWriter] = {
    "imagefolder": imagefolder_writer,
    "coco": coco_writer,
    "yolo": yolo_writer,
}
"""Modules that write a format, by its name; ``labels.csv`` needs none."""


def facts_left_out(info: AnnotationInfo | None, to: str) -> list[str]:
    """Return the names of the facts about a data set and its classes that files of another format do not hold.

    Args:
        info: facts about the annotations.
        to: the format that is written; a key of :data:`WRITERS`.
    """
    return coco.own_facts(info) if info is not None and info.format == coco.FORMAT != to else []


def find_sources(root: Path, files: Sequence[str], images: Sequence[str]) -> list[LabelSource]:
    """Return the sources of labels in a folder, in the order of :data:`READERS`; see :class:`LabelFormat`.

    An annotation file is read by one format only, the first one that knows it.

    Raises:
        DataError: a file is certainly of some format, and cannot be used.
    """
    found: list[LabelSource] = []
    for reader in READERS.values():
        sources = reader.find(root, files, images)
        found += sources
        if taken := {name for source in sources for name in source.files}:
            files = [name for name in files if name not in taken]
    return found
