"""Configure the bot's log: one line per record as text or JSON, with secrets masked.

Masking is the formatter's last step, so messages, tracebacks and libraries' records all pass
through it. Secret values are passed in; texts that look like a Discord token, an interaction token
or a wallet key are masked as well. In libraries' debug records the arguments are masked: they
contain whole events, requests and statements, and with them what members wrote.
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

_SECRET_PATTERNS: Final = (
    # A bot token: the bot's id in base64 (digits begin with M, N or O), a time, a signature.
    r"(?<![\w-])[MNO][\w-]{22,28}\.[\w-]{6}\.[\w-]{27,}",
    # An interaction's token is base64 of "interaction:<id>:...", good for 15 minutes.
    r"aW50ZXJhY3Rpb246[\w=-]+",
    r"(?P<path>/(?:webhooks|interactions)/\d+/)[\w%=-]{20,}",
    # A link to the picture server: whoever reads it can open it.
    r"(?P<link>/p/)[a-z0-9][a-z0-9_-]*\.[0-9a-f]+\.[0-9a-f]+\.[\w-]{32}",
    # As headers, forms and dictionaries show it.
    r"(?P<field>(?i:\b(?:access_token|token|authorization|password|secret|session_id|private_key"
    r"|mac_key|api_key)\b['\"]?\s*[:=]\s*b?['\"]?(?:(?:bot|bearer|basic)\s+)?))[\w.~+/=%-]{12,}",
    # Also hides DeepSquare job ids and transaction hashes, which cannot be told apart from keys.
    r"(?<![\w])0x[0-9a-fA-F]{64}(?![0-9a-fA-F])",
)
# Arguments of libraries' records that are shown, beside numbers: they cannot come from a member.
_HTTP_WORDS: Final = frozenset(
    {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "OK", "HTTP/1.1", "HTTP/2"}
)
_ADDRESS: Final = re.compile(r"((?:https?|wss?)://[\w.:\[\]-]+)(/[^?#\s]*)?(?:[?#]\S*)?")
_PATH_PART: Final = re.compile(r"[\w@.-]{0,24}")
# Control characters and line separators; a traceback's own line breaks stay.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
# Libraries that log every request at info.
_VERBOSE_LIBRARIES: Final = ("aiosqlite", "httpcore", "httpx", "asyncio", "PIL")


class Redactor:
    """Mask secrets in texts, in every spelling that logs show."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        spellings = {spelling for secret in secrets for spelling in _spellings(secret)}
        longest_first = sorted(spellings, key=lambda spelling: (-len(spelling), spelling))
        named = "|".join(re.escape(spelling) for spelling in longest_first)
        self._named = re.compile(named, re.IGNORECASE) if named else None
        self._looking = re.compile("|".join(_SECRET_PATTERNS))

    def __repr__(self) -> str:
        return "Redactor()"

    def redact(self, text: str) -> str:
        """Return ``text`` with every secret replaced by stars."""
        if self._named is not None:
            text = self._named.sub(MASK, text)
        return self._looking.sub(
            lambda match: f"{match['path'] or match['link'] or match['field'] or ''}{MASK}", text
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
        """Format the record without secrets."""
        job = getattr(record, "job", None)
        where = f"{record.name} [job {job}]" if job is not None else record.name
        head = f"{_format_time(record)} {record.levelname:<7} {where} {_format_message(record)}"
        line = _escape(self._redactor.redact(head).replace("\n", "\\n"))
        error = self._redactor.redact(_format_traceback(self, record))
        return "\n    ".join([line, *_escape(error).splitlines()])


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, message, and job and error if any."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """Format the record without secrets."""
        fields = {
            "time": _format_time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _format_message(record),
        }
        job = getattr(record, "job", None)
        if job is not None:
            fields["job"] = str(job)
        error = _format_traceback(self, record)
        if error:
            fields["error"] = error
        # Before JSON escapes them: a quote or an umlaut inside a secret would hide it from us.
        masked = {name: self._redactor.redact(text) for name, text in fields.items()}
        return json.dumps(masked, ensure_ascii=True)


class RedactingStreamHandler(logging.StreamHandler[TextIO]):
    """A stream handler that names a record that cannot be formatted, but never shows it."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """Print where the broken record came from; logging would print its arguments unmasked."""
        try:
            self.stream.write(f"A log record of {record.pathname}:{record.lineno} was lost.\n")
            self.flush()
        except (OSError, ValueError):
            pass  # the stream itself is broken or closed


def configure_logging(
    format: Literal["text", "json"], level: str, secrets: Iterable[str], stream: TextIO
) -> None:
    """Make every logger of this process write to ``stream``, replacing an earlier configuration.

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
    for name in _VERBOSE_LIBRARIES:
        logging.getLogger(name).setLevel(quiet)
    logging.captureWarnings(True)


def _spellings(secret: str) -> set[str]:
    """Return the secret plain, in a repr, in JSON, in a URL, and a key without its 0x."""
    spellings = {secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], quote(secret, safe="")}
    if re.fullmatch(r"0x[0-9a-fA-F]{16,}", secret):
        spellings.add(secret[2:])
    return {spelling for spelling in spellings if spelling.strip()}


def _format_message(record: logging.LogRecord) -> str:
    """Return the record's message; mask the arguments of libraries' debug and info records."""
    if record.levelno >= logging.WARNING or record.name.partition(".")[0] == "bot":
        return record.getMessage()
    args = record.args
    if not args and record.levelno > logging.DEBUG:
        return record.getMessage()
    if isinstance(args, Mapping):
        return str(record.msg) % {name: _mask_argument(value) for name, value in args.items()}
    if args:
        return str(record.msg) % tuple(_mask_argument(value) for value in args)
    # The message may have been formatted before: its arguments cannot be told from the rest.
    return f"{record.module}.{record.funcName}:{record.lineno} {MASK}"


def _mask_argument(value: object) -> object:
    """Return the value if it is a number, a method or an address; stars otherwise."""
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


def _format_time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _format_traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """Return the record's traceback and stack, "" if it has neither."""
    error = formatter.formatException(record.exc_info) if record.exc_info else record.exc_text
    return "\n".join(part for part in (error, record.stack_info) if part)


def _escape(text: str) -> str:
    return _CONTROL.sub(lambda match: repr(match[0])[1:-1], text)
