"""Carrying a job in this process: signals, the folder's lock, and handing over by folder."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bot.bootstrap import Application, open_application
from bot.cli.imagine import read_request
from bot.cli.job_runner import OPERATOR, FolderDelivery, lock_folder, run_job
from bot.domain.errors import DeliveryError, RequestError
from bot.domain.job import Job, JobState
from bot.domain.request import RequestOptions
from bot.services.results import JobResult
from bot.settings import Settings
from bot.store.ledger import LedgerRepository

# A run that would take an hour.
SLOW = '{"at": 0, "line": "--- Job has started ---"}\n{"at": 3600, "line": "still here"}\n'


@asynccontextmanager
async def _engine(folder: Path, recording: str = "") -> AsyncIterator[tuple[Application, Job]]:
    environ = {
        "GRIDBRUSH_BACKEND__KIND": "scripted",
        "GRIDBRUSH_IMAGINE__WIDTH": "64",
        "GRIDBRUSH_IMAGINE__HEIGHT": "64",
    }
    if recording:
        await asyncio.to_thread((folder / "run.jsonl").write_text, recording)
        environ["GRIDBRUSH_BACKEND__SCRIPTED__RECORDING"] = str(folder / "run.jsonl")
    settings = Settings.load(None, environ, base=folder)
    async with open_application(settings, transport=FolderDelivery(None)) as engine:
        yield (
            engine,
            await engine.queue.submit_immediate(read_request(engine, "a fox", RequestOptions())),
        )


def _nothing() -> None:
    """Begin without showing anything."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_cancels_the_job_and_waits_for_its_end(
    tmp_path: Path, number: signal.Signals
) -> None:
    before = signal.getsignal(number)
    async with _engine(tmp_path, SLOW) as (engine, job):
        ended = await run_job(engine, job, lambda: os.kill(os.getpid(), number))
        assert ended.state is JobState.CANCELLED
        assert ended.cancelled_by == OPERATOR.id
        assert await LedgerRepository(engine.database).check() == ()
    after = signal.getsignal(number)
    assert after in (before, signal.SIG_DFL, signal.default_int_handler)


async def test_a_second_signal_leaves_at_once_and_the_job_for_later(tmp_path: Path) -> None:
    def impatient() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)

    async with _engine(tmp_path, SLOW) as (engine, job):
        with pytest.raises(KeyboardInterrupt):
            await run_job(engine, job, impatient)
        stored = await engine.queue.jobs.get(job.id)
        assert stored is not None
        assert not stored.state.terminal
        assert stored.cancelled_by == OPERATOR.id
        # Whoever follows it next ends what was begun.
        assert (await run_job(engine, stored, _nothing)).state is JobState.CANCELLED


async def test_a_job_that_another_process_carries_is_left_alone(tmp_path: Path) -> None:
    async with _engine(tmp_path) as (engine, job):
        with lock_folder(engine.results.folder(job.id)):
            with pytest.raises(RequestError, match="Another process is following this job"):
                await run_job(engine, job, lambda: pytest.fail("it was shown"))
            stored = await engine.queue.jobs.get(job.id)
            assert stored == job
        assert (await run_job(engine, job, _nothing)).state is JobState.FINISHED


async def test_results_are_copied_whole_and_a_folder_that_is_none_is_refused(
    tmp_path: Path,
) -> None:
    async with _engine(tmp_path) as (engine, job):
        ended = await run_job(engine, job, _nothing)
        package: JobResult = engine.results.result(ended)
        transport = FolderDelivery(tmp_path / "out")
        assert await transport.methods(ended) == ("files",)
        assert await transport.find_sent("files", ended, "nonce", ended.created_at) is None
        for _ in range(2):
            await transport.send("files", ended, package, "nonce")
        copied = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
        originals = (package.grid, package.metadata, *(path for _, path in package.rows))
        assert copied == {path.name: path.read_bytes() for path in originals}
        blocked = FolderDelivery(package.grid / "below")
        with pytest.raises(DeliveryError, match="cannot write to"):
            await blocked.send("files", ended, package, "nonce")
