"""Listing of a folder tree, through links to folders; every folder is entered once."""

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_Identity = tuple[int, int]  # device and number of a folder; links and other names of a folder share it


class Listing(NamedTuple):
    """The files below a folder.

    Attributes:
        files: relative paths with forward slashes, sorted.
        unread: reason for each folder that could not be entered, by its relative path.
        repeated: reason for each link that was not followed, because its folder is read under another name.
        links: links to folders that were followed.
    """

    files: list[str]
    unread: dict[str, str]
    repeated: dict[str, str]
    links: list[str]


def list_files(root: Path) -> list[str]:
    """Return every file below ``root`` as a relative path with forward slashes, sorted; see :func:`list_folder`."""
    return list_folder(root).files


def list_folder(root: Path) -> Listing:
    """List every file below a folder.

    Hidden files and folders are left out. Links to files and folders are followed, also out of the tree. A link to a
    folder that is read under another name is not followed, so that no image is read twice and no loop is entered.
    """
    walk = FolderWalk(root)
    files = [f"{inside}/{name}" if inside else name for inside, names in walk for name in names]
    return Listing(sorted(files), walk.unread, walk.repeated, walk.links)


class FolderWalk:
    """Iterator over the folders below ``root``: relative path and names of the files, upper folders first.

    Folders come before linked ones, so that a file is listed under its own name if it has one in the tree.

    Args:
        root: the folder.

    Attributes:
        unread, repeated, links: see :class:`Listing`; complete when the iteration has ended.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.unread: dict[str, str] = {}
        self.repeated: dict[str, str] = {}
        self.links: list[str] = []
        # The folders around the root count as entered: a link to one of them leads back here.
        self._entered: dict[_Identity, str] = {}
        for folder in root.resolve().parents:
            self._entered[_identity(folder)] = ""

    def __iter__(self) -> Iterator[tuple[str, list[str]]]:
        waiting = deque([""])
        while waiting:
            start = waiting.popleft()
            if self._enter(start):
                if start:
                    self.links.append(start)
                for inside, names, links in self._walk(start):
                    waiting.extend(links)
                    yield inside, names

    def _walk(self, start: str) -> Iterator[tuple[str, list[str], list[str]]]:
        """Yield each folder below a start, with its files and its links to folders."""

        def add_unreadable(error: OSError) -> None:
            self.unread[self._relative(error.filename)] = "is a folder that cannot be read"

        for folder, folders, files in os.walk(self.root / start, onerror=add_unreadable):
            inside = self._relative(folder)
            names = sorted(name for name in folders if not name.startswith("."))
            links = [name for name in names if Path(folder, name).is_symlink()]
            # os.walk enters the folders that remain in this list, in its order.
            folders[:] = [name for name in names if name not in links and self._enter(_join(inside, name))]
            yield (
                inside,
                sorted(name for name in files if not name.startswith(".")),
                [_join(inside, name) for name in links],
            )

    def _enter(self, name: str) -> bool:
        """Note that a folder is entered; return False if it was entered before."""
        try:
            identity = _identity(self.root / name)
        except OSError:
            self.unread[name] = "is a folder that cannot be read"
            return False
        if (before := self._entered.get(identity)) is None:
            self._entered[identity] = name or "."
            return True
        other = f"the folder {before}, which is read under that name" if before else "a folder that contains it"
        self.repeated[name] = f"is a link to {other}"
        return False

    def _relative(self, folder: str) -> str:
        inside = Path(folder).relative_to(self.root).as_posix()
        return "" if inside == "." else inside


def _identity(folder: Path) -> _Identity:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _join(inside: str, name: str) -> str:
    return f"{inside}/{name}" if inside else name
