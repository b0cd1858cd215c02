"""Two data sets side by side: what does not fit, and one command that fixes all of it."""

import numpy as np
import pytest

from refiner.inspection.facts import Appearance
from refiner.inspection.fit import AppearanceMeter, compare, histogram_gap, iris_shares
from refiner.inspection.irises import IrisScale

PATHS = (("renders", "r-fitted"), ("my photos", "p-fitted"))


def iris(diameter: float, *, reliable: bool = True, source: str = "estimate") -> IrisScale:
    return IrisScale(diameter, 0.1, 100, source, reliable)


def look(size: tuple[int, int] = (36, 60), **changes: object) -> Appearance:
    values: dict = {"equalization": 0.3, "equalized_share": 0.0, "histogram": (1 / 32,) * 32, "mean_level": 0.5}
    return Appearance(**{"count": 100, "size": size, **values, **changes})


def found(synthetic: Appearance, real: Appearance) -> dict[str, str]:
    return {finding.key: finding.remedy for finding in compare(synthetic, real, paths=PATHS)}


def test_alike_fits() -> None:
    assert found(look(), look()) == {}
    assert found(look(iris=iris(0.3)), look(iris=iris(0.34))) == {}
    assert found(look((35, 55)), look((36, 60))) == {}


def test_the_equalised_one_is_left_alone() -> None:
    remedies = found(look(), look(equalization=0.02))
    assert remedies == {"equalised": "equalise the renders too: refiner convert renders r-fitted --equalize"}
    assert "convert 'my photos' p-fitted --equalize" in found(look(equalization=0.02), look())["equalised"]


def test_the_larger_images_are_made_smaller() -> None:
    assert found(look((72, 120)), look())["size"].endswith("refiner convert renders r-fitted --size 36x60")
    assert found(look(), look((72, 120)))["size"].endswith("refiner convert 'my photos' p-fitted --size 36x60")


def test_another_shape_is_cut_before_it_is_resized() -> None:
    remedies = found(look(), look((50, 100)))
    assert list(remedies) == ["aspect"]
    # 50 rows of the shape 36:60 are 83.3 columns
    assert remedies["aspect"].endswith("refiner convert 'my photos' p-fitted --crop 50x83 --size 36x60")


def test_the_smaller_iris_is_cut_closer() -> None:
    remedies = found(look(iris=iris(0.2)), look(iris=iris(0.3)))
    assert list(remedies) == ["iris"]
    assert remedies["iris"].endswith("refiner convert renders r-fitted --crop 24x40 --size 36x60")  # 2/3 of 36x60
    assert "convert 'my photos' p-fitted --crop 24x40" in found(look(iris=iris(0.3)), look(iris=iris(0.2)))["iris"]


def test_irises_are_compared_in_one_shape() -> None:
    """0.3 of 100 columns are 0.36 of the 83 that are left."""
    shares = iris_shares(look(iris=iris(0.3)), look((50, 100), iris=iris(0.3)))
    assert shares == (0.3, pytest.approx(0.3 * 100 / 83))


def test_what_the_estimate_cannot_tell_is_not_said() -> None:
    vague = look(iris=iris(0.15, reliable=False))
    assert found(vague, look(iris=iris(0.3))) == {}
    assert iris_shares(look(), look(iris=iris(0.3))) is None
    labelled = look(iris=iris(0.15, reliable=False), outline=iris(0.2, source="iris_outline"))
    assert list(found(labelled, look(iris=iris(0.3)))) == ["iris"]


def test_one_command_fixes_everything() -> None:
    remedies = found(look((72, 120), iris=iris(0.2)), look(equalization=0.02, iris=iris(0.3)))
    whole = "refiner convert renders r-fitted --crop 48x80 --size 36x60 --equalize"
    assert list(remedies) == ["equalised", "size", "iris"]
    assert all(remedy.endswith(whole) for remedy in remedies.values())


def test_histograms_far_apart() -> None:
    dark, bright = (1.0, *(0.0,) * 31), (*(0.0,) * 31, 1.0)
    assert histogram_gap(look(histogram=dark), look(histogram=bright)) == 1
    remedy = found(look(histogram=dark), look(histogram=bright))["histogram"]
    assert "renders r-fitted --equalize and refiner convert 'my photos' p-fitted --equalize" in remedy


def test_the_meter_measures_what_it_is_given() -> None:
    meter = AppearanceMeter()
    with pytest.raises(ValueError, match="no image"):
        meter.result()
    for level in (0, 255):
        meter.add(np.full((8, 12), level, np.uint8))
    meter.add(np.full((10, 14, 3), 65535, np.uint16))
    result = meter.result()
    assert (result.count, result.size, result.iris) == (3, (8, 12), None)
    assert result.mean_level == pytest.approx((96 + 140) / (96 * 2 + 140), rel=1e-6)
    assert (result.histogram[0], result.equalized) == (pytest.approx(96 / 332), False)
