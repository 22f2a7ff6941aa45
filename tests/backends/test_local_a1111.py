"""The local backend with servers of the A1111 API: rows, failures, cancelling, upscaling."""

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
from bot.backends.base import Submission, SupportsChecks
from bot.domain.events import Cancelled, Exited, Finished, RowFailed, RowPainted, RowReady
from tests.backends.conformance import Site, ending
from tests.backends.engines import read, stock
from tests.image_servers.a1111 import SHA256, VARIANTS, StandIn, serve
from tests.stock_jobs import upscaling

pytestmark = pytest.mark.timing(
    "watches job scripts as processes, which a busy machine starts and stops late"
)

Servers = tuple[StandIn, StandIn]


@pytest.fixture
def servers() -> Iterator[Servers]:
    login = {"username": "ada", "password": "open sesame"}
    with serve(VARIANTS[0], **login) as one, serve(VARIANTS[0], **login) as two:
        yield one, two


@pytest.fixture
def site(tmp_path: Path, servers: Servers) -> Site:
    options = {
        "data_dir": tmp_path,
        "tasks": 4,
        "engine": "a1111",
        "a1111": {
            "urls": [server.url for server in servers],
            "username": "ada",
            "password": "open sesame",
        },
        "poll_seconds": 0.01,
        "environ": {"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    }
    return Site(functools.partial(open_backend, "local", options), tmp_path / "local")


async def test_rows_are_generated_on_both_servers_and_say_by_what(
    site: Site, servers: Servers, tmp_path: Path
) -> None:
    backend = await site.open()
    job = stock(backend, "painted", rows=3)
    assert isinstance(backend, SupportsChecks)
    checks = await backend.run_checks(job.workflow)
    assert [check.detail for check in checks if not check.ok] == []
    assert "dreamshaper_8" in str(checks)
    servers[1].faults.append("out of memory")  # the one picture of row 2 or of rows 1 and 3
    handle = await backend.submit(job)
    lines, last = await ending(backend.follow(handle))
    events, text = read(lines, 3)
    assert last == Exited(0)
    assert Finished(ok=2, failed=1) in events
    assert sum(isinstance(event, RowFailed) for event in events) == 1
    assert "ran out of memory with a single picture" in text
    for event in events:
        if isinstance(event, RowPainted):
            made = event.generation
            assert (made.engine, made.model, made.steps) == ("a1111", "dreamshaper_8", 5)
            assert (made.guidance, made.sampler, made.model_sha256) == ("7", "Euler", SHA256)
        if isinstance(event, RowReady):
            await backend.fetch(event.artifact, tmp_path / "row.png")
            with Image.open(tmp_path / "row.png") as image:
                assert image.info == {}
    assert all(server.requests for server in servers)
    assert not any(word in text for word in ("secret", "sesame"))
    assert (site.folder / "txt2img.json").stat().st_mode & 0o777 == 0o600
    await backend.aclose()


async def test_cancelling_stops_what_runs_for_us(site: Site, servers: Servers) -> None:
    for server in servers:
        server.hold.clear()
    backend = await site.open()
    handle = await backend.submit(stock(backend, "cancelled"))
    for server in servers:
        assert await asyncio.to_thread(server.started.wait, 60)
    await backend.cancel(handle)
    _, last = await ending(backend.follow(handle))
    assert isinstance(last, Cancelled)
    assert [server.interrupts for server in servers] == [1, 1]
    await backend.aclose()


async def test_a_picture_is_upscaled_by_a_server(site: Site, tmp_path: Path) -> None:
    picture = tmp_path / "local" / "jobs" / "earlier" / "published" / "row-01.png"
    picture.parent.mkdir(parents=True)
    Image.new("RGB", (40, 24), (200, 30, 30)).save(picture)
    digest = hashlib.sha256(picture.read_bytes()).hexdigest()
    backend = await site.open()
    upload = backend.upload_url("large")
    work = upscaling(upload, input_url=picture.as_uri(), input_sha256=digest, input_box="0,0,20,24")
    lines, last = await ending(backend.follow(await backend.submit(Submission("large", work))))
    assert last == Exited(0)
    events, _ = read(lines, 1)
    (painted,) = [event.generation for event in events if isinstance(event, RowPainted)]
    assert (painted.engine, painted.model) == ("a1111", "R-ESRGAN 4x+")
    await backend.aclose()
