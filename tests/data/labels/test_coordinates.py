"""Labels in pixels follow a crop and a resize; what is ambiguous is refused. Values are computed by hand here."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from refiner.core.errors import ImageError, UsageError
from refiner.data.labels.coordinates import Change, Declared, split_words, stems
from refiner.data.labels.geometry import move_labels, resize_labels

HALF = Change(size=(40, 60), corner=(0, 0), crop=(40, 60), result=(20, 30))

CUT = Change(size=(40, 60), corner=(4, 10), crop=(32, 40), result=(64, 120))
"""Cut 4 rows and 10 columns, then twice the height and three times the width."""


def by_hand(x: float, y: float) -> list[float]:
    """A point after CUT: the left edge of pixel x is at x - 0.5, and edges scale."""
    return [round(3 * (x - 10 - -0.5) - 0.5, 6), round(2 * (y - 4 - -0.5) - 0.5, 6)]


def array(*values: Any) -> NDArray[Any]:
    return np.array(values, float)


def moved(labels: dict[str, Any], change: Change = CUT, **declared: Any) -> dict[str, Any]:
    found = resize_labels(labels, change, Declared(**declared), sample="a.png")
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in found.items()}


@pytest.mark.parametrize(
    ("name", "value", "declared", "expected"),
    [
        ("corner", array(20, 30.25), {"points": ("corner",)}, by_hand(20, 30.25)),
        ("corner", array(-3, 99), {"points": ("corner",)}, by_hand(-3, 99)),  # outside stays outside
        ("corner", array(20, 30, 2), {"points": ("corner",)}, [*by_hand(20, 30), 2]),
        ("marks", array([20, 30, 5], [5, 6, 0]), {"points": ("marks",)}, [[*by_hand(20, 30), 5], [*by_hand(5, 6), 0]]),
        ("joints", array([20, 30, 712.5]), {}, [[*by_hand(20, 30), 712.5]]),
        ("pupil", array(20, 30), {}, by_hand(20, 30)),
        ("pupil", array(0.25, 0.5), {}, by_hand(0.25, 0.5)),
        ("outline", array([20, 30], [5, 6]), {}, [by_hand(20, 30), by_hand(5, 6)]),
        ("lines", array([[20, 30], [5, 6]]), {}, [[by_hand(20, 30), by_hand(5, 6)]]),
        ("box", array(20, 30, 8, 6), {"boxes": (("box", "xywh"),)}, [*by_hand(20, 30), 24, 12]),
        ("box", array(20, 30, 28, 36), {"boxes": (("box", "xyxy"),)}, [*by_hand(20, 30), *by_hand(28, 36)]),
        ("boxes", array([20, 30, 8, 6]), {"boxes": (("boxes", "xywh"),)}, [[*by_hand(20, 30), 24, 12]]),
        ("weights", array(20, 30), {"keep": ("weights",)}, [20, 30]),
        ("gaze", array(0.1, 0.2), {}, [0.1, 0.2]),
        ("head_pose", array(0.1, 0.2), {}, [0.1, 0.2]),
        ("joints_mm", array([1, 2, 3]), {}, [[1, 2, 3]]),
        ("light_direction", array(1, 2, 3), {}, [1, 2, 3]),
        ("one", array(7), {}, [7]),
    ],
)  # fmt: skip
def test_an_array_moves_as_what_it_is(name: str, value: Any, declared: Any, expected: list[Any]) -> None:
    before = value.copy()
    assert moved({name: value}, **declared)[name] == expected
    assert np.array_equal(value, before)


def test_missing_points_stay_missing_and_the_others_move() -> None:
    found = resize_labels({"marks": array([20, 30], [np.nan, np.nan])}, CUT)["marks"]
    assert found[0].tolist() == by_hand(20, 30)
    assert np.isnan(found[1]).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("corner", array(20, 30)),
        ("corner", array(20, 30, 1)),
        ("box", array(20, 30, 8, 6)),
        ("boxes", array([20, 30, 8, 6])),
        ("marks", array([20, 30, 1])),
        ("shape", array(1, 2, 3, 4, 5, 6)),
        ("marks", array([0.2, 0.75], [1, 0])),  # looks like shares of the size
        ("marks_norm", array([20, 30])),
        ("camera", np.eye(4)),
    ],
)
def test_an_array_that_may_be_a_position_is_refused(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"label {name} is a.* --points {name} .*--boxes {name}:xywh .*--keep {name}"):
        moved({name: value})
    assert moved({name: value}, keep=(name,))[name] == value.tolist()
    assert moved({name: value}, CUT._replace(size=(32, 40), corner=(0, 0), result=(32, 40)))[name] == value.tolist()


def test_shares_of_the_size_survive_a_resize() -> None:
    assert moved({"marks_norm": array([0.2, 0.75]), "x_rel": "0.5", "y_rel": "0.25"}, HALF) == {
        "marks_norm": [[0.2, 0.75]],
        "x_rel": "0.5",
        "y_rel": "0.25",
    }


def test_a_mask_is_sampled_and_never_mixed() -> None:
    mask = np.random.default_rng(0).integers(0, 5, (40, 60))
    found = resize_labels({"mask": mask, "regions": mask + 7}, CUT)
    # Every pixel of the result lies in one pixel of the crop.
    expected = [[mask[4 + y // 2, 10 + x // 3] for x in range(120)] for y in range(64)]
    assert found["mask"].tolist() == expected
    assert np.array_equal(found["regions"], np.array(expected) + 7)
    assert found["mask"].dtype == mask.dtype
    with pytest.raises(ImageError, match=r"a\.png: its label mask is 20x30, but the image is 40x60"):
        moved({"mask": mask[:20, :30]})


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"nose_x": "20", "nose_y": "30.5"}, dict(zip(("nose_x", "nose_y"), by_hand(20, 30.5)))),
        ({"noseX": 20, "noseY": 30}, dict(zip(("noseX", "noseY"), by_hand(20, 30)))),
        ({"x": "20", "y": "30", "age": "3"}, dict(zip(("x", "y"), by_hand(20, 30)))),
        ({"x_nose_px": "20", "y_nose_px": "30"}, dict(zip(("x_nose_px", "y_nose_px"), by_hand(20, 30)))),
        (
            {"xmin": "20", "ymin": "30", "xmax": "28", "ymax": "36", "width": "60", "height": "40"},
            dict(zip(("xmin", "ymin", "xmax", "ymax"), (*by_hand(20, 30), *by_hand(28, 36))))
            | {"width": 120, "height": 64},
        ),
        (
            {"face_x": "20", "face_y": "30", "face_w": "8", "face_h": "6"},
            dict(zip(("face_x", "face_y", "face_w", "face_h"), (*by_hand(20, 30), 24, 12))),
        ),
        (
            {"left": "20", "top": "30", "right": "28", "bottom": "36"},
            dict(zip(("left", "top", "right", "bottom"), (*by_hand(20, 30), *by_hand(28, 36)))),
        ),
        (
            {"cx": "20", "cy": "30", "width": "8", "height": "6"},
            dict(zip(("cx", "cy", "width", "height"), (*by_hand(20, 30), 24, 12))),
        ),
        ({"gaze_x": "0.1", "gaze_y": "0.2", "gaze_z": "-0.9"}, {}),
        ({"hand_x_mm": "0.1", "hand_y_mm": "0.2"}, {}),
        ({"eye": "left", "left": "1", "x1": "5", "x2": "7", "weather": "fine", "day": "3"}, {}),
    ],
)
def test_columns_of_single_numbers_move_with_their_partners(labels: dict[str, Any], expected: dict[str, float]) -> None:
    found = moved(labels)
    assert found.keys() == labels.keys()
    for name, value in found.items():
        assert type(value) is type(labels[name]) or isinstance(value, float)
        assert (float(value) if name in expected else value) == expected.get(name, labels[name])


def test_lengths_in_pixels_scale_if_both_axes_scale_alike() -> None:
    labels = {"iris_x": "20", "iris_y": "30", "iris_radius": "5", "blur_px": "2", "r": "9"}
    assert moved(labels, HALF) == {
        "iris_x": "9.75",
        "iris_y": "14.75",
        "iris_radius": "2.5",
        "blur_px": "1",
        "r": "9",
    }
    with pytest.raises(UsageError, match="label blur_px is a length in pixels, and the images are stretched"):
        moved(labels)
    assert moved(labels, keep=("blur_px", "iris_radius"))["blur_px"] == "2"


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        ({"hand_x": "1", "hand_y": "2", "hand_z": "3"}, "hand"),
        ({"gaze_x": "1", "gaze_y": "2"}, "gaze"),
        ({"nose_x": "0.25", "nose_y": "0.5"}, "nose"),
        ({"face_width": "9", "face_height": "8"}, "face_width"),
        ({"face_width": "9"}, "face_width"),
        ({"face_h": "9"}, "face_h"),
        ({"height": "9"}, "height"),
        ({"iris_radius": "7.5"}, "iris_radius"),
        ({"pupil_diameter": "7.5"}, "pupil_diameter"),
        ({"corner": "20 30"}, "corner"),
        ({"corner": "(20.5, 30)"}, "corner"),
        ({"corner": '{"x": 20}'}, "corner"),
    ],
)
def test_columns_that_may_be_positions_are_refused(labels: dict[str, str], name: str) -> None:
    with pytest.raises(UsageError, match=rf"label {name} .*--keep {name}( |$)"):
        moved(labels)
    assert moved(labels, keep=(name,)) == labels


def test_half_a_point_rejects_its_image() -> None:
    with pytest.raises(ImageError, match=r"a\.png: its label nose_x has only one coordinate"):
        moved({"nose_x": "20", "age": "3"})
    assert moved({"nose_x": "20"}, keep=("nose",)) == {"nose_x": "20"}


@pytest.mark.parametrize(
    ("labels", "declared", "reason"),
    [
        ({"age": "3"}, {"points": ("age",)}, "label age is '3'; write points as"),
        ({"tag": "left"}, {"points": ("tag",)}, "label tag is 'left'; write points as"),
        ({"corner": "20 30"}, {"points": ("corner",)}, "label corner is '20 30'; write points as"),
        ({"shape": array(1, 2, 3, 4, 5)}, {"points": ("shape",)}, "label shape is a list of 5 numbers"),
        ({"box": array(1, 2, 3)}, {"boxes": (("box", "xywh"),)}, "label box is a list of 3 numbers"),
    ],
)
def test_a_declaration_that_does_not_fit_is_refused(labels: Any, declared: Any, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        moved(labels, **declared)


def test_a_declared_label_has_to_exist_and_to_be_declared_once() -> None:
    Declared(points=("nose", "corner"), keep=("x",)).check(["nose_x", "nose_y", "corner", "x"], "in")
    with pytest.raises(UsageError, match="in has no label 'noze'; its labels: nose_x"):
        Declared(points=("noze",)).check(["nose_x"], "in")
    with pytest.raises(UsageError, match="label a is declared twice"):
        Declared(points=("a",), keep=("a",)).check(["a"], "in")


def test_names_are_split_into_words() -> None:
    assert split_words("leftEye_tip.x1") == ("left", "eye", "tip", "x1")
    assert stems("nose_tip_x") == ["nose_tip"]
    assert stems("face_xmin") == ["face"]
    assert stems("age") == stems("x") == []


def test_a_flip_refuses_an_array_that_it_cannot_move() -> None:
    flip = np.array([[-1.0, 0, 59], [0, 1, 0], [0, 0, 1]])
    for value in (array(20, 30), array(1, 2, 3, 4), array([1, 2, 3])):
        with pytest.raises(ValueError, match=r"label corner .* cannot follow its image"):
            move_labels({"corner": value}, flip, (40, 60))
        assert move_labels({"corner": value}, np.eye(3), (40, 60))["corner"] is value
    assert move_labels({"outline": array([20, 30])}, flip, (40, 60))["outline"].tolist() == [[39, 30]]
