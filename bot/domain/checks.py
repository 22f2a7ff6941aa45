"""Result of one check of ``gridbrush check``, shared by all packages."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Outcome of one check; ``hint`` says how to fix it if it is not ``ok``."""

    name: str
    ok: bool
    detail: str
    hint: str = ""
