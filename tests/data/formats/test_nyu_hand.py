"""NYU hand frames: depth in millimetres through every step, joints on the same spot, and damage by name."""

import csv
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

from refiner.core.errors import DataError, ImageError
from refiner.data.formats.nyu_hand import BACKGROUND, CUBE_MM, EVALUATED, FAR_LEVEL, NyuHand, NyuHandSynthetic, cut_cube
from refiner.data.formats.registry import open_dataset
from refiner.images.io import read_image, write_image

FRAME = (480, 640)


def encode(depth: np.ndarray) -> np.ndarray:
    """Millimetres as the data set stores them: green the high byte, blue the low one."""
    return np.stack([np.zeros_like(depth), depth >> 8, depth & 255], axis=-1).astype(np.uint8)


def project(xyz: np.ndarray) -> np.ndarray:
    """(u, v, d) of camera points (x right, y up, z away), by the data set's intrinsics."""
    x, y, z = np.moveaxis(xyz, -1, 0)
    return np.stack([320 + 588.03 * x / z, 240 - 587.07 * y / z, z], axis=-1)


def make_joints(views: int = 2, frames: int = 3, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    xyz = rng.uniform(-70, 70, (views, frames, 36, 3)) + np.array([-300, 250, 800])
    return {"joint_xyz": xyz, "joint_uvd": project(xyz)}


def write_v5(folder: Path, joints: dict[str, np.ndarray]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = np.array([f"J{n}" for n in range(36)], object)
    savemat(folder / "joint_data.mat", {**joints, "joint_names": names}, do_compression=True)


def write_v73(folder: Path, joints: dict[str, np.ndarray]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / "joint_data.mat", "w", userblock_size=512) as file:
        for name, values in joints.items():
            file.create_dataset(name, data=values.T).attrs["MATLAB_class"] = np.bytes_("double")


def write_frame(folder: Path, name: str, seed: int = 0) -> np.ndarray:
    depth = np.random.default_rng(seed).integers(600, 1100, (120, 160)).astype(np.uint16)
    depth = depth.repeat(4, axis=0).repeat(4, axis=1)  # smooth files are written faster
    depth[::7, ::5] = 0
    write_image(folder / name, encode(depth))
    return depth


WRITERS = pytest.mark.parametrize("write", [write_v5, write_v73])


# --- frames and joints -----------------------------------------------------------------------------------------


@WRITERS
def test_a_cut_frame_keeps_millimetres_and_joints(tmp_path: Path, write: Any) -> None:
    joints = make_joints()
    write(tmp_path, joints)
    depth = write_frame(tmp_path, "depth_2_0000003.png")
    dataset = open_dataset(tmp_path)
    assert type(dataset) is NyuHand
    record = dataset.read("depth_2_0000003.png")
    assert record.image.shape == (224, 224)
    assert record.image.dtype == np.uint16
    uvd, xyz = (joints[name][1, 2, EVALUATED] for name in ("joint_uvd", "joint_xyz"))
    labels = record.labels
    middle = (uvd.min(axis=0) + uvd.max(axis=0)) / 2
    assert labels["depth_far_mm"] - labels["depth_near_mm"] == CUBE_MM
    assert (labels["depth_near_mm"] + labels["depth_far_mm"]) / 2 == pytest.approx(middle[2], rel=1e-6)
    assert labels["joints_mm"] == pytest.approx(xyz, rel=1e-6)
    assert labels["joints"].shape == (14, 2)
    assert labels["view"] == 2
    # A cube of 300 mm at distance d is 300 * 588.03 / d pixels wide, and 224 pixels of the patch.
    pixels = 300 * 588.03 / middle[2] / 224
    assert labels["joints"] - 111.5 == pytest.approx((uvd[:, :2] - middle[:2]) / pixels, abs=1e-3)
    millimetres = labels["depth_near_mm"] + record.image / FAR_LEVEL * CUBE_MM
    for y, x in np.random.default_rng(1).integers(0, 224, (500, 2)):
        u, v = (round(middle[axis] + (part - 111.5) * pixels) for axis, part in ((0, x), (1, y)))
        beside = abs(y - 111.5) * pixels > 150 * 587.07 / middle[2] or not (0 <= u < 640 and 0 <= v < 480)
        there = 0 if beside else int(depth[v, u])
        if not there or there > labels["depth_far_mm"]:
            assert record.image[y, x] == BACKGROUND
        elif there < labels["depth_near_mm"]:
            assert record.image[y, x] == 0
        else:
            assert record.image[y, x] < BACKGROUND
            assert round(millimetres[y, x]) == there
    assert (record.image < BACKGROUND).sum() > 1000
    assert np.array_equal(dataset.read_image("depth_2_0000003.png"), record.image)
    assert dataset.subject("depth_2_0000003.png") is None


@WRITERS
def test_a_whole_frame_is_millimetres(tmp_path: Path, write: Any) -> None:
    joints = make_joints()
    write(tmp_path, joints)
    depth = write_frame(tmp_path, "depth_1_0000002.png")
    record = open_dataset(tmp_path, crop=False).read("depth_1_0000002.png")
    assert record.image.dtype == np.uint16
    assert np.array_equal(record.image, depth)
    assert record.labels["joints"] == pytest.approx(joints["joint_uvd"][0, 1, EVALUATED, :2], rel=1e-6)
    assert record.labels["joints_mm"] == pytest.approx(joints["joint_xyz"][0, 1, EVALUATED], rel=1e-6)
    assert set(record.labels) == {"joints", "joints_mm", "view"}


def test_both_kinds_and_both_sets_can_be_chosen(tmp_path: Path) -> None:
    for part in ("train", "test"):
        write_v5(tmp_path / part, make_joints(seed=len(part)))
        for kind in ("depth", "synthdepth", "rgb"):
            write_frame(tmp_path / part, f"{kind}_1_0000001.png")
    names = {"nyu-hand": "depth", "nyu-hand-synthetic": "synthdepth"}
    for name, kind in names.items():
        dataset = open_dataset(tmp_path, format=name)
        assert dataset.ids == [f"{part}/{kind}_1_0000001.png" for part in ("test", "train")]
        first, second = (dataset.read(sample).labels["joints_mm"] for sample in dataset.ids)
        assert np.abs(first - second).max() > 1  # each part has its own joint file
        assert dataset.read("train/depth_1_0000001.png").labels["view"] == 1
    assert type(open_dataset(tmp_path)) is NyuHand
    for path in tmp_path.rglob("depth_*"):
        path.unlink()
    assert type(open_dataset(tmp_path)) is NyuHandSynthetic


def test_without_joints_only_whole_frames_can_be_read(tmp_path: Path) -> None:
    depth = write_frame(tmp_path, "depth_1_0000001.png")
    with pytest.raises(DataError, match=r"has no joint_data.mat.* --crop none"):
        _ = open_dataset(tmp_path).ids
    with pytest.raises(ImageError, match=r"has no joint_data.mat.* --crop none"):
        open_dataset(tmp_path).read("depth_1_0000001.png")
    record = open_dataset(tmp_path, crop=False).read("depth_1_0000001.png")
    assert np.array_equal(record.image, depth)
    assert record.labels == {"view": 1}


def test_other_folders_are_not_taken_for_it(tmp_path: Path) -> None:
    write_image(tmp_path / "depth.png", np.zeros((3, 5), np.uint8))
    assert not NyuHand.recognises(tmp_path)
    assert not NyuHand.recognises(tmp_path / "depth.png")
    assert not NyuHand.recognises(tmp_path / "absent")
    write_frame(tmp_path, "depth_1_0000001.png")
    (tmp_path / "labels.csv").write_text("file\n")  # what we converted keeps its table
    assert not NyuHand.recognises(tmp_path)
    with pytest.raises(DataError, match="holds no synthdepth frames"):
        _ = open_dataset(tmp_path, format="nyu-hand-synthetic").ids
    with pytest.raises(DataError, match="is not a folder"):
        NyuHand(tmp_path / "depth.png")


# --- the cube --------------------------------------------------------------------------------------------------


@given(near=st.integers(200, 1500), offset=st.integers(0, 300), part=st.floats(-0.5, 0.5))
def test_every_whole_millimetre_in_the_cube_comes_back(near: int, offset: int, part: float) -> None:
    centre = np.array([8.0, 6.0, near + part + 150])
    depth = np.full((12, 16), near + offset, np.uint16)
    image, _ = cut_cube(depth, centre, (5, 5))
    inside = near + part <= near + offset <= near + part + 300
    level = int(image[2, 2])
    if inside:
        assert round(near + part + level / FAR_LEVEL * 300) == near + offset
    else:
        assert level == (0 if near + offset < near + part else BACKGROUND)


def test_the_faces_of_the_cube_and_what_lies_outside() -> None:
    depth = np.full((40, 60), 2001, np.uint16)
    depth[20, 26:35] = (0, 1, 849, 850, 1000, 1150, 1151, 65535, 0)
    image, to_image = cut_cube(depth, np.array([30.0, 20.0, 1000.0]), (353, 353))  # nearly a pixel a pixel
    levels = []
    for u in range(26, 35):
        x, y = to_image(np.array([u, 20.0])).round().astype(int)
        levels.append(int(image[y, x]))
    assert levels == [BACKGROUND, 0, 0, 0, 32767, FAR_LEVEL, BACKGROUND, BACKGROUND, BACKGROUND]
    assert image[0, 0] == BACKGROUND  # beyond the frame


@pytest.mark.parametrize("size", [(224, 224), (60, 90), (90, 60), (1, 1)])
def test_no_size_squeezes_the_hand(size: tuple[int, int]) -> None:
    """A square of 100 mm at the cube's middle is square in the patch, and centred."""
    y, x = np.mgrid[:480, :640]
    square = (np.abs(x - 200) <= 50 * 588.03 / 800) & (np.abs(y - 300) <= 50 * 587.07 / 800)
    image, to_image = cut_cube(np.where(square, 800, 3000).astype(np.uint16), np.array([200.0, 300.0, 800.0]), size)
    assert image.shape == size
    assert to_image(np.array([200.0, 300.0])) == pytest.approx([(size[1] - 1) / 2, (size[0] - 1) / 2])
    if min(size) > 1:
        rows, columns = np.nonzero(image < BACKGROUND)
        assert np.ptp(rows) + 1 == pytest.approx(min(size) / 3, abs=1.5)
        assert np.ptp(columns) + 1 == pytest.approx(min(size) / 3, abs=1.5)


# --- damage ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros(FRAME, np.uint8), "is not coded depth"),
        (np.zeros((*FRAME, 4), np.uint8), "is not coded depth"),
        (np.full((*FRAME, 3), 1, np.uint8), "its red channel is not 0"),
        (np.zeros((240, 320, 3), np.uint8), "is 240x320; expected 480x640"),
        (np.zeros((640, 480), np.uint16), "is 640x480; expected 480x640"),
        (np.zeros((*FRAME, 3), np.uint8), "shows nothing within 150 mm of its joints, which are"),
        (np.full(FRAME, 2000, np.uint16), "shows nothing within 150 mm of its joints, which are"),
    ],
)
def test_another_kind_of_image_is_refused(tmp_path: Path, image: np.ndarray, words: str) -> None:
    write_v5(tmp_path, make_joints())
    write_image(tmp_path / "depth_1_0000001.png", image)
    with pytest.raises(ImageError, match=words):
        open_dataset(tmp_path).read("depth_1_0000001.png")


def test_a_colour_map_is_refused_whole_and_cut(tmp_path: Path) -> None:
    depth = np.linspace(500, 2000, FRAME[0] * FRAME[1]).reshape(FRAME)
    write_v5(tmp_path, make_joints())
    write_image(tmp_path / "depth_1_0000001.png", cv2.applyColorMap((depth / 8).astype(np.uint8), cv2.COLORMAP_JET))
    for crop in (True, False):
        with pytest.raises(ImageError, match="its red channel is not 0"):
            open_dataset(tmp_path, crop=crop).read_image("depth_1_0000001.png")


def test_millimetres_as_grey_levels_give_the_same_patch(tmp_path: Path) -> None:
    depth = write_frame(tmp_path / "coded", "depth_1_0000001.png")
    write_image(tmp_path / "grey" / "depth_1_0000001.png", depth)
    for folder in ("coded", "grey"):
        write_v5(tmp_path / folder, make_joints())
    for crop in (True, False):
        coded, grey = (open_dataset(tmp_path / n, crop=crop).read("depth_1_0000001.png") for n in ("coded", "grey"))
        assert np.array_equal(coded.image, grey.image)
        assert coded.labels.keys() == grey.labels.keys()
        assert all(np.array_equal(coded.labels[name], grey.labels[name]) for name in coded.labels)
    assert np.array_equal(open_dataset(tmp_path / "grey", crop=False).read_image("depth_1_0000001.png"), depth)


def test_grey_levels_of_an_uncertain_unit_are_refused(tmp_path: Path) -> None:
    """Without joints, and where the joints show that they are no millimetres; cut or whole."""
    depth = write_frame(tmp_path / "coded", "depth_1_0000001.png")
    write_image(tmp_path / "grey" / "depth_1_0000001.png", depth * 8)
    with pytest.raises(ImageError, match="whose unit is not certain without joint_data"):
        open_dataset(tmp_path / "grey", crop=False).read("depth_1_0000001.png")
    write_v5(tmp_path / "grey", make_joints())
    for crop in (True, False):
        with pytest.raises(ImageError, match="shows nothing within 150 mm of its joints"):
            open_dataset(tmp_path / "grey", crop=crop).read_image("depth_1_0000001.png")


@WRITERS
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda j: {"joint_uvd": j["joint_uvd"]}, "no usable joint_xyz"),
        (lambda j: {"joint_xyz": j["joint_xyz"]}, "no usable joint_uvd"),
        (lambda j: {**j, "joint_uvd": j["joint_uvd"][:, :, :14]}, "joint_uvd of shape \\(2, 3, 14, 3\\)"),
        (lambda j: {**j, "joint_xyz": j["joint_xyz"][:, :2]}, "joint_xyz of shape"),
        (lambda j: {**j, "joint_uvd": j["joint_uvd"][0, 0]}, "no usable joint_uvd"),
        (lambda j: {**j, "joint_uvd": j["joint_uvd"] * np.nan}, "are not finite"),
        (lambda j: {**j, "joint_xyz": j["joint_xyz"] * np.inf}, "are not finite"),
        (lambda j: {**j, "joint_uvd": j["joint_uvd"] * (1, 1, 0.1)}, "expected more than 150 mm"),
        (lambda j: {name: part[:1, :1] for name, part in j.items()}, "1 views of 1 frames"),
    ],
)
def test_damaged_joints_are_named(tmp_path: Path, write: Any, change: Any, words: str) -> None:
    write(tmp_path, change(make_joints()))
    write_frame(tmp_path, "depth_2_0000003.png")
    with pytest.raises(ImageError, match=words):
        open_dataset(tmp_path).read("depth_2_0000003.png")


@WRITERS
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.98])
def test_a_truncated_joint_file_is_named(tmp_path: Path, write: Any, share: float) -> None:
    write(tmp_path, make_joints())
    data = (tmp_path / "joint_data.mat").read_bytes()
    (tmp_path / "joint_data.mat").write_bytes(data[: int(share * len(data))])
    write_frame(tmp_path, "depth_1_0000001.png")
    dataset = open_dataset(tmp_path)
    assert dataset.ids
    with pytest.raises(ImageError, match=r"joint_data\.mat"):
        dataset.read("depth_1_0000001.png")


@pytest.mark.parametrize(
    "name", [f"{name}.png" for name in ("depth_0_0000001", "depth_9_0000001", "depth_1_0000000", "rgb_1_0000001")]
)
def test_a_view_or_frame_that_is_not_there_is_refused(tmp_path: Path, name: str) -> None:
    write_v5(tmp_path, make_joints())
    write_frame(tmp_path, name)
    with pytest.raises(ImageError, match=r"is missing in|is not an NYU hand frame"):
        NyuHand(tmp_path).read(name)


def test_threads_and_a_copy_read_the_same(tmp_path: Path) -> None:
    write_v5(tmp_path, make_joints(frames=6))
    for number in range(1, 7):
        write_frame(tmp_path, f"depth_1_{number:07d}.png", seed=number)
    dataset = open_dataset(tmp_path)
    ids = list(dataset.ids) * 4
    expected = {sample: NyuHand(tmp_path).read(sample).image for sample in dataset.ids}
    copy = pickle.loads(pickle.dumps(dataset))
    with ThreadPoolExecutor(6) as pool:
        for sample, record in zip(ids, pool.map(copy.read, ids)):
            assert np.array_equal(record.image, expected[sample])


# --- the real frame --------------------------------------------------------------------------------------------


def test_the_real_frame_is_the_depth_it_should_be(real_data: Path) -> None:
    folder = real_data / "hand_depth"
    record = open_dataset(folder, crop=False, format="nyu-hand").read("depth_1_0000001.png")
    expected = read_image(folder / "depth_mm_uint16.png")
    assert record.image.shape == (480, 640)
    assert np.array_equal(record.image, expected)
    assert (int(expected.min()), int(expected.max())) == (731, 2001)
    assert type(open_dataset(folder, crop=False)) is NyuHand


def test_the_real_hand_lies_in_the_cube(real_data: Path, tmp_path: Path) -> None:
    """Joints that a public network predicted on this frame, in a joint file of our own making."""
    folder = real_data / "hand_depth"
    with (folder / "joints_predicted.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    predicted = np.array([[float(row[name]) for name in ("x_mm", "y_mm", "z_mm")] for row in rows])
    xyz = np.zeros((1, 1, 36, 3))
    xyz[:, :] = (-100, 0, 760)
    xyz[0, 0, EVALUATED] = predicted
    write_v5(tmp_path, {"joint_xyz": xyz, "joint_uvd": project(xyz)})
    (tmp_path / "depth_1_0000001.png").write_bytes((folder / "depth_1_0000001.png").read_bytes())
    record = open_dataset(tmp_path).read("depth_1_0000001.png")
    frame = read_image(folder / "depth_mm_uint16.png")
    on_hand = 0
    for row, (x, y), (_, _, z) in zip(rows, record.labels["joints"], predicted):
        level = int(record.image[round(y), round(x)])
        millimetres = record.labels["depth_near_mm"] + level / FAR_LEVEL * CUBE_MM
        there = int(frame[round(float(row["v_px"])), round(float(row["u_px"]))])
        if there == 2001:  # the wall beside the hand
            continue
        assert level < BACKGROUND
        assert abs(millimetres - there) < 12  # the nearest pixel may be a neighbour
        on_hand += abs(millimetres - z) <= 22
    assert on_hand == 10  # as its README counts
    assert (record.image < BACKGROUND).mean() == pytest.approx(0.269, abs=0.002)
    nearer = record.image < (800 - record.labels["depth_near_mm"]) / CUBE_MM * FAR_LEVEL  # the hand, not the arm
    assert nearer.mean() > 0.15
    assert not nearer[0].any()
    assert not nearer[:, [0, -1]].any()
