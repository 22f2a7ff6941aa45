"""One provider: claims its jobs, fetches and runs their scripts, and tells the chain how it goes.

It acts on what the chain says of a job now, not on what it remembers, so a reorganised chain is
simply acted upon again. How a job is treated is its Conduct.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from eth_abi.abi import decode

from tests.deepsquare.testnet.behaviour import Conduct
from tests.deepsquare.testnet.chain import (
    DEFINITION,
    Chain,
    Contracts,
    GridJob,
    Reverted,
    Status,
    topic,
)
from tests.deepsquare.testnet.deploy import Offer
from tests.deepsquare.testnet.execution import EXIT, LIMIT, Ended, Execution
from tests.deepsquare.testnet.logger import LoggerServer
from tests.deepsquare.testnet.node import Node
from tests.deepsquare.testnet.sbatch import SbatchServer, ScriptGone

CLAIMED = topic(f"ClaimJobEvent(address,address,bytes32,uint64,{DEFINITION})")
CANCELLING = topic("ClaimNextCancellingJobEvent(address,address,bytes32)")
TOPPED_UP = topic("ClaimNextTopUpJobEvent(bytes32,address,uint64)")
CANCEL, LOST, VANISHED = "cancel", "lost", "vanished"
REFUSAL = b"slurm failed to submit the job: sbatch: error: Batch job submission failed"
BILL_DELTA_MINUTES = 15


@dataclass
class Run:
    """A claimed job; ``minutes`` is what its lock buys."""

    minutes: int
    execution: Execution | None = None
    task: asyncio.Task[None] | None = None
    ended: Ended | None = None
    elapsed: float = 0.0
    lines: int = 0
    cancelled: bool = False


@dataclass
class Supervisor:
    """``minute_seconds`` is how long a minute of the time limit takes here.

    ``look_again`` is called with a job's id when something happened to it outside the chain.
    """

    chain: Chain
    contracts: Contracts
    address: str
    offer: Offer
    sbatch: SbatchServer
    logger: LoggerServer
    node: Node
    conduct: Callable[[GridJob], Conduct]
    look_again: Callable[[str], None]
    minute_seconds: float = 60.0
    tail_seconds: float = 0.0
    runs: dict[str, Run] = field(default_factory=dict)
    _queue: dict[str, GridJob] = field(default_factory=dict)
    _busy: dict[str, GridJob] = field(default_factory=dict)
    _refused: Counter[str] = field(default_factory=Counter)

    async def look(self, job: GridJob) -> None:
        """Do what this job's state asks of the provider."""
        if job.status.is_terminal or job.provider != self.address:
            self._let_go(job)
        elif job.status is Status.META_SCHEDULED:
            await self._claim()
        elif job.status is Status.SCHEDULED:
            await self._schedule(job)
        elif job.status is Status.RUNNING:
            await self._watch(job)

    async def poll(self) -> None:
        """Take what waits in the queues that no event tells of: cancel requests and top-ups."""
        while data := await self._claim_next("claimNextCancellingJob()", CANCELLING):
            job_id = decode(["address", "address", "bytes32"], data)[2]
            run = self.runs.get("0x" + job_id.hex())
            if run is not None:
                run.cancelled = True
                self.look_again("0x" + job_id.hex())
        while data := await self._claim_next("claimNextTopUpJob()", TOPPED_UP):
            job_id, _, minutes = decode(["bytes32", "address", "uint64"], data)
            run = self.runs.get("0x" + job_id.hex())
            if run is not None:
                run.minutes += minutes
                if run.execution is not None:
                    run.execution.extend(minutes * self.minute_seconds)

    async def _claim_next(self, signature: str, event: str) -> bytes | None:
        try:
            await self.chain.attempt(self.address, self.contracts.scheduler, signature)
        except Reverted:
            return None
        found = _events(await self._send(signature), event)
        return found[0] if found else None

    def forget(self, job_id: str) -> None:
        """The job was never requested, says a reorganised chain."""
        self._queue.pop(job_id, None)
        run = self.runs.pop(job_id, None)
        if run is not None and run.task is not None:
            run.task.cancel()

    async def aclose(self) -> None:
        """Stop every script; the chain is not told."""
        tasks = [run.task for run in self.runs.values() if run.task is not None]
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _let_go(self, job: GridJob) -> None:
        self._queue.pop(job.job_id, None)
        run = self.runs.get(job.job_id)
        if run is not None:
            run.cancelled = True
            if run.execution is not None:
                run.execution.stop(VANISHED)

    async def _claim(self) -> None:
        try:
            receipt = await self._send("claimNextJob()")
        except Reverted:
            return  # nothing is queued: claimed already
        for data in _events(receipt, CLAIMED):
            types = ["address", "address", "bytes32", "uint64", DEFINITION]
            _, _, job_id, minutes, _ = decode(types, data)
            known = self.runs.get(key := "0x" + job_id.hex())
            if known is None or known.task is None:
                self.runs[key] = Run(minutes)

    async def _schedule(self, job: GridJob) -> None:
        conduct = self.conduct(job)
        run = self.runs.get(job.job_id)
        if conduct.stays is Status.SCHEDULED or run is None:
            return
        try:
            self.sbatch.fetch(job.script)
        except ScriptGone:
            await self._report(job, Status.FAILED, 0, 0)
            return
        if run.minutes == 0:
            await self._report(job, Status.FAILED, 0, 0)
        elif self._refused[job.job_id] < conduct.refusals:
            self._refused[job.job_id] += 1
            self._say(job, REFUSAL)
            await self._send("refuseJob(bytes32)", _key(job))
        elif run.task is not None:
            await self._report(job, Status.RUNNING, 0, 0)  # a reorganisation took it back
        else:
            self._queue[job.job_id] = job
            await self._start_queued()

    async def _start_queued(self) -> None:
        """First come, first served: a large job is not overtaken by small ones."""
        for job in list(self._queue.values()):
            if not self._has_harness(job):
                return
            del self._queue[job.job_id]
            if await self._report(job, Status.RUNNING, 0, 0):
                self._busy[job.job_id] = job
                self.runs[job.job_id].task = asyncio.create_task(self._carry_out(job))

    def _has_harness(self, job: GridJob) -> bool:
        busy = [*self._busy.values(), job]
        gpus = sum(other.gpus for other in busy)
        cpus = sum(other.tasks * other.cpus_per_task for other in busy)
        return gpus <= self.offer.gpus and cpus <= self.offer.cpus

    async def _carry_out(self, job: GridJob) -> None:
        run, conduct = self.runs[job.job_id], self.conduct(job)
        document = self.sbatch.fetch(job.script)
        heard = bool(document.get("enableLogging")) and not conduct.silent

        def say(line: bytes) -> None:
            run.lines += 1
            if heard:
                self._say(job, line)
            check()

        def check() -> None:
            for cause, limit in ((LOST, conduct.lost_after), (VANISHED, conduct.vanishes_after)):
                if limit is not None and run.lines >= limit:
                    execution.stop(cause)

        loop = asyncio.get_running_loop()
        began = loop.time()
        folder, script, environment = await asyncio.to_thread(self.node.prepare, job, document)
        limit = run.minutes * self.minute_seconds
        run.execution = execution = Execution(folder, environment, say, limit)
        if run.cancelled and not conduct.ignores_cancel:
            execution.stop(CANCEL)  # it came while the script was being made
        check()
        try:
            if conduct.runs:
                ended = await execution.run(script)
            elif conduct.instantly and not execution.stopping:
                ended = Ended(0, EXIT)
            else:
                ended = await execution.idle()
            await asyncio.sleep(self.tail_seconds)
            run.ended, run.elapsed = ended, loop.time() - began
        finally:
            self._busy.pop(job.job_id, None)
            for other in (job.job_id, *self._queue):
                self.look_again(other)

    async def _watch(self, job: GridJob) -> None:
        run = self.runs.get(job.job_id)
        if run is None:
            return
        if run.task is not None and run.task.done():
            run.task.result()  # an error of the grid's own stops the grid
        conduct = self.conduct(job)
        if run.cancelled and not conduct.ignores_cancel and run.execution is not None:
            run.execution.stop(CANCEL)
        if run.ended is not None and run.ended.cause != VANISHED:
            await self._tell_the_end(job, run, run.ended, conduct)

    async def _tell_the_end(self, job: GridJob, run: Run, ended: Ended, conduct: Conduct) -> None:
        status, minutes = _outcome(ended), int(run.elapsed // self.minute_seconds)
        if ended.cause == LIMIT:
            minutes = run.minutes
        if ended.cause == LOST:
            minutes = 0
        elif conduct.minutes is None and minutes > BILL_DELTA_MINUTES:
            # Minutes that passed in seconds here; the contract would not believe them.
            late = job.started + (minutes - BILL_DELTA_MINUTES) * 60 - await self.chain.now()
            if late > 0:
                await self.chain.advance(late)
        await self._report(
            job,
            status if conduct.ends_as is None else conduct.ends_as,
            minutes if conduct.minutes is None else conduct.minutes,
            ended.code if conduct.exit_code is None else conduct.exit_code,
            "provider lost the job" if ended.cause == LOST else "",
        )

    async def _report(
        self, job: GridJob, status: Status, minutes: int, code: int, error: str = ""
    ) -> bool:
        """Tell the chain; False if it did not want to know, as after a cancel just before."""
        signature = "providerSetJobStatus(bytes32,uint8,uint64,string,int64)"
        try:
            await self._send(signature, _key(job), int(status), minutes, error, code)
        except Reverted:
            return False
        return True

    async def _send(self, signature: str, *arguments: Any) -> dict[str, Any]:
        return await self.chain.send(self.address, self.contracts.scheduler, signature, *arguments)

    def _say(self, job: GridJob, line: bytes) -> None:
        self.logger.write(job.customer, job.job_id, line)


def _outcome(ended: Ended) -> Status:
    if ended.cause == EXIT:
        return Status.FAILED if ended.code else Status.FINISHED
    return {CANCEL: Status.CANCELLED, LIMIT: Status.OUT_OF_CREDITS, LOST: Status.PANICKED}[
        ended.cause
    ]


def _key(job: GridJob) -> bytes:
    return bytes.fromhex(job.job_id[2:])


def _events(receipt: dict[str, Any], first: str) -> list[bytes]:
    return [
        bytes.fromhex(entry["data"][2:]) for entry in receipt["logs"] if entry["topics"][0] == first
    ]
