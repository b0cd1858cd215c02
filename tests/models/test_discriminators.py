"""The discriminators: sizes, maps, logits, norms."""

import pytest
import torch
from torch import Tensor, nn

from refiner.models.discriminators import DISCRIMINATORS, DomainNorm, GlobalDiscriminator, PatchDiscriminator


def parameter_count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("layers", "count"), [("gaze", 75_906), ("hand", 178_050), ("dcgan", 657_346)])
def test_discriminator_has_the_paper_s_parameters(layers: str, count: int) -> None:
    assert parameter_count(PatchDiscriminator(layers=layers)) == count


@pytest.mark.parametrize(
    ("layers", "size", "patches"),
    [
        ("gaze", (35, 55), (9, 14)),
        ("gaze", (36, 60), (9, 15)),
        ("hand", (224, 224), (7, 7)),
        ("hand", (96, 160), (3, 5)),
        ("dcgan", (35, 55), (4, 6)),
        ("dcgan", (8, 12), (1, 1)),
    ],
)
def test_discriminator_decides_on_the_paper_s_map(layers: str, size: tuple, patches: tuple) -> None:
    assert PatchDiscriminator(layers=layers)(torch.zeros(2, 1, *size)).shape == (2, 1, *patches)


def test_dcgan_has_leaky_units_no_pooling_and_small_first_weights() -> None:
    torch.manual_seed(0)
    trunk = PatchDiscriminator(layers="dcgan").trunk
    assert [type(module) for module in trunk] == [nn.Conv2d, nn.LeakyReLU] * 3
    assert all(module.negative_slope == 0.2 for module in trunk if isinstance(module, nn.LeakyReLU))
    assert trunk[4].weight.std().item() == pytest.approx(0.02, rel=0.02)


def test_untrained_logits_take_both_signs() -> None:
    torch.manual_seed(0)
    logits = torch.cat([PatchDiscriminator()(torch.rand(4, 1, 35, 55) * 2 - 1) for _ in range(8)])
    assert (logits > 0).any()
    assert (logits < 0).any()


def test_logit_is_refined_minus_real() -> None:
    network = PatchDiscriminator(width=0.1)
    nn.init.zeros_(network.head.weight)
    with torch.no_grad():
        network.head.bias.copy_(torch.tensor([0.25, 2.0]))  # channel 0 says real, channel 1 refined
    assert torch.allclose(network(torch.rand(1, 1, 12, 20)), torch.tensor(1.75))


def test_discriminator_is_not_linear() -> None:
    network = PatchDiscriminator(width=0.2)
    network.trunk = nn.Sequential(*(m for m in network.trunk if not isinstance(m, nn.MaxPool2d)))
    a, b = torch.randn(2, 1, 1, 20, 28)

    def corrected(images: Tensor) -> Tensor:
        return network(images) - network(torch.zeros_like(images))

    assert not torch.allclose(corrected(a + b), corrected(a) + corrected(b), atol=1e-4)


@pytest.mark.parametrize(("layers", "count"), [("gaze", 85_154), ("hand", 187_298)])
def test_global_discriminator_is_about_as_large_as_the_local_one(layers: str, count: int) -> None:
    """The trunk of 75,840 or 177,984 parameters, 9 x 32 x 32 + 32 of the regions, 32 x 2 + 2 of the head."""
    assert parameter_count(GlobalDiscriminator(layers=layers)) == count
    assert count < 1.13 * parameter_count(PatchDiscriminator(layers=layers))


@pytest.mark.parametrize("size", [(35, 55), (36, 60), (8, 12), (72, 120), (1, 1)])
def test_global_discriminator_decides_once_at_any_size(size: tuple[int, int]) -> None:
    assert GlobalDiscriminator(3, width=0.1)(torch.zeros(2, 3, *size)).shape == (2, 1, 1, 1)


def test_global_logit_is_refined_minus_real() -> None:
    network = GlobalDiscriminator(width=0.1)
    nn.init.zeros_(network.head.weight)
    with torch.no_grad():
        network.head.bias.copy_(torch.tensor([0.25, 2.0]))
    assert torch.allclose(network(torch.rand(1, 1, 12, 20)), torch.tensor(1.75))


def test_global_logit_depends_on_every_region_and_on_where_things_are() -> None:
    torch.manual_seed(0)
    network, images = GlobalDiscriminator(), torch.rand(1, 1, 36, 60, requires_grad=True)
    network(images).sum().backward()
    regions = images.grad[0, 0].abs().unflatten(1, (3, 20)).unflatten(0, (3, 12)).sum(dim=(1, 3))
    assert (regions > 0).all()
    assert not torch.allclose(network(images), network(images.roll(20, dims=3)), atol=1e-4)


def test_global_logit_is_no_sum_over_regions() -> None:
    """What one corner does to it depends on the opposite corner."""
    torch.manual_seed(0)
    network, images = GlobalDiscriminator(), torch.zeros(4, 1, 36, 60)
    images[1::2, :, :12, :20] = torch.rand(1, 12, 20)
    images[2:, :, 24:, 40:] = torch.rand(1, 12, 20)
    for weights in network.parameters():  # larger than at the start, so that the units are not all on one side
        nn.init.normal_(weights, std=0.3)
    neither, first, second, both = network(images).flatten()
    assert not torch.allclose(both - second, first - neither, atol=1e-4)


@pytest.mark.parametrize("scope", list(DISCRIMINATORS))
def test_spectral_norm_holds_every_layer_at_one(scope: str) -> None:
    """As the singular values of the matrices say, once the power iteration has settled."""
    network = DISCRIMINATORS[scope](width=0.25, spectral_norm=True)
    plain = DISCRIMINATORS[scope](width=0.25)
    assert parameter_count(network) == parameter_count(plain)
    for _ in range(60):
        network(torch.rand(1, 1, 8, 12))
    layers = [module for module in network.eval().modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(layers) == sum(isinstance(module, nn.Conv2d | nn.Linear) for module in plain.modules())
    for layer in layers:
        assert float(torch.linalg.svdvals(layer.weight.detach().flatten(1))[0]) == pytest.approx(1, abs=0.02)


def test_spectral_norm_passes_its_gradient_and_is_fp32_under_autocast() -> None:
    network = PatchDiscriminator(width=0.25, spectral_norm=True).eval()
    images = torch.rand(2, 1, 8, 12)
    logits = network(images)
    with torch.autocast("cpu", torch.bfloat16):
        half = network(images)
    assert half.dtype == torch.float32
    assert torch.allclose(half, logits, atol=0.02)
    (logits.sum() + half.sum()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
    assert network.trunk[0].parametrizations.weight.original.grad.abs().sum() > 0


def test_batches_are_normalised_by_the_statistics_of_their_domain() -> None:
    norm = DomainNorm(2)
    refined, real = torch.rand(5, 2, 3, 4) * 3 + 2, torch.rand(5, 2, 3, 4) - 7
    for flag, images in ((False, refined), (True, real)):
        norm.real = flag
        out = norm(images)
        assert torch.allclose(out.mean(dim=(0, 2, 3)), torch.zeros(2), atol=1e-5)
        assert torch.allclose(out.var(dim=(0, 2, 3), unbiased=False), torch.ones(2), atol=1e-3)
    means = [statistics.running_mean for statistics in norm.statistics]
    assert torch.allclose(means[0], 0.1 * refined.mean(dim=(0, 2, 3)), atol=1e-5)  # momentum 0.1, from 0
    assert torch.allclose(means[1], 0.1 * real.mean(dim=(0, 2, 3)), atol=1e-5)


def test_gain_and_shift_are_of_both_domains() -> None:
    norm = DomainNorm(2)
    torch.nn.init.constant_(norm.gain, 3.0)
    torch.nn.init.constant_(norm.shift, 1.0)
    for norm.real in (False, True):
        assert torch.allclose(norm(torch.rand(5, 2, 3, 4)).mean(dim=(0, 2, 3)), torch.ones(2), atol=1e-5)
    assert parameter_count(norm) == 4


@pytest.mark.parametrize("scope", sorted(DISCRIMINATORS))
@pytest.mark.parametrize("layers", ["gaze", "dcgan"])
def test_a_discriminator_tells_its_norms_the_domain(scope: str, layers: str) -> None:
    """Behind each convolution of the trunk but the first."""
    discriminator = DISCRIMINATORS[scope](layers=layers, width=0.25, batch_norm=True)
    norms = [module for module in discriminator.modules() if isinstance(module, DomainNorm)]
    convolutions = [module for module in discriminator.trunk if isinstance(module, torch.nn.Conv2d)]
    assert len(norms) == len(convolutions) - 1
    discriminator(torch.rand(4, 1, 24, 40), real=True)
    counts = [[int(some.num_batches_tracked) for some in norm.statistics] for norm in norms]
    assert counts == [[0, 1]] * len(norms)
    discriminator.eval()
    images = torch.rand(4, 1, 24, 40)
    assert not torch.allclose(discriminator(images), discriminator(images, real=True))
