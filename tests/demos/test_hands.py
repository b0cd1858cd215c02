"""A tiny demo on hands resumes after an interruption, and its recipe equals the configuration file."""

from pathlib import Path

import pytest
import yaml

from refiner.core.errors import OutputError
from refiner.demos import hands as demo
from refiner.demos.hands import RECIPE, SEEDS, HandScale, hand_table, run_hand_demo
from refiner.images.io import read_image

SCALE = HandScale(synthetic=70, real=130, test_images=20, training_steps=2, estimator_steps=2)


def no_report(stage: str, done: int, total: int) -> None:
    pass


@pytest.mark.usefixtures("quick_judgement")
def test_it_runs_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "demo"

    def broken(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(demo, "refine_path", broken)
        with pytest.raises(KeyboardInterrupt):
            run_hand_demo(out, seed=0, device="cpu", report=no_report, scale=SCALE)
    made = (out / "synthetic" / "000007.png").stat().st_mtime_ns
    outcome = run_hand_demo(out, seed=0, device="cpu", report=no_report, scale=SCALE)
    assert (out / "synthetic" / "000007.png").stat().st_mtime_ns == made
    assert read_image(out / "refined" / "000007.png").dtype == "uint16"
    assert (out / "before_after.png").exists()
    assert outcome.verdict.startswith("do not use: The refiner changes nothing")  # two steps
    assert 0 <= outcome.raw.mean <= 1
    assert outcome.joints_noise > outcome.joints_distance
    assert len(hand_table(outcome, "")) == 8
    with pytest.raises(OutputError, match="other settings"):
        run_hand_demo(out, seed=1, device="cpu", report=no_report, scale=SCALE)


def test_recipe_is_the_configuration_s_but_for_its_length() -> None:
    file = yaml.safe_load((Path(__file__).parents[2] / "configs" / "hands.yaml").read_text())
    assert {name: file[name] for name in file if name != "steps"} == {**RECIPE, "self_regularization": "pixels"}
    assert len(SEEDS) >= 3
