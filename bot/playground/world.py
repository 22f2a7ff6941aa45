"""The whole little Discord in one value: its state, its rules and its people, without a network.

``World()`` is ready to use: the server "Gridbrush Arts" with channels, members and the bot's
account. The clock and the randomness may be passed in; time never passes by itself here.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime

from bot.playground.board import MessageBoard
from bot.playground.client import MemberClient
from bot.playground.commands import CommandRegistry
from bot.playground.desk import InteractionRegistry
from bot.playground.entities import Channel, Json, User
from bot.playground.faults import Faults
from bot.playground.posts import Message
from bot.playground.realm import GuildState
from bot.playground.scene import seed_guild


def utc_now() -> datetime:
    """Return the present moment, aware."""
    return datetime.now(UTC)


class World(GuildState):
    """A furnished realm with its message board, its desk for interactions and its commands.

    ``now`` is any clock of aware moments; ``rng`` makes tokens and secrets, the system's randomness
    unless a seeded generator is given. ``faults`` is what the server should do wrong on purpose.
    """

    def __init__(
        self,
        *,
        now: Callable[[], datetime] = utc_now,
        rng: random.Random | None = None,
    ) -> None:
        super().__init__(now, random.SystemRandom() if rng is None else rng)
        seed_guild(self)
        self.faults = Faults(now)
        self.commands = CommandRegistry(self.application_id, self.mint, now)
        self.message_board = MessageBoard(self)
        self.interactions = InteractionRegistry(self, self.message_board, self.commands)
        self.client = MemberClient(self, self.message_board, self.interactions, self.commands)

    def delete_message(self, which: int | Message) -> None:
        """Delete a message, as a moderator would."""
        self.message_board.delete(self.message(which.id if isinstance(which, Message) else which))

    def say(self, who: str | int | User, where: str | int | Channel, content: str) -> Message:
        """Post a person's plain message."""
        return self.client.say(self.user(who), self.channel(where), content)

    def command(self, name: str) -> Json:
        """Return a registered command by name, as Discord holds it."""
        for command in self.commands.all():
            if command["name"] == name:
                return command
        raise KeyError(name)

    def sweep(self) -> None:
        """Give up the interactions that the clock says were not answered in time."""
        self.interactions.sweep()
