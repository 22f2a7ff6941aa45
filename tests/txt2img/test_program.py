"""Test the real processes: ``python -m bot.txt2img``, and its ``upscale`` and ``describe``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.unit.txt2img.test_models import CLASSES, model

ROOT = Path(__file__).parents[2]


def run(module: str, *words: str | bytes, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        capture_output=True,
        timeout=120,
        check=False,
    )


def test_the_program_paints_and_upscales_in_processes_of_its_own(tmp_path: Path) -> None:
    size = ("--H=64", "--W=64", "--steps=3", "--n_iter=1", "--n_samples=2")
    done = run("bot.txt2img", "--prompt=a whale", *size, f"--outdir={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert b"Enjoy." in done.stdout
    assert b"\n\n\rDDIM Sampler:" in done.stderr
    assert "█".encode() in done.stderr
    larger = run("bot.txt2img.upscale", str(tmp_path / "samples"), STORAGE_PATH=str(tmp_path))
    assert larger.stdout.splitlines() == [
        b"upscaled 00000.png 64x64 -> 256x256",
        b"upscaled 00001.png 64x64 -> 256x256",
    ]


def test_the_program_leaves_with_the_status_of_the_original(tmp_path: Path) -> None:
    assert run("bot.txt2img", "--device=tpu").returncode == 2
    assert run("bot.txt2img", "--prompt", f"--outdir={tmp_path}").returncode == 1


def test_a_prompt_and_a_path_of_bytes_that_are_no_text_do_no_harm(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/\xff"
    size = ("--H=64", "--W=64", "--steps=1", "--n_iter=1", "--n_samples=1")
    done = run("bot.txt2img", b"--prompt=\xff\xfe", *size, b"--outdir=" + folder)
    assert done.returncode == 0, done.stderr
    assert os.listdir(folder + b"/samples") == [b"00000.png"]


def test_the_description_is_one_line_of_json(tmp_path: Path) -> None:
    folder = model(tmp_path / "sdxl-turbo", CLASSES["sdxl"])
    done = run("bot.txt2img.describe", PAINTER_ENGINE="diffusers", PAINTER_MODEL=str(folder))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [found[key] for key in ("engine", "model", "family", "guidance", "negative")] == [
        *("diffusers", "sdxl-turbo", "turbo", 0.0, False)
    ]
