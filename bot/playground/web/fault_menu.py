"""List the faults that the page can start and stop, with their choices and state.

Faults of requests are injected by ``rest.faults``. The fault of the bot's database is injected by
its owner, through ``offer_store_fault``.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bot.playground.client.command_options import ClientError
from bot.playground.rest.faults import ERROR_PAGE, Fault
from bot.playground.state.models import Channel, Json, User
from bot.playground.state.world import World

StoreFault = Callable[[float], Awaitable[None]]
"""Block writes to the bot's database for the given seconds; cancelling ends it."""
Choices = tuple[tuple[str, float], ...]

ONCE: Choices = (("Next", 0),)
SWITCH: Choices = (("On", 0),)


@dataclass(frozen=True, slots=True)
class MenuContext:
    """The member who uses the menu, and their current channel."""

    user: User
    channel: Channel


@dataclass(frozen=True, slots=True)
class MenuEntry:
    """A fault in the menu. ``choices`` are labels with a value, mostly seconds.

    ``seconds_left`` returns None while the fault is inactive, infinity if it has no end.
    """

    group: str
    label: str
    about: str
    choices: Choices
    start: Callable[[MenuContext, float], None]
    stop: Callable[[], None]
    seconds_left: Callable[[], float | None]


class FaultMenu:
    """Start and stop the faults of one world by name."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._entries: dict[str, MenuEntry] = (
            self._request_fault_entries() | self._permission_entries()
        )
        self._denials: list[tuple[int, tuple[str, ...]]] = []
        self._store_task: asyncio.Task[None] | None = None
        self._store_fault_ends_at = 0.0

    def state(self) -> list[Json]:
        """Return all entries as JSON; ``left`` is in seconds, null if there is no end."""
        shown: list[Json] = []
        for name, entry in self._entries.items():
            left = entry.seconds_left()
            shown.append(
                {
                    "id": name,
                    "group": entry.group,
                    "label": entry.label,
                    "about": entry.about,
                    "choices": [{"label": label, "value": value} for label, value in entry.choices],
                    "active": left is not None,
                    "left": left if left is not None and math.isfinite(left) else None,
                }
            )
        return shown

    def start(self, name: object, value: object, context: MenuContext) -> None:
        """Start or restart a fault with one of its choices. Raises ClientError."""
        entry = self._entry(name)
        allowed = {choice for _, choice in entry.choices}
        if isinstance(value, bool) or not isinstance(value, int | float) or value not in allowed:
            raise ClientError("This fault has no such choice")
        entry.stop()
        entry.start(context, value)

    def stop(self, name: object) -> None:
        """Stop a fault. Idempotent. Raises ClientError for an unknown name."""
        self._entry(name).stop()

    def stop_all(self) -> None:
        """Stop all faults."""
        for entry in self._entries.values():
            entry.stop()

    def offer_store_fault(self, hold: StoreFault) -> None:
        """Add the fault that blocks writes to the bot's database."""

        def start(_context: MenuContext, seconds: float) -> None:
            loop = asyncio.get_running_loop()
            self._store_fault_ends_at = loop.time() + seconds
            self._store_task = asyncio.ensure_future(hold(seconds))
            # If it fails, the entry is inactive again.
            self._store_task.add_done_callback(lambda task: task.cancelled() or task.exception())

        def stop() -> None:
            if self._store_task is not None:
                self._store_task.cancel()

        def seconds_left() -> float | None:
            if self._store_task is None or self._store_task.done():
                return None
            return max(0.0, self._store_fault_ends_at - asyncio.get_running_loop().time())

        self._entries["store"] = MenuEntry(
            "Database",
            "Database is locked",
            "Another process locks the database. Reads still work.",
            (("5 s", 5), ("30 s", 30)),
            start,
            stop,
            seconds_left,
        )

    async def aclose(self) -> None:
        """Stop all faults and wait for the database fault to end."""
        self.stop_all()
        if self._store_task is not None:
            await asyncio.gather(self._store_task, return_exceptions=True)

    def _entry(self, name: object) -> MenuEntry:
        entry = self._entries.get(name) if isinstance(name, str) else None
        if entry is None:
            raise ClientError("There is no such fault")
        return entry

    # Faults of requests

    def _request_fault(
        self,
        group: str,
        label: str,
        about: str,
        choices: Choices,
        make: Callable[[float], Fault],
    ) -> MenuEntry:
        running: list[Fault] = []
        faults = self._world.faults

        def start(_context: MenuContext, value: float) -> None:
            running.append(make(value))

        def stop() -> None:
            while running:
                faults.remove(running.pop())

        def seconds_left() -> float | None:
            if not running or not faults.is_active(running[-1]):
                return None
            ends_at = running[-1].ends_at
            if ends_at is None:
                return math.inf
            return (ends_at - self._world.now()).total_seconds()

        return MenuEntry(group, label, about, choices, start, stop, seconds_left)

    def _request_fault_entries(self) -> dict[str, MenuEntry]:
        faults = self._world.faults
        page = ERROR_PAGE % "503 Service Unavailable"
        connection, result, files = "Discord", "The next file", "File sizes"
        return {
            "away": self._request_fault(
                connection,
                "Discord is unavailable",
                "All connections break, and all new ones.",
                (("1 s", 1), ("10 s", 10), ("60 s", 60)),
                faults.away,
            ),
            "unavailable": self._request_fault(
                connection,
                "503 for every request",
                "Discord's proxy responds with an HTML page.",
                (("10 s", 10), ("60 s", 60)),
                lambda seconds: faults.answer("*", "", 503, page=page, seconds=seconds),
            ),
            "rate_limit": self._request_fault(
                connection,
                "429 without Via",
                "Cloudflare blocks this IP address and sends an HTML page.",
                (("15 s", 15), ("60 s", 60)),
                lambda seconds: faults.rate_limit("*", "", seconds, seconds=seconds, via=False),
            ),
            "cut_before": self._request_fault(
                result,
                "Drop before it is posted",
                "The connection breaks; the message is not posted.",
                ONCE,
                lambda _: faults.drop("*", "", times=1, over_bytes=0),
            ),
            "cut_after": self._request_fault(
                result,
                "Drop after it is posted",
                "The connection breaks; the message is posted.",
                ONCE,
                lambda _: faults.drop("*", "", times=1, over_bytes=0, carried_out=True),
            ),
            "no_answer": self._request_fault(
                result,
                "No response",
                "Nothing is posted; the connection stays open until the bot gives up.",
                ONCE,
                lambda _: faults.no_answer("*", "", times=1, over_bytes=0),
            ),
            "size": self._request_fault(
                files,
                "Reject files as too large",
                "413 with Discord's code 40005.",
                (("All", 0), ("> 100 KB", 100_000), ("> 1 MB", 1_000_000)),
                lambda max_bytes: faults.limit_files(int(max_bytes)),
            ),
            "size_page": self._request_fault(
                files,
                "Reject files at the proxy",
                "413 with an HTML page and no Discord code.",
                (("All", 0), ("> 100 KB", 100_000), ("> 1 MB", 1_000_000)),
                lambda max_bytes: faults.limit_files(int(max_bytes), page=True),
            ),
        }

    # Permissions and membership

    def _permission_fault(
        self,
        label: str,
        about: str,
        apply: Callable[[MenuContext], Callable[[], None]],
    ) -> MenuEntry:
        """Return an entry for a change; ``apply`` makes it and returns the function to undo it."""
        undo: list[Callable[[], None]] = []

        def start(context: MenuContext, _value: float) -> None:
            undo.append(apply(context))

        def stop() -> None:
            while undo:
                undo.pop()()

        return MenuEntry(
            "Permissions",
            label,
            about,
            SWITCH,
            start,
            stop,
            lambda: math.inf if undo else None,
        )

    def _permission_entries(self) -> dict[str, MenuEntry]:
        return {
            "no_files": self._permission_fault(
                "No files in this channel",
                "The bot has no Attach Files permission here.",
                lambda context: self._deny(context.channel, "ATTACH_FILES"),
            ),
            "no_messages": self._permission_fault(
                "No messages in this channel",
                "The bot has no Send Messages permission here.",
                lambda context: self._deny(
                    context.channel, "SEND_MESSAGES", "SEND_MESSAGES_IN_THREADS"
                ),
            ),
            "locked": self._permission_fault(
                "This thread is locked",
                "Nobody can post here.",
                self._lock_thread,
            ),
            "archived": self._permission_fault(
                "This thread is archived",
                "Its messages cannot be edited; a new message unarchives it.",
                self._archive_thread,
            ),
            "kicked": self._permission_fault(
                "The bot is kicked", "The bot is not a member of the server.", self._kick
            ),
            "no_dms": self._permission_fault(
                "You accept no direct messages", "The bot gets error 50007.", self._close_dms
            ),
        }

    def _deny(self, channel: Channel, *names: str) -> Callable[[], None]:
        # A thread has the permissions of its parent channel.
        target = self._world.channels.get(channel.parent_id or 0, channel)
        if target.guild_id is None:
            raise ClientError("Direct messages have no permissions")
        denial = (target.id, names)
        self._denials.append(denial)
        self._apply_denials(target.id)

        def undo_denial() -> None:
            self._denials.remove(denial)
            self._apply_denials(target.id)

        return undo_denial

    def _apply_denials(self, channel_id: int) -> None:
        """Set the deny overwrite of a channel to the permissions of all active entries."""
        if channel_id in self._world.channels:
            denied = [name for at, names in self._denials if at == channel_id for name in names]
            self._world.add_deny_overwrite(channel_id, *denied)

    def _lock_thread(self, context: MenuContext) -> Callable[[], None]:
        thread = self._require_thread(context)
        self._world.set_thread(thread, locked=True)
        return lambda: self._change_thread(thread, locked=False)

    def _archive_thread(self, context: MenuContext) -> Callable[[], None]:
        thread = self._require_thread(context)
        self._world.set_thread(thread, archived=True)
        return lambda: self._change_thread(thread, archived=False)

    def _require_thread(self, context: MenuContext) -> Channel:
        if context.channel.thread is None:
            raise ClientError("Open a thread first")
        return context.channel

    def _change_thread(self, channel: Channel, **change: bool) -> None:
        if channel.id in self._world.channels:
            self._world.set_thread(channel, **change)

    def _kick(self, _context: MenuContext) -> Callable[[], None]:
        self._world.kick_bot()
        return self._world.invite_bot

    def _close_dms(self, context: MenuContext) -> Callable[[], None]:
        self._world.set_direct_messages(context.user, accepted=False)
        return lambda: self._world.set_direct_messages(context.user, accepted=True)
