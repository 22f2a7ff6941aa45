"""Store jobs in the table ``jobs``.

Functions that take a connection belong inside ``Database.write``, several in one transaction where
they must succeed together; ``JobRepository`` reads the last commit.
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
from bot.domain.retention import RemovalCause
from bot.domain.scheduling import QueuedJob, RuntimeHistory
from bot.store import job_queries, pictures
from bot.store.database import Database, placeholders
from bot.store.job_queries import ActiveJob, InteractionRef, JobCost, QueueCounts
from bot.store.pictures import PictureRemoval, PictureRepository
from bot.store.serialization import COLUMNS, dump_job, dump_request, load_job, to_timestamp

ERASED_PROMPT: Final = "[erased]"
"""Replaces a prompt that was erased."""

_LOAD_CHUNK_SIZE = 200


def insert(
    connection: sqlite3.Connection,
    job: Job,
    *,
    interaction: InteractionRef | None,
    mac_key: bytes,
    price_credits: Decimal | None = None,
    role_ids: Collection[int] = (),
    steps_run: int | None = None,
    parent_id: int = 0,
    category_id: int = 0,
    age_restricted: bool = False,
    set_id: int | None = None,
) -> bool:
    """Store a new job; return False and store nothing if the interaction already made one.

    ``steps_run`` is how many steps will really run, if not as many as requested; estimates use it.
    ``role_ids`` are the author's roles now; quota rules for roles use them while the job is queued.
    ``parent_id`` is the channel of a thread, ``category_id`` the channel's category; 0 for none.
    ``age_restricted`` is the channel's flag now, ``set_id`` the set that it was accepted with.
    """
    request = job.request
    # Only the interaction may be known already; a second job with the same id is an error.
    sql = """
        INSERT INTO jobs (
            id, interaction_id, application_id, token, token_expires_at, author_id, guild_id,
            channel_id, state, images, steps, pixels, created_at, updated_at, started_at, ended_at,
            request, snapshot, mac_key, price_credits, author_roles,
            parent_id, category_id, age_restricted, set_id
        ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
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
            parent_id,
            category_id,
            int(age_restricted),
            set_id,
        ),
    )
    return cursor.rowcount == 1


def save(connection: sqlite3.Connection, job: Job, *, expected: JobState, at: datetime) -> bool:
    """Replace the stored job and return True, or return False if its state is not ``expected``.

    The request is not written: it never changes. ``at`` is the time of the change.
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


def set_credits(
    connection: sqlite3.Connection,
    job_id: str,
    *,
    price: Decimal | None = None,
    cost: Decimal | None = None,
    refund: Decimal | None = None,
) -> None:
    """Save a job's maximum price, cost or refund; None leaves a value unchanged."""
    connection.execute(
        "UPDATE jobs SET price_credits = coalesce(?, price_credits), "
        "cost_credits = coalesce(?, cost_credits), refund_credits = coalesce(?, refund_credits) "
        "WHERE id = ?",
        (_credits(price), _credits(cost), _credits(refund), job_id),
    )


def forget_token(connection: sqlite3.Connection, job_id: str) -> None:
    """Delete the interaction token of a job whose message was not sent by it."""
    connection.execute(
        "UPDATE jobs SET token = NULL, token_expires_at = NULL WHERE id = ?", (job_id,)
    )


def erase_author_data(
    connection: sqlite3.Connection, author_id: int, *, at: datetime
) -> tuple[str, ...]:
    """Erase a member's data from every ended job and return the ids of those jobs.

    Prompts, names, image links and tokens are erased, and the pictures are marked as removed.
    States, times and image counts stay, because quotas depend on them. Active jobs are skipped:
    cancel them first. The caller deletes images on disk and messages in Discord.
    """
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM jobs WHERE author_id = ? AND erased_at IS NULL "
        f"AND state IN ({placeholders(len(TERMINAL))}) ORDER BY id",
        (author_id, *TERMINAL),
    ).fetchall()
    for row in rows:
        job = _erase_texts(load_job(row))
        connection.execute(
            "UPDATE jobs SET request = ?, snapshot = ?, token = NULL, token_expires_at = NULL, "
            "set_id = NULL, author_roles = '[]', erased_at = ? WHERE id = ?",
            (dump_request(job.request), dump_job(job), to_timestamp(at), job.id),
        )
        pictures.record_removal(connection, job.id, RemovalCause.ERASED, at=at)
    return tuple(row["id"] for row in rows)


def _erase_texts(job: Job) -> Job:
    request = replace(
        job.request,
        prompt=ERASED_PROMPT,
        negative="",
        author=Author(job.request.author.id, ""),
        init_image=None,
    )
    rows = tuple(replace(row, artifact=None) for row in job.rows)
    return replace(job, request=request, rows=rows, grid=None)


def _credits(amount: Decimal | None) -> str | None:
    # As text: a Decimal is exact, SQLite's numbers are not.
    return None if amount is None else str(amount)


class JobRepository:
    """Read jobs as of the last commit, without waiting for the writer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, job_id: str) -> Job | None:
        """Return the job with this id."""
        return await self._database.read(job_queries.job_by_id(job_id))

    async def by_interaction(self, interaction_id: int) -> Job | None:
        """Return the job that this interaction made."""
        return await self._database.read(job_queries.job_by_interaction(interaction_id))

    async def interaction(self, job_id: str) -> InteractionRef | None:
        """Return the interaction of a job; None for the command line and after erasure."""
        return await self._database.read(job_queries.interaction(job_id))

    async def is_age_restricted(self, job_id: str) -> bool:
        """Return whether the job's channel was age-restricted when it was requested."""
        return await self._database.read(job_queries.is_age_restricted(job_id))

    async def mac_key(self, job_id: str) -> bytes | None:
        """Return the key that authenticates the markers in the job's log."""
        return await self._database.read(job_queries.mac_key(job_id))

    async def unfinished(self) -> tuple[Job, ...]:
        """Return every job that has not ended, oldest first."""
        rows = await self._database.read(job_queries.unfinished_rows())
        found: list[Job] = []
        for start in range(0, len(rows), _LOAD_CHUNK_SIZE):
            found.extend(load_job(row) for row in rows[start : start + _LOAD_CHUNK_SIZE])
            # Thousands of jobs must not keep the event loop from answering Discord.
            await asyncio.sleep(0)
        return tuple(found)

    async def unfinished_of(self, author_id: int) -> tuple[Job, ...]:
        """Return a member's jobs that have not ended, oldest first."""
        return await self._database.read(job_queries.unfinished_of(author_id))

    async def waiting(self) -> tuple[QueuedJob, ...]:
        """Return the queued jobs, oldest first."""
        return await self._database.read(job_queries.waiting())

    async def running(self) -> tuple[ActiveJob, ...]:
        """Return every job that was scheduled and has not ended, oldest first."""
        return await self._database.read(job_queries.in_flight())

    async def counts(self, author_id: int) -> QueueCounts:
        """Return how many jobs are queued and active, of one member and in total."""
        return await self._database.read(job_queries.counts(author_id))

    async def last_started(self) -> dict[int, datetime]:
        """Return when a job of each member with queued jobs was last scheduled, if ever."""
        return await self._database.read(job_queries.last_started())

    async def history(
        self,
        author_id: int,
        guild_id: int | None = None,
        limit: int = 25,
        before_id: str | None = None,
    ) -> tuple[Job, ...]:
        """Return a member's jobs older than ``before_id``, newest first; None is every server."""
        query = job_queries.history(author_id, guild_id, limit, before_id)
        return await self._database.read(query)

    async def of_channel(self, channel_id: int, states: Collection[JobState]) -> tuple[Job, ...]:
        """Return a channel's jobs that are in one of ``states``, oldest first."""
        return await self._database.read(job_queries.jobs_in_channel(channel_id, states))

    async def prefix(self, id_prefix: str, limit: int = 25) -> tuple[Job, ...]:
        """Return the jobs whose id starts with ``id_prefix``, ordered by id."""
        return await self._database.read(job_queries.jobs_by_id_prefix(id_prefix, limit))

    async def kept(self, since: datetime) -> tuple[Job, ...]:
        """Return the jobs finished since ``since`` whose result was not delivered, oldest first."""
        return await self._database.read(job_queries.undelivered(KEPT, since))

    async def run_times(self, limit: int = 40) -> RuntimeHistory:
        """Return how long the latest finished jobs held their slot, newest last."""
        return await self._database.read(job_queries.run_times(limit))

    async def spent(self, guild_id: int | None, since: datetime) -> Decimal:
        """Return the credits spent or reserved since ``since`` by a server, or by all."""
        return await self._database.read(job_queries.credits_spent(guild_id, since))

    async def credits(self, job_id: str) -> JobCost:
        """Return a job's maximum price, cost and refund, as far as known."""
        return await self._database.read(job_queries.job_cost(job_id))

    async def picture_removal(self, job_id: str) -> PictureRemoval | None:
        """Return when and why the pictures of a job were removed."""
        return await PictureRepository(self._database).removal(job_id)

    async def unsettled(self) -> tuple[Job, ...]:
        """Return the ended jobs that have a price and no cost yet."""
        return await self._database.read(job_queries.jobs_without_cost())
