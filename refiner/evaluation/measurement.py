"""A figure: a number with its interval, beside what the same measurement gives where all is well, and for mere renders.

floor: photographs against other photographs, or labels that nothing has moved. ceiling: renders as they are.
"""

from dataclasses import dataclass
from typing import Literal

from refiner.metrics.intervals import Interval

Family = Literal["realism", "labels", "utility"]


@dataclass(frozen=True)
class Metric:
    """One measurement.

    Attributes:
        key: by which a verdict finds it.
        name: what was measured, in a few words.
        family: which question it answers.
        unit: of all numbers; empty for a share or a plain number.
        value: of the refined images, with a 95 % interval.
        floor: the same code where all is as it should be; None where there is no such thing.
        ceiling: the same code on renders that nobody refined.
        gain: value of the renders minus that of the refined images, paired; positive is nearer to photographs.
    """

    key: str
    name: str
    family: Family
    unit: str
    value: Interval
    reference: Interval | None = None
    baseline: Interval | None = None
    gain: Interval | None = None

    @property
    def is_resolved(self) -> bool:
        """Whether the interval is narrower than the way from floor to ceiling, so that the value says something."""
        if self.reference is None or self.baseline is None:
            return True
        return self.value.high - self.value.low < abs(self.baseline.mean - self.reference.mean)

    def text(self, interval: Interval | None) -> str:
        """An interval in this figure's unit, for a table."""
        if interval is None:
            return ""
        return f"{interval} {self.unit}".strip()
