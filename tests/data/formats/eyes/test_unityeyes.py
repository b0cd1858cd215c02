"""UnityEyes frames: strict vectors, the cut at MPIIGaze's scale, and every sign on real renders."""

import csv
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from refiner.commands import main
from refiner.core.errors import DataError, ImageError
from refiner.data.folders.selection import Selection
from refiner.data.formats.eyes.unityeyes import UnityEyes
from refiner.data.formats.eyes.unityeyes_scene import gaze_angles, head_angles, parse_vector, read_scene
from refiner.data.formats.folder import ImageFolder
from refiner.data.formats.registry import left_out_of, open_dataset
from refiner.data.labels.angles import angular_error_degrees, to_angles, to_vectors
from refiner.data.labels.records import column_values
from refiner.images.io import read_image, write_image

Scene = dict[str, Any]


def make_scene(centre: tuple[float, float], radius: float, frame: tuple[int, int]) -> Scene:
    """JSON of an eye whose iris is a circle; ``centre`` in image pixels, y down."""
    x, y = centre
    up = frame[0] - y  # UnityEyes counts from the bottom
    turn = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    wide = 3.2 * radius
    lid = np.concatenate([np.linspace(-wide, wide, 9), np.linspace(wide, -wide, 9)[1:8]])
    return {
        "interior_margin_2d": [f"({x + dx}, {up + (1 if i < 8 else -1)}, 9.1)" for i, dx in enumerate(lid)],
        "caruncle_2d": [f"({x - wide}, {up}, 8.6)"] * 7,
        "iris_2d": [f"({x + radius * math.cos(a)}, {up + radius * math.sin(a)}, 9.0)" for a in turn],
        "eye_details": {"look_vec": "(0.1, 0.2, -0.9, 0.0000)", "iris_texture": "eyeball_brown"},
        "eye_region_details": {"primary_skin_texture": "m01_color"},
        "head_pose": "(0.0, 180.0, 0.0)",
    }


def make_frame(centre: tuple[float, float], radius: float, frame: tuple[int, int]) -> np.ndarray:
    """A soft dark disc on a slanting ramp, scaled with ``radius`` so that resolutions can be compared."""
    y, x = np.mgrid[: frame[0], : frame[1]]
    distance = np.hypot(x - centre[0], y - centre[1]) / radius
    ramp = 150 + (x - centre[0]) / radius + 0.5 * (y - centre[1]) / radius
    grey = ramp - 110 / (1 + np.exp((distance - 1) * 12))
    return np.stack([grey, grey * 0.8, grey * 0.7], axis=-1).clip(0, 255).astype(np.uint8)


def write_frame(
    folder: Path, name: str, *, centre: tuple[float, float], radius: float, frame: tuple[int, int], **changes: Any
) -> None:
    write_image(folder / f"{name}.png", make_frame(centre, radius, frame))
    (folder / f"{name}.json").write_text(json.dumps({**make_scene(centre, radius, frame), **changes}))


# --- vectors ---------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=4))
def test_vectors_of_three_and_four_numbers_are_read(numbers: list[float]) -> None:
    assert parse_vector(f"({', '.join(map(repr, numbers))})") == tuple(numbers[:3])
    assert parse_vector(f" ( {' ,'.join(map(repr, numbers))} ) ") == tuple(numbers[:3])


def test_numbers_are_read_in_every_spelling() -> None:
    assert parse_vector("(1, -2., +.5)") == (1, -2, 0.5)
    assert parse_vector("(1e1,2E-1,-3e+0,0.0000)") == (10, 0.2, -3)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch hacked')",
        "(__import__('os').system('touch hacked'), 1, 2)",
        "(open('hacked', 'w'), 0, 0)",
        "(1, 2, 3) or open('hacked', 'w')",
        "(9**9**9, 1, 2)",
        "(nan, 0, 0)",
        "(NaN, 0, 0)",
        "(inf, 0, 0)",
        "(1e999, 0, 0)",
        "(0, -1e999, 1e999)",
        "(1, 2)",
        "(1, 2, 3, 4, 5)",
        "(1, 2, )",
        "1, 2, 3",
        "[1, 2, 3]",
        "(1; 2; 3)",
        "(1, 2, 3",
        "(1_0, 2, 3)",
        "(0x1, 2, 3)",
        "((1, 2, 3))",
        "(1, 2, 3)(4, 5, 6)",
        "",
        "()",
        "(" * 10_000,
        None,
        7,
        [1.0, 2.0, 3.0],
        {"x": 1},
        True,
    ],
)
def test_anything_else_is_refused_and_nothing_is_run(
    text: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="is not"):
        parse_vector(text)
    assert list(tmp_path.iterdir()) == []


@given(st.text("0123456789+-.eE, ()naif_x*", max_size=30))
@settings(max_examples=300)
def test_what_is_read_is_finite_numbers(text: str) -> None:
    try:
        vector = parse_vector(text)
    except ValueError:
        return
    assert all(math.isfinite(part) for part in vector)
    assert parse_vector(str(vector)) == vector


def test_a_long_number_takes_no_quadratic_time() -> None:
    start = time.perf_counter()
    for text in ("(" + "1" * 50_000, "(1, 2," + " " * 50_000, "(" + "1." * 20_000, "(1,1,1" + "1" * 50_000 + "x"):
        with pytest.raises(ValueError, match="is not"):
            parse_vector(text)
    assert time.perf_counter() - start < 2


# --- angles ----------------------------------------------------------------------------------------------------


def test_the_test_vector_of_the_reference_sheet() -> None:
    pitch, yaw = gaze_angles((0.1, 0.2, -0.9))
    assert math.degrees(pitch) == pytest.approx(12.4546, abs=1e-4)
    assert math.degrees(yaw) == pytest.approx(-6.3402, abs=1e-4)
    assert math.degrees(gaze_angles((-0.1, 0.2, -0.9))[1]) == pytest.approx(6.3402, abs=1e-4)
    assert to_angles(np.array([0.1, -0.2, -0.9])) == pytest.approx([pitch, yaw])  # MPIIGaze's axes: y down


@given(st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: math.hypot(*v) > 1e-3))
def test_gaze_is_that_of_the_convention_after_turning_y(look: tuple[float, float, float]) -> None:
    x, y, z = look
    unit = np.array([x, -y, z]) / math.hypot(*look)
    assert to_vectors(np.array(gaze_angles(look))) == pytest.approx(unit, abs=1e-7)


@pytest.mark.parametrize("look", [(0.0, 0.0, 0.0), (1.7e308, 1.7e308, 1.7e308)])
def test_a_look_vector_without_direction_is_refused(look: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="no direction"):
        gaze_angles(look)


@given(st.floats(-40, 40), st.floats(-60, 60), st.sampled_from([0.0, 360.0, -360.0]))
def test_head_angles_follow_the_rule_of_mpiigaze(down: float, aside: float, turn: float) -> None:
    """The third column of the head's rotation, worked out from Unity's camera with a rotation library."""
    pitch, yaw = head_angles((down + turn, 180 + aside + turn, 0.0))
    camera = Rotation.from_euler("YXZ", [180 + aside, down, 0], degrees=True).as_matrix()  # right, up, forward
    into_the_head = camera.T @ np.array([0, 0, -1])  # the face looks along +z of Unity's world
    x, y, z = into_the_head * np.array([1, -1, 1])  # y down
    assert pitch == pytest.approx(math.asin(np.clip(y, -1, 1)), abs=1e-7)
    assert yaw == pytest.approx(math.atan2(x, z), abs=1e-7)


def test_head_signs_in_words() -> None:
    assert head_angles((0, 180, 0)) == pytest.approx((0, 0))
    assert head_angles((340, 180, 0)) == pytest.approx((math.radians(20), 0))  # from below the face looks up
    assert head_angles((0, 200, 0)) == pytest.approx((0, math.radians(-20)))  # and here to the image's right


# --- cutting ---------------------------------------------------------------------------------------------------


def centroid(patch: np.ndarray) -> np.ndarray:
    """Middle of the dark disc, (x, y), found without labels."""
    grey = patch[..., 0].astype(float)
    weight = np.clip(90 - grey, 0, None)
    y, x = np.mgrid[: grey.shape[0], : grey.shape[1]]
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


@pytest.mark.parametrize("size", [(36, 60), (35, 55), (18, 30), (72, 120)])
@pytest.mark.parametrize("centre", [(101.3, 80.7), (96.0, 83.5)])
def test_labels_point_at_the_same_spot_after_cutting(
    tmp_path: Path, size: tuple[int, int], centre: tuple[float, float]
) -> None:
    write_frame(tmp_path, "1", centre=centre, radius=17.3, frame=(160, 210))
    record = UnityEyes(tmp_path, size=size).read("1.png")
    assert record.image.shape == (*size, 3)
    assert np.abs(record.labels["pupil"] - centroid(record.image)).max() < 0.5
    outline = record.labels["iris_outline"]
    assert outline.mean(axis=0) == pytest.approx(record.labels["pupil"], abs=1e-6)
    # 18.7 px of 60, and the corners 6.4 radii apart
    diameter = outline[:, 0].max() - outline[:, 0].min()
    assert diameter == pytest.approx(18.7 * size[1] / 60, rel=0.03)
    lids = record.labels["lid_outline"]
    assert lids[:, 0].max() - lids[:, 0].min() == pytest.approx(3.2 * diameter, rel=0.03)


def test_the_patch_does_not_depend_on_the_resolution_of_the_render(tmp_path: Path) -> None:
    patches, pupils = [], []
    for name, factor in (("1", 1.0), ("2", 2.0), ("3", 3.5)):
        frame = round(160 * factor), round(210 * factor)
        write_frame(tmp_path, name, centre=(101 * factor, 80 * factor), radius=20 * factor, frame=frame)
        record = UnityEyes(tmp_path).read(f"{name}.png")
        patches.append(record.image.astype(float))
        pupils.append(record.labels["pupil"])
    for patch, pupil in zip(patches[1:], pupils[1:]):
        assert np.abs(patch - patches[0]).mean() < 2
        assert np.abs(pupil - pupils[0]).max() < 0.5


@pytest.mark.parametrize("centre", [(2.0, 80.0), (207.0, 80.0), (100.0, 3.0), (100.0, 157.0), (0.5, 0.5)])
def test_an_eye_at_the_edge_of_the_frame_keeps_the_size_and_the_labels(
    tmp_path: Path, centre: tuple[float, float]
) -> None:
    write_frame(tmp_path, "1", centre=centre, radius=17.0, frame=(160, 210))
    write_frame(tmp_path, "2", centre=(105.0, 80.0), radius=17.0, frame=(160, 210))
    record, inside = (UnityEyes(tmp_path).read(f"{name}.png") for name in "12")
    assert record.image.shape == (36, 60, 3)
    assert np.abs(record.labels["pupil"] - inside.labels["pupil"]).max() < 0.6  # the window moves by whole pixels
    x, y = (round(part) for part in record.labels["pupil"])
    assert abs(int(record.image[y, x, 0]) - int(make_frame(centre, 17.0, (160, 210))[..., 0].min())) <= 6


def test_beyond_the_edge_of_the_frame_its_edge_goes_on(tmp_path: Path) -> None:
    write_frame(tmp_path, "1", centre=(2.0, 80.0), radius=17.0, frame=(160, 210))
    image = UnityEyes(tmp_path).read("1.png").image[..., 0].astype(int)
    assert np.ptp(image[:, :26], axis=1).max() <= 1
    assert abs(image[18, 5] - int(make_frame((2.0, 80.0), 17.0, (160, 210))[80, 0, 0])) <= 3
    assert image[1, 5] > 130 > 90 > image[18, 5]


def test_an_eye_of_a_few_pixels_still_gives_a_patch(tmp_path: Path) -> None:
    write_frame(tmp_path, "1", centre=(5.0, 4.0), radius=0.4, frame=(8, 11))
    assert UnityEyes(tmp_path, size=(7, 9)).read("1.png").image.shape == (7, 9, 3)


# --- files -----------------------------------------------------------------------------------------------------


def test_a_record_has_the_labels_of_the_convention(tmp_path: Path) -> None:
    write_frame(tmp_path, "1", centre=(100.0, 80.0), radius=17.0, frame=(160, 210), head_pose="(350.0, 190.0, 0.0)")
    labels = UnityEyes(tmp_path).read("1.png").labels
    assert np.degrees(labels["gaze"]) == pytest.approx([12.4546, -6.3402], abs=1e-4)
    assert np.degrees(labels["head_pose"]) == pytest.approx([9.85, -10.15], abs=0.1)
    assert labels["subject"] == "m01_color"
    assert labels["iris_outline"].shape == (32, 2)
    assert labels["lid_outline"].shape == (16, 2)


def test_frames_are_recognised_and_one_without_json_is_refused_by_name(tmp_path: Path) -> None:
    write_frame(tmp_path, "sub/2", centre=(100.0, 80.0), radius=17.0, frame=(160, 210))
    write_frame(tmp_path, "10", centre=(100.0, 80.0), radius=17.0, frame=(160, 210))
    write_image(tmp_path / "preview.png", np.zeros((3, 5), np.uint8))
    dataset = open_dataset(tmp_path, size=(18, 30))
    assert isinstance(dataset, UnityEyes)
    assert dataset.ids == ["10.png", "preview.png", "sub/2.png"]
    assert dataset.read("10.png").image.shape == (18, 30, 3)
    for ask in (dataset.read, dataset.read_image, dataset.subject):
        with pytest.raises(ImageError, match=r"has no \.json file") as raised:
            ask("preview.png")
        assert raised.value.path == tmp_path / "preview.png"


def test_a_whole_frame_has_its_labels_in_its_own_pixels(tmp_path: Path) -> None:
    centre = (101.3, 80.7)
    write_frame(tmp_path, "1", centre=centre, radius=17.3, frame=(160, 210))
    dataset = open_dataset(tmp_path, size=(18, 30), crop=False)
    record, cut = dataset.read("1.png"), UnityEyes(tmp_path).read("1.png")
    assert np.array_equal(record.image, make_frame(centre, 17.3, (160, 210)))
    assert np.array_equal(dataset.read_image("1.png"), record.image)
    assert record.labels["pupil"] == pytest.approx(centre, abs=1e-9)
    outline = record.labels["iris_outline"]
    assert np.hypot(*(outline - centre).T) == pytest.approx(np.full(32, 17.3))
    assert outline[8] == pytest.approx((101.3, 80.7 - 17.3))  # a quarter turn on: the top, where y is smallest
    assert record.labels["lid_outline"].shape == (16, 2)
    assert np.array_equal(record.labels["gaze"], cut.labels["gaze"])
    assert set(record.labels) == set(cut.labels)


def test_the_subject_is_found_without_decoding(tmp_path: Path) -> None:
    write_frame(tmp_path, "1", centre=(100.0, 80.0), radius=17.0, frame=(160, 210))
    write_frame(tmp_path, "2", centre=(100.0, 80.0), radius=17.0, frame=(160, 210), eye_region_details={})
    write_frame(tmp_path, "3", centre=(100.0, 80.0), radius=17.0, frame=(160, 210), eye_region_details=[])
    for path in tmp_path.glob("*.png"):
        path.write_bytes(b"no image")
    dataset = UnityEyes(tmp_path)
    assert dataset.subject("1.png") == "m01_color"
    assert dataset.subject("2.png") is None
    with pytest.raises(ImageError, match="its JSON file has no usable eye_region_details"):
        dataset.subject("3.png")


@pytest.mark.parametrize("crop", [True, False])
def test_a_flipped_frame_is_refused_by_name(tmp_path: Path, crop: bool) -> None:
    scene = make_scene((100.0, 80.0), 17.0, (160, 210))
    mirrored = {
        key: [f"({209 - x}, {y}, {z})" for x, y, z in map(parse_vector, scene[key])]
        for key in ("interior_margin_2d", "caruncle_2d", "iris_2d")
    }
    write_frame(tmp_path, "1", centre=(100.0, 80.0), radius=17.0, frame=(160, 210), **mirrored)
    with pytest.raises(ImageError, match="its caruncle is not left of its outer eye corner"):
        UnityEyes(tmp_path, crop=crop).read("1.png")


def test_a_file_is_no_folder_of_frames(tmp_path: Path) -> None:
    write_frame(tmp_path, "1", centre=(100.0, 80.0), radius=17.0, frame=(160, 210))
    for path in (tmp_path / "1.png", tmp_path / "1.json", tmp_path / "absent"):
        assert not UnityEyes.recognises(path)
        with pytest.raises(DataError, match="is not a folder"):
            UnityEyes(path)


@pytest.mark.parametrize("damaged", ["", "{", "[" * 100_000, "[]", "7", "null", '{"head_pose": 1}', None])
def test_a_damaged_first_file_does_not_make_it_a_plain_folder(tmp_path: Path, damaged: str | None) -> None:
    write_frame(tmp_path, "1", centre=(100.0, 80.0), radius=17.0, frame=(160, 210))
    write_frame(tmp_path, "2", centre=(100.0, 80.0), radius=17.0, frame=(160, 210))
    if damaged is None:
        (tmp_path / "1.json").unlink()
    else:
        (tmp_path / "1.json").write_text(damaged)
    assert isinstance(open_dataset(tmp_path), UnityEyes)


def test_other_folders_are_not_taken_for_unityeyes(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.zeros((3, 5), np.uint8))
    assert isinstance(open_dataset(tmp_path), ImageFolder)
    (tmp_path / "a.json").write_text('{"camera": 1}')
    assert isinstance(open_dataset(tmp_path), ImageFolder)
    (tmp_path / "a.json").unlink()
    with pytest.raises(DataError, match="holds no UnityEyes frames"):
        _ = open_dataset(tmp_path, format="unityeyes").ids


def _drop(key: str) -> Callable[[Scene], object]:
    return lambda scene: scene.pop(key)


def _put(key: str, value: object) -> Callable[[Scene], object]:
    return lambda scene: scene.update({key: value})


@pytest.mark.parametrize(
    "damage",
    [
        *(_drop(key) for key in ("interior_margin_2d", "caruncle_2d", "iris_2d", "eye_details", "head_pose")),
        _put("iris_2d", []),
        _put("iris_2d", "(1, 2, 3)"),
        _put("iris_2d", ["(nan, 2, 3)"] * 32),
        _put("iris_2d", [["(1, 2, 3)"]]),
        _put("iris_2d", {"a": 1}),
        _put("iris_2d", 5),
        _put("iris_2d", ["(1e308, 1e308, 0)"] * 32),
        _put("iris_2d", ["(0, 0, 0)", "(99999, 99999, 0)"]),
        _put("interior_margin_2d", ["(1, 2, 3)"] * 8),
        _put("caruncle_2d", None),
        _put("caruncle_2d", ["(-90000, 2, 3)"]),
        _put("eye_details", []),
        _put("eye_details", {"look_vec": "(0, 0, 0, 0)"}),
        _put("eye_details", {"look_vec": "exit()"}),
        _put("eye_details", {"look_vec": [0, 0, -1]}),
        _put("head_pose", "0, 180, 0"),
        _put("head_pose", "(NaN, 180, 0)"),
        _put("eye_region_details", 7),
        _put("eye_region_details", None),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_damaged_labels_reject_the_frame_by_name(tmp_path: Path, damage: Callable[[Scene], object]) -> None:
    scene = make_scene((100.0, 80.0), 17.0, (160, 210))
    damage(scene)
    write_image(tmp_path / "1.png", make_frame((100.0, 80.0), 17.0, (160, 210)))
    (tmp_path / "1.json").write_text(json.dumps(scene))
    with pytest.raises(ImageError, match="its JSON file has") as raised:
        UnityEyes(tmp_path).read("1.png")
    assert raised.value.path == tmp_path / "1.png"


@pytest.mark.parametrize("text", ["", "{", "\xff\xfe", "[" * 100_000, '"text"', "[1]", "NaN"])
def test_a_file_that_is_no_json_object_rejects_the_frame(tmp_path: Path, text: str) -> None:
    write_image(tmp_path / "1.png", make_frame((100.0, 80.0), 17.0, (160, 210)))
    (tmp_path / "1.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ImageError, match="JSON"):
        UnityEyes(tmp_path).read("1.png")


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8) | st.just("(1.0, 2.0, 3.0)") | st.just("(90, 70, 3)"),
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(st.sampled_from(["look_vec", "a"]), inner, max_size=2),
    max_leaves=20,
)
_KEYS = ["interior_margin_2d", "caruncle_2d", "iris_2d", "eye_details", "head_pose", "eye_region_details"]


@given(changes=st.dictionaries(st.sampled_from(_KEYS), _JSON, min_size=1))
@settings(max_examples=100, deadline=None)
def test_garbage_gives_a_patch_or_a_rejection(tmp_path_factory: pytest.TempPathFactory, changes: Scene) -> None:
    folder = tmp_path_factory.mktemp("garbage")
    write_frame(folder, "1", centre=(20.0, 15.0), radius=4.0, frame=(30, 44), **changes)
    try:
        record = UnityEyes(folder, size=(9, 15)).read("1.png")
    except ImageError:
        return
    assert record.image.shape == (9, 15, 3)
    assert np.isfinite(record.labels["gaze"]).all()


# --- decimal commas ----------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-1000, 1000), min_size=3, max_size=4))
def test_vectors_with_decimal_commas_are_read(numbers: list[float]) -> None:
    """As a program writes them with four decimals under a German or French locale."""
    text = f"({', '.join(f'{number:.4f}'.replace('.', ',') for number in numbers)})"
    expected = tuple(float(f"{number:.4f}") for number in numbers[:3])
    assert parse_vector(text) == expected
    assert parse_vector(text.replace("-", "\u2212")) == expected  # the minus of Swedish and Norwegian
    assert parse_vector(text.replace(" ", "")) == expected


@pytest.mark.parametrize(
    "text",
    ["(1,5, 2,5)", "(1,5, 2,5, 3)", "(1,5, 2,5, 3.5)", "(1,5, 2,5, 3,5, 4,5, 5,5)", "(1,5; 2,5; 3,5)", "(1,5,2,5,3)"],
)
def test_ambiguous_commas_are_refused_or_plain_numbers(text: str) -> None:
    if text == "(1,5, 2,5)":
        assert parse_vector(text) == (1, 5, 2)  # four whole numbers
        return
    with pytest.raises(ValueError, match="is not a vector"):
        parse_vector(text)


def test_a_frame_with_decimal_commas_has_the_same_labels(tmp_path: Path) -> None:
    def commas(value: Any) -> Any:
        if isinstance(value, str) and value.startswith("("):
            numbers = [f"{float(part):.4f}" for part in value.strip("()").split(",")]
            return f"({', '.join(numbers)})".replace(".", ",")
        return [commas(part) for part in value] if isinstance(value, list) else value

    for name in ("plain", "commas"):
        write_frame(tmp_path / name, "1", centre=(100.0, 80.0), radius=17.0, frame=(160, 210))
    scene = json.loads((tmp_path / "commas" / "1.json").read_text())
    changed = {key: commas(value) for key, value in scene.items()}
    changed["eye_details"] = {key: commas(value) for key, value in scene["eye_details"].items()}
    assert changed["head_pose"] == "(0,0000, 180,0000, 0,0000)"
    (tmp_path / "commas" / "1.json").write_text(json.dumps(changed))
    plain, other = (UnityEyes(tmp_path / name).read("1.png") for name in ("plain", "commas"))
    assert np.array_equal(plain.image, other.image)
    assert plain.labels.keys() == other.labels.keys()
    for name in ("gaze", "head_pose", "pupil", "iris_outline", "lid_outline"):
        assert other.labels[name] == pytest.approx(plain.labels[name], abs=1e-3)


# --- UnityEyes2 --------------------------------------------------------------------------------------------------


def camera_axes(pitch: float, yaw: float, roll: float) -> np.ndarray:
    """Right, up and forward of a camera in the world, by its Euler angles in degrees; Unity's axes are left-handed."""
    p, y, r = np.radians([pitch, yaw, roll])
    forward = np.array([np.sin(y) * np.cos(p), -np.sin(p), np.cos(y) * np.cos(p)])
    right = np.array([np.cos(y), 0, -np.sin(y)])
    up = np.cross(forward, right)
    return np.stack([np.cos(r) * right + np.sin(r) * up, np.cos(r) * up - np.sin(r) * right, forward])


CAMERAS = {"left_eye": (4.0, 172.0, 0.0), "b": (350.0, 195.0, 12.0)}
LOOK = np.array([0.2, -0.1, 0.97]) / np.linalg.norm([0.2, -0.1, 0.97])
"""Gaze in the world, where the face looks along z and y is up."""


def write_unityeyes2(folder: Path, frame: int, main: str) -> dict[str, tuple[float, float]]:
    """One frame of two cameras; return the iris centres by camera."""

    def text(values: Any, decimals: int = 4) -> str:
        return f"({', '.join(f'{value:.{decimals}f}' for value in values)})"

    cameras, centres = {}, {}
    for number, (name, angles) in enumerate(CAMERAS.items()):
        centres[name] = (100.0 + 6 * number, 80.0 - 3 * number)
        scene = make_scene(centres[name], 17.0, (160, 210))
        write_image(folder / f"{frame}_{name}.jpg", make_frame(centres[name], 17.0, (160, 210)))
        landmarks = {key: scene[key] for key in ("interior_margin_2d", "caruncle_2d", "iris_2d")}
        pose = {"position": "(0.0, 0.0, 10.0)", "rotation": text(CAMERAS[main])}
        cameras[name] = {"head_pose": text(angles), "camera_pose": pose, **landmarks}
    details = {"look_vec": text([*(camera_axes(*CAMERAS[main]) @ LOOK), 0.0], 6), "iris_size": "0.98"}
    region = {"primary_skin_texture": "m01_color"}
    scene = {"eye_details": details, "eye_region_details": region, "cameras": cameras}
    (folder / f"{frame}.json").write_text(json.dumps(scene))
    return centres


@pytest.mark.parametrize("main", CAMERAS)
def test_each_camera_of_unityeyes2_has_its_own_labels(tmp_path: Path, main: str) -> None:
    """Gaze and head are turned into the axes of each camera, whichever camera the look vector was measured in."""
    centres = write_unityeyes2(tmp_path, 1, main)
    write_unityeyes2(tmp_path, 2, main)
    dataset = open_dataset(tmp_path, crop=False)
    assert isinstance(dataset, UnityEyes)
    assert dataset.ids == [f"{frame}_{name}.jpg" for frame in (1, 2) for name in sorted(CAMERAS)]
    for name, angles in CAMERAS.items():
        labels = dataset.read(f"1_{name}.jpg").labels
        for label, direction in (("gaze", LOOK), ("head_pose", np.array([0.0, 0.0, 1.0]))):
            x, up, away = camera_axes(*angles) @ direction
            assert labels[label] == pytest.approx([np.arcsin(up), np.arctan2(-x, -away)], abs=1e-4)
        assert labels["pupil"] == pytest.approx(centres[name])
        assert (labels["subject"], labels["camera"]) == ("m01_color", name)
    patch = open_dataset(tmp_path).read("1_b.jpg")
    assert patch.image.shape == (36, 60, 3)
    assert patch.image[tuple(np.rint(patch.labels["pupil"]).astype(int)[::-1])].max() < 60  # on the dark iris


def test_a_camera_that_its_file_lacks_is_named(tmp_path: Path) -> None:
    write_unityeyes2(tmp_path, 1, "b")
    (tmp_path / "1_b.jpg").rename(tmp_path / "1_c.jpg")
    with pytest.raises(ImageError, match="has no camera c; its cameras are: left_eye, b"):
        UnityEyes(tmp_path).read("1_c.jpg")


# --- pictures that were changed after rendering ---------------------------------------------------------------


def write_frames(folder: Path, count: int, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Frames whose eye lies near the middle, with changed pictures and unchanged JSON files."""
    rng = np.random.default_rng(0)
    for number in range(count):
        centre = (200 + rng.normal(0, 4), 150 + rng.normal(0, 4))
        write_frame(folder, f"{number}", centre=centre, radius=26.0, frame=(300, 400))
        scene = json.loads((folder / f"{number}.json").read_text())
        lids = [200 + 80 * np.cos(a) for a in np.linspace(np.pi, -np.pi, 17)[:16]]
        rise = [150 + 26 * np.sin(a) for a in np.linspace(np.pi, -np.pi, 17)[:16]]
        scene["interior_margin_2d"] = [f"({x}, {y}, 9.1)" for x, y in zip(lids, rise)]
        (folder / f"{number}.json").write_text(json.dumps(scene))
        write_image(folder / f"{number}.png", change(make_frame(centre, 26.0, (300, 400))))


@pytest.mark.parametrize("size", [(240, 320), (150, 200), (600, 800), (224, 224)])
@pytest.mark.parametrize("count", [3, 12])
def test_scaled_frames_are_refused_with_the_size_of_the_render(
    tmp_path: Path, size: tuple[int, int], count: int
) -> None:
    write_frames(tmp_path, count, lambda picture: cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA))
    words = rf"fit a picture of about 300x400 \(height x width\), and this one is {size[0]}x{size[1]}"
    for crop in (True, False):
        with pytest.raises(ImageError, match=words):
            UnityEyes(tmp_path, crop=crop).read("1.png")


@pytest.mark.parametrize(
    "change", [lambda picture: np.roll(picture, 90, axis=1), lambda picture: np.full_like(picture, 90)]
)
def test_landmarks_beside_the_eye_are_refused(tmp_path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    write_frames(tmp_path, 5, change)
    with pytest.raises(ImageError, match="do not lie on an eye"):
        UnityEyes(tmp_path).read("1.png")


def test_one_scaled_frame_among_sound_ones_is_refused_alone(tmp_path: Path) -> None:
    write_frames(tmp_path, 10, lambda picture: picture)
    picture = read_image(tmp_path / "4.png")
    write_image(tmp_path / "4.png", cv2.resize(picture, (320, 240), interpolation=cv2.INTER_AREA))
    dataset = UnityEyes(tmp_path)
    for name in dataset.ids:
        if name == "4.png":
            with pytest.raises(ImageError, match="fit a picture of about 300x400"):
                dataset.read(name)
        else:
            assert "pupil" in dataset.read(name).labels


# --- real renders ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rows(real_data: Path) -> list[dict[str, str]]:
    with (real_data / "unityeyes" / "deepmetis_labels.csv").open() as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def records(real_data: Path, rows: list[dict[str, str]]) -> list[Any]:
    dataset = open_dataset(real_data / "unityeyes" / "deepmetis")
    assert isinstance(dataset, UnityEyes)
    assert [row["file"] for row in rows] == [f"deepmetis/{sample}" for sample in dataset.ids]
    return [dataset.read(sample) for sample in dataset.ids]


@pytest.fixture(scope="module")
def scenes(real_data: Path, rows: list[dict[str, str]]) -> list[Scene]:
    return [json.loads((real_data / "unityeyes" / row["json"]).read_text()) for row in rows]


def values(records: list[Any], name: str) -> np.ndarray:
    found = column_values([record.labels for record in records], name)
    assert found is not None
    return found


def test_gaze_is_that_of_the_independent_table(rows: list[dict[str, str]], records: list[Any]) -> None:
    expected = np.array([[float(row["gaze_pitch_rad"]), float(row["gaze_yaw_rad"])] for row in rows])
    assert angular_error_degrees(values(records, "gaze"), expected).max() < 0.01


def test_the_iris_moves_with_the_gaze(records: list[Any]) -> None:
    """Positive yaw moves it to the image's left of the eye opening, positive pitch up."""
    lids = values(records, "lid_outline")
    middle = (lids[:, 0] + lids[:, 8]) / 2
    offset, gaze = values(records, "pupil") - middle, values(records, "gaze")
    assert np.corrcoef(offset[:, 0], gaze[:, 1])[0, 1] < -0.6
    assert np.corrcoef(offset[:, 1], gaze[:, 0])[0, 1] < -0.6


def test_the_pupil_label_lies_on_the_dark_iris(records: list[Any]) -> None:
    darker = 0
    for record in records:
        x, y = record.labels["pupil"].round().astype(int)
        grey = record.image.mean(axis=2)
        darker += grey[y - 1 : y + 2, x - 1 : x + 2].mean() < np.median(grey)
    assert darker > 0.95 * len(records)


def test_the_iris_has_the_size_it_has_in_mpiigaze(records: list[Any]) -> None:
    outlines = values(records, "iris_outline")
    widest = np.linalg.norm(outlines[:, :, None] - outlines[:, None], axis=-1).max(axis=(1, 2))
    assert np.abs(widest - 18.7).max() < 0.7


def test_every_render_is_a_left_eye(records: list[Any]) -> None:
    lids = values(records, "lid_outline")
    assert (lids[:, 8, 0] > lids[:, 0, 0]).all()  # the inner corner is at the image's left


def test_head_and_gaze_turn_the_same_way(records: list[Any], scenes: list[Scene]) -> None:
    """Gaze is the head's direction plus the eye's in the head, which this source notes down: so their slope is 1."""
    gaze, head = np.degrees(values(records, "gaze")), np.degrees(values(records, "head_pose"))
    eye = np.array([[float(scene["eye_angle_1"]), float(scene["eye_angle_2"])] for scene in scenes])
    for axis, (least, most) in enumerate([(0.7, 1.1), (0.9, 1.1)]):
        factors = np.stack([head[:, axis], eye[:, axis], np.ones(len(eye))], axis=1)
        slope = np.linalg.lstsq(factors, gaze[:, axis])[0][0]
        assert least < slope < most


def test_a_head_turned_to_the_left_brings_the_outer_corner_nearer(records: list[Any], scenes: list[Scene]) -> None:
    """Depth of the landmarks knows nothing of our angles: turning left moves the image's right side to the front."""
    depth = [
        parse_vector(scene["interior_margin_2d"][8])[2] - np.mean([parse_vector(t)[2] for t in scene["caruncle_2d"]])
        for scene in scenes
    ]
    assert np.corrcoef(depth, values(records, "head_pose")[:, 1])[0, 1] < -0.95


def test_photographs_of_mpiigaze_agree_in_sign(real_data: Path) -> None:
    """There too people look to the side that their head turns to."""
    from refiner.data.labels.tables import read_labels

    labels = read_labels(real_data / "mpiigaze_p00_dev" / "labels.csv").values()
    gaze, head = column_values(labels, "gaze"), column_values(labels, "head_pose")
    assert gaze is not None
    assert head is not None
    assert np.corrcoef(gaze[:, 1], head[:, 1])[0, 1] > 0.3


def test_a_whole_frame_is_found_again_in_the_patch(real_data: Path, records: list[Any]) -> None:
    """The middle of the patch is the middle of the eye corners of the frame, to a pixel of the patch."""
    scene = json.loads((real_data / "unityeyes" / "deepmetis" / "000.json").read_text())
    frame = read_image(real_data / "unityeyes" / "deepmetis" / "000.jpg").mean(axis=2)
    x, y, _ = np.mean([parse_vector(text) for text in scene["iris_2d"]], axis=0)
    around = frame[round(frame.shape[0] - y) - 2 :][:5, round(x) - 2 : round(x) + 3].mean()
    px, py = records[0].labels["pupil"].round().astype(int)
    assert records[0].image[py, px].mean() == pytest.approx(around, abs=25)


def test_whole_real_frames_have_their_labels_in_place(real_data: Path) -> None:
    dataset = UnityEyes(real_data / "unityeyes" / "deepmetis", crop=False)
    subjects = [dataset.subject(sample) for sample in dataset.ids]
    assert (len(dataset.ids), len(set(subjects))) == (80, 13)
    darker = 0
    for sample in dataset.ids[::8]:
        record = dataset.read(sample)
        assert record.image.shape == (600, 800, 3)
        assert record.labels["subject"] == dataset.subject(sample)
        x, y = record.labels["pupil"].round().astype(int)
        darker += record.image[y - 5 : y + 6, x - 5 : x + 6].mean() < np.median(record.image)
    assert darker >= 9


def test_real_frames_are_sound_and_scaled_ones_are_refused(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "unityeyes" / "deepmetis"
    dataset = UnityEyes(folder)
    assert all("gaze" in dataset.read(name).labels for name in dataset.ids[::4])
    for name in dataset.ids[::8]:
        picture = cv2.resize(read_image(folder / name), (640, 480), interpolation=cv2.INTER_AREA)
        write_image(tmp_path / name, picture)
        (tmp_path / name).with_suffix(".json").write_bytes((folder / name).with_suffix(".json").read_bytes())
    scaled = UnityEyes(tmp_path)
    for name in scaled.ids:
        with pytest.raises(ImageError, match="fit a picture of about 600x800"):
            scaled.read(name)


def test_a_name_that_is_too_long_with_json_is_one_image_without_labels(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"has no \.json file of the same name"):
        read_scene(tmp_path / f"{'x' * 251}.png")


# --- files beside the frames ------------------------------------------------------------------------------------


def test_files_that_the_layout_does_not_know_are_named(tmp_path: Path) -> None:
    write_frames(tmp_path / "in", 3, lambda picture: picture)
    for name in ("labels.csv", "0.xml", "9.json"):  # no frame is called 9
        (tmp_path / "in" / name).write_text("{}")
    (tmp_path / "in" / "README.txt").write_text("notes are no labels")
    result = CliRunner().invoke(main, ["convert", str(tmp_path / "in"), str(tmp_path / "out")])
    assert result.exit_code == 4
    assert "3 files are no part of this layout and are not read: 0.xml, 9.json, labels.csv" in result.stderr
    assert "3 written, 0 rejected" in result.stdout
    (tmp_path / "in" / "9.json").unlink()
    chosen = open_dataset(tmp_path / "in", selection=Selection(exclude=("0.*",)))
    assert [report.examples for report in left_out_of(chosen)] == [("0.xml", "labels.csv")]
