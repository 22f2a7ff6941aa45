"""Read what moderators restrict at the moment: paused servers, running jobs by channel."""

from __future__ import annotations

from datetime import datetime

from bot.domain.moderation import Pause
from bot.domain.scheduling import Restrictions
from bot.store.guilds import GuildRepository
from bot.store.moderation import ModerationRepository


async def read_restrictions(
    guilds: GuildRepository, moderation: ModerationRepository, at: datetime
) -> tuple[Restrictions, datetime | None]:
    """Return the restrictions at ``at``, and when the first of the pauses ends by itself."""
    stored = await guilds.all_settings("paused")
    found = {guild_id: Pause.from_setting(value) for guild_id, value in stored.items()}
    pauses = {guild_id: pause for guild_id, pause in found.items() if pause and pause.is_active(at)}
    ends = [pause.until for pause in pauses.values() if pause.until is not None]
    channels = await moderation.channel_limits()
    return Restrictions(frozenset(pauses), channels), min(ends, default=None)
