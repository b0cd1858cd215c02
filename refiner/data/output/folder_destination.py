"""Folder as the destination of a conversion: lossless images with their labels."""

import contextlib
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path, PurePosixPath

from refiner.core.files import read_regular, remove_file
from refiner.data.folders.left_out import LeftOut
from refiner.data.labels.tables import LABELS_FILE
from refiner.data.output.chunks import Chunks
from refiner.data.output.folder import OutputFolder, open_output
from refiner.data.output.label_files import LabelFiles
from refiner.data.output.output_names import STATE_FOLDER, is_too_long, leads_out
from refiner.images.io import LOSSLESS_SUFFIXES, is_image_file

DONE_FILE = "done.json"
"""Name of the file in the state folder that holds the finished job and its summary."""

_COMMAND = "convert"  # the command that writes into such a folder


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
