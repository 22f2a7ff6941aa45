"""Jobs that do not want to be stopped are, within seconds, on this machine and on a cluster."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.backends import open_backend
from bot.backends.base import Backend, LogLine
from bot.backends.job_folders import PASS_BYTES, READ_BYTES, read_lines_until, read_log_lines
from bot.domain.events import Cancelled
from tests.backends.conformance import ending
from tests.slurm.cluster import Cluster
from tests.slurm.jobs import MARK, job
from tests.slurm.site import cluster, options_for

__all__ = ["cluster"]

pytestmark = [
    pytest.mark.xdist_group("slurm-stopping"),
    pytest.mark.timing(
        "watches the daemons of a real Slurm cluster, which a busy machine makes late"
    ),
]

SECONDS = 5.0
FLOOD = "while :; do printf '%0200d\\n' 0; done"
COMMANDS = {
    "floods its log": MARK + FLOOD,
    "ignores the signal": MARK + "trap '' TERM; while :; do sleep 0.1; done",
    "floods and ignores the signal": MARK + "trap '' TERM; " + FLOOD,
    "left its group": MARK + "setsid bash -c \"trap '' TERM; while :; do sleep 0.1; done\"",
    "left a flooding orphan": MARK + f"setsid bash -c \"trap '' TERM; {FLOOD}\" & wait",
}


@pytest.fixture(params=["local", "slurm"])
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    if request.param == "slurm":
        there: Cluster = request.getfixturevalue("cluster")
        options = options_for(there, tmp_path / "shared")
    else:
        options = {"data_dir": tmp_path, "engine": "sketch", "tasks": 4}
    opened = await open_backend(request.param, options)
    yield opened
    await opened.aclose()


@pytest.mark.parametrize("how", COMMANDS)
async def test_a_job_is_stopped_within_seconds_though_it(
    request: pytest.FixtureRequest, backend: Backend, how: str
) -> None:
    name = how.replace(" ", "-")
    handle = await backend.submit(job(name, backend.upload_url(name), COMMANDS[how], rows=1))
    stream = backend.follow(handle)
    while not isinstance(item := await anext(stream), LogLine) or b"row-start" not in item.data:
        pass
    ended = asyncio.create_task(ending(stream))
    await asyncio.sleep(0.3)  # what floods has something to show for it
    began = time.monotonic()
    stopping = asyncio.create_task(backend.cancel(handle))
    if backend.name == "slurm":
        # From then on it is over for Slurm, which may take long to end every process of it.
        there: Cluster = request.getfixturevalue("cluster")
        ends = (["COMPLETING"], ["CANCELLED"])
        while await asyncio.to_thread(there.jobs, "%T", name) not in ends:
            assert time.monotonic() - began < 30
        began = time.monotonic()
    assert (await asyncio.wait_for(ended, 60))[1] == Cancelled(by=0)
    assert time.monotonic() - began < SECONDS
    await stopping


async def test_a_log_that_grows_while_it_is_read_is_read_up_to_where_it_was(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"line\n" * 1000)
    seen = 0
    with log.open("ab") as writer:
        async for _ in read_lines_until(log, 0, 5000, final=True):
            seen += 1
            writer.write(b"more\n" * 10)
            writer.flush()
    assert seen <= READ_BYTES
    assert [line async for line in read_lines_until(log, 0, 5000, final=True, seconds=0)] == []


@pytest.mark.parametrize("final", [True, False])
async def test_no_line_is_torn_where_one_reading_ends(tmp_path: Path, final: bool) -> None:
    log = tmp_path / "log"
    line = b"x" * 2999 + b"\n"
    log.write_bytes(line * 200)
    offset, lines = 0, []
    while read := await read_log_lines(log, offset, final=final):
        lines += read
        offset = int(read[-1].cursor)
    assert [one.data for one in lines] == [line] * 200
    log.write_bytes(b"x" * (READ_BYTES + 5))
    assert len((await read_log_lines(log, 0, final=final))[0].data) == READ_BYTES
    assert PASS_BYTES > READ_BYTES
