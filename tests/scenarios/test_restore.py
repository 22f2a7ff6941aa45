"""An older backup is put in place beside what has happened since; nothing is done a second time.

The table: where each job was when the backup was made, what is left of the database that goes
aside, what the backend still knows, and by which way the result was posted.
"""

from __future__ import annotations

import itertools
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.backups import make_backup
from bot.bootstrap import DATABASE
from bot.domain.job import Job, JobState
from bot.playground.server import Playground
from bot.restore import restoring
from bot.services.retention import RetentionService
from tests.playground.clock import Clock
from tests.scenarios.harness import Harness, open_harness, settings_for

pytestmark = pytest.mark.timing(
    "runs the bot as a process, which a busy machine starts and stops late"
)

STATES = (
    JobState.SUBMITTING,
    JobState.PENDING,
    JobState.RUNNING,
    JobState.COLLECTING,
    JobState.DELIVERING,
)
AT = datetime(2026, 11, 23, 13, tzinfo=UTC)


def spoil(path: Path, how: str) -> None:
    """What may have happened to the database that is replaced."""
    if how == "damaged":
        path.write_bytes(b"\x00" * 8192)
    elif how == "missing":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")


def restore(folder: Path, playground: Playground, backup: Path) -> str:
    with restoring(settings_for(playground, folder), backup) as ready:
        report = "\n".join(ready.report)
        ready.carry_out(AT)
    return report


async def settled(harness: Harness, *job_ids: str) -> None:
    """Wait until the jobs have ended; what ended before this bot began is not reported."""
    jobs = harness.service.application.queue.jobs
    for job_id in job_ids:
        job = await jobs.get(job_id)
        assert job is not None
        if not job.state.terminal:
            await harness.recorder.reached(job_id, JobState.FINISHED)


async def stay(_retention: RetentionService, _job: Job) -> None:
    """Leave the work folder of a posted result."""


@pytest.mark.parametrize(
    ("state", "database", "backend", "minutes"),
    [
        *itertools.product(STATES, ("whole", "damaged"), ("knows", "forgot"), (0,)),
        *itertools.product(STATES, ("missing",), ("forgot",), (20,)),
        *itertools.product(STATES, ("damaged",), ("alone knows",), (0, 20)),
        *itertools.product(STATES, ("missing",), ("forgot, pictures gone",), (0, 20)),
        (JobState.RUNNING, "empty", "knows", 20),
        (JobState.QUEUED, "whole", "forgot", 20),
    ],
)
async def test_nothing_is_computed_charged_or_posted_twice(
    playground: Playground,
    clock: Clock,
    tmp_path: Path,
    state: JobState,
    database: str,
    backend: str,
    minutes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = tmp_path / "data"
    if backend in ("knows", "alone knows"):
        # As after a kill: else a work folder goes as soon as its result is posted.
        monkeypatch.setattr(RetentionService, "release_delivered", stay)
    async with open_harness(playground, tmp_path, clock) as harness:
        held = JobState.RUNNING if state is JobState.QUEUED else state
        gate = harness.recorder.hold(held)
        asked = [await harness.imagine("a fox in the snow")]
        await harness.reached(asked[0], held)
        # One runs for each member: this one waits.
        asked.append(await harness.imagine("an owl at night"))
        backup, summary = make_backup(data, None, AT)
        assert (summary.jobs, summary.unfinished) == (2, 2)
        clock.pass_time(minutes=minutes)
        gate.set()
        jobs = [await harness.ended(one) for one in asked]
        later = await harness.ended(await harness.imagine("made after the backup"))
        assert {job.state for job in (*jobs, later)} == {JobState.FINISHED}
        posted = {job.id: [one.id for one in harness.results(job)] for job in (*jobs, later)}
    if "forgot" in backend:
        shutil.rmtree(data / "scripted")
    if backend in ("alone knows", "forgot, pictures gone"):
        shutil.rmtree(data / "jobs")
    spoil(data / DATABASE, database)
    report = restore(tmp_path, playground, backup.path)
    clock.pass_time(hours=1)  # Discord itself refuses a second message only for some minutes
    assert "2 not ended" in report
    if backend != "forgot, pictures gone":  # where nothing is left there is nothing to tell
        assert f"Newer than the backup: 1 request ({later.id})" in report
    async with open_harness(playground, tmp_path, clock) as harness:
        await settled(harness, *(job.id for job in jobs))
        assert harness.backend.submitted == []
        for job in jobs:
            found = await harness.service.application.queue.jobs.get(job.id)
            assert found is not None
            assert found.state is JobState.FINISHED
            assert [one.id for one in harness.results(found)] == posted[job.id]
        assert [one.id for one in harness.results(later)] == posted[later.id]
    assert all(len(ids) == 1 for ids in posted.values())


async def test_what_was_cancelled_since_is_not_run(
    playground: Playground, clock: Clock, tmp_path: Path
) -> None:
    async with open_harness(playground, tmp_path, clock) as harness:
        gate = harness.recorder.hold(JobState.RUNNING)
        first = await harness.imagine("a fox in the snow")
        await harness.reached(first, JobState.RUNNING)
        waiting = await harness.imagine("not this one")
        backup, _ = make_backup(tmp_path / "data", None, AT)
        job = await harness.job(waiting)
        await harness.ask("cancel", what=job.id)
        await harness.recorder.reached(job.id, JobState.CANCELLED)
        gate.set()
        await harness.ended(first)
    report = restore(tmp_path, playground, backup.path)
    assert "2 requests" in report
    assert "ended after the backup" in report
    async with open_harness(playground, tmp_path, clock) as harness:
        found = await harness.service.application.queue.jobs.get(job.id)
        assert found is not None
        assert found.state is JobState.CANCELLED
        assert harness.backend.submitted == []


async def test_pictures_that_are_not_whole_are_not_believed(
    playground: Playground, clock: Clock, tmp_path: Path
) -> None:
    async with open_harness(playground, tmp_path, clock) as harness:
        gate = harness.recorder.hold(JobState.RUNNING)
        asked = await harness.imagine()
        job = await harness.reached(asked, JobState.RUNNING)
        backup, _ = make_backup(tmp_path / "data", None, AT)
        gate.set()
        await harness.ended(asked)
    folder = tmp_path / "data" / "jobs" / job.id
    digests = json.loads((folder / "metadata.json").read_text())["sha256"]
    assert "row-01.png" in digests
    (folder / "row-01.png").write_bytes(b"half a picture")
    (tmp_path / "data" / DATABASE).unlink()
    report = restore(tmp_path, playground, backup.path)
    assert f"1 request ({job.id}) continue" in report
    assert "images are in jobs" not in report
