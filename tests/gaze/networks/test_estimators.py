import numpy as np
import pytest
import torch

from refiner.data.labels.angles import angular_error_degrees
from refiner.gaze.networks.estimators import ESTIMATORS, GazeNetwork, LeNetEstimator, PaperEstimator, build_estimator
from refiner.gaze.networks.fit import fit_estimator, predict_gaze


def parameter_count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("size", "count"), [((35, 55), 9_816_659), ((36, 60), 10_776_659)])
def test_paper_estimator_has_the_paper_s_parameters(size: tuple, count: int) -> None:
    assert parameter_count(PaperEstimator(size, outputs=3)) == count


def test_paper_estimator_flattens_to_9600() -> None:
    assert PaperEstimator((35, 55)).trunk(torch.zeros(1, 1, 35, 55)).shape == (1, 192, 5, 10)


def test_lenet_has_the_parameters_of_mpiigaze_s() -> None:
    assert parameter_count(GazeNetwork("lenet", (36, 60), head_pose=True)) == 1_827_076
    assert parameter_count(LeNetEstimator((36, 60))) == 1_827_076 - 4  # two weights for each head angle


def test_resnet_has_eight_convolutions_and_no_batch_statistics() -> None:
    network = GazeNetwork("resnet", (36, 60))
    main = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d) and m.kernel_size != (1, 1)]
    assert len(main) + 1 == 8  # stem, three blocks of two, and the hidden layer
    assert not list(network.buffers())


@pytest.mark.parametrize("name", list(ESTIMATORS))
@pytest.mark.parametrize("size", [(35, 55), (36, 60), (40, 31)])
def test_estimators_take_non_square_patches(name: str, size: tuple) -> None:
    assert ESTIMATORS[name](size)(torch.zeros(3, 1, *size)).shape == (3, 2)


@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_an_image_does_not_feel_its_neighbours(name: str) -> None:
    network = GazeNetwork(name, (36, 60)).eval()
    images = torch.randn(4, 1, 36, 60)
    alone = torch.cat([network(image[None]) for image in images])
    assert torch.allclose(network(images), alone, atol=1e-5)


def test_head_pose_is_used_where_it_is_asked_for() -> None:
    network = GazeNetwork("small", (16, 24), head_pose=True)
    images, poses = torch.zeros(2, 1, 16, 24), torch.tensor([[0.0, 0.0], [0.5, -0.5]])
    first, second = network(images, poses)
    assert not torch.allclose(first, second)
    with pytest.raises(ValueError, match="conditioned on head pose"):
        network(images)


def test_yaw_alone_leaves_the_pitch_of_the_head_out() -> None:
    network = GazeNetwork("small", (16, 24), head_pose="yaw")
    assert network.last.in_features == GazeNetwork("small", (16, 24)).last.in_features + 1
    images, poses = torch.zeros(3, 1, 16, 24), torch.tensor([[0.0, 0.3], [torch.nan, 0.3], [0.0, -0.3]])
    level, unknown, turned = network(images, poses)
    # The rows of a batch may be rounded differently, by the processor's own kernels.
    assert torch.allclose(level, unknown, atol=1e-6)
    assert not torch.allclose(level, turned)
    with pytest.raises(ValueError, match="conditioned on head pose"):
        network(images)
    with pytest.raises(KeyError, match="roll"):
        GazeNetwork("small", (16, 24), head_pose="roll")


def test_standardised_images_forget_brightness_and_contrast() -> None:
    network = GazeNetwork("small", (16, 24), standardize=True)
    images = torch.rand(3, 1, 16, 24)
    assert torch.allclose(network(images), network(images * 0.3 - 0.6), atol=1e-5)
    assert network(torch.zeros(1, 1, 16, 24)).isfinite().all()


def test_built_from_its_description() -> None:
    built = build_estimator({"network": "resnet", "size": [16, 24], "head_pose": True, "standardize": False})
    assert isinstance(built, GazeNetwork)
    assert built.size == (16, 24)
    with pytest.raises(ValueError, match="no height and width"):
        build_estimator({"network": "resnet", "size": [0, 24]})


def test_a_pattern_that_shows_the_angle_is_learned_and_repeatable() -> None:
    gaze = np.random.default_rng(0).uniform(-0.4, 0.4, (300, 2))
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(24.0), indexing="ij")
    pitch, yaw = torch.tensor(gaze, dtype=torch.float32).T[:, :, None, None]
    images = -torch.exp(-((y - 8 + 12 * pitch) ** 2 + (x - 12 + 20 * yaw) ** 2) / 8)[:, None]
    estimators = [fit_estimator(images[:250], gaze[:250], steps=150, seed=1) for _ in range(2)]
    first, second = (predict_gaze(estimator, images[250:]) for estimator in estimators)
    assert np.array_equal(first, second)
    assert (
        angular_error_degrees(first, gaze[250:]).mean() < 3 < angular_error_degrees(gaze[250:] * 0, gaze[250:]).mean()
    )
