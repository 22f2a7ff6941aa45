"""Decide a job that waits for its server's moderators, once, inside a transaction."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import datetime

from bot.domain.errors import RequestError
from bot.domain.events import Failed, FailureReason, ImagesChecked, JobEvent
from bot.domain.image_check import ImageOutcome
from bot.services.lifecycle import AppliedEvent, apply_event_in, request_cancel
from bot.services.moderation_records import format_decision, record_logged_action
from bot.services.queue import Actor
from bot.store import job_queries, moderation, moderation_log
from bot.store.moderation import HoldKind, JobHold

NOT_APPROVED = "A moderator decided not to post these images."


def decide_hold(
    link: sqlite3.Connection,
    guild_id: int,
    job_id: str,
    kind: HoldKind,
    *,
    approved: bool,
    by: Actor,
    at: datetime,
) -> tuple[JobHold, list[AppliedEvent]]:
    """Save a moderator's decision and apply it to the job; a rejected one is refunded.

    Raises RequestError, naming who was first, if it was decided before.
    """
    held = moderation.hold_of(link, job_id, kind)
    if held is None or held.guild_id != guild_id:
        raise RequestError("There is nothing to decide here.")
    if held.approved is not None:
        job = job_queries.job_by_id(job_id).run(link)
        raise RequestError(format_decision(held, job.request.author.id if job else 0))
    moderation.decide_hold(link, job_id, kind, approved=approved, by=by.id, at=at)
    applied: list[AppliedEvent] = []
    if kind == "image":
        event: JobEvent = ImagesChecked(ImageOutcome.APPROVED)
        if not approved:
            event = Failed(FailureReason.NOT_ALLOWED, NOT_APPROVED)
        applied.append((apply_event_in(link, job_id, event, at), event))
    elif not approved:
        applied += request_cancel(link, job_id, by.id, at)
    moderation_log.amend_message(
        link,
        guild_id,
        f"hold:{kind}:{job_id}",
        {"decision": "approved" if approved else "rejected", "decided_by": by.id},
        at=at,
    )
    action = "approve" if approved else "reject"
    record_logged_action(link, guild_id, at, by, action, f"job:{job_id}", {"why": held.reason})
    return replace(held, approved=approved, decided_by=by.id), applied
