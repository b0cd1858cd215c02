"""MATLAB files as plain values: both versions give the same, and nothing else is accepted."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from refiner.core.errors import DataError
from refiner.data.formats.mat_files import read_mat

CUBE = np.arange(24.0).reshape(2, 3, 4)


def write_v5(path: Path) -> Path:
    cell = np.empty((2, 1), object)
    cell[:, 0] = ["a", "bc"]
    savemat(
        path, {"s": {"cube": CUBE, "inner": {"text": "yes"}}, "cell": cell, "none": "", "rows": np.array(["ab", "cd"])}
    )
    return path


def write_v73(path: Path) -> Path:
    with h5py.File(path, "w", userblock_size=512) as file:

        def text(name: str, rows: list[str]) -> Any:
            node = file.create_dataset(name, data=np.array([[ord(c) for c in row] for row in rows], np.uint16).T)
            node.attrs["MATLAB_class"] = np.bytes_("char")
            return node.ref

        file["s/cube"] = CUBE.T
        text("s/inner/text", ["yes"])
        text("rows", ["ab", "cd"])
        cell = file.create_dataset("cell", (1, 2), h5py.ref_dtype)
        cell[0] = [text("#refs#/a", ["a"]), text("#refs#/b", ["bc"])]
        file["none"] = np.array([0, 0], np.uint64)
        file["none"].attrs["MATLAB_class"] = np.bytes_("char")
        file["none"].attrs["MATLAB_empty"] = 1
    return path


@pytest.mark.parametrize("write", [write_v5, write_v73])
def test_both_versions_give_the_same_values(tmp_path: Path, write: Any) -> None:
    values = read_mat(write(tmp_path / "a.mat"), ["s", "cell", "none", "rows", "absent"])
    assert set(values) == {"s", "cell", "none", "rows"}
    assert np.array_equal(values["s"]["cube"], CUBE)
    assert values["s"]["inner"] == {"text": "yes"}
    assert (values["cell"], values["none"], values["rows"]) == (["a", "bc"], "", ["ab", "cd"])


@pytest.mark.parametrize("write", [write_v5, write_v73])
def test_what_is_not_asked_for_is_not_looked_at(tmp_path: Path, write: Any) -> None:
    assert read_mat(write(tmp_path / "a.mat"), ["cell"]) == {"cell": ["a", "bc"]}


@pytest.mark.parametrize("data", [b"", b"x", b"MATLAB 5.0 MAT-file".ljust(128), b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_no_matlab_file_is_one_clear_sentence(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.mat").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.mat "):
        read_mat(tmp_path / "a.mat", ["s"])
    with pytest.raises(DataError, match=r"b\.mat cannot be read \(No such file"):
        read_mat(tmp_path / "b.mat", ["s"])


def test_a_claim_of_endless_values_takes_no_memory(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.mat", "w") as file:
        file.create_dataset("s", (1 << 20, 1 << 20), np.uint8, chunks=(64, 64))
    with pytest.raises(DataError, match="at most 1,073,741,824 are read at once"):
        read_mat(tmp_path / "a.mat", ["s"])
