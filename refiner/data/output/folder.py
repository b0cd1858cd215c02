"""Output folder of a batch job: a manifest of finished inputs, a table of rejected ones, and a lock.

Inputs that the manifest lists as finished are skipped without decoding an image. The manifest also says which input the
folder was made from, and which files were written here; no other file is ever deleted.

Each output takes three steps: a line with only the name, then the output file is moved into place, then the complete
line. A killed run loses only the files in progress, and the next run recognises them as its own.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Set
from pathlib import Path
from typing import Any

from refiner.core.errors import ImageError, WrongOutputError
from refiner.core.files import (
    TEMPORARY_PREFIX,
    atomic_path,
    check_apart,
    content_digest,
    remove_file,
    write_text,
)
from refiner.core.locks import locked
from refiner.core.parallel.shards import Shard
from refiner.data.labels.tables import REJECTED_FILE, write_rejected
from refiner.data.output.manifest import SHARDS_FOLDER, Manifest
from refiner.data.output.output_names import STATE_FOLDER

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
        manifest: what this and earlier runs have written here.
    """

    def __init__(
        self, root: Path, source: Path, *, job: str, overwrite: bool = False, shard: Shard | None = None
    ) -> None:
        self.root, self.job, self.overwrite, self.shard = root, job, overwrite, shard
        self.rejected: list[tuple[str, str, str]] = []
        self.rejected_is_current = False
        self.manifest = Manifest(root / STATE_FOLDER, shard)
        self._source = str(source.resolve())

    @property
    def other_source(self) -> str | None:
        """Path of the input that the outputs were made from, if it is another one; None with ``overwrite``."""
        before = self.manifest.facts.get("source", self._source)
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
                (name for name, (at, _) in self.manifest.finished.items() if at.partition(" ")[0] != digest(name)), None
            )
            if changed is not None:
                raise self.origin_error(f"{changed} is missing or differs in {self._source}")
        self.record_origin(command)

    def check_command(self, command: str) -> None:
        """Check that no other command has written here; raise :class:`WrongOutputError` otherwise."""
        before = self.manifest.facts.get("command", command)
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
        self.manifest.record(command=command, source=self._source)

    def stamp_of(self, name: str) -> str | None:
        """Return the stamp of an output that this job made in an earlier run; None if it must be made (again)."""
        stamp, job = self.manifest.finished.get(name, ("", ""))
        finished = stamp and job == self.job and not self.overwrite and (self.root / name).is_file()
        return stamp if finished else None

    def claim(self, *names: str) -> None:
        """Record that outputs are about to be written.

        Raises:
            OutputError: a file of such a name exists that no batch job has written.
        """
        # Refuse to replace a file of the user, before anything is recorded.
        new = [name for name in names if name not in self.manifest.written or name in self.manifest.finished]
        for name in new:
            if name not in self.manifest.written and not self.overwrite and (self.root / name).exists():
                raise WrongOutputError(
                    f"{self.root / name} already exists and was not written by refiner; choose another folder, or "
                    "pass --overwrite to replace it"
                )
        # Write the names before the outputs, so that a killed run can tell its own files from the user's.
        self.manifest.begin(new)

    def finish(
        self, name: str, stamp: str, notes: list[float | None] | None = None, details: list[Any] | None = None
    ) -> None:
        """Record that the output of an input is in place.

        Args:
            name: name of the output.
            stamp: the :func:`refiner.core.files.content_digest` of the input. Digests of further things that the output
                depends on may follow after a space.
            notes: numbers that later runs find in the manifest's ``notes``, such as the drift of the output.
            details: anything else to record as JSON. It is not kept in memory; the manifest's ``details`` reads it.
        """
        self.manifest.finish(name, stamp, self.job, notes, details)

    def reject(self, name: str, stage: str, reason: str) -> None:
        """Record that an input was rejected, and delete the output that an older job made of it."""
        self.rejected.append((name, stage, reason))
        self.remove(name)

    def prune(self, names: Set[str]) -> list[str]:
        """Delete the outputs of earlier runs under other names than these; return the names of the deleted files."""
        return self.remove(*sorted(self.manifest.written - names - {REJECTED_FILE}))

    def remove(self, *names: str) -> list[str]:
        """Delete outputs that batch jobs have written; return the names of those that existed."""
        ours = [name for name in names if name in self.manifest.written]
        existing = [name for name in ours if (self.root / name).is_file()]
        for name in existing:
            remove_file(self.root / name)
        self.manifest.forget(ours)
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
        return all((self.root / name).is_file() for name in self.manifest.written - {REJECTED_FILE})

    def keep_only(self, names: Set[str]) -> None:
        """Delete the outputs of earlier jobs under other names, and rewrite the manifest with these names only."""
        for name in self.manifest.written - names - {REJECTED_FILE}:
            with contextlib.suppress(OSError):
                (self.root / name).unlink(missing_ok=True)
        self.manifest.keep_only([*sorted(names), *({REJECTED_FILE} & self.manifest.written)])

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
        self.manifest.close()


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
