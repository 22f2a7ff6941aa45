"""Which chunks of a PNG are kept."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.services.png import MAX_PROFILE_BYTES, SIGNATURE, without_texts


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def profile(size: int) -> bytes:
    return chunk(b"iCCP", b"name\0\0" + zlib.compress(bytes(size)))


HEAD, PIXELS, END = chunk(b"IHDR", bytes(13)), chunk(b"IDAT", b"pixels"), chunk(b"IEND")
BROKEN = chunk(b"iCCP", b"name\0\0broken")


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt"])
def test_texts_are_cut_out_wherever_they_stand(kind: bytes) -> None:
    text = chunk(kind, b"x" * 5_000)
    whole = SIGNATURE + HEAD + PIXELS + END
    assert without_texts(SIGNATURE + text + HEAD + text + PIXELS + text + END) == whole


@pytest.mark.parametrize(
    ("other", "kept"),
    [
        (chunk(b"gAMA", b"\0\0\xb1\x8f"), True),
        (chunk(b"tRNS", b"\0\0"), True),
        (chunk(b"eXIf", b"II*\0"), True),
        (profile(MAX_PROFILE_BYTES), True),
        (profile(MAX_PROFILE_BYTES + 1), False),
        (BROKEN, True),
    ],
)
def test_what_changes_colours_is_kept_unless_it_is_too_large(other: bytes, kept: bool) -> None:
    expected = SIGNATURE + HEAD + (other if kept else b"") + PIXELS + END
    assert without_texts(SIGNATURE + HEAD + other + PIXELS + END) == expected


@given(st.binary(max_size=60))
def test_what_is_no_png_or_ends_early_keeps_its_faults(rubbish: bytes) -> None:
    assert without_texts(b"GIF" + rubbish) == b"GIF" + rubbish
    cut = SIGNATURE + HEAD + PIXELS[: len(rubbish) % len(PIXELS)]
    assert without_texts(cut) == cut
    assert len(without_texts(SIGNATURE + rubbish)) <= len(SIGNATURE + rubbish)
