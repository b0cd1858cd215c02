"""``refiner convert`` from the command line: exit status, streams, sizes as height x width."""

import csv
import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner, Result

from refiner.commands import main
from refiner.data.formats.registry import FORMATS
from refiner.data.labels.tables import read_labels
from refiner.data.output.folder import open_output
from refiner.images.arrays import equalization
from refiner.images.io import read_image, write_image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for number in range(3):
        write_image(tmp_path / "in" / "sub" / f"{number}.bmp", rng.integers(90, 160, (10, 24, 3)).astype(np.uint8))
    return tmp_path / "in"


def convert(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["convert", *map(str, arguments)])


def test_help_has_an_example_and_names_every_format() -> None:
    result = convert("--help")
    assert result.exit_code == 0
    assert "refiner convert unityeyes/imgs renders.h5 --size 36x60 --grey --equalize" in result.output
    wrong = convert("in", "out", "--format", "none")
    assert f"'none' is no format; name one of {', '.join(FORMATS)}" in wrong.stderr


def test_a_folder_is_converted_and_counted(tmp_path: Path, folder: Path) -> None:
    result = convert(folder, tmp_path / "out", "--size", "5x12", "--grey", "--equalize")
    assert (result.exit_code, result.stdout) == (0, "3 written, 0 rejected\n  3 of 5x12 grey 8 bits\n")
    image = read_image(tmp_path / "out" / "sub" / "0.bmp")
    assert image.shape == (5, 12)
    assert equalization(image) < 0.02
    assert not (tmp_path / "out" / "labels.csv").exists()


def test_labels_and_limit(tmp_path: Path, folder: Path) -> None:
    header = "file,subject,gaze_pitch_rad,gaze_yaw_rad,pupil_x,pupil_y\n"
    rows = "".join(f"sub/{i}.bmp,p{i},{i / 10 - 0.1},0.5,{i},{2 * i}\n" for i in range(3))
    (folder / "labels.csv").write_text(header + rows)
    assert convert(folder, tmp_path / "out").stdout == (
        "3 written, 0 rejected\n"
        "  3 of 10x24 RGB 8 bits\n"
        "  gaze_pitch_rad  -0.1 to 0.1 (-5.7 to +5.7 degrees)\n"
        "  gaze_yaw_rad  0.5 to 0.5 (+28.6 to +28.6 degrees)\n"
        "  pupil_x  0 to 2\n"
        "  pupil_y  0 to 4\n"
    )
    assert convert(folder, tmp_path / "few", "--limit", "1").stdout.startswith("1 written, 0 rejected\n")
    assert list(read_labels(tmp_path / "few" / "labels.csv")) == ["sub/0.bmp"]


def test_a_store_knows_what_wrote_it_and_becomes_a_folder_again(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["refiner", "convert", "in", "b\udce4d 1.h5"])
    out = tmp_path / os.fsdecode(b"b\xe4d 1.h5")
    assert convert(folder, out).exit_code == 0
    with h5py.File(out) as file:
        assert file.attrs["command"] == "refiner convert in 'b\\udce4d 1.h5'"
        assert file.attrs["source"] == str(folder)
        assert json.loads(file.attrs["original_suffixes"]) == {".bmp": 3}
    assert convert(out, tmp_path / "back").exit_code == 0
    for number in range(3):
        name = f"sub/{number}.bmp"
        assert np.array_equal(read_image(tmp_path / "back" / name), read_image(folder / name))


def test_the_same_command_again_says_so(tmp_path: Path, folder: Path) -> None:
    (folder / "bad.png").touch()
    for out in ("out", "out.h5"):
        first, second = convert(folder, tmp_path / out), convert(folder, tmp_path / out)
        assert first.stdout.startswith("3 written, 1 rejected\n")
        assert second.stdout == first.stdout.replace("rejected\n", "rejected, finished before\n", 1)
        assert (second.exit_code, second.stderr) == (4, first.stderr)
        assert convert(folder, tmp_path / out, "--overwrite").stdout == first.stdout


def test_a_split_has_a_line_for_each_part(tmp_path: Path, folder: Path) -> None:
    rows = "".join(f"sub/{i}.bmp,p{i}\n" for i in range(3))
    (folder / "labels.csv").write_text("file,subject\n" + rows)
    result = convert(folder, tmp_path / "out.h5", "--split", "one=0.5,two=0.5", "--by", "id")
    assert result.exit_code == 0, result.stderr
    assert [line for line in result.stdout.splitlines() if "written" in line] == [
        "one: 2 written, 0 rejected",
        "two: 1 written, 0 rejected",
    ]
    assert sorted(path.name for path in tmp_path.glob("*.h5")) == ["out.one.h5", "out.two.h5"]


def test_json_is_one_object_on_standard_output(tmp_path: Path, folder: Path) -> None:
    metrics = json.loads(convert(folder, tmp_path / "out", "--json").stdout)
    summary = metrics["splits"][""]
    assert (metrics["command"], summary["written"], summary["rejected"]) == ("convert", 3, 0)
    assert summary["kinds"] == {"10x24 RGB 8 bits": 3}


@pytest.mark.parametrize(("out", "listed"), [("out", "out/rejected.csv"), ("out.h5", "out.rejected.csv")])
def test_a_rejected_image_is_exit_status_4(tmp_path: Path, folder: Path, out: str, listed: str) -> None:
    (folder / "bad.png").touch()
    result = convert(folder, tmp_path / out)
    assert (result.exit_code, result.stdout) == (4, "3 written, 1 rejected\n  3 of 10x24 RGB 8 bits\n")
    assert result.stderr.endswith(
        f"  rejected 1: is empty\n{tmp_path / listed} lists the rejected images and the reasons\n"
    )
    assert (tmp_path / listed).read_text() == "file,stage,reason\nbad.png,read,is empty\n"


def test_errors_are_one_line_and_name_wrong_use(tmp_path: Path, folder: Path) -> None:
    (folder / "sub" / "bad.png").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    convert(folder, tmp_path / "store.h5", "--limit", "1")
    (tmp_path / "there.h5").write_text("years of work")
    (tmp_path / "cut.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 99)
    cases = {
        (folder, tmp_path / "out", "--on-error", "stop"): f"{folder / 'sub' / 'bad.png'}: is empty",
        (folder, folder / "out"): "must not contain each other",
        (folder, tmp_path / "file" / "below"): "is a file",
        (folder, folder / "out.h5"): "must not contain each other",
        (folder, tmp_path / "file" / "below.h5"): "is a file",
        (folder, tmp_path / "there.h5"): "already exists",
        (tmp_path / "store.h5", tmp_path / "store.h5"): "must not contain each other",
        (tmp_path / "cut.h5", tmp_path / "new"): "is damaged and cannot be opened as HDF5",
        (folder / "sub" / "0.bmp", tmp_path / "new"): "is a single image, not a data set",
        (folder, tmp_path / "new", "--split", "train=0.5,test=0.5", "--by", "subject"): "names no subject",
        (tmp_path / "empty", tmp_path / "new"): "holds no images",
        (folder, tmp_path / "new", "--format", "unityeyes"): "holds no UnityEyes frames",
    }
    for arguments, reason in cases.items():
        result = convert(*arguments)
        failed = "is empty" in reason or "HDF5" in reason  # a damaged file; the rest is wrong use
        assert (result.exit_code, result.stdout) == (1 if failed else 2, ""), arguments
        *progress, error = result.stderr.splitlines()
        assert error.startswith("Error: ")
        assert reason in error
        assert all(line.startswith("converting") for line in progress)
    assert (tmp_path / "there.h5").read_text() == "years of work"
    assert not (tmp_path / "new").exists()


def test_a_second_process_on_one_output_is_refused(tmp_path: Path, folder: Path) -> None:
    with open_output(folder, tmp_path / "out", job="another"):
        result = convert(folder, tmp_path / "out")
    assert result.exit_code == 1
    assert "another process is writing to" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["missing", "out"], "'missing' does not exist"),
        (["in", "out", "--by", "id"], "--by needs --split; give both"),
        (["in", "out", "--split", "train=0.8"], "must be above 0 and add up to 1"),
        (["in", "out", "--split", "../x=1"], "is not a list of names and shares"),
        (["in", "out", "--crop", "all"], "'all' is not HEIGHTxWIDTH"),
        (["in", "out", "--workers", "0"], "0 is not in the range x>=1"),
        (["in", "out", "--size", "36"], "'36' is not HEIGHTxWIDTH in pixels, as in 36x60"),
        (["in", "out", "--size", "0x60"], "is not HEIGHTxWIDTH"),
        (["in", "out", "--size", "-3x60"], "is not HEIGHTxWIDTH"),
        (["in", "out", "--size", "36x60x3"], "is not HEIGHTxWIDTH"),
        (["in", "out", "--limit", "0"], "0 is not in the range x>=1"),
        (["in", "out", "--format", "mpii"], "'mpii' is no format; name one of store, unityeyes"),
        (["in"], "Missing argument 'OUT'"),
    ],
)
def test_wrong_use_is_exit_status_2(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], reason: str
) -> None:
    monkeypatch.chdir(folder.parent)
    result = convert(*arguments)
    assert result.exit_code == 2
    assert reason in result.stderr
    assert not Path("out").exists()


def test_real_renders_become_patches(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "unityeyes" / "deepmetis"
    result = convert(source, tmp_path / "out", "--size", "36x60", "--grey", "--equalize", "--limit", "12")
    assert (result.exit_code, result.stdout) == (0, result.stdout)
    assert result.stdout.startswith("12 written, 0 rejected\n  12 of 36x60 grey 8 bits\n")
    labels = read_labels(tmp_path / "out" / "labels.csv")
    assert len(labels) == 12
    images = [read_image(tmp_path / "out" / name) for name in labels]
    assert {image.shape for image in images} == {(36, 60)}
    assert np.median([equalization(image) for image in images]) < 0.02
    for values in labels.values():
        assert set(values) == {"gaze", "head_pose", "pupil", "iris_outline", "lid_outline", "subject"}


@pytest.fixture
def spots(tmp_path: Path) -> Path:
    """Dark images of 40x60 with a bright spot of 4x4 pixels, which labels of every kind describe."""
    rows = ["file,corner,spot_x,spot_y,box,nose,material"]
    for number, (x, y) in enumerate([(20, 10), (33, 17), (41, 25)]):
        image = np.zeros((40, 60), np.uint8)
        image[y : y + 4, x : x + 4] = 250
        write_image(tmp_path / "spots" / f"{number}.png", image)
        middle = x + 1.5, y + 1.5
        box, nose = [x, y, 4, 4], [[*middle, 2]]
        rows.append(f'{number}.png,"{list(middle)}",{middle[0]},{middle[1]},"{box}","{nose}","[0.25, 0.5]"')
    (tmp_path / "spots" / "labels.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "spots"


DECLARED = ["--points", "corner", "--points", "nose", "--boxes", "box:xywh", "--keep", "material"]


@pytest.mark.parametrize("sizes", [["--size", "80x90"], ["--size", "20x30"], ["--crop", "36x40", "--size", "72x120"]])
def test_labels_of_every_kind_stay_on_what_they_describe(tmp_path: Path, spots: Path, sizes: list[str]) -> None:
    """Where the spot lies after a resize is measured in the image; a store in between changes nothing."""
    result = convert(spots, tmp_path / "out", *sizes, *DECLARED, "--workers", 1)
    assert result.exit_code == 0, result.output
    assert convert(spots, tmp_path / "a.h5").exit_code == 0
    assert convert(tmp_path / "a.h5", tmp_path / "b.h5", *sizes, *DECLARED, "--workers", 1).exit_code == 0
    assert convert(tmp_path / "b.h5", tmp_path / "back").exit_code == 0
    assert read_cells(tmp_path / "back") == read_cells(tmp_path / "out")
    for name, labels in read_labels(tmp_path / "out" / "labels.csv").items():
        image = read_image(tmp_path / "out" / name).astype(float)
        rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
        middle = np.array([(image * columns).sum(), (image * rows).sum()]) / image.sum()
        assert labels["corner"] == pytest.approx(middle, abs=0.1)
        assert [float(labels["spot_x"]), float(labels["spot_y"])] == pytest.approx(middle, abs=0.1)
        assert labels["nose"][0] == pytest.approx([*middle, 2], abs=0.1)
        # The corner of a box is the centre of its first pixel, so its middle is half a pixel less to the right.
        scale = image.sum() / 250 / 16  # the area of the spot, relative to the original
        x, y, width, height = labels["box"]
        assert width * height == pytest.approx(16 * scale, rel=0.05)
        assert [x + width / 2 - width / 8, y + height / 2 - height / 8] == pytest.approx(middle, abs=0.1)
        assert labels["material"].tolist() == [0.25, 0.5]


def read_cells(folder: Path) -> list[dict[str, str]]:
    with (folder / "labels.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_label_that_may_be_a_position_has_to_be_declared(tmp_path: Path, spots: Path) -> None:
    for source in (spots, tmp_path / "spots.h5"):
        refused = convert(source, tmp_path / f"{source.name}.out", "--size", "20x30", "--workers", 2)
        assert refused.exit_code == 2
        assert "Error: label corner is a list of 2 numbers, and the images change their size" in refused.stderr
        assert "--points corner" in refused.stderr
        assert not (tmp_path / f"{source.name}.out" / "labels.csv").exists()
        convert(spots, tmp_path / "spots.h5")
    # Images that keep their size need no declaration.
    assert convert(spots, tmp_path / "out", "--size", "40x60", "--grey").exit_code == 0
    before, after = read_labels(spots / "labels.csv"), read_labels(tmp_path / "out" / "labels.csv")
    assert all(np.array_equal(before[name][label], after[name][label]) for name in before for label in before[name])
    misspelt = convert(spots, tmp_path / "out", "--points", "korner")
    assert misspelt.exit_code == 2
    assert "has no label 'korner'; its labels: corner, spot_x, spot_y, box, nose, material" in misspelt.stderr
    no_format = convert(spots, tmp_path / "out", "--boxes", "box")
    assert no_format.exit_code == 2
    assert "write NAME:xywh for [x, y, width, height]" in no_format.stderr


def test_labels_that_moved_are_named(tmp_path: Path, spots: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "refiner"):
        convert(spots, tmp_path / "out", "--size", "20x30", *DECLARED, "--workers", 1)
    moved = "labels that moved with the images: box, corner, nose, spot_x, spot_y; labels that did not: material"
    assert moved in caplog.text
