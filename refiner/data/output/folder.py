"""Output folder of a batch job: a manifest of finished inputs, a table of rejected ones, and a lock.

``.refiner/manifest.jsonl`` has a line for each finished input: a stamp of everything that was read for it, and the job
(refiner and options) that made the output. Finished inputs are skipped without decoding an image. The manifest also
says which input the folder was made from, and which files were written here; no other file is ever deleted.

Each output takes three steps: a line with only the name, then the output file is moved into place, then the complete
line. A killed run loses only the files in progress, and the next run recognises them as its own.
"""

import contextlib
import itertools
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Set
from pathlib import Path
from typing import Any

from refiner.core.errors import ImageError, WrongOutputError
from refiner.core.files import (
    TEMPORARY_PREFIX,
    JsonLines,
    atomic_path,
    check_apart,
    content_digest,
    read_json_lines,
    remove_file,
    write_bytes,
    write_text,
)
from refiner.core.locks import locked
from refiner.core.parallel.shards import Shard
from refiner.data.labels.tables import REJECTED_FILE, write_rejected
from refiner.data.output.output_names import STATE_FOLDER, leads_away

SHARDS_FOLDER = "shards"
"""Name of the folder in the state folder that holds the manifests and locks of shards."""

SETTINGS_PREFIX = "settings-"
"""Beginning of the names of files in the state folder that hold the backend of a job; the refiner's digest follows."""


class OutputFolder:
    """The output folder of one batch job; open it with :func:`open_output`.

    Args:
        root: the folder.
        source: the folder or file that is read.
        job: refiner and options that the outputs depend on, as one text; it may be set later.
        overwrite: process finished inputs again, and replace files that no batch job has written.
        shard: the shard of the job that is done here; None does the whole job.

    Attributes:
        rejected: (name, stage, reason) of each rejected input.
        rejected_is_current: True if ``rejected.csv`` is up to date and must not be rewritten.
        notes: numbers that were recorded with finished outputs, by name; see :meth:`finish`.
        facts: texts about the folder that earlier runs recorded, by name; see :meth:`record`.
    """

    def __init__(
        self, root: Path, source: Path, *, job: str, overwrite: bool = False, shard: Shard | None = None
    ) -> None:
        self.root, self.job, self.overwrite, self.shard = root, job, overwrite, shard
        self.rejected: list[tuple[str, str, str]] = []
        self.rejected_is_current = False
        self.notes: dict[str, list[float | None]] = {}
        self.facts: dict[str, str] = {}
        self._source = str(source.resolve())
        self._finished: dict[str, tuple[str, str]] = {}  # stamp and job, by name
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
                for lines in _blocks(read_json_lines(manifest)):
                    self._log.append(*lines)
            shutil.rmtree(shards, ignore_errors=True)

    def _read(self, manifest: Path) -> None:
        for row in read_json_lines(manifest):
            name = row.get("file")
            if isinstance(row.get("facts"), dict):
                self.facts |= {str(fact): str(text) for fact, text in row["facts"].items()}
            if not isinstance(name, str) or leads_away(name):  # the manifest may come from another person's folder
                continue
            self._ours.add(name)
            self._finished.pop(name, None)
            if row.get("removed"):
                self._ours.discard(name)
            elif {"stamp", "job"} <= row.keys():
                self._finished[name] = (str(row["stamp"]), sys.intern(str(row["job"])))
                self.notes[name] = row.get("notes", [])

    @property
    def other_source(self) -> str | None:
        """Path of the input that the outputs were made from, if it is another one; None with ``overwrite``."""
        before = self.facts.get("source", self._source)
        return None if before == self._source or self.overwrite else before

    def check_origin(self, command: str, digest: Callable[[str], str]) -> None:
        """Check that the outputs were made by this command from this input, and record both.

        An input may have moved to another path, if all its files are still the same.

        Args:
            command: the command that writes here.
            digest: returns the content digest of an input by its name.

        Raises:
            WrongOutputError: the outputs of another command or another input would be replaced.
        """
        self.check_command(command)
        if self.other_source is not None:
            changed = next(
                (name for name, (at, _) in self._finished.items() if at.partition(" ")[0] != digest(name)), None
            )
            if changed is not None:
                raise self.origin_error(f"{changed} is missing or differs in {self._source}")
        self.record_origin(command)

    def check_command(self, command: str) -> None:
        """Check that no other command has written here; raise :class:`WrongOutputError` otherwise."""
        before = self.facts.get("command", command)
        if before != command and not self.overwrite:
            raise WrongOutputError(
                f"{self.root} was written by refiner {before}; choose another output folder, or pass --overwrite to "
                "replace its files"
            )

    def origin_error(self, difference: str) -> WrongOutputError:
        """Return the error to raise if outputs of another input would be replaced."""
        return WrongOutputError(
            f"{self.root} was made from {self.other_source}, but {difference}; choose another output folder, or pass "
            "--overwrite to replace its files"
        )

    def record_origin(self, command: str) -> None:
        """Record the command and the input of the outputs."""
        self.record(command=command, source=self._source)

    @property
    def written(self) -> Set[str]:
        """Names of the files that batch jobs have written, or were about to write."""
        return self._ours

    def record(self, **facts: str) -> None:
        """Record texts about the folder for later runs, such as the input."""
        if facts.items() - self.facts.items():
            self._log.append({"facts": facts})
            self.facts |= facts

    def stamp_of(self, name: str) -> str | None:
        """Return the stamp of an output that this job made in an earlier run; None if it must be made (again)."""
        stamp, job = self._finished.get(name, ("", ""))
        finished = stamp and job == self.job and not self.overwrite and (self.root / name).is_file()
        return stamp if finished else None

    def claim(self, *names: str) -> None:
        """Record that outputs are about to be written.

        Raises:
            OutputError: a file of such a name exists that no batch job has written.
        """
        # Refuse to replace a file of the user, before anything is recorded.
        new = [name for name in names if name not in self._ours or name in self._finished]
        for name in new:
            if name not in self._ours and not self.overwrite and (self.root / name).exists():
                raise WrongOutputError(
                    f"{self.root / name} already exists and was not written by refiner; choose another folder, or "
                    "pass --overwrite to replace it"
                )
        # Write the names before the outputs, so that a killed run can tell its own files from the user's.
        self._log.append(*({"file": name} for name in new))
        self._ours.update(new)
        for name in new:
            self._finished.pop(name, None)

    def finish(
        self, name: str, stamp: str, notes: list[float | None] | None = None, details: list[Any] | None = None
    ) -> None:
        """Record that the output of an input is in place.

        Args:
            name: name of the output.
            stamp: the :func:`refiner.core.files.content_digest` of the input. Digests of further things that the output
                depends on may follow after a space.
            notes: numbers that later runs find in :attr:`notes`, such as the drift of the output.
            details: anything else to record as JSON. It is not kept in memory, see :meth:`details`.
        """
        line: dict[str, Any] = {"file": name, "stamp": stamp, "job": self.job}
        line |= {} if notes is None else {"notes": notes}
        self._log.append(line if details is None else {**line, "details": details})
        self._finished[name] = (stamp, self.job)
        self.notes[name] = notes or []
        self._ours.add(name)

    def details(self) -> "Details":
        """Return the details that were recorded with finished outputs."""
        return Details(self._manifest)

    def reject(self, name: str, stage: str, reason: str) -> None:
        """Record that an input was rejected, and delete the output that an older job made of it."""
        self.rejected.append((name, stage, reason))
        self.remove(name)

    def prune(self, names: Set[str]) -> list[str]:
        """Delete the outputs of earlier runs under other names than these; return the names of the deleted files."""
        return self.remove(*sorted(self._ours - names - {REJECTED_FILE}))

    def remove(self, *names: str) -> list[str]:
        """Delete outputs that batch jobs have written; return the names of those that existed."""
        ours = [name for name in names if name in self._ours]
        existing = [name for name in ours if (self.root / name).is_file()]
        for name in existing:
            remove_file(self.root / name)
        # From now on, files of these names are the user's.
        self._log.append(*({"file": name, "removed": True} for name in ours))
        self._ours.difference_update(ours)
        for name in ours:
            self._finished.pop(name, None)
        return existing

    def copy(self, source: Path, name: str) -> None:
        """Copy a file that accompanies the images, unchanged.

        Raises:
            ImageError: the file cannot be read.
            OutputError: the copy cannot be written.
        """
        if not source.is_file() or not os.access(source, os.R_OK):
            raise ImageError(source, "cannot be read")
        digest = content_digest(source)
        if self.stamp_of(name) == digest:
            return
        self.claim(name)
        with atomic_path(self.root / name) as temporary:
            shutil.copyfile(source, temporary)
        self.finish(name, digest)

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
        lines: list[dict[str, Any]] = [{"facts": self.facts}, *({"file": name} for name in kept)]
        self._log.close()
        write_bytes(self._manifest, b"".join(json.dumps(line).encode() + b"\n" for line in lines))
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
        else:
            self.remove(REJECTED_FILE)
        self._log.close()


def _blocks(lines: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Divide lines into lists that do not fill the memory."""
    while block := list(itertools.islice(lines, 1000)):
        yield block


class Details:
    """Details that a manifest holds for finished outputs, read one by one; only their places are kept in memory.

    Args:
        manifest: the manifest; it must not change from now on.
    """

    def __init__(self, manifest: Path) -> None:
        self._path = manifest
        self._places: dict[str, int] = {}
        place = 0
        with manifest.open("rb") as stream:
            for line in stream:
                row = _row(line) if b'"stamp"' in line else {}
                if "details" in row:
                    self._places[row["file"]] = place
                elif row:  # it was made again without details
                    self._places.pop(row.get("file", ""), None)
                place += len(line)

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, list[Any]]]:
        """Yield each name with its details; an empty list if it has none."""
        with self._path.open("rb") as stream:
            for name in names:
                if name in self._places:
                    stream.seek(self._places[name])
                    yield name, _row(stream.readline())["details"]
                else:
                    yield name, []


def _row(line: bytes) -> dict[str, Any]:
    """Return the object of a line; empty if a killed process left it incomplete."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return row if isinstance(row, dict) else {}


@contextlib.contextmanager
def open_output(
    source: Path, root: Path, *, job: str = "", overwrite: bool = False, shard: Shard | None = None
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
        raise WrongOutputError(f"{root} is a file; choose another output folder")
    refusal = f"another process is writing to {root}; wait until it ends, or choose another folder"
    with locked_output(root / STATE_FOLDER, refusal, shard):
        if shard is None:  # temporary files of other shards may be in use
            for leftover in root.rglob(f"{TEMPORARY_PREFIX}*"):
                remove_file(leftover)
        output = OutputFolder(root, source, job=job, overwrite=overwrite, shard=shard)
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
