"""Blocks of images: whole people, of equal size, and pairs that stay pairs."""

import numpy as np
import pytest
import torch

from refiner.core.errors import DataError
from refiner.evaluation.blocks import BLOCKS, Blocks, deal

RNG = np.random.default_rng


def test_no_person_is_in_two_blocks() -> None:
    groups = [f"person {number % 20}" for number in range(200)]
    blocks = deal(groups, RNG(0))
    assert blocks is not None
    assert len(blocks) == BLOCKS
    assert sorted(np.concatenate(blocks)) == list(range(200))
    people = [{groups[number] for number in block} for block in blocks]
    assert sum(map(len, people)) == 20
    assert max(map(len, people)) == 3  # 20 people in 8 blocks


@pytest.mark.parametrize(
    ("counts", "sizes"),
    [
        ([50, 50], [50, 50]),
        ([100, 10, 10, 10], [10, 10, 10, 100]),
        ([60, 9, 5, 5, 5], [10, 14, 60]),  # small ones are joined
        ([90, 2, 2, 2], None),
        ([90], None),
    ],
)
def test_people_with_few_images_share_a_block(counts: list[int], sizes: list[int] | None) -> None:
    groups = [str(person) for person, count in enumerate(counts) for _ in range(count)]
    blocks = deal(groups, RNG(0))
    assert (None if blocks is None else sorted(map(len, blocks))) == sizes


def test_renders_and_refined_images_stay_pairs() -> None:
    numbers = torch.arange(90.0).view(-1, 1, 1, 1)
    groups = [str(number % 5) for number in range(90)]
    blocks = Blocks(numbers, numbers + 1000, numbers, groups, seed=0)
    assert blocks.are_whole
    assert [len(block) for block in blocks.real] == [18] * 5
    for synthetic, refined in zip(blocks.synthetic, blocks.refined, strict=True):
        assert torch.equal(refined, synthetic + 1000)
    for block in blocks.real:
        assert len({int(number) % 5 for number in block}) == 1
    assert not Blocks(numbers, numbers, numbers, ["a"] * 88 + ["b"] * 2, seed=0).are_whole
    with pytest.raises(
        DataError, match="63 renders and 90 real images are too few for an interval; give at least 64 of"
    ):
        Blocks(numbers[:63], numbers[:63], numbers, None, seed=0)
