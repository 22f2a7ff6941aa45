"""The bot's Discord client: what it listens to, which commands it offers, and where Discord is.

Set-up happens once, before the gateway is joined; nothing hangs on being ready. What a command or
a button does is its own business, and keeping the connection alive is ``bot.frontend.gateway``'s.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import json
import logging
import pkgutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeAlias

import discord
from discord import app_commands

from bot.domain.errors import NotAllowed, RequestError
from bot.files import atomic_write
from bot.frontend import commands
from bot.frontend.ack_latency import AckLatency
from bot.frontend.component_handlers import DYNAMIC_ITEMS, refuse_unknown
from bot.frontend.context import BotContext, ContextClient
from bot.frontend.edit_modal import handle_modal_submit
from bot.frontend.formatting import escape_user_text
from bot.frontend.responses import send_error
from bot.services.queue import limit_waits

log = logging.getLogger(__name__)

AnyCommand: TypeAlias = (
    app_commands.Command[Any, ..., Any] | app_commands.Group | app_commands.ContextMenu
)
ItemType: TypeAlias = type[discord.ui.DynamicItem[Any]]


def load_commands(context: BotContext) -> tuple[AnyCommand, ...]:
    """Every command, built for this desk, by module name."""
    found: list[AnyCommand] = []
    for module in _modules():
        built = module.build(context)
        found.extend(built if isinstance(built, tuple) else (built,))
    return tuple(found)


def load_dynamic_items() -> tuple[ItemType, ...]:
    """The buttons and menus that commands bring along; they answer after a restart too."""
    return tuple(item for module in _modules() for item in getattr(module, "ITEMS", ()))


def _modules() -> Iterator[ModuleType]:
    for module in sorted(pkgutil.iter_modules(commands.__path__), key=lambda info: info.name):
        yield importlib.import_module(f"{commands.__name__}.{module.name}")


GLOBAL_SCOPE: Final = "global"
_NOTHING: Final = "none"


class CommandSync:
    """``path`` is the file that remembers; its folder must exist."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def sync(
        self,
        tree: app_commands.CommandTree[Any],
        application_id: int,
        guilds: Sequence[int] = (),
    ) -> tuple[str, ...]:
        """Bring Discord up to date with ``tree``; the scopes that had to be, if any.

        With ``guilds`` the commands live there, else globally; where they lived before they are
        taken away, since a command that is registered twice is shown twice. A server that the bot
        cannot reach is left out. Raises discord.HTTPException when Discord cannot be told.
        """
        known = await asyncio.to_thread(self._read)
        mine = dict(known.get(str(application_id), {}))
        scopes = {str(guild) for guild in guilds} or {GLOBAL_SCOPE}
        changed = []
        for scope in sorted(scopes | set(mine)):
            wanted = _digest(tree, scope) if scope in scopes else _NOTHING
            if mine.get(scope, _NOTHING) == wanted:
                continue
            try:
                await tree.sync(guild=_guild(scope))
            except discord.Forbidden as error:
                if scope not in scopes:
                    # A server that the bot has left shows its commands to nobody.
                    del mine[scope]
                    continue
                log.error(
                    "commands cannot be registered on server %s (%s): invite the bot there "
                    "with the scope applications.commands",
                    scope,
                    error.text,
                )
                continue
            log.info("registered the commands (%s)", scope)
            changed.append(scope)
            mine[scope] = wanted
            # At once: the next scope may fail, and this call need not be made again.
            await self._remember(known, application_id, mine)
        await self._remember(known, application_id, mine)
        return tuple(changed)

    async def _remember(
        self, known: dict[str, dict[str, str]], application_id: int, mine: dict[str, str]
    ) -> None:
        kept = {scope: digest for scope, digest in mine.items() if digest != _NOTHING}
        if known.get(str(application_id)) != kept:
            known[str(application_id)] = kept
            try:
                await asyncio.to_thread(self._write, known)
            except OSError as error:
                # Discord was told; what is lost is that it need not be told again next time.
                log.warning(
                    "%s cannot be written (%s): the commands will be registered again at the next "
                    "start",
                    self._path.name,
                    error.strerror or error,
                )

    def _read(self) -> dict[str, dict[str, str]]:
        """Blocking. What cannot be read is as good as nothing."""
        try:
            data = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        if not isinstance(data, dict):
            return {}
        return {
            str(application): {str(scope): str(digest) for scope, digest in scopes.items()}
            for application, scopes in data.items()
            if isinstance(scopes, dict)
        }

    def _write(self, known: dict[str, dict[str, str]]) -> None:
        """Blocking. What cannot be written costs one more call at the next start, and no more."""
        try:
            with atomic_write(self._path) as part:
                part.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            log.warning(
                "cannot write %s (%s): the commands are registered again at the next start",
                self._path,
                error.strerror or error,
            )


def _guild(scope: str) -> discord.Object | None:
    return None if scope == GLOBAL_SCOPE else discord.Object(int(scope))


def _digest(tree: app_commands.CommandTree[Any], scope: str) -> str:
    payload = [command.to_dict(tree) for command in tree.get_commands(guild=_guild(scope))]
    payload.sort(key=lambda command: (command["type"], command["name"]))
    # Enumerations and flags of discord.py are written as their numbers.
    text = json.dumps(payload, sort_keys=True, default=int)
    return hashlib.sha256(text.encode()).hexdigest()


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
    """The bot's connection to Discord.

    ``guilds`` are servers to register commands on at once; none means everywhere. ``registered`` is
    the file that remembers what was registered. ``acknowledged`` is told, for every interaction,
    the seconds from its arrival to its first answer, ``limited`` of every 429. ``signed_in`` is set
    once the bot can post.
    """

    def __init__(
        self,
        context: BotContext,
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
            context,
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
        for command in load_commands(self.context):
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
        self.context.opened(0, interaction.user.id)
        if not await handle_modal_submit(interaction):
            await refuse_unknown(interaction, self._items)

    async def on_error(self, event_method: str, /, *args: Any, **kwargs: Any) -> None:
        """An event handler failed; the connection goes on."""
        log.exception("handling %s failed", event_method)
