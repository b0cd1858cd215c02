"""Image files in and out: every level of every type, and every kind of damage refused by name."""

import io
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from refiner.core.errors import ImageError
from refiner.images import io as image_files
from refiner.images.io import (
    IMAGE_SUFFIXES,
    LOSSLESS,
    decode_image,
    encode_image,
    is_image_file,
    is_lossless_webp,
    read_image,
    write_image,
)

X = Path("x.png")


def noise(height: int, width: int, channels: int, dtype: str, seed: int = 0) -> np.ndarray:
    shape = (height, width) if channels == 1 else (height, width, channels)
    rng = np.random.default_rng(seed)
    return rng.integers(0, np.iinfo(dtype).max, shape, endpoint=True).astype(dtype)


def pillow_bytes(mode: str, format: str, **options: object) -> bytes:
    """A file that another library wrote."""
    stream = io.BytesIO()
    y, x = np.mgrid[:16, :24]
    picture = np.stack([x * 10, y * 15, (x + y) * 6], axis=-1).astype(np.uint8)
    Pillow.fromarray(picture).convert(mode).save(stream, format, **options)
    return stream.getvalue()


KEEPS = [
    *((suffix, channels, "uint8") for suffix in (".png", ".tif", ".tiff", ".bmp") for channels in (1, 3, 4)),
    *((suffix, channels, "uint16") for suffix in (".png", ".tif", ".tiff") for channels in (1, 3, 4)),
    *((".webp", channels, "uint8") for channels in (3, 4)),
    *((".pgm", 1, dtype) for dtype in ("uint8", "uint16")),
    *((".ppm", 3, dtype) for dtype in ("uint8", "uint16")),
]


@pytest.mark.parametrize(("suffix", "channels", "dtype"), KEEPS)
@given(height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_every_level_survives(suffix: str, channels: int, dtype: str, height: int, width: int, seed: int) -> None:
    image = noise(height, width, channels, dtype, seed)
    image.flat[0], image.flat[-1] = 0, np.iinfo(dtype).max
    if suffix == ".webp" and channels == 4:
        # WebP keeps no colour under a fully transparent pixel, and no alpha that is opaque everywhere.
        image[..., 3] = image[..., 3].clip(1, 254)
    path = Path("x" + suffix)
    back = decode_image(encode_image(path, image, quality=LOSSLESS), path)
    assert back.dtype == image.dtype
    assert np.array_equal(back, image)


@pytest.mark.parametrize(
    ("suffix", "channels", "dtype", "reason"),
    [
        (".jpg", 1, "uint16", "holds 8 bits"),
        (".JPEG", 3, "uint16", "holds 8 bits"),
        (".bmp", 1, "uint16", "holds 8 bits"),
        (".webp", 3, "uint16", "holds 8 bits"),
        (".jpg", 4, "uint8", "no alpha"),
        (".pgm", 4, "uint8", "no alpha"),
        (".pgm", 3, "uint8", "cannot hold"),
        (".ppm", 1, "uint8", "cannot hold"),
        (".gif", 1, "uint8", "no known image suffix"),
        ("", 1, "uint8", "no known image suffix"),
    ],
)
def test_what_a_type_cannot_hold_is_refused(suffix: str, channels: int, dtype: str, reason: str) -> None:
    with pytest.raises(ImageError, match=reason) as raised:
        encode_image(Path("dir/eye" + suffix), noise(3, 5, channels, dtype))
    assert str(raised.value).startswith(f"dir/eye{suffix}: ")


def test_a_jpeg_is_close_and_keeps_its_channels() -> None:
    y, x = np.mgrid[:16, :24]
    grey = (x * 10).astype(np.uint8)
    assert np.abs(decode_image(encode_image(Path("x.jpg"), grey), X).astype(int) - grey).max() <= 4
    colour = np.stack([x * 10, y * 15, x + y], axis=-1).astype(np.uint8)
    back = decode_image(encode_image(Path("x.jpg"), colour), X)
    assert np.abs(back.astype(int) - colour).max() <= 8


def test_colour_order_is_rgb_as_another_library_reads_it(tmp_path: Path) -> None:
    red = np.zeros((4, 6, 3), np.uint8)
    red[..., 0] = 200
    for suffix in (".png", ".tif", ".bmp", ".ppm"):
        write_image(tmp_path / f"red{suffix}", red)
        assert np.array_equal(np.asarray(Pillow.open(tmp_path / f"red{suffix}")), red)
        assert np.array_equal(read_image(tmp_path / f"red{suffix}"), red)


@pytest.mark.parametrize(
    ("mode", "format", "options", "shape"),
    [
        ("1", "PNG", {}, (16, 24)),
        ("L", "PNG", {"bits": 4}, (16, 24)),
        ("P", "PNG", {}, (16, 24, 3)),
        ("P", "PNG", {"transparency": 3}, (16, 24, 4)),
        ("LA", "PNG", {}, (16, 24, 4)),
        ("RGB", "JPEG", {"progressive": True}, (16, 24, 3)),
        ("L", "JPEG", {}, (16, 24)),
        ("1", "TIFF", {}, (16, 24)),
        ("P", "TIFF", {}, (16, 24, 3)),
        ("RGB", "TIFF", {"compression": "tiff_lzw"}, (16, 24, 3)),
        ("RGB", "TIFF", {"compression": "tiff_adobe_deflate"}, (16, 24, 3)),
        ("P", "BMP", {}, (16, 24, 3)),
        ("1", "BMP", {}, (16, 24)),
        ("RGBA", "WEBP", {"lossless": True, "exact": True}, (16, 24, 3)),
        ("1", "PPM", {}, (16, 24)),
    ],
)
def test_unusual_kinds_become_grey_rgb_or_rgba_as_another_library_sees_them(
    mode: str, format: str, options: dict[str, object], shape: tuple[int, ...]
) -> None:
    data = pillow_bytes(mode, format, **options)
    image = decode_image(data, X)
    assert image.shape == shape
    assert image.dtype == np.uint8
    seen = np.asarray(Pillow.open(io.BytesIO(data)).convert({24: "L", 3: "RGB", 4: "RGBA"}[shape[-1]]))
    assert np.abs(image.astype(int) - seen).max() <= (1 if format == "JPEG" else 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_exif_rotated_jpeg_comes_out_upright(orientation: int) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    data = pillow_bytes("RGB", "JPEG", exif=exif, quality=100, subsampling=0)
    from PIL import ImageOps

    upright = np.asarray(ImageOps.exif_transpose(Pillow.open(io.BytesIO(data))))
    image = decode_image(data, X)
    assert image.shape == ((16, 24, 3) if orientation <= 4 else (24, 16, 3))
    assert np.abs(image.astype(int) - upright).max() <= 3


# --- damage ----------------------------------------------------------------------------------------------------


def _kinds() -> dict[str, bytes]:
    colour = noise(7, 11, 3, "uint8")
    kinds = {suffix: encode_image(Path("x" + suffix), colour) for suffix in IMAGE_SUFFIXES if suffix != ".pgm"}
    kinds[".pgm"] = encode_image(Path("x.pgm"), noise(7, 11, 1, "uint8"))
    kinds["16-bit png"] = encode_image(X, noise(7, 11, 4, "uint16"))
    kinds["16-bit tif"] = encode_image(Path("x.tif"), noise(7, 11, 1, "uint16"))
    kinds["lossless webp"] = encode_image(Path("x.webp"), colour, quality=LOSSLESS)
    kinds["webp with alpha"] = encode_image(Path("x.webp"), noise(7, 11, 4, "uint8"))
    kinds["bmp with alpha"] = encode_image(Path("x.bmp"), noise(7, 11, 4, "uint8"))
    kinds["progressive jpg"] = pillow_bytes("RGB", "JPEG", progressive=True)
    kinds["lzw tif"] = pillow_bytes("RGB", "TIFF", compression="tiff_lzw")
    kinds["ascii pgm"] = b"P2\n3 2\n255\n7 9 11 13 15 17\n"
    return kinds


@pytest.mark.parametrize("kind", _kinds())
def test_a_file_cut_anywhere_is_refused_or_lost_nothing(kind: str) -> None:
    """Decoders fill what is missing with grey: whatever is still accepted must be the whole image."""
    data = _kinds()[kind]
    whole = decode_image(data, X)
    refused = 0
    for cut in range(len(data)):
        try:
            image = decode_image(data[:cut], X)
        except ImageError:
            refused += 1
        else:
            assert np.array_equal(image, whole) or kind == "ascii pgm", f"cut at {cut} of {len(data)}"
    assert refused >= 0.9 * len(data) or kind == "ascii pgm"


def test_a_png_with_a_flipped_bit_is_refused() -> None:
    data = encode_image(X, noise(7, 11, 3, "uint8"))
    for position in range(8, len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        with pytest.raises(ImageError, match=r"PNG|decoded"):
            decode_image(bytes(damaged), X)


def test_the_end_marker_of_a_thumbnail_does_not_make_a_jpeg_whole() -> None:
    thumbnail = pillow_bytes("RGB", "JPEG")
    exif = b"Exif\0\0" + thumbnail
    main = pillow_bytes("RGB", "JPEG", quality=100)
    data = main[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + main[2:]
    assert decode_image(data, X).shape == (16, 24, 3)
    assert b"\xff\xd9" in data[: len(data) // 2]
    for cut in (len(data) - 1, len(data) - len(main) // 2, len(data) - len(main) + 40):
        with pytest.raises(ImageError, match="is a truncated JPEG"):
            decode_image(data[:cut], X)


def _png(width: int, height: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_a_png_with_rows_missing_behind_right_checksums_is_refused() -> None:
    rows = b"".join(b"\0" + bytes([9] * 8) for _ in range(6))
    assert decode_image(_png(8, 6, rows), X).tolist() == [[9] * 8] * 6
    with pytest.raises(ImageError, match="decoded"):
        decode_image(_png(8, 6, rows[:27]), X)


def _bmp(bits: int, pixels: bytes) -> bytes:
    """A bitmap of 2x4 pixels."""
    head = struct.pack("<2sIHHI", b"BM", 54 + len(pixels), 0, 0, 54)
    return head + struct.pack("<IiiHHIIiiII", 40, 4, 2, 1, bits, 0, len(pixels), *[0] * 4) + pixels


def test_a_bitmap_with_a_constant_fourth_byte_is_rgb() -> None:
    colours = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    for fourth in (0, 255):
        pixels = np.dstack([colours, np.full((2, 4), fourth, np.uint8)])
        assert np.array_equal(decode_image(_bmp(32, pixels.tobytes()), X), colours[::-1, :, ::-1])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"this is text, not an image\n" * 20, "is not an image"),
        (b"\x89PNG\r\n\x1a\n", "truncated or corrupt PNG"),
        (b"\xff\xd8", "truncated JPEG"),
        (b"BM", "is not an image"),
        (b"RIFF\xff\xff\xff\xffWEBP", "truncated WebP"),
        (_png(100_000, 100_000, b"\0" * 100), "has 10,000,000,000 pixels"),
        (_png(0, 6, b""), "is not an image"),
        (b"P5\n30000 30000\n255\nxxx", "decoded"),
        (struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 54, 0, 0, 54, 40, 10**5, 10**5, 1, 24, *[0] * 6), "truncated BMP"),
        (pillow_bytes("F", "TIFF"), "holds float32 values"),
        (pillow_bytes("I", "TIFF"), "holds int32 values"),
        (pillow_bytes("CMYK", "JPEG"), "holds CMYK colours"),
        (pillow_bytes("L", "PNG", transparency=30), "marks a grey level as transparent"),
        (_bmp(16, bytes(4 * 2 * 2)), "holds 5 or 6 bits a channel"),
        (_bmp(32, bytes(range(4 * 2 * 4))), "may hold an alpha channel"),
    ],
)
def test_what_is_no_image_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason) as raised:
        decode_image(data, Path("in/eye.png"))
    assert raised.value.path == Path("in/eye.png")
    assert "in/eye.png" not in raised.value.reason


def test_a_jpeg_that_claims_too_much_is_refused_before_decoding() -> None:
    data = bytearray(pillow_bytes("L", "JPEG"))
    start = data.index(b"\xff\xc0")
    data[start + 5 : start + 9] = struct.pack(">HH", 60_000, 60_000)
    with pytest.raises(ImageError, match="has 3,600,000,000 pixels"):
        decode_image(bytes(data), X)


def test_every_type_is_held_to_the_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "MAX_PIXELS", 76)
    for kind, data in _kinds().items():
        if kind not in ("progressive jpg", "lzw tif", "ascii pgm"):  # of another size
            with pytest.raises(ImageError, match="has 77 pixels; at most 76"):
                decode_image(data, X)
    monkeypatch.setattr(image_files, "MAX_PIXELS", 77)
    assert decode_image(encode_image(X, noise(7, 11, 1, "uint8")), X).shape == (7, 11)


@given(
    data=st.binary(max_size=200),
    head=st.sampled_from([b"", b"BM", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"P5 ", b"II*\0"]),
)
@settings(max_examples=200, deadline=None)
def test_garbage_is_refused_and_never_crashes(data: bytes, head: bytes) -> None:
    try:
        image = decode_image(head + data, X)
    except ImageError:
        return
    assert image.dtype in (np.uint8, np.uint16)
    assert image.ndim == 2 or image.shape[2] in (3, 4)


def test_reading_names_the_file_and_the_reason(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    with (tmp_path / "huge.png").open("wb") as stream:
        stream.truncate(image_files.MAX_BYTES + 1)
    reasons = {
        "missing.png": "No such file",
        "dangling.png": "No such file",
        "folder.png": "is not a regular file",
        "pipe.png": "is not a regular file",
        "loop.png": "cannot be read",
        "huge.png": "bytes; at most",
    }
    for name, reason in reasons.items():
        with pytest.raises(ImageError, match=reason) as raised:
            read_image(tmp_path / name)
        assert raised.value.path == tmp_path / name


def test_writing_is_atomic_and_makes_the_folder(tmp_path: Path) -> None:
    image = noise(4, 6, 1, "uint16")
    write_image(tmp_path / "a b" / "ü.png", image)
    assert np.array_equal(read_image(tmp_path / "a b" / "ü.png"), image)
    with pytest.raises(ImageError):
        write_image(tmp_path / "a b" / "ü.jpg", image)
    assert [entry.name for entry in (tmp_path / "a b").iterdir()] == ["ü.png"]


def test_quality_is_passed_on() -> None:
    image = noise(32, 48, 3, "uint8")
    for suffix in (".jpg", ".webp"):
        path = Path("x" + suffix)
        sizes = [len(encode_image(path, image, quality=quality)) for quality in (10, 95)]
        assert sizes[0] < sizes[1] / 2


def test_jpeg_keeps_full_chroma() -> None:
    """Red and blue columns of one pixel: with halved chroma both come out violet."""
    image = np.zeros((16, 16, 3), np.uint8)
    image[:, ::2, 0] = image[:, 1::2, 2] = 200
    back = decode_image(encode_image(Path("x.jpg"), image, quality=95), X).astype(int)
    assert (back[:, ::2, 0] - back[:, 1::2, 0]).min() > 120


def test_lossless_webp_is_told_from_lossy(tmp_path: Path) -> None:
    files = {
        "opencv.webp": (encode_image(Path("x.webp"), noise(5, 7, 3, "uint8"), quality=LOSSLESS), True),
        "lossy.webp": (encode_image(Path("x.webp"), noise(5, 7, 3, "uint8"), quality=90), False),
        "alpha.webp": (encode_image(Path("x.webp"), noise(5, 7, 4, "uint8"), quality=90), False),
        "extended.WEBP": (pillow_bytes("RGB", "WEBP", lossless=True, exif=b"Exif\0\0MM\0*abc", icc_profile=b"x"), True),
        "extended lossy.webp": (pillow_bytes("RGB", "WEBP", exif=b"Exif\0\0MM\0*abc"), False),
        "text.webp": (b"text", False),
        "cut.webp": (b"RIFF\x10\0\0\0WEBPVP8X", False),
        "eye.png": (encode_image(X, noise(5, 7, 3, "uint8")), False),
    }
    for name, (data, lossless) in files.items():
        (tmp_path / name).write_bytes(data)
        assert is_lossless_webp(tmp_path / name) is lossless, name


def test_image_names_are_known_by_their_last_suffix() -> None:
    assert all(is_image_file(Path(f"eye{suffix.upper()}")) for suffix in IMAGE_SUFFIXES)
    assert not any(is_image_file(Path(name)) for name in ("png", "eye.png.txt", "eye.gif", "eye.npy", ".png"))


def test_opencv_says_nothing_on_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ImageError):
        decode_image(encode_image(Path("x.tif"), noise(7, 11, 1, "uint8"))[:60], X)
    assert capfd.readouterr().err == ""
    assert cv2.utils.logging.getLogLevel() == cv2.utils.logging.LOG_LEVEL_SILENT
