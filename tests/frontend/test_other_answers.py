"""All answers but those to a request: under every fault they come once, and say what is true."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from bot.domain.job import Job, JobState
from bot.playground.client.driver import Invocation
from bot.playground.server import Playground
from bot.playground.state.models import Message
from bot.settings import Settings
from tests.frontend.answer_faults import FAULTS, quick
from tests.frontend.application import Bot, running
from tests.frontend.harness import turns
from tests.frontend.test_delivery_faults import hurry_library
from tests.playground.clock import Clock

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


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the library tries again by itself, it tries at once."""
    hurry_library(monkeypatch)


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
