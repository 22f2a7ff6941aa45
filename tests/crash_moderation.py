"""The real bot, killed again and again: ``python -m tests.crash_moderation MOMENT ...``.

Each MOMENT is one life, which ends there with SIGKILL; the last life has none. A moment is an
action (``block``), for the instant after it was saved; ``posted:<action>`` for the instant after
Discord took its entry, before that was saved; ``deleted`` for the instant after Discord deleted a
message, before that was saved. Lives are forks of one process, so the imports are paid for once.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from typing import Any, Final

from bot.domain.events import MessageRef
from bot.frontend import messages
from bot.frontend.log_channel import DiscordLogChannel
from bot.runtime import run_until_stopped
from bot.services.reports import LogMessage
from bot.settings import Settings
from bot.store import moderation_log
from bot.store.database import Database
from tests.crash_program import die

PR_SET_PDEATHSIG: Final = 1


def die_when_saved(action: str) -> None:
    """Die after the transaction that wants the entry of this action, or of a report."""
    want, write = moderation_log.want_message, Database.write
    seen: list[str] = []  # by the writer's thread, which runs one function at a time

    def want_and_note(connection: sqlite3.Connection, **message: Any) -> int:
        seen.extend((message["kind"], str(message["body"].get("action"))))
        return want(connection, **message)

    async def write_and_die(self: Database, function: Callable[[sqlite3.Connection], Any]) -> Any:
        saw: list[str] = []

        def run(connection: sqlite3.Connection) -> Any:
            seen.clear()
            result = function(connection)
            saw[:] = seen
            return result

        result = await write(self, run)
        if action in saw:
            die()
        return result

    moderation_log.want_message = want_and_note
    Database.write = write_and_die  # type: ignore[method-assign]


def die_when_posted(action: str) -> None:
    """Die between Discord's yes to an entry and its being written down."""
    post = DiscordLogChannel.post

    async def post_and_die(
        self: DiscordLogChannel, channel_id: int, message: LogMessage
    ) -> MessageRef:
        place = await post(self, channel_id, message)
        if action in (message.kind, message.body.get("action")):
            die()
        return place

    DiscordLogChannel.post = post_and_die  # type: ignore[method-assign]


def die_when_deleted() -> None:
    """Die between Discord's yes to a deletion and its being written down."""
    delete = messages.delete

    async def delete_and_die(*arguments: Any) -> None:
        await delete(*arguments)
        die()

    messages.delete = delete_and_die  # type: ignore[assignment]


async def live(moment: str) -> None:
    kind, _, action = moment.partition(":")
    if kind == "posted":
        die_when_posted(action)
    elif kind == "deleted":
        die_when_deleted()
    elif kind:
        die_when_saved(kind)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    settings = Settings.load(None, dict(os.environ))
    await run_until_stopped(settings, stop, guild_ready_timeout=0.1)


def main(moments: list[str]) -> None:
    for moment in moments:
        child = os.fork()
        if child:
            _, status = os.waitpid(child, 0)
            assert os.WIFSIGNALED(status), f"it has survived {moment}"
            assert os.WTERMSIG(status) == signal.SIGKILL, moment
            continue
        # Whoever kills the parent ends the test.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        asyncio.run(live(moment))
        os._exit(1)
    asyncio.run(live(""))


if __name__ == "__main__":
    main(sys.argv[1:])
