"""Any data set into a folder of patches or a store: labels move along and the same command goes on."""

import csv
import errno
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refiner.core.errors import DataError, ImageError, OutputError
from refiner.core.files import TEMPORARY_PREFIX
from refiner.data import conversion
from refiner.data.conversion import Conversion
from refiner.data.convert import convert
from refiner.data.labels.records import Record
from refiner.data.labels.tables import read_labels
from refiner.data.output.chunks import ChunkFiles, write_chunk
from refiner.data.output.folder import open_output
from refiner.data.store.hdf5 import FORMAT, FORMAT_VERSION
from refiner.data.store.reader import Store
from refiner.images import io as image_files
from refiner.images.arrays import equalization, equalize, to_grey
from refiner.images.io import LOSSLESS, read_image, read_picture, write_image


def noise(shape: tuple[int, ...], dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, endpoint=True).astype(dtype)


def counts(*arguments: Any, **options: Any) -> tuple[int, int]:
    """Images written and rejected."""
    summary = convert(*arguments, **options)[""]
    return summary.written, summary.rejected


def fill(folder: Path, count: int, shape: tuple[int, ...] = (8, 12)) -> Path:
    for number in range(count):
        write_image(folder / f"{number:03d}.png", noise(shape, seed=number))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".refiner" not in path.parts
    }


def stored(path: Path) -> dict[str, Any]:
    """Every data set of a store, as lists."""
    found: dict[str, Any] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item}) if isinstance(item, h5py.Dataset) else None)
        return {
            name: np.nan_to_num(item[:], nan=-99).tolist() if item.dtype.kind == "f" else item[:].tolist()
            for name, item in found.items()
        }


def unityeyes(folder: Path, name: str, *, x: float = 60.0, y: float = 40.0, radius: float = 8.0) -> None:
    """A frame of 80x120 with a dark disc for an iris, and its JSON."""
    row, column = np.mgrid[:80, :120]
    grey = np.where(np.hypot(column - x, row - y) < radius, 30, 160).astype(np.uint8)
    write_image(folder / f"{name}.png", np.stack([grey] * 3, axis=-1))
    around = [(x + radius * math.cos(a), 80 - y + radius * math.sin(a)) for a in np.linspace(0, 6.1, 32)]
    scene = {
        "interior_margin_2d": [f"({x + d}, {80 - y}, 9)" for d in (*np.linspace(-26, 26, 9), *np.linspace(20, -20, 7))],
        "caruncle_2d": [f"({x - 26}, {80 - y}, 9)"],
        "iris_2d": [f"({px}, {py}, 9)" for px, py in around],
        "eye_details": {"look_vec": "(0.1, 0.2, -0.9, 0)"},
        "head_pose": "(0, 180, 0)",
    }
    (folder / f"{name}.json").write_text(json.dumps(scene))


# --- one record ------------------------------------------------------------------------------------------------


def test_nothing_asked_for_changes_nothing() -> None:
    record = Record("a.png", noise((5, 9, 4), "uint16"), {"pupil": np.array([1.0, 2.0]), "subject": "x"})
    converted = Conversion().apply(record)
    assert np.array_equal(converted.image, record.image)
    assert converted.labels == record.labels


@pytest.mark.parametrize("factor", [2, 0.5])
def test_pixel_labels_move_with_the_pixels(factor: float) -> None:
    """A bright spot is where its label says, before and after: pixel centres, not corners, are at whole numbers."""
    image = np.zeros((24, 40), np.uint8)
    image[8:10, 30:32] = 240
    labels = {
        "pupil": np.array([30.5, 8.5]),
        "iris_outline": np.array([[30.5, 8.5], [0.0, 0.0]]),
        "gaze": np.array([0.1, 0.2]),
    }
    size = round(24 * factor), round(40 * factor)
    converted = Conversion(size=size).apply(Record("a.png", image, labels))
    y, x = np.mgrid[: size[0], : size[1]]
    weight = converted.image.astype(float)
    middle = np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()
    assert converted.labels["pupil"] == pytest.approx(middle, abs=0.1)
    assert converted.labels["iris_outline"][0] == pytest.approx(middle, abs=0.1)
    assert converted.labels["gaze"].tolist() == [0.1, 0.2]
    assert labels["pupil"].tolist() == [30.5, 8.5]  # the record given is left as it was


def test_a_squeeze_moves_x_and_y_by_their_own_factors() -> None:
    record = Record("a.png", noise((36, 60)), {"pupil": np.array([59.0, 35.0])})
    assert Conversion(size=(18, 20)).apply(record).labels["pupil"].tolist() == pytest.approx([59.5 / 3 - 0.5, 17.25])


def test_grey_and_equalised() -> None:
    image = noise((24, 40, 3)) // 4 + 80
    grey = Conversion(grey=True).apply(Record("a", image)).image
    assert np.array_equal(grey, to_grey(image))
    assert np.array_equal(Conversion(grey=True, equalized=True).apply(Record("a", image)).image, equalize(grey))
    flat = Conversion(equalized=True).apply(Record("a", image)).image
    assert flat.shape == image.shape
    assert equalization(flat) < 0.02 < equalization(image)


def test_sixteen_bits_are_not_equalised() -> None:
    with pytest.raises(ImageError, match="has 16 bits; only 8-bit images are equalised"):
        Conversion(equalized=True).apply(Record("a.png", noise((5, 9), "uint16")))
    assert Conversion(grey=True, size=(3, 5)).apply(Record("a", noise((5, 9, 3), "uint16"))).image.dtype == np.uint16


# --- a folder --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 40])
def test_as_many_come_out_as_went_in_unchanged(tmp_path: Path, count: int) -> None:
    fill(tmp_path / "in", count)
    assert counts(tmp_path / "in", tmp_path / "out", Conversion()) == (count, 0)
    assert sorted(contents(tmp_path / "out")) == [f"{i:03d}.png" for i in range(count)]
    assert all(
        np.array_equal(read_image(tmp_path / "out" / f"{i:03d}.png"), noise((8, 12), seed=i)) for i in range(count)
    )


@pytest.mark.parametrize(
    "names",
    [
        ["a.jpg", "a.png", "a.jpeg", "sub/a.png"],
        ["a.jpg", "a.png", "a.jpg.png", "a.png.png"],
        ["a b.tif", "ü.bmp", "A.PNG", "x.png/y.png", "ü.jpg"],
    ],
)
def test_equal_stems_all_come_out_once(tmp_path: Path, names: list[str]) -> None:
    for level, name in enumerate(names):
        write_image(tmp_path / "in" / name, np.full((5, 9), 40 * level, np.uint8))
    assert counts(tmp_path / "in", tmp_path / "out", Conversion()) == (len(names), 0)
    out = [read_image(tmp_path / "out" / name) for name in contents(tmp_path / "out")]
    assert sorted(int(image.mean().round()) for image in out) == [40 * level for level in range(len(names))]
    assert not any(name.lower().endswith((".jpg", ".jpeg")) for name in contents(tmp_path / "out"))


def test_labels_are_keyed_by_the_new_names(tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "sub" / "a.jpg", noise((8, 12)))
    write_image(tmp_path / "in" / "b.bmp", noise((8, 12)))
    (tmp_path / "in" / "labels.csv").write_text(
        "file,gaze_pitch_rad,gaze_yaw_rad,pupil_x,pupil_y,weather\nsub/a.jpg,0.1,-0.2,5.5,3.5,fine\nelse.png,0.9,0.9,9,9,\n"
    )
    counts(tmp_path / "in", tmp_path / "out", Conversion(size=(4, 6)))
    labels = read_labels(tmp_path / "out" / "labels.csv")
    assert list(labels) == ["b.bmp", "sub/a.png"]
    assert labels["b.bmp"] == {}
    assert labels["sub/a.png"]["gaze"].tolist() == [0.1, -0.2]
    assert labels["sub/a.png"]["pupil"].tolist() == [2.5, 1.5]
    assert labels["sub/a.png"]["weather"] == "fine"


def test_colour_profiles_are_kept_where_they_fit(tmp_path: Path) -> None:
    profile = b"\0" * 16 + b"RGB " + b"\1" * 500
    for number in range(3):
        write_image(tmp_path / "in" / f"{number}.jpg", noise((8, 12, 3)), profile=profile)
    kept = convert(tmp_path / "in", tmp_path / "out", Conversion(size=(4, 6)))[""]
    assert [read_picture(tmp_path / "out" / f"{number}.png").profile for number in range(3)] == [profile] * 3
    assert kept.left_out == []
    grey = convert(tmp_path / "in", tmp_path / "grey", Conversion(grey=True))[""]
    assert read_picture(tmp_path / "grey" / "0.png").profile == b""
    stored = convert(tmp_path / "in", tmp_path / "eyes.h5", Conversion())[""]
    said = "3 images lost their ICC colour profiles, which grey images and stores do not keep: 0.jpg, 1.jpg, 2.jpg"
    assert [(each.text, each.is_loss) for each in (*grey.left_out, *stored.left_out)] == [(said, False)] * 2


def test_a_limit_is_spread_over_the_data_set(tmp_path: Path) -> None:
    fill(tmp_path / "in", 20)
    assert counts(tmp_path / "in", tmp_path / "out", Conversion(), limit=4) == (4, 0)
    assert sorted(contents(tmp_path / "out")) == ["000.png", "005.png", "010.png", "015.png"]
    assert counts(tmp_path / "in", tmp_path / "all", Conversion(), limit=50) == (20, 0)


def test_frames_of_unityeyes_are_cut_and_labelled(tmp_path: Path) -> None:
    for name, x in (("1", 60.0), ("10", 3.0), ("sub/2", 117.0)):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        unityeyes(tmp_path / "in", name, x=x)
    (tmp_path / "in" / "3.json").write_text("{")
    write_image(tmp_path / "in" / "3.png", noise((80, 120)))
    assert counts(tmp_path / "in", tmp_path / "out", Conversion(size=(18, 30), grey=True)) == (3, 1)
    labels = read_labels(tmp_path / "out" / "labels.csv")
    assert list(labels) == ["1.png", "10.png", "sub/2.png"]
    for name, values in labels.items():
        image = read_image(tmp_path / "out" / name)
        assert image.shape == (18, 30)
        x, y = values["pupil"].round().astype(int)
        assert image[y, x] < 60 < 130 < image[1, 1]
        assert np.degrees(values["gaze"]) == pytest.approx([12.4546, -6.3402], abs=1e-3)
        assert values["iris_outline"].shape == (32, 2)
    assert (
        (tmp_path / "out" / "rejected.csv")
        .read_text()
        .startswith("file,stage,reason\n3.png,read,cannot be read as JSON")
    )


def test_progress_is_told(tmp_path: Path) -> None:
    fill(tmp_path / "in", 3)
    told: list[tuple[int, int]] = []
    counts(tmp_path / "in", tmp_path / "out", Conversion(), report=lambda *at: told.append(at))
    assert told == [(0, 3), (3, 3)]
    fill(tmp_path / "many", 100)
    told.clear()
    counts(tmp_path / "many", tmp_path / "out.h5", Conversion(), report=lambda *at: told.append(at))
    assert told == [(0, 100), (32, 100), (64, 100), (96, 100), (100, 100)]
    told.clear()
    counts(tmp_path / "many", tmp_path / "out.h5", Conversion(), report=lambda *at: told.append(at))
    assert told == [(100, 100)]


# --- faults ----------------------------------------------------------------------------------------------------


def test_bad_images_are_listed_and_the_rest_is_done(tmp_path: Path) -> None:
    fill(tmp_path / "in", 5)
    (tmp_path / "in" / "empty.png").touch()
    (tmp_path / "in" / "text.jpg").write_text("text")
    (tmp_path / "in" / "dangling.png").symlink_to("nowhere")
    write_image(tmp_path / "in" / "deep.png", noise((8, 12), "uint16"))
    assert counts(tmp_path / "in", tmp_path / "out", Conversion(equalized=True)) == (5, 4)
    assert (tmp_path / "out" / "rejected.csv").read_text() == (
        "file,stage,reason\n"
        "dangling.png,read,cannot be read (No such file or directory)\n"
        "deep.png,read,has 16 bits; only 8-bit images are equalised\n"
        "empty.png,read,is empty\n"
        'text.jpg,read,"is not an image of a supported type: PNG, JPEG, TIFF, WebP, BMP, PGM or PPM"\n'
    )


def test_stopping_at_a_bad_image_names_it_and_ends_soon(tmp_path: Path) -> None:
    fill(tmp_path / "in", 300)
    (tmp_path / "in" / "000.png").write_text("text")
    with pytest.raises(ImageError, match=r"000\.png: is not an image"):
        counts(tmp_path / "in", tmp_path / "out", Conversion(), stop_on_error=True)
    assert len(contents(tmp_path / "out")) < 250


def test_nothing_usable_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        counts(tmp_path / "in", tmp_path / "out", Conversion())
    (tmp_path / "in" / "a.png").touch()
    with pytest.raises(DataError, match=r"none of 1 images of .* could be converted; most frequent reason: is empty"):
        counts(tmp_path / "in", tmp_path / "out", Conversion())
    assert "a.png,read,is empty" in (tmp_path / "out" / "rejected.csv").read_text()


@pytest.mark.parametrize("name", ["001.png", "labels.csv"])
def test_foreign_files_are_kept_unless_told_otherwise(tmp_path: Path, name: str) -> None:
    fill(tmp_path / "in", 3)
    (tmp_path / "in" / "labels.csv").write_text("file,subject\n000.png,p00\n")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("years of work")
    with pytest.raises(OutputError, match=f"{name} already exists and was not written by refiner"):
        counts(tmp_path / "in", tmp_path / "out", Conversion())
    assert (tmp_path / "out" / name).read_text() == "years of work"
    assert counts(tmp_path / "in", tmp_path / "out", Conversion(), overwrite=True) == (3, 0)
    assert counts(tmp_path / "in", tmp_path / "out", Conversion()) == (3, 0)  # now all of it is ours
    assert (tmp_path / "out" / name).read_bytes()[:4] in (b"\x89PNG", b"file")


@pytest.mark.parametrize(("source", "destination"), [("in", "in/out"), ("in/sub", "in"), ("in", "in")])
def test_folders_inside_one_another_are_refused(tmp_path: Path, source: str, destination: str) -> None:
    fill(tmp_path / "in" / "sub", 1)
    before = contents(tmp_path)
    with pytest.raises(OutputError, match="must not contain each other"):
        counts(tmp_path / source, tmp_path / destination, Conversion())
    assert contents(tmp_path) == before


def test_a_full_disk_ends_in_one_line_and_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "in", 12)
    original = Path.replace

    def full(path: Path, target: Path) -> Any:
        if target.name == "005.png":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(OutputError, match=r"005\.png cannot be written \(No space left on device\)"):
            counts(tmp_path / "in", tmp_path / "out", Conversion())
    assert not any(TEMPORARY_PREFIX in name for name in contents(tmp_path / "out"))
    assert all(data == (tmp_path / "in" / name).read_bytes() for name, data in contents(tmp_path / "out").items())
    assert counts(tmp_path / "in", tmp_path / "out", Conversion()) == (12, 0)


SLOW_COMMAND = """
import time
from refiner.data.output import chunks
from refiner.commands import main
write_lines = chunks.write_lines
def slowly(*arguments):  # in the workers too: they import this file
    time.sleep(0.1)
    write_lines(*arguments)
chunks.write_lines = slowly
if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("out", ["out", "out.h5"])
def test_a_kill_in_the_middle_and_the_same_command_give_the_same_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    """Killed by force with two workers at it; what was finished is not done again."""
    fill(tmp_path / "in", 400, (60, 80))
    (tmp_path / "in" / "labels.csv").write_text("file,subject\n" + "".join(f"{i:03d}.png,p{i}\n" for i in range(400)))
    (tmp_path / "in" / "bad.png").touch()
    (tmp_path / "whole").mkdir()
    assert counts(tmp_path / "in", tmp_path / "whole" / out, Conversion(size=(30, 40))) == (400, 1)
    (tmp_path / "new").mkdir()
    program = tmp_path / "program.py"
    program.write_text(SLOW_COMMAND)
    command = [sys.executable, str(program), "convert", "in", f"new/{out}", "--size", "30x40", "--workers", "2"]
    killed = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
    state = tmp_path / "new" / ("out/.refiner/parts" if out == "out" else "out.h5.parts/parts")
    end = time.monotonic() + 60
    while len(list(state.glob("[0-9]*.jsonl"))) < 3:  # no half-written one, whose name begins with a dot
        assert killed.poll() is None
        assert time.monotonic() < end
    killed.kill()
    killed.wait()
    finished = list(state.glob("[0-9]*.jsonl"))
    assert 3 <= len(finished) < 13
    assert not {"labels.csv", "rejected.csv", "out.h5", "out.rejected.csv"} & set(contents(tmp_path / "new" / "out"))

    made: list[Path] = []

    def counted(files: ChunkFiles, *arguments: Any, **options: Any) -> Any:
        made.append(files.lines)
        return write_chunk(files, *arguments, **options)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(conversion, "write_chunk", counted)
    assert counts(Path("in"), Path("new", out), Conversion(size=(30, 40))) == (400, 1)
    assert len(made) == 13 - len(finished)
    assert not set(made) & set(finished)
    if out == "out":
        assert contents(tmp_path / "new") == contents(tmp_path / "whole")
    else:
        assert sorted(contents(tmp_path / "new")) == ["out.h5", "out.rejected.csv"]
        assert stored(tmp_path / "new" / out) == stored(tmp_path / "whole" / out)


def test_huge_images_do_not_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "in", 1)
    write_image(tmp_path / "in" / "large.tif", noise((9, 12)))
    monkeypatch.setattr(image_files, "MAX_PIXELS", 100)
    assert counts(tmp_path / "in", tmp_path / "out", Conversion()) == (1, 1)


# --- a store and back ------------------------------------------------------------------------------------------

KINDS = [
    *((f"{dtype}{len(shape)}{shape[2:]}{suffix}", shape, dtype)
      for suffix in (".png", ".tif") for dtype in ("uint8", "uint16") for shape in ((5, 9), (5, 9, 3), (5, 9, 4))),
    *((f"{shape[2:]}.bmp", shape, "uint8") for shape in ((5, 9), (5, 9, 3), (5, 9, 4))),
    *((f"{shape[2:]}.webp", shape, "uint8") for shape in ((5, 9, 3), (5, 9, 4))),
    ("8.pgm", (5, 9), "uint8"),
    ("16.PGM", (5, 9), "uint16"),
    ("8.ppm", (5, 9, 3), "uint8"),
    ("16.ppm", (5, 9, 3), "uint16"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "shape", "dtype"), KINDS)
def test_folder_to_store_to_folder_changes_no_level(
    tmp_path: Path, name: str, shape: tuple[int, ...], dtype: str
) -> None:
    for number in range(3):
        write_image(tmp_path / "in" / f"sub {number}" / name, noise(shape, dtype, number), quality=LOSSLESS)
    assert counts(tmp_path / "in", tmp_path / "a.h5", Conversion()) == (3, 0)
    assert counts(tmp_path / "a.h5", tmp_path / "out", Conversion()) == (3, 0)
    assert sorted(contents(tmp_path / "out")) == [f"sub {number}/{name}" for number in range(3)]
    for number in range(3):
        image = read_image(tmp_path / "out" / f"sub {number}" / name)
        assert image.dtype == dtype
        assert np.array_equal(image, noise(shape, dtype, number))
        assert np.array_equal(Store(tmp_path / "a.h5").image(number), image)


def test_a_grey_store_of_colour_files_becomes_a_folder(tmp_path: Path) -> None:
    for suffix in ("ppm", "png", "bmp"):
        write_image(tmp_path / "in" / f"{suffix}.{suffix}", noise((5, 9, 3)))
    assert counts(tmp_path / "in", tmp_path / "a.h5", Conversion(grey=True)) == (3, 0)
    assert counts(tmp_path / "a.h5", tmp_path / "out", Conversion()) == (3, 0)
    assert sorted(contents(tmp_path / "out")) == ["bmp.bmp", "png.png", "ppm.png"]


LABELS = '''file,gaze_pitch_rad,gaze_yaw_rad,head_pitch_rad,head_yaw_rad,pupil_x,pupil_y,subject,mirrored,code,large,float,note,mixed,outline,count,humidity%/day,,gaps,empty
000.png,0.1,-0.2,,,30.5,17,p00,1,007,1e5,3.0,"hot, dry","[[1.0, 2.0]]","[[1.0, 2.0], [3.5, -4.125]]",1,5,x,1,
001.png,-0.123456789,0,0.25,-1e-05,,,p01,0,010,100000,0.1,"two
lines","[[1.0, 2.0], [3.0, 4.0]]",,-2,6,,,
002.png,,,,,,,,,,,,,,,3,7,,3,
003.png,1,2,,,,,"[p]",,,,,,,,9,7,,3,
004.png,1,2,,,,,ü 眼,,+1,12345678901234567890,1e300,"say ""no""",plain,,9,7,,3,
'''  # noqa: E501


def test_labels_survive_as_the_text_they_were(tmp_path: Path) -> None:
    fill(tmp_path / "in", 5)
    (tmp_path / "in" / "labels.csv").write_text(LABELS)
    assert counts(tmp_path / "in", tmp_path / "plain", Conversion()) == (5, 0)
    assert counts(tmp_path / "in", tmp_path / "a.h5", Conversion()) == (5, 0)
    assert counts(tmp_path / "a.h5", tmp_path / "out", Conversion()) == (5, 0)
    assert counts(tmp_path / "out", tmp_path / "b.h5", Conversion()) == (5, 0)
    assert stored(tmp_path / "a.h5") == stored(tmp_path / "b.h5")
    rows = {name: table(tmp_path / name / "labels.csv") for name in ("in", "plain", "out")}
    assert rows["out"] == rows["plain"] == rows["in"]


def table(path: Path) -> dict[str, dict[str, str]]:
    """Cells by file and column, without empty ones."""
    with path.open(newline="") as stream:
        return {row.pop("file"): {key: cell for key, cell in row.items() if cell} for row in csv.DictReader(stream)}


CELLS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6),
    st.sampled_from(["007", "1e5", "3.0", "3", "-0", "nan", "[1.0]", "[1.0, 2.0]", "[]", "0.1"]),
    st.integers().map(str),
    st.floats().map(str),
).filter(lambda text: text.startswith("[") <= text.endswith("]") and text.count("[") == text.count("]"))


@given(
    columns=st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4), max_size=3
    ),
    rows=st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=4),
)
@settings(max_examples=25, deadline=None)
def test_any_further_columns_survive(
    tmp_path_factory: pytest.TempPathFactory, columns: list[str], rows: list[list[str]]
) -> None:
    """A store says of labels what a folder says, whatever columns and cells there are."""
    root = tmp_path_factory.mktemp("labels")
    fill(root / "in", len(rows), (1, 2))
    labels = {f"{n:03d}.png": {"subject": "x", **dict(zip(columns, row))} for n, row in enumerate(rows) if n != 1}
    with (root / "in" / "labels.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(
            stream, list(dict.fromkeys(["file", "subject", *columns, "end"])), lineterminator="\r\n"
        )
        writer.writeheader()
        writer.writerows({**row, "file": name, "end": "."} for name, row in labels.items())
    try:
        convert(root / "in", root / "plain", Conversion())
    except DataError:
        with pytest.raises(DataError):
            convert(root / "in", root / "a.h5", Conversion())
        return
    convert(root / "in", root / "a.h5", Conversion())
    convert(root / "a.h5", root / "out", Conversion())
    assert contents(root / "plain").keys() - {"rejected.csv"} == contents(root / "out").keys()
    if (root / "plain" / "labels.csv").exists():
        assert table(root / "out" / "labels.csv") == table(root / "plain" / "labels.csv")


def test_ids_that_are_no_utf8_survive(tmp_path: Path) -> None:
    good, bad = os.fsdecode(b"\xe9ye.png"), os.fsdecode(b"b\xe4d.png")
    try:
        write_image(tmp_path / "in" / good, noise((8, 12)))
    except OutputError:
        pytest.skip("this file system takes UTF-8 names only")
    (tmp_path / "in" / bad).touch()
    (tmp_path / "in" / "labels.csv").write_bytes(b"file,subject\n\xe9ye.png,p00\nb\xe4d.png,p01\n")
    assert counts(tmp_path / "in", tmp_path / "a.h5", Conversion()) == (1, 1)
    assert b"b\xe4d.png,read,is empty" in (tmp_path / "a.rejected.csv").read_bytes()
    assert counts(tmp_path / "a.h5", tmp_path / "out", Conversion()) == (1, 0)
    assert read_labels(tmp_path / "out" / "labels.csv") == {good: {"subject": "p00"}}
    assert np.array_equal(read_image(tmp_path / "out" / good), noise((8, 12)))


@pytest.mark.parametrize("workers", [1, 2])
def test_mixed_kinds_are_refused_by_a_store_with_counts(tmp_path: Path, workers: int) -> None:
    for number in range(8):
        write_image(tmp_path / "in" / f"{number}.png", noise((8, 12) if number < 5 else (9, 12)))
    write_image(tmp_path / "in" / "deep.png", noise((8, 12), "uint16"))
    for _ in range(2):  # and again from the chunks that are there
        with pytest.raises(DataError) as raised:
            convert(tmp_path / "in", tmp_path / "a.h5", Conversion(), workers=workers)
        assert "5 of 8x12 grey 8 bits; 3 of 9x12 grey 8 bits; 1 of 8x12 grey 16 bits" in str(raised.value)
        assert "--size HxW" in str(raised.value)
    assert not (tmp_path / "a.h5").exists()
    assert counts(tmp_path / "in", tmp_path / "out", Conversion()) == (9, 0)
    assert counts(tmp_path / "in", tmp_path / "a.h5", Conversion(size=(8, 12)), limit=3) == (3, 0)


def test_a_size_moves_the_labels_of_a_store_too(tmp_path: Path) -> None:
    """Also those of several shapes, which stand there as text."""
    fill(tmp_path / "in", 2)
    (tmp_path / "in" / "labels.csv").write_text(
        'file,pupil_x,pupil_y,outline\n000.png,5.5,3.5,"[[5.5, 3.5]]"\n001.png,5.5,3.5,"[[5.5, 3.5], [0, 0]]"\n'
    )
    convert(tmp_path / "in", tmp_path / "a.h5", Conversion())
    convert(tmp_path / "a.h5", tmp_path / "out", Conversion(size=(4, 6)))
    labels = read_labels(tmp_path / "out" / "labels.csv")
    for values in labels.values():
        assert values["pupil"].tolist() == [2.5, 1.5]
        assert values["outline"][0].tolist() == [2.5, 1.5]


@pytest.mark.parametrize("out", ["out", "out.h5"])
def test_several_workers_write_what_one_writes(tmp_path: Path, out: str) -> None:
    fill(tmp_path / "in", 70)
    (tmp_path / "in" / "050.png").write_text("text")
    for name, workers in (("one", 1), ("two", 2)):
        (tmp_path / name).mkdir()
        assert counts(tmp_path / "in", tmp_path / name / out, Conversion(size=(4, 6)), workers=workers) == (69, 1)
    if out == "out":
        assert contents(tmp_path / "one") == contents(tmp_path / "two")
    else:
        assert stored(tmp_path / "one" / out) == stored(tmp_path / "two" / out)


# --- again -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("out", ["out", "out.h5"])
def test_the_same_command_again_reads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str) -> None:
    fill(tmp_path / "in", 5)
    (tmp_path / "in" / "bad.png").touch()
    first = convert(tmp_path / "in", tmp_path / out, Conversion())[""]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    rejects = tmp_path / ("out/rejected.csv" if out == "out" else "out.rejected.csv")
    monkeypatch.setattr(conversion, "write_chunk", None)
    again = convert(tmp_path / "in", tmp_path / out, Conversion())[""]
    assert again.finished_before
    assert (again.written, again.rejected, again.kinds, again.reasons) == (5, 1, first.kinds, first.reasons)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")} == before
    assert "bad.png,read,is empty" in rejects.read_text()


CHANGES: list[tuple[str, Any]] = [
    ("size", {"conversion": Conversion(size=(4, 6))}),
    ("limit", {"limit": 3}),
    ("format", {"format": "folder"}),
    ("image", lambda folder: write_image(folder / "001.png", noise((8, 12), seed=99))),
    ("gone", lambda folder: (folder / "001.png").unlink()),
    ("new", lambda folder: write_image(folder / "new.png", noise((8, 12)))),
    ("labels", lambda folder: (folder / "labels.csv").write_text("file,subject\n000.png,p99\n")),
]


@pytest.mark.parametrize("change", [change for _, change in CHANGES], ids=[name for name, _ in CHANGES])
def test_a_changed_input_or_option_is_redone_in_folders_and_refused_by_stores(tmp_path: Path, change: Any) -> None:
    """The content counts: all files have the same time, and the new labels have the size of the old ones."""

    def freeze() -> None:
        for path in (tmp_path / "in").iterdir():
            os.utime(path, ns=(7, 7))

    options: dict[str, Any] = {"conversion": Conversion()}
    fill(tmp_path / "in", 6)
    (tmp_path / "in" / "labels.csv").write_text("file,subject\n000.png,p00\n")
    freeze()
    for out in ("out", "out.h5"):
        convert(tmp_path / "in", tmp_path / out, **options)
    (tmp_path / "out" / "mine.png").write_text("precious")
    before = stored(tmp_path / "out.h5")
    if callable(change):
        change(tmp_path / "in")
        freeze()
    else:
        options |= change
    assert not convert(tmp_path / "in", tmp_path / "out", **options)[""].finished_before
    convert(tmp_path / "in", tmp_path / "fresh", **options)
    assert contents(tmp_path / "out") == {**contents(tmp_path / "fresh"), "mine.png": b"precious"}
    with pytest.raises(OutputError, match=r"out\.h5 already exists and was made from other input"):
        convert(tmp_path / "in", tmp_path / "out.h5", **options)
    assert stored(tmp_path / "out.h5") == before
    assert not list(tmp_path.glob("*.parts"))
    convert(tmp_path / "in", tmp_path / "out.h5", **options, overwrite=True)
    convert(tmp_path / "in", tmp_path / "fresh.h5", **options)
    assert stored(tmp_path / "out.h5") == stored(tmp_path / "fresh.h5")


def test_another_data_set_replaces_nothing_unless_told(tmp_path: Path) -> None:
    fill(tmp_path / "in", 3)
    fill(tmp_path / "other", 2, (4, 6))
    convert(tmp_path / "in", tmp_path / "out", Conversion())
    before = contents(tmp_path / "out")
    for _ in range(2):
        with pytest.raises(OutputError, match=r"out was made from .*/in, but this input or its options differ; choose"):
            convert(tmp_path / "other", tmp_path / "out", Conversion())
    assert contents(tmp_path / "out") == before
    # The same data set may move; and --overwrite replaces it.
    (tmp_path / "in").rename(tmp_path / "moved")
    assert convert(tmp_path / "moved", tmp_path / "out", Conversion())[""].finished_before
    convert(tmp_path / "other", tmp_path / "out", Conversion(), overwrite=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "other")


def test_the_output_of_another_command_is_not_replaced(tmp_path: Path) -> None:
    fill(tmp_path / "in", 2)
    with open_output(tmp_path / "in", tmp_path / "out", job="job") as output:
        output.check_origin("refine", lambda name: "")
    with pytest.raises(OutputError, match="out was written by refiner refine; choose another output folder"):
        convert(tmp_path / "in", tmp_path / "out", Conversion())


def test_a_store_in_use_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "in", 2)
    with open_output(tmp_path / "in", tmp_path / "out", job=""), pytest.raises(OutputError, match="is writing to"):
        convert(tmp_path / "in", tmp_path / "out", Conversion())


# --- splits ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("out", ["out", "out.h5"])
def test_a_split_keeps_subjects_together_and_samples_where_they_were(tmp_path: Path, out: str) -> None:
    fill(tmp_path / "in", 60, (2, 3))
    table = "".join(f"{n:03d}.png,p{n // 4}\n" for n in range(60))
    (tmp_path / "in" / "labels.csv").write_text("file,subject\n" + table)
    shares = {"train": 0.6, "test": 0.4}
    summaries = convert(tmp_path / "in", tmp_path / out, Conversion(), split=shares)
    assert sum(summary.written for summary in summaries.values()) == 60
    before = {name: samples_of(tmp_path, out, name) for name in shares}
    people = {name: {n // 4 for n in samples} for name, samples in before.items()}
    assert not people["train"] & people["test"]
    assert sorted(before["train"] + before["test"]) == list(range(60))
    for number in range(60, 80):
        write_image(tmp_path / "in" / f"{number:03d}.png", noise((2, 3)))
    more = "".join(f"{n:03d}.png,p{n // 4}\n" for n in range(60, 80))
    (tmp_path / "in" / "labels.csv").write_text("file,subject\n" + table + more)
    convert(tmp_path / "in", tmp_path / out, Conversion(), split=shares, overwrite=True)
    for name in shares:
        assert [n for n in samples_of(tmp_path, out, name) if n < 60] == before[name]
    by_id = convert(tmp_path / "in", tmp_path / out, Conversion(), split=shares, by="id", overwrite=True)
    assert set(by_id) == set(shares)
    assert {n // 4 for n in samples_of(tmp_path, out, "train")} & {n // 4 for n in samples_of(tmp_path, out, "test")}


def samples_of(tmp_path: Path, out: str, part: str) -> list[int]:
    names = (
        Store(tmp_path / f"out.{part}.h5").ids
        if out.endswith(".h5")
        else [name for name in sorted(contents(tmp_path / out / part)) if name.endswith(".png")]
    )
    return [int(name.removesuffix(".png")) for name in names]


# --- hostile and full ------------------------------------------------------------------------------------------


def test_ids_of_a_hostile_store_stay_inside(tmp_path: Path) -> None:
    outside = tmp_path / "a" / "x.png"
    names = ["../x.png", "../../x.png", str(tmp_path / "y.png"), "/etc/refiner-x.png", "a/../../x.png", "", "..", "."]
    with h5py.File(tmp_path / "evil.h5", "w") as file:
        file.attrs["format"], file.attrs["format_version"] = FORMAT, FORMAT_VERSION
        file["images"] = np.zeros((len(names) + 1, 5, 9, 1), np.uint8)
        file["ids"] = [*names, "good.png"]
    for overwrite in (False, True):
        assert counts(tmp_path / "evil.h5", tmp_path / "a" / "b" / "out", Conversion(), overwrite=overwrite) == (1, 8)
        assert not outside.exists()
    outside.write_text("precious")
    assert counts(tmp_path / "evil.h5", tmp_path / "a" / "b" / "out", Conversion(), overwrite=True) == (1, 8)
    assert counts(tmp_path / "evil.h5", tmp_path / "a" / "c.h5", Conversion()) == (1, 8)
    assert outside.read_text() == "precious"
    found = {name for name in contents(tmp_path) if not name.startswith(".")}
    assert found == {"evil.h5", "a/x.png", "a/b/out/good.png", "a/b/out/rejected.csv", "a/c.h5", "a/c.rejected.csv"}
    assert not Path("/etc/refiner-x.png").exists()
    assert Store(tmp_path / "a" / "c.h5").ids == ["good.png"]


def test_faulty_label_rows_reject_their_image_only(tmp_path: Path) -> None:
    fill(tmp_path / "in", 6)
    (tmp_path / "in" / "labels.csv").write_bytes(
        b"file,subject,gaze_pitch_rad,gaze_yaw_rad,gaze\n000.png,p0,0.1,0.2,\n001.png,p0,nan,0.2,\n002.png,\xe9,,,\n"
        b"003.png,p1,,,left\n004.png,p\0,,,\n,p0,,,\n005.png,p5,,,\n005.png,p5,,,\n"
    )
    assert counts(tmp_path / "in", tmp_path / "a.h5", Conversion()) == (1, 5)
    reasons = (tmp_path / "a.rejected.csv").read_text()
    for reason in ("gaze is 'nan'", "subject is not UTF-8", "gaze is not a JSON", "NUL", "row of 005.png"):
        assert reason in reasons
    assert set(convert(tmp_path / "in", tmp_path / "out", Conversion(), split={"all": 1.0})) == {"all"}


@pytest.mark.parametrize("out", ["out", "out.h5"])
def test_a_disk_that_is_really_full_is_one_line_and_the_same_command_goes_on(tmp_path: Path, out: str) -> None:
    """No file may grow beyond a limit that the system sets: writes fail inside HDF5 as on a full disk."""
    fill(tmp_path / "in", 40, (40, 50))
    (tmp_path / "in" / "labels.csv").write_text("file,note\n" + "".join(f"{n:03d}.png,{'x' * 90}\n" for n in range(40)))
    limit = 30_000 if out == "out.h5" else 3_000
    program = f"""
import os, resource, sys
from refiner.commands import main
free = resource.getrlimit(resource.RLIMIT_FSIZE)
create = os.memfd_create
def memory(name):  # which is not full
    resource.setrlimit(resource.RLIMIT_FSIZE, free)
    return create(name)
os.memfd_create = memory
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, free[1]))
main(["convert", "in", sys.argv[1], "--workers", "1"])
"""
    failed = subprocess.run(
        [sys.executable, "-c", program, out], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert failed.returncode == 1, failed.stderr
    lines = failed.stderr.strip().splitlines()
    assert "cannot be written" in lines[-1]
    assert lines[-1].startswith("Error: ")
    assert "Traceback" not in failed.stderr
    assert not (tmp_path / "out.h5").exists()
    assert not [path for path in tmp_path.rglob(f"{TEMPORARY_PREFIX}*") if path.stat().st_size]
    assert counts(tmp_path / "in", tmp_path / out, Conversion()) == (40, 0)
    (tmp_path / "fresh").mkdir()
    counts(tmp_path / "in", tmp_path / "fresh" / out, Conversion())
    if out == "out":
        assert contents(tmp_path / "out") == contents(tmp_path / "fresh" / "out")
    else:
        assert stored(tmp_path / "out.h5") == stored(tmp_path / "fresh" / "out.h5")


def test_conversion_imports_no_torch(tmp_path: Path) -> None:
    """Not here, and not in the workers, each of which would take seconds and hundreds of megabytes."""
    fill(tmp_path / "in", 70)
    (tmp_path / "torch.py").write_text("raise RuntimeError('torch was imported')")
    command = [sys.executable, "-m", "refiner", "convert", "in", "a.h5", "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for arguments in (command, [*command[:4], "a.h5", "out", "--workers", "2"]):
        done = subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
    assert len(contents(tmp_path / "out")) == 70
