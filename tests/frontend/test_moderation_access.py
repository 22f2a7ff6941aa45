"""Every way to reach the moderation: by a member, for another server, by two at once.

The rows are those of ``moderation_uses``; a subcommand, button, form or action without one fails.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest
from discord import app_commands

from bot.frontend.client import load_commands, load_dynamic_items, load_form_handlers
from bot.frontend.commands.moderation_actions import _FORMS, handle_moderation_form
from bot.frontend.component_handlers import DYNAMIC_ITEMS
from bot.playground.client.command_options import ClientError
from bot.playground.client.driver import Invocation
from bot.playground.server import Playground
from bot.settings import Settings
from bot.store.database import Query
from tests.frontend.application import Bot, running, said
from tests.frontend.harness import turns
from tests.frontend.moderation_uses import (
    MEMBERS_ACTIONS,
    MEMBERS_FORMS,
    MEMBERS_ITEMS,
    ONLY_MODERATORS,
    PANEL,
    USES,
    Use,
    begin,
    private,
    staged,
)
from tests.playground.clock import Clock

OTHER_SERVER = 4_000_000_000_000_000_000
MOVED = (
    *("jobs", "word_rules", "blocks", "channel_rules", "holds", "reports", "quota_rules"),
    *("log_messages", "ledger", "audit"),
)
BESIDE = ("export", "drained")
"""What the audit has of reading it, and of what the moderators have waited for."""
Tables = dict[str, list[tuple[object, ...]]]


@pytest.fixture
async def bot(
    playground: Playground, settings: Settings, clock: Clock, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[Bot]:
    """The bot as it is run; nothing that is used may break it."""
    async with running(playground, settings, clock) as started:
        yield started
    assert "Traceback" not in caplog.text


def commands(bot: Bot) -> Iterator[tuple[str, Any]]:
    """The name of every subcommand and action, and its root."""
    for root in load_commands(bot.context):
        if isinstance(root, app_commands.Group):
            leaves = (one for one in root.walk_commands() if not hasattr(one, "commands"))
            yield from ((one.qualified_name, root) for one in leaves)
        else:
            yield root.qualified_name, root


def names(kind: str) -> list[str]:
    return [use.name for use in USES if use.kind == kind]


async def test_nothing_is_left_out(bot: Bot) -> None:
    found = list(commands(bot))
    actions = {name for name, root in found if isinstance(root, app_commands.ContextMenu)}
    groups = {name for name, root in found if root.default_permissions is not None} - actions
    assert actions - MEMBERS_ACTIONS == set(names("menu"))
    assert groups == set(names("command"))
    assert set(load_form_handlers()) - MEMBERS_FORMS == {handle_moderation_form}
    assert {name.split(":")[1] for name in names("form")} == _FORMS.keys()
    with pytest.raises(ClientError, match="permission"):  # Discord does not even show them
        await bot.member("Ada").slash("imagine", "art-admin status")


def test_no_component_is_left_out() -> None:
    pressed = [re.sub(r"\{(held|job)\d\}", "a" * 16, name) for name in names("button")]
    pressed = [re.sub(r"\{\w+\}", "1", name) for name in pressed]
    items: tuple[Any, ...] = (*DYNAMIC_ITEMS, *load_dynamic_items())
    for item in items:
        template = item.__discord_ui_compiled_template__
        if template.pattern.startswith(MEMBERS_ITEMS):
            continue
        matches = [found for name in pressed if (found := template.fullmatch(name))]
        assert matches, f"{template.pattern} has no row"
        tried = {part for match in matches for part in match.groups()}
        for choice in re.findall(r"\((?:\?P<\w+>)?([a-z]+(?:\|[a-z]+)+)\)", template.pattern):
            assert set(choice.split("|")) <= tried, template.pattern


async def snapshot(bot: Bot) -> Tables:
    """Every row of the store, once the bot has nothing left to post."""
    guild = bot.playground.world.guild_id
    async for _ in turns():
        if not (await bot.context.moderation.status(guild)).unposted:
            break
    sql = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
    tables = await read(bot, sql)
    return {str(name): await read(bot, f"SELECT * FROM {name}") for (name,) in tables}


async def read(bot: Bot, sql: str) -> list[tuple[object, ...]]:
    return await bot.engine.database.read(Query(sql, (), lambda rows: [tuple(one) for one in rows]))


async def reply(bot: Bot, used: Invocation) -> str:
    """What is read of it: privately, or on the message whose component was used."""

    def found(_: object) -> str | None:
        if used.callback in (6, 7) and used.response and said(used.response) != PANEL:
            return said(used.response)
        return private(used)

    return await bot.playground.until(found)


async def test_a_member_is_refused_privately_and_changes_nothing(bot: Bot) -> None:
    ids = await staged(bot)
    before = await snapshot(bot)
    for use in USES:
        if use.members:
            continue
        bot.clock.pass_time(seconds=1)
        used = await begin(bot, use, "Ben", ids)
        assert ONLY_MODERATORS in await reply(bot, used), use.name
    for name, option in suggesting(bot):
        bot.clock.pass_time(seconds=1)
        assert await bot.member("Ben").autocomplete("welcome", name, option) == [], name
    assert await snapshot(bot) == before


def suggesting(bot: Bot) -> Iterator[tuple[str, str]]:
    """Every option of the moderators that suggests values."""
    for root in load_commands(bot.context):
        if root.default_permissions is None or not isinstance(root, app_commands.Group):
            continue
        for one in root.walk_commands():
            for parameter in getattr(one, "parameters", ()):
                if parameter.autocomplete:
                    yield one.qualified_name, parameter.display_name


async def test_what_belongs_to_another_server_is_not_found(bot: Bot) -> None:
    """Everything that the rows name is another server's, and a moderator of this one names it."""
    ids = await staged(bot)
    await snapshot(bot)

    def move(link: sqlite3.Connection) -> None:
        for trigger in ("ledger_keeps_entries", "audit_keeps_entries"):
            link.execute(f"DROP TRIGGER {trigger}")
        for table in MOVED:
            link.execute(f"UPDATE {table} SET guild_id = ?", (OTHER_SERVER,))
        link.execute("UPDATE jobs SET request = replace(request, ?, ?)", (here, str(OTHER_SERVER)))
        link.execute("DELETE FROM guild_settings WHERE key <> 'log_channel'")

    here = str(bot.playground.world.guild_id)
    await bot.engine.database.write(move)
    bot.engine.queue.word_rules.clear(int(here))
    before = await snapshot(bot)
    for use in USES:
        bot.clock.pass_time(seconds=1)
        used = await begin(bot, use, "Mo", ids)
        text = await reply(bot, used)
        after = await snapshot(bot)
        assert theirs(after) == theirs(before), use.name
        if use.elsewhere:
            assert re.search(use.elsewhere, text), (use.name, text)
            assert after == before, use.name
        elif not use.action:
            secrets = ("wolf 1", "heron 1", "spam", *(ids[f"job{one}"][:8] for one in range(1, 6)))
            assert [secret for secret in secrets if secret in text] == [], use.name
        before = after


def theirs(tables: Mapping[str, list[tuple[object, ...]]]) -> Tables:
    """The rows of the other server, and its jobs."""
    return {
        name: [row for row in rows if OTHER_SERVER in row]
        for name, rows in tables.items()
        if name in MOVED
    }


async def test_of_two_moderators_at_once_one_acts(bot: Bot) -> None:
    ids = await staged(bot)
    for use in USES:
        if use.name.startswith("quota-admin"):
            continue  # two grants are two grants
        bot.clock.pass_time(seconds=1)
        before = await audit(bot)
        both = [await begin(bot, use, who, ids) for who in whom(use)]
        texts = await replies(bot, both)
        after = [one for one in (await audit(bot))[len(before) :] if one not in BESIDE]
        assert after == ([use.action] if use.action else []), (use.name, texts)
        if use.late:
            late = [text for text in texts if re.search(use.late, text)]
            assert len(late) == (1 if use.action or use.members else 2), (use.name, texts)
    guild = bot.playground.world.guild_id
    await snapshot(bot)
    assert (await bot.context.moderation.status(guild)).unposted == 0
    entries = bot.playground.world.messages_in("mod-log")
    marks = [embed["footer"]["text"] for one in entries for embed in one.embeds]
    assert len(set(marks)) == len(entries)


def whom(use: Use) -> tuple[str, str]:
    """Two moderators; a form of members is handed in twice by the same one."""
    return ("Ben", "Ben") if use.members else ("Mo", "Keeper")


async def audit(bot: Bot) -> list[str]:
    sql = "SELECT action FROM audit WHERE action <> 'refused' ORDER BY id"
    return [str(action) for (action,) in await read(bot, sql)]


async def replies(bot: Bot, both: list[Invocation]) -> list[str]:
    """What both have read; what was pressed by both shows the answer to one, or to both."""

    def found(_: object) -> list[str] | None:
        texts = [text for one in both if (text := private(one))]
        shown = both[0].response
        if all(one.callback in (6, 7) for one in both) and shown and said(shown) != PANEL:
            pages = all(one.callback == 7 for one in both)
            texts = [said(shown)] * 2 if pages else [*texts, said(shown)]
        return texts if len(texts) == 2 else None

    return await bot.playground.until(found)
