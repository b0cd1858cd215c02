"""Files of a YOLO data set: which text file belongs to an image, and what names the classes.

Ultralytics' rule holds: the last folder ``images`` of a path is ``labels`` for the text files. Without such a folder,
or if nothing is there, the text file lies beside its image. ``data.yaml`` (of any name), ``classes.txt`` or a file
``.names`` lists the classes.
"""

import json
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from refiner.core.files import read_regular
from refiner.data.annotations.yolo.lines import KeypointShape

CLASSES_FILE = "classes.txt"

_DATA_KEYS = {"train", "val", "test", "path", "nc", "kpt_shape"}

_MOST_FILES = 50  # YAML files that are read in the search for the one with the classes


def label_path(image: str) -> str:
    """Return the path of the text file under which YOLO looks for the labels of an image."""
    folder, slash, file = image.rpartition("/")
    parts = folder.split("/")
    if "images" in parts:
        last = len(parts) - 1 - parts[::-1].index("images")
        parts[last] = "labels"
    return f"{'/'.join(parts)}{slash}{posixpath.splitext(file)[0]}.txt"


def pair_files(images: Iterable[str], files: Iterable[str]) -> dict[str, str]:
    """Return the text file of each image that has one.

    Two images of the same name but for the suffix share a text file, as YOLO reads them.
    """
    texts = {name for name in files if name.lower().endswith(".txt") and posixpath.basename(name) != CLASSES_FILE}
    pairs = {}
    for image in images:
        beside = f"{posixpath.splitext(image)[0]}.txt"
        found = next((path for path in (label_path(image), beside) if path in texts), None)
        if found is not None:
            pairs[image] = found
    return pairs


@dataclass(frozen=True)
class ClassNames:
    """The classes of a part of a data set.

    Attributes:
        files: the files that name them; none if the classes are only numbers.
        folder: folder of the first of these files, below which they count; empty for the whole data set.
        names: name by number; None if the classes are only numbers.
        keypoints: number of keypoints and of values for each; None if objects have none.
        keypoint_names: names of the keypoints of each class, by its number.
        data: the whole ``data.yaml``, as JSON; empty if there is none.
    """

    files: tuple[str, ...] = ()
    folder: str = ""
    names: Mapping[int, str] | None = None
    keypoints: KeypointShape | None = None
    keypoint_names: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)


NUMBERS_ONLY = ClassNames()
"""Classes that no file names."""


def find_class_names(root: Path, files: Sequence[str]) -> list[ClassNames]:
    """Return what the files of a folder say about classes: YAML files first, and lower folders before upper ones."""
    yaml_files = sorted(name for name in files if name.lower().endswith((".yaml", ".yml")))
    found = [names for name in yaml_files[:_MOST_FILES] if (names := _read_yaml(root, name)) is not None]
    lists = sorted(name for name in files if posixpath.basename(name) == CLASSES_FILE or name.endswith(".names"))
    listed = [names for name in lists if (names := _read_list(root, name)) is not None]
    deepest = [sorted(part, key=lambda each: -each.folder.count("/") - bool(each.folder)) for part in (found, listed)]
    return [*deepest[0], *deepest[1]]


def names_for(path: str, known: Sequence[ClassNames]) -> ClassNames:
    """Return the classes that count for a text file, from :func:`find_class_names`: those of a folder above it."""
    return next((each for each in known if not each.folder or path.startswith(f"{each.folder}/")), NUMBERS_ONLY)


def _read_yaml(root: Path, name: str) -> ClassNames | None:
    """Return the classes in a YAML file; None if it is not about a YOLO data set."""
    try:
        text = read_regular(root / name, limit=2**24).decode("utf-8-sig")
        data = yaml.safe_load(text)
        plain = yaml.load(text, yaml.BaseLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError):
        return None
    if not isinstance(data, dict) or "names" not in data or not _DATA_KEYS & data.keys():
        return None
    names = _names(plain["names"])
    if names is None:
        return None
    shape = data.get("kpt_shape")
    keypoints = None
    if isinstance(shape, list) and len(shape) == 2 and all(isinstance(each, int) for each in shape):
        keypoints = KeypointShape(*shape) if shape[0] > 0 and shape[1] in (2, 3) else None
    named = plain.get("kpt_names")
    points = {}
    if isinstance(named, dict):
        points = {int(key): tuple(value) for key, value in named.items() if str(key).isdigit() and _is_texts(value)}
    folder = posixpath.dirname(name)
    return ClassNames((name,), folder, names, keypoints, points, json.loads(json.dumps(data, default=str)))


def _names(value: Any) -> dict[int, str] | None:
    """Return the names in a list, or in a mapping of numbers; None if they are something else."""
    if _is_texts(value):
        return dict(enumerate(value))
    if isinstance(value, dict) and _is_texts([*value.values()]) and all(str(key).isdigit() for key in value):
        return dict(sorted((int(key), name) for key, name in value.items()))
    return None


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _read_list(root: Path, name: str) -> ClassNames | None:
    """Return the classes in a file with a name in each line; None if it cannot be read."""
    try:
        lines = read_regular(root / name, limit=2**20).decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    while lines and not lines[-1].strip():
        lines.pop()
    return ClassNames((name,), posixpath.dirname(name), {number: line.strip() for number, line in enumerate(lines)})
