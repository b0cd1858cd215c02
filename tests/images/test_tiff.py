"""Every kind of TIFF gives the pixels that were stored, or is refused with the reason; files are built byte by byte."""

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from refiner.core.errors import ImageError
from refiner.images.io import decode_image, encode_image

X = Path("x.tif")
RNG = np.random.default_rng(3)
RGB, ALPHA = RNG.integers(0, 256, (6, 10, 3), np.uint8), RNG.integers(0, 256, (6, 10, 1), np.uint8)
RGB16, ALPHA16 = RNG.integers(0, 65536, (6, 10, 3), np.uint16), RNG.integers(0, 65536, (6, 10, 1), np.uint16)
GREY, GREY16 = RGB[..., 0], RGB16[..., 0]
RGBA, RGBA16 = np.concatenate([RGB, ALPHA], axis=2), np.concatenate([RGB16, ALPHA16], axis=2)

Tags = dict[int, tuple[str, Sequence[int]]]


def tiff(
    blocks: Sequence[bytes], bits: int, colours: int, samples: int = 1, *, order: str = "<", **other: Any
) -> bytes:
    """A TIFF of 6x10 pixels: uncompressed strips, unless ``other`` says otherwise (tag numbers as ``t338=...``)."""
    tags: Tags = {
        256: ("I", [10]), 257: ("I", [6]), 258: ("H", [bits] * samples), 259: ("H", [1]), 262: ("H", [colours]),
        277: ("H", [samples]), 278: ("I", [-(-6 // len(blocks)) if other.get("t284") != [2] else 6]),
    }  # fmt: skip
    tags |= {int(name[1:]): ("H", values) for name, values in other.items()}
    starts = [8 + sum(map(len, blocks[:number])) for number in range(len(blocks))]
    tags |= {273: ("I", starts), 279: ("I", [len(block) for block in blocks])}
    body = b"".join(blocks)
    body += bytes(len(body) % 2)
    place = 8 + len(body)
    entries = values = b""
    for tag, (kind, numbers) in sorted(tags.items()):
        data = struct.pack(f"{order}{len(numbers)}{kind}", *numbers)
        if len(data) > 4:
            at = place + 2 + 12 * len(tags) + 4 + len(values)
            values += data + bytes(len(data) % 2)
            data = struct.pack(order + "I", at)
        entries += struct.pack(order + "HHI", tag, 3 if kind == "H" else 4, len(numbers)) + data.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", place)
    return head + body + struct.pack(order + "H", len(tags)) + entries + bytes(4) + values


def raw(values: np.ndarray, order: str = "<") -> bytes:
    return values.astype(values.dtype.newbyteorder(order)).tobytes()


def planes(values: np.ndarray) -> list[bytes]:
    return [raw(np.ascontiguousarray(values[..., channel])) for channel in range(values.shape[2])]


def differences(values: np.ndarray) -> bytes:
    """Compressed rows of differences to the pixel on the left, as predictor 2 stores them."""
    return zlib.compress(raw(np.concatenate([values[:, :1], values[:, 1:] - values[:, :-1]], axis=1)))


READ = {
    "grey": (tiff([raw(GREY)], 8, 1), GREY),
    "grey 16": (tiff([raw(GREY16)], 16, 1), GREY16),
    "grey 16 big-endian": (tiff([raw(GREY16, ">")], 16, 1, order=">"), GREY16),
    "white is 0": (tiff([raw(255 - GREY)], 8, 0), GREY),
    "white is 0, 16": (tiff([raw(65535 - GREY16)], 16, 0), GREY16),
    "white is 0, 16 big-endian": (tiff([raw(65535 - GREY16, ">")], 16, 0, order=">"), GREY16),
    "rgb": (tiff([raw(RGB)], 8, 2, 3), RGB),
    "rgb 16 in strips": (tiff([raw(RGB16[:3]), raw(RGB16[3:])], 16, 2, 3), RGB16),
    "planar": (tiff(planes(RGB), 8, 2, 3, t284=[2]), RGB),
    "straight alpha": (tiff([raw(RGBA)], 8, 2, 4, t338=[2]), RGBA),
    "straight alpha, big-endian": (tiff([raw(RGBA)], 8, 2, 4, t338=[2], order=">"), RGBA),
    "straight alpha, planar": (tiff(planes(RGBA), 8, 2, 4, t338=[2], t284=[2]), RGBA),
    "straight alpha, 16": (tiff([raw(RGBA16)], 16, 2, 4, t338=[2]), RGBA16),
    "alpha of no stated kind": (tiff([raw(RGBA)], 8, 2, 4, t338=[0]), RGBA),
    "alpha without its tag": (tiff([raw(RGBA)], 8, 2, 4), RGBA),
    "predictor": (tiff([differences(RGB)], 8, 2, 3, t259=[8], t317=[2]), RGB),
    "predictor, 16": (tiff([differences(RGB16)], 16, 2, 3, t259=[8], t317=[2]), RGB16),
    "upside down": (tiff([raw(RGB16)], 16, 2, 3, t274=[4]), RGB16[::-1]),
    "turned": (tiff([raw(RGB)], 8, 2, 3, t274=[6]), np.rot90(RGB, -1)),
}

REFUSED = {
    "planar 16": (tiff(planes(RGB16), 16, 2, 3, t284=[2]), "stores its 16-bit channels one after the other"),
    "multiplied alpha": (tiff([raw(RGBA)], 8, 2, 4, t338=[1]), "multiplied by alpha"),
    "multiplied alpha, 16": (tiff([raw(RGBA16)], 16, 2, 4, t338=[1]), "multiplied by alpha"),
    "grey with alpha": (tiff([raw(RGBA[..., :2])], 8, 1, 2, t338=[2]), "grey with alpha"),
    "CMYK": (tiff([raw(RGBA)], 8, 5, 4), "holds CMYK colours"),
    "CIELAB": (tiff([raw(RGB)], 8, 8, 3), "holds CIELAB colours"),
    "YCbCr 16": (tiff([raw(RGB16)], 16, 6, 3), "TIFF colour space 6"),
    "five channels": (tiff([raw(RGBA[..., [0, 1, 2, 3, 3]])], 8, 2, 5, t338=[2, 0]), "holds 5 channels"),
    "12 bits": (tiff([bytes(90)], 12, 1), "holds uint12 values"),
    "signed": (tiff([raw(GREY16)], 16, 1, t339=[2]), "holds int16 values"),
    "float": (tiff([raw(GREY.astype(np.float32))], 32, 1, t339=[3]), "holds float32 values"),
    "int32": (tiff([raw(GREY.astype(np.int32))], 32, 1, t339=[2]), "holds int32 values"),
}


@pytest.mark.parametrize("kind", READ)
def test_the_stored_pixels_are_read(kind: str) -> None:
    data, stored = READ[kind]
    image = decode_image(data, X)
    assert image.dtype == stored.dtype
    assert np.array_equal(image, stored)


@pytest.mark.parametrize("kind", REFUSED)
def test_what_would_be_read_wrongly_is_refused(kind: str) -> None:
    data, reason = REFUSED[kind]
    with pytest.raises(ImageError, match=reason):
        decode_image(data, X)


def test_alpha_is_marked_for_other_programs() -> None:
    """Without the mark, Pillow takes alpha for padding and drops it."""
    image = Pillow.open(io.BytesIO(encode_image(X, RGBA)))
    assert image.mode == "RGBA"
    assert np.array_equal(np.asarray(image), RGBA)
