"""The iris is measured if there is one, and data sets without one give no reliable diameter."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from refiner.data.formats.registry import open_dataset
from refiner.data.labels.records import Record
from refiner.eyes.records import rendered_records
from refiner.eyes.scene.parameters import EyeParameters
from refiner.images.arrays import equalize
from refiner.inspection.irises import MIN_COUNT, find_iris, iris_scale


def disc(diameter: float, centre: tuple[float, float], size: tuple[int, int] = (36, 60)) -> np.ndarray:
    """A dark disc with a soft edge on a bright ground."""
    y, x = np.mgrid[: size[0], : size[1]]
    distance = np.hypot(x - centre[0], y - centre[1])
    return (60 + 140 / (1 + np.exp(-(distance - diameter / 2) / 0.5))).astype(np.uint8)


@pytest.mark.parametrize("diameter", [12, 15, 18.7, 24])
def test_a_disc_is_found_where_it_is(diameter: float) -> None:
    iris = find_iris(disc(diameter, (33, 16)))
    assert iris is not None
    assert iris.diameter * 60 == pytest.approx(diameter, rel=0.08)
    assert (iris.x, iris.y) == (pytest.approx(33, abs=1), pytest.approx(16, abs=1))


def test_size_depth_and_channels_make_no_difference() -> None:
    small, large = disc(18, (30, 18)), disc(36, (60.5, 36.5), (72, 120))
    readings = [find_iris(small), find_iris(large), find_iris(small.astype(np.uint16) * 257)]
    readings.append(find_iris(np.repeat(small[..., None], 3, axis=2)))
    shares = [reading.diameter for reading in readings if reading]
    assert len(shares) == 4
    assert shares == pytest.approx([shares[0]] * 4, rel=0.04)
    assert readings[1] is not None
    assert readings[1].x == pytest.approx(60.5, abs=2)


def test_what_is_too_small_or_too_long_has_none() -> None:
    assert find_iris(disc(4, (6, 4), (8, 12))) is None
    assert find_iris(disc(18, (30, 18), (200, 60))) is None
    assert find_iris(np.full((36, 60), 77, np.uint8)) is None


def test_few_readings_give_no_scale_but_one_label_does() -> None:
    assert iris_scale([0.3] * (MIN_COUNT - 1), source="estimate") is None
    assert iris_scale([], source="iris_outline") is None
    label = iris_scale([0.3], source="iris_outline")
    assert label is not None
    assert (label.diameter, label.reliable) == (0.3, True)


def test_a_wide_spread_or_the_end_of_the_search_is_not_believed() -> None:
    spread = iris_scale(list(np.linspace(0.2, 0.4, 50)), source="estimate")
    low = iris_scale([0.17] * 15 + [0.18] * 35, source="estimate")
    narrow = iris_scale(list(np.linspace(0.3, 0.33, 50)), source="estimate")
    assert [scale.reliable for scale in (spread, low, narrow) if scale] == [False, False, True]


def zoomed(record: Record, factor: float) -> np.ndarray:
    """The middle of a patch, enlarged."""
    height, width = record.image.shape
    shift = [(1 - factor) * (side - 1) / 2 for side in (width, height)]
    matrix = np.array([[factor, 0, shift[0]], [0, factor, shift[1]]])
    return np.asarray(cv2.warpAffine(record.image, matrix, (width, height), flags=cv2.INTER_CUBIC))


@pytest.fixture(scope="module")
def rendered() -> list[Record]:
    return list(rendered_records(EyeParameters(), 120, seed=5))


@pytest.mark.parametrize("factor", [1.0, 1.25])
@pytest.mark.parametrize("equalized", [False, True])
def test_the_true_outline_of_our_renders_is_met_within_a_tenth(
    rendered: list[Record], factor: float, equalized: bool
) -> None:
    outlines = [record.labels["iris_outline"] for record in rendered]
    true = np.median([np.linalg.norm(points[:, None] - points[None], axis=-1).max() for points in outlines])
    images = [zoomed(record, factor) for record in rendered]
    readings = [find_iris(equalize(image) if equalized else image) for image in images]
    scale = iris_scale([reading.diameter for reading in readings if reading], source="estimate")
    assert scale is not None
    assert scale.reliable
    assert scale.diameter * 60 == pytest.approx(true * factor, rel=0.11)


def test_noise_has_no_iris() -> None:
    rng = np.random.default_rng(0)
    readings = [find_iris(rng.integers(0, 256, (36, 60)).astype(np.uint8)) for _ in range(60)]
    scale = iris_scale([reading.diameter for reading in readings if reading], source="estimate")
    assert scale is None or not scale.reliable


@pytest.mark.parametrize(
    ("name", "expected"), [("mpiigaze_p00_dev/images", 0.311), ("columbia_dev/images", 0.34), ("webcam_dev", 0.32)]
)
def test_real_eyes(real_data: Path, name: str, expected: float) -> None:
    dataset = open_dataset(real_data / name)
    step = len(dataset.ids) // 150
    readings = [find_iris(dataset.read_image(sample)) for sample in dataset.ids[::step]]
    scale = iris_scale([reading.diameter for reading in readings if reading], source="estimate")
    assert scale is not None
    assert scale.reliable
    assert scale.diameter == pytest.approx(expected, rel=0.05)
