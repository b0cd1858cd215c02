"""A folder that a batch writes into: a manifest of what is finished, a list of what was rejected, a lock.

``.refiner/manifest.jsonl`` has a line per finished input: its size and time, and the job (refiner and options)
that made the output. What is finished is decided from it before anything is decoded. A line with the name alone
comes first, then the output file is moved into place, then the whole line is written: a kill costs the files in
flight and nothing else, and the next run knows them for its own.
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

SHARDS_FOLDER = "shards"
"""In the state folder: the manifests and locks of runs that share a job."""

MAX_NAME_BYTES = 255
"""Longest name of a file or folder, in bytes."""


class OutputFolder:
    """The outputs of one batch; open it with :func:`open_output`.

    Args:
        root: the folder.
        job: what makes an output besides its input: refiner and options, as one text.
        overwrite: make everything again, and replace files that no batch has written.
        shard: the part of the job that is done here; None does all.
    """

    def __init__(self, root: Path, *, job: str, overwrite: bool = False, shard: Shard | None = None) -> None:
        self.root, self.job, self.overwrite, self.shard = root, job, overwrite, shard
        self.rejected: list[tuple[str, str, str]] = []
        self.rejected_stands = False  # whether rejected.csv says already what there is to say
        self.notes: dict[str, list[float | None]] = {}  # what was found out about finished outputs
        self._finished: dict[str, tuple[int, int, str]] = {}
        self._ours: set[str] = set()
        self._manifest = root / STATE_FOLDER / "manifest.jsonl"
        self._read(self._manifest)
        shards = root / STATE_FOLDER / SHARDS_FOLDER
        if shard is not None:
            self._manifest = shards / f"{shard}.jsonl"
            self._read(self._manifest)
        self._log = JsonLines(self._manifest)
        if shard is None and shards.is_dir():
            for manifest in sorted(shards.glob("*.jsonl")):  # newer than ours: nobody else writes beside shards
                self._read(manifest)
                self._log.append(*read_json_lines(manifest))
            shutil.rmtree(shards, ignore_errors=True)

    def _read(self, manifest: Path) -> None:
        for row in read_json_lines(manifest):
            name = row.get("file")
            if not isinstance(name, str) or _leads_away(name):  # a manifest that came with somebody else's folder
                continue
            self._ours.add(name)
            self._finished.pop(name, None)
            if {"size", "time", "job"} <= row.keys():
                self._finished[name] = (row["size"], row["time"], sys.intern(str(row["job"])))
                self.notes[name] = row.get("notes", [])

    def is_finished(self, name: str, stamp: Stamp) -> bool:
        """Whether the output of an input is there, made by this job from the input as it is now."""
        return not self.overwrite and self._finished.get(name) == (*stamp, self.job) and (self.root / name).is_file()

    def claim(self, *names: str) -> None:
        """Record that outputs are about to be written; refuse to replace a file that no batch has written.

        Raises:
            OutputError: there is such a file.
        """
        new = [name for name in names if name not in self._ours or name in self._finished]
        for name in new:
            if name not in self._ours and not self.overwrite and (self.root / name).exists():
                raise OutputError(
                    f"{self.root / name}: is there already and was not written by refiner; choose another folder, or "
                    "replace it with --overwrite"
                )
        self._log.append(*({"file": name} for name in new))
        self._ours.update(new)
        for name in new:
            self._finished.pop(name, None)

    def finish(self, name: str, stamp: Stamp, notes: list[float | None] | None = None) -> None:
        """Record that the output of an input is in place, and what is to be known of it in later runs."""
        line = {"file": name, "size": stamp[0], "time": stamp[1], "job": self.job}
        self._log.append(line if notes is None else {**line, "notes": notes})
        self._finished[name] = (*stamp, self.job)
        self.notes[name] = notes or []
        self._ours.add(name)

    def reject(self, name: str, stage: str, reason: str) -> None:
        """Record that an input gave no output; an output of an older batch is removed, for it would mislead."""
        self.rejected.append((name, stage, reason))
        self._finished.pop(name, None)
        if name in self._ours:
            remove_file(self.root / name)

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

    def is_complete(self) -> bool:
        """Whether every file that was claimed is there."""
        return all((self.root / name).is_file() for name in self._ours - {REJECTED_FILE})

    def keep_only(self, names: Set[str]) -> None:
        """Remove what earlier batches wrote under other names; the manifest names these alone from now on."""
        for name in self._ours - names - {REJECTED_FILE}:
            with contextlib.suppress(OSError):
                (self.root / name).unlink(missing_ok=True)
        kept = [*sorted(names), *({REJECTED_FILE} & self._ours)]
        self._log.close()
        write_bytes(self._manifest, b"".join(json.dumps({"file": name}).encode() + b"\n" for name in kept))
        self._log = JsonLines(self._manifest)
        self._ours = set(kept)

    def write_state(self, name: str, text: str) -> None:
        """Write a file of the state folder."""
        write_text(self.root / STATE_FOLDER / name, text)

    def close(self) -> None:
        """Write ``rejected.csv`` where there is anything to say, or remove that of the run before; a shard leaves it.

        Raises:
            OutputError: a file of that name is there that no batch has written.
        """
        if self.rejected_stands or self.shard is not None:
            pass
        elif self.rejected:
            self.claim(REJECTED_FILE)
            write_rejected(self.root / REJECTED_FILE, self.rejected)
        elif REJECTED_FILE in self._ours:
            remove_file(self.root / REJECTED_FILE)
        self._log.close()


def leads_out(name: str) -> bool:
    """Whether a name must not be used below a folder: it would lead out of it, nowhere, or into our own files."""
    parts = PurePosixPath(name).parts
    return _leads_away(name) or (len(parts) > 1 and parts[0] in (LABELS_FILE, REJECTED_FILE))


def _leads_away(name: str) -> bool:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or not path.name:
        return True
    return len(path.parts) > 1 and path.parts[0] == STATE_FOLDER


def is_too_long(name: str) -> bool:
    """Whether no file system takes a part of a name: ``x.jpg.png`` can be, where ``x.jpg`` was not."""
    return any(len(os.fsencode(part)) > MAX_NAME_BYTES for part in PurePosixPath(name).parts)


@contextlib.contextmanager
def open_output(
    source: Path, root: Path, *, job: str, overwrite: bool = False, shard: Shard | None = None
) -> Iterator[OutputFolder]:
    """Open an output folder, alone, or beside other shards.

    Args:
        source: the folder that is read.
        root: the folder that is written, made when it is missing.
        job, overwrite, shard: see :class:`OutputFolder`.

    Raises:
        OutputError: one folder lies inside the other, a file is in the way, or another process writes here.
    """
    check_apart(source, root)
    if root.exists() and not root.is_dir():
        raise OutputError(f"{root}: {root} is a file; choose another output folder")
    refusal = f"{root}: another process is writing here; wait for it, or choose another folder"
    with locked_output(root / STATE_FOLDER, refusal, shard):
        if shard is None:  # those of other shards may be under way
            for leftover in root.rglob(f"{TEMPORARY_PREFIX}*"):
                remove_file(leftover)
        output = OutputFolder(root, job=job, overwrite=overwrite, shard=shard)
        try:
            yield output
        finally:
            output.close()


@contextlib.contextmanager
def locked_output(state: Path, refusal: str, shard: Shard | None) -> Iterator[None]:
    """Hold the lock of an output: alone, or, for one shard, beside the others.

    Args:
        state: the folder with the lock.
        refusal: the message when another process holds it.
        shard: which; None holds it alone.

    Raises:
        OutputError: another process holds it.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(locked(state / "lock", refusal=refusal, shared=shard is not None))
        if shard is not None:
            stack.enter_context(locked(state / SHARDS_FOLDER / f"{shard}.lock", refusal=refusal))
        yield
