"""Damage to the content of HDF5 and MATLAB files: types, shapes, attributes, links."""

import contextlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from choices import Random, files_of, payload, pick
from scipy.io import savemat


def damage_hdf5(root: Path, rng: Random) -> list[str]:
    """Change types, shapes, attributes or links of an HDF5 file."""
    names = [name for name in files_of(root, ".h5", ".mat") if h5py.is_hdf5(root / name)]
    if not names:
        return []
    name = pick(names, rng)
    places: list[str] = []
    with (
        contextlib.suppress(OSError, ValueError, RuntimeError, KeyError, TypeError),
        h5py.File(root / name, "r+") as file,
    ):
        file.visit(places.append)
        place = pick(places, rng)
        for _ in range(int(rng.integers(1, 3))):
            (_change_attribute if rng.random() < 0.3 else _change_node)(file, place, root, rng)
    return [name]


def _change_attribute(file: Any, place: str, root: Path, rng: Random) -> None:
    node = file if rng.random() < 0.5 else file[place]
    keys = list(node.attrs) or ["format"]
    key = pick(keys, rng)
    if rng.random() < 0.3:
        del node.attrs[key]
        return
    node.attrs[key] = pick(
        [0, -1, 2.5, "text", np.nan, "a\0b"[:1], h5py.Empty("f"), np.arange(3), np.bytes_(b"\xff\xfe"), [b"a", b"b"],
         file.ref, payload(), "integer", "pair", "text", "float9", "array", "cell", np.bytes_(b"char"), "[" * 5000], rng
    )  # fmt: skip


def _change_node(file: Any, place: str, root: Path, rng: Random) -> None:
    old = file[place]
    values = old[()] if isinstance(old, h5py.Dataset) and (old.size or 0) < 10**6 else np.zeros(3)
    del file[place]
    way = int(rng.integers(16))
    numeric = isinstance(values, np.ndarray) and values.dtype.kind in "uif"
    if way == 0:
        file[place] = h5py.SoftLink(f"/{place}")
    elif way == 1:
        file[place] = h5py.ExternalLink(
            pick(["/etc/passwd", "nowhere.h5", str(root.parent / "secret" / "other.h5")], rng), "images"
        )
    elif way == 2:
        file.create_dataset(place, (4,), "u1", external=[("/etc/passwd", 0, 4)])
    elif way == 3:
        file.create_dataset(place, (2**31, 36, 60), "u1", chunks=(1, 36, 60))
    elif way == 4:
        file[place] = h5py.Empty("f")
    elif way == 5:
        file[place] = np.bytes_(b"text")
    elif way == 6:
        file.create_group(place)[pick(["x", "..x", "a b", "\n"], rng)] = 1
    elif way == 7:
        file[place] = file["/"]
    elif way == 8 and numeric:
        file[place] = values.astype(pick(["f4", "i8", "u2", "f2", "c8", "?", ">f8"], rng))
    elif way == 9 and numeric:
        file[place] = values[..., None] if rng.random() < 0.5 else values.ravel()[:5]
    elif way == 10 and numeric:
        file[place] = np.full(values.shape, np.nan)
    elif way == 11:
        file.create_dataset(place, (3,), h5py.string_dtype())[:] = [b"\xff\xfe", payload().encode(), b""]
    elif way == 12:
        file.create_dataset(place, (0, *np.shape(values)[1:]), "u1")
    elif way == 13:
        layout = h5py.VirtualLayout((2, 36, 60), "u1")
        layout[0] = h5py.VirtualSource("/etc/passwd", "images", (36, 60))
        file.create_virtual_dataset(place, layout)
    elif way == 14 and isinstance(values, np.ndarray) and values.dtype == object and values.ndim == 1:
        odd = pick(
            [b"../../x.png", b"/x.png", b"a\0b", b"", values[0], b"x" * 300 + b".png", b"no suffix", b"\xff.png", b"."],
            rng,
        )
        values[int(rng.integers(len(values)))] = odd
        file.create_dataset(place, data=values, dtype=h5py.string_dtype())
    else:
        file[place] = np.zeros((1, 2), [("a", "f4"), ("b", "S3")])


def damage_matlab(root: Path, rng: Random) -> list[str]:
    """Replace a MATLAB 5 file by one with other values under the names that are read."""
    names = files_of(root, ".mat")
    if not names:
        return []
    name = pick(names, rng)
    cells = np.empty((2, 1), object)
    cells[:, 0] = pick(
        [["../x.jpg", "0001.jpg"], ["", ""], [1.0, 2.0], ["0001.jpg", "0001.jpg"], [payload(), "\n"]], rng
    )
    side = {"gaze": np.zeros((2, 3)), "image": np.zeros((2, 36, 60), np.uint8), "pose": np.full((2, 3), np.nan)}
    side[pick(list(side), rng)] = pick(
        [np.zeros((2, 3)), np.zeros(0), np.ones((2, 36, 60)), np.zeros((3, 4, 5, 6), np.uint8)], rng
    )
    joints = [np.full((1, 2, 36, 3), value) for value in (0, np.inf, 1e300)]
    values = [cells, 1.0, "text", *joints, np.ones((1, 2, 36, 3), np.uint8), np.zeros((0, 0)), np.ones((2, 2), bool),
              {"left": side, "right": side}, {"left": 1}]  # fmt: skip
    chosen = {key: pick(values, rng) for key in ("data", "filenames", "joint_uvd", "joint_xyz") if rng.random() < 0.8}
    chosen = {**chosen, "filenames": cells} if rng.random() < 0.5 else chosen
    savemat(root / name, chosen, do_compression=bool(rng.integers(2)))
    return [name]
