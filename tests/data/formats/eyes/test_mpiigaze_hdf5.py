"""HDF5 files of eye patches: rows by id from any thread and process, and damage that stays with its row."""

import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from refiner.core.errors import DataError, ImageError
from refiner.data.formats.eyes.mpiigaze_hdf5 import GazeHDF5, MPIIGazeHDF5
from refiner.data.formats.registry import open_dataset

COUNTS = {"p00": 5, "p01": 3, "p14": 4}


def make_people(seed: int = 0) -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return {
        person: {
            "image": rng.integers(0, 256, (count, 36, 60)).astype(np.uint8),
            "gaze": rng.uniform(-0.3, 0.3, (count, 2)).astype(np.float32),
            "pose": rng.uniform(-0.5, 0.5, (count, 2)).astype(np.float32),
        }
        for person, count in COUNTS.items()
    }


def write_people(path: Path, people: dict[str, dict[str, Any]]) -> Path:
    with h5py.File(path, "w") as file:
        for person, fields in people.items():
            for name, values in fields.items():
                file.create_dataset(f"{person}/{name}", data=values)
    return path


@pytest.fixture
def people(tmp_path: Path) -> tuple[Path, dict[str, dict[str, np.ndarray]]]:
    values = make_people()
    return write_people(tmp_path / "MPIIGaze.h5", values), values


def test_every_row_is_read_with_its_labels(people: tuple[Path, Any]) -> None:
    path, values = people
    dataset = open_dataset(path)
    assert isinstance(dataset, MPIIGazeHDF5)
    assert dataset.ids == [f"{person}/{row:04d}.png" for person, count in COUNTS.items() for row in range(count)]
    for sample in dataset.ids:
        person, row = sample[:3], int(sample[4:8])
        record = dataset.read(sample)
        assert np.array_equal(record.image, values[person]["image"][row])
        assert np.array_equal(record.labels["gaze"], values[person]["gaze"][row].astype(float))
        assert np.array_equal(record.labels["head_pose"], values[person]["pose"][row].astype(float))
        assert record.labels["subject"] == dataset.subject(sample) == person
        assert "mirrored" not in record.labels  # the file does not say which eyes its writer mirrored
        assert np.array_equal(dataset.read_image(sample), record.image)


def _read_in_child(dataset: Any, sample: str, queue: Any) -> None:
    queue.put(dataset.read(sample).image)


def test_threads_a_copy_and_a_forked_process_read_the_same(people: tuple[Path, Any]) -> None:
    path, values = people
    dataset = open_dataset(path)
    ids = [sample for _ in range(20) for sample in dataset.ids]
    with ThreadPoolExecutor(8) as pool:
        for sample, record in zip(ids, pool.map(dataset.read, ids)):
            assert np.array_equal(record.image, values[sample[:3]]["image"][int(sample[4:8])])
    copy = pickle.loads(pickle.dumps(dataset))
    assert np.array_equal(copy.read(ids[0]).image, values["p00"]["image"][0])
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_read_in_child, args=(dataset, ids[1], queue))
    child.start()
    assert np.array_equal(queue.get(timeout=60), values["p00"]["image"][1])
    child.join()
    assert np.array_equal(dataset.read(ids[2]).image, values["p00"]["image"][2])


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("gaze", (np.nan, 0.1), "its gaze is"),
        ("pose", (0.1, np.inf), "its pose is"),
    ],
)
def test_a_bad_label_costs_its_row(tmp_path: Path, name: str, value: Any, words: str) -> None:
    values = make_people()
    values["p00"][name][1] = value
    dataset = open_dataset(write_people(tmp_path / "a.h5", values))
    with pytest.raises(ImageError, match=words):
        dataset.read("p00/0001.png")
    assert dataset.read_image("p00/0001.png").shape == (36, 60)
    assert dataset.read("p00/0002.png").labels["subject"] == "p00"


def test_degrees_are_refused_for_all_rows(tmp_path: Path) -> None:
    """In degrees, small angles look like radians."""
    values = make_people()
    values["p01"]["pose"] = np.float32([[0.5, -2.0], [20.0, 3.0], [-1.0, 1.0]])
    dataset = open_dataset(write_people(tmp_path / "a.h5", values))
    for sample in ("p01/0000.png", "p00/0000.png"):
        with pytest.raises(DataError, match="p01/pose is beyond pi in 1 row, up to 20 and first in row 1, so"):
            dataset.read(sample)


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("image", np.zeros((5, 36, 60), np.float32), "is float32"),
        ("image", np.zeros((5, 36, 60, 3), np.uint8), "shape \\(36, 60, 3\\)"),
        ("image", np.zeros((5, 0, 60), np.uint8), "shape \\(0, 60\\)"),
        ("gaze", np.zeros((5, 3)), "its gaze is"),
        ("gaze", np.zeros((2, 2)), "it has 2 rows"),
        ("pose", np.zeros((5, 2), np.int16), "its pose is"),
        ("pose", None, "p00/pose cannot be read"),
    ],
)
def test_wrong_shapes_are_refused_by_name(tmp_path: Path, name: str, values: Any, words: str) -> None:
    people = make_people()
    people["p00"][name] = values
    if values is None:
        del people["p00"][name]
    dataset = open_dataset(write_people(tmp_path / "a.h5", people))
    with pytest.raises(ImageError, match=words):
        dataset.read("p00/0004.png")
    assert dataset.read("p01/0000.png").image.shape == (36, 60)


@pytest.mark.parametrize("sample", ["p00/0005.png", "p77/0000.png", "../p00/0000.png", "p00/x.png", "", "p00/-1.png"])
def test_ids_that_are_not_there_are_refused(people: tuple[Path, Any], sample: str) -> None:
    with pytest.raises(ImageError):
        open_dataset(people[0]).read(sample)


def test_images_in_another_file_are_refused(tmp_path: Path, people: tuple[Path, Any]) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(36 * 60))
    with h5py.File(tmp_path / "linked.h5", "w") as file:
        file["p00/gaze"] = np.zeros((1, 2))
        file["p00/pose"] = np.zeros((1, 2))
        file.create_dataset("p00/image", (1, 36, 60), np.uint8, external=[(str(secret), 0, 36 * 60)])
        file["p01"] = h5py.ExternalLink(str(people[0]), "/p01")
    dataset = MPIIGazeHDF5(tmp_path / "linked.h5")
    for sample in ("p00/0000.png", "p01/0000.png"):
        with pytest.raises(ImageError, match="another file"):
            dataset.read(sample)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.99])
def test_a_truncated_file_is_refused_as_a_whole(tmp_path: Path, people: tuple[Path, Any], share: float) -> None:
    data = people[0].read_bytes()
    (tmp_path / "cut.h5").write_bytes(data[: int(share * len(data))])
    assert not MPIIGazeHDF5.recognises(tmp_path / "cut.h5")
    with pytest.raises(DataError, match=r"cut\.h5 is (truncated: it has [\d,]+ of 34,688 bytes|empty)"):
        MPIIGazeHDF5(tmp_path / "cut.h5")
    with pytest.raises(DataError):
        open_dataset(tmp_path / "cut.h5")


def test_other_files_are_not_taken_for_it(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["images"] = np.zeros((2, 3, 5), np.uint8)
        file["p00/image/0000"] = np.zeros((3, 5), np.uint8)  # a person's images one by one: another layout
        file["p00/gaze"] = np.zeros((1, 2))
    for reader in (MPIIGazeHDF5, GazeHDF5):
        assert not reader.recognises(tmp_path / "other.h5")
        assert not reader.recognises(tmp_path)
        assert not reader.recognises(tmp_path / "absent.h5")
        with pytest.raises(DataError, match="holds no"):
            _ = reader(tmp_path / "other.h5").ids
        with pytest.raises(DataError, match="is not a regular file"):
            reader(tmp_path)


# --- 4quant ----------------------------------------------------------------------------------------------------


def test_one_data_set_an_image(tmp_path: Path) -> None:
    names = ["0", "a b%..%c", "..", "x.png"]  # HDF5 takes two dots for a name like any other
    with h5py.File(tmp_path / "real_gaze.h5", "w") as file:
        for number, name in enumerate(names):
            file[f"image/{name}"] = np.full((35, 55), number, np.uint8)
        file["image/deep"] = np.zeros((3, 5))
    dataset = open_dataset(tmp_path / "real_gaze.h5")
    assert isinstance(dataset, GazeHDF5)
    assert len(dataset.ids) == 5
    assert all(sample.endswith(".png") and "/" not in sample and sample != ".." for sample in dataset.ids)
    images = {}
    for sample in dataset.ids:
        if sample != "deep.png":
            record = dataset.read(sample)
            assert record.image.shape == (35, 55)
            assert record.labels == {}
            assert dataset.subject(sample) is None
            images[int(record.image[0, 0])] = sample
    assert sorted(images) == [0, 1, 2, 3]
    assert (images[0], images[3]) == ("0.png", "x.png.png")
    with pytest.raises(ImageError, match="is float64"):
        dataset.read("deep.png")
    with pytest.raises(ImageError, match="cannot be read"):
        dataset.read("absent.png")
