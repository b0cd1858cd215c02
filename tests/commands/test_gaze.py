import csv
import json
import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from refiner.commands import main
from refiner.config.yaml_files import write_configuration
from refiner.gaze.config import GazeConfiguration


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["gaze", *map(str, arguments)])


@pytest.fixture
def config(tiny_gaze: GazeConfiguration, tmp_path: Path) -> Path:
    file = tmp_path / "tiny.yaml"
    file.write_text(write_configuration(tiny_gaze), encoding="utf-8")
    return file


@pytest.fixture
def trained(config: Path, tmp_path: Path) -> Path:
    assert run("train", config, "--run", tmp_path / "run", "--device", "cpu").exit_code == 0
    return tmp_path / "run"


@pytest.mark.parametrize("name", ["train", "evaluate", "predict", "centre"])
def test_help_has_an_example(name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0
    assert f"refiner gaze {name} " in result.stdout


def test_train_then_go_on(config: Path, tmp_path: Path) -> None:
    result = run("train", config, "--run", tmp_path / "run", "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{tmp_path / 'run' / 'estimator.safetensors'}\n"
    assert run("train", config, "--run", tmp_path / "run").exit_code == 0
    refused = run("train", config, "--run", tmp_path / "run", "--set", "steps=11")
    assert refused.exit_code == 1
    assert "steps: 10 -> 11" in refused.stderr
    assert run("train", config, "--run", tmp_path / "run", "--set", "steps=11", "--new").exit_code == 0


def test_a_configuration_file_is_not_needed(gazes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("train", "--set", f"data.train={gazes}", "--set", "network=knn", "--set", "size=[16, 24]")
    assert result.exit_code == 0, result.output
    assert Path("runs/gaze/estimator.safetensors").exists()


def test_dry_run_prints_what_would_be_done_and_does_nothing(config: Path, tmp_path: Path) -> None:
    result = run("train", config, "--dry-run", "--seed", "7", "--run", tmp_path / "run")
    assert yaml.safe_load(result.stdout)["seed"] == 7
    assert not (tmp_path / "run").exists()


def test_evaluate_prints_figures_baselines_and_tables(trained: Path, other_gazes: Path, tmp_path: Path) -> None:
    result = run("evaluate", trained, other_gazes, "--by", "P", "--plots", tmp_path / "plots")
    assert result.exit_code == 0, result.output
    for words in ("mean error", "bias removed", "within 2 / 5 / 7 / 10 degrees", "mean of the training labels"):
        assert words in result.stdout
    assert "24 by subject and day" in result.stdout
    assert "\nright" in result.stdout
    assert "\n-15" in result.stdout
    assert (tmp_path / "plots" / "errors.svg").exists()


def test_evaluate_several_as_json(trained: Path, other_gazes: Path, gazes: Path) -> None:
    result = run("evaluate", trained, trained / "estimator.safetensors", other_gazes, "--json")
    found = json.loads(result.stdout)
    assert found["command"] == "gaze evaluate"
    first, second = found["estimators"]
    assert first["digest"] == second["digest"]
    assert found["error_degrees"]["mean"] == first["error"]["mean"] == pytest.approx(second["error"]["mean"])
    assert found["images"] == 40
    single = json.loads(run("evaluate", trained, other_gazes, "--json", "--cluster", "subject").stdout)
    assert single["clusters"] == {"count": 8, "by": "subject"}
    assert single["error_degrees"]["low"] < single["error_degrees"]["mean"] < single["error_degrees"]["high"]


def test_evaluate_names_what_it_cannot_read(trained: Path, other_gazes: Path) -> None:
    (other_gazes / "004.png").write_bytes(b"")
    result = run("evaluate", trained, other_gazes)
    assert result.exit_code == 4
    assert "004.png: is empty" in result.stderr
    assert "39 images" in result.stdout


def test_predict_a_folder_and_an_image(trained: Path, other_gazes: Path, tmp_path: Path) -> None:
    out = tmp_path / "predictions.csv"
    result = run("predict", trained, other_gazes, out)
    assert result.exit_code == 0, result.output
    assert result.stdout == "40 predicted, 0 rejected\n"
    with out.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["file", "gaze_pitch_rad", "gaze_yaw_rad"]
    single = run("predict", trained, other_gazes / rows[5]["file"])
    assert f"pitch {float(rows[5]['gaze_pitch_rad']):.4f}, yaw {float(rows[5]['gaze_yaw_rad']):.4f}" in single.stdout
    printed = json.loads(run("predict", trained, other_gazes / rows[5]["file"], "--json").stdout)
    assert printed["gaze_yaw_rad"] == pytest.approx(float(rows[5]["gaze_yaw_rad"]), abs=1e-8)
    (other_gazes / "004.png").write_bytes(b"")
    rejecting = run("predict", trained, other_gazes, out)
    assert rejecting.exit_code == 4
    assert "predictions.rejected.csv" in rejecting.stderr


def test_each_mistake_is_one_line(trained: Path, config: Path, gazes: Path, synthetic: Path, tmp_path: Path) -> None:
    for arguments, status, words in [
        (["train", config, "--set", "netwrok=small"], 1, "did you mean network?"),
        (["train", config, "--set", "data.train=absent", "--run", tmp_path / "x"], 1, "absent: does not exist"),
        (["train", tmp_path / "absent.yaml"], 2, "absent.yaml"),
        (["evaluate", gazes], 2, "name at least one estimator"),
        (["evaluate", gazes, gazes], 1, "holds no estimator.safetensors"),
        (["evaluate", trained, synthetic], 1, "has no usable image with gaze among its 20 images"),
        (["evaluate", trained, gazes, "--by", "colour"], 1, "has no label column colour"),
        (["predict", trained, gazes], 2, "needs OUT.csv"),
        (["predict", trained, gazes / "000.png", tmp_path / "out.csv"], 2, "leave OUT.csv out"),
    ]:
        result = run(*arguments)
        assert (result.exit_code, "Traceback" in result.output) == (status, False), result.output
        assert words in result.stderr


def test_centre_says_by_how_much(trained: Path, other_gazes: Path, tmp_path: Path) -> None:
    (other_gazes / "broken.png").write_bytes(b"no image")
    out = tmp_path / "centred.safetensors"
    result = run("centre", trained, other_gazes, out, "--device", "cpu", "--json")
    assert result.exit_code == 4
    assert "broken.png" in result.stderr
    said = json.loads(result.stdout)
    assert (said["real"], list(said["rejected"])) == (40, ["broken.png"])
    (other_gazes / "broken.png").unlink()
    again = run("centre", out, other_gazes, tmp_path / "again.safetensors", "--device", "cpu")
    assert again.exit_code == 0, again.output
    assert re.search(r"pitch moved by [+-]0\.00, yaw by [+-]0\.00 degrees$", again.stdout.strip())
    assert run("centre", trained, other_gazes, tmp_path / "no_estimator").exit_code == 1
