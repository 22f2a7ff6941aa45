"""Run the real bot with measurements inside it: ``python -m benchmarks.probe``.

The environment configures it. It prints one JSON object a line; times are of ``time.monotonic``,
which all processes of a machine share:

    {"marker": job, "at": …}      the backend yielded the last marker of the job's log
    {"sent": path, "at": …}       a PATCH request began
    {"received": path, "at": …}   and was answered
    {"stall": seconds, "at": …}   the event loop was late (only above MIN_REPORTED_STALL_S)

With ``PROBE_PHOTOGRAPHS`` set, the images of the scripted backend compress like photographs;
otherwise each has one colour.
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

TICK_S = 0.002
MIN_REPORTED_STALL_S = 0.005


def report(**facts: object) -> None:
    """Print one JSON object to stdout."""
    sys.stdout.write(json.dumps(facts | {"at": facts.get("at", time.monotonic())}) + "\n")
    sys.stdout.flush()


def photograph(env: Mapping[str, str], name: str) -> bytes:
    """Return an image instead of ``scripted.picture``."""
    rows = int(env["ROWS"]) if name == "grid.png" else 1
    geometry = GridGeometry(int(env["WIDTH"]), int(env["HEIGHT"]), rows, int(env["SAMPLES"]))
    return noisy_gradient(*geometry.size)


@functools.cache
def noisy_gradient(width: int, height: int) -> bytes:
    """Return a PNG of about 1.2 MB per 768 × 768 pixels, like those of a diffusion model."""
    slope = np.linspace(0, 200, width)[None, :, None] + np.arange(3) * 10
    noise = np.random.default_rng(7).normal(0, 4, (height, width, 3))
    pixels = np.clip(slope + noise, 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=1)
    return out.getvalue()


def watch_markers(service: Runtime) -> None:
    """Report when the last marker of a job's log is read."""
    backend = service.application.backend
    follow = backend.follow

    async def followed(
        handle: BackendJobRef, cursor: str | None = None
    ) -> AsyncIterator[LogLine | LifecycleEvent]:
        async for item in follow(handle, cursor):
            if isinstance(item, LogLine) and b" done ok=" in item.data:
                report(marker=handle.id)
            yield item

    backend.follow = followed  # type: ignore[method-assign]


def watch_uploads() -> None:
    """Report PATCH requests, by the tracing of the HTTP client."""
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
            report(sent=end.url.path, at=context.began)
            report(received=end.url.path)

    def trace(self: AckLatency) -> aiohttp.TraceConfig:
        config = trace_of(self)
        config.on_request_start.append(sent)
        config.on_request_end.append(received)
        return config

    AckLatency.trace_config = trace  # type: ignore[method-assign]


async def watch_loop() -> None:
    """Report how late the event loop wakes this task, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + TICK_S
        await asyncio.sleep(TICK_S)
        stall = loop.time() - due
        if stall > MIN_REPORTED_STALL_S:
            report(stall=stall)


async def main() -> None:
    """Run until SIGTERM."""
    if os.environ.get("PROBE_PHOTOGRAPHS"):
        scripted.synthetic_image = photograph
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
