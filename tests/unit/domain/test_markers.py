"""Markers: what a signed line can make happen, and that nothing unsigned can."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.events import (
    Artifact,
    Failed,
    FailureReason,
    Finished,
    GridReady,
    JobEvent,
    RowFailed,
    RowPainted,
    RowProgress,
    RowReady,
    RowStarted,
    Started,
)
from bot.domain.image_engine import GenerationInfo
from bot.domain.log_markers import MAX_MARKER_LENGTH, MAX_URL_LENGTH, sign_marker
from bot.domain.log_parser import LogOutput
from tests.unit.domain.signed_lines import ROW_DONE, SHA, URL, b64, events, read, signed


def test_the_published_vector_gives_its_mac_and_its_row() -> None:
    line = signed(ROW_DONE + b64(URL))
    assert line.endswith(" mac=555d16cc4c8eeda67c91441e6de19d9f")
    assert read(line) == (RowReady(2, 1001, Artifact(URL, 1234567, SHA)),)


@pytest.mark.parametrize(
    ("text", "event"),
    [
        ("@@sd1 1700000000000 start rows=4", Started()),
        ("@@sd1 2 row-start row=4 seed=4294967295", RowStarted(4, 4294967295)),
        ("@@sd1 3 row-failed row=1 rc=137", RowFailed(1, 137)),
        (
            f"@@sd1 4 grid size=9 sha256={SHA} url={b64('file:///srv/a%20b/grid.png')} rows=3",
            GridReady(Artifact("file:///srv/a%20b/grid.png", 9, SHA), 3),
        ),
        (
            f"@@sd1 4 grid size=9 sha256={SHA} url={b64('http://127.0.0.1:8080/x')} rows=4",
            GridReady(Artifact("http://127.0.0.1:8080/x", 9, SHA), 4),
        ),
        (
            "@@sd1 4 painted row=2 engine=sketch steps=50 negative=1",
            RowPainted(2, GenerationInfo("sketch", "", 50, "", negative=True)),
        ),
        (
            f"@@sd1 4 painted row=2 engine=own model={b64('a/b c')} steps=0 guidance=7.5 "
            "negative=0",
            RowPainted(2, GenerationInfo("own", "a/b c", 0, "7.5", negative=False)),
        ),
        (
            f"@@sd1 4 painted row=2 engine=own steps=7 negative=1 sampler={b64('Euler a')} "
            f"sha256={SHA}",
            RowPainted(2, GenerationInfo("own", "", 7, sampler="Euler a", model_sha256=SHA)),
        ),
        ("@@sd1 5 done ok=3 failed=1", Finished(3, 1)),
    ],
)
def test_every_kind_of_marker_makes_its_event(text: str, event: JobEvent) -> None:
    assert read(signed(text)) == (event,)


@pytest.mark.parametrize(
    "pairs",
    [
        "row=2 engine=sketch steps=50",
        "row=2 engine=sketch negative=1",
        "engine=sketch steps=50 negative=1",
        "row=5 engine=sketch steps=50 negative=1",
        "row=2 engine= steps=50 negative=1",
        "row=2 engine=a/b steps=50 negative=1",
        "row=2 engine=sketch steps=-1 negative=1",
        "row=2 engine=sketch steps=1000000 negative=1",
        "row=2 engine=sketch steps=50 negative=2",
        "row=2 engine=sketch steps=50 negative=1 guidance=much",
        "row=2 engine=sketch steps=50 negative=1 guidance=1e5",
        "row=2 engine=sketch steps=50 negative=1 model=%%%",
        f"row=2 engine=sketch steps=50 negative=1 model={b64('x' * 101)}",
        "row=2 engine=sketch steps=50 negative=1 sampler=ddim!",
        f"row=2 engine=sketch steps=50 negative=1 sampler={b64('x' * 101)}",
        f"row=2 engine=sketch steps=50 negative=1 sha256={SHA[:-1]}",
        f"row=2 engine=sketch steps=50 negative=1 sha256={SHA.upper()}",
        "row=2 engine=sketch steps=50 negative=1 mood=blue",
    ],
)
def test_an_engine_word_counts_only_if_it_is_whole(pairs: str) -> None:
    assert events(read(signed(f"@@sd1 1 painted {pairs}"))) == ()


def test_a_missing_model_fails_the_job_once_and_by_name() -> None:
    model = b64("sd-2-1")
    parsed = read(
        signed(f"@@sd1 1 model-missing row=1 model={model}"),
        signed(f"@@sd1 2 model-missing row=2 model={model}"),
        signed(f"@@sd1 3 model-missing model={model}"),
    )
    (failed,) = events(parsed)
    assert isinstance(failed, Failed)
    assert failed.cause is FailureReason.MODEL_MISSING
    assert "sd-2-1 is not installed" in failed.message
    assert len(parsed) == 3


def test_a_model_whose_file_cannot_be_used_fails_the_job_with_the_reason() -> None:
    pairs = f"model={b64('mine')} what={b64('is not the one that was chosen')}"
    (failed,) = events(read(signed(f"@@sd1 1 model-unusable {pairs}")))
    assert isinstance(failed, Failed)
    assert failed.cause is FailureReason.MODEL_MISSING
    assert failed.message == (
        "The model mine cannot be used: its file is not the one that was chosen. "
        "Choose another model, or ask a moderator."
    )
    assert events(read(signed(f"@@sd1 1 model-unusable row=1 {pairs}"))) == ()


def test_a_picture_to_start_from_that_cannot_be_used_fails_the_job_with_the_reason() -> None:
    pairs = f"what={b64('could not be downloaded')}"
    (failed,) = events(read(signed(f"@@sd1 1 input-unusable {pairs}")))
    assert isinstance(failed, Failed)
    assert failed.cause is FailureReason.FILES_MISSING
    assert failed.message == (
        "The picture to start from could not be downloaded. Please try again."
    )
    assert events(read(signed(f"@@sd1 1 input-unusable row=1 {pairs}"))) == ()


def test_what_the_workflow_cannot_do_is_told_as_text_of_the_row() -> None:
    line = signed(f"@@sd1 1 unsupported row=3 what={b64('negative prompt')}")
    assert read(line) == (LogOutput(3, "not supported here: negative prompt"),)


@pytest.mark.parametrize(
    "text",
    [
        "@@sd1 7 row-done row=2",
        "@@sd1 7 row-done row=5 seed=1 size=1 sha256=" + SHA + " url=" + b64(URL),
        "@@sd1 7 row-done row=0 seed=1 size=1 sha256=" + SHA + " url=" + b64(URL),
        "@@sd1 7 row-done row=2 seed=4294967296 size=1 sha256=" + SHA + " url=" + b64(URL),
        "@@sd1 7 row-done row=2 seed=1 size=0 sha256=" + SHA + " url=" + b64(URL),
        "@@sd1 7 row-done row=2 seed=1 size=1 sha256=" + SHA.upper() + " url=" + b64(URL),
        ROW_DONE + b64("ftp://transfer.deepsquare.run/x"),
        ROW_DONE + b64("javascript:alert(1)"),
        ROW_DONE + b64("https://host/a b"),
        ROW_DONE + b64("https://user@host/a"),
        ROW_DONE + b64("file://host/etc/passwd"),
        ROW_DONE + b64("https://host/\n"),
        ROW_DONE + b64("https://host/é"),
        ROW_DONE + b64("https://host/" + "a" * 500),
        ROW_DONE + "_not_base64_",
        ROW_DONE + "YQ",
        ROW_DONE + b64(URL) + " more=1",
        ROW_DONE + b64(URL) + " row=2",
        "@@sd1 7 row-start row=1 seed=1 seed=1",
        "@@sd1 7 row-start row= seed=1",
        "@@sd1 7 row-start seed=1",
        "@@sd1 7 row-failed row=1 rc=-1",
        "@@sd1 7 row-failed row=1 rc=256",
        "@@sd1 7 start rows=3",
        "@@sd1 7 start rows=4 row=1",
        "@@sd1 7 done ok=3 failed=2",
        "@@sd1 7 done ok=5 failed=0",
        "@@sd1 7 party",
        "@@sd1 7 model-missing row=9 model=" + b64("x"),
        "@@sd1 7 model-missing model=",
        "@@sd1 7 model-missing model=" + b64("x" * 101),
        "@@sd1 7 unsupported row=1 what=" + b64("two\nlines"),
        "@@sd1 7 unsupported row=1 what=" + base64.b64encode(b"\xff").decode(),
        "@@sd1 7  start rows=4",
        "@@sd1 start rows=4",
        "@@sd2 7 start rows=4",
    ],
)
def test_a_signed_line_that_says_something_wrongly_is_text(text: str) -> None:
    (item,) = read(signed(text))
    assert isinstance(item, LogOutput)


def test_the_longest_address_still_fits_a_marker() -> None:
    url = "https://host/".ljust(MAX_URL_LENGTH, "a")
    line = signed(
        f"@@sd1 1700000000000 row-done row=64 seed=4294967295 size=999999999999 sha256={SHA} "
        f"url={b64(url)}"
    )
    assert len(line) <= MAX_MARKER_LENGTH
    assert read(line, rows=64) == (RowReady(64, 4294967295, Artifact(url, 999999999999, SHA)),)


def test_a_line_too_long_for_a_marker_is_text() -> None:
    (item,) = read(signed(f"@@sd1 1 done ok={'0' * MAX_MARKER_LENGTH} failed=0"))
    assert isinstance(item, LogOutput)


@pytest.mark.parametrize(
    "dress",
    [
        "x{}",
        " {}",
        "{} ",
        "{}.",
        "\r{}",
        "{}\r",
        "[row 2] {}",
        "\x1b[0m{}",
        "{} {}",
        "Input: {}",
    ],
)
def test_a_marker_with_anything_around_it_is_text(dress: str) -> None:
    line = signed("@@sd1 1 row-failed row=2 rc=1")
    assert events(read(dress.replace("{}", line))) == ()


def test_another_jobs_key_and_a_missing_mac_are_text() -> None:
    text = "@@sd1 1 row-failed row=2 rc=1"
    assert read(sign_marker(b"another", text)) == (LogOutput(None, sign_marker(b"another", text)),)
    assert read(text) == (LogOutput(None, text),)


@st.composite
def mutated(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A valid line, and the same with bytes changed, inserted or removed (never a newline)."""
    line = signed(
        draw(
            st.sampled_from(
                [
                    "@@sd1 1 start rows=4",
                    "@@sd1 2 row-start row=1 seed=7",
                    ROW_DONE + b64(URL),
                    "@@sd1 3 row-failed row=1 rc=1",
                    "@@sd1 5 done ok=3 failed=1",
                ]
            )
        )
    ).encode()
    changed = bytearray(line)
    byte = st.integers(0, 255).filter(lambda value: value != 10)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(changed)))
        match draw(st.sampled_from(["insert", "replace", "remove"])):
            case "insert":
                changed.insert(place, draw(byte))
            case "replace" if place < len(changed):
                changed[place] = draw(byte)
            case _:
                del changed[place : place + draw(st.integers(1, 8))]
    return line, bytes(changed)


@settings(max_examples=150, deadline=None)
@given(mutated())
def test_a_changed_marker_changes_nothing(case: tuple[bytes, bytes]) -> None:
    line, changed = case
    assert events(read(changed)) == (events(read(line)) if changed == line else ())


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200))
def test_no_text_at_all_forges_a_fact(text: str) -> None:
    lines = [text, f"@@sd1 1 {text}", f"{text} mac={'0' * 32}", f"[row 1] {text}"]
    for event in events(read(*(line.encode("utf-8", "replace") for line in lines))):
        assert isinstance(event, RowProgress | Started)
