"""What the page offers to break by hand: each fault with its choices, and whether it is at work.

It names faults and starts them; how they spoil a request is for ``faults``. What lies outside the
wire, such as the bot's store, is broken by whoever owns it, through ``offer_store_fault``.
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
"""Keep the bot's store from being written for so many seconds; cancelling ends it."""
Choices = tuple[tuple[str, float], ...]

ONCE: Choices = (("Next", 0),)
SWITCH: Choices = (("On", 0),)


@dataclass(frozen=True, slots=True)
class Place:
    """Who breaks something, and in which channel they are."""

    user: User
    channel: Channel


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the menu. ``choices`` are labels with a value, mostly seconds.

    ``seconds_left`` returns None while the fault is not at work, infinity without an end.
    """

    group: str
    label: str
    about: str
    choices: Choices
    start: Callable[[Place, float], None]
    stop: Callable[[], None]
    seconds_left: Callable[[], float | None]


class FaultMenu:
    """The faults of one world that a person can start and stop, by name."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._entries: dict[str, Entry] = self._wire_entries() | self._world_entries()
        self._denials: list[tuple[int, tuple[str, ...]]] = []
        self._holding: asyncio.Task[None] | None = None
        self._held_until = 0.0

    def state(self) -> list[Json]:
        """Return every entry as the page shows it; ``left`` is in seconds, null without an end."""
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

    def start(self, name: object, value: object, place: Place) -> None:
        """Start a fault anew with one of its choices. Raises ClientRefusal for anything else."""
        entry = self._entry(name)
        allowed = {choice for _, choice in entry.choices}
        if isinstance(value, bool) or not isinstance(value, int | float) or value not in allowed:
            raise ClientError("This fault has no such choice")
        entry.stop()
        entry.start(place, value)

    def stop(self, name: object) -> None:
        """Stop a fault; one that is not at work is left as it is."""
        self._entry(name).stop()

    def stop_all(self) -> None:
        """Stop every fault."""
        for entry in self._entries.values():
            entry.stop()

    def offer_store_fault(self, hold: StoreFault) -> None:
        """Add the entry that keeps the bot's store from being written."""

        def start(_place: Place, seconds: float) -> None:
            loop = asyncio.get_running_loop()
            self._held_until = loop.time() + seconds
            self._holding = asyncio.ensure_future(hold(seconds))
            # Should it fail, the entry is simply no longer at work.
            self._holding.add_done_callback(lambda task: task.cancelled() or task.exception())

        def stop() -> None:
            if self._holding is not None:
                self._holding.cancel()

        def seconds_left() -> float | None:
            if self._holding is None or self._holding.done():
                return None
            return max(0.0, self._held_until - asyncio.get_running_loop().time())

        self._entries["store"] = Entry(
            "The bot's machine",
            "The store cannot be written",
            "Another program holds the database. What is read still comes.",
            (("5 s", 5), ("30 s", 30)),
            start,
            stop,
            seconds_left,
        )

    async def aclose(self) -> None:
        """Stop every fault and wait for what it held."""
        self.stop_all()
        if self._holding is not None:
            await asyncio.gather(self._holding, return_exceptions=True)

    def _entry(self, name: object) -> Entry:
        entry = self._entries.get(name) if isinstance(name, str) else None
        if entry is None:
            raise ClientError("There is no fault of that name")
        return entry

    # What happens on the wire

    def _wire(
        self,
        group: str,
        label: str,
        about: str,
        choices: Choices,
        make: Callable[[float], Fault],
    ) -> Entry:
        running: list[Fault] = []
        faults = self._world.faults

        def start(_place: Place, value: float) -> None:
            running.append(make(value))

        def stop() -> None:
            while running:
                faults.remove(running.pop())

        def seconds_left() -> float | None:
            if not running or not faults.waits(running[-1]):
                return None
            ends_at = running[-1].ends_at
            if ends_at is None:
                return math.inf
            return (ends_at - self._world.now()).total_seconds()

        return Entry(group, label, about, choices, start, stop, seconds_left)

    def _wire_entries(self) -> dict[str, Entry]:
        faults = self._world.faults
        page = ERROR_PAGE % "503 Service Unavailable"
        connection, result, files = "Discord", "The next file", "File sizes"
        return {
            "away": self._wire(
                connection,
                "Discord is away",
                "Every connection breaks, and every new one.",
                (("1 s", 1), ("10 s", 10), ("60 s", 60)),
                faults.away,
            ),
            "unavailable": self._wire(
                connection,
                "503 to everything",
                "Discord's proxy answers with a page.",
                (("10 s", 10), ("60 s", 60)),
                lambda seconds: faults.answer("*", "", 503, page=page, seconds=seconds),
            ),
            "rate_limit": self._wire(
                connection,
                "429 without Via",
                "Cloudflare bans this address: a page, no rate limit of Discord's.",
                (("15 s", 15), ("60 s", 60)),
                lambda seconds: faults.rate_limit("*", "", seconds, seconds=seconds, via=False),
            ),
            "cut_before": self._wire(
                result,
                "Cut before it is posted",
                "The connection breaks; the message is not there.",
                ONCE,
                lambda _: faults.drop("*", "", times=1, over_bytes=0),
            ),
            "cut_after": self._wire(
                result,
                "Cut after it is posted",
                "The connection breaks; the message is there all the same.",
                ONCE,
                lambda _: faults.drop("*", "", times=1, over_bytes=0, carried_out=True),
            ),
            "no_answer": self._wire(
                result,
                "No answer",
                "Nothing is posted and nothing is said until the bot gives up.",
                ONCE,
                lambda _: faults.no_answer("*", "", times=1, over_bytes=0),
            ),
            "size": self._wire(
                files,
                "Refuse files as too large",
                "413 with Discord's code 40005.",
                (("All", 0), ("> 100 KB", 100_000), ("> 1 MB", 1_000_000)),
                lambda most_bytes: faults.limit_files(int(most_bytes)),
            ),
            "size_page": self._wire(
                files,
                "Refuse files at the proxy",
                "413 with a page in place of Discord's code.",
                (("All", 0), ("> 100 KB", 100_000), ("> 1 MB", 1_000_000)),
                lambda most_bytes: faults.limit_files(int(most_bytes), page=True),
            ),
        }

    # What changes on the server

    def _switch(
        self,
        label: str,
        about: str,
        take: Callable[[Place], Callable[[], None]],
    ) -> Entry:
        """Make an entry of a change: ``take`` makes it and returns what gives it back."""
        undo: list[Callable[[], None]] = []

        def start(place: Place, _value: float) -> None:
            undo.append(take(place))

        def stop() -> None:
            while undo:
                undo.pop()()

        return Entry(
            "Rights",
            label,
            about,
            SWITCH,
            start,
            stop,
            lambda: math.inf if undo else None,
        )

    def _world_entries(self) -> dict[str, Entry]:
        return {
            "no_files": self._switch(
                "No files in this channel",
                "The bot lacks Attach Files here.",
                lambda place: self._deny(place.channel, "ATTACH_FILES"),
            ),
            "no_messages": self._switch(
                "No messages in this channel",
                "The bot lacks Send Messages here.",
                lambda place: self._deny(
                    place.channel, "SEND_MESSAGES", "SEND_MESSAGES_IN_THREADS"
                ),
            ),
            "locked": self._switch(
                "This thread is locked", "Nobody writes here.", lambda place: self._lock(place)
            ),
            "archived": self._switch(
                "This thread is archived",
                "Its messages cannot be edited; a new message opens it.",
                lambda place: self._lock(place, archive=True),
            ),
            "kicked": self._switch("The bot is off the server", "Kicked.", self._kick),
            "no_dms": self._switch(
                "You take no direct messages", "The bot is refused with 50007.", self._close_dms
            ),
        }

    def _deny(self, channel: Channel, *names: str) -> Callable[[], None]:
        # A thread has the rights of its channel.
        place = self._world.channels.get(channel.parent_id or 0, channel)
        if place.guild_id is None:
            raise ClientError("Direct messages have no permissions")
        denial = (place.id, names)
        self._denials.append(denial)
        self._apply_denials(place.id)

        def give_back() -> None:
            self._denials.remove(denial)
            self._apply_denials(place.id)

        return give_back

    def _apply_denials(self, channel_id: int) -> None:
        """Deny the bot in a channel what all entries together take from it."""
        if channel_id in self._world.channels:
            denied = [name for at, names in self._denials if at == channel_id for name in names]
            self._world.add_deny_overwrite(channel_id, *denied)

    def _lock(self, place: Place, *, archive: bool = False) -> Callable[[], None]:
        channel = place.channel
        if channel.thread is None:
            raise ClientError("Open a thread first")
        if archive:
            self._world.set_thread(channel, archived=True)
            return lambda: self._change_thread(channel, archived=False)
        self._world.set_thread(channel, locked=True)
        return lambda: self._change_thread(channel, locked=False)

    def _change_thread(self, channel: Channel, **change: bool) -> None:
        if channel.id in self._world.channels:
            self._world.set_thread(channel, **change)

    def _kick(self, _place: Place) -> Callable[[], None]:
        self._world.kick_bot()
        return self._world.invite_bot

    def _close_dms(self, place: Place) -> Callable[[], None]:
        self._world.set_direct_messages(place.user, accepted=False)
        return lambda: self._world.set_direct_messages(place.user, accepted=True)
