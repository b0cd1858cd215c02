"""Scenes: what each pixel shows, the labels made of it, light and shadow."""

import math
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from refiner.core.rng import numpy_generator
from refiner.data.labels.objects import OBJECTS
from refiner.objects.records import annotations, rendered_scenes
from refiner.objects.rendering import MIN_VISIBLE, render_scene
from refiner.objects.scene import (
    GROUNDS,
    IMAGE_HEIGHT,
    PATTERNS,
    Ground,
    Scene,
    SceneRanges,
    Thing,
    draw_scene,
    target_scenes,
)
from refiner.objects.shapes import SHAPES

SIZE = (48, 72)


def thing(category: str, x: float, y: float, z: float, radius: float, colour: Any = (0.5, 0.5, 0.5)) -> Thing:
    return Thing(
        category, np.array([x, y, z]), radius * np.eye(3), np.array([colour, colour]), PATTERNS[0], frequency=2, gloss=0
    )


def scene(*things: Thing, elevation: float = math.pi / 4, light: Any = (0.0, 0.0, 1.0)) -> Scene:
    ground = Ground(GROUNDS[0], np.full((2, 3), 0.25), angle=0, scale=1, noise=np.zeros((2, 9, 9)))
    return Scene(list(things), ground, elevation, np.array(light) / np.linalg.norm(light), ambient=0.5)


def test_a_ball_covers_the_pixels_of_its_disc() -> None:
    """Seen with parallel rays, a ball is a disc around the projection of its centre."""
    rendering = render_scene(scene(thing("ball", 0.4, 0.3, 0.5, 0.7)), SIZE)
    unit = IMAGE_HEIGHT / SIZE[0]
    across, up = 0.4, 0.3 * math.sin(math.pi / 4) + 0.5 * math.cos(math.pi / 4)
    fine = 20
    rows, columns = ((np.arange(side * fine) + 0.5) / fine for side in SIZE)
    disc = (
        np.hypot((columns[None, :] - SIZE[1] / 2) * unit - across, (SIZE[0] / 2 - rows[:, None]) * unit - up)
        < 0.8 * 0.7
    )
    share = disc.reshape(SIZE[0], fine, SIZE[1], fine).mean(axis=(1, 3))
    mine = rendering.owners == 0
    assert mine[share > 0.75].all()
    assert not mine[share < 0.25].any()
    assert mine.sum() == pytest.approx(share.sum(), rel=0.05)


def test_the_nearer_object_hides_the_other() -> None:
    near, far = thing("cube", 0.1, -0.5, 0.4, 0.6), thing("cube", 0.0, 0.4, 0.4, 0.6)
    alone = render_scene(scene(far), SIZE).owners == 0
    front = render_scene(scene(near), SIZE).owners == 0
    for things, first, second in (((near, far), 0, 1), ((far, near), 1, 0)):
        owners = render_scene(scene(*things), SIZE).owners
        # A pixel that both share equally is that of the second.
        assert ((owners == first) != front).sum() < 16
        hidden = alone & (owners != second)
        assert hidden.sum() > 30
        assert front[hidden].all()


def test_what_can_hardly_be_seen_is_not_there() -> None:
    hidden = thing("ball", 0.0, 1.2, 0.2, 0.25)
    rendering = render_scene(scene(thing("cube", 0.0, 0.0, 0.9, 1.4), hidden), SIZE)
    assert [each.category for each in rendering.things] == ["cube"]
    assert (rendering.image == render_scene(scene(thing("cube", 0.0, 0.0, 0.9, 1.4)), SIZE).image).all()


def test_shadow_falls_away_from_the_light() -> None:
    ball = thing("ball", 0.0, 0.0, 0.5, 0.5)
    left = render_scene(scene(ball, light=(-1.0, 0.0, 1.0)), SIZE)
    right = render_scene(scene(ball, light=(1.0, 0.0, 1.0)), SIZE)
    ground = left.owners < 0
    dark = [np.argwhere(ground & (each.image[..., 1] < 110))[:, 1].mean() for each in (left, right)]
    assert dark[0] > SIZE[1] / 2 + 3 > SIZE[1] / 2 - 3 > dark[1]
    # Levels by hand: albedo 0.25, ambient 0.5, and half of the light from 45 degrees where it is lit.
    lit = 255 * math.sqrt(0.25 * (0.5 + 0.5 * math.sqrt(0.5)))
    shade = 255 * math.sqrt(0.25 * 0.5)
    assert np.median(left.image[ground]) == round(lit)
    assert left.image[ground].min() == round(shade)


@pytest.mark.parametrize("ranges", [SceneRanges(), target_scenes()])
def test_scenes_depend_on_seed_and_number_alone(ranges: SceneRanges) -> None:
    whole = list(rendered_scenes(ranges, 4, seed=3, size=SIZE))
    (last,) = rendered_scenes(ranges, 4, seed=3, size=SIZE, first=3)
    assert last.id == whole[3].id == "000003.png"
    assert (last.image == whole[3].image).all()
    assert last.labels[OBJECTS] == whole[3].labels[OBJECTS]
    (other,) = rendered_scenes(ranges, 4, seed=4, size=SIZE, first=3)
    assert (other.image != last.image).any()
    assert last.image.shape == (*SIZE, 3)


def test_labels_are_what_the_pixels_show() -> None:
    """Masks of pycocotools are disjoint and cover what is no ground; boxes and areas follow from them."""
    found = set()
    for number in range(40):
        rendering = render_scene(draw_scene(SceneRanges(), numpy_generator(0, "scene", number), (96, 128)), (96, 128))
        objects = annotations(rendering).objects
        assert 2 <= len(objects) <= 12
        masks = np.stack([coco_mask.decode(dict(each.mask or {})) for each in objects])
        assert (masks.sum(axis=0) == (rendering.owners >= 0)).all()
        for owner, (each, mask) in enumerate(zip(objects, masks, strict=True)):
            assert (mask == (rendering.owners == owner)).all()
            assert mask.sum() >= MIN_VISIBLE
            rows, columns = np.nonzero(mask)
            assert each.box == (
                columns.min(),
                rows.min(),
                columns.max() - columns.min() + 1,
                rows.max() - rows.min() + 1,
            )
            assert each.category == rendering.things[owner].category
            found.add(each.category)
    assert found == set(SHAPES)


def test_objects_stand_on_the_ground() -> None:
    for number in range(20):
        for each in draw_scene(SceneRanges(), numpy_generator(1, "scene", number), SIZE).things:
            assert (SHAPES[each.category].corners @ each.axes.T + each.centre)[:, 2].min() == pytest.approx(0, abs=1e-9)
