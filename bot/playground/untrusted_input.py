"""What a stranger may send: JSON that is read with bounds, and the names a server is called by.

Standard library only; it knows no route and raises nothing but ValueError.
"""

from __future__ import annotations

import ipaddress
import json
import math
import re
from collections.abc import Collection
from typing import Any, Never
from urllib.parse import urlsplit

MAX_DEPTH = 64
"""Lists and objects inside each other; Discord's own bodies are far flatter."""
# Brackets, and strings as a whole, so that brackets inside them are not seen.
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)


def parse_json(text: str | bytes) -> Any:
    """Return what a JSON text says.

    Raises ValueError for broken JSON, broken UTF-8, half characters (lone surrogates), numbers
    that JSON does not have or that no double holds, and for more than ``MAX_DEPTH`` levels.
    """
    if isinstance(text, bytes):
        text = text.decode()
    # Before parsing: a library may have raised Python's limit of recursion so far that the parser
    # would overflow the stack and crash the program.
    _check_depth(text)
    value = json.loads(text, parse_constant=_refuse_constant)
    _check_values(value)
    return value


def _check_depth(text: str) -> None:
    depth = 0
    for token in _BRACKETS.finditer(text):
        if token[0] in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError("the JSON is nested too deeply")
        elif token[0] in "]}":
            depth -= 1


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"{name} is no JSON")


def _check_values(value: Any) -> None:
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, str):
            found.encode()  # UnicodeEncodeError is a ValueError
        elif isinstance(found, float) and not math.isfinite(found):
            raise ValueError("a number is too large")
        elif isinstance(found, list):
            waiting += found
        elif isinstance(found, dict):
            waiting += (*found, *found.values())


def host_name(host: str) -> str | None:
    """Return the name in a Host header or authority, lower case, or None if it is malformed."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def is_loopback(name: str) -> bool:
    """Whether a name or address means this machine and nobody's name server decides it."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def may_be_called(host: str | None, reached_at: str, names: Collection[str]) -> bool:
    """Whether a request for ``host`` may be answered that reached the address ``reached_at``.

    A web page can point its own name at 127.0.0.1 and then call what listens there (DNS
    rebinding), so on a loopback address only loopback's names and ``names`` are answered.
    Without a Host header it is no browser that calls.
    """
    if host is None or not is_loopback(reached_at):
        return True
    name = host_name(host)
    return name is not None and (is_loopback(name) or name in names)
