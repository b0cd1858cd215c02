"""A folder that a batch writes into: a manifest of what is finished, a list of what was rejected, a lock.

``.refiner/manifest.jsonl`` has a line per finished input: its size and time, and the job (refiner and options)
that made the output. What is finished is decided from it before anything is decoded. A line with the name alone
comes first, then the output file is moved into place, then the whole line is written: a kill costs the files in
flight and nothing else, and the next run knows them for its own.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from refiner.errors import ImageError, OutputError
from refiner.files import TEMPORARY_PREFIX, JsonLines, atomic_path, locked, read_json_lines
from refiner.records import REJECTED_FILE, write_rejected

STATE_FOLDER = ".refiner"

Stamp = tuple[int, int]
"""Size in bytes and time of last change in nanoseconds: what tells a changed input."""


class OutputFolder:
    """The outputs of one batch; open it with :func:`open_output`.

    Args:
        root: the folder.
        job: what makes an output besides its input: refiner and options, as one text.
        overwrite: make everything again, and replace files that no batch has written.
    """

    def __init__(self, root: Path, *, job: str, overwrite: bool = False) -> None:
        self.root, self.job, self.overwrite = root, job, overwrite
        self.rejected: list[tuple[str, str, str]] = []
        self._finished: dict[str, tuple[int, int, str]] = {}
        self._ours: set[str] = set()
        manifest = root / STATE_FOLDER / "manifest.jsonl"
        for row in read_json_lines(manifest):
            self._ours.add(row.get("file", ""))
            if {"file", "size", "time", "job"} <= row.keys():
                self._finished[row["file"]] = (row["size"], row["time"], row["job"])
        self._log = JsonLines(manifest)

    def is_finished(self, name: str, stamp: Stamp) -> bool:
        """Whether the output of an input is there, made by this job from the input as it is now."""
        return not self.overwrite and self._finished.get(name) == (*stamp, self.job) and (self.root / name).is_file()

    def claim(self, name: str) -> None:
        """Record that an output is about to be written; refuse to replace a file that no batch has written.

        Raises:
            OutputError: there is such a file.
        """
        if name in self._ours:
            return
        if not self.overwrite and (self.root / name).exists():
            raise OutputError(
                f"{self.root / name}: is there already and was not written by refiner; choose another folder, or "
                "replace it with --overwrite"
            )
        self._log.append({"file": name})

    def finish(self, name: str, stamp: Stamp) -> None:
        """Record that the output of an input is in place."""
        self._log.append({"file": name, "size": stamp[0], "time": stamp[1], "job": self.job})
        self._finished[name] = (*stamp, self.job)
        self._ours.add(name)

    def reject(self, name: str, stage: str, reason: str) -> None:
        """Record that an input gave no output; an output of an older batch is removed, for it would mislead."""
        self.rejected.append((name, stage, reason))
        self._finished.pop(name, None)
        if name in self._ours:
            (self.root / name).unlink(missing_ok=True)

    def copy(self, source: Path, name: str) -> None:
        """Copy a file that goes along with the images as it is.

        Raises:
            ImageError: the file cannot be read.
            OutputError: the copy cannot be written.
        """
        if self.is_finished(name, stamp(source)):
            return
        if not source.is_file() or not os.access(source, os.R_OK):
            raise ImageError(source, "cannot be read")
        self.claim(name)
        with atomic_path(self.root / name) as temporary:
            shutil.copyfile(source, temporary)
        self.finish(name, stamp(source))

    def close(self) -> None:
        """Write ``rejected.csv`` where there is anything to say, or remove that of the run before.

        Raises:
            OutputError: a file of that name is there that no batch has written.
        """
        if self.rejected:
            self.claim(REJECTED_FILE)
            write_rejected(self.root / REJECTED_FILE, self.rejected)
        elif REJECTED_FILE in self._ours:
            (self.root / REJECTED_FILE).unlink(missing_ok=True)
        self._log.close()


def stamp(path: Path) -> Stamp:
    """Size and time of an input file; (0, 0) when it cannot be looked at, which reading will report."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


@contextlib.contextmanager
def open_output(source: Path, root: Path, *, job: str, overwrite: bool = False) -> Iterator[OutputFolder]:
    """Open an output folder, alone.

    Args:
        source: the folder that is read.
        root: the folder that is written, made when it is missing.
        job, overwrite: see :class:`OutputFolder`.

    Raises:
        OutputError: one folder lies inside the other, a file is in the way, or another process writes here.
    """
    inner, outer = root.resolve(), source.resolve()
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise OutputError(f"{root}: and {source} lie inside one another; choose an output folder beside the input")
    for parent in (root, *root.parents):
        if parent.exists() and not parent.is_dir():
            raise OutputError(f"{root}: {parent} is a file; choose another output folder")
    refusal = f"{root}: another process is writing here; wait for it, or choose another folder"
    with locked(root / STATE_FOLDER / "lock", refusal=refusal):
        for leftover in root.rglob(f"{TEMPORARY_PREFIX}*"):
            leftover.unlink()
        output = OutputFolder(root, job=job, overwrite=overwrite)
        try:
            yield output
        finally:
            output.close()
