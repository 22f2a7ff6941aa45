"""Parse JSON that others wrote: answers of services, output of programs, files of users.

``json.loads`` is for what the bot itself has written.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, Never

MAX_DEPTH: Final = 100
"""Maximum nesting of lists and objects; what the bot reads needs less than ten."""

# Brackets, and whole strings, so that brackets inside strings are not counted.
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)
_SURROGATE = re.compile(r"\\ud[89a-f]|[\ud800-\udfff]", re.IGNORECASE)


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text, in UTF-8 if it is bytes.

    Raises ValueError for anything that is no JSON (RFC 8259: neither NaN nor Infinity), and for
    what would fail later: more than ``MAX_DEPTH`` levels, numbers that overflow a double, lone
    surrogates.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")
    # Before parsing: where a library has raised Python's recursion limit, as py_ecc does, the
    # parser would overflow the C stack, which ends the process.
    _check_depth(text)
    value = json.loads(text, parse_constant=_reject_constant, parse_float=_parse_float)
    if _SURROGATE.search(text):
        json.dumps(value, ensure_ascii=False).encode()  # UnicodeEncodeError is a ValueError
    return value


def _check_depth(text: str) -> None:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for token in _BRACKETS.finditer(text):
        if token[0] in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError("the JSON is nested too deeply")
        elif token[0] in "]}":
            depth -= 1


def _parse_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _reject_constant(name: str) -> Never:
    raise ValueError(f"{name} is not JSON")
