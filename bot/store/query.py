"""A question to the database as a value: SQL, parameters, and the shape of the answer.

The same question can be put inside a write transaction (``query.on(connection)``), where a decision
depends on it, or outside on the reading connection (``await database.read(query)``).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

Result = TypeVar("Result")
Value: TypeAlias = str | bytes | int | float | None


@dataclass(frozen=True, slots=True)
class Query(Generic[Result]):
    """``shape`` turns all rows into the answer; it may run in any thread, so it must be pure."""

    sql: str
    parameters: tuple[Value, ...]
    map_rows: Callable[[Sequence[sqlite3.Row]], Result]

    def run(self, connection: sqlite3.Connection) -> Result:
        """The answer as seen from inside the transaction that ``connection`` is in."""
        return self.map_rows(connection.execute(self.sql, self.parameters).fetchall())


def placeholders(count: int) -> str:
    """So many placeholders for an ``IN`` list: ``?, ?, ?``."""
    return ", ".join("?" * count)
