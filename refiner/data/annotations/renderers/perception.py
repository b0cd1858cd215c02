"""Reader of Unity Perception's data sets before SOLO: ``Dataset…/captures_000.json`` and folders of pictures.

A capture names its picture, such as ``RGB…/rgb_2.png``, below the folder that holds ``Dataset…``. Its annotations are
read as those of :mod:`refiner.data.annotations.renderers.solo`. Source: Unity's package com.unity.perception,
``Documentation~/Schema/PerceptionSchema.md``.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from refiner.core.errors import DataError
from refiner.data.annotations.json_records import read_json
from refiner.data.annotations.object_source import ObjectSource, checked
from refiner.data.annotations.renderers.solo import CONSTANT_FILES
from refiner.data.annotations.renderers.solo_captures import CaptureReader, Definitions, dicts_of
from refiner.data.labels.objects import AnnotationInfo, Category, ImageAnnotations

_CAPTURES = re.compile(r"(?:.*/)?captures_\d+\.json")
_MAX_FILES = 4  # files of captures that are kept in memory


class Capture(NamedTuple):
    """Place of a capture.

    Attributes:
        file: its annotation file, relative to the data set.
        number: its place in the file.
    """

    file: str
    number: int


class Perception(ObjectSource[Capture]):
    """The captures of a data set of Unity Perception before SOLO; labels as in SOLO.

    Args:
        root: the folder.
        files: the files of captures.
        definitions: path of ``annotation_definitions.json``; None if it is missing.
        known: every file in the folder.
    """

    format = "perception"

    def __init__(self, root: Path, files: Sequence[str], definitions: str | None, known: Sequence[str]) -> None:
        self._captures, self._definitions = tuple(files), definitions
        self.root = root
        every = set(known)
        self._places: dict[str, Capture] = {}
        label_images: dict[str, str | None] = {}
        problems = []
        for file in files:
            try:
                captures = _captures_in(root, file)
            except DataError as error:
                problems.append(f"{error}; its captures have no labels")
                continue
            for number, capture in enumerate(captures):
                base = _base(file, capture, every)
                sample = f"{base}{capture.get('filename')}"
                self._places[sample] = Capture(file, number)
                for annotation in dicts_of(capture, "annotations"):
                    if isinstance(name := annotation.get("filename"), str) and f"{base}{name}" in every:
                        label_images[f"{base}{name}"] = sample
        super().__init__(root, [*files, *([definitions] if definitions else [])], label_images)
        self.constant_files = frozenset(name for name in known if name.rpartition("/")[2] in CONSTANT_FILES)
        self.problems = problems

    def _find_places(self) -> dict[str, Capture]:
        return self._places

    def _shrink(self) -> None:
        self._places = {}

    @cached_property
    def definitions(self) -> Definitions:
        """Names of classes and keypoints; empty if the file of definitions is missing or damaged."""
        return Definitions.of_file(None if self._definitions is None else self.root / self._definitions)

    @property
    def info(self) -> AnnotationInfo:
        """The classes that are defined."""
        points = next(iter(self.definitions.keypoints.values()), ())
        classes = sorted(self.definitions.classes.items())
        with_points = self._classes_with_keypoints() if points else set()
        categories = [Category(number, name, points if number in with_points else ()) for number, name in classes]
        return AnnotationInfo(self.format, categories)

    def _classes_with_keypoints(self) -> set[Any]:
        values = (
            value
            for capture in _captures_in(self.root, self._captures[0])
            for annotation in dicts_of(capture, "annotations")
            for value in dicts_of(annotation, "values")
        )
        return {value.get("label_id") for value in values if "keypoints" in value}

    def _read(self, sample: str, place: Capture) -> ImageAnnotations:
        capture = _captures_in(self.root, place.file)[place.number]
        folder = sample.removesuffix(str(capture.get("filename")))
        translated = _as_solo(capture)
        return CaptureReader(self.root, place.file, translated, sample, self.definitions, pictures=folder).read()


def _captures_in(root: Path, file: str) -> list[dict[str, Any]]:
    path = root / file
    try:
        changed = path.stat().st_mtime_ns
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error
    return _parsed(path, changed)


@functools.lru_cache(maxsize=_MAX_FILES)
def _parsed(path: Path, changed: int) -> list[dict[str, Any]]:
    content = checked(read_json(path), dict, str(path))
    captures = checked(content.get("captures"), list, f"captures of {path}")
    return [checked(capture, dict, f"a capture of {path}") for capture in captures]


def _base(file: str, capture: Mapping[str, Any], known: set[str]) -> str:
    """Return the folder from which the paths in a capture begin: that around the folder of its file, or that itself."""
    folder = file[: file.rfind("/") + 1]
    above = folder[: folder.rfind("/", 0, -1) + 1] if folder else ""
    return next((base for base in (above, folder, "") if f"{base}{capture.get('filename')}" in known), above)


def _as_solo(capture: Mapping[str, Any]) -> dict[str, Any]:
    """Return a frame of SOLO with one capture that says the same."""
    sensor = dict(capture.get("sensor") or {})
    matrix = sensor.pop("camera_intrinsic", None)
    flat = [value for row in matrix for value in row] if _is_matrix(matrix) else None
    annotations = [_annotation(annotation) for annotation in dicts_of(capture, "annotations")]
    head = {key: value for key, value in capture.items() if key not in ("annotations", "sensor", "filename")}
    solo = {**head, "sensor": sensor, "id": sensor.get("sensor_id"), "filename": str(capture.get("filename"))}
    solo["filename"] = solo["filename"].rpartition("/")[2]
    if flat is not None:
        solo["matrix"] = flat
    elif matrix is not None:
        solo["sensor"]["camera_intrinsic"] = matrix
    return {"captures": [{**solo, "annotations": annotations}]}


def _is_matrix(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(isinstance(row, list) and len(row) == 3 for row in value)


def _annotation(annotation: Mapping[str, Any]) -> dict[str, Any]:
    """Return an annotation with the type and the names of SOLO; what its values hold shows its type."""
    values = dicts_of(annotation, "values")
    first = values[0] if values else {}
    head = {key: value for key, value in annotation.items() if key != "values"}
    if "color" in first:
        kind = "InstanceSegmentationAnnotation"
    elif "keypoints" in first:
        kind, head = "KeypointAnnotation", {**head, "templateId": first.get("template_guid")}
    elif "translation" in first:
        kind = "BoundingBox3DAnnotation"
    elif {"x", "y", "width", "height"} <= first.keys():
        kind = "BoundingBox2DAnnotation"
    else:
        kind = "SemanticSegmentationAnnotation" if "filename" in annotation or not values else "unknown"
    return {**head, "@type": f"type.unity.com/unity.solo.{kind}", "values": [_value(kind, value) for value in values]}


_NAMES = {"instance_id": "instanceId", "label_id": "labelId", "label_name": "labelName"}


def _value(kind: str, value: Mapping[str, Any]) -> dict[str, Any]:
    renamed = {_NAMES.get(key, key): part for key, part in value.items()}
    if kind == "BoundingBox2DAnnotation":
        x, y, width, height = (renamed.pop(key) for key in ("x", "y", "width", "height"))
        renamed |= {"origin": [x, y], "dimension": [width, height]}
    elif kind == "InstanceSegmentationAnnotation" and isinstance(colour := renamed["color"], dict):
        renamed["color"] = [colour.get(part) for part in "rgba"]
    elif kind == "KeypointAnnotation":
        points = dicts_of(value, "keypoints")
        renamed["keypoints"] = [{**point, "location": [point.get("x"), point.get("y")]} for point in points]
        renamed.pop("template_guid", None)
    return renamed


def find(root: Path, files: Sequence[str], images: Sequence[str]) -> list[Perception]:
    """Return the data set in a folder, if there is one; see :class:`refiner.data.annotations.source.LabelFormat`.

    It has files of captures beside a file of annotation definitions, or in a folder whose name begins with Dataset.
    """
    folders = {name.rpartition("/")[0] for name in files if name.rpartition("/")[2] == "annotation_definitions.json"}
    captures = [
        name
        for name in files
        if _CAPTURES.fullmatch(name)
        and ((folder := name.rpartition("/")[0]) in folders or folder.rpartition("/")[2].startswith("Dataset"))
    ]
    if not captures:
        return []
    definitions = f"{captures[0].rpartition('/')[0]}/annotation_definitions.json".removeprefix("/")
    return [Perception(root, sorted(captures), definitions if definitions in files else None, files)]
