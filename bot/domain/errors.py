"""Every error the bot raises on purpose, in one tree.

    BotError
    ├── RequestError            the member's; its text is safe to show to them
    │   ├── InvalidRequest      an option or flag is unknown, malformed or out of range
    │   ├── QuotaExceeded       the allowance of images is used up; says when it resets
    │   ├── QueueFull           too many waiting, for this member or in all
    │   └── NotAllowed          somebody else's job, or a moderator's command
    ├── BackendError            the compute backend's
    │   ├── Unavailable         the service is away; worth another try later
    │   ├── LogStreamLost       the log broke off; follow it again from the cursor
    │   ├── SubmissionRejected  this job will never be taken as it is
    │   ├── OutOfFunds          the wallet or the allowance is empty
    │   └── ArtifactMissing     a file is gone, too large, not what was announced, or untrusted
    ├── DeliveryError           the place of delivery refused the result
    │   └── DeliveryUnavailable it cannot be reached now; the same way is worth another try
    ├── StoreUnavailable        database or files cannot be used for now; waiting helps
    ├── ConfigError             the operator's: file, key, what is wrong, how to mend it
    │   ├── WorkflowError       a template or job document breaks a rule, at a path
    │   └── StoreDamaged        the open database turned out to be damaged; waiting does not help
    └── IllegalTransition       a bug: an event that cannot happen to a job in this state

Foreign errors (httpx, sqlite3, discord) are mapped to these where they enter the house.
"""

from __future__ import annotations

from datetime import datetime


class BotError(Exception):
    """The root of everything raised on purpose."""


class RequestError(BotError):
    """The member's to mend. ``str(error)`` is one or two plain sentences, safe to show them."""


class InvalidRequest(RequestError):
    """An option or flag is unknown, malformed or out of range.

    ``field`` names the option as the member typed it (``steps``, ``--ar``, ``prompt``).
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class QuotaExceeded(RequestError):
    """The images asked for do not fit what is left of the window.

    ``retry_at`` is the first moment (aware, UTC) at which the same request would be admitted,
    or None if it never will be, because it alone is larger than the allowance.
    """

    def __init__(self, message: str, *, retry_at: datetime | None) -> None:
        super().__init__(message)
        self.retry_at = retry_at


class QueueFull(RequestError):
    """Too many requests are waiting, for this member or in all."""


class NotAllowed(RequestError):
    """The member may not do this: not their job, or not a moderator."""


class BackendError(BotError):
    """The compute backend's. The text is for the log; members get a sentence of our own."""


class Unavailable(BackendError):
    """The service cannot be reached or answers with an outage; retrying later can help."""


class LogStreamLost(BackendError):
    """The log stream broke off before the job ended; follow it again from the last cursor."""


class SubmissionRejected(BackendError):
    """The backend refused this job for what it is; the same job will be refused again."""


class InsufficientFunds(BackendError):
    """The operator's wallet or allowance does not cover the job."""


class ArtifactMissing(BackendError):
    """A file is gone, too large, from an untrusted place, or not what the log announced."""


class ArtifactDamaged(ArtifactMissing):
    """A file is not there, or not as announced, this time; fetched again it may be."""


class DeliveryError(BotError):
    """The place of delivery refused the result: deleted, forbidden, expired or too large."""


class StoreUnavailable(BotError):
    """The database or the data folder cannot be used for now; nothing of the call was saved.

    ``cause`` says why in plain words, such as ``the disk is full``. It goes away without a restart.
    """

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class DeliveryUnavailable(DeliveryError):
    """The place of delivery is away, or nobody can say whether it took the result: *not now*.

    The same way is tried again. ``retry_after`` is the least number of seconds to wait before that.
    """

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ConfigError(BotError):
    """The operator's to mend: ``where`` (file and key), ``problem``, and ``mend``."""

    def __init__(self, where: str, problem: str, hint: str) -> None:
        super().__init__(f"{where}: {problem}. {hint}")
        self.location = where
        self.problem = problem
        self.hint = hint


class WorkflowError(ConfigError):
    """A template or job document breaks a rule; ``where`` is the path, ``steps[0].run.command``."""


class StoreDamaged(ConfigError):
    """The database was found damaged while in use. Jobs at the backend are left alone."""


class IllegalTransition(BotError):
    """An event that cannot happen to a job in this state: a defect in the bot, never shown."""
