"""Matching of the rows of a label table with images whose names the table writes in another way."""

import posixpath
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from refiner.images.io import IMAGE_SUFFIXES

_DRIVE = re.compile(r"[A-Za-z]:/")


def match_rows(rows: Collection[str], names: Collection[str], root: Path) -> dict[str, str]:
    """Find the rows that name an image in another way than by its path below the folder.

    In order: backslashes, ``./``, and the folder's own path in front; another Unicode form, or Latin-1 bytes; another
    case; a missing or another image suffix; fewer or more folders in front. A match needs one image and one row only.

    Args:
        rows: names in the table; equal names are matched already and only make others ambiguous.
        names: relative paths of the images.
        root: the folder.

    Returns:
        The row of each image that is found so, by the name of the image.
    """
    rows_left = [row for row in rows if row not in names]
    matched: dict[str, str] = {}
    if not rows_left:
        return matched
    known = rows if isinstance(rows, set | dict) else set(rows)
    taken = {name for name in names if name in known}
    before = tuple(f"{folder}/" for folder in dict.fromkeys((str(root), str(root.absolute()), str(root.resolve()))))
    written = {row: _clean(row, before) for row in rows_left}
    for change, by_end in (
        (_same, False),
        (_composed, False),
        (_folded, False),
        (_without_suffix, False),
        (_folded, True),
        (_without_suffix, True),
    ):
        keys = {row: change(written[row]) for row in rows_left}
        images = [(change(name), name) for name in names]
        image_of = _Ends(images, keys.values()) if by_end else _unique(images).get
        found = _unique((image, row) for row, key in keys.items() if (image := image_of(key)) and image not in taken)
        matched |= {image: row for image, row in found.items() if row is not None}
        # Weaker comparisons see only the rows that are left, and the images without a row.
        taken.update(image for image, row in found.items() if row is not None)
        done = set(matched.values())
        rows_left = [row for row in rows_left if row not in done]
    return matched


def _unique(pairs: Iterable[tuple[str, str]]) -> dict[str, str | None]:
    """Return the value of each key; None if it has several."""
    values: dict[str, str | None] = {}
    for key, value in pairs:
        values[key] = None if key in values else value
    return values


class _Ends:
    """Finds the one image whose path ends with that of a row, or the other way round, at the border of a folder."""

    def __init__(self, names: Sequence[tuple[str, str]], rows: Iterable[str]) -> None:
        self._whole = _unique(names)
        depths = {row.count("/") for row in rows}
        self._ends = _unique(
            (end, name) for key, name in names for end in _ends(key) if end != key and end.count("/") in depths
        )

    def __call__(self, row: str) -> str | None:
        """Return the image; None if there is none or more than one."""
        if row in self._ends:
            return None if row in self._whole else self._ends[row]
        found = [end for end in _ends(row) if end in self._whole]
        return self._whole[found[0]] if len(found) == 1 else None


def _ends(path: str) -> Iterator[str]:
    """Yield a path, and the path without its first folders."""
    parts = path.split("/")
    return ("/".join(parts[number:]) for number in range(len(parts)))


def _clean(row: str, before: tuple[str, ...]) -> str:
    """Return a name with forward slashes, without ``./`` and without the path of the folder."""
    path = row.strip().replace("\\", "/")
    path = next((path.removeprefix(folder) for folder in before if path.startswith(folder)), path)
    path = _DRIVE.sub("", path, count=1) if _DRIVE.match(path) else path
    return posixpath.normpath(path).lstrip("/") if path else path


def _same(name: str) -> str:
    return name


def _composed(name: str) -> str:
    """Return a name in composed Unicode; bytes that are no UTF-8 are taken for Latin-1, as old spreadsheets write."""
    if any("\udc80" <= character <= "\udcff" for character in name):
        name = name.encode("utf-8", "surrogateescape").decode("latin-1")
    return unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    return _composed(name).casefold()


def _without_suffix(name: str) -> str:
    folded = _folded(name)
    return next((folded.removesuffix(end) for end in IMAGE_SUFFIXES if folded.endswith(end)), folded)
