"""Random samples of data sets in memory: images, their labels, and the person or day of each image."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from refiner.core.errors import DataError, ImageError, UsageError
from refiner.core.rng import numpy_generator
from refiner.data.folders.selection import EVERYTHING, Selection
from refiner.data.formats.registry import open_dataset, warn_of_left_out
from refiner.data.labels.coordinates import Change, Declared
from refiner.data.labels.geometry import resize_labels
from refiner.data.labels.records import Labels, Record
from refiner.images.arrays import eye_patch, to_float
from refiner.metrics.clusters import CLUSTER_COLUMNS, Clusters, find_clusters

log = logging.getLogger(__name__)

Numbers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Sample:
    """Images of a data set, with their labels.

    Attributes:
        images: (N, 1, H, W), float32, in [-1, 1].
        ids: ids of the N images.
        labels: labels of the N images.
        rejected: reason for each image that could not be used, by id.
    """

    images: Tensor
    ids: list[str]
    labels: list[Labels]
    rejected: dict[str, str]

    def clusters(self, column: str | None = None) -> Clusters:
        """Return the people or days that the images belong to, or the values of another label column.

        Raises:
            UsageError: no image has the label ``column``.
        """
        columns = {}
        for name in (*CLUSTER_COLUMNS, *([column] if column else [])):
            values = [str(row.get(name, "")) for row in self.labels]
            if any(values):
                columns[name] = values
        if column and column not in columns:
            known = ", ".join(sorted({name for row in self.labels for name in row})) or "none"
            raise UsageError(f"no image has the label {column} to group the images by; their labels are {known}")
        return find_clusters(columns, len(self.ids), column)


def _resized(record: Record, size: tuple[int, int], points: Sequence[str]) -> Labels:
    """Return the labelled points of a record after a resize of its image to (height, width)."""
    before = (record.image.shape[0], record.image.shape[1])
    labels = {name: record.labels[name] for name in points if name in record.labels}
    return resize_labels(labels, Change(before, (0, 0), before, size), Declared(points=tuple(points)))


def read_sample(
    path: Path,
    *,
    size: tuple[int, int] | None,
    most: int,
    seed: int,
    ids: Sequence[str] | None = None,
    points: Sequence[str] = (),
    selection: Selection = EVERYTHING,
) -> Sample:
    """Draw random images of a data set and read them in grey.

    Args:
        path: folder or file of the data set.
        size: (height, width) to resize to; None takes the size of the first image.
        most: largest number of images to draw.
        seed: seed of the draw.
        ids: ids to read in this order, instead of a draw.
        points: names of labels that hold points, which move with an image that is resized.
        selection: the files to use, if the data set is a folder.

    Returns:
        The readable images, with the reasons for the others.

    Raises:
        DataError: no image can be read, or one of ``ids`` is missing.
    """
    # Choose the images.
    dataset = open_dataset(path, size=size, selection=selection if path.is_dir() else EVERYTHING)
    if ids is None:  # else they are those of another data set, of which this was said
        warn_of_left_out(dataset)
    known = dataset.ids
    if ids is None:
        drawn = numpy_generator(seed, "sample").permutation(len(known))[:most]
        chosen = [known[number] for number in sorted(drawn.tolist())]
    else:
        chosen = list(ids)
        if missing := set(chosen) - set(known):
            others = len(missing) - 1
            more = f", and {others} other image{'s are' if others > 1 else ' is'} missing" if others else ""
            raise DataError(
                f"{path} has no {min(missing)}{more}; it must hold one refined image for each render, under the same "
                "name, as refiner refine writes them"
            )
    if size is None:
        first = dataset.read_image(chosen[0])
        size = (first.shape[0], first.shape[1])
    common_size = size

    def read(sample: str) -> tuple[Any, Labels] | ImageError:
        try:
            record = dataset.read(sample)
            image = eye_patch(record.image, common_size, equalize=False, name=sample)
            return image, record.labels | _resized(record, common_size, points)
        except ImageError as error:
            return error

    # Read them in parallel, and separate readable images from rejected ones.
    with ThreadPoolExecutor() as pool:
        outcomes = dict(zip(chosen, pool.map(read, chosen), strict=True))
    readable = {sample: outcome for sample, outcome in outcomes.items() if not isinstance(outcome, ImageError)}
    rejected = {sample: outcome.reason for sample, outcome in outcomes.items() if isinstance(outcome, ImageError)}
    for sample, reason in list(rejected.items())[:5]:
        log.warning("%s: %s is left out: %s", path, sample, reason)
    if not readable:
        sample, reason = next(iter(rejected.items()))
        raise DataError(f"{path}: none of the {len(chosen)} images can be read; the first, {sample}, {reason}")
    images = to_float(torch.from_numpy(np.stack([image for image, _ in readable.values()])))
    return Sample(images, list(readable), [labels for _, labels in readable.values()], rejected)
