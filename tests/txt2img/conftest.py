"""The painter, run within the test: same entry as the program, streams and clock at hand."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass

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
    """A clock that has gone on by ``seconds`` every time it is read."""

    def times() -> Iterator[float]:
        now = 0.0
        while True:
            yield now
            now += seconds

    clock = times()
    return lambda: next(clock)


@pytest.fixture
def paint() -> Paint:
    """Run the program with small pictures unless the words say otherwise."""

    def run(*words: str, clock: Callable[[], float] | None = None, **environment: str) -> Outcome:
        out, err = io.StringIO(), io.StringIO()
        streams = Streams(out, err, clock or ticking(1.0))
        status = main([*SMALL, *words], environment, streams)
        return Outcome(status, out.getvalue(), err.getvalue())

    return run
