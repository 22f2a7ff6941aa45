"""Run the program within the test: its own entry point, with the test's streams and clock."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bot.txt2img.__main__ import main
from bot.txt2img.run import Streams

SMALL = ("--H=64", "--W=64", "--steps=4")


@dataclass(frozen=True, slots=True)
class Outcome:
    status: int
    out: str
    err: str


Paint = Callable[..., Outcome]


def ticking(seconds: float) -> Callable[[], float]:
    """Return a clock that advances by ``seconds`` with each call."""

    def times() -> Iterator[float]:
        now = 0.0
        while True:
            yield now
            now += seconds

    clock = times()
    return lambda: next(clock)


@pytest.fixture
def paint() -> Paint:
    """Return a function that runs the program, by default with small pictures."""

    def run(*words: str, clock: Callable[[], float] | None = None, **environment: str) -> Outcome:
        out, err = io.StringIO(), io.StringIO()
        streams = Streams(out, err, clock or ticking(1.0))
        status = main([*SMALL, *words], environment, streams)
        return Outcome(status, out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def write_config(tmp_path: Path) -> Callable[[object], str]:
    """Return a function that writes the configuration and returns the file's name."""

    def write(data: object) -> str:
        path = tmp_path / "txt2img.json"
        path.write_text(json.dumps(data), encoding="utf-8")
        return str(path)

    return write
