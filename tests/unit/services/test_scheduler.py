"""Which job starts next, how many run at once, and that a restart resumes all of them."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from bot.domain.errors import DeliveryUnavailable
from bot.domain.events import MessageRef, Scheduled
from bot.domain.job import Job, JobState
from bot.domain.quota import QuotaRule
from bot.services.results import JobResult
from bot.services.scheduler import Scheduler
from bot.store import guilds
from tests.unit.services.fakes import GUILD, FakeTransport, GatedBackend
from tests.unit.services.harness import a_member, open_harness


async def test_a_submitted_request_becomes_a_delivered_grid(tmp_path: Path) -> None:
    transport = FakeTransport()
    async with open_harness(tmp_path, transport=transport) as harness:
        job = await harness.submit()
        (ended,) = await harness.ended(job.id)
        assert ended.state is JobState.FINISHED
        assert ended.fetched_rows == (1, 2)
        assert ended.delivery_method == "interaction"
        assert ended.result is not None
        assert transport.posted == [("interaction", job.id)]
        assert (await harness.queue.allowance(GUILD, a_member())).used == 4
        assert await harness.faults() == ()


async def test_behind_a_flood_by_one_member_another_starts_second_at_the_latest(
    tmp_path: Path,
) -> None:
    backend = GatedBackend(tmp_path / "scripted")
    async with open_harness(tmp_path, backend=backend, slots=1, waiting=1000) as harness:
        flood = [(await harness.submit(user=1)).id for _ in range(200)]
        await harness.reaches(flood[0], JobState.PENDING)
        one = await harness.submit(user=2)
        backend.gate.set()
        await harness.ended(one.id)
        started = harness.events.of(Scheduled)
        assert started.index(one.id) <= 1
        assert len(started) < 10


async def test_a_members_own_requests_are_done_in_order(tmp_path: Path) -> None:
    async with open_harness(tmp_path, slots=1) as harness:
        ids = [(await harness.submit()).id for _ in range(5)]
        await harness.ended(*ids)
        assert harness.events.of(Scheduled) == ids


async def test_no_more_run_than_there_are_slots(tmp_path: Path) -> None:
    backend = GatedBackend(tmp_path / "scripted")
    async with open_harness(tmp_path, backend=backend, slots=2) as harness:
        jobs = [await harness.submit(user=user) for user in (1, 2, 3)]
        await harness.reaches(jobs[1].id, JobState.PENDING)
        assert harness.scheduler.running == 2
        assert (await harness.stored(jobs[2].id)).state is JobState.QUEUED
        backend.gate.set()
        await harness.ended(*(job.id for job in jobs))
        await harness.scheduler.idle()
        assert harness.scheduler.running == 0


class SlowTransport(FakeTransport):
    """Posts nothing before the gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()

    async def send(
        self, method: str, job: Job, package: JobResult, nonce: str
    ) -> MessageRef | None:
        await self.gate.wait()
        return await super().send(method, job, package, nonce)


async def test_the_next_runs_while_a_result_is_posted_but_results_do_not_pile_up(
    tmp_path: Path,
) -> None:
    transport = SlowTransport()
    async with open_harness(tmp_path, transport=transport, slots=1) as harness:
        first, second, third = [await harness.submit(user=user) for user in (1, 2, 3)]
        await harness.reaches(first.id, JobState.DELIVERING)
        await harness.reaches(second.id, JobState.DELIVERING)
        assert harness.scheduler.running == 0
        assert (await harness.stored(third.id)).state is JobState.QUEUED
        assert (await harness.queue.position(third)) is not None
        transport.gate.set()
        await harness.ended(first.id, second.id, third.id)
        assert await harness.faults() == ()


class UnreachableTransport(FakeTransport):
    """Cannot reach Discord before it is back."""

    def __init__(self) -> None:
        super().__init__()
        self.back = False

    async def send(
        self, method: str, job: Job, package: JobResult, nonce: str
    ) -> MessageRef | None:
        if not self.back:
            raise DeliveryUnavailable("Discord says 503")
        return await super().send(method, job, package, nonce)


async def test_results_that_wait_for_discord_hold_up_neither_other_jobs_nor_a_stop(
    tmp_path: Path,
) -> None:
    transport = UnreachableTransport()
    async with open_harness(tmp_path, transport=transport, slots=1) as harness:
        jobs = [await harness.submit(user=user) for user in range(1, 9)]
        for job in jobs:
            await harness.reaches(job.id, JobState.DELIVERING)
        harness.scheduler.drain()
        async with asyncio.timeout(10):
            await harness.scheduler.idle()
        assert harness.scheduler.running == 0
        states = {(await harness.stored(job.id)).state for job in jobs}
        assert states == {JobState.DELIVERING}
    # The next bot goes on with them.
    transport.back = True
    async with open_harness(tmp_path, transport=transport, slots=1) as harness:
        assert await harness.scheduler.resume_jobs() == len(jobs)
        ended = await harness.ended(*(job.id for job in jobs))
        assert {job.delivery_method for job in ended} == {"interaction"}
        assert len(transport.posted) == len(jobs)
        assert await harness.faults() == ()


async def test_a_member_runs_no_more_at_once_than_allowed_though_slots_are_free(
    tmp_path: Path,
) -> None:
    backend = GatedBackend(tmp_path / "scripted")
    async with open_harness(tmp_path, backend=backend, slots=4) as harness:
        first, second = await harness.submit(user=1), await harness.submit(user=1)
        other = await harness.submit(user=2)
        await harness.reaches(other.id, JobState.PENDING)
        assert (await harness.stored(first.id)).state is JobState.PENDING
        assert (await harness.stored(second.id)).state is JobState.QUEUED


async def test_a_members_own_rule_lets_more_run_at_once(tmp_path: Path) -> None:
    backend = GatedBackend(tmp_path / "scripted")
    async with open_harness(tmp_path, backend=backend, slots=4) as harness:
        rule = QuotaRule("member", 1, running=2)
        await harness.database.write(lambda link: guilds.set_rule(link, GUILD, rule))
        first, second = await harness.submit(user=1), await harness.submit(user=1)
        await harness.reaches(first.id, JobState.PENDING)
        await harness.reaches(second.id, JobState.PENDING)


async def test_two_dispatchers_on_one_database_start_no_job_twice(tmp_path: Path) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        jobs = [await harness.submit(user=user) for user in range(1, 9)]
        second = Scheduler(
            harness.database,
            harness.lifecycle,
            harness.worker,
            harness.breaker,
            slots=4,
            per_user=1,
            now=harness.clock,
        )
        tasks = [asyncio.create_task(each.run()) for each in (harness.scheduler, second)]
        harness.scheduler.wake()
        second.wake()
        await harness.ended(*(job.id for job in jobs))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert sorted(harness.events.of(Scheduled)) == [job.id for job in jobs]
        assert harness.backend.submitted.count(jobs[0].id) == 1
        assert len(harness.backend.submitted) == 8
        await second.aclose()


async def test_draining_starts_nothing_new_and_waits_for_what_runs(tmp_path: Path) -> None:
    backend = GatedBackend(tmp_path / "scripted")
    async with open_harness(tmp_path, backend=backend, slots=1) as harness:
        running, waiting = await harness.submit(user=1), await harness.submit(user=2)
        await harness.reaches(running.id, JobState.PENDING)
        harness.scheduler.drain()
        idle = asyncio.create_task(harness.scheduler.idle())
        backend.gate.set()
        await idle
        assert (await harness.stored(running.id)).state is JobState.FINISHED
        assert (await harness.stored(waiting.id)).state is JobState.QUEUED
        assert backend.submitted == [running.id]


async def test_letting_go_of_running_jobs_leaves_them_running_at_the_backend(
    tmp_path: Path,
) -> None:
    backend = GatedBackend(tmp_path / "scripted")
    async with open_harness(tmp_path, backend=backend) as harness:
        job = await harness.submit()
        await harness.reaches(job.id, JobState.PENDING)
        await harness.scheduler.aclose()
        assert (await harness.stored(job.id)).state is JobState.PENDING
        assert not (tmp_path / "scripted" / job.id / "cancelled").exists()


async def test_a_job_that_breaks_its_carrier_gives_its_slot_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    transport = FakeTransport(broken={"interaction": ZeroDivisionError("a defect")})
    async with open_harness(tmp_path, transport=transport, slots=1) as harness:
        broken = await harness.submit(user=1)
        await harness.reaches(broken.id, JobState.DELIVERING)
        with caplog.at_level(logging.CRITICAL):
            await harness.scheduler.idle()
        assert harness.scheduler.running == 0
        transport.broken.clear()
        other = await harness.submit(user=2)
        (ended,) = await harness.ended(other.id)
        assert ended.state is JobState.FINISHED
