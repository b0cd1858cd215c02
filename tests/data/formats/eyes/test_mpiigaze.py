"""MPIIGaze: exact twins of both MATLAB layouts, every sign by hand, and damage that costs one sample or one day."""

import csv
import math
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat
from scipy.spatial.transform import Rotation

from refiner.core.errors import DataError, ImageError
from refiner.data.formats.eyes.mpiigaze import MPIIGaze, MPIIGazeEvaluation, gaze_angles, head_angles, read_list
from refiner.data.formats.eyes.mpiigaze_days import frame_names
from refiner.data.formats.registry import open_dataset
from refiner.data.labels.angles import to_vectors
from refiner.images.io import read_image

Day = dict[str, dict[str, np.ndarray]]

LOOK = (0.1, -0.2, -0.9)  # of the reference sheet: pitch 12.4546, yaw -6.3402 degrees


def make_day(count: int, seed: int = 0) -> Day:
    rng = np.random.default_rng(seed)
    return {
        side: {
            "gaze": rng.normal((0, 0.1, -1), 0.2, (count, 3)),
            "image": rng.integers(0, 256, (count, 36, 60)).astype(np.uint8),
            "pose": rng.normal(0, 0.3, (count, 3)),
        }
        for side in ("left", "right")
    }


def names_of(count: int) -> list[str]:
    return [f"{number:04d}.jpg" for number in range(1, count + 1)]


def write_v5(path: Path, day: Any, names: Any, **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cell = np.empty((len(names), 1), object)
    cell[:, 0] = names
    savemat(path, {"data": day, "filenames": cell, **more}, do_compression=True)
    return path


def write_v73(path: Path, day: Any, names: list[str]) -> Path:
    """As MATLAB writes it: a header of 512 bytes, axes reversed, cells as references to texts of 16-bit numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:
        references = file.create_group("#refs#")
        for side, fields in day.items():
            for name, values in fields.items():
                node = file.create_dataset(f"data/{side}/{name}", data=values.T)
                node.attrs["MATLAB_class"] = np.bytes_("uint8" if values.dtype == np.uint8 else "double")
        for group in (file["data"], *file["data"].values()):
            group.attrs["MATLAB_class"] = np.bytes_("struct")
        cell = file.create_dataset("filenames", (1, len(names)), h5py.ref_dtype)
        cell.attrs["MATLAB_class"] = np.bytes_("cell")
        for position, name in enumerate(names):
            text = references.create_dataset(f"a{position}", data=np.array([[ord(c)] for c in name], np.uint16))
            text.attrs["MATLAB_class"] = np.bytes_("char")
            cell[0, position] = text.ref
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    return path


WRITERS = pytest.mark.parametrize("write", [write_v5, write_v73])


def at(root: Path, person: str = "p00", day: str = "day01") -> Path:
    return root / "Data" / "Normalized" / person / f"{day}.mat"


# --- both layouts ----------------------------------------------------------------------------------------------


@WRITERS
def test_every_eye_is_read_with_its_labels(tmp_path: Path, write: Any) -> None:
    days = {("p00", "day01"): make_day(3, 1), ("p00", "day02"): make_day(2, 2), ("p01", "day01"): make_day(4, 3)}
    for (person, day), values in days.items():
        write(at(tmp_path, person, day), values, names_of(len(values["left"]["gaze"])))
    dataset = open_dataset(tmp_path)
    assert isinstance(dataset, MPIIGaze)
    assert not isinstance(dataset, MPIIGazeEvaluation)
    assert len(dataset.ids) == len(set(dataset.ids)) == 18
    assert dataset.ids[:3] == ["p00/day01/0001_left.png", "p00/day01/0001_right.png", "p00/day01/0002_left.png"]
    for (person, day), values in days.items():
        for side, turn in (("left", 1), ("right", -1)):
            for row, (x, y, z) in enumerate(values[side]["gaze"]):
                sample = f"{person}/{day}/{row + 1:04d}_{side}.png"
                record = dataset.read(sample)
                assert np.array_equal(record.image, values[side]["image"][row][:, ::turn])
                assert np.array_equal(dataset.read_image(sample), record.image)
                length = math.hypot(x, y, z)
                expected = [math.asin(-y / length), turn * math.atan2(-x, -z)]
                assert record.labels["gaze"] == pytest.approx(expected, abs=1e-9)
                hx, hy, hz = Rotation.from_rotvec(values[side]["pose"][row]).as_matrix()[:, 2]
                assert record.labels["head_pose"] == pytest.approx([math.asin(hy), turn * math.atan2(hx, hz)])
                about = {name: record.labels[name] for name in ("subject", "mirrored", "day", "eye")}
                assert about == {"subject": person, "mirrored": int(turn < 0), "day": day, "eye": side}
                assert dataset.subject(sample) == person


@WRITERS
def test_the_test_vector_of_the_reference_sheet(tmp_path: Path, write: Any) -> None:
    """(0.1, -0.2, -0.9) is pitch 12.4546 and yaw -6.3402 degrees; a right eye with it is mirrored to +6.3402."""
    day = make_day(2)
    for side in day.values():
        side["gaze"][:] = LOOK
        side["pose"][:] = (0, 0.3, 0)  # turned about the vertical axis alone: the third column is (sin, 0, cos)
    write(at(tmp_path), day, names_of(2))
    dataset = MPIIGaze(tmp_path)
    left, right = (dataset.read(f"p00/day01/0002_{side}.png").labels for side in ("left", "right"))
    assert np.degrees(left["gaze"]) == pytest.approx([12.4546, -6.3402], abs=1e-4)
    assert np.degrees(right["gaze"]) == pytest.approx([12.4546, 6.3402], abs=1e-4)
    assert left["head_pose"] == pytest.approx([0, 0.3], abs=1e-12)
    assert right["head_pose"] == pytest.approx([0, -0.3], abs=1e-12)


@WRITERS
def test_a_day_of_one_frame_keeps_its_axis(tmp_path: Path, write: Any) -> None:
    whole = make_day(1)
    squeezed = {side: {name: values[0] for name, values in fields.items()} for side, fields in whole.items()}
    write(at(tmp_path, day="day01"), whole, names_of(1))
    write(at(tmp_path, day="day02"), squeezed, names_of(1))
    dataset = MPIIGaze(tmp_path)
    for side in ("left", "right"):
        first, second = (dataset.read(f"p00/{day}/0001_{side}.png") for day in ("day01", "day02"))
        assert first.image.shape == (36, 60)
        assert np.array_equal(first.image, second.image)
        assert np.array_equal(first.labels["gaze"], second.labels["gaze"])
        assert np.array_equal(first.labels["head_pose"], second.labels["head_pose"])


def test_a_single_file_name_may_be_a_text_and_structures_may_be_cells(tmp_path: Path) -> None:
    day = make_day(1)
    at(tmp_path).parent.mkdir(parents=True)
    cells = np.empty(2, object)
    for position, side in enumerate(("left", "right")):
        cells[position] = np.empty(3, object)
        for number, name in enumerate(("gaze", "image", "pose")):
            cells[position][number] = day[side][name]
    savemat(at(tmp_path), {"data": cells, "filenames": "0007.jpg"})
    dataset = MPIIGaze(tmp_path)
    assert dataset.ids == ["p00/day01/0007_left.png", "p00/day01/0007_right.png"]
    assert np.array_equal(dataset.read("p00/day01/0007_left.png").image, day["left"]["image"][0])


# --- where it lies, and what its samples are called ------------------------------------------------------------


@pytest.mark.parametrize("inside", ["", "MPIIGaze", "MPIIGaze/Data", "MPIIGaze/Data/Normalized"])
def test_every_folder_above_the_persons_gives_the_same_ids(tmp_path: Path, inside: str) -> None:
    for person in ("p00", "p03"):
        write_v5(at(tmp_path / "MPIIGaze", person), make_day(1), names_of(1))
    (tmp_path / "MPIIGaze" / "Data" / "Original" / "p00" / "day01").mkdir(parents=True)
    dataset = open_dataset(tmp_path / inside)
    assert isinstance(dataset, MPIIGaze)
    assert dataset.ids == [f"p0{n}/day01/0001_{side}.png" for n in (0, 3) for side in ("left", "right")]
    assert dataset.read(dataset.ids[-1]).labels["subject"] == "p03"


def test_one_persons_folder_is_a_data_set_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for person in ("p00", "p03"):
        write_v5(at(tmp_path, person), make_day(1), names_of(1))
    monkeypatch.chdir(at(tmp_path, "p03").parent)
    for root in (at(tmp_path, "p03").parent, Path()):
        assert [sample[:3] for sample in open_dataset(root).ids] == ["p03", "p03"]


@pytest.mark.parametrize("kind", ["file", "empty", "other", "absent"])
def test_other_places_are_not_taken_for_it(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "root"
    if kind == "file":
        root.write_bytes(b"x")
    elif kind != "absent":
        root.mkdir()
    if kind == "other":
        (root / "p00").mkdir()
        (root / "p00" / "results.mat").write_bytes(b"x")
    assert not MPIIGaze.recognises(root)
    with pytest.raises(DataError, match="holds no MPIIGaze patches"):
        MPIIGaze(root)


@pytest.mark.parametrize(
    ("filenames", "names"),
    [
        (["0001.jpg", "0002.jpg"], ["0001", "0002"]),
        (["0001.jpg", "0001.jpg", "0001.png"], ["0001", "0001-2", "0001-3"]),
        (["a.jpg", "a-2.jpg", "a.jpg"], ["a", "a-2", "a-3"]),
        (["../../x.jpg", "/etc/passwd", "", "a b.jpg", "..", "ü.jpg"], [f"frame{n}" for n in range(1, 7)]),
        (["frame2.jpg", ""], ["frame2", "frame2-2"]),
    ],
)
def test_names_of_frames(filenames: list[str], names: list[str]) -> None:
    assert frame_names(filenames) == names


@given(st.lists(st.text("a1-./\\ _é", max_size=6), max_size=8))
def test_names_of_frames_are_different_and_harmless(filenames: list[str]) -> None:
    names = frame_names(filenames)
    assert len(set(names)) == len(filenames)
    assert not any(set(name) & set("/\\. ") or not name for name in names)


@WRITERS
def test_a_repeated_file_name_gives_both_frames(tmp_path: Path, write: Any) -> None:
    day = make_day(2)
    write(at(tmp_path), day, ["0001.jpg", "0001.jpg"])
    dataset = MPIIGaze(tmp_path)
    images = [dataset.read(sample).image for sample in dataset.ids]
    assert len(set(dataset.ids)) == 4
    assert np.array_equal(images[2], day["left"]["image"][1])


# --- the evaluation subset -------------------------------------------------------------------------------------


def write_list(root: Path, person: str, text: str) -> Path:
    path = root / "Evaluation Subset" / "sample list for eye image" / f"{person}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_only_the_frames_of_the_lists_are_read(tmp_path: Path) -> None:
    day = make_day(3)
    for person in ("p00", "p01"):
        write_v5(at(tmp_path, person), day, names_of(3))
    write_list(tmp_path, "p00", "day01/0003.jpg right\r\n\nday01/0001.jpg left\nday01/0003.jpg right\n")
    write_list(tmp_path, "p01", "day01/0002.jpg left\nday01/0009.jpg left\nday77/0001.jpg left")
    for root in (tmp_path, tmp_path / "Data", tmp_path / "Data" / "Normalized"):
        dataset = open_dataset(root, format="mpiigaze-evaluation")
        assert dataset.ids[:3] == ["p00/day01/0003_right.png", "p00/day01/0001_left.png", "p01/day01/0002_left.png"]
        assert np.array_equal(dataset.read(dataset.ids[0]).image, day["right"]["image"][2][:, ::-1])
        with pytest.raises(ImageError, match=r"day01.mat has no frame 0009"):
            dataset.read(dataset.ids[3])
        with pytest.raises(ImageError, match=r"day77\.mat cannot be read"):
            dataset.read(dataset.ids[4])
    assert len(open_dataset(at(tmp_path, "p00").parent, format="mpiigaze-evaluation").ids) == 2


@pytest.mark.parametrize(
    "line", ["day01/0001.jpg", "day01/0001.jpg both", "../day01/1.jpg left", "0001.jpg left", "day01/../1.jpg left"]
)
def test_a_list_that_does_not_parse_is_refused_with_its_line(tmp_path: Path, line: str) -> None:
    write_v5(at(tmp_path), make_day(1), names_of(1))
    write_list(tmp_path, "p00", f"day01/0001.jpg left\n{line}\n")
    with pytest.raises(DataError, match=r"p00.txt: line 2 is .* expected 'day01/0001.jpg left'"):
        _ = MPIIGazeEvaluation(tmp_path).ids


def test_without_lists_there_is_no_evaluation_subset(tmp_path: Path) -> None:
    write_v5(at(tmp_path), make_day(1), names_of(1))
    with pytest.raises(DataError, match="has no evaluation subset"):
        _ = MPIIGazeEvaluation(tmp_path).ids


@given(st.text("day01/.jpg leftright\n", max_size=60))
@settings(deadline=None)
def test_any_list_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("lists") / "p00.txt"
    path.write_text(text)
    try:
        ids = read_list(path)
    except DataError:
        return
    assert all(sample.startswith("p00/day") and ".." not in sample for sample in ids)


# --- damage ----------------------------------------------------------------------------------------------------


def _change(day: Day, side: str, name: str, value: Any) -> Day:
    return {**day, side: {**day[side], name: value}}


@WRITERS
@pytest.mark.parametrize(
    ("name", "row", "words"),
    [
        ("gaze", (np.nan, 0, -1), "has no direction"),
        ("gaze", (0, 0, 0), "has no direction"),
        ("gaze", (np.inf, 0, -1), "has no direction"),
        ("pose", (np.nan, 0, 0), "is not finite"),
        ("pose", (0, 1e300, 1), "is not finite"),
    ],
)
def test_a_bad_label_costs_that_eye_only(
    tmp_path: Path, write: Any, name: str, row: tuple[float, ...], words: str
) -> None:
    day = make_day(2)
    day["left"][name][0] = row
    write(at(tmp_path), day, names_of(2))
    dataset = MPIIGaze(tmp_path)
    with pytest.raises(ImageError, match=words):
        dataset.read("p00/day01/0001_left.png")
    assert dataset.read_image("p00/day01/0001_left.png").shape == (36, 60)
    assert len([dataset.read(sample) for sample in dataset.ids[1:]]) == 3


@WRITERS
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: {"left": d["left"]}, "no field right"),
        (lambda d: {**d, "right": {"gaze": d["right"]["gaze"]}}, "no field image"),
        (lambda d: _change(d, "left", "image", d["left"]["image"].astype(float)), "images of float64"),
        (lambda d: _change(d, "left", "image", d["left"]["image"][0, 0]), "expected uint8|but 1 images"),
        (lambda d: _change(d, "left", "gaze", d["left"]["gaze"][:, :2]), "expected \\(N, 3\\)"),
        (lambda d: _change(d, "left", "gaze", d["left"]["gaze"][:1]), "1 gazes"),
        (lambda d: _change(d, "right", "image", d["right"]["image"][:1]), "1 images"),
    ],
)
def test_a_day_with_the_wrong_shape_is_refused_by_name(tmp_path: Path, write: Any, change: Any, words: str) -> None:
    write(at(tmp_path, day="day01"), change(make_day(2)), names_of(2))
    write(at(tmp_path, day="day02"), make_day(2), names_of(2))
    dataset = MPIIGaze(tmp_path)
    assert len(dataset.ids) == 8
    with pytest.raises(ImageError, match=rf"day01.mat.*({words})"):
        dataset.read("p00/day01/0001_left.png")
    assert dataset.read("p00/day02/0001_left.png").labels["mirrored"] == 0


@WRITERS
def test_more_names_than_frames(tmp_path: Path, write: Any) -> None:
    write(at(tmp_path), make_day(2), names_of(3))
    with pytest.raises(ImageError, match="3 file names but 2 images"):
        MPIIGaze(tmp_path).read("p00/day01/0001_left.png")


@WRITERS
@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 0.2, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_one_sample_that_is_refused_or_its_frames_are(
    tmp_path: Path, write: Any, share: float
) -> None:
    data = write(at(tmp_path), make_day(3), names_of(3)).read_bytes()
    write(at(tmp_path, day="day02"), make_day(1), names_of(1))
    at(tmp_path).write_bytes(data[: int(share * len(data))])
    dataset = open_dataset(tmp_path)
    damaged = [sample for sample in dataset.ids if "day01" in sample]
    assert damaged
    assert len(dataset.ids) == len(damaged) + 2
    for sample in damaged:
        with pytest.raises(ImageError, match=r"day01\.mat (is damaged|is truncated|has no )"):
            dataset.read(sample)
    assert dataset.read("p00/day02/0001_left.png").image.shape == (36, 60)


@given(st.data())
@settings(deadline=None)
def test_flipped_bytes_give_an_eye_or_a_rejection(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    root = tmp_path_factory.mktemp("flipped")
    write = data.draw(st.sampled_from([write_v5, write_v73]))
    contents = bytearray(write(at(root), make_day(1), names_of(1)).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        contents[data.draw(st.integers(0, min(len(contents), 6000) - 1))] = data.draw(st.integers(0, 255))
    at(root).write_bytes(contents)
    dataset = MPIIGaze(root)
    try:
        ids = dataset.ids
    except DataError:
        return
    for sample in ids:
        try:
            record = dataset.read(sample)
        except ImageError:
            continue
        assert record.image.dtype == np.uint8
        assert np.isfinite(record.labels["gaze"]).all()


def test_a_cell_that_holds_itself_and_a_link_to_another_file_are_refused(tmp_path: Path) -> None:
    write_v73(at(tmp_path, day="day01"), make_day(1), names_of(1))
    write_v73(at(tmp_path, day="day02"), make_day(1), names_of(1))
    with h5py.File(at(tmp_path, day="day01"), "r+") as file:
        file["filenames"][0, 0] = file["filenames"].ref
    with h5py.File(at(tmp_path, day="day02"), "r+") as file:
        del file["data"]
        file["data"] = h5py.ExternalLink(str(at(tmp_path, day="day01")), "/data")
    dataset = MPIIGaze(tmp_path)
    assert dataset.ids == ["p00/day01.png", "p00/day02/0001_left.png", "p00/day02/0001_right.png"]
    with pytest.raises(ImageError, match="without end"):
        dataset.read("p00/day01.png")
    with pytest.raises(ImageError, match="another file"):
        dataset.read("p00/day02/0001_left.png")


@pytest.mark.parametrize("sample", ["../x.png", "p00/day01/../0001_left.png", "p00/day01/0001_both.png", "a.png", ""])
def test_other_ids_are_refused(tmp_path: Path, sample: str) -> None:
    write_v5(at(tmp_path), make_day(1), names_of(1))
    with pytest.raises(ImageError, match=r"not an MPIIGaze sample|no frame"):
        MPIIGaze(tmp_path).read(sample)


# --- threads, processes and memory -----------------------------------------------------------------------------


@WRITERS
def test_many_threads_and_a_copy_read_the_same(tmp_path: Path, write: Any) -> None:
    days = {f"day{n:02d}": make_day(2, n) for n in range(1, 13)}  # more than are kept
    for day, values in days.items():
        write(at(tmp_path, day=day), values, names_of(2))
    dataset = MPIIGaze(tmp_path)
    ids = [sample for _ in range(2) for sample in dataset.ids[::-1]]
    with ThreadPoolExecutor(8) as pool:
        for sample, record in zip(ids, pool.map(dataset.read, ids)):
            _, day, name = sample.split("/")
            row, side = int(name[:4]) - 1, name[5:].removesuffix(".png")
            expected = days[day][side]["image"][row]
            assert np.array_equal(record.image, expected[:, ::-1] if side == "right" else expected)
    copy = pickle.loads(pickle.dumps(dataset))
    assert np.array_equal(copy.read(ids[0]).image, dataset.read(ids[0]).image)


def test_reading_by_id_needs_no_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_v5(at(tmp_path), make_day(1), names_of(1))
    at(tmp_path, day="day02").write_bytes(b"never looked at")
    monkeypatch.setattr("refiner.data.formats.eyes.mpiigaze.list_day", lambda path: pytest.fail("listed"))
    assert MPIIGaze(tmp_path).read("p00/day01/0001_left.png").image.shape == (36, 60)


# --- angles ----------------------------------------------------------------------------------------------------


@given(st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: math.hypot(*v) > 1e-3))
def test_gaze_angles_invert_to_the_vector(vector: tuple[float, float, float]) -> None:
    unit = np.array(vector) / math.hypot(*vector)
    assert to_vectors(gaze_angles(np.array(vector))) == pytest.approx(unit, abs=1e-7)


@given(st.floats(-1.2, 1.2), st.floats(-1.2, 1.2))
def test_head_angles_are_those_of_the_third_column(pitch: float, yaw: float) -> None:
    column = np.array([math.cos(pitch) * math.sin(yaw), math.sin(pitch), math.cos(pitch) * math.cos(yaw)])
    turn = Rotation.align_vectors([column], [[0, 0, 1]])[0]
    assert head_angles(turn.as_rotvec()) == pytest.approx([pitch, yaw], abs=1e-6)


# --- real patches ----------------------------------------------------------------------------------------------


def test_real_patches_come_back_with_their_labels(real_data: Path, tmp_path: Path) -> None:
    """Patches and labels of p00 whose right eyes are mirrored already: put back as recorded, then read."""
    folder = real_data / "mpiigaze_p00_dev"
    rows: dict[str, list[dict[str, str]]] = {"left": [], "right": []}
    with (folder / "labels.csv").open() as stream:
        for row in csv.DictReader(stream):
            rows[row["eye"]].append(row)
    day: Day = {}
    for side, turn in (("left", 1), ("right", -1)):
        rows[side] = rows[side][:40]
        gaze, head = (
            np.array([[float(row[f"{name}_pitch_rad"]), turn * float(row[f"{name}_yaw_rad"])] for row in rows[side]])
            for name in ("gaze", "head")
        )
        p, q = gaze.T
        day[side] = {
            "gaze": np.stack([-np.cos(p) * np.sin(q), -np.sin(p), -np.cos(p) * np.cos(q)], axis=1),
            "image": np.stack([read_image(folder / row["file"])[:, ::turn] for row in rows[side]]),
            "pose": Rotation.from_euler("YX", np.stack([head[:, 1], -head[:, 0]], axis=1)).as_rotvec(),
        }
    write_v73(at(tmp_path), day, names_of(40))
    dataset = open_dataset(tmp_path)
    for side in ("left", "right"):
        for number, row in enumerate(rows[side], 1):
            record = dataset.read(f"p00/day01/{number:04d}_{side}.png")
            assert np.array_equal(record.image, read_image(folder / row["file"]))
            assert record.labels["gaze"] == pytest.approx([float(row[f"gaze_{a}_rad"]) for a in ("pitch", "yaw")])
            assert record.labels["head_pose"] == pytest.approx([float(row[f"head_{a}_rad"]) for a in ("pitch", "yaw")])
            assert str(record.labels["mirrored"]) == row["mirrored"]
