"""What Discord can do to a first answer, by name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from bot.playground.rest.faults import Faults

CALLBACK = r"/callback$"
MANY = 50

FAULTS: dict[str, Callable[[Faults], Any]] = {
    "blocked by a filter": lambda to: to.answer("POST", CALLBACK, 400, code=240000),
    "an invalid form": lambda to: to.answer("POST", CALLBACK, 400, code=50035),
    "refused in all forms": lambda to: to.answer("POST", CALLBACK, 400, code=50035, times=MANY),
    "too late": lambda to: to.refuse("POST", CALLBACK, 10062, times=MANY),
    "500 before": lambda to: to.answer("POST", CALLBACK, 500),
    "500 after": lambda to: to.answer("POST", CALLBACK, 500, carried_out=True),
    "cut before": lambda to: to.drop("POST", CALLBACK),
    "cut after": lambda to: to.drop("POST", CALLBACK, carried_out=True),
    "cut for long": lambda to: to.drop("POST", CALLBACK, times=MANY),
    "429 without Via": lambda to: to.rate_limit("POST", CALLBACK, 1, via=False),
    "429 without Via for long": lambda to: to.rate_limit("POST", CALLBACK, 1, via=False, times=20),
    "no answer": lambda to: to.hold("POST", CALLBACK),
    "no answer after": lambda to: to.hold("POST", CALLBACK, carried_out=True),
}


async def quick(seconds: float) -> None:
    """A pause that only lets others have their turn."""
    await asyncio.sleep(0)
