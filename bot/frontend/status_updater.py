"""Edit status messages to the latest state, at a limited rate.

``on_event`` only records; one task edits. From DELIVERING on, the delivery owns the message, unless
the images wait for a moderator or the result is in another message. While Discord is unavailable,
edits are retried. A refused message is given up until ``retry_blocked``, when a permission changed.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from bot.concurrency import Backoff, wait_for_event
from bot.domain.errors import DeliveryError, DeliveryUnavailable
from bot.domain.events import CancelRequested, JobEvent, Scheduled
from bot.domain.job import Job, JobState
from bot.frontend import messages
from bot.frontend.context import ContextClient
from bot.frontend.delivery_methods import CHANNEL, INTERACTION, result_link
from bot.frontend.discord_errors import MessageNotFound, NotPermitted, TooLarge
from bot.frontend.edit_schedule import EditSchedule, Priority
from bot.frontend.message_content import FileUpload, MessageContent
from bot.frontend.result_files import build_preview
from bot.frontend.status_embeds import QueueInfo, job_message, posted_elsewhere_message
from bot.services.delivery import StatusMessage
from bot.services.queue import QueuePosition

log = logging.getLogger(__name__)

QUEUE_CHECK_S: Final = 3.0
MAX_QUEUE_CHECK_S: Final = 10.0
ESTIMATE_MARGIN_S: Final = MAX_QUEUE_CHECK_S + 5.0
"""A message whose estimate is nearer than this is edited, so that it is never in the past."""
MIN_ESTIMATE_CHANGE_S: Final = 45.0
MAX_ATTEMPTS: Final = 8
"""Edits that Discord refuses before giving up; attempts while it is unavailable do not count."""

MAX_BLOCKED: Final = 1000
PREVIEW_CHECK_S: Final = 0.5
MAX_PREVIEW_CHECKS: Final = 4
EDIT_SECONDS: Final = 60.0


_COUNTDOWN: Final = re.compile(r"<t:(\d+):R>")


@dataclass(slots=True)
class _StatusState:
    """State of one status message while its job is unfinished."""

    job: Job | None = None
    post: StatusMessage | None = None
    shown: MessageContent | None = None
    preview: str = ""
    position: QueuePosition | None = None
    summary: tuple[int, str, bool, float | None] | None = None
    preview_checks: tuple[int, int] = (0, 0)
    backoff: Backoff = field(default_factory=Backoff)
    refused: int = 0
    abandoned: bool = False
    no_files: bool = False


class StatusUpdater:
    """Keeps status messages up to date. ``run`` edits; the other methods only record."""

    def __init__(
        self,
        client: ContextClient,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        schedule: EditSchedule | None = None,
        queue_check_s: float = QUEUE_CHECK_S,
        edit_seconds: float = EDIT_SECONDS,
    ) -> None:
        self._client = client
        self._clock = clock
        self._sleep = sleep
        self._schedule = schedule or EditSchedule()
        self._states: dict[str, _StatusState] = {}
        self._editing: dict[str, asyncio.Task[None]] = {}
        self._wakeup = asyncio.Event()
        self._queue_changed = False
        self._refresh_all = False
        self._queue_check_at = 0.0
        self._recheck_at = 0.0
        self._queue_check_s = queue_check_s
        self._edit_seconds = edit_seconds
        self._blocked: dict[str, None] = {}

    @property
    def tracked_count(self) -> int:
        """Return the number of tracked status messages."""
        return len(self._states)

    @property
    def busy(self) -> bool:
        """Return whether an edit is running or pending."""
        return bool(self._editing) or self._schedule.next_delay(self._clock()) is not None

    async def on_event(self, job: Job, event: JobEvent) -> None:
        """Record a new state of a job."""
        if not job.request.place.channel_id:
            return  # from the command line: there is no status message
        if isinstance(event, Scheduled) or job.state.terminal:
            self._queue_changed = True
        if job.state is JobState.FINISHED and job.delivery_method == INTERACTION:
            self._forget(job.id)
        else:
            self._states.setdefault(job.id, _StatusState()).job = job
            # Events of jobs whose edit is already pending need no wake-up.
            immediately = isinstance(event, CancelRequested)
            if not self._schedule_edit(job, immediately=immediately) and not self._queue_changed:
                return
        self._wakeup.set()

    def refresh_queue(self) -> None:
        """Schedule an edit of every unfinished job, after a change for all of them."""
        for state in self._states.values():
            if state.job is not None:
                self._schedule_edit(state.job)  # jobs being submitted wait for the backend, too
        self._refresh_all = True
        self._queue_changed = True
        self._wakeup.set()

    def refresh(self, job: Job) -> None:
        """Schedule an edit of a message found late, if an earlier edit was missed."""
        if job.state is JobState.FINISHED and job.delivery_method == INTERACTION:
            return  # it is the result
        state = self._states.get(job.id)
        if state is None and not job.state.terminal:
            return  # nothing has been missed
        if state is not None and not state.abandoned and not state.backoff.attempts:
            return  # it is written in its turn
        if state is None or state.abandoned:
            state = self._states[job.id] = _StatusState(state.job if state else None)
        state.job = state.job or job
        state.refused = 0
        state.backoff.reset()
        self._schedule.cancel(job.id)  # it was postponed, because there was no message
        self._schedule_edit(state.job)
        self._wakeup.set()

    def retry_blocked(self) -> None:
        """Schedule the messages again that the bot was not permitted to edit."""
        blocked, self._blocked = self._blocked, {}
        for job_id in blocked:
            state = self._states.setdefault(job_id, _StatusState())
            state.abandoned, state.refused, state.no_files = False, 0, False
            self._schedule.schedule(job_id, Priority.RUNNING, self._clock())
        if blocked:
            self._wakeup.set()

    async def resume(self) -> None:
        """Schedule the messages of jobs that were unfinished, or ended, at the last stop."""
        context = self._client.context
        jobs = context.queue.jobs
        under_way = [flight.job_id for flight in await jobs.running()]
        for job_id in (*under_way, *await context.messages.stale_status_messages(INTERACTION)):
            job = await jobs.get(job_id)
            if job is not None and job.request.place.channel_id:
                self._states.setdefault(job.id, _StatusState()).job = job
        self.refresh_queue()

    @property
    def _next_check(self) -> float:
        """Return when the queue is due for a check; estimates pass without events."""
        return self._recheck_at if self._states else math.inf

    async def run(self) -> None:
        """Edit messages until cancelled."""
        try:
            while True:
                self._wakeup.clear()
                if self._clock() >= (
                    self._queue_check_at if self._queue_changed else self._next_check
                ):
                    await self._check_queue()
                while (job_id := self._schedule.pop_due(self._clock(), self._editing)) is not None:
                    self._start_edit(job_id)
                await self._pause()
        finally:
            tasks = tuple(self._editing.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _schedule_edit(self, job: Job, *, immediately: bool = False) -> bool:
        """Schedule or cancel the job's edit; return whether something changed."""
        if job.state is JobState.DELIVERING and not job.is_held:
            self._schedule.cancel(job.id)
            return False
        priority = Priority.FINAL if job.state.terminal or immediately else Priority.RUNNING
        if job.state is JobState.QUEUED:
            priority = Priority.WAITING
        return self._schedule.schedule(job.id, priority, self._clock())

    def _forget(self, job_id: str) -> None:
        self._states.pop(job_id, None)
        self._schedule.cancel(job_id)

    async def _pause(self) -> None:
        """Wait until an edit is due or an event arrives."""
        delays = [self._schedule.next_delay(self._clock(), self._editing)]
        due = self._queue_check_at if self._queue_changed else self._next_check
        if due < math.inf:
            delays.append(max(0.0, due - self._clock()))
        known = [delay for delay in delays if delay is not None]
        if not known:
            await self._wakeup.wait()
            return
        await wait_for_event(self._wakeup, min(known), self._sleep)

    async def _check_queue(self) -> None:
        """Schedule queued jobs whose position, reason or estimate changed."""
        self._queue_changed = False
        self._queue_check_at = self._clock() + self._queue_check_s
        self._recheck_at = self._clock() + MAX_QUEUE_CHECK_S
        try:
            positions = await self._client.context.queue.positions()
        except Exception:
            # The root of this check: running jobs do not depend on the queue.
            log.exception("the queue cannot be read")
            return
        refresh_all, self._refresh_all = self._refresh_all, False
        at = self._client.context.now().timestamp()
        for job_id, position in positions.items():
            state = self._states.setdefault(job_id, _StatusState())
            if state.job is not None and state.job.state is not JobState.QUEUED:
                continue
            state.position = position
            summary = _summarize(position, at)
            if refresh_all or _has_changed(state.summary, summary):
                state.summary = summary
                self._schedule.schedule(job_id, Priority.WAITING, self._clock())
        for job_id, state in self._states.items():
            if (
                state.shown is not None
                and _earliest_countdown(state.shown) < at + ESTIMATE_MARGIN_S
            ):
                self._schedule.schedule(job_id, Priority.WAITING, self._clock())

    def _start_edit(self, job_id: str) -> None:
        task = asyncio.get_running_loop().create_task(self._edit(job_id), name=f"edit {job_id}")
        self._editing[job_id] = task

        def ended(done: asyncio.Task[None]) -> None:
            del self._editing[job_id]
            self._wakeup.set()
            if not done.cancelled() and (error := done.exception()) is not None:
                log.error(
                    "a status message could not be edited", exc_info=error, extra={"job": job_id}
                )
                state = self._states.setdefault(job_id, _StatusState())
                state.refused += 1
                if state.refused < MAX_ATTEMPTS and isinstance(error, Exception):
                    self._retry_later(job_id, state, error)
                else:
                    self._forget(job_id)

        task.add_done_callback(ended)

    async def _edit(self, job_id: str) -> None:
        state = self._states.get(job_id)
        if state is None:
            return
        context = self._client.context
        edited = state.job
        try:
            async with context.locks.acquire(job_id), asyncio.timeout(self._edit_seconds):
                edited = await self._edit_once(job_id, state)
        except NotPermitted as error:
            # Later states, above all the end of the job, are tried all the same.
            log.info("the status message may not be edited: %s", error, extra={"job": job_id})
            state.refused += 1
            self._mark_blocked(job_id)
        except MessageNotFound as error:
            log.info("the status message is not updated any more: %s", error, extra={"job": job_id})
            state.abandoned = True
        except (DeliveryUnavailable, OSError) as error:
            self._retry_later(job_id, state, error)
            return
        except DeliveryError as error:
            state.no_files = state.no_files or isinstance(error, TooLarge)
            state.refused += 1
            if state.refused < MAX_ATTEMPTS or not self._has_ended(state):
                self._retry_later(job_id, state, error)
                return
            log.warning("the status message is given up: %s", error, extra={"job": job_id})
            state.abandoned = True
            self._mark_blocked(job_id)
        else:
            if edited is not None and edited.state.terminal and state.post and not state.abandoned:
                # Outside of the lock and its time limit: the store may be unavailable for long.
                await context.messages.save_status_message(job_id, state.post.message)
        # While one state was written the next may have come, whose turn is still to come.
        if edited is state.job and edited is not None and edited.state.terminal:
            self._forget(job_id)

    @staticmethod
    def _has_ended(state: _StatusState) -> bool:
        return state.job is not None and state.job.state.terminal

    def _retry_later(self, job_id: str, state: _StatusState, error: Exception) -> None:
        """Schedule the edit again, with a growing delay."""
        log.info("the status message is edited again later: %s", error, extra={"job": job_id})
        asked = error.retry_after if isinstance(error, DeliveryUnavailable) else 0.0
        delay = state.backoff.next(asked)
        priority = Priority.FINAL if self._has_ended(state) else Priority.RUNNING
        at = self._clock()
        self._schedule.reschedule(job_id, priority, at + delay, not_before=at + min(asked, delay))

    def _mark_blocked(self, job_id: str) -> None:
        """Remember a message until a permission changes."""
        self._blocked[job_id] = None
        if len(self._blocked) > MAX_BLOCKED:
            del self._blocked[next(iter(self._blocked))]

    async def _edit_once(self, job_id: str, state: _StatusState) -> Job | None:
        """Edit the message if its content changed; return the job shown. Needs the lock."""
        context = self._client.context
        stored = await context.queue.jobs.get(job_id) if state.job is None else None
        # What was reported meanwhile is newer than what was read.
        job = state.job = state.job or stored
        if job is None or not job.request.place.channel_id:
            state.abandoned = True
        if job is None or state.abandoned:
            return job
        if job.state is JobState.DELIVERING and not job.is_held:
            return job
        if state.refused >= MAX_ATTEMPTS and not job.state.terminal:
            return job
        if state.post is None:
            state.post = await context.messages.status_message(job_id)
        if state.post is None:
            # It is just being posted, or a crash came in between and it never will be.
            raise DeliveryError("there is no status message yet")
        # A place that refuses even a preview's few bytes, or any, takes no file.
        preview_file = None if state.no_files else await build_preview(context, job)
        preview = preview_file is not None
        content = await self._build_content(job, state, preview=preview)
        uploads: list[FileUpload] | None = None
        if preview_file is not None and preview_file.path.name != state.preview:
            uploads = [preview_file]
        elif preview_file is None and job.state.terminal:
            uploads = []
        elif content == state.shown:
            return job
        elif job.is_held:
            uploads = []  # no preview of what nobody may see yet
        at = context.now()
        try:
            state.post = await messages.edit_status_message(
                self._client, state.post, content, at, uploads=uploads
            )
        except NotPermitted:
            if not uploads:
                raise
            # Files may be forbidden where words are not.
            state.no_files = True
            return await self._edit_once(job_id, state)
        state.preview = preview_file.path.name if preview_file is not None else ""
        state.shown = content
        state.refused = 0
        state.backoff.reset()
        self._recheck_preview(job, state)
        return job

    def _recheck_preview(self, job: Job, state: _StatusState) -> None:
        """Schedule a few more edits: a row is announced before its file is available."""
        ready = len(job.ready_rows)
        seen, preview_checks = state.preview_checks
        preview_checks = preview_checks + 1 if seen == ready else 0
        state.preview_checks = ready, preview_checks
        if ready and preview_checks < MAX_PREVIEW_CHECKS and job.state is JobState.RUNNING:
            self._schedule.schedule(job.id, Priority.RUNNING, self._clock() + PREVIEW_CHECK_S)

    async def _build_content(
        self, job: Job, state: _StatusState, *, preview: bool
    ) -> MessageContent:
        context = self._client.context
        if job.state is JobState.FINISHED and job.delivery_method == CHANNEL:
            return posted_elsewhere_message(job, result_link(job))
        waits = job.state is JobState.QUEUED
        notice = await context.notice_for(job.request.place.guild_id) if waits else context.notice()
        waiting = QueueInfo(state.position, notice=notice)
        return job_message(job, context.now(), waiting, preview=preview)


def _summarize(position: QueuePosition, at: float) -> tuple[int, str, bool, float | None]:
    """Return what a reader would notice of a position; the start as a UNIX time."""
    starts = position.starts_in
    moment = None if starts is None else at + starts.total_seconds()
    return position.position, position.reason, position.late, moment


def _has_changed(
    before: tuple[int, str, bool, float | None] | None, now: tuple[int, str, bool, float | None]
) -> bool:
    if before is None or before[:3] != now[:3]:
        return True
    if before[3] is None or now[3] is None:
        return before[3] is not now[3]
    return abs(before[3] - now[3]) >= MIN_ESTIMATE_CHANGE_S


def _earliest_countdown(content: MessageContent) -> float:
    """Return the first UNIX time that the content counts down to; infinity for none."""
    return min((float(at) for at in _COUNTDOWN.findall(content.description)), default=math.inf)
