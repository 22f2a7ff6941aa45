"""Remove the chunks of a PNG file that no pixel depends on. Bytes in, bytes out.

Image generators add texts of any length (settings, prompts, graphs). A reader that unpacks them
can be made to fail or to fill its memory.
"""

from __future__ import annotations

import zlib
from typing import Final

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

MAX_PROFILE_BYTES: Final = 2**20
"""The largest unpacked colour profile that is kept. Pillow unpacks no more than this."""

_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})


def without_texts(data: bytes) -> bytes:
    """Return the PNG without its text chunks and without a colour profile that is too large.

    Chunks are removed whole, so checksums stay valid. Data that is not a PNG, or is cut off, is
    returned with its faults, for the decoder to find.
    """
    if not data.startswith(SIGNATURE):
        return data
    kept, position = [SIGNATURE], len(SIGNATURE)
    while position < len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        chunk = data[position : position + length + 12]
        if kind not in _TEXTS and not (kind == b"iCCP" and _is_too_large(chunk[8:-4])):
            kept.append(chunk)
        position += length + 12
    return b"".join(kept)


def _is_too_large(profile: bytes) -> bool:
    """Whether an iCCP chunk's content (name, zero byte, method, zlib data) unpacks to too much."""
    packed = profile.partition(b"\0")[2][1:]
    try:
        return len(zlib.decompressobj().decompress(packed, MAX_PROFILE_BYTES + 1)) > (
            MAX_PROFILE_BYTES
        )
    except zlib.error:
        return False
