"""Augmentation: labels follow the image, draws follow (seed, purpose, position), mistakes are named up front."""

import math
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from refiner.config.training import TrainingConfiguration
from refiner.config.yaml_files import read_configuration, write_configuration
from refiner.core.errors import ConfigurationError, RunError
from refiner.data import transform_factory
from refiner.data.augmentation import Augmentation
from refiner.data.domains import ImageDomain
from refiner.data.labels.geometry import move_labels
from refiner.data.transform_factory import COMPOSITIONS
from refiner.runs.checkpoints import list_checkpoints
from refiner.training.train import train

FLIP = {"HorizontalFlip": {"p": 1.0}}
MIXTURE = [
    {"HorizontalFlip": {"p": 0.5}},
    {"OneOf": {"transforms": [{"GaussianBlur": {"p": 1.0}}, {"RandomGamma": {"p": 1.0}}], "p": 0.5}},
    {"GaussNoise": {"std_range": [0.01, 0.05], "p": 0.5}},
    {"Affine": {"translate_percent": [-0.1, 0.1], "rotate": [-10, 10], "p": 0.5}},
]


def augmentation(steps: list[Any], shape: tuple[int, ...] = (8, 12), **options: Any) -> Augmentation:
    return Augmentation(
        steps, **{"key": "augmentation.synthetic", "seed": 3, "purpose": "synthetic", **options}, shape=shape
    )


def noise(shape: tuple[int, ...], dtype: Any = np.uint8) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, endpoint=True).astype(dtype)


def labels() -> dict[str, Any]:
    return {
        "gaze": np.array([0.2, -0.3]),
        "head_pose": np.array([-0.1, 0.4]),
        "pupil": np.array([4.0, 2.5]),
        "iris_outline": np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
        "joints": np.array([[1.0, 2.0, 300.0]]),
        "mirrored": 0,
        "subject": "ann",
        "radius": 3.5,
    }


# --- labels --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(8, 12), (9, 5, 3), (7, 4, 1)], ids=str)
def test_a_flip_by_hand(shape: tuple[int, ...]) -> None:
    image, given = noise(shape), labels()
    flipped, moved = augmentation([FLIP], shape, labelled=True)(image, given, position=(0,))
    last = shape[1] - 1
    assert np.array_equal(flipped, image[:, ::-1])
    assert moved["gaze"].tolist() == [0.2, 0.3]
    assert moved["head_pose"].tolist() == [-0.1, -0.4]
    assert moved["pupil"].tolist() == [last - 4.0, 2.5]
    assert moved["iris_outline"].tolist() == [[last - 1.0, 2.0], [last - 3.0, 4.0], [last - 5.0, 6.0]]
    assert moved["joints"].tolist() == [[last - 1.0, 2.0, 300.0]]
    assert moved["mirrored"] == 1
    assert (moved["subject"], moved["radius"]) == ("ann", 3.5)
    assert given["gaze"].tolist() == [0.2, -0.3]  # what was handed in is left alone


@given(
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    pitch=st.floats(-1.2, 1.2),
    yaw=st.floats(-1.2, 1.2),
    x=st.integers(-50, 200),
)
@settings(max_examples=30, deadline=None)
def test_a_flip_undoes_a_flip(height: int, width: int, pitch: float, yaw: float, x: int) -> None:
    image = noise((height, width))
    given = labels() | {"gaze": np.array([pitch, yaw]), "pupil": np.array([x / 4, 1.0])}
    flips = augmentation([FLIP], (height, width), labelled=True)
    again, back = flips(*flips(image, given, position=(0,)), position=(1,))
    assert np.array_equal(again, image)
    assert all(np.array_equal(back[name], given[name]) for name in given)


@given(degrees=st.floats(-180, 180), pitch=st.floats(-1.2, 1.2), yaw=st.floats(-1.2, 1.2), scale=st.floats(0.5, 2))
@settings(max_examples=100, deadline=None)
def test_a_rotation_turns_gaze_in_the_image_plane(degrees: float, pitch: float, yaw: float, scale: float) -> None:
    angle = math.radians(degrees)
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    matrix = np.array([[c, -s, 5.0], [s, c, -2.0], [0, 0, 1]])
    moved = move_labels({"gaze": np.array([pitch, yaw]), "pupil": np.array([3.0, 4.0])}, matrix, (8, 12))
    # The gaze vector by its definition, and its direction in the picture as an angle.
    x, y, z = -math.cos(pitch) * math.sin(yaw), -math.sin(pitch), -math.cos(pitch) * math.cos(yaw)
    length, direction = math.hypot(x, y), math.atan2(y, x) + angle
    turned = (length * math.cos(direction), length * math.sin(direction), z)
    p, w = moved["gaze"]
    assert [-math.cos(p) * math.sin(w), -math.sin(p), -math.cos(p) * math.cos(w)] == pytest.approx(turned, abs=1e-9)
    assert moved["pupil"] == pytest.approx([3 * c - 4 * s + 5, 3 * s + 4 * c - 2])


def test_looking_right_becomes_looking_up_when_the_image_turns_left() -> None:
    quarter = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])  # image right (x) becomes image up (-y)
    moved = move_labels({"gaze": np.array([0.0, -0.4])}, quarter, (8, 8))
    assert moved["gaze"] == pytest.approx([0.4, 0.0])


@pytest.mark.parametrize(
    "step",
    [
        {"Affine": {"translate_px": {"x": 3, "y": -2}, "p": 1}},
        {"Affine": {"scale": 1.2, "keep_ratio": True, "rotate": [20, 20], "translate_px": 2, "p": 1}},
        {"Affine": {"scale": 0.8, "keep_ratio": True, "border_mode": cv2.BORDER_REFLECT_101, "p": 1}},
        {"Rotate": {"limit": [-30, -30], "p": 1}},
        {"Rotate": {"limit": [15, 15], "border_mode": cv2.BORDER_REPLICATE, "p": 1}},
        FLIP,
        {"Sequential": {"transforms": [FLIP, {"Rotate": {"limit": [25, 25], "p": 1}}], "p": 1}},
        {"SomeOf": {"transforms": [{"Rotate": {"limit": [40, 40], "p": 1}}, FLIP], "n": 2}},
    ],
    ids=lambda step: next(iter(step)),
)
def test_points_stay_on_what_they_mark(step: dict[str, Any]) -> None:
    """Two discs in the picture, found again by their centre of mass; gaze turns by the angle between them."""
    points = np.array([[24.0, 17.0], [36.0, 21.0]])
    y, x = np.mgrid[:41, :61]

    def disc(point: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return (255 * np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / 8)).astype(np.uint8)

    pictures = np.stack([disc(points[0]), disc(points[1]), np.zeros_like(x, np.uint8)], axis=-1)
    angles = np.array([0.1, 0.25])
    steps = augmentation([step], (41, 61, 3), labelled=True)
    moved, found = steps(pictures, {"marks": points, "gaze": angles}, position=(0,))
    masses = [moved[..., i].astype(float) for i in range(2)]
    centres = np.array([[(m * x).sum() / m.sum(), (m * y).sum() / m.sum()] for m in masses])
    assert found["marks"] == pytest.approx(centres, abs=0.1)
    before, after = points[1] - points[0], centres[1] - centres[0]
    sign = -1 if "HorizontalFlip" in str(step) else 1  # seen in a mirror, the first of the two angles counts from left
    turn = math.atan2(after[1], after[0]) - math.atan2(before[1], sign * before[0])
    c, s = math.cos(turn), math.sin(turn)
    gx, gy = -math.cos(0.1) * math.sin(0.25) * sign, -math.sin(0.1)
    p, w = found["gaze"]
    assert [-math.cos(p) * math.sin(w), -math.sin(p)] == pytest.approx([c * gx - s * gy, s * gx + c * gy], abs=0.01)


def test_a_mask_moves_and_types_stay() -> None:
    mask = np.zeros((8, 12), bool)
    mask[2, 3] = True
    given = {"mask": mask, "gaze": np.array([0.1, 0.2], np.float32), "pupil": np.array([1, 2]), "mirrored": True}
    _, moved = augmentation([FLIP], labelled=True)(noise((8, 12)), given, position=(0,))
    assert moved["mask"].dtype == bool
    assert np.argwhere(moved["mask"]).tolist() == [[2, 8]]
    assert moved["gaze"].dtype == np.float32
    assert moved["pupil"].tolist() == [10.0, 2.0]
    assert moved["mirrored"] is False


def test_pixel_transforms_leave_labels_alone() -> None:
    steps = [{"GaussNoise": {"p": 1}}, {"CoarseDropout": {"p": 1}}, {"MedianBlur": {"p": 1}}, {"CLAHE": {"p": 1}}]
    image, given = noise((8, 12)), labels()
    changed, moved = augmentation(steps, labelled=True)(image, given, position=(0,))
    assert not np.array_equal(changed, image)
    assert all(np.array_equal(moved[name], given[name]) for name in given)


# --- draws ---------------------------------------------------------------------------------------------------------


def test_a_draw_depends_on_seed_purpose_and_position_alone() -> None:
    image = noise((8, 12))
    mixture = augmentation(MIXTURE)
    first = [mixture(image, position=(5, i))[0] for i in range(30)]
    np.random.default_rng(1).random(3)
    again = augmentation(MIXTURE)
    assert all(np.array_equal(again(image, position=(5, i))[0], first[i]) for i in reversed(range(30)))
    for other in (augmentation(MIXTURE, seed=4), augmentation(MIXTURE, purpose="real")):
        assert sum(np.array_equal(other(image, position=(5, i))[0], first[i]) for i in range(30)) < 15
    assert sum(np.array_equal(mixture(image, position=(6, i))[0], first[i]) for i in range(30)) < 15


def test_transforms_draw_independently_of_each_other() -> None:
    """Seeding each with the same number, as the library does, would flip exactly the images that it inverts."""
    steps = [{"HorizontalFlip": {"p": 0.5}}, {"InvertImg": {"p": 0.5}}]
    image = noise((8, 12))
    outcomes = {
        name: picture.tobytes()
        for name, picture in {
            "neither": image,
            "flip": image[:, ::-1],
            "invert": 255 - image,
            "both": 255 - image[:, ::-1],
        }.items()
    }
    both = augmentation(steps)
    drawn = [both(image, position=(i,))[0].tobytes() for i in range(400)]
    counts = {name: drawn.count(outcome) for name, outcome in outcomes.items()}
    assert sum(counts.values()) == 400
    assert all(70 < count < 130 for count in counts.values()), counts


def test_another_process_draws_the_same() -> None:
    code = f"""
import hashlib, numpy as np
from refiner.data import transform_factory
from refiner.data.augmentation import Augmentation
steps = Augmentation({MIXTURE!r}, key="a", seed=3, purpose="renders", shape=(8, 12))
image = np.random.default_rng(0).integers(0, 255, (8, 12), endpoint=True).astype(np.uint8)
print(hashlib.sha256(b"".join(steps(image, position=(1, i))[0].tobytes() for i in range(20))).hexdigest())
"""
    found = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment).stdout
        for environment in ({"PYTHONHASHSEED": "1"}, {"PYTHONHASHSEED": "2"})
    ]
    assert found[0] == found[1]
    assert len(found[0]) == 65


def test_a_pickled_copy_draws_the_same() -> None:
    image, mixture = noise((8, 12)), augmentation(MIXTURE)
    copy = pickle.loads(pickle.dumps(mixture))
    assert all(np.array_equal(copy(image, position=(i,))[0], mixture(image, position=(i,))[0]) for i in range(10))


# --- batches -------------------------------------------------------------------------------------------------------


def test_a_batch_is_its_images_one_by_one() -> None:
    images = noise((5, 8, 12))
    given = {
        "gaze": np.linspace(-0.5, 0.5, 10).reshape(5, 2).astype(np.float32),
        "iris": np.arange(30.0).reshape(5, 3, 2),
        "mirrored": np.array([0, 1, 0, 1, 0]),
        "weight": np.arange(5.0),
    }
    mixture = augmentation(MIXTURE, labelled=True)
    changed, moved = mixture.batch(images, given, positions=[(2, i) for i in range(5)])
    assert changed.shape == images.shape
    assert {name: (v.shape, v.dtype) for name, v in moved.items()} == {n: (v.shape, v.dtype) for n, v in given.items()}
    for i in range(5):
        image, one = mixture(images[i], {name: values[i] for name, values in given.items()}, position=(2, i))
        assert np.array_equal(image, changed[i])
        assert all(np.array_equal(one[name], moved[name][i]) for name in given)
    with pytest.raises(ValueError, match=r"are \[4, 5\] in number"):
        mixture.batch(images, positions=[(0, i) for i in range(4)])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_planes_are_those_of_the_domain(channels: int, dtype: Any) -> None:
    domain = ImageDomain(noise((6, channels, 8, 12), dtype))
    shape = (8, 12) if channels == 1 else (8, 12, 3)
    planes = domain.batch(range(6))
    assert torch.equal(augmentation([{"NoOp": {}}], shape, dtype=dtype).planes(planes, position=(0,)), planes)
    flipped = augmentation([FLIP], shape, dtype=dtype).planes(planes, position=(0,))
    assert torch.equal(flipped, planes.flip(3))
    assert flipped.is_contiguous()


def test_sixteen_bits_stay_sixteen() -> None:
    image = noise((8, 12), np.uint16)
    steps = [{"GaussNoise": {"std_range": [0.001, 0.001], "p": 1.0}}]
    changed, _ = augmentation(steps, dtype=np.uint16)(image, position=(0,))
    assert changed.dtype == np.uint16
    inside = (image > 1000) & (image < 64000)
    assert 20 < np.abs(changed.astype(int) - image)[inside].mean() < 100  # 0.001 of 65535 is 66; mean of |n| is 52
    assert np.mean(changed[inside] % 257 == 0) < 0.1


# --- mistakes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "options", "message"),
    [
        ("HorizontalFlp", {}, r"synthetic\[0\]: albumentations has no transform HorizontalFlp; did you mean Horiz"),
        (
            {"GaussNoise": {"std_rnage": 1}},
            {},
            r"\[0\]\.GaussNoise has no argument std_rnage; did you mean std_range\?",
        ),
        ({"GaussNoise": {"std_range": [1, 5]}}, {}, r"\[0\]\.GaussNoise\.std_range is \[1, 5\]: all values in"),
        ({"HorizontalFlip": {"p": 2}}, {}, r"HorizontalFlip\.p is 2: input should be less than or equal to 1"),
        ({"RandomCrop": {}}, {}, r"RandomCrop needs the argument height"),
        ({"OneOf": {}}, {}, r"OneOf has no transforms"),
        (
            {"OneOf": {"transforms": ["Blur", "Blru"]}},
            {},
            r"OneOf\.transforms\[1\]: albumentations has no transform Blru",
        ),
        (
            {"RandomCrop": {"height": 3, "width": 5}},
            {},
            r"turns 8x12, 1 channel, uint8 into 3x5, 1 channel, uint8; .*must keep size",
        ),
        ({"ToRGB": {}}, {}, r"turns 8x12, 1 channel, uint8 into 8x12, 3 channels, uint8"),
        ({"Normalize": {}}, {}, r"into 8x12, 1 channel, float32"),
        ({"ISONoise": {}}, {}, r"ISONoise does not work on images of 8x12, 1 channel, uint8 \(.*3-channel"),
        ({"MaskDropout": {}}, {}, r"MaskDropout does not work.*mask"),
        ({"ShiftScaleRotate": {}}, {}, r"Please use Affine"),
        ({"CropAndPad": {}}, {}, r"CropAndPad: .*px and percent"),
        ({"OneOf": {"transforms": ["ColorJitter", "RandomFog"]}}, {}, r"RandomFog does not work on images of 8x12, 1"),
        ({"CLAHE": {}}, {"dtype": np.uint16}, r"CLAHE computes in 8 bits, but these images have 16"),
        ({"ImageCompression": {}}, {"dtype": np.uint16}, r"computes in 8 bits"),
        ({"CoarseDropout": {"fill": 9}}, {"dtype": np.uint16}, r"levels of 16-bit images, such as fill, from 0 to 1"),
        ("VerticalFlip", {"labelled": True}, r"VerticalFlip cannot be used on labelled images: it turns eyes"),
        ("Perspective", {"labelled": True}, r"it moves the camera"),
        ("ElasticTransform", {"labelled": True}, r"it bends the image"),
        ("Morphological", {"labelled": True}, r"its effect on the labels is not known"),
        ({"Sequential": {"transforms": ["D4"]}}, {"labelled": True}, r"Sequential\.transforms\[0\]\.D4 cannot"),
        ({"Affine": {"shear": 5}}, {"labelled": True}, r"Affine stretches or shears the eye.*set shear: 0"),
        ({"Affine": {"scale": [0.9, 1.1]}}, {"labelled": True}, r"keep_ratio: true"),
        (3, {}, r"synthetic\[0\] is 3, expected one transform such as"),
    ],
    ids=str,
)
def test_a_mistake_is_named_before_the_first_image(step: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        augmentation([step], **options)
    assert str(caught.value).startswith("augmentation.synthetic[0]")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["VerticalFlip", "Perspective", "ElasticTransform", "GridDistortion"])
def test_without_labels_any_geometry_goes_that_keeps_the_size(name: str) -> None:
    image = noise((8, 12))
    changed, _ = augmentation([{name: {"p": 1.0}}])(image, position=(0,))
    assert (changed.shape, changed.dtype) == (image.shape, image.dtype)


NAMES = [name for name in transform_factory._names(transform_factory.load_albumentations()) if name not in COMPOSITIONS]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(16, 24), (16, 24, 3)], ids=["grey", "colour"])
def test_any_transform_works_on_any_image_or_is_refused_by_name(shape: tuple[int, ...], dtype: Any) -> None:
    """Not only on the noise of its trial: also on pictures that are flat, black, white or of two halves."""
    highest = np.iinfo(dtype).max
    halves = np.zeros(shape, dtype)
    halves[:, 12:] = highest
    images = [noise(shape, dtype), halves, *(np.full(shape, level, dtype) for level in (0, highest // 2, highest))]
    working, refused = set(), {}
    for name in NAMES:
        try:
            built = augmentation([{name: {"p": 1.0}}], shape, dtype=dtype)
        except ConfigurationError as error:
            refused[name] = str(error)
            continue
        working.add(name)
        for number, image in enumerate(images):
            changed, _ = built(image, position=(number,))
            assert (changed.shape, changed.dtype) == (image.shape, image.dtype), name
    for name, message in refused.items():
        assert re.match(rf"augmentation\.synthetic\[0\]\.{name}\b", message), message
    assert {"ColorJitter", "GaussNoise", "RandomBrightnessContrast", "HorizontalFlip", "FancyPCA"} <= working
    assert ("RandomFog" in working) == (len(shape) == 3 and dtype == np.uint8)
    assert ("CLAHE" in working) == (dtype == np.uint8)


def test_images_and_labels_that_were_not_announced_are_refused() -> None:
    flips = augmentation([FLIP])
    with pytest.raises(ValueError, match=r"an image is \(8, 11\) uint8, but the augmentation was built for \(8, 12\)"):
        flips(noise((8, 11)), position=(0,))
    with pytest.raises(ValueError, match="uint16"):
        flips(noise((8, 12), np.uint16), position=(0,))
    with pytest.raises(ValueError, match="build it with labelled=True"):
        flips(noise((8, 12)), labels(), position=(0,))
    with pytest.raises(ValueError, match="expected uint8 or uint16"):
        augmentation([FLIP], dtype=np.float32)


# --- in the configuration and in training --------------------------------------------------------------------------


def test_the_configuration_holds_it_and_travels(tmp_path: Path) -> None:
    file = tmp_path / "eyes.yaml"
    file.write_text(
        "augmentation:\n  synthetic:\n    - HorizontalFlip: {p: 0.5}\n    - GaussNoise:\n    - CLAHE\n  real:\n"
    )
    configuration = read_configuration(file, TrainingConfiguration)
    assert configuration.augmentation.synthetic == [{"HorizontalFlip": {"p": 0.5}}, {"GaussNoise": {}}, {"CLAHE": {}}]
    assert configuration.augmentation.real == []
    file.write_text(write_configuration(configuration))
    assert read_configuration(file, TrainingConfiguration) == configuration


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("synthetic: 3", "eyes.yaml: augmentation.synthetic is 3, expected a list of transforms such as"),
        ("synthetic: [{A: {}, B: {}}]", "augmentation.synthetic[0] is {'A': {}, 'B': {}}, expected one transform"),
        ("real: [{A: 3}]", "augmentation.real[0] is {'A': 3}, expected one transform such as"),
        ("reel: []", "augmentation.reel is no setting; did you mean augmentation.real?"),
    ],
)
def test_a_list_of_another_form_is_refused(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "eyes.yaml"
    file.write_text(f"augmentation: {{{text}}}")
    with pytest.raises(ConfigurationError) as caught:
        read_configuration(file, TrainingConfiguration)
    assert message in str(caught.value)


def augmented(tiny: TrainingConfiguration, **lists: list[Any]) -> TrainingConfiguration:
    values = tiny.model_dump() | {"augmentation": lists}
    return TrainingConfiguration.model_validate(values)


class Killed(BaseException):
    """Stands for a kill between two steps."""


@pytest.mark.parametrize("at", [1, 4, 7, 10])
def test_an_augmented_run_killed_and_resumed_equals_uninterrupted(
    at: int, tiny: TrainingConfiguration, tmp_path: Path
) -> None:
    configuration = augmented(tiny, synthetic=MIXTURE, real=[{"RandomBrightnessContrast": {"p": 0.5}}])
    train(configuration, tmp_path / "whole", device="cpu")

    def kill(step: int, steps: int, means: dict[str, float]) -> None:
        if step == at:
            raise Killed

    with pytest.raises(Killed):
        train(configuration, tmp_path / "broken", device="cpu", report=kill)
    train(configuration, tmp_path / "broken", device="cpu")
    files = [(tmp_path / name / "refiner.safetensors").read_bytes() for name in ("whole", "broken")]
    assert files[0] == files[1]
    states = [
        torch.load(list_checkpoints(tmp_path / name / "checkpoints")[-1], weights_only=True)
        for name in ("whole", "broken")
    ]
    for name in ("refiner", "discriminator", "history"):
        first, second = (state["method"][name] for state in states)
        assert all(torch.equal(torch.as_tensor(first[key]), torch.as_tensor(second[key])) for key in first)


def test_training_sees_the_augmented_images(tiny: TrainingConfiguration, tmp_path: Path) -> None:
    plain = train(tiny, tmp_path / "plain", device="cpu").read_bytes()
    nothing = train(augmented(tiny, synthetic=["NoOp"]), tmp_path / "nothing", device="cpu")
    flipped = train(augmented(tiny, synthetic=[FLIP]), tmp_path / "flipped", device="cpu")
    weights = [
        torch.load(list_checkpoints(run / "checkpoints")[-1], weights_only=True)["method"]["refiner"]
        for run in (tmp_path / "plain", nothing.parent, flipped.parent)
    ]
    assert plain
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert not all(torch.equal(weights[0][key], weights[2][key]) for key in weights[0])


def test_a_mistake_or_a_change_costs_no_run(tiny: TrainingConfiguration, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"augmentation\.real\[0\]: albumentations has no transform Blr"):
        train(augmented(tiny, real=["Blr"]), tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()
    train(tiny, tmp_path / "run", device="cpu")
    with pytest.raises(RunError, match=r"augmentation\.synthetic: \[\] -> \[\{'Blur'"):
        train(augmented(tiny, synthetic=["Blur"]), tmp_path / "run", device="cpu")


def test_albumentations_stays_out_of_a_run_without_augmentation(tiny: TrainingConfiguration, tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(write_configuration(tiny))
    code = f"""
import sys
from pathlib import Path
from refiner import TrainingConfiguration, read_configuration, train
configuration = read_configuration(Path({str(file)!r}), TrainingConfiguration)
train(configuration, Path({str(tmp_path / "run")!r}), device="cpu")
assert "refiner.data.augmentation" in sys.modules
assert "albumentations" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
