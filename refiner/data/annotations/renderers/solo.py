"""Reader of Unity Perception's SOLO data sets: boxes, masks, keypoints and 3D boxes of objects.

A frame is ``sequence.0/step0.frame_data.json`` beside the pictures that it names: those of its cameras, such as
``step0.camera.png``, and those of its labels, such as ``step0.camera.instance segmentation.png``.

Boxes are edges of pixels, as ours. Keypoints are continuous, so that half a pixel is subtracted. Source: Unity's
package com.unity.perception, ``Documentation~/Schema/SoloSchema.md`` and its labelers.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from refiner.core.errors import DataError
from refiner.data.annotations.json_records import read_json
from refiner.data.annotations.object_source import ObjectSource, checked
from refiner.data.annotations.renderers.solo_captures import CaptureReader, Definitions, kind_of
from refiner.data.labels.objects import AnnotationInfo, Category, ImageAnnotations

_FRAME = re.compile(r"(?:.*/)?step\.?\d+\.frame(?:_data)?\.json")
_STEP = re.compile(r"step\.?\d+\.")

CONSTANT_FILES = frozenset(
    ["metadata.json", "metric_definitions.json", "sensor_definitions.json", "egos.json", "sensors.json"]
)
"""Files of Unity about a whole data set, which describe its frames and hold no positions in images."""

TRIED_FRAMES = 4
"""Number of frames that are searched for a kind of picture."""

SAMPLED_FRAMES = 32
"""Number of frames that are searched for the classes that have keypoints."""


class Frame(NamedTuple):
    """One frame of a data set.

    Attributes:
        file: its annotation file, relative to the data set.
        pictures: the files beside it that belong to it, by the rest of their names, such as ``camera.png``.
    """

    file: str
    pictures: Mapping[str, str]

    @property
    def folder(self) -> str:
        """Path of its folder with a slash at the end; empty for that of the data set."""
        return self.file[: self.file.rfind("/") + 1]


class Solo(ObjectSource[str]):
    """The frames of a SOLO data set.

    Labels: ``objects``. ``extra`` of each holds its 3D box, pose, colour and so on. ``entries`` hold the rest of the
    frame: what it says about the camera, the other annotations, and metrics.

    Args:
        root: the folder.
        frames: the frames in it.
        definitions: path of ``annotation_definitions.json``; None if it is missing.
        constant_files: see :class:`refiner.data.annotations.source.LabelSource`.
    """

    format = "solo"

    def __init__(
        self,
        root: Path,
        frames: Sequence[Frame],
        definitions: str | None,
        constant_files: frozenset[str] = frozenset(),
    ) -> None:
        self._definitions, self.constant_files = definitions, constant_files
        self.frames = tuple(frames)
        # Find out which pictures are captures and which are labels, by few frames of each kind.
        owners: dict[str, str] = {}
        tried: Counter[str] = Counter()
        for frame in frames:
            if unknown := [rest for rest in frame.pictures if rest not in owners and tried[rest] < TRIED_FRAMES]:
                tried.update(unknown)
                owners = _owners(root / frame.file, frame) | owners
        self._owners = owners
        label_images = {}
        for frame in frames:
            for rest, name in frame.pictures.items():
                if (owner := owners.get(rest, rest)) != rest:
                    label_images[name] = frame.pictures.get(owner)
        files = [frame.file for frame in frames] + ([definitions] if definitions else [])
        super().__init__(root, files, label_images)

    def _find_places(self) -> dict[str, str]:
        """Return the annotation file of each capture, and of captures without picture."""
        captures = [rest for rest, owner in self._owners.items() if rest == owner]
        places = {}
        for frame in self.frames:
            found = [name for rest, name in frame.pictures.items() if rest in captures]
            if not found and captures:
                step = _STEP.match(frame.file.rpartition("/")[2])
                found = [f"{frame.folder}{step[0] if step else ''}{captures[0]}"]
            places.update(dict.fromkeys(found, frame.file))
        return places

    def _shrink(self) -> None:
        self.frames = ()

    @cached_property
    def definitions(self) -> Definitions:
        """Names of classes and keypoints; empty if the file of definitions is missing or damaged."""
        return Definitions.of_file(None if self._definitions is None else self.root / self._definitions)

    @property
    def info(self) -> AnnotationInfo:
        """The classes that are defined, and others that some frames name."""
        classes = dict(self.definitions.classes)
        keypoints: dict[int, tuple[str, ...]] = {}
        unnumbered = dict.fromkeys(self.definitions.unnumbered)
        for objects in self._sample():
            for each in objects.objects:
                number = each.extra.get("labelId")
                if isinstance(number, int):
                    classes.setdefault(number, each.category)
                    if each.keypoints:
                        keypoints.setdefault(number, self.definitions.keypoints.get(each.extra.get("templateId"), ()))
                else:  # a class of a semantic segmentation
                    unnumbered[each.category] = None
        # Classes that only a semantic segmentation knows have colours and no numbers.
        for name in sorted(unnumbered.keys() - set(classes.values())):
            classes[max(classes, default=0) + 1] = name
        categories = [Category(number, name, keypoints.get(number, ())) for number, name in sorted(classes.items())]
        return AnnotationInfo(self.format, categories)

    def _sample(self) -> Iterator[ImageAnnotations]:
        """Yield the objects of some frames, spread over the data set, without masks."""
        samples = list(self.places.items())
        count = min(SAMPLED_FRAMES, len(samples))
        for number in range(count):
            sample, file = samples[number * len(samples) // count]
            try:
                yield self._reader(sample, file, with_masks=False).read()
            except DataError:  # told when its labels are read
                continue

    def _read(self, sample: str, place: str) -> ImageAnnotations:
        return self._reader(sample, place, with_masks=True).read()

    def _reader(self, sample: str, file: str, *, with_masks: bool) -> CaptureReader:
        frame = checked(read_json(self.root / file), dict, str(self.root / file))
        return CaptureReader(self.root, file, frame, sample, self.definitions, with_masks=with_masks)


def _owners(path: Path, frame: Frame) -> dict[str, str]:
    """Return the capture that each picture belongs to which a frame names, all by the rests of their names."""
    try:
        captures = checked(checked(read_json(path), dict, str(path)).get("captures"), list, f"captures of {path}")
    except DataError:  # told when its labels are read
        return {}
    names = {name.rpartition("/")[2]: rest for rest, name in frame.pictures.items()}
    owners: dict[str, str] = {}
    for capture in captures:
        owner = names.get(str(capture.get("filename"))) if isinstance(capture, dict) else None
        if owner is None:
            continue
        owners[owner] = owner
        for annotation in capture.get("annotations") or []:
            if isinstance(annotation, dict) and kind_of(annotation) and annotation.get("filename") in names:
                owners[names[annotation["filename"]]] = owner
    return owners


def find(root: Path, files: Sequence[str], images: Sequence[str]) -> list[Solo]:
    """Return the SOLO data set in a folder, if there is one; see :class:`refiner.data.annotations.source.LabelFormat`.

    It has frames, usually in folders named ``sequence.0`` and so on.
    """
    steps = {
        name[: name.rindex(".frame") + 1]: name for name in files if name.endswith(".json") and _FRAME.fullmatch(name)
    }
    if not steps:
        return []
    pictures: dict[str, dict[str, str]] = defaultdict(dict)
    for name in files:
        folder, slash, file = name.rpartition("/")
        if (step := _STEP.match(file)) and (start := folder + slash + step[0]) in steps and name != steps[start]:
            pictures[start][file[step.end() :]] = name
    frames = [Frame(file, pictures[start]) for start, file in sorted(steps.items())]
    definitions = sorted(name for name in files if name.rpartition("/")[2] == "annotation_definitions.json")
    constant = frozenset(name for name in files if name.rpartition("/")[2] in CONSTANT_FILES)
    return [Solo(root, frames, definitions[0] if definitions else None, constant)]
