"""What errors of Discord and of the network mean: refused, expired, too large or unknown.

A call with an unknown outcome may have taken effect: neither rely on it nor contradict it.
``map_discord_errors`` raises them as DeliveryErrors, for messages; ``attempt`` returns them as an
Outcome, for responses to interactions.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Generic, TypeVar

import aiohttp
import discord

from bot.domain.errors import BotError, DeliveryError, DeliveryUnavailable

log = logging.getLogger(__name__)

T = TypeVar("T")

ATTEMPT_SECONDS: Final = 1.5
"""How long one attempt may take: twice within the three seconds that Discord gives an answer."""
RETRY_DELAYS_S: Final = (0.25, 0.5, 1.0)
"""Seconds between the attempts at one answer."""

_EXPIRED_CODES: Final = {50027, 10015, 10062}
_TOO_LARGE_CODES: Final = {40005, 50045}
# Refusals that pass: slow mode, write limits, too many direct messages opened, Cloudflare.
_BUSY_CODES: Final = {20016, 20022, 20028, 20029, 40003, 40062, 40333, 130000}
_THREAD_ARCHIVED: Final = 50083
_ANSWERED_CODES = {40060}
_GONE_CODES: Final = _EXPIRED_CODES | {10008}
"""An answer to an interaction that was deleted cannot be edited again, either."""

_MAX_ERROR_TEXT: Final = 300
_SESSION_CLOSED: Final = "Session is closed"
"""What aiohttp says, in no error of its own, once the bot signs out."""


class MessageNotFound(DeliveryError):
    """The message or its channel does not exist, or is not visible."""


class TooLarge(DeliveryError):
    """The files are too large for this channel; smaller ones may be accepted."""


class NotPermitted(MessageNotFound):
    """The permission to write is missing; it may be granted later."""


class ThreadArchived(NotPermitted):
    """The thread is archived; messages cannot be edited until it is open."""


class InteractionExpired(DeliveryError):
    """The interaction token is no longer valid; the bot token may be."""


class DeliveryUnconfirmed(DeliveryUnavailable):
    """No response, or a server error: the call may have succeeded."""


@contextmanager
def map_discord_errors() -> Iterator[None]:
    """Raise errors of Discord and of the network as DeliveryErrors."""
    try:
        yield
    except BotError:
        raise
    except discord.HTTPException as error:
        raise _to_delivery_error(error) from error
    except discord.RateLimited as error:
        raise DeliveryUnconfirmed("Discord asks to wait", error.retry_after) from error
    except Exception as error:
        # A cut, a timeout, a session being closed, an answer that is no JSON: only an answer that
        # Discord itself has given is a refusal.
        if not isinstance(error, aiohttp.ClientError | discord.DiscordException | OSError):
            log.warning("an answer of Discord cannot be read", exc_info=error)
        raise DeliveryUnconfirmed(f"{type(error).__name__}: {error}") from error


def _to_delivery_error(error: discord.HTTPException) -> DeliveryError:
    """Return the DeliveryError for an error response of Discord."""
    text = f"Discord says {error.code or error.status}: {error.text[:_MAX_ERROR_TEXT]}"
    by_discord = error.code != 0 or _is_json(error.response)
    if not 400 <= error.status < 500 or error.status in (408, 425, 429):
        return DeliveryUnconfirmed(text, _retry_after(error.response))
    if error.code in _BUSY_CODES:
        return DeliveryUnconfirmed(text, _retry_after(error.response))
    if error.code in _EXPIRED_CODES:
        return InteractionExpired(text)
    if error.status == 413 or error.code in _TOO_LARGE_CODES:
        return TooLarge(text)
    if not by_discord:
        return DeliveryUnconfirmed(text)  # some machine in between
    if error.status == 401:
        by_token = "/webhooks/" in str(getattr(error.response, "url", ""))
        # Otherwise the bot token was changed: only the operator can fix that.
        return InteractionExpired(text) if by_token else DeliveryUnconfirmed(text)
    if error.code == _THREAD_ARCHIVED:
        return ThreadArchived(text)
    if error.status == 403:
        return NotPermitted(text)
    return MessageNotFound(text) if error.status == 404 else DeliveryError(text)


def _is_json(response: Any) -> bool:
    return bool(response.headers.get("Content-Type") == "application/json")


def _retry_after(response: Any) -> float:
    """Return the Retry-After seconds of a response, 0 if there are none."""
    try:
        return max(0.0, float(response.headers.get("Retry-After", 0)))
    except ValueError:
        return 0.0


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
        if error.code in _GONE_CODES:
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
