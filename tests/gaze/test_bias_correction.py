"""The offset of a bias correction: its size, what it reads, and what cannot be corrected."""

from pathlib import Path

import numpy as np
import pytest
import torch

from refiner.core.errors import DataError, OutputError
from refiner.data.labels.tables import read_labels, write_labels
from refiner.gaze.bias_correction import correct_bias
from refiner.gaze.config import GazeConfiguration
from refiner.gaze.networks.estimators import GazeNetwork, HeadPose
from refiner.gaze.networks.file import load_estimator, save_estimator
from refiner.gaze.prediction import GazeEstimator, predict_all
from refiner.gaze.training.train import train_estimator

MEAN = (-0.12, 0.3)


def save(path: Path, head_pose: HeadPose = False) -> Path:
    network = GazeNetwork("small", (16, 24), head_pose=head_pose)
    architecture = {"network": "small", "size": [16, 24], "head_pose": head_pose, "standardize": False}
    save_estimator(
        path, network.state_dict(), architecture=architecture, equalize=True, mean_gaze=MEAN, training={"step": 3}
    )
    return path


@pytest.mark.parametrize("head_pose", [False, True, "yaw"])
def test_the_mean_becomes_that_of_the_training_labels(head_pose: HeadPose, gazes: Path, tmp_path: Path) -> None:
    plain, out = save(tmp_path / "plain.safetensors", head_pose), tmp_path / "out.safetensors"
    correction = correct_bias(plain, gazes, out, device="cpu")
    before, after = (predict_all(GazeEstimator.load(path, device="cpu"), gazes).gaze for path in (plain, out))
    assert after.mean(axis=0) == pytest.approx(MEAN, abs=1e-6)
    assert after - before == pytest.approx(np.tile(correction.offset, (60, 1)), abs=1e-6)
    assert abs(correction.offset).max() > 0.01
    assert correction.real == 60
    training = load_estimator(out).metadata["training"]
    assert training == {"step": 3, "bias_correction": pytest.approx(list(correction.offset))}


def test_labels_of_the_photographs_do_not_matter(gazes: Path, tmp_path: Path) -> None:
    plain = save(tmp_path / "plain.safetensors")
    first = correct_bias(plain, gazes, tmp_path / "first.safetensors", device="cpu")
    labels = read_labels(gazes / "labels.csv")
    write_labels(gazes / "labels.csv", {name: {**row, "gaze": row["gaze"] + 1} for name, row in labels.items()})
    second = correct_bias(plain, gazes, tmp_path / "second.safetensors", device="cpu")
    (gazes / "labels.csv").unlink()
    third = correct_bias(plain, gazes, tmp_path / "third.safetensors", device="cpu")
    assert first.offset.tolist() == second.offset.tolist() == third.offset.tolist()


def test_offsets_add_up(gazes: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    once = correct_bias(save(tmp_path / "plain.safetensors"), gazes, first, device="cpu")
    again = correct_bias(first, gazes, second, device="cpu")
    assert again.offset == pytest.approx([0, 0], abs=1e-6)
    assert load_estimator(second).metadata["training"]["bias_correction"] == pytest.approx(list(once.offset), abs=1e-6)


def test_what_cannot_be_corrected_is_refused(tiny_gaze: GazeConfiguration, gazes: Path, tmp_path: Path) -> None:
    plain, out = save(tmp_path / "plain.safetensors"), tmp_path / "out.safetensors"
    before = plain.read_bytes()
    for place, words in (
        (gazes / "out.safetensors", "must not contain each other"),
        (plain, "must not contain each other"),
        (tmp_path / "out.pt", "end its name with .safetensors"),
    ):
        with pytest.raises(OutputError, match=words):
            correct_bias(plain, gazes, place, device="cpu")
    assert plain.read_bytes() == before
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        correct_bias(plain, gazes, tmp_path / "folder.safetensors", device="cpu")
    neighbours = tiny_gaze.model_copy(update={"network": "knn"})
    train_estimator(neighbours, tmp_path / "knn", device="cpu")
    with pytest.raises(DataError, match="has no last layer"):
        correct_bias(tmp_path / "knn", gazes, out, device="cpu")
    assert not out.exists()


def test_the_weights_stay(gazes: Path, tmp_path: Path) -> None:
    plain, out = save(tmp_path / "plain.safetensors"), tmp_path / "out.safetensors"
    correct_bias(plain, gazes, out, device="cpu")
    old, new = (load_estimator(path).network.state_dict() for path in (plain, out))
    changed = [name for name in old if not torch.equal(old[name], new[name])]
    assert changed == ["last.bias"]
