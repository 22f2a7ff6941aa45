"""Signed marker lines of a job's log: grammar, signing and parsing.

A log is neither authentic nor confidential: others may append to it, and it may contain a prompt.
So the bot acts only on markers, each one line of the grammar

    @@sd1 <seq> <kind> <key=value ...> mac=<32 hex>

where ``mac`` is the first half of HMAC-SHA256 over everything before `` mac=``, with a key that
belongs to one job and is never printed. Free text and URLs are base64 of UTF-8. Which hosts a URL
may name is checked by the caller.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from bot.domain.events import (
    Artifact,
    Failed,
    FailureReason,
    Finished,
    GridReady,
    RowFailed,
    RowPainted,
    RowReady,
    RowStarted,
    Started,
)
from bot.domain.image_engine import GenerationInfo
from bot.domain.request import MAX_SEED

MAX_MARKER_LENGTH: Final = 999
"""In bytes, without the newline: short enough for one atomic write to the log."""

MAX_URL_LENGTH: Final = 500
"""In characters; a link button of Discord takes 512."""

MAX_STEPS: Final = 100_000

MarkerEvent: TypeAlias = (
    Started | RowStarted | RowPainted | RowReady | RowFailed | GridReady | Finished | Failed
)
"""Events that a marker can state."""

_MARKER = re.compile(
    rb"(?P<signed>@@sd1 [0-9]{1,20} (?P<kind>[a-z][a-z-]*)"
    rb"(?P<pairs>(?: [a-z][a-z0-9]*=[A-Za-z0-9._:/+=-]*)*))"
    rb" mac=(?P<mac>[0-9a-f]{32})"
)
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_DECIMAL = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,4})?")
_INTEGER = re.compile(r"[0-9]{1,15}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
# The characters of RFC 3986: a workflow sends no others.
_URL = re.compile(
    r"(?:https?://[A-Za-z0-9.\[\]:-]+(?:/[A-Za-z0-9._~:/?#@!$&'()*+,;=%-]*)?"
    r"|file:///[A-Za-z0-9._~:/@!$&'()*+,;=%-]*)"
)
_REQUIRED_KEYS: Mapping[str, frozenset[str]] = {
    "start": frozenset({"rows"}),
    "row-start": frozenset({"row", "seed"}),
    "painted": frozenset({"row", "engine", "steps", "negative"}),
    "row-done": frozenset({"row", "seed", "size", "sha256", "url"}),
    "row-failed": frozenset({"row", "rc"}),
    "grid": frozenset({"size", "sha256", "url", "rows"}),
    "done": frozenset({"ok", "failed"}),
    "model-missing": frozenset({"model"}),
    "model-unusable": frozenset({"model", "what"}),
    "input-unusable": frozenset({"what"}),
    "unsupported": frozenset({"row", "what"}),
}
_OPTIONAL_KEYS: Mapping[str, frozenset[str]] = {
    "model-missing": frozenset({"row"}),
    "painted": frozenset({"model", "guidance", "sampler", "sha256"}),
}


@dataclass(frozen=True, slots=True)
class Marker:
    """An authentic marker. ``row`` is None if it concerns the whole job.

    ``meaning`` is an event, or a text for display.
    """

    kind: str
    row: int | None
    meaning: MarkerEvent | str


def sign_marker(key: bytes, text: str) -> str:
    """Append the MAC to ``text``, which is ``@@sd1 <seq> <kind> <key=value ...>``."""
    return f"{text} mac={_mac(key, text.encode())}"


def parse_marker(key: bytes, line: bytes, rows: int) -> Marker | None:
    """Parse a log line (without its newline) of a job of ``rows`` rows.

    Returns None if it is not a valid marker: another job's key, a changed byte, text around it, an
    unknown kind, a missing, repeated or unknown key, a number out of range.
    """
    if len(line) > MAX_MARKER_LENGTH:
        return None
    match = _MARKER.fullmatch(line)
    if match is None or not hmac.compare_digest(
        _mac(key, match["signed"]), match["mac"].decode("ascii")
    ):
        return None
    try:
        return _parse_fields(match["kind"].decode("ascii"), match["pairs"].decode("ascii"), rows)
    except ValueError:
        return None


def _mac(key: bytes, signed: bytes) -> str:
    return hmac.new(key, signed, hashlib.sha256).hexdigest()[:32]


def _parse_fields(kind: str, pairs: str, rows: int) -> Marker:
    """Return the marker. Raises ValueError for invalid fields."""
    fields = _Fields(pairs)
    row: int | None = None
    if "row" in fields.names:
        row = fields.number("row", 1, rows)
    fields.require_keys(_REQUIRED_KEYS.get(kind), _OPTIONAL_KEYS.get(kind, frozenset()))
    meaning: MarkerEvent | str
    match kind, row:
        case "start", None:
            fields.number("rows", rows, rows)
            meaning = Started()
        case "row-start", int():
            meaning = RowStarted(row, fields.number("seed", 0, MAX_SEED))
        case "painted", int():
            meaning = RowPainted(row, fields.generation())
        case "row-done", int():
            meaning = RowReady(row, fields.number("seed", 0, MAX_SEED), fields.artifact())
        case "row-failed", int():
            meaning = RowFailed(row, fields.number("rc", 0, 255))
        case "grid", None:
            meaning = GridReady(fields.artifact(), fields.number("rows", 1, rows))
        case "done", None:
            ok = fields.number("ok", 0, rows)
            meaning = Finished(ok, fields.number("failed", 0, rows - ok))
        case "unsupported", int():
            meaning = f"not supported here: {fields.text('what')}"
        case "model-unusable", None:
            message = (
                f"The model {fields.text('model')} cannot be used: its file {fields.text('what')}. "
                "Choose another model, or ask a moderator."
            )
            return Marker(kind, None, Failed(FailureReason.MODEL_MISSING, message))
        case "input-unusable", None:
            message = f"The picture to start from {fields.text('what')}. Please try again."
            return Marker(kind, None, Failed(FailureReason.FILES_MISSING, message))
        case _:
            message = (
                f"The model {fields.text('model')} is not installed where the pictures are made. "
                "Choose another model, or ask a moderator."
            )
            # Several rows may report it, but it concerns the whole job.
            return Marker(kind, None, Failed(FailureReason.MODEL_MISSING, message))
    return Marker(kind, row, meaning)


class _Fields:
    """The ``key=value`` pairs of a marker. Accessors raise ValueError for an invalid value."""

    __slots__ = ("_values",)

    def __init__(self, pairs: str) -> None:
        parts = [pair.partition("=") for pair in pairs.split()]
        self._values = {name: value for name, _, value in parts}
        if len(self._values) != len(parts):
            raise ValueError("a key is given twice")

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._values)

    def require_keys(self, names: frozenset[str] | None, optional: frozenset[str]) -> None:
        """Require exactly ``names``, plus any of ``optional``."""
        if names is None or self.names - optional != names - optional:
            raise ValueError("not the keys of this marker kind")

    def number(self, name: str, minimum: int, maximum: int) -> int:
        value = self._values[name]
        if not _INTEGER.fullmatch(value) or not minimum <= int(value) <= maximum:
            raise ValueError(f"{name} is not a number from {minimum} to {maximum}")
        return int(value)

    def generation(self) -> GenerationInfo:
        engine, guidance = self._values["engine"], self._values.get("guidance", "0")
        sha256 = self._values.get("sha256", "")
        if not _WORD.fullmatch(engine) or not _DECIMAL.fullmatch(guidance):
            raise ValueError("not an engine name or not a guidance scale")
        if sha256 and not _SHA256.fullmatch(sha256):
            raise ValueError("not a digest")
        return GenerationInfo(
            engine=engine,
            model=self.text("model") if "model" in self.names else "",
            steps=self.number("steps", 0, MAX_STEPS),
            guidance=guidance if "guidance" in self.names else "",
            negative=self.number("negative", 0, 1) == 1,
            sampler=self.text("sampler") if "sampler" in self.names else "",
            model_sha256=sha256,
        )

    def text(self, name: str) -> str:
        """Return decoded base64: printable UTF-8 of 1 to 100 characters."""
        value = base64.b64decode(self._values[name], validate=True).decode()
        if not value.isprintable() or not 1 <= len(value) <= 100:
            raise ValueError(f"{name} is not a short printable text")
        return value

    def artifact(self) -> Artifact:
        url = base64.b64decode(self._values["url"], validate=True).decode("ascii")
        sha256 = self._values["sha256"]
        if len(url) > MAX_URL_LENGTH or not _URL.fullmatch(url) or not _SHA256.fullmatch(sha256):
            raise ValueError("not a valid artifact")
        return Artifact(url, self.number("size", 1, 10**12), sha256)
