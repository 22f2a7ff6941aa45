"""The root of a press and of a suggestion: whatever goes wrong in it, the member gets an answer.

The library only logs what a button or an autocomplete raises; the member would read that the
application did not respond.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias

import discord
from discord import app_commands

from bot.domain.errors import StoreUnavailable
from bot.engine.queue import limit_waits
from bot.surface.answers import send_error

log = logging.getLogger(__name__)

Suggest: TypeAlias = Callable[
    [discord.Interaction[Any], str], Coroutine[Any, Any, list[app_commands.Choice[str]]]
]


async def with_error_response(
    interaction: discord.Interaction[Any],
    act: Callable[[discord.Interaction[Any]], Awaitable[None]],
) -> None:
    """Act; a refusal is told in its own words, anything else is logged and apologised for."""
    limit_waits()
    try:
        await act(interaction)
    except Exception as error:
        await send_error(interaction, error)


def safe_autocomplete(suggest: Suggest) -> Suggest:
    """The same autocomplete, which suggests nothing where it would have failed."""

    @functools.wraps(suggest)
    async def safely(
        interaction: discord.Interaction[Any], typed: str
    ) -> list[app_commands.Choice[str]]:
        try:
            return await suggest(interaction, typed)
        except StoreUnavailable:
            return []
        except Exception:
            log.exception("interaction %s: nothing can be suggested", interaction.id)
            return []

    return safely
