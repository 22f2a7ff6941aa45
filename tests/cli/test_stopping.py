"""Killed, interrupted, asked to stop: real processes, held up at a gate that the test opens.

The gate is a named pipe that each row waits at, so that nothing here depends on how long a step
takes.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from bot.bootstrap import DATABASE
from bot.clock import utc_now
from bot.domain.job import Job, JobState
from bot.store.database import Database
from bot.store.jobs import JobRepository
from bot.store.ledger import LedgerRepository
from tests.cli.terminal import CommandLine

pytestmark = pytest.mark.timing(
    "watches the command as a process, which a busy machine starts and stops late"
)


@dataclass(frozen=True, slots=True)
class Gate:
    """What rows wait at; ``rows`` of them go on when it is opened."""

    pipes: tuple[Path, ...]

    def open(self) -> None:
        for pipe in self.pipes:
            with pipe.open("w", encoding="ascii") as out:
                out.write("go\n")


def _gated(folder: Path) -> tuple[CommandLine, Gate]:
    command_line = CommandLine.lay(folder)
    pipes = tuple(folder / f"gate-{row}" for row in (1, 2))
    for pipe in pipes:
        os.mkfifo(pipe)
    line = command_line.template("gated", f'read -r _ < "{folder}/gate-$index"')
    return CommandLine.lay(folder, imagine=line), Gate(pipes)


def _read_until(process: subprocess.Popen[str], words: str) -> None:
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if words in line:
            return
    pytest.fail(f"it never said {words!r}: {''.join(lines)}")


def _stored(command_line: CommandLine) -> tuple[Job, tuple[str, ...]]:
    """The only job as the database has it, and what is wrong between jobs and ledger."""

    async def look() -> tuple[Job, tuple[str, ...]]:
        async with await Database.open(command_line.data / DATABASE, now=utc_now) as database:
            (job,) = await JobRepository(database).history(0)
            return job, await LedgerRepository(database).check()

    return asyncio.run(look())


def _wait_until_no_process_lives(command_line: CommandLine) -> None:
    """Every process of the job holds the lock; this returns when the last has let go of it."""
    folder = command_line.data / "local" / "jobs" / command_line.only_job()
    with (folder / "alive").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)


def _some_process_lives(command_line: CommandLine) -> bool:
    folder = command_line.data / "local" / "jobs" / command_line.only_job()
    with (folder / "alive").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_a_killed_command_loses_nothing_and_the_job_is_followed_to_its_end(tmp_path: Path) -> None:
    command_line, gate = _gated(tmp_path)
    with command_line.start("imagine", "a fox") as killed:
        _read_until(killed, "running")
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert _some_process_lives(command_line), "the job outlives the command"
    job, faults = _stored(command_line)
    assert not job.state.terminal
    assert faults == ()

    with command_line.start("jobs") as follower:
        _read_until(follower, "running")
        second = command_line.type("jobs", job.id[:12])
        assert second.exit_code == 2
        assert "Another process is following this job" in second.stderr
        gate.open()
        said, _ = follower.communicate(timeout=60)
    assert follower.returncode == 0
    assert str(command_line.data / "jobs" / job.id / "grid.png") in said
    log = command_line.log(job.id).splitlines()
    assert log.count("--- Job has started ---") == 1
    assert len([line for line in log if " start rows=" in line]) == 1
    job, faults = _stored(command_line)
    assert job.state is JobState.FINISHED
    assert faults == ()

    # Once it is over, asking for it says where the results lie, and starts nothing.
    asked = command_line.type("jobs", job.id)
    assert asked.exit_code == 0
    assert str(command_line.data / "jobs" / job.id / "grid.png") in asked.stdout
    assert command_line.log(job.id).splitlines() == log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_cancels_its_job_and_leaves_no_process(
    tmp_path: Path, number: signal.Signals
) -> None:
    command_line, _ = _gated(tmp_path)
    with command_line.start("imagine", "a fox") as process:
        _read_until(process, "running")
        process.send_signal(number)
        _, complained = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Cancelled." in complained
    assert "Traceback" not in complained
    assert not _some_process_lives(command_line)
    job, faults = _stored(command_line)
    assert job.state is JobState.CANCELLED
    assert faults == ()
    assert not (command_line.data / "jobs" / job.id / "grid.png").exists()
    assert not (command_line.data / "local" / "jobs" / job.id / "scratch").exists()


def test_a_job_that_was_left_running_can_be_interrupted_by_who_follows_it(tmp_path: Path) -> None:
    command_line, _ = _gated(tmp_path)
    with command_line.start("imagine", "a fox") as killed:
        _read_until(killed, "running")
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
    with command_line.start("jobs") as follower:
        _read_until(follower, "running")
        follower.send_signal(signal.SIGINT)
        follower.communicate(timeout=60)
    assert follower.returncode == 130
    _wait_until_no_process_lives(command_line)
    job, faults = _stored(command_line)
    assert job.state is JobState.CANCELLED
    assert faults == ()
