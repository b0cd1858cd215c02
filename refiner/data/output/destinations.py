"""Where a conversion writes: a folder of images with ``labels.csv``, or a store."""

import contextlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Protocol

import h5py

from refiner.core.errors import OutputError
from refiner.core.files import check_apart, read_regular, remove_file
from refiner.core.parallel.shards import Shard
from refiner.data.labels.tables import LABELS_FILE, REJECTED_COLUMNS, REJECTED_FILE, write_rejected, write_table
from refiner.data.output.chunks import Chunks
from refiner.data.output.folder import (
    SHARDS_FOLDER,
    STATE_FOLDER,
    OutputFolder,
    is_too_long,
    leads_out,
    locked_output,
    open_output,
)
from refiner.data.store.columns import find_columns
from refiner.data.store.hdf5 import ImageKind, hdf5_errors, new_file, write_attributes
from refiner.data.store.store_names import is_store_name
from refiner.data.store.writer import join_images, write_columns
from refiner.images.io import LOSSLESS_SUFFIXES

DONE_FILE = "done.json"
"""In the state folder: the job that is finished, and its summary."""


def rejects_list(place: Path) -> Path:
    """The table of what was rejected on the way to a folder or a store."""
    return place.with_suffix(f".{REJECTED_FILE}") if is_store_name(place) else place / REJECTED_FILE


class Destination(Protocol):
    """The place a conversion writes to, locked against other processes.

    Attributes:
        parts_folder: where its unfinished parts lie.
        images_folder: where a part writes image files; None where it writes stores.
    """

    chunks_folder: Path
    images_folder: Path | None

    def finished(self, job: str) -> str | None:
        """The summary of the same job where it is finished already.

        Raises:
            OutputError: something else is there, which would be lost.
        """

    def names(self, ids: Sequence[str]) -> Sequence[str]:
        """The names of the outputs of some samples."""

    def claim(self, names: Sequence[str]) -> None:
        """Make sure that nothing of the user's is lost when files of these names are written.

        Raises:
            OutputError: something would be.
        """

    def finish(self, parts: Chunks, job: str, summary: str) -> None:
        """Bring the parts together and remove them."""


@contextlib.contextmanager
def open_folder(source: Path, root: Path, *, grey: bool, overwrite: bool) -> Iterator["FolderDestination"]:
    """Open a folder to convert into; see :func:`refiner.data.output.folder.open_output`."""
    with open_output(source, root, job="", overwrite=overwrite) as output:
        yield FolderDestination(output, grey=grey)


class FolderDestination:
    """A folder of lossless images with ``labels.csv``; see :class:`Destination`."""

    def __init__(self, output: OutputFolder, *, grey: bool) -> None:
        self.output, self.grey = output, grey
        self.images_folder: Path | None = output.root
        self.chunks_folder = output.root / STATE_FOLDER / "parts"

    def finished(self, job: str) -> str | None:
        """The summary of the same job, when all its files are still there."""
        done = self.output.root / STATE_FOLDER / DONE_FILE
        try:
            state = json.loads(read_regular(done))
            if state["job"] != job or not self.output.is_complete():
                return None
            summary = str(state["summary"])
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None
        self.output.rejected_stands = True
        shutil.rmtree(self.chunks_folder, ignore_errors=True)  # a run was killed while it removed them
        return summary

    def names(self, ids: Sequence[str]) -> Sequence[str]:
        """Lossless suffixes stay, others become .png: ``a.jpg`` is ``a.png``, or ``a.jpg.png`` if that is taken."""
        plain = [_lossless_name(sample, grey=self.grey) for sample in ids]
        taken = Counter(plain)
        names = [name if taken[name] == 1 or name == sample else f"{sample}.png" for sample, name in zip(ids, plain)]
        return names if len(set(names)) == len(ids) else [f"{sample}.png" for sample in ids]

    def claim(self, names: Sequence[str]) -> None:
        """Claim every file; see :meth:`refiner.data.output.folder.OutputFolder.claim`."""
        # Names that cannot be used are rejected.
        self.output.claim(*(name for name in chain([LABELS_FILE], names) if not (leads_out(name) or is_too_long(name))))
        # From here on the folder is neither what an older conversion finished nor what its labels say.
        for stale in (f"{STATE_FOLDER}/{DONE_FILE}", LABELS_FILE):
            remove_file(self.output.root / stale)

    def finish(self, parts: Chunks, job: str, summary: str) -> None:
        """Write ``labels.csv`` and the rejects, and remove what older conversions left here."""
        columns = dict.fromkeys(column for line in parts.lines() for column in line.cells)
        made = {line.name for line in parts.lines() if line.name}
        if columns:
            rows = ({"file": line.name, **line.cells} for line in parts.lines() if line.name)
            write_table(self.output.root / LABELS_FILE, ["file", *columns], rows)
            made.add(LABELS_FILE)
        self.output.keep_only(made)
        for line in parts.lines():
            if line.reason:
                self.output.rejected.append((line.source, "read", line.reason))
        self.output.write_state(DONE_FILE, json.dumps({"job": job, "summary": summary}))
        parts.remove()


def _lossless_name(sample: str, *, grey: bool) -> str:
    if leads_out(sample):  # will be rejected
        return sample
    suffix = PurePosixPath(sample).suffix.lower()
    kept = suffix in LOSSLESS_SUFFIXES and not (grey and suffix == ".ppm")  # which holds no grey
    return sample if kept else str(PurePosixPath(sample).with_suffix(".png"))


@contextlib.contextmanager
def open_store(
    source: Path | None, path: Path, *, attributes: Mapping[str, str], overwrite: bool, shard: Shard | None = None
) -> Iterator["StoreDestination"]:
    """Open a store to write, alone, or beside other shards; ``source`` is what is read for it, if anything.

    Raises:
        OutputError: it is the input or lies inside it, a file is in the way, or another process writes it.
    """
    if source is not None:
        check_apart(source, path)
    state = path.with_name(f"{path.name}.parts")
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; choose another name for the store")
    refusal = f"{path}: another process is writing it; wait for it, or choose another name"
    with locked_output(state, refusal, shard):
        try:
            yield StoreDestination(path, state / "parts", attributes=attributes, overwrite=overwrite)
        finally:
            if shard is None and not (state / "parts").exists():
                shutil.rmtree(state / SHARDS_FOLDER, ignore_errors=True)
                (state / "lock").unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # not empty: something of the user's
                    state.rmdir()


class StoreDestination:
    """A store of our own; see :class:`Destination`."""

    images_folder: Path | None = None

    def __init__(self, path: Path, chunks_folder: Path, *, attributes: Mapping[str, str], overwrite: bool) -> None:
        self.path, self.chunks_folder = path, chunks_folder
        self.attributes, self.overwrite = attributes, overwrite
        self.rejected_path = rejects_list(path)

    def finished(self, job: str) -> str | None:
        """The summary in the attributes of a store of the same job."""
        if self.overwrite or not self.path.exists():
            return None
        try:
            with h5py.File(self.path, "r") as file:
                if str(file.attrs.get("job")) == job:
                    summary = str(file.attrs["summary"])
                    shutil.rmtree(self.chunks_folder, ignore_errors=True)  # a run was killed while it removed them
                    return summary
        except (OSError, RuntimeError, KeyError):
            pass
        raise OutputError(
            f"{self.path}: is there already, made from other input or with other options; choose another name, or "
            "replace it with --overwrite"
        )

    def names(self, ids: Sequence[str]) -> Sequence[str]:
        """Ids stay as they are."""
        return ids

    def claim(self, names: Sequence[str]) -> None:
        """Make sure that a list of rejects that is there is one of ours; :meth:`finished` has looked at the store."""
        if self.overwrite or not self.rejected_path.exists():
            return
        header = ",".join(REJECTED_COLUMNS).encode() + b"\n"
        if not self.rejected_path.is_file() or not self.rejected_path.read_bytes().startswith(header):
            raise OutputError(
                f"{self.rejected_path}: is there already and was not written by refiner; choose another name for the "
                "store, or replace it with --overwrite"
            )

    def finish(self, parts: Chunks, job: str, summary: str) -> None:
        """Join the parts into one file, move it into place, and list the rejects beside it."""
        rejected = [(line.source, "read", line.reason) for line in parts.lines() if line.reason]
        if rejected:
            write_rejected(self.rejected_path, rejected)
        else:
            remove_file(self.rejected_path)
        kind = next((line.kind for line in parts.lines() if line.name), None)
        if kind is not None:  # last, for the store says that all is done
            with hdf5_errors(self.path):
                self._join(parts, ImageKind.parse(kind), {**self.attributes, "job": job, "summary": summary})
        parts.remove()

    def _join(self, parts: Chunks, kind: ImageKind, attributes: Mapping[str, str]) -> None:
        suffixes = Counter(PurePosixPath(line.source).suffix.lower() for line in parts.lines() if line.name)
        columns = find_columns(line.cells for line in parts.lines() if line.name)
        temporary = parts.folder / "store.h5"
        with new_file(temporary) as file:
            join_images(file, kind, suffixes.total(), parts.images())
            write_columns(file, ((line.name, line.cells) for line in parts.lines() if line.name), columns)
            write_attributes(file, attributes, suffixes)
        temporary.replace(self.path)
