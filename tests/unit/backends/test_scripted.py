"""The scripted backend: the conformance suite, and its faults on request."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from bot.backends import open_backend
from bot.backends.base import Backend, Submission
from bot.backends.scripted import RecordedLine, Recording, ScriptedBackend, synthetic_recording
from bot.domain.errors import (
    ArtifactMissing,
    ConfigError,
    LogStreamLost,
    SubmissionRejected,
    Unavailable,
)
from bot.domain.events import Exited, RowReady
from tests.backends.conformance import *  # noqa: F403
from tests.backends.conformance import Site, ending, events
from tests.backends.jobs import submission

# What is replayed starts from nothing.
del test_a_job_starts_from_its_picture_and_from_no_other  # noqa: F821


def recording_for(job: Submission) -> Recording:
    kind = next(variable.value for variable in job.workflow.env if variable.key == "KIND")
    failing = frozenset({2} if kind == "failing" else ())
    played = synthetic_recording(job.workflow, failing=failing)
    beats = [
        RecordedLine(beat.at, beat.line, beat.mark.replace("row=2 rc=1", "row=2 rc=3"), beat.file)
        for beat in played.lines
    ]
    if kind == "slow":
        started = [beat for beat in beats if "start" in beat.mark or beat.line]
        return Recording((*started, RecordedLine(600.0, line="never said")))
    if kind == "dying":
        return Recording(tuple(beats[:-1]), Exited(3))
    return Recording(tuple(beats))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    async def open_() -> Backend:
        return ScriptedBackend(tmp_path / "scripted", recording=recording_for)

    return Site(open_, tmp_path / "scripted")


async def test_an_outage_lasts_as_many_calls_as_asked(tmp_path: Path) -> None:
    backend = ScriptedBackend(tmp_path)
    job = submission("outage", backend.upload_url("outage"))
    backend.faults.unavailable = 2
    assert not (await backend.health()).ok
    for _ in range(2):
        with pytest.raises(Unavailable):
            await backend.submit(job)
    await backend.submit(job)
    assert backend.submitted == ["outage"]


async def test_a_lost_log_is_followed_again(tmp_path: Path) -> None:
    backend = ScriptedBackend(tmp_path)
    handle = await backend.submit(submission("lost", backend.upload_url("lost")))
    backend.faults.lose_log = 1
    with pytest.raises(LogStreamLost):
        await ending(backend.follow(handle))
    _, last = await ending(backend.follow(handle))
    assert last == Exited(0)


async def test_a_rejected_job_is_not_taken(tmp_path: Path) -> None:
    backend = ScriptedBackend(tmp_path)
    backend.faults.reject = "no such resources"
    with pytest.raises(SubmissionRejected, match="no such resources"):
        await backend.submit(submission("rejected", backend.upload_url("rejected")))
    assert await backend.find("rejected") is None


async def test_a_file_can_go_missing(tmp_path: Path) -> None:
    backend = ScriptedBackend(tmp_path)
    handle = await backend.submit(submission("gone", backend.upload_url("gone")))
    lines, _ = await ending(backend.follow(handle))
    row = next(event for event in events(lines) if isinstance(event, RowReady))
    backend.faults.missing = frozenset({f"row-0{row.row}.png"})
    with pytest.raises(ArtifactMissing):
        await backend.fetch(row.artifact, tmp_path / "out.png")


async def test_a_recording_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    entries = [
        {"at": 0, "line": "--- Job has started ---"},
        {"at": 0.01, "mark": "row-done row=1 seed=5", "file": "row-01.png"},
        {"at": 0.02, "mark": "done ok=1 failed=2"},
        {"exit": 7},
    ]
    path.write_text("\n".join(json.dumps(entry) for entry in entries))
    options = {"data_dir": tmp_path / "jobs", "recording": path, "speed": 10}
    backend = await open_backend("scripted", options)
    handle = await backend.submit(submission("file", backend.upload_url("file")))
    lines, last = await ending(backend.follow(handle))
    assert [event.seed for event in events(lines) if isinstance(event, RowReady)] == [5]
    assert last == Exited(7)
    await backend.aclose()


async def test_a_broken_recording_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text('{"at": 0, "line": "hello"}\n{"when": 1}\n')
    with pytest.raises(ConfigError, match=r"run\.jsonl:2"):
        await open_backend("scripted", {"data_dir": tmp_path, "recording": path})
    with pytest.raises(ConfigError, match="recording"):
        await open_backend("scripted", {"data_dir": tmp_path, "recording": tmp_path / "none"})


async def test_time_decides_what_has_happened_so_a_restart_goes_on(tmp_path: Path) -> None:
    clock = [1000.0]
    recording = Recording(
        (RecordedLine(0.0, line="early"), RecordedLine(5.0, line="late")), Exited(0)
    )
    before = ScriptedBackend(tmp_path, recording=recording, now=lambda: clock[0])
    handle = await before.submit(submission("clock", before.upload_url("clock")))
    stream = before.follow(handle)
    first = await anext(stream)
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()
    clock[0] += 5.0
    after = ScriptedBackend(tmp_path, recording=recording, now=lambda: clock[0])
    lines, last = await ending(after.follow(handle))
    assert lines[0] == first
    assert lines[1].data == b"late\n"
    assert last == Exited(0)
