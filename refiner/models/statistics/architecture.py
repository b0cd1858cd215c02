"""Settings of the refiners that hold statistics of real images, and the properties that follow from them.

These refiners have a network's interface, but read a whole image at once: they have no reach, and no tiles.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

Pair = tuple[float, float]

BANDS = 2
"""Number of bands of details whose sharpness and noise are held."""

PROPERTIES = 2
"""Values of each band, see :func:`refiner.models.statistics.camera.camera_properties`."""


@dataclass(frozen=True)
class StatisticsArchitecture(ABC):
    """Settings that both kinds share.

    Attributes:
        channels: number of image channels, 1 (grey, depth) or 3 (RGB).
        examples: number of real images whose statistics the refiner holds.
        camera: also hold sharpness and noise of the real images, and give them to renders.

    Raises:
        ValueError: a setting has the wrong type, or a value outside its range.
    """

    channels: int = 1
    examples: int = 1
    camera: bool = field(default=False, kw_only=True)

    kind: ClassVar[str]
    """Name of the architecture in a refiner file, and of the method that fits it."""
    statistic: ClassVar[str]
    """What the refiner holds of each real image, in the plural."""
    reach: ClassVar[None] = None
    """Every pixel influences every other one."""
    receptive_field: ClassVar[None] = None
    """The whole image, whatever its size."""
    unshuffle: ClassVar[int] = 1
    """No pixels are folded into channels."""
    is_random: ClassVar[bool] = True
    """A draw selects the real image and the strength, see :mod:`refiner.models.draws`."""

    def __post_init__(self) -> None:
        _check_integers(channels=self.channels, examples=self.examples)
        if type(self.camera) is not bool:
            raise ValueError(f"camera is {self.camera!r}; expected true or false")

    @property
    def summary(self) -> str:
        """Describe the refiner in a few words."""
        statistics = f"{self.statistic}, sharpness and noise" if self.camera else self.statistic
        return f"{statistics} of {self.examples:,} real images"

    def shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield the name and the shape of each array."""
        if self.camera:
            yield "camera", (self.examples, self.channels, BANDS, PROPERTIES)

    @abstractmethod
    def multiplications(self, pixels: int) -> int:
        """Estimate the multiplications for a number of image pixels."""


@dataclass(frozen=True)
class FourierArchitecture(StatisticsArchitecture):
    """Settings of a :class:`refiner.models.statistics.fourier.FourierRefiner`.

    Attributes:
        size: (height, width) of the real images whose amplitudes were taken.
        beta: smallest and largest half width of the replaced window, as a share of the smaller side of ``size``.
    """

    size: tuple[int, int] = (36, 60)
    beta: Pair = (0.03, 0.1)

    kind: ClassVar[str] = "fourier"
    statistic: ClassVar[str] = "low-frequency amplitudes"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "size", _pair("size", self.size))
        object.__setattr__(self, "beta", _range("beta", self.beta, highest=0.5))
        _check_integers(height=self.size[0], width=self.size[1])

    def border(self, beta: float) -> int:
        """Return the half width of the window for a beta, in cycles per image."""
        return math.floor(min(self.size) * beta)

    @property
    def bins(self) -> int:
        """Highest frequency whose amplitude is held, in cycles per image along each axis."""
        return self.border(self.beta[1])

    def shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield the name and the shape of each array."""
        yield from super().shapes()
        yield "amplitudes", (self.examples, self.channels, 2 * self.bins + 1, self.bins + 1)

    def multiplications(self, pixels: int) -> int:
        """Estimate the multiplications for a number of image pixels: two products with the waves of the window."""
        return pixels * self.channels * 4 * (self.bins + 1)


@dataclass(frozen=True)
class HistogramArchitecture(StatisticsArchitecture):
    """Settings of a :class:`refiner.models.statistics.histogram.HistogramRefiner`.

    Attributes:
        levels: largest number of points of each cumulative distribution.
        blend: smallest and largest weight of the matched image; the rest is the render.
    """

    levels: int = 256
    blend: Pair = (1.0, 1.0)

    kind: ClassVar[str] = "histogram"
    statistic: ClassVar[str] = "cumulative distributions"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_integers(levels=self.levels)
        object.__setattr__(self, "blend", _range("blend", self.blend, highest=1))

    def shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield the name and the shape of each array."""
        yield from super().shapes()
        for name in ("values", "probabilities"):
            yield name, (self.examples, self.channels, self.levels)

    def multiplications(self, pixels: int) -> int:
        """Estimate the multiplications for a number of image pixels; sorting them takes about as long."""
        return pixels * self.channels * 64


def _check_integers(**settings: int) -> None:
    for name, value in settings.items():
        if type(value) is not int or value < 1:
            raise ValueError(f"{name} is {value!r}; expected an integer of 1 or more")


def _pair(name: str, value: object) -> tuple[int, int]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError(f"{name} is {value!r}; expected two values")
    return value[0], value[1]


def _range(name: str, value: object, *, highest: float) -> Pair:
    pair = _pair(name, value)
    if not all(type(number) in (int, float) for number in pair) or not 0 <= pair[0] <= pair[1] <= highest:
        raise ValueError(f"{name} is {value!r}; expected two numbers in increasing order, from 0 to {highest:g}")
    return float(pair[0]), float(pair[1])
