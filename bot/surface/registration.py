"""Telling Discord which commands there are, and only when that has changed.

What was registered last is remembered as digests in a small file, by application and server, so a
restart costs no call and none of the 200 creations a day. Losing the file costs one call.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import discord
from discord import app_commands

log = logging.getLogger(__name__)

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
        part = self._path.with_name(f".{self._path.name}.part")
        try:
            part.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
            part.replace(self._path)
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
