"""What moderators may type and must not: a private sentence names the field and the range."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from discord import AppCommandOptionType as OptionType

from bot.frontend.client import load_commands
from bot.playground.client import command_options
from bot.playground.client.command_options import ClientError
from tests.frontend.application import Bot
from tests.frontend.moderation_uses import USES, Use, begin, private, staged
from tests.frontend.test_art_admin import becomes, lacks
from tests.frontend.test_moderation_access import bot, snapshot

__all__ = ["bot"]  # the fixture: nothing that is used may break it

LONG = "x" * 10_000
MENTIONS = ("to @everyone", "<@&{role}>", "<@{Ada}>", "<#{imagine}>")
NOTHING = ("   ", "\u200b", "...!")
NO_LENGTH = ("", *NOTHING, *MENTIONS, LONG, "0", "0s", "-1d", "abc", "36500d", "100y", "1e9d", "٧d")
NO_NUMBER = (*NOTHING, *MENTIONS[:3], LONG, "-1", "9" * 40, "٧", "all")
PAUSE = "can be 1 minute to 365 days"
TEXTS: dict[tuple[str, str], tuple[tuple[str, ...], str]] = {
    ("pause", "reason"): ((LONG, "x" * 301), "reason can have 0 to 300 characters, not"),
    ("pause", "until"): ((*NO_LENGTH, "1s", "366d"), f"until {PAUSE}"),
    ("drain", "reason"): ((LONG, "x" * 301), "reason can have 0 to 300 characters, not"),
    ("drain", "until"): ((*NO_LENGTH, "1s", "366d"), f"until {PAUSE}"),
    ("channels allow", "between"): ((*NO_LENGTH, "8d"), "between can be 1 second to 7 days"),
    ("channels limit", "between"): ((*NO_LENGTH, "8d"), "between can be 1 second to 7 days"),
    ("channels remove", "rule"): (NO_NUMBER, "rule: choose a channel from the list"),
    ("words add", "pattern"): (
        (*NOTHING, LONG, "x" * 101, "a", "é.", "\N{FOX FACE}"),
        "pattern(:| can have).* (1|2) to 100",
    ),
    ("words remove", "rule"): (
        (*NO_NUMBER, "<#{imagine}>"),
        r"rule: that is no rule of this server\. Choose one from the list",
    ),
    ("words test", "text"): ((LONG, "x" * 1001), "text can have 1 to 1000 characters"),
    ("block", "for"): ((*NO_LENGTH, "1s", "366d"), f"for {PAUSE}"),
    ("block", "reason"): ((LONG, "x" * 301), "reason can have 0 to 300 characters, not"),
    ("decide", "request"): (
        (*NOTHING, *MENTIONS, LONG, "7", "{job1}"),
        "request: choose one that waits for a moderator",
    ),
    ("models allow", "model"): (
        (*NOTHING, *MENTIONS, LONG, "dall-e"),
        r"model: there is no such model\. There are: sd-2-1, wd-1-4",
    ),
    ("models remove", "model"): (
        (*NOTHING, *MENTIONS, LONG, "dall-e"),
        r"model: there is no such model\. There are: sd-2-1, wd-1-4",
    ),
    ("remove", "message"): (
        (*NOTHING, *MENTIONS, LONG, "-1", "https://discord.com/channels/1/2/9999999999999999999"),
        "message: (An id has 8 to 16 characters|this is no result of this bot)",
    ),
    ("remove", "reason"): ((LONG, "x" * 301), "reason can have 0 to 300 characters, not"),
}
NUMBERS = {"running": "running can be 1 to 1000", "rows": "rows can be 1 to 64"}
NUMBERS |= {"samples": "samples can be 1 to 16", "threshold": "threshold can be 1 to 100"}
FORMS: dict[tuple[str, str], tuple[tuple[str, ...], str]] = {
    ("gb-mod-form:block:3", "for"): (
        ("0", "-1d", "abc", "36500d", "1s", LONG, "<@&{role}>"),
        f"for {PAUSE}",
    ),
    **{
        (name, "reason"): ((LONG, "x" * 301), "reason can have 0 to 300 characters, not")
        for name in (
            "gb-mod-form:block:3",
            "gb-mod-form:report:{job5}:{message5}",
            "gb-mod-form:remove:{job4}:{message4}",
        )
    },
}
SEES_ALL = {"cancel", "words test"}
"""What goes for a channel that the bot no longer sees, too."""
OTHERS: tuple[tuple[str, dict[str, object], str], ...] = (
    ("channels limit", {"channel": "#imagine"}, "Nothing to set"),
    ("channels remove", {"rule": "7"}, "There is no rule for this channel."),
    ("words remove", {"rule": "99"}, "There is no word rule 99 on this server."),
    ("words settings", {}, "Nothing to set"),
    ("block", {"member": "@Mo"}, "You cannot block yourself."),
    ("block", {"member": "@Gridbrush"}, "A bot requests nothing"),
    ("unblock", {"member": "@Ben"}, "This member is not blocked."),
    ("cancel", {}, "one of the three"),
    ("cancel", {"member": "@Ada", "all": True}, "one of the three"),
    ("remove", {"message": "zzzzzzzz"}, "There is no job zzzzzzzz"),
    ("gallery", {"channel": "#ideas"}, "channel: a forum has only threads"),
    ("gallery", {"threshold": 3}, "channel: name the gallery channel, too."),
    ("log", {"channel": "#quiet"}, "I need Send Messages, Embed Links, Attach Files in \\#quiet"),
)


def options(bot: Bot, *kinds: OptionType) -> Iterator[tuple[str, str]]:
    """The subcommands of ``/art-admin`` with their options of these types, without choices."""
    (group,) = (one for one in load_commands(bot.context) if one.name == "art-admin")
    for one in group.walk_commands():  # type: ignore[union-attr]
        for parameter in getattr(one, "parameters", ()):
            if parameter.type in kinds and not parameter.choices:
                yield one.qualified_name.removeprefix("art-admin "), parameter.display_name


def with_value(name: str, option: str, value: object) -> Use:
    """The row of a subcommand with one option changed."""
    found = next(use for use in USES if use.name in (f"art-admin {name}", name))
    extra = {"match": "anywhere"} if option == "pattern" else {}
    return replace(found, given={**found.given, option: value, **extra})


def bad_values(bot: Bot) -> Iterator[tuple[Use, str]]:
    for table in (TEXTS, FORMS):
        for (name, option), (values, complaint) in table.items():
            yield from ((with_value(name, option, value), complaint) for value in values)
    for name, option in options(bot, OptionType.integer):
        for value in (0, -1, 10**9, 2**53 - 1):
            yield with_value(name, option, value), NUMBERS[option]
    for name, option in options(bot, OptionType.channel):
        if name not in SEES_ALL:
            complaint = r"channel: I need View Channel.* in \\#cellar"
            yield with_value(name, option, "#cellar"), complaint
    for name, given, complaint in OTHERS:
        yield Use("command", f"art-admin {name}", given), re.escape(complaint)


async def test_bad_values_are_answered_privately_and_change_nothing(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(options(bot, OptionType.string)) == TEXTS.keys()
    # Discord's client sends less, another may not.
    monkeypatch.setattr(command_options, "MAX_OPTION_CHARS", 20_000)
    ids = await staged(bot)
    world = bot.playground.world
    ids["role"] = str(next(role.id for role in world.roles.values() if role.name == "Moderators"))
    world.add_channel("cellar")
    world.add_deny_overwrite("cellar", "VIEW_CHANNEL")
    world.add_channel("ideas", kind=15)
    world.add_channel("quiet")
    world.add_deny_overwrite("quiet", "SEND_MESSAGES", "ATTACH_FILES")
    await becomes(lambda: lacks(bot, "quiet", "send_messages"))
    before = await snapshot(bot)
    for use, complaint in bad_values(bot):
        bot.clock.pass_time(seconds=1)
        used = await begin(bot, use, "Mo", ids)
        text = await bot.playground.until(lambda _, used=used: private(used))  # type: ignore[misc]
        assert re.search(complaint, text), (
            use.name,
            {k: str(v)[:40] for k, v in use.given.items()},
            text,
        )
    assert await snapshot(bot) == before


async def test_whatever_is_typed_something_or_nothing_is_suggested(bot: Bot) -> None:
    await staged(bot)
    (group,) = (one for one in load_commands(bot.context) if one.name == "art-admin")
    found: list[Any] = [
        (one.qualified_name, parameter.display_name)
        for one in group.walk_commands()  # type: ignore[union-attr]
        for parameter in getattr(one, "parameters", ())
        if parameter.autocomplete
    ]
    assert len(found) >= 6
    for name, option in found:
        assert await bot.member("Mo").autocomplete("imagine", name, option), name
        for typed in ("[", "%", "*", "x" * 6000, "\0", "<@&1>"):
            bot.clock.pass_time(seconds=1)
            assert await bot.member("Mo").autocomplete("imagine", name, option, typed) == [], name


async def test_a_role_is_no_member(bot: Bot) -> None:
    for name in ("block", "unblock", "cancel"):
        with pytest.raises(ClientError, match="does not exist"):
            await begin(bot, with_value(name, "member", "&Moderators"), "Mo", {})
