"""Sets of requests: what one text with permutations or ``--repeat`` asks for.

The member is asked first; until then the set waits in the database, so that the question survives a
restart. Running a set accepts all of its requests in one transaction, or none. A set has the id of
the interaction that asked, so that an interaction that Discord sends twice makes one set.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from bot.domain.errors import NotAllowed, RequestError
from bot.domain.job import Job
from bot.domain.moderation import Place
from bot.domain.request import Request
from bot.services.queue import Actor, JobQueue
from bot.store import request_sets
from bot.store.database import Database
from bot.store.request_sets import PendingSet, RequestSetRepository

__all__ = ["CLOSED", "AcceptedSet", "PendingSet", "RequestSets", "SetQuestion"]

log = logging.getLogger(__name__)

OPEN_FOR: Final = timedelta(minutes=15)
"""How long a question can be answered; an interaction's token lasts as long."""
CLEANUP_S: Final = 60.0
CLOSED: Final = (
    "This question is no longer open: it was cancelled, or 15 minutes have passed. Nothing was "
    "charged. Use /imagine again."
)
_NOT_YOURS: Final = "Only the member who asked for these grids can do this."


@dataclass(frozen=True, slots=True)
class SetQuestion:
    """What the member is asked: the set, the images left before it, and how many are held."""

    pending: PendingSet
    images_left: int
    held: int


@dataclass(frozen=True, slots=True)
class AcceptedSet:
    """The jobs of a set that was run, in its order; ``held`` of them wait for a moderator.

    ``created`` is False if it was run before; then ``images_left`` is None, otherwise what the
    member has left after it.
    """

    id: int
    jobs: tuple[Job, ...]
    created: bool
    images_left: int | None
    held: int


class RequestSets:
    """Ask about sets of requests, run them, and tell what became of them."""

    def __init__(self, database: Database, queue: JobQueue, *, now: Callable[[], datetime]) -> None:
        self._database = database
        self._queue = queue
        self._now = now
        self._sets = RequestSetRepository(database)

    async def ask(
        self, set_id: int, requests: Sequence[Request], member: Actor, place: Place
    ) -> SetQuestion | AcceptedSet:
        """Store a set that could be run now and return the question. Idempotent.

        Return the set itself if it has been run already. Raises what ``JobQueue.submit`` does if
        the requests would not be accepted together; then only an audit entry is stored.
        """
        at = self._now()
        pending = PendingSet(set_id, member.id, at + OPEN_FOR, tuple(requests))

        def ask(link: sqlite3.Connection) -> SetQuestion | AcceptedSet:
            request_sets.delete_expired(link, at)
            if (accepted := _accepted(link, set_id, member)) is not None:
                return accepted
            left, holds = self._queue.admit(link, requests, member, place, at)
            request_sets.insert(link, pending)
            known = request_sets.pending(set_id).run(link)
            return SetQuestion(known or pending, left, sum(held is not None for held in holds))

        return await self._queue.write_admission(ask, requests)

    async def pending(self, set_id: int, member: Actor) -> tuple[Request, ...]:
        """Return the requests of a set that waits.

        Raises RequestError if it does not wait any more, NotAllowed for somebody else.
        """
        pending = await self._sets.pending(set_id)
        if pending is None:
            raise RequestError(CLOSED)
        _check_author(pending.author_id, member)
        if pending.expires_at <= self._now():
            raise RequestError(CLOSED)
        return pending.requests

    async def accepted(self, set_id: int, member: Actor) -> AcceptedSet | None:
        """Return a set that was run; None for any other. Raises NotAllowed for somebody else."""
        return await self._database.write(lambda link: _accepted(link, set_id, member))

    async def run(
        self, set_id: int, requests: Sequence[Request], member: Actor, place: Place
    ) -> AcceptedSet:
        """Accept the ``requests`` of a waiting set, all or none, and return its jobs. Idempotent.

        Everything is checked again. Raises what ``JobQueue.submit`` and ``pending`` do; a set that
        is refused goes on waiting.
        """
        accept = self._queue.prepare(requests, member, place, set_id=set_id)
        at = self._now()

        def run(link: sqlite3.Connection) -> AcceptedSet:
            if (known := _accepted(link, set_id, member)) is not None:
                return known
            if _waiting(link, set_id, member, at) is None:
                raise RequestError(CLOSED)
            request_sets.delete(link, set_id)
            accepted = accept(link)
            return AcceptedSet(
                set_id,
                tuple(one.job for one in accepted),
                True,
                accepted[-1].images_left,
                sum(one.held for one in accepted),
            )

        accepted = await self._queue.write_admission(run, requests)
        if accepted.created:
            self._queue.wake()
        return accepted

    async def drop(self, set_id: int, member: Actor) -> AcceptedSet | None:
        """Delete a waiting set; return it if it has been run already. Idempotent.

        Raises NotAllowed for somebody else.
        """
        at = self._now()

        def drop(link: sqlite3.Connection) -> AcceptedSet | None:
            _waiting(link, set_id, member, at)
            request_sets.delete(link, set_id)
            return _accepted(link, set_id, member)

        return await self._database.write(drop)

    async def jobs(self, set_id: int, member: Actor) -> tuple[Job, ...]:
        """Return the jobs of a member's set that was run, in its order.

        Raises RequestError if there are none, NotAllowed for somebody else.
        """
        jobs = await self._sets.jobs(set_id)
        if not jobs:
            raise RequestError(CLOSED)
        _check_author(jobs[0].request.author.id, member)
        return jobs

    async def unfinished_of(self, author_id: int) -> dict[int, tuple[str, ...]]:
        """Return the ids of a member's unfinished jobs by set, the oldest set first."""
        return await self._sets.unfinished_of(author_id)

    async def number_in_set(self, job_id: str) -> tuple[int, int] | None:
        """Return a job's number in its set, from 1, and the size of the set; None without one."""
        return await self._sets.number_in_set(job_id)

    async def run_cleanup(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Delete the prompts of sets whose time is over, every minute, until cancelled."""
        while True:
            if await self._sets.has_expired(at := self._now()):
                deleted = await self._database.write(
                    lambda link, at=at: request_sets.delete_expired(link, at)  # type: ignore[misc]
                )
                log.info("deleted %d sets of requests that nobody ran in time", deleted)
            await sleep(CLEANUP_S)


def _accepted(link: sqlite3.Connection, set_id: int, member: Actor) -> AcceptedSet | None:
    """Return a set that was run before. Raises NotAllowed for somebody else."""
    jobs = request_sets.jobs_of_set(set_id).run(link)
    if not jobs:
        return None
    _check_author(jobs[0].request.author.id, member)
    return AcceptedSet(set_id, jobs, False, None, request_sets.count_held(link, set_id))


def _waiting(
    link: sqlite3.Connection, set_id: int, member: Actor, at: datetime
) -> PendingSet | None:
    """Return a set that waits for the member. Raises NotAllowed for somebody else."""
    pending = request_sets.pending(set_id).run(link)
    if pending is None:
        return None
    _check_author(pending.author_id, member)
    return pending if pending.expires_at > at else None


def _check_author(author_id: int, member: Actor) -> None:
    if author_id != member.id:
        raise NotAllowed(_NOT_YOURS)
