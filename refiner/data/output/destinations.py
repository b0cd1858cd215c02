"""Destinations of a conversion: a folder of images with ``labels.csv``, or a store."""

import contextlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Protocol

from refiner.core.errors import DataError, WrongOutputError
from refiner.core.files import check_apart, read_regular, remove_file
from refiner.core.parallel.shards import Shard
from refiner.data.folders.left_out import LeftOut
from refiner.data.labels.tables import (
    LABELS_FILE,
    REJECTED_COLUMNS,
    REJECTED_FILE,
    was_written,
    write_rejected,
)
from refiner.data.output.chunks import Chunks
from refiner.data.output.folder import SETTINGS_PREFIX, OutputFolder, locked_output, open_output
from refiner.data.output.label_files import LabelFiles
from refiner.data.output.manifest import SHARDS_FOLDER
from refiner.data.output.output_names import STATE_FOLDER, is_too_long, leads_out, state_folder
from refiner.data.store.columns import find_columns
from refiner.data.store.hdf5 import ImageKind, hdf5_errors, new_file, open_hdf5, text_attribute, write_attributes
from refiner.data.store.store_names import is_store_name
from refiner.data.store.writer import join_images, write_columns
from refiner.images.io import LOSSLESS_SUFFIXES, is_image_file

DONE_FILE = "done.json"
"""Name of the file in the state folder that holds the finished job and its summary."""

_COMMAND = "convert"  # the command that writes into such a folder


def rejects_list(path: Path) -> Path:
    """Return the path of the table of rejected inputs, for a folder or a store."""
    return path.with_suffix(f".{REJECTED_FILE}") if is_store_name(path) else path / REJECTED_FILE


class Destination(Protocol):
    """A folder or a store that a conversion writes to, locked against other processes.

    Attributes:
        chunks_folder: folder of the chunks.
        images_folder: folder for image files; None if the destination is a store.
        output: the output folder; None if the destination is a store.
        carried: names of further files in the output folder.
    """

    output: OutputFolder | None
    carried: Sequence[str]

    chunks_folder: Path
    images_folder: Path | None

    def finished(self, job: str) -> str | None:
        """Return the summary of this job if it is finished, otherwise None.

        Raises:
            OutputError: an output of another job exists and would be lost.
        """

    def names(self, ids: Sequence[str]) -> Sequence[str]:
        """Return the output names of some samples, in order."""

    def claim(self, names: Sequence[str]) -> None:
        """Reserve output names; files that the toolkit has not written are protected.

        Raises:
            OutputError: such a file exists under one of the names.
        """

    def write_labels(self, chunks: Chunks) -> Sequence[str]:
        """Write the label files of a folder; return their names. A store has none.

        Raises:
            DataError: the format of the labels cannot hold them.
            OutputError: a file cannot be written, or one of the user would be replaced.
        """

    def label_losses(self) -> Iterable[LeftOut]:
        """Return reports about labels that the format of :meth:`write_labels` could not hold as they are."""

    def finish(self, chunks: Chunks, job: str, summary: str) -> None:
        """Merge the chunks into the output and delete them.

        Raises:
            OutputError: an output cannot be written.
        """


@contextlib.contextmanager
def open_folder(
    source: Path, root: Path, labels: LabelFiles, *, grey: bool, overwrite: bool
) -> Iterator["FolderDestination"]:
    """Open a folder as the destination of a conversion; see :func:`refiner.data.output.folder.open_output`.

    Args:
        source: the folder or file that is read.
        root: the folder that is written.
        labels: writer of the labels.
        grey: True if all images are grey; ``.ppm`` files are then written as ``.png``.
        overwrite: replace existing files.

    Raises:
        OutputError: see :func:`refiner.data.output.folder.open_output`.
    """
    with open_output(source, root, job="", overwrite=overwrite) as output:
        yield FolderDestination(output, labels, grey=grey)


class FolderDestination:
    """A folder of lossless images with their labels; see :class:`Destination`."""

    def __init__(self, output: OutputFolder, labels: LabelFiles, *, grey: bool) -> None:
        self.folder, self.labels, self.grey = output, labels, grey
        self._label_files: Sequence[str] = ()
        self.output: OutputFolder | None = output
        self.carried: Sequence[str] = ()
        self.images_folder: Path | None = output.root
        self.chunks_folder = output.root / STATE_FOLDER / "parts"

    def finished(self, job: str) -> str | None:
        """Return the summary of the same job if all its files still exist."""
        self.folder.check_command(_COMMAND)
        summary = self._summary(job)
        # Another input replaces nothing unasked. The same one may have changed, or its options: it is converted again.
        if summary is None and self.folder.other_source is not None:
            raise self.folder.origin_error("this input or its options differ")
        return summary

    def _summary(self, job: str) -> str | None:
        done = self.folder.root / STATE_FOLDER / DONE_FILE
        # A job counts as finished only if none of its files was deleted since.
        try:
            state = json.loads(read_regular(done))
            if state["job"] != job or not self.folder.is_complete():
                return None
            summary = str(state["summary"])
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None
        self.folder.rejected_is_current = True
        shutil.rmtree(self.chunks_folder, ignore_errors=True)  # left if a run was killed while it deleted them
        return summary

    def names(self, ids: Sequence[str]) -> Sequence[str]:
        """Return lossless names: ``a.jpg`` becomes ``a.png``, or ``a.jpg.png`` if ``a.png`` is taken.

        The format of the labels may ask for further folders.
        """
        # Two images whose new names would be equal keep their old suffixes as well.
        plain = [_lossless_name(sample, grey=self.grey) for sample in ids]
        taken = Counter(plain)
        names = [name if taken[name] == 1 or name == sample else f"{sample}.png" for sample, name in zip(ids, plain)]
        names = names if len(set(names)) == len(ids) else [f"{sample}.png" for sample in ids]
        placed = [self.labels.image_name(name) for name in names]
        return placed if len(set(placed)) == len(ids) else [self.labels.image_name(f"{sample}.png") for sample in ids]

    def claim(self, names: Sequence[str]) -> None:
        """Claim every file; see :meth:`refiner.data.output.folder.OutputFolder.claim`."""
        self.folder.record_origin(_COMMAND)
        # Skip names that cannot be used; their samples are rejected later.
        self.folder.claim(*(name for name in chain([LABELS_FILE], names) if not (leads_out(name) or is_too_long(name))))
        # Remove the done file and the labels of an older conversion, which no longer describe this folder.
        remove_file(self.folder.root / STATE_FOLDER / DONE_FILE)
        self.folder.remove(*(name for name in self.folder.manifest.written if not is_image_file(Path(name))))

    def write_labels(self, chunks: Chunks) -> Sequence[str]:
        """Write the labels of all images that were converted."""
        self._label_files = self.labels.write(self.folder, chunks.lines)
        return self._label_files

    def label_losses(self) -> Iterable[LeftOut]:
        """Return reports about labels that the format could not hold as they are."""
        return self.labels.losses()

    def finish(self, chunks: Chunks, job: str, summary: str) -> None:
        """Collect the rejected samples, and delete files of older conversions."""
        # Delete outputs that this job did not write.
        self.folder.keep_only({*self.carried, *self._label_files, *(line.name for line in chunks.lines() if line.name)})
        for line in chunks.lines():
            if line.reason:
                self.folder.rejected.append((line.source, "read", line.reason))
        self.folder.write_state(DONE_FILE, json.dumps({"job": job, "summary": summary}))
        chunks.remove()


def _lossless_name(sample: str, *, grey: bool) -> str:
    if leads_out(sample):  # this sample is rejected later
        return sample
    suffix = PurePosixPath(sample).suffix.lower()
    kept = suffix in LOSSLESS_SUFFIXES and not (grey and suffix == ".ppm")  # a .ppm file is always in colour
    return sample if kept else str(PurePosixPath(sample).with_suffix(".png"))


@contextlib.contextmanager
def open_store(
    source: Path | None, path: Path, *, attributes: Mapping[str, str], overwrite: bool, shard: Shard | None = None
) -> Iterator["StoreDestination"]:
    """Open a store as the destination of a conversion.

    Args:
        source: the folder or file that is read; None if the images are generated.
        path: the store.
        attributes: texts that are written as attributes of the store.
        overwrite: replace an existing store.
        shard: the shard of the job that is done here, at the same time as others; None does the whole job.

    Raises:
        OutputError: the store is the input or inside it, ``path`` is a folder, or another process writes the store.
    """
    if source is not None:
        check_apart(source, path)
    state = state_folder(path)
    if path.is_dir():
        raise WrongOutputError(f"{path} is a folder; choose another name for the store")
    refusal = f"another process is writing {path}; wait until it ends, or choose another name"
    with locked_output(state, refusal, shard):
        try:
            yield StoreDestination(path, state / "parts", attributes=attributes, overwrite=overwrite)
        finally:
            if shard is None and not (state / "parts").exists():
                shutil.rmtree(state / SHARDS_FOLDER, ignore_errors=True)
                for settings in state.glob(f"{SETTINGS_PREFIX}*.json"):  # the finished store holds them as well
                    settings.unlink(missing_ok=True)
                (state / "lock").unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # not empty: the user keeps something there
                    state.rmdir()


class StoreDestination:
    """A store; see :class:`Destination`."""

    images_folder: Path | None = None
    output: OutputFolder | None = None
    carried: Sequence[str] = ()

    def __init__(self, path: Path, chunks_folder: Path, *, attributes: Mapping[str, str], overwrite: bool) -> None:
        self.path, self.chunks_folder = path, chunks_folder
        self.attributes, self.overwrite = attributes, overwrite
        self.rejected_path = rejects_list(path)

    def finished(self, job: str) -> str | None:
        """Return the summary from the attributes of a store of the same job."""
        if self.overwrite or not self.path.exists():
            return None
        try:
            with open_hdf5(self.path) as file:
                if str(file.attrs.get("job")) == job:
                    summary = str(file.attrs["summary"])
                    shutil.rmtree(self.chunks_folder, ignore_errors=True)  # left if a run was killed while deleting
                    return summary
        except DataError as error:
            reason = str(error).removeprefix(f"{self.path} ").partition("; ")[0]
            raise WrongOutputError(
                f"{self.path} already exists, but {reason}; choose another name, or pass --overwrite to replace it"
            ) from error
        except (OSError, RuntimeError, KeyError):
            pass
        raise WrongOutputError(
            f"{self.path} already exists and was made from other input or with other options; choose another name, or "
            "pass --overwrite to replace it"
        )

    def names(self, ids: Sequence[str]) -> Sequence[str]:
        """Return the ids unchanged."""
        return ids

    def claim(self, names: Sequence[str]) -> None:
        """Check that an existing table of rejected inputs was written by the toolkit.

        The store itself is checked by :meth:`finished`.

        Raises:
            OutputError: the table was written by something else.
        """
        ours = was_written(self.rejected_path, REJECTED_COLUMNS)
        if self.rejected_path.exists() and not ours and not self.overwrite:
            raise WrongOutputError(
                f"{self.rejected_path} already exists and was not written by refiner; choose another name for the "
                "store, or pass --overwrite to replace it"
            )

    def write_labels(self, chunks: Chunks) -> Sequence[str]:
        """Write nothing: labels are part of the store."""
        return ()

    def label_losses(self) -> Iterable[LeftOut]:
        """Return nothing: a store holds every label."""
        return ()

    def write_rejected(self, rejected: Sequence[tuple[str, str, str]]) -> None:
        """Write the table of rejected inputs, or remove that of an earlier run if there are none."""
        if rejected:
            write_rejected(self.rejected_path, rejected)
        elif was_written(self.rejected_path, REJECTED_COLUMNS):
            remove_file(self.rejected_path)

    def discard(self) -> None:
        """Remove a store that the toolkit wrote here, with ``overwrite``."""
        if self.overwrite and text_attribute(self.path, "job") is not None:
            remove_file(self.path)

    def place(self, write: Callable[[Path], None]) -> None:
        """Let a function write the store to a temporary path, and give the file its final name.

        Raises:
            OutputError: the store cannot be written.
        """
        # The temporary file is beside the store: a file cannot be renamed to another file system.
        temporary = self.chunks_folder / "store.h5"
        with hdf5_errors(self.path):
            temporary.parent.mkdir(parents=True, exist_ok=True)
            write(temporary)
            temporary.replace(self.path)

    def finish(self, chunks: Chunks, job: str, summary: str) -> None:
        """Write the table of rejected inputs, join the chunks into one file and move it into place."""
        self.write_rejected([(line.source, "read", line.reason) for line in chunks.lines() if line.reason])
        # Write the store last: its presence marks the whole job as finished.
        kind = next((line.kind for line in chunks.lines() if line.name), None)
        if kind is not None:
            attributes = {**self.attributes, "job": job, "summary": summary}
            self.place(lambda path: self._join(path, chunks, ImageKind.parse(kind), attributes))
        chunks.remove()

    def _join(self, path: Path, chunks: Chunks, kind: ImageKind, attributes: Mapping[str, str]) -> None:
        # Choose the columns that can hold all cells, then write the store.
        suffixes = Counter(PurePosixPath(line.source).suffix.lower() for line in chunks.lines() if line.name)
        columns = find_columns(line.cells for line in chunks.lines() if line.name)
        with new_file(path) as file:
            join_images(file, kind, suffixes.total(), chunks.images())
            write_columns(file, ((line.name, line.cells) for line in chunks.lines() if line.name), columns)
            write_attributes(file, attributes, suffixes)
