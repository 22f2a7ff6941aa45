"""What the engine must do with every server of the A1111 API, the stand-in and real ones.

    from tests.image_servers.engine_suite import *  # noqa: F403

A module gives a fixture ``url`` and a function ``size``: sides in pixels the server can make.
"""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from PIL import Image

from bot.txt2img.config import CHECKPOINT, ModelConfig, ServerConfig
from bot.txt2img.engines.a1111 import A1111Engine, describe
from bot.txt2img.engines.a1111.engine import Clock
from bot.txt2img.engines.base import Batch
from bot.txt2img.plan import UsageError

__all__ = [
    "test_a_checkpoint_that_is_not_there_is_named_with_those_that_are",
    "test_a_picture_can_start_from_another",
    "test_a_picture_has_the_size_and_no_text",
    "test_a_size_that_the_server_cannot_make_is_said",
    "test_equal_seeds_give_equal_pictures_and_others_others",
    "test_the_description_names_what_is_loaded",
]

BATCH = Batch(("a red heron",), "fog", seed=7, first=0, width=64, height=64, steps=2, scale=5.0)
FAST = Clock(time.monotonic, lambda _: None, 0.01)


def engine(*urls: str, model: ModelConfig | None = None, **config: str) -> A1111Engine:
    """An engine that looks at its calls often."""
    return A1111Engine(ServerConfig(urls, **config), model, {}, clock=FAST)  # type: ignore[arg-type]


def generate(url: str, batch: Batch = BATCH, model: ModelConfig | None = None) -> Image.Image:
    """The first picture of a batch."""
    return engine(url, model=model).generate(batch, lambda: None)[0]


def test_a_picture_has_the_size_and_no_text(url: str) -> None:
    steps: list[int] = []
    one = engine(url)
    (image,) = one.generate(BATCH, lambda: steps.append(1))
    assert (image.size, image.mode, image.info) == ((64, 64), "RGB", {})
    assert len(steps) == BATCH.steps
    assert (one.report.engine, one.report.steps, one.report.guidance) == ("a1111", 2, 5.0)
    assert one.report.model


def test_equal_seeds_give_equal_pictures_and_others_others(url: str) -> None:
    two = replace(BATCH, prompts=("a red heron",) * 2)
    first, second = engine(url).generate(two, lambda: None)
    assert first.tobytes() != second.tobytes()
    assert generate(url).tobytes() == first.tobytes()
    # The second picture of a row is not the first of the next row.
    assert generate(url, replace(BATCH, seed=8)).tobytes() != second.tobytes()
    assert generate(url, replace(BATCH, first=1)).tobytes() == second.tobytes()


def test_a_picture_can_start_from_another(url: str) -> None:
    start = Image.new("RGB", (64, 64), (200, 30, 30))
    start.info["secret"] = "stays here"
    batch = replace(BATCH, init_image=start, strength=0.5)
    one = engine(url)
    (image,) = one.generate(batch, lambda: None)
    assert image.size == (64, 64)
    assert one.report.steps in (1, 2)


def test_a_size_that_the_server_cannot_make_is_said(url: str, odd_size: int) -> None:
    with pytest.raises(UsageError, match=rf"instead of {odd_size}x64"):
        generate(url, replace(BATCH, width=odd_size))


def test_a_checkpoint_that_is_not_there_is_named_with_those_that_are(url: str) -> None:
    model = ModelConfig("gone", kind=CHECKPOINT, location="gone.safetensors")
    with pytest.raises(UsageError, match=r"has no checkpoint 'gone.safetensors'; it has \w+"):
        generate(url, model=model)
    ((problem, hint),) = describe(ServerConfig((url,)), model)["problems"]
    assert "has no checkpoint" in problem
    assert "Correct the name" in hint


def test_the_description_names_what_is_loaded(url: str) -> None:
    described = describe(ServerConfig((url,)), None)
    assert described["problems"] == []
    assert described["model"]
    assert url in described["note"]
    named = ModelConfig("it", kind=CHECKPOINT, location=f"{described['model']}.safetensors")
    assert describe(ServerConfig((url,)), named)["problems"] == []
