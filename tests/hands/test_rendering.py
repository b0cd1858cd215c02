"""Depth of capsules, by geometry that needs no renderer, and the labels of each image."""

from pathlib import Path

import numpy as np
import pytest

from refiner.data.formats.nyu_hand import BACKGROUND, CUBE_MM, FAR_LEVEL
from refiner.data.formats.registry import open_dataset
from refiner.hands.rendering import render_hand, rendered_hands
from refiner.hands.skeleton import Hand, HandRanges
from refiner.images.io import read_image, write_image

SIZE = (48, 64)
DISTANCE = 600.0


def capsules(*parts: tuple[list[float], list[float], float]) -> Hand:
    starts, ends, radii = (np.array(values, float) for values in zip(*parts, strict=True))
    return Hand(np.array([[0.0, 0.0, DISTANCE]]), starts, ends, radii, DISTANCE)


def millimetres(image: np.ndarray) -> np.ndarray:
    """Depth of a rendered image, NaN where there is background."""
    depth = DISTANCE - CUBE_MM / 2 + image / FAR_LEVEL * CUBE_MM
    return np.where(image == BACKGROUND, np.nan, depth)


def test_a_ball_is_seen_where_its_equation_says() -> None:
    centre, radius = np.array([20.0, -10.0, 580.0]), 30.0
    depth = millimetres(render_hand(capsules(([20.0, -10.0, 580.0], [20.0, -10.0, 580.0 + 1e-6], radius)), SIZE))
    step = CUBE_MM / 48 / DISTANCE
    rows, columns = np.nonzero(np.isfinite(depth))
    points = np.stack([(columns - 31.5) * step, (rows - 23.5) * step, np.ones(len(rows))], axis=1)
    points *= depth[rows, columns][:, None]
    assert len(rows) > 50
    assert np.allclose(np.linalg.norm(points - centre, axis=1), radius, atol=0.02)
    assert (points[:, 2] < centre[2] + 1).all()  # its near side


def test_a_cylinder_across_the_view_is_as_deep_as_its_distance_less_its_radius() -> None:
    depth = millimetres(render_hand(capsules(([-80.0, 0.0, 600.0], [80.0, 0.0, 600.0], 25.0)), (49, 65)))
    assert np.allclose(depth[24, 20:45], 575.0, atol=0.01)
    assert np.isnan(depth[2]).all()


def test_the_nearer_capsule_hides_the_other() -> None:
    far, near = ([-80.0, 0.0, 640.0], [80.0, 0.0, 640.0], 20.0), ([0.0, -60.0, 560.0], [0.0, 60.0, 560.0], 10.0)
    both = render_hand(capsules(far, near), (49, 65))
    apart = [render_hand(capsules(part), (49, 65)) for part in (far, near)]
    assert np.array_equal(both, np.minimum(*apart))


def test_what_leaves_the_cube_is_cut() -> None:
    behind = ([0.0, 0.0, 790.0], [0.0, 0.0, 800.0], 20.0)
    before = ([0.0, 0.0, 400.0], [0.0, 0.0, 410.0], 20.0)
    assert (render_hand(capsules(behind), SIZE) == BACKGROUND).all()
    assert render_hand(capsules(before), SIZE).min() == 0


@pytest.mark.parametrize("size", [(64, 64), (48, 64), (40, 24)])
def test_joints_lie_on_the_hand(size: tuple[int, int]) -> None:
    """A joint's pixel shows the hand, and nothing behind the joint."""
    hits = []
    for record in rendered_hands(HandRanges(), 20, seed=4, size=size):
        assert record.image.shape == size
        labels = record.labels
        depth = labels["depth_near_mm"] + record.image / FAR_LEVEL * CUBE_MM
        for (x, y), (_, _, z) in zip(labels["joints"], labels["joints_mm"], strict=True):
            column, row = round(x), round(y)
            if 0 <= column < size[1] and 0 <= row < size[0]:
                hits.append(record.image[row, column] != BACKGROUND and depth[row, column] < z + 6)
    assert np.mean(hits) > 0.93


def test_labels_project_onto_one_another() -> None:
    (record,) = rendered_hands(HandRanges(), 1, seed=1, size=SIZE)
    x, y, z = record.labels["joints_mm"].T
    distance = (record.labels["depth_near_mm"] + record.labels["depth_far_mm"]) / 2
    step = CUBE_MM / 48 / distance
    expected = np.stack([x / z / step + 31.5, -y / z / step + 23.5], axis=1)
    assert np.allclose(record.labels["joints"], expected, atol=1e-3)


def test_hands_follow_from_seed_and_number_alone() -> None:
    whole = list(rendered_hands(HandRanges(), 5, seed=2, size=SIZE))
    (last,) = rendered_hands(HandRanges(), 5, seed=2, size=SIZE, first=4)
    assert np.array_equal(last.image, whole[4].image)
    assert last.id == whole[4].id == "000004.png"
    assert not np.array_equal(whole[0].image, next(rendered_hands(HandRanges(), 1, seed=3, size=SIZE)).image)


def test_levels_survive_a_file(tmp_path: Path) -> None:
    (record,) = rendered_hands(HandRanges(), 1, seed=1, size=SIZE)
    write_image(tmp_path / record.id, record.image)
    assert np.array_equal(read_image(tmp_path / record.id), record.image)
    assert open_dataset(tmp_path).read_image(record.id).dtype == np.uint16
