"""What was posted for a job and where it may still be edited: the chat's memory, kept in the store.

The surface asks here because it never sees the store. Nothing here talks to Discord.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.domain.events import MessageRef
from bot.domain.job import Job
from bot.store import audit, deliveries, jobs
from bot.store.database import Database
from bot.store.deliveries import DeliveryRepository
from bot.store.job_queries import InteractionRef
from bot.store.jobs import ERASED_PROMPT, JobRepository
from bot.store.waiting import waits_limited

__all__ = ["InteractionRef", "MessageStore", "StatusMessage", "is_erased"]


def is_erased(job: Job) -> bool:
    """Whether the author had the words of this request erased: there is nothing to make again."""
    return job.request.prompt == ERASED_PROMPT


@dataclass(frozen=True, slots=True)
class StatusMessage:
    """A job's card, and the interaction whose answer it is while that is still known."""

    message: MessageRef
    interaction: InteractionRef | None

    def is_token_valid(self, at: datetime) -> bool:
        """Whether the message can be edited by the interaction's token, one minute to spare."""
        # Decided by the clock: an expired token answers 401, and too many of those are a ban.
        return (
            self.interaction is not None
            and (self.interaction.expires_at - at).total_seconds() > _SPARE_SECONDS
        )


_SPARE_SECONDS = 60.0
_A_DAY = timedelta(days=1)
_ROWS = "rows"


class MessageStore:
    """Remembers messages by job and kind."""

    def __init__(self, database: Database, *, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now
        self._deliveries = DeliveryRepository(database)
        self._jobs = JobRepository(database)

    async def status_message(self, job_id: str) -> StatusMessage | None:
        """The card that was the first answer; None before it was posted and after it is gone."""
        message = await self._deliveries.message(job_id, "card")
        if message is None:
            return None
        return StatusMessage(message, await self._jobs.interaction(job_id))

    async def thread(self, job_id: str) -> MessageRef | None:
        """The thread with the rows: its id and that of its first message."""
        return await self._deliveries.message(job_id, "thread")

    async def save_status_message(
        self,
        job_id: str,
        message: MessageRef,
        *,
        posted_at: datetime | None = None,
        answer: bool = True,
    ) -> None:
        """The card was posted, or says now how the job has ended.

        ``posted_at``: when it was, if not now. Not an ``answer``: a message of the bot's own, which
        the interaction's token does not edit.
        """
        at = self._now()

        def keep(link: sqlite3.Connection) -> None:
            deliveries.set_message(link, job_id, "card", message, at=posted_at or at)
            deliveries.close_card(link, job_id, at=at)
            if not answer:
                jobs.forget_token(link, job_id)

        await self._database.write(keep)

    async def cards_owed(self) -> tuple[str, ...]:
        """Jobs of the last day, and older ones under way, whose card was never written down."""
        return await self._deliveries.cards_owed(self._now() - _A_DAY)

    async def card_owed(self, job_id: str) -> bool:
        """Whether the job's card was never written down, nor that there will be none."""
        return await self._deliveries.card_owed(job_id)

    async def no_card(self, job_id: str, why_not: str) -> None:
        """There will be no card, for a reason; the job goes on without one."""
        at = self._now()
        await self._database.write(
            lambda link: deliveries.close_card(link, job_id, at=at, why_not=why_not)
        )

    async def stale_status_messages(self, rung: str) -> tuple[str, ...]:
        """Jobs of the last day that have ended, and whose card may not say so.

        Not those that were delivered on ``rung``, where the card became the result.
        """
        return await self._deliveries.stale_status_messages(self._now() - _A_DAY, without=rung)

    async def enqueue_rows(self, job_id: str) -> None:
        """The rows are to be posted once the grid is."""
        at = self._now()
        await self._database.write(
            lambda link: deliveries.record_attempt(link, job_id, _ROWS, _ROWS, at=at)
        )

    async def pending_rows(self) -> tuple[str, ...]:
        """The jobs whose rows are still to be posted."""
        return await self._deliveries.pending_jobs(_ROWS)

    async def complete_rows(self, job_id: str, why_not: str = "") -> None:
        """The rows were posted or, for a reason, are given up."""
        at = self._now()
        await self._database.write(
            lambda link: deliveries.finish_attempt(
                link, job_id, _ROWS, _ROWS, delivered=not why_not, at=at, detail=why_not
            )
        )

    async def save_thread(self, job_id: str, first: MessageRef) -> None:
        """The rows were posted in a thread; ``first`` is the thread and its first message."""
        await self._keep(job_id, "thread", first)

    async def job_of(self, message_id: int) -> str | None:
        """The id of the job that a message belongs to."""
        return await self._deliveries.job_of(message_id)

    async def forget(self, message_id: int) -> None:
        """A message is gone from the channel."""
        await self._database.write(lambda link: deliveries.forget_message(link, message_id))

    async def record_deletion(self, job: Job, message_id: int, by: int) -> None:
        """``by`` had the message removed: forgotten and, if it was not the author, on record."""
        at = self._now()

        def note(link: sqlite3.Connection) -> None:
            deliveries.forget_message(link, message_id)
            if by == job.request.author.id:
                return
            audit.record_action(
                link,
                at=at,
                guild_id=job.request.place.guild_id,
                actor_id=by,
                action="removed",
                subject=f"job:{job.id}",
                detail={
                    "author": job.request.author.id,
                    "channel": job.request.place.channel_id,
                    "prompt": job.request.prompt,
                    "seed": job.request.seed,
                },
            )

        await self._database.write(note)

    async def _keep(self, job_id: str, kind: deliveries.MessageKind, message: MessageRef) -> None:
        at = self._now()
        # It is posted, so it is kept, also when the member has his answer long since.
        with waits_limited(None):
            await self._database.write(
                lambda link: deliveries.set_message(link, job_id, kind, message, at=at)
            )
