"""CUT's game: places of a refined image find their own place in the render."""

import math

import numpy as np
import pytest
import torch

from refiner.config.training import TrainingConfiguration
from refiner.core.rng import torch_generator
from refiner.losses.patch_nce import TEMPERATURE, PatchHeads, patch_nce_loss
from refiner.training.methods.cut import CUT


def images(seed: int = 0) -> torch.Tensor:
    return torch.rand(6, 1, 8, 12, generator=torch_generator(seed, "images")) * 2 - 1


def unit(seed: int) -> torch.Tensor:
    drawn = torch.randn(2, 5, 3, generator=torch_generator(seed, "vectors"))
    return torch.nn.functional.normalize(drawn, dim=2)


@pytest.fixture
def method(tiny: TrainingConfiguration) -> CUT:
    return CUT(tiny.model_copy(update={"method": "contrast"}), device="cpu", precision="fp32")


def test_loss_and_gradient_follow_the_formula() -> None:
    queries, keys = unit(0).requires_grad_(), unit(1)
    loss = patch_nce_loss(queries, keys)
    loss.backward()
    q, k = queries.detach().double().numpy(), keys.double().numpy()
    similarity = np.einsum("nsf,ntf->nst", q, k) / TEMPERATURE
    share = np.exp(similarity) / np.exp(similarity).sum(axis=2, keepdims=True)
    assert loss.item() == pytest.approx(-np.log(np.einsum("nss->ns", share)).mean(), rel=1e-5)
    expected = np.einsum("nst,ntf->nsf", share - np.eye(5), k) / TEMPERATURE / 10
    assert np.allclose(queries.grad, expected, atol=1e-5)


def test_places_that_look_alike_cost_the_logarithm_of_their_number() -> None:
    alike = torch.nn.functional.normalize(torch.ones(2, 7, 3), dim=2)
    assert patch_nce_loss(alike, alike).item() == pytest.approx(math.log(7))


def test_every_place_finds_itself_where_nothing_is_changed() -> None:
    distinct = torch.eye(5)[None]
    assert patch_nce_loss(distinct, distinct).item() == pytest.approx(4 * math.exp(-1 / TEMPERATURE), abs=1e-5)


def test_heads_take_the_same_places_of_every_layer() -> None:
    heads, places = PatchHeads(2, 3), torch.tensor([4, 0])
    maps = [torch.rand(2, 3, 4, 6, generator=torch_generator(n, "maps")) for n in range(2)]
    first, second = heads(maps, places)
    assert first.shape == second.shape == (2, 2, 256)
    assert torch.allclose(first.norm(dim=2), torch.ones(2, 2))
    changed = [features.clone() for features in maps]
    changed[1][:, :, 0, 5] = 9  # a place that was not chosen
    changed[0][:, :, 0, 4] = 9  # one that was
    again = heads(changed, places)
    assert torch.equal(again[1], second)
    assert not torch.equal(again[0][:, 0], first[:, 0])
    assert torch.equal(again[0][:, 1], first[:, 1])


def test_heads_move_with_the_refiner_and_not_with_the_discriminator(method: CUT) -> None:
    before = [weight.clone() for weight in method.heads.network.parameters()]
    method.update_discriminator(images(), images(1), torch_generator(0, "d"))
    assert all(torch.equal(*pair) for pair in zip(before, method.heads.network.parameters(), strict=True))
    metrics = method.update_refiner(images(), torch_generator(0, "r"), real=images(1))
    assert not any(torch.equal(*pair) for pair in zip(before, method.heads.network.parameters(), strict=True))
    assert metrics["patch_nce"] > 0
    assert metrics["patch_nce_real"] > 0


def test_keys_send_no_gradient(method: CUT, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr("refiner.training.methods.cut.patch_nce_loss", lambda q, k: seen.append((q, k)) or q.sum())
    method.extra_losses(method.refiner(images()), images(), images(1), torch_generator(0, "r"))
    assert seen
    assert all(query.requires_grad and not key.requires_grad for query, key in seen)
