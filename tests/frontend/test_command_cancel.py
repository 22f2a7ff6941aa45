"""/cancel and /queue: what waits, under which number, and what becomes of it."""

from __future__ import annotations

from dataclasses import replace

from bot.domain.events import (
    Accepted,
    Artifact,
    BackendJobRef,
    Finished,
    JobEvent,
    RowReady,
    Scheduled,
)
from bot.domain.job import JobState
from bot.domain.request import Author, ChannelRef, Request
from bot.frontend.client import load_commands
from bot.services.queue import Actor
from tests.frontend.application import Bot, said


async def states(bot: Bot, who: str = "Ada") -> list[str]:
    """The prompts of a member's unfinished jobs, in order."""
    jobs = await bot.engine.queue.jobs.unfinished_of(bot.member(who).id)
    return [job.request.prompt for job in jobs]


async def test_the_line_shows_places_reasons_and_numbers(bot: Bot) -> None:
    await bot.imagine("a heron", who="Ada")
    await bot.imagine("a swan", who="Ada")
    await bot.imagine("a @everyone rook", who="Ben")
    answer = await bot.ask("queue", who="Ada")
    assert answer.ephemeral
    text = said(answer)
    assert "3 waiting, 0 running" in text
    assert "1. `" in text
    assert "a heron: next in the queue" in text
    assert "a swan: 3rd in the queue: your 2nd request; 1 member goes first" in text
    assert "rook" not in text
    assert f"<@{bot.member('Ben').id}>: 4 images, 2nd in the queue" in text
    assert "None." in said(await bot.ask("queue", who="Mo", channel="random"))


async def test_a_job_under_way_is_listed_without_a_number(bot: Bot) -> None:
    job = await bot.imagine("a heron")
    await bot.engine.lifecycle.apply_event(job, Scheduled())
    bot.engine.queue.gate.closed_reason = "the operator is closing down"
    text = said(await bot.ask("queue"))
    assert "The operator is closing down." in text
    assert "a heron: starting" in text
    assert "0 waiting, 1 running" in text
    assert "1. `" not in text


async def test_one_goes_by_its_id_and_gives_its_images_back(bot: Bot) -> None:
    job = await bot.imagine("a heron")
    answer = await bot.ask("cancel", what=job.id[:10])
    assert answer.ephemeral
    assert "cancelled, 4 images refunded" in answer.content
    assert await states(bot) == []
    account = said(await bot.ask("quota"))
    assert "**120 left**" in account
    again = await bot.ask("cancel", what=job.id)
    assert "already ended (cancelled)" in again.content


async def test_a_range_and_a_number_are_places_among_ones_own(bot: Bot) -> None:
    for bird in ("heron", "swan", "rook", "wren", "kite"):
        await bot.imagine(bird, who="Ada")
    await bot.imagine("owl", who="Ben")
    answer = await bot.ask("cancel", what="2-4")
    assert answer.content.count("refunded") == 3
    assert await states(bot) == ["heron", "kite"]
    assert "kite" in (await bot.ask("cancel", what="2")).content
    assert await states(bot) == ["heron"]
    assert await states(bot, "Ben") == ["owl"]


async def test_all_means_all_of_ones_own(bot: Bot) -> None:
    for bird in ("heron", "swan"):
        await bot.imagine(bird, who="Ada")
    await bot.imagine("owl", who="Ben")
    answer = await bot.ask("cancel", what="ALL")
    assert "heron" in answer.content
    assert "swan" in answer.content
    assert await states(bot) == []
    assert await states(bot, "Ben") == ["owl"]
    assert "nothing to cancel" in (await bot.ask("cancel", what="all")).content


async def test_nonsense_is_answered_with_what_is_allowed(bot: Bot) -> None:
    assert "None of your requests is waiting" in (await bot.ask("cancel", what="1")).content
    await bot.imagine("heron")
    for what, said_ in (
        ("2", "have the numbers 1,"),
        ("1-3", "have the numbers 1, not 1-3."),
        ("0", "have the numbers 1, not 0."),
        ("the heron", "8 to 16 characters"),
        ("aaaaaaaaaaaa", "There is no job aaaaaaaaaaaa"),
    ):
        answer = await bot.ask("cancel", what=what)
        assert answer.ephemeral
        assert said_ in answer.content
    await bot.imagine("swan")
    assert "from 1 to 2" in (await bot.ask("cancel", what="3-2")).content
    assert await states(bot) == ["heron", "swan"]


async def test_somebody_elses_goes_only_by_a_moderator(bot: Bot) -> None:
    job = await bot.imagine("heron", who="Ada")
    refused = await bot.ask("cancel", who="Ben", what=job.id)
    assert "belongs to another member" in refused.content
    assert await states(bot) == ["heron"]
    done = await bot.ask("cancel", who="Mo", what=job.id)
    assert "cancelled, 4 images refunded" in done.content
    stored = await bot.engine.queue.jobs.get(job.id)
    assert stored is not None
    assert (stored.state, stored.cancelled_by) == (JobState.CANCELLED, bot.member("Mo").id)


async def test_ones_own_are_suggested_and_all_of_them(bot: Bot) -> None:
    heron = await bot.imagine("a heron")
    ada = bot.member()
    only = await ada.autocomplete("imagine", "cancel", "what", "")
    assert [choice["value"] for choice in only] == [heron.id]
    swan = await bot.imagine("a swan")
    await bot.imagine("an owl", who="Ben")
    both = await ada.autocomplete("imagine", "cancel", "what", "a")
    assert [choice["value"] for choice in both] == ["all", heron.id, swan.id]
    assert "all 2 of my requests" in both[0]["name"]
    found = await ada.autocomplete("imagine", "cancel", "what", "SWAN")
    assert [choice["value"] for choice in found] == [swan.id]
    assert "queued · a swan" in found[0]["name"]


async def test_a_job_under_way_is_stopped_and_one_that_is_painted_is_not(bot: Bot) -> None:
    waiting = await bot.imagine("a heron")
    submitting = await bot.imagine("a swan")
    painted = await bot.imagine("a wren")
    await bot.engine.lifecycle.apply_event(submitting, Scheduled())
    started = await bot.engine.lifecycle.apply_event(painted, Scheduled())
    started = await bot.engine.lifecycle.apply_event(
        started, Accepted(BackendJobRef("scripted", started.id))
    )
    ends: list[JobEvent] = [
        RowReady(n, n, Artifact("file:///row.png", 1, "0" * 64)) for n in (1, 2)
    ]
    for event in (*ends, Finished(2, 0)):
        started = await bot.engine.lifecycle.apply_event(started, event)
    assert started.state is JobState.COLLECTING
    alone = await bot.ask("cancel", what=painted.id)
    assert alone.content == "It is finished already; the images are being posted."
    lines = (await bot.ask("cancel", what="all")).content.splitlines()
    assert "a heron: cancelled, 4 images refunded." in lines[0]
    assert (
        "a swan: is being stopped; images that are not generated yet will be refunded." in lines[1]
    )
    assert "a wren: It is finished already" in lines[2]
    left = await bot.engine.queue.jobs.unfinished_of(bot.member().id)
    assert [job.id for job in left] == [submitting.id, painted.id]
    assert waiting.id not in [job.id for job in left]


async def test_a_moderators_word_counts_on_their_own_server_only(bot: Bot) -> None:
    ben = bot.member("Ben")
    elsewhere = Request(
        prompt="an owl",
        seed=1,
        steps=4,
        width=64,
        height=64,
        rows=1,
        samples=1,
        model="sd-2-1",
        author=Author(ben.id, "Ben"),
        place=ChannelRef(guild_id=1, channel_id=2),
    )
    receipt = await bot.engine.queue.submit(elsewhere, Actor(ben.id, "Ben"))
    for command, option in (("cancel", "what"), ("show", "id")):
        answer = await bot.ask(command, who="Mo", **{option: receipt.job.id})
        assert "There is no job" in answer.content
    assert await states(bot, "Ben") == ["an owl"]
    assert "an owl" in said(await bot.ask("queue", who="Ben"))


async def test_the_machines_being_away_is_said_above_the_line(bot: Bot) -> None:
    bot.client.context = replace(bot.context, notice=lambda: "the machines are away")
    bot.client.tree.clear_commands(guild=None)
    for command in load_commands(bot.context):
        bot.client.tree.add_command(command)
    assert "The machines are away." in said(await bot.ask("queue"))
