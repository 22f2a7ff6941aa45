"""One text that asks for several grids: the question, its answers, and what becomes of the set."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from bot.domain.errors import Unavailable
from bot.domain.events import (
    Accepted,
    Artifact,
    BackendJobRef,
    Finished,
    RowReady,
    Scheduled,
)
from bot.domain.job import Job, JobState, new_job
from bot.domain.text import utf16_length
from bot.frontend import first_response
from bot.frontend.message_content import MAX_DESCRIPTION
from bot.frontend.request_set_embeds import question_message, stopped_message
from bot.playground.client.driver import Invocation
from bot.playground.rest.faults import Faults
from bot.playground.server import Playground
from bot.playground.state.models import Message
from bot.services.queue import Actor
from bot.services.request_sets import PendingSet, SetQuestion
from bot.settings import Settings
from bot.store.ledger import LedgerRepository
from tests.frontend.application import Bot, blink, running, said
from tests.frontend.harness import turns
from tests.frontend.test_component_access import click
from tests.playground.clock import Clock
from tests.unit.services.harness import a_request

PROMPT = "a {red, blue} fox in {snow, rain}"
FOXES = ["a red fox in snow", "a red fox in rain", "a blue fox in snow", "a blue fox in rain"]


async def ask(bot: Bot, prompt: str = PROMPT, who: str = "Ada", **options: object) -> Message:
    """Ask for several grids, and return the question."""
    bot.clock.pass_time(seconds=1)
    asked = await bot.member(who).slash("imagine", "imagine", prompt=prompt, **options)
    return await asked.answered()


async def press(bot: Bot, question: Message, label: str, words: str) -> Invocation:
    """Press a button of the question, and wait until its message says ``words``."""
    bot.clock.pass_time(seconds=2)
    pressed = await bot.member().press(question, label)
    await pressed.acked()
    await bot.playground.until(lambda _: words in said(question))
    return pressed


async def jobs_of(bot: Bot, who: str = "Ada") -> tuple[Job, ...]:
    return await bot.engine.queue.jobs.unfinished_of(bot.member(who).id)


def about(playground: Playground, job: Job) -> list[Message]:
    """Every message in the channel with a button of the job."""
    return [
        message
        for message in playground.world.messages_in("imagine")
        if job.id in str(message.controls())
    ]


async def messages_of(playground: Playground, *jobs: Job) -> list[list[Message]]:
    """Wait until each job has a message, and return them."""
    await playground.until(lambda _: all(about(playground, job) for job in jobs))
    return [about(playground, job) for job in jobs]


async def test_a_set_is_asked_about_then_queued_and_each_grid_is_posted(bot: Bot) -> None:
    question = await ask(bot)
    assert question.ephemeral
    text = said(question)
    assert "**4 grids, 16 images** of your 120 left." in text
    assert [line for line in text.splitlines() if line[:1].isdigit()] == [
        f"{at}. {fox}" for at, fox in enumerate(FOXES, 1)
    ]
    assert await jobs_of(bot) == ()
    assert "**120 left**" in said(await bot.ask("quota"))

    await press(bot, question, "Run all", "4 grids queued")
    assert "16 images; 104 left." in said(question)
    jobs = await jobs_of(bot)
    assert [job.request.prompt for job in jobs] == FOXES
    assert len({job.request.seed for job in jobs}) == 4
    posted = await messages_of(bot.playground, *jobs)
    assert [len(messages) for messages in posted] == [1] * 4
    mention = f"<@{bot.member().id}>"
    assert [messages[0].content for messages in posted] == [
        f"-# {mention}: grid {at} of 4" for at in (1, 2, 3, 4)
    ]
    bot.dispatch()
    for job, messages in zip(jobs, posted, strict=True):
        assert (await bot.finished(job)).id == messages[0].id
    public = [one for one in bot.playground.world.messages_in("imagine") if not one.ephemeral]
    assert [message.id for message in public] == [messages[0].id for messages in posted]
    assert await LedgerRepository(bot.engine.database).check() == ()


async def test_what_the_grids_differ_in_is_listed(bot: Bot) -> None:
    sizes = said(await ask(bot, "a fox {--ar 1:1, --ar 2:1 --no snow, --rows 1 --style ink}"))
    assert "1. a fox · 64 × 64 · 2 rows" in sizes
    assert "without snow" in sizes
    assert "3. a fox · 64 × 64 · 1 row · ink" in sizes
    seeds = said(await ask(bot, "a fox --seed {5, 6}"))
    assert "1. a fox · seed 5\n2. a fox · seed 6" in seeds
    repeated = said(await ask(bot, "a *fox* --repeat 3"))
    assert repeated.count(r"a \*fox\* · seed ") == 3
    assert "**3 grids, 12 images**" in repeated


@pytest.mark.parametrize("prompt", ["x" * 1000, "*" * 1000, "🦊" * 500, "@everyone [a](b) " * 50])
def test_a_long_set_fits_into_its_message_and_says_how_much_is_left_out(prompt: str) -> None:
    one = a_request(prompt=prompt, model="m" * 200, cost=2)
    requests = tuple(
        replace(one, seed=at, samples=1 + at % 4, negative=prompt[: 40 * at]) for at in range(25)
    )
    waits = PendingSet(2**62, 7, datetime(2026, 11, 28, tzinfo=UTC), requests)
    question = question_message(SetQuestion(waits, 10_000, 3), "Removed from your text: x. " * 8)
    jobs = tuple(new_job("a" * 15 + at, one, waits.expires_at) for at in "bcd")
    lines = [f"`{job.id}` {prompt[:60]}: cancelled." for job in jobs] * 30
    for message in (question, stopped_message(2**62, lines, jobs)):
        assert utf16_length(message.description) <= MAX_DESCRIPTION
    images = sum(request.images for request in requests)
    assert f"25 grids, {images} images (counted as {2 * images})" in question.description
    assert " more" in question.description[-12:]
    assert " @everyone" not in question.description


async def test_one_grid_needs_no_question(bot: Bot) -> None:
    job = await bot.imagine(r"a {red} \{fox, owl\} {")
    assert job.request.prompt == "a {red} {fox, owl} {"
    (message,) = about(bot.playground, job)
    assert not message.ephemeral
    details = await bot.member().press(message, "Cancel")
    await details.acked()


async def test_what_is_refused_names_the_grid_and_keeps_what_was_typed(bot: Bot) -> None:
    await bot.ask("art-admin words add", who="Mo", pattern="owl")
    for prompt, complaint in {
        "a {red, blue} fox --rows {1, 99}": "Grid 2 of 4 (a red fox --rows 99)",
        "an {elk, owl}": "Grid 2 of 2 (an owl): A word rule of this server",
        "a {b, {c, d}}": r"write \\{ or \\}",
        "{a,b,c}{a,b,c}": "This asks for 9 grids; at most 8 are made at once",
        "a fox --repeat 6": "These are 6 grids, and you have 0 waiting; at most 5 requests may",
        "a {red, blue} fox --samples 4 --rows {8, 8}": "these 4 grids need 128",
        "a fox --repeat 2 --seed 7": "the same grid 2 times",
    }.items():
        answer = await ask(bot, prompt)
        assert answer.ephemeral
        assert complaint in answer.content
        assert "Edit & run again" in str(answer.controls())
        assert prompt in said(answer)
    assert await jobs_of(bot) == ()


async def test_the_edit_form_keeps_braces_as_text_and_expands_what_is_typed(bot: Bot) -> None:
    await bot.imagine(r"a \{red, blue\} fox")
    (job,) = await jobs_of(bot)
    bot.dispatch()
    result = await bot.finished(job)
    details = await (await bot.member().press(result, "Details")).answered()
    assert r"a \{red, blue\} fox --size" in said(details)
    opened = await bot.member().press(result, "Edit & run again")
    await opened.acked()
    assert opened.modal is not None
    assert r"a \\{red, blue\\} fox --size" in str(opened.modal)
    sent = await bot.member().submit_modal(opened, {"prompt": PROMPT})
    question = await sent.answered()
    assert "4 grids" in said(question)
    again = await bot.member().press(result, "Re-roll")
    await again.answered()
    assert (await bot.job(again)).request.prompt == "a {red, blue} fox"


async def test_cancel_forgets_the_question(bot: Bot) -> None:
    question = await ask(bot)
    await press(bot, question, "Cancel", "Nothing was charged")
    assert question.controls() == []
    assert await jobs_of(bot) == ()
    assert "nothing to cancel" in (await bot.ask("cancel", what="all")).content


async def test_nobody_else_can_use_the_buttons_and_a_forged_one_does_nothing(bot: Bot) -> None:
    question = await ask(bot)
    ids = [str(control["custom_id"]) for control in question.controls()]
    set_id = ids[0].rpartition(":")[2]
    for custom_id, complaint in {
        ids[0]: "Only the member who asked",
        ids[1]: "Only the member who asked",
        f"gb-set:stop:{set_id}": "no longer open",
        "gb-set:run:1": "no longer open",
        "gb-set:stop:9999999999999999999": "no longer open",
    }.items():
        answer = await (await click(bot, question, custom_id, who="Ben")).answered()
        assert complaint in answer.content
        assert answer.ephemeral
    await press(bot, question, "Run all", "4 grids queued")
    answer = await (await click(bot, question, f"gb-set:stop:{set_id}", who="Ben")).answered()
    assert "Only the member who asked" in answer.content
    assert len(await jobs_of(bot)) == 4
    assert await jobs_of(bot, "Ben") == ()


async def test_an_old_question_says_that_it_is_closed(bot: Bot) -> None:
    question = await ask(bot)
    bot.clock.pass_time(minutes=16)
    pressed = await bot.member().press(question, "Run all")
    answer = await pressed.answered()
    assert "no longer open" in answer.content
    assert await jobs_of(bot) == ()


async def test_what_changed_meanwhile_is_checked_again(bot: Bot) -> None:
    question = await ask(bot)
    for _ in range(2):
        await bot.imagine("a heron")
    pressed = await bot.member().press(question, "Run all")
    refused = await pressed.answered()
    assert "These are 4 grids, and you have 2 waiting" in refused.content
    assert len(await jobs_of(bot)) == 2
    await bot.ask("cancel", what="1")
    await press(bot, question, "Run all", "4 grids queued")
    assert len(await jobs_of(bot)) == 5


async def test_held_grids_are_said_in_the_question_and_after(bot: Bot) -> None:
    await bot.ask("art-admin words add", who="Mo", pattern="rain", effect="hold")
    question = await ask(bot)
    assert "2 of them will wait for a moderator first." in said(question)
    await press(bot, question, "Run all", "4 grids queued")
    assert "2 of them wait for a moderator first." in said(question)
    await press(bot, question, "Cancel all", "Cancelled")


async def test_pressed_twice_and_delivered_twice_it_is_one_set(bot: Bot) -> None:
    question = await ask(bot)
    bot.playground.gateway.replay_last_interaction()
    ada = bot.member()
    presses = [await ada.press(question, "Run all") for _ in range(2)]
    bot.playground.gateway.replay_last_interaction()
    for pressed in presses:
        await pressed.acked()
    await bot.playground.until(lambda _: "4 grids queued" in said(question))
    jobs = await jobs_of(bot)
    assert len(jobs) == 4
    posted = await messages_of(bot.playground, *jobs)
    await asyncio.sleep(0)
    assert [len(messages) for messages in posted] == [1] * 4


async def test_a_set_is_cancelled_as_one_whatever_its_grids_are_doing(bot: Bot) -> None:
    question = await ask(bot, "{a, b, c, d, e} fox")
    await press(bot, question, "Run all", "5 grids queued")
    posting, running_, waiting, gone, _ = await jobs_of(bot)
    await messages_of(bot.playground, *await jobs_of(bot))
    await bot.engine.lifecycle.apply_event(running_, Scheduled())
    picture = Artifact("file:///row.png", 1, "0" * 64)
    for event in (
        *(Scheduled(), Accepted(BackendJobRef("scripted", posting.id))),
        *(RowReady(1, 1, picture), RowReady(2, 2, picture), Finished(2, 0)),
    ):
        posting = await bot.engine.lifecycle.apply_event(posting, event)
    await bot.engine.queue.cancel(gone.id, Actor(bot.member().id, "Ada"))

    await press(bot, question, "Cancel all", "Cancelling")
    text = said(question)
    assert "a fox: It is finished already; the images are being posted." in text
    assert "b fox: is being stopped" in text
    assert text.count("cancelled, 4 images refunded.") == 2
    assert "d fox: already ended (cancelled)." in text
    states = {}
    for job in (posting, running_, waiting, gone):
        now = await bot.engine.queue.jobs.get(job.id)
        assert now is not None
        states[job.request.prompt] = (now.state, now.cancelled_by)
    ada = bot.member().id
    assert states == {
        "a fox": (JobState.COLLECTING, None),
        "b fox": (JobState.SUBMITTING, ada),
        "c fox": (JobState.CANCELLED, ada),
        "d fox": (JobState.CANCELLED, ada),
    }
    assert "Cancel all" in str(question.controls())


async def test_cancel_offers_the_set_and_cancels_what_is_left_of_it(bot: Bot) -> None:
    heron = await bot.imagine("a heron")
    question = await ask(bot)
    await press(bot, question, "Run all", "4 grids queued")
    ada = bot.member()
    offered = await ada.autocomplete("imagine", "cancel", "what", "")
    names = [choice["name"] for choice in offered]
    assert names[0] == "all 5 of my requests"
    assert names[1].startswith("all 4 of a red fox in snow, a red fox in rain")
    assert len(names) == 7
    (a_set,) = [one["value"] for one in offered if one["value"].startswith("set:")]
    only = await ada.autocomplete("imagine", "cancel", "what", "blue")
    assert only[0]["value"] == a_set
    assert await bot.member("Ben").autocomplete("imagine", "cancel", "what", "") == []

    refused = await bot.ask("cancel", who="Ben", what=a_set)
    assert "None of these grids" in refused.content
    answer = await bot.ask("cancel", what=a_set)
    assert answer.content.count("refunded") == 4
    assert [job.id for job in await jobs_of(bot)] == [heron.id]
    assert "None of these grids" in (await bot.ask("cancel", what=a_set)).content
    assert "**116 left**" in said(await bot.ask("quota"))


async def test_a_backend_that_does_not_let_go_is_said_of_the_one_it_runs(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_handle: BackendJobRef) -> None:
        raise Unavailable("nobody listens")

    monkeypatch.setattr(bot.engine.backend, "cancel", refuse)
    question = await ask(bot)
    await press(bot, question, "Run all", "4 grids queued")
    first = (await jobs_of(bot))[0]
    scheduled = await bot.engine.lifecycle.apply_event(first, Scheduled())
    await bot.engine.lifecycle.apply_event(scheduled, Accepted(BackendJobRef("scripted", "x")))
    await press(bot, question, "Cancel all", "Cancelling")
    assert said(question).count("refunded") == 3
    assert said(question).count("The backend is unavailable at the moment.") == 1


async def test_a_grid_that_took_long_is_a_new_message_that_mentions_its_member(bot: Bot) -> None:
    question = await ask(bot, "a {red, blue} fox")
    await press(bot, question, "Run all", "2 grids queued")
    jobs = await jobs_of(bot)
    posted = await messages_of(bot.playground, *jobs)
    bot.clock.pass_time(minutes=15)
    bot.dispatch()
    for job, messages in zip(jobs, posted, strict=True):
        result = await bot.finished(job)
        assert result.id != messages[0].id
        assert result.content == f"<@{bot.member().id}> Your images are ready."


@pytest.mark.parametrize("carried_out", [True, False])
async def test_a_grid_is_posted_once_when_discord_is_cut_off_while_it_is(
    bot: Bot, *, carried_out: bool
) -> None:
    question = await ask(bot, "a {red, blue} fox")
    await press(bot, question, "Run all", "2 grids queued")
    jobs = await jobs_of(bot)
    posted = await messages_of(bot.playground, *jobs)
    gone = posted[1][0]
    bot.playground.world.delete_message(gone)
    bot.playground.world.faults.drop(
        "PATCH", rf"{posted[0][0].id}$", times=2, carried_out=carried_out
    )
    bot.dispatch()
    assert (await bot.finished(jobs[0])).id == posted[0][0].id
    assert (await bot.finished(jobs[1])).id != gone.id
    results = [one for one in bot.playground.world.messages_in("imagine") if one.attachments]
    assert len(results) == 2


POSTS = r"/channels/[0-9]+/messages$"


@pytest.mark.parametrize(
    "fault",
    [
        lambda faults: faults.drop("POST", POSTS, times=3),
        lambda faults: faults.drop("POST", POSTS, times=3, carried_out=True),
        lambda faults: faults.answer("POST", POSTS, 400, code=240000, times=2),
        lambda faults: faults.answer("POST", r"/callback$", 400, code=50035, times=50),
    ],
    ids=["cut before", "cut after", "refused text", "refused answer"],
)
async def test_each_grid_has_one_message_whatever_discord_does(
    playground: Playground,
    settings: Settings,
    clock: Clock,
    fault: Callable[[Faults], object],
) -> None:
    async with running(playground, settings, clock, blink) as bot:
        question = await ask(bot)
        fault(playground.world.faults)
        await bot.member().press(question, "Run all")
        async for _ in turns():
            if await jobs_of(bot):
                break
        jobs = await jobs_of(bot)
        await messages_of(playground, *jobs)
        async for _ in turns():
            if not any(bot.context.status_tasks.is_active(job.id) for job in jobs):
                break
        posted = await messages_of(playground, *jobs)
        assert [len(messages) for messages in posted] == [1] * 4
        playground.world.faults.clear()


async def test_what_fails_after_a_set_was_accepted_is_no_refusal(
    bot: Bot, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise OSError("no wake-up")

    queue = bot.engine.queue
    wake, queue._wake = queue._wake, fail
    await press(bot, await ask(bot), "Run all", "4 grids queued")
    queue._wake = wake
    assert len(await jobs_of(bot)) == 4
    assert "failed after it was accepted" in caplog.text


async def test_where_the_bot_may_not_write_the_messages_go_to_the_member(bot: Bot) -> None:
    question = await ask(bot)
    channel = bot.playground.world.channel(question.channel_id)
    bot.playground.world.faults.refuse("POST", rf"/channels/{channel.id}/messages$", 50013, times=9)
    await press(bot, question, "Run all", "4 grids queued")
    jobs = await jobs_of(bot)
    async for _ in turns():
        if not any(bot.context.status_tasks.is_active(job.id) for job in jobs):
            break
    posts = [await bot.context.messages.status_message(job.id) for job in jobs]
    places = {post.message.channel_id for post in posts if post is not None}
    assert len(places) == 1
    assert channel.id not in places


async def test_after_a_crash_the_press_counts_once_and_every_message_is_posted(
    playground: Playground, settings: Settings, clock: Clock
) -> None:
    async with running(playground, settings, clock, blink) as bot:
        question = await ask(bot)
        other = await ask(bot, "a {red, blue} owl")
        # The set is accepted, and then nothing of it is said: neither answer nor messages.
        await bot.client.context.status_tasks.aclose()
        playground.world.faults.drop("POST", r"/callback$", times=50)
        await bot.member().press(question, "Run all")
        async for _ in turns():
            if await jobs_of(bot):
                break
        jobs = await jobs_of(bot)
        assert not any(about(playground, job) for job in jobs)
    playground.world.faults.clear()
    async with running(playground, settings, clock, blink) as bot:
        await first_response.resume(bot.client)
        posted = await messages_of(playground, *jobs)
        assert [len(messages) for messages in posted] == [1] * 4
        # The question still has its buttons: they show what has become of it.
        await press(bot, question, "Cancel", "4 grids queued")
        await press(bot, question, "Cancel all", "Cancelled")
        await press(bot, other, "Run all", "2 grids queued")
        assert [job.request.prompt for job in await jobs_of(bot)] == ["a red owl", "a blue owl"]


async def test_erasing_forgets_an_open_question(bot: Bot) -> None:
    question = await ask(bot)
    stored = await bot.ask("privacy")
    assert "4 prompts that wait for you to run or cancel them" in said(stored)
    confirm = await bot.member().press(stored, "Erase my data")
    await confirm.acked()
    await bot.playground.until(lambda _: "Erase your data?" in said(stored))
    erased = await bot.member().press(stored, "Yes, erase it")
    await erased.acked()
    await bot.playground.until(lambda _: "Erased" in said(stored))
    pressed = await bot.member().press(question, "Run all")
    assert "no longer open" in (await pressed.answered()).content
