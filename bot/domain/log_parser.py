"""Parser of a job's log: bytes to events and text for display.

Events come from markers with a valid MAC (``bot.domain.log_markers``). Two unsigned inputs are
accepted because they are harmless: the platform's first line, and progress bars, which change a
displayed number. Everything else is text. The result does not depend on how the bytes are split
into chunks.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final, TypeAlias

from bot.domain.events import JobEvent, RowProgress, Started
from bot.domain.log_markers import parse_marker, sign_marker

__all__ = ["MAX_LINE_BYTES", "MAX_TEXT_LENGTH", "LogItem", "LogOutput", "LogParser", "sign_marker"]

MAX_LINE_BYTES: Final = 64 * 1024
"""Maximum length of a line; the rest of a longer line is dropped."""

MAX_TEXT_LENGTH: Final = 500
"""Maximum characters of a LogOutput."""

_JOB_STARTED = b"--- Job has started ---"
_ROW_TAG = re.compile(r"\[row ([0-9]{1,3})\](?: |$)")
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
# tqdm's line as txt2img.py prints it: description, percentage, bar, current/total, times.
_BAR = re.compile(
    r"(Sampling|data|DDIM Sampler|PLMS Sampler|DPM init order|DPM multistep):"
    r"\s+[0-9]{1,3}%\|[^|]{0,200}\|\s*([0-9]{1,7})/([0-9]{1,7})\s+\["
)
# Controls, formats (including bidi overrides), surrogates, line and paragraph separators.
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


@dataclass(frozen=True, slots=True)
class LogOutput:
    """A line to display: visible characters only, at most MAX_TEXT_LENGTH.

    ``row`` is the row it is tagged with, if any. The text is untrusted: escape it.
    """

    row: int | None
    text: str


LogItem: TypeAlias = JobEvent | LogOutput


class LogParser:
    """Incremental parser of one job's log with ``rows`` rows and markers signed with ``key``."""

    __slots__ = ("_bars", "_key", "_line", "_rows", "_seen")

    def __init__(self, key: bytes, rows: int) -> None:
        if not key:
            raise ValueError("the key must not be empty: anyone could sign")
        self._key = key
        self._rows = rows
        self._line = bytearray()
        self._seen: set[tuple[str, int | None]] = set()
        self._bars: dict[int, _ProgressBars] = {}

    def __repr__(self) -> str:
        return f"LogParser(rows={self._rows})"

    def feed(self, data: bytes) -> tuple[LogItem, ...]:
        """Return the items of the lines that end in ``data``, in order.

        Blank lines, and progress bars that do not raise the row's percentage, give no item.
        """
        parsed: list[LogItem] = []
        *ends, beginning = data.split(b"\n")
        for end in ends:
            self._append(end)
            parsed.extend(self._flush())
        self._append(beginning)
        return tuple(parsed)

    def close(self) -> tuple[LogItem, ...]:
        """Return the items of a last line without a newline; the next byte starts a new line."""
        return self._flush()

    def reset(self) -> None:
        """Start over for a log that is read again from its first line.

        Its events are then returned again; ``apply_event`` ignores repeated events.
        """
        self._line.clear()
        self._begin_run()

    def _begin_run(self) -> None:
        """Forget the events seen: a requeued job appends to its log, and its rows start again."""
        self._seen.clear()
        self._bars.clear()

    def _append(self, piece: bytes) -> None:
        self._line += piece[: MAX_LINE_BYTES - len(self._line)]

    def _flush(self) -> tuple[LogItem, ...]:
        line = bytes(self._line)
        self._line.clear()
        parsed = self._parse_line(line)
        return () if parsed is None else (parsed,)

    def _parse_line(self, line: bytes) -> LogItem | None:
        if line.rstrip(b"\r") == _JOB_STARTED:
            self._begin_run()
            return Started()
        marker = parse_marker(self._key, line, self._rows)
        if marker is not None and (marker.kind, marker.row) not in self._seen:
            self._seen.add((marker.kind, marker.row))
            if isinstance(marker.meaning, str):
                return LogOutput(marker.row, marker.meaning)
            return marker.meaning
        return self._parse_unsigned(_ANSI.sub("", line.decode("utf-8", "replace")).lstrip("\r"))

    def _parse_unsigned(self, text: str) -> LogItem | None:
        row: int | None = None
        tag = _ROW_TAG.match(text)
        if tag is not None and 1 <= int(tag[1]) <= self._rows:
            row = int(tag[1])
            text = text[tag.end() :]
        # A carriage return overwrites the line: a terminal would show the last frame.
        frame = next((frame for frame in reversed(text.split("\r")) if frame.strip()), "").strip()
        if row is not None:
            bar = _BAR.match(frame)
            if bar is not None:
                return self._parse_progress(row, bar[1], int(bar[2]), int(bar[3]))
        shown = _to_visible_text(frame)
        return LogOutput(row, shown) if shown else None

    def _parse_progress(self, row: int, name: str, now: int, total: int) -> RowProgress | None:
        bars = self._bars.setdefault(row, _ProgressBars())
        return RowProgress(row, bars.percent) if bars.update(name, now, total) else None


class _ProgressBars:
    """State of the nested progress bars of one row; the percentage never falls.

    The outer bar ``Sampling`` counts iterations (``--n_iter``), ``data`` the prompts of each, and
    the sampler's own bar the steps. A bar prints its state one update late, so an inner bar can
    restart before the outer one has advanced: the lower percentage is then not reported.
    """

    __slots__ = ("_done", "_iterations", "percent")

    def __init__(self) -> None:
        self._iterations = 1
        self._done = 0
        self.percent = -1

    def update(self, name: str, now: int, total: int) -> bool:
        """Apply one state of a bar; return whether the row's percentage has risen."""
        match name:
            case "Sampling":
                self._iterations = max(1, total)
                self._done = min(now, self._iterations)
                now = 0
            case "DPM multistep":
                # The first step is counted by a bar of its own, "DPM init order".
                now, total = now + 1, total + 1
            case "data" | "DPM init order":
                now = 0
            case _:
                pass
        total = max(1, total)
        percent = min(100, 100 * (self._done * total + now) // (self._iterations * total))
        risen = percent > self.percent
        self.percent = max(percent, self.percent)
        return risen


def _to_visible_text(text: str) -> str:
    """Return the visible characters of ``text``, at most MAX_TEXT_LENGTH."""
    # The input is bounded too, so that a very long line is not scanned as a whole.
    spaced = text[: 8 * MAX_TEXT_LENGTH].replace("\t", " ")
    shown = "".join(c for c in spaced if unicodedata.category(c) not in _INVISIBLE).strip()
    return shown if len(shown) <= MAX_TEXT_LENGTH else shown[: MAX_TEXT_LENGTH - 1] + "…"
