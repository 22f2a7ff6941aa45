"""Jobs, from acceptance to history. Knows the table ``jobs``; what a state means is the domain's.

Functions that take a connection belong inside ``Database.write``, several of them in one
transaction where they must hold together; the class ``JobRepository`` reads from outside.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Final

from bot.domain.events import KEPT
from bot.domain.job import TERMINAL, Job, JobState
from bot.domain.request import Author
from bot.domain.scheduling import QueuedJob, RuntimeHistory
from bot.store import job_queries
from bot.store.database import Database, placeholders
from bot.store.job_queries import ActiveJob, InteractionRef, JobCost, QueueCounts
from bot.store.serialization import COLUMNS, dump_job, dump_request, load_job, to_timestamp

ERASED_PROMPT: Final = "[erased]"
"""What stands for a prompt after its author had it erased."""

_LOADED_AT_ONCE = 200


def insert(
    connection: sqlite3.Connection,
    job: Job,
    *,
    interaction: InteractionRef | None,
    mac_key: bytes,
    price_credits: Decimal | None = None,
    role_ids: Collection[int] = (),
    steps_run: int | None = None,
) -> bool:
    """Store a new job; False, and nothing stored, if this interaction already made one.

    ``steps_run`` is how many steps will really run, where that is not what was asked for: forecasts
    count those.
    ``role_ids`` are the author's at this moment: rules about roles are asked for when it waits.
    """
    request = job.request
    # Only the interaction may be known already; a second job with the same id is an error.
    sql = """
        INSERT INTO jobs (
            id, interaction_id, application_id, token, token_expires_at, author_id, guild_id,
            channel_id, state, images, steps, pixels, created_at, updated_at, started_at, ended_at,
            request, snapshot, mac_key, price_credits, author_roles
        ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (interaction_id) DO NOTHING
    """
    cursor = connection.execute(
        sql,
        (
            job.id,
            interaction and interaction.id,
            interaction and interaction.application_id,
            interaction and interaction.token,
            interaction and to_timestamp(interaction.expires_at),
            request.author.id,
            request.place.guild_id,
            request.place.channel_id,
            job.state,
            request.images,
            request.steps if steps_run is None else steps_run,
            request.width * request.height,
            to_timestamp(job.created_at),
            to_timestamp(job.created_at),
            to_timestamp(job.started_at),
            to_timestamp(job.ended_at),
            dump_request(request),
            dump_job(job),
            mac_key,
            _credits(price_credits),
            json.dumps(sorted(role_ids)),
        ),
    )
    return cursor.rowcount == 1


def save(connection: sqlite3.Connection, job: Job, *, expected: JobState, at: datetime) -> bool:
    """Replace the stored job if it still is in the state ``expected``; False if it is not.

    The request is not written again: it never changes. ``at`` is when ``job`` became what it is.
    """
    sql = """
        UPDATE jobs SET state = :state, snapshot = :snapshot, updated_at = :at,
            started_at = :started_at, ended_at = :ended_at,
            dispatched_at = CASE WHEN :dispatched THEN :at ELSE dispatched_at END,
            run_over_at = CASE WHEN :run_over THEN :at ELSE run_over_at END
        WHERE id = :id AND state = :expected
    """
    cursor = connection.execute(
        sql,
        {
            "id": job.id,
            "expected": expected,
            "state": job.state,
            "snapshot": dump_job(job),
            "at": to_timestamp(at),
            "started_at": to_timestamp(job.started_at),
            "ended_at": to_timestamp(job.ended_at),
            "dispatched": job.state is JobState.SUBMITTING and expected is JobState.QUEUED,
            "run_over": job.state is JobState.COLLECTING and expected is not job.state,
        },
    )
    return cursor.rowcount == 1


def by_id(connection: sqlite3.Connection, job_id: str) -> Job | None:
    """The job as this transaction sees it."""
    return job_queries.job_by_id(job_id).run(connection)


def by_interaction(connection: sqlite3.Connection, interaction_id: int) -> Job | None:
    """The job that an earlier delivery of the same press has made."""
    return job_queries.job_by_interaction(interaction_id).run(connection)


def waiting(connection: sqlite3.Connection) -> tuple[QueuedJob, ...]:
    """The line as this transaction sees it, the oldest first."""
    return job_queries.waiting().run(connection)


def counts(connection: sqlite3.Connection, author_id: int) -> QueueCounts:
    """What the limits of the queue are measured against."""
    return job_queries.counts(author_id).run(connection)


def spent(connection: sqlite3.Connection, guild_id: int | None, since: datetime) -> Decimal:
    """Credits spent or promised by a server, or by all, since a moment."""
    return job_queries.credits_spent(guild_id, since).run(connection)


def credits_of(connection: sqlite3.Connection, job_id: str) -> JobCost:
    """What a job may cost and did cost, as far as that is known."""
    return job_queries.job_cost(job_id).run(connection)


def set_credits(
    connection: sqlite3.Connection,
    job_id: str,
    *,
    price: Decimal | None = None,
    cost: Decimal | None = None,
    refund: Decimal | None = None,
) -> None:
    """Write down the most a job may cost, or its cost and refund; None leaves that as it is."""
    connection.execute(
        "UPDATE jobs SET price_credits = coalesce(?, price_credits), "
        "cost_credits = coalesce(?, cost_credits), refund_credits = coalesce(?, refund_credits) "
        "WHERE id = ?",
        (_credits(price), _credits(cost), _credits(refund), job_id),
    )


def forget_token(connection: sqlite3.Connection, job_id: str) -> None:
    """Forget the interaction's token: it answers nothing that belongs to the job."""
    connection.execute(
        "UPDATE jobs SET token = NULL, token_expires_at = NULL WHERE id = ?", (job_id,)
    )


def erase_author_data(
    connection: sqlite3.Connection, author_id: int, *, at: datetime
) -> tuple[str, ...]:
    """Forget what a member wrote and saw in every job that has ended; the ids of those jobs.

    Prompts, names, links to pictures and tokens go; states, times and the count of images stay,
    since quota rests on them. Jobs that have not ended are left alone: cancel them first. Pictures
    on disk and messages in Discord are the caller's to remove.
    """
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM jobs WHERE author_id = ? AND erased_at IS NULL "
        f"AND state IN ({placeholders(len(TERMINAL))}) ORDER BY id",
        (author_id, *TERMINAL),
    ).fetchall()
    for row in rows:
        job = _without_words(load_job(row))
        connection.execute(
            "UPDATE jobs SET request = ?, snapshot = ?, token = NULL, token_expires_at = NULL, "
            "author_roles = '[]', erased_at = ? WHERE id = ?",
            (dump_request(job.request), dump_job(job), to_timestamp(at), job.id),
        )
    return tuple(row["id"] for row in rows)


def _without_words(job: Job) -> Job:
    request = replace(
        job.request, prompt=ERASED_PROMPT, negative="", author=Author(job.request.author.id, "")
    )
    rows = tuple(replace(row, artifact=None) for row in job.rows)
    return replace(job, request=request, rows=rows, grid=None)


def _credits(amount: Decimal | None) -> str | None:
    # As text: a Decimal is exact, SQLite's numbers are not.
    return None if amount is None else str(amount)


class JobRepository:
    """Reads jobs as of the last commit, without waiting for the writer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, job_id: str) -> Job | None:
        """The job with exactly this id."""
        return await self._database.read(job_queries.job_by_id(job_id))

    async def by_interaction(self, interaction_id: int) -> Job | None:
        """The job that this interaction was accepted as."""
        return await self._database.read(job_queries.job_by_interaction(interaction_id))

    async def interaction(self, job_id: str) -> InteractionRef | None:
        """Where the job came from; None for the command line and after erasure."""
        return await self._database.read(job_queries.interaction(job_id))

    async def mac_key(self, job_id: str) -> bytes | None:
        """The key that authenticates the markers in this job's log."""
        return await self._database.read(job_queries.mac_key(job_id))

    async def unfinished(self) -> tuple[Job, ...]:
        """Every job that has not ended, the oldest first."""
        rows = await self._database.read(job_queries.unfinished_rows())
        found: list[Job] = []
        for start in range(0, len(rows), _LOADED_AT_ONCE):
            found.extend(load_job(row) for row in rows[start : start + _LOADED_AT_ONCE])
            # Thousands of jobs must not keep the event loop from answering Discord.
            await asyncio.sleep(0)
        return tuple(found)

    async def unfinished_of(self, author_id: int) -> tuple[Job, ...]:
        """A member's jobs that have not ended, the oldest first."""
        return await self._database.read(job_queries.unfinished_of(author_id))

    async def waiting(self) -> tuple[QueuedJob, ...]:
        """The line, the oldest first."""
        return await self._database.read(job_queries.waiting())

    async def running(self) -> tuple[ActiveJob, ...]:
        """Every job whose turn has come and which has not ended, the oldest first."""
        return await self._database.read(job_queries.in_flight())

    async def counts(self, author_id: int) -> QueueCounts:
        """How many jobs are waiting and in flight, of one member and of all."""
        return await self._database.read(job_queries.counts(author_id))

    async def last_started(self) -> dict[int, datetime]:
        """When each member who has a waiting job last had a turn; without those who never had."""
        return await self._database.read(job_queries.last_started())

    async def history(
        self,
        author_id: int,
        guild_id: int | None = None,
        limit: int = 25,
        before_id: str | None = None,
    ) -> tuple[Job, ...]:
        """A member's jobs, the newest first, older than ``before_id``; in one server or in all."""
        query = job_queries.history(author_id, guild_id, limit, before_id)
        return await self._database.read(query)

    async def of_channel(self, channel_id: int, states: Collection[JobState]) -> tuple[Job, ...]:
        """The jobs of a channel that are in one of ``states``, the oldest first."""
        return await self._database.read(job_queries.jobs_in_channel(channel_id, states))

    async def prefix(self, id_prefix: str, limit: int = 25) -> tuple[Job, ...]:
        """The jobs whose id begins like this, in order of id."""
        return await self._database.read(job_queries.jobs_by_id_prefix(id_prefix, limit))

    async def kept(self, since: datetime) -> tuple[Job, ...]:
        """The jobs, finished since a moment, whose result no place has taken, the oldest first."""
        return await self._database.read(job_queries.undelivered(KEPT, since))

    async def run_times(self, limit: int = 40) -> RuntimeHistory:
        """How long the latest finished jobs held their slot, the newest last."""
        return await self._database.read(job_queries.run_times(limit))

    async def spent(self, guild_id: int | None, since: datetime) -> Decimal:
        """Credits spent or promised by a server, or by all, since a moment."""
        return await self._database.read(job_queries.credits_spent(guild_id, since))

    async def credits(self, job_id: str) -> JobCost:
        """What a job may cost and did cost, as far as that is known."""
        return await self._database.read(job_queries.job_cost(job_id))

    async def unsettled(self) -> tuple[Job, ...]:
        """The ended jobs that were priced and whose cost is not known yet."""
        return await self._database.read(job_queries.jobs_without_cost())
