"""What a check has found: good or bad, and how to mend it. Every room's check speaks in these."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One thing that was checked; ``mend`` says what to do if it is not ``ok``."""

    name: str
    ok: bool
    detail: str
    hint: str = ""
