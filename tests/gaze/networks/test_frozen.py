"""The frozen estimator of refined images: its gradients, and the estimators that are refused."""

from pathlib import Path

import pytest
import torch

from refiner.config.training import TrainingConfiguration
from refiner.core.errors import DataError
from refiner.core.rng import torch_generator
from refiner.gaze.networks.estimators import GazeNetwork, HeadPose
from refiner.gaze.networks.file import load_estimator, save_estimator
from refiner.gaze.networks.frozen import FrozenEstimator, load_frozen_estimator
from refiner.losses.consistency import absolute_consistency_loss, centred_consistency_loss
from refiner.training.methods.simgan import SimGAN
from refiner.training.task_network import load_task

LOSSES = {"absolute": absolute_consistency_loss, "centred": centred_consistency_loss}
SIZE = (8, 12)


def save(path: Path, *, head_pose: HeadPose = False, size: tuple[int, int] = SIZE, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    network = GazeNetwork("small", size, head_pose=head_pose)
    architecture = {"network": "small", "size": list(size), "head_pose": head_pose, "standardize": False}
    save_estimator(
        path, network.state_dict(), architecture=architecture, equalize=False, mean_gaze=(0.0, 0.0), training={}
    )
    return path


@pytest.fixture
def estimator(tmp_path: Path) -> Path:
    return save(tmp_path / "estimator.safetensors")


def images(channels: int = 1, *, seed: int = 0) -> torch.Tensor:
    return torch.rand(6, channels, *SIZE, generator=torch_generator(seed, "images")) * 2 - 1


def test_the_loss_is_the_mean_change_of_the_answers() -> None:
    def task(batch: torch.Tensor) -> torch.Tensor:
        return torch.stack([batch.mean(dim=(1, 2, 3)), batch[:, 0, 0, 0]], dim=1)

    still, moved = torch.zeros(2, 1, 3, 4), torch.zeros(2, 1, 3, 4, requires_grad=True)
    with torch.no_grad():
        moved[1, 0, 0, 0] = 1.2
    loss = absolute_consistency_loss(moved, still, task)
    assert loss.item() == pytest.approx((0.1 + 1.2) / 4)  # answers 0, 0, 0.1 and 1.2
    loss.backward()
    assert moved.grad is not None
    assert moved.grad[1].abs().sum() > 0
    assert absolute_consistency_loss(still, still, task) == 0


def test_gradients_pass_and_weights_stay(estimator: Path) -> None:
    thawed = load_estimator(estimator)
    thawed.network.train().requires_grad_(True)
    task = FrozenEstimator(thawed)
    batch = images().requires_grad_()
    task(batch).sum().backward()
    assert batch.grad is not None
    assert batch.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in task.parameters())
    assert not task.network.training


def test_colour_is_seen_as_its_luma(estimator: Path) -> None:
    task = load_frozen_estimator(estimator, key="data.estimator", size=SIZE)
    grey = images()
    assert torch.allclose(task(grey.expand(-1, 3, -1, -1)), task(grey), atol=1e-6)
    green, blue = torch.zeros(1, 3, *SIZE), torch.zeros(1, 3, *SIZE)
    green[:, 1], blue[:, 2] = 1, 1
    assert torch.allclose(task(green), task(torch.full((1, 1, *SIZE), 0.587)), atol=1e-6)
    assert not torch.allclose(task(green), task(blue), atol=1e-4)


def test_features_are_the_last_map_that_the_estimator_looks_at(tiny: TrainingConfiguration, estimator: Path) -> None:
    task = load_frozen_estimator(estimator, key="data.estimator", size=SIZE)
    maps = task.features(images())
    assert torch.equal(task.network.last(task.network.hidden(maps)), task(images()))
    assert torch.allclose(task.features(images().expand(-1, 3, -1, -1)), maps, atol=1e-5)
    configuration = tiny.model_copy(update={"self_regularization": "features"})
    method = SimGAN(configuration, device="cpu", precision="fp32", task=task)
    with torch.no_grad():
        expected = (task.features(method.refiner(images())) - maps).abs().mean()
    metrics = method.update_refiner(images(), torch_generator(0, "draws"), adversarial=False)
    assert metrics["self_regularization"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_heavy_weight_keeps_the_answers(tiny: TrainingConfiguration, estimator: Path) -> None:
    """Against a discriminator that pulls, the answers move less with the term than without."""
    optimizer = tiny.refiner_optimizer.model_copy(update={"learning_rate": 0.005})
    changes = {"refiner_optimizer": optimizer, "self_regularization_weight": 0.0}
    shifts = []
    for weight in (0.0, 500.0):
        task = load_frozen_estimator(estimator, key="data.estimator", size=SIZE)
        configuration = tiny.model_copy(update={**changes, "consistency_weight": weight})
        method = SimGAN(configuration, device="cpu", precision="fp32", task=task)
        for step in range(40):
            metrics = method.update_refiner(images(seed=step % 3), torch_generator(0, "draws"))
        shifts.append(metrics["consistency"].item())
    assert shifts[1] < 0.5 * shifts[0]


def test_the_gradient_is_that_of_the_other_terms_plus_the_weighted_one(
    tiny: TrainingConfiguration, estimator: Path
) -> None:
    def gradient(weight: float) -> torch.Tensor:
        task = load_frozen_estimator(estimator, key="data.estimator", size=SIZE)
        method = SimGAN(
            tiny.model_copy(update={"consistency_weight": weight}), device="cpu", precision="fp32", task=task
        )
        method.update_refiner(images(), torch_generator(0, "draws"))
        return torch.cat([parameter.grad.flatten() for parameter in method.refiner.parameters()])

    without, one = gradient(0.0), gradient(1.0)
    assert not torch.allclose(one, without, atol=1e-6)
    assert torch.allclose(gradient(7.0), without + 7 * (one - without), atol=1e-5)


def test_the_answers_are_compared_in_fp32(tiny: TrainingConfiguration, estimator: Path) -> None:
    """In bf16 most small changes of an answer round to none, without a gradient."""
    task = load_frozen_estimator(estimator, key="data.estimator", size=SIZE)
    method = SimGAN(tiny, device="cpu", precision="bf16", task=task)
    with method.autocast(), torch.no_grad():
        refined = method.refiner(images())
    found = method.update_refiner(images(), torch_generator(0, "draws"))["consistency"]
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(absolute_consistency_loss(refined.float(), images(), task).item(), rel=1e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"head_pose": True}, r"data\.estimator: .* is conditioned on head pose"),
        ({"head_pose": "yaw"}, "head_pose: false"),
        ({"size": (16, 24)}, "expects images of 16x24, but the refiner is trained at 8x12"),
    ],
)
def test_estimators_that_cannot_judge_are_refused(changes: dict, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        load_frozen_estimator(save(tmp_path / "other.safetensors", **changes), key="data.estimator", size=SIZE)


def test_neighbours_and_missing_files_are_refused(tmp_path: Path) -> None:
    architecture = {"network": "knn", "size": list(SIZE), "neighbours": 1, "patch": [4, 6], "samples": 3}
    weights = {"features": torch.zeros(3, 24), "gaze": torch.zeros(3, 2)}
    path = tmp_path / "knn.safetensors"
    with pytest.raises(DataError, match=r"data\.estimator: .*knn\.safetensors"):
        load_frozen_estimator(path, key="data.estimator", size=SIZE)
    save_estimator(path, weights, architecture=architecture, equalize=False, mean_gaze=(0.0, 0.0), training={})
    with pytest.raises(DataError, match="nearest-neighbour estimator"):
        load_frozen_estimator(path, key="data.estimator", size=SIZE)


def test_several_estimators_answer_side_by_side(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{seed}.safetensors", seed=seed) for seed in (0, 1)]
    first, second = (load_frozen_estimator(path, key="data.estimator", size=SIZE) for path in paths)
    joint = load_task(paths, key="data.estimator", size=SIZE)
    assert torch.equal(joint(images()), torch.cat([first(images()), second(images())], dim=1))
    assert not torch.equal(first(images()), second(images()))
    swapped = load_task(paths[::-1], key="data.estimator", size=SIZE)
    assert len({joint.digest, swapped.digest, first.digest}) == 3
    assert load_task(paths[0], key="data.estimator", size=SIZE).digest == first.digest


def test_the_method_takes_the_loss_that_is_set(tiny: TrainingConfiguration, estimator: Path) -> None:
    def answer(name: str) -> float:
        task = load_frozen_estimator(estimator, key="data.estimator", size=SIZE)
        method = SimGAN(tiny.model_copy(update={"consistency": name}), device="cpu", precision="fp32", task=task)
        with torch.no_grad():
            refined = method.refiner(images())
        expected = LOSSES[name](refined, images(), task).item()
        found = method.update_refiner(images(), torch_generator(0, "draws"))["consistency"].item()
        assert found == pytest.approx(expected, rel=1e-5)
        return found

    assert answer("absolute") != pytest.approx(answer("centred"), rel=1e-2)
