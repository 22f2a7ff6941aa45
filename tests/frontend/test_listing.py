"""Every list that is longer than a message has a way on, which works after a restart too."""

from __future__ import annotations

import sqlite3
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.quota import QuotaRule
from bot.domain.text import utf16_length
from bot.frontend.listing import Listing, Section, build_page, split_pages
from bot.frontend.message_content import MAX_DESCRIPTION, MAX_EMBED, MAX_FIELD_VALUE
from bot.playground.server import Playground
from bot.playground.state.models import Message
from bot.settings import Settings
from bot.store import guilds
from tests.frontend.application import Bot, running, said
from tests.playground.clock import Clock

STYLES = {f"style-{number:03}": f"look {number} " + "of many words " * 9 for number in range(90)}


async def read_through(bot: Bot, answer: Message, who: str) -> str:
    """What all the pages say together, turning from the first to the last."""
    text = said(answer)
    for number in range(2, 40):
        if not any(one.get("label") == "Next" for one in answer.controls()):
            assert number > 2, "there is only one page"
            return text
        await bot.member(who).press(answer, "Next")
        wanted = f"Page {number} of"

        def turned(_: object, wanted: str = wanted) -> bool:
            return wanted in str(answer.embeds)

        await bot.playground.until(turned)
        assert "more" not in said(answer).split("\n")[-1]
        text += said(answer)
    raise AssertionError("it never ends")


@pytest.fixture
def many_styles(settings: Settings) -> Settings:
    imagine = settings.imagine.model_copy(update={"styles": STYLES})
    queue = settings.queue.model_copy(update={"waiting_per_user": 60})
    quota = settings.quota.model_copy(update={"images": 5000})
    return settings.model_copy(update={"imagine": imagine, "queue": queue, "quota": quota})


async def test_all_styles_can_be_read_and_turned_after_a_restart(
    playground: Playground, many_styles: Settings, clock: Clock
) -> None:
    async with running(playground, many_styles, clock) as bot:
        answer = await bot.ask("styles")
        assert answer.ephemeral
    async with running(playground, many_styles, clock) as bot:
        text = await read_through(bot, answer, "Ada")
        assert all(name.replace("-", "\\-") in text for name in STYLES)
        assert any(one.get("label") == "Previous" for one in answer.controls())


async def test_the_whole_line_can_be_read(
    playground: Playground, many_styles: Settings, clock: Clock
) -> None:
    async with running(playground, many_styles, clock) as bot:
        jobs = [await bot.imagine(f"fox {number} {'long ' * 20}") for number in range(30)]
        text = await read_through(bot, await bot.ask("queue"), "Ada")
        assert all(f"`{job.id[:8]}`" in text for job in jobs)
        assert "should start <t:" not in text
        everything = await bot.ask("cancel", what="all")

        def ended(_: object) -> bool:
            words = "".join(one.content for one in bot.playground.world.messages.values())
            return all(f"`{job.id[:8]}`" in words for job in jobs)

        await bot.playground.until(ended)
        assert everything.ephemeral


async def test_the_lists_of_moderators_and_accounts_can_be_read(bot: Bot) -> None:
    guild_id = bot.playground.world.guild_id

    def fill(link: sqlite3.Connection) -> None:
        for number in range(120):
            rule = QuotaRule("role", 10_000 + number, images=number, window=timedelta(hours=1))
            guilds.set_rule(link, guild_id, rule)

    await bot.engine.database.write(fill)
    for number in range(40):
        bot.clock.pass_time(seconds=1)
        await bot.ask(
            "quota-admin grant",
            who="Mo",
            member=bot.member("Ada"),
            images=number + 1,
            expires="7d",
            reason="x" * 90,
        )
    rules = await read_through(bot, await bot.ask("quota-admin list", who="Mo"), "Mo")
    assert all(f"<@&{10_000 + number}>" in rules for number in range(120))
    history = await bot.ask("quota-admin history", who="Mo", member=bot.member("Ada"))
    text = await read_through(bot, history, "Mo")
    assert all(f"+{number + 1} granted" in text for number in range(40))
    account = await bot.ask("quota-admin show", who="Mo", member=bot.member("Ada"))
    text = await read_through(bot, account, "Mo")
    assert all(f"{number} images, until" in text for number in range(2, 41))
    own = await read_through(bot, await bot.ask("quota", who="Ada"), "Ada")
    assert all(f"{number} images, until" in own for number in range(2, 41))


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.text(st.sampled_from("a🦆 \n"), max_size=1500), max_size=60),
    st.lists(st.text(min_size=1, max_size=300), max_size=60),
    st.integers(-3, 99),
)
def test_every_line_is_on_exactly_one_page_and_every_page_fits(
    top: list[str], field: list[str], number: int
) -> None:
    for lines, most in ((top, MAX_DESCRIPTION), (field, MAX_FIELD_VALUE)):
        pages = split_pages([line[:100] for line in lines], most)
        assert [line for page in pages for line in page] == [line[:100] for line in lines]
    listing = Listing("T", (Section("", top), Section("F", field)), "head")
    status = build_page(listing, "name", "about-7", number)
    assert utf16_length(status.description) <= MAX_DESCRIPTION
    assert all(utf16_length(part.value) <= MAX_FIELD_VALUE for part in status.fields)
    assert status.length <= MAX_EMBED
