"""Summary of a conversion: numbers of written and rejected samples, kinds of images, ranges of labels."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from refiner.core.errors import WrongInputError
from refiner.data.folders.left_out import LeftOut
from refiner.data.labels.records import PAIRS
from refiner.data.lost_labels import LossCounter
from refiner.data.output.chunks import Line


@dataclass
class ConversionSummary:
    """Result of a conversion.

    Attributes:
        written, rejected: numbers of samples.
        kinds: number of images by kind, such as ``36x60 grey 8 bits``; most frequent first.
        ranges: smallest and largest value of gaze and head pose (radians) and pupil (pixels), by column.
        reasons: number of rejected samples by reason, most frequent first, at most 20 reasons.
        carried: number of label images and other files beside the images that went along.
        label_format: format of the labels in a folder, such as ``coco``; ``folder`` is ``labels.csv``.
        label_files: names of the first label files in a folder.
        left_out: reports about rows without image, labels that were lost, files that did not go along, and others.
        finished_before: True if an earlier run of the same command had finished the conversion.
    """

    written: int = 0
    rejected: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    carried: int = 0
    label_format: str = ""
    label_files: list[str] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    finished_before: bool = False

    def __post_init__(self) -> None:
        """Restore the reports of a summary that was read from JSON."""
        self.left_out = [LeftOut(**report) if isinstance(report, dict) else report for report in self.left_out]


class SampleCounter:
    """Counter of written and rejected samples, from which the summary is made.

    Args:
        one_kind: True if the destination is a store, which holds images of one kind.
        root: the data set, for messages.
    """

    def __init__(self, *, one_kind: bool, root: Path) -> None:
        self.one_kind, self.root = one_kind, root
        self.kinds: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.ranges: dict[str, tuple[float, float]] = {}
        self.losses = LossCounter()

    def count_kinds(self, kinds: Counter[str]) -> None:
        """Add numbers of images by kind.

        Raises:
            DataError: the destination is a store and there are several kinds.
        """
        self.kinds += kinds
        if self.one_kind and len(self.kinds) > 1:
            found = "; ".join(f"{count} of {kind}" for kind, count in self.kinds.most_common(5))
            raise WrongInputError(
                f"{self.root} has images of several sizes or depths ({found} so far), but a store holds only one kind; "
                "make them equal with --size HxW or --grey, or convert into a folder"
            )

    def add(self, line: Line) -> None:
        """Add one sample, written or rejected."""
        if line.reason:
            self.reasons[line.reason] += 1
            return
        self.kinds[line.kind] += 1
        self.losses.add(line.source, line.losses)
        for column in (column for columns in PAIRS.values() for column in columns if column in line.cells):
            value = float(line.cells[column])
            least, greatest = self.ranges.get(column, (value, value))
            self.ranges[column] = min(least, value), max(greatest, value)

    def summary(self) -> ConversionSummary:
        """Return the numbers so far."""
        return ConversionSummary(
            self.kinds.total(),
            self.reasons.total(),
            dict(self.kinds.most_common()),
            self.ranges,
            dict(self.reasons.most_common(20)),
            left_out=[*self.losses.reports()],
        )
