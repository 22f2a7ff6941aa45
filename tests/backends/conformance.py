"""What every backend must do. A test module gives a ``site`` fixture and imports these tests.

    from tests.backends.conformance import *  # noqa: F403

A Site opens backends over one place (a folder, a cluster, a grid); opening twice is what a
restarted bot does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bot.backends.base import TERMINAL_EVENTS, Backend, LifecycleEvent, LogLine
from bot.domain.errors import ArtifactMissing
from bot.domain.events import (
    Artifact,
    BackendJobRef,
    Cancelled,
    Exited,
    Finished,
    JobEvent,
    RowFailed,
    RowReady,
)
from bot.domain.log_parser import LogOutput, LogParser
from tests.backends.jobs import KEY, SEED, submission

__all__ = [
    "test_a_cancelled_job_ends_as_cancelled_and_cancelling_again_is_harmless",
    "test_a_cursor_goes_on_exactly_behind_its_line",
    "test_a_failing_row_leaves_the_others",
    "test_a_follower_that_comes_later_in_a_new_process_sees_the_whole_log",
    "test_a_job_is_followed_to_its_end",
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


@dataclass(frozen=True, slots=True)
class Site:
    """A place where jobs run; ``open`` gives a new backend over it, as a new process would."""

    open: Callable[[], Awaitable[Backend]]
    folder: Path


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
    backend: Backend, job_id: str, kind: str = "quick"
) -> tuple[BackendJobRef, list[LogLine], LifecycleEvent]:
    """Submit a job and follow it to its end."""
    handle = await backend.submit(submission(job_id, backend.upload_url(job_id), kind))
    lines, last = await ending(backend.follow(handle))
    return handle, lines, last


async def test_a_job_is_followed_to_its_end(site: Site) -> None:
    backend = await site.open()
    _, lines, last = await run(backend, "quick-1")
    said = events(lines)
    assert {event.row: event.seed for event in said if isinstance(event, RowReady)} == {
        1: SEED,
        2: SEED + 1,
        3: SEED + 2,
    }
    assert Finished(ok=3, failed=0) in said
    assert last == Exited(0)
    await backend.aclose()


async def test_files_are_checked_against_what_was_announced(site: Site, tmp_path: Path) -> None:
    backend = await site.open()
    _, lines, _ = await run(backend, "fetched")
    artifact = next(event.artifact for event in events(lines) if isinstance(event, RowReady))
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
    job = submission("twice", first.upload_url("twice"))
    handles = await asyncio.gather(first.submit(job), second.submit(job))
    assert handles[0] == handles[1] == await second.find("twice")
    await ending(first.follow(handles[0]))
    assert await second.submit(job) == handles[0]
    lines, last = await ending(second.follow(handles[0]))
    ready = [event for event in events(lines) if isinstance(event, RowReady)]
    assert len(ready) == 3
    assert sum(b"Job has started" in line.data for line in lines) == 1
    assert last == Exited(0)
    await first.aclose()
    await second.aclose()


async def test_a_cursor_goes_on_exactly_behind_its_line(site: Site) -> None:
    backend = await site.open()
    handle, lines, _ = await run(backend, "cursor")
    for number in (0, 1, len(lines) // 2, len(lines) - 1):
        rest, _ = await ending(backend.follow(handle, lines[number].cursor))
        assert rest == lines[number + 1 :]
    await backend.aclose()


async def test_a_stream_that_is_dropped_in_the_middle_loses_and_repeats_nothing(
    site: Site,
) -> None:
    backend = await site.open()
    handle = await backend.submit(submission("dropped", backend.upload_url("dropped")))
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
    handle = await before.submit(submission("restart", before.upload_url("restart")))
    await before.aclose()
    after = await site.open()
    assert await after.find("restart") == handle
    lines, last = await ending(after.follow(handle))
    assert Finished(ok=3, failed=0) in events(lines)
    assert last == Exited(0)
    await after.aclose()


async def test_a_cancelled_job_ends_as_cancelled_and_cancelling_again_is_harmless(
    site: Site,
) -> None:
    backend = await site.open()
    handle = await backend.submit(submission("slow", backend.upload_url("slow"), "slow"))
    stream = backend.follow(handle)
    async for item in stream:
        if isinstance(item, LogLine) and b"row-start" in item.data:
            break
    await backend.cancel(handle)
    await backend.cancel(handle)
    _, last = await ending(stream)
    assert isinstance(last, Cancelled)
    await backend.cancel(handle)
    await backend.aclose()


async def test_a_job_that_waits_for_a_slot_can_be_cancelled(site: Site) -> None:
    backend = await site.open()
    first = submission("occupies", backend.upload_url("occupies"), "slow", rows=8)
    second = submission("waits", backend.upload_url("waits"), "slow", rows=8)
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
    handle, lines, _ = await run(backend, "over")
    await backend.cancel(handle)
    assert await ending(backend.follow(handle)) == (lines, Exited(0))
    await backend.aclose()


async def test_a_job_that_is_over_is_forgotten_and_no_other(site: Site) -> None:
    backend = await site.open()
    await backend.delete_job_data("never-heard-of")
    handle, _, _ = await run(backend, "over-and-gone")
    await backend.final_cost(handle)
    await backend.delete_job_data("over-and-gone")
    await backend.delete_job_data("over-and-gone")
    left = [path for path in site.folder.rglob("*") if path.is_file()]
    assert not [path for path in left if KEY.hex().encode() in path.read_bytes()]

    living = await backend.submit(submission("living", backend.upload_url("living"), "slow"))
    stream = backend.follow(living)
    async for item in stream:
        if isinstance(item, LogLine) and b"row-start" in item.data:
            break
    await backend.delete_job_data("living")
    assert await backend.find("living") == living
    await backend.cancel(living)
    _, last = await ending(stream)
    assert isinstance(last, Cancelled)
    await backend.aclose()


async def test_a_failing_row_leaves_the_others(site: Site) -> None:
    backend = await site.open()
    _, lines, last = await run(backend, "row-fails", "failing")
    said = events(lines)
    assert RowFailed(row=2, code=3) in said
    assert {event.row for event in said if isinstance(event, RowReady)} == {1, 3}
    assert Finished(ok=2, failed=1) in said
    assert last == Exited(0)
    await backend.aclose()


async def test_a_job_that_dies_says_how(site: Site) -> None:
    backend = await site.open()
    _, lines, last = await run(backend, "dies", "dying")
    assert not [event for event in events(lines) if isinstance(event, Finished)]
    assert isinstance(last, Exited)
    assert last.code == 3
    await backend.aclose()


async def test_the_backend_is_healthy_and_names_a_price(site: Site) -> None:
    backend = await site.open()
    health = await backend.health()
    assert health.ok, f"{health.detail} {health.hint}"
    price = await backend.price(submission("priced", backend.upload_url("priced")).workflow)
    assert price.credits is None or price.credits > 0
    await backend.aclose()
