"""The bot's Discord client: what it listens to, which commands it offers, and where Discord is.

Set-up happens once, before the gateway is joined; nothing hangs on being ready. What a command or
a button does is its own business, and keeping the connection alive is ``bot.surface.connection``'s.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import discord
from discord import app_commands

from bot.domain.errors import NotAllowed, RequestError
from bot.engine.queue import limit_waits
from bot.surface.acknowledging import AckLatency
from bot.surface.answers import send_error
from bot.surface.buttons import DYNAMIC_ITEMS, refuse_unknown
from bot.surface.catalogue import ItemType, load_commands, load_dynamic_items
from bot.surface.desk import ContextClient
from bot.surface.editing import handle_modal_submit
from bot.surface.registration import CommandSync
from bot.surface.texts import escape_user_text

log = logging.getLogger(__name__)

LONGEST_RATE_LIMIT = 30.0
COMMAND_OUTDATED_MESSAGE = (
    "This command has changed since your Discord was started. Press Ctrl+R, or restart the app, "
    "and try again."
)


def ignore(seconds: float) -> None:
    """Nobody measures."""


class BotCommandTree(app_commands.CommandTree["GridbrushClient"]):
    """The commands; whatever goes wrong in one, its member gets an answer."""

    async def interaction_check(self, interaction: discord.Interaction[GridbrushClient], /) -> bool:
        """Let everybody pass, in time: the library asks first thing in the command's own task."""
        limit_waits()
        return True

    async def on_error(
        self,
        interaction: discord.Interaction[GridbrushClient],
        error: app_commands.AppCommandError,
        /,
    ) -> None:
        """The one place where a command's errors end."""
        cause: Exception = error
        if isinstance(error, app_commands.CommandInvokeError):
            cause = error.original
        await send_error(interaction, to_user_error(cause))


def to_user_error(error: Exception) -> Exception:
    """The library's own refusals as the member's to mend; anything else as it is."""
    match error:
        case app_commands.CommandNotFound() | app_commands.CommandSignatureMismatch():
            return RequestError(COMMAND_OUTDATED_MESSAGE)
        case app_commands.TransformerError():
            return RequestError(
                f"{escape_user_text(str(error.value), 80)} cannot be used here. Choose from the list that "
                "Discord offers for that option."
            )
        case app_commands.NoPrivateMessage():
            return NotAllowed("This works on a server only, not in direct messages.")
        case app_commands.CheckFailure():
            return NotAllowed("You may not use this command here.")
    return error


class GridbrushClient(ContextClient):
    """Set ``desk`` before it signs in.

    ``guilds`` are servers to register commands on at once; none means everywhere. ``registered`` is
    the file that remembers what was registered. ``acknowledged`` is told, for every interaction,
    the seconds from its arrival to its first answer, ``limited`` of every 429. ``signed_in`` is set
    once the bot can post.
    """

    def __init__(
        self,
        *,
        registered: Path,
        guilds: Sequence[int] = (),
        acknowledged: Callable[[float], None] = ignore,
        limited: Callable[[], None] = lambda: None,
        guild_ready_timeout: float = 2.0,
    ) -> None:
        acks = AckLatency(acknowledged, limited, clock=time.monotonic)
        self.signed_in = asyncio.Event()
        super().__init__(
            # Guilds alone: a thread's age restriction is its parent's, and channels' permissions
            # decide where a result can go. Nothing here is privileged.
            intents=discord.Intents(guilds=True),
            allowed_mentions=discord.AllowedMentions.none(),
            member_cache_flags=discord.MemberCacheFlags.none(),
            max_messages=None,
            http_trace=acks.trace_config(),
            guild_ready_timeout=guild_ready_timeout,
            # Longer waits are waited for outside of the library: one that is cancelled in there,
            # such as by a stop or a timeout, holds up every request after it.
            max_ratelimit_timeout=LONGEST_RATE_LIMIT,
        )
        # A server's bot: elsewhere there is no moderator, and no quota that one has set.
        self.tree = BotCommandTree(
            self,
            allowed_contexts=app_commands.AppCommandContext(
                guild=True, dm_channel=False, private_channel=False
            ),
            allowed_installs=app_commands.AppInstallationType(guild=True, user=False),
        )
        self._acks = acks
        self._guilds = tuple(guilds)
        self._items: tuple[ItemType, ...] = (*DYNAMIC_ITEMS, *load_dynamic_items())
        self._registration = CommandSync(registered)

    async def setup_hook(self) -> None:
        """Build commands and buttons, and tell Discord if they changed; may run again."""
        places: Any = [discord.Object(guild) for guild in self._guilds]
        for command in load_commands(self.desk):
            if places:
                self.tree.add_command(command, guilds=places, override=True)
            else:
                self.tree.add_command(command, override=True)
        self.add_dynamic_items(*self._items)
        assert self.application_id is not None, "it is known after signing in"
        await self._registration.sync(self.tree, self.application_id, self._guilds)
        self.signed_in.set()

    async def on_interaction(self, interaction: discord.Interaction[discord.Client]) -> None:
        """Start the watch; what the library passes on to nobody is answered here."""
        self._acks.start(interaction.id)
        self.desk.opened(0, interaction.user.id)
        if not await handle_modal_submit(interaction):
            await refuse_unknown(interaction, self._items)

    async def on_error(self, event_method: str, /, *args: Any, **kwargs: Any) -> None:
        """An event handler failed; the connection goes on."""
        log.exception("handling %s failed", event_method)
