"""Apparent motion: shifts are seen with their sign, light is not; what the loss does in training."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from refiner.config.training import TrainingConfiguration
from refiner.core.rng import torch_generator
from refiner.losses.motion import apparent_motion, motion_loss
from refiner.training.methods.simgan import SimGAN

SIZE = (24, 40)


def scenes(count: int = 4, *, channels: int = 1) -> torch.Tensor:
    """Soft random structure, as large as an iris."""
    coarse = torch.rand(count, channels, 6, 10, generator=torch_generator(0, "scenes")) * 1.6 - 0.8
    return functional.interpolate(coarse, SIZE, mode="bicubic", align_corners=False).clamp(-1, 1)


def shifted(images: torch.Tensor, x: float, y: float) -> torch.Tensor:
    """Moved by (x, y) pixels, an independent way: sampled bilinearly where each pixel came from."""
    height, width = images.shape[2:]
    matrix = torch.tensor([[1.0, 0.0, -2 * x / width], [0.0, 1.0, -2 * y / height]]).expand(len(images), 2, 3)
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def test_nothing_moves_between_equal_images() -> None:
    images = scenes()
    motion = apparent_motion(images, images)
    assert motion.shape == (4, 2, 6, 10)  # every fourth of 24 rows and 40 columns
    assert torch.equal(motion, torch.zeros_like(motion))
    assert motion_loss(images, images).item() == pytest.approx(0.01)


@pytest.mark.parametrize(("x", "y"), [(0.5, 0.0), (0.0, -0.5), (-0.4, 0.3)])
def test_a_shift_is_seen_in_its_direction(x: float, y: float) -> None:
    across, down = apparent_motion(shifted(scenes(), x, y), scenes()).mean(dim=(0, 2, 3)).tolist()
    for found, true in ((across, x), (down, y)):
        assert 0.4 * abs(true) - 0.03 <= abs(found) <= 1.1 * abs(true) + 0.03
        assert found * true >= 0


@settings(max_examples=20, deadline=None)
@given(st.floats(0.6, 1.4), st.floats(-0.3, 0.3))
def test_light_and_contrast_are_no_motion(contrast: float, brightness: float) -> None:
    images = scenes()
    motion = apparent_motion(images * contrast + brightness, images)
    assert motion.norm(dim=1).mean() < 0.1 * apparent_motion(shifted(images, 0.5, 0), images).norm(dim=1).mean()


def test_where_there_is_no_edge_nothing_moves() -> None:
    flat = torch.full((1, 1, *SIZE), 0.3)
    assert apparent_motion(flat + 0.2 * scenes(1), flat).abs().max() < 1e-3


def test_channels_are_averaged() -> None:
    images = scenes(channels=3)
    moved = shifted(images, 0.5, 0.2)
    grey = apparent_motion(moved.mean(dim=1, keepdim=True), images.mean(dim=1, keepdim=True))
    assert torch.allclose(apparent_motion(moved, images), grey, atol=1e-5)


@pytest.mark.parametrize("size", [(2, 3), (5, 13), (36, 60)])
def test_any_size_gives_finite_gradients(size: tuple[int, int]) -> None:
    images = torch.rand(2, 1, *size, generator=torch_generator(0, "images")) * 2 - 1
    refined = (0.9 * images).requires_grad_()
    motion_loss(refined, images).backward()
    assert refined.grad is not None
    assert refined.grad.isfinite().all()
    assert refined.grad.abs().sum() > 0


def test_the_gradient_is_that_of_the_other_terms_plus_the_weighted_one(tiny: TrainingConfiguration) -> None:
    images = torch.rand(6, 1, 8, 12, generator=torch_generator(0, "images")) * 2 - 1

    def gradient(weight: float, *, adversarial: bool = True) -> torch.Tensor:
        method = SimGAN(tiny.model_copy(update={"motion_weight": weight}), device="cpu", precision="fp32")
        metrics = method.update_refiner(images, torch_generator(0, "draws"), adversarial=adversarial)
        assert ("motion" in metrics) == (weight > 0 and adversarial)
        return torch.cat([parameter.grad.flatten() for parameter in method.refiner.parameters()])

    without, one = gradient(0.0), gradient(1.0)
    assert not torch.allclose(one, without, atol=1e-6)
    assert torch.allclose(gradient(7.0), without + 7 * (one - without), atol=1e-5)
    assert torch.equal(gradient(0.0, adversarial=False), gradient(7.0, adversarial=False))


def test_motion_is_measured_in_fp32(tiny: TrainingConfiguration) -> None:
    images = torch.rand(6, 1, 8, 12, generator=torch_generator(0, "images")) * 2 - 1
    method = SimGAN(tiny.model_copy(update={"motion_weight": 1.0}), device="cpu", precision="bf16")
    with method.autocast(), torch.no_grad():
        refined = method.refiner(images)
    found = method.update_refiner(images, torch_generator(0, "draws"))["motion"]
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(motion_loss(refined.float(), images).item(), rel=1e-5)
