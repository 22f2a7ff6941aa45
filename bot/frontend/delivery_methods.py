"""The delivery methods of Discord, as a job stores them, and the link to what was delivered."""

from __future__ import annotations

from typing import Final

from bot.domain.job import Job
from bot.frontend.formatting import jump_link

INTERACTION: Final = "interaction"
CHANNEL: Final = "channel"
DIRECT: Final = "direct"


def result_link(job: Job) -> str:
    """Return the URL of the message with the job's result, "" if there is none."""
    if job.result is None:
        return ""
    guild_id = 0 if job.delivery_method == DIRECT else job.request.place.guild_id
    return jump_link(guild_id, job.result.channel_id, job.result.message_id)


def public_result_link(job: Job) -> str:
    """Return the URL of the result, "" if it is in the author's direct messages."""
    return "" if job.delivery_method == DIRECT else result_link(job)
