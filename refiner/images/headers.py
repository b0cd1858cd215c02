"""What an image file says of itself before it is decoded: type, size, number of pictures, and whether it is whole.

Decoders fill what is missing with grey and take the first of many pictures, and say nothing; here it is seen. What
no header, length or checksum tells stays unseen: a JPEG whose coded data is cut and closed again, or overwritten
without a byte 255, and other levels in a type that has no checksums.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

CLOSED_JPEG_MARKERS = frozenset([0xC4, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)])
"""Markers of segments that may stand between two scans."""

_AFTER_DATA = re.compile(rb"\xff+([^\x00\xff])")
_PNM = re.compile(rb"P([1-6])" + rb"(?:\s|#[^\n]*\n)+(\d{1,9})" * 2)
_PNM_HIGHEST = re.compile(rb"(?:\s|#[^\n]*\n)+(\d{1,9})\s")


_BROKEN = (struct.error, IndexError, OverflowError)


class Header(NamedTuple):
    """What a file says of itself.

    Attributes:
        height, width: in pixels, as they are stored.
        problem: why the file cannot be used, as in "is truncated"; empty when nothing is seen.
        pictures: pages or frames.
        orientation: by EXIF, 1 to 8, of the types for which the decoder does not honour it.
    """

    height: int = 0
    width: int = 0
    problem: str = ""
    pictures: int = 1
    orientation: int = 1


def read_header(data: bytes) -> Header:
    """What the bytes of an image file say; the problem is that they are none, where the type is not known."""
    for start, read in _TYPES.items():
        if data.startswith(start):
            try:
                return read(data)
            except _BROKEN:  # it ends within its header
                return Header(problem="is truncated in its header; it is not an image that can be decoded")
    return Header(problem="is not an image of a type that is read here: PNG, JPEG, TIFF, WebP, BMP, PGM or PPM")


# --- PNG -------------------------------------------------------------------------------------------------------


def _png(data: bytes) -> Header:
    pictures, orientation, position = 1, 1, 8
    height = width = 0
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
    for marker, position in _jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame
            height, width = struct.unpack_from(">HH", data, position + 5)
        if marker == 0xDA:
            return Header(height, width, _scan_problem(data, position))
    return Header(height, width, "is a truncated JPEG")


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Marker and position of each segment up to the first scan."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        yield marker, position
        if marker == 0xDA:  # start of scan: what follows is entropy-coded
            return
        standalone = marker == 0x01 or 0xD0 <= marker <= 0xD7
        position += 2 if standalone else 2 + int.from_bytes(data[position + 2 : position + 4], "big")


def _scan_problem(data: bytes, position: int) -> str:
    """What is wrong with the scans: they end with a marker, and hold no others than the standard allows.

    Coded data has no byte 255 but before a 0 or a restart marker, which count up from 0 to 7; so most garbage in
    it is seen.
    """
    restarts = 0
    while position + 4 <= len(data):
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")  # past this segment
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
        if marker not in CLOSED_JPEG_MARKERS:
            return "is a corrupt JPEG: there is other data within its coded data"
        restarts = 0 if marker == 0xDA else restarts
        position -= 2
    return "is a truncated JPEG"


# --- TIFF, and EXIF, which is one ------------------------------------------------------------------------------

_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_TIFF_FORMATS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_MAX_PAGES = 100


class _Tiff:
    """Pages of a TIFF file, or of a block of EXIF, as their tags."""

    def __init__(self, data: bytes) -> None:
        self.data, self.order = data, "<" if data[:2] == b"II" else ">"
        self.big = struct.unpack_from(self.order + "H", data, 2)[0] == 43

    def pages(self) -> Iterator[dict[int, tuple[int, ...]]]:
        """The whole numbers of each page by tag; at most a hundred pages."""
        (place,) = struct.unpack_from(self.order + ("Q" if self.big else "I"), self.data, 8 if self.big else 4)
        for _ in range(_MAX_PAGES):
            if not place:
                return
            (count,) = struct.unpack_from(self.order + ("Q" if self.big else "H"), self.data, place)
            place += 8 if self.big else 2
            size = 20 if self.big else 12
            end = place + count * size
            if end > len(self.data):
                raise struct.error("its directory lies behind its end")
            yield dict(self._entry(place + number * size) for number in range(count))
            (place,) = struct.unpack_from(self.order + ("Q" if self.big else "I"), self.data, end)

    def _entry(self, place: int) -> tuple[int, tuple[int, ...]]:
        tag, kind = struct.unpack_from(self.order + "HH", self.data, place)
        (count,) = struct.unpack_from(self.order + ("Q" if self.big else "I"), self.data, place + 4)
        field, inline = (place + 12, 8) if self.big else (place + 8, 4)
        if kind not in _TIFF_FORMATS:
            return tag, ()
        if count * _TIFF_SIZES[kind] > inline:
            (field,) = struct.unpack_from(self.order + ("Q" if self.big else "I"), self.data, field)
        if field + count * _TIFF_SIZES[kind] > len(self.data):
            raise struct.error("a value lies behind its end")
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
    """What is wrong with a page: data that lies outside the file, or colours that would be read as others."""
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
    """The orientation in a block of EXIF, 1 to 8; 1 where it says none that there is."""
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
