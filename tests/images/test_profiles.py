"""Colour profiles survive reading and writing, in every file type that holds one; Pillow reads the same."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageCms

from refiner.images.io import LOSSLESS, decode_picture, encode_image, read_picture, write_image

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREY = SRGB[:16] + b"GRAY" + SRGB[20:]
LARGE = SRGB + np.random.default_rng(0).bytes(150_001)  # three segments of a JPEG, and an odd length
IMAGES = {
    channels: np.random.default_rng(channels).integers(0, 256, (7, 11, channels), np.uint8) for channels in (3, 4)
}


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp", "lossless .webp"])
@pytest.mark.parametrize("size", ["small", "large"])
def test_a_profile_survives(suffix: str, channels: int, size: str) -> None:
    if suffix == ".jpg" and channels == 4:
        pytest.skip("a JPEG holds no alpha")
    image = IMAGES[3][..., 0] if channels == 1 else IMAGES[channels]
    profile = (GREY if channels == 1 else SRGB) if size == "small" else LARGE
    profile = profile[:16] + (b"GRAY" if channels == 1 else b"RGB ") + profile[20:]
    path, quality = Path(f"x{suffix.split()[-1]}"), LOSSLESS if "lossless" in suffix else 90
    data, plain = (encode_image(path, image, quality=quality, profile=part) for part in (profile, b""))
    found = decode_picture(data, path)
    assert found.profile == profile
    assert np.array_equal(found.image, decode_picture(plain, path).image)
    with Pillow.open(io.BytesIO(data)) as other:
        assert other.info["icc_profile"] == profile
        with Pillow.open(io.BytesIO(plain)) as same:
            assert "icc_profile" not in same.info
            assert np.array_equal(np.asarray(other), np.asarray(same))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_the_profile_of_another_program_is_read(format: str) -> None:
    stream = io.BytesIO()
    Pillow.fromarray(IMAGES[3]).save(stream, format, icc_profile=SRGB)
    assert decode_picture(stream.getvalue(), Path("x")).profile == SRGB


def test_no_profile_where_none_is_held(tmp_path: Path) -> None:
    for suffix in (".bmp", ".ppm"):
        write_image(tmp_path / f"x{suffix}", IMAGES[3], profile=SRGB)
        assert read_picture(tmp_path / f"x{suffix}").profile == b""
    write_image(tmp_path / "grey.png", IMAGES[3][..., 0], profile=SRGB)  # not allowed by the standard
    assert read_picture(tmp_path / "grey.png").profile == b""
