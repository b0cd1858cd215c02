"""Drift of single objects: faults of known size are planted in drawn pictures, and the scores computed again."""

import json
import math
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from refiner.data.drift.background import score_background
from refiner.data.drift.measurement import measure_label_drift
from refiner.data.drift.objects import ObjectDrift, score_objects
from refiner.data.drift.table import DriftLimit, LabelDrift
from refiner.data.labels.objects import OBJECTS, ObjectLabel

SIZE = (120, 200)
BOX = (60.0, 40.0, 30.0, 24.0)
"""Left, top, width and height of the object."""


def background(seed: int = 0) -> Any:
    """A smooth picture of low contrast, (3, H, W), in [-1, 1]."""
    coarse = np.random.default_rng(seed).uniform(-0.2, 0.2, (3, 6, 10)).astype(np.float32)
    return np.stack([cv2.resize(plane, SIZE[::-1], interpolation=cv2.INTER_CUBIC) for plane in coarse])


def texture(width: int, height: int, seed: int = 1) -> Any:
    """A blotchy surface, (3, h, w), in [-1, 1]."""
    coarse = np.random.default_rng(seed).uniform(-0.9, 0.9, (3, 5, 6)).astype(np.float32)
    return np.stack([cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR) for plane in coarse])


def scene(dx: int = 0, dy: int = 0, box: tuple[float, ...] = BOX, surface: Any = None) -> Any:
    """The background with one object, shifted by whole pixels."""
    image = background()
    left, top, width, height = map(int, box)
    surface = texture(width, height) if surface is None else surface
    image[:, top + dy : top + dy + height, left + dx : left + dx + width] = surface
    return image


def noisy(image: Any, seed: int = 5) -> Any:
    return image + np.random.default_rng(seed).normal(0, 0.03, image.shape).astype(np.float32)


def outlined(box: tuple[float, ...] = BOX) -> dict[str, ObjectLabel]:
    """The same object with a box, with an outline, and with a mask."""
    left, top, width, height = box
    right, bottom = left + width, top + height
    mask = np.zeros(SIZE, np.uint8)
    mask[int(top) : int(bottom), int(left) : int(right)] = 1
    runs = coco_mask.encode(np.asfortranarray(mask))
    return {
        "box": ObjectLabel("1", "cup", box=(left, top, width, height)),
        "outline": ObjectLabel("1", "cup", polygons=((left, top, right, top, right, bottom, left, bottom),)),
        "mask": ObjectLabel("1", "cup", mask={"size": list(SIZE), "counts": runs["counts"].decode()}),
    }


def only(before: Any, after: Any, label: ObjectLabel) -> ObjectDrift:
    (found,) = score_objects(before, after, [label])
    return found


@pytest.mark.parametrize("shape", ["box", "outline", "mask"])
@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (0, -2), (3, 1)])
def test_a_moved_object_is_found_where_it_went(shape: str, shift: tuple[int, int]) -> None:
    found = only(scene(), noisy(scene(*shift)), outlined()[shape])
    assert (found.id, found.category, found.known, found.vanished) == ("1", "cup", True, False)
    assert (found.x, found.y) == pytest.approx(shift, abs=0.3)
    assert found.structure > 0.85
    # The shorter side is below 36 pixels, so that the score is in pixels of the image.
    assert found.score == pytest.approx(math.hypot(found.x, found.y) + 2 * (1 - found.structure), abs=1e-3)


def test_a_large_object_is_scored_in_its_own_size() -> None:
    """90 pixels are two and a half times 36, so that a shift of 5 pixels counts 2."""
    box = (50.0, 15.0, 120.0, 90.0)
    found = only(scene(box=box), scene(5, 0, box=box), outlined(box)["box"])
    assert (found.x, found.y) == pytest.approx((5, 0), abs=0.6)
    assert found.score == pytest.approx(5 / 2.5 + 2 * (1 - found.structure), abs=0.25)


@pytest.mark.parametrize("shape", ["box", "outline", "mask"])
def test_light_tone_and_contrast_of_the_whole_image_do_not_matter(shape: str) -> None:
    gains, offsets = np.array([0.6, 0.8, 0.7]), np.array([0.2, -0.1, 0.0])
    after = noisy((scene() * gains[:, None, None] + offsets[:, None, None]).astype(np.float32))
    found = only(scene(), after, outlined()[shape])
    assert found.score < 0.3
    assert not found.vanished


@pytest.mark.parametrize("shape", ["box", "outline", "mask"])
def test_an_erased_object_has_vanished(shape: str) -> None:
    found = only(scene(), noisy(background()), outlined()[shape])
    assert found.vanished
    assert found.pixels == 0
    assert found.score >= 2


def test_a_recoloured_object_is_noticed_only_in_colour() -> None:
    """Red becomes blue of the same mean: invisible in grey, and the opposite of what was there in colour."""
    width, height = map(int, BOX[2:])
    red = np.broadcast_to(np.array([0.9, -0.6, -0.6], np.float32)[:, None, None], (3, height, width))
    blue = red[::-1]
    before, after = scene(surface=red), scene(surface=blue)
    assert only(before, after, outlined()["box"]).score > 1
    grey, other = (image.mean(axis=0, keepdims=True) for image in (before, after))
    assert only(grey, other, outlined()["box"]).score < 0.1


def test_a_replaced_object_is_lost() -> None:
    found = only(scene(), scene(surface=texture(30, 24, seed=9)), outlined()["box"])
    assert found.structure < 0.6
    assert found.score > 1


@pytest.mark.parametrize(
    "label",
    [
        ObjectLabel("1", box=(60, 40, 3, 24)),  # too small
        ObjectLabel("1", box=(-28, 40, 30, 24)),  # two pixels of it are in the image
        ObjectLabel("1", box=(300, 40, 30, 24)),  # outside
        ObjectLabel("1", box=(float("nan"), 40, 30, 24)),
        ObjectLabel("1"),  # no place
        ObjectLabel("1", mask={"size": [1, 2], "counts": "broken"}),
        ObjectLabel("1", keypoints=(65, 45, 1, 70, 50, 0)),  # hidden
    ],
)
def test_what_cannot_be_followed_is_unknown(label: ObjectLabel) -> None:
    found = only(scene(), scene(), label)
    assert not found.known
    assert found.score == 0
    assert found.cells() == {"object": "1", "class": "", "known": "0"}


def test_an_object_that_cannot_be_seen_is_unknown() -> None:
    flat = np.zeros((3, *SIZE), np.float32)
    assert not only(flat, noisy(flat), outlined()["box"]).known


def test_a_keypoint_that_moves_inside_its_object_counts() -> None:
    """A dot moves by three pixels, while the surface around it stays."""

    def dotted(x: int) -> Any:
        image = scene()
        cv2.circle(image[0], (x, 52), 2, 1.0, -1)
        cv2.circle(image[1], (x, 52), 2, -1.0, -1)
        return image

    whole = ObjectLabel("1", box=BOX)
    jointed = ObjectLabel("1", box=BOX, keypoints=(72, 52, 2, 0, 0, 0))
    before, after = dotted(72), dotted(75)
    assert only(before, after, whole).pixels < 1
    found = only(before, after, jointed)
    assert (found.x, found.y) == pytest.approx((3, 0), abs=0.6)


def test_an_object_at_the_edge_is_followed() -> None:
    box = (180.0, 100.0, 20.0, 20.0)
    before = scene(box=box)
    assert only(before, noisy(before), ObjectLabel("1", box=(180, 100, 40, 40))).score < 0.3


def test_nothing_passes_if_the_refiner_returns_no_numbers() -> None:
    (drift,) = measure_label_drift(scene()[None], np.full((1, 3, *SIZE), np.nan), [{OBJECTS: (outlined()["box"],)}])
    assert DriftLimit(1000).rejects(drift)
    assert DriftLimit(1000, drop_objects=True).rejects(drift)


# --- New structure ---------------------------------------------------------------------------------------------------


def test_a_copy_outside_all_objects_is_noticed() -> None:
    before, label = scene(), outlined()["box"]
    copied = scene()
    copied[:, 80:104, 140:170] = texture(30, 24)
    assert score_background(before, noisy(copied), [label]) > 1
    assert score_background(before, noisy(before), [label]) < 0.6
    # It is not new if it was there before, nor if an object covers it.
    assert score_background(copied, noisy(copied), [label]) < 0.6
    assert score_background(before, noisy(copied), [label, ObjectLabel("2", box=(140, 80, 30, 24))]) < 0.6


def test_without_background_there_is_nothing_new() -> None:
    assert score_background(scene(), scene(2), [ObjectLabel("1", box=(0, 0, 200, 120))]) == 0


# --- The image -------------------------------------------------------------------------------------------------------


def measured(after: Any, *labels: ObjectLabel, **more: Any) -> LabelDrift:
    (drift,) = measure_label_drift(scene()[None], after[None], [{**more, OBJECTS: labels}])
    return drift


def test_the_worst_object_counts_for_the_image() -> None:
    still, tiny = ObjectLabel("2", box=(100, 60, 90, 50)), ObjectLabel("3", box=(5, 5, 2, 2))
    drift = measured(noisy(scene(2)), outlined()["box"], still, tiny)
    cup, _, unknown = drift.objects
    assert (drift.score, drift.x, drift.y, drift.known) == (cup.score, cup.x, cup.y, True)
    assert not unknown.known  # a tiny object rejects no image
    assert DriftLimit(1).reason(drift).startswith("object 1 (cup) moved by about 2.")
    limit = DriftLimit(1, drop_objects=True)
    assert not limit.rejects(drift)
    assert [limit.drops(each) for each in drift.objects] == [True, False, False]


def test_an_image_whose_objects_are_all_unknown_is_unknown() -> None:
    drift = measured(scene(), ObjectLabel("3", box=(5, 5, 2, 2)))
    assert not drift.known
    for limit in (DriftLimit(1), DriftLimit(1, drop_objects=True)):
        assert limit.rejects(drift)
        assert limit.reason(drift) == (
            "its drift is unknown: its objects are too small or have too little texture to be followed"
        )


def test_an_image_without_objects_is_scored_as_a_whole() -> None:
    drift = measured(scene())
    assert (drift.known, drift.score, drift.objects) == (True, pytest.approx(0, abs=0.01), ())
    assert measured(np.roll(scene(), 3, axis=2)).score > 0.5


def test_new_structure_rejects_also_where_objects_are_dropped() -> None:
    after = scene()
    after[:, 80:104, 140:170] = texture(30, 24)
    drift = measured(after, outlined()["box"])
    assert drift.background == drift.rest == drift.score > 1
    for limit in (DriftLimit(1), DriftLimit(1, drop_objects=True)):
        assert limit.reason(drift).startswith("there is new structure outside the objects (drift score ")


def test_points_and_objects_are_both_measured() -> None:
    """A pupil in the object, which moves, and another object, which stays."""
    drift = measured(scene(2), ObjectLabel("2", box=(100, 60, 90, 50)), pupil=np.array([75.0, 52.0]))
    assert (drift.x, drift.y) == pytest.approx((2, 0), abs=0.3)
    assert drift.degrees is not None
    assert drift.rest == drift.score > 0.5
    assert DriftLimit(0.5, drop_objects=True).rejects(drift)


def test_drift_survives_the_manifest_and_the_lines_of_a_store() -> None:
    drift = measured(noisy(scene(1)), outlined()["box"])
    rows = json.loads(json.dumps([each.to_row() for each in drift.objects]))
    assert LabelDrift.from_notes(drift.notes(), [ObjectDrift.from_row(row) for row in rows]) == drift
    assert LabelDrift.from_line(drift.to_line()) == drift
