"""Which requests are accepted and refused, and who may cancel which."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.backends.scripted import ScriptedBackend
from bot.domain.errors import (
    ConfigError,
    NotAllowed,
    QueueFull,
    QuotaExceeded,
    RequestError,
    StoreUnavailable,
)
from bot.domain.job import JobState, charged_images, made_images
from bot.domain.quota import QuotaRule
from bot.store import guilds, moderation
from bot.store.audit import AuditRepository
from bot.store.moderation import MemberBlock
from bot.store.wait_limits import waits_limited
from tests.unit.services.fakes import GUILD, NOW, GatedBackend
from tests.unit.services.harness import a_member, a_request, an_interaction, open_harness
from tests.unit.store.accounts import Gate, hold_reader


async def test_an_accepted_request_is_in_the_database_with_its_reservation(tmp_path: Path) -> None:
    async with open_harness(tmp_path, dispatching=False, images=10) as harness:
        receipt = await harness.queue.submit(a_request(), a_member(), an_interaction(1))
        assert receipt.created
        assert receipt.images_left == 6
        assert await harness.stored(receipt.job.id) == receipt.job
        assert receipt.job.state is JobState.QUEUED
        allowance = await harness.queue.allowance(GUILD, a_member())
        assert (allowance.used, allowance.left, allowance.waiting) == (4, 6, 1)
        assert allowance.running == 0
        assert allowance.resets_at is not None
        assert await harness.faults() == ()


async def test_a_picture_of_a_dear_model_counts_as_many(tmp_path: Path) -> None:
    async with open_harness(tmp_path, images=30) as harness:
        receipt = await harness.queue.submit(a_request(cost=5), a_member(), an_interaction(1))
        assert receipt.images_left == 10
        with pytest.raises(QuotaExceeded) as caught:
            await harness.queue.submit(a_request(cost=5), a_member(), an_interaction(2))
        assert str(caught.value).startswith(
            "You have 10 of 30 images left per 24h, and this needs 20 "
            "(each picture of this model counts as 5). That much is free again"
        )
        (job,) = await harness.ended(receipt.job.id)
        assert (made_images(job), charged_images(job)) == (4, 20)
        assert (await harness.queue.allowance(GUILD, a_member())).used == 20
        assert await harness.faults() == ()


@pytest.mark.parametrize(("missing", "charged"), [(frozenset[str](), 20), ({"row-02.png"}, 10)])
async def test_only_what_was_made_is_charged_at_the_model_s_cost(
    tmp_path: Path, missing: frozenset[str], charged: int
) -> None:
    backend = ScriptedBackend(tmp_path / "scripted", speed=0)
    backend.faults.missing = frozenset(missing)
    async with open_harness(tmp_path, images=30, backend=backend) as harness:
        job = await harness.submit(cost=5)
        await harness.ended(job.id)
        assert (await harness.queue.allowance(GUILD, a_member())).used == charged
        assert await harness.faults() == ()


async def test_a_request_whose_reservation_fails_leaves_no_trace(tmp_path: Path) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        trigger = (
            "CREATE TRIGGER full BEFORE INSERT ON ledger BEGIN SELECT raise(ABORT, 'no room'); END"
        )
        await harness.database.write(lambda link: link.execute(trigger).rowcount)
        with pytest.raises((ConfigError, sqlite3.Error)):
            await harness.queue.submit(a_request(), a_member(), an_interaction(1))
        assert await harness.count("jobs") == 0
        assert await harness.queue.positions() == {}


async def test_one_press_is_one_job_however_often_it_arrives(tmp_path: Path) -> None:
    async with open_harness(tmp_path, dispatching=False, images=10) as harness:
        receipts = await asyncio.gather(
            *(harness.queue.submit(a_request(), a_member(), an_interaction(5)) for _ in range(20))
        )
        assert len({receipt.job.id for receipt in receipts}) == 1
        assert [receipt.created for receipt in receipts].count(True) == 1
        assert {receipt.images_left for receipt in receipts} == {6}
        assert await harness.count("jobs") == 1
        assert await harness.count("ledger") == 1


async def test_two_presses_are_two_jobs(tmp_path: Path) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        first = await harness.queue.submit(a_request(), a_member(), an_interaction(5))
        second = await harness.queue.submit(a_request(), a_member(), an_interaction(6))
        assert second.created
        assert first.job.id != second.job.id


Shut = Callable[[sqlite3.Connection], None]


def _block_for_good(link: sqlite3.Connection) -> None:
    moderation.block(link, GUILD, MemberBlock(7, None, "spam"))


def _block_for_a_day(link: sqlite3.Connection) -> None:
    moderation.block(link, GUILD, MemberBlock(7, NOW + timedelta(days=1), "spam"))


def _pause(link: sqlite3.Connection) -> None:
    guilds.set_setting(link, GUILD, "paused", True)


def _pause_with_reason(link: sqlite3.Connection) -> None:
    guilds.set_setting(link, GUILD, "paused", "until the party is over")


@pytest.mark.parametrize(
    ("shut", "error", "words"),
    [
        (_block_for_good, NotAllowed, "blocked you: spam"),
        (_block_for_a_day, NotAllowed, "blocked you until <t:1740916800:f>"),
        (_pause, QueueFull, "have paused requests."),
        (_pause_with_reason, QueueFull, ": until the party is over"),
    ],
)
async def test_who_is_shut_out_is_told_so_and_nothing_is_kept_but_the_audit_line(
    tmp_path: Path, shut: Shut, error: type[RequestError], words: str
) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        await harness.database.write(shut)
        with pytest.raises(error) as caught:
            await harness.queue.submit(a_request(), a_member(), an_interaction(1))
        assert words in str(caught.value)
        assert await harness.count("jobs") == 0
        assert await harness.count("ledger") == 0
        (entry,) = await AuditRepository(harness.database).entries(GUILD)
        assert (entry.action, entry.subject, entry.actor_id) == ("refused", "user:7", 7)
        assert entry.detail == {"why": error.__name__, "images": 4}


async def test_a_request_beyond_the_quota_says_when_it_would_fit(tmp_path: Path) -> None:
    async with open_harness(tmp_path, dispatching=False, images=6) as harness:
        job = await harness.submit()
        with pytest.raises(
            QuotaExceeded, match="2 of 6 images left per 24h, and this needs 4"
        ) as e:
            await harness.submit()
        assert e.value.retry_at == job.created_at + timedelta(hours=24)
        assert await harness.count("jobs") == 1
        assert await harness.count("ledger") == 1
        assert await harness.count("audit") == 1


async def test_a_request_larger_than_any_quota_is_never_told_to_wait(tmp_path: Path) -> None:
    async with open_harness(tmp_path, dispatching=False, images=3) as harness:
        with pytest.raises(QuotaExceeded, match="Ask for fewer rows or samples") as caught:
            await harness.submit()
        assert caught.value.retry_at is None


@given(wanted=st.lists(st.integers(1, 4), min_size=1, max_size=8))
@settings(max_examples=8, deadline=None)
async def test_requests_that_arrive_at_once_never_pass_the_quota_together(
    tmp_path_factory: pytest.TempPathFactory, wanted: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("quota")
    async with open_harness(folder, dispatching=False, images=10, waiting=100) as harness:
        outcomes = await asyncio.gather(
            *(harness.submit(rows=rows, samples=1) for rows in wanted), return_exceptions=True
        )
        taken = sum(
            rows
            for rows, outcome in zip(wanted, outcomes, strict=True)
            if not isinstance(outcome, BaseException)
        )
        assert taken <= 10
        assert all(
            isinstance(outcome, QuotaExceeded)
            for outcome in outcomes
            if isinstance(outcome, BaseException)
        )
        assert (await harness.queue.allowance(GUILD, a_member())).left == 10 - taken
        assert await harness.faults() == ()


async def test_a_member_may_let_only_so_many_wait(tmp_path: Path) -> None:
    async with open_harness(tmp_path, dispatching=False, waiting=2) as harness:
        await harness.submit()
        await harness.submit()
        with pytest.raises(QueueFull, match="already have 2 waiting; at most 2 requests may wait"):
            await harness.submit()
        await harness.submit(user=8)
        assert await harness.count("jobs") == 3


async def test_the_line_as_a_whole_has_an_end(tmp_path: Path) -> None:
    async with open_harness(tmp_path, dispatching=False, waiting_of_all=2) as harness:
        await harness.submit(user=1)
        await harness.submit(user=2)
        with pytest.raises(QueueFull, match="The queue is full: 2 requests are waiting"):
            await harness.submit(user=3)


async def test_a_closed_door_says_why(tmp_path: Path) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        harness.queue.gate.closed_reason = "The bot is being restarted. Try again in a minute."
        with pytest.raises(QueueFull, match="being restarted"):
            await harness.submit()
        assert await harness.count("jobs") == 0


async def test_a_members_own_rule_makes_the_quota_larger(tmp_path: Path) -> None:
    async with open_harness(tmp_path, dispatching=False, images=2) as harness:
        rule = QuotaRule("member", 7, images=50, window=timedelta(hours=1))
        await harness.database.write(lambda link: guilds.set_rule(link, GUILD, rule))
        await harness.submit()
        assert (await harness.queue.allowance(GUILD, a_member())).left == 46
        with pytest.raises(QuotaExceeded):
            await harness.submit(user=8)


async def test_everyone_in_the_line_knows_their_place_and_why(tmp_path: Path) -> None:
    backend = GatedBackend(tmp_path / "scripted")
    async with open_harness(tmp_path, backend=backend, slots=1) as harness:
        running = await harness.submit(user=1)
        await harness.reaches(running.id, JobState.PENDING)
        second = await harness.submit(user=1)
        third = await harness.submit(user=2)
        assert await harness.queue.position(running) is None
        positions = await harness.queue.positions()
        assert {job_id: place.position for job_id, place in positions.items()} == {
            third.id: 1,
            second.id: 2,
        }
        assert all(place.reason for place in positions.values())
        assert all(place.starts_in is None for place in positions.values())
        backend.gate.set()
        await harness.ended(running.id, second.id, third.id)
        assert await harness.queue.positions() == {}


async def test_who_has_no_time_to_wait_does_not_wait_for_positions(tmp_path: Path) -> None:
    gate = Gate()
    async with open_harness(tmp_path, dispatching=False) as harness:
        job = await harness.submit()
        stuck = hold_reader(harness.database, gate)
        await gate.reached()
        patient = asyncio.create_task(harness.queue.positions())
        with waits_limited(0.01), pytest.raises(StoreUnavailable):
            await harness.queue.positions()
        gate.open()
        await stuck
        assert job.id in await patient


async def test_once_runs_were_measured_the_line_says_how_long(tmp_path: Path) -> None:
    async with open_harness(tmp_path, slots=1) as harness:
        await harness.ended((await harness.submit(user=3)).id)
    async with open_harness(tmp_path, slots=1, dispatching=False) as harness:
        job = await harness.submit(user=1)
        place = await harness.queue.position(job)
        assert place is not None
        assert place.starts_in is not None


async def test_a_members_second_request_is_forecast_by_their_own_limit(tmp_path: Path) -> None:
    async with open_harness(tmp_path, slots=1) as harness:
        await harness.ended((await harness.submit(user=3)).id)
        ended = await harness.queue.jobs.run_times()
        assert ended.samples
    backend = GatedBackend(tmp_path / "scripted")
    async with open_harness(tmp_path, backend=backend, slots=4) as harness:
        running = await harness.submit(user=1)
        await harness.reaches(running.id, JobState.PENDING)
        second, third = await harness.submit(user=1), await harness.submit(user=1)
        seconds = [await harness.queue.position(job) for job in (second, third)]
        assert [place.reason.split(":")[0] for place in seconds if place] == [
            "next in the queue",
            "2nd in the queue",
        ]
        starts = [place.starts_in for place in seconds if place]
        assert starts[0] is not None
        assert starts[1] is not None
        assert timedelta() <= starts[0] <= starts[1]
        limit = QuotaRule("member", 1, running=0)
        await harness.database.write(lambda link: guilds.set_rule(link, GUILD, limit))
        barred = await harness.queue.position(second)
        assert barred is not None
        assert (barred.position, barred.starts_in) == (0, None)
        assert "not in the queue: a moderator" in barred.reason
        backend.gate.set()
        await harness.queue.cancel(second.id, a_member(1))
        await harness.queue.cancel(third.id, a_member(1))
        await harness.ended(running.id, second.id, third.id)


async def test_the_operators_own_request_has_its_turn_at_once_and_costs_no_quota(
    tmp_path: Path,
) -> None:
    async with open_harness(tmp_path, images=0) as harness:
        job = await harness.queue.submit_immediate(a_request(0))
        assert job.state is JobState.SUBMITTING
        assert await harness.stored(job.id) == job
        assert await harness.queue.positions() == {}
        ended = await harness.worker.run(job)
        assert ended.state is JobState.FINISHED
        assert await harness.faults() == ()
