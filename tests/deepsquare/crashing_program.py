"""Carries jobs through the backend and dies, by SIGKILL, at one step of its writing after another.

    python -m tests.deepsquare.crashing_program OPTIONS

OPTIONS is a JSON file. For each step a child is killed just before or just after its n-th write to
disk, and a second child carries the same job on; the last one lives. One line is printed a job: its
id, and in how many writes it was done. Children are forked: nothing of the network is open here.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from bot.backends.base import TERMINAL_EVENTS
from bot.backends.deepsquare.backend import DeepSquareBackend
from bot.backends.deepsquare.options import DeepSquareOptions
from bot.backends.deepsquare.state_store import StateStore
from tests.backends.jobs import submission
from tests.deepsquare.clients import IMPATIENT

TIMEOUTS = replace(IMPATIENT, tail=0.1, rebroadcast=0.05)


class Mortal(StateStore):
    """A journal that kills its process at moment ``fatal``: two for each write, from 0."""

    def __init__(self, root: Path, fatal: int) -> None:
        super().__init__(root)
        self._fatal = fatal
        self.moments = 0

    def _write(self, file: Path, document: dict[str, Any]) -> None:
        self._at_risk(lambda: super(Mortal, self)._write(file, document))

    def _remove(self, file: Path) -> None:
        self._at_risk(lambda: super(Mortal, self)._remove(file))

    def _at_risk(self, act: Callable[[], None]) -> None:
        self._pass()
        act()
        self._pass()

    def _pass(self) -> None:
        if self.moments == self._fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        self.moments += 1


async def run_job(options: dict[str, Any], job_id: str, fatal: int) -> int:
    """A job from its beginning, or from where it was left, to its settlement."""
    chosen = DeepSquareOptions.from_mapping(options | {"timeouts": TIMEOUTS})
    store = Mortal(chosen.folder, fatal)
    store.prepare(chosen.now())
    backend = DeepSquareBackend(chosen, store, [])
    handle = await backend.find(job_id)
    if handle is None:
        handle = await backend.submit(submission(job_id, backend.upload_url(job_id)))
    last = None
    async for item in backend.follow(handle):
        last = item
    assert isinstance(last, TERMINAL_EVENTS)
    assert await backend.final_cost(handle) is not None
    assert backend.pending_transactions() == ()
    await backend.aclose()
    return store.moments


def in_child(options: dict[str, Any], job_id: str, fatal: int) -> int:
    """The exit status of a process that carries the job; -9 if it was killed."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            asyncio.run(run_job(options, job_id, fatal))
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main(path: str) -> None:
    """Every step, until one is survived because there are no more writes."""
    options = json.loads(Path(path).read_text())
    options["trusted_hosts"] = tuple(options["trusted_hosts"])
    for name in ("lock_credits", "max_credits_per_job"):
        options[name] = Decimal(options[name])
    fatal = 0
    while True:
        job_id = f"crash-{fatal}"
        code = in_child(options, job_id, fatal)
        if code != -signal.SIGKILL:
            assert code == 0, f"{job_id} ended with {code}"
            break
        code = in_child(options, job_id, -1)
        assert code == 0, f"{job_id} could not be finished: {code}"
        fatal += 1
    print(fatal, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
