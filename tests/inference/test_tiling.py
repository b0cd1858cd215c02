"""Tiles give what the whole image gives."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from refiner.inference import refiner as refiner_module
from refiner.inference.refiner import Refiner
from refiner.inference.tiling import apply_in_tiles, tiles
from refiner.models.architecture import RefinerArchitecture
from refiner.models.files.refiner_file import RefinerFile
from refiner.models.refiner import RefinerNetwork

NETWORKS: dict[str, dict[str, Any]] = {
    "paper": {"features": 4},
    "wide stem": {"features": 4, "blocks": 2, "stem_kernel": 7, "channels": 3},
    "half": {"features": 4, "blocks": 2, "unshuffle": 2, "output": "residual"},
    "half, smooth": {"features": 4, "blocks": 1, "unshuffle": 2, "output": "residual", "smooth_change": True},
    "quarter, smooth": {"features": 4, "blocks": 1, "unshuffle": 4, "output": "residual", "smooth_change": True},
}


def network_of(name: str) -> RefinerNetwork:
    torch.manual_seed(0)
    network = RefinerNetwork(RefinerArchitecture(**NETWORKS[name])).eval()
    for parameter in network.parameters():  # every path is to matter
        nn.init.normal_(parameter, std=0.3)
    return network


def applied(network: RefinerNetwork) -> Callable[[np.ndarray], np.ndarray]:
    return lambda images: network(torch.from_numpy(images)).detach().numpy()


def levels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [(41, 67), (64, 48), (9, 130)])
def test_tiles_give_what_the_whole_gives(name: str, size: tuple[int, int]) -> None:
    network = network_of(name)
    images = levels(2, network.architecture.channels, *size)
    pieces = apply_in_tiles(applied(network), images, reach=network.architecture.reach, side=12)
    assert np.allclose(pieces, applied(network)(images), atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_with_less_than_their_reach_they_would_not(name: str) -> None:
    """Nothing far beyond what is needed is computed, and the test above could fail."""
    network = network_of(name)
    images = levels(1, network.architecture.channels, 48, 60)
    short = network.architecture.reach - 2 * network.architecture.unshuffle
    pieces = apply_in_tiles(applied(network), images, reach=short, side=12)
    assert not np.allclose(pieces, applied(network)(images), atol=1e-5)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 9), st.integers(1, 40))
def test_cores_cover_every_pixel_once(height: int, width: int, reach: int, side: int) -> None:
    covered = np.zeros((height, width), int)
    for (top, bottom, left, right), (first, last, start, end) in tiles(height, width, reach=reach, side=side):
        covered[top:bottom, left:right] += 1
        assert first == max(0, top - reach)
        assert start == max(0, left - reach)
        assert last == min(height, bottom + reach)
        assert end == min(width, right + reach)
    assert (covered == 1).all()


def test_a_refiner_takes_images_larger_than_a_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    refiner = Refiner(RefinerFile.of(network_of("half, smooth")), device="cpu")
    image = np.random.default_rng(0).integers(0, 256, (50, 90), np.uint8)
    whole = refiner(image)
    called: list[tuple[int, ...]] = []

    def counted(network: Any, images: np.ndarray, *, reach: int) -> np.ndarray:
        called.append(tuple(images.shape))
        return apply_in_tiles(network, images, reach=reach, side=16)

    monkeypatch.setattr(refiner_module, "apply_in_tiles", counted)
    monkeypatch.setattr(refiner_module, "TILED_PIXELS", 50 * 90 - 1)
    difference = np.abs(refiner(image).astype(int) - whole)
    assert called
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.001
