"""Presses that do not belong: another server's job, another message, made-up and old custom ids.

Each is answered with a sentence, carries nothing out, and leaves no traceback. They are opened
below Discord's client, which would refuse most of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from bot.domain.events import MessageRef
from bot.domain.job import Job, JobState
from bot.domain.request import ChannelRef
from bot.frontend.component_handlers import OUTDATED_BUTTON, OUTDATED_MODAL
from bot.frontend.custom_ids import ComponentAction
from bot.frontend.job_lookup import MESSAGE_NOT_FOUND, UNKNOWN_JOB, WRONG_MESSAGE
from bot.playground.client.driver import Invocation, MemberDriver
from bot.playground.server import Playground
from bot.playground.state.models import COMPONENT, DEFER, MODAL_SUBMIT, REPLY, Json, Message
from bot.services.delivery import InteractionRef
from bot.services.queue import Actor
from bot.settings import Settings
from tests.frontend.application import Bot, running
from tests.frontend.harness import turns
from tests.playground.clock import Clock

OTHER_SERVER = 4_000_000_000_000_000_000
VERBS = [verb.value for verb in ComponentAction]
MENUS = {"open", "upscale"}
VARYING = {"vary-subtle", "vary-strong"}


@pytest.fixture
async def bot(
    playground: Playground,
    settings: Settings,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> AsyncIterator[Bot]:
    """The bot as it is run; nothing that is pressed may break it."""
    async with running(playground, settings, clock) as started:
        started.dispatch()
        yield started
    assert "Traceback" not in caplog.text


@pytest.fixture
async def waiting_bot(
    playground: Playground, settings: Settings, clock: Clock
) -> AsyncIterator[Bot]:
    """The same, but no job's turn ever comes."""
    async with running(playground, settings, clock) as started:
        yield started


async def result_of(bot: Bot, prompt: str = "a heron", who: str = "Ada") -> tuple[Message, Job]:
    """A finished job, and the message with its picture."""
    asked = await bot.imagine(prompt, who)
    message = await bot.finished(asked)
    job = await bot.engine.queue.jobs.get(asked.id)
    assert job is not None
    return message, job


async def accepted(bot: Bot, place: ChannelRef) -> Job:
    """Return a finished job of Ada's that was requested in ``place``."""
    _, here = await result_of(bot)
    member = Actor(bot.member().id, "Ada")
    bot.clock.pass_time(seconds=60)
    request = replace(here.request, place=place)
    bot.engine.scheduler.drain()
    reference = InteractionRef(place.channel_id, 1, "token", bot.clock())
    return (await bot.engine.queue.submit(request, member, reference)).job


async def click(
    bot: Bot,
    message: Message,
    custom_id: str,
    *,
    who: str | MemberDriver = "Ada",
    value: str = "",
    attached: bool = True,
) -> Invocation:
    """Press a component with any custom id; ``attached``: it replaces one of the message."""
    actor = bot.member(who) if isinstance(who, str) else who
    bot.clock.pass_time(seconds=5)
    world = bot.playground.world
    kind = 3 if value else 2
    data: Json = {"custom_id": custom_id, "component_type": kind, "id": 1}
    if value:
        data["values"] = [value]
    control = next(one for one in message.controls() if one["type"] == kind)
    before = control.get("custom_id")
    if attached:
        control["custom_id"] = custom_id
    interaction = world.interactions.open(
        COMPONENT, actor.user, world.channel(message.channel_id), data, message=message
    )
    clicked = actor._invocation(interaction)
    await clicked.acked()
    control["custom_id"] = before
    return clicked


async def said_to(bot: Bot, clicked: Invocation) -> str:
    """The one sentence that the bot said privately."""

    def told(_: object) -> list[Message]:
        answer = clicked.response if clicked.callback in (REPLY, DEFER) else None
        own = [one for one in (answer, *clicked.followups) if one and one.ephemeral]
        return [one for one in own if not one.loading]

    (message,) = await bot.playground.until(told)
    assert "went wrong" not in message.text
    return message.content


async def jobs_of_all(bot: Bot) -> list[tuple[str, JobState]]:
    found = [job for who in ("Ada", "Ben", "Mo") for job in await history(bot, who)]
    return sorted((job.id, job.state) for job in found)


async def history(bot: Bot, who: str) -> tuple[Job, ...]:
    return await bot.engine.queue.jobs.history(bot.member(who).id, limit=1000)


def custom_id_for(verb: str, job_id: str, message_id: int = 1) -> tuple[str, str]:
    """The custom id of a verb as its control would have it, and the option that is chosen."""
    numbers = f":{message_id}" if verb == "remove" else ":1:1" if verb in VARYING else ""
    return f"gb:{verb}:{job_id}{numbers}", "cell:1:1" if verb in MENUS else ""


@pytest.mark.parametrize("who", ["Ada", "Mo"])
@pytest.mark.parametrize("verb", VERBS)
async def test_a_job_of_another_server_is_not_known_here(bot: Bot, verb: str, who: str) -> None:
    """Neither to its own author nor to a moderator of this server."""
    job = await accepted(bot, ChannelRef(OTHER_SERVER, OTHER_SERVER + 1))
    message, _ = await result_of_first(bot)
    before = await jobs_of_all(bot)
    custom_id, value = custom_id_for(verb, job.id, message.id)

    clicked = await click(bot, message, custom_id, who=who, value=value)

    assert await said_to(bot, clicked) == UNKNOWN_JOB
    assert await jobs_of_all(bot) == before
    assert message.id in bot.playground.world.messages


async def result_of_first(bot: Bot) -> tuple[Message, Job]:
    """The finished job that is there already."""
    job = next(job for job in await history(bot, "Ada") if job.state is JobState.FINISHED)
    return await bot.finished(job), job


@pytest.mark.parametrize("attached", [True, False])
@pytest.mark.parametrize("verb", VERBS)
async def test_a_control_on_the_message_of_another_job_does_nothing(
    bot: Bot, verb: str, *, attached: bool
) -> None:
    message, _ = await result_of(bot, "a heron")
    bot.clock.pass_time(seconds=60)
    other, job = await result_of(bot, "a swan")
    before = await jobs_of_all(bot)
    custom_id, value = custom_id_for(verb, job.id, other.id)

    clicked = await click(bot, message, custom_id, value=value, attached=attached)

    assert await said_to(bot, clicked) == WRONG_MESSAGE
    assert await jobs_of_all(bot) == before
    assert {message.id, other.id} <= set(bot.playground.world.messages)


@pytest.mark.parametrize("whose", ["another job's", "the bot's own", "a member's", "nobody's"])
async def test_only_a_message_of_the_job_is_removed(bot: Bot, whose: str) -> None:
    message, _ = await result_of(bot, "a heron")
    bot.clock.pass_time(seconds=60)
    other, job = await result_of(bot, "a swan")
    confirming = await (await bot.member().press(other, "Delete")).answered()
    channel = bot.client.get_partial_messageable(message.channel_id)
    wanted = {
        "another job's": message.id,
        "the bot's own": (await channel.send("the rules of this channel")).id,
        "a member's": (await bot.member("Ben").say("imagine", "hello")).id,
        "nobody's": 12345,
    }[whose]

    clicked = await click(bot, confirming, f"gb:remove:{job.id}:{wanted}")

    if whose == "nobody's":
        await bot.playground.until(lambda _: confirming.content == "It was already deleted.")
    else:
        assert await said_to(bot, clicked) == MESSAGE_NOT_FOUND
        assert wanted in bot.playground.world.messages
    assert {message.id, other.id} <= set(bot.playground.world.messages)


async def test_what_show_brought_out_is_removed_like_the_result(bot: Bot) -> None:
    message, job = await result_of(bot)
    shown = await bot.ask("show", channel="gallery", id=job.id)
    asked = await (await bot.member().press(shown, "Delete")).answered()

    await bot.member().press(asked, "Delete permanently")

    await bot.playground.until(lambda _: asked.content == "Deleted.")
    assert shown.id not in bot.playground.world.messages
    assert message.id in bot.playground.world.messages


IDS = {
    "no such verb": "gb:frobnicate:{job}",
    "no job": "gb:details",
    "empty parts": "gb::",
    "an empty number": "gb:open:{job}::",
    "a short id": "gb:details:abc",
    "capitals": "GB:DETAILS:{job}",
    "twenty digits": "gb:remove:{job}:99999999999999999999",
    "above 63 bits": "gb:remove:{job}:9223372036854775808",
    "a negative number": "gb:remove:{job}:-1",
    "digits of another script": "gb:open:{job}:١:١",
    "a third number": "gb:open:{job}:1:1:1",
    "another version": "gb2:details:{job}",
    "a line break": "gb:details:{job}\n",
    "belongs to another member": "somebody:else",
    "history of another version": "gb-history:sideways",
    "history before a number": "gb-history:before:123",
    "a page of no list": "gb-page:nothing::1",
    "a page beyond all": "gb-page:styles::99999999999999999999",
    "a prompt of another version": "gb-prompt:repaint",
    "privacy of another version": "gb-privacy:everything",
}


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("attached", [True, False])
async def test_a_custom_id_that_nobody_knows_gets_a_sentence(
    bot: Bot, name: str, *, attached: bool
) -> None:
    message, job = await result_of(bot)
    before = await jobs_of_all(bot)

    clicked = await click(bot, message, IDS[name].format(job=job.id), attached=attached)

    assert await said_to(bot, clicked) == (OUTDATED_BUTTON if attached else WRONG_MESSAGE)
    assert await jobs_of_all(bot) == before


@pytest.mark.parametrize("value", ["", "rows", "cell:1:1:1", "cell:١:١", "cell:9999:1", "x" * 100])
async def test_a_choice_that_no_menu_offers_gets_a_sentence(bot: Bot, value: str) -> None:
    message, job = await result_of(bot)

    clicked = await click(bot, message, f"gb:open:{job.id}", value=value or "cell:")

    assert "from an older version" in await said_to(bot, clicked)


@pytest.mark.parametrize(
    "custom_id", ["gb:edit:{job}", "gb:edit:", "gb:frobnicate:{job}", "gb3:edit:{job}", "x"]
)
@pytest.mark.parametrize("place", ["elsewhere", "here"])
async def test_a_form_that_does_not_belong_makes_nothing(
    bot: Bot, custom_id: str, place: str
) -> None:
    job = await accepted(bot, ChannelRef(OTHER_SERVER, OTHER_SERVER + 1))
    message, here = await result_of_first(bot)
    if place == "here":
        job = replace(here, id="a" * 16)
    before = await jobs_of_all(bot)
    world = bot.playground.world
    field: Json = {"type": 4, "custom_id": "prompt", "value": "a castle"}
    data: Json = {
        "custom_id": custom_id.format(job=job.id),
        "components": [{"type": 1, "components": [field]}],
    }

    interaction = world.interactions.open(
        MODAL_SUBMIT, bot.member().user, world.channel("imagine"), data, message=message
    )

    handed = bot.member()._invocation(interaction)
    known = custom_id == "gb:edit:{job}"
    assert await said_to(bot, handed) == (UNKNOWN_JOB if known else OUTDATED_MODAL)
    assert await jobs_of_all(bot) == before


@pytest.mark.parametrize("verb", VERBS)
async def test_a_result_in_a_direct_message_is_clicked_by_its_author_alone(
    bot: Bot, verb: str
) -> None:
    """There is no server there, and the job is one of a server."""
    _, job = await result_of(bot)
    message = await shown_in_direct_message(bot, job)
    assert message.attachments
    custom_id, value = custom_id_for(verb, job.id, message.id)

    stranger = await click(bot, message, custom_id, who="Ben", value=value)
    assert await said_to(bot, stranger) == UNKNOWN_JOB
    clicked = await click(bot, message, custom_id, value=value)

    if verb in {"reroll", "upscale", *VARYING}:
        async for _ in turns():
            if await bot.engine.queue.jobs.by_interaction(clicked.id) is not None:
                return
        raise AssertionError("nothing was made")
    if verb == "remove":
        await bot.playground.until(lambda world: message.id not in world.messages)
    elif verb == "edit":
        assert clicked.modal is not None
    elif verb == "cancel":
        assert message.id in bot.playground.world.messages  # it has ended: nothing happens
    else:
        expected = {
            "open": "Row 1, image 1",
            "delete": "Delete this result",
            "details": "",
            "retry": "did not fail",
            "star": "⭐ Starred. This result has 1 star. `/favourites` lists",
        }[verb]
        assert expected in await said_to(bot, clicked)


async def shown_in_direct_message(bot: Bot, job: Job) -> Message:
    world = bot.playground.world
    direct = world.direct_channel("Ada")
    bot.clock.pass_time(seconds=1)
    return await (await bot.member().slash(direct.id, "show", id=job.id)).answered()


HUGE = ["9" * 20, "9" * 200, "-1", "١٢", "0", "1-99999999999999999999", "2-", " ", "a" * 16]


@pytest.mark.parametrize("typed", HUGE)
@pytest.mark.parametrize(("command", "option"), [("show", "id"), ("cancel", "what")])
async def test_ids_that_cannot_be_are_answered_in_words(
    bot: Bot, command: str, option: str, typed: str
) -> None:
    options: dict[str, Any] = {option: typed}

    message = await bot.ask(command, **options)

    assert message.ephemeral
    assert message.content
    assert "went wrong" not in message.content
    assert await bot.member().autocomplete("imagine", command, option, typed) == []


async def test_ids_of_other_servers_are_nobodys_business_here(bot: Bot) -> None:
    job = await accepted(bot, ChannelRef(OTHER_SERVER, OTHER_SERVER + 1))

    for command, option in (("show", "id"), ("cancel", "what")):
        options: dict[str, Any] = {option: job.id}
        asked = await bot.ask(command, who="Mo", **options)
        assert "There is no job" in asked.content
    own = await bot.ask("show", id=job.id)
    assert "requested on another server" in own.content
    offered = await bot.member().autocomplete("imagine", "show", "id", job.id[:12])
    assert job.id not in [choice["value"] for choice in offered]
    direct = await shown_in_direct_message(bot, job)
    assert "Current state" in direct.content
    stopped = await bot.ask("cancel", what=job.id)
    assert "cancelled" in stopped.content


async def test_a_copy_of_a_status_message_says_how_the_job_has_ended_once_it_is_clicked(
    waiting_bot: Bot,
) -> None:
    """Two cards after a trouble that nobody noticed: the one not known is settled by its press."""
    bot = waiting_bot
    job = await bot.imagine("a heron")
    channel = bot.client.get_partial_messageable(job.request.place.channel_id)
    async for _ in turns():
        known = await bot.context.messages.status_message(job.id)
        if known is not None:
            break
    first = bot.playground.world.message(known.message.message_id if known else 0)

    other = await channel.send("another card")
    await bot.context.messages.save_status_message(job.id, MessageRef(other.channel.id, other.id))

    await bot.member().press(first, "Cancel")

    await bot.playground.until(lambda _: "Cancelled by" in first.text)
    assert "gb:cancel" not in str(first.controls())
