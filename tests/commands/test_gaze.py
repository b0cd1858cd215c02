import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from refiner.commands import main
from refiner.commands.gaze import SUBCOMMANDS
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


@pytest.mark.parametrize("name", list(SUBCOMMANDS))
def test_help_has_an_example(name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0
    assert f"refiner gaze {name} " in result.stdout


def test_help_of_the_group_names_every_subcommand() -> None:
    printed = run("--help").stdout
    assert all(name in printed for name in SUBCOMMANDS)
    assert run("centre").exit_code == 2


def test_help_of_the_group_imports_no_subcommand() -> None:
    code = (
        "import sys; from refiner.commands import main; main(['gaze', '--help'], standalone_mode=False); "
        "assert 'torch' not in sys.modules and 'refiner.commands.gaze.train' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_train_lists_its_recipes_only() -> None:
    listed = run("train", "--list").stdout
    assert "gaze " in listed
    assert "cyclegan" not in listed


def test_train_resumes_a_run(config: Path, tmp_path: Path) -> None:
    result = run("train", config, "--run", tmp_path / "run", "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{tmp_path / 'run' / 'estimator.safetensors'}\n"
    assert run("train", config, "--run", tmp_path / "run").exit_code == 0
    assert run("train", config, "--run", tmp_path / "run", "--set", "steps=11").exit_code == 0
    refused = run("train", config, "--run", tmp_path / "run", "--set", "batch_size=5")
    assert refused.exit_code == 2
    assert "batch_size: 6 -> 5" in refused.stderr
    assert run("train", config, "--run", tmp_path / "run", "--set", "batch_size=5", "--new").exit_code == 0


def test_a_recipe_by_its_name(gazes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("train", "gaze", "--train", gazes, "--set", "network=knn", "--set", "size=[16, 24]")
    assert result.exit_code == 0, result.output
    assert Path("runs/gaze/estimator.safetensors").exists()


def test_dry_run_prints_what_would_be_done_and_does_nothing(config: Path, tmp_path: Path) -> None:
    result = run("train", config, "--dry-run", "--seed", "7", "--run", tmp_path / "run")
    assert yaml.safe_load(result.stdout)["seed"] == 7
    assert not (tmp_path / "run").exists()


def test_a_dry_run_names_a_wrong_transform(config: Path) -> None:
    for name, message in (
        ("GausNoise", "no transform GausNoise; did you mean GaussNoise"),
        ("D4", "D4 cannot be used"),
    ):
        result = run("train", config, "--dry-run", "--set", f"augmentation.transforms=[{name}]")
        assert result.exit_code != 0
        assert message in result.stderr


def test_training_data_may_be_repeated_and_have_any_name(config: Path, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a, b] #1", "grün 'x'", "123")]
    for folder in folders:
        folder.mkdir()
    options = [option for folder in folders for option in ("--train", folder)]
    resolved = yaml.safe_load(run("train", config, *options, "--dry-run").stdout)
    assert resolved["data"]["train"] == [str(folder) for folder in folders]
    unchanged = yaml.safe_load(run("train", config, "--dry-run").stdout)
    assert unchanged["data"]["train"] == yaml.safe_load(config.read_text(encoding="utf-8"))["data"]["train"]


def test_evaluate_prints_metrics_baselines_and_tables(trained: Path, other_gazes: Path, tmp_path: Path) -> None:
    result = run("evaluate", trained, other_gazes, "--by", "P", "--plots", tmp_path / "plots")
    assert result.exit_code == 0, result.output
    for words in ("mean error", "bias removed", "within 2 / 5 / 7 / 10 degrees", "mean of training labels"):
        assert words in result.stdout
    assert "95 % intervals over 8 clusters by subject\n" in result.stdout
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
    assert single["clusters"] == {"count": 8, "by": "subject", "scope": None}
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


def test_an_ensemble_predicts_the_mean(trained: Path, other_gazes: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    assert run("correct-bias", trained, other_gazes, other).exit_code == 0
    tables = []
    for name, chosen in (("a", [trained]), ("b", [other]), ("both", [trained, other])):
        result = run("predict", *chosen, other_gazes, tmp_path / f"{name}.csv", "--ensemble")
        assert result.exit_code == 0, result.output
        with (tmp_path / f"{name}.csv").open(newline="") as stream:
            tables.append([float(row["gaze_pitch_rad"]) for row in csv.DictReader(stream)])
    assert tables[0] != tables[1]
    assert tables[2] == pytest.approx([(a + b) / 2 for a, b in zip(*tables[:2], strict=True)], abs=1e-7)
    found = json.loads(run("evaluate", trained, other, other_gazes, "--ensemble", "--json").stdout)
    assert found["error_degrees"] == found["ensemble"]["error"]
    assert "ensemble of 2 estimators" in run("evaluate", trained, other, other_gazes, "--ensemble").stdout


def test_co_teaching_leaves_several_estimators_and_ensemble_takes_them_all(
    config: Path, other_gazes: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "co-taught"
    result = run("train", config, "--unlabelled", other_gazes, "--run", folder, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{folder / 'estimator.safetensors'}\n"
    refused = run("train", config, "--unlabelled", other_gazes, "--set", "network=knn", "--run", tmp_path / "knn")
    assert (refused.exit_code, (tmp_path / "knn").exists()) == (2, False)
    assert "network knn cannot be co-taught on data.unlabelled" in refused.stderr
    for options, count in (([], 1), (["--ensemble"], 3)):
        found = json.loads(run("evaluate", folder, other_gazes, "--json", *options).stdout)
        assert len({estimator["digest"] for estimator in found["estimators"]}) == count
        assert (found["ensemble"] is None) == (count == 1)
        assert run("predict", folder, other_gazes, tmp_path / f"{count}.csv", *options).exit_code == 0
    assert (tmp_path / "1.csv").read_bytes() != (tmp_path / "3.csv").read_bytes()


def test_each_mistake_is_one_line(trained: Path, config: Path, gazes: Path, synthetic: Path, tmp_path: Path) -> None:
    for arguments, status, words in [
        (["train", config, "--set", "netwrok=small"], 2, "did you mean network?"),
        (["train", config, "--set", "data.train=absent", "--run", tmp_path / "x"], 2, "absent does not exist"),
        (["train", tmp_path / "absent.yaml"], 2, "absent.yaml does not exist"),
        (["train", config, "--train", "absent"], 2, "'absent' does not exist"),
        (["evaluate", gazes], 2, "name at least one estimator"),
        (["evaluate", gazes, gazes], 2, "is a folder, not a gaze estimator"),
        (["evaluate", trained, synthetic], 2, "none of the 20 images of"),
        (["evaluate", trained, synthetic], 2, "labels.csv with the columns file, gaze_pitch_rad and gaze_yaw_rad"),
        (["evaluate", trained, gazes, "--by", "colour"], 2, "has no label column colour"),
        (["predict", trained, gazes], 2, "add OUT.csv"),
        (["predict", trained, trained, gazes, tmp_path / "out.csv"], 2, "pass --ensemble"),
        (["predict", trained, tmp_path / "absent", tmp_path / "out.csv"], 2, "absent does not exist"),
        (["predict", trained, trained, "--ensemble"], 2, "then the data"),
        (["predict", trained, gazes / "000.png", tmp_path / "out.csv"], 2, "omit OUT.csv"),
    ]:
        result = run(*arguments)
        assert (result.exit_code, "Traceback" in result.output) == (status, False), result.output
        assert words in result.stderr


def test_correct_bias_prints_the_offset(trained: Path, other_gazes: Path, tmp_path: Path) -> None:
    (other_gazes / "broken.png").write_bytes(b"no image")
    out = tmp_path / "corrected.safetensors"
    result = run("correct-bias", trained, other_gazes, out, "--device", "cpu", "--json")
    assert result.exit_code == 4
    assert "broken.png" in result.stderr
    printed = json.loads(result.stdout)
    assert printed["command"] == "gaze correct-bias"
    assert (printed["real"], list(printed["rejected"])) == (40, ["broken.png"])
    assert len(printed["offset_degrees"]) == 2
    (other_gazes / "broken.png").unlink()
    again = run("correct-bias", out, other_gazes, tmp_path / "again.safetensors", "--device", "cpu")
    assert again.exit_code == 0, again.output
    assert re.search(r"added [+-]0\.00 degrees to pitch, [+-]0\.00 degrees to yaw$", again.stdout.strip())
    assert run("correct-bias", trained, other_gazes, tmp_path / "no_estimator").exit_code == 2
