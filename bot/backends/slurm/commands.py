"""Run Slurm's client programs as coroutines and map their failures to BackendErrors.

While the controller is down each of them blocks for 9 s, so threads of their own wait for them,
and ``scontrol ping``, which knows at once, runs beside whatever does not answer.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import subprocess
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from bot.domain.errors import SubmissionRejected, Unavailable

MAX_CONCURRENT_COMMANDS = 32
PING_SECONDS = (0.5, 2.0)
"""Seconds without an answer before the controller is pinged; the last one repeats."""

# Failures that pass by themselves. Any other message is about the request.
_TRANSIENT_ERRORS = re.compile(
    "unable to contact|connect(ion)? (failure|refused|timed out|reset)|socket timed out"
    "|zero bytes|temporarily|communication|standby|configuration source|authentication"
    "|not responding|try again|message (receive|send) failure|insane message"
    "|max[a-z]*submit|unexpected message|can't be reached",
    re.IGNORECASE,
)


class SlurmCommands:
    """Run the programs in one environment; each is killed after ``seconds``."""

    def __init__(self, environment: Mapping[str, str], seconds: float) -> None:
        self._environment = dict(environment)
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(MAX_CONCURRENT_COMMANDS, thread_name_prefix="slurm")

    async def run(self, program: str, *arguments: str) -> str:
        """Run a program and return what it prints.

        Raises Unavailable if it is not installed, takes too long or cannot reach the controller,
        and SubmissionRejected, with its output, if it fails for any other reason.
        """
        code, out, err = await self._run(program, arguments)
        if code == 0:
            return out
        output = " ".join(f"{err} {out}".split()) or f"exit status {code}"
        if _TRANSIENT_ERRORS.search(output):
            raise Unavailable(f"{program}: {output[:300]}")
        raise SubmissionRejected(f"{program}: {output[:300]}")

    def close(self) -> None:
        """Release the threads; each still waits for its program, most of which are killed."""
        self._threads.shutdown(wait=False)

    async def _run(self, program: str, arguments: tuple[str, ...]) -> tuple[int, str, str]:
        process = self._start(program, arguments)
        communicating = self._communicate(process)
        cluster_args = [word for word in arguments if word.startswith("--clusters=")]
        deadline = time.monotonic() + self._seconds
        try:
            for pause in itertools.chain(PING_SECONDS, itertools.repeat(PING_SECONDS[-1])):
                left = deadline - time.monotonic()
                await asyncio.wait({communicating}, timeout=min(pause, left))
                if communicating.done():
                    break
                if left <= pause:
                    raise Unavailable(f"{program} did not answer within {self._seconds:g} s")
                if await self._is_controller_down(cluster_args, communicating):
                    raise Unavailable(f"{program}: the Slurm controller is down")
            out, err = communicating.result()
        finally:
            if not communicating.done():
                process.kill()
        return process.returncode, out, err

    def _communicate(self, process: subprocess.Popen[str]) -> asyncio.Future[tuple[str, str]]:
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._threads, process.communicate)

    async def _is_controller_down(
        self, cluster_args: list[str], communicating: asyncio.Future[tuple[str, str]]
    ) -> bool:
        """Return whether ``scontrol ping`` says at once that no controller is up.

        The other programs need 9 s to say so. A controller that is only slow is no reason to stop.
        """
        try:
            process = self._start("scontrol", (*cluster_args, "ping"))
        except Unavailable:
            return False
        pinging = self._communicate(process)
        try:
            await asyncio.wait(
                {pinging, communicating},
                timeout=PING_SECONDS[-1],
                return_when=asyncio.FIRST_COMPLETED,
            )
            output = pinging.result()[0] if pinging.done() else ""
        finally:
            if not pinging.done():
                process.kill()
        return not communicating.done() and " is DOWN" in output and " is UP" not in output

    def _start(self, program: str, arguments: tuple[str, ...]) -> subprocess.Popen[str]:
        """Start a program; this takes a millisecond or two.

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
