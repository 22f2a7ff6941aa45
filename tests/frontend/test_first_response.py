"""The first answer to a request, and every fault of Discord's: what the member reads is true.

A request that was accepted is one job, charged once, with one card that says so and one message
with its pictures; nobody reads that it went wrong.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bot.domain.job import Job, JobState
from bot.frontend import first_response
from bot.frontend.delivery_methods import CHANNEL, INTERACTION
from bot.frontend.first_response import RESPONSE_LIMIT_S
from bot.frontend.formatting import short_id
from bot.playground.client.driver import Invocation
from bot.playground.server import Playground
from bot.playground.state.models import Message
from bot.store.ledger import LedgerRepository
from tests.frontend.answer_faults import CALLBACK, FAULTS, MANY, quick
from tests.frontend.harness import Harness, open_harness, turns
from tests.playground.clock import Clock
from tests.unit.store.accounts import Gate, hold_reader

# Where no first answer can be given, the card is a message of the bot's own.
OTHER_SERVER = {
    "refused in all forms",
    "too late",
    "cut for long",
    "429 without Via for long",
}


async def imagine(harness: Harness, fault: Callable[[], Any]) -> Invocation:
    fault()
    return await harness.member().slash("imagine", "imagine", prompt="a lighthouse")


async def reroll(harness: Harness, fault: Callable[[], Any]) -> Invocation:
    message = await harness.result("a lighthouse")
    await harness.scheduler.idle()
    fault()
    return await harness.member().press(message, "Re-roll")


async def retry(harness: Harness, fault: Callable[[], Any]) -> Invocation:
    asked = await harness.imagine("hopeless")
    failed = await harness.shows(asked, "Failed")
    await harness.scheduler.idle()
    fault()
    return await harness.member().press(failed, "Try again")


async def upscale(harness: Harness, fault: Callable[[], Any]) -> Invocation:
    message = await harness.result("a lighthouse")
    await harness.scheduler.idle()
    fault()
    return await harness.member().select(message, "Upscale an image …", ["cell:1:1"])


async def edit(harness: Harness, fault: Callable[[], Any]) -> Invocation:
    message = await harness.result("a lighthouse")
    await harness.scheduler.idle()
    opened = await harness.member().press(message, "Edit & run again")
    await opened.acked()
    fault()
    return await harness.member().submit_modal(opened, {"prompt": "a castle"})


Way = Callable[[Harness, Callable[[], Any]], Awaitable[Invocation]]
WAYS: dict[str, Way] = {
    "/imagine": imagine,
    "re-roll": reroll,
    "retry": retry,
    "upscale": upscale,
    "edit form": edit,
}


def about(harness: Harness, job: Job) -> list[Message]:
    """Every message that tells of the job, wherever it is."""
    return [
        message
        for message in harness.playground.world.messages.values()
        if short_id(job.id) in message.text or job.id in str(message.controls())
    ]


def live(messages: list[Message]) -> list[Message]:
    """Those of them that offer to cancel."""
    return [one for one in messages if "gb:cancel:" in str(one.controls())]


async def accepted(harness: Harness, asked: Invocation) -> Job:
    async for _ in turns(60):
        job = await harness.queue.jobs.by_interaction(asked.id)
        if job is not None:
            return job
    raise AssertionError("the request was not accepted")


async def settled(harness: Harness, job: Job) -> None:
    async for _ in turns(30):
        is_active = harness.client.context.status_tasks.is_active(job.id)
        if not is_active and not await harness.messages.status_message_owed(job.id):
            return
    raise AssertionError("the card is still looked for")


def assert_nobody_reads_that_it_failed(harness: Harness) -> None:
    said = [message.text for message in harness.playground.world.messages.values()]
    assert [text for text in said if "went wrong" in text or "nothing was charged" in text] == []


async def assert_charged_once(harness: Harness, job: Job) -> None:
    ledger = LedgerRepository(harness.database)
    assert await ledger.check() == ()
    entries = await ledger.history(job.request.place.guild_id, job.request.author.id)
    kinds = sorted(entry.kind for entry in entries if entry.job_id == job.id)
    assert kinds in (["reserve", "settle"], ["refund", "reserve"])


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("way", WAYS)
async def test_an_accepted_request_is_said_to_be_accepted_once(
    playground: Playground, tmp_path: Path, clock: Clock, way: str, fault: str
) -> None:
    async with open_harness(playground, tmp_path, clock, sleep=quick, hurry=True) as harness:
        gate = asyncio.Event()

        def break_it() -> None:
            nonlocal gate
            clock.pass_time(seconds=60)
            gate = harness.backend.hold("done ok=")
            FAULTS[fault](playground.world.faults)

        before = len(await harness.queue.jobs.history(harness.member().id))
        asked = await WAYS[way](harness, break_it)
        job = await accepted(harness, asked)
        await settled(harness, job)
        assert len(live(about(harness, job))) == 1, [one.text for one in about(harness, job)]
        assert len(about(harness, job)) == 1
        assert_nobody_reads_that_it_failed(harness)
        playground.world.faults.clear()

        gate.set()
        await harness.scheduler.idle()
        await harness.forgotten()

        job = await harness.job(asked)
        failed = way == "retry"
        assert job.state is (JobState.FAILED if failed else JobState.FINISHED)
        left = about(harness, job)
        assert live(left) == []
        results = [one for one in left if one.attachments]
        assert len(results) == (0 if failed else 1)
        if not failed:
            assert job.delivery_method == (CHANNEL if fault in OTHER_SERVER else INTERACTION)
        if fault not in OTHER_SERVER:
            assert left == [asked.response]
        assert_nobody_reads_that_it_failed(harness)
        await assert_charged_once(harness, job)
        made = len(await harness.queue.jobs.history(harness.member().id)) - before
        assert made == (1 if way == "/imagine" else 2)


@pytest.mark.parametrize("way", ["/imagine", "re-roll"])
async def test_an_accepted_request_is_answered_in_time_however_the_store_hangs_after_it(
    playground: Playground, tmp_path: Path, clock: Clock, way: str
) -> None:
    gate = Gate()
    hanging: list[asyncio.Future[Any]] = []
    async with open_harness(playground, tmp_path, clock, sleep=quick, hurry=True) as harness:
        wake = harness.queue._wake

        def hang() -> None:
            """What a job is announced by: it was accepted, and nothing read after it yet."""
            hanging.append(hold_reader(harness.database, gate))
            wake()

        def break_it() -> None:
            clock.pass_time(seconds=60)
            harness.queue._wake = hang

        asked = await WAYS[way](harness, break_it)
        try:
            async with asyncio.timeout(RESPONSE_LIMIT_S):
                answer = await asked.answered()
        finally:
            gate.open()
        assert "a lighthouse" in answer.text
        harness.queue._wake = wake
        job = await accepted(harness, asked)
        await harness.reached(asked, JobState.FINISHED)
        await harness.forgotten()

        assert about(harness, job) == [asked.response]
        assert len(hanging) == 1
        assert_nobody_reads_that_it_failed(harness)
        await assert_charged_once(harness, job)


@pytest.mark.parametrize("carried_out", [False, True])
@pytest.mark.parametrize("finished", [False, True])
async def test_what_a_stop_interrupts_the_next_bot_takes_up(
    playground: Playground, tmp_path: Path, clock: Clock, *, carried_out: bool, finished: bool
) -> None:
    """The bot is stopped between the acceptance and the receipt of its first answer."""
    async with open_harness(playground, tmp_path, clock, sleep=quick) as harness:
        answer = playground.world.faults.hold("POST", CALLBACK, carried_out=carried_out)
        asked = await harness.member().slash("imagine", "imagine", prompt="a lighthouse")
        await answer.reached.wait()
        job = await accepted(harness, asked)
    # What was cut off before it took effect never takes effect.
    playground.world.faults.clear()
    if not carried_out:
        playground.world.ack_life *= 0
    clock.pass_time(minutes=16 if finished else 1)

    async with open_harness(playground, tmp_path, clock, sleep=quick, hurry=True) as harness:
        gate = harness.backend.hold("done ok=")
        await first_response.resume(harness.client)
        await harness.scheduler.resume_jobs()
        await settled(harness, job)
        assert len(about(harness, job)) == 1
        gate.set()
        await harness.scheduler.idle()
        await harness.forgotten()

        job = await harness.job(asked)
        assert job.state is JobState.FINISHED
        assert live(about(harness, job)) == []
        assert len([one for one in about(harness, job) if one.attachments]) == 1
        await assert_charged_once(harness, job)


@pytest.mark.parametrize("fault", ["cut after", "500 after", "no answer after", "too late"])
async def test_a_result_that_is_ready_first_is_still_one_message(
    playground: Playground, tmp_path: Path, clock: Clock, fault: str
) -> None:
    """The pictures are there before anybody knows which message the card is."""
    async with open_harness(playground, tmp_path, clock, sleep=quick, hurry=True) as harness:
        look = playground.world.faults.hold("GET", "@original")
        FAULTS[fault](playground.world.faults)
        asked = await harness.member().slash("imagine", "imagine", prompt="a lighthouse")
        job = await accepted(harness, asked)
        await harness.reached(asked, JobState.DELIVERING)
        look.open()

        await harness.scheduler.idle()
        await settled(harness, job)
        await harness.forgotten()

        job = await harness.job(asked)
        (result,) = about(harness, job)
        assert result.attachments
        assert job.delivery_method == (CHANNEL if fault == "too late" else INTERACTION)


@pytest.mark.parametrize("token_lives", [True, False])
async def test_a_status_message_that_an_earlier_version_has_lost_is_settled_at_the_start(
    playground: Playground, tmp_path: Path, clock: Clock, *, token_lives: bool
) -> None:
    """It still offers Cancel, though its job has ended and was delivered beside it."""
    async with open_harness(playground, tmp_path, clock, sleep=quick) as harness:
        harness.backend.hold("done ok=")
        asked = await harness.imagine()
        job = await harness.job(asked)
        await settled(harness, job)
        await harness.shows(asked, "Generating")

    def lose(link: sqlite3.Connection) -> None:
        link.execute("DELETE FROM messages")
        link.execute("DELETE FROM deliveries")

    clock.pass_time(minutes=1 if token_lives else 20)
    async with open_harness(playground, tmp_path, clock, sleep=quick, hurry=True) as harness:
        await harness.database.write(lose)
        harness.backend.faults.reject = "no such thing"
        await first_response.resume(harness.client)
        await harness.scheduler.resume_jobs()
        await settled(harness, job)
        await harness.scheduler.idle()
        await harness.forgotten()

        assert live(about(harness, job)) == []
        assert len(about(harness, job)) == (1 if token_lives else 2)


async def test_whoever_can_be_told_nowhere_still_gets_the_result(
    playground: Playground, tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """No answer, no channel, no direct message: the job goes on, and /show brings it out."""
    caplog.set_level(logging.INFO)
    async with open_harness(playground, tmp_path, clock, sleep=quick, hurry=True) as harness:
        playground.world.faults.answer("POST", CALLBACK, 400, code=50035, times=MANY)
        playground.world.add_deny_overwrite("imagine", "SEND_MESSAGES")
        playground.world.user("Ada").takes_dms = False

        asked = await harness.member().slash("imagine", "imagine", prompt="a lighthouse")

        job = await accepted(harness, asked)
        await settled(harness, job)
        await harness.scheduler.idle()
        job = await harness.job(asked)
        assert job.state is JobState.FINISHED
        assert about(harness, job) == []
        assert "Discord refused the status message" in caplog.text


async def test_a_direct_message_says_it_where_the_channel_cannot(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    async with open_harness(playground, tmp_path, clock, sleep=quick, hurry=True) as harness:
        harness.backend.hold("done ok=")
        playground.world.faults.refuse("POST", CALLBACK, 10062, times=MANY)
        playground.world.add_deny_overwrite("imagine", "SEND_MESSAGES")

        asked = await harness.member().slash("imagine", "imagine", prompt="a lighthouse")

        job = await accepted(harness, asked)
        await settled(harness, job)
        (status_message,) = about(harness, job)
        assert status_message.channel_id == playground.world.direct_channel("Ada").id
        playground.world.faults.clear()
        await harness.playground.until(lambda _: "Generating" in status_message.text)
        clicked = await harness.member().press(status_message, "Cancel")
        await clicked.acked()
        await harness.playground.until(lambda _: "Cancelled by" in status_message.text)
