"""Selection of renders whose gaze is distributed like that of real images."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from refiner.commands import main
from refiner.data.formats.registry import open_dataset
from refiner.data.labels.tables import read_labels, write_labels
from refiner.gaze.matching import draw_like
from refiner.gaze.networks.estimators import GazeNetwork
from refiner.gaze.networks.file import save_estimator


def test_what_is_drawn_is_spread_like_the_photographs() -> None:
    rng = np.random.default_rng(0)
    synthetic = rng.uniform(-0.6, 0.6, (8000, 3))
    real = rng.normal((0.1, -0.05, 0.0), (0.12, 0.15, 0.2), (1000, 3))
    drawn = synthetic[draw_like(synthetic, real, np.random.default_rng(1))]
    assert len(drawn) > 500
    assert np.abs(drawn.mean(axis=0) - real.mean(axis=0)).max() < 0.03
    # Kernels widen, and the share taken flattens: not as narrow as the photographs, but most of the way.
    wider = (drawn.std(axis=0) - real.std(axis=0)) / (synthetic.std(axis=0) - real.std(axis=0))
    assert (wider < 0.4).all()


def test_alike_already_most_are_taken_and_their_spread_stays() -> None:
    rng = np.random.default_rng(2)
    synthetic, real = rng.normal(0, 0.2, (4000, 2)), rng.normal(0, 0.2, (2000, 2))
    numbers = draw_like(synthetic, real, np.random.default_rng(3))
    assert len(numbers) > 2000
    assert synthetic[numbers].std(axis=0) == pytest.approx(synthetic.std(axis=0), rel=0.1)


def test_numbers_ascend_and_follow_from_the_generator() -> None:
    synthetic, real = np.random.default_rng(4).uniform(-1, 1, (2, 300, 2))
    first, second, other = (draw_like(synthetic, real, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert (np.diff(first) > 0).all()
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_photographs_that_look_where_no_render_does_leave_one_at_least() -> None:
    numbers = draw_like(np.zeros((50, 2)), np.full((10, 2), 1.5), np.random.default_rng(0))
    assert len(numbers) >= 1


# --- the command ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An estimator conditioned on the yaw of the head; untrained, its predictions are spread about a constant."""
    path = tmp_path_factory.mktemp("judge") / "e.safetensors"
    network = GazeNetwork("small", (16, 24), head_pose="yaw")
    architecture = {"network": "small", "size": [16, 24], "head_pose": "yaw", "standardize": False}
    save_estimator(
        path, network.state_dict(), architecture=architecture, equalize=False, mean_gaze=(0.0, 0.0), training={}
    )
    return path


def match(*arguments: str | Path) -> Any:
    result = CliRunner().invoke(main, ["gaze", "match", *map(str, arguments), "--device", "cpu", "--json"])
    return json.loads(result.stdout) if result.exit_code == 0 else result


@pytest.mark.parametrize("out", ["matched", "matched.h5"])
def test_renders_are_written_with_their_labels(judge: Path, gazes: Path, tmp_path: Path, out: str) -> None:
    found = match(judge, gazes, gazes, tmp_path / out)
    every, some = open_dataset(gazes), open_dataset(tmp_path / out)
    assert found["synthetic"] == found["real"] == len(every.ids)
    assert found["selected"] == len(some.ids)
    assert 0 < len(some.ids) < len(every.ids)
    for sample in some.ids:
        before, after = every.read(sample), some.read(sample)
        assert np.array_equal(before.image, after.image)
        np.testing.assert_allclose(after.labels["gaze"], before.labels["gaze"], atol=1e-6)
    assert match(judge, gazes, gazes, tmp_path / out)["selected"] == found["selected"]  # again: nothing is left to do


def test_labels_of_the_photographs_do_not_matter_but_those_of_renders_are_needed(
    judge: Path, gazes: Path, tmp_path: Path
) -> None:
    found = match(judge, gazes, gazes, tmp_path / "first")
    real = tmp_path / "real"
    shutil.copytree(gazes, real)
    labels = read_labels(real / "labels.csv")
    posed = {name: {"head_pose": row["head_pose"]} for name, row in labels.items()}
    write_labels(real / "labels.csv", posed)
    assert match(judge, gazes, real, tmp_path / "second")["selected"] == found["selected"]
    refused = match(judge, real, gazes, tmp_path / "third")
    assert refused.exit_code == 1
    assert "gaze" in refused.stderr
    (real / "labels.csv").unlink()
    refused = match(judge, gazes, real, tmp_path / "third")
    assert refused.exit_code == 1
    assert "has no head pose, which this estimator needs" in refused.stderr
    assert not (tmp_path / "third").exists()


def test_the_output_is_kept_apart_from_the_inputs(judge: Path, gazes: Path) -> None:
    refused = match(judge, gazes, gazes, gazes / "matched")
    assert refused.exit_code == 1
    assert "must not contain each other" in refused.stderr
