"""Image files in and out: whole, in the file's own depth and channels, RGB order.

Images are NumPy arrays uint8 or uint16, (H, W) when grey, (H, W, 3) RGB, (H, W, 4) RGBA. The depth is the
file type's, never guessed from the values. OpenCV's BGR order does not leave this module.
"""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from refiner.errors import ImageError
from refiner.files import write_bytes

MAX_PIXELS = 2**26
"""Largest image that is decoded, in pixels (67 million): beyond it a file is an accident or an attack."""

MAX_BYTES = 2**30
"""Largest file that is read, in bytes: more than the largest image needs."""

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # its warnings name no file; ours do

Image = np.ndarray[Any, np.dtype[Any]]
"""uint8 or uint16, (H, W), (H, W, 3) or (H, W, 4)."""

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
"""File types that are read and written, lower case."""

LOSSLESS = 101
"""Quality of a WebP file that keeps every level."""

_JPEG_SUFFIXES = (".jpg", ".jpeg")
_SIXTEEN_BIT_SUFFIXES = (".png", ".tif", ".tiff", ".pgm", ".ppm")


def is_image_file(path: Path) -> bool:
    """Whether the name ends like an image that can be read and written."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def read_image(path: Path) -> Image:
    """Read one image as it is stored; a JPEG is turned upright by its EXIF orientation.

    Raises:
        ImageError: the file is missing, empty, truncated, corrupt, too large, or not an image.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe or a device would be read for ever
            raise ImageError(path, "is not a regular file")
        if path.stat().st_size > MAX_BYTES:
            raise ImageError(path, f"has {path.stat().st_size:,} bytes, at most {MAX_BYTES:,} are read")
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(path, f"cannot be read ({error.strerror or error})") from error
    return decode_image(data, path)


def decode_image(data: bytes, path: Path) -> Image:
    """Decode the bytes of an image file; ``path`` is for messages.

    Raises:
        ImageError: the bytes are empty, truncated, corrupt, too large, or not an image.
    """
    if not data:
        raise ImageError(path, "is empty")
    damage = _damage(data)
    if damage:
        raise ImageError(path, damage)
    if _declared_pixels(data) > MAX_PIXELS:
        raise ImageError(path, f"has {_declared_pixels(data):,} pixels, at most {MAX_PIXELS:,} are read")
    # A JPEG has no alpha to lose, and only this flag makes OpenCV honour its EXIF orientation.
    jpeg = data.startswith(b"\xff\xd8")
    flags = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH if jpeg else cv2.IMREAD_UNCHANGED
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except (cv2.error, MemoryError) as error:
        raise ImageError(path, "cannot be decoded") from error
    if image is None:
        raise ImageError(path, "is not an image that can be decoded")
    if image.dtype not in (np.uint8, np.uint16):
        raise ImageError(path, f"holds {image.dtype} values; expected 8 or 16 bits")
    if image.shape[0] * image.shape[1] > MAX_PIXELS:  # of the types whose header is not read here
        raise ImageError(path, f"has {image.shape[0] * image.shape[1]:,} pixels, at most {MAX_PIXELS:,} are read")
    return _swapped(image)


def write_image(path: Path, image: Image, *, quality: int = 95) -> None:
    """Write one image atomically, in the type that the name asks for.

    Args:
        path: file with a known suffix; its folder is made.
        image: uint8 or uint16, (H, W), (H, W, 3) RGB or (H, W, 4) RGBA.
        quality: of JPEG and WebP, 1 to 100; ``LOSSLESS`` for WebP.

    Raises:
        ImageError: the type cannot hold this depth or these channels.
        OutputError: the disk refuses.
    """
    write_bytes(path, encode_image(path, image, quality=quality))


def encode_image(path: Path, image: Image, *, quality: int = 95) -> bytes:
    """The bytes of an image file of the type that ``path`` asks for; see :func:`write_image`."""
    suffix = path.suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        raise ImageError(path, f"has no known image suffix; expected one of {' '.join(IMAGE_SUFFIXES)}")
    if image.dtype == np.uint16 and suffix not in _SIXTEEN_BIT_SUFFIXES:
        raise ImageError(path, f"{suffix} holds 8 bits, the image 16; use .png")
    if image.ndim == 3 and image.shape[2] == 4 and suffix in (*_JPEG_SUFFIXES, ".pgm", ".ppm"):
        raise ImageError(path, f"{suffix} holds no alpha channel; use .png")
    options: list[int] = []
    if suffix in _JPEG_SUFFIXES:
        full_chroma = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
        options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, full_chroma]
    elif suffix == ".webp":
        options = [cv2.IMWRITE_WEBP_QUALITY, quality]
    try:
        done, encoded = cv2.imencode(suffix, _swapped(image), options)
    except cv2.error as error:
        raise ImageError(path, f"cannot hold an image of {image.shape} {image.dtype}") from error
    if not done:  # grey in .ppm, colour in .pgm
        raise ImageError(path, f"{suffix} cannot hold an image of {image.shape} {image.dtype}; use .png")
    return encoded.tobytes()


def is_lossless_webp(path: Path) -> bool:
    """Whether a file is a WebP that keeps every level, so that what is made from it should be one too."""
    if path.suffix.lower() != ".webp":
        return False
    with path.open("rb") as stream:
        if stream.read(12)[8:] != b"WEBP":
            return False
        while len(chunk := stream.read(8)) == 8 and chunk[:4] not in (b"VP8L", b"VP8 "):
            length = int.from_bytes(chunk[4:], "little")
            stream.seek(length + length % 2, 1)
        return chunk[:4] == b"VP8L"


def _swapped(image: Image) -> Image:
    """RGB(A) from BGR(A) and back; a single channel loses its axis."""
    if image.ndim == 2:
        return image
    if image.shape[2] == 1:
        return np.ascontiguousarray(image[:, :, 0])
    order = [2, 1, 0] if image.shape[2] == 3 else [2, 1, 0, 3]
    return np.ascontiguousarray(image[:, :, order])


def _damage(data: bytes) -> str | None:
    """What is missing from the file, or None: decoders fill what is cut off with grey and say nothing."""
    if data.startswith(b"\xff\xd8"):
        return None if _jpeg_is_whole(data) else "is a truncated JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return None if _png_is_whole(data) else "is a truncated or corrupt PNG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return None if len(data) >= 8 + int.from_bytes(data[4:8], "little") else "is a truncated WebP"
    if data.startswith(b"BM") and len(data) >= 54:
        return None if _bmp_is_whole(data) else "is a truncated BMP"
    return None


def _declared_pixels(data: bytes) -> int:
    """Height times width as the header of a PNG or JPEG has it, before any memory is spent; 0 for other types."""
    if data.startswith(b"\x89PNG"):
        return int.from_bytes(data[16:20], "big") * int.from_bytes(data[20:24], "big")
    for marker, position in _jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame
            return int.from_bytes(data[position + 5 : position + 7], "big") * int.from_bytes(
                data[position + 7 : position + 9], "big"
            )
    return 0


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Marker and position of each segment of a JPEG up to the first scan; none for other types."""
    position = 2
    while data.startswith(b"\xff\xd8") and position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        yield marker, position
        if marker == 0xDA:  # start of scan: what follows is entropy-coded
            return
        standalone = marker == 0x01 or 0xD0 <= marker <= 0xD7
        position += 2 if standalone else 2 + int.from_bytes(data[position + 2 : position + 4], "big")


def _jpeg_is_whole(data: bytes) -> bool:
    """Whether the end-of-image marker follows the scans; one inside an EXIF thumbnail does not count."""
    return any(marker == 0xDA and data.find(b"\xff\xd9", position) >= 0 for marker, position in _jpeg_segments(data))


def _png_is_whole(data: bytes) -> bool:
    """Whether every chunk up to IEND is there with the right checksum."""
    position = 8
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        kind, end = data[position + 4 : position + 8], position + 8 + length
        if zlib.crc32(data[position + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return False
        if kind == b"IEND":
            return True
        position = end + 4
    return False


def _bmp_is_whole(data: bytes) -> bool:
    """Whether an uncompressed bitmap has all its rows."""
    offset, width = int.from_bytes(data[10:14], "little"), int.from_bytes(data[18:22], "little", signed=True)
    height, bits = int.from_bytes(data[22:26], "little", signed=True), int.from_bytes(data[28:30], "little")
    compression = int.from_bytes(data[30:34], "little")
    row = (abs(width) * bits + 31) // 32 * 4
    return compression != 0 or len(data) >= offset + row * abs(height)
