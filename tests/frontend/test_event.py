"""An evening on an art server: 200 members, three moderators, and a balanced ledger."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable

import pytest

from bot.domain.job import JobState
from bot.playground.client.driver import Invocation
from bot.playground.server import Playground
from bot.playground.state import permissions
from bot.playground.state.models import Message
from bot.settings import Settings
from bot.store.gallery import GalleryRepository
from bot.store.ledger import LedgerRepository
from tests.frontend.application import Bot, running, said
from tests.frontend.harness import turns
from tests.frontend.test_reports import entry, press, report
from tests.playground.clock import Clock

MEMBERS = 200
AT_ONCE = 20

pytestmark = pytest.mark.timing("two hundred members ask at once, which a busy machine makes late")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """One small image for each request, and room for all of them."""
    return settings.model_copy(
        update={
            "imagine": settings.imagine.model_copy(update={"rows": 1, "samples": 1}),
            "queue": settings.queue.model_copy(update={"running": 8}),
        }
    )


async def ask_all(bot: Bot, names: Iterable[str], prompt: str) -> list[Invocation]:
    """Have these members ask at the same time, some at once; what they were answered."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def ask(number: int, name: str) -> Invocation:
        async with gate:
            bot.clock.pass_time(milliseconds=50)
            asked = await bot.member(name).slash("imagine", "imagine", prompt=f"{prompt} {number}")
            await asked.answered(within=30)
            return asked

    return list(await asyncio.gather(*(ask(number, name) for number, name in enumerate(names))))


def refusals(asked: Iterable[Invocation]) -> list[str]:
    answers = [one.response for one in asked]
    return [said(one) for one in answers if one is not None and one.ephemeral]


async def settled(bot: Bot) -> None:
    """Wait until nothing waits or runs, and the log channel has everything."""
    guild = bot.playground.world.guild_id
    async for _ in turns(30):
        status = await bot.context.moderation.status(guild)
        if status.waiting == status.running == status.unposted == 0:
            return
    raise AssertionError(f"it never ends: {status}")


async def test_an_evening_ends_with_a_balanced_ledger(
    playground: Playground, settings: Settings, clock: Clock
) -> None:
    world = playground.world
    names = [f"Guest {number}" for number in range(MEMBERS)]
    for number, name in enumerate(names):
        world.add_member(f"guest{number}", name)
    helpers = world.add_role("Helpers", permissions.MEMBER | permissions.MODERATE_MEMBERS)
    world.add_member("mia", "Mia", helpers)
    world.overwrite("mod-log", helpers, allow=permissions.VIEW_CHANNEL)
    async with running(playground, settings, clock) as bot:
        await name_log_channel(bot)
        await name_gallery(bot, threshold=5)
        await bot.ask("art-admin words add", who="Mia", pattern="secret", effect="hold")
        bot.dispatch()

        assert refusals(await ask_all(bot, names[:60], "a lighthouse")) == []
        held = await ask_all(bot, names[150:160], "a secret")
        await bot.ask("art-admin pause", who="Mia", reason="a short break", requests="refuse")
        refused = refusals(await ask_all(bot, names[160:170], "a bridge"))
        assert len(refused) == 10
        assert all("a short break" in one for one in refused)
        await bot.ask("art-admin resume", who="Keeper")
        assert refusals(await ask_all(bot, names[170:190], "a tower")) == []

        # Each hold is pressed by two moderators at once, one of whom is told so.
        jobs = [await bot.job(asked) for asked in held]
        for number, job in enumerate(jobs):
            shown = await entry(bot, f"`{job.id[:8]}`")
            label = "Approve" if number % 2 else "Reject"
            clock.pass_time(seconds=2)
            pressed = [await bot.member(who).press(shown, label) for who in ("Mia", "Keeper")]
            texts = [said(await one.answered()) for one in pressed]
            assert sum("It was already" in text for text in texts) == 1, texts

        first, second, third = await results(bot, 3)
        for message, voters in ((first, 8), (second, 6), (third, 4)):
            assert await star_at_once(bot, message, names[50 : 50 + voters]) == voters
        await bot.playground.until(lambda world: len(world.messages_in("gallery")) == 2)
        for name in names[100:130]:
            await report(bot, first, name, "rude")
        shown = await entry(bot, "Report: 30 members")
        opened = await (await bot.member("Mo").press(shown, "Block author")).acked()
        await (await bot.member("Mo").submit_modal(opened, {"for": "2h"})).answered()
        assert await press(bot, shown, "Remove and refund", "Mia") == (
            "Removed. The author's images are refunded."
        )
        assert first.id not in world.messages
        await bot.playground.until(lambda world: len(world.messages_in("gallery")) == 1)
        (left,) = world.messages_in("gallery")
        assert f"/{second.channel_id}/{second.id}" in str(left.controls())

        await settled(bot)
        waiting = await ask_all(bot, names[40:50], "one more lighthouse")
        assert len(refusals(waiting)) == 0
        await bot.ask("art-admin drain", who="Keeper", reason="good night")
        asked = await bot.ask("art-admin cancel", who="Mo", all=True)
        if asked.controls():
            await press(bot, asked, asked.controls()[0]["label"])
        await settled(bot)

        guild = world.guild_id
        assert await LedgerRepository(bot.engine.database).check() == ()
        (block,) = await bot.context.moderation.blocks(guild)
        assert block.reason == ""
        states = {(await bot.job(asked)).state for asked in held}
        assert states == {JobState.FINISHED, JobState.CANCELLED}
        log = [one for one in world.messages_in("mod-log") if not one.ephemeral]
        numbers = [entry_number(one) for one in log]
        assert len(numbers) == len(set(numbers)), "an entry was posted twice"
        assert sorted(numbers) == list(range(1, len(numbers) + 1)), "an entry was lost"


async def name_log_channel(bot: Bot) -> None:
    log = bot.playground.world.channel("mod-log")
    asked = await bot.member("Mo").slash("mod-log", "art-admin log", channel=log)
    assert f"<#{log.id}>" in said(await asked.answered())


async def name_gallery(bot: Bot, threshold: int) -> None:
    options = {"channel": bot.playground.world.channel("gallery"), "threshold": threshold}
    asked = await bot.member("Mo").slash("mod-log", "art-admin gallery", **options)
    assert f"A result with {threshold} stars" in said(await asked.answered())


async def results(bot: Bot, count: int) -> list[Message]:
    """Wait for the first results in the channel."""

    def found(_: object) -> list[Message] | None:
        shown = bot.playground.world.messages_in("imagine")
        done = [one for one in shown if one.attachments and "Done" in said(one)]
        return done[:count] if len(done) >= count else None

    return await bot.playground.until(found)


async def star_at_once(bot: Bot, message: Message, names: Iterable[str]) -> int:
    """Have members star a result, each with a double press; the number of stars."""
    bot.clock.pass_time(seconds=2)
    pressed = await asyncio.gather(
        *(bot.member(name).press(message, "⭐ Star") for name in names for _ in range(2))
    )
    for one in pressed:
        await one.acked()
    reading = GalleryRepository(bot.engine.database)
    job_id = re.search(r"gb:star:(\w+)", str(message.controls()))
    assert job_id is not None
    return sum([await reading.has_star(job_id[1], bot.member(name).id) for name in names])


def entry_number(message: Message) -> int:
    found = re.search(r"Entry (\d+)", str(message.embeds))
    assert found is not None
    return int(found[1])
