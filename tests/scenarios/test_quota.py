"""What a request costs in the end: the rows that were delivered, and nothing else."""

from __future__ import annotations

from pathlib import Path

from bot.domain.job import JobState
from tests.scenarios.conftest import Opener
from tests.scenarios.harness import Harness, replaying
from tests.scenarios.log_capture import Journal
from tests.scenarios.scenarios import NEVER, write_play


async def used(harness: Harness, who: str = "Ada") -> str:
    """The member's own account, in words."""
    return (await harness.ask("quota", who)).text


async def told(harness: Harness, who: str = "Ada") -> str:
    """What a moderator reads of a member."""
    member = harness.member(who)
    return (await harness.ask("quota-admin history", "Mo", member=member)).text


async def test_a_partial_result_costs_only_what_was_delivered(
    open_bot: Opener, tmp_path: Path
) -> None:
    play = write_play(tmp_path / "play.jsonl", failing=[2])
    async with open_bot(backend=replaying(play)) as harness:
        asked = await harness.imagine()
        job = await harness.ended(asked)
        status = await harness.shows(asked, "Row 2 could not be generated; 2 images refunded.")
        assert job.fetched_rows == (1,)
        assert status in harness.results(job)
        assert "2 of 120 images used" in await used(harness)
        history = await told(harness)
        assert f"−4 for `{job.id[:8]}`" in history
        assert f"`{job.id[:8]}` generated 2 images" in history


async def test_a_row_that_is_lost_on_its_way_is_given_back(
    harness: Harness, journal: Journal
) -> None:
    harness.backend.faults.missing = frozenset({"row-02.png"})
    asked = await harness.imagine()
    job = await harness.ended(asked)
    assert job.fetched_rows == (1,)
    assert "2 of 120 images used" in await used(harness)
    assert "row 2 could not be fetched" in journal.text


async def test_a_failed_job_costs_nothing(
    open_bot: Opener, tmp_path: Path, journal: Journal
) -> None:
    journal.expect("the job failed")
    play = write_play(tmp_path / "play.jsonl", failing=[1, 2])
    async with open_bot(backend=replaying(play)) as harness:
        asked = await harness.imagine()
        job = await harness.ended(asked)
        await harness.shows(asked, "It cost nothing: 4 images refunded.")
        assert job.state is JobState.FAILED
        assert "0 of 120 images used" in await used(harness)
        assert f"+4 refunded for `{job.id[:8]}`" in await told(harness)


async def test_a_request_that_the_machines_refuse_costs_nothing(
    harness: Harness, journal: Journal
) -> None:
    journal.expect("the job was refused")
    harness.backend.faults.reject = "no such account"
    asked = await harness.imagine()
    job = await harness.ended(asked)
    status = await harness.shows(asked, "It cost nothing: 4 images refunded.")
    assert job.state is JobState.FAILED
    assert "no such account" not in status.text
    assert "0 of 120 images used" in await used(harness)


async def test_a_job_cancelled_in_line_costs_nothing_and_one_cancelled_halfway_its_rows(
    open_bot: Opener, tmp_path: Path
) -> None:
    play = write_play(tmp_path / "play.jsonl", ends_at=NEVER)
    async with open_bot(backend=replaying(play, speed=1)) as harness:
        halfway = await harness.imagine("halfway")
        waiting = await harness.imagine("waiting")
        await harness.shows(halfway, "█  ready")
        for asked in (waiting, halfway):
            assert asked.response is not None
            await harness.member().press(asked.response, "Cancel")
        await harness.shows(waiting, "Cancelled by")
        await harness.shows(halfway, "2 images refunded; 2 images already generated, not refunded")
        assert "2 of 120 images used" in await used(harness)
        jobs = [await harness.ended(one) for one in (waiting, halfway)]
        history = await told(harness)
        assert f"+4 refunded for `{jobs[0].id[:8]}`" in history
        assert f"`{jobs[1].id[:8]}` generated 2 images" in history


async def test_a_result_that_was_kept_is_charged_since_it_can_be_had(harness: Harness) -> None:
    gate = harness.recorder.hold(JobState.DELIVERING)
    asked = await harness.imagine()
    await harness.reached(asked, JobState.DELIVERING)
    harness.clock.pass_time(minutes=15)
    harness.playground.world.add_deny_overwrite("imagine", "SEND_MESSAGES")
    harness.playground.world.user("Ada").takes_dms = False
    gate.set()
    assert (await harness.ended(asked)).delivery_method == "kept"
    assert "4 of 120 images used" in await used(harness)


async def test_who_has_used_up_a_quota_is_refused_until_something_is_given_back(
    open_bot: Opener, tmp_path: Path
) -> None:
    play = write_play(tmp_path / "play.jsonl", ends_at=NEVER)
    async with open_bot(backend=replaying(play, speed=1)) as harness:
        await harness.ask("quota-admin set", "Mo", images=12)
        asked = [await harness.imagine(f"number {number}") for number in range(3)]
        refused = await harness.imagine("one too many")
        assert refused.response is not None
        assert refused.response.ephemeral
        assert "You have 0 of 12 images left per 24h, and this needs 4" in refused.response.content
        assert len(await harness.jobs()) == 3
        assert asked[2].response is not None
        await harness.member().press(asked[2].response, "Cancel")
        await harness.ended(asked[2])
        accepted = await harness.imagine("now it fits")
        assert (await harness.job(accepted)).state is JobState.QUEUED
