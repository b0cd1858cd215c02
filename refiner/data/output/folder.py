"""Output folder of a batch job: a manifest of finished inputs, a table of rejected ones, and a lock.

``.refiner/manifest.jsonl`` has a line for each finished input: its size and time, and the job (refiner and options)
that made the output. Finished inputs are skipped by this manifest alone, without decoding an image.

Each output takes three steps: a line with only the name, then the output file is moved into place, then the complete
line. A killed run loses only the files in progress, and the next run recognises them as its own.
"""

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Set
from pathlib import Path, PurePosixPath

from refiner.core.errors import ImageError, OutputError
from refiner.core.files import (
    TEMPORARY_PREFIX,
    JsonLines,
    Stamp,
    atomic_path,
    check_apart,
    locked,
    read_json_lines,
    remove_file,
    stamp,
    write_bytes,
    write_text,
)
from refiner.core.parallel.shards import Shard
from refiner.data.labels.tables import LABELS_FILE, REJECTED_FILE, write_rejected

STATE_FOLDER = ".refiner"
"""Name of the state folder in an output folder."""

SHARDS_FOLDER = "shards"
"""Name of the folder in the state folder that holds the manifests and locks of shards."""

MAX_NAME_BYTES = 255
"""Longest name of a file or folder, in bytes."""


class OutputFolder:
    """The output folder of one batch job; open it with :func:`open_output`.

    Args:
        root: the folder.
        job: refiner and options that the outputs depend on, as one text.
        overwrite: process finished inputs again, and replace files that no batch job has written.
        shard: the shard of the job that is done here; None does the whole job.

    Attributes:
        rejected: (name, stage, reason) of each rejected input.
        rejected_is_current: True if ``rejected.csv`` is up to date and must not be rewritten.
        notes: numbers that were recorded with finished outputs, by name; see :meth:`finish`.
    """

    def __init__(self, root: Path, *, job: str, overwrite: bool = False, shard: Shard | None = None) -> None:
        self.root, self.job, self.overwrite, self.shard = root, job, overwrite, shard
        self.rejected: list[tuple[str, str, str]] = []
        self.rejected_is_current = False
        self.notes: dict[str, list[float | None]] = {}
        self._finished: dict[str, tuple[int, int, str]] = {}
        self._ours: set[str] = set()
        # Read the manifest of earlier runs, and that of this shard.
        self._manifest = root / STATE_FOLDER / "manifest.jsonl"
        self._read(self._manifest)
        shards = root / STATE_FOLDER / SHARDS_FOLDER
        if shard is not None:
            self._manifest = shards / f"{shard}.jsonl"
            self._read(self._manifest)
        self._log = JsonLines(self._manifest)
        # Merge the manifests of shards. They are newer than the main one, which is not written while shards run.
        if shard is None and shards.is_dir():
            for manifest in sorted(shards.glob("*.jsonl")):
                self._read(manifest)
                self._log.append(*read_json_lines(manifest))
            shutil.rmtree(shards, ignore_errors=True)

    def _read(self, manifest: Path) -> None:
        for row in read_json_lines(manifest):
            name = row.get("file")
            if not isinstance(name, str) or _leads_away(name):  # the manifest may come from another person's folder
                continue
            self._ours.add(name)
            self._finished.pop(name, None)
            if {"size", "time", "job"} <= row.keys():
                self._finished[name] = (row["size"], row["time"], sys.intern(str(row["job"])))
                self.notes[name] = row.get("notes", [])

    def is_finished(self, name: str, stamp: Stamp) -> bool:
        """Return whether the output exists and was made by this job from the current input.

        Args:
            name: name of the output.
            stamp: size and time of the input, see :func:`refiner.core.files.stamp`.
        """
        return not self.overwrite and self._finished.get(name) == (*stamp, self.job) and (self.root / name).is_file()

    def claim(self, *names: str) -> None:
        """Record that outputs are about to be written.

        Raises:
            OutputError: a file of such a name exists that no batch job has written.
        """
        # Refuse to replace a file of the user, before anything is recorded.
        new = [name for name in names if name not in self._ours or name in self._finished]
        for name in new:
            if name not in self._ours and not self.overwrite and (self.root / name).exists():
                raise OutputError(
                    f"{self.root / name} already exists and was not written by refiner; choose another folder, or "
                    "pass --overwrite to replace it"
                )
        # Write the names before the outputs, so that a killed run can tell its own files from the user's.
        self._log.append(*({"file": name} for name in new))
        self._ours.update(new)
        for name in new:
            self._finished.pop(name, None)

    def finish(self, name: str, stamp: Stamp, notes: list[float | None] | None = None) -> None:
        """Record that the output of an input is in place.

        Args:
            name: name of the output.
            stamp: size and time of the input.
            notes: numbers that later runs find in :attr:`notes`, such as the drift of the output.
        """
        line = {"file": name, "size": stamp[0], "time": stamp[1], "job": self.job}
        self._log.append(line if notes is None else {**line, "notes": notes})
        self._finished[name] = (*stamp, self.job)
        self.notes[name] = notes or []
        self._ours.add(name)

    def reject(self, name: str, stage: str, reason: str) -> None:
        """Record that an input was rejected, and delete the output that an older job made of it."""
        self.rejected.append((name, stage, reason))
        self._finished.pop(name, None)
        if name in self._ours:
            remove_file(self.root / name)

    def copy(self, source: Path, name: str) -> None:
        """Copy a file that accompanies the images, unchanged.

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

    def is_complete(self) -> bool:
        """Return whether every claimed file exists."""
        return all((self.root / name).is_file() for name in self._ours - {REJECTED_FILE})

    def keep_only(self, names: Set[str]) -> None:
        """Delete the outputs of earlier jobs under other names, and rewrite the manifest with these names only."""
        for name in self._ours - names - {REJECTED_FILE}:
            with contextlib.suppress(OSError):
                (self.root / name).unlink(missing_ok=True)
        # Replace the manifest as a whole, then append to the new one.
        kept = [*sorted(names), *({REJECTED_FILE} & self._ours)]
        self._log.close()
        write_bytes(self._manifest, b"".join(json.dumps({"file": name}).encode() + b"\n" for name in kept))
        self._log = JsonLines(self._manifest)
        self._ours = set(kept)

    def write_state(self, name: str, text: str) -> None:
        """Write a text file in the state folder."""
        write_text(self.root / STATE_FOLDER / name, text)

    def close(self) -> None:
        """Write ``rejected.csv``, or delete that of an earlier run if nothing was rejected; shards leave it alone.

        Raises:
            OutputError: a ``rejected.csv`` exists that no batch job has written.
        """
        if self.rejected_is_current or self.shard is not None:
            pass
        elif self.rejected:
            self.claim(REJECTED_FILE)
            write_rejected(self.root / REJECTED_FILE, self.rejected)
        elif REJECTED_FILE in self._ours:
            remove_file(self.root / REJECTED_FILE)
        self._log.close()


def leads_out(name: str) -> bool:
    """Return whether a name cannot be used in an output folder.

    Such a name is empty, leads out of the folder, or leads into the state folder or below a table.
    """
    parts = PurePosixPath(name).parts
    return _leads_away(name) or (len(parts) > 1 and parts[0] in (LABELS_FILE, REJECTED_FILE))


def _leads_away(name: str) -> bool:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or not path.name:
        return True
    return len(path.parts) > 1 and path.parts[0] == STATE_FOLDER


def is_too_long(name: str) -> bool:
    """Return whether a component of a name is too long for a file system, as ``x.jpg.png`` can be."""
    return any(len(os.fsencode(part)) > MAX_NAME_BYTES for part in PurePosixPath(name).parts)


@contextlib.contextmanager
def open_output(
    source: Path, root: Path, *, job: str, overwrite: bool = False, shard: Shard | None = None
) -> Iterator[OutputFolder]:
    """Open an output folder and lock it: for one run, or for one of several shards.

    Args:
        source: the folder that is read.
        root: the folder that is written; created if missing.
        job, overwrite, shard: see :class:`OutputFolder`.

    Raises:
        OutputError: one folder contains the other, ``root`` is a file, or another process writes there.
    """
    # Check the folder, then lock it.
    check_apart(source, root)
    if root.exists() and not root.is_dir():
        raise OutputError(f"{root} is a file; choose another output folder")
    refusal = f"another process is writing to {root}; wait until it ends, or choose another folder"
    with locked_output(root / STATE_FOLDER, refusal, shard):
        if shard is None:  # temporary files of other shards may be in use
            for leftover in root.rglob(f"{TEMPORARY_PREFIX}*"):
                remove_file(leftover)
        output = OutputFolder(root, job=job, overwrite=overwrite, shard=shard)
        try:
            yield output
        finally:
            output.close()


@contextlib.contextmanager
def locked_output(state: Path, refusal: str, shard: Shard | None) -> Iterator[None]:
    """Hold the lock of an output for the length of the block.

    Args:
        state: the folder of the lock.
        refusal: message of the error if another process holds the lock.
        shard: the shard that shares the lock with others; None takes the lock exclusively.

    Raises:
        OutputError: another process holds the lock.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(locked(state / "lock", refusal=refusal, shared=shard is not None))
        if shard is not None:
            stack.enter_context(locked(state / SHARDS_FOLDER / f"{shard}.lock", refusal=refusal))
        yield
