"""Samples of data sets: what is missing is counted."""

from pathlib import Path

import pytest

from refiner.core.errors import DataError, UsageError
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


def test_people_or_days_are_the_clusters(gazes: Path) -> None:
    sample = read_sample(gazes, size=(16, 24), most=60, seed=0)
    assert sample.clusters()[1:] == ("subject", 8, None)
    assert sample.clusters("P").size == 3
    with pytest.raises(
        UsageError, match="no image has the label night to group the images by; their labels are P, day"
    ):
        sample.clusters("night")
    # One image without a subject does not make the others independent.
    del sample.labels[0]["subject"]
    assert sample.clusters()[1:3] == ("subject", 9)
