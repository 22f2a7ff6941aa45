"""``/models``: models that a request can name, what each is for, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import discord
from discord import app_commands

from bot.domain.request import RequestLimits
from bot.frontend.context import BotContext, get_context
from bot.frontend.formatting import escape_user_text
from bot.frontend.listing import Listing, Section
from bot.frontend.permissions import actor_of, model_roles
from bot.frontend.responses import page_buttons, send_listing

_NAME: Final = "models"
_MAX_TEXT: Final = 300


def build(context: BotContext) -> app_commands.Command[Any, ..., None]:
    """Return the command."""

    @app_commands.command(name="models", description="Models that you can choose")
    @app_commands.allowed_contexts(guilds=True, dms=True)
    async def models(interaction: discord.Interaction[discord.Client]) -> None:
        await send_listing(interaction, _NAME, await _listing(interaction, ""))

    return models


async def _listing(interaction: discord.Interaction[Any], _subject: str) -> Listing:
    context = get_context(interaction)
    limits = context.limits
    roles = model_roles(actor_of(interaction, context.moderator_role))
    mine = limits.names_for(roles)
    lines = [_format_model(limits, name, default=name == mine[0]) for name in mine]
    lines += [_format_closed(limits, name) for name in limits.names if name not in mine]
    how = "Choose one as option `model`, or write `--model NAME` in the prompt." if lines else ""
    made_by = limits.engine.show(limits.model)
    empty_text = "You cannot choose a model here."
    if made_by:
        empty_text += f" Images are made with: {escape_user_text(made_by, _MAX_TEXT)}."
    return Listing("Models", (Section("", lines, empty_text),), how)


def _format_model(limits: RequestLimits, name: str, *, default: bool) -> str:
    """Return what members need to know to choose a model."""
    return f"{_heading(limits, name)}\n-# {', '.join(_facts(limits, name, default=default))}"


def _heading(limits: RequestLimits, name: str) -> str:
    spec = limits.table.get(name)
    title = f"**{escape_user_text(spec.name if spec else name, _MAX_TEXT)}**"
    if spec is None:
        return title
    id = f" `{spec.id}`" if spec.title else ""
    about = f": {escape_user_text(spec.about, _MAX_TEXT)}" if spec.about else ""
    return f"{title}{id}{about}"


def _facts(limits: RequestLimits, name: str, *, default: bool) -> Iterator[str]:
    spec, own = limits.table.get(name), limits.for_model(name)
    if default:
        yield "default"
    yield f"{own.width} × {own.height} px"
    yield f"{own.steps} steps (at most {own.max_steps})"
    if spec is None:
        return
    if spec.guidance is not None:
        yield f"guidance {spec.guidance:g}"
    if spec.sampler:
        yield f"sampler {escape_user_text(spec.sampler, _MAX_TEXT)}"
    if not spec.takes_negative:
        yield "no negative prompt"
    if spec.cost > 1:
        yield f"each image counts as {spec.cost}"
    if spec.roles:
        yield f"for {_format_roles(spec.roles)}"


def _format_closed(limits: RequestLimits, name: str) -> str:
    """Return a model that the member may not use, and who may."""
    roles = _format_roles(limits.table[name].roles)
    return f"{_heading(limits, name)}\n-# only for members with the role {roles}"


def _format_roles(roles: frozenset[int]) -> str:
    return " or ".join(f"<@&{role}>" for role in sorted(roles))


ITEMS: Final = (page_buttons(_NAME, _listing),)
