"""Images of every kind that an engine can write, and the colours that are seen in the end."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageCms, PngImagePlugin

from bot.domain.errors import ArtifactMissing
from bot.domain.grid import GridGeometry
from bot.services import imaging
from bot.services.decoding import open_image, to_rgb

SIZE = (16, 8)
RED, ORANGE, GREY, WHITE = (255, 0, 0), (255, 128, 0), (128, 128, 128), (255, 255, 255)

Colour = tuple[int, ...]


def saved(picture: Image.Image, form: str = "PNG", **how: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, form, **how)
    return out.getvalue()


def flat(mode: str, colour: Colour | int) -> Image.Image:
    return Image.new(mode, SIZE, colour)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(depth: int, colour_type: int, pixel: bytes, *before: bytes, interlaced: int = 0) -> bytes:
    """A PNG of one colour, put together by hand: Pillow cannot write all that there are."""
    head = struct.pack(">IIBBBBB", *SIZE, depth, colour_type, 0, 0, interlaced)
    passes = [SIZE]
    if interlaced:
        # Adam7: where each pass starts, and its steps.
        steps = (
            *((0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4)),
            *((1, 2, 0, 2), (0, 1, 1, 2)),
        )
        passes = [
            (len(range(left, SIZE[0], right)), len(range(top, SIZE[1], down)))
            for left, right, top, down in steps
        ]
    rows = b"".join(
        (b"\0" + pixel * (width * min(depth, 8) // 8)) * height for width, height in passes if width
    )
    parts = (chunk(b"IHDR", head), *before, chunk(b"IDAT", zlib.compress(rows)))
    return b"".join((b"\x89PNG\r\n\x1a\n", *parts, chunk(b"IEND", b"")))


def with_text(picture: Image.Image, kind: str, length: int = 3_000_000) -> bytes:
    texts = PngImagePlugin.PngInfo()
    if kind == "iTXt":
        texts.add_itxt("workflow", "x" * length, zip=True)
    else:
        texts.add_text("workflow", "x" * length, zip=kind == "zTXt")
    return saved(picture, pnginfo=texts)


def turned(orientation: int) -> bytes:
    """Red above, white below, stored as a camera held otherwise stores it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = flat("RGB", WHITE)
    upright.paste(RED, (0, 0, SIZE[0], SIZE[1] // 2))
    undo = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    stored = upright.transpose(undo.get(orientation, Image.Transpose.ROTATE_180))
    return saved(stored, exif=exif)


def animated(form: str) -> bytes:
    later = [flat("RGB", (0, 0, 255)), flat("RGB", (0, 255, 0))]
    return saved(flat("RGB", RED), form, save_all=True, append_images=later, lossless=True)


def srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def palette() -> Image.Image:
    picture = flat("P", 1)
    picture.putpalette([0, 0, 0, *ORANGE])
    return picture


PLTE, TRNS = chunk(b"PLTE", bytes((0, 0, 0, *ORANGE))), b"tRNS"
HALF = b"\x80\x00"

KINDS: dict[str, tuple[Callable[[], bytes], Colour]] = {
    "1 bit": (lambda: saved(flat("1", 1)), WHITE),
    "2 bits": (lambda: png(2, 0, b"\xaa"), (170, 170, 170)),
    "grey": (lambda: saved(flat("L", 128)), GREY),
    "grey of 16 bits": (lambda: saved(flat("I;16", 128 * 257)), GREY),
    "grey of 16 bits, dark": (lambda: saved(flat("I;16", 257)), (1, 1, 1)),
    "grey of 16 bits, white": (lambda: saved(flat("I;16", 65535)), WHITE),
    "grey and alpha": (lambda: saved(flat("LA", (128, 255))), GREY),
    "grey and alpha of 16 bits": (lambda: png(16, 4, HALF + b"\xff\xff"), GREY),
    "grey with a transparent one": (lambda: saved(flat("L", 128), transparency=128), WHITE),
    "palette": (lambda: saved(palette()), ORANGE),
    "palette, transparent": (lambda: png(8, 3, b"\1", PLTE, chunk(TRNS, b"\0\0")), WHITE),
    "palette, another transparent": (lambda: png(8, 3, b"\1", PLTE, chunk(TRNS, b"\0")), ORANGE),
    "colour": (lambda: saved(flat("RGB", ORANGE)), ORANGE),
    "colour of 16 bits": (lambda: png(16, 2, b"\xff\xff" + HALF + b"\0\0"), ORANGE),
    "colour and alpha of 16 bits": (lambda: png(16, 6, b"\xff\xff\x80\0\0\0\xff\xff"), ORANGE),
    "colour and alpha": (lambda: saved(flat("RGBA", (*ORANGE, 255))), ORANGE),
    "colour, half transparent": (lambda: saved(flat("RGBA", (255, 0, 0, 128))), (255, 127, 127)),
    "colour, invisible": (lambda: saved(flat("RGBA", (255, 0, 0, 0))), WHITE),
    "interlaced": (lambda: png(8, 2, bytes(ORANGE), interlaced=1), ORANGE),
    "the usual gamma": (
        lambda: png(8, 0, b"\x80", chunk(b"gAMA", struct.pack(">I", 45455))),
        GREY,
    ),
    "linear light": (
        lambda: png(8, 0, b"\x80", chunk(b"gAMA", struct.pack(">I", 100_000))),
        (186, 186, 186),
    ),
    "a gamma that sRGB overrules": (
        lambda: png(
            8, 0, b"\x80", chunk(b"gAMA", struct.pack(">I", 100_000)), chunk(b"sRGB", b"\0")
        ),
        GREY,
    ),
    "the sRGB profile": (lambda: saved(flat("RGB", ORANGE), icc_profile=srgb()), ORANGE),
    "a broken profile": (lambda: saved(flat("RGB", ORANGE), icc_profile=b"broken" * 30), ORANGE),
    "a profile for something else": (
        lambda: saved(flat("L", 128), icc_profile=srgb()),
        GREY,
    ),
    "a huge profile": (
        lambda: saved(flat("RGB", ORANGE), icc_profile=bytes(3_000_000)),
        ORANGE,
    ),
    "long tEXt": (lambda: with_text(flat("RGB", ORANGE), "tEXt"), ORANGE),
    "long zTXt": (lambda: with_text(flat("RGB", ORANGE), "zTXt"), ORANGE),
    "long iTXt": (lambda: with_text(flat("RGB", ORANGE), "iTXt"), ORANGE),
    "a text bomb": (lambda: with_text(flat("RGB", ORANGE), "zTXt", 100_000_000), ORANGE),
    "an animated PNG": (lambda: animated("PNG"), RED),
    "an animated WebP": (lambda: animated("WEBP"), RED),
    "a JPEG": (lambda: saved(flat("RGB", ORANGE), "JPEG", quality=100, subsampling=0), ORANGE),
    "a grey JPEG": (lambda: saved(flat("L", 128), "JPEG", quality=100), GREY),
    "a JPEG in four inks": (lambda: saved(flat("CMYK", (0, 127, 255, 0)), "JPEG"), ORANGE),
    "a WebP": (lambda: saved(flat("RGB", ORANGE), "WEBP", lossless=True), ORANGE),
    "a WebP with alpha": (
        lambda: saved(flat("RGBA", (*ORANGE, 255)), "WEBP", lossless=True),
        ORANGE,
    ),
}


def near(one: Colour | int | float | None, other: Colour) -> bool:
    assert isinstance(one, tuple)
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) <= 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_of_any_kind_comes_to_the_grid_in_its_colours(tmp_path: Path, kind: str) -> None:
    make, colour = KINDS[kind]
    row, plain = tmp_path / "row-01.png", tmp_path / "row-02.png"
    row.write_bytes(make())
    flat("RGB", (0, 0, 255)).save(plain)
    imaging.delete_if_invalid(row, SIZE)
    assert row.read_bytes().startswith(b"\x89PNG")
    imaging.stack_rows([row, plain], tmp_path / "grid.png")
    imaging.crop(row, (2, 2, 10, 6), tmp_path / "cell.png")
    with (
        Image.open(tmp_path / "grid.png") as grid,
        Image.open(tmp_path / "cell.png") as cell,
    ):
        assert grid.size == (16, 16)
        assert near(grid.getpixel((5, 3)), colour)
        assert near(grid.getpixel((5, 11)), (0, 0, 255))
        assert (grid.mode, grid.info, cell.mode, cell.info) == ("RGB", {}, "RGB", {})
        assert near(cell.getpixel((0, 0)), colour)


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_within_a_limit_has_the_colours_too(tmp_path: Path, kind: str) -> None:
    make, colour = KINDS[kind]
    row = tmp_path / "row.png"
    row.write_bytes(make() + bytes(2_000))  # what follows the end is nobody's
    made = imaging.fit_to_size(row, GridGeometry(*SIZE, 1, 1), 1_500, tmp_path)
    with Image.open(made) as small:
        seen = small.convert("RGB").getpixel((5, 3))
        assert isinstance(seen, tuple)
        assert max(abs(a - b) for a, b in zip(seen, colour, strict=True)) <= 6


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_picture_is_seen_upright(tmp_path: Path, orientation: int) -> None:
    row = tmp_path / "row.png"
    row.write_bytes(turned(orientation))
    imaging.delete_if_invalid(row, SIZE)
    imaging.stack_rows([row], tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.size == SIZE
        assert (grid.getpixel((3, 1)), grid.getpixel((3, 6))) == (RED, WHITE)


def test_exif_that_nobody_can_read_turns_nothing(tmp_path: Path) -> None:
    row = tmp_path / "row.png"
    row.write_bytes(saved(flat("RGB", ORANGE), exif=b"Exif\0\0rubbish"))
    assert imaging.verify_image(row, SIZE) == SIZE


def test_another_profile_s_colours_are_converted(tmp_path: Path) -> None:
    """In a profile of linear light, half the light is the number 128, and 188 in sRGB."""
    linear = bytearray(srgb())
    # All three curves of the profile become the straight line (count 0).
    start = 0
    while (start := linear.find(b"para", start + 1)) > 0:
        linear[start : start + 12] = b"curv" + bytes(8)
    linear = linear.replace(b"s\0R\0G\0B", b"o\0t\0h\0e")
    row = tmp_path / "row.png"
    row.write_bytes(saved(flat("RGB", GREY), icc_profile=bytes(linear)))
    with open_image(row) as picture:
        assert near(to_rgb(picture).getpixel((3, 3)), (188, 188, 188))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("decode", [True, False])
def test_a_file_that_ends_too_early_is_refused_in_every_format(
    tmp_path: Path, form: str, decode: bool
) -> None:
    path = tmp_path / "a.png"
    whole = saved(Image.effect_noise((64, 64), 90).convert("RGB"), form)
    for length in (0, 5, 20, 40, len(whole) // 2, len(whole) - 200):
        path.write_bytes(whole[:length])
        with pytest.raises(ArtifactMissing, match="no readable picture"):
            imaging.delete_if_invalid(path, None, decode=decode)
        assert not path.exists()
