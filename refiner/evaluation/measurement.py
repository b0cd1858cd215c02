"""One metric of the evaluation: its value for refined images, a reference, and the unrefined baseline.

The reference is the same measurement between real images and other real images, or on labels that nothing moved.
The baseline is the same measurement on the renders before refining.
"""

from dataclasses import dataclass
from typing import Literal

from refiner.metrics.intervals import Interval

Family = Literal["realism", "labels", "utility"]


@dataclass(frozen=True)
class Metric:
    """One measurement with 95 % intervals.

    Attributes:
        key: short name that the verdict looks up.
        name: description in a few words, for tables.
        family: the question that the metric answers.
        unit: unit of all numbers; empty for a share or a plain number.
        value: result for the refined images.
        reference: result for real images against other real images, or for labels that nothing moved; None if the
            metric has no such reference.
        baseline: result for the unrefined renders; None if the metric has no such baseline.
        gain: baseline minus value, or value minus baseline if the metric rises, paired; positive means that refining
            helped.
        ideal: value if refined and real images had one distribution; takes the place of a missing reference.
        rises: True if a higher value is better.
    """

    key: str
    name: str
    family: Family
    unit: str
    value: Interval
    reference: Interval | None = None
    baseline: Interval | None = None
    gain: Interval | None = None
    ideal: float | None = None
    rises: bool = False

    @property
    def gap_closed(self) -> float | None:
        """Share of the gap between renders and real images that refining closed; 1 is the reference, 0 the baseline.

        None if the metric has no gap, or if the renders are as near to real images as other real images are.
        """
        target = self.ideal if self.reference is None else self.reference.mean
        if self.baseline is None or target is None or self.baseline.mean <= target:
            return None
        return (self.baseline.mean - self.value.mean) / (self.baseline.mean - target)

    @property
    def is_resolved(self) -> bool:
        """True if the interval of the value is narrower than the distance from reference to baseline."""
        if self.reference is None or self.baseline is None:
            return True
        return self.value.high - self.value.low < abs(self.baseline.mean - self.reference.mean)

    def text(self, interval: Interval | None) -> str:
        """Return an interval with this metric's unit, for a table; empty for None."""
        if interval is None:
            return ""
        return f"{interval} {self.unit}".strip()
