"""``kill -9`` between what moderators decide and its effect, with the real process.

One event is played over many lives of the bot. Each ends after an action was saved, or after
Discord did something that was not saved yet; the next goes on with what it finds.
"""

from __future__ import annotations

import contextlib
import signal
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.domain.job import JobState
from bot.playground.client.driver import Invocation, ResponseTimeout
from bot.playground.server import Playground
from bot.playground.state.models import Message
from bot.store.database import Database, Query
from bot.store.jobs import JobRepository
from bot.store.ledger import LedgerRepository
from tests.bot_process import bot_process, grids
from tests.frontend.application import said
from tests.test_crash import playground

__all__ = ["playground"]

pytestmark = [
    pytest.mark.xdist_group("crash"),
    pytest.mark.timing("runs the bot as a process, which a busy machine starts and stops late"),
]

SETTINGS = {"GRIDBRUSH_BACKEND__KIND": "scripted", "GRIDBRUSH_BACKEND__SCRIPTED__SPEED": "0"}
LIVES = (
    *("pause", "posted:pause", "block", "approve", "reject", "cancel", "report"),
    *("posted:report", "removed", "deleted"),
)


class Event:
    """The members and moderators, over all lives of the bot."""

    def __init__(self, playground: Playground) -> None:
        self.playground = playground

    async def asks(self, who: str, command: str, **options: object) -> str:
        """Use a command and return what the answer says."""
        asked = await self.playground.as_member(who).slash("imagine", command, **options)
        return said(await asked.answered())

    async def dies(self, used: Invocation | None = None) -> None:
        """Wait until this life ends, and for the next one."""
        await self.playground.until(lambda _: not self.playground.gateway.online, within=30)
        await self.playground.online(within=30)
        if used is not None:
            assert used.response is None or used.response.loading or used.callback == 6

    async def use(self, who: str, command: str, **options: object) -> Invocation:
        """Use a command that is the last thing this life hears of."""
        return await self.playground.as_member(who).slash("imagine", command, **options)

    async def form(self, who: str, action: str, message: Message) -> Invocation:
        """Use a message action and submit its form."""
        member = self.playground.as_member(who)
        opened = await (await member.message_command(action, message)).acked()
        if opened.modal is None:
            return opened
        return await member.submit_modal(opened, {"reason": "not ours"})

    async def told(self, used: Invocation) -> str:
        """What its user reads."""
        return said(await used.answered())


async def play(event: Event) -> Message:
    """Play the event through all lives; return the message that is removed."""
    world = event.playground.world
    job: dict[str, str] = {}
    await event.asks("Mo", "art-admin log", channel=world.channel("mod-log"))
    await event.asks("Mo", "art-admin words add", pattern="wolf", effect="hold")
    await event.asks("Ada", "imagine", prompt="a heron")
    result = await event.playground.until(lambda _: next(iter(grids(event.playground)), None))
    for name, prompt in (("yes", "a wolf in the snow"), ("no", "a wolf in the rain")):
        asked = await event.use("Ben", "imagine", prompt=prompt)
        await asked.answered()
        choices = await event.playground.as_member("Mo").autocomplete(
            "imagine", "art-admin decide", "request", decision="approve"
        )
        (job[name],) = {choice["value"] for choice in choices} - set(job.values())

    await event.dies(await event.use("Mo", "art-admin pause", reason="maintenance"))
    # Now it posts the entry, and dies before it knows that it did.
    await event.dies()
    assert "holds already" in await event.asks("Mo", "art-admin pause", reason="maintenance")

    await event.asks("Ada", "imagine", prompt="an owl")
    ada = event.playground.as_member("Ada")
    await event.dies(await event.use("Mo", "art-admin block", member=ada, reason="spam"))
    assert "already blocked" in await event.asks("Mo", "art-admin block", member=ada, reason="spam")

    decide = "art-admin decide"
    await event.dies(await event.use("Mo", decide, request=job["yes"], decision="approve"))
    assert "already approved by" in await event.asks(
        "Mo", decide, request=job["yes"], decision="approve"
    )
    await event.dies(await event.use("Mo", decide, request=job["no"], decision="reject"))
    assert "already rejected by" in await event.asks(
        "Mo", decide, request=job["no"], decision="approve"
    )

    asked = await event.use("Mo", "art-admin cancel", all=True)
    button = "Cancel 1 request"
    await event.dies(await event.playground.as_member("Mo").press(await asked.answered(), button))
    assert "nothing to cancel" in await event.asks("Mo", "art-admin cancel", all=True)

    await event.dies(await event.form("Ben", "Report to moderators", result))
    await event.dies()
    again = await event.form("Ben", "Report to moderators", result)
    assert "already reported" in await event.told(again)
    await event.dies(await event.form("Mo", "Remove this result", result))
    # Now it deletes the message, and dies before it knows that it did.
    await event.dies()
    return result


async def test_what_moderators_decide_happens_once_whenever_the_bot_is_killed(
    playground: Playground, tmp_path: Path
) -> None:
    event, world = Event(playground), playground.world
    program = ("-m", "tests.crash_moderation", *LIVES)
    async with bot_process(playground, tmp_path, SETTINGS, program) as process:
        result = await play(event)
        with contextlib.suppress(ResponseTimeout):
            assert "no longer" not in await event.asks("Mo", "art-admin status")
        entries = await playground.until(lambda _: complete(world.messages_in("mod-log")))
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0

    assert result.id not in world.messages
    marks = [embed["footer"]["text"] for one in entries for embed in one.embeds]
    assert len(set(marks)) == len(marks) == len(entries)
    titles = Counter(embed["title"] for one in entries for embed in one.embeds)
    for title in ("Requests paused", "Member blocked", "Requests cancelled", "Result removed"):
        assert titles[title] == 1, title
    assert titles["Waits for a moderator"] == 2
    report = next(one for one in entries if "Report: 1 member" in said(one))
    assert report.attachments
    assert not report.controls()

    async with await Database.open(
        tmp_path / "data" / "gridbrush.sqlite3", now=lambda: datetime.now(UTC)
    ) as database:
        audit = await database.read(
            Query("SELECT action FROM audit", (), lambda rows: [row["action"] for row in rows])
        )
        pending = await database.read(
            Query(
                "SELECT count(*) AS n FROM log_messages WHERE posted_at IS NULL",
                (),
                lambda rows: int(rows[0]["n"]),
            )
        )
        jobs = {job.request.prompt: job for job in await JobRepository(database).prefix("")}
        ledger = LedgerRepository(database)
        assert await ledger.check() == ()
        entries_of_all = [
            entry
            for who in ("Ada", "Ben")
            for entry in await ledger.history(world.guild_id, playground.as_member(who).id)
        ]
    done = "approve block cancel pause reject removed report-removed setting word-add"
    assert sorted(audit) == done.split()
    assert pending == 0
    assert jobs.pop("a heron").state is JobState.FINISHED
    assert {job.state for job in jobs.values()} == {JobState.CANCELLED}
    refunds = Counter(entry.job_id for entry in entries_of_all if entry.kind == "refund")
    assert refunds == Counter(job.id for job in jobs.values())


def complete(entries: list[Message]) -> list[Message] | None:
    """The entries, once the last ones are there and show how the report has ended."""
    shown = [said(one) for one in entries]
    done = any("Removed by" in text for text in shown) and any("Result removed" in t for t in shown)
    return entries if done else None
