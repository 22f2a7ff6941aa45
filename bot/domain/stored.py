"""Typed reading of what was stored as JSON: the value at a key, or a ValueError that names it.

It knows nothing of what the record is; that is for the type which reads itself from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class JsonReader:
    """One JSON object; ``name`` says in errors what it was meant to be."""

    name: str
    data: Mapping[str, object]

    def text(self, key: str) -> str:
        """The string at ``key``."""
        return self._value(key, str)

    def number(self, key: str) -> int:
        """The integer at ``key``."""
        return self._value(key, int)

    def object(self, key: str) -> JsonReader:
        """The object at ``key``."""
        return JsonReader(f"{self.name}.{key}", self._value(key, dict))

    def _value(self, key: str, kind: type[Value]) -> Value:
        value = self.data.get(key)
        # Not isinstance: True is an int to Python, but it is no number of rows.
        if type(value) is not kind:
            raise ValueError(f"{self.name}: {key} is {value!r}, not of type {kind.__name__}")
        return value
