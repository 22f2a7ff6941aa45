"""What a stranger may send: JSON that is read with bounds, and the names a server is called by.

Standard library only; it knows no route and raises nothing but ValueError.
"""

from __future__ import annotations

import ipaddress
import json
import math
from collections.abc import Collection
from typing import Any, Never
from urllib.parse import urlsplit

MAX_DEPTH = 64
"""Lists and objects inside each other; Discord's own bodies are far flatter."""


def parse_json(text: str | bytes) -> Any:
    """Return what a JSON text says.

    Raises ValueError for broken JSON, broken UTF-8, half characters (lone surrogates), numbers
    that JSON does not have or that no double holds, and for more than ``MAX_DEPTH`` levels.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode()
        value = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error
    _check(value)
    return value


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"{name} is no JSON")


def _check(value: Any) -> None:
    waiting = [(value, 0)]
    while waiting:
        found, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise ValueError("the JSON is nested too deeply")
        if isinstance(found, str):
            found.encode()  # UnicodeEncodeError is a ValueError
        elif isinstance(found, float) and not math.isfinite(found):
            raise ValueError("a number is too large")
        elif isinstance(found, list):
            waiting += ((inner, depth + 1) for inner in found)
        elif isinstance(found, dict):
            waiting += ((inner, depth + 1) for pair in found.items() for inner in pair)


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
