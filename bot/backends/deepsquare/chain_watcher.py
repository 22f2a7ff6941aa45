"""Poll the chain once for all followed jobs.

An event is only a hint: the job is read from the repository whenever an event names it, and every
few minutes anyway, a few jobs per poll. So the cost of a poll does not grow with the number of
jobs. Events are identified by their block's hash: a block that is replaced brings its events again.
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
from bot.concurrency import cancel_and_wait
from bot.domain.errors import Unavailable

log = logging.getLogger(__name__)

OVERLAP_BLOCKS = 32
"""Blocks that each poll reads again."""
MAX_BACKLOG_BLOCKS = 2000
"""Limit of blocks read after a pause: each job is read at the start anyway."""
REFRESHES_PER_POLL = 2
"""Jobs without events that each poll reads."""
SAVE_EVERY_BLOCKS = 16
"""Blocks between two saved positions."""


class JobSubscription:
    """One follower's view of a job. ``wake`` is called when ``job`` or ``transitions`` change."""

    __slots__ = ("job", "missing", "number", "refreshed_at", "transitions", "wake")

    def __init__(self, number: int, wake: Callable[[], None]) -> None:
        self.number = number
        self.wake = wake
        self.job: ChainJob | None = None
        self.missing = False
        """Whether the chain has lost the job: its block was replaced."""
        self.refreshed_at: datetime | None = None
        self.transitions: list[Transition] = []


class ChainWatcher:
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
        self._subscriptions: dict[int, list[JobSubscription]] = {}
        self._seen: dict[tuple[bytes, int], int] = {}
        self._next_block: int | None = None
        self._saved_block = 0
        self._task: asyncio.Task[None] | None = None
        self.unavailable_since: datetime | None = None
        """Since when the chain is unavailable; None while it answers."""

    def subscribe(self, number: int, wake: Callable[[], None]) -> Subscription:
        """Return a context manager that follows a job's state and transitions."""
        return Subscription(self, JobSubscription(number, wake))

    async def add(self, subscription: JobSubscription) -> None:
        """Add a subscription, reading the job first if possible."""
        self._subscriptions.setdefault(subscription.number, []).append(subscription)
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        try:
            await self.refresh(subscription.number)
        except Unavailable as error:
            log.warning("Grid job %d cannot be read now: %s", subscription.number, error)

    async def remove(self, subscription: JobSubscription) -> None:
        """Remove a subscription; without any, polling stops."""
        subscriptions = self._subscriptions[subscription.number]
        subscriptions.remove(subscription)
        if not subscriptions:
            del self._subscriptions[subscription.number]
        if not self._subscriptions:
            await self.aclose()

    async def refresh(self, number: int) -> ChainJob | None:
        """Read a job now and update its subscriptions. Raises Unavailable."""
        job = await self._chain.job(number)
        for subscription in self._subscriptions.get(number, ()):
            changed = subscription.job != job or subscription.missing != (job is None)
            subscription.missing = job is None
            subscription.job = job or subscription.job
            subscription.refreshed_at = self._now()
            if changed:
                subscription.wake()
        return job

    async def aclose(self) -> None:
        """Stop polling."""
        task, self._task = self._task, None
        await cancel_and_wait(task)

    async def _run(self) -> None:
        pause = self._timeouts.poll
        while True:
            await self._sleep(pause)
            try:
                await self.poll()
            except Unavailable as error:
                if self.unavailable_since is None:
                    self.unavailable_since = self._now()
                    log.warning("the chain is unavailable, the logs go on: %s", error)
                pause = min(2 * pause, max(self._timeouts.outage, self._timeouts.poll))
            except Exception:
                # All followers depend on this task: it goes on whatever happens.
                log.exception("polling the chain failed unexpectedly")
            else:
                if self.unavailable_since is not None:
                    log.warning("the chain is available again")
                self.unavailable_since = None
                pause = self._timeouts.poll

    async def poll(self) -> None:
        """Poll once for all subscriptions: two requests, and one for each job with news."""
        head = await self._chain.rpc.head()
        if self._next_block is None:
            self._next_block = self._resume(head)
        first = max(0, min(self._next_block, head) - OVERLAP_BLOCKS)
        news: set[int] = set()
        for transition in await self._chain.transitions(first, head):
            if transition.key in self._seen:
                continue
            self._seen[transition.key] = transition.block
            for subscription in self._subscriptions.get(transition.number, ()):
                subscription.transitions.append(transition)
                news.add(transition.number)
        for number in (*news, *self._stale_jobs(news)):
            await self.refresh(number)
        for number in news:
            for subscription in self._subscriptions.get(number, ()):
                subscription.wake()
        self._save_position(head)

    def _stale_jobs(self, news: set[int]) -> list[int]:
        """Return the few jobs that were read longest ago, if that is long enough."""
        now = self._now()
        ages: list[tuple[float, int]] = []
        for number, subscriptions in self._subscriptions.items():
            refreshed_at = min(
                (
                    subscription.refreshed_at
                    for subscription in subscriptions
                    if subscription.refreshed_at
                ),
                default=None,
            )
            age = (
                (now - refreshed_at).total_seconds()
                if refreshed_at
                else self._timeouts.state_refresh
            )
            if age >= self._timeouts.state_refresh and number not in news:
                ages.append((-age, number))
        return [number for _, number in sorted(ages)[:REFRESHES_PER_POLL]]

    def _resume(self, head: int) -> int:
        note = self._store.read_note(self._note_name) or {}
        saved = int(note.get("block", head))
        return max(min(saved, head), head - MAX_BACKLOG_BLOCKS)

    def _save_position(self, head: int) -> None:
        self._next_block = head + 1
        oldest_block = head - 2 * OVERLAP_BLOCKS
        self._seen = {key: block for key, block in self._seen.items() if block >= oldest_block}
        if abs(head - self._saved_block) >= SAVE_EVERY_BLOCKS:
            self._store.save_note(self._note_name, {"block": head})
            self._saved_block = head

    @property
    def _note_name(self) -> str:
        return f"cursor-{self._chain.scheduler.lower()}"


class Subscription:
    """Add and remove a subscription. No generator: streams that are dropped must close in order."""

    def __init__(self, watcher: ChainWatcher, subscription: JobSubscription) -> None:
        self._watcher = watcher
        self._subscription = subscription

    async def __aenter__(self) -> JobSubscription:
        try:
            await self._watcher.add(self._subscription)
        except BaseException:
            await self._watcher.remove(self._subscription)
            raise
        return self._subscription

    async def __aexit__(self, *_: object) -> None:
        await self._watcher.remove(self._subscription)
