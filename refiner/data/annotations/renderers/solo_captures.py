"""Objects in one picture of a SOLO data set, from the annotations of its capture."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from refiner.core.errors import DataError, ImageError
from refiner.data.annotations.json_records import read_json
from refiner.data.annotations.mask_images import Mask, code_of, codes_of, mask_and_box
from refiner.data.annotations.object_source import checked, numbers
from refiner.data.labels.objects import Box, ImageAnnotations, ObjectLabel, RunLengths
from refiner.images.io import read_image

KEYPOINT_SHIFT = 0.5
"""Half a pixel: the corner of the image is at 0 in Unity's keypoints, the centre of the top-left pixel in ours."""

_LISTS = ("values", "instances")  # names of the list of objects in an annotation


class Definitions(NamedTuple):
    """Names that a data set defines.

    Attributes:
        classes: names of the classes, by their numbers.
        keypoints: names of the keypoints of each template, by its id.
        unnumbered: names of classes that have a colour and no number, as those of a semantic segmentation.
    """

    classes: Mapping[int, str]
    keypoints: Mapping[Any, tuple[str, ...]]
    unnumbered: Sequence[str]

    @classmethod
    def of_file(cls, path: Path | None) -> "Definitions":
        """Return the names in ``annotation_definitions.json``; none if the file is missing or damaged."""
        try:
            return cls({}, {}, ()) if path is None else cls.read(read_json(path))
        except DataError:
            return cls({}, {}, ())

    @classmethod
    def read(cls, content: Any) -> "Definitions":
        """Return the names in ``annotation_definitions.json``."""
        classes: dict[int, str] = {}
        keypoints: dict[Any, tuple[str, ...]] = {}
        unnumbered: list[str] = []
        for definition in dicts_of(content, "annotationDefinitions") or dicts_of(content, "annotation_definitions"):
            for spec in dicts_of(definition, "spec"):
                if not isinstance(name := spec.get("label_name"), str):
                    continue
                if isinstance(spec.get("label_id"), int):
                    classes.setdefault(spec["label_id"], name)
                else:
                    unnumbered.append(name)
            # Before SOLO, templates are specifications.
            for template in [definition.get("template"), *dicts_of(definition, "spec")]:
                points = dicts_of(template, "keypoints") or dicts_of(template, "key_points")
                if points and isinstance(template, dict):
                    points = sorted(points, key=lambda point: int(point.get("index") or 0))
                    number = template.get("templateId", template.get("template_id"))
                    keypoints[number] = tuple(str(point.get("label")) for point in points)
        return cls(classes, keypoints, unnumbered)


@dataclass
class _Object:
    """An object whose annotations are being gathered."""

    id: str
    category: str = ""
    box: Box | None = None
    mask: RunLengths | None = None
    keypoints: tuple[float, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)


def kind_of(annotation: Mapping[str, Any]) -> str:
    """Return the last part of the type of an annotation, such as ``BoundingBox2DAnnotation``."""
    return str(annotation.get("@type", "")).rpartition(".")[2]


class CaptureReader:
    """The annotations of one picture.

    Args:
        root: the data set.
        file: annotation file of the frame, relative to it.
        frame: content of that file.
        sample: path of the picture, relative to the data set.
        definitions: names of classes and keypoints.
        with_masks: read masks; they are in pictures of their own.
        pictures: folder from which the names of these pictures begin, relative to the data set; None for that of the
            annotation file.

    Raises:
        ImageError: the frame does not name the picture.
    """

    def __init__(
        self,
        root: Path,
        file: str,
        frame: Mapping[str, Any],
        sample: str,
        definitions: Definitions,
        *,
        with_masks: bool = True,
        pictures: str | None = None,
    ) -> None:
        self.root, self.file, self.frame, self.sample = root, file, frame, sample
        self.definitions, self.with_masks = definitions, with_masks
        self.pictures = PurePosixPath(file).parent.as_posix() if pictures is None else pictures
        name = PurePosixPath(sample).name
        captures = [each for each in dicts_of(frame, "captures") if each.get("filename") == name]
        if not captures:
            raise ImageError(sample, f"is not named by a capture in {file}")
        self.capture = captures[0]
        self.annotations = dicts_of(self.capture, "annotations")
        self._objects: dict[Any, _Object] = {}

    def read(self) -> ImageAnnotations:
        """Return the objects in the picture, and everything else that the frame says about it.

        Raises:
            DataError: the annotations are faulty.
        """
        readers = {
            "BoundingBox2DAnnotation": self._add_box,
            "InstanceSegmentationAnnotation": self._add_mask,
            "KeypointAnnotation": self._add_keypoints,
            "BoundingBox3DAnnotation": self._add_3d_box,
        }
        for kind, add in readers.items():
            for annotation in self._of_kind(kind):
                for value in self._values(annotation):
                    add(annotation, value)
        if not self._objects:
            self._add_classes()
        objects = (ObjectLabel(**vars(each), file=self.file) for each in self._objects.values())
        return ImageAnnotations(tuple(objects), {self.file: self._entry(readers)})

    def _of_kind(self, kind: str) -> Iterable[dict[str, Any]]:
        return (annotation for annotation in self.annotations if kind_of(annotation) == kind)

    def _values(self, annotation: Mapping[str, Any]) -> list[dict[str, Any]]:
        return next((dicts_of(annotation, name) for name in _LISTS if name in annotation), [])

    def _entry(self, read: Iterable[str]) -> dict[str, Any]:
        """Return everything about the picture that is not in its objects."""
        heads = [
            {key: value for key, value in each.items() if key not in _LISTS or kind_of(each) not in read}
            for each in self.annotations
        ]
        frame = {key: value for key, value in self.frame.items() if key not in ("captures", "metrics")}
        metrics = [
            metric for metric in dicts_of(self.frame, "metrics") if metric.get("sensorId") in ("", None, self._sensor)
        ]
        return {**frame, "unity_capture": {**self.capture, "annotations": heads, "metrics": metrics}}

    @property
    def _sensor(self) -> Any:
        return self.capture.get("id")

    # --- one annotation each ---------------------------------------------------------------------------------------

    def _object(self, value: Mapping[str, Any]) -> _Object:
        """Return the object of an instance; it is new unless another annotation named it."""
        if "instanceId" not in value:
            raise ImageError(self.sample, f"has an annotation without instanceId in {self.file}")
        instance, label = str(value["instanceId"]), value.get("labelId")
        key: tuple[str, Any] = instance, label
        if label is None:  # Unity's older instance segmentations name no class
            key = next((known for known in self._objects if known[0] == instance), key)
        found = self._objects.setdefault(key, _Object(instance))
        found.extra.update({key: value[key] for key in ("instanceId", "labelId") if key in value})
        if not found.category:
            known = self.definitions.classes.get(label) if isinstance(label, int) else None
            found.category = str(value.get("labelName") or known or ("" if label is None else label))
        return found

    def _add_box(self, annotation: Mapping[str, Any], value: Mapping[str, Any]) -> None:
        found = self._object(value)
        box = (*self._numbers(value, "origin", 2), *self._numbers(value, "dimension", 2))
        found.box = found.box or (box[0], box[1], box[2], box[3])
        self._keep(found, value, "origin", "dimension")

    def _add_mask(self, annotation: Mapping[str, Any], value: Mapping[str, Any]) -> None:
        found = self._object(value)
        if self.with_masks and found.mask is None:
            found.mask, box = mask_and_box(self._pixels(annotation, value, "color"))
            found.box = found.box or box
        self._keep(found, value)

    def _add_keypoints(self, annotation: Mapping[str, Any], value: Mapping[str, Any]) -> None:
        found = self._object(value)
        points = sorted(dicts_of(value, "keypoints"), key=lambda point: int(point.get("index") or 0))
        if found.keypoints or not points:
            return
        # Fill gaps in the list: the place of a keypoint is its index in the template.
        count = checked(points[-1].get("index"), int, f"index of a keypoint in {self.file}") + 1
        coordinates: list[float] = [0, 0, 0] * count
        for point in points:
            x, y = self._numbers(point, "location", 2)
            if state := checked(point.get("state"), int, f"state of a keypoint in {self.file}"):
                start = 3 * point["index"]
                coordinates[start : start + 3] = [x - KEYPOINT_SHIFT, y - KEYPOINT_SHIFT, state]
        found.keypoints = tuple(coordinates)
        found.extra["templateId"] = annotation.get("templateId")
        in_camera = {
            point["index"]: point[key] for point in points for key in point if key == "cameraCartesianLocation"
        }
        if in_camera:
            found.extra["cameraCartesianLocations"] = [in_camera.get(index) for index in range(count)]
        self._keep(found, value, "keypoints")

    def _add_3d_box(self, annotation: Mapping[str, Any], value: Mapping[str, Any]) -> None:
        known = ("instanceId", "labelId", "labelName")
        self._object(value).extra["box3d"] = {key: part for key, part in value.items() if key not in known}

    def _add_classes(self) -> None:
        """Take each class of a semantic segmentation as one object, where a frame has no others."""
        for annotation in self._of_kind("SemanticSegmentationAnnotation"):
            for value in self._values(annotation):
                name = str(value.get("labelName"))
                if not self.with_masks:
                    self._objects[name] = _Object(name, name)
                    continue
                mask, box = mask_and_box(self._pixels(annotation, value, "pixelValue"))
                if mask is not None:
                    self._objects.setdefault(name, _Object(name, name, box, mask))

    def _keep(self, found: _Object, value: Mapping[str, Any], *read: str) -> None:
        """Keep the fields of an annotation that are not in an object otherwise."""
        known = {"instanceId", "labelId", "labelName", *read}
        found.extra.update({key: part for key, part in value.items() if key not in known})

    def _numbers(self, value: Mapping[str, Any], key: str, count: int) -> tuple[float, ...]:
        return numbers(value.get(key), count, f"{key} in {self.file}")

    def _pixels(self, annotation: Mapping[str, Any], value: Mapping[str, Any], key: str) -> Mask:
        """Return the pixels of a label image that have a colour."""
        colour = [int(part) for part in self._numbers(value, key, 4)]
        image, codes = self._label_image(str(annotation.get("filename")))
        return np.asarray(codes == code_of(colour, image))

    def _label_image(self, name: str) -> tuple[Any, Any]:
        if name not in self._label_images:
            if ".." in PurePosixPath(name).parts or PurePosixPath(name).is_absolute():
                raise DataError(f"{self.file} names the picture {name!r}, which is not in the data set")
            image = read_image(self.root / self.pictures / name)
            self._label_images[name] = image, codes_of(image)
        return self._label_images[name]

    @cached_property
    def _label_images(self) -> dict[str, tuple[Any, Any]]:
        return {}


def dicts_of(content: Any, key: str) -> list[dict[str, Any]]:
    """Return the objects in a list of JSON; empty if there is no such list."""
    values = content.get(key) if isinstance(content, dict) else None
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
