"""Keeps every card up to date, gently: the latest state, at a pace that Discord and people bear.

Being told of an event costs nothing; a task of its own writes. It never writes what the courier
has to say: from DELIVERING on, a card is the courier's, unless the result was posted elsewhere.
While Discord is away a card is tried again for as long as it takes. One that Discord refuses is
given up, but for those that ``reopen`` brings back when a permission was given.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from collections.abc import Awaitable, Callable, Container
from dataclasses import dataclass
from enum import Enum
from typing import Final

from bot.concurrency import cancel_and_wait
from bot.domain.errors import DeliveryError, DeliveryUnavailable
from bot.domain.events import CancelRequested, JobEvent, Scheduled
from bot.domain.job import Job, JobState
from bot.frontend import messages
from bot.frontend.context import ContextClient
from bot.frontend.delivery import CHANNEL, INTERACTION
from bot.frontend.embeds import QueueInfo, job_message, posted_elsewhere
from bot.frontend.formatting import jump_link
from bot.frontend.messages import (
    FileUpload,
    MessageContent,
    MessageNotFound,
    NotPermitted,
    TooLarge,
)
from bot.frontend.result_files import build_preview
from bot.services.delivery import StatusMessage
from bot.services.queue import QueuePosition

log = logging.getLogger(__name__)

EVERY: Final = 2.5
PER_SECOND: Final = 4.0


class Priority(Enum):
    """How long a wish may wait for others; the value is the seconds that it is put back."""

    FINAL = -1_000.0
    RUNNING = 0.0
    WAITING = 10.0


@dataclass(frozen=True, slots=True)
class _Edit:
    since: float
    urgency: Priority

    @property
    def rank(self) -> float:
        return self.since + self.urgency.value


class EditSchedule:
    """The wishes that are open. What a card will say is decided when its turn comes."""

    def __init__(self, *, every: float = EVERY, per_second: float = PER_SECOND) -> None:
        self._every = every
        self._per_second = per_second
        self._edits: dict[str, _Edit] = {}
        self._written: dict[str, float] = {}
        self._budget = per_second
        self._counted_at = 0.0

    def schedule(self, job_id: str, urgency: Priority, at: float) -> bool:
        """The card should be written; asked for again, it keeps its place or moves up.

        False if nothing has changed by that.
        """
        known = self._edits.get(job_id)
        if known is not None and urgency.value >= known.urgency.value:
            return False
        since = at if known is None else min(at, known.since)
        self._edits[job_id] = _Edit(since, urgency)
        return True

    def cancel(self, job_id: str) -> None:
        """The card need not be written any more."""
        self._edits.pop(job_id, None)
        self._written.pop(job_id, None)

    def reschedule(self, job_id: str, urgency: Priority, at: float) -> None:
        """The card was not written after all: try from ``at`` on, whatever the interval."""
        self._written.pop(job_id, None)
        self.schedule(job_id, urgency, at)

    def pop_due(self, at: float, busy: Container[str] = ()) -> str | None:
        """The card to write now; None if none is due. ``busy`` ones are still being written."""
        self._refill(at)
        due = [
            (edit.rank, job_id)
            for job_id, edit in self._edits.items()
            if job_id not in busy and self._due_at(job_id, edit) <= at
        ]
        if not due:
            return None
        _, job_id = min(due)
        edit = self._edits.pop(job_id)
        if edit.urgency is not Priority.FINAL:
            self._budget -= 1
        self._written[job_id] = at
        return job_id

    def next_delay(self, at: float, busy: Container[str] = ()) -> float | None:
        """Seconds until a card may be due; None while nothing is wanted that is not busy."""
        self._refill(at)
        moments = [
            self._due_at(job_id, edit) for job_id, edit in self._edits.items() if job_id not in busy
        ]
        return max(0.0, min(moments) - at) if moments else None

    def _due_at(self, job_id: str, edit: _Edit) -> float:
        if edit.urgency is Priority.FINAL:
            return edit.since
        lacking = max(0.0, 1.0 - self._budget) / self._per_second
        return max(
            edit.since,
            self._written.get(job_id, edit.since - self._every) + self._every,
            self._counted_at + lacking,
        )

    def _refill(self, at: float) -> None:
        passed = max(0.0, at - self._counted_at)
        self._budget = min(self._per_second, self._budget + passed * self._per_second)
        self._counted_at = at
        for job_id in [one for one, then in self._written.items() if then + self._every <= at]:
            del self._written[job_id]


LINE_EVERY: Final = 3.0
LOOK_AT_LEAST: Final = 10.0
MARGIN: Final = LOOK_AT_LEAST + 5.0
"""A card whose estimate is nearer than this is written anew, so that it never is in the past."""
MOVED: Final = 45.0
RETRY_SECONDS: Final = 0.5
LONGEST_RETRY: Final = 60.0
MOST_TRIES: Final = 8
"""So often a card is tried that Discord refuses; while it is away, tries are not counted."""

MOST_CLOSED: Final = 1000
LOOK_SECONDS: Final = 0.5
MOST_LOOKS: Final = 4
EDIT_SECONDS: Final = 60.0


_COUNTDOWN: Final = re.compile(r"<t:(\d+):R>")


@dataclass(slots=True)
class _StatusState:
    """What is remembered of one card while its job lives."""

    job: Job | None = None
    post: StatusMessage | None = None
    shown: MessageContent | None = None
    preview: str = ""
    position: QueuePosition | None = None
    said: tuple[int, str, bool, float | None] | None = None
    looks: tuple[int, int] = (0, 0)
    tries: int = 0
    refused: int = 0
    gone: bool = False
    bare: bool = False


class StatusUpdater:
    """``report`` notes, ``run`` writes, ``resume`` takes up what a restart interrupted."""

    def __init__(
        self,
        client: ContextClient,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        schedule: EditSchedule | None = None,
        line_every: float = LINE_EVERY,
        edit_seconds: float = EDIT_SECONDS,
    ) -> None:
        self._client = client
        self._clock = clock
        self._sleep = sleep
        self._schedule = schedule or EditSchedule()
        self._states: dict[str, _StatusState] = {}
        self._writing: dict[str, asyncio.Task[None]] = {}
        self._woken = asyncio.Event()
        self._line_moved = False
        self._all_changed = False
        self._line_due = 0.0
        self._look_by = 0.0
        self._line_every = line_every
        self._edit_seconds = edit_seconds
        self._closed: dict[str, None] = {}

    @property
    def tracked(self) -> int:
        """Cards that are kept in mind."""
        return len(self._states)

    @property
    def busy(self) -> bool:
        """Whether a card is being written, or is to be."""
        return bool(self._writing) or self._schedule.next_delay(self._clock()) is not None

    async def on_event(self, job: Job, event: JobEvent) -> None:
        """Remember the state; it is written when its turn comes."""
        if not job.request.place.channel_id:
            return  # the command line's: there is no card
        if isinstance(event, Scheduled) or job.state.terminal:
            self._line_moved = True
        if job.state is JobState.FINISHED and job.delivery_method == INTERACTION:
            self._forget(job.id)
        else:
            self._states.setdefault(job.id, _StatusState()).job = job
            # What hundreds of running jobs say wakes nobody while their cards wait for a turn.
            at_once = isinstance(event, CancelRequested)
            if not self._want(job, at_once=at_once) and not self._line_moved:
                return
        self._woken.set()

    def refresh_queue(self) -> None:
        """Something that waiting cards say has changed for all of them."""
        for state in self._states.values():
            if state.job is not None:
                self._want(state.job)  # what is being handed over waits for the machines, too
        self._all_changed = True
        self._line_moved = True
        self._woken.set()

    def take_up(self, job: Job) -> None:
        """Write a card that has become known, if it was given up or its job has ended meanwhile."""
        if job.state is JobState.FINISHED and job.delivery_method == INTERACTION:
            return  # it is the result
        state = self._states.get(job.id)
        if state is None and not job.state.terminal:
            return  # nothing has been missed
        if state is not None and not state.gone and not state.tries:
            return  # it is written in its turn
        if state is None or state.gone:
            state = self._states[job.id] = _StatusState(state.job if state else None)
        state.job = state.job or job
        state.tries = state.refused = 0
        self._schedule.cancel(job.id)  # it was put off, for want of a card
        self._want(state.job)
        self._woken.set()

    def reopen(self) -> None:
        """Write once more the cards that the bot was not permitted to write."""
        closed, self._closed = self._closed, {}
        for job_id in closed:
            state = self._states.setdefault(job_id, _StatusState())
            state.gone, state.refused, state.bare = False, 0, False
            self._schedule.schedule(job_id, Priority.RUNNING, self._clock())
        if closed:
            self._woken.set()

    async def resume(self) -> None:
        """Write anew the cards of jobs that were under way when the bot stopped, or just ended."""
        context = self._client.context
        jobs = context.queue.jobs
        under_way = [flight.job_id for flight in await jobs.running()]
        for job_id in (*under_way, *await context.messages.stale_status_messages(INTERACTION)):
            job = await jobs.get(job_id)
            if job is not None and job.request.place.channel_id:
                self._states.setdefault(job.id, _StatusState()).job = job
        self.refresh_queue()

    @property
    def _next_look(self) -> float:
        """Estimates pass even when nothing happens, but only on cards that exist."""
        return self._look_by if self._states else math.inf

    async def run(self) -> None:
        """Write for ever."""
        try:
            while True:
                self._woken.clear()
                if self._clock() >= (self._line_due if self._line_moved else self._next_look):
                    await self._look_at_line()
                while (job_id := self._schedule.pop_due(self._clock(), self._writing)) is not None:
                    self._begin(job_id)
                await self._pause()
        finally:
            await cancel_and_wait(*self._writing.values())

    def _want(self, job: Job, *, at_once: bool = False) -> bool:
        """Put the card on the agenda, or take it off; whether there is something new to do."""
        if job.state is JobState.DELIVERING:
            self._schedule.cancel(job.id)
            return False
        urgency = Priority.FINAL if job.state.terminal or at_once else Priority.RUNNING
        if job.state is JobState.QUEUED:
            urgency = Priority.WAITING
        return self._schedule.schedule(job.id, urgency, self._clock())

    def _forget(self, job_id: str) -> None:
        self._states.pop(job_id, None)
        self._schedule.cancel(job_id)

    async def _pause(self) -> None:
        """Until something is due or something new is said."""
        delays = [self._schedule.next_delay(self._clock(), self._writing)]
        due = self._line_due if self._line_moved else self._next_look
        if due < math.inf:
            delays.append(max(0.0, due - self._clock()))
        known = [delay for delay in delays if delay is not None]
        if not known:
            await self._woken.wait()
            return
        waits = [
            asyncio.ensure_future(self._sleep(min(known))),
            asyncio.ensure_future(self._woken.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _look_at_line(self) -> None:
        """Find the waiting cards whose place, reason or estimate is no longer what they say."""
        self._line_moved = False
        self._line_due = self._clock() + self._line_every
        self._look_by = self._clock() + LOOK_AT_LEAST
        try:
            positions = await self._client.context.queue.positions()
        except Exception:
            # The root of this look: the cards of running jobs do not depend on the line.
            log.exception("the line cannot be read")
            return
        everyone, self._all_changed = self._all_changed, False
        at = self._client.context.now().timestamp()
        for job_id, position in positions.items():
            state = self._states.setdefault(job_id, _StatusState())
            if state.job is not None and state.job.state is not JobState.QUEUED:
                continue
            state.position = position
            said = _says(position, at)
            if everyone or _differs(state.said, said):
                state.said = said
                self._schedule.schedule(job_id, Priority.WAITING, self._clock())
        for job_id, state in self._states.items():
            if state.shown is not None and _promised(state.shown) < at + MARGIN:
                self._schedule.schedule(job_id, Priority.WAITING, self._clock())

    def _begin(self, job_id: str) -> None:
        task = asyncio.get_running_loop().create_task(self._write(job_id), name=f"card {job_id}")
        self._writing[job_id] = task

        def ended(done: asyncio.Task[None]) -> None:
            del self._writing[job_id]
            self._woken.set()
            if not done.cancelled() and (error := done.exception()) is not None:
                log.error("a card could not be written", exc_info=error, extra={"job": job_id})
                state = self._states.setdefault(job_id, _StatusState())
                state.refused += 1
                if state.refused < MOST_TRIES and isinstance(error, Exception):
                    self._put_back(job_id, state, error)
                else:
                    self._forget(job_id)

        task.add_done_callback(ended)

    async def _write(self, job_id: str) -> None:
        state = self._states.get(job_id)
        if state is None:
            return
        context = self._client.context
        written = state.job
        try:
            async with context.locks.acquire(job_id), asyncio.timeout(self._edit_seconds):
                written = await self._write_now(job_id, state)
        except NotPermitted as error:
            # What the card says next, and above all how its job has ended, is tried all the same.
            log.info("the card may not be written: %s", error, extra={"job": job_id})
            state.refused += 1
            self._close(job_id)
        except MessageNotFound as error:
            log.info("the card is not kept up: %s", error, extra={"job": job_id})
            state.gone = True
        except (DeliveryUnavailable, OSError) as error:
            self._put_back(job_id, state, error)
            return
        except DeliveryError as error:
            state.bare = state.bare or isinstance(error, TooLarge)
            state.refused += 1
            if state.refused < MOST_TRIES or not self._over(state):
                self._put_back(job_id, state, error)
                return
            log.warning("the card is given up: %s", error, extra={"job": job_id})
            state.gone = True
            self._close(job_id)
        else:
            if written is not None and written.state.terminal and state.post and not state.gone:
                # Outside of the pen and its time limit: the store may be unavailable for long.
                await context.messages.save_status_message(job_id, state.post.message)
        # While one state was written the next may have come, whose turn is still to come.
        if written is state.job and written is not None and written.state.terminal:
            self._forget(job_id)

    @staticmethod
    def _over(state: _StatusState) -> bool:
        return state.job is not None and state.job.state.terminal

    def _put_back(self, job_id: str, state: _StatusState, error: Exception) -> None:
        """Want it once more, each time a little later."""
        log.info("the card is written again later: %s", error, extra={"job": job_id})
        # An exponent of 9 is beyond the longest pause.
        delay = min(LONGEST_RETRY, RETRY_SECONDS * 2 ** min(state.tries, 9))
        state.tries += 1
        if isinstance(error, DeliveryUnavailable):
            delay = min(LONGEST_RETRY, max(delay, error.retry_after))
        urgency = Priority.FINAL if self._over(state) else Priority.RUNNING
        self._schedule.reschedule(job_id, urgency, self._clock() + delay)

    def _close(self, job_id: str) -> None:
        """Remember a card for the moment when somebody gives the right to write it."""
        self._closed[job_id] = None
        if len(self._closed) > MOST_CLOSED:
            del self._closed[next(iter(self._closed))]

    async def _write_now(self, job_id: str, state: _StatusState) -> Job | None:
        """Holding the pen: what is true now, if the card does not say it already."""
        context = self._client.context
        stored = await context.queue.jobs.get(job_id) if state.job is None else None
        # What was reported meanwhile is newer than what was read.
        job = state.job = state.job or stored
        if job is None or not job.request.place.channel_id:
            state.gone = True
        if job is None or state.gone or job.state is JobState.DELIVERING:
            return job
        if state.refused >= MOST_TRIES and not job.state.terminal:
            return job
        if state.post is None:
            state.post = await context.messages.status_message(job_id)
        if state.post is None:
            # It is just being posted, or a crash came in between and it never will be.
            raise DeliveryError("there is no card yet")
        # A place that refuses even a preview's few bytes, or any, takes no file.
        picture = None if state.bare else await build_preview(context, job)
        preview = picture is not None
        card = self._card(job, state, preview=preview)
        uploads: list[FileUpload] | None = None
        if picture is not None and picture.path.name != state.preview:
            uploads = [picture]
        elif picture is None and job.state.terminal:
            uploads = []
        elif card == state.shown:
            return job
        at = context.now()
        try:
            state.post = await messages.edit_status_message(
                self._client, state.post, card, at, uploads=uploads
            )
        except NotPermitted:
            if not uploads:
                raise
            # Files may be forbidden where words are not.
            state.bare = True
            return await self._write_now(job_id, state)
        state.preview = picture.path.name if picture is not None else ""
        state.shown = card
        state.tries = state.refused = 0
        self._look_again(job, state)
        return job

    def _look_again(self, job: Job, state: _StatusState) -> None:
        """A row is announced before its file is here: come back for its picture a few times."""
        ready = len(job.ready_rows)
        seen, looks = state.looks
        looks = looks + 1 if seen == ready else 0
        state.looks = ready, looks
        if ready and looks < MOST_LOOKS and job.state is JobState.RUNNING:
            self._schedule.schedule(job.id, Priority.RUNNING, self._clock() + LOOK_SECONDS)

    def _card(self, job: Job, state: _StatusState, *, preview: bool) -> MessageContent:
        context = self._client.context
        if (
            job.state is JobState.FINISHED
            and job.delivery_method == CHANNEL
            and job.result is not None
        ):
            place = job.request.place
            link = jump_link(place.guild_id, job.result.channel_id, job.result.message_id)
            return posted_elsewhere(job, link)
        waiting = QueueInfo(state.position, notice=context.notice())
        return job_message(job, context.now(), waiting, preview=preview)


def _says(position: QueuePosition, at: float) -> tuple[int, str, bool, float | None]:
    """What a reader would notice of a standing; the start as a moment."""
    starts = position.starts_in
    moment = None if starts is None else at + starts.total_seconds()
    return position.position, position.reason, position.late, moment


def _differs(
    before: tuple[int, str, bool, float | None] | None, now: tuple[int, str, bool, float | None]
) -> bool:
    if before is None or before[:3] != now[:3]:
        return True
    if before[3] is None or now[3] is None:
        return before[3] is not now[3]
    return abs(before[3] - now[3]) >= MOVED


def _promised(card: MessageContent) -> float:
    """The first moment that a card counts down to, in seconds since 1970; infinity for none."""
    return min((float(at) for at in _COUNTDOWN.findall(card.description)), default=math.inf)
