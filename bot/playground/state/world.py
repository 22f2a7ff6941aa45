"""Combine the state and the rules of the emulated Discord, without a network.

``World()`` is ready to use: the guild "Gridbrush Arts" with channels, members and the bot. There
are no timers: the owner calls ``expire_unanswered``.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime

from bot.playground.client.member_client import MemberClient
from bot.playground.rest.faults import Faults
from bot.playground.state import permissions
from bot.playground.state.commands import CommandRegistry
from bot.playground.state.guild import GuildState
from bot.playground.state.interactions import InteractionRegistry
from bot.playground.state.messages import MessageBoard
from bot.playground.state.models import Channel, Json, Member, Message, Role, User


def seed_guild(guild: GuildState) -> None:
    """Create channels, members and the bot of an empty guild.

    One channel is age-restricted, one is the moderators' own, for their log.
    """
    guild.guild_id = guild.snowflakes.next_id()
    guild.guild_name = "Gridbrush Arts"
    everyone = Role(guild.guild_id, "@everyone", permissions.MEMBER)
    guild.roles[everyone.id] = everyone
    moderators = guild.add_role("Moderators", permissions.MODERATOR, color=0xE0A458)
    bots = guild.add_role("Gridbrush", permissions.BOT, color=0x6C8CFF)
    bots.managed = True

    owner = guild.add_member("keeper", "Keeper")
    guild.owner_id = owner.id
    guild.add_member("ada", "Ada")
    guild.add_member("ben", "Ben")
    guild.add_member("mo", "Mo", moderators)

    bot = User(guild.snowflakes.next_id(), "Gridbrush", bot=True)
    guild.users[bot.id] = bot
    guild.members[bot.id] = Member(bot, guild.now(), [bots.id])
    guild.application_id = bot.id
    # Three parts, as in Discord, for code that checks the format.
    guild.token = ".".join(f"{guild.rng.getrandbits(80):020x}" for _ in range(3))

    guild.add_channel("welcome", topic="Start here")
    guild.add_channel("imagine", topic="Type /imagine and describe a picture")
    guild.add_channel("gallery", topic="The best of what was made")
    guild.add_channel("random", topic="Anything else")
    guild.add_channel("after-dark", topic="Adults only", nsfw=True)
    log = guild.add_channel("mod-log", topic="What moderators did, and what waits for them")
    guild.overwrite(log, everyone, deny=permissions.VIEW_CHANNEL)
    for role in (moderators, bots):
        guild.overwrite(log, role, allow=permissions.VIEW_CHANNEL)


def utc_now() -> datetime:
    """Return the current time, timezone-aware."""
    return datetime.now(UTC)


class World(GuildState):
    """A guild with members, messages, interactions, commands and injected faults.

    ``now`` returns timezone-aware times. ``rng`` generates tokens and secrets; the default is the
    system's random source.
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
        self.commands = CommandRegistry(self.application_id, self.snowflakes, now)
        self.message_board = MessageBoard(self)
        self.interactions = InteractionRegistry(self, self.message_board, self.commands)
        self.client = MemberClient(self, self.message_board, self.interactions, self.commands)

    def delete_message(self, which: int | Message) -> None:
        """Delete a message, as a moderator does."""
        self.message_board.delete(self.message(which.id if isinstance(which, Message) else which))

    def say(self, who: str | int | User, where: str | int | Channel, content: str) -> Message:
        """Post a member's plain message. Raises ClientError."""
        return self.client.say(self.user(who), self.channel(where), content)

    def command(self, name: str) -> Json:
        """Return a registered command by name. Raises KeyError."""
        for command in self.commands.all():
            if command["name"] == name:
                return command
        raise KeyError(name)

    def expire_unanswered(self) -> None:
        """Mark every interaction as failed that got no response in time."""
        self.interactions.expire_unanswered()
