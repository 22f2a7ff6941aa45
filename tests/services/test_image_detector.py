"""The image check's process: NudeNet's own model on real pictures, and programs that fail."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from PIL import Image

from bot.checks import check_image_model
from bot.domain.checks import CheckResult
from bot.domain.errors import ImageCheckFailed
from bot.domain.image_check import NUDENET_THRESHOLDS
from bot.services import image_detector
from bot.services.image_detector import DetectorModel, ImageDetector, load_model, read_labels
from bot.settings import Settings
from tests.image_check_component import (
    FOLDER,
    PORTRAIT,
    landscape,
    portrait,
    require_component,
)
from tests.onnx_models import colour_classifier

pytestmark = pytest.mark.timing("starts processes, which a busy machine makes late")

RGB: Final = ("red", "green", "blue")
BLACK: Final = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


async def test_nudenet_finds_the_face_of_a_portrait_and_nothing_in_a_landscape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_component()
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setenv("DISCORD_TOKEN", "must not be inherited")
    strip = tmp_path / "strip.png"
    row = Image.new("RGB", (512, 256))
    row.paste(landscape(256), (0, 0))
    row.paste(portrait(256), (256, 0))
    row.save(strip)
    wanted = ("FACE_FEMALE", *NUDENET_THRESHOLDS)
    detector = ImageDetector(partial(load_model, "nudenet", None, 0, *BLACK), wanted, timeout_s=60)
    try:
        assert await detector.start() == wanted
        first = detector.pid
        assert first is not None
        assert b"DISCORD_TOKEN" not in Path(f"/proc/{first}/environ").read_bytes()
        assert os.getpriority(os.PRIO_PROCESS, first) > os.getpriority(os.PRIO_PROCESS, 0)

        boxes = [(0, 0, 256, 256), (256, 0, 512, 256)]
        nothing, face = await detector.scores(strip, boxes)
        assert face["FACE_FEMALE"] > 0.7
        assert all(score < 0.3 for score in nothing.values())

        # A picture that cannot be read costs nothing but itself.
        broken = tmp_path / "broken.png"
        broken.write_bytes(strip.read_bytes()[:2000])
        with pytest.raises(ImageCheckFailed, match="cannot be read"):
            await detector.scores(broken, [])
        assert detector.problem
        (again,) = await detector.scores(PORTRAIT, [])
        assert again["FACE_FEMALE"] > 0.7
        assert (detector.pid, detector.problem) == (first, "")

        # One that died while it had nothing to do is replaced without a word.
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(10):
            await ended(detector)
        (again,) = await detector.scores(PORTRAIT, [])
        assert again["FACE_FEMALE"] > 0.7
        assert detector.pid not in (None, first)
    finally:
        await detector.aclose()
    assert detector.pid is None


async def ended(detector: ImageDetector) -> None:
    """Wait until the process has ended."""
    while detector.pid is not None:  # noqa: ASYNC110 - it does not tell
        await asyncio.sleep(0.01)


READY: Final = (
    "import json, sys, time; sys.stdin.readline(); say = lambda text: print(text, flush=True)"
)
LABELS: Final = "say(json.dumps({'labels': ['red', 'green', 'blue']})); sys.stdin.readline()"


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        ("raise SystemExit(3)", "exit status 3"),
        (f"{READY}; time.sleep(60)", "no answer within"),
        (f"{READY}; say('garbage')", "wrong form"),
        (f"{READY}; say('[1]')", "wrong form"),
        (f"{READY}; say('{{}}')", "wrong form"),
        (f"{READY}; say(json.dumps({{'error': 'no such thing'}}))", "no such thing"),
        (f"{READY}; say(json.dumps({{'labels': ['red']}}))", "no label green; it has red"),
        (f"{READY}; {LABELS}; import os; os.kill(os.getpid(), 9)", "signal 9"),
        (f"{READY}; {LABELS}; raise SystemExit(0)", "exit status 0"),
        (f"{READY}; {LABELS}; time.sleep(60)", "no answer within"),
        (f"{READY}; {LABELS}; say('garbage')", "wrong form"),
        (f"{READY}; {LABELS}; say('[' * 100000)", "wrong form"),
        (f"{READY}; {LABELS}; say('x' * (2 << 20))", "wrong form"),
        (f"{READY}; {LABELS}; say('null')", "wrong form"),
        (f"{READY}; {LABELS}; say(json.dumps({{'scores': []}}))", "wrong form"),
        (f"{READY}; {LABELS}; say(json.dumps({{'scores': [{{'red': 1}}]}}))", "wrong form"),
        (
            f"{READY}; {LABELS}; say(json.dumps({{'scores': [dict(red=9, green=0, blue=0)]}}))",
            "wrong form",
        ),
        (f'{READY}; {LABELS}; say(\'{{"scores": [{{"red": NaN}}]}}\')', "wrong form"),
        (f"{READY}; {LABELS}; say(json.dumps({{'error': 'a picture is odd'}}))", "is odd"),
    ],
)
async def test_whatever_the_process_does_is_a_failed_check(
    tmp_path: Path, program: str, problem: str
) -> None:
    detector = ImageDetector(
        lambda: DetectorModel(tmp_path / "model.onnx", RGB),
        RGB,
        timeout_s=0.5,
        start_timeout_s=1.0 if "sleep" in program and LABELS not in program else 20.0,
        program=(sys.executable, "-S", "-E", "-c", program),
    )
    try:
        with pytest.raises(ImageCheckFailed, match=problem):
            await detector.scores(tmp_path / "picture.png", [])
        assert problem in detector.problem
        assert detector.pid is None or "odd" in problem
    finally:
        await detector.aclose()


async def test_a_check_that_is_broken_off_leaves_no_answer_for_the_next_one(
    tmp_path: Path,
) -> None:
    program = f"{READY}; {LABELS}; time.sleep(60)"
    detector = ImageDetector(
        lambda: DetectorModel(tmp_path / "model.onnx", RGB),
        RGB,
        timeout_s=60,
        program=(sys.executable, "-S", "-E", "-c", program),
    )
    await detector.start()
    looking = asyncio.create_task(detector.scores(tmp_path / "picture.png", []))
    await asyncio.sleep(0)
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    assert detector.pid is None


async def test_a_model_of_ones_own_is_named_by_path_with_its_labels(tmp_path: Path) -> None:
    model = colour_classifier(tmp_path / "model.onnx")
    labels = tmp_path / "labels.txt"
    labels.write_text("red\ngreen\n\nblue\n", "utf-8")
    picture = tmp_path / "picture.png"
    Image.new("RGB", (9, 9), (0, 255, 0)).save(picture)
    load = partial(load_model, model, labels, 0, *BLACK)
    detector = ImageDetector(load, ["green"], timeout_s=60)
    try:
        assert await detector.scores(picture, []) == ({"green": 1.0},)
    finally:
        await detector.aclose()


@pytest.mark.parametrize(
    ("engine", "label_file", "problem"),
    [
        (Path("missing.onnx"), None, "there is no file"),
        (Path(__file__), Path("missing.txt"), "cannot be read"),
        ("nudenet", None, "NudeNet is not installed"),
    ],
)
async def test_what_is_missing_is_a_failed_check_before_a_process_is_started(
    engine: Path | str,
    label_file: Path | None,
    problem: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "path", [])
    load = partial(load_model, engine, label_file, 0, *BLACK)
    detector = ImageDetector(load, RGB, timeout_s=1, program=("/no/such/program",))
    with pytest.raises(ImageCheckFailed, match=problem):
        await detector.scores(Path("picture.png"), [])
    assert problem in detector.problem


async def test_a_program_that_cannot_be_started_is_a_failed_check() -> None:
    detector = ImageDetector(
        lambda: DetectorModel(Path("m")), RGB, timeout_s=1, program=("/no/such/program",)
    )
    with pytest.raises(ImageCheckFailed, match="cannot be started"):
        await detector.start()


@pytest.mark.parametrize(
    ("name", "text", "labels"),
    [
        ("labels.txt", "a\n b \n\nc", ("a", "b", "c")),
        ("config.json", '{"id2label": {"10": "c", "0": "a", "2": "b"}}', ("a", "b", "c")),
        ("config.json", '{"id2label": {"0": "safe"}, "more": [1]}', ("safe",)),
    ],
)
def test_label_files(tmp_path: Path, name: str, text: str, labels: tuple[str, ...]) -> None:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    assert read_labels(path) == labels


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"id2label": {"x": "a"}}', "\x00"])
def test_a_broken_label_file_is_a_failed_check(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text, "utf-8")
    with pytest.raises(ImageCheckFailed, match=r"config\.json cannot be read"):
        read_labels(path)


def test_both_ends_say_the_same_of_a_missing_runtime() -> None:
    source = Path(image_detector.__file__).with_name("image_classifier.py").read_text("utf-8")
    assert f'"{image_detector.NO_RUNTIME}"' in source


@pytest.mark.parametrize(
    ("labels", "metadata", "ok", "detail", "hint"),
    [
        ({"green": 0.5}, {}, True, "model.onnx looks for green", ""),
        ({"purple": 0.5}, {}, False, "no label purple; it has red, green, blue", "is held"),
        ({"green": 0.5}, None, False, "there is no file model.onnx", "is held"),
    ],
)
async def test_gridbrush_check_says_whether_the_model_loads(
    tmp_path: Path,
    labels: dict[str, float],
    metadata: dict[str, str] | None,
    ok: bool,
    detail: str,
    hint: str,
) -> None:
    path = tmp_path / "model.onnx"
    if metadata is not None:
        names = {"names": "{0: 'red', 1: 'green', 2: 'blue'}"}
        colour_classifier(path, metadata=names | metadata)
    check = {"engine": str(path), "labels": labels}
    found = await check_result(Settings.model_validate({"image_check": check}))
    assert found.ok is ok
    assert detail in found.detail
    assert hint in found.hint


async def test_gridbrush_check_says_that_the_extra_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "path", [])
    found = await check_result(Settings.model_validate({"image_check": {"engine": "nudenet"}}))
    assert found.detail == "[image_check] NudeNet is not installed"
    assert found.hint.startswith("Run: pip install 'gridbrush[image-check]'.")


async def check_result(settings: Settings) -> CheckResult:
    (found,) = await check_image_model(settings)
    return found
