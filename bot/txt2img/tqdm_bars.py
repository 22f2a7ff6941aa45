"""Write nested progress bars with the same bytes as tqdm on a pipe.

A parser of Stable Diffusion's log must understand this output, too: each update is a carriage
return and a frame (description, percentage, ten cells, count, times, rate); a nested bar is reached
with newlines and left with ``ESC [ A``.
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
_MIN_INTERVAL_SECONDS = 0.1
"""Seconds between two frames of one bar."""


class _Average:
    """A bias-corrected exponential moving average; ``value`` needs at least one ``add``."""

    def __init__(self) -> None:
        self._sum = 0.0
        self._count = 0

    def add(self, value: float) -> None:
        self._sum = _SMOOTHING * value + (1 - _SMOOTHING) * self._sum
        self._count += 1

    @property
    def value(self) -> float:
        # tqdm's order of operations: any other rounds differently.
        return self._sum / (1 - (1 - _SMOOTHING) ** self._count)


def _format_seconds(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"


def format_frame(
    description: str, done: int, total: int, elapsed: float, rate: float | None, fill: str
) -> str:
    """Format one state of a bar; ``rate`` in steps per second, None for the overall average."""
    if rate is None and elapsed:
        rate = done / elapsed
    if not rate:
        speed, remaining = "?it/s", "?"
    else:
        speed = f"{1 / rate:5.2f}s/it" if rate < 1 else f"{rate:5.2f}it/s"
        remaining = _format_seconds((total - done) / rate)
    share = done / total
    levels = len(fill) - 1
    full, part = divmod(int(share * _CELLS * levels), levels)
    cells = fill[-1] * full
    if full < _CELLS:
        cells += fill[part] + fill[0] * (_CELLS - full - 1)
    times = f"{_format_seconds(elapsed)}<{remaining}, {speed}"
    return f"{description}: {share * 100:3.0f}%|{cells}| {done}/{total} [{times}]"


class Bar:
    """One progress bar; created by :meth:`ProgressBars.bar`."""

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
        """Count one step; print a frame if the last one is old enough."""
        self._done += 1
        now = self._bars.clock()
        if now - self._printed_at < _MIN_INTERVAL_SECONDS:
            return
        self._steps.add(self._done - self._printed)
        self._seconds.add(now - self._printed_at)
        self._show(self._depth, now - self._started, self._steps.value / self._seconds.value)
        self._printed, self._printed_at = self._done, now

    def close(self) -> None:
        """Print the final state with the average rate, and move below it."""
        # tqdm prints the final state at the cursor, not at the bar's line.
        self._show(0, self._bars.clock() - self._started, None)
        self._bars.write("\n")

    def _show(self, depth: int, elapsed: float, rate: float | None) -> None:
        text = format_frame(
            self._description, self._done, self._total, elapsed, rate, fill=self._bars.fill
        )
        padding = " " * (self._width - len(text))
        self._width = len(text)
        self._bars.write("\n" * depth + "\r" + text + padding + _UP * depth)


class ProgressBars:
    """The progress bars of one stream; a bar opened inside another is printed below it."""

    def __init__(self, stream: TextIO, clock: Callable[[], float]) -> None:
        self.clock = clock
        encoding = (stream.encoding or "utf-8").lower()
        self.fill = _UNICODE_FILL if encoding.startswith(("utf", "u8")) else _ASCII_FILL
        self._stream = stream
        self._depth = 0

    @contextmanager
    def bar(self, description: str, total: int) -> Iterator[Bar]:
        """Yield a bar that counts to ``total`` (at least 1); close it at the end of the block."""
        bar = Bar(self, description, total, self._depth)
        self._depth += 1
        try:
            yield bar
        finally:
            self._depth -= 1
            bar.close()

    def write(self, text: str) -> None:
        """Write and flush ``text``: the log is followed while the program runs."""
        self._stream.write(text)
        self._stream.flush()
