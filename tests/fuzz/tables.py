"""Ways in which people write ``labels.csv``: other names of the images, other encodings, other separators."""

import csv
import io
import unicodedata
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from choices import Random, pick
from labelled import Folder, cells

Rename = Callable[[str, Path], str]

WAYS: dict[str, Rename] = {
    "plain": lambda name, root: name,
    "./": lambda name, root: f"./{name}",
    "backslashes": lambda name, root: name.replace("/", "\\"),
    "absolute": lambda name, root: str(root / name),
    "no suffix": lambda name, root: name[: -len(PurePosixPath(name).suffix)],
    "other suffix": lambda name, root: f"{name[: -len(PurePosixPath(name).suffix)]}.jpeg",
    "case of suffix": lambda name, root: (
        name[: -len(PurePosixPath(name).suffix)] + PurePosixPath(name).suffix.swapcase()
    ),
    "base name": lambda name, root: PurePosixPath(name).name,
    "composed": lambda name, root: unicodedata.normalize("NFC", name),
    "decomposed": lambda name, root: unicodedata.normalize("NFD", name),
    "nothing fits": lambda name, root: f"other/{abs(hash_of(name))}.png",
    "shuffled": lambda name, root: name,
    "doubled": lambda name, root: name,
    "semicolons": lambda name, root: name,
    "tabs": lambda name, root: name,
    "utf-8-sig": lambda name, root: name,
    "utf-16": lambda name, root: name,
    "latin-1": lambda name, root: name,
    "crlf": lambda name, root: name,
    "column filename": lambda name, root: name,
    "column File": lambda name, root: name,
    "padded header": lambda name, root: name,
    "quoted": lambda name, root: name,
}
"""How a name is written, by the way of writing the table; other ways change the table as a whole."""


def hash_of(name: str) -> int:
    """Return a number that depends on a name, the same in every process."""
    return sum(ord(letter) * 31**place for place, letter in enumerate(name)) % 10**9


def choose_way(rng: Random) -> str:
    """Choose a way; half of all tables are plain."""
    return "plain" if rng.random() < 0.5 else str(pick(list(WAYS), rng))


def write_labels(root: Path, folder: Folder, rng: Random) -> None:
    """Write ``labels.csv`` in the way of the folder; nothing without labels."""
    if not folder.schema:
        return
    way, samples = folder.way, folder.samples
    rows = [(name, sample) for name, sample in samples.items() if name not in folder.unlabelled]
    rows += [(name, next(iter(samples.values()))) for name in folder.orphans]
    rows = [rows[int(place)] for place in rng.permutation(len(rows))] if way == "shuffled" else rows
    rows = [*rows, rows[0]] if way == "doubled" and rows else rows
    key = {"column filename": "filename", "column File": "File", "padded header": " file "}.get(way, "file")
    table = [{key: WAYS[way](name, root), **cells(sample, folder.schema)} for name, sample in rows]
    text = io.StringIO(newline="")
    columns = list(dict.fromkeys([key, *(column for row in table for column in row)]))
    separator = {"semicolons": ";", "tabs": "\t"}.get(way, ",")
    quoting = csv.QUOTE_ALL if way == "quoted" else csv.QUOTE_MINIMAL
    writer = csv.DictWriter(text, columns, delimiter=separator, quoting=quoting, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(table)
    # Lines end as on Unix unless the way says otherwise. Cells with line breaks keep their own.
    lines = text.getvalue() if way == "crlf" else text.getvalue().replace("\r\n", "\n")
    encoding = way if way in ("utf-8-sig", "utf-16", "latin-1") else "utf-8"
    (root / "labels.csv").write_bytes(lines.encode(encoding, errors="replace"))
