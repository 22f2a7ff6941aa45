"""How an attempt to tell Discord something ended: done, refused for good, or nobody knows.

An answer whose outcome is unknown must neither be taken for given nor be contradicted. Knows
errors of the library and of the network; what was said is not its business.
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
PAUSES: Final = (0.25, 0.5, 1.0)
"""Seconds between the attempts at one answer."""

_CLOSED: Final = "Session is closed"
"""What aiohttp says, in no error of its own, once the bot signs out."""

_ANSWERED = {40060}
# Slow mode, limits on writing, too many direct messages opened: refusals that pass.
_BUSY = {20016, 20022, 20028, 20029, 40003, 40062, 130000}
_TOO_LATE = {10062, 50027, 10015, 10008}


class Outcome(StrEnum):
    """What became of an attempt."""

    GIVEN = "given"
    ANSWERED = "answered before"
    """There is an answer already: of an earlier attempt or an earlier process, or a copy's."""
    LATE = "too late"
    """The interaction, its token or its message does not exist: no attempt can succeed any more."""
    REFUSED = "refused"
    """Discord has read it and will not have it; something else may still be said."""
    UNKNOWN = "unknown"
    """No answer, or none of Discord's own: it may have taken effect."""


@dataclass(frozen=True, slots=True)
class Attempt(Generic[T]):
    """An outcome, with what Discord returned or how it failed."""

    outcome: Outcome
    value: T | None = None
    error: Exception | None = None


ERRORS: Final = (discord.DiscordException, aiohttp.ClientError, TimeoutError, OSError)
"""What the library and the network raise; anything else is a defect."""


def outcome_of(error: Exception) -> Outcome:
    """Return what one of ERRORS says about the attempt."""
    if isinstance(error, discord.InteractionResponded):
        return Outcome.ANSWERED
    if isinstance(error, discord.HTTPException):
        if error.code in _ANSWERED:
            return Outcome.ANSWERED
        if error.code in _TOO_LATE:
            return Outcome.LATE
        if error.status in (408, 425, 429) or error.status >= 500 or error.code in _BUSY:
            return Outcome.UNKNOWN
        if error.code == 0 and error.status in (401, 403, 404):
            return Outcome.UNKNOWN  # it was not Discord's API that spoke, but what stands before it
        return Outcome.LATE if error.status == 401 else Outcome.REFUSED
    defect = isinstance(error, discord.DiscordException)
    if defect and not isinstance(error, discord.RateLimited):
        return Outcome.REFUSED
    return Outcome.UNKNOWN


async def attempt(
    act: Callable[[], Awaitable[T]], *, seconds: float = ATTEMPT_SECONDS
) -> Attempt[T]:
    """Act once, for so many ``seconds`` at most, and return how it ended."""
    try:
        async with asyncio.timeout(seconds):
            return Attempt(Outcome.GIVEN, await act())
    except ERRORS as error:
        return Attempt(outcome_of(error), error=error)
    except RuntimeError as error:
        if _CLOSED not in str(error):
            raise
        return Attempt(Outcome.UNKNOWN, error=error)


async def insist(
    act: Callable[[], Awaitable[T]],
    sleep: Callable[[float], Awaitable[None]],
    *,
    seconds: float = ATTEMPT_SECONDS,
) -> Attempt[T]:
    """Act again and again, with pauses, while the outcome is unknown; the last attempt's outcome.

    Only for what takes effect once however often it is done: a first answer, of which Discord
    takes one, or an edit.
    """
    made = await attempt(act, seconds=seconds)
    for pause in PAUSES:
        if made.outcome is not Outcome.UNKNOWN:
            break
        await sleep(pause)
        made = await attempt(act, seconds=seconds)
    return made
