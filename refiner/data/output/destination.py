"""Destinations of a conversion: a folder of images with ``labels.csv``, or a store."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from refiner.data.folders.left_out import LeftOut
from refiner.data.labels.tables import REJECTED_FILE
from refiner.data.output.chunks import Chunks
from refiner.data.output.folder import OutputFolder
from refiner.data.store.store_names import is_store_name


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
