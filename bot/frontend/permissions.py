"""Who acts: the member's name, roles and whether they are a moderator.

Server owners can override Discord's command permissions, so the check uses the permissions and
roles of each interaction.
"""

from __future__ import annotations

import discord

from bot.domain.errors import NotAllowed
from bot.services.queue import Actor

MODERATORS_ONLY = (
    "Only moderators of this server can do this: members with the permission Manage Server or "
    "Moderate Members"
)


def actor_of(interaction: discord.Interaction[discord.Client], moderator_role: int) -> Actor:
    """Return the member of an interaction; nobody is a moderator in direct messages."""
    user = interaction.user
    roles = (
        frozenset(role.id for role in user.roles)
        if isinstance(user, discord.Member)
        else frozenset[int]()
    )
    granted = interaction.permissions
    in_server = interaction.guild_id is not None
    manager = in_server and (granted.manage_guild or granted.administrator)
    moderator = in_server and (
        manager or granted.moderate_members or (moderator_role != 0 and moderator_role in roles)
    )
    return Actor(user.id, user.display_name, roles, moderator, manager)


def model_roles(member: Actor) -> frozenset[int] | None:
    """Return the roles that decide which models a member may use; None for every model."""
    return None if member.moderator else member.role_ids


def require_moderator(
    interaction: discord.Interaction[discord.Client], moderator_role: int
) -> Actor:
    """Return the member of an interaction. Raises NotAllowed unless a moderator."""
    member = actor_of(interaction, moderator_role)
    if not member.moderator:
        also = f", or the role <@&{moderator_role}>" if moderator_role else ""
        raise NotAllowed(f"{MODERATORS_ONLY}{also}.")
    return member
