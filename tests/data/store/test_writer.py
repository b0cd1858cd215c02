"""Writing stores: layout, chunks joined without decoding, and a disk that refuses."""

import json
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refiner.core.errors import OutputError
from refiner.core.files import TEMPORARY_PREFIX
from refiner.data.store import writer
from refiner.data.store.columns import find_columns
from refiner.data.store.hdf5 import FORMAT, FORMAT_VERSION, ImageKind, to_dataset_name, to_label_name, write_attributes
from refiner.data.store.store_names import is_store_name
from refiner.data.store.writer import ImageWriter, copy_store, create_images, join_images, write_columns

KINDS = [
    ((5, 9), "uint8", "5x9 grey 8 bits"),
    ((5, 9, 3), "uint8", "5x9 RGB 8 bits"),
    ((5, 9, 4), "uint16", "5x9 RGBA 16 bits"),
    ((1, 17), "uint16", "1x17 grey 16 bits"),
]


def noise(shape: tuple[int, ...], dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, endpoint=True).astype(dtype)


def write_images(path: Path, images: list[np.ndarray]) -> Path:
    with ImageWriter(path) as writer:
        for image in images:
            writer.append(image)
    return path


@pytest.mark.parametrize(("shape", "dtype", "text"), KINDS)
def test_a_kind_is_text_and_back(shape: tuple[int, ...], dtype: str, text: str) -> None:
    kind = ImageKind.of(noise(shape, dtype))
    assert str(kind) == text
    assert ImageKind.parse(text) == kind
    assert kind.dtype == dtype


def test_stores_are_known_by_their_suffix() -> None:
    assert is_store_name(Path("a.h5"))
    assert is_store_name(Path("a.b.HDF5"))
    assert not is_store_name(Path("h5"))
    assert not is_store_name(Path("a.h5/b"))


@pytest.mark.parametrize(("shape", "dtype", "text"), KINDS)
def test_images_are_written_one_a_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], dtype: str, text: str
) -> None:
    monkeypatch.setattr(writer, "_BUFFER", 3 * noise(shape, dtype).nbytes)
    images = [noise(shape, dtype, seed=i) for i in range(11)]
    with h5py.File(write_images(tmp_path / "a.h5", images)) as file:
        kind = ImageKind.parse(text)
        assert file["images"].shape == (11, kind.height, kind.width, kind.channels)
        assert file["images"].chunks == (1, kind.height, kind.width, kind.channels)
        assert file["images"].dtype == dtype
        assert np.array_equal(file["images"][:].reshape(11, *shape), images)


def test_no_image_no_file_and_an_error_leaves_none(tmp_path: Path) -> None:
    write_images(tmp_path / "a.h5", [])

    def broken() -> None:
        with ImageWriter(tmp_path / "b.h5") as writer:
            writer.append(noise((5, 9)))
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_refuses_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(h5py.Dataset, "__setitem__", full)
    with pytest.raises(OutputError, match=r"a\.h5 cannot be written \(No space left"):
        write_images(tmp_path / "a.h5", [noise((5, 9))])
    assert list(tmp_path.iterdir()) == []


def test_parts_are_joined_in_order(tmp_path: Path) -> None:
    images = [noise((5, 9, 3), seed=i) for i in range(7)]
    paths = [write_images(tmp_path / f"{i}.h5", images[i : i + 3]) for i in (0, 3, 6)]
    with h5py.File(tmp_path / "whole.h5", "w") as file:
        join_images(file, ImageKind.of(images[0]), 7, paths)
        assert np.array_equal(file["images"][:], images)


def test_parts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = write_images(tmp_path / "0.h5", [noise((5, 9))] * 3)
    for count in (2, 4):
        with h5py.File(tmp_path / "whole.h5", "w") as file, pytest.raises(OutputError, match="3 images for"):
            join_images(file, ImageKind(5, 9, 1, 8), count, [path])
    path.write_bytes(path.read_bytes()[:-100])
    with (
        h5py.File(tmp_path / "whole.h5", "w") as file,
        pytest.raises(OutputError, match=r"0\.h5 is truncated: .* bytes; delete its folder and run again"),
    ):
        join_images(file, ImageKind(5, 9, 1, 8), 3, [path])


def test_labels_are_typed_and_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_ROWS", 2)
    rows = [
        ("a.png", {"gaze_pitch_rad": "0.1", "gaze_yaw_rad": "0.2", "subject": "p00", "mirrored": "1"}),
        ("b\udce4d.png", {"gaze_pitch_rad": "0.3", "gaze_yaw_rad": "0.4", "mirrored": "0", "outline": "[[1.0, 2.0]]"}),
        ("c.png", {"mirrored": "0", "subject": "ü", "weather/now": "fine", "exposure": "0.5"}),
    ]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        create_images(file, ImageKind(5, 9, 1, 8), 3)
        write_columns(file, iter(rows), find_columns(cells for _, cells in rows))
        write_attributes(file, {"licence": "mine"}, Counter({".png": 3}))
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["ids"][:].tolist() == [b"a.png", b"b\xe4d.png", b"c.png"]
        assert file["subjects"][:].tolist() == [b"p00", b"", "ü".encode()]
        assert file["labels/gaze"].shape == (3, 2)
        assert np.isnan(file["labels/gaze"][2]).all()
        assert file["labels/outline"].shape == (3, 1, 2)
        assert file["labels/mirrored"].dtype == np.int64
        assert set(file["labels"]) == {"gaze", "mirrored", "outline", "weather%2Fnow", "exposure"}
        assert (file.attrs["format"], file.attrs["format_version"]) == (FORMAT, FORMAT_VERSION)
        assert (file.attrs["licence"], json.loads(file.attrs["original_suffixes"])) == ("mine", {".png": 3})
        assert "radians" in file.attrs["conventions"]


def test_a_label_of_large_arrays_has_chunks_that_hdf5_can_hold(tmp_path: Path) -> None:
    cells = {"mask": json.dumps(np.zeros((200, 300)).tolist())}
    with h5py.File(tmp_path / "a.h5", "w") as file:
        create_images(file, ImageKind(1, 1, 1, 8), 1)
        write_columns(file, iter([("a.png", cells)]), find_columns([cells]))
        assert file["labels/mask"].chunks == (1, 200, 300)
        assert file["labels/mask"].shape == (1, 200, 300)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4), unique=True))
def test_any_column_name_can_be_stored(names: list[str]) -> None:
    with h5py.File("any", "w", driver="core", backing_store=False) as file:
        for name in [*names, "", ".", "%", "%.", "%2F", "/", "a/b", "a%2Fb", ".."]:
            group = file.require_group("labels")
            if to_dataset_name(name) not in group:
                group[to_dataset_name(name)] = name
        back = {to_label_name(dataset): values[()].decode() for dataset, values in file["labels"].items()}
    assert all(label == value for label, value in back.items())
    assert set(names) <= set(back)


def test_everything_but_images_is_carried_over(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as source:
        source["images"] = noise((2, 5, 9, 1))
        source["ids"] = ["a", "b"]
        source["labels/gaze"] = np.zeros((2, 2))
        source["labels/gaze"].attrs["cells"] = "pair"
        source["mine/deep/table"] = [1, 2, 3]
        source.attrs["licence"] = "mine"
        source.attrs["numbers"] = [1, 2]
        source["elsewhere"] = h5py.ExternalLink("/etc/passwd", "/")
        source["dangling"] = h5py.SoftLink("/nowhere")
        with h5py.File(tmp_path / "b.h5", "w") as file:
            copy_store(source, file)
    with h5py.File(tmp_path / "b.h5") as file:
        assert set(file) == {"ids", "labels", "mine"}
        assert file["mine/deep/table"][:].tolist() == [1, 2, 3]
        assert file["labels/gaze"].attrs["cells"] == "pair"
        assert file.attrs["licence"] == "mine"
        assert file.attrs["numbers"].tolist() == [1, 2]


def test_nothing_unfinished_is_left_behind(tmp_path: Path) -> None:
    write_images(tmp_path / "a.h5", [noise((5, 9))])
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(TEMPORARY_PREFIX)]
