"""The Grid at work: sees what happens on the chain and lets meta-scheduler and providers act.

One task does everything in order, so that two of them never send at once. It wakes when a customer
sent something, when a script ended, and a few times a second.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from tests.deepsquare.testnet.behaviour import Conduct
from tests.deepsquare.testnet.chain import CREATED, TRANSITION, Chain, GridJob, Reverted, Status
from tests.deepsquare.testnet.matcher import Matcher
from tests.deepsquare.testnet.supervisor import Supervisor

IDLE_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of status as the chain announced it; a job begins from PENDING to PENDING."""

    job_id: str
    before: Status
    after: Status


class Operation:
    """``conduct`` maps a job's name to its fate; what has none is treated as ``usual``."""

    def __init__(self, chain: Chain, repository: str, usual: Conduct) -> None:
        self.conduct: dict[str, Conduct] = {}
        self.transitions: list[Transition] = []
        self.supervisors: list[Supervisor] = []
        self._usual = usual
        self._chain = chain
        self._repository = repository
        self._known: dict[str, GridJob] = {}
        self._due: set[str] = set()
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        self._block = 0
        self._task: asyncio.Task[None] | None = None

    def start(self, matcher: Matcher, supervisors: list[Supervisor]) -> None:
        """Begin to act."""
        self.supervisors = supervisors
        self._task = asyncio.create_task(self._run(matcher))

    async def aclose(self) -> None:
        """Stop acting, scripts included. Raises what went wrong on the way, if anything did."""
        task, self._task = self._task, None
        while task is not None and not task.done():
            task.cancel()  # again, if something on its way has swallowed it
            await asyncio.wait({task}, timeout=1)
        for supervisor in self.supervisors:
            await supervisor.aclose()
        if task is not None and not task.cancelled():
            task.result()

    def fate(self, job: GridJob) -> Conduct:
        """How this job is treated now."""
        return self.conduct.get(job.name, self._usual)

    def behave(self, name: str, conduct: Conduct) -> None:
        """Change a job's fate, also while it lives."""
        self.conduct[name] = conduct
        self._due.update(self._known)
        self.wake()

    def wake(self) -> None:
        """Look at the chain now."""
        self._wake.set()

    def look_again(self, job_id: str) -> None:
        """Something happened to a job that the chain does not know of."""
        self._due.add(job_id)
        self.wake()

    def start_over(self) -> None:
        """The chain is another one now: read all of it again, and act on every job."""
        self._block = 0
        self.transitions.clear()
        self._due.update(self._known)
        self.wake()

    async def reached(self, name: str, status: Status) -> GridJob:
        """Wait until a job of this name is, or was, in ``status``; the job as it is now."""
        while True:
            changed = self._changed
            for change in self.transitions:
                job = self._known.get(change.job_id)
                if change.after is status and job is not None and job.name == name:
                    return await self._chain.job(self._repository, job.job_id)
            if self._task is not None and self._task.done():
                self._task.result()
            await changed.wait()

    async def _run(self, matcher: Matcher) -> None:
        try:
            while True:
                while await self._step(matcher):
                    pass
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(IDLE_SECONDS):
                        await self._wake.wait()
                self._wake.clear()
        finally:
            self._changed.set()

    async def _step(self, matcher: Matcher) -> bool:
        """Look at every job that something happened to; whether there was one."""
        newest = await self._chain.block_number()
        if newest > self._block:
            entries = await self._chain.logs(
                self._repository, [CREATED, TRANSITION], self._block + 1
            )
            self._block = newest
            for entry in entries:
                self._due.add(self._note(entry))
            for supervisor in self.supervisors:
                await supervisor.poll()
        due, self._due = self._due, set()
        for job_id in sorted(due):
            await self._look(job_id, matcher)
        if due:
            self._changed.set()
            self._changed = asyncio.Event()
        return bool(due)

    async def _look(self, job_id: str, matcher: Matcher) -> None:
        try:
            job = await self._chain.job(self._repository, job_id)
        except Reverted:
            self._known.pop(job_id, None)  # reorganised away
            for supervisor in self.supervisors:
                supervisor.forget(job_id)
            return
        self._known[job_id] = job
        await matcher.look(job)
        for supervisor in self.supervisors:
            try:
                await supervisor.look(job)
            except Reverted:
                # The customer was faster, with a cancel say: that transition is looked at next.
                if (await self._chain.job(self._repository, job_id)).status is job.status:
                    raise

    def _note(self, entry: dict[str, str]) -> str:
        data = entry["data"]
        job_id = data[:66]
        before, after = Status.PENDING, Status.PENDING
        if entry["topics"][0] == TRANSITION:
            before, after = Status(int(data[66:130], 16)), Status(int(data[130:194], 16))
        self.transitions.append(Transition(job_id, before, after))
        return job_id
