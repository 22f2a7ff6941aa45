"""Nested progress bars that write the same bytes as tqdm does on a pipe.

A log reader that understands Stable Diffusion's own output must understand ours, so each bar is
one carriage return and a frame (description, percentage, ten cells, count, times, rate), and a bar
below another is reached with newlines and left with ``ESC [ A``. Only what that output shows is
reproduced; the bars know nothing of what is being counted. The clock is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

_CELLS = 10
_UNICODE_FILL = " ▏▎▍▌▋▊▉█"
_ASCII_FILL = " 123456789#"
_UP = "\x1b[A"
_SMOOTHING = 0.3
_INTERVAL = 0.1
"""Seconds between two frames of one bar."""


class _Average:
    """An exponential moving average, corrected for its start; has no value before one is added."""

    def __init__(self) -> None:
        self._sum = 0.0
        self._count = 0

    def add(self, value: float) -> None:
        self._sum = _SMOOTHING * value + (1 - _SMOOTHING) * self._sum
        self._count += 1

    @property
    def value(self) -> float:
        # The very arithmetic of tqdm: any other order of operations rounds to other seconds.
        return self._sum / (1 - (1 - _SMOOTHING) ** self._count)


def _clock_time(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"


def frame(
    description: str, done: int, total: int, elapsed: float, rate: float | None, fill: str
) -> str:
    """One state of a bar as text; ``rate`` in steps per second, None for the overall average."""
    if rate is None and elapsed:
        rate = done / elapsed
    if not rate:
        speed, remaining = "?it/s", "?"
    else:
        speed = f"{1 / rate:5.2f}s/it" if rate < 1 else f"{rate:5.2f}it/s"
        remaining = _clock_time((total - done) / rate)
    share = done / total
    levels = len(fill) - 1
    full, part = divmod(int(share * _CELLS * levels), levels)
    cells = fill[-1] * full
    if full < _CELLS:
        cells += fill[part] + fill[0] * (_CELLS - full - 1)
    times = f"{_clock_time(elapsed)}<{remaining}, {speed}"
    return f"{description}: {share * 100:3.0f}%|{cells}| {done}/{total} [{times}]"


class Bar:
    """One bar on the screen; made by :meth:`ProgressBars.bar`."""

    def __init__(self, bars: ProgressBars, description: str, total: int, depth: int) -> None:
        self._bars = bars
        self._description = description
        self._total = total
        self._depth = depth
        self._done = 0
        self._width = 0
        self._steps = _Average()
        self._seconds = _Average()
        self._printed = 0
        self._show(depth, 0.0, None)
        self._started = self._printed_at = bars.clock()

    def advance(self) -> None:
        """One more step is done; shown at once unless a frame was shown a moment ago."""
        self._done += 1
        now = self._bars.clock()
        if now - self._printed_at < _INTERVAL:
            return
        self._steps.add(self._done - self._printed)
        self._seconds.add(now - self._printed_at)
        self._show(self._depth, now - self._started, self._steps.value / self._seconds.value)
        self._printed, self._printed_at = self._done, now

    def close(self) -> None:
        """Leave the last state standing, with the average rate, and move below it."""
        # tqdm shows the final state where the cursor is, not where the bar was.
        self._show(0, self._bars.clock() - self._started, None)
        self._bars.write("\n")

    def _show(self, depth: int, elapsed: float, rate: float | None) -> None:
        text = frame(
            self._description, self._done, self._total, elapsed, rate, fill=self._bars.fill
        )
        padding = " " * (self._width - len(text))
        self._width = len(text)
        self._bars.write("\n" * depth + "\r" + text + padding + _UP * depth)


class ProgressBars:
    """The bars of one program on one stream; a bar opened inside another stands below it."""

    def __init__(self, stream: TextIO, clock: Callable[[], float]) -> None:
        self.clock = clock
        encoding = (stream.encoding or "utf-8").lower()
        self.fill = _UNICODE_FILL if encoding.startswith(("utf", "u8")) else _ASCII_FILL
        self._stream = stream
        self._depth = 0

    @contextmanager
    def bar(self, description: str, total: int) -> Iterator[Bar]:
        """A bar that counts to ``total`` (at least 1) and is closed on the way out."""
        bar = Bar(self, description, total, self._depth)
        self._depth += 1
        try:
            yield bar
        finally:
            self._depth -= 1
            bar.close()

    def write(self, text: str) -> None:
        """Send ``text`` at once: a reader of the log follows it while we work."""
        self._stream.write(text)
        self._stream.flush()
