"""Run the command line's own jobs to their end, one process per job, with Ctrl-C to cancel."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import shutil
import signal
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from bot.bootstrap import Application
from bot.domain.errors import DeliveryError, RequestError
from bot.domain.events import MessageRef
from bot.domain.job import Job
from bot.files import atomic_write
from bot.services.queue import Actor
from bot.services.results import JobResult

METHOD = "files"
OPERATOR = Actor(0, "operator", moderator=True)


class FolderDelivery:
    """A delivery transport that leaves results in their folder, or copies them to another."""

    def __init__(self, out: Path | None) -> None:
        self._out = out

    async def methods(self, job: Job) -> tuple[str, ...]:
        """Return the only delivery method, files."""
        return (METHOD,)

    async def send(
        self, method: str, job: Job, package: JobResult, nonce: str
    ) -> MessageRef | None:
        """Copy the files if a folder was given. Raises DeliveryError if it cannot be written."""
        if self._out is not None:
            try:
                await asyncio.to_thread(self._copy, package)
            except OSError as error:
                raise DeliveryError(f"cannot write to {self._out}: {error.strerror}") from error
        return None

    async def find_sent(
        self, method: str, job: Job, nonce: str, since: datetime
    ) -> MessageRef | None:
        """Return None: copying again is harmless, so nothing is searched for."""
        return None

    def _copy(self, package: JobResult) -> None:
        assert self._out is not None, "only asked to copy when a folder is named"
        self._out.mkdir(parents=True, exist_ok=True)
        for path in (package.grid, package.metadata, *(path for _, path in package.rows)):
            # Not private like the original: as open as the folder that the operator has named.
            mode = self._out.stat().st_mode & 0o666
            with atomic_write(self._out / path.name, mode=mode) as part:
                shutil.copyfile(path, part)


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock a job's folder against other processes of the command line.

    The kernel releases the lock if the process dies. Raises RequestError if another process runs
    this job.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".carried").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RequestError("Another process is following this job right now.") from None
        yield


async def run_job(engine: Application, job: Job, begin: Callable[[], None]) -> Job:
    """Run a job to its end. Ctrl-C or SIGTERM cancels it; a second one exits at once.

    ``begin`` is called once the signal handlers are set. Raises RequestError if another process
    runs this job.
    """
    loop = asyncio.get_running_loop()
    stopping: list[asyncio.Task[object]] = []
    running = asyncio.ensure_future(engine.worker.run(job))

    async def stop() -> None:
        with contextlib.suppress(RequestError):  # it has just finished: let it
            await engine.queue.cancel(job.id, OPERATOR)

    def interrupt() -> None:
        if stopping:
            running.cancel()
        else:
            stopping.append(loop.create_task(stop()))

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    try:
        with lock_folder(engine.results.folder(job.id)):
            begin()
            return await running
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        running.cancel()
        await asyncio.gather(running, *stopping, return_exceptions=True)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
