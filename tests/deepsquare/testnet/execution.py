"""One job script running on this machine, as Slurm would run it: a time limit, a way to stop it.

Its output goes line by line to whoever wants it. It knows nothing of jobs on a chain.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GRACE_SECONDS = 3.0
EXIT = "exit"
LIMIT = "limit"


@dataclass(frozen=True, slots=True)
class Ended:
    """``code`` is the raw wait status, ``cause`` EXIT, LIMIT or what ``stop`` was told."""

    code: int
    cause: str


class Execution:
    """A script in its own folder; ``run`` it once."""

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        say: Callable[[bytes], None],
        limit_seconds: float,
    ) -> None:
        self._folder = folder
        self._environment = environment
        self._say = say
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + limit_seconds
        self._stopping: asyncio.Future[str] = self._loop.create_future()

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stopping.done()

    def stop(self, cause: str) -> None:
        """End it before its time."""
        if not self._stopping.done():
            self._stopping.set_result(cause)

    def extend(self, seconds: float) -> None:
        """Move the time limit."""
        self._deadline += seconds

    async def idle(self) -> Ended:
        """Do nothing until the time limit or a stop."""
        cause = await self._over(self._loop.create_future())
        return Ended(15, cause)

    async def run(self, script: str) -> Ended:
        """Run the script to its end, or to the limit, and leave no process behind."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / "script.sh"
        path.write_text(script, encoding="utf-8")
        process = await asyncio.create_subprocess_exec(
            *("bash", str(path)),
            cwd=self._folder,
            env=dict(self._environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        assert process.stdout is not None
        relay = asyncio.create_task(self._relay(process.stdout))
        ended = asyncio.create_task(process.wait())
        try:
            cause = await self._over(ended)
            if cause != EXIT:
                _signal(process.pid, signal.SIGTERM)
                await asyncio.wait({ended}, timeout=GRACE_SECONDS)
        finally:
            # What outlives the batch script dies with it, as it does under Slurm.
            _signal(process.pid, signal.SIGKILL)
            code = await ended
            await relay
        return Ended(-code if code < 0 else code << 8, cause)

    async def _over(self, ended: asyncio.Future[int]) -> str:
        while not ended.done():
            left = self._deadline - self._loop.time()
            if left <= 0:
                return LIMIT
            either: set[asyncio.Future[Any]] = {ended, self._stopping}
            await asyncio.wait(either, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if self._stopping.done() and not ended.done():
                return self._stopping.result()
        return EXIT

    async def _relay(self, output: asyncio.StreamReader) -> None:
        rest = b""
        while data := await output.read(1 << 16):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._say(line)
        if rest:
            self._say(rest)


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)
