"""Read what moderators restrict at the moment: paused servers, running jobs by channel."""

from __future__ import annotations

from datetime import datetime

from bot.domain.moderation import Pause
from bot.domain.scheduling import Restrictions
from bot.store.moderation import ModerationRepository


async def read_restrictions(
    moderation: ModerationRepository, at: datetime
) -> tuple[Restrictions, datetime | None]:
    """Return the restrictions at ``at``, and when the first of the pauses ends by itself."""
    pauses = {
        guild_id: pause
        for guild_id, pause in (await read_pauses(moderation)).items()
        if pause.is_active(at)
    }
    ends = [pause.until for pause in pauses.values() if pause.until is not None]
    channels = await moderation.channel_limits()
    return Restrictions(frozenset(pauses), channels), min(ends, default=None)


async def read_pauses(moderation: ModerationRepository) -> dict[int, Pause]:
    """Return the pauses by server, also those that have ended by themselves."""
    stored = await moderation.settings_of_all("paused")
    found = {guild_id: Pause.from_setting(value) for guild_id, value in stored.items()}
    return {guild_id: pause for guild_id, pause in found.items() if pause is not None}
