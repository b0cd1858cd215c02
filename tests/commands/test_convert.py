"""``refiner convert`` from the command line: exit status, streams, sizes as height x width."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from refiner.commands import main
from refiner.formats import FORMATS
from refiner.image_files import read_image, write_image
from refiner.images import equalization
from refiner.outputs import open_output
from refiner.records import read_labels


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
    assert "refiner convert unityeyes/imgs renders --size 36x60 --grey --equalize" in result.output
    assert f"[{'|'.join(FORMATS)}]" in result.output


def test_a_folder_is_converted_and_counted(tmp_path: Path, folder: Path) -> None:
    result = convert(folder, tmp_path / "out", "--size", "5x12", "--grey", "--equalize")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "3 written, 0 rejected\n", "")
    image = read_image(tmp_path / "out" / "sub" / "0.png")
    assert image.shape == (5, 12)
    assert equalization(image) < 0.02
    assert not (tmp_path / "out" / "labels.csv").exists()


def test_labels_and_limit(tmp_path: Path, folder: Path) -> None:
    (folder / "labels.csv").write_text("file,subject\n" + "".join(f"sub/{i}.bmp,p{i}\n" for i in range(3)))
    assert convert(folder, tmp_path / "out", "--limit", "1").stdout == "1 written, 0 rejected\n"
    assert read_labels(tmp_path / "out" / "labels.csv") == {"sub/0.png": {"subject": "p0"}}


def test_json_is_one_object_on_standard_output(tmp_path: Path, folder: Path) -> None:
    figures = json.loads(convert(folder, tmp_path / "out", "--json").stdout)
    assert (figures["command"], figures["written"], figures["rejected"]) == ("convert", 3, 0)


def test_a_rejected_image_is_exit_status_4(tmp_path: Path, folder: Path) -> None:
    (folder / "bad.png").touch()
    result = convert(folder, tmp_path / "out")
    assert (result.exit_code, result.stdout) == (4, "3 written, 1 rejected\n")
    assert result.stderr == f"see {tmp_path / 'out' / 'rejected.csv'} for what was rejected and why\n"
    assert (tmp_path / "out" / "rejected.csv").read_text() == "file,stage,reason\nbad.png,read,is empty\n"


def test_errors_are_one_line_and_exit_status_1(tmp_path: Path, folder: Path) -> None:
    (folder / "sub" / "bad.png").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    cases = {
        (folder, tmp_path / "out", "--on-error", "stop"): f"{folder / 'sub' / 'bad.png'}: is empty",
        (folder, folder / "out"): "lie inside one another",
        (folder, tmp_path / "file" / "below"): "is a file",
        (tmp_path / "empty", tmp_path / "new"): "holds no images",
        (folder, tmp_path / "new", "--format", "unityeyes"): "holds no UnityEyes frames",
    }
    for arguments, reason in cases.items():
        result = convert(*arguments)
        assert (result.exit_code, result.stdout) == (1, ""), arguments
        assert result.stderr.startswith("Error: ")
        assert reason in result.stderr
        assert result.stderr.count("\n") == 1


def test_a_second_process_on_one_output_is_refused(tmp_path: Path, folder: Path) -> None:
    with open_output(folder, tmp_path / "out", job="another"):
        result = convert(folder, tmp_path / "out")
    assert result.exit_code == 1
    assert "another process is writing here" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["missing", "out"], "'missing' does not exist"),
        (["in/sub/0.bmp", "out"], "is a file"),
        (["in", "out", "--size", "36"], "'36' is not HEIGHTxWIDTH in pixels, as in 36x60"),
        (["in", "out", "--size", "0x60"], "is not HEIGHTxWIDTH"),
        (["in", "out", "--size", "-3x60"], "is not HEIGHTxWIDTH"),
        (["in", "out", "--size", "36x60x3"], "is not HEIGHTxWIDTH"),
        (["in", "out", "--limit", "0"], "0 is not in the range x>=1"),
        (["in", "out", "--format", "mpii"], "'mpii' is not one of 'unityeyes', 'folder'"),
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
    assert (result.exit_code, result.stdout) == (0, "12 written, 0 rejected\n")
    labels = read_labels(tmp_path / "out" / "labels.csv")
    assert len(labels) == 12
    images = [read_image(tmp_path / "out" / name) for name in labels]
    assert {image.shape for image in images} == {(36, 60)}
    assert np.median([equalization(image) for image in images]) < 0.02
    for values in labels.values():
        assert set(values) == {"gaze", "head_pose", "pupil", "iris_outline", "lid_outline", "subject"}
