"""/art-admin on the loopback Discord: by a moderator, a member, twice at once, with bad values."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from bot.domain.job import JobState
from bot.playground.state import permissions
from bot.playground.state.guild import Event
from bot.playground.state.models import Json, Message
from bot.services.queue import Actor
from tests.frontend.application import Bot, said
from tests.frontend.harness import turns
from tests.frontend.moderation_uses import named

MODERATOR = "Mo"
CATEGORY = 4
"""Discord's type of a category."""
MANAGER = Actor(1, "Keeper", moderator=True, manager=True)


async def answer_to(
    bot: Bot, command: str, options: Mapping[str, object], who: str = MODERATOR
) -> Message:
    """Use a subcommand; the answer is always private."""
    bot.clock.pass_time(seconds=1)
    given = {key: named(bot, value) for key, value in options.items()}
    asked = await bot.member(who).slash("imagine", f"art-admin {command}", **given)
    answer = await asked.answered()
    assert answer.ephemeral
    return answer


async def admin(bot: Bot, command: str, who: str = MODERATOR, /, **options: object) -> str:
    """Use a subcommand and return what it says."""
    return said(await answer_to(bot, command, options, who))


async def actions(bot: Bot) -> list[Json]:
    """Return the audit without the export that reads it."""
    guild = bot.playground.world.guild_id
    told, _ = await bot.context.moderation.export(guild, 100, by=MANAGER)
    lines = [json.loads(line) for line in told.splitlines()]
    return [line for line in lines if line["action"] not in ("export", "refused")]


async def refused(bot: Bot, prompt: str = "a red fox", **where: str) -> str:
    """Ask for a picture and return the private refusal."""
    answer = await bot.ask("imagine", prompt=prompt, **where)
    assert answer.ephemeral
    return said(answer)


async def becomes(true: Callable[[], bool]) -> None:
    """Wait until the bot has heard of a change."""
    async for _ in turns():
        if true():
            return
    raise AssertionError("the bot has not heard of it")


def lacks(bot: Bot, name: str, permission: str) -> bool:
    channel: Any = bot.client.get_channel(bot.playground.world.channel(name).id)
    if channel is None:
        return False
    return not getattr(channel.permissions_for(channel.guild.me), permission)


async def test_a_model_can_be_for_some_roles_only(bot: Bot) -> None:
    unknown = await admin(bot, "models allow", model="dall-e", role="&Moderators")
    assert "model: there is no such model. There are: sd-2-1, wd-1-4." in unknown
    (choice,) = await bot.member(MODERATOR).autocomplete(
        "imagine", "art-admin models allow", "model", "wd"
    )
    options = {"model": choice["value"], "role": "&Moderators"}
    assert "`wd-1-4` is only for" in await admin(bot, "models allow", **options)
    assert "already" in await admin(bot, "models allow", **options)
    assert "`wd-1-4`: <@&" in await admin(bot, "models list")
    assert "1 model only for some roles" in await admin(bot, "status")
    assert "the model wd-1-4 is only for <@&" in await refused(bot, "a fox --model wd-1-4")
    await bot.imagine("a fox")
    await bot.imagine("a fox --model wd-1-4", who=MODERATOR)
    assert "Removed" in await admin(bot, "models remove", **options)
    await bot.imagine("a fox --model wd-1-4")


async def test_a_pause_is_said_by_status_messages_the_queue_and_the_answer(bot: Bot) -> None:
    early = await bot.member("Ada").slash("imagine", "imagine", prompt="a heron")
    await early.answered()
    told = await admin(bot, "pause", reason="maintenance", until="2h")
    assert "have paused requests until <t:" in told
    shown = await bot.playground.until(
        lambda _: early.response if "maintenance" in said(early.response) else None  # type: ignore[arg-type]
    )
    assert "**Paused by the moderators.**" in said(shown)
    queue = said(await bot.ask("queue"))
    assert "maintenance" in queue
    assert "a heron: paused by the moderators" in queue
    late = await bot.ask("imagine", prompt="an owl")
    assert "maintenance" in said(late)
    assert "maintenance" in await admin(bot, "status")
    bot.dispatch()
    assert "2 waiting requests can start" in await admin(bot, "resume")
    await bot.finished(await bot.job(early))


async def test_a_pause_that_refuses_says_why(bot: Bot) -> None:
    await admin(bot, "pause", reason="tea", requests="refuse")
    assert "have paused requests: tea" in await refused(bot)
    await admin(bot, "drain", reason="update")
    assert "let no more requests start: update" in await refused(bot)
    told = [line["action"] for line in await actions(bot)]
    assert told == ["pause", "drain", "drained"]


async def test_channels_threads_and_categories(bot: Bot) -> None:
    world = bot.playground.world
    await admin(bot, "channels allow", channel="#imagine", rows=1)
    assert "Use <#" in await refused(bot, channel="random")
    assert "rows can be 1 to 1, not 2" in await refused(bot)
    await bot.imagine("a fox --rows 1")
    listed = await admin(bot, "channels list")
    assert f"<#{world.channel('imagine').id}>: allowed, at most 1 row" in listed
    (choice,) = await bot.member(MODERATOR).autocomplete(
        "imagine", "art-admin channels remove", "rule"
    )
    assert choice["name"] == "#imagine"
    await admin(bot, "channels remove", rule=choice["value"])
    await bot.imagine("an owl", who="Ben", channel="random")
    await admin(bot, "channels limit", channel="#random", between="5m")
    assert "wait 5 minutes between two requests" in said(
        await bot.ask("imagine", who="Ben", channel="random", prompt="an owl")
    )


async def test_words_are_refused_held_tried_and_removed(bot: Bot) -> None:
    added = await admin(bot, "words add", pattern="fox")
    assert "Undo: `/art-admin words remove rule:1`" in added
    assert "A word rule of this server" in await refused(bot, "a red f0x")
    await admin(bot, "words settings", show_word=True)
    assert "f0x" in await refused(bot, "a red f0x")
    await admin(bot, "words add", pattern="owl", effect="hold", channel="#random")
    assert "holds it" not in await admin(bot, "words test", text="an owl")
    told = await admin(bot, "words test", text="an OWL and a f0x", channel="#random")
    assert "Rule 1 `fox` refuses it for `f0x`." in told
    assert "Rule 2 `owl` holds it for `OWL`." in told
    listed = await admin(bot, "words list")
    assert "**2** `owl`: whole word, holds for a moderator, in <#" in listed
    choices = await bot.member(MODERATOR).autocomplete(
        "imagine", "art-admin words remove", "rule", "fo"
    )
    assert [one["value"] for one in choices] == ["1"]
    await admin(bot, "words remove", rule="1")
    await bot.imagine("a red fox")


async def test_a_held_request_waits_for_a_moderator(bot: Bot) -> None:
    await admin(bot, "words add", pattern="fox", effect="hold")
    bot.dispatch()
    first = await bot.member("Ada").slash("imagine", "imagine", prompt="a fox")
    assert "A moderator has to approve it first." in said(await first.answered())
    second = await bot.imagine("a fox", who="Ben")
    held = await admin(bot, "holds")
    assert r"word rule 1 \(fox\) in the prompt" in held
    choices = await bot.member(MODERATOR).autocomplete(
        "imagine", "art-admin decide", "request", decision="approve"
    )
    assert len(choices) == 2
    job = await bot.job(first)
    assert "Approved" in await admin(bot, "decide", request=job.id, decision="approve")
    await bot.finished(job)
    assert "refunded" in await admin(bot, "decide", request=second.id, decision="reject")
    rejected = await bot.engine.queue.jobs.get(second.id)
    assert rejected is not None
    assert rejected.state is JobState.CANCELLED


async def test_a_thread_counts_as_its_parent_and_a_channel_as_its_category(bot: Bot) -> None:
    world = bot.playground.world
    arts = world.add_channel("arts", kind=CATEGORY)
    dark = world.channel("after-dark")
    dark.parent_id = arts.id
    world.emit(Event("CHANNEL_UPDATE", channel=dark))
    threads = {
        name: world.message_board.open_thread(world.channel(name), world.user("Ada"), f"in {name}")
        for name in ("after-dark", "imagine")
    }
    await becomes(lambda: knows(bot, dark.id, category=arts.id))
    await becomes(lambda: all(bot.client.get_channel(one.id) for one in threads.values()))
    assert "only in age-restricted channels" in await refused(bot, "a nude", channel="in imagine")
    await bot.imagine("a nude", channel="in after-dark")
    assert "only in age-restricted channels" in await refused(bot, "a nude", channel="in imagine")
    await admin(bot, "channels allow", channel="#arts")
    await bot.imagine("a heron", who="Ben", channel="in after-dark")
    await bot.imagine("a heron", who="Ben", channel="after-dark")
    assert "not allowed in this channel" in await refused(bot, channel="in imagine")
    assert "Cancel 3 requests" in await admin(bot, "cancel", channel="#arts")


def knows(bot: Bot, channel_id: int, *, category: int) -> bool:
    channel: Any = bot.client.get_channel(channel_id)
    return channel is not None and channel.category_id == category


@pytest.mark.parametrize("where", ["imagine", "after-dark"])
async def test_adult_words_follow_discords_own_flag(bot: Bot, where: str) -> None:
    if where == "after-dark":
        await bot.imagine("a nude", channel=where)
        return
    assert "only in age-restricted channels" in await refused(bot, "a nude")
    told = await admin(bot, "words remove", rule="nude")
    assert "off on this server" in told
    job = await bot.imagine("a nude")
    assert "It is off already" in await admin(bot, "words remove", rule="nude")
    assert "on again" in await admin(bot, "words add", pattern="Nude", adult=True)
    # A re-roll of an old request meets the rules of today.
    bot.dispatch()
    result = await bot.finished(job)
    press = await bot.member("Ada").press(result, "Re-roll")
    assert "only in age-restricted channels" in said(await press.answered())


async def test_a_blocked_member_reads_why_and_until_when(bot: Bot) -> None:
    job = await bot.imagine("a heron")
    told = await admin(bot, "block", member="@Ada", reason="spam", **{"for": "7d"})
    assert "1 waiting request cancelled and refunded" in told
    ended = await bot.engine.queue.jobs.get(job.id)
    assert ended is not None
    assert ended.state is JobState.CANCELLED
    assert "blocked you until <t:" in await refused(bot)
    assert ": spam" in await refused(bot)
    await bot.imagine("an owl", who="Ben")
    assert "spam" in await admin(bot, "blocks")
    bot.clock.pass_time(days=7)
    await bot.imagine("a heron")
    assert "Nobody is blocked" in await admin(bot, "blocks")


@pytest.mark.parametrize(
    ("options", "cancelled"),
    [({"member": "@Ada"}, 2), ({"channel": "#random"}, 1), ({"all": True}, 3)],
)
async def test_a_cancel_asks_first_and_happens_once(
    bot: Bot, options: dict[str, object], cancelled: int
) -> None:
    for who, where in (("Ada", "imagine"), ("Ada", "imagine"), ("Ben", "random")):
        await bot.imagine("a heron", who=who, channel=where)
    asked = await answer_to(bot, "cancel", options)
    noun = "request" if cancelled == 1 else "requests"
    assert f"Cancel {cancelled} {noun} of" in said(asked)
    assert await actions(bot) == []
    label = f"Cancel {cancelled} {noun}"
    first, second = await asyncio.gather(
        *(bot.member(MODERATOR).press(asked, label) for _ in range(2))
    )
    done = f"Cancelled {cancelled} {noun} of"
    world = bot.playground.world
    await bot.playground.until(lambda _: done in said(world.messages[asked.id]))
    await bot.playground.until(lambda _: first.followups or second.followups)
    assert [line["detail"] for line in await actions(bot)] == [{"requests": cancelled}]
    assert (await bot.engine.queue.jobs.counts(1)).waiting_of_all == 3 - cancelled


@pytest.mark.parametrize("how", ["button", "command"])
async def test_a_cancel_of_another_members_request_is_logged(bot: Bot, how: str) -> None:
    await admin(bot, "log", channel="#mod-log")
    job = await bot.imagine("a heron")
    status_message = bot.playground.world.messages_in("imagine")[-1]
    if how == "button":
        await (await bot.member(MODERATOR).press(status_message, "Cancel")).acked()
    else:
        await bot.ask("cancel", who=MODERATOR, what=job.id)

    def logged(_: object) -> bool:
        entries = [said(one) for one in bot.playground.world.messages_in("mod-log")]
        author = f"Member: <@{bot.member('Ada').id}>"
        return any("Requests cancelled" in one and author in one for one in entries)

    await bot.playground.until(logged)
    assert [line["action"] for line in await actions(bot)] == ["setting", "cancel"]


async def test_whoever_lost_their_role_cannot_confirm(bot: Bot) -> None:
    await bot.imagine("a heron")
    asked = await answer_to(bot, "cancel", {"all": True})
    bot.playground.world.member(MODERATOR).roles.clear()
    press = await bot.member(MODERATOR).press(asked, "Cancel 1 request")
    await bot.playground.until(lambda _: press.followups or press.response)
    assert await actions(bot) == []


async def test_some_actions_take_manage_server(bot: Bot) -> None:
    role = bot.playground.world.add_role("Helpers", permissions.MODERATE_MEMBERS)
    bot.playground.world.member("Ben").roles.append(role.id)
    assert "Paused" in await admin(bot, "pause", "Ben", reason="tea")
    for command, options in (
        ("log", {"channel": "#random"}),
        ("gallery", {"channel": "#gallery"}),
        ("words settings", {"show_word": True}),
        ("models allow", {"model": "sd-2-1", "role": "&Moderators"}),
        ("export", {}),
    ):
        told = said(await answer_to(bot, command, options, "Ben"))
        assert "Manage Server" in told, command


async def test_the_log_channel_and_what_is_missing_are_in_the_status(bot: Bot) -> None:
    assert "There is no log channel" in await admin(bot, "status")
    world = bot.playground.world
    room = world.add_channel("mods")
    await becomes(lambda: bot.client.get_channel(room.id) is not None)
    assert "is posted in <#" in await admin(bot, "log", channel="#mods")
    assert "Missing" not in await admin(bot, "status")
    world.add_deny_overwrite("mods", "SEND_MESSAGES", "ATTACH_FILES")
    await becomes(lambda: lacks(bot, "mods", "send_messages"))
    assert "I need Send Messages, Embed Links, Attach Files" in await admin(bot, "status")
    world.delete_channel("mods")
    await becomes(lambda: bot.client.get_channel(room.id) is None)
    assert "deleted or hidden" in await admin(bot, "status")
    assert "There is no log channel now" in await admin(bot, "log")


async def test_the_audit_is_a_private_file_of_json_lines(bot: Bot) -> None:
    await admin(bot, "pause", reason="tea")
    await admin(bot, "resume")
    answer = await answer_to(bot, "export", {})
    (file,) = answer.attachments
    told = [json.loads(line)["action"] for line in file.content.splitlines()]
    assert told == ["pause", "resume"]
    assert answer.content == "2 actions."


async def test_a_pause_ends_by_itself(bot: Bot) -> None:
    await admin(bot, "pause", reason="tea", until="2h")
    job = await bot.imagine("a heron")
    stored = await bot.engine.queue.jobs.get(job.id)
    assert stored is not None
    assert stored.state is JobState.QUEUED
    bot.dispatch()
    bot.clock.pass_time(hours=2)
    bot.engine.scheduler.wake()
    await bot.finished(job)
