"""/favourites: what a member has starred, shown to them alone; /privacy erases it."""

from __future__ import annotations

from bot.frontend.commands.show import NO_FAVOURITE
from tests.frontend.application import Bot, said
from tests.frontend.test_component_access import click, result_of, said_to
from tests.frontend.test_gallery import STAR, starred
from tests.frontend.test_reports import press


async def test_favourites_are_listed_and_shown_to_the_member_alone(bot: Bot) -> None:
    bot.dispatch()
    assert "You have starred no results on this server." in said(await bot.ask("favourites"))
    _, job = await starred(bot)
    for number in range(8):
        bot.clock.pass_time(seconds=60)
        message, _ = await result_of(bot, f"swan {number}")
        await press(bot, message, STAR, "Ben")
    first = await bot.ask("favourites", who="Ben")
    assert "swan 7" in said(first)
    assert "heron" not in said(first)
    ben = bot.member("Ben")
    older = await (await ben.press(first, "Older")).answered()
    assert said(older).count("images]") == 1
    shown = await (await ben.select(older, "gb-favourites:show", [job.id])).answered()
    await bot.playground.until(lambda _: bool(shown.attachments))
    assert shown.ephemeral
    assert "heron" in said(shown)
    labels = [one.get("label") for one in shown.controls()]
    assert STAR in labels
    assert "Delete" not in labels
    assert await press(bot, shown, STAR, "Ben") == (
        "You took your star back. This result has 0 stars."
    )
    newer = await (await ben.press(older, "Newer")).answered()
    assert "swan 7" in said(newer)
    # What has no star, or was chosen by somebody else, is not shown.
    refused = await click(bot, newer, "gb-favourites:show", who="Ben", value=job.id)
    assert await said_to(bot, refused) == NO_FAVOURITE


async def test_privacy_counts_and_erases_stars(bot: Bot) -> None:
    bot.dispatch()
    await starred(bot)
    ben = bot.member("Ben")
    answer = await bot.ask("privacy", who="Ben")
    assert "1 star that you gave, for `/favourites`." in said(answer)
    asked = await (await ben.press(answer, "Erase my data")).answered()
    assert "1 star that you gave" in said(asked)
    await (await ben.press(asked, "Yes, erase it")).acked()
    await bot.playground.until(lambda _: "Erased" in said(asked))
    assert "You have starred no results" in said(await bot.ask("favourites", who="Ben"))
