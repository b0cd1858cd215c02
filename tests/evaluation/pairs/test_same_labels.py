"""Labels of pairs: what counts as the same, and each change that must be seen."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from refiner.data.labels.objects import ImageAnnotations, ObjectLabel
from refiner.evaluation.pairs.same_labels import same_label

CUP = ObjectLabel(
    "1",
    "cup",
    (1, 2, 5, 4),
    ((1.0, 2.0, 6.0, 2.0, 6.0, 6.0),),
    None,
    (2, 3, 2),
    extra={"pose": [0.5, 1], "yolo_line": "0 0.5", "track": "a"},
)
FORK = ObjectLabel("2", "fork", (7, 2, 5, 4), mask={"size": [8, 12], "counts": [90, 4, 2]})


def same(second: tuple[ObjectLabel, ...], *, drops: bool = False) -> bool:
    return same_label("objects", ImageAnnotations((CUP, FORK)), ImageAnnotations(second), drops=drops)


def test_equal_objects_are_the_same_whatever_their_ids() -> None:
    other = replace(CUP, id="9", box=(1.0004, 2, 5, 4), extra={"pose": [0.5, 1.0], "yolo_line": "1 0.50"})
    assert same((CUP, FORK))
    assert same((other, FORK))


@pytest.mark.parametrize(
    "change",
    [
        {"category": "fork"},
        {"box": (1.5, 2, 5, 4)},
        {"box": None},
        {"polygons": ()},
        {"polygons": ((1.0, 2.0, 6.0, 2.0, 6.0, 6.5),)},
        {"mask": {"size": [8, 12], "counts": [96]}},
        {"keypoints": (2, 3, 1)},
        {"extra": {"pose": [0.5, 1.1]}},
        {"extra": {"track": "b"}},
    ],
)
def test_every_change_of_an_object_is_seen(change: dict[str, Any]) -> None:
    assert not same((replace(CUP, **change), FORK))
    assert not same((replace(CUP, **change), FORK), drops=True)


def test_objects_may_only_be_missing_if_they_were_dropped() -> None:
    for kept in ((CUP,), (FORK,), ()):
        assert not same(kept)
        assert same(kept, drops=True)
    assert not same((FORK, CUP), drops=True)
    assert not same((CUP, FORK, FORK), drops=True)
    assert not same_label("objects", ImageAnnotations((CUP,)), "[]")


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("fine", "fine", True),
        ("fine", "rain", False),
        ("0.5", "0.50", True),
        ("1", "1.001", False),
        (3, "3", True),
        (3, "4", False),
        (1.0, 1.001, True),
        (1.0, 1.01, False),
        (float("nan"), float("nan"), True),
        (True, False, False),
        ([1, "a"], [1, "a"], True),
        ([1, "a"], [1, "b"], False),
        ([1, 2], [1, 2, 3], False),
        ({"a": [1]}, {"a": [2]}, False),
        (None, "", False),
        (np.array([1.0, 2.0]), np.array([1.0, 2.001]), True),
        (np.array([1.0, 2.0]), np.array([1.0, 2.1]), False),
        (np.array(["a"]), np.array(["b"]), False),
    ],
)
def test_values_of_any_kind(first: Any, second: Any, expected: bool) -> None:
    assert same_label("note", first, second) is expected
    assert same_label("note", second, first) is expected


def test_angles_are_compared_in_more_digits() -> None:
    assert not same_label("gaze", np.array([0.1, 0.2]), np.array([0.1, 0.201]))
