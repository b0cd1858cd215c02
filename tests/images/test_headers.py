"""What image files say of themselves: pictures counted, orientation read, damage seen before decoding."""

import io
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from refiner.images.headers import exif_orientation, read_header

STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xda", b"II*\0", b"MM\0+", b"RIFF\x20\0\0\0WEBP", b"BM", b"P5 2 2 255 ")


def saved(format: str, *, frames: int = 1, **options: Any) -> bytes:
    y, x = np.mgrid[:16, :24]
    pictures = [Pillow.fromarray(((x * 9 + y * turn * 5) % 256).astype(np.uint8)) for turn in range(1, frames + 1)]
    stream = io.BytesIO()
    several = {"save_all": True, "append_images": pictures[1:]} if frames > 1 else {}
    pictures[0].save(stream, format, **several, **options)
    return stream.getvalue()


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP", "BMP", "PPM"])
def test_a_sound_file_says_its_size_and_no_problem(format: str) -> None:
    header = read_header(saved(format))
    assert header[:5] == (16, 24, "", 1, 1)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_pages_and_frames_are_counted(format: str) -> None:
    pictures = read_header(saved(format, frames=3)).pictures
    assert pictures == 3


def test_two_pictures_in_a_pnm_are_counted() -> None:
    assert read_header(b"P5 2 1 255\n\1\2").pictures == 1
    assert read_header(b"P5 2 1 255\n\1\2P5 2 1 255\n\3\4").pictures == 2


def test_a_thumbnail_in_a_tiff_is_no_second_page() -> None:
    data = bytearray(saved("TIFF", frames=2))
    (first,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, first)
    (second,) = struct.unpack_from("<I", data, first + 2 + entries * 12)
    struct.pack_into("<HHII", data, second + 2, 254, 4, 1, 1)  # the first tag of the second page: reduced resolution
    assert read_header(bytes(data)).pictures == 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_orientation_is_read_where_the_decoder_does_not_honour_it(format: str, orientation: int) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    assert read_header(saved(format, exif=exif)).orientation == orientation


@pytest.mark.parametrize(
    "block", [b"", b"II", b"II*\0\xff\xff\xff\xff", b"Exif\0\0garbage", b"MM\0*\0\0\0\x08\0\1\1\x12"]
)
def test_damaged_exif_turns_nothing(block: bytes) -> None:
    assert exif_orientation(block) == 1


def test_garbage_between_the_codes_of_a_jpeg_is_seen() -> None:
    data = saved("JPEG", quality=100)
    middle = (data.index(b"\xff\xda") + len(data)) // 2
    assert "other data within" in read_header(data[:middle] + b"\xff\x37" + data[middle + 2 :]).problem
    assert read_header(data[:middle] + b"\xff\x00" + data[middle + 2 :]).problem == ""  # looks like a code
    assert read_header(data[:middle]).problem == "is a truncated JPEG"


def test_a_lost_restart_marker_is_seen() -> None:
    data = saved("JPEG", restart_marker_blocks=1)
    assert read_header(data).problem == ""
    second = data.index(b"\xff\xd1")
    third = data.index(b"\xff\xd2")
    assert "parts of its coded data are missing" in read_header(data[:second] + data[third:]).problem


def test_a_progressive_jpeg_is_sound() -> None:
    assert read_header(saved("JPEG", progressive=True)).problem == ""


@pytest.mark.parametrize("highest", [1, 15, 100, 1000, 65534])
def test_levels_that_would_come_out_unscaled_are_refused(highest: int) -> None:
    assert f"levels up to {highest}" in read_header(b"P5 2 1 %d\n" % highest + bytes(4)).problem


def test_what_is_no_image_type_of_ours_is_refused() -> None:
    for data in (b"GIF89a", b"\0\0\0\x0cjP  ", b"\x93NUMPY", b"{}", b"%PDF", b"P7\n"):
        assert "is not an image" in read_header(data).problem


@given(start=st.sampled_from(STARTS), data=st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_garbage_has_a_header_or_a_problem(start: bytes, data: bytes) -> None:
    header = read_header(start + data)
    assert header.height >= 0
    assert header.width >= 0
    assert 1 <= header.orientation <= 8
    assert "\n" not in header.problem


@given(format=st.sampled_from(["PNG", "JPEG", "TIFF", "WEBP", "BMP", "PPM"]), share=st.floats(0.1, 0.95))
@settings(max_examples=60, deadline=None)
def test_a_cut_file_has_a_problem(format: str, share: float) -> None:
    data = saved(format)
    assert read_header(data[: int(len(data) * share)]).problem
