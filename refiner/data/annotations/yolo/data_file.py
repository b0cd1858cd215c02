"""Text of the ``data.yaml`` of a YOLO data set: its classes, and the folders of its parts."""

import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

_PARTS = {
    "train": re.compile(r"(?:^|[-._ 0-9])train(?:ing)?(?:[-._ 0-9]|$)"),
    "val": re.compile(r"(?:^|[-._ 0-9])(?:val|valid|validation|dev)(?:[-._ 0-9]|$)"),
    "test": re.compile(r"(?:^|[-._ 0-9])(?:test|testing|eval|evaluation)(?:[-._ 0-9]|$)"),
}
"""Words in the names of folders, as in ``train2017``."""

_OWN_KEYS = ("path", *_PARTS, "nc", "names", "kpt_shape")


def data_text(
    names: Mapping[int, str],
    keypoints: Sequence[int] | None,
    before: Mapping[str, Any],
    folders: Sequence[str],
    lists: Sequence[str] = (),
) -> str:
    """Return the text of ``data.yaml``. It has no ``path``, so that folders count from the file itself.

    Args:
        names: name of each class by its number.
        keypoints: number of keypoints and of values for each; None if there are none.
        before: what the data set had in its file; further keys are kept.
        folders: every folder of images.
        lists: lists of images, which may be parts instead.
    """
    parts = _kept_parts(before, folders, lists) or _found_parts(folders)
    data: dict[str, Any] = dict(parts)
    note = ""
    # Ultralytics asks for both parts.
    for part, other in (("train", "val"), ("val", "train")):
        if part not in data:
            data[part] = data.get(other, data.get("test", "images"))
            note = f"# No images are set apart as {part}; the line names others.\n"
    if keypoints is not None:
        data["kpt_shape"] = list(keypoints)
    data["nc"] = max(names, default=-1) + 1
    data["names"] = {number: names.get(number, str(number)) for number in range(data["nc"])}
    data |= {key: value for key, value in before.items() if key not in _OWN_KEYS}
    order = [key for key in (*_PARTS, "kpt_shape", "nc", "names") if key in data]
    ordered = {key: data[key] for key in (*order, *(key for key in data if key not in order))}
    return note + yaml.safe_dump(ordered, sort_keys=False, allow_unicode=True, default_flow_style=None)


def _kept_parts(before: Mapping[str, Any], folders: Sequence[str], lists: Sequence[str]) -> dict[str, Any]:
    """Return the folders and lists that the data set named for its parts; empty if one holds no images any more."""
    parts: dict[str, Any] = {}
    for part in _PARTS:
        value = before.get(part)
        if not value:
            continue
        named = [_below(str(each)) for each in (value if isinstance(value, list) else [value])]
        if not all(each in lists or any(f"{folder}/".startswith(f"{each}/") for folder in folders) for each in named):
            return {}
        parts[part] = named if isinstance(value, list) else named[0]
    return parts


def _below(folder: str) -> str:
    """Return a folder without what leads out of the data set; Roboflow writes ``../train/images``."""
    path = posixpath.normpath(folder.replace("\\", "/"))
    while path.startswith("../"):
        path = path[3:]
    return path


def _found_parts(folders: Sequence[str]) -> dict[str, Any]:
    """Return the folders of each part by their names; one part with all images if no name tells."""
    found: dict[str, dict[str, None]] = {}
    for folder in folders:
        steps = folder.split("/")
        for number, step in enumerate(steps):
            part = next((part for part, pattern in _PARTS.items() if pattern.search(step.lower())), None)
            if part is not None:
                end = max(number, steps.index("images") if "images" in steps else 0) + 1
                found.setdefault(part, {})["/".join(steps[:end])] = None
                break
    parts: dict[str, Any] = {part: [*paths] if len(paths) > 1 else next(iter(paths)) for part, paths in found.items()}
    return parts or {"train": posixpath.commonpath(folders) or "."}
