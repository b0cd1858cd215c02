"""Pairs of renders and refined images: found by name, and checked for swapped arguments; missing ones are counted."""

import csv
import re
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from refiner.core.errors import DataError, ImageError, UsageError, WrongInputError
from refiner.data.drift.table import DRIFT_FILE, DROPPED_FILE
from refiner.data.folders.selection import EVERYTHING, Selection
from refiner.data.formats.registry import Dataset, open_dataset
from refiner.data.labels.objects import OBJECTS, ImageAnnotations
from refiner.data.labels.records import Labels
from refiner.data.output.destination import rejects_list
from refiner.evaluation.same_labels import dropped_objects, same_label
from refiner.evaluation.samples import Masks, Original, Sample, read_sample
from refiner.images.arrays import image_patch, to_float
from refiner.inference.refiner import Refiner
from refiner.models.lookup import is_refiner

COLOUR_BATCH = 2**22
"""Number of pixels that are refined at a time: 341 images of 96x128, 13 of 480x640."""

_COMPARED = 20  # images whose labels are compared to tell which arguments are swapped


@dataclass(frozen=True)
class Missing:
    """Renders without a refined image.

    Attributes:
        renders: number of all renders of the data set.
        by_drift: number of those that ``--max-drift`` rejected, by ``rejected.csv``.
        doubtful: number of these whose drift score is above the limit of the verdict.
        otherwise: number of those that were rejected for another reason, by ``rejected.csv``.
        unexplained: names of the others.
        orphans: number of refined images without a render.
    """

    renders: int = 0
    by_drift: int = 0
    doubtful: int = 0
    otherwise: int = 0
    unexplained: tuple[str, ...] = ()
    orphans: int = 0

    def sentences(self) -> list[str]:
        """Return what is missing, in full sentences; none if nothing is."""
        found = []
        if missing := self.by_drift + self.otherwise + len(self.unexplained):
            causes = [f"--max-drift rejected {self.by_drift:,}"] if self.by_drift else []
            causes += [f"{self.otherwise:,} could not be refined"] if self.otherwise else []
            if self.unexplained:
                causes.append(f"no reason is known for {len(self.unexplained):,}, such as {self.unexplained[0]}")
            found.append(
                f"{missing:,} of {self.renders:,} renders ({missing / self.renders:.1%}) have no refined image: "
                f"{', '.join(causes)}. All metrics hold for the others."
            )
        if self.orphans:
            found.append(f"{self.orphans:,} refined images have no render of the same name and are left out.")
        return found


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
    missing = _missing(refined, names, found, max_score)
    _check_marks(synthetic, refined, real)
    if not found.intersection(names):
        raise _nothing_in_common(synthetic, names, refined, found, real)
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
    _check_labels(synthetic, refined, real, pairs, other)
    labels_of = dict(zip(other.ids, other.originals, strict=True))
    originals = [
        labels_of[sample] if OBJECTS in labels_of[sample].labels else render
        for sample, render in zip(pairs.ids, pairs.originals, strict=True)
    ]
    dropped = _dropped(refined, pairs.originals, other.originals)
    return Pairs(pairs, other.images, missing, originals, dropped)


def check_apart_from_real(synthetic: Path, raw: Sample, real: Path, real_sample: Sample) -> None:
    """Refuse renders and real images that are the same pixels.

    Raises:
        UsageError: at least half of the images of the smaller sample are in the other.
    """
    renders, photographs = ({image.numpy().tobytes() for image in some.images} for some in (raw, real_sample))
    if 2 * len(renders & photographs) >= min(len(renders), len(photographs)):
        raise UsageError(
            f"--synthetic {synthetic} and --real {real} hold the same images, pixel by pixel; name the renders and the "
            "real images"
        )


def suspicion(raw: Sample, real_sample: Sample) -> str | None:
    """Return a warning if the labels suggest that renders and real images are swapped."""
    labelled, others = (
        {name for row in some.labels for name, value in row.items() if _is_array(name, value)}
        for some in (raw, real_sample)
    )
    if labelled or not others:
        return None
    return (
        f"The real images have labels ({', '.join(sorted(others)[:3])}), and the renders have none: check that "
        "--synthetic and --real are not swapped."
    )


def _missing(refined: Path, names: Sequence[str], found: Set[str], max_score: float) -> Missing:
    """Count the renders without a refined image, by the reasons in ``rejected.csv``."""
    reasons: dict[str, tuple[str, str]] = {}
    table = rejects_list(refined)
    if table.is_file():
        try:
            with table.open(encoding="utf-8", newline="") as stream:
                reasons = {row["file"]: (row["stage"], row["reason"]) for row in csv.DictReader(stream)}
        except (OSError, KeyError, ValueError, csv.Error) as error:
            raise DataError(f"{table} cannot be read as a table of rejected images: {error}") from error
    absent = [name for name in names if name not in found]
    drifted = [reasons[name][1] for name in absent if reasons.get(name, ("", ""))[0] == "drift"]
    # A reason without a score counts as doubtful.
    scores = [re.search(r"drift score ([\d.]+\d)", reason) for reason in drifted]
    return Missing(
        renders=len(names),
        by_drift=len(drifted),
        doubtful=sum(score is None or float(score[1]) > max_score for score in scores),
        otherwise=sum(name in reasons for name in absent) - len(drifted),
        unexplained=tuple(name for name in absent if name not in reasons),
        orphans=len(found - set(names)),
    )


def _check_marks(synthetic: Path, refined: Path, real: Path) -> None:
    """Refuse renders or real images that refining wrote, beside "refined" images that it did not write."""
    if _is_refined(refined):
        return
    for option, path in (("--synthetic", synthetic), ("--real", real)):
        if _is_refined(path):
            raise UsageError(
                f"{option} {path} holds drift scores, which refiner refine writes with refined images, and --refined "
                f"{refined} holds none; {option} and --refined are swapped"
            )


def _is_refined(path: Path) -> bool:
    if path.is_dir():
        return (path / DRIFT_FILE).is_file()
    dataset = open_dataset(path)
    return "drift_score" in getattr(dataset, "label_names", ())


def _nothing_in_common(synthetic: Path, names: Sequence[str], refined: Path, found: Set[str], real: Path) -> UsageError:
    known = set(open_dataset(real).ids)
    if found & known:
        return UsageError(
            f"--refined {refined} has the image names of --real {real}, and none of --synthetic {synthetic}; "
            "--synthetic and --real are swapped"
        )
    if known.intersection(names):
        return UsageError(
            f"--real {real} has the image names of --synthetic {synthetic}, and --refined {refined} has none of them; "
            "--refined and --real are swapped"
        )
    return WrongInputError(
        f"{refined} has no image under the name of a render, such as {names[0]}; it must hold the refined images under "
        "the names of the renders, as refiner refine writes them"
    )


def _check_labels(synthetic: Path, refined: Path, real: Path, renders: Sample, others: Sample) -> None:
    """Refuse pairs whose labels differ: the images are no pairs, or the labels were changed."""
    ids, before, after = others.ids, _comparable(renders, others), others.labels
    if type(open_dataset(synthetic)) is not type(open_dataset(refined)):
        return  # a scene is cut to a patch in one of them, so that points differ
    # Refined images may have no labels at all; but if some have a label, the others must not have lost it.
    known = {name for row in after for name in row}
    drops = _drops(refined)
    differing = [
        (sample, name)
        for sample, row, other in zip(ids, before, after, strict=True)
        if (name := _difference(row, other, drops=drops) or _lost(row, other, known)) is not None
    ]
    if not differing:
        return
    # Tell by the labels of the real images which arguments are swapped.
    dataset = open_dataset(real)
    for option, rows in (("--refined", before), ("--synthetic", after)):
        if _shares_labels(dataset, ids, rows):
            raise UsageError(f"the labels of {real} show that {option} and --real are swapped; exchange them")
    sample, name = differing[0]
    raise WrongInputError(
        f"{refined}: the label {name} of {sample} is not that of the render in {synthetic}, and so for "
        f"{len(differing):,} of {len(ids):,} images; name the refined images of these renders, or refine them again"
    )


def _dropped(refined: Path, before: Sequence[Original], after: Sequence[Original]) -> list[tuple[int, ...]]:
    """Return the numbers of the objects of each render whose annotations ``refine --drop-objects`` left out."""
    if not _drops(refined):
        return [()] * len(before)
    found = []
    for row, other in zip(before, after, strict=True):
        objects, left = row.labels.get(OBJECTS), other.labels.get(OBJECTS)
        if isinstance(objects, ImageAnnotations) and isinstance(left, ImageAnnotations):
            found.append(dropped_objects(objects, left))
        else:
            found.append(())
    return found


def _drops(refined: Path) -> bool:
    """Return whether ``refine --drop-objects`` wrote a folder of refined images."""
    return refined.is_dir() and (refined / DROPPED_FILE).is_file()


def _selected(path: Path, selection: Selection) -> Dataset:
    return open_dataset(path, selection=selection if path.is_dir() else EVERYTHING)


def _shares_labels(dataset: Dataset, ids: Sequence[str], rows: Sequence[Labels]) -> bool:
    """Return whether the first images of these names have the same labels in a data set."""
    known, compared = set(dataset.ids), 0
    for sample, row in list(zip(ids, rows, strict=True))[:_COMPARED]:
        if sample not in known:
            return False
        try:
            other = dataset.read(sample).labels
        except ImageError:
            continue
        if _difference(row, other) is not None:
            return False
        compared += any(_is_array(name, value) and name in other for name, value in row.items())
    return compared > 0


def _comparable(renders: Sample, others: Sample) -> list[Labels]:
    """Return the labels of the renders, without objects in pixels of images of another size than the refined ones."""
    sizes = zip(renders.originals, others.originals, strict=True)
    return [
        row if original.size == other.size else {name: value for name, value in row.items() if name != OBJECTS}
        for row, (original, other) in zip(renders.labels, sizes, strict=True)
    ]


def _lost(row: Labels, other: Labels, known: Set[str]) -> str | None:
    """Return the name of the first label of a row that the other lacks, among those that other images have."""
    return next((name for name in row if name in known and name not in other), None)


def _difference(row: Labels, other: Labels, *, drops: bool = False) -> str | None:
    """Return the name of the first label that both rows have with other values; None if there is none.

    Args:
        row: labels of a render.
        other: labels of its refined image.
        drops: True if objects may be missing from the refined image.
    """
    for name, value in row.items():
        if name in other and not name.startswith("drift_") and not same_label(name, value, other[name], drops=drops):
            return name
    return None


def _is_array(name: str, value: object) -> bool:
    return not name.startswith("drift_") and isinstance(value, np.ndarray) and value.dtype.kind in "fiu"


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
