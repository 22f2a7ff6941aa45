"""Members' reports of results, and the removal of results by moderators; evidence comes first.

The picture is copied, and what was reported is saved together with the message for the log channel,
before the reporter reads a thank-you. A removal is saved with its evidence in one transaction, and
carried out afterwards (``bot.frontend.result_removal``). Evidence is deleted after ``[data]
keep_evidence``.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from bot.domain.errors import ArtifactMissing, RequestError
from bot.domain.events import MessageRef
from bot.domain.job import Job, charged_images
from bot.domain.moderation import parse_reason
from bot.domain.quota import Quota, effective_quota
from bot.files import atomic_write
from bot.services.moderation import ModerationService
from bot.services.moderation_records import require_moderator
from bot.services.queue import Actor
from bot.services.renditions import RenditionCache
from bot.store import audit, deliveries, guilds, job_queries, ledger, moderation_log, reports
from bot.store.database import Database
from bot.store.moderation import MemberBlock
from bot.store.moderation_log import LogMessage, ModerationLogRepository
from bot.store.reports import Decision, Report, ReportRepository
from bot.store.sqlite_errors import disk_faults

__all__ = ["Decision", "LogMessage", "Report", "ReportService"]

log = logging.getLogger(__name__)

PICTURE_BYTES: Final = 8_000_000
"""A copy that every server accepts, below Discord's 10 MiB."""
MAX_SHOWN_REASONS: Final = 5
CLEANUP_S: Final = 3600.0

_DONE: Final[Mapping[Decision, str]] = {
    "removed": "removed",
    "refunded": "removed and refunded",
    "blocked": "blocked",
    "dismissed": "dismissed",
}
NOT_FOUND: Final = "This report is no longer stored."
ALREADY_REPORTED: Final = "You have already reported this result."


class ReportService:
    """Save reports and decide them, each once. ``folder`` holds the pictures.

    ``removed`` is called after a removal was saved.
    """

    def __init__(
        self,
        database: Database,
        moderation: ModerationService,
        renditions: RenditionCache,
        folder: Path,
        *,
        default: Quota,
        keep: timedelta,
        now: Callable[[], datetime],
        removed: Callable[[], None] = lambda: None,
    ) -> None:
        self._removed = removed
        self._database = database
        self._moderation = moderation
        self._renditions = renditions
        self._folder = folder
        self._default = default
        self._now = now
        self._reader = ReportRepository(database)
        self._log = ModerationLogRepository(database)
        # A picture is copied before the row that names it exists, and must not be cleaned up.
        self._copying = asyncio.Lock()
        self.keep = keep

    async def report(
        self,
        guild_id: int,
        job: Job,
        message: MessageRef,
        *,
        url: str,
        reason: str,
        by: Actor,
    ) -> int:
        """Save a member's report and return how many members have reported this result.

        Raises RequestError for a job of another server, a second report, or a long reason.
        """
        why = parse_reason(reason)
        if job.request.place.guild_id != guild_id:
            raise RequestError("This result belongs to another server.")
        at = self._now()

        def save(link: sqlite3.Connection) -> int:
            if reports.has_voted(job.id, by.id).run(link):
                raise RequestError(ALREADY_REPORTED)
            found = reports.open_report(link, guild_id, job.id)
            if found is None:
                evidence = {**evidence_of(job, picture), "link": url}
                ident = reports.add_report(
                    link,
                    guild_id=guild_id,
                    job_id=job.id,
                    message=message,
                    evidence=evidence,
                    at=at,
                )
                moderation_log.want_message(
                    link,
                    guild_id=guild_id,
                    at=at,
                    kind="report",
                    subject=f"report:{ident}",
                    body={"report": ident},
                )
            else:
                ident = found.id
            reports.add_vote(link, ident, by.id, why, at=at)
            return _refresh(link, guild_id, ident, at)

        async with self.keep_picture(job) as picture:
            return await self._database.write(save)

    async def decide(self, guild_id: int, report_id: int, decision: Decision, *, by: Actor) -> Job:
        """Remove the reported result, also with a refund, or dismiss the report; return its job.

        Raises RequestError, naming who was first, if it was decided before.
        """
        require_moderator(by)
        at = self._now()

        def change(link: sqlite3.Connection) -> Job:
            report = _check_open(reports.report_of(link, guild_id, report_id))
            job = _job(link, report.job_id)
            if decision != "dismissed":
                deliveries.want_removal(link, job.id, _messages(job, report.message), at=at)
            if decision == "refunded":
                self._refund(link, job, at, by)
            _record_decision(link, report, decision, at, by)
            return job

        job = await self._database.write(change)
        self._removed()
        return job

    async def block_author(
        self, guild_id: int, report_id: int, *, lasts: timedelta | None, reason: str, by: Actor
    ) -> tuple[MemberBlock, int]:
        """Block the author of a reported result, once; the result can be removed afterwards.

        Returns what ``ModerationService.block`` returns.
        """
        require_moderator(by)
        report = await self._reader.get(guild_id, report_id)
        if report is None:
            raise RequestError(NOT_FOUND)
        at = self._now()

        def within(link: sqlite3.Connection, block: MemberBlock) -> None:
            found = _check_unblocked(reports.report_of(link, guild_id, report_id))
            until = block.until.isoformat() if block.until else None
            _record_decision(link, found, "blocked", at, by, until=until)

        author = int(report.evidence["author"])
        return await self._moderation.block(
            guild_id, author, lasts=lasts, reason=reason, by=by, within=within
        )

    async def remove(
        self, guild_id: int, job: Job, *, reason: str, by: Actor, message: MessageRef | None = None
    ) -> None:
        """Save that a result is to be removed, with its evidence for the log channel.

        ``message`` is one more message that shows it. Raises RequestError if it
        was removed before.
        """
        require_moderator(by)
        why = parse_reason(reason)
        if job.request.place.guild_id != guild_id:
            raise RequestError("There is no such result on this server.")
        at = self._now()

        def change(link: sqlite3.Connection) -> None:
            before = reports.open_report(link, guild_id, job.id)
            if not deliveries.want_removal(link, job.id, _messages(job, message), at=at):
                raise RequestError("This result was already removed.")
            request = job.request
            detail: dict[str, object] = {
                "author": request.author.id,
                "channel": request.place.channel_id,
                "prompt": request.prompt,
                "seed": request.seed,
            }
            if why:
                detail["reason"] = why
            audit.record_action(
                link,
                at=at,
                guild_id=guild_id,
                actor_id=by.id,
                action="removed",
                subject=f"job:{job.id}",
                detail=detail,
            )
            body = {
                **evidence_of(job, picture),
                "action": "removed",
                "by": by.id,
                "subject": f"job:{job.id}",
                "detail": {"reason": why} if why else {},
            }
            moderation_log.want_message(
                link,
                guild_id=guild_id,
                at=at,
                kind="action",
                subject=f"removal:{job.id}",
                body=body,
            )
            if before is not None:
                _record_decision(link, before, "removed", at, by)

        async with self.keep_picture(job) as picture:
            await self._database.write(change)
        self._removed()

    async def require_first(self, job: Job, reporter: Actor) -> None:
        """Raise RequestError if a member has already reported this result."""
        if await self._reader.has_voted(job.id, reporter.id):
            raise RequestError(ALREADY_REPORTED)

    async def require_unblocked(self, guild_id: int, report_id: int) -> None:
        """Raise RequestError unless the author of a report can still be blocked through it."""
        _check_unblocked(await self._reader.get(guild_id, report_id))

    async def open_reports(self, guild_id: int) -> tuple[Report, ...]:
        """Return what waits for a server's moderators, oldest first."""
        return await self._reader.open_reports(guild_id)

    async def entry(self, guild_id: int, subject: str) -> LogMessage | None:
        """Return what the log channel shows about a report or hold, posted or not."""
        return await self._log.about(guild_id, subject)

    def picture_path(self, name: str) -> Path:
        """Return the path of a picture in the evidence folder."""
        return self._folder / Path(name).name

    @asynccontextmanager
    async def keep_picture(self, job: Job) -> AsyncIterator[str]:
        """Copy a job's grid as evidence and yield its name, "" without images.

        It is not cleaned up before the block has ended, in which its name is to be saved.
        """
        async with self._copying:
            yield await self._copy_picture(job)

    async def clean_up(self) -> int:
        """Delete evidence that is older than ``keep``; return the number of reports deleted."""
        before = self._now() - self.keep

        def delete(link: sqlite3.Connection) -> int:
            moderation_log.delete_messages(link, before)
            return reports.delete_reports(link, before)

        async with self._copying:
            deleted = await self._database.write(delete)
            named = await self._database.read(reports.pictures())
            with disk_faults():
                await asyncio.to_thread(_remove_others, self._folder, named)
        return deleted

    async def run_cleanup(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Delete old evidence every hour until cancelled."""
        while True:
            if deleted := await self.clean_up():
                log.info("deleted the evidence of %d reports", deleted)
            await sleep(CLEANUP_S)

    def _refund(self, link: sqlite3.Connection, job: Job, at: datetime, by: Actor) -> None:
        """Give the author the images again, for as long as the job's charge counts."""
        request, images = job.request, charged_images(job)
        guild_id, author_id = request.place.guild_id, request.author.id
        quota = effective_quota(
            self._default, guilds.rules(link, guild_id), frozenset[int](), author_id
        )
        until = job.created_at + quota.window
        if images and until > at:
            # The charge itself is settled, and entries of the ledger never change.
            ledger.grant(
                link,
                guild_id,
                author_id,
                images=images,
                expires_at=until,
                actor_id=by.id,
                reason=f"refund for {job.id}",
                at=at,
            )

    async def _copy_picture(self, job: Job) -> str:
        """Copy a job's grid into the evidence folder and return its name, "" without images."""
        try:
            source = await self._renditions.grid(job, PICTURE_BYTES)
        except ArtifactMissing as error:
            log.warning("there is no picture for the evidence: %s", error, extra={"job": job.id})
            return ""
        target = self._folder / f"{job.id}{source.suffix}"
        with disk_faults():
            await asyncio.to_thread(_copy, source, target)
        return target.name


def evidence_of(job: Job, picture: str) -> dict[str, Any]:
    """Return what moderators have to know of a result, as JSON."""
    request = job.request
    return {
        "job": job.id,
        "author": request.author.id,
        "channel": request.place.channel_id,
        "prompt": request.prompt,
        "negative": request.negative,
        "seed": request.seed,
        "picture": picture,
    }


def erase_reporter(link: sqlite3.Connection, reporter_id: int, at: datetime) -> int:
    """Erase a member's reports in all servers and return their number; the counts stay."""
    found = reports.erase_votes(link, reporter_id)
    for report in found:
        erased = int(report.evidence.get("erased", 0)) + 1
        reports.set_evidence(link, report.id, {**report.evidence, "erased": erased})
        _refresh(link, report.guild_id, report.id, at)
    return len(found)


def _check_open(report: Report | None) -> Report:
    """Return a report that moderators can decide. Raises RequestError for any other."""
    if report is None:
        raise RequestError(NOT_FOUND)
    if report.decision is not None and not report.is_open:
        raise RequestError(f"It was already {_DONE[report.decision]} by <@{report.decided_by}>.")
    return report


def _check_unblocked(found: Report | None) -> Report:
    report = _check_open(found)
    if report.decision == "blocked":
        raise RequestError(f"The author was already blocked by <@{report.decided_by}>.")
    return report


def _record_decision(
    link: sqlite3.Connection,
    report: Report,
    decision: Decision,
    at: datetime,
    by: Actor,
    *,
    until: str | None = None,
) -> None:
    """Save the decision with its audit entry, and show it on the report's entry."""
    reports.set_decision(link, report.id, decision, by=by.id, at=at)
    done = {"what": decision, "by": by.id, "at": at.isoformat(), "until": until}
    actions = [*report.evidence.get("actions", ()), done]
    reports.set_evidence(link, report.id, {**report.evidence, "actions": actions})
    if decision != "blocked":  # that has an entry of its own
        audit.record_action(
            link,
            at=at,
            guild_id=report.guild_id,
            actor_id=by.id,
            action=f"report-{decision}",
            subject=f"report:{report.id}",
            detail={"job": report.job_id, "author": report.evidence.get("author")},
        )
    _refresh(link, report.guild_id, report.id, at)


def _refresh(link: sqlite3.Connection, guild_id: int, report_id: int, at: datetime) -> int:
    """Show a report as it is now, and return how many members have reported the result."""
    report = reports.report_of(link, guild_id, report_id)
    assert report is not None, "it was written in this transaction"
    votes = reports.votes(link, report_id)
    count = len(votes) + int(report.evidence.get("erased", 0))
    body = {
        **report.evidence,
        "report": report_id,
        "count": count,
        "reasons": [[vote.reporter_id, vote.reason] for vote in votes[:MAX_SHOWN_REASONS]],
        "decision": report.decision,
    }
    moderation_log.change_message(link, guild_id, f"report:{report_id}", body, at=at)
    return count


def _job(link: sqlite3.Connection, job_id: str) -> Job:
    job = job_queries.job_by_id(job_id).run(link)
    assert job is not None, "jobs are kept"
    return job


def _messages(job: Job, message: MessageRef | None) -> list[MessageRef]:
    return [one for one in (job.result, message) if one is not None]


def _copy(source: Path, target: Path) -> None:
    """Copy a picture, private, unless it is there. Blocking."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not target.exists():
        with atomic_write(target) as part:
            shutil.copyfile(source, part)


def _remove_others(folder: Path, named: frozenset[str]) -> None:
    """Delete the pictures that nothing names any more. Blocking."""
    for path in folder.glob("*") if folder.is_dir() else ():
        if path.name not in named:
            path.unlink(missing_ok=True)
