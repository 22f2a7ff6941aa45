"""Be the worker of a socket: at most one process at a time, and nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from bot.txt2img.engines.worker.place import short_path
from bot.txt2img.engines.worker.server import WorkerServer


def serve(path: Path, make: Callable[[], WorkerServer]) -> int:
    """Serve the socket until the worker ends; return 0. Returns at once if another one serves it.

    ``make`` is called within the event loop.
    """
    os.umask(0o077)
    with path.with_name(f"{path.name}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        # Whoever held the lock before is gone: what lies there is left from a killed worker.
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            with short_path(path) as name:
                listener.bind(name)
            path.chmod(0o600)
            listener.listen(128)  # before anything slow: rows that find it wait, and start none
            try:
                asyncio.run(_run(make, listener))
            finally:
                path.unlink(missing_ok=True)
    return 0


async def _run(make: Callable[[], WorkerServer], listener: socket.socket) -> None:
    server = make()
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ValueError, RuntimeError):  # not in the main thread
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, server.stop)
    await server.run(listener)
