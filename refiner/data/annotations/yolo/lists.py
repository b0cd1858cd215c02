"""Lists of images in YOLO data sets: text files that ``data.yaml`` or Darknet's ``obj.data`` names as a part.

Each line is the path of an image: below the list, below the folder in which the training was started, or absolute.
"""

import posixpath
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from refiner.core.files import read_regular
from refiner.data.labels.row_names import match_rows

Lists = Mapping[str, Mapping[str, str]]
"""For each list, the images in it, each with what stands before its path."""

PARTS = ("train", "val", "valid", "test")


def find_lists(root: Path, files: Sequence[str], images: Collection[str], data: Mapping[str, Any]) -> Lists:
    """Return the lists of a data set.

    Args:
        root: the folder.
        files: every file below it.
        images: its images.
        data: content of its ``data.yaml``.
    """
    named = {posixpath.basename(text) for text in (*_in_data_file(data), *_in_darknet_files(root, files))}
    lists: dict[str, dict[str, str]] = {}
    for name in files:
        if posixpath.basename(name) in named and name.endswith(".txt") and (found := _read_list(root, name, images)):
            lists[name] = found
    return lists


def _in_data_file(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lists that ``data.yaml`` names."""
    for part in PARTS:
        value = data.get(part)
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and text.endswith(".txt"):
                yield text


def _in_darknet_files(root: Path, files: Sequence[str]) -> Iterator[str]:
    """Yield the lists that files such as ``obj.data`` name: ``train = data/train.txt``."""
    for name in files:
        if name.endswith(".data"):
            for line in _lines(root / name):
                key, sign, value = line.partition("=")
                if sign and key.strip() in PARTS and value.strip().endswith(".txt"):
                    yield value.strip()


def _read_list(root: Path, name: str, images: Collection[str]) -> dict[str, str]:
    """Return the images of a list, each with what stands before its path; empty if any line is no image."""
    lines = _lines(root / name)
    rows = {line: posixpath.normpath(line.replace("\\", "/")) for line in lines}
    matched = {image: image for image in images if image in set(rows.values())}
    matched |= match_rows(dict.fromkeys(rows.values()), images, root)
    by_row = {row: image for image, row in matched.items()}
    if not lines or any(row not in by_row for row in rows.values()):
        return {}
    pairs = ((line, by_row[row]) for line, row in rows.items())
    return {image: line.removesuffix(image) if line.endswith(image) else "./" for line, image in pairs}


def _lines(path: Path) -> list[str]:
    try:
        lines = read_regular(path, limit=2**26).decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    return [line.strip() for line in lines if line.strip()]
