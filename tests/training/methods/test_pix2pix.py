"""pix2pix: the refined image approaches its partner, and the discriminator sees pairs."""

from typing import Any

import pytest
import torch
from torch import Tensor

from refiner.config.training import TrainingConfiguration
from refiner.core.rng import torch_generator
from refiner.training.methods.pix2pix import Pix2Pix


def images(seed: int = 0, channels: int = 1) -> Tensor:
    return torch.rand(6, channels, 8, 12, generator=torch_generator(seed, "images")) * 2 - 1


def pix2pix(tiny: TrainingConfiguration, **changes: Any) -> Pix2Pix:
    return Pix2Pix(tiny.model_copy(update={"method": "pix2pix", **changes}), device="cpu", precision="fp32")


def watch(method: Pix2Pix, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Record what the discriminator sees."""
    seen: list[Tensor] = []
    forward = method.discriminator.forward

    def record(inputs: Tensor, **options: Any) -> Tensor:
        seen.append(inputs.detach().clone())
        return forward(inputs, **options)

    monkeypatch.setattr(method.discriminator, "forward", record)
    return seen


@pytest.mark.parametrize("channels", [1, 3])
def test_the_loss_is_the_distance_to_the_partner(tiny: TrainingConfiguration, channels: int) -> None:
    method = pix2pix(tiny, channels=channels)
    synthetic, partner = images(0, channels), images(1, channels)
    with torch.no_grad():
        expected = (method.refiner(synthetic) - partner).abs().mean().item()
    for adversarial in (False, True):
        fresh = pix2pix(tiny, channels=channels)
        terms = fresh.update_refiner(synthetic, torch_generator(0, "r"), adversarial=adversarial, partner=partner)
        assert terms["self_regularization"].item() == pytest.approx(expected, rel=1e-5)


def test_the_discriminator_sees_each_image_beside_its_render(
    tiny: TrainingConfiguration, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = pix2pix(tiny, channels=3, history_size=0)
    synthetic, partner = images(0, 3), images(1, 3)
    with torch.no_grad():
        refined = method.refiner(synthetic)
    seen = watch(method, monkeypatch)
    method.update_discriminator(synthetic, partner, torch_generator(0, "d"))
    assert torch.equal(seen[0], torch.cat([refined, synthetic], dim=1))
    assert torch.equal(seen[1], torch.cat([partner, synthetic], dim=1))
    seen.clear()
    method.update_refiner(synthetic, torch_generator(0, "r"), partner=partner)
    assert torch.equal(seen[0], torch.cat([refined, synthetic], dim=1))


def test_images_of_the_history_keep_their_renders(tiny: TrainingConfiguration, monkeypatch: pytest.MonkeyPatch) -> None:
    method = pix2pix(tiny, history_size=6)
    seen = watch(method, monkeypatch)
    for step in range(3):
        method.update_discriminator(images(step), images(step + 10), torch_generator(0, "d", step))
    pairs = {images(step)[row].numpy().tobytes() for step in range(3) for row in range(6)}
    with torch.no_grad():
        for row in seen[-2]:  # the refiner has not changed
            assert row[1:].numpy().tobytes() in pairs
            assert torch.allclose(row[:1], method.refiner(row[None, 1:])[0], atol=1e-5)


def test_it_learns_a_map_that_only_pairs_show(tiny: TrainingConfiguration) -> None:
    section = tiny.refiner_optimizer.model_copy(update={"learning_rate": 5e-3})
    method = pix2pix(tiny, refiner_optimizer=section, self_regularization_weight=100.0, ema_decay=0.0)

    def distance() -> float:
        return (method.refine(images(99)) + images(99)).abs().mean().item()

    before = distance()
    for step in range(80):
        synthetic = images(step)
        method.update_discriminator(synthetic, -synthetic, torch_generator(0, "d", step))
        method.update_refiner(synthetic, torch_generator(0, "r", step), partner=-synthetic)
    assert distance() < before / 3
