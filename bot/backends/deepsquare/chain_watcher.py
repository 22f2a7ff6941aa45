"""Poll the chain once for all followed jobs.

An event is only a hint: the job is read from the repository whenever an event names it, and every
few minutes anyway, a few jobs per poll. So the cost of a poll does not grow with the number of
jobs. Events are identified by their block's hash: a block that is replaced brings its events anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from bot.backends.deepsquare.abi import ChainJob
from bot.backends.deepsquare.contracts import ContractReader, Transition
from bot.backends.deepsquare.rpc import Sleep
from bot.backends.deepsquare.state_store import StateStore
from bot.backends.deepsquare.timeouts import Timeouts
from bot.domain.errors import Unavailable

log = logging.getLogger(__name__)

OVERLAP = 32
"""Blocks that are read again at each look."""
MAX_BACKLOG_BLOCKS = 2000
"""Blocks that are read at most after a pause: each job's truth is read at the start anyway."""
REFRESHES_PER_POLL = 2
"""Jobs whose truth is read at each look though nothing was heard of them."""
SAVED_EVERY = 16
"""Blocks between two notes of where the last look ended."""


class JobSubscription:
    """One follower's view of a job. ``wake`` is called when ``job`` or ``transitions`` change."""

    __slots__ = ("job", "missing", "number", "read_at", "transitions", "wake")

    def __init__(self, number: int, wake: Callable[[], None]) -> None:
        self.number = number
        self.wake = wake
        self.job: ChainJob | None = None
        self.missing = False
        """Whether the chain has no such job any more: its block was replaced."""
        self.read_at: datetime | None = None
        self.transitions: list[Transition] = []


class Watcher:
    """Poll while there are subscriptions."""

    def __init__(
        self,
        chain: ContractReader,
        store: StateStore,
        timeouts: Timeouts,
        *,
        now: Callable[[], datetime],
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._chain = chain
        self._store = store
        self._timeouts = timeouts
        self._now = now
        self._sleep = sleep
        self._watches: dict[int, list[JobSubscription]] = {}
        self._seen: dict[tuple[bytes, int], int] = {}
        self._next: int | None = None
        self._noted = 0
        self._task: asyncio.Task[None] | None = None
        self.looks = 0
        self.away_since: datetime | None = None
        """Since when the chain cannot be reached; None while it can."""

    def watching(self, number: int, wake: Callable[[], None]) -> Subscription:
        """Return a context manager that follows a job's state and transitions."""
        return Subscription(self, JobSubscription(number, wake))

    async def begin(self, watch: JobSubscription) -> None:
        """Add a subscription, reading the job first if possible."""
        self._watches.setdefault(watch.number, []).append(watch)
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        try:
            await self.read(watch.number)
        except Unavailable as error:
            log.warning("Grid job %d cannot be read now: %s", watch.number, error)

    async def end(self, watch: JobSubscription) -> None:
        """Remove a subscription; without any, polling stops."""
        watches = self._watches[watch.number]
        watches.remove(watch)
        if not watches:
            del self._watches[watch.number]
        if not self._watches:
            await self.aclose()

    async def read(self, number: int) -> ChainJob | None:
        """Read a job now and update its subscriptions. Raises Unavailable."""
        job = await self._chain.job(number)
        for watch in self._watches.get(number, ()):
            changed = watch.job != job or watch.missing != (job is None)
            watch.missing = job is None
            watch.job = job or watch.job
            watch.read_at = self._now()
            if changed:
                watch.wake()
        return job

    async def aclose(self) -> None:
        """Stop polling."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        pause = self._timeouts.poll
        while True:
            await self._sleep(pause)
            try:
                await self.look()
            except Unavailable as error:
                if self.away_since is None:
                    self.away_since = self._now()
                    log.warning("the chain cannot be read, the logs go on: %s", error)
                pause = min(2 * pause, max(self._timeouts.outage, self._timeouts.poll))
            except Exception:
                # Everybody who follows a job depends on this task: it goes on whatever happens.
                log.exception("a look at the chain failed in a way that nobody foresaw")
            else:
                if self.away_since is not None:
                    log.warning("the chain can be read again")
                self.away_since = None
                pause = self._timeouts.poll

    async def look(self) -> None:
        """Poll once for all subscriptions: two requests, and one for each job with news."""
        head = await self._chain.rpc.head()
        if self._next is None:
            self._next = self._resume(head)
        first = max(0, min(self._next, head) - OVERLAP)
        news: set[int] = set()
        for transition in await self._chain.transitions(first, head):
            if transition.key in self._seen:
                continue
            self._seen[transition.key] = transition.block
            for watch in self._watches.get(transition.number, ()):
                watch.transitions.append(transition)
                news.add(transition.number)
        for number in (*news, *self._unread(news)):
            await self.read(number)
        for number in news:
            for watch in self._watches.get(number, ()):
                watch.wake()
        self.looks += 1
        self._move_on(head)

    def _unread(self, news: set[int]) -> list[int]:
        """Return the few jobs that were read longest ago, if that is long enough."""
        now = self._now()
        ages: list[tuple[float, int]] = []
        for number, watches in self._watches.items():
            read_at = min((watch.read_at for watch in watches if watch.read_at), default=None)
            age = (now - read_at).total_seconds() if read_at else self._timeouts.state_refresh
            if age >= self._timeouts.state_refresh and number not in news:
                ages.append((-age, number))
        return [number for _, number in sorted(ages)[:REFRESHES_PER_POLL]]

    def _resume(self, head: int) -> int:
        note = self._store.read_note(self._note_name) or {}
        noted = int(note.get("block", head))
        return max(min(noted, head), head - MAX_BACKLOG_BLOCKS)

    def _move_on(self, head: int) -> None:
        self._next = head + 1
        horizon = head - 2 * OVERLAP
        self._seen = {key: block for key, block in self._seen.items() if block >= horizon}
        if abs(head - self._noted) >= SAVED_EVERY:
            self._store.save_note(self._note_name, {"block": head})
            self._noted = head

    @property
    def _note_name(self) -> str:
        return f"cursor-{self._chain.scheduler.lower()}"


class Subscription:
    """Add and remove a subscription. No generator: streams that are dropped must close in order."""

    def __init__(self, watcher: Watcher, watch: JobSubscription) -> None:
        self._watcher = watcher
        self._watch = watch

    async def __aenter__(self) -> JobSubscription:
        try:
            await self._watcher.begin(self._watch)
        except BaseException:
            await self._watcher.end(self._watch)
            raise
        return self._watch

    async def __aexit__(self, *_: object) -> None:
        await self._watcher.end(self._watch)
