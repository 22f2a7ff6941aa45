"""``/art-admin``: moderators run a server; the modules beside it add more subcommands.

The moderator is checked on every use, because server owners can change command permissions.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import discord
from discord import app_commands

from bot.domain.errors import RequestError
from bot.frontend.command_options import (
    LOG_PERMISSIONS,
    Channel,
    ChannelPlace,
    guild_of,
    is_age_restricted,
    missing_permissions,
    moderator_of,
    parse_end_option,
    require_channel,
)
from bot.frontend.context import BotContext, get_client, get_context
from bot.frontend.formatting import pluralize
from bot.frontend.listing import Listing
from bot.frontend.message_content import ButtonSpec, FileUpload
from bot.frontend.moderation_embeds import status_listing
from bot.frontend.responses import (
    PersistentComponent,
    defer,
    edit_deferred,
    page_buttons,
    send_ephemeral,
    send_listing,
)
from bot.services.moderation_records import ServerStatus, require_manager

Interaction: TypeAlias = discord.Interaction[discord.Client]
MemberOrUser: TypeAlias = discord.Member | discord.User

_STATUS: Final = "mod-status"
_MAX_EXPORT: Final = 20_000
"""Actions in one file: Discord accepts 10 MB."""
_PAUSE_OPTIONS: Final = app_commands.describe(
    reason="Members read it on every waiting request",
    until="How long, such as 30m, 2h or 7d; without it until resumed",
)


class ArtAdmin(app_commands.Group):
    """The subcommands; each checks that the member is a moderator."""

    def __init__(self, context: BotContext) -> None:
        super().__init__(
            name="art-admin",
            description="Run this server: pauses, channels, words, blocks (moderators only)",
            guild_only=True,
            default_permissions=discord.Permissions(moderate_members=True),
        )
        self._moderation = context.moderation

    @app_commands.command(name="status", description="What holds on this server, what is missing")
    async def status(self, interaction: Interaction) -> None:
        """Show pause, rules, counts, and missing permissions."""
        await send_listing(interaction, _STATUS, await _status(interaction, ""))

    @app_commands.command(name="pause", description="Start no more requests on this server")
    @_PAUSE_OPTIONS
    @app_commands.describe(requests="Accept new requests, which wait, or refuse them")
    async def pause(
        self,
        interaction: Interaction,
        reason: str = "",
        until: str | None = None,
        requests: Literal["accept", "refuse"] = "accept",
    ) -> None:
        """Pause the server; what runs goes on."""
        by = moderator_of(interaction)
        pause = await self._moderation.pause(
            guild_of(interaction),
            reason=reason,
            lasts=parse_end_option("until", until),
            refuses=requests == "refuse",
            by=by,
        )
        new = "refused" if pause.refuses else "accepted, and wait"
        await send_ephemeral(
            interaction,
            f"Paused. Members read: {pause.notice}\n"
            f"New requests are {new}. Undo: `/art-admin resume`.",
        )

    @app_commands.command(
        name="drain", description="Let running requests finish, start and accept no others"
    )
    @_PAUSE_OPTIONS
    async def drain(
        self, interaction: Interaction, reason: str = "", until: str | None = None
    ) -> None:
        """Drain the server; the log channel is told when nothing runs any more."""
        by, guild_id = moderator_of(interaction), guild_of(interaction)
        pause = await self._moderation.pause(
            guild_id,
            reason=reason,
            lasts=parse_end_option("until", until),
            refuses=True,
            mode="drain",
            by=by,
        )
        status = await self._moderation.status(guild_id)
        end = (
            "The log channel is told when the last one has ended."
            if status.running
            else "Nothing runs."
        )
        await send_ephemeral(
            interaction,
            f"Draining: {status.running} running, {status.waiting} waiting. {end} "
            f"Members read: {pause.notice}\nUndo: `/art-admin resume`.",
        )

    @app_commands.command(name="resume", description="End a pause or a drain")
    async def resume(self, interaction: Interaction) -> None:
        """End the pause."""
        by, guild_id = moderator_of(interaction), guild_of(interaction)
        await self._moderation.resume(guild_id, by=by)
        waiting = (await self._moderation.status(guild_id)).waiting
        await send_ephemeral(
            interaction, f"Resumed. {pluralize(waiting, 'waiting request')} can start."
        )

    @app_commands.command(name="cancel", description="Cancel waiting and running requests")
    @app_commands.describe(
        member="All requests of this member",
        channel="All requests in this channel, its threads, or this category",
        everything="All requests of this server",
    )
    @app_commands.rename(everything="all")
    async def cancel(
        self,
        interaction: Interaction,
        member: MemberOrUser | None = None,
        channel: ChannelPlace | None = None,
        everything: bool = False,
    ) -> None:
        """Say how many requests would be cancelled, and ask."""
        moderator_of(interaction)
        if (member is not None) + (channel is not None) + everything != 1:
            raise RequestError("Name a member or a channel, or choose all: one of the three.")
        scope, ident = "server", 0
        if member is not None:
            scope, ident = "user", member.id
        elif channel is not None:
            scope, ident = "channel", channel.id
        found = await self._moderation.cancellable(guild_of(interaction), **_whose(scope, ident))
        if not found:
            raise RequestError("There is nothing to cancel: no request waits or runs there.")
        count = pluralize(len(found), "request")
        button = ButtonSpec(f"Cancel {count}", f"gb-cancel:{scope}:{ident}", style="danger")
        await send_ephemeral(
            interaction,
            f"Cancel {count} of {_format_scope(scope, ident)}? Images that are not generated yet "
            "are refunded.",
            controls=((button,),),
        )

    @app_commands.command(
        name="log", description="The channel that gets every action of the moderators"
    )
    @app_commands.describe(channel="A channel that only moderators see; leave empty to remove it")
    async def log(self, interaction: Interaction, channel: Channel | None = None) -> None:
        """Set or remove the log channel."""
        by = moderator_of(interaction)
        if channel is not None:
            require_channel(interaction, channel, LOG_PERMISSIONS)
        value = None if channel is None else channel.id
        guild_id = guild_of(interaction)
        if not await self._moderation.set_setting(guild_id, "log_channel", value, by=by):
            raise RequestError("It is set like this already. See /art-admin status.")
        await send_ephemeral(
            interaction,
            f"Every action is posted in <#{value}> from now on."
            if value
            else "There is no log channel now. Actions are kept: `/art-admin export`.",
        )

    @app_commands.command(name="export", description="The record of all actions, as JSON lines")
    async def export(self, interaction: Interaction) -> None:
        """Send the audit as a private file."""
        by = moderator_of(interaction)
        require_manager(by)
        await defer(interaction, thinking=True)
        lines, count = await self._moderation.export(guild_of(interaction), _MAX_EXPORT, by=by)
        text = f"{pluralize(count, 'action')}."
        if count == _MAX_EXPORT:
            text = f"The latest {text}"
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "audit.jsonl"
            await asyncio.to_thread(path.write_bytes, lines)
            await edit_deferred(interaction, text, uploads=[FileUpload(path, path.name)])


class ConfirmCancel(PersistentComponent, template=r"gb-cancel:(user|channel|server):([0-9]{1,19})"):
    """Cancels what the message above it has counted."""

    async def handle(self, interaction: discord.Interaction[Any]) -> None:
        """Cancel the requests for the moderator who pressed it."""
        by, scope, ident = moderator_of(interaction), self.match[1], int(self.match[2])
        await defer(interaction)
        count = await get_context(interaction).moderation.cancel(
            guild_of(interaction), by=by, **_whose(scope, ident)
        )
        if not count:
            raise RequestError("They are being stopped already: somebody was first.")
        await edit_deferred(
            interaction,
            f"Cancelled {pluralize(count, 'request')} of {_format_scope(scope, ident)}. Running "
            "ones are refunded when they have stopped.",
        )


def build(context: BotContext) -> ArtAdmin:
    """Return the command group."""
    return ArtAdmin(context)


def _whose(scope: str, ident: int) -> dict[str, int | None]:
    return {
        "member_id": ident if scope == "user" else None,
        "channel_id": ident if scope == "channel" else None,
    }


def _format_scope(scope: str, ident: int) -> str:
    names = {"user": f"<@{ident}>", "channel": f"<#{ident}>"}
    return names.get(scope, "this server")


async def _status(interaction: discord.Interaction[Any], _subject: str) -> Listing:
    moderator_of(interaction)
    context = get_context(interaction)
    status = await context.moderation.status(guild_of(interaction))
    problems = _problems(interaction.guild, status)
    if status.image_action not in (None, "allow") and (failed := context.image_check_problem()):
        problems.append(f"The image check failed ({failed}). What it cannot check is held.")
    return status_listing(
        status,
        problems,
        restricted_gallery=is_age_restricted(
            get_client(interaction), status.settings.gallery_channel_id
        ),
    )


def _problems(guild: discord.Guild | None, status: ServerStatus) -> list[str]:
    """Return what the bot may not do in the channels that the server's moderators have named."""
    named = {"log": status.settings.log_channel_id, "gallery": status.settings.gallery_channel_id}
    gone = [
        name
        for name, channel_id in named.items()
        if guild is not None and channel_id and guild.get_channel(channel_id) is None
    ]
    problems = [
        f"The {'log channel' if name == 'log' else name} is deleted or hidden from me. Set another "
        f"with `/art-admin {name}`."
        for name in gone
    ]
    wanted = [channel_id for name, channel_id in named.items() if name not in gone]
    wanted += [rule.channel_id for rule in status.channels if rule.allowed]
    lacking = {
        channel_id: missing_permissions(guild, channel_id, LOG_PERMISSIONS)
        for channel_id in filter(None, wanted)
    }
    return problems + [
        f"<#{channel_id}>: I need {', '.join(missing)}. Allow it for my role in the channel's "
        "settings, Permissions."
        for channel_id, missing in lacking.items()
        if missing
    ]


ITEMS: Final = (ConfirmCancel, page_buttons(_STATUS, _status))
