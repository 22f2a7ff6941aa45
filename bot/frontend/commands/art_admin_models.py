"""``/art-admin models``: which roles may use which model."""

from __future__ import annotations

from functools import partial
from typing import Any, Final, TypeAlias

import discord
from discord import app_commands

from bot.domain.errors import InvalidRequest, RequestError
from bot.domain.text import truncate_utf16
from bot.frontend.command_options import guild_of, is_moderator, moderator_of
from bot.frontend.context import BotContext, get_context
from bot.frontend.listing import Listing
from bot.frontend.message_content import MAX_OPTION_TEXT, MAX_OPTIONS
from bot.frontend.moderation_embeds import models_listing, quote_text
from bot.frontend.responses import page_buttons, safe_autocomplete, send_ephemeral, send_listing
from bot.services.moderation_records import change_model_role

Interaction: TypeAlias = discord.Interaction[discord.Client]

PARENT: Final = "art-admin"
_NAME: Final = "mod-models"


@safe_autocomplete
async def _suggest_models(
    interaction: discord.Interaction[Any], typed: str
) -> list[app_commands.Choice[str]]:
    if not is_moderator(interaction):
        return []
    return [
        app_commands.Choice(name=truncate_utf16(name, MAX_OPTION_TEXT), value=name)
        for name in get_context(interaction).limits.names
        if typed.casefold() in name.casefold() and len(name) <= MAX_OPTION_TEXT
    ][:MAX_OPTIONS]


class Models(app_commands.Group):
    """The subcommands; changes take Manage Server."""

    def __init__(self, context: BotContext) -> None:
        super().__init__(name="models", description="Which roles may use which model")
        self._context = context

    @app_commands.command(
        name="allow", description="Let a role use a model; then only such roles may (Manage Server)"
    )
    @app_commands.describe(model="The model", role="Members with this role may use it")
    async def allow(self, interaction: Interaction, model: str, role: discord.Role) -> None:
        """Allow a model for a role."""
        name = await self._change(interaction, model, role, allowed=True)
        await send_ephemeral(
            interaction, f"{quote_text(name)} is only for roles such as <@&{role.id}> now."
        )

    @app_commands.command(name="remove", description="Take a model from a role (Manage Server)")
    @app_commands.describe(model="The model", role="The role that may no longer use it")
    async def remove(self, interaction: Interaction, model: str, role: discord.Role) -> None:
        """Remove a role's permission; without any the model is for everybody."""
        name = await self._change(interaction, model, role, allowed=False)
        await send_ephemeral(interaction, f"Removed <@&{role.id}> from {quote_text(name)}.")

    allow.autocomplete("model")(_suggest_models)
    remove.autocomplete("model")(_suggest_models)

    @app_commands.command(name="list", description="The models that are only for some roles")
    async def list_rules(self, interaction: Interaction) -> None:
        """Show which roles may use which model."""
        await send_listing(interaction, _NAME, await _listing(interaction, ""))

    async def _change(
        self, interaction: Interaction, model: str, role: discord.Role, *, allowed: bool
    ) -> str:
        by, known = moderator_of(interaction), self._context.limits.names
        if not known:
            raise RequestError("This bot has one model, and no other to choose.")
        wanted = model.strip().casefold()
        found = next((name for name in known if name.casefold() == wanted), None)
        if found is None:
            names = ", ".join(known[:10])
            raise InvalidRequest("model", f"model: there is no such model. There are: {names}.")
        await self._context.moderation.change_setting(
            guild_of(interaction),
            "model_roles",
            partial(change_model_role, model=found, role_id=role.id, allowed=allowed),
            by=by,
        )
        return found


def build(context: BotContext) -> Models:
    """Return the group of subcommands."""
    return Models(context)


async def _listing(interaction: discord.Interaction[Any], _subject: str) -> Listing:
    moderator_of(interaction)
    settings = await get_context(interaction).moderation.settings(guild_of(interaction))
    return models_listing(settings)


ITEMS: Final = (page_buttons(_NAME, _listing),)
