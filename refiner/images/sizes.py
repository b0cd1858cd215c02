"""Size of the image in a file, as it is decoded, from the start of the file."""

import contextlib
from pathlib import Path

from refiner.images.headers import read_header
from refiner.images.tiff import exif_orientation

_START = 2**16  # bytes that hold the header of most files
_SCAN = 64  # bytes of a scan that are kept
_PNG = b"\x89PNG\r\n\x1a\n"
_EXIF = b"Exif\0\0"
_TURNED = (5, 6, 7, 8)
"""EXIF orientations that exchange height and width."""


def read_size(path: Path) -> tuple[int, int] | None:
    """Return (height, width) of the upright image in a file; None if the file does not show it or cannot be read."""
    try:
        with path.open("rb") as stream:
            data = stream.read(_START)
            header = read_header(_without_scans(data))
            if not (header.height and header.width):
                data += stream.read()
                header = read_header(_without_scans(data))
    except OSError:
        return None
    if not (header.height and header.width):
        return None
    orientation = header.orientation
    if data.startswith(_PNG):
        orientation = _png_orientation(path)
    elif data.startswith(b"\xff\xd8"):
        orientation = _jpeg_orientation(data)
    elif data.startswith((b"II", b"MM")):  # the decoder turns TIFF files by itself, too
        orientation = exif_orientation(data)
    return (header.width, header.height) if orientation in _TURNED else (header.height, header.width)


def _without_scans(data: bytes) -> bytes:
    """Return the bytes of a file, those of a JPEG file only up to its first scan: to search the rest takes time."""
    if not data.startswith(b"\xff\xd8"):
        return data
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        if data[position + 1] == 0xDA:
            return data[: position + _SCAN]
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return data


def _png_orientation(path: Path) -> int:
    """Return the EXIF orientation of a PNG file, 1 to 8, which may stand behind the pixels; they are skipped."""
    with contextlib.suppress(OSError), path.open("rb") as stream:
        stream.seek(len(_PNG))
        while len(head := stream.read(8)) == 8 and not head.endswith(b"IEND"):
            length = int.from_bytes(head[:4], "big")
            if head.endswith(b"eXIf"):
                return exif_orientation(stream.read(length))
            stream.seek(length + 4, 1)
    return 1


def _jpeg_orientation(data: bytes) -> int:
    """Return the EXIF orientation of a JPEG file, 1 to 8, which the decoder follows by itself."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF and data[position + 1] not in (0xDA, 0xD9):
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        if data[position + 1] == 0xE1 and data.startswith(_EXIF, position + 4):
            return exif_orientation(data[position + 4 + len(_EXIF) : position + 2 + length])
        position += 2 + length
    return 1
