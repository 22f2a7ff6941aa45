"""The Discord client: intents, command discovery and command registration.

Set-up runs once in ``setup_hook``, before the gateway connects. Reconnecting: ``gateway.py``.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import json
import logging
import pkgutil
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeAlias

import discord
from discord import app_commands

from bot.domain.errors import NotAllowed, RequestError
from bot.domain.json_parser import parse_json
from bot.files import atomic_write
from bot.frontend import commands
from bot.frontend.ack_latency import AckLatency
from bot.frontend.component_handlers import (
    DYNAMIC_ITEMS,
    ItemType,
    refuse_unknown,
)
from bot.frontend.context import AnyCommand, BotContext, ContextClient
from bot.frontend.formatting import escape_user_text
from bot.frontend.responses import send_error
from bot.services.gallery import GalleryPoster
from bot.services.moderation_poster import LogPoster
from bot.services.queue import limit_waits

log = logging.getLogger(__name__)

FormHandler: TypeAlias = Callable[[discord.Interaction[Any]], Awaitable[bool]]
"""Handles an interaction if it is a form of its own, and returns whether it was."""
GLOBAL_SCOPE: Final = "global"
_NO_COMMANDS: Final = "none"


class CommandSync:
    """Registers commands that changed. ``path`` stores digests; its folder must exist."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def sync(
        self,
        tree: app_commands.CommandTree[Any],
        application_id: int,
        guilds: Sequence[int] = (),
    ) -> tuple[str, ...]:
        """Register the commands of ``tree`` where they changed; return the changed scopes.

        With ``guilds`` the commands are registered there, else globally, and removed elsewhere:
        Discord shows a command twice that is registered twice. A server that refuses is skipped.
        Raises discord.HTTPException if Discord is unavailable.
        """
        stored = await asyncio.to_thread(self._read)
        digests = dict(stored.get(str(application_id), {}))
        scopes = {str(guild) for guild in guilds} or {GLOBAL_SCOPE}
        changed = []
        for scope in sorted(scopes | set(digests)):
            wanted = _digest(tree, scope) if scope in scopes else _NO_COMMANDS
            if digests.get(scope, _NO_COMMANDS) == wanted:
                continue
            try:
                await tree.sync(guild=_guild(scope))
            except discord.Forbidden as error:
                if scope not in scopes:
                    # A server that the bot has left shows its commands to nobody.
                    del digests[scope]
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
            digests[scope] = wanted
            # At once: the next scope may fail, and this call need not be made again.
            await self._save(stored, application_id, digests)
        await self._save(stored, application_id, digests)
        return tuple(changed)

    async def _save(
        self, stored: dict[str, dict[str, str]], application_id: int, digests: dict[str, str]
    ) -> None:
        kept = {scope: digest for scope, digest in digests.items() if digest != _NO_COMMANDS}
        if stored.get(str(application_id)) != kept:
            stored[str(application_id)] = kept
            try:
                await asyncio.to_thread(self._write, stored)
            except OSError as error:
                # Discord has the commands; without the file they are registered once more.
                log.warning(
                    "%s cannot be written (%s): the commands will be registered again at the next "
                    "start",
                    self._path.name,
                    error.strerror or error,
                )

    def _read(self) -> dict[str, dict[str, str]]:
        """Return the stored digests, empty if the file cannot be read. Blocking."""
        try:
            data = parse_json(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        if not isinstance(data, dict):
            return {}
        return {
            str(application): {str(scope): str(digest) for scope, digest in scopes.items()}
            for application, scopes in data.items()
            if isinstance(scopes, dict)
        }

    def _write(self, stored: dict[str, dict[str, str]]) -> None:
        """Store the digests; an error is logged and costs one more registration. Blocking."""
        try:
            with atomic_write(self._path) as part:
                part.write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")
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


def load_commands(context: BotContext) -> tuple[AnyCommand, ...]:
    """Build and return the commands of all modules in ``commands``, by module name.

    A module with a ``PARENT`` builds subcommands, which join the group of that name.
    """
    found: list[AnyCommand] = []
    children: list[tuple[str, AnyCommand]] = []
    for module in _command_modules():
        built = module.build(context)
        several = built if isinstance(built, tuple) else (built,)
        if parent := getattr(module, "PARENT", ""):
            children += [(parent, command) for command in several]
        else:
            found.extend(several)
    groups = {group.name: group for group in found if isinstance(group, app_commands.Group)}
    for parent, command in children:
        assert not isinstance(command, app_commands.ContextMenu), "a menu is in no group"
        groups[parent].add_command(command)
    return tuple(found)


def load_dynamic_items() -> tuple[ItemType, ...]:
    """Return the dynamic items of all command modules; they work after a restart too."""
    return tuple(item for module in _command_modules() for item in getattr(module, "ITEMS", ()))


def load_form_handlers() -> tuple[FormHandler, ...]:
    """Return the handlers of all command modules for submitted forms."""
    return tuple(
        handler for module in _command_modules() for handler in getattr(module, "FORM_HANDLERS", ())
    )


def _command_modules() -> Iterator[ModuleType]:
    for module in sorted(pkgutil.iter_modules(commands.__path__), key=lambda info: info.name):
        yield importlib.import_module(f"{commands.__name__}.{module.name}")


MAX_RATE_LIMIT_S = 30.0
COMMAND_OUTDATED_MESSAGE = (
    "This command has changed since you started Discord. Restart Discord (Ctrl+R) and try again."
)


def ignore(seconds: float) -> None:
    """Ignore the measured seconds."""


class BotCommandTree(app_commands.CommandTree["GridbrushClient"]):
    """Command tree that responds to every interaction, also after an error."""

    async def interaction_check(self, interaction: discord.Interaction[GridbrushClient], /) -> bool:
        """Allow everybody; limit waits for the store in the command's own task."""
        limit_waits()
        return True

    async def on_error(
        self,
        interaction: discord.Interaction[GridbrushClient],
        error: app_commands.AppCommandError,
        /,
    ) -> None:
        """Respond to the member whose command raised ``error``."""
        cause: Exception = error
        if isinstance(error, app_commands.CommandInvokeError):
            cause = error.original
        await send_error(interaction, to_user_error(cause))


def to_user_error(error: Exception) -> Exception:
    """Return the library's own refusals as a RequestError, any other error unchanged."""
    match error:
        case app_commands.CommandNotFound() | app_commands.CommandSignatureMismatch():
            return RequestError(COMMAND_OUTDATED_MESSAGE)
        case app_commands.TransformerError():
            return RequestError(
                f"{escape_user_text(str(error.value), 80)} cannot be used here. Choose a value "
                "from the list that Discord shows for this option."
            )
        case app_commands.NoPrivateMessage():
            return NotAllowed("This command works only on a server, not in direct messages.")
        case app_commands.CheckFailure():
            return NotAllowed("You are not allowed to use this command here.")
    return error


class GridbrushClient(ContextClient):
    """The bot's client.

    ``guilds`` are servers to register commands on; if empty, they are global. ``sync_file`` stores
    what was registered. ``observe_ack`` gets the seconds to each first response,
    ``on_rate_limit`` is called for every 429. ``signed_in`` is set once the bot can post.
    """

    def __init__(
        self,
        context: BotContext,
        build_log_poster: Callable[[ContextClient], LogPoster],
        build_gallery_poster: Callable[[ContextClient], GalleryPoster],
        *,
        sync_file: Path,
        guilds: Sequence[int] = (),
        observe_ack: Callable[[float], None] = ignore,
        on_rate_limit: Callable[[], None] = lambda: None,
        guild_ready_timeout: float = 2.0,
    ) -> None:
        acks = AckLatency(observe_ack, on_rate_limit, clock=time.monotonic)
        self.signed_in = asyncio.Event()
        super().__init__(
            context,
            build_log_poster,
            build_gallery_poster,
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
            max_ratelimit_timeout=MAX_RATE_LIMIT_S,
        )
        # A server's bot: elsewhere there is no moderator, and no quota that one has set.
        self.tree = BotCommandTree(
            self,
            allowed_contexts=app_commands.AppCommandContext(
                guild=True, dm_channel=False, private_channel=False
            ),
            allowed_installs=app_commands.AppInstallationType(guild=True, user=False),
        )
        self._ack_latency = acks
        self._guilds = tuple(guilds)
        self._items: tuple[ItemType, ...] = (*DYNAMIC_ITEMS, *load_dynamic_items())
        self._forms = load_form_handlers()
        self._command_sync = CommandSync(sync_file)

    async def setup_hook(self) -> None:
        """Add commands and dynamic items and register changed commands. Idempotent."""
        places: Any = [discord.Object(guild) for guild in self._guilds]
        for command in load_commands(self.context):
            if places:
                self.tree.add_command(command, guilds=places, override=True)
            else:
                self.tree.add_command(command, override=True)
        self.add_dynamic_items(*self._items)
        assert self.application_id is not None, "it is known after signing in"
        await self._command_sync.sync(self.tree, self.application_id, self._guilds)
        self.signed_in.set()

    async def on_interaction(self, interaction: discord.Interaction[discord.Client]) -> None:
        """Start timing, and respond to what no registered handler takes."""
        self._ack_latency.start(interaction.id)
        self.context.opened(0, interaction.user.id)
        for handle in self._forms:
            if await handle(interaction):
                break
        else:
            await refuse_unknown(interaction, self._items)

    async def on_error(self, event_method: str, /, *args: Any, **kwargs: Any) -> None:
        """Log the error of an event handler; the connection stays open."""
        log.exception("handling %s failed", event_method)  # noqa: LOG004 - called inside an except
