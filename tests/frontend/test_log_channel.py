"""The log channel: each entry once, whatever is interrupted, and nothing lost without a channel."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest

from bot.domain.events import MessageRef
from bot.frontend.log_channel import DiscordLogChannel
from bot.playground.server import Playground
from bot.playground.state.models import Message
from bot.services.moderation_poster import LogChannel, LogPoster
from bot.services.quotas import QuotaRuleChange, QuotaSubject
from bot.services.reports import LogMessage
from bot.settings import Settings
from bot.store import moderation_log
from tests.frontend.application import Bot, running, said
from tests.frontend.test_component_access import result_of
from tests.frontend.test_delivery_faults import hurry_library
from tests.frontend.test_reports import entry, labels, moderator, press, report, set_log_channel
from tests.playground.clock import Clock


@pytest.fixture(autouse=True)
def library_in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry_library(monkeypatch)


@pytest.fixture
async def bot(playground: Playground, settings: Settings, clock: Clock) -> AsyncIterator[Bot]:
    """The bot without its own poster: the tests post."""
    async with running(playground, settings, clock) as started:
        started.others.pop(1).cancel()
        yield started


class Killed(BaseException):
    """What a test raises where the process ends."""


class Interrupted:
    """The log channel, in a process that ends at one point of posting or editing."""

    def __init__(self, inner: LogChannel, at: str) -> None:
        self._inner = inner
        self._at = at

    async def post(self, channel_id: int, message: LogMessage) -> MessageRef:
        self._end("before post")
        place = await self._inner.post(channel_id, message)
        self._end("after post")
        return place

    async def find(self, channel_id: int, message: LogMessage) -> MessageRef | None:
        self._end("before find")
        found = await self._inner.find(channel_id, message)
        self._end("after find")
        return found

    async def edit(self, place: MessageRef, message: LogMessage) -> None:
        self._end("before edit")
        await self._inner.edit(place, message)
        self._end("after edit")

    def _end(self, point: str) -> None:
        if point == self._at:
            raise Killed


def poster(bot: Bot, at: str = "", **options: Any) -> LogPoster:
    """A poster as after a restart: it remembers nothing. It ends at ``at``."""
    channel = DiscordLogChannel(bot.client, bot.context.reports.picture_path)
    return LogPoster(
        bot.engine.database, Interrupted(channel, at), now=bot.clock, clock=lambda: 0.0, **options
    )


async def post(bot: Bot, at: str = "", **options: Any) -> LogPoster:
    made = poster(bot, at, **options)
    await made.post_pending(bot.playground.world.guild_id)
    return made


def entries(bot: Bot, channel: str = "mod-log") -> list[Message]:
    return bot.playground.world.messages_in(channel)


async def act(bot: Bot, reason: str = "an event") -> None:
    """Do something that is logged."""
    guild = bot.playground.world.guild_id
    await bot.context.moderation.pause(
        guild, reason=reason, lasts=timedelta(hours=1), refuses=True, by=moderator(bot)
    )


async def unposted(bot: Bot) -> int:
    status = await bot.context.moderation.status(bot.playground.world.guild_id)
    return status.unposted


@pytest.mark.parametrize(
    "points",
    [
        ["before post"],
        ["after post"],
        ["after post", "before find"],
        ["after post", "after find"],
        ["before post", "after find", "after post", "before find"],
    ],
)
async def test_an_entry_is_posted_once_wherever_the_process_ends(
    bot: Bot, points: list[str]
) -> None:
    await set_log_channel(bot)
    await post(bot)
    before = len(entries(bot))
    await act(bot)
    for point in points:
        bot.clock.pass_time(seconds=400)  # Discord forgets nonces
        with pytest.raises(Killed):
            await post(bot, point)
    await post(bot)
    await post(bot)
    assert len(entries(bot)) == before + 1
    assert "Requests paused" in said(entries(bot)[-1])
    assert await unposted(bot) == 0


@pytest.mark.parametrize("point", ["before edit", "after edit"])
async def test_a_change_is_shown_wherever_the_process_ends(bot: Bot, point: str) -> None:
    await set_log_channel(bot)
    bot.dispatch()
    message, _ = await result_of(bot)
    await report(bot, message)
    await post(bot)
    # In the same moment of the clock, and twice: what is shown is never older than what is stored.
    await report(bot, message, "Mo")
    with pytest.raises(Killed):
        await post(bot, point)
    await report(bot, message, "Keeper")
    await post(bot)
    (shown,) = [one for one in entries(bot) if "Report: " in said(one)]
    assert "Report: 3 members" in said(shown)


async def test_an_unclear_outcome_is_looked_up_before_posting_again(bot: Bot) -> None:
    await set_log_channel(bot)
    await post(bot)
    before = len(entries(bot))
    world = bot.playground.world
    path = f"/channels/{world.channel('mod-log').id}/messages"
    await act(bot)
    # Carried out, but the answer never arrives; the library itself tries five times.
    world.faults.drop("POST", path, carried_out=True, times=1)
    await post(bot)
    bot.clock.pass_time(seconds=400)
    await post(bot)
    assert len(entries(bot)) == before + 1


Spoil = Callable[[Bot], None]


def unset(bot: Bot) -> None:
    """There never was a log channel."""


def delete(bot: Bot) -> None:
    bot.playground.world.delete_channel("mod-log")


def forbid(bot: Bot) -> None:
    bot.playground.world.add_deny_overwrite("mod-log", "SEND_MESSAGES")


def hide(bot: Bot) -> None:
    bot.playground.world.add_deny_overwrite("mod-log", "VIEW_CHANNEL")


@pytest.mark.parametrize("spoil", [unset, delete, forbid, hide])
async def test_without_a_channel_actions_work_and_are_posted_later(bot: Bot, spoil: Spoil) -> None:
    if spoil is not unset:
        await set_log_channel(bot)
    spoil(bot)
    for reason in ("first", "second"):
        await act(bot, reason)
    waiting = await unposted(bot)
    poster_ = await post(bot)
    assert await unposted(bot) == waiting >= 2
    guild = bot.playground.world.guild_id
    assert bool(poster_.problem(guild)) == (spoil is not unset)

    if spoil in (unset, delete):
        bot.playground.world.add_channel("new-log")
        await set_log_channel(bot, "new-log")
    else:
        bot.playground.world.restore("mod-log")
        poster_.retry_now(guild)
    await poster_.post_pending(guild)
    assert poster_.problem(guild) == ""
    assert await unposted(bot) == 0
    shown = entries(bot, "new-log" if spoil in (unset, delete) else "mod-log")
    titles = [said(one) for one in shown if "Requests paused" in said(one)]
    assert ["first" in titles[0], "second" in titles[1], len(titles)] == [True, True, 2]


@pytest.mark.parametrize("denied", ["ATTACH_FILES", "EMBED_LINKS"])
async def test_an_entry_without_its_picture_is_better_than_none(bot: Bot, denied: str) -> None:
    await set_log_channel(bot)
    bot.dispatch()
    message, _ = await result_of(bot)
    await report(bot, message)
    bot.playground.world.add_deny_overwrite("mod-log", denied)
    await post(bot)
    assert await unposted(bot) == 0
    assert any("Report: 1 member" in one.text for one in entries(bot))


async def test_what_was_missed_for_long_is_one_summary(bot: Bot) -> None:
    bot.dispatch()
    message, _ = await result_of(bot)
    await report(bot, message)
    for number in range(6):
        await act(bot, f"pause {number}")
    await set_log_channel(bot)
    await post(bot, max_missed=2)
    texts = [said(one) for one in entries(bot)]
    assert sum("Requests paused" in text for text in texts) == 1  # and the setting of the channel
    assert "5 actions from" in texts[-1]
    assert any("Report: 1 member" in text for text in texts)
    assert await unposted(bot) == 0


async def test_an_open_report_whose_entry_was_deleted_is_posted_again(bot: Bot) -> None:
    await set_log_channel(bot)
    bot.dispatch()
    message, _ = await result_of(bot)
    await report(bot, message)
    await post(bot)
    delete(bot)
    bot.playground.world.add_channel("new-log")
    await set_log_channel(bot, "new-log")
    await report(bot, message, "Mo")
    await post(bot)
    shown = await entry(bot, "Report: 2 members", "new-log")
    assert await press(bot, shown, "Dismiss") == "Dismissed. The result stays."
    bot.playground.world.delete_message(shown)
    await report(bot, message, "Keeper")
    await post(bot)
    assert await unposted(bot) == 0


async def test_an_entry_that_is_never_accepted_does_not_hold_up_the_others(bot: Bot) -> None:
    await set_log_channel(bot)
    await post(bot)
    world, path = bot.playground.world, "/messages$"
    await act(bot, "first")
    await act(bot, "second")
    world.faults.refuse("POST", path, 50035, times=2)  # as an embed, and as plain text
    made = await post(bot)
    await made.post_pending(world.guild_id)
    assert await unposted(bot) == 1
    assert "second" in said(entries(bot)[-1])
    await post(bot)
    assert await unposted(bot) == 0
    assert "first" in said(entries(bot)[-1])


async def test_while_discord_is_unavailable_entries_wait(bot: Bot) -> None:
    await set_log_channel(bot)
    await post(bot)
    world = bot.playground.world
    await act(bot)
    world.faults.answer("POST", "/messages$", status=503, times=50)
    made = poster(bot)
    await made.post_evidence(world.guild_id)
    tried = len([one for one in bot.playground.requests if one.path.endswith("/messages")])
    await made.post_pending(world.guild_id)  # it is not due yet
    assert len([one for one in bot.playground.requests if one.path.endswith("/messages")]) == tried
    assert made.problem(world.guild_id) == ""
    world.faults.clear()
    made.retry_now()
    await made.post_pending(world.guild_id)
    assert await unposted(bot) == 0


async def test_quota_changes_are_logged(bot: Bot) -> None:
    await set_log_channel(bot)
    guild, ada = bot.playground.world.guild_id, bot.member("Ada").id
    quotas, mo = bot.context.quotas, moderator(bot)
    subject = QuotaSubject("member", ada)
    await quotas.set_rule(guild, subject, QuotaRuleChange(images=5), by=mo)
    await quotas.grant(guild, ada, images=3, lasts=None, reason="won @everyone", by=mo)
    await quotas.reset(guild, ada, reason="", by=mo)
    await post(bot)
    titles = [one.embeds[0]["title"] for one in entries(bot)]
    assert titles[-3:] == ["Quota set", "Images granted", "Quota reset"]
    assert all(not one.mentions and not one.mention_everyone for one in entries(bot))


async def test_every_kind_of_action_has_an_entry_that_discord_accepts(bot: Bot) -> None:
    await set_log_channel(bot)
    guild, at = bot.playground.world.guild_id, bot.clock()
    bodies: list[dict[str, Any]] = [
        {"action": "unheard-of", "by": 7, "subject": "thing:1", "detail": {"a": {"b": 1}}},
        {"action": "cancel", "by": 7, "subject": "channel:9", "detail": {"requests": 0}},
        {"action": "setting", "by": 7, "subject": "setting:log_channel", "detail": {"is": None}},
        {"action": "word-add", "by": 7, "subject": "word:3", "detail": {"pattern": "`@here`" * 90}},
        {"action": "", "subject": "", "detail": {str(one): "x" * 999 for one in range(40)}},
    ]

    def want(link: Any) -> None:
        for number, body in enumerate(bodies):
            moderation_log.want_message(
                link, guild_id=guild, at=at, kind="action", subject=f"t:{number}", body=body
            )

    await bot.engine.database.write(want)
    await post(bot)
    assert await unposted(bot) == 0
    assert len(entries(bot)) == len(bodies) + 1
    log_channel = bot.playground.world.channel("mod-log")
    assert f"Setting: log channel\nNow: <#{log_channel.id}>" in said(entries(bot)[0])


async def test_the_running_poster_posts_by_itself(
    playground: Playground, settings: Settings, clock: Clock
) -> None:
    async with running(playground, settings, clock) as bot:
        await set_log_channel(bot)
        await act(bot)
        shown = await entry(bot, "Requests paused")
        assert labels(shown) == []
