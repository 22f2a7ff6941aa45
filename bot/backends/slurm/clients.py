"""Slurm's client programs as coroutines: started, waited for, their failures given our names.

While the controller is away each of them blocks for 9 s, so threads of their own wait for them,
not the event loop, nor the threads that everything else needs. It knows which failures pass and
which stay; what is asked is the callers' business.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from bot.domain.errors import SubmissionRejected, Unavailable

MOST_AT_ONCE = 32

# Failures that pass by themselves. Whatever else a client says is about the request.
_PASSING = re.compile(
    "unable to contact|connect(ion)? (failure|refused|timed out|reset)|socket timed out"
    "|zero bytes|temporarily|communication|standby|configuration source|authentication"
    "|not responding|try again|message (receive|send) failure|insane message"
    "|max[a-z]*submit|unexpected message",
    re.IGNORECASE,
)


class Clients:
    """Runs the programs in one environment; gives each up after ``seconds``."""

    def __init__(self, environment: Mapping[str, str], seconds: float) -> None:
        self._environment = dict(environment)
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="slurm")

    async def ask(self, program: str, *arguments: str) -> str:
        """What the program prints.

        Raises Unavailable if it is not installed, takes too long or cannot reach the controller,
        and SubmissionRejected, with what it said, if it fails for any other reason.
        """
        code, out, err = await self._run(program, arguments)
        if code == 0:
            return out
        said = " ".join(f"{err} {out}".split()) or f"exit status {code}"
        if _PASSING.search(said):
            raise Unavailable(f"{program}: {said[:300]}")
        raise SubmissionRejected(f"{program}: {said[:300]}")

    def close(self) -> None:
        """Let go of the threads: each still sees the end of its program, most of them killed."""
        self._threads.shutdown(wait=False)

    async def _run(self, program: str, arguments: tuple[str, ...]) -> tuple[int, str, str]:
        process = self._start(program, arguments)
        loop = asyncio.get_running_loop()
        waiting = loop.run_in_executor(self._threads, process.communicate)
        try:
            out, err = await asyncio.wait_for(asyncio.shield(waiting), self._seconds)
        except TimeoutError as error:
            raise Unavailable(f"{program} did not answer within {self._seconds:g} s") from error
        finally:
            if not waiting.done():
                process.kill()
        return process.returncode, out, err

    def _start(self, program: str, arguments: tuple[str, ...]) -> subprocess.Popen[str]:
        """Start it; this takes a millisecond or two.

        Not by asyncio: in Python 3.11 its wait for a program that is cancelled while it starts
        never ends.
        """
        try:
            return subprocess.Popen(
                (program, *arguments),
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise Unavailable(f"{program} cannot be started: {error.strerror}") from error
