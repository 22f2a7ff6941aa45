"""The real bot with a watch inside: ``python -m benchmarks.probe``, set up by the environment.

What can only be known inside it prints as JSON, one object a line, moments by ``time.monotonic``,
which all processes of a machine share:

    {"marker": job, "at": …}      the backend handed over the last marker of the job's log
    {"sent": path, "at": …}       a PATCH with a file began to leave
    {"received": path, "at": …}   and was answered
    {"stall": seconds, "at": …}   the event loop came back so late (only above MENTIONED)

With ``WITNESS_PHOTOGRAPHS`` set, the scripted backend's pictures are as hard to compress as
photographs; otherwise each is one colour.
"""

from __future__ import annotations

import asyncio
import functools
import io
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from types import SimpleNamespace

import aiohttp
import numpy as np
from PIL import Image

from bot.backends import scripted
from bot.backends.base import LifecycleEvent, LogLine
from bot.domain.events import BackendJobRef
from bot.domain.grid import GridGeometry
from bot.frontend.ack_latency import AckLatency
from bot.runtime import Runtime, run_until_stopped
from bot.settings import Settings

TICK = 0.002
MENTIONED = 0.005


def say(**facts: object) -> None:
    """One line on stdout."""
    sys.stdout.write(json.dumps(facts | {"at": facts.get("at", time.monotonic())}) + "\n")
    sys.stdout.flush()


def photograph(env: Mapping[str, str], name: str) -> bytes:
    """Stands in for ``recordings.picture``."""
    rows = int(env["ROWS"]) if name == "grid.png" else 1
    geometry = GridGeometry(int(env["WIDTH"]), int(env["HEIGHT"]), rows, int(env["SAMPLES"]))
    return noisy_gradient(*geometry.size)


@functools.cache
def noisy_gradient(width: int, height: int) -> bytes:
    """A PNG of about 1.2 MB for each 768 × 768 pixels, as a diffusion model's are."""
    slope = np.linspace(0, 200, width)[None, :, None] + np.arange(3) * 10
    noise = np.random.default_rng(7).normal(0, 4, (height, width, 3))
    pixels = np.clip(slope + noise, 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=1)
    return out.getvalue()


def watch_markers(service: Runtime) -> None:
    """Say when the last marker comes. The line is followed by nothing but the job's end."""
    backend = service.engine.backend
    follow = backend.follow

    async def followed(
        handle: BackendJobRef, cursor: str | None = None
    ) -> AsyncIterator[LogLine | LifecycleEvent]:
        async for item in follow(handle, cursor):
            if isinstance(item, LogLine) and b" done ok=" in item.data:
                say(marker=handle.id)
            yield item

    backend.follow = followed  # type: ignore[method-assign]


def watch_uploads() -> None:
    """Say when a message with a file leaves, by the HTTP client's own account."""
    trace_of = AckLatency.trace_config

    async def sent(
        _session: aiohttp.ClientSession,
        context: SimpleNamespace,
        start: aiohttp.TraceRequestStartParams,
    ) -> None:
        context.began = time.monotonic() if start.method == "PATCH" else 0.0

    async def received(
        _session: aiohttp.ClientSession,
        context: SimpleNamespace,
        end: aiohttp.TraceRequestEndParams,
    ) -> None:
        if context.began:
            say(sent=end.url.path, at=context.began)
            say(received=end.url.path)

    def trace(self: AckLatency) -> aiohttp.TraceConfig:
        config = trace_of(self)
        config.on_request_start.append(sent)
        config.on_request_end.append(received)
        return config

    AckLatency.trace_config = trace  # type: ignore[method-assign]


async def watch_loop() -> None:
    """Say for ever how late the event loop wakes this task."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + TICK
        await asyncio.sleep(TICK)
        late = loop.time() - due
        if late > MENTIONED:
            say(stall=late)


async def main() -> None:
    """Run until SIGTERM."""
    if os.environ.get("WITNESS_PHOTOGRAPHS"):
        scripted.picture = photograph  # type: ignore[attr-defined]
    watch_uploads()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    watching: list[asyncio.Task[None]] = []

    def ready(service: Runtime) -> None:
        watch_markers(service)
        watching.append(asyncio.create_task(watch_loop()))
        sys.stderr.write("ready\n")

    try:
        await run_until_stopped(Settings.load(None, dict(os.environ)), stop, on_ready=ready)
    finally:
        for task in watching:
            task.cancel()


if __name__ == "__main__":
    asyncio.run(main())
