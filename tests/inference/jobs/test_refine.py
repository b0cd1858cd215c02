"""Refining one image into one image."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from refiner.core.errors import DataError, OutputError
from refiner.images.io import read_image, write_image
from refiner.inference.jobs.refine import Summary, refine_path
from refiner.models.architecture import RefinerArchitecture
from refiner.models.files.refiner_file import save_refiner
from refiner.models.refiner import RefinerNetwork


def save(path: Path, *, shift: float = 0.0) -> Path:
    """Save a tiny refiner: the identity, or one that adds ``shift`` to everything."""
    network = RefinerNetwork(RefinerArchitecture(features=4, blocks=1, output="residual"))
    network.head.bias.data.fill_(float(np.arctanh(shift / 2)))
    save_refiner(path, network, training={})
    return path


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    return save(tmp_path / "identity.safetensors")


def noise(shape: tuple[int, ...], dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    image = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, endpoint=True).astype(dtype)
    image.flat[0], image.flat[1 % image.size] = np.iinfo(dtype).max, 0
    return image


def test_one_image_into_one_image(tmp_path: Path, identity: Path) -> None:
    image = noise((5, 9, 4), "uint16")
    write_image(tmp_path / "eye.png", image)
    assert refine_path(tmp_path / "eye.png", tmp_path / "new" / "a.tif", identity, device="cpu") == Summary(1, 0, 0)
    assert np.array_equal(read_image(tmp_path / "new" / "a.tif"), image)
    refine_path(tmp_path / "eye.png", tmp_path / "new", identity, device="cpu")  # into a folder, under its own name
    assert np.array_equal(read_image(tmp_path / "new" / "eye.png"), image)


def test_one_image_does_not_replace_another_unasked(tmp_path: Path) -> None:
    refiner = save(tmp_path / "r", shift=0.25)
    write_image(tmp_path / "eye.png", np.full((5, 9), 100, np.uint8))
    with pytest.raises(OutputError, match="already exists; choose another name, or pass --overwrite to replace it"):
        refine_path(tmp_path / "eye.png", tmp_path / "eye.png", refiner, device="cpu")
    refine_path(tmp_path / "eye.png", tmp_path / "eye.png", refiner, device="cpu", overwrite=True)
    assert set(read_image(tmp_path / "eye.png").ravel()) == {132}


def test_one_bad_image_or_target_is_a_clear_error(tmp_path: Path, identity: Path) -> None:
    (tmp_path / "text.png").write_text("text")
    write_image(tmp_path / "deep.png", noise((5, 7), "uint16"))

    def attempt(source: str, destination: str) -> Callable[[], Summary]:
        return lambda: refine_path(tmp_path / source, tmp_path / destination, identity, device="cpu")

    for act, reason in (
        (attempt("missing.png", "a.png"), r"missing\.png does not exist"),
        (attempt("text.png", "a.png"), r"text\.png: is not an image"),
        (attempt("deep.png", "a.jpg"), r"a\.jpg: \.jpg holds 8 bits"),
        (attempt("deep.png", "a.gif"), r"a\.gif: has no known image suffix"),
    ):
        with pytest.raises((DataError, OutputError), match=reason):
            act()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["deep.png", "identity.safetensors", "text.png"]
