"""Results of an inspection as plain values: facts about a data set, and findings."""

from dataclasses import dataclass

from refiner.data.folders.left_out import LeftOut
from refiner.images.arrays import EQUALIZED_BELOW
from refiner.inspection.images import Images
from refiner.inspection.irises import IrisScale
from refiner.inspection.labels import LabelFacts, Values
from refiner.inspection.objects import ObjectFacts


@dataclass(frozen=True)
class Finding:
    """A problem that should be fixed before training.

    Attributes:
        key: short name of the kind of problem.
        message: one sentence that describes the problem, with numbers.
        remedy: advice that fixes it, with the exact command if there is one.
    """

    key: str
    message: str
    remedy: str


@dataclass(frozen=True)
class Appearance:
    """Appearance of the images of a data set, as far as another data set has to match it.

    Attributes:
        count: number of images that were measured.
        size: median (height, width) in pixels.
        equalization: median of :func:`refiner.images.arrays.equalization`.
        equalized_share: share of the images that are equalised.
        histogram: share of the pixels in each of 32 bins of grey levels.
        mean_level: mean luma from 0 to 1.
        iris: size of the iris, estimated from the pictures; None without enough estimates.
        outline: size of the iris by the ``iris_outline`` labels; None without such labels.
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
        """True if the data set counts as histogram-equalised."""
        return self.equalization < EQUALIZED_BELOW


@dataclass(frozen=True)
class Reject:
    """A reason for rejecting images.

    Attributes:
        reason: the reason, as in rejected.csv.
        count: number of images that were rejected for it.
        examples: ids of the first of them.
    """

    reason: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Sign:
    """Correlation of a gaze angle with the position of the eye in the image.

    The correlations of both angles must be negative: looking left means a smaller x, looking up a smaller y.

    Attributes:
        angle, axis: ``yaw`` and ``x``, or ``pitch`` and ``y``.
        images: ``all``; or ``mirrored`` or ``not mirrored``, if the labels say which images are mirrored.
        correlation: correlation of the angle with the position.
        crosswise: correlation of the other angle with the same position; large if the angles were swapped.
        count: number of images that were measured.
        source: ``pupil`` if the position is a label, ``found`` if it was estimated from the picture.
    """

    angle: str
    axis: str
    images: str
    correlation: float
    crosswise: float
    count: int
    source: str


@dataclass(frozen=True)
class DatasetFacts:
    """Facts about a data set.

    Attributes:
        path: path of the data set.
        format: name of its layout in :data:`refiner.data.formats.registry.FORMATS`.
        images: number of images in the data set.
        sampled: number of images that were inspected, spread evenly; all numbers below are of these.
        readable: number of inspected images that could be read.
        sizes, depths, channels: number of images by ``HEIGHTxWIDTH``, by ``8 bits`` and the like, by ``grey``, ``RGB``.
        lowest, highest: extreme levels, as shares of the highest level of the type.
        appearance: levels, equalisation and iris size, measured on up to 400 images.
        subjects: number of images by subject; images without a subject are not counted.
        labels: facts about each label, by its name.
        angles: (pitch, yaw) of all images in radians, (N, 2), for the labels ``gaze`` and ``head_pose``.
        signs: correlations of the gaze with the position of the eye; see :class:`Sign`.
        duplicates: images with the same pixels as an earlier one; flat images are not counted.
        flat, black: images of one flat colour that is not black, and black images.
        unlabelled: images that lack ``gaze``, ``head_pose`` or ``pupil``, for each label that others have.
        orphans: rows of the label table that name no image.
        left_out: reports about images without row, label images, and files that are not read.
        table_problems: rows of the label table without a name, or with a name that occurs twice.
        label_formats: formats of the labels, each with its file or the first of its files.
        objects: facts about annotated objects; None if there are none.
        rejected: reasons why images could not be read.
        label_error: reason why no labels could be read at all; empty if they could.
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
    left_out: tuple[LeftOut, ...] = ()
    label_formats: tuple[str, ...] = ()
    objects: ObjectFacts | None = None
