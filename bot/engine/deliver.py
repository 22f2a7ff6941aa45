"""Handing a result over, once, by the first rung of the ladder that holds.

    interaction   edit the first answer, while its token lives
    channel       a message of the bot's own
    direct        a direct message to the author
    kept          nothing is posted; the result waits in the author's history

Each attempt is written down before it is made and after. An attempt without an outcome, after a
crash, was perhaps made: the courier is asked to look before it posts again. What a rung means is
the courier's business; the command line's only rung is a folder.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from bot.domain.errors import DeliveryError
from bot.domain.events import Delivered, MessageRef
from bot.domain.job import Job
from bot.engine.collect import Package
from bot.store import deliveries
from bot.store.database import Database

log = logging.getLogger(__name__)

KEPT = "kept"
ATTEMPT_SECONDS = 120.0


class Courier(Protocol):
    """Knows how to hand a package over."""

    async def ladder(self, job: Job) -> tuple[str, ...]:
        """The rungs worth trying now, best first; ``kept`` need not be named."""
        ...

    async def hand_over(
        self, rung: str, job: Job, package: Package, nonce: str
    ) -> MessageRef | None:
        """Post the package.

        Raises DeliveryError if this rung does not hold, OSError if nobody can say whether it did.
        """
        ...

    async def find(self, rung: str, job: Job, nonce: str) -> MessageRef | None:
        """The message that an interrupted attempt has posted after all, or None."""
        ...


class Deliverer:
    """Climbs down the ladder until a rung holds; the last one always does."""

    def __init__(
        self, database: Database, courier: Courier, *, now: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._reader = deliveries.Deliveries(database)
        self._courier = courier
        self._now = now

    async def deliver(self, job: Job, package: Package) -> Delivered:
        """Hand the result over and say by which rung; never raises for a refused delivery."""
        nonce = f"job-{job.id}"
        attempts = {
            attempt.rung: attempt
            for attempt in await self._reader.attempts(job.id)
            if attempt.nonce == nonce
        }
        for attempt in attempts.values():
            if attempt.delivered is False:
                continue
            message = await self._found(attempt.rung, job, nonce)
            if message is not None or attempt.delivered:
                return await self._done(job, attempt.rung, nonce, message)
        for rung in await self._courier.ladder(job):
            earlier = attempts.get(rung)
            if earlier is not None and earlier.delivered is False:
                continue
            at = self._now()
            await self._database.write(
                lambda link, rung=rung, at=at: deliveries.record_attempt(  # type: ignore[misc]
                    link, job.id, rung, nonce, at=at
                )
            )
            try:
                async with asyncio.timeout(ATTEMPT_SECONDS):
                    message = await self._courier.hand_over(rung, job, package, nonce)
            except (DeliveryError, OSError) as error:
                # Only a refusal is known not to have been posted.
                message = None
                if not isinstance(error, DeliveryError):
                    message = await self._found(rung, job, nonce)
                if message is not None:
                    return await self._done(job, rung, nonce, message)
                detail = str(error) or "no answer in time"
                log.warning("delivery by %s failed: %s", rung, detail, extra={"job": job.id})
                await self._note(job, rung, nonce, delivered=False, detail=detail)
                continue
            return await self._done(job, rung, nonce, message)
        log.warning("the result is kept for the author's history", extra={"job": job.id})
        return Delivered(KEPT)

    async def _found(self, rung: str, job: Job, nonce: str) -> MessageRef | None:
        try:
            return await self._courier.find(rung, job, nonce)
        except DeliveryError as error:
            log.info("cannot look for an earlier post: %s", error, extra={"job": job.id})
            return None

    async def _done(self, job: Job, rung: str, nonce: str, message: MessageRef | None) -> Delivered:
        await self._note(job, rung, nonce, delivered=True)
        return Delivered(rung, message)

    async def _note(
        self, job: Job, rung: str, nonce: str, *, delivered: bool, detail: str = ""
    ) -> None:
        at = self._now()
        await self._database.write(
            lambda link: deliveries.finish_attempt(
                link, job.id, rung, nonce, delivered=delivered, at=at, detail=detail
            )
        )
