"""/art-admin on the loopback Discord: each command by a moderator, a member, and twice at once."""

from __future__ import annotations

from tests.frontend.application import Bot, said

MODERATOR = "Mo"


async def admin(bot: Bot, command: str, who: str = MODERATOR, **options: object) -> str:
    """Use a subcommand and return what it says; the answer is always private."""
    bot.clock.pass_time(seconds=1)
    asked = await bot.member(who).slash("imagine", f"art-admin {command}", **options)
    answer = await asked.answered()
    assert answer.ephemeral
    return said(answer)


def named(bot: Bot, value: object) -> object:
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


async def test_trial(bot: Bot) -> None:
    print(await admin(bot, "status"))
    print(await admin(bot, "pause", reason="maintenance", until="2h"))
    asked = await bot.ask("imagine", prompt="a fox")
    print(said(asked))
    print(said(await bot.ask("queue")))
    print(await admin(bot, "resume"))
    print(await admin(bot, "drain"))
    print(said(await bot.ask("imagine", prompt="a fox")))
    print(await admin(bot, "resume"))
    print(
        await admin(bot, "channels limit", channel=named(bot, "#imagine"), running=3, between="5m")
    )
    print(said(await bot.ask("imagine", prompt="a fox")))
    print(await admin(bot, "channels list"))
    print(await bot.member("Mo").autocomplete("imagine", "art-admin channels remove", "rule"))
    print(await admin(bot, "words add", pattern="fox"))
    print(await admin(bot, "words add", pattern="nude", adult=True))
    print(await admin(bot, "words list"))
    print(await admin(bot, "words test", text="a red f0x, nude"))
    print(await bot.member("Mo").autocomplete("imagine", "art-admin words remove", "rule", "n"))
    print(await admin(bot, "words remove", rule="naked"))
    print(await admin(bot, "words add", pattern="naked", adult=True))
    print(await admin(bot, "block", member=named(bot, "@Ada"), reason="spam", **{"for": "7d"}))
    print(said(await bot.ask("imagine", prompt="an owl")))
    print(await admin(bot, "blocks"))
    print(await admin(bot, "unblock", member=named(bot, "@Ada")))
    print(await admin(bot, "cancel", all=True))
    print(await admin(bot, "log", channel=named(bot, "#random")))
    print(await admin(bot, "models allow", model="sd-2-1", role=named(bot, "&Moderators")))
    print(await admin(bot, "models list"))
    print(await admin(bot, "export"))
    print(await admin(bot, "status"))
