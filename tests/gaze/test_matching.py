"""Selection of renders whose gaze is distributed like that of real images."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from refiner.commands import main
from refiner.core.errors import DataError
from refiner.data.formats.registry import open_dataset
from refiner.data.labels.tables import read_labels, write_labels
from refiner.gaze.matching import BANDWIDTH, draw_like, selection_probability
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


def tailed(seed: int, count: int, scale: float) -> Any:
    """Angles (count, 2) in radians, with tails so long that many of them have no neighbour."""
    return np.radians(scale) * np.random.default_rng(seed).standard_t(2, (count, 2))


def dense_density(angles: Any, at: Any) -> Any:
    """The kernel density of all angles, one pair at a time, without trees, cells or limits."""
    blocks = [np.square(block[:, None] - angles[None]).sum(-1) for block in np.array_split(at.astype("f4"), 100)]
    return np.concatenate([np.exp(-block / (2 * BANDWIDTH**2)).mean(1) for block in blocks])


def test_each_of_many_renders_with_tails_gets_the_probability_of_the_density_ratio() -> None:
    synthetic, real = tailed(0, 15_000, 8), tailed(1, 2_000, 5)
    found, some = selection_probability(synthetic, real), np.arange(0, 15_000, 6)
    ratio = dense_density(real.astype("f4"), synthetic[some]) / dense_density(synthetic.astype("f4"), synthetic[some])
    wanted = np.minimum(ratio / np.quantile(ratio, 0.9), 1)
    assert np.isfinite(found).all()
    assert np.abs(found[some] - wanted).mean() < 0.02
    assert np.abs(found[some] - wanted).max() < 0.15
    # The selection has the quartiles of the real angles; all renders have not.
    drawn = synthetic[draw_like(synthetic, real, np.random.default_rng(2))]
    assert len(drawn) > 3000
    quartiles = [np.quantile(np.abs(angles), 0.5) for angles in (real, drawn, synthetic)]
    assert abs(quartiles[1] - quartiles[0]) < 0.4 * (quartiles[2] - quartiles[0])


def test_cells_of_many_angles_agree_with_each_angle_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    synthetic, real = tailed(3, 3000, 8), tailed(4, 1000, 5)
    exact = selection_probability(synthetic, real)
    monkeypatch.setattr("refiner.gaze.matching._EXACT", 100)
    assert np.abs(selection_probability(synthetic, real) - exact).mean() < 0.02


def test_a_few_renders_near_the_real_angles_are_drawn_by_their_ratio_not_all() -> None:
    # Only 5 % of the renders are near real angles, too few for the quantile over all renders.
    rng = np.random.default_rng(5)
    near = rng.uniform(-0.3, 0.3, (500, 2))
    synthetic = np.concatenate([near, rng.uniform(0.9, 1.5, (9500, 2))])
    drawn = draw_like(synthetic, rng.normal(0, 0.1, (1000, 2)), rng)
    assert 100 < len(drawn) < 300
    assert drawn.max() < 500
    assert near[drawn].std() < 0.8 * near.std()


@pytest.mark.parametrize("near", [0, 5])
def test_implausibly_small_selections_are_refused(near: int) -> None:
    synthetic = np.concatenate([np.full((near, 2), 1.5), np.zeros((1000, 2))])
    with pytest.raises(DataError, match=rf"only {near} of {1000 + near} renders .* pitch \+0 to \+0, .* pitch \+86 to"):
        draw_like(synthetic, np.full((10, 2), 1.5), np.random.default_rng(0))


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
    assert refused.exit_code == 2
    assert "gaze" in refused.stderr
    (real / "labels.csv").unlink()
    refused = match(judge, gazes, real, tmp_path / "third")
    assert refused.exit_code == 1
    assert "has no head pose, which this estimator needs" in refused.stderr
    assert not (tmp_path / "third").exists()


def test_the_output_is_kept_apart_from_the_inputs(judge: Path, gazes: Path) -> None:
    refused = match(judge, gazes, gazes, gazes / "matched")
    assert refused.exit_code == 2
    assert "must not contain each other" in refused.stderr
