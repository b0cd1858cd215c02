"""From any data set to a folder of patches with their labels."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from refiner.errors import DataError, ImageError
from refiner.formats import open_dataset
from refiner.image_files import write_image
from refiner.images import equalize, resize, to_grey
from refiner.outputs import open_output
from refiner.records import LABELS_FILE, Labels, Record, write_labels


class Conversion(NamedTuple):
    """What is done to each image.

    Attributes:
        size: (height, width) of the result; None keeps each image's own.
        grey: take the luma of colour.
        equalized: equalise the histogram of the luma, after resizing.
    """

    size: tuple[int, int] | None = None
    grey: bool = False
    equalized: bool = False

    def apply(self, record: Record) -> Record:
        """The record with its image converted and its pixel labels moved along.

        Raises:
            ImageError: a 16-bit image cannot be equalised.
        """
        image = to_grey(record.image) if self.grey else record.image
        labels = dict(record.labels)
        if self.size and image.shape[:2] != self.size:
            scale = np.array(self.size[::-1]) / np.array(image.shape[1::-1])
            for name in ("pupil", "iris_outline", "lid_outline", "caruncle"):
                if name in labels:
                    labels[name] = (labels[name] + 0.5) * scale - 0.5
            image = resize(image, self.size)
        if self.equalized:
            if image.dtype != np.uint8:
                raise ImageError(record.id, "has 16 bits; only 8-bit images are equalised")
            image = equalize(image)
        return Record(record.id, image, labels)


def convert(
    source: Path,
    destination: Path,
    conversion: Conversion,
    *,
    format: str | None = None,
    limit: int | None = None,
    overwrite: bool = False,
    stop_on_error: bool = False,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[int, int]:
    """Convert a data set into a folder of PNG files with ``labels.csv``.

    Args:
        source: the data set.
        destination: the folder to write.
        conversion: what is done to each image.
        format: name of the layout; None looks at what is there.
        limit: convert only so many images, spread over the data set.
        overwrite: replace files that are there.
        stop_on_error: raise at the first image that cannot be used.
        report: told how many of how many are done.

    Returns:
        Images written and images rejected.

    Raises:
        RefinerError: the source or the destination cannot be used.
    """
    dataset = open_dataset(source, format=format, size=conversion.size)
    ids = dataset.ids
    if limit is not None and limit < len(ids):
        ids = [ids[i * len(ids) // limit] for i in range(limit)]
    names = _png_names(ids)
    labels: dict[str, Labels] = {}
    with open_output(source, destination, job=repr(conversion), overwrite=overwrite) as output:
        output.claim(LABELS_FILE)

        def one(sample: str) -> Labels | ImageError:
            try:
                output.claim(names[sample])
                record = conversion.apply(dataset.read(sample))
                write_image(destination / names[sample], record.image)
            except ImageError as error:
                return error
            return record.labels

        with ThreadPoolExecutor() as pool:
            for done, (sample, outcome) in enumerate(zip(ids, pool.map(one, ids), strict=True), 1):
                if isinstance(outcome, ImageError):
                    if stop_on_error:
                        raise outcome
                    output.reject(sample, "read", outcome.reason)
                else:
                    labels[names[sample]] = outcome
                    output.finish(names[sample], (0, 0))
                report(done, len(ids))
        if not labels:
            raise DataError(f"{source}: none of {len(ids)} images could be converted; see rejected.csv")
        if any(labels.values()):
            write_labels(destination / LABELS_FILE, labels)
            output.finish(LABELS_FILE, (0, 0))
        return len(labels), len(output.rejected)


def _png_names(ids: Sequence[str]) -> dict[str, str]:
    """``a.jpg`` becomes ``a.png``, or ``a.jpg.png`` where another sample has that name."""
    plain = {sample: str(PurePosixPath(sample).with_suffix(".png")) for sample in ids}
    taken = Counter(plain.values())
    names = {sample: name if taken[name] == 1 else f"{sample}.png" for sample, name in plain.items()}
    if len(set(names.values())) < len(ids):  # a.jpg, a.png and a.jpg.png
        return {sample: f"{sample}.png" for sample in ids}
    return names
