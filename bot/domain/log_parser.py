"""Bytes of a job's log in, what they mean out: events, and text for display.

Only a marker with a valid MAC (``bot.domain.log_markers``) states a fact. Beside it two things are
believed unsigned because they can do no harm: the platform's first line, and progress bars, which
move a number on a card. Everything else is text. The same bytes give the same results in whatever
pieces they come. The parser does not know where a log comes from, nor what a job does with it.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final, TypeAlias

from bot.domain.events import JobEvent, RowProgress, Started
from bot.domain.log_markers import parse_marker, sign_marker

__all__ = ["LINE_LIMIT", "TEXT_LIMIT", "LogItem", "LogOutput", "LogParser", "sign_marker"]

LINE_LIMIT: Final = 64 * 1024
"""Bytes of one line that are looked at; the rest of a longer line is dropped as it comes."""

TEXT_LIMIT: Final = 500
"""Characters of a LogText."""

_JOB_STARTED = b"--- Job has started ---"
_ROW_TAG = re.compile(r"\[row ([0-9]{1,3})\](?: |$)")
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
# tqdm's line as txt2img.py prints it: description, percentage, bar, current/total, times.
_BAR = re.compile(
    r"(Sampling|data|DDIM Sampler|PLMS Sampler|DPM init order|DPM multistep):"
    r"\s+[0-9]{1,3}%\|[^|]{0,200}\|\s*([0-9]{1,7})/([0-9]{1,7})\s+\["
)
# Controls, formats (bidi overrides among them), surrogates, line and paragraph separators.
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


@dataclass(frozen=True, slots=True)
class LogOutput:
    """A line to show: one line, nothing invisible in it, at most TEXT_LIMIT characters.

    ``row`` is the row it is tagged with, if any. The text is a stranger's: escape it.
    """

    row: int | None
    text: str


LogItem: TypeAlias = JobEvent | LogOutput


class LogParser:
    """Reads the log of one job with ``rows`` rows, whose markers are signed with ``key``."""

    __slots__ = ("_bars", "_key", "_line", "_rows", "_seen")

    def __init__(self, key: bytes, rows: int) -> None:
        if not key:
            raise ValueError("an empty key would let anybody sign")
        self._key = key
        self._rows = rows
        self._line = bytearray()
        self._seen: set[tuple[str, int | None]] = set()
        self._bars: dict[int, _Bars] = {}

    def __repr__(self) -> str:
        return f"LogParser(rows={self._rows})"

    def feed(self, data: bytes) -> tuple[LogItem, ...]:
        """What the lines that end in ``data`` mean, in order.

        A line that is empty to the eye, and a progress bar that has not moved the row's
        percentage, give nothing.
        """
        parsed: list[LogItem] = []
        *ends, beginning = data.split(b"\n")
        for end in ends:
            self._keep(end)
            parsed.extend(self._flush())
        self._keep(beginning)
        return tuple(parsed)

    def close(self) -> tuple[LogItem, ...]:
        """What a last line without a newline means; afterwards a new line begins."""
        return self._flush()

    def reset(self) -> None:
        """Forget what was read: the same log is about to come again, from its first line.

        Facts are then reported again, which a job absorbs.
        """
        self._line.clear()
        self._begin_run()

    def _begin_run(self) -> None:
        """A requeued job appends to its old log: its rows may start, fail or succeed anew."""
        self._seen.clear()
        self._bars.clear()

    def _keep(self, piece: bytes) -> None:
        self._line += piece[: LINE_LIMIT - len(self._line)]

    def _flush(self) -> tuple[LogItem, ...]:
        line = bytes(self._line)
        self._line.clear()
        parsed = self._read(line)
        return () if parsed is None else (parsed,)

    def _read(self, line: bytes) -> LogItem | None:
        if line.rstrip(b"\r") == _JOB_STARTED:
            self._begin_run()
            return Started()
        marker = parse_marker(self._key, line, self._rows)
        if marker is not None and (marker.kind, marker.row) not in self._seen:
            self._seen.add((marker.kind, marker.row))
            if isinstance(marker.meaning, str):
                return LogOutput(marker.row, marker.meaning)
            return marker.meaning
        return self._unsigned(_ANSI.sub("", line.decode("utf-8", "replace")).lstrip("\r"))

    def _unsigned(self, text: str) -> LogItem | None:
        row: int | None = None
        tag = _ROW_TAG.match(text)
        if tag is not None and 1 <= int(tag[1]) <= self._rows:
            row = int(tag[1])
            text = text[tag.end() :]
        # A carriage return goes back to overwrite: what a terminal would show is the last frame.
        frame = next((frame for frame in reversed(text.split("\r")) if frame.strip()), "").strip()
        if row is not None:
            bar = _BAR.match(frame)
            if bar is not None:
                return self._progress(row, bar[1], int(bar[2]), int(bar[3]))
        shown = _visible(frame)
        return LogOutput(row, shown) if shown else None

    def _progress(self, row: int, name: str, now: int, total: int) -> RowProgress | None:
        bars = self._bars.setdefault(row, _Bars())
        return RowProgress(row, bars.percent) if bars.move(name, now, total) else None


class _Bars:
    """The nested bars of one row's sampling; its percentage never falls.

    Outermost ``Sampling`` counts iterations (``--n_iter``), ``data`` the prompts of each, and the
    sampler's own bar the steps. A bar tells its state one update late, so an inner bar can start
    over before the outer one has moved: the lower percentage is then not reported.
    """

    __slots__ = ("_done", "_iterations", "percent")

    def __init__(self) -> None:
        self._iterations = 1
        self._done = 0
        self.percent = -1

    def move(self, name: str, now: int, total: int) -> bool:
        """Take in one state of a bar; whether the row's percentage has grown."""
        match name:
            case "Sampling":
                self._iterations = max(1, total)
                self._done = min(now, self._iterations)
                now = 0
            case "DPM multistep":
                # The first step was taken by a bar of its own, "DPM init order".
                now, total = now + 1, total + 1
            case "data" | "DPM init order":
                now = 0
            case _:
                pass
        total = max(1, total)
        percent = min(100, 100 * (self._done * total + now) // (self._iterations * total))
        grown = percent > self.percent
        self.percent = max(percent, self.percent)
        return grown


def _visible(text: str) -> str:
    """``text`` without what cannot be seen, cut to TEXT_LIMIT."""
    # Far more than fits is never looked at: a hostile line costs no more than a long one.
    spaced = text[: 8 * TEXT_LIMIT].replace("\t", " ")
    shown = "".join(c for c in spaced if unicodedata.category(c) not in _INVISIBLE).strip()
    return shown if len(shown) <= TEXT_LIMIT else shown[: TEXT_LIMIT - 1] + "…"
