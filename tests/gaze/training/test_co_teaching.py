"""Co-teaching: the loss by an independent formula, and whole runs that are killed, resumed and compared."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from refiner.core.errors import DataError, RunError, WrongInputError
from refiner.data.labels.tables import read_labels, write_labels
from refiner.gaze.config import GazeConfiguration
from refiner.gaze.data import load_patches
from refiner.gaze.ensemble import GazeEnsemble
from refiner.gaze.networks.file import load_estimator, member_path, member_paths
from refiner.gaze.prediction import GazeEstimator
from refiner.gaze.training import co_teaching
from refiner.gaze.training.co_teaching import make_lesson, member_configuration, ramp, unlabelled_loss
from refiner.gaze.training.train import train_estimator
from refiner.models.files.refiner_file import save_refiner
from refiner.models.statistics.architecture import FourierArchitecture
from refiner.models.statistics.fourier import FourierRefiner
from refiner.runs.folder import CLOCK_COLUMNS

TOLERANCE = 3.0


def answers(members: int = 3, images: int = 7, *, degrees: float = 3.0) -> np.ndarray[Any, Any]:
    """Answers of teachers that differ by a bias each and by some degrees at random; (M, N, 2) in radians."""
    rng = np.random.default_rng(0)
    truth, bias = rng.uniform(-0.4, 0.4, (images, 2)), rng.normal(0, 0.1, (members, 1, 2))
    return np.asarray(truth + bias + np.radians(rng.normal(0, degrees / 2, (members, images, 2))))


def expected(predicted: np.ndarray[Any, Any], taught: np.ndarray[Any, Any]) -> tuple[float, list[float], list[float]]:
    """The loss, the weights and the spread in degrees, image by image."""
    members, images, _ = taught.shape
    spread = []
    for image in range(images):
        own = [taught[m, image] - taught[m].mean(axis=0) for m in range(members)]
        variances = [sum((value[axis] - np.mean(own, axis=0)[axis]) ** 2 for value in own) for axis in (0, 1)]
        spread.append(float(np.degrees(np.sqrt(sum(variances) / (members - 1)))))
    raw = [np.exp(-((value / TOLERANCE) ** 2)) for value in spread]
    weights = [float(value / sum(raw)) for value in raw]
    mean = taught.mean(axis=0)
    centre, target = (sum(w * row for w, row in zip(weights, rows, strict=True)) for rows in (predicted, mean))
    distances = [np.hypot(*((predicted[i] - centre) - (mean[i] - target))) for i in range(images)]
    loss = sum(w * (np.sqrt(d**2 + 1e-4) - 0.01) for w, d in zip(weights, distances, strict=True))
    return float(loss), weights, spread


def test_the_loss_and_the_weights_are_those_of_the_formula() -> None:
    taught = answers()
    predicted = taught[0] + np.random.default_rng(1).normal(0, 0.05, (7, 2))
    lesson = make_lesson(torch.from_numpy(taught), tolerance_degrees=TOLERANCE)
    loss, weights, spread = expected(predicted, taught)
    assert lesson.spread.numpy() == pytest.approx(spread)
    assert lesson.weights.numpy() == pytest.approx(weights)
    assert lesson.agreement.numpy() == pytest.approx(np.exp(-((np.array(spread) / TOLERANCE) ** 2)))
    assert unlabelled_loss(torch.from_numpy(predicted), lesson).item() == pytest.approx(loss)
    assert loss > 0.01


def test_a_constant_on_teachers_or_students_changes_nothing() -> None:
    taught = torch.from_numpy(answers())
    predicted = torch.from_numpy(np.random.default_rng(1).normal(0, 0.2, (7, 2))).requires_grad_()
    plain = unlabelled_loss(predicted, make_lesson(taught, tolerance_degrees=TOLERANCE))
    (slope,) = torch.autograd.grad(plain, predicted)
    assert slope.sum(dim=0).numpy() == pytest.approx(0, abs=1e-12)  # no constant is learned
    biases = torch.tensor([[[0.3, -0.2]], [[0.0, 0.5]], [[-0.1, 0.1]]], dtype=torch.float64)
    lesson = make_lesson(taught + biases, tolerance_degrees=TOLERANCE)
    moved = predicted + torch.tensor([0.4, -0.7])
    assert unlabelled_loss(moved, lesson).item() == pytest.approx(plain.item(), abs=1e-9)


def test_images_on_which_teachers_disagree_count_little_even_if_all_are() -> None:
    taught = torch.from_numpy(answers(degrees=0))
    agreed = make_lesson(taught, tolerance_degrees=TOLERANCE)
    assert agreed.weights.numpy() == pytest.approx(1 / 7)
    assert agreed.agreement.numpy() == pytest.approx(1)
    taught[0, 2] += 0.3
    weights = make_lesson(taught, tolerance_degrees=TOLERANCE).weights
    assert weights[2] < 0.01 * weights[0]
    # Weights of 1e-300 and less are still weights.
    lost = make_lesson(torch.from_numpy(answers(degrees=300)).float(), tolerance_degrees=0.1)
    assert lost.weights.sum().item() == pytest.approx(1)
    assert lost.agreement.max() == 0
    assert unlabelled_loss(torch.zeros(7, 2), lost).isfinite()


def test_the_weight_grows_over_a_tenth_of_the_steps_after_the_warm_up() -> None:
    found = [ramp(step, 100, 0.6) for step in (0, 59, 60, 61, 63, 64, 99)]
    assert found == pytest.approx([0, 0, 0.25, 0.5, 1, 1, 1])
    assert ramp(0, 10, 0.0) == 1


def test_members_differ_in_their_seed_alone(tiny_gaze: GazeConfiguration) -> None:
    configurations = [member_configuration(tiny_gaze, number) for number in (1, 2, 3)]
    assert configurations[0] == tiny_gaze
    assert len({configuration.seed for configuration in configurations}) == 3
    assert all(own.model_copy(update={"seed": tiny_gaze.seed}) == tiny_gaze for own in configurations)


# --- whole runs ------------------------------------------------------------------------------------------------


def changed(configuration: GazeConfiguration, **values: Any) -> GazeConfiguration:
    return GazeConfiguration.model_validate({**configuration.model_dump(), **values})


@pytest.fixture
def co_taught(tiny_gaze: GazeConfiguration, gazes: Path, other_gazes: Path) -> GazeConfiguration:
    data = {"train": [gazes], "unlabelled": [other_gazes], "held_out": 0.3}
    return changed(tiny_gaze, head_pose="yaw", data=data, co_teaching={"warm_up": 0.5, "batch_size": 5})


def rows(run: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in CLOCK_COLUMNS} for row in found]


def files(run: Path) -> list[bytes]:
    return [(run / name).read_bytes() for name in sorted(path.name for path in run.glob("estimator*"))]


class Killed(BaseException):
    """Stands for a kill between two steps: nothing catches it, nothing is saved."""


def test_a_run_killed_in_either_phase_and_resumed_equals_one_never_stopped(
    co_taught: GazeConfiguration, tmp_path: Path
) -> None:
    refiner = FourierRefiner(FourierArchitecture(1, 4, (16, 24), (0.05, 0.3)))
    refiner.fit(0, torch.from_numpy(np.random.default_rng(5).uniform(-1, 1, (4, 1, 16, 24))))
    save_refiner(tmp_path / "refiner.safetensors", refiner, training={})
    augmentation = {"strong": 1.0, "refiner": tmp_path / "refiner.safetensors", "refined_share": 0.5}
    transforms = [{"HorizontalFlip": {"p": 0.5}}]
    configuration = changed(co_taught, equalize=True, augmentation={**augmentation, "transforms": transforms})
    whole = tmp_path / "whole"
    train_estimator(configuration, whole, device="cpu")
    assert len(set(files(whole))) == 3
    for at in (2, 8):
        broken = tmp_path / f"broken{at}"

        def kill(step: int, steps: int, means: dict[str, float], at: int = at) -> None:
            if step == at:
                raise Killed

        with pytest.raises(Killed):
            train_estimator(configuration, broken, device="cpu", report=kill)
        torch.rand(5)
        train_estimator(configuration, broken, device="cpu")
        assert files(broken) == files(whole)
        assert rows(broken) == rows(whole)


def test_gaze_of_the_unlabelled_images_is_not_used_and_their_head_pose_is(
    co_taught: GazeConfiguration, other_gazes: Path, tmp_path: Path
) -> None:
    train_estimator(co_taught, tmp_path / "with", device="cpu")
    labels = read_labels(other_gazes / "labels.csv")
    write_labels(other_gazes / "labels.csv", {name: {"head_pose": row["head_pose"]} for name, row in labels.items()})
    train_estimator(co_taught, tmp_path / "without", device="cpu")
    assert files(tmp_path / "with") == files(tmp_path / "without")
    # Other head poses are other data, and one that is missing is named.
    turned = {name: {"head_pose": row["head_pose"] + 0.1} for name, row in labels.items()}
    write_labels(other_gazes / "labels.csv", turned)
    with pytest.raises(RunError, match="was started with other unlabelled images"):
        train_estimator(changed(co_taught, steps=12), tmp_path / "with", device="cpu")
    write_labels(other_gazes / "labels.csv", {name: row for name, row in turned.items() if name != "003.png"})
    with pytest.raises(WrongInputError, match=r"data\.unlabelled: 1 images of .* have no head pose, .* is yaw"):
        train_estimator(co_taught, tmp_path / "poseless", device="cpu")
    assert not (tmp_path / "poseless").exists()


def test_a_co_taught_run_explains_itself(co_taught: GazeConfiguration, other_gazes: Path, tmp_path: Path) -> None:
    (other_gazes / "007.png").write_text("no image", encoding="utf-8")
    run = tmp_path / "run"
    assert train_estimator(co_taught, run, device="cpu") == run / "estimator.safetensors"
    names = ["estimator.safetensors", "estimator_2.safetensors", "estimator_3.safetensors"]
    assert [path.name for path in member_paths(run)] == names
    for number, path in enumerate(member_paths(run), 1):
        summary = load_estimator(path).metadata["training"]
        assert summary["co_taught"] == {"member": number, "members": 3, "unlabelled_images": 39}
        assert summary["step"] == summary["steps"] == 10  # the last weights, whatever the held-out renders say
        assert summary["configuration"]["co_teaching"]["warm_up"] == 0.5
        assert str(tmp_path) not in json.dumps(summary)
    assert "007.png" in (run / "rejected.csv").read_text()
    # The log has the unlabelled images from the end of the warm-up, after step 5.
    taught = {"unlabelled_loss", "agreement", "spread_degrees"}
    assert [row["step"] for row in rows(run) if taught <= row.keys()] == [6, 8, 9, 10]
    assert all(taught.isdisjoint(row) for row in rows(run) if row["step"] <= 5)
    assert all(0 <= row["agreement"] <= 1 for row in rows(run) if "agreement" in row)


def test_the_ensemble_of_a_run_is_the_mean_of_its_estimators(
    co_taught: GazeConfiguration, other_gazes: Path, tmp_path: Path
) -> None:
    train_estimator(co_taught, tmp_path / "run", device="cpu")
    patches = load_patches([other_gazes], size=(16, 24), equalize=False, head_pose=True, key="test")
    single = [GazeEstimator.load(path, device="cpu").predict(patches) for path in member_paths(tmp_path / "run")]
    together = GazeEnsemble.load([tmp_path / "run"], device="cpu")
    assert len(together.members) == len(single) == 3
    assert together.predict_patches(patches.images, patches.head_pose) == pytest.approx(np.mean(single, axis=0))
    assert GazeEstimator.load(tmp_path / "run", device="cpu").predict(patches) == pytest.approx(single[0])
    member_path(tmp_path / "run", 2).unlink()
    with pytest.raises(DataError, match=r"estimator_2\.safetensors"):
        GazeEnsemble.load([tmp_path / "run"], device="cpu")


def test_the_first_member_is_the_estimator_without_co_teaching_until_the_warm_up_ends(
    co_taught: GazeConfiguration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = {"held_out": 0, "train": co_taught.data.train}
    plain = load_estimator(train_estimator(changed(co_taught, data=alone), tmp_path / "plain", device="cpu"))
    assert "co_taught" not in plain.metadata["training"]
    assert "co_teaching" not in plain.metadata["training"]["configuration"]
    assert not list((tmp_path / "plain").glob("estimator_*"))
    with_others = changed(co_taught, data={**alone, "unlabelled": co_taught.data.unlabelled})
    monkeypatch.setattr(co_teaching, "ramp", lambda *_: 0.0)  # a warm-up to the end
    first = load_estimator(train_estimator(with_others, tmp_path / "first", device="cpu"))
    assert first.digest() == plain.digest()


def test_members_agree_more_after_co_teaching(co_taught: GazeConfiguration, other_gazes: Path, tmp_path: Path) -> None:
    settings = {"steps": 120, "batch_size": 16, "log_every": 15, "ema_decay": 0.8, "augmentation": {"strong": 0.3}}
    few = {**settings, "evaluate_every": 120, "checkpoint_every": 120}
    patches = load_patches([other_gazes], size=(16, 24), equalize=False, head_pose=True, key="test")
    after = {}
    for weight in (0.0, 1.0):
        section = {"weight": weight, "warm_up": 0.5, "batch_size": 20}
        run = tmp_path / str(weight)
        train_estimator(changed(co_taught, **few, co_teaching=section), run, device="cpu")
        predicted = np.stack([GazeEstimator.load(path, device="cpu").predict(patches) for path in member_paths(run)])
        centred = predicted - predicted.mean(axis=1, keepdims=True)
        after[weight] = float(np.degrees(np.linalg.norm(centred.std(axis=0, ddof=1), axis=1)).mean())
    before = next(row["spread_degrees"] for row in rows(tmp_path / "1.0") if "spread_degrees" in row)
    assert after[1.0] < 0.8 * before
    assert after[1.0] < 0.85 * after[0.0]


def test_a_new_run_deletes_the_estimators_of_the_old_one(
    co_taught: GazeConfiguration, tiny_gaze: GazeConfiguration, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    train_estimator(co_taught, run, device="cpu")
    (run / "estimator_corrected.safetensors").write_bytes(b"mine")
    train_estimator(tiny_gaze, run, device="cpu", new=True)
    assert {path.name for path in run.glob("estimator*")} == {
        "estimator.safetensors",
        "estimator_corrected.safetensors",
    }
    assert member_paths(run) == [run]


def test_one_image_cannot_be_compared(co_taught: GazeConfiguration, other_gazes: Path, tmp_path: Path) -> None:
    for image in sorted(other_gazes.glob("*.png"))[1:]:
        image.unlink()
    with pytest.raises(WrongInputError, match=r"data\.unlabelled has one image"):
        train_estimator(co_taught, tmp_path / "run", device="cpu")
