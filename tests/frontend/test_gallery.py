"""Stars and the gallery on the loopback Discord; favourites are in test_command_favourites."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from datetime import datetime
from typing import Any, TypeVar

import pytest

from bot.domain.events import MessageRef
from bot.domain.job import Job
from bot.frontend.gallery_channel import DiscordGallery
from bot.frontend.result_removal import remove_result
from bot.playground.server import Playground
from bot.playground.state.guild import Event
from bot.playground.state.models import PRIVATE_THREAD, Message
from bot.services.gallery import GalleryChannel, GalleryPost, GalleryPoster
from bot.services.queue import Actor
from bot.settings import Settings
from bot.store.gallery import GalleryRepository
from tests.frontend.application import Bot, running, said
from tests.frontend.harness import turns
from tests.frontend.test_art_admin import becomes
from tests.frontend.test_component_access import result_of
from tests.frontend.test_delivery_faults import hurry_library
from tests.frontend.test_log_channel import Killed
from tests.frontend.test_reports import moderator, press
from tests.playground.clock import Clock

T = TypeVar("T")
STAR = "⭐ Star"
STARRED = "⭐ Starred. This result has {}. `/favourites` lists what you have starred."


@pytest.fixture(autouse=True)
def library_in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry_library(monkeypatch)


@pytest.fixture
async def bot(
    playground: Playground, settings: Settings, clock: Clock, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[Bot]:
    """The bot without its own poster: the tests post. Jobs run at once."""
    async with running(playground, settings, clock) as started:
        started.others.pop().cancel()
        started.dispatch()
        yield started
    assert "Traceback" not in caplog.text


class Interrupted:
    """The galleries, in a process that ends at one point."""

    def __init__(self, inner: GalleryChannel, at: str) -> None:
        self._inner = inner
        self._at = at

    async def is_original_there(self, job: Job) -> bool:
        return await self._inner.is_original_there(job)

    async def post(self, channel_id: int, post: GalleryPost, job: Job) -> MessageRef:
        return await self._run("post", self._inner.post(channel_id, post, job))

    async def find(self, channel_id: int, post: GalleryPost, since: datetime) -> MessageRef | None:
        return await self._run("find", self._inner.find(channel_id, post, since))

    async def delete(self, place: MessageRef) -> None:
        await self._run("delete", self._inner.delete(place))

    async def _run(self, name: str, doing: Coroutine[Any, Any, T]) -> T:
        if self._at == f"before {name}":
            doing.close()
            raise Killed
        done = await doing
        if self._at == f"after {name}":
            raise Killed
        return done


async def post(bot: Bot, at: str = "") -> GalleryPoster:
    """Post as after a restart: nothing is remembered. The process ends at ``at``."""
    channel = Interrupted(DiscordGallery(bot.client), at)
    made = GalleryPoster(bot.engine.database, channel, now=bot.clock, clock=lambda: 0.0)
    await made.post_pending(bot.playground.world.guild_id)
    return made


async def set_gallery(bot: Bot, threshold: int = 1, channel: str = "gallery") -> None:
    where = bot.playground.world.channel(channel).id
    keeper = Actor(bot.member("Keeper").id, "Keeper", moderator=True, manager=True)
    guild = bot.playground.world.guild_id
    await bot.context.gallery.set_gallery(guild, where, threshold, by=keeper)


def posts(bot: Bot, channel: str = "gallery") -> list[Message]:
    return [one for one in bot.playground.world.messages_in(channel) if not one.ephemeral]


async def starred(bot: Bot, who: str = "Ben", prompt: str = "a heron") -> tuple[Message, Job]:
    """A finished result of Ada's with a star of somebody else's."""
    message, job = await result_of(bot, prompt)
    await press(bot, message, STAR, who)
    return message, job


async def unposted(bot: Bot) -> int:
    status = await bot.context.moderation.status(bot.playground.world.guild_id)
    return status.gallery_unposted


async def test_stars_of_others_bring_a_result_into_the_gallery_once(bot: Bot) -> None:
    world = bot.playground.world
    gallery = world.channel("gallery")
    named = {"channel": gallery, "threshold": 2}
    asked = await bot.member("Keeper").slash("imagine", "art-admin gallery", **named)
    assert said(await asked.answered()) == (
        f"A result with 2 stars of other members is posted in <#{gallery.id}>. "
        "This holds for stars from now on."
    )
    message, job = await result_of(bot)
    assert await press(bot, message, STAR, "Ada") == (
        STARRED.format("1 star") + " Your own star does not count for the gallery."
    )
    # Both halves of a double press are one change.
    bot.clock.pass_time(seconds=2)
    first, _ = await asyncio.gather(*(bot.member("Ben").press(message, STAR) for _ in range(2)))
    assert said(await first.answered()) == STARRED.format("2 stars")
    assert await press(bot, message, STAR, "Ben") == (
        "You took your star back. This result has 1 star."
    )
    assert await press(bot, message, STAR, "Ben") == STARRED.format("2 stars")
    assert posts(bot) == []
    assert await press(bot, message, STAR, "Mo") == (
        STARRED.format("3 stars") + f" It goes to the gallery: <#{gallery.id}>."
    )
    await post(bot)
    (shown,) = posts(bot)
    place = f"https://discord.com/channels/{world.guild_id}/{message.channel_id}/{message.id}"
    link = next(iter(shown.controls()))
    assert (link["label"], link["url"]) == ("Open the original", place)
    assert "heron" in said(shown)
    assert f"by <@{bot.member('Ada').id}> in <#{message.channel_id}>" in said(shown)
    assert shown.attachments[0].content == message.attachments[0].content
    assert (shown.mentions, shown.mention_everyone) == ([], False)

    # It stays when stars are taken back or the threshold rises, and is posted once.
    for who in ("Ben", "Mo"):
        await press(bot, shown, STAR, who)
    await set_gallery(bot, 100)
    await post(bot)
    await set_gallery(bot, 1)
    assert "It goes to" not in await press(bot, message, STAR, "Keeper")
    await post(bot)
    assert posts(bot) == [shown]
    assert "at 1 star of other members, nothing from age" in said(
        await bot.ask("art-admin status", who="Mo")
    )

    favourites = await bot.ask("favourites", who="Keeper", channel="random")
    assert f"[4 images]({place}) by <@{job.request.author.id}>" in said(favourites)
    off = said(await bot.ask("art-admin gallery", who="Keeper"))
    assert off == "There is no gallery now. Its posts stay."


@pytest.mark.parametrize(
    "points",
    [
        ["before post"],
        ["after post", "after find"],
        ["before post", "after find", "after post", "before find"],
    ],
)
async def test_a_result_is_posted_once_wherever_the_process_ends(
    bot: Bot, points: list[str]
) -> None:
    await set_gallery(bot)
    _, job = await starred(bot)
    await bot.ask("show", channel="gallery", id=job.id)  # which looks similar
    for point in points:
        bot.clock.pass_time(seconds=400)  # Discord forgets nonces
        with pytest.raises(Killed):
            await post(bot, point)
    await post(bot)
    await post(bot)
    assert len(posts(bot)) == 2
    assert await unposted(bot) == 0

    for point in ("before delete", "after delete"):
        bot.clock.pass_time(seconds=1)
        await bot.context.gallery.withdraw(job.id)
        with pytest.raises(Killed):
            await post(bot, point)
    await post(bot)
    assert len(posts(bot)) == 1
    assert await GalleryRepository(bot.engine.database).servers_pending() == ()


async def test_an_unclear_outcome_is_looked_up_before_posting_again(bot: Bot) -> None:
    await set_gallery(bot)
    await starred(bot)
    world = bot.playground.world
    path = f"/channels/{world.channel('gallery').id}/messages"
    world.faults.drop("POST", path, carried_out=True, times=1)
    await post(bot)
    bot.clock.pass_time(seconds=400)
    await post(bot)
    assert len(posts(bot)) == 1


Spoil = Callable[[Bot], None]


def delete(bot: Bot) -> None:
    bot.playground.world.delete_channel("gallery")


def forbid(bot: Bot) -> None:
    bot.playground.world.add_deny_overwrite("gallery", "SEND_MESSAGES")


def forbid_pictures(bot: Bot) -> None:
    bot.playground.world.add_deny_overwrite("gallery", "ATTACH_FILES")


def hide(bot: Bot) -> None:
    bot.playground.world.add_deny_overwrite("gallery", "VIEW_CHANNEL")


@pytest.mark.parametrize("spoil", [delete, forbid, forbid_pictures, hide])
async def test_a_result_waits_for_a_channel_that_accepts_it(bot: Bot, spoil: Spoil) -> None:
    await set_gallery(bot)
    where, guild = bot.playground.world.channel("gallery").id, bot.playground.world.guild_id
    await starred(bot)
    spoil(bot)
    made = await post(bot)
    await made.post_pending(guild)
    assert made.problem(guild)
    assert await unposted(bot) == 1
    complaint = "deleted or hidden" if spoil is delete else f"<#{where}>: I need "
    status = ""
    async for _ in turns():
        status = said(await bot.ask("art-admin status", who="Mo"))
        if complaint in status:
            break
    assert complaint in status
    assert "1 result not posted yet" in status

    if spoil is delete:
        bot.playground.world.add_channel("gallery")
        await set_gallery(bot)
    else:
        bot.playground.world.restore("gallery")
        made.retry_now(guild)
    await made.post_pending(guild)
    assert made.problem(guild) == ""
    assert len(posts(bot)) == 1
    assert await unposted(bot) == 0


async def by_a_moderator(bot: Bot, message: Message, job: Job) -> None:
    await bot.context.reports.remove(
        bot.playground.world.guild_id, job, reason="", by=moderator(bot)
    )
    assert await remove_result(bot.client, job.id) == ""


async def on_the_post(bot: Bot, message: Message, job: Job) -> None:
    shown = next(one for one in posts(bot) if job.id in str(one.controls()))
    opened = await bot.member("Mo").message_command("Remove this result", shown)
    await opened.acked()
    await (await bot.member("Mo").submit_modal(opened, {"reason": "rule 3"})).answered()
    await bot.playground.until(lambda world: message.id not in world.messages)


async def by_its_author(bot: Bot, message: Message, job: Job) -> None:
    asked = await (await bot.member().press(message, "Delete")).answered()
    await bot.member().press(asked, "Delete permanently")
    await bot.playground.until(lambda world: message.id not in world.messages)


async def by_an_erasure(bot: Bot, message: Message, job: Job) -> None:
    guild = bot.playground.world.guild_id
    await bot.context.privacy.erase(guild, Actor(job.request.author.id, "Ada"))


async def by_hand(bot: Bot, message: Message, job: Job) -> None:
    bot.playground.world.delete_message(message)
    made = GalleryPoster(bot.engine.database, DiscordGallery(bot.client), now=bot.clock)
    await made.check_originals()
    assert await made.check_originals() == 0


Removal = Callable[[Bot, Message, Job], Awaitable[None]]


@pytest.mark.parametrize(
    "remove", [by_a_moderator, on_the_post, by_its_author, by_an_erasure, by_hand]
)
async def test_a_post_goes_when_its_original_goes(bot: Bot, remove: Removal) -> None:
    await set_gallery(bot)
    message, job = await starred(bot)
    bot.clock.pass_time(seconds=60)
    await starred(bot, prompt="a swan")
    await post(bot)
    assert len(posts(bot)) == 2
    (kept,) = [one for one in posts(bot) if "swan" in said(one)]
    # A gallery that is switched off makes no difference.
    await bot.ask("art-admin gallery", who="Keeper")
    await remove(bot, message, job)
    await post(bot)
    left = [kept] if remove is not by_an_erasure else []
    assert posts(bot) == left
    reading = GalleryRepository(bot.engine.database)
    assert await reading.servers_pending() == ()
    stars = await reading.stars_by(bot.member("Ben").id)
    assert stars == (2 if remove is by_hand else len(left))


@pytest.mark.parametrize("remove", [by_its_author, by_hand])
async def test_a_result_that_goes_before_it_is_posted_is_not_posted(
    bot: Bot, remove: Removal
) -> None:
    await set_gallery(bot)
    message, job = await starred(bot)
    await remove(bot, message, job)
    await post(bot)
    assert posts(bot) == []
    assert await unposted(bot) == 0


@pytest.mark.parametrize("why", ["no pictures", "private thread"])
async def test_what_cannot_or_must_not_be_seen_is_not_posted(bot: Bot, why: str) -> None:
    await set_gallery(bot)
    world, where = bot.playground.world, "imagine"
    if why == "private thread":
        where = "between us"
        parent, ada = world.channel("imagine"), world.user("Ada")
        thread = world.message_board.open_thread(parent, ada, where, kind=PRIVATE_THREAD)
        await becomes(lambda: bot.client.get_channel(thread.id) is not None)
    job = await bot.imagine("a heron", channel=where)
    await press(bot, await bot.finished(job), STAR, "Ben" if where == "imagine" else "Mo")
    if why == "no pictures":
        bot.engine.results.result(job).grid.unlink()
    assert await unposted(bot) == 1
    await post(bot)
    assert posts(bot) == []
    assert await unposted(bot) == 0


class Meanwhile(Interrupted):
    """The galleries, while somebody does something between two steps of posting."""

    def __init__(self, inner: GalleryChannel, act: Callable[[], Awaitable[None]]) -> None:
        super().__init__(inner, "")
        self._act = act

    async def find(self, channel_id: int, post: GalleryPost, since: datetime) -> MessageRef | None:
        await self._act()
        return await super().find(channel_id, post, since)

    async def post(self, channel_id: int, post: GalleryPost, job: Job) -> MessageRef:
        await self._act()
        return await super().post(channel_id, post, job)


@pytest.mark.parametrize("step", ["find", "post", "killed"])
async def test_a_result_that_goes_while_it_is_posted_does_not_stay(bot: Bot, step: str) -> None:
    await set_gallery(bot)
    _, job = await starred(bot)
    steps = iter(["find", "post"])

    async def withdraw() -> None:
        if next(steps) == step:
            await bot.context.gallery.withdraw(job.id)

    channel = Meanwhile(DiscordGallery(bot.client), withdraw)
    made = GalleryPoster(bot.engine.database, channel, now=bot.clock)
    if step == "killed":
        with pytest.raises(Killed):
            await post(bot, "after post")
        await bot.context.gallery.withdraw(job.id)
    else:
        await made.post_pending(bot.playground.world.guild_id)
    assert len(posts(bot)) == (step != "find")
    await post(bot)
    assert posts(bot) == []
    assert await GalleryRepository(bot.engine.database).servers_pending() == ()


async def test_an_attempt_in_an_earlier_gallery_that_is_hidden_now_holds_up_nothing(
    bot: Bot,
) -> None:
    await set_gallery(bot)
    await starred(bot)
    with pytest.raises(Killed):
        await post(bot, "before post")
    hide(bot)
    assert (await post(bot)).problem(bot.playground.world.guild_id)
    await set_gallery(bot, channel="random")
    await post(bot)
    assert len([one for one in posts(bot, "random") if one.attachments]) == 1
    assert await unposted(bot) == 0


async def test_originals_are_looked_up_every_hour_and_doubt_removes_nothing(bot: Bot) -> None:
    await set_gallery(bot)
    message, _ = await starred(bot)
    await post(bot)
    world = bot.playground.world
    place = world.channel(message.channel_id)
    reading = GalleryRepository(bot.engine.database)
    waits, counts = list[float](), list[int]()

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        counts.append(len(await reading.latest_posted(9)))
        match len(waits):
            case 2:
                world.faults.answer("GET", "/messages/", status=503, times=50)
            case 3:
                world.faults.clear()
                world.add_deny_overwrite(place, "VIEW_CHANNEL")
            case 4:
                world.delete_channel(place)
            case 5:
                raise Killed

    channel = DiscordGallery(bot.client)
    made = GalleryPoster(bot.engine.database, channel, now=bot.clock, sleep=sleep)
    with pytest.raises(Killed):
        await made.run_checks()
    assert waits == [3600.0] * 5
    assert counts == [1, 1, 1, 1, 0]
    await post(bot)
    assert posts(bot) == []


async def test_a_post_that_cannot_be_deleted_now_is_deleted_later(bot: Bot) -> None:
    await set_gallery(bot)
    _, job = await starred(bot)
    await post(bot)
    world = bot.playground.world
    await bot.context.gallery.withdraw(job.id)
    for spoil in (hide, forbid):
        if spoil is hide:
            hide(bot)
        else:
            world.restore("gallery")
            world.faults.answer("DELETE", "/messages/", status=503, times=50)
        made = await post(bot)
        await made.post_pending(world.guild_id)
        assert len(posts(bot)) == 1
    world.faults.clear()
    made.retry_now(world.guild_id)
    await made.post_pending(world.guild_id)
    assert posts(bot) == []


async def test_nothing_from_an_age_restricted_channel_is_posted_in_another(bot: Bot) -> None:
    await set_gallery(bot)
    world = bot.playground.world
    dark = world.channel("after-dark")
    thread = world.message_board.open_thread(dark, world.user("Ada"), "late")
    await becomes(lambda: bot.client.get_channel(thread.id) is not None)
    for place in (dark.name, thread.name):
        bot.clock.pass_time(seconds=5)
        asked = await bot.imagine("a heron", channel=place)
        message = await bot.finished(asked)
        await press(bot, message, STAR, "Ben")
    made = await post(bot)
    await made.post_pending(world.guild_id)
    assert posts(bot) == []
    assert "2 results not posted yet, nothing from age-restricted channels" in said(
        await bot.ask("art-admin status", who="Mo")
    )
    gallery = world.channel("gallery")
    gallery.nsfw = True
    world.emit(Event("CHANNEL_UPDATE", channel=gallery))
    await becomes(lambda: getattr(bot.client.get_channel(gallery.id), "nsfw", False))
    made.retry_now(world.guild_id)
    await made.post_pending(world.guild_id)
    assert len(posts(bot)) == 2
    assert "nothing from" not in said(await bot.ask("art-admin status", who="Mo"))


async def test_the_running_poster_posts_and_deletes_by_itself(
    playground: Playground, settings: Settings, clock: Clock
) -> None:
    async with running(playground, settings, clock) as bot:
        bot.dispatch()
        await set_gallery(bot)
        _, job = await starred(bot)
        await playground.until(lambda _: len(posts(bot)) == 1)
        await bot.context.gallery.withdraw(job.id)
        await playground.until(lambda _: posts(bot) == [])
