"""Finds a job among all that the wallet ever asked for, where our own records do not say.

That is needed only when a data folder was lost, or when a transaction's fate cannot be seen; so
the chain's list is read once and afterwards only for what is new. Nothing is decided here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from bot.backends.deepsquare.abi import ChainJob, job_name
from bot.backends.deepsquare.chain import ContractReader
from bot.backends.deepsquare.journal import StateStore
from bot.backends.deepsquare.records import ChainAttempt, JobRecord

DEPTH = 500
"""Jobs that are looked at, from the newest back: an unfinished one is not far down."""


class ChainJobFinder:
    """``by_name`` looks once for what others may have left; ``by_script`` looks every time."""

    def __init__(self, chain: ContractReader, journal: StateStore) -> None:
        self._chain = chain
        self._journal = journal
        self._strangers: list[ChainJob] | None = None
        self._looking = asyncio.Lock()

    async def by_name(self, job_id: str, now: datetime) -> JobRecord | None:
        """A record for a job that the chain knows by our id and our own records do not."""
        async with self._looking:
            if self._strangers is None:
                ours = {number for record in self._journal.jobs() for number in record.numbers}
                self._strangers = await self._jobs(lambda number: number not in ours)
        name = job_name(job_id)
        found = sorted(
            (job for job in self._strangers if job.name == name), key=lambda job: job.number
        )
        if not found:
            return None
        attempts = tuple(
            ChainAttempt(
                script=job.script,
                script_at=datetime.fromtimestamp(job.submitted, now.tzinfo),
                lock=job.max_cost,
                number=job.number,
                requested_at=datetime.fromtimestamp(job.submitted, now.tzinfo),
            )
            for job in found
        )
        return JobRecord(job_id, self._chain.scheduler, now, attempts=attempts)

    async def by_script(self, scripts: set[str]) -> int | None:
        """The number of the newest job that runs one of these scripts."""
        for number in reversed((await self._chain.my_jobs())[-DEPTH:]):
            job = await self._chain.job(number)
            if job is not None and job.script in scripts:
                return number
        return None

    async def _jobs(self, wanted: Callable[[int], bool]) -> list[ChainJob]:
        numbers = (await self._chain.my_jobs())[-DEPTH:]
        reading = [self._chain.job(number) for number in numbers if wanted(number)]
        found = await asyncio.gather(*reading)
        return [job for job in found if job is not None]
