"""The bot's log: one line a record as text or JSON, from which secrets have been taken out.

Masking is the formatter's last step, so that messages, tracebacks and everything a library says
pass through it. Which values are secret is passed in; texts that look like a Discord token, an
interaction's token or a wallet's key are masked even when nobody named them. Of what libraries tell
in passing, at level debug, only the wording is kept and not what they fill in: they show whole
events, requests and statements, and with them what members wrote. Nothing here knows settings,
jobs or Discord.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final, Literal, TextIO
from urllib.parse import quote

MASK: Final = "********"

_LOOKS_SECRET: Final = (
    # A bot token: the bot's id in base64 (digits begin with M, N or O), a time, a signature.
    r"(?<![\w-])[MNO][\w-]{22,28}\.[\w-]{6}\.[\w-]{27,}",
    # An interaction's token is base64 of "interaction:<id>:...", good for 15 minutes.
    r"aW50ZXJhY3Rpb246[\w=-]+",
    r"(?P<path>/(?:webhooks|interactions)/\d+/)[\w%=-]{20,}",
    # As headers, forms and dictionaries show it.
    r"(?P<field>(?i:\b(?:access_token|token|authorization|password|secret|session_id|private_key"
    r"|mac_key|api_key)\b['\"]?\s*[:=]\s*b?['\"]?(?:(?:bot|bearer|basic)\s+)?))[\w.~+/=%-]{12,}",
    # Also hides DeepSquare job ids and transaction hashes, which cannot be told apart from keys.
    r"(?<![\w])0x[0-9a-fA-F]{64}(?![0-9a-fA-F])",
)
# What a library's line may be filled in with, beside numbers: what helps and cannot be a member's.
_HTTP_WORDS: Final = frozenset(
    {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "OK", "HTTP/1.1", "HTTP/2"}
)
_ADDRESS: Final = re.compile(r"((?:https?|wss?)://[\w.:\[\]-]+)(/[^?#\s]*)?(?:[?#]\S*)?")
_PATH_PART: Final = re.compile(r"[\w@.-]{0,24}")
# What terminals act on and what begins a new line; a traceback's own line breaks stay.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
# Libraries that tell every request at the level at which we tell every job.
_CHATTY: Final = ("aiosqlite", "httpcore", "httpx", "asyncio", "PIL")


class Redactor:
    """Masks secrets in texts; knows them in the spellings that logs show them in."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        spellings = {spelling for secret in secrets for spelling in _spellings(secret)}
        longest_first = sorted(spellings, key=lambda spelling: (-len(spelling), spelling))
        named = "|".join(re.escape(spelling) for spelling in longest_first)
        self._named = re.compile(named, re.IGNORECASE) if named else None
        self._looking = re.compile("|".join(_LOOKS_SECRET))

    def __repr__(self) -> str:
        return "Redactor()"

    def redact(self, text: str) -> str:
        """``text`` with every secret replaced by stars."""
        if self._named is not None:
            text = self._named.sub(MASK, text)
        return self._looking.sub(
            lambda match: f"{match['path'] or match['field'] or ''}{MASK}", text
        )


class TextFormatter(logging.Formatter):
    """``2026-01-31T12:00:00.000Z INFO bot.bootstrap [job abc] message``; tracebacks are indented.

    Line breaks and control characters in the message are escaped: no text of a member's can start
    a line that looks like a record, or move a terminal's cursor.
    """

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """The record, without secrets."""
        job = getattr(record, "job", None)
        where = f"{record.name} [job {job}]" if job is not None else record.name
        head = f"{_time(record)} {record.levelname:<7} {where} {_message(record)}"
        line = _escaped(self._redactor.redact(head).replace("\n", "\\n"))
        error = self._redactor.redact(_traceback(self, record))
        return "\n    ".join([line, *_escaped(error).splitlines()])


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and job and error if there are any."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """The record, without secrets."""
        fields = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        job = getattr(record, "job", None)
        if job is not None:
            fields["job"] = str(job)
        error = _traceback(self, record)
        if error:
            fields["error"] = error
        # Before JSON escapes them: a quote or an umlaut inside a secret would hide it from us.
        masked = {name: self._redactor.redact(text) for name, text in fields.items()}
        return json.dumps(masked, ensure_ascii=True)


class RedactingStreamHandler(logging.StreamHandler[TextIO]):
    """Writes formatted records; a record that cannot be formatted is named, never shown."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Say where the broken record came from; logging would print its arguments unmasked."""
        try:
            self.stream.write(f"A log record of {record.pathname}:{record.lineno} was lost.\n")
            self.flush()
        except (OSError, ValueError):
            pass  # the stream itself is broken or closed: there is nowhere left to say so


def configure_logging(
    format: Literal["text", "json"], level: str, secrets: Iterable[str], stream: TextIO
) -> None:
    """Let every logger of this process write to ``stream``; replaces what an earlier call set.

    ``level`` is ``debug``, ``info``, ``warning`` or ``error``. Other handlers are left alone.
    """
    redactor = Redactor(secrets)
    handler = RedactingStreamHandler(stream)
    handler.setFormatter(JsonFormatter(redactor) if format == "json" else TextFormatter(redactor))
    root = logging.getLogger()
    for earlier in [known for known in root.handlers if isinstance(known, RedactingStreamHandler)]:
        root.removeHandler(earlier)
    root.addHandler(handler)
    root.setLevel(level.upper())
    quiet = max(root.level, logging.WARNING) if root.level > logging.DEBUG else logging.NOTSET
    for name in _CHATTY:
        logging.getLogger(name).setLevel(quiet)
    logging.captureWarnings(True)


def _spellings(secret: str) -> set[str]:
    """The secret as it is, in a repr, in JSON, in a URL, and a key without its 0x."""
    spellings = {secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], quote(secret, safe="")}
    if re.fullmatch(r"0x[0-9a-fA-F]{16,}", secret):
        spellings.add(secret[2:])
    return {spelling for spelling in spellings if spelling.strip()}


def _message(record: logging.LogRecord) -> str:
    """What the record says; of a library's passing remark its wording alone."""
    if record.levelno >= logging.WARNING or record.name.partition(".")[0] == "bot":
        return record.getMessage()
    args = record.args
    if not args and record.levelno > logging.DEBUG:
        return record.getMessage()
    if isinstance(args, Mapping):
        return str(record.msg) % {name: _filled_in(value) for name, value in args.items()}
    if args:
        return str(record.msg) % tuple(_filled_in(value) for value in args)
    # Perhaps put together before it came here: nobody can tell the wording from the rest.
    return f"{record.module}.{record.funcName}:{record.lineno} {MASK}"


def _filled_in(value: object) -> object:
    """The value if it is a number, a method or an address; stars for everything else."""
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value)
    if text in _HTTP_WORDS:
        return text
    address = _ADDRESS.fullmatch(text)
    if address is None:
        return MASK
    parts = (address[2] or "").split("/")
    return address[1] + "/".join(part if _PATH_PART.fullmatch(part) else MASK for part in parts)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """The traceback and the stack of the record, empty if it has neither."""
    error = formatter.formatException(record.exc_info) if record.exc_info else record.exc_text
    return "\n".join(part for part in (error, record.stack_info) if part)


def _escaped(text: str) -> str:
    return _CONTROL.sub(lambda match: repr(match[0])[1:-1], text)
