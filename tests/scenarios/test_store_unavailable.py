"""The database cannot be used for a while: jobs wait, members are told in time, all goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from bot.domain.job import JobState
from bot.playground.client.driver import Invocation
from bot.playground.state.world import World
from bot.store.deliveries import DeliveryRepository
from tests.scenarios.conftest import Opener
from tests.scenarios.harness import Harness, open_harness, replaying
from tests.scenarios.log_capture import Journal
from tests.scenarios.scenarios import NEVER, write_play
from tests.store.outages import OUTAGES, FullDisk, Outage, small_disk

pytestmark = pytest.mark.timing("real disks and locks beside a real client, all by the clock")

SAID = "cannot save anything at the moment"
IN_TIME = 3.0
METRICS = {"listen": "127.0.0.1:0"}


@pytest.fixture(params=OUTAGES, ids=lambda kind: kind.__name__)
def outage(request: pytest.FixtureRequest, journal: Journal) -> Outage:
    journal.expect("the store is unavailable")
    journal.expect("has to wait")
    kind: type[Outage] = request.param
    return kind()


async def ready(harness: Harness) -> tuple[int, dict[str, Any]]:
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{harness.service.metrics_url}/readyz", timeout=10)
    return answer.status_code, answer.json()


async def figures(harness: Harness) -> str:
    async with httpx.AsyncClient() as client:
        return (await client.get(f"{harness.service.metrics_url}/metrics", timeout=10)).text


@asynccontextmanager
async def away(harness: Harness, outage: Outage) -> AsyncIterator[None]:
    outage.begin(harness.service.application.database)
    try:
        yield
    finally:
        outage.end(harness.service.application.database)


def has_rows(world: World, job_id: str) -> bool:
    """Whether each of a job's two rows was posted, once."""
    files = [
        file.filename
        for message in world.messages.values()
        for file in message.attachments
        if f"gridbrush-{job_id[:8]}-row" in file.filename
    ]
    assert len(files) == len(set(files))
    return len(files) == 2


@pytest.mark.parametrize(
    "state",
    [
        JobState.SUBMITTING,
        JobState.PENDING,
        JobState.RUNNING,
        JobState.COLLECTING,
        JobState.DELIVERING,
        JobState.FINISHED,
    ],
)
async def test_whatever_a_job_is_at_it_waits_and_goes_on(
    open_bot: Opener, journal: Journal, outage: Outage, state: JobState
) -> None:
    sections: dict[str, dict[str, Any]] = {
        "queue": {"running": 1},
        "metrics": METRICS,
        "delivery": {"rows": "attachments"},
    }
    async with open_bot(**sections) as harness:
        gate = harness.recorder.hold(state)
        first = await harness.imagine("first", "Ada")
        await harness.reached(first, state)
        waiting = await harness.imagine("waiting", "Ben")
        async with away(harness, outage):
            gate.set()
            status, parts = await ready(harness)
            assert (status, parts["database"]) == (503, False)
            assert outage.cause in str(parts["cause"])
            async with asyncio.timeout(20):
                # Another program may hold it for a moment before that counts.
                while "gridbrush_store_unavailable 1.0" not in await figures(harness):
                    pass
        jobs = [await harness.ended(one) for one in (first, waiting)]

        assert [job.state for job in jobs] == [JobState.FINISHED] * 2
        assert harness.backend.submitted == [job.id for job in jobs]
        for job in jobs:
            await harness.playground.until(partial(has_rows, job_id=job.id))
            assert len(harness.results(job)) == 1
        status, parts = await ready(harness)
        assert (status, parts.get("cause")) == (200, None)
        text = await figures(harness)
        assert "gridbrush_store_unavailable 0.0" in text
        assert "gridbrush_store_outages_total 1.0" in text
        assert journal.text.count("the store is unavailable") == 1
        assert journal.text.count("the store is available again") == 1


async def test_who_asks_meanwhile_is_told_in_time_and_nothing_happens_later(
    open_bot: Opener, journal: Journal, outage: Outage, tmp_path: Path
) -> None:
    play = write_play(tmp_path / "play.jsonl", ends_at=NEVER)
    async with open_bot(backend=replaying(play, speed=1), metrics=METRICS) as harness:
        painting = await harness.imagine("painting", "Ada")
        status_message = await harness.shows(painting, "Generating")
        ada, ben, mo = (harness.member(name) for name in ("Ada", "Ben", "Mo"))
        begin = asyncio.get_running_loop().time()

        async def told(asked: Invocation) -> str:
            """What the member reads, whether as the answer or as what follows it."""
            message = await harness.playground.until(
                lambda _: next(
                    (
                        one
                        for one in (asked.response, *asked.followups)
                        if one is not None and SAID in one.text
                    ),
                    None,
                )
            )
            assert asyncio.get_running_loop().time() - begin < IN_TIME
            return message.text

        async with away(harness, outage):
            asked = [
                await ben.slash("imagine", "imagine", prompt="a cat"),
                await ada.press(status_message, "Cancel"),
                await ada.slash("random", "cancel", what="all"),
                await mo.slash("random", "quota-admin grant", member=ben, images=7, reason="x"),
            ]
            for words in await asyncio.gather(*(told(one) for one in asked)):
                assert outage.cause in words
                assert "Nothing was charged" in words
        await harness.service.application.database.probe()

        # What was refused has not happened, and does not.
        assert [job.state for job in await harness.jobs()] == [JobState.RUNNING]
        assert "0 of 120 images used" in (await harness.ask("quota", "Ben")).text
        again = await ada.press(status_message, "Cancel")
        await again.acked()
        job = await harness.ended(painting)
        assert job.state is JobState.CANCELLED
        assert job.cancelled_by == ada.id


async def test_status_messages_and_the_queue_say_it_while_it_lasts(
    open_bot: Opener, journal: Journal, outage: Outage, tmp_path: Path
) -> None:
    play = write_play(tmp_path / "play.jsonl", ends_at=NEVER)
    sections = {"backend": replaying(play, speed=1), "queue": {"running": 1}, "metrics": METRICS}
    async with open_bot(**sections) as harness:
        painting = await harness.imagine("painting", "Ada")
        await harness.shows(painting, "Generating")
        waiting = await harness.imagine("waiting", "Ben")
        job = await harness.job(waiting)
        while (
            await DeliveryRepository(harness.service.application.database).message(job.id, "card")
            is None
        ):
            pass  # the card is there, and will be known in a moment
        async with away(harness, outage):
            assert (await ready(harness))[0] == 503
            for asked in (painting, waiting):
                assert outage.cause in (await harness.shows(asked, SAID)).text
            assert SAID in (await harness.ask("queue", "Mo")).text
        await harness.playground.until(
            lambda _: all(
                asked.response is not None and SAID not in asked.response.text
                for asked in (painting, waiting)
            )
        )


@pytest.mark.parametrize("state", [JobState.SUBMITTING, JobState.RUNNING, JobState.COLLECTING])
async def test_a_full_disk_keeps_pictures_waiting_too(
    journal: Journal, tmp_path: Path, state: JobState, request: pytest.FixtureRequest
) -> None:
    journal.expect("the store is unavailable")
    journal.expect("has to wait")
    playground, clock = (request.getfixturevalue(name) for name in ("playground", "clock"))
    outage = FullDisk()
    with small_disk(tmp_path) as disk:
        async with open_harness(playground, disk, clock, metrics=METRICS) as harness:
            gate = harness.recorder.hold(state)
            asked = await harness.imagine("a fox", "Ada", aspect="1:1")
            await harness.reached(asked, state)
            async with away(harness, outage):
                gate.set()
                assert (await ready(harness))[0] == 503
            job = await harness.ended(asked)
            assert job.state is JobState.FINISHED
            assert job.fetched_rows == (1, 2)
            assert len(harness.results(job)) == 1
            assert harness.backend.submitted == [job.id]
