"""Parse JSON of bounded depth and check host names, for input from untrusted clients.

Only the standard library is used; invalid input raises ValueError.
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
"""Maximum nesting of lists and objects; Discord's own bodies need much less."""
# Brackets, and whole strings, so that brackets inside strings are not counted.
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises ValueError for invalid JSON or UTF-8, lone surrogates, NaN and infinity, numbers that
    overflow a double, and more than ``MAX_DEPTH`` levels.
    """
    if isinstance(text, bytes):
        text = text.decode()
    # Before parsing: some libraries raise Python's recursion limit so far that the parser would
    # overflow the stack and crash the process.
    _validate_depth(text)
    value = json.loads(text, parse_constant=_reject_constant)
    _validate_values(value)
    return value


def _validate_depth(text: str) -> None:
    depth = 0
    for token in _BRACKETS.finditer(text):
        if token[0] in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError("the JSON is nested too deeply")
        elif token[0] in "]}":
            depth -= 1


def _reject_constant(name: str) -> Never:
    raise ValueError(f"{name} is not JSON")


def _validate_values(value: Any) -> None:
    pending = [value]
    while pending:
        found = pending.pop()
        if isinstance(found, str):
            found.encode()  # UnicodeEncodeError is a ValueError
        elif isinstance(found, float) and not math.isfinite(found):
            raise ValueError("a number is too large")
        elif isinstance(found, list):
            pending += found
        elif isinstance(found, dict):
            pending += (*found, *found.values())


def host_name(host: str) -> str | None:
    """Return the lower-case name in a Host header, or None if it is malformed."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def is_loopback(name: str) -> bool:
    """Return whether a name or address is loopback without asking a name server."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_allowed_host(host: str | None, reached_at: str, names: Collection[str]) -> bool:
    """Return whether to serve a request for ``host`` that reached the address ``reached_at``.

    A web page can point its own name at 127.0.0.1 and then send requests to local servers (DNS
    rebinding), so on a loopback address only loopback names and ``names`` are served. Browsers
    always send a Host header, so a request without one is allowed.
    """
    if host is None or not is_loopback(reached_at):
        return True
    name = host_name(host)
    return name is not None and (is_loopback(name) or name in names)
