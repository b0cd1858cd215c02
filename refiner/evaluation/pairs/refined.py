"""Pairs of renders and refined images: found by name, and checked for swapped arguments; missing ones are counted."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from refiner.core.errors import UsageError, WrongInputError
from refiner.data.folders.selection import EVERYTHING, Selection
from refiner.data.formats.registry import Dataset, open_dataset
from refiner.data.labels.objects import OBJECTS, ImageAnnotations
from refiner.evaluation.pairs.arguments import check_marks, nothing_in_common
from refiner.evaluation.pairs.labels import check_labels
from refiner.evaluation.pairs.missing import Missing, count_missing
from refiner.evaluation.pairs.same_labels import dropped_objects, lists_dropped
from refiner.evaluation.samples import Masks, Original, Sample, read_sample
from refiner.images.arrays import image_patch, to_float
from refiner.inference.refiner import Refiner
from refiner.models.files.lookup import is_refiner

COLOUR_BATCH = 2**22
"""Number of pixels that are refined at a time: 341 images of 96x128, 13 of 480x640."""


class Pairs(NamedTuple):
    """Renders and their refined images.

    Attributes:
        raw: the renders that have a refined image.
        images: their refined images, (N, C, H, W), in [-1, 1].
        missing: count of the other renders.
        originals: labels of the refined images, which differ from those of the renders if refining dropped objects.
        dropped: numbers of the objects of each render whose annotations refining dropped.
    """

    raw: Sample
    images: Tensor
    missing: Missing
    originals: list[Original]
    dropped: list[tuple[int, ...]]

    @property
    def dropped_share(self) -> float:
        """Share of the objects whose annotations refining dropped."""
        return sum(map(len, self.dropped)) / max(1, self._objects)

    def sentences(self) -> list[str]:
        """Return what is missing, in full sentences; none if nothing is."""
        found = self.missing.sentences()
        if count := sum(map(len, self.dropped)):
            found.append(
                f"The refined images lack the annotations of {count:,} of {self._objects:,} objects "
                f"({self.dropped_share:.1%}). Label drift is that of the others."
            )
        return found

    @property
    def _objects(self) -> int:
        annotations = [row.labels.get(OBJECTS) for row in self.raw.originals]
        return sum(len(each.objects) for each in annotations if isinstance(each, ImageAnnotations))


def refined_pairs(
    synthetic: Path,
    raw: Sample,
    refined: Path,
    real: Path,
    *,
    points: Sequence[str],
    max_score: float,
    device: str,
    masks: Masks = "left",
    selection: Selection = EVERYTHING,
) -> Pairs:
    """Return the renders that have a refined image, with these.

    Args:
        synthetic: data set of the renders.
        raw: the renders that were drawn from it.
        refined: data set of refined images, or a refiner.
        real: data set of the real images, to recognise swapped arguments.
        points: names of labels that hold points, see :func:`refiner.evaluation.samples.read_sample`.
        max_score: drift score above which the label of a rejected image counts as doubtful.
        device: device that the refiner runs on.
        masks: see :func:`refiner.evaluation.samples.read_sample`.
        selection: the files to use of each data set that is a folder.

    Raises:
        UsageError: the arguments are swapped, or two of them name the same images.
        WrongInputError: no render has a refined image, or the labels of a pair differ.
    """
    if synthetic.resolve() == real.resolve():
        raise UsageError(f"--synthetic and --real are both {synthetic}; name the renders and the real images")
    if is_refiner(refined):
        refiner = Refiner.load(refined, device=device)
        grey = refiner.channels == raw.images.shape[1] == 1 and raw.originals[0].size == raw.size
        images = refiner(raw.images) if grey else _refine_stored(synthetic, raw, refiner)
        return Pairs(raw, images, Missing(len(raw.ids)), raw.originals, [()] * len(raw.ids))
    if refined.resolve() == real.resolve():
        raise UsageError(f"--refined and --real are both {refined}; name the refined images and the real images")
    # Find the pairs by name, and read the refined images of those that were drawn.
    names, found = _selected(synthetic, selection).ids, set(_selected(refined, selection).ids)
    missing = count_missing(refined, names, found, max_score)
    check_marks(synthetic, refined, real)
    if not found.intersection(names):
        raise nothing_in_common(synthetic, names, refined, found, real)
    drawn = [name for name in raw.ids if name in found]
    if not drawn:
        raise WrongInputError(f"{refined} has none of the {len(raw.ids)} renders that were drawn; raise --most")
    channels = raw.images.shape[1]
    other = read_sample(
        refined,
        size=raw.size,
        most=0,
        seed=0,
        channels=channels,
        ids=drawn,
        points=points,
        selection=selection,
        masks=masks,
    )
    # Keep the pairs of which both images can be read.
    number_of = {name: number for number, name in enumerate(raw.ids)}
    kept = [number_of[name] for name in other.ids]
    pairs = replace(raw.only(kept), rejected=raw.rejected | other.rejected)
    check_labels(synthetic, refined, real, pairs, other)
    labels_of = dict(zip(other.ids, other.originals, strict=True))
    originals = [
        labels_of[sample] if OBJECTS in labels_of[sample].labels else render
        for sample, render in zip(pairs.ids, pairs.originals, strict=True)
    ]
    dropped = _dropped(refined, pairs.originals, other.originals)
    return Pairs(pairs, other.images, missing, originals, dropped)


def _dropped(refined: Path, before: Sequence[Original], after: Sequence[Original]) -> list[tuple[int, ...]]:
    """Return the numbers of the objects of each render whose annotations ``refine --drop-objects`` left out."""
    if not lists_dropped(refined):
        return [()] * len(before)
    found = []
    for row, other in zip(before, after, strict=True):
        objects, left = row.labels.get(OBJECTS), other.labels.get(OBJECTS)
        if isinstance(objects, ImageAnnotations) and isinstance(left, ImageAnnotations):
            found.append(dropped_objects(objects, left))
        else:
            found.append(())
    return found


def _selected(path: Path, selection: Selection) -> Dataset:
    return open_dataset(path, selection=selection if path.is_dir() else EVERYTHING)


def _refine_stored(synthetic: Path, raw: Sample, refiner: Refiner) -> Tensor:
    """Refine renders as ``refiner refine`` does, at their own size, and return them like ``raw``, (N, C, H, W)."""
    dataset, patches = open_dataset(synthetic, size=raw.size), []
    batch = max(1, COLOUR_BATCH // max(height * width for _, (height, width) in raw.originals))
    for start in range(0, len(raw.ids), batch):
        names = raw.ids[start : start + batch]
        refined = refiner([dataset.read_image(name) for name in names])
        patches += [
            image_patch(image, raw.size, channels=raw.images.shape[1], name=name)
            for image, name in zip(refined, names, strict=True)
        ]
    return to_float(torch.from_numpy(np.stack(patches)))
