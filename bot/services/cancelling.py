"""Cancel one job, with a record if a moderator cancels somebody else's."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from bot.domain.job import Job
from bot.services.moderation_records import record_logged_action
from bot.services.queue import Actor, JobQueue
from bot.store import job_queries


async def cancel_job(queue: JobQueue, job_id: str, by: Actor, *, at: datetime) -> Job:
    """Cancel a job and return it. Raises what ``JobQueue.cancel`` raises.

    A moderator's cancel of another member's job is recorded and logged, once.
    """

    def record(link: sqlite3.Connection) -> None:
        job = job_queries.job_by_id(job_id).run(link)
        if job is None or job.state.terminal or job.cancelled_by is not None:
            return
        author = job.request.author.id
        if author != by.id:
            guild_id, detail = job.request.place.guild_id, {"member": author}
            record_logged_action(link, guild_id, at, by, "cancel", f"job:{job_id}", detail)

    return await queue.cancel(job_id, by, record)
