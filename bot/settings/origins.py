"""Where each value was written: a line of a TOML file, an environment variable, or nowhere.

A trail is the tuple of names from the top, ``("backend", "local", "tasks")``. This module parses
TOML only to find lines; what a value means is not its business.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

KeyPath: TypeAlias = tuple[str, ...]

PREFIX = "GRIDBRUSH_"
DELIMITER = "__"


def quoted(text: str) -> str:
    """``text`` as a TOML basic string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def key_name(trail: KeyPath) -> str:
    """The key as a reader of the file looks for it: ``[backend.local] tasks``, ``[queue]``."""
    if len(trail) < 2:
        return f"[{'.'.join(trail)}]"
    return f"[{'.'.join(trail[:-1])}] {trail[-1]}"


def variable_name(trail: KeyPath) -> str:
    """The environment variable that sets the value: ``GRIDBRUSH_BACKEND__LOCAL__TASKS``."""
    return PREFIX + DELIMITER.join(trail).upper()


@dataclass(frozen=True, slots=True)
class TomlDocument:
    """A configuration file that has been read: its name as the operator knows it, and its text."""

    name: str
    text: str = field(repr=False)
    values: Mapping[str, object] = field(repr=False)

    def holds(self, trail: KeyPath) -> bool:
        """Whether the file itself writes this value."""
        return _holds(self.values, trail)

    def value(self, trail: KeyPath) -> object:
        """What the file itself writes there, None if nothing."""
        found: object = self.values
        for name in trail:
            found = found.get(name) if isinstance(found, Mapping) else None
        return found

    def line(self, trail: KeyPath) -> int | None:
        """The line (from 1) on which the value is written, None if it cannot be told.

        The value stands on the line that makes it appear when the file is read only up to there,
        which is true for dotted keys, inline tables and text over several lines alike.
        """
        lines = re.split(r"(?<=\n)", self.text)
        for start, line in enumerate(lines):
            if trail[-1] not in line:
                continue
            before = _parsed(lines[:start])
            if before is None or _holds(before, trail):
                continue  # inside a value that began earlier, or the key is spelt with escapes
            ends = range(start + 1, len(lines) + 1)
            end = next((end for end in ends if _parsed(lines[start:end]) is not None), start)
            if _holds(_parsed(lines[:end]), trail):
                return start + 1
        return None


@dataclass(frozen=True, slots=True)
class ValueOrigins:
    """Which variable set which value, and the file behind them; variables win."""

    variables: Mapping[KeyPath, str]
    document: TomlDocument | None = None

    def variable(self, trail: KeyPath) -> str | None:
        """The variable that set this value or, as JSON, the table it stands in."""
        for length in range(len(trail), 0, -1):
            if trail[:length] in self.variables:
                return self.variables[trail[:length]]
        return None

    def source(self, trail: KeyPath) -> str:
        """``DISCORD_TOKEN``, ``config.toml:12``, or ``default``."""
        variable = self.variable(trail)
        if variable is not None:
            return variable
        if self.document is not None and self.document.holds(trail):
            line = self.document.line(trail)
            return self.document.name if line is None else f"{self.document.name}:{line}"
        return "default"

    def where(self, trail: KeyPath) -> str:
        """The place as an error names it: the variable, or file, line, section and key."""
        source = self.source(trail)
        if source == "default":
            return key_name(trail)
        # A variable names its key, unless it holds a whole section as JSON.
        if self.variable(trail) and source.upper().endswith(f"_{trail[-1].upper()}"):
            return source
        return f"{source}: {key_name(trail)}"


def _holds(values: object, trail: KeyPath) -> bool:
    for name in trail:
        if not isinstance(values, Mapping) or name not in values:
            return False
        values = values[name]
    return True


def _parsed(lines: list[str]) -> dict[str, object] | None:
    try:
        return tomllib.loads("".join(lines))
    except tomllib.TOMLDecodeError:
        return None
