from pathlib import Path

import pytest
import torch

from refiner.runs.health import PATIENCE, Monitor, discriminator_metrics, refiner_metrics

HEALTHY = {
    "adversarial": 0.7,
    "discriminator_loss": 1.3,
    "accuracy_refined": 0.6,
    "accuracy_real": 0.6,
    "change": 0.08,
    "diversity": 0.9,
    "saturated": 0.0,
}


def warnings_after(intervals: int, **metrics: float) -> list[str]:
    monitor = Monitor()
    return [warning for _ in range(intervals) for warning in monitor.warnings({**HEALTHY, **metrics})]


def test_discriminator_figures_by_an_independent_formula() -> None:
    refined = torch.tensor([[[[1.0, -1.0, 2.0, 3.0]]]])
    real = torch.tensor([[[[1.0, -1.0, -2.0, 5.0]]]])
    metrics = discriminator_metrics(refined, real)
    assert float(metrics["accuracy_refined"]) == 0.75
    assert float(metrics["accuracy_real"]) == 0.5
    assert float(metrics["probability_real"]) == pytest.approx(float((1 / (1 + torch.exp(-real))).mean()))


def test_a_perfect_and_an_inverted_discriminator() -> None:
    yes, no = torch.full((2, 1, 3, 4), 2.0), torch.full((2, 1, 3, 4), -2.0)
    perfect, inverted = discriminator_metrics(yes, no), discriminator_metrics(no, yes)
    assert (float(perfect["accuracy_refined"]), float(perfect["accuracy_real"])) == (1, 1)
    assert (float(inverted["accuracy_refined"]), float(inverted["accuracy_real"])) == (0, 0)


def test_refiner_figures_by_hand() -> None:
    synthetic = torch.rand(6, 1, 5, 8) - 0.5
    collapsed = synthetic[:1].expand(6, 1, 5, 8) + 0.25
    metrics = refiner_metrics(synthetic, collapsed)
    assert float(metrics["diversity"]) == pytest.approx(0, abs=1e-6)
    same = refiner_metrics(synthetic, synthetic)
    assert (float(same["change"]), float(same["saturated"])) == (0, 0)
    assert float(same["diversity"]) == pytest.approx(1)
    assert float(refiner_metrics(synthetic, torch.ones_like(synthetic))["saturated"]) == 1


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        ({"accuracy_refined": 0.99, "accuracy_real": 0.99}, "the discriminator wins"),
        ({"discriminator_loss": 0.001}, "saturated"),
        ({"diversity": 0.1}, "collapse"),
        ({"change": 0.001}, "refined equals synthetic"),
        ({"saturated": 0.3}, "black or white"),
    ],
)
def test_each_symptom_is_named_once_it_lasts(metrics: dict, words: str) -> None:
    assert warnings_after(PATIENCE - 1, **metrics) == []
    found = warnings_after(PATIENCE + 3, **metrics)
    assert len(found) == 1
    assert words in found[0]
    assert "First remedy" in found[0]
    page, _, anchor = found[0].rpartition("(")[2].removesuffix(")").partition("#")
    assert f'<a id="{anchor}"></a>' in (Path(__file__).parents[2] / page).read_text(encoding="utf-8")


def test_health_and_pre_training_are_silent() -> None:
    assert warnings_after(50) == []
    assert Monitor().warnings({"self_regularization": 0.1, "change": 0.0}) == []


def test_a_symptom_that_goes_away_starts_over() -> None:
    monitor = Monitor()
    bad = {**HEALTHY, "diversity": 0.1}
    for means in [bad] * (PATIENCE - 1) + [HEALTHY] + [bad] * (PATIENCE - 1):
        assert monitor.warnings(means) == []


def test_an_objective_without_a_scale_is_never_saturated() -> None:
    """A critic's loss is below 0 when training is healthy."""
    healthy = {"adversarial": 0.1, "discriminator_loss": -0.8, "accuracy_refined": 0.6, "accuracy_real": 0.6}
    healthy |= {"diversity": 1.0, "change": 0.05, "saturated": 0.0}
    monitor = Monitor(0.0)
    assert [monitor.warnings(healthy) for _ in range(PATIENCE)] == [[]] * PATIENCE
