"""Label-free scores in training: what is better scores lower, and the best weights are what is kept."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from refiner.config.training import TrainingConfiguration
from refiner.core.errors import ConfigurationError
from refiner.eyes.rendering import render_eyes
from refiner.eyes.scene.parameters import EyeParameters
from refiner.eyes.target_camera import TargetCamera, target_parameters
from refiner.images.arrays import to_uint8
from refiner.inference.refiner import Refiner
from refiner.models.files.refiner_file import load_refiner
from refiner.training.selection import CheckpointSelector
from refiner.training.train import train


@pytest.fixture
def board() -> CheckpointSelector:
    camera = TargetCamera(3)
    synthetic = render_eyes(EyeParameters(images_per_person=1), range(128), seed=11).images
    people = render_eyes(target_parameters(), range(128), seed=12).images
    taken = [torch.from_numpy(camera(to_uint8(image), n)) for n, image in enumerate(people.numpy())]
    real = torch.stack(taken)[:, None].float() / 127.5 - 1
    return CheckpointSelector({"synthetic": synthetic, "real": real}, seed=0)


def test_what_is_better_scores_lower(board: CheckpointSelector) -> None:
    refined = Refiner.load("demo", device="cpu")(board.synthetic)
    images = {
        "good": refined,
        "moving": refined.roll(2, dims=2),
        "identity": board.synthetic,
        "pasting": board.real,
    }
    scores = {name: board.update(batch, {}, step=1)["score"] for name, batch in images.items()}
    assert scores["identity"] == pytest.approx(1, abs=0.01)
    assert scores["good"] < 0.7
    assert min(scores, key=scores.__getitem__) == "good"
    assert scores["pasting"] > scores["identity"] < scores["moving"]


def test_the_same_relative_shift_costs_the_same_at_any_size() -> None:
    costs = []
    for factor in (1, 2):
        eyes = render_eyes(
            EyeParameters(images_per_person=1), range(16), seed=11, size=(36 * factor, 60 * factor)
        ).images
        selector = CheckpointSelector({"synthetic": eyes, "real": eyes.flip(0)}, seed=0)
        costs.append(selector.update(eyes.roll(factor, dims=3), {}, step=1)["score_drift"])
    assert costs == pytest.approx([1, 1], abs=0.1)


def test_the_best_weights_are_kept_as_they_were(board: CheckpointSelector) -> None:
    good, weights = 0.5 * board.synthetic - 0.4, {"w": torch.tensor([1.0])}
    board.update(good, weights, step=10)
    weights["w"] += 1
    board.update(board.synthetic, weights, step=20)
    assert (board.step, board.weights["w"].item()) == (10, 1.0)
    again = CheckpointSelector({"synthetic": board.synthetic, "real": board.real}, seed=0)
    again.load_state_dict(board.state_dict())
    again.update(board.synthetic, weights, step=30)
    assert again.step == 10


def test_the_refiner_file_holds_the_best_and_metrics_the_scores(
    tiny: TrainingConfiguration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = iter([3.0, 1.0, 2.0, 5.0])
    monkeypatch.setattr("refiner.training.selection.sliced_wasserstein", lambda *_, **__: 1.0)
    monkeypatch.setattr("refiner.training.selection.score_drift", lambda *_: _Drift(next(told)))
    configuration = tiny.model_copy(update={"log_every": 2, "score_every": 2})
    train(configuration, tmp_path / "run", device="cpu")
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    scored = {row["step"]: row["score"] for row in rows if "score" in row}
    best = min(scored, key=scored.__getitem__)
    assert len(scored) > 1
    assert best != max(scored)
    assert load_refiner(tmp_path / "run").metadata["training"]["step"] == best


class _Drift:
    def __init__(self, score: float) -> None:
        self.scores = np.array([score])


def test_scores_come_with_log_lines(tiny: TrainingConfiguration) -> None:
    with pytest.raises((ConfigurationError, ValueError), match="score_every is 3, expected a multiple of log_every"):
        TrainingConfiguration.model_validate({**tiny.model_dump(), "log_every": 2, "score_every": 3})
