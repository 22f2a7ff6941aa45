"""Find the job for a typed id, if the member may access it."""

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
from bot.frontend.messages import MAX_OPTION_TEXT, MAX_OPTIONS
from bot.services.queue import Actor

_ID: Final = re.compile(r"[a-z2-7]{8,16}")
_MAX_NAMED: Final = 5


def can_access(job: Job, member: Actor, guild_id: int | None) -> bool:
    """Return whether the job is the member's, or of the server that they moderate."""
    if job.request.author.id == member.id:
        return True
    # A moderator's word counts on their own server and nowhere else.
    return member.moderator and guild_id is not None and job.request.place.guild_id == guild_id


async def find_job(context: BotContext, typed: str, member: Actor, guild_id: int | None) -> Job:
    """Return the job whose id starts with ``typed``.

    Raises RequestError if there is none or more than one, NotAllowed if it is somebody else's.
    """
    wanted = typed.strip().strip("`").lower()
    if not _ID.fullmatch(wanted):
        raise InvalidRequest(
            "id",
            "An id has 8 to 16 characters (a to z, 2 to 7). It is at the bottom of the job's "
            "message. /history lists your jobs.",
        )
    found = [
        job
        for job in await context.queue.jobs.prefix(wanted)
        # What another server asks for is nobody's business here, not even that it exists.
        if job.request.author.id == member.id or job.request.place.guild_id == guild_id
    ]
    if not found:
        raise RequestError(f"There is no job {wanted}. /history lists your jobs.")
    allowed = [job for job in found if can_access(job, member, guild_id)]
    if not allowed:
        raise NotAllowed(
            f"The job {wanted} belongs to another member. Only they, or a moderator of their "
            "server, can do this."
        )
    if len(allowed) > 1:
        ids = [job.id for job in allowed]
        longer = ", ".join(short_id(ident, ids) for ident in ids[:_MAX_NAMED])
        raise InvalidRequest("id", f"Several jobs start with {wanted}. Type more: {longer}.")
    return allowed[0]


def job_choices(jobs: Iterable[Job], typed: str) -> list[app_commands.Choice[str]]:
    """Return autocomplete choices: jobs with ``typed`` in the id or prompt, at most 25."""
    wanted = typed.strip().casefold()
    known = tuple(jobs)
    ids = sorted(job.id for job in known)
    # In order, an id shares most with the ones beside it.
    beside = {one: ids[max(0, at - 1) : at + 2] for at, one in enumerate(ids)}
    return [
        app_commands.Choice(
            name=truncate_utf16(
                f"{short_id(job.id, beside[job.id])} · {job.state} · {job.request.prompt}",
                MAX_OPTION_TEXT,
            ),
            value=job.id,
        )
        for job in known
        if wanted in job.id or wanted in job.request.prompt.casefold()
    ][:MAX_OPTIONS]
