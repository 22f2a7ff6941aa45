"""From what a member typed to a job of theirs, or of somebody's whom they moderate.

Ids are read out and copied by people, so the part that cards show is enough.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from discord import app_commands

from bot.domain.errors import InvalidRequest, NotAllowed, RequestError
from bot.domain.job import Job
from bot.domain.text import truncate_utf16
from bot.frontend.context import BotContext
from bot.frontend.formatting import short_id
from bot.frontend.messages import OPTION_TEXT, OPTIONS
from bot.services.queue import Actor

_ID: Final = re.compile(r"[a-z2-7]{8,16}")


def can_access(job: Job, member: Actor, guild_id: int | None) -> bool:
    """Whether it is the member's own, or one of the server that they moderate."""
    if job.request.author.id == member.id:
        return True
    # A moderator's word counts on their own server and nowhere else.
    return member.moderator and guild_id is not None and job.request.place.guild_id == guild_id


async def find_job(context: BotContext, typed: str, member: Actor, guild_id: int | None) -> Job:
    """The job whose id begins as ``typed``.

    Raises RequestError if there is none or more than one, NotAllowed if it is somebody else's.
    """
    wanted = typed.strip().strip("`").lower()
    if not _ID.fullmatch(wanted):
        raise InvalidRequest(
            "id",
            "An id has 8 to 16 letters and the digits 2 to 7, as at the foot of every card. "
            "/history lists your own.",
        )
    found = [
        job
        for job in await context.queue.jobs.prefix(wanted)
        # What another server asks for is nobody's business here, not even that it exists.
        if job.request.author.id == member.id or job.request.place.guild_id == guild_id
    ]
    if not found:
        raise RequestError(f"There is no job {wanted}. /history lists your own.")
    allowed = [job for job in found if can_access(job, member, guild_id)]
    if not allowed:
        raise NotAllowed(
            f"The job {wanted} is somebody else's. Only they, or a moderator of their server, can "
            "do this."
        )
    if len(allowed) > 1:
        raise InvalidRequest("id", f"Several jobs begin with {wanted}; type more of the id.")
    return allowed[0]


def job_choices(jobs: Iterable[Job], typed: str) -> list[app_commands.Choice[str]]:
    """The jobs whose id or prompt has ``typed`` in it, as choices; as many as Discord takes."""
    wanted = typed.strip().casefold()
    return [
        app_commands.Choice(
            name=truncate_utf16(
                f"{short_id(job.id)} · {job.state} · {job.request.prompt}", OPTION_TEXT
            ),
            value=job.id,
        )
        for job in jobs
        if wanted in job.id or wanted in job.request.prompt.casefold()
    ][:OPTIONS]
