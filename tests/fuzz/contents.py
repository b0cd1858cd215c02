"""Damage to the content of files: bytes, label tables, JSON, YAML and lists."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from choices import CANARY, Random, files_of, is_other, payload, pick


class _Trap:
    """An object that creates the canary when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {os.environ[CANARY]}",)


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
    """Put a pickle that runs a command next to a file, or in its place."""
    name = pick(files_of(root), rng)
    if rng.random() < 0.5:
        name = str(Path(name).with_suffix(pick([".pkl", ".npy", ".pt", ".mat", ".png", ".json"], rng)))
    if is_other(root / name):
        return []
    (root / name).write_bytes(pickle.dumps(_Trap()))
    return [name]


def swap_files(root: Path, rng: Random) -> list[str]:
    """Exchange two files, or give one the suffix of another type."""
    names = files_of(root)
    first, second = pick(names, rng), pick(names, rng)
    if rng.random() < 0.5:
        second = str(Path(first).with_suffix(pick([".png", ".jpg", ".json", ".csv", ".h5", ".mat", ".tif", ""], rng)))
        if is_other(root / second):
            return []
        (root / first).rename(root / second)
        return [first, second]
    data = (root / first).read_bytes()
    (root / first).write_bytes((root / second).read_bytes())
    (root / second).write_bytes(data)
    return [first, second] if first != second else []


CELLS = ("nan", "inf", "-1e400", "", "\0", "9" * 400, "x" * 200_000, "[" * 3000, "[1, [2, 3]]", "[NaN, 1]", '["a"]',
         "[]", "[[]]", "[1e999]", "[{}]", "=1+1", '"', "\r", "1_000", "٣", "0x10", "true", "1", "2", "\ud800", " ",
         "[1,2")  # fmt: skip
FILES = ("../../secret.png", "/etc/passwd", "..", ".", "a/../b.png", "000000.png", "\\\\host\\x.png", "a\nb.png", "~")
COLUMNS = ("file", "gaze_pitch_rad", "mirrored", "subject", "images", "a/b", "/", "..", ".", "", "ids", "\0", "ü" * 300,
           "gaze", "x" * 70_000, "pupil", "gaze_yaw_rad", "labels")  # fmt: skip


def damage_table(root: Path, rng: Random) -> list[str]:
    """Change cells, rows or columns of a label table; make one if there is none."""
    names = files_of(root, ".csv") or ["labels.csv"]
    name = pick(names, rng)
    if is_other(root / name):
        return []
    images = files_of(root, ".png", ".jpg") or ["x.png"]
    if not (root / name).exists():
        rows = [
            ["file", "gaze_pitch_rad", "gaze_yaw_rad", "note"],
            *([image, "0.1", "-0.2", "[1, 2]"] for image in images),
        ]
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
    """Return texts of JSON values, some of them invalid."""
    return ["null", "true", "NaN", "Infinity", "-1e999", "9" * 5000, "1" + "0" * 400, "[]", "{}", '""', "[[[]]]",
            "[" * 100_000, '{"a":' * 50_000, json.dumps(payload()), '"(nan, nan, nan)"', '"(1e308, 1e308, 1e308)"',
            '"(0, 0, 0)"', '"(1, 2)"', f'"({payload()}, 0, 0)"', '"(' + "9" * 400 + ', 0, 0)"', '"\\ud800"', "0x1F",
            '"(1,2,3)"', '["(1,2,3)"]', '{"a": 1, "a": 2}', "-0.0", '"(-5000, 40, 1)"',
            '"x' + "y" * 200_000 + '"']  # fmt: skip


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
    trap = f"!!python/object/apply:os.system ['touch {os.environ[CANARY]}']"
    values = [trap, "&a [*a]", "day01/../0001.jpg left", "../../etc/passwd left", "\0", "x" * 100_000, ": : :",
              "day01/0009.jpg left", "nan", "- " * 5000, "{" * 3000]  # fmt: skip
    number = int(rng.integers(len(lines)))
    key = lines[number].partition(":")[0]
    lines[number] = f"{key}: {pick(values, rng)}" if rng.random() < 0.5 else pick(values, rng)
    (root / name).write_text("\n".join(lines), encoding="utf-8")
    return [name]
