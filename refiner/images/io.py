"""Reading and writing of image files in their own depth and channels.

Images are NumPy arrays, uint8 or uint16, of shape (H, W) if grey, (H, W, 3) if RGB, (H, W, 4) if RGBA. The depth is
that of the file, never guessed from the values. OpenCV's BGR order does not leave this module.
"""

import stat
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from refiner.core.errors import ImageError
from refiner.core.files import write_bytes
from refiner.images.headers import read_header
from refiner.images.profiles import with_profile
from refiner.images.tiff import EXTRA_SAMPLES, add_tag

MAX_PIXELS = 2**26
"""Largest image that is decoded, in pixels (67 million); larger files are probably damaged or malicious."""

MAX_BYTES = 2**30
"""Largest file that is read, in bytes; the largest image needs less."""

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # OpenCV's warnings name no file; our errors do

Image = np.ndarray[Any, np.dtype[Any]]
"""uint8 or uint16, (H, W), (H, W, 3) or (H, W, 4)."""


class Picture(NamedTuple):
    """An image file.

    Attributes:
        image: the pixels.
        profile: ICC colour profile of the file; empty if it has none.
    """

    image: Image
    profile: bytes


IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
"""Suffixes of the supported file types, in lower case."""

LOSSLESS_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
"""Suffixes of the file types that keep every level; WebP does so with the quality ``LOSSLESS``."""

LOSSLESS = 101
"""Quality value that writes a lossless WebP file."""

_JPEG_SUFFIXES = (".jpg", ".jpeg")
_SIXTEEN_BIT_SUFFIXES = (".png", ".tif", ".tiff", ".pgm", ".ppm")


def is_image_file(path: Path) -> bool:
    """Check whether a file name has the suffix of a supported image type."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def read_image(path: Path) -> Image:
    """Read one image as it is stored, turned upright by its EXIF orientation.

    Raises:
        ImageError: the file is missing, empty, truncated, corrupt, too large, not an image, or of a kind that would be
            decoded wrongly.
    """
    return read_picture(path).image


def read_picture(path: Path) -> Picture:
    """Read one image with its colour profile; see :func:`read_image`."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe or a device might never end
            raise ImageError(path, "is not a regular file")
        if status.st_size > MAX_BYTES:
            raise ImageError(path, f"has {status.st_size:,} bytes; at most {MAX_BYTES:,} are read")
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(path, f"cannot be read ({error.strerror or error})") from error
    return decode_picture(data, path)


def decode_image(data: bytes, path: Path) -> Image:
    """Decode the bytes of an image file.

    Args:
        data: content of the file.
        path: path of the file, for error messages.

    Returns:
        uint8 or uint16, (H, W), (H, W, 3) RGB or (H, W, 4) RGBA, upright.

    Raises:
        ImageError: see :func:`read_image`.
    """
    return decode_picture(data, path).image


def decode_picture(data: bytes, path: Path) -> Picture:
    """Decode the bytes of an image file with its colour profile; see :func:`decode_image`."""
    if not data:
        raise ImageError(path, "is empty")
    # Refuse damaged, multi-page and huge files before decoding.
    header = read_header(data)
    if header.problem:
        raise ImageError(path, header.problem)
    if header.pictures != 1:
        raise ImageError(
            path, f"holds {header.pictures} pictures (pages or frames); expected one, so save each as its own file"
        )
    if header.height * header.width > MAX_PIXELS:
        raise ImageError(path, f"has {header.height * header.width:,} pixels; at most {MAX_PIXELS:,} are read")
    if header.straight_alpha:  # call alpha unspecified, or the decoder multiplies the colours by it
        data = data[: header.straight_alpha] + bytes(2) + data[header.straight_alpha + 2 :]
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
    if image.shape[0] * image.shape[1] > MAX_PIXELS:  # the header may have been wrong
        raise ImageError(path, f"has {image.shape[0] * image.shape[1]:,} pixels; at most {MAX_PIXELS:,} are read")
    if header.inverted:
        image = np.invert(image)
    return Picture(_upright(_swapped(image), header.orientation), header.profile)


def write_image(path: Path, image: Image, *, quality: int = 95, profile: bytes = b"") -> None:
    """Write one image atomically in the file type of the path's suffix.

    Args:
        path: file with a supported suffix; its folder is created.
        image: uint8 or uint16, (H, W), (H, W, 3) RGB or (H, W, 4) RGBA.
        quality: quality of JPEG and WebP, 1 to 100, or ``LOSSLESS`` for WebP.
        profile: ICC colour profile to write; PGM, PPM and BMP hold none.

    Raises:
        ImageError: the file type does not support the depth or channels of the image.
        OutputError: the file cannot be written, for example because the disk is full.
    """
    write_bytes(path, encode_image(path, image, quality=quality, profile=profile))


def encode_image(path: Path, image: Image, *, quality: int = 95, profile: bytes = b"") -> bytes:
    """Encode an image in the file type of the path's suffix.

    Args and errors are those of :func:`write_image`, but nothing is written.
    """
    suffix = path.suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        raise ImageError(path, f"has no known image suffix; expected one of {' '.join(IMAGE_SUFFIXES)}")
    if image.dtype == np.uint16 and suffix not in _SIXTEEN_BIT_SUFFIXES:
        raise ImageError(path, f"{suffix} holds 8 bits, but the image has 16; use .png")
    if image.ndim == 3 and image.shape[2] == 4 and suffix in (*_JPEG_SUFFIXES, ".pgm", ".ppm"):
        raise ImageError(path, f"{suffix} holds no alpha channel; use .png")
    # Full chroma resolution in JPEG, and exact colours in lossless WebP.
    options: list[int] = []
    if suffix in _JPEG_SUFFIXES:
        full_chroma = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
        options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, full_chroma]
    elif suffix == ".webp":
        options = [cv2.IMWRITE_WEBP_QUALITY, quality]
        if quality == LOSSLESS:  # keep the colour of transparent pixels, too
            options += [cv2.IMWRITE_WEBP_LOSSLESS_MODE, cv2.IMWRITE_WEBP_LOSSLESS_PRESERVE_COLOR]
    try:
        done, encoded = cv2.imencode(suffix, _swapped(image), options)
    except cv2.error as error:
        raise ImageError(path, f"cannot hold an image of {image.shape} {image.dtype}") from error
    if not done:  # for example grey in .ppm or colour in .pgm
        raise ImageError(path, f"{suffix} cannot hold an image of {image.shape} {image.dtype}; use .png")
    data = encoded.tobytes()
    if suffix in (".tif", ".tiff") and image.ndim == 3 and image.shape[2] == 4:
        data = add_tag(data, EXTRA_SAMPLES, 3, 1, b"\2\0")  # or other programs take alpha for padding
    return with_profile(data, profile)


def is_lossless_webp(path: Path) -> bool:
    """Check whether a file is a lossless WebP; its refined image should then be lossless, too."""
    if path.suffix.lower() != ".webp":
        return False
    with path.open("rb") as stream:
        if stream.read(12)[8:] != b"WEBP":
            return False
        # Skip all chunks before the image data.
        while len(chunk := stream.read(8)) == 8 and chunk[:4] not in (b"VP8L", b"VP8 "):
            length = int.from_bytes(chunk[4:], "little")
            stream.seek(length + length % 2, 1)
        return chunk[:4] == b"VP8L"


def _swapped(image: Image) -> Image:
    """Convert between RGB(A) and BGR(A); a single channel loses its axis."""
    if image.ndim == 2:
        return image
    if image.shape[2] == 1:
        return np.ascontiguousarray(image[:, :, 0])
    order = [2, 1, 0] if image.shape[2] == 3 else [2, 1, 0, 3]
    return np.ascontiguousarray(image[:, :, order])


def _upright(image: Image, orientation: int) -> Image:
    """Turn an image upright: orientations 2 to 4 flip or rotate by 180 degrees, 5 to 8 also swap rows and columns."""
    if orientation > 4:
        image = image.swapaxes(0, 1)
    down = -1 if orientation in (3, 4, 7, 8) else 1
    right = -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(image[::down, ::right])
