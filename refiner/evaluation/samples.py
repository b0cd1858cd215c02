"""Samples of data sets in memory: as many images as a figure needs, their labels, and who or when each shows."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from refiner.core.errors import DataError, ImageError
from refiner.core.rng import numpy_generator
from refiner.data.formats.registry import open_dataset
from refiner.data.labels.records import Labels
from refiner.images.arrays import eye_patch, to_float

log = logging.getLogger(__name__)

Numbers = np.ndarray[Any, np.dtype[np.int64]]

GROUPS = ("subject", "day")
"""Labels whose values are kept together, the first that images have."""


@dataclass(frozen=True)
class Sample:
    """Some images of a data set.

    Attributes:
        images: (N, 1, H, W), float32, in [-1, 1].
        ids: of the images.
        labels: of each image.
        rejected: reason of each image that could not be used, by id.
    """

    images: Tensor
    ids: list[str]
    labels: list[Labels]
    rejected: dict[str, str]

    def groups(self, name: str | None = None) -> list[str] | None:
        """Person or day of each image, or another label; None where there are none, or one alone."""
        for column in GROUPS if name is None else (name,):
            values = [str(row.get(column, "")) for row in self.labels]
            if all(values) and len(set(values)) > 1:
                return values
        return None


def read_sample(
    path: Path, *, size: tuple[int, int] | None, most: int, seed: int, ids: Sequence[str] | None = None
) -> Sample:
    """Draw images of a data set and read them as grey.

    Args:
        path: its folder or file.
        size: (height, width) they are brought to; None takes that of the first.
        most: images that are drawn, if there are so many.
        seed: of the draw.
        ids: these images instead of a draw, in this order.

    Raises:
        DataError: nothing can be read, or one of ``ids`` is missing.
    """
    dataset = open_dataset(path, size=size)
    known = dataset.ids
    if ids is None:
        drawn = numpy_generator(seed, "sample").permutation(len(known))[:most]
        chosen = [known[number] for number in sorted(drawn.tolist())]
    else:
        chosen = list(ids)
        if missing := set(chosen) - set(known):
            raise DataError(
                f"{path}: holds no {min(missing)}, nor {len(missing) - 1} others; expected an image for each render, "
                "of the same name, as refiner refine writes them"
            )
    if size is None:
        first = dataset.read_image(chosen[0])
        size = (first.shape[0], first.shape[1])
    wanted = size

    def read(sample: str) -> tuple[Any, Labels] | ImageError:
        try:
            record = dataset.read(sample)
            return eye_patch(record.image, wanted, equalize=False, name=sample), record.labels
        except ImageError as error:
            return error

    with ThreadPoolExecutor() as pool:
        found = dict(zip(chosen, pool.map(read, chosen), strict=True))
    well = {sample: outcome for sample, outcome in found.items() if not isinstance(outcome, ImageError)}
    rejected = {sample: outcome.reason for sample, outcome in found.items() if isinstance(outcome, ImageError)}
    for sample, reason in list(rejected.items())[:5]:
        log.warning("%s: left out %s: %s", path, sample, reason)
    if not well:
        raise DataError(f"{path}: none of {len(chosen)} images can be read; the first {next(iter(rejected.values()))}")
    images = to_float(torch.from_numpy(np.stack([image for image, _ in well.values()])))
    return Sample(images, list(well), [labels for _, labels in well.values()], rejected)
