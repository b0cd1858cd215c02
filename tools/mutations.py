"""Damage to the files of a data set: bytes, tables, JSON, HDF5, MATLAB, names, links and what is no file at all.

Each mutation is a function of a folder and a random generator in ``MUTATIONS``; it changes the folder and gives the
paths that it touched, relative to the folder, or none where it found nothing to change.
"""

import contextlib
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from odd_images import odd_images
from scipy.io import savemat

CANARY = "FUZZ_CANARY"
"""Environment variable: a file that exists only if something that was read has been run."""

Random = np.random.Generator
Mutation = Callable[[Path, Random], list[str]]

ODD_IMAGES = odd_images()


def payload() -> str:
    """An expression that would make the canary."""
    return f"__import__('os').system('touch {os.environ[CANARY]}')"


class _Trap:
    """Makes the canary when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {os.environ[CANARY]}",)


def files_of(root: Path, *suffixes: str) -> list[str]:
    """Regular files below a folder by their suffixes, sorted; all of them without suffixes."""
    names = (path for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink())
    return [path.relative_to(root).as_posix() for path in names if not suffixes or path.suffix in suffixes]


def pick(options: Any, rng: Random) -> Any:
    """One of a sequence, of any types."""
    return options[int(rng.integers(len(options)))]


# --- bytes -----------------------------------------------------------------------------------------------------


def damage_bytes(root: Path, rng: Random) -> list[str]:
    """Flip, cut, zero, double, insert, or replace bytes of one file."""
    name = pick(files_of(root), rng)
    data = bytearray((root / name).read_bytes())
    start = int(rng.integers(len(data) + 1))
    length = int(rng.integers(1, 400))
    garbage = rng.integers(0, 256, length).astype(np.uint8).tobytes()
    way = int(rng.integers(8))
    if way == 0:
        for position in rng.integers(0, max(len(data), 1), int(rng.integers(1, 20))):
            data[position : position + 1] = bytes([int(rng.integers(256))])
    elif way == 1:
        del data[start:]
    elif way == 2:
        data[start : start + length] = bytes(len(data[start : start + length]))
    elif way == 3:
        data[start:start] = data[start : start + length]
    elif way == 4:
        data[start:start] = garbage
    elif way == 5:
        data.clear()
    elif way == 6:
        data[start : start + length] = garbage
    else:
        data = bytearray(garbage)
    (root / name).write_bytes(data)
    return [name]


def plant_pickle(root: Path, rng: Random) -> list[str]:
    """Put a pickle that runs a command beside a file, or in place of it."""
    name = pick(files_of(root), rng)
    if rng.random() < 0.5:
        name = str(Path(name).with_suffix(pick([".pkl", ".npy", ".pt", ".mat", ".png", ".json"], rng)))
    (root / name).write_bytes(pickle.dumps(_Trap()))
    return [name]


def swap_files(root: Path, rng: Random) -> list[str]:
    """Exchange two files, or give one the suffix of another type."""
    names = files_of(root)
    first, second = pick(names, rng), pick(names, rng)
    if rng.random() < 0.5:
        second = str(Path(first).with_suffix(pick([".png", ".jpg", ".json", ".csv", ".h5", ".mat", ".tif", ""], rng)))
        (root / first).rename(root / second)
        return [first, second]
    data = (root / first).read_bytes()
    (root / first).write_bytes((root / second).read_bytes())
    (root / second).write_bytes(data)
    return [first, second] if first != second else []


# --- tables and JSON -------------------------------------------------------------------------------------------

CELLS = ("nan", "inf", "-1e400", "", "\0", "9" * 400, "x" * 200_000, "[" * 3000, "[1, [2, 3]]", "[NaN, 1]", '["a"]',
         "[]", "[[]]", "[1e999]", "[{}]", "=1+1", '"', "\r", "1_000", "٣", "0x10", "true", "1", "2", "\ud800", " ", "[1,2")  # fmt: skip
FILES = ("../../secret.png", "/etc/passwd", "..", ".", "a/../b.png", "000000.png", "\\\\host\\x.png", "a\nb.png", "~")
COLUMNS = ("file", "gaze_pitch_rad", "mirrored", "subject", "images", "a/b", "/", "..", ".", "", "ids", "\0", "ü" * 300,
           "gaze", "x" * 70_000, "pupil", "gaze_yaw_rad", "labels")  # fmt: skip


def damage_table(root: Path, rng: Random) -> list[str]:
    """Change cells, rows or columns of a label table, which is made where there is none."""
    names = [name for name in files_of(root, ".csv")] or ["labels.csv"]
    name = pick(names, rng)
    images = files_of(root, ".png", ".jpg") or ["x.png"]
    if not (root / name).exists():
        rows = [["file", "gaze_pitch_rad", "gaze_yaw_rad", "note"], *([image, "0.1", "-0.2", "[1, 2]"] for image in images)]
    else:
        text = (root / name).read_text(encoding="utf-8", errors="replace")
        rows = [line.split(",") for line in text.splitlines()] or [[""]]
    for _ in range(int(rng.integers(1, 4))):
        row = rows[int(rng.integers(len(rows)))]
        way = int(rng.integers(8))
        column = int(rng.integers(len(row)))
        if way <= 2:
            row[column] = pick([*CELLS, payload()], rng)
        elif way == 3:
            rows.append(list(row))
        elif way == 4:
            row[0] = pick(FILES, rng)
        elif way == 5:
            rows[0][int(rng.integers(len(rows[0])))] = pick(COLUMNS, rng)
        elif way == 6:
            del row[column:]
            row.append("")
        else:
            rows[0].append(pick(COLUMNS, rng))
            for other in rows[1:]:
                other.append(pick(CELLS, rng))
    text = "\n".join(",".join(row) for row in rows)
    encoding = pick(["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"], rng)
    (root / name).write_bytes(text.encode(encoding, errors="surrogatepass" if encoding == "utf-8" else "replace"))
    return [name]


def _values() -> list[str]:
    """JSON texts, some of them no JSON."""
    return ["null", "true", "NaN", "Infinity", "-1e999", "9" * 5000, "1" + "0" * 400, "[]", "{}", '""', "[[[]]]",
            "[" * 100_000, '{"a":' * 50_000, json.dumps(payload()), '"(nan, nan, nan)"', '"(1e308, 1e308, 1e308)"',
            '"(0, 0, 0)"', '"(1, 2)"', f'"({payload()}, 0, 0)"', '"(' + "9" * 400 + ', 0, 0)"', '"\\ud800"', "0x1F",
            '"(1,2,3)"', '["(1,2,3)"]', '{"a": 1, "a": 2}', "-0.0", '"(-5000, 40, 1)"', '"x' + "y" * 200_000 + '"']  # fmt: skip


def damage_json(root: Path, rng: Random) -> list[str]:
    """Replace or remove a value somewhere in a JSON file or a line of one, or the whole of it."""
    names = files_of(root, ".json", ".jsonl")
    if not names:
        return []
    name = pick(names, rng)
    lines = (root / name).read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    whole = not name.endswith(".jsonl")
    number = int(rng.integers(len(lines)))
    try:
        content = json.loads("\n".join(lines) if whole else lines[number])
    except (ValueError, RecursionError):
        return []
    marker = '"\uffffMARK"'
    parent: Any = content
    while isinstance(parent, dict | list) and parent:
        keys = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
        key = pick(keys, rng)
        if isinstance(parent[key], dict | list) and parent[key] and rng.random() < 0.7:
            parent = parent[key]
            continue
        if rng.random() < 0.2:
            del parent[key]
        else:
            parent[key] = "\uffffMARK"
        break
    text = json.dumps(content, ensure_ascii=False).replace(marker, pick(_values(), rng))
    if rng.random() < 0.1:
        text = pick(_values(), rng)
    result = text if whole else "\n".join([*lines[:number], text, *lines[number + 1 :]]) + "\n"
    (root / name).write_text(result, encoding=pick(["utf-8"] * 5 + ["utf-16"], rng), errors="replace")
    return [name]


def damage_text(root: Path, rng: Random) -> list[str]:
    """Replace a word or a line of a list or of a configuration."""
    names = files_of(root, ".txt", ".yaml")
    if not names:
        return []
    name = pick(names, rng)
    lines = (root / name).read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    values = ["!!python/object/apply:os.system ['touch " + os.environ[CANARY] + "']", "&a [*a]", "day01/../0001.jpg left",
              "../../etc/passwd left", "\0", "x" * 100_000, ": : :", "day01/0009.jpg left", "nan", "- " * 5000, "{" * 3000]  # fmt: skip
    number = int(rng.integers(len(lines)))
    key = lines[number].partition(":")[0]
    lines[number] = f"{key}: {pick(values, rng)}" if rng.random() < 0.5 else pick(values, rng)
    (root / name).write_text("\n".join(lines), encoding="utf-8")
    return [name]


# --- names, links, what is no file -----------------------------------------------------------------------------

NAMES = ("a b.png", "a\nb.png", "a\tb.png", "-x.png", "%2e%2e%2fx.png", "ü.png", os.fsdecode(b"\xff\xfe.png"), "x" * 251 + ".png",
         "x" * 251 + ".jpg", "'; touch x.png", "\u202egnp.png", "A.PNG", "a.png.png", "rejected.csv.png", "a\rb.png",
         "[red]x[/red].png", "\x1b[31m.png", "x.h5.png", ".png.png", "nul\\x.png", "x" * 244 + ".webp", "d\ne/a.png", "ü" * 120 + ".bmp")  # fmt: skip


def rename(root: Path, rng: Random) -> list[str]:
    """Give an image an awkward name, with what lies beside it under the same stem."""
    names = files_of(root, ".png", ".jpg", ".jpeg")
    if not names:
        return []
    old, new = pick(names, rng), pick(NAMES, rng)
    target = (root / old).parent / new
    target.parent.mkdir(exist_ok=True)
    touched = [old, target.relative_to(root).as_posix()]
    beside = (root / old).with_suffix(".json")
    if beside.exists() and len(os.fsencode(target.stem)) < 250:
        beside.rename(target.with_suffix(".json"))
        touched += [str(Path(old).with_suffix(".json")), target.with_suffix(".json").relative_to(root).as_posix()]
    (root / old).rename(target)
    return touched


def add_odd_image(root: Path, rng: Random) -> list[str]:
    """Add one of the odd images, or put it in place of another image."""
    odd = ODD_IMAGES[pick(list(ODD_IMAGES), rng)]
    names = files_of(root, ".png", ".jpg")
    if names and rng.random() < 0.5:
        name = pick(names, rng)
    else:
        name = f"odd{int(rng.integers(1000))}{odd.suffix}"
    (root / name).write_bytes(odd.data)
    return [name]


def add_namesakes(root: Path, rng: Random) -> list[str]:
    """``a.png`` beside ``a.jpg``, ``a.jpg.png`` and the like: different images whose outputs want one name."""
    suffixes = [".png", ".jpg", ".jpg.png", ".PNG", ".jpeg", ".png.png", ".jpg.png.png", ".JPG"]
    chosen = [suffix for suffix in suffixes if rng.random() < 0.5]
    for number, suffix in enumerate(chosen):
        kind = list(ODD_IMAGES)[0] if "png" in suffix.lower()[-4:] else "grey JPEG"
        (root / f"twin{suffix}").write_bytes(ODD_IMAGES[kind].data + bytes(number))
    return [f"twin{suffix}" for suffix in chosen]


def add_special(root: Path, rng: Random) -> list[str]:
    """A link (round in circles, out of the folder, into nothing), a folder or a pipe where a file is expected."""
    names = files_of(root)
    taken = [*names, "labels.csv", "rejected.csv", "joint_data.mat", "config.yaml", "metrics.jsonl", ".refiner"]
    name = pick([*taken, "x.png", "x.png", "loop/x.jpg", "sub", "x.h5"], rng)
    place = root / name
    place.parent.mkdir(exist_ok=True)
    if place.is_dir():
        return []
    place.unlink(missing_ok=True)
    way = int(rng.integers(8))
    if way == 0:
        place.symlink_to(place)
    elif way == 1:
        place.symlink_to("..")
    elif way == 2:
        place.symlink_to(root.parent / "secret" / "secret.png")
    elif way == 3:
        place.symlink_to(root.parent / "secret")
    elif way == 4:
        place.symlink_to("nowhere")
    elif way == 5:
        place.mkdir()
        (place / "inner.png").write_bytes(ODD_IMAGES["RGBA"].data)
    elif way == 6:
        os.mkfifo(place)
    else:
        place.symlink_to("/dev/zero")
    return [name]


def remove(root: Path, rng: Random) -> list[str]:
    """Remove a file."""
    name = pick(files_of(root), rng)
    (root / name).unlink()
    return [name]


# --- HDF5 and MATLAB -------------------------------------------------------------------------------------------


def damage_hdf5(root: Path, rng: Random) -> list[str]:
    """Change what an HDF5 file holds: types, shapes, attributes, links."""
    names = [name for name in files_of(root, ".h5", ".mat") if h5py.is_hdf5(root / name)]
    if not names:
        return []
    name = pick(names, rng)
    places: list[str] = []
    with contextlib.suppress(OSError, ValueError, RuntimeError, KeyError, TypeError), h5py.File(root / name, "r+") as file:
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
    values = old[()] if isinstance(old, h5py.Dataset) else np.zeros(3)
    del file[place]
    way = int(rng.integers(16))
    numeric = isinstance(values, np.ndarray) and values.dtype.kind in "uif"
    if way == 0:
        file[place] = h5py.SoftLink(f"/{place}")
    elif way == 1:
        file[place] = h5py.ExternalLink(pick(["/etc/passwd", "nowhere.h5", str(root.parent / "secret" / "other.h5")], rng), "images")
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
        odd = pick([b"../../x.png", b"/x.png", b"a\0b", b"", values[0], b"x" * 300 + b".png", b"no suffix", b"\xff.png", b"."], rng)
        values[int(rng.integers(len(values)))] = odd
        file.create_dataset(place, data=values, dtype=h5py.string_dtype())
    else:
        file[place] = np.zeros((1, 2), [("a", "f4"), ("b", "S3")])


def damage_matlab(root: Path, rng: Random) -> list[str]:
    """Write a MATLAB 5 file anew, with other values under the names that are read."""
    names = files_of(root, ".mat")
    if not names:
        return []
    name = pick(names, rng)
    cells = np.empty((2, 1), object)
    cells[:, 0] = pick([["../x.jpg", "0001.jpg"], ["", ""], [1.0, 2.0], ["0001.jpg", "0001.jpg"], [payload(), "\n"]], rng)
    side = {"gaze": np.zeros((2, 3)), "image": np.zeros((2, 36, 60), np.uint8), "pose": np.full((2, 3), np.nan)}
    side[pick(list(side), rng)] = pick([np.zeros((2, 3)), np.zeros(0), np.ones((2, 36, 60)), np.zeros((3, 4, 5, 6), np.uint8)], rng)
    values = [cells, 1.0, "text", np.zeros((1, 2, 36, 3)), np.zeros((1, 2, 36, 3)) + np.inf, np.ones((1, 2, 36, 3), np.uint8),
              np.full((1, 2, 36, 3), 1e300), {"left": side, "right": side}, {"left": 1}, np.zeros((0, 0)), np.ones((2, 2), bool)]  # fmt: skip
    chosen = {key: pick(values, rng) for key in ("data", "filenames", "joint_uvd", "joint_xyz") if rng.random() < 0.8}
    chosen = {**chosen, "filenames": cells} if rng.random() < 0.5 else chosen
    savemat(root / name, chosen, do_compression=bool(rng.integers(2)))
    return [name]


MUTATIONS: dict[str, tuple[float, Mutation]] = {
    "bytes": (3, damage_bytes),
    "pickle": (1, plant_pickle),
    "swapped": (1, swap_files),
    "table": (2.5, damage_table),
    "json": (2.5, damage_json),
    "text": (1, damage_text),
    "name": (1.5, rename),
    "odd image": (2.5, add_odd_image),
    "namesakes": (1, add_namesakes),
    "special": (2, add_special),
    "removed": (0.5, remove),
    "hdf5": (3, damage_hdf5),
    "matlab": (1, damage_matlab),
}
"""Mutations by name, with how often each is drawn."""


def mutate(root: Path, rng: Random) -> tuple[list[str], set[str]]:
    """Damage a folder once to three times; the names of the mutations, and the paths they touched."""
    weights = np.array([weight for weight, _ in MUTATIONS.values()])
    done: list[str] = []
    touched: set[str] = set()
    wanted = int(rng.integers(1, 4))
    for _ in range(20):
        name = pick_weighted(list(MUTATIONS), weights, rng)
        if not files_of(root) or len(done) == wanted:
            break
        paths = MUTATIONS[name][1](root, rng)
        if paths:
            done.append(name)
            touched.update(paths)
    return done, touched


def pick_weighted(options: list[str], weights: Any, rng: Random) -> str:
    """One of some options, by their weights."""
    return options[int(np.searchsorted(np.cumsum(weights), rng.random() * np.sum(weights), side="right"))]
