"""Delivery by the first method that accepts the result, once, whatever happens in between."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from bot.domain.errors import DeliveryError, DeliveryUnavailable
from bot.domain.events import Delivered, MessageRef
from bot.domain.job import Job, JobState
from bot.services.delivery import DeliveryService
from bot.services.results import JobResult
from bot.store import deliveries
from bot.store.deliveries import DeliveryRepository
from tests.unit.services.fakes import NOW, FakeTransport, RecordedSleeps
from tests.unit.services.harness import Harness, open_harness

ALL = ("interaction", "channel", "direct")
THERE = MessageRef(2, 500)


@pytest.mark.parametrize("broken", range(4))
async def test_each_method_that_fails_leaves_it_to_the_next(tmp_path: Path, broken: int) -> None:
    transport = FakeTransport(
        broken={method: DeliveryError("Missing Access") for method in ALL[:broken]}
    )
    async with open_harness(tmp_path, transport=transport) as harness:
        job = await harness.submit()
        (ended,) = await harness.ended(job.id)
        assert ended.state is JobState.FINISHED
        held = (*ALL, "kept")[broken]
        assert ended.delivery_method == held
        assert transport.posted == ([(held, job.id)] if held != "kept" else [])
        attempts = await DeliveryRepository(harness.database).attempts(job.id)
        assert [(attempt.method, attempt.delivered) for attempt in attempts] == [
            *((method, False) for method in ALL[:broken]),
            *((method, True) for method in ALL[broken : broken + 1]),
        ]
        assert {attempt.detail for attempt in attempts} <= {"", "Missing Access"}
        assert transport.looked == []


async def test_a_result_that_nobody_takes_is_kept_and_charged(tmp_path: Path) -> None:
    async with open_harness(tmp_path, transport=FakeTransport(accepted_methods=())) as harness:
        (ended,) = await harness.ended((await harness.submit()).id)
        assert (ended.state, ended.delivery_method, ended.result) == (
            JobState.FINISHED,
            "kept",
            None,
        )
        assert harness.fetcher.result(ended).grid.is_file()


async def _deliver(
    harness: Harness, transport: FakeTransport, *, again: bool = False, **options: Any
) -> Delivered:
    """Deliver again, as after a crash, a result that lies in its folder."""
    delivery = DeliveryService(harness.database, transport, now=harness.clock, **options)
    (job,) = await harness.queue.jobs.history(7)
    grid = harness.fetcher.row_path(job.id, 1)
    return await delivery.deliver(job, JobResult(grid.parent, grid, ()), again=again)


async def _one_made(harness: Harness) -> str:
    job = await harness.submit()
    await harness.ended(job.id)
    return job.id


async def _note(harness: Harness, job_id: str, method: str, delivered: bool | None) -> None:
    nonce = f"job-{job_id}"

    def write(link: object) -> None:
        deliveries.record_attempt(link, job_id, method, nonce, at=NOW)  # type: ignore[arg-type]
        if delivered is not None:
            deliveries.finish_attempt(
                link,  # type: ignore[arg-type]
                job_id,
                method,
                nonce,
                delivered=delivered,
                at=NOW,
            )

    await harness.database.write(write)


async def test_after_an_attempt_of_unknown_outcome_what_was_posted_is_found(tmp_path: Path) -> None:
    async with open_harness(tmp_path, transport=FakeTransport(accepted_methods=())) as harness:
        await _note(harness, await _one_made(harness), "channel", None)
        transport = FakeTransport(there={"channel": THERE})
        assert await _deliver(harness, transport) == Delivered("channel", THERE)
        assert transport.looked == ["channel"]
        assert transport.posted == []


@pytest.mark.parametrize("blind", [False, True])
async def test_after_an_attempt_of_unknown_outcome_that_is_not_found_it_is_made_again(
    tmp_path: Path, blind: bool
) -> None:
    async with open_harness(tmp_path, transport=FakeTransport(accepted_methods=())) as harness:
        job_id = await _one_made(harness)
        await _note(harness, job_id, "channel", None)
        transport = FakeTransport(accepted_methods=("channel",), blind=blind)
        delivered = await _deliver(harness, transport)
        assert delivered.method == "channel"
        assert transport.looked == ["channel"]
        assert transport.posted == [("channel", job_id)]


async def test_a_method_that_failed_before_a_crash_is_not_tried_again(tmp_path: Path) -> None:
    async with open_harness(tmp_path, transport=FakeTransport(accepted_methods=())) as harness:
        await _note(harness, await _one_made(harness), "interaction", False)
        transport = FakeTransport()
        assert (await _deliver(harness, transport)).method == "channel"
        assert transport.looked == []


@pytest.mark.parametrize("there", [{}, {"channel": THERE}])
async def test_a_delivery_that_was_written_down_is_never_made_again(
    tmp_path: Path, there: dict[str, MessageRef]
) -> None:
    async with open_harness(tmp_path, transport=FakeTransport(accepted_methods=())) as harness:
        await _note(harness, await _one_made(harness), "channel", True)
        transport = FakeTransport(there=there)
        assert await _deliver(harness, transport) == Delivered("channel", there.get("channel"))
        assert transport.posted == []


NOT_NOW = [
    TimeoutError(),
    ConnectionResetError("reset by peer"),
    DeliveryUnavailable("Discord says 503"),
    DeliveryUnavailable("Discord says 429", retry_after=7.0),
]


@pytest.mark.parametrize("error", NOT_NOW)
async def test_a_post_whose_answer_was_lost_is_looked_for_before_anything_else(
    tmp_path: Path, error: Exception
) -> None:
    transport = FakeTransport(broken={"channel": error}, accepted_methods=("channel", "direct"))
    transport.there["channel"] = THERE
    async with open_harness(tmp_path, transport=transport) as harness:
        (ended,) = await harness.ended((await harness.submit()).id)
        assert (ended.delivery_method, ended.result) == ("channel", THERE)
        assert transport.posted == []


class AbsentTransport(FakeTransport):
    """Nobody is at home for so many attempts, and looks, at one rung."""

    def __init__(self, error: Exception, *, posts: int = 0, looks: int = 0) -> None:
        super().__init__(accepted_methods=("channel", "direct"))
        self.error, self.posts, self.looks = error, posts, looks

    async def send(
        self, method: str, job: Job, package: JobResult, nonce: str
    ) -> MessageRef | None:
        self.posts -= 1
        if self.posts >= 0:
            raise self.error
        return await super().send(method, job, package, nonce)

    async def find_sent(
        self, method: str, job: Job, nonce: str, since: datetime
    ) -> MessageRef | None:
        self.looks -= 1
        if self.looks >= 0:
            raise self.error
        return await super().find_sent(method, job, nonce, since)


@pytest.mark.parametrize("error", NOT_NOW)
async def test_an_outage_of_hours_is_waited_out_by_the_same_method(
    tmp_path: Path, error: Exception
) -> None:
    transport = AbsentTransport(error, posts=300, looks=20)
    async with open_harness(tmp_path, transport=transport) as harness:
        (ended,) = await harness.ended((await harness.submit()).id)
        assert ended.delivery_method == "channel"
        assert len(transport.posted) == 1
        assert len(transport.looked) == 300  # after each attempt, once that was possible
        assert [
            one.method for one in await DeliveryRepository(harness.database).attempts(ended.id)
        ] == ["channel"]
        waited = harness.sleeps.taken
        assert sum(waited) > 3 * 3600
        assert max(waited) <= 60
        assert min(waited) >= (7 if "429" in str(error) else 0.25)


async def test_a_refusal_after_an_outage_leads_to_the_next_method(tmp_path: Path) -> None:
    transport = AbsentTransport(DeliveryUnavailable("Discord says 503"), posts=3)
    transport.broken["channel"] = DeliveryError("Missing Access")
    async with open_harness(tmp_path, transport=transport) as harness:
        (ended,) = await harness.ended((await harness.submit()).id)
        assert ended.delivery_method == "direct"
        assert transport.posted == [("direct", ended.id)]


async def test_an_attempt_that_takes_too_long_is_not_now(tmp_path: Path) -> None:
    class SlowBackend(FakeTransport):
        async def send(
            self, method: str, job: Job, package: JobResult, nonce: str
        ) -> MessageRef | None:
            if not self.looked:
                await asyncio.Event().wait()
            return await super().send(method, job, package, nonce)

    async with open_harness(tmp_path, transport=FakeTransport(accepted_methods=())) as harness:
        await _one_made(harness)
        sleeps = RecordedSleeps()
        delivered = await _deliver(harness, SlowBackend(), sleep=sleeps, attempt_seconds=0.01)
        assert delivered.method == "interaction"
        assert len(sleeps.taken) == 1


async def test_a_result_that_was_kept_is_tried_again_by_every_method(tmp_path: Path) -> None:
    async with open_harness(tmp_path, transport=FakeTransport(accepted_methods=())) as harness:
        job_id = await _one_made(harness)
        for method in ALL:
            await _note(harness, job_id, method, False)
        transport = FakeTransport()
        assert (await _deliver(harness, transport)).method == "kept"
        assert (await _deliver(harness, transport, again=True)).method == "interaction"
        assert transport.posted == [("interaction", job_id)]


@pytest.mark.parametrize("posts", [0, 1, 3], ids=["while it is sent", "while it waits", "later"])
async def test_a_result_that_is_removed_meanwhile_does_not_stay(tmp_path: Path, posts: int) -> None:
    """What was sent in the same moment is taken away again; what waits is not sent any more."""

    class Removing(AbsentTransport):
        async def send(
            self, method: str, job: Job, package: JobResult, nonce: str
        ) -> MessageRef | None:
            await harness.database.write(
                lambda link: deliveries.want_removal(link, job.id, [], at=NOW)
            )
            return await super().send(method, job, package, nonce)

    async with open_harness(tmp_path, transport=FakeTransport(accepted_methods=())) as harness:
        job_id = await _one_made(harness)
        transport = Removing(DeliveryUnavailable("Discord says 503"), posts=posts)
        delivered = await _deliver(harness, transport, again=True, sleep=RecordedSleeps())
        attempts = await DeliveryRepository(harness.database).attempts(job_id)
        wanted = [one.nonce for one in attempts if one.method == deliveries.REMOVAL]
        if posts:
            assert (delivered.method, transport.posted, wanted) == ("kept", [], ["0:0"])
        else:
            message = delivered.message
            assert message is not None
            assert wanted == ["0:0", f"{message.channel_id}:{message.message_id}"]
