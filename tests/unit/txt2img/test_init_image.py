"""Runs that start from a picture, and the names of samplers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageStat

from bot.txt2img.engines.samplers import find_sampler
from bot.txt2img.init_image import read_init_image
from bot.txt2img.plan import UsageError
from tests.unit.txt2img.conftest import Paint


def difference(first: Path, second: Image.Image) -> float:
    with Image.open(first) as image:
        return ImageStat.Stat(ImageChops.difference(image.convert("RGB"), second)).mean[0]


def test_the_stronger_the_further_from_the_picture(paint: Paint, tmp_path: Path) -> None:
    start = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
    start.save(tmp_path / "start.png")
    distances = []
    for strength in ("0.25", "0.6", "0.99"):
        out = tmp_path / strength
        done = paint(
            *("--n_iter=1", "--n_samples=1", f"--outdir={out}", f"--strength={strength}"),
            f"--init-img={tmp_path / 'start.png'}",
        )
        assert done.status == 0, done.err
        distances.append(difference(out / "samples" / "00000.png", start))
    assert 0 < distances[0] < distances[1] < distances[2]


REFUSED = {
    "strength 0": (("--strength=0",), "above 0"),
    "strength 1": (("--strength=1.0",), "at most 0.99"),
    "strength nan": (("--strength=nan",), "above 0"),
    "no step": (("--strength=0.2", "--steps=4"), "less than one step"),
    "no file": (("--init-img=/nope.png",), "cannot be read as a picture"),
    "no picture": ((f"--init-img={__file__}",), "cannot be read as a picture"),
    "size": (("--W=72",), "multiple of 64"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_started_from_is_refused(paint: Paint, tmp_path: Path, name: str) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "start.png")
    words, text = REFUSED[name]
    done = paint(f"--init-img={tmp_path / 'start.png'}", f"--outdir={tmp_path / 'o'}", *words)
    assert (done.status, text in done.err) == (1, True), done.err
    assert not (tmp_path / "o").exists()


def _rotated(path: Path) -> None:
    image = Image.new("RGB", (20, 10), "red")
    image.paste("blue", (0, 0, 10, 10))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise
    image.save(path, exif=exif)


PICTURES: dict[str, tuple[Callable[[Path], None], tuple[int, int, int]]] = {
    # file: how it is made, and the colour at the top left of the picture read from it
    "upright.png": (lambda path: Image.new("RGB", (9, 9), "red").save(path), (255, 0, 0)),
    "rotated.png": (_rotated, (0, 0, 255)),
    "clear.png": (lambda path: Image.new("RGBA", (9, 9), (1, 2, 3, 0)).save(path), (255,) * 3),
    "palette.gif": (lambda path: Image.new("P", (9, 9), 0).save(path, transparency=0), (255,) * 3),
    "grey.png": (lambda path: Image.new("L", (300, 9), 7).save(path), (7, 7, 7)),
    "print.jpg": (lambda path: Image.new("CMYK", (9, 90), (0, 0, 0, 255)).save(path), (0, 0, 0)),
}


@pytest.mark.parametrize("name", PICTURES)
def test_any_picture_becomes_upright_rgb_of_the_size(tmp_path: Path, name: str) -> None:
    save, colour = PICTURES[name]
    save(tmp_path / name)
    found = read_init_image(tmp_path / name, 64, 128)
    assert (found.mode, found.size, found.getpixel((0, 0))) == ("RGB", (64, 128), colour)


def test_a_picture_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    Image.new("1", (9000, 9000)).save(path)
    with pytest.raises(UsageError, match=r"more than|cannot be read"):
        read_init_image(path, 64, 64)


@pytest.mark.parametrize(
    ("name", "family", "expected"),
    [
        ("DPM++ 2M Karras", "sd", "DPM++ 2M Karras"),
        ("dpmpp_2m_karras", "sdxl", "DPM++ 2M Karras"),
        ("dpmpp_2m", "", "DPM++ 2M"),
        ("dpm++ 2m sde karras", "sd", "DPM++ 2M SDE Karras"),
        ("euler_ancestral", "turbo", "Euler a"),
        ("Euler a", "sd", "Euler a"),
        ("EULER", "flux", "Euler"),
        ("heun", "sd3", "Heun"),
        ("pndm", "sd", "PLMS"),
        ("lcm", "lcm", "LCM"),
        ("uni_pc", "sd", "UniPC"),
    ],
)
def test_a_sampler_is_known_by_its_usual_names(name: str, family: str, expected: str) -> None:
    found = find_sampler(name, family)
    assert found is not None
    assert found.name == expected
    assert found.scheduler.startswith("FlowMatch") == (family in ("sd3", "flux"))


@pytest.mark.parametrize(
    ("name", "family", "text"),
    [
        ("magic", "sd", "There are: DDIM, DDPM, PLMS, Euler"),
        ("DDIM", "flux", "family flux. There are: Euler, Heun."),
        ("karras", "sd", "There are: DDIM"),
    ],
)
def test_an_unknown_sampler_lists_the_known_ones(name: str, family: str, text: str) -> None:
    with pytest.raises(UsageError, match=text.replace(".", r"\.")):
        find_sampler(name, family)
    assert find_sampler(" ", family) is None
