"""The engines with which a backend passes the conformance suite, and the servers they need."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping

import pytest

from bot.backends.base import Backend, LogLine, Submission
from bot.domain.log_parser import LogParser
from bot.domain.workflow.template import render
from tests.backends.conformance import GENERATING
from tests.backends.jobs import FAILING_SEED, HELD_SEEDS
from tests.image_servers.a1111 import VARIANTS, serve
from tests.image_servers.comfyui import ComfyUI
from tests.stock_jobs import KEY, load, request, ticket

__all__ = ["ENGINES", "engine", "over_engines", "read", "serving", "stock"]

ENGINES = ("sketch", "comfyui", "a1111")


def over_engines(metafunc: pytest.Metafunc) -> None:
    """Run each generating test of the suite once for each engine.

    A module's ``pytest_generate_tests`` calls it, and its ``site`` uses the fixture ``engine``.
    """
    if metafunc.function.__name__ in GENERATING:
        metafunc.parametrize("engine", ENGINES, indirect=True)


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> str:
    """The engine that makes the rows; empty where no engine takes part."""
    return getattr(request, "param", "")


@contextlib.contextmanager
def serving(engine: str) -> Iterator[tuple[Mapping[str, object], Callable[[], object]]]:
    """Run the engine's server, if it has one.

    Yield a backend's options for the engine, and what blocks until the server works at a row.
    """
    if engine == "comfyui":
        with ComfyUI() as comfyui:
            comfyui.failing_seeds, comfyui.held_seeds = {FAILING_SEED}, HELD_SEEDS
            yield {"engine": engine, engine: {"urls": [comfyui.url]}}, _waiting(comfyui.stepping)
    elif engine == "a1111":
        seeds = {"failing_seeds": {FAILING_SEED}, "held_seeds": HELD_SEEDS}
        with serve(VARIANTS[0], username="ada", password="open sesame", **seeds) as a1111:
            login = {"username": a1111.username, "password": a1111.password}
            options = {"engine": engine, engine: {"urls": [a1111.url], **login}}
            yield options, _waiting(a1111.started)
    else:
        yield {"engine": "sketch"}, lambda: None


def _waiting(event: threading.Event) -> Callable[[], None]:
    def wait() -> None:
        assert event.wait(60), "the server was never asked"

    return wait


def stock(backend: Backend, job_id: str, rows: int = 2) -> Submission:
    """A job of the stock template, with two pictures in each row."""
    asked = request(rows, 2, "a secret cat", negative="dog")
    upload = backend.upload_url(job_id)
    return Submission(job_id, render(load("stable-diffusion.yaml"), asked, ticket(upload)))


def read(lines: list[LogLine], rows: int = 2) -> tuple[list[object], str]:
    """The events of the lines, and all their text."""
    text = b"".join(line.data for line in lines)
    return list(LogParser(KEY, rows).feed(text)), text.decode()
