"""Any data set into a folder of patches: pixel labels move along, nothing is lost, and the same command finishes it."""

import errno
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refiner import image_files
from refiner.conversion import Conversion, convert
from refiner.errors import DataError, ImageError, OutputError
from refiner.files import TEMPORARY_PREFIX
from refiner.image_files import read_image, write_image
from refiner.images import equalization, equalize, to_grey
from refiner.records import Record, read_labels


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
        ["a b.tif", "ü.bmp", "A.PNG", "x.png/y.png"],
    ],
)
def test_equal_stems_all_come_out_once(tmp_path: Path, names: list[str]) -> None:
    for level, name in enumerate(names):
        write_image(tmp_path / "in" / name, np.full((5, 9), 40 * level, np.uint8))
    assert counts(tmp_path / "in", tmp_path / "out", Conversion()) == (len(names), 0)
    out = [read_image(path) for path in (tmp_path / "out").rglob("*.png") if path.is_file()]
    assert sorted(int(image.mean().round()) for image in out) == [40 * level for level in range(len(names))]
    assert all(name.endswith(".png") for name in contents(tmp_path / "out"))


def test_labels_are_keyed_by_the_new_names(tmp_path: Path) -> None:
    write_image(tmp_path / "in" / "sub" / "a.jpg", noise((8, 12)))
    write_image(tmp_path / "in" / "b.bmp", noise((8, 12)))
    (tmp_path / "in" / "labels.csv").write_text(
        "file,gaze_pitch_rad,gaze_yaw_rad,pupil_x,pupil_y,weather\nsub/a.jpg,0.1,-0.2,5.5,3.5,fine\nelse.png,9,9,9,9,\n"
    )
    counts(tmp_path / "in", tmp_path / "out", Conversion(size=(4, 6)))
    labels = read_labels(tmp_path / "out" / "labels.csv")
    assert list(labels) == ["b.png", "sub/a.png"]
    assert labels["b.png"] == {}
    assert labels["sub/a.png"]["gaze"].tolist() == [0.1, -0.2]
    assert labels["sub/a.png"]["pupil"].tolist() == [2.5, 1.5]
    assert labels["sub/a.png"]["weather"] == "fine"


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
    assert told == [(1, 3), (2, 3), (3, 3)]


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
        "text.jpg,read,is not an image that can be decoded\n"
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
    with pytest.raises(DataError, match=r"none of 1 images could be converted; see rejected\.csv"):
        counts(tmp_path / "in", tmp_path / "out", Conversion())
    assert "a.png,read,is empty" in (tmp_path / "out" / "rejected.csv").read_text()


@pytest.mark.parametrize("name", ["001.png", "labels.csv"])
def test_foreign_files_are_kept_unless_told_otherwise(tmp_path: Path, name: str) -> None:
    fill(tmp_path / "in", 3)
    (tmp_path / "in" / "labels.csv").write_text("file,subject\n000.png,p00\n")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("years of work")
    with pytest.raises(OutputError, match=f"{name}: is there already and was not written by refiner"):
        counts(tmp_path / "in", tmp_path / "out", Conversion())
    assert (tmp_path / "out" / name).read_text() == "years of work"
    assert counts(tmp_path / "in", tmp_path / "out", Conversion(), overwrite=True) == (3, 0)
    assert counts(tmp_path / "in", tmp_path / "out", Conversion()) == (3, 0)  # now all of it is ours
    assert (tmp_path / "out" / name).read_bytes()[:4] in (b"\x89PNG", b"file")


@pytest.mark.parametrize(("source", "destination"), [("in", "in/out"), ("in/sub", "in"), ("in", "in")])
def test_folders_inside_one_another_are_refused(tmp_path: Path, source: str, destination: str) -> None:
    fill(tmp_path / "in" / "sub", 1)
    before = contents(tmp_path)
    with pytest.raises(OutputError, match="lie inside one another"):
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
        with pytest.raises(OutputError, match=r"005\.png: cannot be written \(No space left on device\)"):
            counts(tmp_path / "in", tmp_path / "out", Conversion())
    assert not any(TEMPORARY_PREFIX in name for name in contents(tmp_path / "out"))
    assert all(data == (tmp_path / "in" / name).read_bytes() for name, data in contents(tmp_path / "out").items())
    assert counts(tmp_path / "in", tmp_path / "out", Conversion()) == (12, 0)


def test_a_kill_in_the_middle_and_the_same_command_give_the_same_files(tmp_path: Path) -> None:
    fill(tmp_path / "in", 120)
    (tmp_path / "in" / "labels.csv").write_text("file,subject\n" + "".join(f"{i:03d}.png,p{i}\n" for i in range(120)))
    (tmp_path / "in" / "bad.png").touch()
    counts(tmp_path / "in", tmp_path / "whole", Conversion(size=(5, 7)))
    program = f"""
import os, signal
from pathlib import Path
from refiner.conversion import Conversion, convert
def report(done, total):
    if done == 40:
        os.kill(os.getpid(), signal.SIGKILL)
counts(Path({str(tmp_path / "in")!r}), Path({str(tmp_path / "out")!r}), Conversion(size=(5, 7)), report=report)
"""
    killed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert "labels.csv" not in contents(tmp_path / "out")
    assert counts(tmp_path / "in", tmp_path / "out", Conversion(size=(5, 7))) == (120, 1)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_huge_images_do_not_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "in", 1)
    write_image(tmp_path / "in" / "large.tif", noise((9, 12)))
    monkeypatch.setattr(image_files, "MAX_PIXELS", 100)
    assert counts(tmp_path / "in", tmp_path / "out", Conversion()) == (1, 1)
