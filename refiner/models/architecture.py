"""Settings of a refiner network, and the properties that follow from them without building the network.

Refiners without a network have other settings, see :mod:`refiner.models.statistics.architecture`.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Literal, get_args

from refiner.models.statistics.architecture import FourierArchitecture, HistogramArchitecture

Padding = Literal["replicate", "zeros"]
"""Values outside a feature map, as ``padding_mode`` of :class:`torch.nn.Conv2d` names them."""

UNFOLDED = 8
"""Channels at full resolution after a trunk at reduced resolution."""


@dataclass(frozen=True)
class RefinerArchitecture:
    """The settings of a :class:`refiner.models.refiner.RefinerNetwork`.

    The defaults describe the paper's gaze refiner (296,129 parameters, receptive field 19), except for ``padding``; see
    :data:`PAPER_GAZE`. Two further options differ from the paper. ``unshuffle=2`` folds 2x2 pixels into channels, so
    that the trunk runs at half resolution for a quarter of the work. ``output="residual"`` learns a bounded change of
    the input instead of the image itself, so that an untrained refiner is the identity and every grey level can be
    kept.

    Attributes:
        channels: number of image channels, 1 (grey, depth) or 3 (RGB).
        features: number of channels of the trunk.
        blocks: number of residual blocks.
        stem_kernel: side of the first convolution, odd.
        kernel: side of the convolutions in the blocks, odd.
        unshuffle: side of the pixel blocks folded into channels; 1 folds nothing.
        output: "tanh", as in the paper, or "residual": clip(x + max_change * tanh(f(x)), -1, 1).
        max_change: largest change of a pixel with "residual", in units of [-1, 1]; 2 is the whole range.
        smooth_change: average each pixel's change with those of its neighbours, with weights 1 2 1 along rows and
            columns. This removes the checkerboard patterns that folded pixels can leave.
        keep_background: keep pixels at 1 unchanged, the background of cropped depth images.
        padding: values outside the image and outside feature maps. "replicate" repeats the nearest pixel. "zeros", as
            in the paper, changes the outermost pixels, which show as a faint frame.

    Raises:
        ValueError: a setting has the wrong type, or ``output`` or ``padding`` is unknown.
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
    padding: Padding = "replicate"

    kind: ClassVar[str] = "network"
    """Name of this kind of architecture; refiner files of networks do not state it."""
    is_random: ClassVar[bool] = False
    """Whether the result for an image depends on a draw, see :mod:`refiner.models.draws`."""

    def __post_init__(self) -> None:
        if self.output not in ("tanh", "residual"):
            raise ValueError(f"output is {self.output!r}; expected tanh or residual")
        if self.padding not in get_args(Padding):
            raise ValueError(f"padding is {self.padding!r}; expected one of {', '.join(get_args(Padding))}")
        # Check types too, since the settings may come from a file.
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, (int, float) if field.name == "max_change" else type(field.default)):
                raise ValueError(f"{field.name} is {value!r}; expected a value like {field.default!r}")

    @property
    def summary(self) -> str:
        """Describe the refiner in a few words."""
        return f"{self.features} features, {self.blocks} blocks"

    @property
    def reach(self) -> int:
        """Distance in pixels over which one pixel influences another, rounded up to whole folded blocks."""
        trunk = self.stem_kernel // 2 + 2 * self.blocks * (self.kernel // 2)
        last_layers = (self.unshuffle > 1) + self.smooth_change  # one pixel each
        return self.unshuffle * (trunk + last_layers)

    @property
    def receptive_field(self) -> int:
        """Side in pixels of the square that a refined pixel depends on; 19 for the paper's gaze refiner."""
        trunk = self.stem_kernel + 2 * self.blocks * (self.kernel - 1)
        if self.unshuffle == 1:
            return trunk + 2 * self.smooth_change
        last_layers = 3 + 2 * self.smooth_change  # pixels; the next line counts the folded blocks they can span
        return self.unshuffle * (trunk + (last_layers - 2) // self.unshuffle + 1)

    def shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield the name and the shape of each weight, in the order of the network."""
        # The trunk, which works on folded pixels.
        folded = self.channels * self.unshuffle**2
        yield from _convolution("stem", folded, self.features, self.stem_kernel)
        for block in range(self.blocks):
            yield from _convolution(f"blocks.{block}.conv1", self.features, self.features, self.kernel)
            yield from _convolution(f"blocks.{block}.conv2", self.features, self.features, self.kernel)
        # The last layers, which return to full resolution.
        if self.unshuffle > 1:
            yield from _convolution("unfold", self.features, UNFOLDED * self.unshuffle**2, 1)
            yield from _convolution("head", UNFOLDED + self.channels, self.channels, 3)
        else:
            yield from _convolution("head", self.features, self.channels, 1)

    def multiplications(self, pixels: int) -> int:
        """Estimate the multiplications for a number of image pixels, counting each weight once per trunk position."""
        weights = sum(math.prod(shape) for _, shape in self.shapes())
        return pixels * weights // self.unshuffle**2


@dataclass(frozen=True)
class AdaptedArchitecture:
    """Settings of a :class:`refiner.models.adapted.AdaptedRefiner`: an adaptation by statistics, then a network.

    Attributes:
        adaptation: settings of the adaptation.
        network: settings of the network.

    Raises:
        ValueError: a part is of another kind, or the parts differ in their number of channels.
    """

    adaptation: FourierArchitecture | HistogramArchitecture
    network: RefinerArchitecture

    kind: ClassVar[str] = "adapted"
    """Name of this kind of architecture in a refiner file."""
    is_random: ClassVar[bool] = True
    """A draw selects the real image and the strength of the adaptation."""
    reach: ClassVar[None] = None
    """The adaptation makes every pixel influence every other one."""
    receptive_field: ClassVar[None] = None
    """The whole image, whatever its size."""

    def __post_init__(self) -> None:
        if not isinstance(self.adaptation, FourierArchitecture | HistogramArchitecture):
            raise ValueError(f"adaptation is {self.adaptation!r}; expected statistics of real images")
        if not isinstance(self.network, RefinerArchitecture):
            raise ValueError(f"network is {self.network!r}; expected the settings of a network")
        if self.adaptation.channels != self.network.channels:
            raise ValueError(f"channels are {self.adaptation.channels} and {self.network.channels}; expected the same")

    @property
    def channels(self) -> int:
        """Number of image channels."""
        return self.network.channels

    @property
    def unshuffle(self) -> int:
        """Side of the pixel blocks that the network folds into channels."""
        return self.network.unshuffle

    @property
    def summary(self) -> str:
        """Describe the refiner in a few words."""
        return f"{self.adaptation.summary}, and a network of {self.network.summary}"

    def shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield the name and the shape of each array: the statistics, then the weights of the network."""
        yield from ((f"adaptation.{name}", shape) for name, shape in self.adaptation.shapes())
        yield from ((f"network.{name}", shape) for name, shape in self.network.shapes())

    def multiplications(self, pixels: int) -> int:
        """Estimate the multiplications for a number of image pixels."""
        return self.adaptation.multiplications(pixels) + self.network.multiplications(pixels)


Architecture = RefinerArchitecture | FourierArchitecture | HistogramArchitecture | AdaptedArchitecture
"""The settings of any refiner."""

_PARTS: dict[str, type[RefinerArchitecture | FourierArchitecture | HistogramArchitecture]] = {
    kind.kind: kind for kind in (RefinerArchitecture, FourierArchitecture, HistogramArchitecture)
}

PAPER_GAZE = RefinerArchitecture(padding="zeros")
"""The paper's gaze refiner."""


def architecture_settings(architecture: Architecture) -> dict[str, Any]:
    """Return the settings of an architecture as a refiner file holds them; those of a network state no kind."""
    if isinstance(architecture, RefinerArchitecture):
        return asdict(architecture)
    if isinstance(architecture, AdaptedArchitecture):
        parts = {"adaptation": architecture.adaptation, "network": architecture.network}
        return {"kind": architecture.kind, **{name: architecture_settings(part) for name, part in parts.items()}}
    return {"kind": architecture.kind, **asdict(architecture)}


def parse_architecture(settings: Mapping[str, Any]) -> Architecture:
    """Build an architecture from :func:`architecture_settings`.

    Raises:
        KeyError, TypeError, ValueError: the settings are those of no architecture.
    """
    if settings.get("kind") != AdaptedArchitecture.kind:
        return _parse_part(settings)
    return AdaptedArchitecture(
        **{name: _parse_part(part) for name, part in settings.items() if name != "kind"}  # type: ignore[arg-type]
    )


def _parse_part(settings: Mapping[str, Any]) -> RefinerArchitecture | FourierArchitecture | HistogramArchitecture:
    settings = dict(settings)
    return _PARTS[settings.pop("kind", RefinerArchitecture.kind)](**settings)


def settings_in_words(settings: Mapping[str, Any]) -> str:
    """Return settings in one line, such as ``adaptation.kind fourier, network.features 64``."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        parts = {f"{name}.{key}": part for key, part in value.items()} if isinstance(value, Mapping) else {name: value}
        flat |= parts
    return ", ".join(f"{name} {value}" for name, value in flat.items())


def _convolution(name: str, inputs: int, outputs: int, kernel: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (outputs, inputs, kernel, kernel)
    yield f"{name}.bias", (outputs,)
