"""Apply a server's rules to a request, inside the transaction that accepts it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from bot.domain.errors import InvalidRequest, QueueFull
from bot.domain.job import Job
from bot.domain.moderation import (
    ChannelRule,
    Pause,
    Place,
    WordDecision,
    check_model,
    check_place,
    check_words,
    limits_in,
    parse_model_roles,
    shipped_rules,
    texts_of,
)
from bot.domain.permutations import name_refusal
from bot.domain.request import Request
from bot.domain.word_filter import WordRule
from bot.store import guilds, moderation, moderation_log
from bot.store.moderation import HoldKind


def check_server(
    link: sqlite3.Connection,
    requests: Sequence[Request],
    place: Place,
    rules: Callable[[sqlite3.Connection, int, int], tuple[WordRule, ...]],
    styles: Mapping[str, str],
    role_ids: Collection[int],
    at: datetime,
) -> list[WordDecision | None]:
    """Apply the rules of a server to requests of one member that are accepted together.

    Return for each the word rule that holds it for moderators. ``rules`` returns the word rules of
    a server and channel. Raises QueueFull while requests are paused, NotAllowed or InvalidRequest
    for what the member's ``role_ids``, the channel or a word rule do not allow; of several requests
    it says which.
    """
    guild = requests[0].place.guild_id
    settings = guilds.settings(link, guild)
    pause = Pause.from_setting(settings.get("paused"))
    if pause is not None and pause.refuses and pause.is_active(at):
        raise QueueFull(pause.notice)
    channels = moderation.channel_rules(link, guild)
    since_last = _since_last(link, channels, place, requests[0], at) if channels else None
    words = (*rules(link, guild, place.parent_id or place.channel_id), *shipped_rules(settings))
    roles = parse_model_roles(settings.get("model_roles"))
    holds: list[WordDecision | None] = []
    for number, request in enumerate(requests, 1):
        try:
            if channels:
                check_place(channels, place, request, since_last, together=len(requests))
            check_model(roles, request.model, role_ids)
            decision = check_words(
                words,
                texts_of(request, styles),
                age_restricted=place.age_restricted or settings.get("adult_by_flag") is False,
            )
            if decision is not None and not decision.holds:
                show_word = settings.get("show_word") is True
                raise InvalidRequest(decision.field, decision.message(show_word=show_word))
        except InvalidRequest as refusal:
            raise name_refusal(refusal, number, len(requests), request.prompt) from refusal
        holds.append(decision)
    return holds


def _since_last(
    link: sqlite3.Connection,
    rules: Sequence[ChannelRule],
    place: Place,
    request: Request,
    at: datetime,
) -> timedelta | None:
    limits = limits_in(rules, place)
    if limits.between is None:
        return None
    last = moderation.last_request_at(link, request.author.id, limits.between_in)
    return None if last is None else at - last


def hold_for_words(
    link: sqlite3.Connection, job: Job, decision: WordDecision, at: datetime
) -> None:
    """Hold an accepted job for the moderators, who are told in the log channel."""
    request, rule = job.request, decision.match.rule
    reason = f"word rule {rule.id} ({rule.pattern}) in the {decision.field}"
    evidence = {
        "job": job.id,
        "author": request.author.id,
        "channel": request.place.channel_id,
        "prompt": request.prompt,
        "negative": request.negative,
    }
    hold_job(link, job, "words", reason, evidence, at=at)


def hold_job(
    link: sqlite3.Connection,
    job: Job,
    kind: HoldKind,
    reason: str,
    evidence: Mapping[str, Any],
    *,
    at: datetime,
) -> None:
    """Hold a job for the moderators, who are told in the log channel with the ``evidence``."""
    guild_id = job.request.place.guild_id
    moderation.hold(link, job.id, kind, guild_id=guild_id, reason=reason, at=at)
    moderation_log.want_message(
        link,
        guild_id=guild_id,
        at=at,
        kind="hold",
        subject=f"hold:{kind}:{job.id}",
        body={**evidence, "why": reason},
    )
