"""JSON that others wrote: parsed like json.loads, but for what would fail later."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bot.domain.json_parser import MAX_DEPTH, parse_json

DEEP = 100_000


@pytest.mark.parametrize(
    "text",
    [
        '{"a": [1, -2.5e3, true, null, "é", "\\u00e9"]}',
        "[" * MAX_DEPTH + "]" * MAX_DEPTH,
        "[" + "[],{}," * 500 + "[]]",
        '"' + "[" * 500 + '"',
        '["\\"' + "{" * 500 + '"]',
        '"\\ud83e\\udd8a"',
        "3",
    ],
)
def test_what_is_json_is_parsed(text: str) -> None:
    assert parse_json(text) == json.loads(text)
    assert parse_json(text.encode()) == json.loads(text)
    assert parse_json(b"\xef\xbb\xbf" + text.encode()) == json.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>",
        b"\xff",
        "NaN",
        "[-Infinity]",
        "1e999",
        '"\\ud800"',
        '["\\uDC00x"]',
        '"\ud800"',
        "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1),
        "[" * DEEP,
        '{"a":' * DEEP,
        "[{},[]," * DEEP,
        b"[" * DEEP,
        '"' * 3 + "[" * DEEP,
        "9" * 5000,
    ],
    ids=lambda text: str(text[:12]),
)
def test_everything_else_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_json(text)


def test_deep_nesting_is_refused_however_far_python_may_recurse() -> None:
    """Run in a separate process: a failure overflows the stack and kills it."""
    program = (
        "import sys; sys.setrecursionlimit(10**6)\n"
        "from bot.domain.json_parser import parse_json\n"
        "try:\n    parse_json('[' * 10**6)\n"
        "except ValueError:\n    print('refused')\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, b"refused\n")
