"""Sizes of image files, against the decoder."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from refiner.images.io import IMAGE_SUFFIXES, read_image
from refiner.images.sizes import read_size


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
@pytest.mark.parametrize("size", [(48, 64), (700, 300)])
def test_the_size_is_that_of_the_decoded_image(tmp_path: Path, suffix: str, size: tuple[int, int]) -> None:
    path = tmp_path / f"a{suffix}"
    image = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)  # noise does not fit into 64 kB
    assert cv2.imwrite(str(path), image[..., 0] if suffix == ".pgm" else image)
    assert read_size(path) == read_image(path).shape[:2] == size


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_that_of_the_upright_image(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "a.jpg"
    assert cv2.imwrite(str(path), np.zeros((40, 60), np.uint8))
    entry = bytes([0x12, 1, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0])
    block = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + entry + bytes(4)
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + data[2:])
    assert read_size(path) == read_image(path).shape[:2] == ((60, 40) if orientation > 4 else (40, 60))


def test_other_files_have_no_size(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"text")
    assert read_size(tmp_path / "a.png") is None
    assert read_size(tmp_path / "missing.png") is None
    assert read_size(tmp_path) is None


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_other_types_are_measured_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    path = tmp_path / f"a{suffix}"
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    noise = np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8)  # more than 64 kB
    Pillow.fromarray(noise).save(path, exif=exif)
    assert read_size(path) == read_image(path).shape[:2] == ((300, 200) if orientation > 4 else (200, 300))
