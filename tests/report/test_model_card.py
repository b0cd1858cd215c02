"""The model card: everything that is known, nothing that is not, and no place of this machine."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from refiner.commands import main
from refiner.config.training import TrainingConfiguration
from refiner.data.conversion import Conversion
from refiner.data.convert import convert
from refiner.models.refiner_file import load_refiner
from refiner.report.model_card import model_card
from refiner.training.train import train

VERDICT: dict[str, Any] = {
    "command": "evaluate",
    "verdict": {"decision": "use with rejection", "reasons": ["The labels of 3.0% of the images may be wrong."]},
    "metrics": [
        {
            "name": "drift of the pupil",
            "unit": "px",
            "value": {"mean": 0.25, "low": 0.2, "high": 0.3},
            "reference": {"mean": 0.0, "low": 0.0, "high": 0.0},
            "baseline": None,
        },
        {
            "name": "SWD",
            "unit": "",
            "value": {"mean": 1.5, "low": None, "high": None},
            "reference": None,
            "baseline": None,
        },
    ],
    "notes": ["The intervals are over 20 clusters by day, for this person only."],
    "images": 1200,
}


@pytest.fixture
def run(tiny: TrainingConfiguration, real: Path, tmp_path: Path) -> Path:
    convert(real, tmp_path / "photos.h5", Conversion())
    data = tiny.data.model_copy(update={"real": tmp_path / "photos.h5"})
    train(tiny.model_copy(update={"data": data}), tmp_path / "run", device="cpu")
    return tmp_path / "run"


def test_a_run_s_card_knows_network_training_and_data(run: Path) -> None:
    card = model_card(run)
    front = yaml.safe_load(card.split("---")[1])
    assert front["library_name"] == "simgan-refiner"
    assert "| synthetic | synthetic | 20 | not stated |" in card
    assert "| real | photos.h5 | 17 | not stated |" in card
    assert load_refiner(run).digest() in card
    assert "- `batch_size`: 6" in card
    assert "- `label_smoothing`" not in card  # at its default
    assert "The weights are of step 11 of 11, the last weights, trained in fp32." in card
    assert "was not evaluated" in card
    assert str(run.parent) not in card


def test_a_verdict_is_shown_with_its_metrics(run: Path) -> None:
    card = model_card(run, verdict=VERDICT)
    assert "**use with rejection**" in card
    assert "- The labels of 3.0% of the images may be wrong." in card
    assert "| drift of the pupil, px | 0.25 [0.2, 0.3] | 0 [0, 0] |  |" in card
    assert "| SWD | 1.5 |  |  |" in card  # without bounds
    assert "\nThe intervals are over 20 clusters by day, for this person only.\n" in card
    assert "on 1,200 renders" in card
    assert "was not evaluated" not in card


def test_a_file_alone_does_not_know_its_data(run: Path) -> None:
    assert "made from a refiner file only" in model_card(run / "refiner.safetensors")


def test_data_that_are_gone_are_said_to_be(run: Path) -> None:
    (run.parent / "photos.h5").unlink()
    assert "| real | photos.h5 | no longer available | unknown |" in model_card(run)


def test_export_writes_the_file_and_its_card(run: Path, tmp_path: Path) -> None:
    judged = tmp_path / "verdict.json"
    judged.write_text(json.dumps(VERDICT))
    out = tmp_path / "shared" / "refiner.safetensors"
    arguments = ["export", str(run), str(out), "--card", "--verdict", str(judged)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert result.output.split() == [str(out), str(out.with_name("README.md"))]
    assert out.read_bytes() == (run / "refiner.safetensors").read_bytes()
    assert out.with_name("README.md").read_text() == model_card(run, verdict=VERDICT)
    again = CliRunner().invoke(main, [*arguments[:3], "--card"])
    assert again.exit_code == 2
    assert "already exists" in again.output
    assert CliRunner().invoke(main, [*arguments, "--overwrite"]).exit_code == 0
    out.unlink()
    refused = CliRunner().invoke(main, arguments)
    assert (refused.exit_code, out.exists()) == (2, False)  # the card is in the way: nothing is written


@pytest.mark.parametrize("text", ["", "[]", '{"command": "inspect"}', '{"command": "evaluate"}'])
def test_another_file_is_no_verdict(text: str, run: Path, tmp_path: Path) -> None:
    judged = tmp_path / "verdict.json"
    judged.write_text(text)
    out = tmp_path / "shared" / "refiner.safetensors"
    result = CliRunner().invoke(main, ["export", str(run), str(out), "--card", "--verdict", str(judged)])
    assert result.exit_code == 2
    assert "refiner evaluate --json > FILE" in result.output
    assert "Expecting" not in result.output
    assert not out.exists()


def test_a_verdict_without_a_card_is_wrong_use(run: Path, tmp_path: Path) -> None:
    judged = tmp_path / "verdict.json"
    judged.write_text(json.dumps(VERDICT))
    result = CliRunner().invoke(main, ["export", str(run), str(tmp_path / "r.onnx"), "--verdict", str(judged)])
    assert result.exit_code == 2
    assert "add --card" in result.output
