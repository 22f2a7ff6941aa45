"""The section ``[image_check]``: what it accepts, and what it says about the rest."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from bot.bootstrap import build_detector
from bot.domain.image_check import NUDENET_THRESHOLDS
from bot.settings import Settings
from tests.unit.settings.test_problems import problems


def load(folder: Path, text: str, environ: dict[str, str] | None = None) -> Settings:
    (folder / "config.toml").write_text(f"[image_check]\n{text}", "utf-8")
    return Settings.load(None, environ or {}, folder)


def test_it_is_off_by_default(tmp_path: Path) -> None:
    settings = load(tmp_path, "")
    assert not settings.image_check.enabled
    assert build_detector(settings) is None


def test_nudenet_has_labels_of_its_own(tmp_path: Path) -> None:
    section = load(tmp_path, 'engine = "nudenet"').image_check
    assert (section.engine, section.action) == ("nudenet", "hold")
    assert section.thresholds == NUDENET_THRESHOLDS
    chosen = load(tmp_path, 'engine = "nudenet"\nlabels = { FACE_MALE = 1 }').image_check
    assert chosen.thresholds == {"FACE_MALE": 1.0}
    assert build_detector(load(tmp_path, 'engine = "nudenet"')) is not None


@pytest.mark.parametrize("name", ["models/own.onnx", "own.onnx", "./own.onnx"])
def test_a_path_starts_at_the_configuration(tmp_path: Path, name: str) -> None:
    text = f'engine = "{name}"\nlabels = {{ nsfw = 0.7 }}\nlabel_file = "a.txt"\ntimeout = "90s"'
    section = load(tmp_path, text).image_check
    assert section.engine == tmp_path / name
    assert section.label_file == tmp_path / "a.txt"
    assert section.timeout == timedelta(seconds=90)


def test_the_environment_can_say_it(tmp_path: Path) -> None:
    environ = {
        "GRIDBRUSH_IMAGE_CHECK__ENGINE": "nudenet",
        "GRIDBRUSH_IMAGE_CHECK__LABELS": '{"FACE_FEMALE": 0.6}',
        "GRIDBRUSH_IMAGE_CHECK__ACTION": "block",
    }
    section = load(tmp_path, "", environ).image_check
    assert (section.action, section.thresholds) == ("block", {"FACE_FEMALE": 0.6})


OWN = 'engine = "own.onnx"\nlabels = { a = 0.5 }\n'


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ('engine = "nudnet"', "engine", 'Write "nudenet", or the path of a model'),
        ('engine = "/models/own.pt"', "engine", "ends in .onnx"),
        ("engine = 7", "engine", ""),
        ('engine = "own.onnx"', "labels", "no image would be marked"),
        ('engine = "nudenet"\nlabels = { FACE = 0.5 }', "] labels", "FACE_FEMALE"),
        ('engine = "nudenet"\nlabels = { FACE_MALE = 0 }', ".labels] FACE_MALE", "above 0"),
        ('engine = "nudenet"\nlabels = { FACE_MALE = 1.01 }', "FACE_MALE", "at most 1"),
        ('engine = "nudenet"\nlabels = { FACE_MALE = true }', "labels", "number"),
        ('engine = "nudenet"\nlabels = { FACE_MALE = nan }', "labels", ""),
        ('engine = "nudenet"\nlabels = ["FACE_MALE"]', "labels", ""),
        ('action = "delete"', "action", "hold"),
        (f"{OWN}size = -1", "size", ""),
        (f"{OWN}mean = [0.5]", "mean", "entry 2"),
        (f"{OWN}std = [1, 1, 0]", "std", ""),
        (f"{OWN}timeout = 5", "timeout", "length of time"),
        ('engine = "nudenet"\nlable_file = "x"', "lable_file", "label_file"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(
    tmp_path: Path, text: str, key: str, said: str
) -> None:
    found = problems(f"[image_check]\n{text}\n", tmp_path)[0]
    assert key in found.location
    assert "[image_check" in found.location
    assert said in f"{found.problem} {found.hint}"
