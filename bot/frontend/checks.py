"""Check token, invitation and permissions before the bot runs.

Uses HTTP only; does not connect to the gateway, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import aiohttp
import discord

from bot.domain.checks import CheckResult

REQUIRED_PERMISSIONS: Final = {
    "view_channel": "View Channel",
    "send_messages": "Send Messages",
    "embed_links": "Embed Links",
    "attach_files": "Attach Files",
    "read_message_history": "Read Message History",
    "send_messages_in_threads": "Send Messages in Threads",
    "create_public_threads": "Create Public Threads",
}
"""What the bot does in a channel, and how Discord's settings call the permission for it."""

INVITE_PERMISSIONS: Final = discord.Permissions(**dict.fromkeys(REQUIRED_PERMISSIONS, True))


def invite_url(application_id: int) -> str:
    """Return the link that invites the bot with exactly the permissions it uses."""
    return discord.utils.oauth_url(
        application_id,
        permissions=INVITE_PERMISSIONS,
        scopes=("bot", "applications.commands"),
    )


async def run_checks(token: str, guilds: Sequence[int]) -> list[CheckResult]:
    """Return what Discord says about the bot, as check results; problems are not raised.

    ``guilds`` are the configured servers; if empty, every server of the bot is checked.
    """
    client = discord.Client(intents=discord.Intents(guilds=True))
    try:
        await client.login(token)
        application = await client.application_info()
        findings = [
            CheckResult("Discord token", True, f"belongs to {client.user}"),
            CheckResult("application", True, f"id {application.id}"),
            CheckResult("invitation", True, invite_url(application.id)),
        ]
        wanted = list(guilds) or [guild.id async for guild in client.fetch_guilds(limit=200)]
        if not wanted:
            hint = f"Open {invite_url(application.id)} and choose a server."
            findings.append(CheckResult("servers", False, "the bot is on no server", hint))
        for guild_id in wanted:
            findings += await _guild(client, guild_id, application.id)
        return findings
    except discord.LoginFailure:
        hint = "Reset the token on the application's Bot page and put it into DISCORD_TOKEN."
        return [CheckResult("Discord token", False, "Discord does not accept it", hint)]
    except (discord.HTTPException, aiohttp.ClientError, TimeoutError, OSError) as error:
        hint = "Check the network, and [discord] api_base if it is set."
        return [CheckResult("Discord", False, f"is unavailable: {error}", hint)]
    finally:
        await client.close()


async def _guild(client: discord.Client, guild_id: int, application_id: int) -> list[CheckResult]:
    assert client.user is not None, "signed in"
    what = f"server {guild_id}"
    try:
        guild = await client.fetch_guild(guild_id, with_counts=False)
        channels = await guild.fetch_channels()
        me = await guild.fetch_member(client.user.id)
    except (discord.Forbidden, discord.NotFound):
        hint = f"Open {invite_url(application_id)} and choose this server, or remove its id."
        return [CheckResult(what, False, "the bot is not on this server", hint)]
    findings = [CheckResult(what, True, guild.name)]
    for channel in channels:
        if not isinstance(channel, discord.TextChannel):
            continue
        permissions = channel.permissions_for(me)
        if not permissions.view_channel:
            continue  # a channel kept from the bot is a decision, not a fault
        missing = [
            name for key, name in REQUIRED_PERMISSIONS.items() if not getattr(permissions, key)
        ]
        place = f"#{channel.name}"
        if missing:
            hint = "Allow it for the bot's role in the channel settings, Permissions."
            findings.append(CheckResult(place, False, f"missing: {', '.join(missing)}", hint))
        else:
            findings.append(CheckResult(place, True, "all permissions"))
    return findings
