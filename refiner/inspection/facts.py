"""What is known of a data set once it was looked at, as plain values."""

from dataclasses import dataclass, field

from refiner.images.arrays import EQUALIZED_BELOW
from refiner.inspection.irises import IrisScale
from refiner.inspection.labels import LabelFacts, Values

EXAMPLES = 3
"""Ids that are named for each fault."""


@dataclass(frozen=True)
class Finding:
    """Something that will hurt whoever goes on without mending it.

    Attributes:
        key: short name of the kind of finding.
        message: what was found, in one sentence, with its figures.
        remedy: what to do about it.
    """

    key: str
    message: str
    remedy: str


@dataclass(frozen=True)
class Appearance:
    """How the images of a data set look, as far as another data set has to match it.

    Attributes:
        count: images looked at.
        size: median (height, width) in pixels.
        equalization: median of :func:`refiner.images.arrays.equalization`.
        equalized_share: share of the images that are equalised, each judged by itself.
        histogram: shares of 32 bins of grey levels.
        mean_level: mean luma, of 1.
        iris: how large the iris is by the estimate, when the images look like eyes.
        outline: the same by the labels, where there are any.
    """

    count: int
    size: tuple[int, int]
    equalization: float
    equalized_share: float
    histogram: tuple[float, ...]
    mean_level: float
    iris: IrisScale | None = None
    outline: IrisScale | None = None

    @property
    def equalized(self) -> bool:
        """Whether the data set counts as histogram-equalised."""
        return self.equalization < EQUALIZED_BELOW


@dataclass(frozen=True)
class Reject:
    """A reason why images cannot be used, with their number and the first of them."""

    reason: str
    count: int
    examples: tuple[str, ...]


@dataclass
class Images:
    """Some of the images, counted, and the first of them by name."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, sample: str) -> None:
        """Count one more."""
        self.count += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(sample)


@dataclass(frozen=True)
class Sign:
    """Whether a gaze angle follows the eye: both correlations must be negative (left is a smaller x, up a smaller y).

    Attributes:
        angle, axis: ``yaw`` and ``x``, or ``pitch`` and ``y``.
        images: ``all``, or ``mirrored`` or ``not mirrored`` where the labels tell.
        correlation: of the angle with the place.
        count: images it was measured on.
        source: ``pupil`` when the place is a label, ``found`` when it was looked for in the picture.
    """

    angle: str
    axis: str
    images: str
    correlation: float
    count: int
    source: str


@dataclass(frozen=True)
class DatasetFacts:
    """What there is to know about a data set without training on it.

    Attributes:
        path, format: where it is, and the reader that reads it.
        images: how many ids it lists.
        sampled: how many were looked at, spread evenly; every figure below is of those.
        readable: how many of these could be read.
        sizes, depths, channels: number of images by ``HEIGHTxWIDTH``, ``8 bits``, ``grey``.
        lowest, highest: the extreme levels, as shares of the highest level of the type.
        appearance: levels, equalisation and iris, from up to 400 images.
        subjects: number of images by subject; those without one are not counted.
        labels: by name.
        angles: number of images by label (``gaze``, ``head_pose``) and (pitch, yaw), as arrays (N, 2) in radians.
        signs: correlation of gaze with the place of the eye in the image; see :class:`Sign`.
        duplicates: images whose pixels equal those of an earlier one; flat ones are not counted.
        flat, black: images that show nothing, and those of them that are black.
        unlabelled: by main label that some images have, the images that lack it.
        orphans: rows of the label table that name no image.
        table_problems: rows of the label table without a name, or with a name that stands twice.
        rejected: why images could not be read.
        label_error: why no labels could be read at all; empty when they could.
    """

    path: str
    format: str
    images: int
    sampled: int
    readable: int
    sizes: dict[str, int]
    depths: dict[str, int]
    channels: dict[str, int]
    lowest: float
    highest: float
    appearance: Appearance
    subjects: dict[str, int]
    labels: dict[str, LabelFacts]
    angles: dict[str, Values]
    signs: tuple[Sign, ...]
    duplicates: Images
    flat: Images
    black: Images
    unlabelled: dict[str, Images]
    orphans: Images
    table_problems: tuple[str, ...]
    rejected: tuple[Reject, ...]
    label_error: str = ""
