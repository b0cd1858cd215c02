"""Facts about runs and refiner files; damage is named."""

import json
from pathlib import Path

import pytest

from refiner.config.training import TrainingConfiguration
from refiner.config.yaml_files import write_configuration
from refiner.core.errors import DataError, RunError
from refiner.core.files import read_json_lines
from refiner.gaze.config import GazeConfiguration
from refiner.inspection.runs import inspect_refiner, inspect_run, is_refiner_file, is_run
from refiner.models.files.refiner_file import load_refiner
from refiner.training.train import train


@pytest.fixture
def run(tiny: TrainingConfiguration, tmp_path: Path) -> Path:
    train(tiny, tmp_path / "run", device="cpu")
    return tmp_path / "run"


def test_a_finished_run(run: Path, tiny: TrainingConfiguration) -> None:
    facts = inspect_run(run)
    assert is_run(run)
    assert not is_run(tiny.data.synthetic)  # type: ignore[arg-type]
    assert (facts.steps_done, facts.steps, facts.pretraining_steps) == (11, 11, 5)
    assert facts.metrics == list(read_json_lines(run / "metrics.jsonl"))[-1]
    assert facts.checkpoints == ("step-00000009.pt", "step-00000011.pt")
    assert facts.training_environment["precision"] == "fp32"
    assert facts.data == {"synthetic": str(tiny.data.synthetic), "real": str(tiny.data.real)}
    assert facts.refiner is not None
    assert (facts.findings, facts.warnings) == ([], ())
    assert facts.started.endswith("+00:00")


def test_an_unfinished_run_without_its_data(run: Path, tiny: TrainingConfiguration) -> None:
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(lines[:3]))
    (run / "refiner.safetensors").unlink()
    assert tiny.data.synthetic is not None
    tiny.data.synthetic.rename(tiny.data.synthetic.with_name("moved"))
    facts = inspect_run(run)
    assert facts.steps_done == 6
    assert [finding.key for finding in facts.findings] == ["unfinished", "no refiner", "synthetic gone"]


def test_warnings_are_those_of_the_monitors(run: Path) -> None:
    wins = {"adversarial": 1.0, "discriminator_loss": 0.5, "accuracy_refined": 1.0, "accuracy_real": 1.0}
    rows = [{"step": step, **wins, "diversity": 1.0, "change": 0.1, "saturated": 0.0} for step in range(1, 9)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (warning,) = inspect_run(run).warnings
    assert warning.startswith("step 8: the discriminator wins")


def test_the_scale_of_the_loss_is_that_of_the_objective(tmp_path: Path) -> None:
    """0.025 is 1.25 % of the hinge loss of an untrained discriminator, 2, but 1.8 % of the cross-entropy, 2 ln 2."""
    middling = {"accuracy_refined": 0.7, "accuracy_real": 0.7, "diversity": 1.0, "change": 0.1, "saturated": 0.0}
    rows = [{"step": step, "adversarial": 1.0, "discriminator_loss": 0.025, **middling} for step in range(1, 9)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "config.yaml").write_text("objective: hinge")
    (warning,) = inspect_run(tmp_path).warnings
    assert "an untrained one has 2.00" in warning
    (tmp_path / "config.yaml").write_text("objective: cross_entropy")
    assert inspect_run(tmp_path).warnings == ()


@pytest.mark.parametrize("finished", [False, True])
def test_a_gaze_run_is_refused_by_its_kind(finished: bool, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("seed: 1" if finished else write_configuration(GazeConfiguration()))
    (tmp_path / "metrics.jsonl").touch()
    if finished:
        (tmp_path / "estimator.safetensors").touch()
    assert is_run(tmp_path)
    with pytest.raises(DataError, match="is the run folder of a gaze estimator") as caught:
        inspect_run(tmp_path)
    assert str(caught.value).startswith(str(tmp_path))


def test_damage_is_named(run: Path) -> None:
    (run / "refiner.safetensors").write_bytes(b"nothing")
    assert "is damaged: its first bytes are not those of a weights file" in inspect_run(run).findings[-1].message
    (run / "environment.json").write_text("{")
    with pytest.raises(RunError, match=r"environment\.json is damaged"):
        inspect_run(run)


def test_a_refiner_file(run: Path) -> None:
    file = run / "refiner.safetensors"
    facts, refiner = inspect_refiner(file), load_refiner(file)
    assert is_refiner_file(file)
    count = sum(weights.numel() for weights in refiner.network().parameters())
    assert (facts.digest, facts.parameters) == (refiner.digest(), count)
    assert facts.architecture["features"] == 4
    assert facts.training["step"] == 11
    with pytest.raises(DataError, match=r"is a \.yaml file, not a refiner file"):
        inspect_refiner(run / "config.yaml")
