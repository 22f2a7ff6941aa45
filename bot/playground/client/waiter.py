"""Waiting for something to become true of the world, without looking again and again.

It is woken by the realm's events and checks then; nothing polls and nothing sleeps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from bot.playground.state.guild import Event
from bot.playground.state.world import World

Value = TypeVar("Value")


class ConditionWaiter:
    """Holds everyone who waits for a condition of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._waiting: set[asyncio.Event] = set()
        world.listeners.append(self._wake)

    def _wake(self, _event: Event) -> None:
        self.notify()

    def notify(self) -> None:
        """Let every condition be looked at again; needed only for changes the world cannot see."""
        for waiting in self._waiting:
            waiting.set()

    async def until(
        self, condition: Callable[[World], Value | None], *, within: float = 10.0
    ) -> Value:
        """Return the condition's value once it is truthy; TimeoutError after ``within`` seconds.

        An exception of the condition ends the wait.
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
