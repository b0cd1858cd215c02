from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from refiner.commands import main
from refiner.config.training import TrainingConfiguration
from refiner.config.yaml_files import write_configuration


@pytest.fixture
def config(tiny: TrainingConfiguration, tmp_path: Path) -> Path:
    file = tmp_path / "tiny.yaml"
    file.write_text(write_configuration(tiny), encoding="utf-8")
    return file


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["train", *map(str, arguments)])


def test_help_has_an_example() -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert "refiner train eyes --synthetic renders --real real" in result.stdout


def test_train_then_go_on(config: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run_folder = tmp_path / "run"
    result = run(config, "--run", run_folder, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{run_folder / 'refiner.safetensors'}\n"  # the configuration is logged
    assert "batch_size: 6" in caplog.text
    assert run(config, "--run", run_folder).exit_code == 0


def test_run_folder_is_named_after_the_configuration(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(config, "--set", "steps=1").exit_code == 0
    assert (tmp_path / "runs" / "tiny" / "refiner.safetensors").exists()


def test_dry_run_prints_what_would_be_done_and_does_nothing(config: Path, tmp_path: Path) -> None:
    result = run(config, "--dry-run", "--seed", "7", "--set", "refiner.features=5", "--run", tmp_path / "run")
    printed = yaml.safe_load(result.stdout)
    assert (printed["seed"], printed["refiner"]["features"]) == (7, 5)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--set", "batch=3"], 2, "batch is no setting; did you mean batch_size?"),
        (["--set", "data.synthetic=absent"], 2, "absent does not exist; name the folder"),
        (["--device", "tpu"], 2, "'tpu' is not one of"),
        (["--from", "absent.safetensors"], 2, "absent.safetensors"),
        (["--colour"], 2, "No such option"),
    ],
)
def test_each_mistake_is_one_line(arguments: list, status: int, words: str, config: Path, tmp_path: Path) -> None:
    result = run(config, "--run", tmp_path / "run", *arguments)
    assert result.exit_code == status
    assert words in result.stderr
    assert "Traceback" not in result.output


def test_a_changed_configuration_names_the_key(config: Path, tmp_path: Path) -> None:
    assert run(config, "--run", tmp_path / "run", "--set", "steps=1").exit_code == 0
    result = run(config, "--run", tmp_path / "run", "--set", "steps=1", "--set", "channels=3")
    assert result.exit_code == 2
    assert "channels: 1 -> 3" in result.stderr


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("GausNoise: {p: 0.3}", "real[0]: albumentations has no transform GausNoise; did you mean GaussNoise?"),
        ("RandomFog: {}", "real[0].RandomFog does not work on images of 8x12, 1 channel, uint8"),
    ],
)
def test_a_dry_run_names_a_wrong_transform(config: Path, step: str, message: str) -> None:
    result = run(config, "--dry-run", "--set", f"augmentation.real=[{{{step}}}]")
    assert result.exit_code != 0
    assert f"augmentation.{message}" in result.stderr
    assert not result.stdout
    assert run(config, "--dry-run", "--set", "augmentation.real=[{ColorJitter: {p: 0.3}}]").exit_code == 0
