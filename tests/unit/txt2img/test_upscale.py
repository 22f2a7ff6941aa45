"""Test the enlargement of pictures."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from bot.txt2img.upscale import main, upscale_image


def upscale(*words: str, **environment: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    status = main(words, environment, out, err)
    return status, out.getvalue(), err.getvalue()


def test_every_picture_of_a_folder_is_enlarged_and_the_rest_passed_over(tmp_path: Path) -> None:
    frames = tmp_path / "frames"
    (frames / "folder").mkdir(parents=True)
    Image.new("RGB", (10, 6), (200, 30, 30)).save(frames / "red.png")
    Image.new("L", (4, 4), 90).save(frames / "grey.jpg")
    (frames / "notes.txt").write_text("not a picture", encoding="utf-8")
    status, out, err = upscale(str(frames), STORAGE_PATH=str(tmp_path))
    assert (status, err) == (0, "")
    assert out == "upscaled grey.jpg 4x4 -> 16x16\nupscaled red.png 10x6 -> 40x24\n"
    with Image.open(tmp_path / "output_frames" / "red_out.png") as image:
        assert (image.size, image.mode) == ((40, 24), "RGB")
        assert image.getpixel((20, 12)) == (200, 30, 30)
    assert (tmp_path / "output_frames" / "grey_out.png").exists()


@pytest.mark.parametrize(
    ("mode", "colour", "seen"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 128, (128, 128, 128)),
        ("I;16", 128 * 257, (128, 128, 128)),
        ("LA", (128, 255), (128, 128, 128)),
        ("RGBA", (200, 30, 30, 255), (200, 30, 30)),
        ("RGBA", (200, 30, 30, 0), (255, 255, 255)),
        ("CMYK", (0, 0, 0, 0), (255, 255, 255)),
    ],
)
def test_a_picture_of_any_kind_keeps_its_colours(
    mode: str, colour: int | tuple[int, ...], seen: tuple[int, ...]
) -> None:
    assert upscale_image(Image.new(mode, (4, 4), colour)).getpixel((8, 8)) == seen


def test_an_enlarged_edge_is_crisper_than_plain_interpolation() -> None:
    edge = Image.new("RGB", (8, 8))
    edge.paste((255, 255, 255), (4, 0, 8, 8))
    plain = edge.resize((32, 32), Image.Resampling.LANCZOS)
    large = upscale_image(edge)
    assert large.size == (32, 32)
    dark, bright = large.getpixel((14, 16)), large.getpixel((17, 16))
    plain_dark, plain_bright = plain.getpixel((14, 16)), plain.getpixel((17, 16))
    assert isinstance(dark, tuple)
    assert isinstance(bright, tuple)
    assert isinstance(plain_dark, tuple)
    assert isinstance(plain_bright, tuple)
    assert bright[0] - dark[0] > plain_bright[0] - plain_dark[0]


@pytest.mark.parametrize(
    ("words", "environment", "sentence"),
    [
        ((), {"STORAGE_PATH": "/tmp"}, "usage:"),
        (("a", "b"), {"STORAGE_PATH": "/tmp"}, "usage:"),
        (("a",), {}, "usage:"),
        (("/no/such/folder",), {"STORAGE_PATH": "/tmp"}, "No such file"),
    ],
)
def test_a_wrong_call_is_answered_with_status_1(
    words: tuple[str, ...], environment: dict[str, str], sentence: str
) -> None:
    status, out, err = upscale(*words, **environment)
    assert (status, out) == (1, "")
    assert sentence in err


def test_a_folder_without_pictures_is_an_error(tmp_path: Path) -> None:
    status, _, err = upscale(str(tmp_path), STORAGE_PATH=str(tmp_path))
    assert status == 1
    assert "there is no picture in" in err


def test_a_picture_too_large_to_enlarge_is_refused(tmp_path: Path) -> None:
    Image.new("1", (8192, 4096)).save(tmp_path / "huge.png")
    status, _, err = upscale(str(tmp_path), STORAGE_PATH=str(tmp_path))
    assert status == 1
    assert "'huge.png' has more than" in err
