"""What became of the samples of a conversion, in numbers."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from refiner.core.errors import DataError
from refiner.data.labels.records import PAIRS
from refiner.data.output.chunks import Line


@dataclass
class Summary:
    """What a conversion did.

    Attributes:
        written, rejected: numbers of samples.
        kinds: numbers of images by size, channels and depth.
        ranges: least and greatest value of gaze, head pose and pupil, by column.
        reasons: numbers of rejects by reason, most frequent first.
        finished_before: whether an earlier run of the same command had done it all.
    """

    written: int = 0
    rejected: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    finished_before: bool = False


class Tally:
    """Counts what became of the samples."""

    def __init__(self, *, one_kind: bool, root: Path) -> None:
        self.one_kind, self.root = one_kind, root
        self.kinds: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.ranges: dict[str, tuple[float, float]] = {}

    def count_kinds(self, kinds: Counter[str]) -> None:
        """Count images.

        Raises:
            DataError: a store would have to hold several kinds.
        """
        self.kinds += kinds
        if self.one_kind and len(self.kinds) > 1:
            found = "; ".join(f"{count} of {kind}" for kind, count in self.kinds.most_common(5))
            raise DataError(
                f"{self.root}: a store holds images of one size and depth, these have several ({found} so far); bring "
                "them to one with --size HxW or --grey, or convert into a folder"
            )

    def add(self, line: Line) -> None:
        """Count one sample."""
        if line.reason:
            self.reasons[line.reason] += 1
            return
        self.kinds[line.kind] += 1
        for column in (column for columns in PAIRS.values() for column in columns if column in line.cells):
            value = float(line.cells[column])
            least, greatest = self.ranges.get(column, (value, value))
            self.ranges[column] = min(least, value), max(greatest, value)

    def summary(self) -> Summary:
        """The counts so far."""
        return Summary(
            self.kinds.total(),
            self.reasons.total(),
            dict(self.kinds.most_common()),
            self.ranges,
            dict(self.reasons.most_common(20)),
        )
