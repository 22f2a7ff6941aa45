"""Every first answer, and every fault of Discord's: what the member reads is true.

A request that was accepted is one job, charged once, with one card that says so and one message
with its pictures; nobody reads that it went wrong. Other answers come once, or are known to be
impossible.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bot.domain.job import Job, JobState
from bot.frontend import first_response
from bot.frontend.delivery_methods import CHANNEL, INTERACTION
from bot.frontend.first_response import RESPONSE_LIMIT_S
from bot.frontend.formatting import short_id
from bot.playground.client.driver import Invocation
from bot.playground.rest.faults import Faults
from bot.playground.server import Playground
from bot.playground.state.models import Message
from bot.settings import Settings
from bot.store.ledger import LedgerRepository
from tests.frontend.application import Bot, running
from tests.frontend.harness import Harness, open_harness, turns
from tests.playground.clock import Clock
from tests.unit.store.accounts import Gate, hold_reader

CALLBACK = r"/callback$"
MANY = 50

FAULTS: dict[str, Callable[[Faults], Any]] = {
    "blocked by a filter": lambda to: to.answer("POST", CALLBACK, 400, code=240000),
    "an invalid form": lambda to: to.answer("POST", CALLBACK, 400, code=50035),
    "refused in all forms": lambda to: to.answer("POST", CALLBACK, 400, code=50035, times=MANY),
    "too late": lambda to: to.refuse("POST", CALLBACK, 10062, times=MANY),
    "500 before": lambda to: to.answer("POST", CALLBACK, 500),
    "500 after": lambda to: to.answer("POST", CALLBACK, 500, carried_out=True),
    "cut before": lambda to: to.drop("POST", CALLBACK),
    "cut after": lambda to: to.drop("POST", CALLBACK, carried_out=True),
    "cut for long": lambda to: to.drop("POST", CALLBACK, times=MANY),
    "429 without Via": lambda to: to.rate_limit("POST", CALLBACK, 1, via=False),
    "429 without Via for long": lambda to: to.rate_limit("POST", CALLBACK, 1, via=False, times=20),
    "no answer": lambda to: to.hold("POST", CALLBACK),
    "no answer after": lambda to: to.hold("POST", CALLBACK, carried_out=True),
}

# Where no first answer can be given, the card is a message of the bot's own.
OTHER_SERVER = {
    "refused in all forms",
    "too late",
    "cut for long",
    "429 without Via for long",
}


async def quick(seconds: float) -> None:
    """A pause that only lets others have their turn."""
    await asyncio.sleep(0)


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


ONCE = [
    "500 before",
    "500 after",
    "cut before",
    "cut after",
    "429 without Via",
    "no answer",
    "no answer after",
]
REFUSALS = ["blocked by a filter", "an invalid form"]


@pytest.fixture
async def bot(playground: Playground, settings: Settings, clock: Clock) -> AsyncIterator[Bot]:
    """The bot as it is run, which pauses for nothing."""
    async with running(playground, settings, clock, sleep=quick) as started:
        started.dispatch()
        yield started


@pytest.fixture
async def waiting_bot(
    playground: Playground, settings: Settings, clock: Clock
) -> AsyncIterator[Bot]:
    """The same, but no job's turn ever comes."""
    async with running(playground, settings, clock, sleep=quick) as started:
        yield started


async def answers_to(
    bot: Bot, result: Message, job: Job
) -> AsyncIterator[tuple[str, Callable[[], Awaitable[Invocation]], str]]:
    """Every other first answer: its name, how to ask for it, and what is read then."""
    member = bot.member()
    yield "queue", lambda: member.slash("imagine", "queue"), "Queue"
    yield "help", lambda: member.slash("imagine", "help"), "Gridbrush"
    yield "history", lambda: member.slash("imagine", "history"), "Your history"
    yield "privacy", lambda: member.slash("imagine", "privacy"), "Your data"
    yield "quota", lambda: member.slash("imagine", "quota"), "left"
    yield "details", lambda: member.press(result, "Details"), "a heron"
    yield "delete", lambda: member.press(result, "Delete"), "Delete this result"
    yield "refused", lambda: member.slash("imagine", "imagine", prompt="x --rows 99"), "--rows"
    yield "refused press", lambda: bot.member("Ben").press(result, "Delete"), "Only the member who"
    yield "cancel", lambda: member.slash("imagine", "cancel", what=job.id), "already ended"
    yield (
        "open",
        lambda: member.select(result, "Open an image …", ["cell:1:1"]),
        "Row 1, image 1",
    )
    yield "show", lambda: member.slash("gallery", "show", id=job.id), "a heron"


@pytest.mark.parametrize("fault", ONCE)
async def test_any_other_answer_comes_once_and_is_never_contradicted(bot: Bot, fault: str) -> None:
    job = await bot.imagine("a heron")
    result = await bot.finished(job)
    job = await bot.engine.queue.jobs.get(job.id) or job
    async for name, ask, words in answers_to(bot, result, job):
        bot.clock.pass_time(seconds=5)
        bot.playground.world.faults.clear()
        FAULTS[fault](bot.playground.world.faults)

        asked = await ask()

        def read(_: object, asked: Invocation = asked, words: str = words) -> Message | None:
            for message in (asked.response, *asked.followups):
                if message is not None and words in message.text and not message.loading:
                    return message
            return None

        message = await bot.playground.until(read)
        assert [message] == [one for one in (asked.response, *asked.followups) if one], name
        assert "went wrong" not in message.text, name
        assert message.ephemeral or name == "show"


@pytest.mark.parametrize("fault", REFUSALS)
async def test_an_answer_that_discord_refuses_is_given_in_plainer_words(
    bot: Bot, fault: str
) -> None:
    job = await bot.imagine("a heron")
    result = await bot.finished(job)
    job = await bot.engine.queue.jobs.get(job.id) or job
    async for name, ask, words in answers_to(bot, result, job):
        bot.clock.pass_time(seconds=5)
        bot.playground.world.faults.clear()
        FAULTS[fault](bot.playground.world.faults)

        asked = await ask()
        message = await asked.answered()

        number = f"give a moderator this number: {asked.id}"
        assert words in message.text or number in message.text, name


@pytest.mark.parametrize("fault", [*ONCE, *REFUSALS, "too late", "cut for long"])
async def test_a_click_on_cancel_is_carried_out_whatever_becomes_of_its_answer(
    waiting_bot: Bot, fault: str
) -> None:
    bot = waiting_bot
    job = await bot.imagine("a heron")
    post = None
    async for _ in turns(60):
        post = await bot.context.messages.status_message(job.id)
        if post is not None:
            break
    assert post is not None
    FAULTS[fault](bot.playground.world.faults)

    clicked = await bot.member().press(post.message.message_id, "Cancel")

    status_message = bot.playground.world.message(post.message.message_id)
    await bot.playground.until(lambda _: "Cancelled by" in status_message.text)
    bot.playground.world.faults.clear()
    assert not clicked.followups
    stored = await bot.engine.queue.jobs.get(job.id)
    assert stored is not None
    assert stored.state is JobState.CANCELLED


@pytest.mark.parametrize("fault", ONCE)
async def test_the_form_opens_once(bot: Bot, fault: str) -> None:
    result = await bot.finished(await bot.imagine("a heron"))
    FAULTS[fault](bot.playground.world.faults)

    clicked = await bot.member().press(result, "Edit & run again")

    await bot.playground.until(lambda _: clicked.modal)
    assert (clicked.response, clicked.followups) == (None, [])


@pytest.mark.parametrize("fault", REFUSALS)
async def test_a_form_that_discord_refuses_is_explained(bot: Bot, fault: str) -> None:
    result = await bot.finished(await bot.imagine("a heron"))
    FAULTS[fault](bot.playground.world.faults)

    refused = await (await bot.member().press(result, "Edit & run again")).answered()

    assert "Discord did not open the form" in refused.content


async def test_a_defect_after_the_acceptance_is_not_told_as_a_failure(
    bot: Bot, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept = bot.engine.queue.submit

    async def accept_and_break(*args: Any, **kwargs: Any) -> Any:
        await accept(*args, **kwargs)
        raise OSError("after the commit")

    monkeypatch.setattr(bot.engine.queue, "submit", accept_and_break)

    job = await bot.imagine("a heron")

    await bot.finished(job)
    said = [message.text for message in bot.playground.world.messages.values()]
    assert not any("went wrong" in text for text in said)
    assert "after the commit" in caplog.text


async def test_what_may_have_been_accepted_is_not_said_to_be_free(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*args: Any, **kwargs: Any) -> Any:
        raise OSError("nobody knows")

    monkeypatch.setattr(bot.engine.queue, "submit", broken)
    free = await bot.ask("imagine", prompt="a heron")
    assert "nothing was charged" in free.content
    monkeypatch.setattr(type(bot.engine.queue.jobs), "by_interaction", broken)
    unsure = await bot.ask("imagine", prompt="a heron")
    assert "/queue to see whether your request was accepted" in unsure.content


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
