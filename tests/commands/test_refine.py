"""``refiner refine`` from the command line: exit status, output streams, and errors of one line."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from refiner.commands import main
from refiner.commands.refine import command
from refiner.data.output.folder import open_output
from refiner.images.io import read_image, write_image
from refiner.inference.backends.registry import BACKENDS
from refiner.models.architecture import RefinerArchitecture
from refiner.models.files.refiner_file import save_refiner
from refiner.models.refiner import RefinerNetwork


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    architecture = {"features": 4, "blocks": 1, "output": "residual"}
    save_refiner(tmp_path / "r", RefinerNetwork(RefinerArchitecture(**architecture)), training={})
    return tmp_path / "r"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(3):
        write_image(tmp_path / "in" / f"{number}.png", np.full((5, 9), 50 * number, np.uint8))
    return tmp_path / "in"


def refine(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["refine", *map(str, arguments), "--device", "cpu"])


def test_help_has_an_example_and_every_default() -> None:
    result = CliRunner().invoke(main, ["refine", "--help"])
    assert result.exit_code == 0
    said = " ".join(result.output.split())  # however the lines are broken
    assert "refiner refine renders refined --refiner runs/eyes" in said
    assert "[default: 95; 1<=x<=100]" in said
    assert "[default: skip]" in said


def test_a_folder_is_refined_and_counted(tmp_path: Path, folder: Path, identity: Path) -> None:
    result = refine(folder, tmp_path / "out", "--refiner", identity)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "3 refined, 0 skipped, 0 rejected\n", "")
    assert read_image(tmp_path / "out" / "2.png")[0, 0] == 100
    assert refine(folder, tmp_path / "out", "--refiner", identity).stdout.startswith("0 refined, 3 skipped")
    assert refine(folder, tmp_path / "out", "--refiner", identity, "--overwrite").stdout.startswith("3 refined")


def test_json_is_one_object_on_standard_output(tmp_path: Path, folder: Path, identity: Path) -> None:
    result = refine(folder, tmp_path / "out", "--refiner", identity, "--json")
    metrics = json.loads(result.stdout)
    assert metrics["command"] == "refine"
    assert (metrics["refined"], metrics["skipped"], metrics["rejected"]) == (3, 0, 0)
    assert metrics["version"]
    assert metrics["environment"]["processor"]["name"]


def test_a_rejected_image_is_exit_status_4(tmp_path: Path, folder: Path, identity: Path) -> None:
    (folder / "bad.png").touch()
    for expected in ("3 refined, 0 skipped, 1 rejected\n", "0 refined, 3 skipped, 1 rejected\n"):
        result = refine(folder, tmp_path / "out", "--refiner", identity)
        assert (result.exit_code, result.stdout) == (4, expected)
        assert result.stderr == f"see {tmp_path / 'out' / 'rejected.csv'} for the rejected images and the reasons\n"
    assert (tmp_path / "out" / "rejected.csv").read_text() == "file,stage,reason\nbad.png,read,is empty\n"


def test_stopping_at_a_bad_image_is_exit_status_1_and_names_it(tmp_path: Path, folder: Path, identity: Path) -> None:
    (folder / "bad.png").touch()
    result = refine(folder, tmp_path / "out", "--refiner", identity, "--on-error", "stop")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"Error: {folder / 'bad.png'}: is empty (stopped by --on-error stop)\n"


def test_one_image_into_one_image(tmp_path: Path, folder: Path, identity: Path) -> None:
    result = refine(folder / "1.png", tmp_path / "one.png", "--refiner", identity)
    assert (result.exit_code, result.stdout) == (0, "1 refined, 0 skipped, 0 rejected\n")
    assert set(read_image(tmp_path / "one.png").ravel()) == {50}


def test_errors_are_one_line_and_name_wrong_use(tmp_path: Path, folder: Path, identity: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (folder / "text.png").write_text("text")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "1.png").touch()
    cases = {
        (folder, folder / "out"): "must not contain each other",
        (folder, folder): "must not contain each other",
        (folder / "..", tmp_path / "in"): "must not contain each other",
        (folder, tmp_path / "file"): "is a file; choose another output folder",
        (folder, tmp_path / "file" / "below"): "is a file; choose another output",
        (folder, tmp_path / "foreign"): "was not written by refiner",
        (tmp_path / "empty", tmp_path / "out"): "holds no images",
        (folder / "text.png", tmp_path / "a.png"): "is not an image of a supported type",
        (folder / "1.png", folder / "2.png"): "already exists",
        (folder / "1.png", tmp_path / "file" / "a.png"): "is a file; choose another output",
    }
    for (source, destination), reason in cases.items():
        result = refine(source, destination, "--refiner", identity)
        failed = "supported type" in reason  # the rest is wrong use
        assert result.exit_code == (1 if failed else 2), (source, destination)
        assert result.stdout == ""
        assert result.stderr.startswith("Error: ")
        assert reason in result.stderr
        assert result.stderr.count("\n") == 1


def test_a_refiner_that_is_none_is_one_line(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "r").write_text("text")
    for refiner, reason in (
        (tmp_path / "r", "is a file of another type, not a refiner file"),
        (folder, "is a folder, not a refiner"),
    ):
        result = refine(folder, tmp_path / "out", "--refiner", refiner)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
        assert reason in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_second_process_on_one_output_is_refused(tmp_path: Path, folder: Path, identity: Path) -> None:
    with open_output(folder, tmp_path / "out", job="another"):
        result = refine(folder, tmp_path / "out", "--refiner", identity)
    assert result.exit_code == 1
    assert "another process is writing to" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["missing", "out", "--refiner", "r"], "'missing' does not exist"),
        (["in", "out"], "Missing option '--refiner'"),
        (
            ["in", "out", "--refiner", "none"],
            "none is neither a refiner file, nor a run folder",
        ),
        (["in", "out", "--refiner", "r", "--quality", "101"], "101 is not in the range 1<=x<=100"),
        (["in", "out", "--refiner", "r", "--on-error", "panic"], "'panic' is not one of 'skip', 'stop'"),
        (["in", "out", "--refiner", "r", "--overwite"], "No such option: --overwite"),
        (["in"], "Missing argument 'OUT'"),
    ],
)
def test_wrong_use_is_exit_status_2(
    folder: Path, identity: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], reason: str
) -> None:
    monkeypatch.chdir(folder.parent)
    result = CliRunner().invoke(main, ["refine", *arguments])
    assert result.exit_code == 2
    assert reason in result.stderr.replace("No such option '--overwite'", "No such option: --overwite")
    assert not Path("out").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_missing_device_is_one_line(tmp_path: Path, folder: Path, identity: Path) -> None:
    arguments = ["refine", str(folder), str(tmp_path / "out"), "--refiner", str(identity), "--device", "cuda"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code in (1, 2)
    assert "no CUDA device is usable here" in result.stderr


def test_the_backends_of_the_option_are_those_of_the_registry() -> None:
    """The command repeats the names, so that its help needs no inference library."""
    option = next(parameter for parameter in command.params if parameter.name == "backend")
    assert list(option.type.choices) == ["auto", *BACKENDS]  # type: ignore[attr-defined]
