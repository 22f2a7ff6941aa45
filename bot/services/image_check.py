"""Check the images of a job before any of them is posted, and wait for moderators if need be.

What was decided is saved with the job, in one transaction with its effects: a hold and its entry
for the log channel, or a refund. So nothing is checked twice, and a hold outlives a restart. Images
that could not be checked are held, never posted.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path
from typing import Final

from bot.domain.errors import ImageCheckFailed, InvalidRequest
from bot.domain.events import Failed, FailureReason, ImagesChecked, JobEvent
from bot.domain.grid import grid_geometry
from bot.domain.image_check import Finding, ImageAction, ImageOutcome, decide, find_marks
from bot.domain.job import Job, JobState
from bot.services.admission import hold_job
from bot.services.image_detector import ImageDetector
from bot.services.lifecycle import AppliedEvent, JobLifecycle, apply_event_in
from bot.services.moderation_records import parse_settings, record_logged_action
from bot.services.queue import OPERATOR, Actor
from bot.services.reports import evidence_of
from bot.services.results import JobResult
from bot.store import job_queries
from bot.store.database import Database
from bot.store.guilds import GuildRepository
from bot.store.jobs import JobRepository

log = logging.getLogger(__name__)

BLOCKED: Final = "The image check of this server does not allow these images."
NO_MODERATORS: Final = "The image check does not allow these images in direct messages."
UNCHECKED: Final = (
    "These images could not be checked, and there is no moderator in direct messages."
)


START_MARKED: Final = "The image check of this server does not allow this picture as a start."
START_UNCHECKED: Final = (
    "The picture could not be checked, so nothing was made of it. Please tell a moderator."
)


class PictureCheck:
    """Say whether requests may start from pictures. ``detector`` None: from all of them."""

    def __init__(
        self,
        database: Database,
        detector: ImageDetector | None,
        *,
        action: ImageAction,
        thresholds: Mapping[str, float],
    ) -> None:
        self._guilds = GuildRepository(database)
        self._detector = detector
        self._action = action
        self._thresholds = thresholds

    async def require_allowed(self, path: Path, guild_id: int, *, age_restricted: bool) -> None:
        """Raise InvalidRequest for a picture whose like would be held or refused as a result.

        One that would be posted behind a spoiler is allowed: the images made from it are checked.
        """
        if self._detector is None:
            return
        settings = parse_settings(await self._guilds.settings(guild_id))
        action = settings.effective_image_action(self._action) or self._action
        if action == "allow":
            return
        try:
            scores = await self._detector.scores(path, [])
            finding = Finding(find_marks([scores], [1], self._thresholds))
        except ImageCheckFailed as error:
            log.error("a picture to start from could not be checked: %s", error)
            finding = Finding(problem=str(error))
        outcome = decide(
            finding,
            action,
            age_restricted=age_restricted,
            adult_by_flag=settings.adult_by_flag,
            moderated=False,  # it is the member's own: nobody has to decide about it
        )
        if outcome is ImageOutcome.BLOCKED:
            raise InvalidRequest("image", START_UNCHECKED if finding.problem else START_MARKED)


class ImageCheckService:
    """Lets results be posted, holds them, or refuses them. An observer of jobs.

    ``detector`` None: nothing is checked, but what is held already waits. ``action`` is the
    operator's, ``evidence`` keeps a copy of a job's grid for the log channel and returns its name.
    """

    def __init__(
        self,
        database: Database,
        lifecycle: JobLifecycle,
        detector: ImageDetector | None,
        *,
        action: ImageAction,
        thresholds: Mapping[str, float],
        evidence: Callable[[Job], AbstractAsyncContextManager[str]],
        now: Callable[[], datetime],
    ) -> None:
        self._jobs = JobRepository(database)
        self._guilds = GuildRepository(database)
        self._lifecycle = lifecycle
        self._detector = detector
        self._action = action
        self._thresholds = thresholds
        self._evidence = evidence
        self._now = now
        self._decided: dict[str, asyncio.Event] = {}

    async def wait_allowed(
        self, job: Job, result: JobResult, on_wait: Callable[[], None] = lambda: None
    ) -> Job:
        """Return the job as soon as its images may be posted, or it has ended without.

        ``on_wait`` is called if it waits for a moderator. Idempotent.
        """
        job = await self._check(job, result)
        if not job.is_held:
            return job
        decided = self._decided.setdefault(job.id, asyncio.Event())
        try:
            on_wait()
            while (job := await self._lifecycle.stored(job)).is_held:
                await decided.wait()
        finally:
            self._decided.pop(job.id, None)
        return job

    async def on_event(self, job: Job, _event: JobEvent) -> None:
        """Notice a moderator's decision."""
        waiting = self._decided.get(job.id)
        if waiting is not None and not job.is_held:
            waiting.set()

    async def _check(self, job: Job, result: JobResult) -> Job:
        place = job.request.place
        if self._detector is None or job.image_check or not place.channel_id:
            return job  # the operator's own jobs have no channel
        settings = parse_settings(await self._guilds.settings(place.guild_id))
        action = settings.effective_image_action(self._action) or self._action
        if action == "allow":
            return job
        finding = await self._look(self._detector, job, result)
        outcome = decide(
            finding,
            action,
            age_restricted=await self._jobs.is_age_restricted(job.id),
            adult_by_flag=settings.adult_by_flag,
            moderated=place.guild_id != 0,
        )
        if outcome is not ImageOutcome.PASSED:
            log.info("the images are %s: %s", outcome, finding.reason, extra={"job": job.id})
        if outcome is not ImageOutcome.HELD:
            return await self._save(job, outcome, finding)
        async with self._evidence(job) as picture:
            return await self._save(job, outcome, finding, picture)

    async def _look(self, detector: ImageDetector, job: Job, result: JobResult) -> Finding:
        """Look at every single image: in a whole row they would be too small."""
        request = job.request
        boxes = []
        if request.origin is None:
            geometry = grid_geometry(request)
            boxes = [geometry.cell_box(1, column) for column in range(1, request.samples + 1)]
        try:
            scores = [await detector.scores(path, boxes) for _, path in result.rows]
        except ImageCheckFailed as error:
            log.error("the images could not be checked: %s", error, extra={"job": job.id})
            return Finding(problem=str(error))
        rows = [row for row, _ in result.rows]
        return Finding(find_marks(scores, rows, self._thresholds))

    async def _save(
        self, job: Job, outcome: ImageOutcome, finding: Finding, picture: str = ""
    ) -> Job:
        at = self._now()

        def change(link: sqlite3.Connection) -> tuple[Job, list[AppliedEvent]]:
            stored = job_queries.job_by_id(job.id).run(link)
            if stored is None or stored.image_check or stored.state is not JobState.DELIVERING:
                return stored or job, []
            event: JobEvent = ImagesChecked(outcome)
            if outcome is ImageOutcome.BLOCKED:
                event = Failed(FailureReason.NOT_ALLOWED, _why_blocked(job, finding))
                _record_block(link, job, finding, at)
            elif outcome is ImageOutcome.HELD:
                hold_job(link, job, "image", finding.reason, evidence_of(job, picture), at=at)
            changed = apply_event_in(link, job.id, event, at)
            return changed, [(changed, event)]

        return await self._lifecycle.write(change)


def _why_blocked(job: Job, finding: Finding) -> str:
    if job.request.place.guild_id:
        return BLOCKED
    return UNCHECKED if finding.problem else NO_MODERATORS


def _record_block(link: sqlite3.Connection, job: Job, finding: Finding, at: datetime) -> None:
    request = job.request
    if not request.place.guild_id:
        return
    detail = {
        "author": request.author.id,
        "channel": request.place.channel_id,
        "why": finding.reason,
    }
    guild_id, by = request.place.guild_id, Actor(OPERATOR, "")
    record_logged_action(link, guild_id, at, by, "image-block", f"job:{job.id}", detail)
