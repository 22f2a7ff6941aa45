"""The local backend with ComfyUI servers: rows, failures, cancelling, a bot that restarts."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from bot.backends import open_backend
from bot.backends.base import Describing, Submission, SupportsChecks
from bot.domain.events import Artifact, Cancelled, Exited, Finished, RowFailed, RowPainted, RowReady
from tests.backends.conformance import Site, ending
from tests.backends.engines import read, stock
from tests.image_servers.comfyui import ComfyUI
from tests.stock_jobs import SEED, upscaling

pytestmark = pytest.mark.timing(
    "watches job scripts as processes, which a busy machine starts and stops late"
)

Servers = tuple[ComfyUI, ComfyUI]


@pytest.fixture
def servers() -> Iterator[Servers]:
    with ComfyUI() as one, ComfyUI() as two:
        yield one, two


@pytest.fixture
def site(tmp_path: Path, servers: Servers) -> Site:
    options = {
        "data_dir": tmp_path,
        "tasks": 4,
        "engine": "comfyui",
        "comfyui": {"urls": [server.url for server in servers]},
        "poll_seconds": 0.01,
        "environ": {"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    }
    return Site(functools.partial(open_backend, "local", options), tmp_path / "local")


async def all_working(servers: Servers) -> None:
    for server in servers:
        assert await asyncio.to_thread(server.stepping.wait, 60)


async def test_rows_are_generated_side_by_side_whatever_the_bot_does(
    site: Site, servers: Servers, tmp_path: Path
) -> None:
    backend = await site.open()
    job = stock(backend, "painted")
    assert isinstance(backend, Describing)
    assert isinstance(backend, SupportsChecks)
    assert (await backend.engine_info()).engine == "comfyui"
    checks = await backend.run_checks(job.workflow)
    assert [check.detail for check in checks if not check.ok] == []
    assert servers[0].url in str(checks)

    for server in servers:
        server.hold()
    handle = await backend.submit(job)
    await all_working(servers)
    await backend.aclose()  # the bot restarts while the servers are at work
    backend = await site.open()
    assert await backend.submit(job) == handle
    for server in servers:
        server.release()
    lines, last = await ending(backend.follow(handle))
    events, text = read(lines)
    assert last == Exited(0)
    assert Finished(ok=2, failed=0) in events
    for event in events:
        if isinstance(event, RowPainted):
            made = event.generation
            assert (made.engine, made.model, made.steps) == ("comfyui", "sd15", 5)
            assert (made.guidance, made.sampler, made.negative) == ("7", "euler/normal", True)
    assert [len(server.submitted) for server in servers] == [1, 1]
    for event in events:
        if isinstance(event, RowReady):
            await backend.fetch(event.artifact, tmp_path / "row.png")
            with Image.open(tmp_path / "row.png") as image:
                assert image.info == {}
    assert "secret" not in text
    assert (site.folder / "txt2img.json").stat().st_mode & 0o777 == 0o600
    await backend.aclose()


async def test_a_row_that_the_server_fails_is_alone_and_says_why(
    site: Site, servers: Servers
) -> None:
    for server in servers:
        server.failing_seeds = {SEED + 1}
    backend = await site.open()
    handle = await backend.submit(stock(backend, "row-fails", rows=3))
    lines, last = await ending(backend.follow(handle))
    events, text = read(lines, 3)
    assert last == Exited(0)
    assert RowFailed(row=2, code=1) in events
    assert Finished(ok=2, failed=1) in events
    assert "[row 2] txt2img: http" in text
    assert "node sampler (KSampler) failed: RuntimeError" in text
    await backend.aclose()


async def test_cancelling_empties_the_servers(site: Site, servers: Servers) -> None:
    for server in servers:
        server.hold()
    backend = await site.open()
    handle = await backend.submit(stock(backend, "cancelled", rows=4))
    await all_working(servers)
    await backend.cancel(handle)
    _, last = await ending(backend.follow(handle))
    assert isinstance(last, Cancelled)
    for server in servers:
        await asyncio.to_thread(server.wait_until_idle)
        assert server.waiting == []
        assert None not in server.interrupts
        assert not any(entry["status"]["completed"] for entry in server.history.values())
    await backend.aclose()


async def test_a_picture_is_enlarged_by_the_server(
    site: Site, servers: Servers, tmp_path: Path
) -> None:
    for server in servers:
        server.machine.upscalers = ["4x-model.pth"]
    picture = tmp_path / "local" / "jobs" / "earlier" / "published" / "row-01.png"
    picture.parent.mkdir(parents=True)
    Image.new("RGB", (40, 24), (200, 30, 30)).save(picture)
    digest = hashlib.sha256(picture.read_bytes()).hexdigest()
    backend = await site.open()
    upload = backend.upload_url("large")
    work = upscaling(upload, input_url=picture.as_uri(), input_sha256=digest, input_box="0,0,20,24")
    handle = await backend.submit(Submission("large", work))
    lines, last = await ending(backend.follow(handle))
    assert last == Exited(0)
    events, _ = read(lines, 1)
    (painted,) = [event.generation for event in events if isinstance(event, RowPainted)]
    assert (painted.engine, painted.model) == ("comfyui", "4x-model")
    (artifact,) = [event.artifact for event in events if isinstance(event, RowReady)]
    assert isinstance(artifact, Artifact)
    await backend.fetch(artifact, tmp_path / "large.png")
    with Image.open(tmp_path / "large.png") as image:
        assert (image.size, image.info) == ((80, 96), {})
    await backend.aclose()
