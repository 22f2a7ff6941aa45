"""How an interaction was, perhaps, acknowledged before its answer.

The library only remembers an acknowledgement whose receipt arrived.
"""

from __future__ import annotations

from typing import Any, Final

import discord

SILENT: Final = "quietly"
THINKING: Final = "thinking"
"""It says "is thinking" until that very message is edited."""

_KEY: Final = "acknowledged"


def acknowledged(interaction: discord.Interaction[Any]) -> str:
    """Return SILENT, THINKING, or nothing."""
    if interaction.extras.get(_KEY) == SILENT:
        return SILENT  # also where "is thinking" was taken back
    kind = interaction.response.type
    if kind is discord.InteractionResponseType.deferred_channel_message:
        return THINKING
    return str(interaction.extras.get(_KEY, ""))


def remember_acknowledged(interaction: discord.Interaction[Any], how: str) -> None:
    """Remember SILENT or THINKING, though no receipt arrived."""
    interaction.extras[_KEY] = how
