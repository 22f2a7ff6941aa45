"""Sets of requests: asked about, run all or none, dropped, forgotten in time."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from bot.domain.errors import (
    ConfigError,
    InvalidRequest,
    NotAllowed,
    QueueFull,
    QuotaExceeded,
    RequestError,
)
from bot.domain.job import JobState
from bot.domain.moderation import ChannelRule, Place
from bot.domain.request import Request
from bot.services.init_images import InitImageStore
from bot.services.privacy import PrivacyService
from bot.services.request_sets import AcceptedSet, RequestSets, SetQuestion
from bot.store import guilds, moderation, request_sets
from bot.store.audit import AuditRepository
from bot.store.database import Query
from bot.store.deliveries import DeliveryRepository
from bot.store.moderation import MemberBlock
from tests.unit.services.fakes import CHANNEL, GUILD, NOW, Clock
from tests.unit.services.harness import Harness, a_member, a_request, an_interaction, open_harness

PLACE = Place(CHANNEL, 30, 40)
SET = 77
WORDS = ("a red fox", "a blue fox", "a red owl", "a blue owl")
ADA, BEN = a_member(), a_member(8)


def a_set(*words: str) -> tuple[Request, ...]:
    """Sixteen images, if nothing else is said."""
    return tuple(
        a_request(prompt=prompt, seed=100 * at) for at, prompt in enumerate(words or WORDS, 1)
    )


@asynccontextmanager
async def open_sets(folder: Path, **settings: object) -> AsyncIterator[tuple[Harness, RequestSets]]:
    """Open the services with nothing that runs jobs."""
    opening = open_harness(folder, dispatching=False, **settings)  # type: ignore[arg-type]
    async with opening as harness:
        yield harness, RequestSets(harness.database, harness.queue, now=harness.clock)


async def stored_prompts(harness: Harness) -> str:
    """Return everything that the table of waiting sets holds."""
    query = Query(
        "SELECT group_concat(requests) FROM request_sets", (), lambda rows: str(rows[0][0] or "")
    )
    return await harness.database.read(query)


async def test_a_set_is_asked_about_once_and_run_once_however_often(tmp_path: Path) -> None:
    async with open_sets(tmp_path, images=40) as (harness, sets):
        question = await sets.ask(SET, a_set(), ADA, PLACE)
        assert isinstance(question, SetQuestion)
        assert (question.images_left, question.held) == (40, 0)
        again = await sets.ask(SET, a_set("another"), ADA, PLACE)
        assert isinstance(again, SetQuestion)
        assert again.pending == question.pending
        assert await sets.pending(SET, ADA) == a_set()
        assert await harness.count("jobs") == 0

        runs = await asyncio.gather(*(sets.run(SET, a_set(), ADA, PLACE) for _ in range(10)))
        assert len({run.jobs for run in runs}) == 1
        assert [run.created for run in runs].count(True) == 1
        first = next(run for run in runs if run.created)
        assert [job.request for job in first.jobs] == list(a_set())
        assert (first.images_left, first.held) == (24, 0)
        assert await harness.count("jobs") == await harness.count("ledger") == 4
        assert await harness.faults() == ()
        assert await stored_prompts(harness) == ""

        # Discord sends the command once more, and the member presses the old buttons.
        known = AcceptedSet(SET, first.jobs, False, None, 0)
        assert await sets.ask(SET, a_set(), ADA, PLACE) == known
        assert await sets.accepted(SET, ADA) == known
        dropped = await sets.drop(SET, ADA)
        assert dropped == known
        assert (await harness.queue.allowance(GUILD, ADA)).left == 24


Prepare = Callable[[sqlite3.Connection], None]


def _words(effect: str) -> Prepare:
    def prepare(link: sqlite3.Connection) -> None:
        moderation.add_word_rule(link, GUILD, "owl", effect=effect)  # type: ignore[arg-type]

    return prepare


def _channel(rule: ChannelRule) -> Prepare:
    return lambda link: moderation.set_channel_rule(link, GUILD, rule)


def _block(link: sqlite3.Connection) -> None:
    moderation.block(link, GUILD, MemberBlock(ADA.id, None, "spam"))


def _pause(link: sqlite3.Connection) -> None:
    guilds.set_setting(link, GUILD, "paused", "until the party is over")


def _roles(link: sqlite3.Connection) -> None:
    guilds.set_setting(link, GUILD, "model_roles", {"sd-2-1": [5]})


def _nothing(link: sqlite3.Connection) -> None:
    """Change nothing."""


REFUSALS = {
    "quota": ({"images": 15}, _nothing, QuotaExceeded, "these 4 grids need 16. That is more"),
    "waiting": ({"waiting": 3}, _nothing, QueueFull, "These are 4 grids, and you have 0 waiting"),
    "queue": ({"waiting_of_all": 3}, _nothing, QueueFull, "are waiting, and these are 4 more"),
    "word": ({}, _words("refuse"), InvalidRequest, "Grid 3 of 4 (a red owl): A word rule"),
    "block": ({}, _block, NotAllowed, "blocked you: spam"),
    "pause": ({}, _pause, QueueFull, "until the party is over"),
    "pace": (
        {},
        _channel(ChannelRule(CHANNEL, between=timedelta(seconds=30))),
        NotAllowed,
        "wait 30 seconds between two requests. Several grids at once are not possible here.",
    ),
    "rows": (
        {},
        _channel(ChannelRule(CHANNEL, max_rows=1)),
        InvalidRequest,
        "Grid 1 of 4 (a red fox): In this channel rows can be 1 to 1, not 2.",
    ),
    "channel": ({}, _channel(ChannelRule(CHANNEL, allowed=False)), NotAllowed, "not allowed in"),
    "model": ({}, _roles, NotAllowed, "the model sd-2-1 is only for <@&5>"),
}


@pytest.mark.parametrize(("limits", "prepare", "error", "words"), REFUSALS.values(), ids=REFUSALS)
async def test_a_set_that_cannot_be_taken_as_a_whole_is_refused_as_a_whole(
    tmp_path: Path,
    limits: dict[str, int],
    prepare: Prepare,
    error: type[RequestError],
    words: str,
) -> None:
    async with open_sets(tmp_path, **limits) as (harness, sets):
        await harness.database.write(prepare)
        with pytest.raises(error, match=re.escape(words)):
            await sets.ask(SET, a_set(), ADA, PLACE)
        assert await stored_prompts(harness) == ""

        # It was allowed when the member was asked, and is no longer when they say yes.
        asked = request_sets.PendingSet(SET, ADA.id, NOW + timedelta(minutes=15), a_set())
        await harness.database.write(lambda link: request_sets.insert(link, asked))
        with pytest.raises(error, match=re.escape(words)):
            await sets.run(SET, a_set(), ADA, PLACE)
        assert await harness.count("jobs") == await harness.count("ledger") == 0
        assert await sets.pending(SET, ADA) == a_set()
        entries = await AuditRepository(harness.database).entries(GUILD)
        refused = [entry for entry in entries if entry.action == "refused"]
        assert [entry.detail["images"] for entry in refused] == [16, 16]


async def test_one_less_than_too_many_is_taken(tmp_path: Path) -> None:
    async with open_sets(tmp_path, images=16, waiting=4, waiting_of_all=4) as (harness, sets):
        await sets.ask(SET, a_set(), ADA, PLACE)
        accepted = await sets.run(SET, a_set(), ADA, PLACE)
        assert accepted.images_left == 0
        with pytest.raises(QueueFull):
            await harness.queue.submit(a_request(), ADA, an_interaction(1))


@pytest.mark.parametrize(
    ("costs", "words"),
    [
        ((5, 5), "need 40 (each picture of this model counts as 5)"),
        ((1, 5), "need 24 (a picture counts as up to 5)"),
    ],
)
async def test_a_dear_model_counts_as_many_in_a_set_too(
    tmp_path: Path, costs: tuple[int, int], words: str
) -> None:
    async with open_sets(tmp_path, images=20) as (_, sets):
        requests = [a_request(cost=cost) for cost in costs]
        with pytest.raises(QuotaExceeded, match=re.escape(words)):
            await sets.ask(SET, requests, ADA, PLACE)


@pytest.mark.parametrize("table", ["ledger", "deliveries"])
async def test_a_set_whose_third_job_cannot_be_stored_leaves_no_trace(
    tmp_path: Path, table: str
) -> None:
    async with open_sets(tmp_path) as (harness, sets):
        await sets.ask(SET, a_set(), ADA, PLACE)
        trigger = (
            f"CREATE TRIGGER full BEFORE INSERT ON {table} WHEN (SELECT count(*) FROM {table}) = 2 "
            "BEGIN SELECT raise(ABORT, 'no room'); END"
        )
        await harness.database.write(lambda link: link.execute(trigger).rowcount)
        with pytest.raises((ConfigError, sqlite3.Error)):
            await sets.run(SET, a_set(), ADA, PLACE)
        assert await harness.count("jobs") == await harness.count("ledger") == 0
        await harness.database.write(lambda link: link.execute("DROP TRIGGER full").rowcount)
        assert (await sets.run(SET, a_set(), ADA, PLACE)).created


async def test_nobody_else_can_use_a_set_before_or_after_it_is_run(tmp_path: Path) -> None:
    async with open_sets(tmp_path) as (harness, sets):
        await sets.ask(SET, a_set(), ADA, PLACE)
        assert await sets.accepted(SET, BEN) is None
        with pytest.raises(NotAllowed, match="Only the member"):
            await sets.pending(SET, BEN)
        for _ in range(2):
            for act in (sets.run(SET, a_set(), BEN, PLACE), sets.drop(SET, BEN)):
                with pytest.raises(NotAllowed, match="Only the member"):
                    await act
            await sets.run(SET, a_set(), ADA, PLACE)
        with pytest.raises(NotAllowed, match="Only the member"):
            await sets.accepted(SET, BEN)
        with pytest.raises(NotAllowed, match="Only the member"):
            await sets.jobs(SET, BEN)
        assert len(await sets.jobs(SET, ADA)) == 4
        assert {job.request.author.id for job in await harness.queue.jobs.unfinished()} == {ADA.id}


async def test_a_set_outlives_a_restart_but_not_fifteen_minutes(tmp_path: Path) -> None:
    async with open_sets(tmp_path) as (_, sets):
        await sets.ask(SET, a_set(), ADA, PLACE)
        await sets.ask(SET + 1, a_set(), ADA, PLACE)
    clock = Clock(NOW + timedelta(minutes=10))
    async with open_sets(tmp_path, clock=clock) as (harness, sets):
        assert (await sets.run(SET, await sets.pending(SET, ADA), ADA, PLACE)).created
        clock.at += timedelta(minutes=6)
        for act in (sets.pending(SET + 1, ADA), sets.run(SET + 1, a_set(), ADA, PLACE)):
            with pytest.raises(RequestError, match="no longer open"):
                await act
        assert await stored_prompts(harness)

        naps: list[float] = []

        async def nap(seconds: float) -> None:
            naps.append(seconds)
            if len(naps) == 2:
                raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            await sets.run_cleanup(nap)
        assert naps == [60.0, 60.0]
        assert await stored_prompts(harness) == ""
        assert await harness.count("jobs") == 4


async def test_what_is_over_is_forgotten_by_the_next_question_too(tmp_path: Path) -> None:
    async with open_sets(tmp_path) as (harness, sets):
        await sets.ask(SET, a_set("a secret fox", "b"), ADA, PLACE)
        harness.clock.at += timedelta(minutes=16)
        await sets.ask(SET + 1, a_set(), BEN, PLACE)
        assert "secret" not in await stored_prompts(harness)


async def test_a_dropped_set_is_forgotten_and_cannot_be_run(tmp_path: Path) -> None:
    async with open_sets(tmp_path) as (harness, sets):
        await sets.ask(SET, a_set(), ADA, PLACE)
        assert await sets.drop(SET, ADA) is None
        assert await sets.drop(SET, ADA) is None
        assert await stored_prompts(harness) == ""
        for act in (
            sets.pending(SET, ADA),
            sets.run(SET, a_set(), ADA, PLACE),
            sets.jobs(SET, ADA),
        ):
            with pytest.raises(RequestError, match="no longer open"):
                await act


async def test_dropped_and_run_at_once_it_is_one_of_both(tmp_path: Path) -> None:
    async with open_sets(tmp_path) as (harness, sets):
        await sets.ask(SET, a_set(), ADA, PLACE)
        dropped, run = await asyncio.gather(
            sets.drop(SET, ADA), sets.run(SET, a_set(), ADA, PLACE), return_exceptions=True
        )
        if isinstance(run, AcceptedSet):
            assert isinstance(dropped, AcceptedSet)
            assert dropped.jobs == run.jobs
        else:
            assert dropped is None
            assert isinstance(run, RequestError)
        assert await harness.count("jobs") in (0, 4)


async def test_a_rule_that_holds_some_is_said_before_and_after(tmp_path: Path) -> None:
    async with open_sets(tmp_path) as (harness, sets):
        await harness.database.write(_words("hold"))
        question = await sets.ask(SET, a_set(), ADA, PLACE)
        assert isinstance(question, SetQuestion)
        assert question.held == 2
        assert await harness.count("holds") == 0
        assert (await sets.run(SET, a_set(), ADA, PLACE)).held == 2
        assert (await sets.run(SET, a_set(), ADA, PLACE)).held == 2
        waiting = await harness.queue.jobs.waiting()
        assert [job.held for job in waiting] == [False, False, True, True]


async def test_each_job_of_a_set_is_owed_a_message_and_knows_its_number(tmp_path: Path) -> None:
    async with open_sets(tmp_path) as (harness, sets):
        await sets.ask(SET, a_set(), ADA, PLACE)
        jobs = (await sets.run(SET, a_set(), ADA, PLACE)).jobs
        alone = (await harness.queue.submit(a_request(), ADA, an_interaction(1))).job
        messages = DeliveryRepository(harness.database)
        owed = await messages.status_messages_owed(NOW - timedelta(days=1))
        assert owed == (*(job.id for job in jobs), alone.id)
        assert [await sets.number_in_set(job.id) for job in jobs] == [(n, 4) for n in (1, 2, 3, 4)]
        assert await sets.number_in_set(alone.id) is None
        assert await harness.queue.jobs.interaction(jobs[0].id) is None
        assert await sets.unfinished_of(ADA.id) == {SET: tuple(job.id for job in jobs)}
        await harness.queue.cancel(jobs[1].id, ADA)
        ids = (await sets.unfinished_of(ADA.id))[SET]
        assert jobs[1].id not in ids
        assert len(ids) == 3
        assert await sets.unfinished_of(BEN.id) == {}


async def test_a_member_with_a_set_goes_no_sooner_than_with_single_requests(tmp_path: Path) -> None:
    async with open_sets(tmp_path, waiting=10) as (harness, sets):
        await sets.ask(SET, a_set(), ADA, PLACE)
        jobs = (await sets.run(SET, a_set(), ADA, PLACE)).jobs
        other = (await harness.queue.submit(a_request(8), BEN, an_interaction(1))).job
        positions = await harness.queue.positions()
        assert [positions[job.id].position for job in jobs] == [1, 3, 4, 5]
        assert positions[other.id].position == 2


async def test_erasing_takes_waiting_prompts_and_leaves_none_of_ended_jobs(tmp_path: Path) -> None:
    async with open_sets(tmp_path, waiting=20) as (harness, sets):

        async def forget(_job_id: str) -> None:
            """Have nothing to forget."""

        privacy = PrivacyService(
            harness.database,
            harness.fetcher.folder,
            forget=forget,
            pictures=InitImageStore(tmp_path / "inputs", harness.database),
            now=harness.clock,
        )
        await sets.ask(SET, a_set(), ADA, PLACE)
        await sets.ask(SET + 1, a_set("a lynx", "a newt"), ADA, PLACE)
        await sets.ask(SET + 2, a_set("a hare", "a wren"), BEN, PLACE)
        jobs = (await sets.run(SET, a_set(), ADA, PLACE)).jobs
        for job in jobs:
            await harness.queue.cancel(job.id, ADA)
        report = await privacy.report(ADA.id)
        assert (report.jobs, report.pending) == (4, 2)

        assert await privacy.erase(GUILD, ADA) == 4

        assert (await privacy.report(ADA.id)).pending == 0
        assert "hare" in await stored_prompts(harness)
        assert "lynx" not in await stored_prompts(harness)
        stored = [await harness.stored(job.id) for job in jobs]
        assert {job.state for job in stored} == {JobState.CANCELLED}
        assert all("fox" not in str(job) and "owl" not in str(job) for job in stored)
        messages = DeliveryRepository(harness.database)
        assert await messages.status_messages_owed(NOW - timedelta(days=1)) == ()
        with pytest.raises(RequestError, match="no longer open"):
            await sets.run(SET, a_set(), ADA, PLACE)


async def test_a_closed_gate_refuses_sets_as_it_does_single_requests(tmp_path: Path) -> None:
    async with open_sets(tmp_path) as (harness, sets):
        harness.queue.gate.closed_reason = "The bot is closing down."
        with pytest.raises(QueueFull, match="closing down"):
            await sets.ask(SET, a_set(), ADA, PLACE)
