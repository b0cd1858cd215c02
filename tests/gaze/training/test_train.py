"""The loop as a whole: killed and resumed equals uninterrupted, what is learned, what is refused."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from refiner.core.errors import ConfigurationError, DataError, DeviceError, RunError, TrainingError
from refiner.data.labels.angles import angular_error_degrees
from refiner.data.labels.tables import read_labels, write_labels
from refiner.gaze.config import GazeConfiguration
from refiner.gaze.data import load_patches
from refiner.gaze.networks.file import load_estimator
from refiner.gaze.prediction import GazeEstimator
from refiner.gaze.training import job
from refiner.gaze.training.train import train_estimator
from refiner.runs.checkpoints import list_checkpoints
from refiner.runs.folder import CLOCK_COLUMNS


def changed(configuration: GazeConfiguration, **values: Any) -> GazeConfiguration:
    return GazeConfiguration.model_validate({**configuration.model_dump(), **values})


def metrics(run: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in CLOCK_COLUMNS} for row in rows]


def assert_same_run(first: Path, second: Path) -> None:
    assert (first / "estimator.safetensors").read_bytes() == (second / "estimator.safetensors").read_bytes()
    assert metrics(first) == metrics(second)


class Killed(BaseException):
    """Stands for a kill between two steps: nothing catches it, nothing is saved."""


@pytest.mark.parametrize(
    ("values", "kills"),
    [
        ({}, (1, 3, 4, 8, 9)),
        ({"head_pose": True, "standardize": True, "network": "resnet", "loss": "smooth_l1"}, (4,)),
        ({"head_pose": "yaw", "augmentation": {"transforms": [{"HorizontalFlip": {"p": 0.5}}]}}, (4,)),
        ({"patience": 2, "ema_decay": 0.0}, (5,)),
        ({"data": {"held_out": 0.0}, "augmentation": {"transforms": [{"HorizontalFlip": {"p": 0.5}}]}}, (2,)),
    ],
)
def test_killed_after_any_step_and_resumed_equals_uninterrupted(
    values: dict, kills: tuple, tiny_gaze: GazeConfiguration, tmp_path: Path
) -> None:
    if "data" in values:
        values = {**values, "data": {**tiny_gaze.data.model_dump(), **values["data"]}}
    configuration = changed(tiny_gaze, **values)
    whole = tmp_path / "whole"
    train_estimator(configuration, whole, device="cpu")
    for at in kills:
        broken = tmp_path / f"broken{at}"

        def kill(step: int, steps: int, means: dict[str, float], at: int = at) -> None:
            if step == at:
                raise Killed

        try:
            train_estimator(configuration, broken, device="cpu", report=kill)
        except Killed:
            torch.rand(5)  # the world goes on: the resumed run must not depend on it
            train_estimator(configuration, broken, device="cpu")
        assert_same_run(whole, broken)


def test_sigterm_finishes_the_step_saves_and_says_so(tiny_gaze: GazeConfiguration, tmp_path: Path) -> None:
    def stop(step: int, steps: int, means: dict[str, float]) -> None:
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(RunError, match=r"stopped at step 5 of 10; the same command resumes"):
        train_estimator(tiny_gaze, tmp_path / "broken", device="cpu", report=stop)
    train_estimator(tiny_gaze, tmp_path / "broken", device="cpu")
    train_estimator(tiny_gaze, tmp_path / "whole", device="cpu")
    assert_same_run(tmp_path / "whole", tmp_path / "broken")


def test_it_learns_and_permuted_labels_teach_only_their_mean(
    tiny_gaze: GazeConfiguration, gazes: Path, other_gazes: Path, tmp_path: Path
) -> None:
    few = {"steps": 150, "batch_size": 32, "ema_decay": 0.9, "evaluate_every": 20, "augmentation": {}}
    configuration = changed(tiny_gaze, **few)
    test = load_patches([other_gazes], size=(16, 24), equalize=False, head_pose=False, key="test")

    def error(run: Path) -> float:
        predicted = GazeEstimator.load(train_estimator(configuration, run, device="cpu"), device="cpu").predict(test)
        return float(angular_error_degrees(predicted, test.gaze).mean())

    labels = read_labels(gazes / "labels.csv")
    mean = np.mean([row["gaze"] for row in labels.values()], axis=0)
    constant = float(angular_error_degrees(np.broadcast_to(mean, test.gaze.shape), test.gaze).mean())
    assert error(tmp_path / "run") < 0.5 * constant
    order = np.random.default_rng(0).permutation(60)
    rows = list(labels.values())
    permuted = {name: {**row, "gaze": rows[i]["gaze"]} for (name, row), i in zip(labels.items(), order)}
    write_labels(gazes / "labels.csv", permuted)
    assert error(tmp_path / "permuted") == pytest.approx(constant, rel=0.2)


def test_best_weights_are_those_of_the_lowest_held_out_error(tiny_gaze: GazeConfiguration, tmp_path: Path) -> None:
    file = train_estimator(changed(tiny_gaze, optimizer={"learning_rate": 0.03}), tmp_path / "run", device="cpu")
    errors = {row["step"]: row["held_out_degrees"] for row in metrics(tmp_path / "run") if "held_out_degrees" in row}
    assert list(errors) == [2, 4, 6, 8, 10]
    summary = load_estimator(file).metadata["training"]
    assert summary["step"] == min(errors, key=errors.__getitem__)
    assert summary["held_out_by"] == "subjects"
    assert summary["held_out_degrees"] == pytest.approx(min(errors.values()), rel=1e-5)


def test_patience_stops_early(tiny_gaze: GazeConfiguration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = iter([3.0, 2.0, 2.5, 2.4])
    monkeypatch.setattr(job, "held_out_error", lambda *_: next(errors))
    file = train_estimator(changed(tiny_gaze, patience=2, steps=100), tmp_path / "run", device="cpu")
    assert load_estimator(file).metadata["training"]["steps"] == 8
    assert load_estimator(file).metadata["training"]["step"] == 4


def test_a_run_explains_itself(tiny_gaze: GazeConfiguration, gazes: Path, tmp_path: Path) -> None:
    (gazes / "007.png").write_text("no image", encoding="utf-8")
    run = tmp_path / "run"
    metadata = load_estimator(train_estimator(tiny_gaze, run, device="cpu")).metadata
    assert [path.name for path in list_checkpoints(run / "checkpoints")] == ["step-00000009.pt", "step-00000010.pt"]
    assert "007.png" in (run / "rejected.csv").read_text()
    assert list(run.glob("events.out.tfevents.*"))
    assert json.loads((run / "environment.json").read_text())["precision"] == "fp32"
    assert metadata["training"]["images"] < 59
    assert metadata["training"]["configuration"]["network"] == "small"
    assert str(tmp_path) not in json.dumps(metadata)  # equal runs in other places give equal files


def test_the_yaw_of_the_head_is_learned_from_and_its_pitch_is_not(
    tiny_gaze: GazeConfiguration, gazes: Path, tmp_path: Path
) -> None:
    def weights(name: str, pitch: float, yaw: float) -> list[torch.Tensor]:
        labels = read_labels(gazes / "labels.csv")
        moved = {sample: {**row, "head_pose": row["head_pose"] + [pitch, yaw]} for sample, row in labels.items()}
        write_labels(gazes / "labels.csv", moved)
        file = load_estimator(train_estimator(changed(tiny_gaze, head_pose="yaw"), tmp_path / name, device="cpu"))
        assert file.metadata["training"]["configuration"]["head_pose"] == "yaw"
        return list(file.network.state_dict().values())

    first, pitched, turned = weights("first", 0, 0), weights("pitched", 0.3, 0), weights("turned", 0, 0.3)
    assert all(torch.equal(a, b) for a, b in zip(first, pitched))
    assert not all(torch.equal(a, b) for a, b in zip(first, turned))
    labels = read_labels(gazes / "labels.csv")
    del labels["005.png"]["head_pose"]
    write_labels(gazes / "labels.csv", labels)
    with pytest.raises(DataError, match=r"1 images of .* have no head pose; add the columns"):
        train_estimator(changed(tiny_gaze, head_pose="yaw"), tmp_path / "poseless", device="cpu")


def test_nearest_neighbours_take_the_same_road(tiny_gaze: GazeConfiguration, other_gazes: Path, tmp_path: Path) -> None:
    configuration = changed(tiny_gaze, network="knn", neighbours={"count": 3, "size": [8, 12]})
    file = train_estimator(configuration, tmp_path / "run", device="cpu")
    assert file.read_bytes() == train_estimator(configuration, tmp_path / "run", device="cpu").read_bytes()
    test = load_patches([other_gazes], size=(16, 24), equalize=False, head_pose=False, key="test")
    assert angular_error_degrees(GazeEstimator.load(file).predict(test), test.gaze).mean() < 10


def test_precision_is_read_back(tiny_gaze: GazeConfiguration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(step: int, steps: int, means: dict[str, float]) -> None:
        raise Killed

    automatic = changed(tiny_gaze, precision="auto")
    monkeypatch.setattr(job, "choose_precision", lambda *_: "bf16")
    with pytest.raises(Killed):
        train_estimator(automatic, tmp_path / "run", device="cpu", report=kill)
    monkeypatch.setattr(job, "choose_precision", lambda *_: pytest.fail("tried again"))
    file = train_estimator(automatic, tmp_path / "run", device="cpu")
    assert load_estimator(file).metadata["training"]["precision"] == "bf16"


def test_other_settings_data_and_kinds_of_run_are_refused(
    tiny_gaze: GazeConfiguration, gazes: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    train_estimator(tiny_gaze, run, device="cpu")
    with pytest.raises(RunError, match="batch_size: 6 -> 7"):
        train_estimator(changed(tiny_gaze, batch_size=7), run, device="cpu")
    train_estimator(changed(tiny_gaze, batch_size=7), run, device="cpu", new=True)
    (gazes / "000.png").unlink()
    with pytest.raises(RunError, match=r"was started with other training images"):
        train_estimator(changed(tiny_gaze, batch_size=7), run, device="cpu")
    (run / "config.yaml").write_text("history_size: 3\n")
    with pytest.raises(RunError, match=r"settings cannot be read here .*history_size is no setting"):
        train_estimator(tiny_gaze, run, device="cpu")
    absent = changed(tiny_gaze, data={"train": tmp_path / "absent"})
    with pytest.raises(DataError, match="absent"):
        train_estimator(absent, tmp_path / "other", device="cpu")
    assert not (tmp_path / "other").exists()


def test_a_loss_that_is_not_finite_stops_the_run(tiny_gaze: GazeConfiguration, tmp_path: Path) -> None:
    wild = changed(
        tiny_gaze,
        optimizer={"learning_rate": 1e30},
        loss="smooth_l1",
        ema_decay=0,
        data={**tiny_gaze.data.model_dump(), "held_out": 0},
    )
    with pytest.raises(TrainingError, match=r"step \d+: the loss is not finite"):
        train_estimator(wild, tmp_path / "run", device="cpu")


def test_a_transform_that_labels_cannot_follow_is_refused(tiny_gaze: GazeConfiguration, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"augmentation.transforms\[0\].*upside down"):
        train_estimator(changed(tiny_gaze, augmentation={"transforms": ["VerticalFlip"]}), tmp_path / "run")


def test_a_run_stays_on_its_device(
    tiny_gaze: GazeConfiguration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On the CPU when a card appears; and on the card, or nowhere, when it has gone."""
    caplog.set_level("INFO", "refiner")
    run, more = tmp_path / "run", tiny_gaze.model_copy(update={"steps": tiny_gaze.steps + 2})
    train_estimator(tiny_gaze, run, device="auto")
    monkeypatch.setattr("refiner.core.devices._has_gpu", lambda: True)
    train_estimator(more, run, device="auto")
    assert sum("was started on the cpu and stays there" in message for message in caplog.messages) == 1
    record = json.loads((run / "environment.json").read_text())
    (run / "environment.json").write_text(json.dumps({**record, "device": "cuda"}))
    monkeypatch.setattr("refiner.core.devices._has_gpu", lambda: False)
    with pytest.raises(DeviceError, match="was started on cuda, but no CUDA device is usable here"):
        train_estimator(more.model_copy(update={"steps": more.steps + 1}), run, device="auto")
