"""``/art-admin reports`` and ``remove``."""

from __future__ import annotations

import pytest

from tests.frontend.application import Bot, said
from tests.frontend.test_component_access import result_of, said_to
from tests.frontend.test_reports import (
    bot,
    entry,
    moderator,
    press,
    report,
    set_log_channel,
)

__all__ = ["bot"]  # the fixture: a log channel is set, and jobs run at once


async def test_without_a_log_channel_the_reports_are_listed(bot: Bot) -> None:
    await set_log_channel(bot, 0)
    empty = await bot.ask("art-admin reports", who="Mo")
    assert said(empty) == "Nothing waits for a moderator."
    message, job = await result_of(bot)
    await report(bot, message)
    listed = await bot.ask("art-admin reports", who="Mo")
    assert "1 report" in said(listed)
    assert listed.ephemeral
    chosen = await bot.member("Mo").select(listed, "gb-mod:show", ["report:1"])
    shown = await chosen.answered()
    assert shown.attachments
    assert "a real person" in said(shown)
    assert await press(bot, shown, "Remove") == "Removed."
    assert message.id not in bot.playground.world.messages
    assert job.id


async def test_holds_are_listed_and_what_is_gone_is_said_to_be(bot: Bot) -> None:
    guild, mo = bot.playground.world.guild_id, moderator(bot)
    await bot.context.moderation.add_word(
        guild, "heron", whole_word=True, channel_id=None, effect="hold", adult=False, by=mo
    )
    held = await bot.imagine("a heron")
    refused = await bot.ask("art-admin remove", who="Mo", message=held.id)
    assert "has not ended yet" in refused.content
    listed = await bot.ask("art-admin reports", who="Mo")
    assert "waits: word rule" in said(listed)
    bot.clock.pass_time(seconds=2)
    chosen = await bot.member("Mo").select(listed, "gb-mod:show", [f"hold:words:{held.id}"])
    assert await press(bot, await chosen.answered(), "Reject") == (
        "Rejected. The member's images are refunded."
    )
    bot.clock.pass_time(days=91)
    await bot.context.reports.clean_up()
    late = await bot.member("Mo").select(listed, "gb-mod:show", [f"hold:words:{held.id}"])
    assert "no longer stored" in await said_to(bot, late)


async def test_reported_results_are_suggested_for_removal(bot: Bot) -> None:
    message, job = await result_of(bot)
    await report(bot, message)
    suggest = bot.member("Mo").autocomplete
    choices = await suggest("imagine", "art-admin remove", "message", "heron")
    assert [choice["value"] for choice in choices] == [job.id]
    assert await suggest("imagine", "art-admin remove", "message", "walrus") == []


async def test_what_discord_does_not_let_the_bot_remove_is_said(bot: Bot) -> None:
    message, job = await result_of(bot)
    bot.playground.world.add_deny_overwrite("imagine", "VIEW_CHANNEL")
    answer = await bot.ask("art-admin remove", who="Mo", message=job.id, channel="random")
    assert "not allowed to delete every message" in answer.content
    assert message.id in bot.playground.world.messages
    assert await bot.context.messages.pending_removals() == ()
    bot.playground.world.restore("imagine")
    # Once the bot may, the same removal is done.
    answer = await bot.ask("art-admin remove", who="Mo", message=job.id)
    assert answer.content == "Removed."
    assert message.id not in bot.playground.world.messages


@pytest.mark.parametrize("how", ["link", "id", "short id"])
async def test_a_result_is_removed_by_link_or_id(bot: Bot, how: str) -> None:
    message, job = await result_of(bot)
    place = f"{bot.playground.world.guild_id}/{message.channel_id}"
    link = f"https://discord.com/channels/{place}/{message.id}"
    named = {"link": link, "id": job.id, "short id": job.id[:8]}[how]
    answer = await bot.ask("art-admin remove", who="Mo", message=named, reason="rule 3")
    assert answer.content == "Removed."
    assert "rule 3" in said(await entry(bot, "Result removed"))
    assert message.id not in bot.playground.world.messages


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("https://discord.com/channels/1/2/3", "no result of this bot"),
        ("https://discord.com/channels/1/2/9999999999999999999", "no result of this bot"),
        ("zzzzzzzz", "There is no job"),
        ("@everyone", "An id has 8 to 16 characters"),
    ],
)
async def test_what_is_no_result_is_not_removed(bot: Bot, named: str, words: str) -> None:
    answer = await bot.ask("art-admin remove", who="Mo", message=named)
    assert words in answer.content
    assert answer.ephemeral
