"""Image files: which are valid, and what is made of them."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bot.domain.errors import ArtifactMissing
from bot.domain.grid import GridGeometry
from bot.services import imaging


def _picture(path: Path, size: tuple[int, int] = (64, 32), colour: str = "navy") -> Path:
    Image.new("RGB", size, colour).save(path)
    return path


def _noise(path: Path, size: tuple[int, int]) -> Path:
    Image.effect_noise(size, 90).convert("RGB").save(path)
    return path


def _bomb(path: Path) -> Path:
    """A whole PNG of few bytes that says it has a hundred thousand pixels each way."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 1, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0")), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def test_a_picture_of_the_right_size_is_let_through(tmp_path: Path) -> None:
    path = _picture(tmp_path / "a.png")
    assert imaging.verify_image(path) == (64, 32)
    assert imaging.verify_image(path, (64, 32)) == (64, 32)
    imaging.delete_if_invalid(path, (64, 32))
    assert path.exists()


def test_a_picture_of_another_size_is_refused_and_removed(tmp_path: Path) -> None:
    path = _picture(tmp_path / "a.png")
    with pytest.raises(ArtifactMissing, match="64 × 32, not 64 × 64"):
        imaging.delete_if_invalid(path, (64, 64))
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"\x89PNG\r\n\x1a\n", b"\0" * 500])
@pytest.mark.parametrize("decode", [True, False])
def test_what_is_no_picture_is_refused(tmp_path: Path, content: bytes, decode: bool) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(ArtifactMissing, match="no readable picture"):
        imaging.verify_image(path, decode=decode)


def test_another_format_than_an_engine_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (64, 32)).save(path, "GIF")
    with pytest.raises(ArtifactMissing, match="no readable picture"):
        imaging.verify_image(path)


@pytest.mark.parametrize("decode", [True, False])
def test_a_file_that_ends_too_early_is_refused(tmp_path: Path, decode: bool) -> None:
    path = _noise(tmp_path / "a.png", (64, 32))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ArtifactMissing, match="no readable picture"):
        imaging.verify_image(path, decode=decode)


@pytest.mark.parametrize("decode", [True, False])
def test_a_file_with_a_flipped_bit_is_refused(tmp_path: Path, decode: bool) -> None:
    path = _noise(tmp_path / "a.png", (64, 32))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtifactMissing, match="no readable picture"):
        imaging.verify_image(path, decode=decode)


def test_a_whole_picture_is_let_through_without_decoding_it(tmp_path: Path) -> None:
    assert imaging.verify_image(_noise(tmp_path / "a.png", (64, 32)), decode=False) == (64, 32)


def test_a_decompression_bomb_is_refused_before_a_pixel_is_decoded(tmp_path: Path) -> None:
    with pytest.raises(ArtifactMissing):
        imaging.verify_image(_bomb(tmp_path / "a.png"))


def test_a_picture_with_too_many_pixels_is_refused_by_its_size(tmp_path: Path) -> None:
    # Below the limit of the library, above ours, and never decoded.
    path = _bomb(tmp_path / "a.png")
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 1, 200_000_001)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    path.write_bytes(data)
    with pytest.raises(ArtifactMissing):
        imaging.verify_image(path)


@given(heights=st.lists(st.integers(1, 9), min_size=1, max_size=5), width=st.integers(1, 20))
@settings(max_examples=15, deadline=None)
def test_strips_are_stacked_without_a_pixel_changed(
    tmp_path_factory: pytest.TempPathFactory, heights: list[int], width: int
) -> None:
    folder = tmp_path_factory.mktemp("strips")
    strips = [
        _noise(folder / f"row-{number}.png", (width, height))
        for number, height in enumerate(heights)
    ]
    imaging.stack_rows(strips, folder / "grid.png")
    with Image.open(folder / "grid.png") as grid:
        assert grid.size == (width, sum(heights))
        top = 0
        for strip, height in zip(strips, heights, strict=True):
            with Image.open(strip) as row:
                cut = grid.crop((0, top, width, top + height))
                assert cut.tobytes() == row.convert("RGB").tobytes()
            top += height
    assert not list(folder.glob(".*"))


def test_a_picture_is_cut_out_losslessly(tmp_path: Path) -> None:
    source = _noise(tmp_path / "grid.png", (64, 32))
    imaging.crop(source, (2, 3, 22, 13), tmp_path / "cell.png")
    with Image.open(source) as whole, Image.open(tmp_path / "cell.png") as cell:
        assert cell.tobytes() == whole.crop((2, 3, 22, 13)).tobytes()


def test_a_grid_that_fits_is_sent_as_it_is(tmp_path: Path) -> None:
    geometry = GridGeometry(64, 64, 2, 2)
    grid = _picture(tmp_path / "grid.png", geometry.size)
    assert imaging.fit_to_size(grid, geometry, 1_000_000, tmp_path) == grid


@pytest.mark.parametrize("limit", [60_000, 20_000, 4_000])
def test_a_grid_that_is_too_large_is_written_smaller(tmp_path: Path, limit: int) -> None:
    geometry = GridGeometry(128, 128, 2, 2)
    grid = _noise(tmp_path / "grid.png", geometry.size)
    assert grid.stat().st_size > limit
    written = imaging.fit_to_size(grid, geometry, limit, tmp_path)
    assert written != grid
    assert written.stat().st_size <= limit
    with Image.open(written) as small, Image.open(grid) as full:
        assert small.width <= full.width
        assert abs(small.width / small.height - full.width / full.height) < 0.05
    assert [path.name for path in tmp_path.iterdir() if path not in (grid, written)] == []


def test_a_grid_that_fits_by_weight_but_is_too_long_is_scaled_and_stays_png(tmp_path: Path) -> None:
    geometry = GridGeometry(64, 64, 80, 1)
    grid = _picture(tmp_path / "grid.png", geometry.size)
    written = imaging.fit_to_size(grid, geometry, 1_000_000, tmp_path)
    with Image.open(written) as small:
        assert small.format == "PNG"
        assert max(small.size) <= 4096


def test_a_limit_that_nothing_fits_is_said(tmp_path: Path) -> None:
    geometry = GridGeometry(64, 64, 2, 2)
    grid = _noise(tmp_path / "grid.png", geometry.size)
    with pytest.raises(ArtifactMissing, match="cannot be written in 10 bytes"):
        imaging.fit_to_size(grid, geometry, 10, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["grid.png"]
