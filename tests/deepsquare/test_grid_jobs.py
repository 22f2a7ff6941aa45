"""Jobs on the grid, from order to end: well treated, and in every way in which they may not be."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest
from eth_abi.exceptions import ValueOutOfBounds

from bot.domain.events import Finished, RowFailed, RowReady
from bot.domain.log_parser import LogParser
from tests.backends.jobs import KEY, SEED
from tests.deepsquare.testnet.behaviour import Conduct
from tests.deepsquare.testnet.chain import CREDIT, GridJob, Status
from tests.deepsquare.testnet.client import act, order
from tests.deepsquare.testnet.deploy import Offer
from tests.deepsquare.testnet.site import Setup, TestGrid

pytestmark = pytest.mark.timing(
    "watches a real EVM node and its services, which a busy machine makes late"
)

P, M, S, R = Status.PENDING, Status.META_SCHEDULED, Status.SCHEDULED, Status.RUNNING


def path(grid: TestGrid, job: GridJob) -> list[Status]:
    """The statuses of a job in order."""
    return [change.after for change in grid.transitions if change.job_id == job.job_id]


def events(grid: TestGrid, job: GridJob) -> list[object]:
    parser = LogParser(KEY, 3)
    parsed = [event for line in grid.log(job) for event in parser.feed(line + b"\n")]
    return [*parsed, *parser.close()]


async def test_a_job_runs_its_steps_and_publishes_files_that_can_be_fetched(
    grid: TestGrid,
) -> None:
    ordered = await order(grid, "good")
    assert ordered.status in (P, M, S)
    job = await grid.reached("good", Status.FINISHED)
    assert path(grid, job) == [P, M, S, R, Status.FINISHED]
    assert grid.log(job)[0] == b"--- Job has started ---"
    assert grid.log(job)[-1] == b"---"
    assert b"Running: rows" in grid.log(job)
    ready = {event.row: event for event in events(grid, job) if isinstance(event, RowReady)}
    assert {row: event.seed for row, event in ready.items()} == {
        1: SEED,
        2: SEED + 1,
        3: SEED + 2,
    }
    assert Finished(3, 0) in events(grid, job)
    async with httpx.AsyncClient() as client:
        answer = await client.get(ready[2].artifact.url)
    assert answer.text == "row 2, seed 101\n"
    assert (job.final_cost, job.exit_code) == (28_374 * CREDIT // 1000, 0)
    assert await grid.bank.unaccounted() == 0
    assert (await grid.request_new_jobs()) == [job]


async def test_a_failing_row_leaves_the_others(grid: TestGrid) -> None:
    await order(grid, "row-fails", "failing")
    job = await grid.reached("row-fails", Status.FINISHED)
    assert RowFailed(2, 3) in events(grid, job)
    assert Finished(2, 1) in events(grid, job)


async def test_a_step_that_fails_fails_the_job_with_slurms_wait_status(grid: TestGrid) -> None:
    await order(grid, "dies", "dying")
    job = await grid.reached("dies", Status.FAILED)
    assert (job.exit_code, job.last_error) == (3 << 8, "")
    assert job.final_cost == 28_374 * CREDIT // 1000


async def test_a_running_job_is_cancelled_by_its_provider_and_leaves_no_process(
    grid: TestGrid, tmp_path: Path
) -> None:
    ordered = await order(grid, "cancelled", "slow")
    await grid.heard(ordered, b"row-start row=3")
    await act(grid, "cancelJob(bytes32)", ordered)
    job = await grid.reached("cancelled", Status.CANCELLED)
    assert path(grid, job) == [P, M, S, R, Status.CANCELLED]
    assert job.final_cost == 28_374 * CREDIT // 1000
    assert processes_in(tmp_path) == []


async def test_a_job_that_waits_for_machines_can_be_cancelled(grid: TestGrid) -> None:
    await order(grid, "occupies", "slow", rows=8)
    await grid.reached("occupies", R)
    waiting = await order(grid, "waits", "slow", rows=8)
    await grid.reached("waits", S)
    await act(grid, "cancelJob(bytes32)", waiting)
    job = await grid.reached("waits", Status.CANCELLED)
    assert R not in path(grid, job)
    assert (job.final_cost, grid.log(job)) == (0, [])


async def test_a_job_that_waits_for_machines_starts_when_there_is_room(grid: TestGrid) -> None:
    first = await order(grid, "first", "slow", rows=8)
    await grid.reached("first", R)
    await order(grid, "second")
    await grid.reached("second", S)
    await act(grid, "cancelJob(bytes32)", first)
    job = await grid.reached("second", Status.FINISHED)
    assert Finished(3, 0) in events(grid, job)


async def test_jobs_run_side_by_side(grid: TestGrid) -> None:
    for name in ("one", "two"):
        await order(grid, name, "slow")
    for name in ("one", "two"):
        job = await grid.reached(name, R)
        await grid.heard(job, b"row-start")


@pytest.mark.parametrize("setup", [Setup(speed=600)])
async def test_the_locks_minutes_are_the_time_limit(grid: TestGrid) -> None:
    await order(grid, "too-long", "slow")
    job = await grid.reached("too-long", Status.OUT_OF_CREDITS)
    # 500 credits at 28.374 a minute.
    assert job.final_cost == 17 * 28_374 * CREDIT // 1000
    assert job.ended - job.started >= 2 * 60
    assert await grid.bank.unaccounted() == 0


@pytest.mark.parametrize("setup", [Setup(speed=120)])
async def test_a_top_up_moves_the_time_limit(grid: TestGrid) -> None:
    grid.behave("longer", Conduct(runs=False, instantly=False))
    job = await order(grid, "longer", lock=100 * CREDIT)
    await grid.reached("longer", R)
    await act(grid, "topUpJob(bytes32,uint256)", job, 3 * 28_374 * CREDIT // 1000)
    job = await grid.reached("longer", Status.OUT_OF_CREDITS)
    assert job.pending_top_up == 0
    assert job.final_cost == 6 * 28_374 * CREDIT // 1000


async def test_a_lock_of_less_than_a_minute_fails_at_the_claim(grid: TestGrid) -> None:
    await grid.reprice(Offer(gpu_price=200 * CREDIT))
    await order(grid, "dear", lock=100 * CREDIT)
    job = await grid.reached("dear", Status.FAILED)
    assert (job.final_cost, job.exit_code, grid.log(job)) == (0, 0, [])
    assert job.started == job.ended


async def test_a_script_that_is_an_hour_old_fails_at_the_claim(grid: TestGrid) -> None:
    grid.behave("late", Conduct(stays=P))
    await order(grid, "late")
    await grid.advance(3601)
    grid.behave("late", Conduct())
    job = await grid.reached("late", Status.FAILED)
    assert path(grid, job) == [P, M, S, Status.FAILED]
    assert (job.final_cost, job.exit_code, job.last_error) == (0, 0, "")
    assert grid.log(job) == []
    assert await grid.bank.unaccounted() == 0


async def test_a_job_is_timed_out_and_refused_and_runs_in_the_end(grid: TestGrid) -> None:
    grid.behave("unlucky", Conduct(timeouts=1, refusals=2))
    await order(grid, "unlucky")
    job = await grid.reached("unlucky", Status.FINISHED)
    assert path(grid, job) == [P, M, P, M, S, P, M, S, P, M, S, R, Status.FINISHED]
    refused = [line for line in grid.log(job) if line.startswith(b"slurm failed to submit")]
    assert len(refused) == 2


@pytest.mark.parametrize("status", [P, M, S])
async def test_a_job_can_be_made_to_stay_and_be_let_go(grid: TestGrid, status: Status) -> None:
    grid.behave("stays", Conduct(stays=status))
    await order(grid, "stays")
    await grid.reached("stays", status)
    await order(grid, "passes-by")
    await grid.reached("passes-by", Status.FINISHED)
    assert (await grid.job("stays")).status is status
    grid.behave("stays", Conduct())
    await grid.reached("stays", Status.FINISHED)


@pytest.mark.parametrize(
    ("conduct", "status", "code", "error"),
    [
        (Conduct(runs=False), Status.FINISHED, 0, ""),
        (Conduct(ends_as=Status.FINISHED, exit_code=9), Status.FINISHED, 9, ""),
        (Conduct(ends_as=Status.FAILED, exit_code=256), Status.FAILED, 256, ""),
        (Conduct(lost_after=0, runs=False), Status.PANICKED, 15, "provider lost the job"),
    ],
)
async def test_a_provider_can_lie_and_lose(
    grid: TestGrid, conduct: Conduct, status: Status, code: int, error: str
) -> None:
    grid.behave("lied-to", conduct)
    await order(grid, "lied-to")
    job = await grid.reached("lied-to", status)
    assert (job.exit_code, job.last_error) == (code, error)
    assert await grid.bank.unaccounted() == 0


async def test_a_job_is_lost_in_the_middle(grid: TestGrid, tmp_path: Path) -> None:
    grid.behave("lost", Conduct(lost_after=3))
    await order(grid, "lost", "slow")
    job = await grid.reached("lost", Status.PANICKED)
    assert len(grid.log(job)) >= 3
    assert processes_in(tmp_path) == []


async def test_a_provider_that_dies_leaves_its_job_running_for_ever(grid: TestGrid) -> None:
    grid.behave("orphan", Conduct(vanishes_after=2))
    orphan = await order(grid, "orphan", "slow")
    await grid.heard(orphan, b"Running: rows")
    await order(grid, "next")
    await grid.reached("next", Status.FINISHED)
    assert (await grid.job("orphan")).status is R
    assert await grid.bank.unaccounted() == 0
    await grid.panic(orphan, "provider is gone")
    job = await grid.reached("orphan", Status.PANICKED)
    assert (job.final_cost, job.last_error) == (0, "provider is gone")


async def test_a_provider_can_be_silent_and_ignore_a_cancel(grid: TestGrid) -> None:
    grid.behave("deaf", Conduct(silent=True, ignores_cancel=True))
    job = await order(grid, "deaf")
    await grid.reached("deaf", R)
    await act(grid, "cancelJob(bytes32)", job)
    ended = await grid.reached("deaf", Status.FINISHED)
    assert ended.cancel_requested
    assert grid.log(ended) == []


async def test_a_bill_can_be_too_high(grid: TestGrid) -> None:
    grid.behave("billed", Conduct(minutes=16))
    await order(grid, "billed")
    job = await grid.reached("billed", Status.FINISHED)
    assert job.final_cost == 28_374 * CREDIT // 1000


async def test_labels_and_affinity_choose_the_provider(grid: TestGrid) -> None:
    await order(grid, "linux", uses=(("os", "linux"),))
    await grid.reached("linux", Status.FINISHED)
    filters = ((("gpu", "3090"), b"in"), (("arch", "arm64"), b"!="))
    await order(grid, "nvidia", affinity=filters)
    job = await grid.reached("nvidia", Status.FINISHED)
    assert job.affinity == (("gpu", "3090", "in"), ("arch", "arm64", "!="))
    for name, affinity in (
        ("plan9", ((("os", "plan9"), b"=="),)),
        ("unknown", ((("zone", "moon"), b"!="),)),
    ):
        await order(grid, name, affinity=affinity)
    await order(grid, "after")
    await grid.reached("after", Status.FINISHED)
    assert [(await grid.job(name)).status for name in ("plan9", "unknown")] == [P, P]


async def test_a_request_that_a_reorganisation_takes_back_is_as_if_never_made(
    grid: TestGrid,
) -> None:
    grid.behave("undone", Conduct(stays=P))
    await order(grid, "undone")
    await grid.reached("undone", P)
    await grid.reorganise(1)
    assert await grid.request_new_jobs() == []
    assert await grid.bank.balance(grid.customer.address) == 100_000 * CREDIT
    await order(grid, "instead")
    assert Finished(3, 0) in events(grid, await grid.reached("instead", Status.FINISHED))


async def test_a_status_that_a_reorganisation_takes_back_is_reached_again(grid: TestGrid) -> None:
    job = await order(grid, "twice-running", "slow")
    await grid.reached("twice-running", R)
    await grid.heard(job, b"row-start row=3")
    await grid.reorganise(1)
    assert (await grid.job("twice-running")).status is S
    await grid.reached("twice-running", R)
    assert grid.log(job).count(b"--- Job has started ---") == 1


async def test_what_goes_wrong_inside_the_grid_is_not_hidden(grid: TestGrid) -> None:
    grid.behave("broken", Conduct(exit_code=2**80))  # no int64: the provider's own mistake
    await order(grid, "broken")
    with pytest.raises(ValueOutOfBounds):
        await grid.reached("broken", Status.FINISHED)
    with pytest.raises(ValueOutOfBounds):
        await grid.operation.aclose()


def processes_in(folder: Path) -> list[str]:
    """Living processes whose working folder is below ``folder``, the test's own left out."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            where = os.readlink(process / "cwd")
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if where.startswith(str(folder)) and state != "Z":
            found.append(process.name)
    return found
