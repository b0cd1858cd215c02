import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from refiner.core.errors import DataError
from refiner.gaze.networks.estimators import GazeNetwork
from refiner.gaze.networks.file import FORMAT_VERSION, load_estimator, save_estimator, upgrade_metadata
from refiner.models.files.weights_file import read_weights, write_weights

DESIGN = {"network": "small", "size": [16, 24], "head_pose": False, "standardize": True}


def save(path: Path, network: GazeNetwork | None = None, **changes: object) -> Path:
    network = network or GazeNetwork("small", (16, 24), standardize=True)
    settings = {"architecture": DESIGN, "equalize": True, "mean_gaze": (0.1, -0.2), "training": {"step": 3}}
    save_estimator(path, network.state_dict(), **{**settings, **changes})
    return path


def test_round_trip(tmp_path: Path) -> None:
    network = GazeNetwork("small", (16, 24), standardize=True)
    loaded = load_estimator(save(tmp_path / "estimator.safetensors", network))
    images = torch.rand(2, 1, 16, 24)
    assert torch.equal(loaded.network(images), network(images))
    assert loaded.metadata["equalize"] is True
    assert loaded.metadata["mean_gaze"] == [0.1, -0.2]
    assert load_estimator(tmp_path).digest() == loaded.digest()  # the folder that holds it
    assert loaded.digest() != load_estimator(save(tmp_path / "other.safetensors")).digest()


@pytest.mark.parametrize("head_pose", [False, True, "yaw"])
def test_head_pose_round_trip(head_pose: bool | str, tmp_path: Path) -> None:
    network = GazeNetwork("small", (16, 24), head_pose=head_pose, standardize=True)
    loaded = load_estimator(save(tmp_path / "x.safetensors", network, architecture={**DESIGN, "head_pose": head_pose}))
    assert loaded.network.head_pose == loaded.metadata["architecture"]["head_pose"] == head_pose
    images, poses = torch.rand(2, 1, 16, 24), torch.rand(2, 2)
    assert torch.equal(loaded.network(images, poses), network(images, poses))


def test_equal_estimators_give_equal_files(tmp_path: Path) -> None:
    network = GazeNetwork("small", (16, 24), standardize=True)
    first, second = save(tmp_path / "a.safetensors", network), save(tmp_path / "b.safetensors", network)
    assert first.read_bytes() == second.read_bytes()


def test_a_file_of_version_1_keeps_its_bias_correction(tmp_path: Path) -> None:
    new = save(tmp_path / "new.safetensors", training={"step": 3, "bias_correction": [0.01, -0.02]})
    weights, metadata = read_weights(new, "estimator", format_version=FORMAT_VERSION)
    old = {**metadata, "format_version": 1, "training": {"step": 3, "centred_by": [0.01, -0.02]}}
    write_weights(tmp_path / "old.safetensors", "estimator", weights, old)
    loaded = load_estimator(tmp_path / "old.safetensors")
    assert loaded.metadata == load_estimator(new).metadata
    assert loaded.digest() == load_estimator(new).digest()
    images = torch.rand(2, 1, 16, 24)
    assert torch.equal(loaded.network(images), load_estimator(new).network(images))


def test_metadata_of_version_1_without_a_correction_gets_none() -> None:
    upgraded = upgrade_metadata({"format_version": 1, "training": {"step": 3}, "equalize": True})
    assert upgraded == {"format_version": FORMAT_VERSION, "training": {"step": 3}, "equalize": True}
    assert upgrade_metadata(upgraded) is upgraded


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architecture": {**DESIGN, "network": "vgg"}}, "metadata that cannot be used"),
        ({"architecture": {**DESIGN, "size": [32, 24]}}, "do not fit its architecture"),
        ({"architecture": {**DESIGN, "size": [100_000, 100_000]}}, "do not fit its architecture"),
        ({"architecture": {**DESIGN, "size": 5}}, "metadata that cannot be used"),
        ({"architecture": {**DESIGN, "colour": 1}}, "metadata that cannot be used"),
        ({"architecture": {**DESIGN, "head_pose": "yaw"}}, "do not fit its architecture"),
        ({"architecture": {**DESIGN, "head_pose": "roll"}}, "metadata that cannot be used"),
        ({"architecture": {**DESIGN, "head_pose": []}}, "metadata that cannot be used"),
        ({"mean_gaze": ("x", 0)}, "metadata that cannot be used"),
    ],
)
def test_a_file_that_does_not_fit_itself_is_refused(changes: dict, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        load_estimator(save(tmp_path / "x.safetensors", **changes))


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is an empty folder, not a gaze estimator"):
        load_estimator(tmp_path)
    file = tmp_path / "x.safetensors"
    file.write_bytes(b"no tensors")
    with pytest.raises(DataError, match="is damaged: its first bytes are not those of a weights file"):
        load_estimator(file)
    file.write_bytes(safetensors.torch.save({"a": torch.zeros(1)}))
    with pytest.raises(DataError, match="of another program, not an estimator file"):
        load_estimator(file)
    file.write_bytes(safetensors.torch.save({"a": torch.zeros(1)}, {"estimator": json.dumps({"format_version": 99})}))
    with pytest.raises(DataError, match="newer than"):
        load_estimator(file)
    network = GazeNetwork("small", (16, 24), standardize=True)
    with torch.no_grad():
        network.last.bias[0] = torch.nan
    with pytest.raises(DataError, match="not finite"):
        load_estimator(save(file, network))
