"""Both networks against the layer tables of arXiv:1612.07828 (counts and maps recomputed by hand)."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from refiner.models.architecture import RefinerArchitecture
from refiner.models.discriminators import DISCRIMINATORS, PatchDiscriminator
from refiner.models.refiner import RefinerNetwork

PAPER_GAZE = {}
PAPER_HAND = {"stem_kernel": 7, "blocks": 10}
HALF = {"features": 32, "unshuffle": 2, "output": "residual"}


def parameter_count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def receptive_field(network: nn.Module, size: tuple[int, int], at: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the input pixels that move one output value, found by gradients."""
    for module in network.modules():  # make every path count: positive weights, positive inputs
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 0.01)
            nn.init.constant_(module.bias, 0.01)
    with torch.no_grad():
        if isinstance(network, PatchDiscriminator):
            network.head.weight[0].fill_(-0.01)  # or the difference of the two channels would cancel
    touched = torch.zeros(size, dtype=torch.bool)  # far from the border, so that the padding does not matter
    for _ in range(12):  # max-pooling passes one gradient only
        images = torch.rand(1, network_channels(network), *size, requires_grad=True)
        network(images)[0, 0, at[0], at[1]].backward()
        touched |= images.grad[0].abs().sum(0) > 0
    rows, columns = touched.any(1).nonzero(), touched.any(0).nonzero()
    return int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1


def network_channels(network: nn.Module) -> int:
    return next(m for m in network.modules() if isinstance(m, nn.Conv2d)).in_channels


@pytest.mark.parametrize(
    ("channels", "arguments", "count"),
    [(1, PAPER_GAZE, 296_129), (3, PAPER_GAZE, 297_411), (1, PAPER_HAND, 741_825)],
)
def test_refiner_has_the_paper_s_parameters(channels: int, arguments: dict, count: int) -> None:
    assert parameter_count(RefinerNetwork(RefinerArchitecture(channels, **arguments))) == count


def test_receptive_fields_are_the_paper_s() -> None:
    assert receptive_field(RefinerNetwork(RefinerArchitecture(features=4)), (35, 55), (17, 27)) == (19, 19)
    assert receptive_field(PatchDiscriminator(), (63, 71), (8, 9)) == (23, 23)
    assert receptive_field(PatchDiscriminator(layers="hand", width=0.1), (224, 256), (3, 4)) == (71, 71)
    assert receptive_field(PatchDiscriminator(layers="dcgan", width=0.1), (64, 72), (4, 4)) == (22, 22)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 13), st.integers(1, 13), st.sampled_from([1, 3]), st.sampled_from([PAPER_GAZE, HALF]))
def test_refiner_keeps_any_size_and_range(height: int, width: int, channels: int, arguments: dict) -> None:
    network = RefinerNetwork(RefinerArchitecture(channels, **{**arguments, "features": 4, "blocks": 1}))
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=2.0)
    refined = network(torch.rand(2, channels, height, width) * 2 - 1)
    assert refined.shape == (2, channels, height, width)
    assert refined.abs().max() <= 1


@pytest.mark.parametrize("unshuffle", [1, 2])
def test_untrained_residual_refiner_is_the_identity(unshuffle: int) -> None:
    images = torch.rand(2, 1, 7, 11) * 2 - 1
    images[0, 0, 0, :2] = torch.tensor([-1.0, 1.0])
    assert torch.equal(
        RefinerNetwork(RefinerArchitecture(features=4, unshuffle=unshuffle, output="residual"))(images), images
    )


def test_residual_change_is_bounded() -> None:
    network = RefinerNetwork(RefinerArchitecture(features=4, output="residual", max_change=0.25))
    nn.init.normal_(network.head.weight, std=50.0)
    images = torch.rand(2, 1, 7, 11) - 0.5
    change = network(images) - images
    assert 0.2 < change.abs().max() <= 0.25 + 1e-6


def test_pixels_outside_the_receptive_field_do_not_matter() -> None:
    network = PatchDiscriminator(width=0.2)
    images = torch.rand(1, 1, 36, 60)
    changed = images.clone()
    changed[..., 12:, :] = torch.rand(1, 1, 24, 60)
    assert torch.equal(network(images)[..., 0, :], network(changed)[..., 0, :])
    assert not torch.equal(network(images), network(changed))


@pytest.mark.parametrize(
    "network", [RefinerNetwork(RefinerArchitecture(features=4)), *(D(width=0.1) for D in DISCRIMINATORS.values())]
)
def test_order_of_the_batch_is_kept(network: nn.Module) -> None:
    images = torch.rand(4, 1, 9, 14)
    order = torch.tensor([2, 0, 3, 1])
    assert torch.allclose(network(images)[order], network(images[order]), atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (7, 12), (36, 60)])
def test_a_smooth_change_is_no_checkerboard(size: tuple[int, int]) -> None:
    """What a head that knows nothing but a sign for each pixel would leave sums to nothing; a flat change stays."""
    refiner = RefinerNetwork(
        RefinerArchitecture(features=4, blocks=1, output="residual", max_change=0.5, smooth_change=True)
    )
    images = torch.zeros(2, 1, *size)
    assert torch.equal(refiner(images), images)
    signs = (torch.arange(size[0])[:, None] + torch.arange(size[1])) % 2 * 2.0 - 1
    refiner.head.register_forward_hook(lambda *_: signs.expand(2, 1, *size))
    inside = refiner(images)[..., 1:-1, 1:-1]
    assert torch.allclose(inside, torch.zeros_like(inside), atol=1e-6)
    refiner.head.register_forward_hook(lambda *_: torch.full((2, 1, *size), 100.0))
    assert torch.allclose(refiner(images), torch.full((2, 1, *size), 0.5))


@pytest.mark.parametrize("output", ["tanh", "residual"])
def test_background_is_kept_where_asked_for_and_nothing_else(output: str) -> None:
    torch.manual_seed(0)
    network = RefinerNetwork(RefinerArchitecture(features=4, blocks=1, output=output, keep_background=True))  # type: ignore[arg-type]
    nn.init.normal_(network.head.weight)
    images = torch.rand(2, 1, 9, 14) * 1.9 - 1
    images[:, :, :3] = 1.0
    refined = network(images)
    assert torch.equal(refined[:, :, :3], images[:, :, :3])
    assert (refined[:, :, 3:] != images[:, :, 3:]).float().mean() > 0.9
    network.architecture = replace(network.architecture, keep_background=False)
    assert torch.equal(network(images)[:, :, 3:], refined[:, :, 3:])
    assert not torch.equal(network(images)[:, :, :3], images[:, :, :3])


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (7, 12), (36, 60)])
@pytest.mark.parametrize("settings", [{}, {"stem_kernel": 7, "blocks": 2}, {"smooth_change": True}])
def test_a_flat_image_gets_no_frame(size: tuple[int, int], settings: dict) -> None:
    """What is equal everywhere stays so, up to the border; zeros instead leave a frame."""
    torch.manual_seed(0)
    levels = torch.tensor([-0.7, 0.2]).reshape(2, 1, 1, 1).expand(2, 1, *size)
    for padding in ("replicate", "zeros"):
        network = RefinerNetwork(RefinerArchitecture(features=4, output="residual", padding=padding, **settings))
        nn.init.normal_(network.head.weight)
        refined = network(levels)
        assert (refined - levels).abs().max() > 0.01
        is_flat = torch.allclose(refined, refined[..., :1, :1].expand_as(refined), atol=1e-5)
        assert is_flat == (padding == "replicate" or size == (1, 1))


@pytest.mark.parametrize("layers", ["gaze", "hand", "dcgan"])
def test_a_discriminator_decides_alike_on_every_patch_of_a_flat_image(layers: str) -> None:
    torch.manual_seed(0)
    for padding in ("replicate", "zeros"):
        logits = PatchDiscriminator(layers=layers, width=0.25, padding=padding)(torch.full((1, 1, 48, 80), 0.3))
        assert logits.shape[2] > 1
        assert torch.allclose(logits, logits[..., :1, :1], atol=1e-6) == (padding == "replicate")


@pytest.mark.parametrize("unshuffle", [1, 2, 3])
def test_the_border_is_refined_as_if_the_image_went_on(unshuffle: int) -> None:
    """An image that repeats its nearest pixel for a reach and more, refined and cut, is what replicate means.

    Only for the first convolution: the next ones repeat their features, not those of the longer image.
    """
    torch.manual_seed(0)
    network = RefinerNetwork(RefinerArchitecture(features=4, blocks=0, unshuffle=unshuffle))
    images = torch.rand(2, 1, 5 * unshuffle, 7 * unshuffle) * 2 - 1
    stem = network.encode(images)[0]
    folded = nn.functional.pixel_unshuffle(images, unshuffle)
    rows, columns = (torch.arange(-1, side + 1).clamp(0, side - 1) for side in folded.shape[2:])
    longer = folded[:, :, rows][..., columns]
    expected = nn.functional.conv2d(longer, network.stem.weight, network.stem.bias).relu()
    assert torch.allclose(stem, expected, atol=1e-6)


def test_the_default_network_is_the_paper_s_with_zeros() -> None:
    assert RefinerNetwork().architecture.padding == "zeros"
    assert {m.padding_mode for m in RefinerNetwork().modules() if isinstance(m, nn.Conv2d)} == {"zeros"}
