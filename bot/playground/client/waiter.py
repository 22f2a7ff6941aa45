"""Wait for conditions of a world, which are evaluated after each event, without polling."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from bot.playground.state.guild import Event
from bot.playground.state.world import World

Value = TypeVar("Value")


class ConditionWaiter:
    """Wait for conditions of one world; many tasks can wait at once."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._waiting: set[asyncio.Event] = set()
        world.listeners.append(self._wake)

    def _wake(self, _event: Event) -> None:
        self.notify()

    def notify(self) -> None:
        """Evaluate all conditions again; needed only after changes without an event."""
        for waiting in self._waiting:
            waiting.set()

    async def until(
        self, condition: Callable[[World], Value | None], *, within: float = 10.0
    ) -> Value:
        """Return the value of ``condition`` as soon as it is truthy.

        Raises TimeoutError after ``within`` seconds, and what ``condition`` raises.
        """
        woken = asyncio.Event()
        self._waiting.add(woken)
        try:
            async with asyncio.timeout(within):
                while True:
                    value = condition(self._world)
                    if value:
                        return value
                    await woken.wait()
                    woken.clear()
        finally:
            self._waiting.discard(woken)
