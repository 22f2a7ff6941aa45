from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bot.domain.job import JobState
from bot.store.database import Database
from bot.store.jobs import JobRepository
from bot.store.ledger import LedgerRepository
from tests.unit.store.builders import fixed_now

pytestmark = pytest.mark.timing("watches another process that holds the database or is killed")

ROOT = Path(__file__).parents[2]
ORDER = [JobState.QUEUED, JobState.SUBMITTING, JobState.CANCELLED]


def run_and_kill(path: Path, lines: int) -> list[str]:
    """Run the program until it has said so many lines, then kill -9; everything it said."""
    command = [sys.executable, "-m", "tests.store.accepting_program", str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        said = [program.stdout.readline() for _ in range(lines)]
        program.kill()
        said.extend(program.stdout)
    assert all(said), "the program ended by itself"
    return [line for line in said if line.endswith("\n")]


async def test_a_killed_program_has_kept_every_promise_and_halved_none(tmp_path: Path) -> None:
    path = tmp_path / "gridbrush.sqlite3"
    accepted: dict[str, JobState] = {}
    for lines in (40, 55, 71):
        for line in run_and_kill(path, lines):
            job_id, state = line.split()
            accepted[job_id] = JobState(state)
        async with await Database.open(path, now=fixed_now) as database:
            assert await LedgerRepository(database).check() == ()
            for job_id, state in accepted.items():
                job = await JobRepository(database).get(job_id)
                assert job is not None
                # A commit may have come just before the kill and its line not after it.
                assert ORDER.index(job.state) >= ORDER.index(state)
    assert {*accepted.values()} == set(ORDER)
