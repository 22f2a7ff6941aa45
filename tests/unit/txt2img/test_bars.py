"""Test progress bars byte for byte; the expected bytes were recorded from tqdm 4.70 on a pipe."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.txt2img.tqdm_bars import ProgressBars, format_frame

READABLE = re.compile(
    r"(Sampling|data|DDIM Sampler|PLMS Sampler|DPM init order|DPM multistep)"
    r":\s+(\d+)%\|.*?\|\s*(\d+)/(\d+)\s+\["
)

RECORDED = (
    "\rSampling:   0%|          | 0/1 [00:00<?, ?it/s]"
    "\n\rdata:   0%|          | 0/1 [00:00<?, ?it/s]\x1b[A"
    "\n\n\rDDIM Sampler:   0%|          | 0/3 [00:00<?, ?it/s]\x1b[A\x1b[A"
    "\n\n\rDDIM Sampler:  33%|███▎      | 1/3 [00:02<00:04,  2.00s/it]\x1b[A\x1b[A"
    "\n\n\rDDIM Sampler:  67%|██████▋   | 2/3 [00:04<00:02,  2.00s/it]\x1b[A\x1b[A"
    "\n\n\rDDIM Sampler: 100%|██████████| 3/3 [00:06<00:00,  2.00s/it]\x1b[A\x1b[A"
    "\rDDIM Sampler: 100%|██████████| 3/3 [00:06<00:00,  2.00s/it]\n"
    "\n\rdata: 100%|██████████| 1/1 [00:06<00:00,  6.00s/it]\x1b[A"
    "\rdata: 100%|██████████| 1/1 [00:06<00:00,  6.00s/it]\n"
    "\rSampling: 100%|██████████| 1/1 [00:06<00:00,  6.00s/it]"
    "\rSampling: 100%|██████████| 1/1 [00:06<00:00,  6.00s/it]\n"
)


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Pipe(io.StringIO):
    """A stream with an encoding of its own, as a pipe has."""

    def __init__(self, encoding: str) -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding


def written(stream: io.StringIO, steps: int, seconds: float) -> str:
    clock = Clock()
    bars = ProgressBars(stream, clock)
    with bars.bar("Sampling", 1) as sampling:
        with bars.bar("data", 1) as data:
            with bars.bar("DDIM Sampler", steps) as sampler:
                for _ in range(steps):
                    clock.now += seconds
                    sampler.advance()
            data.advance()
        sampling.advance()
    return stream.getvalue()


def test_nested_bars_write_the_bytes_of_tqdm() -> None:
    assert written(io.StringIO(), 3, 2.0) == RECORDED


def test_a_pipe_without_unicode_gets_digits_and_hashes() -> None:
    text = written(Pipe("ascii"), 4, 0.5)
    assert text.isascii()
    assert " 25%|##5       | 1/4 [00:00<00:01,  2.00it/s]" in text


def test_steps_that_follow_too_fast_are_not_all_shown() -> None:
    text = written(io.StringIO(), 100, 0.03)
    shown = [int(found[2]) for found in READABLE.finditer(text) if found[1] == "DDIM Sampler"]
    assert shown == sorted(shown)
    assert shown[-1] == 100
    assert 20 < len(shown) < 40


def test_a_shorter_frame_covers_the_longer_one_before_it() -> None:
    clock, stream = Clock(), io.StringIO()
    with ProgressBars(stream, clock).bar("data", 3) as bar:
        for seconds in (4000.0, 0.2, 0.2):
            clock.now += seconds
            bar.advance()
    first, slow, fast, *_ = [text.rstrip("\n") for text in stream.getvalue().split("\r")[1:]]
    assert slow.endswith("[1:06:40<2:13:20, 4000.00s/it]")
    assert len(first) < len(slow) == len(fast)
    assert fast.endswith("s/it]  ")


@pytest.mark.parametrize(
    ("done", "elapsed", "rate", "expected"),
    [
        (0, 0.0, None, "data:   0%|          | 0/8 [00:00<?, ?it/s]"),
        (1, 3725.0, None, "data:  12%|█▎        | 1/8 [1:02:05<7:14:35, 3725.00s/it]"),
        (4, 2.0, 20.0, "data:  50%|█████     | 4/8 [00:02<00:00, 20.00it/s]"),
        (8, 2.0, None, "data: 100%|██████████| 8/8 [00:02<00:00,  4.00it/s]"),
    ],
)
def test_a_frame_shows_count_times_and_rate(
    done: int, elapsed: float, rate: float | None, expected: str
) -> None:
    assert format_frame("data", done, 8, elapsed, rate, " ▏▎▍▌▋▊▉█") == expected


@given(
    steps=st.integers(1, 60),
    seconds=st.floats(0, 20, allow_nan=False),
    encoding=st.sampled_from(["utf-8", "ascii"]),
)
@settings(deadline=None, max_examples=60)
def test_every_line_of_any_run_can_be_read_as_progress(
    steps: int, seconds: float, encoding: str
) -> None:
    for line in written(Pipe(encoding), steps, seconds).split("\n"):
        frames = [re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", part) for part in line.split("\r")]
        for text in filter(None, frames):
            found = READABLE.match(text)
            assert found, text
            done, total = int(found[3]), int(found[4])
            assert 0 <= done <= total
            assert int(found[2]) == pytest.approx(100 * done / total, abs=0.51)


def test_a_bar_is_closed_when_the_work_in_it_fails() -> None:
    stream = io.StringIO()
    bars = ProgressBars(stream, Clock())
    with pytest.raises(ZeroDivisionError), bars.bar("data", 2):
        raise ZeroDivisionError
    assert stream.getvalue().endswith("\n")
