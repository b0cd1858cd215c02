"""Inspection of image files before decoding: type, size, number of pictures, and signs of damage.

Decoders silently fill missing data with grey and silently take the first of several pictures. This module detects both.
It cannot detect damage that no header, length or checksum reveals. Examples are a JPEG whose coded data was shortened
and terminated again, or overwritten without a byte 255, and changed levels in file types without checksums.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

BETWEEN_SCANS = frozenset([0xC4, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)])
"""Markers of JPEG segments that may occur between two scans."""

_AFTER_DATA = re.compile(rb"\xff+([^\x00\xff])")
_PNM = re.compile(rb"P([1-6])" + rb"(?:\s|#[^\n]*\n)+(\d{1,9})" * 2)
_PNM_HIGHEST = re.compile(rb"(?:\s|#[^\n]*\n)+(\d{1,9})\s")


_BROKEN = (struct.error, IndexError, OverflowError)


class Header(NamedTuple):
    """Properties of an image file that can be read without decoding it.

    Attributes:
        height, width: stored size in pixels.
        problem: reason why the file cannot be used, such as "is truncated"; empty if no problem was found.
        pictures: number of pages or frames.
        orientation: EXIF orientation, 1 to 8, for the file types whose orientation the decoder ignores.
    """

    height: int = 0
    width: int = 0
    problem: str = ""
    pictures: int = 1
    orientation: int = 1


def read_header(data: bytes) -> Header:
    """Read the header of an image file from its bytes; a file of an unknown type has a problem."""
    for start, read in _TYPES.items():
        if data.startswith(start):
            try:
                return read(data)
            except _BROKEN:  # the data ends within the header
                return Header(problem="is truncated in its header; it is not an image that can be decoded")
    return Header(problem="is not an image of a supported type: PNG, JPEG, TIFF, WebP, BMP, PGM or PPM")


# --- PNG -------------------------------------------------------------------------------------------------------


def _png(data: bytes) -> Header:
    pictures, orientation, position = 1, 1, 8
    height = width = 0
    # Walk through the chunks, whose checksums reveal damage, until the end chunk.
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        kind, end = data[position + 4 : position + 8], position + 8 + length
        if zlib.crc32(data[position + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            break
        body = data[position + 8 : min(end, position + 8 + 2**16)]
        if kind == b"IHDR":
            width, height = struct.unpack_from(">II", body)
        elif kind == b"acTL":
            pictures = int.from_bytes(body[:4], "big")
        elif kind == b"eXIf":
            orientation = exif_orientation(body)
        elif kind == b"IEND":
            return Header(height, width, "", pictures, orientation)
        position = end + 4
    return Header(height, width, "is a truncated or corrupt PNG")


# --- JPEG ------------------------------------------------------------------------------------------------------


def _jpeg(data: bytes) -> Header:
    height = width = 0
    # Take the size from the start of frame, and check everything from the first scan on.
    for marker, position in _jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame
            height, width = struct.unpack_from(">HH", data, position + 5)
        if marker == 0xDA:
            return Header(height, width, _scan_problem(data, position))
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


# --- TIFF, and EXIF in the same format -------------------------------------------------------------------------

_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_TIFF_FORMATS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_MAX_PAGES = 100


class _Tiff:
    """Reader of the tags of a TIFF file or an EXIF block."""

    def __init__(self, data: bytes) -> None:
        self.data, self.order = data, "<" if data[:2] == b"II" else ">"
        self.big = struct.unpack_from(self.order + "H", data, 2)[0] == 43

    def pages(self) -> Iterator[dict[int, tuple[int, ...]]]:
        """Yield the integers of each page by tag, for at most a hundred pages."""
        (offset,) = struct.unpack_from(self.order + ("Q" if self.big else "I"), self.data, 8 if self.big else 4)
        for _ in range(_MAX_PAGES):
            if not offset:
                return
            (count,) = struct.unpack_from(self.order + ("Q" if self.big else "H"), self.data, offset)
            offset += 8 if self.big else 2
            size = 20 if self.big else 12
            end = offset + count * size
            if end > len(self.data):
                raise struct.error("a directory is beyond the end of the file")
            yield dict(self._entry(offset + number * size) for number in range(count))
            (offset,) = struct.unpack_from(self.order + ("Q" if self.big else "I"), self.data, end)

    def _entry(self, offset: int) -> tuple[int, tuple[int, ...]]:
        tag, kind = struct.unpack_from(self.order + "HH", self.data, offset)
        (count,) = struct.unpack_from(self.order + ("Q" if self.big else "I"), self.data, offset + 4)
        field, inline = (offset + 12, 8) if self.big else (offset + 8, 4)
        if kind not in _TIFF_FORMATS:
            return tag, ()
        if count * _TIFF_SIZES[kind] > inline:
            (field,) = struct.unpack_from(self.order + ("Q" if self.big else "I"), self.data, field)
        if field + count * _TIFF_SIZES[kind] > len(self.data):
            raise struct.error("a value is beyond the end of the file")
        return tag, struct.unpack_from(f"{self.order}{count}{_TIFF_FORMATS[kind]}", self.data, field)


def _tiff(data: bytes) -> Header:
    pages = _Tiff(data).pages()
    first = next(pages, {})
    width, height = (first.get(tag, (0,))[0] for tag in (256, 257))
    problem = _tiff_problem(first, len(data))
    if problem:
        return Header(height, width, problem)
    try:
        others = sum(not (page.get(254, (0,)) or (0,))[0] & 1 for page in pages)  # thumbnails do not count
    except _BROKEN:
        return Header(height, width, "is a truncated TIFF")
    return Header(height, width, "", 1 + others)


def _tiff_problem(page: dict[int, tuple[int, ...]], length: int) -> str:
    """Describe a problem of a page: data outside the file, or a colour space that would be decoded wrongly."""
    for starts, sizes in ((273, 279), (324, 325)):  # strips, tiles
        if any(start + size > length for start, size in zip(page.get(starts, ()), page.get(sizes, ()))):
            return "is a truncated TIFF"
    colours, samples = ((page.get(tag) or (standard,))[0] for tag, standard in ((262, 1), (277, 1)))
    if colours in (8, 9, 10):
        return "holds CIELAB colours; expected grey or RGB"
    if samples == 2:
        return "is a TIFF of grey with alpha, which would be lost; save it as PNG"
    return ""


def exif_orientation(block: bytes) -> int:
    """Return the orientation in an EXIF block, 1 to 8; 1 if the block has no valid orientation."""
    try:
        found = next(_Tiff(block.removeprefix(b"Exif\0\0")).pages(), {}).get(0x0112) or (1,)
    except _BROKEN:
        return 1
    return found[0] if 1 <= found[0] <= 8 else 1


# --- WebP, BMP, PNM --------------------------------------------------------------------------------------------


def _webp(data: bytes) -> Header:
    end = 8 + int.from_bytes(data[4:8], "little")
    if data[8:12] != b"WEBP":
        return Header(problem="is not an image that can be decoded")
    if len(data) < end:
        return Header(problem="is a truncated WebP")
    frames, orientation, position = 0, 1, 12
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
        frames += kind == b"ANMF"
        position = body + length + length % 2
    return Header(height, width, "", max(frames, 1), orientation)


def _bmp(data: bytes) -> Header:
    (offset, size) = struct.unpack_from("<II", data, 10)
    if size < 40:  # OS/2
        return Header(*reversed(struct.unpack_from("<HH", data, 18)))
    width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    row = (abs(width) * bits + 31) // 32 * 4
    whole = compression != 0 or len(data) >= offset + row * abs(height)
    return Header(abs(height), abs(width), "" if whole else "is a truncated BMP")


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
    b"II*\0": _tiff,
    b"MM\0*": _tiff,
    b"II+\0": _tiff,
    b"MM\0+": _tiff,
    b"RIFF": _webp,
    b"BM": _bmp,
    **{b"P%d" % kind: _pnm for kind in range(1, 7)},
}
