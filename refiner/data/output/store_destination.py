"""Store as the destination of a conversion: one file of all images and labels."""

import contextlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from refiner.core.errors import DataError, WrongOutputError
from refiner.core.files import check_apart, remove_file
from refiner.core.parallel.shards import Shard
from refiner.data.folders.left_out import LeftOut
from refiner.data.labels.tables import (
    REJECTED_COLUMNS,
    was_written,
    write_rejected,
)
from refiner.data.output.chunks import Chunks
from refiner.data.output.destination import rejects_list
from refiner.data.output.folder import SETTINGS_PREFIX, OutputFolder, locked_output
from refiner.data.output.manifest import SHARDS_FOLDER
from refiner.data.output.output_names import state_folder
from refiner.data.store.columns import find_columns
from refiner.data.store.hdf5 import ImageKind, hdf5_errors, new_file, open_hdf5, text_attribute, write_attributes
from refiner.data.store.writer import join_images, write_columns


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
