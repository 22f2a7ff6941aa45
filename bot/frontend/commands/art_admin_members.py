"""``/art-admin block`` and its kind, and the requests that wait for a moderator."""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

import discord
from discord import app_commands

from bot.domain.errors import InvalidRequest, RequestError
from bot.domain.text import truncate_utf16
from bot.frontend.command_options import (
    guild_of,
    is_moderator,
    moderator_of,
    parse_end_option,
)
from bot.frontend.context import BotContext, get_context
from bot.frontend.formatting import pluralize, short_id
from bot.frontend.listing import Listing
from bot.frontend.message_content import MAX_OPTION_TEXT, MAX_OPTIONS
from bot.frontend.moderation_embeds import blocks_listing, format_block, holds_listing
from bot.frontend.responses import page_buttons, safe_autocomplete, send_ephemeral, send_listing
from bot.services.moderation import ModerationService

Interaction: TypeAlias = discord.Interaction[discord.Client]
MemberOrUser: TypeAlias = discord.Member | discord.User

PARENT: Final = "art-admin"
_BLOCKS: Final = "mod-blocks"
_HOLDS: Final = "mod-holds"


def build(context: BotContext) -> tuple[app_commands.Command[Any, ..., None], ...]:
    """Return the subcommands."""
    moderation = context.moderation
    return (
        _build_block(moderation),
        _build_unblock(moderation),
        _build_blocks(),
        _build_holds(),
        _build_decide(moderation),
    )


def _build_block(moderation: ModerationService) -> app_commands.Command[Any, ..., None]:
    @app_commands.command(name="block", description="Let a member request nothing on this server")
    @app_commands.describe(
        member="Their waiting requests are cancelled and refunded",
        duration="How long, such as 12h or 7d; without it until unblocked",
        reason="The member reads it",
    )
    @app_commands.rename(duration="for")
    async def block(
        interaction: Interaction,
        member: MemberOrUser,
        duration: str | None = None,
        reason: str = "",
    ) -> None:
        by = moderator_of(interaction)
        if member.bot:
            raise RequestError("A bot requests nothing, so it cannot be blocked.")
        lasts = parse_end_option("for", duration)
        blocked, count = await moderation.block(
            guild_of(interaction), member.id, lasts=lasts, reason=reason, by=by
        )
        await send_ephemeral(
            interaction,
            f"Blocked {format_block(blocked)}\n{pluralize(count, 'waiting request')} cancelled and "
            f"refunded. Undo: `/art-admin unblock`.",
        )

    return block


def _build_unblock(moderation: ModerationService) -> app_commands.Command[Any, ..., None]:
    @app_commands.command(name="unblock", description="Let a blocked member request images again")
    @app_commands.describe(member="The member; paste the id of one who has left")
    async def unblock(interaction: Interaction, member: MemberOrUser) -> None:
        by = moderator_of(interaction)
        gone = await moderation.unblock(guild_of(interaction), member.id, by=by)
        await send_ephemeral(interaction, f"Unblocked. It was {format_block(gone)}")

    return unblock


def _build_blocks() -> app_commands.Command[Any, ..., None]:
    @app_commands.command(name="blocks", description="The blocked members of this server")
    async def blocks(interaction: Interaction) -> None:
        await send_listing(interaction, _BLOCKS, await _list_blocks(interaction, ""))

    return blocks


def _build_holds() -> app_commands.Command[Any, ..., None]:
    @app_commands.command(name="holds", description="Requests that wait for a moderator")
    async def holds(interaction: Interaction) -> None:
        await send_listing(interaction, _HOLDS, await _list_holds(interaction, ""))

    return holds


def _build_decide(moderation: ModerationService) -> app_commands.Command[Any, ..., None]:
    @app_commands.command(name="decide", description="Approve or reject a request that is held")
    @app_commands.describe(
        request="A request of /art-admin holds",
        decision="Approve: it runs, or its images are posted. Reject: it is refunded",
    )
    async def decide(
        interaction: Interaction, request: str, decision: Literal["approve", "reject"]
    ) -> None:
        by, guild_id = moderator_of(interaction), guild_of(interaction)
        wanted = request.strip().strip("`").lower()
        waiting = await moderation.open_holds(guild_id)
        found = [hold for hold in waiting if wanted and hold.job_id.startswith(wanted)]
        if len(found) != 1:
            # Perhaps decided meanwhile, which is said then.
            hold = await moderation.hold(wanted)
            if hold is None or hold.guild_id != guild_id:
                raise InvalidRequest(
                    "request", "request: choose one that waits for a moderator from the list."
                )
            found = [hold]
        (hold,) = found
        approved = decision == "approve"
        await moderation.decide_hold(guild_id, hold.job_id, hold.kind, approved=approved, by=by)
        said = "Approved" if approved else "Rejected, and refunded"
        await send_ephemeral(interaction, f"{said}: `{short_id(hold.job_id)}`.")

    decide.autocomplete("request")(_suggest_held)
    return decide


@safe_autocomplete
async def _suggest_held(
    interaction: discord.Interaction[Any], typed: str
) -> list[app_commands.Choice[str]]:
    if not is_moderator(interaction):
        return []
    held = await get_context(interaction).moderation.open_holds(guild_of(interaction))
    named = [(f"{short_id(hold.job_id)} · {hold.reason}", hold.job_id) for hold in held]
    return [
        app_commands.Choice(name=truncate_utf16(name, MAX_OPTION_TEXT), value=value)
        for name, value in named
        if typed.strip().casefold() in name.casefold()
    ][:MAX_OPTIONS]


async def _list_blocks(interaction: discord.Interaction[Any], _subject: str) -> Listing:
    moderator_of(interaction)
    return blocks_listing(await get_context(interaction).moderation.blocks(guild_of(interaction)))


async def _list_holds(interaction: discord.Interaction[Any], _subject: str) -> Listing:
    moderator_of(interaction)
    held = await get_context(interaction).moderation.open_holds(guild_of(interaction))
    return holds_listing(held)


ITEMS: Final = (page_buttons(_BLOCKS, _list_blocks), page_buttons(_HOLDS, _list_holds))
