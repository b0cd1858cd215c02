"""What follows from an architecture, against the network itself."""

import pytest
import torch

from refiner.models.architecture import RefinerArchitecture
from refiner.models.refiner import RefinerNetwork


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize(("unshuffle", "blocks", "stem"), [(1, 4, 3), (1, 1, 7), (2, 1, 3), (2, 2, 5), (3, 1, 3)])
def test_the_receptive_field_is_that_of_the_network(unshuffle: int, blocks: int, stem: int, smooth: bool) -> None:
    """As wide as what the gradient of one output pixel, the widest of its cell, reaches."""
    settings = {"features": 6, "blocks": blocks, "stem_kernel": stem, "unshuffle": unshuffle}
    architecture = RefinerArchitecture(**settings, smooth_change=smooth, output="residual", max_change=0.1)
    side = architecture.receptive_field
    if (unshuffle, blocks, stem, smooth) == (1, 4, 3, False):
        assert side == 19
    network = RefinerNetwork(architecture)
    for parameter in network.parameters():  # no ReLU closes, no tanh saturates
        torch.nn.init.constant_(parameter, 0.01)
    width = 3 * side // unshuffle * unshuffle
    image = (torch.rand(1, 1, 8 * unshuffle, width) / 2).requires_grad_()
    reach = 0
    for offset in range(unshuffle):
        (gradient,) = torch.autograd.grad(network(image)[0, 0, 4, width // 2 + offset], image)
        columns = gradient[0, 0].abs().sum(dim=0).nonzero()
        reach = max(reach, int(columns.max() - columns.min()) + 1)
    assert reach == side


@pytest.mark.parametrize("unshuffle", [1, 2, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_are_those_of_the_weights(channels: int, unshuffle: int) -> None:
    architecture = RefinerArchitecture(channels, features=5, blocks=2, stem_kernel=7, kernel=5, unshuffle=unshuffle)
    weights = RefinerNetwork(architecture).state_dict()
    assert list(architecture.shapes()) == [(name, tuple(value.shape)) for name, value in weights.items()]


def test_multiplications_of_the_paper_s_refiner_and_of_a_trunk_at_half_resolution() -> None:
    assert 2 * RefinerArchitecture().multiplications(35 * 55) == pytest.approx(1.138e9, rel=0.01)
    trunk = 4 * 8 * 9 + 2 * 8 * 8 * 9 + 8 * 8 * 4  # stem of four folded pixels, a block, and out again
    found = RefinerArchitecture(features=8, blocks=1, unshuffle=2).multiplications(36 * 60)
    assert found == pytest.approx(
        trunk * 18 * 30 + (8 + 1) * 9 * 18 * 30, rel=0.05
    )  # biases and the head's four places


def test_settings_of_another_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="output is 'sine'; expected tanh or residual"):
        RefinerArchitecture(output="sine")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="features is '4'; expected a value like 64"):
        RefinerArchitecture(features="4")  # type: ignore[arg-type]
    assert RefinerArchitecture(max_change=1).max_change == 1
