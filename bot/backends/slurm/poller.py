"""Poll the controller once for all followers.

All followers of all jobs share one ``squeue`` per poll: a hundred jobs cost what one does. JSON is
asked for first and text where the version has none, or where its JSON, which in 22.05 lists the
jobs of every user, has grown too long.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

from bot.backends.slurm.commands import SlurmCommands
from bot.backends.slurm.options import cluster_args
from bot.backends.slurm.squeue import TEXT_FORMAT, SqueueRecord, parse_json_records, parse_text
from bot.concurrency import cancel_and_wait
from bot.domain.errors import SubmissionRejected, Unavailable

log = logging.getLogger(__name__)

MAX_JSON_CHARACTERS = 4_000_000
RETRY_SECONDS = 0.25
"""Between two polls after a failed one: an outage is certain only after two."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All records of one poll; ``started_at`` is in seconds of the monotonic clock."""

    started_at: float
    records: Mapping[str, SqueueRecord]

    def find(self, number: str, name: str) -> SqueueRecord | None:
        """Return the record with that name, preferably with that job id; None if there is none.

        The id alone proves nothing: a controller that lost its state reuses ids.
        """
        named = self.by_name(name)
        numbered = (record for record in named if record.id == number)
        return next(numbered, next(iter(named), None))

    def by_name(self, name: str) -> tuple[SqueueRecord, ...]:
        """Return the records with that name, without rejected submissions."""
        same = (record for record in self.records.values() if record.name == name)
        return tuple(record for record in same if not record.is_rejected)


class QueuePoller:
    """``snapshot`` waits for a poll; at most one runs at any moment.

    ``cluster`` is the cluster to poll, or Slurm's list of several; "" for the default.
    """

    def __init__(self, commands: SlurmCommands, poll_seconds: float, cluster: str = "") -> None:
        self._commands = commands
        self._poll_seconds = poll_seconds
        self.cluster = cluster
        # JSON does not tell which cluster a job is on.
        self._json = not cluster
        self._failed = False
        self._polled_at = -poll_seconds
        self._latest: Snapshot | None = None
        self._polling: asyncio.Task[Snapshot | Unavailable] | None = None
        self._poll_now = asyncio.Event()

    async def snapshot(self, since: float, *, soon: bool = False) -> Snapshot:
        """Return a snapshot started at ``since`` or later; with ``soon`` poll at once.

        Raises Unavailable if the poll since then failed.
        """
        while True:
            if self._latest is not None and self._latest.started_at >= since:
                return self._latest
            if soon:
                self._poll_now.set()
            if self._polling is None:
                self._polling = asyncio.get_running_loop().create_task(self._poll())
            answer = await asyncio.shield(self._polling)
            if isinstance(answer, Unavailable) and self._polled_at >= since:
                raise Unavailable(str(answer))

    async def aclose(self) -> None:
        """Stop polling."""
        await cancel_and_wait(self._polling)

    async def _poll(self) -> Snapshot | Unavailable:
        """Wait until the next poll is due and run it.

        An outage is returned, not raised: nobody may be left to catch it.
        """
        try:
            pause = min(RETRY_SECONDS, self._poll_seconds) if self._failed else self._poll_seconds
            delay = self._polled_at + pause - time.monotonic()
            if delay > 0:
                await _wait_event(self._poll_now, delay)
            self._poll_now.clear()
            self._polled_at = started_at = time.monotonic()
            records = await self._records()
            self._latest = Snapshot(started_at, {record.key: record for record in records})
            self._failed = False
            return self._latest
        except Unavailable as error:
            self._failed = True
            return error
        finally:
            self._polling = None

    async def _records(self) -> tuple[SqueueRecord, ...]:
        if self._json:
            try:
                text = await self._commands.run("squeue", "--json", "--me", "--states=all")
                self._json = len(text) <= MAX_JSON_CHARACTERS
                return await asyncio.to_thread(parse_json_records, text)
            except (SubmissionRejected, ValueError) as error:
                log.info("squeue gives no usable JSON (%s); using text", error)
                self._json = False
        try:
            # With --noheader some versions also omit the cluster above each part.
            arguments = cluster_args(self.cluster) or ("--noheader",)
            text = await self._commands.run(
                "squeue", *arguments, "--me", "--states=all", f"--Format={TEXT_FORMAT}"
            )
        except SubmissionRejected as error:
            raise Unavailable(str(error)) from error
        return parse_text(text)


async def _wait_event(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
