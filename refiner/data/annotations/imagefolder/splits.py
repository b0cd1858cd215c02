"""Folders and names that make the Hub's library see splits, which decide where it looks for metadata.

``datasets`` looks for words such as ``train`` and ``test`` in the names of folders, then in the names of files. If it
finds any, it reads nothing else, not even a metadata file at the top.
"""

import re
from pathlib import PurePosixPath

_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_EDGE = r"[-._ 0-9]"


def _pattern(*, in_file: bool) -> dict[str, re.Pattern[str]]:
    end = _EDGE if in_file else rf"(?:{_EDGE}|$)"
    return {split: re.compile(rf"(?:^|{_EDGE})(?:{'|'.join(words)}){end}") for split, words in _WORDS.items()}


_IN_FOLDER, _IN_FILE = _pattern(in_file=False), _pattern(in_file=True)


def split_folder(name: str) -> str | None:
    """Return the uppermost folder of a path that stands for a split; None if there is none."""
    parts = PurePosixPath(name).parts[:-1]
    for number, part in enumerate(parts, 1):
        if any(pattern.search(part) for pattern in _IN_FOLDER.values()):
            return "/".join(parts[:number])
    return None


def split_in_file(name: str) -> str | None:
    """Return the split that the name of a file stands for; None if there is none."""
    file = PurePosixPath(name).name
    return next((split for split, pattern in _IN_FILE.items() if pattern.search(file)), None)
