"""CycleGAN: two refiners, two discriminators, and a loss for both directions."""

import pytest
import torch

from refiner.config.training import TrainingConfiguration
from refiner.core.rng import torch_generator
from refiner.training.methods.cyclegan import CycleGAN


@pytest.fixture
def method(tiny: TrainingConfiguration) -> CycleGAN:
    cyclic = tiny.model_copy(update={"method": "cyclegan"})
    return CycleGAN(cyclic, device="cpu", precision="fp32")


def images(seed: int = 0) -> torch.Tensor:
    return torch.rand(6, 1, 8, 12, generator=torch_generator(seed, "images")) * 2 - 1


def weights(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten().clone() for parameter in network.parameters()])


def networks_of(method: CycleGAN) -> list[torch.Tensor]:
    parts = (method.refiner, method.back.refiner, method.discriminator, method.back.discriminator)
    return [weights(network) for network in parts]


def moved(method: CycleGAN, before: list[torch.Tensor]) -> list[bool]:
    return [not torch.equal(*pair) for pair in zip(before, networks_of(method), strict=True)]


def test_both_refiners_move_together_and_both_discriminators(method: CycleGAN) -> None:
    before = networks_of(method)
    method.update_refiner(images(), torch_generator(0, "r"), real=images(1))
    assert moved(method, before) == [True, True, False, False]
    before = networks_of(method)
    method.update_discriminator(images(), images(1), torch_generator(0, "d"))
    assert moved(method, before) == [False, False, True, True]


def test_the_four_networks_begin_apart(method: CycleGAN) -> None:
    forth, back, forth_judge, back_judge = networks_of(method)
    assert not torch.equal(forth, back)
    assert not torch.equal(forth_judge, back_judge)


def test_terms_are_those_of_the_formulas(method: CycleGAN) -> None:
    x, y = images(), images(1)
    with torch.no_grad():
        g, f = method.refiner, method.back.refiner
        cycle = (f(g(x)) - x).abs().mean() + (g(f(y)) - y).abs().mean()
        identity = (g(y) - y).abs().mean() + (f(x) - x).abs().mean()
        adversarial_loss = torch.nn.functional.softplus(method.back.discriminator(f(y))).mean()
        loss, terms = method.extra_losses(g(x), x, y, torch_generator(0, "r"))
    assert terms["cycle"].item() == pytest.approx(cycle.item(), rel=1e-5)
    assert terms["identity"].item() == pytest.approx(identity.item(), rel=1e-5)
    assert terms["adversarial_back"].item() == pytest.approx(adversarial_loss.item(), rel=1e-5)
    assert loss.item() == pytest.approx((10 * (cycle + 0.5 * identity) + adversarial_loss).item(), rel=1e-5)


def test_the_way_back_keeps_a_history_of_its_own(method: CycleGAN) -> None:
    for step in range(2):
        method.update_discriminator(images(step), images(step + 5), torch_generator(0, "d", step))
    assert len(method.history) == len(method.back.history) > 0
    assert not torch.equal(method.history.images, method.back.history.images)  # type: ignore[arg-type]


def test_pretraining_leaves_the_way_back_alone(method: CycleGAN) -> None:
    before = networks_of(method)
    method.update_refiner(images(), torch_generator(0, "r"), adversarial=False)
    assert moved(method, before) == [True, False, False, False]


def test_the_way_back_needs_neither_labels_nor_an_estimator(tiny: TrainingConfiguration) -> None:
    """Whatever the way there is told or compares."""
    section = tiny.discriminator.model_copy(update={"condition": "gaze"})
    changes = {"method": "cyclegan", "discriminator": section, "self_regularization": "features"}

    class Task(torch.nn.Module):
        def forward(self, real: torch.Tensor) -> torch.Tensor:
            return real[:, 0, 0, :2]

        def features(self, real: torch.Tensor) -> torch.Tensor:
            return real[..., ::2]

    method = CycleGAN(tiny.model_copy(update=changes), device="cpu", precision="fp32", task=Task())  # type: ignore[arg-type]
    gaze = torch.zeros(6, 2)
    assert method.update_refiner(images(), torch_generator(0, "r"), real=images(1), gaze=gaze)["cycle"] > 0
    method.update_discriminator(images(), images(1), torch_generator(0, "d"), gaze=gaze)
    assert method.history.images is not None
    assert method.back.history.images is not None
    assert (method.history.images.shape[1], method.back.history.images.shape[1]) == (3, 1)
