"""Run a coroutine so that SIGTERM cancels it, and it can withdraw what it started elsewhere."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run_until_terminated(main: Coroutine[Any, Any, T]) -> T:
    """Return the coroutine's result. Raises SystemExit with status 143 after SIGTERM.

    A second SIGTERM changes nothing: the shell of a job sends it to all processes, too. Outside the
    main thread signals are left alone.
    """
    terminated = False

    async def watched() -> T:
        task = asyncio.current_task()
        assert task is not None

        def cancel() -> None:
            nonlocal terminated
            if not terminated:
                terminated = True
                task.cancel()

        if threading.current_thread() is threading.main_thread():
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, cancel)
        return await main

    try:
        return asyncio.run(watched())
    except asyncio.CancelledError:
        if terminated:
            raise SystemExit(128 + signal.SIGTERM) from None
        raise
