"""Awkward places to write to: each function makes one and returns IN and OUT."""

from collections.abc import Callable
from pathlib import Path


def _below_a_file(source: Path, out: Path) -> tuple[Path, Path]:
    (out.parent / "file").write_text("a file")
    return source, out.parent / "file" / out.name


def _inside_the_input(source: Path, out: Path) -> tuple[Path, Path]:
    return source, source / out.name


def _around_the_input(source: Path, out: Path) -> tuple[Path, Path]:
    return source, out.parent


def _the_input(source: Path, out: Path) -> tuple[Path, Path]:
    return source, source


def _a_file(source: Path, out: Path) -> tuple[Path, Path]:
    out.write_text("precious")
    return source, out


def _a_folder(source: Path, out: Path) -> tuple[Path, Path]:
    out.mkdir()
    (out / "precious.txt").write_text("precious")
    return source, out


def _a_link_to_the_input(source: Path, out: Path) -> tuple[Path, Path]:
    out.symlink_to(source)
    return source, out


def _a_link_into_nothing(source: Path, out: Path) -> tuple[Path, Path]:
    out.symlink_to("nowhere/at/all")
    return source, out


def _a_link_in_circles(source: Path, out: Path) -> tuple[Path, Path]:
    out.symlink_to(out.name)
    return source, out


def _a_long_name(source: Path, out: Path) -> tuple[Path, Path]:
    return source, out.with_name("x" * 300 + out.suffix)


def _name_with_lines(source: Path, out: Path) -> tuple[Path, Path]:
    return source, out.with_name("x\ny" + out.suffix)


def _state_is_a_file(source: Path, out: Path) -> tuple[Path, Path]:
    if out.suffix:
        out.with_name(f"{out.name}.parts").write_text("precious")
    else:
        out.mkdir()
        (out / ".refiner").write_text("precious")
    return source, out


def _damaged_state(source: Path, out: Path) -> tuple[Path, Path]:
    state = out.with_name(f"{out.name}.parts") if out.suffix else out / ".refiner"
    (state / "parts").mkdir(parents=True)
    (state / "parts" / "job.json").write_text("[1]")
    (state / "done.json").write_text("[1, 2]")
    rows = [
        '{"file": 5}',
        '{"file": "../in/labels.csv"}',
        "[]",
        '{"file": null, "size": 1, "time": 2, "job": []}',
        "\0",
    ]
    (state / "manifest.jsonl").write_text("\n".join(rows) + "\n")
    return source, out


def _files_in_the_way(source: Path, out: Path) -> tuple[Path, Path]:
    place = out.with_suffix(".rejected.csv") if out.suffix else out / "labels.csv"
    place.mkdir(parents=True)
    if not out.suffix:
        (out / "000000.png").mkdir()
    return source, out


def _images_in_the_way(source: Path, out: Path) -> tuple[Path, Path]:
    if not out.suffix:
        out.mkdir()
        for name in ("000000.png", "1.png", "1.jpg", "rejected.csv"):
            (out / name).write_text("precious")
    return source, out


def _read_only(source: Path, out: Path) -> tuple[Path, Path]:
    place = out.parent / "closed"
    place.mkdir(mode=0o500)
    return source, place / out.name


ODD_OUTPUTS: dict[str, Callable[[Path, Path], tuple[Path, Path]]] = {
    "below a file": _below_a_file,
    "inside IN": _inside_the_input,
    "around IN": _around_the_input,
    "is IN": _the_input,
    "a file": _a_file,
    "a folder": _a_folder,
    "link to IN": _a_link_to_the_input,
    "link into nothing": _a_link_into_nothing,
    "link in circles": _a_link_in_circles,
    "long name": _a_long_name,
    "name with lines": _name_with_lines,
    "state is a file": _state_is_a_file,
    "damaged state": _damaged_state,
    "folders in the way": _files_in_the_way,
    "images in the way": _images_in_the_way,
    "read-only": _read_only,
}
"""Awkward places by description. The super-user can write into a read-only folder."""

REFUSED = ("below a file", "inside IN", "around IN", "is IN", "link to IN")
"""Places that are refused before anything is written."""
