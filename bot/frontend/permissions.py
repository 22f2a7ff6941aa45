"""Who has pressed or typed, as Discord says at this moment: name, roles, and whether a moderator.

Discord's own command permissions are a courtesy that server owners can override; what counts is
decided here, from the permissions and roles that came with the interaction itself.
"""

from __future__ import annotations

import discord

from bot.domain.errors import NotAllowed
from bot.services.queue import Actor

MODERATORS_ONLY = (
    "Only moderators of this server can do this: members with the Manage Server permission"
)


def actor_of(interaction: discord.Interaction[discord.Client], moderator_role: int) -> Actor:
    """The member behind an interaction; in a direct message nobody is a moderator."""
    user = interaction.user
    roles = (
        frozenset(role.id for role in user.roles)
        if isinstance(user, discord.Member)
        else frozenset[int]()
    )
    in_server = interaction.guild_id is not None
    moderator = in_server and (
        interaction.permissions.manage_guild
        or interaction.permissions.administrator
        or (moderator_role != 0 and moderator_role in roles)
    )
    return Actor(user.id, user.display_name, roles, moderator)


def require_moderator(
    interaction: discord.Interaction[discord.Client], moderator_role: int
) -> Actor:
    """The same, for what only moderators may do. Raises NotAllowed for anybody else."""
    member = actor_of(interaction, moderator_role)
    if not member.moderator:
        also = f" or the role <@&{moderator_role}>" if moderator_role else ""
        raise NotAllowed(f"{MODERATORS_ONLY}{also}.")
    return member
