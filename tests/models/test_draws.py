"""Draws: of the pixels of a render and of a position in training, and the choice that follows from them."""

import hashlib

import numpy as np
import torch

from refiner.images.arrays import LUMA
from refiner.models.draws import draws_at, draws_of
from refiner.models.statistics.choice import choose


def test_the_choice_is_the_digest_of_the_levels() -> None:
    levels = np.random.default_rng(1).integers(0, 256, (6, 2, 5, 7)).astype(np.uint8)
    draws = draws_of(torch.from_numpy(levels.astype(np.float32) / 127.5 - 1))
    numbers, strengths = choose(draws, 1000, torch.device("cpu"))
    for image, number, strength in zip(levels, numbers.tolist(), strengths.tolist(), strict=True):
        digest = hashlib.sha256(image.tobytes()).digest()
        assert number == int.from_bytes(digest[:8], "little") % 1000
        assert strength == int.from_bytes(digest[8:14], "little") / 2**48


def test_rounding_of_the_luma_does_not_change_it() -> None:
    colours = np.random.default_rng(2).integers(0, 256, (3, 40, 60)).astype(np.float32)
    lumas = [
        np.tensordot(LUMA, colours / 127.5 - 1, 1),
        (np.tensordot(LUMA.astype(float), colours.astype(float), 1) / 127.5 - 1).astype(np.float32),
        np.tensordot(LUMA, colours, 1) / np.float32(127.5) - 1,
    ]
    draws = [draws_of(torch.from_numpy(luma[None, None]))[0] for luma in lumas]
    assert not np.array_equal(lumas[0], lumas[1])
    assert len(set(draws)) == 1


def test_draws_of_a_batch_follow_from_the_position() -> None:
    expected = [hashlib.sha256(f"3/purpose/12/{place}".encode()).digest() for place in range(4)]
    assert draws_at(3, "purpose", 12, 4) == expected
