"""Odd image files, in memory: unusual but valid ones, and files that are damaged, too large or not images.

The fuzzer and the tests put them among valid files. Pillow writes the kinds that our own writer does not.
"""

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo


class OddImage(NamedTuple):
    """An image file.

    Attributes:
        suffix: suffix of its name.
        data: its bytes.
        sound: True if it must be read, False if it must be refused, None if both are right.
    """

    suffix: str
    data: bytes
    sound: bool | None = True


def picture(height: int = 36, width: int = 60, *, turn: int = 0) -> Pillow.Image:
    """A smooth RGB picture whose corners differ."""
    y, x = np.mgrid[:height, :width]
    planes = [x * 255 // max(width - 1, 1), y * 255 // max(height - 1, 1), (x * 3 + y * 5 + turn * 40) % 256]
    return Pillow.fromarray(np.stack(planes, axis=-1).astype(np.uint8))


def saved(format: str, mode: str = "RGB", image: Pillow.Image | None = None, **options: Any) -> bytes:
    """The bytes that Pillow writes."""
    stream = io.BytesIO()
    (image or picture()).convert(mode).save(stream, format, **options)
    return stream.getvalue()


def png(header: tuple[int, ...], body: bytes, *extra: tuple[bytes, bytes]) -> bytes:
    """A PNG file with right checksums: (width, height, depth, colour, compression, filter, interlace), raw rows."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", *header)), *extra, (b"IDAT", zlib.compress(body)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part)) for kind, part in chunks
    )


def interlaced_png(image: np.ndarray[Any, Any]) -> bytes:
    """An 8-bit grey PNG in the seven passes of Adam7."""
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    parts = [image[top::down, left::right] for top, left, down, right in passes]
    rows = b"".join(b"\0" + row.tobytes() for part in parts if part.size for row in part)
    return png((image.shape[1], image.shape[0], 8, 0, 0, 0, 1), rows)


def patched(data: bytes, position: int, value: bytes) -> bytes:
    """The bytes with some of them replaced."""
    return data[:position] + value + data[position + len(value) :]


def turned(orientation: int, format: str) -> bytes:
    """A picture with an EXIF orientation."""
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    return saved(format, exif=exif)


def _pngs() -> Iterator[tuple[str, OddImage]]:
    whole = saved("PNG")
    rows = b"".join(b"\0" + bytes(60) for _ in range(36))
    frames = [picture(turn=turn) for turn in (1, 2)]
    info = PngInfo()
    info.add_text("Comment", "x" * 4_000_000, zip=True)
    yield "one pixel", OddImage(".png", saved("PNG", "L", picture(1, 1)))
    yield "one row", OddImage(".png", saved("PNG", "L", picture(1, 70_000)))
    yield "one column", OddImage(".png", saved("PNG", "RGB", picture(3000, 1)))
    yield "palette", OddImage(".png", saved("PNG", "P"))
    yield "palette with alpha", OddImage(".png", saved("PNG", "P", transparency=3))
    yield "one bit", OddImage(".png", saved("PNG", "1"))
    yield "four bits", OddImage(".png", saved("PNG", "L", bits=4))
    yield "grey with alpha", OddImage(".png", saved("PNG", "LA"))
    yield "RGBA", OddImage(".png", saved("PNG", "RGBA"))
    yield (
        "16 bits",
        OddImage(".png", saved("PNG", "I;16", Pillow.fromarray(np.arange(2160, dtype=np.uint16).reshape(36, 60)))),
    )
    yield "interlaced", OddImage(".png", interlaced_png(np.asarray(picture().convert("L"))))
    yield "turned PNG", OddImage(".png", turned(6, "PNG"))
    yield "long comment", OddImage(".png", saved("PNG", pnginfo=info))
    yield "bytes behind a PNG", OddImage(".png", whole + b"garbage" * 9)
    yield "animated PNG", OddImage(".png", saved("PNG", save_all=True, append_images=frames), False)
    yield "PNG bomb", OddImage(".png", png((60_000, 60_000, 8, 2, 0, 0, 0), bytes(9)), False)
    yield "flat and large", OddImage(".png", saved("PNG", "1", Pillow.new("1", (3000, 2500))))
    yield "no width", OddImage(".png", png((0, 36, 8, 0, 0, 0, 0), b""), False)
    yield "rows missing", OddImage(".png", png((60, 36, 8, 0, 0, 0, 0), rows[:900]), False)
    yield "half a PNG", OddImage(".png", whole[: len(whole) // 2], False)
    yield "checksum", OddImage(".png", patched(whole, len(whole) // 2, b"\xaa\x55"), False)


def _jpegs() -> Iterator[tuple[str, OddImage]]:
    whole = saved("JPEG", image=picture(72, 120), quality=95)
    scan = whole.index(b"\xff\xda") + 14
    frame = whole.index(b"\xff\xc0") + 5
    middle = (scan + len(whole)) // 2
    garbage = np.random.default_rng(0).integers(0, 256, 600).astype(np.uint8).tobytes()
    yield "CMYK", OddImage(".jpg", saved("JPEG", "CMYK"), False)
    yield "progressive", OddImage(".jpg", saved("JPEG", progressive=True))
    yield "grey JPEG", OddImage(".jpeg", saved("JPEG", "L"))
    yield "restart markers", OddImage(".jpg", saved("JPEG", image=picture(72, 120), restart_marker_blocks=2))
    yield "turned JPEG", OddImage(".jpg", turned(6, "JPEG"))
    yield "mirrored JPEG", OddImage(".jpg", turned(5, "JPEG"))
    yield "wrong orientation", OddImage(".jpg", turned(77, "JPEG"))
    yield "bytes behind a JPEG", OddImage(".jpg", whole + b"garbage" * 9)
    yield "half a JPEG", OddImage(".jpg", whole[:middle], False)
    yield "half a JPEG, ended", OddImage(".jpg", whole[:middle] + b"\xff\xd9", None)
    yield "garbage in a JPEG", OddImage(".jpg", patched(whole, middle - 300, garbage), False)
    yield "zeros in a JPEG", OddImage(".jpg", patched(whole, middle, bytes(200)), None)
    yield "JPEG bomb", OddImage(".jpg", patched(whole, frame, struct.pack(">HH", 60_000, 60_000)), False)
    yield "taller than its data", OddImage(".jpg", patched(whole, frame, struct.pack(">HH", 144, 120)), None)
    yield "no frame", OddImage(".jpg", patched(whole, frame - 5, b"\xff\xe5"), False)


def _tiffs() -> Iterator[tuple[str, OddImage]]:
    whole = saved("TIFF")
    width = whole.index(struct.pack("<HHII", 256, 4, 1, 60)) if struct.pack("<HHII", 256, 4, 1, 60) in whole else 0
    yield "float", OddImage(".tif", saved("TIFF", "F"), False)
    yield "integers", OddImage(".tif", saved("TIFF", "I"), False)
    yield "one-bit TIFF", OddImage(".tif", saved("TIFF", "1"))
    yield "palette TIFF", OddImage(".tiff", saved("TIFF", "P"))
    yield "CMYK TIFF", OddImage(".tif", saved("TIFF", "CMYK"), False)
    for method in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        yield method, OddImage(".tif", saved("TIFF", compression=method))
        data = saved("TIFF", compression=method)
        yield f"half of {method}", OddImage(".tif", data[: len(data) // 2], False)
    yield "BigTIFF", OddImage(".tif", saved("TIFF", big_tiff=True))
    yield "pages", OddImage(".tif", saved("TIFF", save_all=True, append_images=[picture(turn=1)]), False)
    yield "turned TIFF", OddImage(".tif", turned(6, "TIFF"))
    yield "half a TIFF", OddImage(".tif", whole[: len(whole) // 2], False)
    if width:
        yield "TIFF bomb", OddImage(".tif", patched(whole, width + 8, struct.pack("<I", 60_000)), False)


def _others() -> Iterator[tuple[str, OddImage]]:
    webp, bmp = saved("WEBP"), saved("BMP")
    frames = [picture(turn=turn) for turn in (1, 2)]
    yield "WebP", OddImage(".webp", webp)
    yield "lossless WebP", OddImage(".webp", saved("WEBP", "RGBA", lossless=True))
    yield "turned WebP", OddImage(".webp", turned(6, "WEBP"))
    yield "animated WebP", OddImage(".webp", saved("WEBP", save_all=True, append_images=frames), False)
    yield "half a WebP", OddImage(".webp", webp[: len(webp) // 2], False)
    yield (
        "shortened WebP",
        OddImage(".webp", patched(webp[: len(webp) // 2], 4, struct.pack("<I", len(webp) // 2 - 8)), False),
    )
    yield "one-bit BMP", OddImage(".bmp", saved("BMP", "1"))
    yield "palette BMP", OddImage(".bmp", saved("BMP", "P"))
    yield "half a BMP", OddImage(".bmp", bmp[: len(bmp) // 2], False)
    yield "BMP bomb", OddImage(".bmp", patched(bmp, 18, struct.pack("<ii", 60_000, 60_000)), False)
    yield (
        "RLE BMP bomb",
        OddImage(
            ".bmp", patched(patched(bmp, 18, struct.pack("<ii", 60_000, 60_000)), 28, struct.pack("<HI", 8, 1)), False
        ),
    )
    yield "bitmap", OddImage(".pgm", saved("PPM", "1"))
    yield "text PGM", OddImage(".pgm", b"P2\n# a comment\n3 2\n255\n7 9 11 13 15 17\n")
    yield "low PGM", OddImage(".pgm", b"P5\n3 2\n15\n\0\1\2\3\4\5", None)
    yield "short PPM", OddImage(".ppm", b"P6\n60 36\n255\n" + bytes(99), False)
    yield "PPM bomb", OddImage(".ppm", b"P6\n60000 60000\n255\n" + bytes(99), False)
    yield "GIF", OddImage(".png", saved("GIF", "P"), None)
    yield "JPEG 2000", OddImage(".jpg", saved("JPEG2000"), None)
    yield "text", OddImage(".png", b"no image at all\n" * 20, False)
    yield "empty", OddImage(".png", b"", False)
    yield "markup", OddImage(".png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", False)


def odd_images() -> dict[str, OddImage]:
    """Return all odd images by their description."""
    makers: list[Callable[[], Iterator[tuple[str, OddImage]]]] = [_pngs, _jpegs, _tiffs, _others]
    return {name: image for maker in makers for name, image in maker()}
