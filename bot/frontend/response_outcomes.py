"""Outcomes of calls to Discord: succeeded, refused, expired or unknown.

A call with an unknown outcome may have taken effect: neither rely on it nor contradict it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Generic, TypeVar

import aiohttp
import discord

T = TypeVar("T")

ATTEMPT_SECONDS: Final = 1.5
"""How long one attempt may take: twice within the three seconds that Discord gives an answer."""
RETRY_DELAYS_S: Final = (0.25, 0.5, 1.0)
"""Seconds between the attempts at one answer."""

_SESSION_CLOSED: Final = "Session is closed"
"""What aiohttp says, in no error of its own, once the bot signs out."""

_ANSWERED_CODES = {40060}
# Slow mode, limits on writing, too many direct messages opened: refusals that pass.
_BUSY_CODES = {20016, 20022, 20028, 20029, 40003, 40062, 130000}
_EXPIRED_CODES = {10062, 50027, 10015, 10008}


class Outcome(StrEnum):
    """The outcome of an attempt."""

    SUCCEEDED = "given"
    ALREADY_ANSWERED = "answered before"
    """There is an answer already: of an earlier attempt or an earlier process, or a copy's."""
    EXPIRED = "too late"
    """The interaction, its token or its message does not exist: no attempt can succeed any more."""
    REFUSED = "refused"
    """Discord has read it and will not have it; something else may still be said."""
    UNKNOWN = "unknown"
    """No answer, or none of Discord's own: it may have taken effect."""


@dataclass(frozen=True, slots=True)
class Attempt(Generic[T]):
    """An outcome, with the value or the error."""

    outcome: Outcome
    value: T | None = None
    error: Exception | None = None


ERRORS: Final = (discord.DiscordException, aiohttp.ClientError, TimeoutError, OSError)
"""What the library and the network raise; anything else is a defect."""


def outcome_of(error: Exception) -> Outcome:
    """Return the outcome that one of ERRORS means."""
    if isinstance(error, discord.InteractionResponded):
        return Outcome.ALREADY_ANSWERED
    if isinstance(error, discord.HTTPException):
        if error.code in _ANSWERED_CODES:
            return Outcome.ALREADY_ANSWERED
        if error.code in _EXPIRED_CODES:
            return Outcome.EXPIRED
        if error.status in (408, 425, 429) or error.status >= 500 or error.code in _BUSY_CODES:
            return Outcome.UNKNOWN
        if error.code == 0 and error.status in (401, 403, 404):
            return Outcome.UNKNOWN  # it was not Discord's API that spoke, but what stands before it
        return Outcome.EXPIRED if error.status == 401 else Outcome.REFUSED
    defect = isinstance(error, discord.DiscordException)
    if defect and not isinstance(error, discord.RateLimited):
        return Outcome.REFUSED
    return Outcome.UNKNOWN


async def attempt(
    act: Callable[[], Awaitable[T]], *, seconds: float = ATTEMPT_SECONDS
) -> Attempt[T]:
    """Call ``act`` once, for at most ``seconds``, and return its outcome."""
    try:
        async with asyncio.timeout(seconds):
            return Attempt(Outcome.SUCCEEDED, await act())
    except ERRORS as error:
        return Attempt(outcome_of(error), error=error)
    except RuntimeError as error:
        if _SESSION_CLOSED not in str(error):
            raise
        return Attempt(Outcome.UNKNOWN, error=error)


async def retry_unknown(
    act: Callable[[], Awaitable[T]],
    sleep: Callable[[float], Awaitable[None]],
    *,
    seconds: float = ATTEMPT_SECONDS,
) -> Attempt[T]:
    """Call ``act`` with pauses until the outcome is known; return the last attempt.

    Only for idempotent calls: a first response, of which Discord accepts one, or an edit.
    """
    result = await attempt(act, seconds=seconds)
    for pause in RETRY_DELAYS_S:
        if result.outcome is not Outcome.UNKNOWN:
            break
        await sleep(pause)
        result = await attempt(act, seconds=seconds)
    return result
