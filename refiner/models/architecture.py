"""What a refiner network is built from, and what follows from that alone, without building it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal

UNFOLDED = 8
"""Channels at full resolution behind a trunk at half resolution."""


@dataclass(frozen=True)
class RefinerArchitecture:
    """The settings of a :class:`refiner.models.refiner.RefinerNetwork`.

    With the defaults it is the paper's gaze refiner (296,129 parameters, receptive field 19). Two departures
    make it cheaper and safer: ``unshuffle=2`` folds 2x2 pixels into channels, so that the trunk runs at half
    resolution for a quarter of the work; ``output="residual"`` learns a bounded change of the input instead
    of the image itself, so that an untrained refiner is the identity and every grey level can be kept.

    Attributes:
        channels: channels of the images, 1 (grey, depth) or 3 (RGB).
        features: channels of the trunk.
        blocks: number of residual blocks.
        stem_kernel: side of the first convolution, odd.
        kernel: side of the convolutions in the blocks, odd.
        unshuffle: side of the pixel block folded into channels; 1 folds nothing.
        output: "tanh", as in the paper, or "residual": clip(x + max_change * tanh(f(x)), -1, 1).
        max_change: largest change of a pixel with "residual", in units of [-1, 1]; 2 is the whole range.
        smooth_change: weigh each pixel's change with its neighbours', 1 2 1 along rows and columns: a checkerboard, as
            folded pixels leave it, sums to nothing.
        keep_background: leave pixels at 1, the background of cut depth images, as they are.

    Raises:
        ValueError: a setting is of another kind, or ``output`` is neither.
    """

    channels: int = 1
    features: int = 64
    blocks: int = 4
    stem_kernel: int = 3
    kernel: int = 3
    unshuffle: int = 1
    output: Literal["tanh", "residual"] = "tanh"
    max_change: float = 2.0
    smooth_change: bool = False
    keep_background: bool = False

    def __post_init__(self) -> None:
        if self.output not in ("tanh", "residual"):
            raise ValueError(f"output is {self.output!r}, expected tanh or residual")
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, (int, float) if field.name == "max_change" else type(field.default)):
                raise ValueError(f"{field.name} is {value!r}, expected something like {field.default!r}")

    @property
    def reach(self) -> int:
        """Pixels on either side of one that its refined value follows from, rounded up to whole folded blocks."""
        trunk = self.stem_kernel // 2 + 2 * self.blocks * (self.kernel // 2)
        behind = (self.unshuffle > 1) + self.smooth_change  # a pixel each
        return self.unshuffle * (trunk + behind)

    @property
    def receptive_field(self) -> int:
        """Side of the square of pixels that a refined one can depend on: 19 of the paper's gaze refiner."""
        trunk = self.stem_kernel + 2 * self.blocks * (self.kernel - 1)
        if self.unshuffle == 1:
            return trunk + 2 * self.smooth_change
        behind = 3 + 2 * self.smooth_change  # pixels, which lie in so many folded blocks at most:
        return self.unshuffle * (trunk + (behind - 2) // self.unshuffle + 1)

    def shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Names and shapes of the weights, one after another."""
        folded = self.channels * self.unshuffle**2
        yield from _convolution("stem", folded, self.features, self.stem_kernel)
        for block in range(self.blocks):
            yield from _convolution(f"blocks.{block}.conv1", self.features, self.features, self.kernel)
            yield from _convolution(f"blocks.{block}.conv2", self.features, self.features, self.kernel)
        if self.unshuffle > 1:
            yield from _convolution("unfold", self.features, UNFOLDED * self.unshuffle**2, 1)
            yield from _convolution("head", UNFOLDED + self.channels, self.channels, 3)
        else:
            yield from _convolution("head", self.features, self.channels, 1)

    def multiplications(self, pixels: int) -> int:
        """Of images with so many pixels: each weight once at every place of the trunk."""
        weights = sum(math.prod(shape) for _, shape in self.shapes())
        return pixels * weights // self.unshuffle**2


def _convolution(name: str, inputs: int, outputs: int, kernel: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (outputs, inputs, kernel, kernel)
    yield f"{name}.bias", (outputs,)
