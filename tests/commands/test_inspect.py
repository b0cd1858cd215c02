"""``refiner inspect`` from the command line: what is printed, exit status, streams."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from refiner.commands import main
from refiner.config.training import TrainingConfiguration
from refiner.data.output.records_writer import write_folder
from refiner.eyes.records import rendered_records
from refiner.eyes.scene.parameters import EyeParameters
from refiner.images.io import read_image
from refiner.training.train import train


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("inspect") / "eyes"
    records = rendered_records(EyeParameters(), 30, seed=4)
    write_folder(out, records, 30, labelled=True, report=lambda done, total: None)
    return out


def inspect(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["inspect", *map(str, arguments)])


def test_help_has_an_example() -> None:
    assert "refiner inspect renders real --sheet sheet.png" in inspect("--help").output


def test_a_data_set_is_described(eyes: Path) -> None:
    result = inspect(eyes)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == f"{eyes}: data set (folder)"
    assert "  size          36x60 (height x width)" in lines
    assert "  depth         8 bits, grey" in lines
    assert any(line.split()[:4] == ["gaze", "30", "of", "30:"] for line in lines)
    assert any(line.startswith("gaze, degrees") for line in lines)
    assert "no problems found" in lines


def test_a_sample_says_so(eyes: Path) -> None:
    assert "30 (12 inspected, spread evenly; --sample 0 inspects all)" in inspect(eyes, "--sample", 12).stdout
    assert "inspected" not in inspect(eyes, "--sample", 0).stdout


def test_faults_leave_the_exit_status(synthetic: Path) -> None:
    (synthetic / "bad.png").touch()
    result = inspect(synthetic)
    assert result.exit_code == 0
    assert (
        "problems (1)\n  1. 1 of 21 images cannot be used; most frequent reason: is empty (1)\n     -> look at"
        in result.stdout
    )


def test_two_data_sets_are_compared(eyes: Path, synthetic: Path) -> None:
    result = inspect(eyes, synthetic)
    assert result.exit_code == 0
    assert "fit of renders and real images\n  size          36x60 against 8x12\n" in result.stdout
    assert f"refiner convert {eyes} eyes-fitted --size 8x12" in result.stdout


def test_json_is_one_object(eyes: Path, synthetic: Path) -> None:
    metrics = json.loads(inspect(eyes, "--json").stdout)
    assert (metrics["command"], metrics["kind"], metrics["images"], metrics["findings"]) == (
        *("inspect", "data set"),
        *(30, []),
    )
    assert metrics["labels"]["gaze"]["ranges"][1]["name"] == "yaw"
    assert "angles" not in metrics
    both = json.loads(inspect(eyes, synthetic, "--json").stdout)
    assert both["other"]["sizes"] == {"8x12": 20}
    assert both["fit"][0].keys() == {"key", "message", "remedy"}


def test_a_sheet_is_written(eyes: Path, synthetic: Path, tmp_path: Path) -> None:
    result = inspect(eyes, "--sheet", tmp_path / "one.png")
    assert "one.png" in result.stderr
    inspect(eyes, synthetic, "--sheet", tmp_path / "two.png")
    one, two = (read_image(tmp_path / name) for name in ("one.png", "two.png"))
    assert one.shape[1] == two.shape[1]
    assert two.shape[0] > one.shape[0]


def test_a_run_and_its_refiner(tiny: TrainingConfiguration, tmp_path: Path) -> None:
    train(tiny, tmp_path / "run", device="cpu")
    result = inspect(tmp_path / "run")
    assert result.exit_code == 0
    assert "  steps         11 of 11 (100%), 5 pre-training" in result.stdout
    assert "no problems found" in result.stdout
    metrics = json.loads(inspect(tmp_path / "run", "--json").stdout)
    assert (metrics["kind"], metrics["steps_done"], metrics["environment"]["platform"] is not None) == ("run", 11, True)
    refiner = inspect(tmp_path / "run" / "refiner.safetensors")
    assert "  digest        " in refiner.stdout
    assert json.loads(inspect(tmp_path / "run" / "refiner.safetensors", "--json").stdout)["kind"] == "refiner"
    assert inspect(tmp_path / "run", tmp_path).exit_code == 2


def test_what_it_is_not(tmp_path: Path, eyes: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "broken.safetensors").write_text("nothing")
    (tmp_path / "empty").mkdir()
    cases = {
        (tmp_path / "notes.txt",): "is a .txt file; expected a data set",
        (tmp_path / "broken.safetensors",): "is damaged: its first bytes are not those of a weights file",
        (tmp_path / "empty",): "holds no images",
    }
    for arguments, reason in cases.items():
        result = inspect(*arguments)
        assert (result.exit_code, result.stdout) == (1 if "damaged" in reason else 2, ""), arguments
        assert reason in result.stderr
        assert result.stderr.count("\n") == 1
    assert inspect(tmp_path / "missing").exit_code == 2
    assert inspect(eyes, "--sample", "-1").exit_code == 2


def test_data_sets_need_no_torch(eyes: Path) -> None:
    code = (
        "import sys; from refiner.commands import main; "
        f"main(['inspect', {str(eyes)!r}], standalone_mode=False); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("synthetic", "real", "words"),
    [
        ("unityeyes/deepmetis", "mpiigaze_p00_dev", "deepmetis-fitted --equalize"),
        ("mpiigaze_p00_dev", "columbia_dev/images", "the data sets fit"),
        ("mpiigaze_p00_dev", "webcam_dev", "webcam_dev-fitted --crop 50x83 --size 36x60 --equalize"),
    ],
)
def test_real_pairs(real_data: Path, synthetic: str, real: str, words: str) -> None:
    result = inspect(real_data / synthetic, real_data / real, "--sample", 300)
    assert result.exit_code == 0
    assert words in result.stdout
