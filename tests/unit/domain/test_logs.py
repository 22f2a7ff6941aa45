"""Logs: lines in any pieces, runs that begin again, progress bars, and text for display."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.events import Finished, RowFailed, RowProgress, RowStarted, Started
from bot.domain.log_parser import MAX_LINE_BYTES, MAX_TEXT_LENGTH, LogItem, LogOutput, LogParser
from tests.unit.domain.signed_lines import KEY, ROW_DONE, ROWS, URL, b64, events, read, signed


def test_the_first_valid_marker_of_a_kind_and_row_wins() -> None:
    parsed = read(
        signed("@@sd1 1 row-failed row=1 rc=1"),
        signed("@@sd1 2 row-failed row=1 rc=2"),
        signed("@@sd1 3 row-failed row=2 rc=3"),
        signed("@@sd1 4 row-start row=1 seed=5"),
    )
    assert events(parsed) == (RowFailed(1, 1), RowFailed(2, 3), RowStarted(1, 5))


def test_a_second_run_in_the_same_log_tells_its_facts_anew() -> None:
    failed = signed("@@sd1 1 row-failed row=1 rc=1")
    bar = "[row 1] DDIM Sampler:  50%|##   | 5/10 [00:01<00:01,  5.0it/s]"
    started = "--- Job has started ---"
    once = (RowFailed(1, 1), RowProgress(1, 50))
    parsed = read(started, failed, bar, failed, bar, started, failed, bar)
    assert events(parsed) == (Started(), *once, Started(), *once)


def test_a_reset_parser_reads_the_log_again_from_its_first_line() -> None:
    parser = LogParser(KEY, ROWS)
    log = (signed("@@sd1 1 row-failed row=1 rc=1") + "\nhalf a li").encode()
    first = parser.feed(log)
    parser.reset()
    assert parser.feed(log) == first == (RowFailed(1, 1),)
    assert parser.close() == (LogOutput(None, "half a li"),)
    assert parser.close() == ()


def test_a_last_line_without_a_newline_counts_when_the_log_is_closed() -> None:
    parser = LogParser(KEY, ROWS)
    assert parser.feed(signed("@@sd1 5 done ok=3 failed=1").encode()) == ()
    assert parser.close() == (Finished(3, 1),)


log_pieces = st.one_of(
    st.binary(max_size=80),
    st.sampled_from(
        [
            b"\n",
            b"--- Job has started ---\n",
            b"---\n",
            (signed(ROW_DONE + b64(URL)) + "\n").encode(),
            (signed("@@sd1 3 row-failed row=1 rc=1") + "\n").encode(),
            "[row 1] DDIM Sampler:  12%|█▎        | 6/50 [00:03<00:22,  2.00it/s]\n".encode(),
            b"\r[row 2] Sampling:   0%|          | 0/1 [00:00<?, ?it/s]\x1b[A\n",
            b"x" * (MAX_LINE_BYTES + 7),
        ]
    ),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(log_pieces, max_size=8), st.lists(st.integers(0, 400), max_size=12))
def test_the_same_bytes_mean_the_same_in_any_pieces(pieces: list[bytes], cuts: list[int]) -> None:
    log = b"".join(pieces)
    whole = LogParser(KEY, ROWS)
    expected = whole.feed(log) + whole.close()
    parser, rest = LogParser(KEY, ROWS), log
    got: list[LogItem] = []
    for cut in cuts:
        got.extend(parser.feed(rest[:cut]))
        rest = rest[cut:]
    got.extend(parser.feed(rest) + parser.close())
    assert tuple(got) == expected


@settings(max_examples=150, deadline=None)
@given(st.lists(log_pieces, max_size=8))
def test_text_is_short_visible_and_on_one_line(pieces: list[bytes]) -> None:
    parser = LogParser(KEY, ROWS)
    for item in parser.feed(b"".join(pieces)) + parser.close():
        if isinstance(item, LogOutput):
            assert 0 < len(item.text) <= MAX_TEXT_LENGTH
            assert not set(item.text) & set("\n\r\t\x1b\x00\u2028\u202e")
            assert item.row is None or 1 <= item.row <= ROWS


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"---", LogOutput(None, "---")),
        (b"Running: paint", LogOutput(None, "Running: paint")),
        (b"plain\r", LogOutput(None, "plain")),
        (b"\x1b[1;31mred\x1b[0m \x1b]0;title\x07and \x1b(quiet", LogOutput(None, "red and (quiet")),
        (b"first\rsecond\r   \r", LogOutput(None, "second")),
        (b"[row 4] out of memory", LogOutput(4, "out of memory")),
        (b"[row 5] no such row", LogOutput(None, "[row 5] no such row")),
        (b"[row 0] no such row", LogOutput(None, "[row 0] no such row")),
        (b"[row 1]untagged", LogOutput(None, "[row 1]untagged")),
        (b"say [row 1] later", LogOutput(None, "say [row 1] later")),
        (
            b"caf\xe9 \xff",
            LogOutput(None, "caf\N{REPLACEMENT CHARACTER} \N{REPLACEMENT CHARACTER}"),
        ),
        ("a\u202eb\u200bc\td".encode(), LogOutput(None, "abc d")),
        (b"x" * 501, LogOutput(None, "x" * 499 + "…")),
        (b"x" * 500, LogOutput(None, "x" * 500)),
    ],
)
def test_everything_else_is_text_for_display(line: bytes, text: LogOutput) -> None:
    assert read(line) == (text,)


@pytest.mark.parametrize("line", [b"", b"   ", b"\r\r", b"\x1b[A", b"[row 1]", b"[row 1] \r"])
def test_a_line_that_shows_nothing_gives_nothing(line: bytes) -> None:
    assert read(line) == ()


def bar(name: str, now: int, total: int) -> str:
    percent = 100 * now // total if total else 0
    return f"[row 1] {name}: {percent:3}%|{'#' * 3:10}| {now}/{total} [00:01<00:09,  1.2it/s]"


def percentages(*lines: str) -> list[int]:
    return [event.percent for event in events(read(*lines)) if isinstance(event, RowProgress)]


def test_a_row_of_one_iteration_goes_with_its_samplers_bar() -> None:
    assert percentages(
        bar("Sampling", 0, 1),
        bar("data", 0, 1),
        *(bar("DDIM Sampler", step, 50) for step in range(0, 51, 10)),
        bar("data", 1, 1),
        bar("Sampling", 1, 1),
    ) == [0, 20, 40, 60, 80, 100]


def test_several_iterations_share_the_hundred() -> None:
    assert percentages(
        bar("Sampling", 0, 2),
        bar("PLMS Sampler", 25, 50),
        bar("PLMS Sampler", 50, 50),
        bar("PLMS Sampler", 0, 50),  # the outer bar tells one update late
        bar("Sampling", 1, 2),
        bar("PLMS Sampler", 25, 50),
        bar("PLMS Sampler", 49, 50),
        bar("Sampling", 2, 2),
        bar("PLMS Sampler", 50, 50),
    ) == [0, 25, 50, 75, 99, 100]


def test_the_two_bars_of_dpm_are_one_count_of_steps() -> None:
    assert percentages(
        bar("DPM init order", 1, 1),
        bar("DPM multistep", 0, 49),
        bar("DPM multistep", 24, 49),
        bar("DPM multistep", 49, 49),
    ) == [0, 2, 50, 100]


def test_a_bar_of_nothing_and_a_bar_past_its_end_stay_within_bounds() -> None:
    assert percentages(bar("Sampling", 0, 0), bar("DDIM Sampler", 9, 3)) == [0, 100]


def test_the_last_frame_of_a_line_is_what_a_terminal_shows() -> None:
    frames = (
        "[row 3] \rDDIM Sampler:  10%|█         | 5/50 [00:01<00:09,  4.8it/s]"
        "\rDDIM Sampler:  20%|██        | 10/50 [00:02<00:08,  4.8it/s]\x1b[A\x1b[A"
    )
    assert read(frames) == (RowProgress(3, 20),)


def test_a_bar_without_a_row_is_text() -> None:
    line = bar("DDIM Sampler", 5, 10).removeprefix("[row 1] ")
    assert events(read(line)) == ()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["Sampling", "data", "DDIM Sampler", "DPM multistep"]),
            st.integers(0, 60),
            st.integers(0, 60),
        )
    )
)
def test_a_rows_percentage_only_ever_grows_and_is_told_only_when_it_does(
    bars: list[tuple[str, int, int]],
) -> None:
    told = percentages(*(bar(*state) for state in bars))
    assert told == sorted(set(told))
    assert all(0 <= percent <= 100 for percent in told)


def test_a_line_without_end_is_cut_and_the_next_is_read() -> None:
    parser = LogParser(KEY, ROWS)
    for _ in range(100):
        assert parser.feed(b"x" * MAX_LINE_BYTES) == ()
    text, event = parser.feed(b"\n" + signed("@@sd1 5 done ok=3 failed=1").encode() + b"\n")
    assert text == LogOutput(None, "x" * 499 + "…")
    assert event == Finished(3, 1)


def test_a_parser_shows_no_key_and_wants_one() -> None:
    assert repr(LogParser(KEY, 3)) == "LogParser(rows=3)"
    with pytest.raises(ValueError, match="key"):
        LogParser(b"", 3)
