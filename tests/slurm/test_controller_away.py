"""The controller goes away in the middle of ten jobs, and comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from bot.backends import open_backend
from bot.backends.base import Backend, LifecycleEvent, LogLine, Submission
from bot.domain.errors import Unavailable
from bot.domain.events import BackendJobRef, Cancelled, Exited, RowReady
from bot.services.circuit_breaker import CircuitBreaker
from bot.services.worker import RETRY_DELAYS_S
from tests.backends.conformance import events
from tests.backends.jobs import submission
from tests.slurm.cluster import Cluster
from tests.slurm.jobs import MARK, PUBLISH, job, until, wait_for
from tests.slurm.site import fragile, options_for, require_slurm

__all__ = ["fragile"]

pytestmark = [
    pytest.mark.xdist_group("slurm-away"),
    pytest.mark.timing(
        "watches the daemons of a real Slurm cluster, which a busy machine makes late"
    ),
]


@dataclass
class FollowedJob:
    """One job, run as the bot runs it: outages are waited out, and counted."""

    submission: Submission
    lines: list[LogLine] = field(default_factory=list)
    outages: list[str] = field(default_factory=list)
    ends: list[LifecycleEvent] = field(default_factory=list)

    async def run(self, backend: Backend) -> None:
        handle: BackendJobRef | None = None
        while not self.ends:
            try:
                handle = handle or await backend.find(self.submission.job_id)
                handle = handle or await backend.submit(self.submission)
                cursor = self.lines[-1].cursor if self.lines else None
                async for item in backend.follow(handle, cursor):
                    if isinstance(item, LogLine):
                        self.lines.append(item)
                    elif isinstance(item, Exited):
                        self.ends.append(item)
            except Unavailable as error:
                self.outages.append(str(error))
                await asyncio.sleep(0.1)


class Stalls:
    """Measures the event loop: the longest time that a nap of 10 ms took beyond that."""

    longest = 0.0

    async def measure(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.01)
            self.longest = max(self.longest, time.monotonic() - began - 0.01)


async def hurry(cluster: Cluster) -> None:
    """Let jobs that were put back start as soon as all is well; Slurm itself takes two minutes."""
    while True:
        quiet = await asyncio.to_thread(cluster.ask, "sinfo", "--noheader", "--format=%D %T")
        listed = await asyncio.to_thread(cluster.ask, "squeue", "--noheader", "--format=%i %r")
        if quiet.strip() == "4 idle":
            for number, reason in (line.split(" ", 1) for line in listed.splitlines()):
                if reason == "BeginTime":
                    now = ("scontrol", "update", f"JobId={number}", "StartTime=now")
                    await asyncio.to_thread(cluster.ask, *now)
        await asyncio.sleep(0.5)


async def test_while_the_controller_is_away_nothing_is_lost_and_nothing_is_done_twice(
    fragile: Cluster, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    backend = await open_backend("slurm", options_for(fragile, shared))
    gate = tmp_path / "gate"
    command = MARK + wait_for(gate) + PUBLISH
    jobs = [
        FollowedJob(job(name, backend.upload_url(name), command, rows=1))
        for name in (f"job-{number}" for number in range(10))
    ]
    stalls = Stalls()
    measuring = asyncio.create_task(stalls.measure())
    running = [asyncio.create_task(one.run(backend)) for one in jobs[:7]]
    await until(
        lambda: all(any(b"row-start" in line.data for line in one.lines) for one in jobs[:7])
    )

    await asyncio.to_thread(fragile.stop_controller)
    # Three more are handed over while nobody takes them; the rows that run end meanwhile.
    running += [asyncio.create_task(one.run(backend)) for one in jobs[7:]]
    await until(lambda: all(one.outages for one in jobs))
    health = await backend.health()
    assert not health.ok
    assert "the Slurm cluster is unavailable" in health.detail
    gate.touch()
    await until(
        lambda: all(any(b"row-done" in line.data for line in one.lines) for one in jobs[:7])
    )
    assert not any(one.ends for one in jobs[7:])
    await asyncio.to_thread(fragile.start_controller)
    hurrying = asyncio.create_task(hurry(fragile))
    await asyncio.gather(*running)

    hurrying.cancel()
    measuring.cancel()
    assert stalls.longest < 0.5
    assert all("contact" in text or "controller" in text for one in jobs for text in one.outages)
    for one in jobs:
        assert one.ends == [Exited(0)]
        assert sum(isinstance(event, RowReady) for event in events(one.lines, 1)) == 1
        assert sum(b"Job has started" in line.data for line in one.lines) == 1
    assert sorted(fragile.jobs("%j")) == sorted(one.submission.job_id for one in jobs)
    assert (await backend.health()).ok
    await backend.aclose()


async def test_a_step_that_begins_while_the_controller_is_away_waits_for_it(
    fragile: Cluster, tmp_path: Path
) -> None:
    backend = await open_backend("slurm", options_for(fragile, tmp_path / "shared"))
    gate = tmp_path / "gate"
    first = job("stepwise", backend.upload_url("stepwise"), wait_for(gate) + PUBLISH, rows=1)
    # Room for two rows: that the first has ended the controller learns only a minute later.
    workflow = replace(
        first.workflow,
        resources=replace(first.workflow.resources, tasks=2, gpus=2),
        steps=(*first.workflow.steps, *first.workflow.steps),
    )
    followed = FollowedJob(Submission("stepwise", workflow))
    following = asyncio.create_task(followed.run(backend))
    await until(lambda: any(b"CUDA" in line.data for line in followed.lines))
    await asyncio.to_thread(fragile.stop_controller)
    gate.touch()
    await until(lambda: any(b"Unable to" in line.data for line in followed.lines))
    await asyncio.to_thread(fragile.start_controller)
    await following
    assert followed.ends == [Exited(0)]
    await backend.aclose()


async def test_a_result_in_the_file_is_the_end_though_the_controller_is_away(
    fragile: Cluster, tmp_path: Path
) -> None:
    backend = await open_backend("slurm", options_for(fragile, tmp_path / "shared"))
    codes = {"quick": 0, "dying": 3}
    for kind in codes:
        await backend.submit(submission(kind, backend.upload_url(kind), kind))
        await until((tmp_path / "shared" / "jobs" / kind / "result").exists)
    await asyncio.to_thread(fragile.stop_controller)
    for kind, code in codes.items():
        handle = await backend.find(kind)
        assert handle is not None
        *_, last = [item async for item in backend.follow(handle)]
        assert last == Exited(code)
    await backend.aclose()


async def test_a_request_to_cancel_is_kept_until_the_controller_is_back(
    fragile: Cluster, tmp_path: Path
) -> None:
    backend = await open_backend("slurm", options_for(fragile, tmp_path / "shared"))
    handle = await backend.submit(submission("unwanted", backend.upload_url("unwanted"), "slow"))
    async for item in backend.follow(handle):
        if isinstance(item, LogLine) and b"row-start" in item.data:
            break
    await asyncio.to_thread(fragile.stop_controller)
    with pytest.raises(Unavailable):
        await backend.cancel(handle)
    await asyncio.to_thread(fragile.start_controller)
    *_, last = [item async for item in backend.follow(handle)]
    assert last == Cancelled(by=0)
    await backend.aclose()


async def test_the_result_file_tells_the_end_after_slurm_forgot_the_job(
    fragile: Cluster, tmp_path: Path
) -> None:
    backend = await open_backend("slurm", options_for(fragile, tmp_path / "shared"))
    handle = await backend.submit(submission("forgotten", backend.upload_url("forgotten"), "dying"))
    await until((tmp_path / "shared" / "jobs" / "forgotten" / "result").exists)
    await asyncio.to_thread(fragile.stop_controller)
    fragile.forget()
    await asyncio.to_thread(fragile.start_controller)
    assert fragile.jobs("%i") == []
    assert await backend.find("forgotten") == handle
    *_, last = [item async for item in backend.follow(handle)]
    assert last == Exited(3)
    await backend.aclose()


@pytest.fixture
def ordinary(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster with Slurm's own times: its clients need 9 s to see that the controller is away."""
    require_slurm()
    started = Cluster(tmp_path / "ordinary", nodes=1)
    started.up()
    yield started
    started.down()


async def test_with_one_job_it_is_known_within_five_seconds_that_the_controller_is_away(
    ordinary: Cluster, tmp_path: Path
) -> None:
    options = options_for(ordinary, tmp_path / "shared")
    for usual in ("poll_seconds", "log_seconds", "settle_seconds"):
        del options[usual]
    backend = await open_backend("slurm", options)
    away = asyncio.Event()
    breaker = CircuitBreaker(
        backend.health, on_change=lambda is_open, _: away.set() if is_open else None
    )

    async def follow(handle: BackendJobRef) -> None:
        """As the engine does it."""
        while True:
            try:
                async for _ in backend.follow(handle):
                    pass
            except Unavailable as error:
                breaker.record_failure(str(error))
                await asyncio.sleep(RETRY_DELAYS_S[0])

    handle = await backend.submit(submission("alone", backend.upload_url("alone"), "slow"))
    following = asyncio.create_task(follow(handle))
    await until((tmp_path / "shared" / "jobs" / "alone" / "alive").exists)
    await asyncio.to_thread(ordinary.stop_controller)
    began = time.monotonic()
    await asyncio.wait_for(away.wait(), 20)
    assert time.monotonic() - began < 5
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    await breaker.aclose()
    await backend.aclose()
