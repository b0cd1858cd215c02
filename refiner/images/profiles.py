"""Colour profiles (ICC) of encoded images: the encoder writes none, so they are inserted into its result.

:func:`refiner.images.headers.read_header` reads the profile of a file.
"""

import struct
import zlib

from refiner.images.headers import JPEG_PROFILE
from refiner.images.tiff import PROFILE, add_tag

_SEGMENT = 65_519
"""Bytes of a profile that fit into one segment of a JPEG."""

_HAS_ALPHA, _HAS_PROFILE = 0x10, 0x20


def with_profile(encoded: bytes, profile: bytes) -> bytes:
    """Insert a colour profile into an encoded image.

    Args:
        encoded: bytes of a PNG, JPEG, TIFF or WebP file that has none; other types cannot hold one.
        profile: the profile; empty changes nothing.

    Returns:
        The file with the profile; unchanged if its type cannot hold one, or if a PNG is grey and the profile is not.
    """
    if not profile:
        return encoded
    if encoded.startswith(b"\x89PNG"):
        grey = encoded[25] in (0, 4)  # the colour type
        if grey != (profile[16:20] == b"GRAY"):
            return encoded
        chunk = b"iCCPicc\0\0" + zlib.compress(profile, 9)
        whole = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        return encoded[:33] + whole + encoded[33:]  # after the header chunk, before the data
    if encoded.startswith(b"\xff\xd8"):
        return _in_jpeg(encoded, profile)
    if encoded.startswith(b"II*\0"):
        return add_tag(encoded, PROFILE, 7, len(profile), profile)
    if encoded.startswith(b"RIFF"):
        return _in_webp(encoded, profile)
    return encoded


def _in_jpeg(encoded: bytes, profile: bytes) -> bytes:
    parts = [profile[start : start + _SEGMENT] for start in range(0, len(profile), _SEGMENT)]
    segments = b""
    for number, part in enumerate(parts, 1):
        body = JPEG_PROFILE + bytes([number, len(parts)]) + part
        segments += b"\xff\xe2" + struct.pack(">H", len(body) + 2) + body
    # The JFIF segment must stay the first.
    start = 4 + int.from_bytes(encoded[4:6], "big") if encoded[2:4] == b"\xff\xe0" else 2
    return encoded[:start] + segments + encoded[start:]


def _in_webp(encoded: bytes, profile: bytes) -> bytes:
    body = encoded[12:]
    if body.startswith(b"VP8X"):  # the extended format already
        head, body = body[8:18], body[18:]
        flags = head[0]
    else:
        flags, head = _extended_head(body)
    head = bytes([flags | _HAS_PROFILE]) + head[1:]
    chunk = struct.pack("<4sI", b"ICCP", len(profile)) + profile + bytes(len(profile) % 2)
    content = b"WEBP" + struct.pack("<4sI", b"VP8X", 10) + head + chunk + body
    return b"RIFF" + struct.pack("<I", len(content)) + content


def _extended_head(body: bytes) -> tuple[int, bytes]:
    """Return the flags and the ten bytes of the extended format for the one chunk of the simple format."""
    if body.startswith(b"VP8L"):
        (bits,) = struct.unpack_from("<I", body, 9)
        width, height, alpha = bits & 0x3FFF, bits >> 14 & 0x3FFF, bits >> 28 & 1
    else:
        width, height = (size & 0x3FFF for size in struct.unpack_from("<HH", body, 14))
        width, height, alpha = width - 1, height - 1, 0
    sides = width.to_bytes(3, "little") + height.to_bytes(3, "little")
    return _HAS_ALPHA * alpha, bytes(4) + sides
