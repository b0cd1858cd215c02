"""The look at both domains before training: what hurts is found and named, what does not is left alone."""

from pathlib import Path

import numpy as np
import pytest

from refiner.data.domains import ImageDomain, load_domain
from refiner.training.preflight import compare_domains, compare_with_estimator


def domain(images: np.ndarray) -> ImageDomain:
    return ImageDomain(images[:, None] if images.ndim == 3 else images)


def natural(count: int = 30, *, low: int = 90, high: int = 160, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(low, high, (count, 8, 12)).astype(np.uint8)


def flat(count: int = 30, seed: int = 0) -> np.ndarray:
    """Images with every level equally often, in random places."""
    levels = np.linspace(0, 255, 96).astype(np.uint8)
    return np.random.default_rng(seed).permuted(np.tile(levels, (count, 1)), axis=1).reshape(count, 8, 12)


def keys(synthetic: np.ndarray, real: np.ndarray, *, batch_size: int = 8) -> list[str]:
    return [finding.key for finding in compare_domains(domain(synthetic), domain(real), batch_size=batch_size)]


def test_alike_domains_give_nothing_to_say() -> None:
    assert keys(natural(seed=1), natural(seed=2)) == []
    assert keys(flat(seed=1), flat(seed=2)) == []


def test_one_equalised_domain_is_found_whichever_it_is() -> None:
    for synthetic, real, other in ((natural(), flat(), "renders"), (flat(), natural(), "real images")):
        (finding,) = compare_domains(domain(synthetic), domain(real), batch_size=8)
        assert finding.key == "equalised"
        assert f"the {other} are not" in finding.message
        assert f"equalise the {other} too" in finding.remedy
        assert "refiner convert" in finding.remedy


def test_an_estimator_of_equalised_images_wants_equalised_renders() -> None:
    (finding,) = compare_with_estimator(domain(natural()), equalize=True)
    assert "the renders are not equalised" in finding.message
    assert "--equalize" in finding.remedy
    assert compare_with_estimator(domain(flat()), equalize=True) == []
    assert compare_with_estimator(domain(natural()), equalize=False) == []


def test_different_brightness_is_found_with_its_figures() -> None:
    (finding,) = compare_domains(domain(natural(low=50, high=52)), domain(natural(low=203, high=206)), batch_size=8)
    assert finding.key == "histogram"
    assert "1.00 (0 equal, 1 disjoint), and the mean level is 0.20 in renders and 0.80 in real" in finding.message


def test_the_depth_of_the_files_makes_no_difference() -> None:
    deep = natural(seed=1).astype(np.uint16) * 257
    assert keys(deep, natural(seed=2)) == []
    assert keys(flat(seed=1).astype(np.uint16) * 257, natural()) == ["equalised"]


def test_colour_is_compared_like_grey() -> None:
    colour = np.repeat(natural(seed=1)[:, None], 3, axis=1)
    assert keys(colour, np.repeat(natural(seed=2)[:, None], 3, axis=1)) == []


def test_fewer_images_than_a_batch_are_found_in_either_domain() -> None:
    assert keys(natural(7), natural(8)) == ["few synthetic"]
    assert keys(natural(8), natural(7)) == ["few real"]
    (finding,) = compare_domains(domain(natural(1)), domain(natural(9)), batch_size=8)
    assert finding.message == "there are 1 renders, fewer than one batch of 8"


def test_images_of_one_flat_colour_are_found() -> None:
    assert "flat real" in keys(natural(), np.full((30, 8, 12), 128, np.uint8))


def test_what_stands_at_the_end_of_a_large_domain_is_seen_too() -> None:
    """Sorted by camera, the second half can differ: the sample is spread over all, not taken from the front."""
    front, back = natural(300, seed=1), natural(499, low=230, high=250, seed=2)
    assert keys(natural(799, low=20, high=200, seed=3), np.concatenate([front, back])) == ["histogram"]


@pytest.mark.parametrize(
    ("synthetic", "real", "expected"),
    [
        ("columbia_dev/images_raw", "mpiigaze_p00_dev/images", ["equalised"]),
        ("columbia_dev/images", "mpiigaze_p00_dev/images", []),
        ("unityeyes/deepmetis", "columbia_dev/images", ["equalised"]),
    ],
)
def test_real_domains(real_data: Path, tmp_path: Path, synthetic: str, real: str, expected: list[str]) -> None:
    def sample(name: str) -> ImageDomain:
        (tmp_path / name).mkdir(parents=True)
        for file in sorted((real_data / name).iterdir())[:80]:
            (tmp_path / name / file.name).symlink_to(file)
        return load_domain(tmp_path / name, key=name, size=(36, 60), channels=1)

    findings = compare_domains(sample(synthetic), sample(real), batch_size=8)
    assert [finding.key for finding in findings] == expected
