"""Losses of a conversion: labels that a crop or a resize leaves nothing of, distorted images, lost colour profiles.

They are counted with each sample, so that a resumed job and a finished one report the same numbers.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from refiner.data.folders.left_out import EXAMPLES, LeftOut


class _Kind(NamedTuple):
    """A kind of loss.

    Attributes:
        one, many: what happened to one thing and to several, after their number and before their images.
        is_loss: see :class:`refiner.data.folders.left_out.LeftOut`. What a user asks to cut off is no loss.
    """

    one: str
    many: str
    is_loss: bool = False


_KINDS = {
    "objects": _Kind(
        "object is outside of the crop, and is left out of", "objects are outside of the crop, and are left out of"
    ),
    "keypoints": _Kind(
        "keypoint of an object that is left is outside of the crop, and has no position any more, in",
        "keypoints of objects that are left are outside of the crop, and have no position any more, in",
        is_loss=True,
    ),
    "masks": _Kind(
        "object has a mask without any pixel, as its image became smaller, in",
        "objects have masks without any pixel, as their images became smaller, in",
        is_loss=True,
    ),
    "squeezed": _Kind(
        "image was stretched or squeezed by --size; cut it to that shape first with --crop HxW",
        "images were stretched or squeezed by --size; cut them to that shape first with --crop HxW",
    ),
    "profiles": _Kind(
        "image lost its ICC colour profile, which grey images and stores do not keep",
        "images lost their ICC colour profiles, which grey images and stores do not keep",
    ),
}


class LossCounter:
    """Sums of what the samples of a conversion lost, with the first names of each kind."""

    def __init__(self) -> None:
        self._sums: Counter[str] = Counter()
        self._samples: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}

    def add(self, sample: str, losses: Mapping[str, int]) -> None:
        """Add what one sample lost, as numbers by the kind of loss."""
        for kind, count in losses.items():
            self._sums[kind] += count
            self._samples[kind] += 1
            examples = self._examples.setdefault(kind, [])
            if len(examples) < EXAMPLES:
                examples.append(sample)

    def reports(self) -> Iterator[LeftOut]:
        """Yield a report for each kind that occurred, in a fixed order."""
        for kind, (one, many, is_loss) in _KINDS.items():
            if count := self._sums[kind]:
                images, examples = self._samples[kind], tuple(self._examples[kind])
                named = ", ".join(examples) + (f" and {images - EXAMPLES:,} more" if images > EXAMPLES else "")
                is_about_images = kind in ("squeezed", "profiles")
                where = ":" if is_about_images else " 1 image:" if images == 1 else f" {images:,} images:"
                text = f"{count:,} {one if count == 1 else many}{where} {named}"
                yield LeftOut(f"lost: {kind}", count, examples, text, is_loss)
