"""Samples of data sets: what is missing is counted."""

from pathlib import Path

import pytest

from refiner.core.errors import DataError
from refiner.evaluation.samples import read_sample


@pytest.mark.parametrize(
    ("absent", "words"),
    [
        (["x.png"], " has no x.png; it must hold"),
        (["y.png", "x.png"], " has no x.png, and 1 other image is missing; it must hold"),
        (["y.png", "x.png", "z.png"], " has no x.png, and 2 other images are missing; it must hold"),
    ],
)
def test_missing_images_are_counted(absent: list[str], words: str, synthetic: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_sample(synthetic, size=(8, 12), most=5, seed=0, ids=absent)
    assert str(caught.value).startswith(f"{synthetic}{words}")
