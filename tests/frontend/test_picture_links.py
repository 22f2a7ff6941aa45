"""Links to the picture server on results, and results whose pictures were removed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest

from bot.domain.retention import RemovalCause
from bot.playground.server import Playground
from bot.playground.state.models import Message
from bot.settings import Settings
from bot.startup import build_retention
from bot.store import pictures
from tests.frontend.application import Bot, blink, running, said
from tests.playground.clock import Clock


@pytest.fixture
async def bot(playground: Playground, settings: Settings, clock: Clock) -> AsyncIterator[Bot]:
    """A bot with a picture server, which runs what it is asked for."""
    serving = {"pictures": settings.pictures.model_copy(update={"listen": "127.0.0.1:0"})}
    async with running(playground, settings.model_copy(update=serving), clock) as started:
        started.dispatch()
        yield started


def links(message: Message) -> dict[str, str]:
    """The link buttons of a message by label."""
    controls = message.controls()
    return {one["label"]: one["url"] for one in controls if one.get("url")}


async def statuses(*urls: str) -> list[int]:
    async with httpx.AsyncClient() as client:
        return [(await client.get(url)).status_code for url in urls]


async def all_become(status: int, *urls: str) -> None:
    """Wait until what was pressed has had its effect."""
    async with asyncio.timeout(10):
        while await statuses(*urls) != [status] * len(urls):  # noqa: ASYNC110 - over HTTP
            await asyncio.sleep(0.01)


async def test_a_result_leads_to_the_picture_server(bot: Bot) -> None:
    job = await bot.imagine("a fox --seed 7")
    message = await bot.finished(job)
    found = links(message)
    assert list(found) == ["All pictures", "Row 1", "Row 2"]
    assert await statuses(*found.values()) == [200, 200, 200]
    async with httpx.AsyncClient() as client:
        page = await client.get(found["All pictures"])
    assert "/imagine prompt:a fox --size 64x64" in page.text
    clicked = await bot.member().press(message, "Details")
    details = await clicked.answered()
    assert found["Row 2"] in str(details.embeds)
    shown = await bot.ask("show", channel="gallery", id=job.id)
    assert links(shown) == found

    # The author deletes what was posted: links that others have do not work any more.
    asked = await bot.member().press(message, "Delete")
    await (await bot.member().press(await asked.answered(), "Delete permanently")).answered()
    await all_become(410, *found.values())
    again = links(await bot.ask("show", channel="gallery", id=job.id))
    assert await statuses(*again.values()) == [200, 200, 200]


async def test_a_moderators_removal_takes_links_away(bot: Bot) -> None:
    message = await bot.finished(await bot.imagine("a fox"))
    found = links(message)
    asked = await bot.member("Mo").press(message, "Delete")
    await (await bot.member("Mo").press(await asked.answered(), "Delete permanently")).answered()
    await all_become(410, *found.values())


@pytest.mark.parametrize(
    ("cause", "why"), [(RemovalCause.AGE, "too old"), (RemovalCause.SIZE, "make room")]
)
async def test_what_was_removed_can_be_made_again_from_its_seed(
    bot: Bot, cause: RemovalCause, why: str
) -> None:
    job = await bot.imagine("a fox --seed 7")
    message = await bot.finished(job)
    # While there are pictures, there is nothing to make again.
    removed_at = bot.clock()
    await bot.engine.database.write(
        lambda link: pictures.record_removal(link, job.id, cause, at=removed_at)
    )
    shown = await bot.ask("show", id=job.id)
    assert shown.ephemeral
    assert f"removed <t:{int(removed_at.timestamp())}:f>" in said(shown)
    assert why in said(shown)
    upscaling = await bot.member().select(message, "Upscale an image …", ["cell:1:1"])
    assert "no longer stored" in said(await upscaling.answered())

    bot.clock.pass_time(seconds=2)
    again = await bot.member().press(shown, "Make it again")
    await again.answered()
    made = await bot.job(again)
    assert (made.request.to_prompt(), made.id == job.id) == (job.request.to_prompt(), False)
    assert links(await bot.finished(made))


async def test_what_is_older_than_the_settings_say_is_removed(
    playground: Playground, settings: Settings, clock: Clock
) -> None:
    own = {
        "pictures": settings.pictures.model_copy(update={"listen": "127.0.0.1:0"}),
        "data": settings.data.model_copy(update={"keep": timedelta(days=30)}),
    }
    async with running(playground, settings.model_copy(update=own), clock) as bot:
        bot.dispatch()
        job = await bot.imagine("a fox")
        found = links(await bot.finished(job))
        removed: list[tuple[str, int]] = []
        retention = build_retention(
            bot.engine, sleep=blink, on_removed=lambda *what: removed.append(what)
        )
        clock.pass_time(seconds=29 * 86_400)
        assert await retention.apply_limits() == ()
        assert await statuses(*found.values()) == [200, 200, 200]
        clock.pass_time(seconds=2 * 86_400)
        assert len(await retention.apply_limits()) == 1
        assert [cause for cause, _ in removed] == ["age"]
        assert await statuses(*found.values()) == [410, 410, 410]
        assert "too old" in said(await bot.ask("show", id=job.id))
