import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from refiner.commands import main
from refiner.demos import eyes
from refiner.demos.eyes import Scale

SMALL = Scale(synthetic=160, real=80, test_images=40, training_steps=4, estimator_steps=6)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole demo on few images and steps; nothing is left out."""
    monkeypatch.setattr(eyes, "SHORT", SMALL)
    recipe = {**eyes.RECIPE, "batch_size": 8, "pretraining": {"refiner_steps": 0, "discriminator_steps": 2}}
    monkeypatch.setattr(eyes, "RECIPE", recipe)


@pytest.mark.usefixtures("small")
def test_demo_runs_everything_and_resumes(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    result = CliRunner().invoke(main, ["demo", str(out), "--device", "cpu"])
    assert result.exit_code == 0, result.output
    for line in ("trained on raw renders", "trained on refined renders", "simulated target camera", "pupil moved"):
        assert line in result.stdout
    assert {"synthetic", "real", "test", "run", "refined", "before_after.png"} <= {p.name for p in out.iterdir()}
    assert len(list((out / "refined").glob("*.png"))) == 160
    assert (out / "refined" / "labels.csv").read_bytes() == (out / "synthetic" / "labels.csv").read_bytes()
    first = json.loads((out / "outcome.json").read_text())
    again = CliRunner().invoke(main, ["demo", str(out), "--device", "cpu", "--json"])
    metrics = json.loads(again.stdout)
    assert metrics["outcome"]["raw"] == first["raw"]
    other = CliRunner().invoke(main, ["demo", str(out), "--seed", "5"])
    assert other.exit_code == 2
    assert "another folder" in other.stderr
