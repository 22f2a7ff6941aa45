"""Exception tree of the bot: every error that is raised on purpose.

    BotError
    ├── RequestError            caused by the member's input; its text is safe to show
    │   ├── InvalidRequest      an option or flag is unknown, malformed or out of range
    │   ├── QuotaExceeded       not enough images are left; says when there will be
    │   ├── QueueFull           too many requests wait, of this member or in total
    │   └── NotAllowed          another member's job, or a command for moderators
    ├── BackendError            the compute backend failed
    │   ├── Unavailable         the service is unavailable; retry later
    │   ├── LogStreamLost       the log stream ended early; reconnect at the cursor
    │   ├── SubmissionRejected  this job was refused and would be refused again
    │   ├── InsufficientFunds    the wallet or the allowance does not cover the job
    │   └── ArtifactMissing     a file is missing, too large, untrusted or not as announced
    ├── DeliveryError           the delivery target refused the result
    │   └── DeliveryUnavailable the target cannot be reached; retry the same method
    ├── StoreUnavailable        database or files cannot be used at the moment; retry later
    ├── ConfigError             invalid configuration: location, problem, hint
    │   ├── WorkflowError       a template or job document is invalid
    │   └── StoreDamaged        the open database is damaged; retrying does not help
    └── IllegalTransition       a bug: this event cannot happen in this job state

Errors of libraries (httpx, sqlite3, discord) are mapped to these where the library is called.
"""

from __future__ import annotations

from datetime import datetime


class BotError(Exception):
    """Base of all errors that the bot raises on purpose."""


class RequestError(BotError):
    """Invalid or denied request; ``str(error)`` is one or two sentences for the member."""


class InvalidRequest(RequestError):
    """Unknown, malformed or out-of-range option or flag.

    ``field`` names the option as the member typed it (``steps``, ``--ar``, ``prompt``).
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class QuotaExceeded(RequestError):
    """Request for more images than the quota has left.

    ``retry_at`` is the earliest time (aware, UTC) at which the same request would be accepted, or
    None if it never will be, because it alone exceeds the quota.
    """

    def __init__(self, message: str, *, retry_at: datetime | None) -> None:
        super().__init__(message)
        self.retry_at = retry_at


class QueueFull(RequestError):
    """Too many requests are waiting, of this member or in total."""


class NotAllowed(RequestError):
    """Missing permission: not the member's own job, no moderator, or a model of other roles.

    The text holds nothing that a member typed.
    """


class BackendError(BotError):
    """Failure of the compute backend. The text is for the log, not for members."""


class Unavailable(BackendError):
    """The service cannot be reached or reports an outage; retry later."""


class LogStreamLost(BackendError):
    """The log stream ended before the job did; follow it again from the last cursor."""


class SubmissionRejected(BackendError):
    """The backend refused this job and would refuse the same job again."""


class InsufficientFunds(BackendError):
    """The wallet or its allowance does not cover the job."""


class ArtifactMissing(BackendError):
    """A file is missing, too large, from an untrusted host, or not as announced."""


class ArtifactDamaged(ArtifactMissing):
    """A file was incomplete or not as announced; fetching it again can help."""


class DeliveryError(BotError):
    """The delivery target refused the result: deleted, forbidden, expired or too large."""


class StoreUnavailable(BotError):
    """The database or data folder cannot be used; nothing of the call was saved.

    ``cause`` says why, such as ``the disk is full``. The bot recovers without a restart.
    """

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class DeliveryUnavailable(DeliveryError):
    """The delivery target cannot be reached, or the outcome is unknown.

    The same method is retried. ``retry_after`` is the minimum delay in seconds.
    """

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ImageCheckFailed(BotError):
    """The images could not be checked; the text says why. What is not checked is not posted."""


class ConfigError(BotError):
    """Invalid configuration. ``location`` is the file and key, ``hint`` says how to fix it."""

    def __init__(self, location: str, problem: str, hint: str) -> None:
        super().__init__(f"{location}: {problem}. {hint}")
        self.location = location
        self.problem = problem
        self.hint = hint


class WorkflowError(ConfigError):
    """Invalid template or job document; ``location`` is a path, ``steps[0].run.command``."""


class StoreDamaged(ConfigError):
    """The database is damaged. Jobs at the backend are not touched."""


class IllegalTransition(BotError):
    """Event that is impossible in the job's state: a defect of the bot, not shown to members."""
