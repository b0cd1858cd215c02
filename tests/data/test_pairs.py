"""Pairs of a render and a real image of one name."""

from pathlib import Path

import numpy as np
import pytest

from refiner.core.errors import WrongInputError
from refiner.data.conversion import Conversion
from refiner.data.convert import convert
from refiner.data.domains import load_domain
from refiner.data.pairs import paired_domains
from refiner.images.io import write_image


def flat(folder: Path, names: dict[str, int]) -> Path:
    for name, level in names.items():
        write_image(folder / name, np.full((8, 12), level, np.uint8))
    return folder


@pytest.mark.parametrize("stored", [False, True])
def test_partners_have_the_same_name_and_the_rest_is_left_out(
    stored: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synthetic = flat(tmp_path / "s", {"b/1.png": 10, "a/1.png": 20, "c.png": 30, "alone.png": 40})
    real = flat(tmp_path / "r", {"c.bmp": 130, "a/1.png": 120, "b/1.png": 110, "1.png": 99, "z.png": 98})
    if stored:  # images that are read from the disk on each access
        monkeypatch.setattr("refiner.data.domains.MAX_BYTES", 1)
        for folder in (synthetic, real):
            convert(folder, folder.with_suffix(".h5"), Conversion(), attributes={})
        synthetic, real = (folder.with_suffix(".h5") for folder in (synthetic, real))
    domains = [load_domain(path, key="data", size=(8, 12), channels=1) for path in (synthetic, real)]
    paired, partners = paired_domains(*domains)
    assert paired.ids == ["a/1.png", "b/1.png", "c.png"]
    levels = [((domain.batch([2, 0, 1])[:, 0, 0, 0] + 1) * 127.5).tolist() for domain in (paired, partners)]
    assert np.allclose(levels, [[30, 20, 10], [130, 120, 110]], atol=1e-3)
    assert np.allclose((paired.conditions([1, 2])["partner"][:, 0, 3, 5] + 1) * 127.5, [110, 130], atol=1e-3)
    assert set(paired.rejected) == {"alone.png"}
    assert set(partners.rejected) == {"1.png", "z.png"}
    assert paired.digest() != domains[0].digest()


def test_unclear_and_missing_pairs_are_refused(tmp_path: Path) -> None:
    synthetic = flat(tmp_path / "s", {"a.png": 10, "b.png": 20})
    cases = {
        "no render has a real image of the same name": {"c.png": 1, "d/a.png": 2},
        "a.bmp and a.png have one name": {"a.png": 1, "a.bmp": 2},
    }
    for number, (message, names) in enumerate(cases.items()):
        real = flat(tmp_path / f"r{number}", names)
        domains = [load_domain(path, key="data", size=(8, 12), channels=1) for path in (synthetic, real)]
        with pytest.raises(WrongInputError, match=message):
            paired_domains(*domains)
