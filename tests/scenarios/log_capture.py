"""Everything that was logged during a scenario, raw and as the operator reads it.

A secret in a line of ours, even before masking, is a defect; so is any secret in the masked text,
whichever library said it. Errors are defects too, unless the scenario expects them.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

from bot.log_config import RedactingStreamHandler, Redactor, TextFormatter

_PLAIN = logging.Formatter("%(levelname)s %(name)s %(message)s")


@dataclass(slots=True)
class Journal:
    """``lines`` are as they were said, with tracebacks; ``text`` is what the operator gets."""

    stream: io.StringIO
    lines: list[tuple[logging.LogRecord, str]] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The masked journal."""
        return self.stream.getvalue()

    def expect(self, fragment: str) -> None:
        """An error that says this is part of the scenario."""
        self.expected.append(fragment)

    def errors(self) -> list[str]:
        """Every line at level ERROR or above that no scenario has asked for."""
        return [
            line
            for record, line in self.lines
            if record.levelno >= logging.ERROR
            # The playground's own server, when it breaks a connection off as it was told to.
            and record.name != "aiohttp.server"
            and not any(fragment in line for fragment in self.expected)
        ]

    def leaks(self, secrets: Iterable[str]) -> list[str]:
        """Every line that shows a secret: ours before masking, anybody's after it."""
        known = tuple(secrets)
        ours = [line for record, line in self.lines if record.name.startswith("bot.")]
        return [
            line
            for line in [*ours, *self.text.splitlines()]
            if any(secret in line for secret in known)
        ]


class Ear(logging.Handler):
    """Notes records as they are said."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it, formatted now: what it refers to may change."""
        self._journal.lines.append((record, _PLAIN.format(record)))


def listening(token: str) -> tuple[Journal, tuple[logging.Handler, ...]]:
    """A journal for a bot with this token, and the handlers that fill it."""
    journal = Journal(io.StringIO())
    written = RedactingStreamHandler(journal.stream)
    written.setFormatter(TextFormatter(Redactor([token])))
    return journal, (Ear(journal), written)
