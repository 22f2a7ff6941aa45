"""Every way to reach the moderation: subcommands, buttons, forms, message and member actions.

Each is a row of ``USES``. ``test_moderation_access`` compares them with what the bot registers, so
that a new one without a row fails, and tries each as a member, from another server, and twice at
once. ``staged`` makes what the rows name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bot.domain.job import Job
from bot.domain.moderation import ChannelRule
from bot.frontend.commands.image_prompt import handle_form as handle_picture_form
from bot.frontend.commands.imagine import handle_prompt_form
from bot.frontend.component_handlers import DYNAMIC_ITEMS
from bot.playground.client.driver import Invocation
from bot.playground.state.models import COMPONENT, MODAL_SUBMIT, Json, Message
from bot.services.queue import Actor
from bot.services.quotas import QuotaRuleChange, QuotaSubject
from tests.frontend.application import Bot, said

PANEL = "panel"
"""The text of the message on which components are used."""
ONLY_MODERATORS = "Only moderators of this server"
NOTHING_THERE = "no longer stored"
NOT_A_RESULT = "works only on results"
MEMBERS_ITEMS = (
    # What members press on lists and prompts of their own.
    *("gb-history:", "gb-favourites:", "gb-privacy:", "gb\\-prompt:", "gb-set:"),
    *(f"gb-page:{name}:" for name in ("models", "queue", "quota", "styles")),
    # The buttons of job messages: test_component_access.
    DYNAMIC_ITEMS[0].__discord_ui_compiled_template__.pattern,
)
"""How the templates of components begin that are no moderation."""
MEMBERS_ACTIONS = {"Use as image prompt"}
MEMBERS_FORMS = {handle_prompt_form, handle_picture_form}


@dataclass(frozen=True)
class Use:
    """One way. ``{names}`` are those of the stage; ``@``, ``#`` and ``&`` name a member and so on.

    ``action`` is what the audit says of it; without one it changes nothing, or only asks.
    ``late`` is what the second of two moderators reads. ``elsewhere`` is what a moderator of
    another server reads; without it nothing of a server is named.
    """

    kind: Literal["command", "button", "form", "menu"]
    name: str
    given: Mapping[str, object] = field(default_factory=dict)
    action: str = ""
    late: str = ""
    elsewhere: str = ""
    members: bool = False


def command(name: str, action: str = "", late: str = "", elsewhere: str = "", **given: Any) -> Use:
    return Use("command", name, given, action, late, elsewhere)


def button(
    name: str, action: str = "", late: str = "", elsewhere: str = "", value: str = ""
) -> Use:
    return Use("button", name, {"value": value} if value else {}, action, late, elsewhere)


# In this order each can be done once: what one ends, an earlier one or the stage has begun.
USES: tuple[Use, ...] = (
    command("art-admin status"),
    command("art-admin resume", "resume", "Nothing is paused", "Nothing is paused"),
    command("art-admin pause", "pause", "already", reason="tea", until="2h", requests="refuse"),
    command("art-admin drain", "drain", "already", reason="update"),
    command("art-admin channels remove", "channel-remove", "no rule", "no rule", rule="{random}"),
    command("art-admin channels allow", "channel-set", "already", channel="#imagine", rows=4),
    command("art-admin channels deny", "channel-set", "already", channel="#random"),
    command("art-admin channels limit", "channel-set", "already", channel="#gallery", running=1),
    command("art-admin channels list"),
    command(
        "art-admin words remove", "word-remove", "There is no word rule", "no word rule", rule="1"
    ),
    command("art-admin words add", "word-add", "exists already", pattern="bear"),
    command("art-admin words list"),
    command("art-admin words test", text="a wolf"),
    command("art-admin words settings", "setting", "already", show_word=True),
    command("art-admin unblock", "unblock", "not blocked", "not blocked", member="@Cy"),
    command("art-admin block", "block", "already", member="@Cy", **{"for": "7d"}, reason="insults"),
    command("art-admin blocks"),
    command("art-admin holds"),
    command(
        *("art-admin decide", "approve", "already approved by <@", "choose one"),
        request="{held1}",
        decision="approve",
    ),
    command("art-admin cancel", elsewhere="nothing to cancel", member="@Ada"),
    command("art-admin log", "setting", "already", channel="#random"),
    command(
        *("art-admin models remove", "setting", "has no rule", "has no rule"),
        model="wd-1-4",
        role="&Moderators",
    ),
    command("art-admin models allow", "setting", "already", model="sd-2-1", role="&Moderators"),
    command("art-admin models list"),
    command("art-admin reports"),
    command(
        *("art-admin remove", "removed", "already removed", "There is no"),
        message="{job1}",
        reason="rule 3",
    ),
    command("art-admin gallery", "setting", "already", channel="#gallery", threshold=2),
    Use(
        *("command", "art-admin image-check", {"action": "block"}),
        *("", "has not set up", "has not set up"),
    ),
    command("art-admin export"),
    *(
        button(f"gb-page:mod-{name}::1")
        for name in ("status", "channels", "blocks", "holds", "models", "words")
    ),
    button("gb-page:quota-account:{Ada}:1"),
    button("gb-page:quota-history:user-{Ada}:1"),
    button("gb-page:quota-rules::1"),
    button("gb-page:member-requests:{Ada}:1"),
    button("gb-mod:show", elsewhere=NOTHING_THERE, value="report:1"),
    button("gb-mod:show", elsewhere=NOTHING_THERE, value="hold:words:{held2}"),
    button("gb-mod:block:3", elsewhere=NOTHING_THERE),
    Use(
        *("form", "gb-mod-form:block:3", {"for": "2h", "reason": "rude"}),
        *("block", "already blocked by <@", NOTHING_THERE),
    ),
    button("gb-mod:remove:1", "report-removed", "already removed by <@", NOTHING_THERE),
    button("gb-mod:refund:2", "report-refunded", "already removed and refunded", NOTHING_THERE),
    button("gb-mod:dismiss:3", "report-dismissed", "already dismissed by <@", NOTHING_THERE),
    button("gb-mod:approve:words:{held2}", "approve", "already approved by", "nothing to decide"),
    button("gb-mod:reject:words:{held3}", "reject", "already rejected by", "nothing to decide"),
    button("gb-mod:approve:image:{held2}", "", "nothing to decide", "nothing to decide"),
    Use("menu", "Report to moderators", {"message": "{message5}"}, "", "", NOT_A_RESULT, True),
    Use(
        *("form", "gb-mod-form:report:{job5}:{message5}", {"reason": "not mine"}),
        *("", "already reported", NOT_A_RESULT),
        members=True,
    ),
    Use("menu", "Remove this result", {"message": "{message5}"}, "", "", NOT_A_RESULT),
    Use(
        *("form", "gb-mod-form:remove:{job4}:{message4}", {"reason": "rule 3"}),
        *("removed", "already removed", NOT_A_RESULT),
    ),
    *(
        button(f"gb-cancel:{scope}", "cancel", "somebody was first|nothing to", "nothing to cancel")
        for scope in ("user:{Keeper}", "channel:{random}", "server:0")
    ),
    Use("menu", "Quota of this member", {"member": "@Ada"}),
    Use("menu", "Requests of this member", {"member": "@Ada"}),
    command("quota-admin show", member="@Ada"),
    command("quota-admin set", "quota-set", member="@Ada", images=7),
    command("quota-admin grant", "quota-grant", member="@Ada", images=7),
    command("quota-admin reset", "quota-reset", member="@Ada"),
    command("quota-admin history", member="@Ada"),
    command("quota-admin list"),
)


async def staged(bot: Bot) -> dict[str, str]:
    """Make what the rows name, and return the ids by name."""
    world = bot.playground.world
    world.add_member("cy", "Cy")
    for registered in world.commands.all():
        # As a server owner's overrides could let anybody.
        registered["default_member_permissions"] = None
    guild, moderation = world.guild_id, bot.context.moderation
    keeper = Actor(bot.member("Keeper").id, "Keeper", moderator=True, manager=True)
    await moderation.set_setting(guild, "log_channel", world.channel("mod-log").id, by=keeper)
    ids = {name: str(bot.member(name).id) for name in ("Ada", "Cy", "Keeper")}
    ids |= {name: str(world.channel(name).id) for name in ("imagine", "random")}
    welcome = bot.client.get_partial_messageable(world.channel("welcome").id)
    ids["panel"] = str((await welcome.send(PANEL)).id)
    bot.dispatch()
    for number in range(1, 6):
        bot.clock.pass_time(seconds=60)
        job = await bot.imagine(f"a heron {number}")
        message = await bot.finished(job)
        ids |= {f"job{number}": job.id, f"message{number}": str(message.id)}
        if number in (2, 3, 4):
            await report(bot, job, message)
    bot.engine.scheduler.drain()
    await moderation.add_word(
        guild, "wolf", whole_word=True, channel_id=None, effect="hold", adult=False, by=keeper
    )
    for number in range(1, 4):
        ids[f"held{number}"] = (await bot.imagine(f"a wolf {number}", "Ben")).id
    await bot.imagine("a waiting heron", "Keeper")
    await bot.imagine("an owl", "Mo", "random")
    await moderation.set_channel(guild, ChannelRule(int(ids["random"]), max_rows=4), by=keeper)
    await moderation.block(guild, int(ids["Cy"]), lasts=None, reason="spam", by=keeper)
    await moderation.change_setting(
        guild,
        "model_roles",
        lambda _: {"wd-1-4": [named(bot, "&Moderators").id]},
        by=keeper,
    )
    member = QuotaSubject("member", int(ids["Ada"]))
    await bot.context.quotas.set_rule(guild, member, QuotaRuleChange(images=50), by=keeper)
    await moderation.pause(guild, reason="later", lasts=None, refuses=False, by=keeper)
    return ids


async def report(bot: Bot, job: Job, message: Message, who: str = "Ben") -> None:
    """Report a result, as its form does."""
    found = await bot.engine.queue.jobs.get(job.id)
    assert found is not None
    assert found.result is not None
    await bot.context.reports.report(
        bot.playground.world.guild_id,
        found,
        found.result,
        url=f"https://discord.com/channels/1/2/{message.id}",
        reason="a real person",
        by=Actor(bot.member(who).id, who),
    )


def named(bot: Bot, value: object) -> Any:
    """Resolve ``@Ada``, ``#imagine`` and ``&Moderators`` of a table."""
    world = bot.playground.world
    match value:
        case str() if value.startswith("@"):
            return bot.member(value[1:])
        case str() if value.startswith("#"):
            return world.channel(value)
        case str() if value.startswith("&"):
            return next(role for role in world.roles.values() if role.name == value[1:])
    return value


async def begin(bot: Bot, use: Use, who: str, ids: Mapping[str, str]) -> Invocation:
    """Use it, without waiting for an answer."""
    given = {
        key: named(bot, value.format(**ids) if isinstance(value, str) else value)
        for key, value in use.given.items()
    }
    member, name = bot.member(who), use.name.format(**ids)
    match use.kind:
        case "command":
            return await member.slash("welcome", name, **given)
        case "menu" if "message" in given:
            return await member.message_command(name, int(given["message"]))
        case "menu":
            return await member.user_command(name, "welcome", given["member"].user)
        case "button":
            panel = bot.playground.world.message(int(ids["panel"]))
            return press(bot, panel, name, who, given.get("value", ""))
        case "form":
            return submit(bot, name, who, given)


def press(bot: Bot, panel: Message, custom_id: str, who: str, value: str) -> Invocation:
    """Press a button, or choose ``value``, on a message that has nothing else."""
    world, member = bot.playground.world, bot.member(who)
    control: Json = {"type": 2, "id": 2, "style": 2, "label": "x", "custom_id": custom_id}
    data: Json = {"custom_id": custom_id, "component_type": 2, "id": 2}
    if value:
        option = {"label": "x", "value": value}
        control = {"type": 3, "id": 2, "custom_id": custom_id, "options": [option]}
        data |= {"component_type": 3, "values": [value]}
    panel.content, panel.embeds = PANEL, []
    panel.components = [{"type": 1, "id": 1, "components": [control]}]
    place = world.channel(panel.channel_id)
    return member._invocation(
        world.interactions.open(COMPONENT, member.user, place, data, message=panel)
    )


def submit(bot: Bot, custom_id: str, who: str, fields: Mapping[str, object]) -> Invocation:
    """Submit a form that was opened on the message ``custom_id`` names."""
    world, member = bot.playground.world, bot.member(who)
    inputs = [
        {"type": 18, "id": 2 * number, "component": {"type": 4, "id": 2 * number + 1}}
        for number in range(len(fields))
    ]
    for one, (key, value) in zip(inputs, fields.items(), strict=True):
        one["component"] |= {"custom_id": key, "value": value}  # type: ignore[operator]
    data: Json = {"custom_id": custom_id, "components": inputs}
    place = world.channel("imagine")
    return member._invocation(world.interactions.open(MODAL_SUBMIT, member.user, place, data))


def private(used: Invocation) -> str | None:
    """What its user alone reads of it, or the title of the form that it has opened."""
    if used.modal is not None:
        return str(used.modal["title"])
    shown = [used.response if used.callback in (4, 5) else None, *used.followups]
    return next((said(one) for one in shown if one and one.ephemeral and not one.loading), None)
