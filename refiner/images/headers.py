"""Inspection of image files before decoding: type, size, number of pictures, and signs of damage.

Decoders silently fill missing data with grey and silently take the first of several pictures. This module detects both.
It cannot detect damage that no header, length or checksum reveals. Examples are a JPEG whose coded data was shortened
and terminated again, or overwritten without a byte 255, and changed levels in file types without checksums.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator

from refiner.images.tiff import BROKEN, Header, exif_orientation, read_tiff

BETWEEN_SCANS = frozenset([0xC4, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)])
"""Markers of JPEG segments that may occur between two scans."""

JPEG_PROFILE = b"ICC_PROFILE\0"
"""First bytes of a JPEG segment that holds a part of a colour profile."""

_MAX_PROFILE = 2**24  # bytes of a colour profile
_AFTER_DATA = re.compile(rb"\xff+([^\x00\xff])")
_PNM = re.compile(rb"P([1-6])" + rb"(?:\s|#[^\n]*\n)+(\d{1,9})" * 2)
_PNM_HIGHEST = re.compile(rb"(?:\s|#[^\n]*\n)+(\d{1,9})\s")


def read_header(data: bytes) -> Header:
    """Read the header of an image file from its bytes; a file of an unknown type has a problem."""
    for start, read in _TYPES.items():
        if data.startswith(start):
            try:
                return read(data)
            except BROKEN:  # the data ends within the header
                return Header(problem="is truncated in its header; it is not an image that can be decoded")
    return Header(problem="is not an image of a supported type: PNG, JPEG, TIFF, WebP, BMP, PGM or PPM")


# --- PNG -------------------------------------------------------------------------------------------------------


def _png(data: bytes) -> Header:
    pictures, orientation, position = 1, 1, 8
    height = width = 0
    problem, profile, grey = "", b"", False
    # Walk through the chunks, whose checksums reveal damage, until the end chunk.
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        kind, end = data[position + 4 : position + 8], position + 8 + length
        if zlib.crc32(data[position + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            break
        body = data[position + 8 : min(end, position + 8 + 2**16)]
        if kind == b"IHDR":
            width, height = struct.unpack_from(">II", body)
            grey = body[9] == 0
        elif kind == b"tRNS" and grey:
            problem = "marks a grey level as transparent, which would be lost; save it with an alpha channel"
        elif kind == b"iCCP":
            profile = _inflated(data[position + 8 : end].partition(b"\0")[2][1:])
        elif kind == b"acTL":
            pictures = int.from_bytes(body[:4], "big")
        elif kind == b"eXIf":
            orientation = exif_orientation(body)
        elif kind == b"IEND":
            return Header(height, width, problem, pictures, orientation, profile)
        position = end + 4
    return Header(height, width, "is a truncated or corrupt PNG")


def _inflated(data: bytes) -> bytes:
    """Return the uncompressed colour profile; empty if it is damaged or larger than any profile."""
    try:
        profile = zlib.decompressobj().decompress(data, _MAX_PROFILE)
    except zlib.error:
        return b""
    return profile if len(profile) < _MAX_PROFILE else b""


# --- JPEG ------------------------------------------------------------------------------------------------------


def _jpeg(data: bytes) -> Header:
    height = width = channels = 0
    profile: dict[int, bytes] = {}
    # Take the size from the start of frame, and check everything from the first scan on.
    for marker, position in _jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame
            height, width, channels = struct.unpack_from(">HHB", data, position + 5)
        if marker == 0xE2 and data.startswith(JPEG_PROFILE, position + 4):
            start, end = (
                position + 4 + len(JPEG_PROFILE),
                position + 2 + int.from_bytes(data[position + 2 : position + 4], "big"),
            )
            profile[data[start]] = data[start + 2 : end]
        if marker == 0xDA:
            cmyk = "holds CMYK colours; save it as grey or RGB" if channels == 4 else ""
            whole = b"".join(part for _, part in sorted(profile.items()))
            return Header(height, width, _scan_problem(data, position) or cmyk, profile=whole)
    return Header(height, width, "is a truncated JPEG")


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the marker and position of each segment up to the first scan."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        yield marker, position
        if marker == 0xDA:  # start of scan; entropy-coded data follows
            return
        standalone = marker == 0x01 or 0xD0 <= marker <= 0xD7
        position += 2 if standalone else 2 + int.from_bytes(data[position + 2 : position + 4], "big")


def _scan_problem(data: bytes, position: int) -> str:
    """Describe a problem of the scans, which must end with a marker and hold only markers that the standard allows.

    In coded data a byte 255 is followed by 0 or by a restart marker, and restart markers count from 0 to 7. Most
    damage violates this rule.
    """
    restarts = 0
    while position + 4 <= len(data):
        # Skip the header of this segment, then search its coded data for the next marker.
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        while True:
            found = _AFTER_DATA.search(data, position)
            if found is None:
                return "is a truncated JPEG"
            marker, position = found[1][0], found.end()
            if not 0xD0 <= marker <= 0xD7:
                break
            if marker != 0xD0 + restarts % 8:
                return "is a corrupt JPEG: parts of its coded data are missing"
            restarts += 1
        if marker == 0xD9:
            return ""
        if marker not in BETWEEN_SCANS:
            return "is a corrupt JPEG: there is other data within its coded data"
        restarts = 0 if marker == 0xDA else restarts
        position -= 2
    return "is a truncated JPEG"


# --- WebP, BMP, PNM --------------------------------------------------------------------------------------------


def _webp(data: bytes) -> Header:
    end = 8 + int.from_bytes(data[4:8], "little")
    if data[8:12] != b"WEBP":
        return Header(problem="is not an image that can be decoded")
    if len(data) < end:
        return Header(problem="is a truncated WebP")
    frames, orientation, position, profile = 0, 1, 12, b""
    height = width = 0
    # Walk through the chunks; the size is in a different place for each kind of data.
    while position + 8 <= end:
        kind, length = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "little")
        body = position + 8
        if body + length > end:
            return Header(height, width, "is a truncated WebP")
        if kind == b"VP8X":
            width, height = (int.from_bytes(data[body + at : body + at + 3], "little") + 1 for at in (4, 7))
        elif kind == b"VP8 ":
            width, height = (size & 0x3FFF for size in struct.unpack_from("<HH", data, body + 6))
        elif kind == b"VP8L":
            (bits,) = struct.unpack_from("<I", data, body + 1)
            width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        elif kind == b"EXIF":
            orientation = exif_orientation(data[body : body + length])
        elif kind == b"ICCP":
            profile = data[body : body + length]
        frames += kind == b"ANMF"
        position = body + length + length % 2
    return Header(height, width, "", max(frames, 1), orientation, profile)


def _bmp(data: bytes) -> Header:
    (offset, size) = struct.unpack_from("<II", data, 10)
    if size < 40:  # OS/2
        return Header(*reversed(struct.unpack_from("<HH", data, 18)))
    width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    row = (abs(width) * bits + 31) // 32 * 4
    problem = ""
    if compression == 0 and len(data) < offset + row * abs(height):
        problem = "is a truncated BMP"
    elif bits == 16:
        problem = "holds 5 or 6 bits a channel; expected 8, so save it as PNG"
    elif bits == 32 and compression == 0 and len(set(data[offset + 3 : offset + row * abs(height) : 4])) > 1:
        problem = "may hold an alpha channel in its fourth bytes, which would be lost; save it as PNG"
    return Header(abs(height), abs(width), problem)


def _pnm(data: bytes) -> Header:
    size = _PNM.match(data)
    if not size:
        return Header(problem="is not an image that can be decoded")
    kind, width, height = int(size[1]), int(size[2]), int(size[3])
    if kind in (1, 4):
        bits, start = 1, size.end() + 1
    else:
        highest = _PNM_HIGHEST.match(data, size.end())
        if not highest:
            return Header(height, width, "is truncated in its header; it is not an image that can be decoded")
        if int(highest[1]) not in (255, 65535):
            return Header(height, width, f"has levels up to {int(highest[1])}; expected 255 or 65535 as the highest")
        bits = (8 if int(highest[1]) == 255 else 16) * (3 if kind in (3, 6) else 1)
        start = highest.end()
    if kind < 4:  # text
        return Header(height, width)
    rest = data[start + (width * bits + 7) // 8 * height :]
    if len(data) < start + (width * bits + 7) // 8 * height:
        return Header(height, width, "is a truncated PNM; it cannot be decoded")
    return Header(height, width, "", 2 if _PNM.match(rest.lstrip()) else 1)


_TYPES: dict[bytes, Callable[[bytes], Header]] = {
    b"\x89PNG\r\n\x1a\n": _png,
    b"\xff\xd8": _jpeg,
    b"II*\0": read_tiff,
    b"MM\0*": read_tiff,
    b"II+\0": read_tiff,
    b"MM\0+": read_tiff,
    b"RIFF": _webp,
    b"BM": _bmp,
    **{b"P%d" % kind: _pnm for kind in range(1, 7)},
}
