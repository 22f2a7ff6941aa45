"""Members report results; moderators decide on the entry in the log channel, each once."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.frontend.moderation_forms import NOT_A_RESULT, THANKS
from bot.frontend.result_removal import remove_result
from bot.playground.client.command_options import ClientError
from bot.playground.client.driver import Invocation
from bot.playground.server import Playground
from bot.playground.state import permissions
from bot.playground.state.models import Message
from bot.services.queue import Actor
from bot.settings import Settings
from tests.frontend.application import Bot, running, said
from tests.frontend.harness import open_harness, turns
from tests.frontend.test_component_access import click, result_of, said_to
from tests.frontend.test_delivery_faults import hurry_library
from tests.playground.clock import Clock

REPORT = "Report to moderators"
OTHER_SERVER = 4_000_000_000_000_000_000


@pytest.fixture
async def bot(
    playground: Playground,
    settings: Settings,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> AsyncIterator[Bot]:
    """The bot with a log channel; jobs run at once, and nothing that is pressed may break it."""
    async with running(playground, settings, clock) as started:
        started.dispatch()
        await set_log_channel(started)
        yield started
    assert "Traceback" not in caplog.text


async def set_log_channel(bot: Bot, channel: str | int = "mod-log") -> None:
    """Have a manager name the log channel."""
    where = channel if isinstance(channel, int) else bot.playground.world.channel(channel).id
    keeper = Actor(bot.member("Keeper").id, "Keeper", moderator=True, manager=True)
    guild = bot.playground.world.guild_id
    await bot.context.moderation.set_setting(guild, "log_channel", where, by=keeper)


def moderator(bot: Bot, who: str = "Mo") -> Actor:
    return Actor(bot.member(who).id, who, moderator=True)


async def report(
    bot: Bot, message: Message, who: str = "Ben", reason: str = "a real person"
) -> Message:
    """Use the message action and submit its form; the answer."""
    bot.clock.pass_time(seconds=1)
    opened = await (await bot.member(who).message_command(REPORT, message)).acked()
    if opened.modal is None:
        return await opened.answered()
    return await (await bot.member(who).submit_modal(opened, {"reason": reason})).answered()


async def entry(bot: Bot, words: str, channel: str = "mod-log") -> Message:
    """Wait for an entry of the log channel that says this."""

    def found(_: object) -> Message | None:
        shown = bot.playground.world.messages_in(channel)
        return next((one for one in shown if words in said(one)), None)

    return await bot.playground.until(found)


def labels(message: Message) -> list[str]:
    return [str(one["label"]) for one in message.controls()]


async def press(bot: Bot, message: Message, label: str, who: str = "Mo") -> str:
    """Press a button of an entry; the private answer."""
    bot.clock.pass_time(seconds=2)
    clicked = await bot.member(who).press(message, label)
    answer = await clicked.answered()
    assert answer.ephemeral
    return said(answer)


async def used(bot: Bot, who: str = "Ada") -> int:
    """Return how many images a member has used."""
    member = Actor(bot.member(who).id, who)
    report_ = await bot.context.quotas.show(bot.playground.world.guild_id, member)
    return report_.allowance.quota.images - report_.allowance.left


async def test_a_report_stores_its_evidence_and_asks_the_moderators(bot: Bot) -> None:
    message, job = await result_of(bot)
    answer = await report(bot, message)
    assert (answer.content, answer.ephemeral) == (THANKS, True)

    shown = await entry(bot, "Report: 1 member")
    text = said(shown)
    for fact in ("heron", f"<@{bot.member('Ada').id}>", "a real person", str(job.request.seed)):
        assert fact in text
    assert f"/{message.channel_id}/{message.id})" in text
    assert labels(shown) == ["Remove", "Remove and refund", "Block author", "Dismiss"]
    (picture,) = evidence(bot)
    assert shown.attachments[0].content == picture.read_bytes()
    assert stat.S_IMODE(picture.stat().st_mode) == 0o600
    assert stat.S_IMODE(picture.parent.stat().st_mode) == 0o700


def evidence(bot: Bot) -> list[Path]:
    return list((bot.engine.settings.data.dir / "evidence").glob("*"))


async def test_a_flood_of_reports_is_one_entry_with_a_count(bot: Bot) -> None:
    message, _ = await result_of(bot)
    for who, reason in (("Ben", "first"), ("Mo", "second"), ("Keeper", "")):
        assert (await report(bot, message, who, reason)).content == THANKS
    again = await report(bot, message, "Ben")
    assert again.content == "You have already reported this result."
    shown = await entry(bot, "Report: 3 members")
    assert "first" in said(shown)
    assert len([one for one in log_of(bot) if "Report: " in said(one)]) == 1


def log_of(bot: Bot) -> list[Message]:
    return bot.playground.world.messages_in("mod-log")


async def test_the_action_does_nothing_elsewhere_and_says_so(bot: Bot) -> None:
    plain = await bot.member("Ada").say("imagine", "hello")
    result, _ = await result_of(bot)
    world = bot.playground.world
    thread = world.message_board.open_thread(
        world.channel("imagine"), world.bot, "talk", message=result
    )
    below = await bot.member("Ada").say(thread, "hello")
    bot.engine.scheduler.drain()
    await bot.ask("imagine", prompt="a waiting heron")
    waiting = world.messages_in("imagine")[-1]
    for message in (plain, below, waiting):
        answer = await report(bot, message)
        assert (answer.content, answer.ephemeral) == (NOT_A_RESULT, True)
    assert await bot.context.reports.open_reports(bot.playground.world.guild_id) == ()


@pytest.mark.parametrize(
    ("label", "answer", "refunded"),
    [
        ("Remove", "Removed.", False),
        ("Remove and refund", "Removed. The author's images are refunded.", True),
        ("Dismiss", "Dismissed. The result stays.", None),
    ],
)
async def test_a_decision_is_carried_out_once(
    bot: Bot, label: str, answer: str, refunded: bool | None
) -> None:
    message, job = await result_of(bot)
    before = await used(bot)
    await report(bot, message)
    shown = await entry(bot, "Report: 1 member")
    assert await press(bot, shown, label) == answer
    removed = refunded is not None
    assert (message.id not in bot.playground.world.messages) == removed
    assert await used(bot) == (0 if refunded else before)

    await decided(bot, shown)
    assert f"by <@{bot.member('Mo').id}>" in said(shown)
    assert shown.attachments, "the picture stays on the entry"
    again = await click(bot, await as_it_was(bot, shown), button(label, 1), who="Keeper")
    assert f"already {answered(label)} by <@{bot.member('Mo').id}>" in await said_to(bot, again)
    if removed:
        show = await bot.ask("show", id=job.id)
        assert "A moderator removed this result" in show.content


async def as_it_was(bot: Bot, shown: Message) -> Message:
    """Give a decided entry a button again, as a second moderator may still see it."""
    row = {
        "type": 1,
        "id": 1,
        "components": [
            {"type": 2, "id": 2, "style": 2, "label": "x", "custom_id": "gb-mod:dismiss:1"}
        ],
    }
    shown.components = [row]
    return shown


def button(label: str, ident: int) -> str:
    verbs = {"Remove": "remove", "Remove and refund": "refund", "Dismiss": "dismiss"}
    return f"gb-mod:{verbs[label]}:{ident}"


def answered(label: str) -> str:
    done = {"Remove": "removed", "Remove and refund": "removed and refunded"}
    return done.get(label, "dismissed")


async def test_two_moderators_at_once_get_one_action(bot: Bot) -> None:
    message, _ = await result_of(bot)
    await report(bot, message)
    shown = await entry(bot, "Report: 1 member")
    pressed = [await bot.member(who).press(shown, "Remove and refund") for who in ("Mo", "Keeper")]
    texts = sorted(said(one) for one in await asyncio.gather(*(one.answered() for one in pressed)))
    assert texts[0].startswith("It was already removed and refunded by <@")
    assert texts[1].startswith("Removed.")
    assert await used(bot) == 0
    entries = await bot.context.quotas.history(bot.playground.world.guild_id, bot.member("Ada").id)
    assert [one.kind for one in entries].count("grant") == 1


async def test_a_block_asks_for_how_long_and_leaves_the_result_to_decide(bot: Bot) -> None:
    message, _ = await result_of(bot)
    await report(bot, message)
    shown = await entry(bot, "Report: 1 member")
    opened = await (await bot.member("Mo").press(shown, "Block author")).acked()
    wrong = await bot.member("Mo").submit_modal(opened, {"for": "0", "reason": "rude"})
    assert "for" in (await wrong.answered()).content
    sent = await bot.member("Mo").submit_modal(opened, {"for": "2h", "reason": "rude"})
    assert "is blocked until" in (await sent.answered()).content
    (block,) = await bot.context.moderation.blocks(bot.playground.world.guild_id)
    assert (block.user_id, block.reason) == (bot.member("Ada").id, "rude")
    late = await bot.member("Keeper").submit_modal(opened_by(bot, opened, "Keeper"), {"for": ""})
    assert "already blocked by" in (await late.answered()).content

    await bot.playground.until(lambda _: "Author blocked until" in said(shown))
    assert labels(shown) == ["Remove", "Remove and refund", "Dismiss"]
    await entry(bot, "Member blocked")
    assert await press(bot, shown, "Remove") == "Removed."


def opened_by(bot: Bot, opened: Invocation, who: str) -> Invocation:
    """Return a form as if another member had opened it, too."""
    opened.interaction.user = bot.member(who).user
    return opened


async def test_buttons_work_after_a_restart(
    playground: Playground, settings: Settings, clock: Clock
) -> None:
    async with running(playground, settings, clock) as bot:
        bot.dispatch()
        await set_log_channel(bot)
        message, _ = await result_of(bot)
        await report(bot, message)
        shown = await entry(bot, "Report: 1 member")
    async with running(playground, settings, clock) as bot:
        assert await press(bot, shown, "Remove") == "Removed."
        assert message.id not in playground.world.messages


async def test_a_removal_that_was_interrupted_continues_after_a_restart(
    playground: Playground, settings: Settings, clock: Clock
) -> None:
    async with running(playground, settings, clock) as bot:
        bot.dispatch()
        await set_log_channel(bot)
        message, job = await result_of(bot)
        guild = playground.world.guild_id
        mo = moderator(bot)
        # Saved, and the process ends before the first call to Discord.
        await bot.context.reports.remove(guild, job, reason="not ours", by=mo)
    assert message.id in playground.world.messages
    async with running(playground, settings, clock) as bot:
        await playground.until(lambda world: message.id not in world.messages)
        await entry(bot, "not ours")
        async for _ in turns():
            if not await bot.context.messages.pending_removals():
                break
        else:
            raise AssertionError("the removal never ends")


async def test_a_moderator_removes_a_result_with_its_evidence(bot: Bot) -> None:
    message, job = await result_of(bot)
    copy = await bot.ask("show", id=job.id)
    with pytest.raises(ClientError, match="permission"):
        await bot.member("Ben").message_command("Remove this result", message)
    opened = await (await bot.member("Mo").message_command("Remove this result", message)).acked()
    sent = await bot.member("Mo").submit_modal(opened, {"reason": "against rule 3"})
    assert (await sent.answered()).content == "Removed."
    assert message.id not in bot.playground.world.messages
    shown = await entry(bot, "Result removed")
    for fact in ("against rule 3", "heron", f"<@{bot.member('Mo').id}>"):
        assert fact in said(shown)
    assert shown.attachments
    bot.clock.pass_time(seconds=2)
    menu = await bot.member("Ada").select(copy, "Open an image …", ["cell:1:1"])
    assert "A moderator removed this result" in await said_to(bot, menu)
    again = await bot.member("Keeper").submit_modal(
        opened_by(bot, opened, "Keeper"), {"reason": ""}
    )
    assert (await again.answered()).content == "This result was already removed."


async def test_the_delete_button_of_a_moderator_leaves_evidence_too(bot: Bot) -> None:
    message, _ = await result_of(bot)
    asked = await (await bot.member("Mo").press(message, "Delete")).answered()
    done = await bot.member("Mo").press(asked, asked.controls()[0]["label"])
    await bot.playground.until(lambda world: message.id not in world.messages)
    await done.acked()
    assert (await entry(bot, "Result removed")).attachments


async def test_moderators_see_quota_and_requests_of_a_member(bot: Bot) -> None:
    await result_of(bot)
    for name, words in (("Quota of this member", "4 of 120"), ("Requests of this member", "heron")):
        asked = await bot.member("Mo").user_command(name, "imagine", "Ada")
        answer = await asked.answered()
        assert answer.ephemeral
        assert words in said(answer)
        with pytest.raises(ClientError, match="permission"):
            await bot.member("Ben").user_command(name, "imagine", "Ada")


async def decided(bot: Bot, shown: Message) -> None:
    """Wait until an entry has no buttons any more."""
    await bot.playground.until(lambda _: not shown.controls())


async def test_held_requests_are_decided_on_their_entry(bot: Bot) -> None:
    guild = bot.playground.world.guild_id
    mo = moderator(bot)
    await bot.context.moderation.add_word(
        guild, "heron", whole_word=True, channel_id=None, effect="hold", adult=False, by=mo
    )
    first = await bot.imagine("a heron")
    second = await bot.imagine("another heron", who="Ben")
    for job, label, done in ((first, "Approve", "Approved."), (second, "Reject", "Rejected.")):
        shown = await entry(bot, f"`{job.id[:8]}`")
        assert labels(shown) == ["Approve", "Reject"]
        refused = await click(bot, shown, shown.controls()[0]["custom_id"], who="Ada")
        assert "Only moderators" in await said_to(bot, refused)
        assert (await press(bot, shown, label)).startswith(done)
        await decided(bot, shown)
    await bot.finished(first)
    third = await bot.imagine("a heron again", who="Ben")
    shown = await entry(bot, f"`{third.id[:8]}`")
    await bot.ask("cancel", who="Ben", what=third.id)
    await decided(bot, shown)
    assert "Done: Cancelled by the member" in said(shown)
    assert await used(bot, "Ben") == 0


@pytest.mark.parametrize("manages_threads", [True, False])
@pytest.mark.parametrize("fault", ["", "no answer", "unavailable"])
async def test_the_rows_go_with_the_result(
    playground: Playground,
    tmp_path: Path,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    manages_threads: bool,
    fault: str,
) -> None:
    hurry_library(monkeypatch)
    world = playground.world
    if manages_threads:
        role = next(role for role in world.roles.values() if role.managed)
        role.permissions |= permissions.MANAGE_THREADS
    async with open_harness(playground, tmp_path, clock, rows="auto") as harness:
        message = await harness.result()
        await playground.until(lambda _: str(message.components).count("/channels/") == 2)
        found = await harness.messages.job_of(message.id)
        job = await harness.queue.jobs.get(found or "")
        assert job is not None
        context, client = harness.client.context, harness.client
        mo = Actor(harness.member("Mo").id, "Mo", moderator=True)
        await context.reports.remove(world.guild_id, job, reason="", by=mo)
        path = f"/channels/{message.channel_id}/messages/{message.id}$"
        if fault == "no answer":
            world.faults.drop("DELETE", path, carried_out=True)
        elif fault == "unavailable":
            world.faults.answer("DELETE", path, status=500, times=10)
        problem = await remove_result(client, job.id)
        if fault == "unavailable":
            assert "tried again" in problem
            assert context.removal_pending.is_set()
            world.faults.clear()
        assert await remove_result(client, job.id) == ""
        assert message.id not in world.messages
        assert (message.id in world.channels) == (not manages_threads)
        if not manages_threads:
            assert world.messages_in(message.id) == []
        assert await context.messages.pending_removals() == ()
        assert await context.messages.pending_rows() == ()
