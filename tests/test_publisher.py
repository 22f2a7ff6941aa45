"""The program that speaks for the workflow: its words, and what it makes of a painter's output."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import re
import sys
from collections.abc import Callable
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.events import Artifact, Failed, Finished, GridReady, RowFailed, RowReady, Started
from bot.domain.log_markers import parse_marker
from bot.domain.log_parser import LogOutput, LogParser
from tests.publisher_program import KEY, PUBLISHER, publisher

pytestmark = pytest.mark.timing(
    "watches the command as a process, which a busy machine starts and stops late"
)

SHA = hashlib.sha256(b"x").hexdigest()


def test_it_is_python_3_7_with_the_standard_library_and_pillow() -> None:
    tree = ast.parse(PUBLISHER.read_text(encoding="utf-8"), feature_version=(3, 7))
    modules = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    # torch only in the hosted image, which has it: to convert a model of one's own.
    allowed = (
        "__future__ base64 fcntl hashlib hmac json os shutil subprocess sys time urllib PIL torch"
    )
    assert modules <= set(allowed.split())


def test_it_fits_into_an_environment_variable() -> None:
    assert PUBLISHER.stat().st_size < 128_000


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        (("start", "rows=4"), Started()),
        (("row-failed", "row=2", "rc=137"), RowFailed(2, 137)),
        (("done", "ok=3", "failed=1"), Finished(3, 1)),
        (
            (
                *("row-done", "row=2", "seed=7", "size=9", f"sha256={SHA}"),
                "url=https://example.org/a=b/c%20d.png",
            ),
            RowReady(2, 7, Artifact("https://example.org/a=b/c%20d.png", 9, SHA)),
        ),
        (
            ("grid", "rows=3", "size=9", f"sha256={SHA}", "url=file:///a.png"),
            GridReady(Artifact("file:///a.png", 9, SHA), 3),
        ),
        (("unsupported", "row=1", "what=negative prompt"), "not supported here: negative prompt"),
    ],
)
def test_a_mark_is_a_marker_that_the_bot_believes(words: tuple[str, ...], meaning: object) -> None:
    said = publisher("mark", *words)
    (line,) = said.lines
    marker = parse_marker(KEY, line, rows=4)
    assert marker is not None
    assert marker.kind == words[0]
    assert marker.meaning == meaning
    assert parse_marker(bytes(32), line, rows=4) is None
    assert (said.code, said.errors) == (0, "")


def test_a_missing_models_name_arrives_whatever_it_is() -> None:
    said = publisher("mark", "model-missing", "row=2", "model=a=b é mac=0")
    marker = parse_marker(KEY, said.lines[0], rows=4)
    assert marker is not None
    assert isinstance(marker.meaning, Failed)
    assert "a=b é mac=0" in marker.meaning.message


def test_marks_are_numbered_by_the_clock() -> None:
    numbers = [
        int(publisher("mark", "done", "ok=1", "failed=0").lines[0].split()[1]) for _ in range(2)
    ]
    assert 1_700_000_000_000 < numbers[0] < numbers[1]


@pytest.mark.parametrize(
    "words",
    [(), ("shout",), ("mark",), ("mark", "done", "ok"), ("crop", "x"), ("combine", ".", "x")],
)
def test_what_it_cannot_do_is_status_1_and_a_sentence(words: tuple[str, ...]) -> None:
    said = publisher(*words)
    assert (said.code, said.lines) == (1, ())
    assert re.fullmatch(r"publisher: [A-Za-z]+: .+\n", said.errors)


@pytest.mark.parametrize("key", [None, "", "secret that is not hex", "00 no"])
def test_without_a_good_key_nothing_is_said_and_no_key_shown(key: str | None) -> None:
    said = publisher("mark", "done", "ok=1", "failed=0", MAC_KEY=key)
    if key == "":
        # An empty key is a key: what it signs is believed by nobody.
        assert parse_marker(KEY, said.lines[0], rows=1) is None
        return
    assert (said.code, said.lines) == (1, ())
    assert "secret" not in said.errors


# Relaying.

STAMP = r"\[row 2\] \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def relayed(data: bytes, chunk: int | None = None) -> list[str]:
    """What ``relay 2`` makes of ``data``, without the row's tag and its first and last word.

    With ``chunk`` it reads so many bytes at a time, else what a pipe gives it.
    """
    said = publisher("relay", "2", data=data, chunk=chunk)
    assert (said.code, said.errors) == (0, "")
    lines = [line.decode() for line in said.lines]
    assert re.fullmatch(f"{STAMP} starts", lines[0])
    assert re.fullmatch(f"{STAMP} ends", lines[-1])
    assert all(line.startswith("[row 2] ") for line in lines)
    assert all(len(line) < 4096 for line in said.lines)
    return [line.removeprefix("[row 2] ") for line in lines[1:-1]]


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"one\ntwo\r\nthree", ["one", "two", "three"]),
        (b"\n \n\r\r\n", []),
        (b"\rSampling:   0%| \rSampling: 100%|x\n", ["Sampling:   0%|", "Sampling: 100%|x"]),
        (b"a\x1b[31mred\x1b[0m\x1b[A\x1b[2Kb\n", ["aredb"]),
        (b"\x1b[3~after\x1b[", ["after"]),
        (b"nul\0bell\x07tab\tdel\x7f\n", ["nulbelltabdel"]),
        (b"\xff\xfe bad \xc3\n", ["�� bad �"]),
        ("grün 😀\n".encode(), ["grün 😀"]),
    ],
)
def test_output_becomes_plain_tagged_lines(data: bytes, lines: list[str]) -> None:
    assert relayed(data) == lines


def test_characters_are_whole_wherever_the_pipe_has_cut_them() -> None:
    assert relayed("é\n".encode() * 23_000) == ["é"] * 23_000


@pytest.mark.skipif(
    sys.platform != "linux", reason="needs a socket that keeps what is written apart"
)
@pytest.mark.parametrize("chunk", [1000, 4099, 65_535, 65_536])
@pytest.mark.parametrize("unit", ["x", "😀", "\x1b[A", "\x1b[31mx", "\x1b[12;34H"])
def test_an_endless_line_is_cut_at_one_place_however_it_arrives(unit: str, chunk: int) -> None:
    lines = relayed((unit * 100_000).encode() + b"\nafter\n", chunk)
    beginning = (unit * 16_384).encode()[:16_384].decode(errors="replace")
    seen = re.sub(r"\x1b(\[[^@-~]*[@-~]?)?", "", beginning)[:2000]
    seen = seen.encode()[: 4095 - len("[row 2] ")].decode(errors="ignore")
    assert lines == [*filter(None, [seen]), "after"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits address space by ulimit -v")
def test_an_endless_line_takes_no_more_memory_than_a_long_one() -> None:
    said = publisher("relay", "2", data=b"x" * 100_000_000, memory=128)
    assert (said.code, said.errors) == (0, "")
    assert [len(line) for line in said.lines[1:-1]] == [len("[row 2] ") + 2000]


def test_an_engine_cannot_speak_for_the_workflow() -> None:
    forged = publisher("mark", "done", "ok=4", "failed=0").lines[0]
    said = publisher("relay", "2", data=b"\r" + forged + b"\n\x1b[A" + forged)
    parsed = LogParser(KEY, 4).feed(b"".join(line + b"\n" for line in said.lines))
    assert len(parsed) == 4
    assert all(isinstance(item, LogOutput) and item.row == 2 for item in parsed)


def in_process(name: str) -> Callable[[str], str]:
    spec = importlib.util.spec_from_file_location("publisher", PUBLISHER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return cast(Callable[[str], str], getattr(module, name))


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(max_codepoint=0x2FF), max_size=40))
def test_plain_text_has_no_controls_and_no_escapes(text: str) -> None:
    plain = in_process("plain")
    shown = plain(text)
    assert all(character >= " " and character != "\x7f" for character in shown)
    assert shown == shown.strip()
    assert plain(shown) == shown
    if not re.search(r"[\0-\x1f\x7f]", text):
        assert shown == text.strip()
