"""Inspection of TIFF files before decoding, and of EXIF blocks, which have the same format.

The decoder returns wrong pixels for some kinds of TIFF without an error. Each kind that is read was checked against
known pixels; any other is refused with the reason.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

BROKEN = (struct.error, IndexError, OverflowError)
"""Errors of reading a header that ends too early."""


class Header(NamedTuple):
    """Properties of an image file that can be read without decoding it.

    Attributes:
        height, width: stored size in pixels.
        problem: reason why the file cannot be used, such as "is truncated"; empty if no problem was found.
        pictures: number of pages or frames.
        orientation: EXIF orientation, 1 to 8, for the file types whose orientation the decoder ignores.
        profile: ICC colour profile; empty if the file has none.
        inverted: True if the file stores white as 0, which the decoder ignores.
        straight_alpha: position of the two bytes that call alpha unassociated, for which the decoder would multiply
            the colours by alpha; 0 if there are none.
    """

    height: int = 0
    width: int = 0
    problem: str = ""
    pictures: int = 1
    orientation: int = 1
    profile: bytes = b""
    inverted: bool = False
    straight_alpha: int = 0


_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_TIFF_FORMATS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_MAX_PAGES = 100
_BITS, _COLOURS = 258, 262

EXTRA_SAMPLES, PROFILE = 338, 34675
"""Tags of the kind of alpha, and of the colour profile."""

Page = dict[int, tuple[int, ...]]
"""Integers of a page by tag; for the colour profile, its position and length."""


class _Tiff:
    """Reader of the tags of a TIFF file or an EXIF block."""

    def __init__(self, data: bytes) -> None:
        self.data, self.order = data, "<" if data[:2] == b"II" else ">"
        self.alpha_at = 0  # position of the kind of alpha of the first page
        self.big = struct.unpack_from(self.order + "H", data, 2)[0] == 43

    def pages(self) -> Iterator[Page]:
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
        if kind not in _TIFF_FORMATS and tag != PROFILE:
            return tag, ()
        if count * _TIFF_SIZES.get(kind, 1) > inline:
            (field,) = struct.unpack_from(self.order + ("Q" if self.big else "I"), self.data, field)
        if field + count * _TIFF_SIZES.get(kind, 1) > len(self.data):
            raise struct.error("a value is beyond the end of the file")
        if tag == PROFILE:
            return tag, (field, count)
        if tag == EXTRA_SAMPLES:
            self.alpha_at = self.alpha_at or field
        return tag, struct.unpack_from(f"{self.order}{count}{_TIFF_FORMATS[kind]}", self.data, field)


def read_tiff(data: bytes) -> Header:
    """Read the header of a TIFF file from its bytes; see :func:`refiner.images.headers.read_header`."""
    tiff = _Tiff(data)
    pages = tiff.pages()
    first = next(pages, {})
    width, height = (first.get(tag, (0,))[0] for tag in (256, 257))
    problem = _damage(first, len(data)) or _refusal(first)
    if problem:
        return Header(height, width, problem)
    try:
        others = sum(not (page.get(254, (0,)) or (0,))[0] & 1 for page in pages)  # thumbnails do not count
    except BROKEN:
        return Header(height, width, "is a truncated TIFF")
    start, length = first.get(PROFILE, (0, 0))
    # The decoder treats white as 0 right for 8 bits only, and unassociated alpha for 16 bits only.
    deep = _value(first, _BITS, 1) == 16
    return Header(
        height,
        width,
        pictures=1 + others,
        profile=data[start : start + length],
        inverted=deep and _value(first, _COLOURS, 1) == 0,
        straight_alpha=0 if deep or _value(first, EXTRA_SAMPLES, 0) != 2 else tiff.alpha_at,
    )


def _value(page: Page, tag: int, standard: int) -> int:
    """The first number of a tag, or its value by the standard."""
    return (page.get(tag) or (standard,))[0]


def _damage(page: Page, length: int) -> str:
    """Describe data that lie outside the file; empty if none do."""
    for starts, sizes in ((273, 279), (324, 325)):  # strips, tiles
        if any(start + size > length for start, size in zip(page.get(starts, ()), page.get(sizes, ()))):
            return "is a truncated TIFF"
    return ""


def _refusal(page: Page) -> str:
    """Describe a kind of TIFF that the decoder refuses or reads wrongly; empty if it reads this one right."""
    bits, format_ = set(page.get(_BITS) or (1,)), _value(page, 339, 1)
    colours, samples, separate = _value(page, _COLOURS, 1), _value(page, 277, 1), _value(page, 284, 1) == 2
    if len(bits) > 1 or format_ != 1 or not bits <= {1, 8, 16}:
        kind = {1: "uint", 2: "int", 3: "float"}.get(format_, "other ")
        return f"holds {kind}{max(bits)} values; expected 8 or 16 bits"
    if colours in (8, 9, 10):
        return "holds CIELAB colours; expected grey or RGB"
    if colours == 5:
        return "holds CMYK colours; save it as grey or RGB"
    if colours < 2 and samples == 2:
        return "is a TIFF of grey with alpha, which would be lost; save it as PNG"
    if colours not in ((0, 1, 2) if bits == {16} else (0, 1, 2, 3, 6)) or samples not in (1, 3, 4):
        return f"holds {samples} channels of the TIFF colour space {colours}; expected grey, RGB or RGBA"
    if bits == {16} and separate and samples > 1:
        return "stores its 16-bit channels one after the other (planar); save it with interleaved channels"
    if samples == 4 and _value(page, EXTRA_SAMPLES, 0) == 1:
        return "holds colours that are multiplied by alpha (associated alpha); save it with straight alpha"
    return ""


def add_tag(encoded: bytes, tag: int, kind: int, count: int, value: bytes) -> bytes:
    """Add a tag to an encoded TIFF file of one page, little-endian, that does not have it.

    Args:
        encoded: the file.
        tag, kind, count: number of the tag, its type and the number of its values.
        value: the values as bytes.
    """
    # Read the entries of the directory, which is replaced by a longer one at the end of the file.
    (start,) = struct.unpack_from("<I", encoded, 4)
    (length,) = struct.unpack_from("<H", encoded, start)
    entries = [encoded[start + 2 + 12 * number : start + 14 + 12 * number] for number in range(length)]
    data = encoded + bytes(len(encoded) % 2)
    if len(value) > 4:
        field, data = struct.pack("<I", len(data)), data + value + bytes(len(value) % 2)
    else:
        field = value.ljust(4, b"\0")
    entries.append(struct.pack("<HHI", tag, kind, count) + field)
    entries.sort(key=lambda entry: int.from_bytes(entry[:2], "little"))
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return data[:4] + struct.pack("<I", len(data)) + data[8:] + directory


def exif_orientation(block: bytes) -> int:
    """Return the orientation in an EXIF block, 1 to 8; 1 if the block has no valid orientation."""
    try:
        found = next(_Tiff(block.removeprefix(b"Exif\0\0")).pages(), {}).get(0x0112) or (1,)
    except BROKEN:
        return 1
    return found[0] if 1 <= found[0] <= 8 else 1
