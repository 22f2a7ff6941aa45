"""What every backend must do. A test module gives a ``site`` fixture and imports these tests.

    from tests.backends.conformance import *  # noqa: F403

A Site opens backends over one place (a folder, a cluster, a grid); opening twice is what a
restarted bot does.

What follows a row to its picture (``GENERATING``) also runs with every engine that the backend can
have: a module gives its ``site`` the fixture ``engine`` of tests/backends/engines.py, which also
has the servers. The other tests are about the backend alone and need no repetition: an unknown job,
a job that waits, ends or dies whatever made its rows, health and price. Where an engine takes part,
rows are pictures of the real ``bot.txt2img``, its failing row is failed by the engine, and a
job is cancelled when the engine's server is at work.
"""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from PIL import Image

from bot.backends.base import TERMINAL_EVENTS, Backend, LifecycleEvent, LogLine, Submission
from bot.domain.errors import ArtifactMissing
from bot.domain.events import (
    Artifact,
    BackendJobRef,
    Cancelled,
    Exited,
    Failed,
    FailureReason,
    Finished,
    JobEvent,
    RowFailed,
    RowReady,
    RowStarted,
)
from bot.domain.log_parser import LogOutput, LogParser
from tests.backends.jobs import KEY, SEED, submission
from tests.files import paths_below
from tests.stock_jobs import request, ticket, varying

__all__ = [
    "test_a_cancelled_job_ends_as_cancelled_and_cancelling_again_is_harmless",
    "test_a_cursor_goes_on_exactly_behind_its_line",
    "test_a_failing_row_leaves_the_others",
    "test_a_follower_that_comes_later_in_a_new_process_sees_the_whole_log",
    "test_a_job_is_followed_to_its_end",
    "test_a_job_starts_from_its_picture_and_from_no_other",
    "test_a_job_that_dies_says_how",
    "test_a_job_that_is_over_is_forgotten_and_no_other",
    "test_a_job_that_waits_for_a_slot_can_be_cancelled",
    "test_a_second_submission_of_the_same_job_starts_nothing",
    "test_a_stream_that_is_dropped_in_the_middle_loses_and_repeats_nothing",
    "test_an_unknown_job_is_not_found",
    "test_cancelling_a_finished_job_changes_nothing",
    "test_files_are_checked_against_what_was_announced",
    "test_the_backend_is_healthy_and_names_a_price",
]

GENERATING = frozenset(
    {
        "test_a_cancelled_job_ends_as_cancelled_and_cancelling_again_is_harmless",
        "test_a_cursor_goes_on_exactly_behind_its_line",
        "test_a_failing_row_leaves_the_others",
        "test_a_follower_that_comes_later_in_a_new_process_sees_the_whole_log",
        "test_a_job_is_followed_to_its_end",
        "test_a_job_starts_from_its_picture_and_from_no_other",
        "test_a_job_that_is_over_is_forgotten_and_no_other",
        "test_a_second_submission_of_the_same_job_starts_nothing",
        "test_a_stream_that_is_dropped_in_the_middle_loses_and_repeats_nothing",
        "test_files_are_checked_against_what_was_announced",
    }
)
"""The tests that follow rows from the engine to the published picture."""


@dataclass(frozen=True, slots=True)
class Site:
    """A place where jobs run; ``open`` gives a new backend over it, as a new process would.

    ``rows`` is how many rows its jobs have, at least 2. ``generates``: its engine makes the rows.
    ``server_works`` blocks until the engine's server, if it has one, works at a row.
    ``platform_input``: a job's input is downloaded before its first step.
    """

    open: Callable[[], Awaitable[Backend]]
    folder: Path
    rows: int = 3
    generates: bool = False
    server_works: Callable[[], object] = lambda: None
    platform_input: bool = False

    def job(
        self, backend: Backend, job_id: str, kind: str = "quick", rows: int | None = None
    ) -> Submission:
        """Return a job of ``kind`` (see :func:`submission`) for ``backend``."""
        url = backend.upload_url(job_id)
        return submission(job_id, url, kind, rows or self.rows, generate=self.generates)


async def ending(
    stream: AsyncIterator[LogLine | LifecycleEvent],
) -> tuple[list[LogLine], LifecycleEvent]:
    """Read a stream to its end."""
    lines: list[LogLine] = []
    last: LifecycleEvent | None = None
    async for item in stream:
        assert last is None or not isinstance(last, TERMINAL_EVENTS), "something came after the end"
        if isinstance(item, LogLine):
            lines.append(item)
        else:
            last = item
    assert isinstance(last, TERMINAL_EVENTS)
    return lines, last


def events(lines: list[LogLine], rows: int = 3) -> list[JobEvent]:
    """What the lines say, text left out."""
    parser = LogParser(KEY, rows)
    parsed = [event for line in lines for event in parser.feed(line.data)]
    return [event for event in (*parsed, *parser.close()) if not isinstance(event, LogOutput)]


async def run(
    site: Site, backend: Backend, job_id: str, kind: str = "quick"
) -> tuple[BackendJobRef, list[LogLine], LifecycleEvent]:
    """Submit a job and follow it to its end."""
    handle = await backend.submit(site.job(backend, job_id, kind))
    lines, last = await ending(backend.follow(handle))
    return handle, lines, last


async def until_at_work(site: Site, stream: AsyncIterator[LogLine | LifecycleEvent]) -> None:
    """Read the stream of a slow job until a row has begun, and the engine's server works at it."""
    async for item in stream:
        if isinstance(item, LogLine) and b"row-start" in item.data:
            break
    await asyncio.to_thread(site.server_works)


async def test_a_job_is_followed_to_its_end(site: Site) -> None:
    backend = await site.open()
    _, lines, last = await run(site, backend, "quick-1")
    said = events(lines, site.rows)
    assert {event.row: event.seed for event in said if isinstance(event, RowReady)} == {
        row: SEED + row - 1 for row in range(1, site.rows + 1)
    }
    assert Finished(ok=site.rows, failed=0) in said
    assert last == Exited(0)
    await backend.aclose()


async def test_files_are_checked_against_what_was_announced(site: Site, tmp_path: Path) -> None:
    backend = await site.open()
    _, lines, _ = await run(site, backend, "fetched")
    said = events(lines, site.rows)
    artifact = next(event.artifact for event in said if isinstance(event, RowReady))
    await backend.fetch(artifact, tmp_path / "row.png")
    assert (tmp_path / "row.png").stat().st_size == artifact.size

    lies = [
        replace(artifact, sha256="0" * 64),
        replace(artifact, size=artifact.size - 1),
        replace(artifact, size=artifact.size + 1),
        replace(artifact, url=artifact.url + ".gone"),
        Artifact("file:///etc/passwd", 10, "0" * 64),
        Artifact("https://example.org/row.png", 10, "0" * 64),
    ]
    for number, lie in enumerate(lies):
        target = tmp_path / f"lie-{number}.png"
        with pytest.raises(ArtifactMissing):
            await backend.fetch(lie, target)
        assert not target.exists()
    await backend.aclose()


async def test_an_unknown_job_is_not_found(site: Site) -> None:
    backend = await site.open()
    assert await backend.find("never-sent") is None
    await backend.aclose()


async def test_a_second_submission_of_the_same_job_starts_nothing(site: Site) -> None:
    first, second = await site.open(), await site.open()
    job = site.job(first, "twice")
    handles = await asyncio.gather(first.submit(job), second.submit(job))
    assert handles[0] == handles[1] == await second.find("twice")
    await ending(first.follow(handles[0]))
    assert await second.submit(job) == handles[0]
    lines, last = await ending(second.follow(handles[0]))
    ready = [event for event in events(lines, site.rows) if isinstance(event, RowReady)]
    assert len(ready) == site.rows
    assert sum(b"Job has started" in line.data for line in lines) == 1
    assert last == Exited(0)
    await first.aclose()
    await second.aclose()


async def test_a_cursor_goes_on_exactly_behind_its_line(site: Site) -> None:
    backend = await site.open()
    handle, lines, _ = await run(site, backend, "cursor")
    for number in (0, 1, len(lines) // 2, len(lines) - 1):
        rest, _ = await ending(backend.follow(handle, lines[number].cursor))
        assert rest == lines[number + 1 :]
    await backend.aclose()


async def test_a_stream_that_is_dropped_in_the_middle_loses_and_repeats_nothing(
    site: Site,
) -> None:
    backend = await site.open()
    handle = await backend.submit(site.job(backend, "dropped"))
    pieces: list[LogLine] = []
    while True:
        stream = backend.follow(handle, pieces[-1].cursor if pieces else None)
        item = await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]  # every follow is a generator
        if not isinstance(item, LogLine):
            if isinstance(item, TERMINAL_EVENTS):
                break
            continue
        pieces.append(item)
    whole, _ = await ending(backend.follow(handle))
    assert pieces == whole
    await backend.aclose()


async def test_a_follower_that_comes_later_in_a_new_process_sees_the_whole_log(site: Site) -> None:
    before = await site.open()
    handle = await before.submit(site.job(before, "restart"))
    await before.aclose()
    after = await site.open()
    assert await after.find("restart") == handle
    lines, last = await ending(after.follow(handle))
    assert Finished(ok=site.rows, failed=0) in events(lines, site.rows)
    assert last == Exited(0)
    await after.aclose()


async def test_a_cancelled_job_ends_as_cancelled_and_cancelling_again_is_harmless(
    site: Site,
) -> None:
    backend = await site.open()
    handle = await backend.submit(site.job(backend, "slow", "slow"))
    stream = backend.follow(handle)
    await until_at_work(site, stream)
    await backend.cancel(handle)
    await backend.cancel(handle)
    _, last = await ending(stream)
    assert isinstance(last, Cancelled)
    await backend.cancel(handle)
    await backend.aclose()


async def test_a_job_that_waits_for_a_slot_can_be_cancelled(site: Site) -> None:
    backend = await site.open()
    first = site.job(backend, "occupies", "slow", rows=8)
    second = site.job(backend, "waits", "slow", rows=8)
    running, waiting = await backend.submit(first), await backend.submit(second)
    await backend.cancel(waiting)
    lines, last = await ending(backend.follow(waiting))
    assert isinstance(last, Cancelled)
    assert not [event for event in events(lines, 8) if isinstance(event, RowReady)]
    await backend.cancel(running)
    _, last = await ending(backend.follow(running))
    assert isinstance(last, Cancelled)
    await backend.aclose()


async def test_cancelling_a_finished_job_changes_nothing(site: Site) -> None:
    backend = await site.open()
    handle, lines, _ = await run(site, backend, "over")
    await backend.cancel(handle)
    assert await ending(backend.follow(handle)) == (lines, Exited(0))
    await backend.aclose()


async def test_a_job_that_is_over_is_forgotten_and_no_other(site: Site) -> None:
    backend = await site.open()
    await backend.delete_job_data("never-heard-of")
    handle, _, _ = await run(site, backend, "over-and-gone")
    await backend.final_cost(handle)
    await backend.delete_job_data("over-and-gone")
    await backend.delete_job_data("over-and-gone")
    left = [path for path in paths_below(site.folder) if path.is_file()]
    assert not [path for path in left if KEY.hex().encode() in path.read_bytes()]

    living = await backend.submit(site.job(backend, "living", "slow"))
    stream = backend.follow(living)
    await until_at_work(site, stream)
    await backend.delete_job_data("living")
    assert await backend.find("living") == living
    await backend.cancel(living)
    _, last = await ending(stream)
    assert isinstance(last, Cancelled)
    await backend.aclose()


async def test_a_job_starts_from_its_picture_and_from_no_other(site: Site, tmp_path: Path) -> None:
    backend = await site.open()
    asked = replace(request(1, 1, "a red cat"), width=64, height=64)

    async def vary(job_id: str, colour: str, lie: str = "") -> tuple[list[JobEvent], str]:
        start = tmp_path / job_id / "start.png"
        start.parent.mkdir()
        Image.new("RGB", (64, 64), colour).save(start)
        url = await backend.put_input(job_id, start)
        where = ticket(backend.upload_url(job_id), input_url=url, input_sha256=lie)
        where = replace(where, platform_input=site.platform_input)
        workflow = varying(asked, start, where)
        if url.startswith("file:"):
            start.unlink()  # the job has a copy, for its owner only
            copy = Path(url.removeprefix("file://"))
            assert copy.is_relative_to(site.folder.resolve())
            assert stat.S_IMODE(copy.stat().st_mode) == 0o600
        lines, _ = await ending(backend.follow(await backend.submit(Submission(job_id, workflow))))
        said = events(lines, 1)
        return said, next((e.artifact.sha256 for e in said if isinstance(e, RowReady)), "")

    (_, first), (_, second), (refused, none) = await asyncio.gather(
        vary("from-red", "red"), vary("from-blue", "blue"), vary("from-lie", "red", "0" * 64)
    )
    assert first != second
    assert "" not in (first, second)
    assert none == ""
    assert not [event for event in refused if isinstance(event, RowStarted)]
    (failed,) = (event for event in refused if isinstance(event, Failed))
    assert failed.cause is FailureReason.FILES_MISSING
    assert "is not the one that was chosen" in failed.message
    await backend.aclose()


async def test_a_failing_row_leaves_the_others(site: Site) -> None:
    backend = await site.open()
    _, lines, last = await run(site, backend, "row-fails", "failing")
    said = events(lines, site.rows)
    assert RowFailed(row=2, code=3) in said
    others = {row for row in range(1, site.rows + 1) if row != 2}
    assert {event.row for event in said if isinstance(event, RowReady)} == others
    assert Finished(ok=len(others), failed=1) in said
    assert last == Exited(0)
    await backend.aclose()


async def test_a_job_that_dies_says_how(site: Site) -> None:
    backend = await site.open()
    _, lines, last = await run(site, backend, "dies", "dying")
    assert not [event for event in events(lines, site.rows) if isinstance(event, Finished)]
    assert isinstance(last, Exited)
    assert last.code == 3
    await backend.aclose()


async def test_the_backend_is_healthy_and_names_a_price(site: Site) -> None:
    backend = await site.open()
    health = await backend.health()
    assert health.ok, f"{health.detail} {health.hint}"
    price = await backend.price(site.job(backend, "priced").workflow)
    assert price.credits is None or price.credits > 0
    await backend.aclose()
