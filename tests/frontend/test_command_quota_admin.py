"""Moderators set quotas in Discord; everybody else is refused, whatever Discord let through."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bot.domain.events import Scheduled
from bot.playground.client.command_options import ClientError
from bot.playground.server import Playground
from bot.playground.state import permissions
from bot.playground.state.commands import CHAT_INPUT
from bot.playground.state.models import COMMAND, Json, Message, Role
from bot.settings import Settings
from tests.frontend.application import Bot, running, said
from tests.playground.clock import Clock


def role_of(playground: Playground, name: str = "Moderators") -> Role:
    return next(role for role in playground.world.roles.values() if role.name == name)


async def slip_past_discord(bot: Bot, who: str, words: list[Json]) -> Message:
    """Use the command as a server owner's overrides, or a forged client, could let anybody."""
    world = bot.playground.world
    place = world.channel("imagine")
    command = world.client.command("quota-admin", CHAT_INPUT, place)
    data = {"id": command["id"], "name": "quota-admin", "type": 1, "options": words}
    interaction = world.interactions.open(COMMAND, world.user(who), place, data)

    def answered(_: object) -> Message | None:
        return world.messages.get(interaction.original_id or 0)

    return await bot.playground.until(answered)


@pytest.mark.parametrize(
    "words",
    [
        [{"name": "show", "type": 1, "options": []}],
        [{"name": "list", "type": 1, "options": []}],
        [{"name": "history", "type": 1, "options": []}],
        [{"name": "set", "type": 1, "options": [{"name": "images", "type": 4, "value": 9}]}],
    ],
)
async def test_whoever_is_no_moderator_is_refused_in_code(bot: Bot, words: list[Json]) -> None:
    answer = await slip_past_discord(bot, "Ada", words)
    assert answer.ephemeral
    assert "Only moderators of this server" in answer.content
    guild = bot.playground.world.guild_id
    assert await bot.context.quotas.rules(guild) == ()
    assert await bot.context.quotas.changes(guild) == ()


async def test_discord_does_not_even_offer_it_to_members(bot: Bot) -> None:
    with pytest.raises(ClientError, match="permission"):
        await bot.member("Ada").slash("imagine", "quota-admin list")


async def test_a_configured_role_makes_a_moderator(
    playground: Playground, settings: Settings, clock: Clock
) -> None:
    world = playground.world
    trusted = world.add_role("Trusted", permissions.MEMBER)
    world.members[world.user("Ben").id].roles.append(trusted.id)
    discord = settings.discord.model_copy(update={"moderator_role": trusted.id})
    async with running(playground, settings.model_copy(update={"discord": discord}), clock) as bot:
        words: list[Json] = [{"name": "list", "type": 1, "options": []}]
        assert "Quota rules" in said(await slip_past_discord(bot, "Ben", words))
        refused = await slip_past_discord(bot, "Ada", words)
        assert f"or the role <@&{trusted.id}>" in refused.content


async def test_a_rule_for_the_server_a_role_and_a_member_counts_at_once(bot: Bot) -> None:
    ada = bot.member("Ada")
    mods = role_of(bot.playground)
    rules: tuple[dict[str, Any], ...] = (
        {"images": 50, "window": "24h"},
        {"role": mods, "images": 70, "running": 3},
        {"member": ada, "images": 12, "waiting": 2},
    )
    for options in rules:
        answer = await bot.ask("quota-admin set", who="Mo", **options)
        assert answer.ephemeral
        assert "Set." in answer.content
    mine = said(await bot.ask("quota", who="Ada"))
    assert "**12 left**: 0 of 12 images used in the last 24h." in mine
    assert "In the queue: 0 of 2" in mine
    theirs = said(await bot.ask("quota", who="Mo"))
    assert "**70 left**" in theirs
    assert "Running: 0 of 3" in theirs
    listed = said(await bot.ask("quota-admin list", who="Mo"))
    server = "This server: 50 images, in any 24h"
    assert f"{server}\n<@&{mods.id}>: 70 images, 3 running at once" in listed
    assert f"<@{ada.id}>: 12 images, 2 in the queue" in listed


async def test_a_rule_is_shown_and_removed(bot: Bot) -> None:
    mods = role_of(bot.playground)
    await bot.ask("quota-admin set", who="Mo", role=mods, images=7)
    shown = await bot.ask("quota-admin show", who="Mo", role=mods)
    assert f"<@&{mods.id}>: 7 images." in shown.content
    default = "The default of this bot: 120 images in 24h, 1 running at once, 5 in the queue"
    assert default in shown.content
    assert "This server: no rule." in (await bot.ask("quota-admin show", who="Mo")).content
    both = await bot.ask("quota-admin set", who="Mo", role=mods, images=1, remove=True)
    assert "not both" in both.content
    gone = await bot.ask("quota-admin set", who="Mo", role=mods, remove=True)
    assert "Removed. It was" in gone.content
    again = await bot.ask("quota-admin set", who="Mo", role=mods, remove=True)
    assert "There is no such rule" in again.content


async def test_a_grant_a_reset_and_their_record(bot: Bot) -> None:
    ada = bot.member("Ada")
    await bot.imagine("a heron", who="Ada")
    granted = await bot.ask(
        "quota-admin grant",
        who="Mo",
        member=ada,
        images=30,
        expires="7d",
        reason="won the *contest*",
    )
    assert f"Granted to <@{ada.id}>: 30 images, until <t:" in granted.content
    assert "They have 146 left." in granted.content
    assert "30 images, until <t:" in said(await bot.ask("quota", who="Ada"))
    shown = said(await bot.ask("quota-admin show", who="Mo", member=ada))
    assert "Quota of Ada" in shown
    assert "4 of 150 images used" in shown

    bot.clock.pass_time(days=8)
    later = said(await bot.ask("quota-admin show", who="Mo", member=ada))
    assert "**120 left**: 0 of 120 images" in later
    assert "Extra images" not in later

    reset = await bot.ask("quota-admin reset", who="Mo", member=ada, reason="")
    assert "has 120 left" in reset.content
    history = said(await bot.ask("quota-admin history", who="Mo", member=ada))
    assert f"reset by <@{bot.member('Mo').id}>" in history
    assert r"won the \*contest\*" in history
    assert "−4 for `" in history
    everything = said(await bot.ask("quota-admin history", who="Mo"))
    assert f"granted images to <@{ada.id}>" in everything
    balances = said(await bot.ask("quota-admin list", who="Mo"))
    assert f"<@{ada.id}>: 0 generated, 4 reserved, 30 granted" in balances


@pytest.mark.parametrize(
    ("command", "options", "complaint"),
    [
        ("set", {}, "Nothing to set"),
        ("set", {"images": -1}, "images must be a whole number from 0 to 100000"),
        ("set", {"window": "soon"}, "window: 'soon' is not a length of time. Write for example"),
        ("set", {"running": 0}, "To let them make nothing at all, set images to 0"),
        ("grant", {"member": "Ada", "images": 0}, "images must be a whole number from 1"),
        ("grant", {"member": "Ada", "images": 1, "expires": "x"}, "expires: 'x' is not"),
    ],
)
async def test_values_out_of_range_are_refused_with_what_is_allowed(
    bot: Bot, command: str, options: dict[str, Any], complaint: str
) -> None:
    if "member" in options:
        options = options | {"member": bot.member(str(options["member"]))}
    answer = await bot.ask(f"quota-admin {command}", who="Mo", **options)
    assert answer.ephemeral
    assert complaint in answer.content
    assert await bot.context.quotas.rules(bot.playground.world.guild_id) == ()


async def test_member_and_role_together_are_refused(bot: Bot) -> None:
    answer = await bot.ask(
        "quota-admin show", who="Mo", member=bot.member("Ada"), role=role_of(bot.playground)
    )
    assert "not both" in answer.content


async def test_changes_are_told_with_what_was_before(bot: Bot) -> None:
    await bot.ask("quota-admin set", who="Mo", images=50)
    bot.clock.pass_time(seconds=timedelta(minutes=1).total_seconds())
    await bot.ask("quota-admin set", who="Mo", images=60, window="90m")
    told = said(await bot.ask("quota-admin history", who="Mo"))
    assert "set this server: was images 50, is images 60, window 1h30m" in told


async def test_how_many_run_at_once_counts_for_whose_turn_it_is(bot: Bot) -> None:
    first = await bot.imagine("a heron")
    second = await bot.imagine("a swan")
    await bot.engine.lifecycle.apply_event(first, Scheduled())
    before = (await bot.engine.queue.positions())[second.id]
    assert "waits until your running request ends" in before.reason
    await bot.ask("quota-admin set", who="Mo", member=bot.member("Ada"), running=2)
    after = (await bot.engine.queue.positions())[second.id]
    assert after.reason == "next in the queue"


async def test_a_roles_limit_counts_for_whose_turn_it_is(bot: Bot) -> None:
    first = await bot.imagine("a heron", who="Mo")
    second = await bot.imagine("a swan", who="Mo")
    await bot.engine.lifecycle.apply_event(first, Scheduled())
    mods = role_of(bot.playground)
    await bot.ask("quota-admin set", who="Mo", role=mods, running=2)
    assert (await bot.engine.queue.positions())[second.id].reason == "next in the queue"


async def test_what_became_of_images_is_told_line_by_line(bot: Bot) -> None:
    waiting = await bot.imagine("a heron")
    await bot.ask("cancel", what=waiting.id)
    bot.dispatch()
    job = await bot.imagine("a swan")
    await bot.finished(job)
    history = said(await bot.ask("quota-admin history", who="Mo", member=bot.member("Ada")))
    assert f"+4 refunded for `{waiting.id[:8]}`" in history
    assert f"`{job.id[:8]}` generated 4 images" in history
    balances = said(await bot.ask("quota-admin list", who="Mo"))
    assert f"<@{bot.member('Ada').id}>: 4 generated" in balances
