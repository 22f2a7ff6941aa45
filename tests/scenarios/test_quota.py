"""What a request costs in the end: the rows that were delivered, and nothing else."""

from __future__ import annotations

from pathlib import Path

from bot.domain.job import JobState
from tests.scenarios.conftest import Opener
from tests.scenarios.harness import House, replaying
from tests.scenarios.log_capture import Journal
from tests.scenarios.scenarios import NEVER, write_play


async def used(house: House, who: str = "Ada") -> str:
    """The member's own account, in words."""
    return (await house.ask("quota", who)).text


async def told(house: House, who: str = "Ada") -> str:
    """What a moderator reads of a member."""
    member = house.member(who)
    return (await house.ask("quota-admin history", "Mo", member=member)).text


async def test_a_partial_result_costs_only_what_was_delivered(
    open_bot: Opener, tmp_path: Path
) -> None:
    play = write_play(tmp_path / "play.jsonl", failing=[2])
    async with open_bot(backend=replaying(play)) as house:
        asked = await house.imagine()
        job = await house.ended(asked)
        card = await house.shows(asked, "Row 2 could not be made; 2 images given back.")
        assert job.fetched_rows == (1,)
        assert card in house.results(job)
        assert "2 of 120 images used" in await used(house)
        history = await told(house)
        assert f"−4 for `{job.id[:8]}`" in history
        assert f"`{job.id[:8]}` made 2 images" in history


async def test_a_row_that_is_lost_on_its_way_is_given_back(house: House, journal: Journal) -> None:
    house.backend.faults.missing = frozenset({"row-02.png"})
    asked = await house.imagine()
    job = await house.ended(asked)
    assert job.fetched_rows == (1,)
    assert "2 of 120 images used" in await used(house)
    assert "row 2 is lost" in journal.text


async def test_a_failed_job_costs_nothing(
    open_bot: Opener, tmp_path: Path, journal: Journal
) -> None:
    journal.expect("the job failed")
    play = write_play(tmp_path / "play.jsonl", failing=[1, 2])
    async with open_bot(backend=replaying(play)) as house:
        asked = await house.imagine()
        job = await house.ended(asked)
        await house.shows(asked, "It cost nothing: 4 images given back.")
        assert job.state is JobState.FAILED
        assert "0 of 120 images used" in await used(house)
        assert f"+4 given back for `{job.id[:8]}`" in await told(house)


async def test_a_request_that_the_machines_refuse_costs_nothing(
    house: House, journal: Journal
) -> None:
    journal.expect("the job was refused")
    house.backend.faults.reject = "no such account"
    asked = await house.imagine()
    job = await house.ended(asked)
    card = await house.shows(asked, "It cost nothing: 4 images given back.")
    assert job.state is JobState.FAILED
    assert "no such account" not in card.text
    assert "0 of 120 images used" in await used(house)


async def test_a_job_cancelled_in_line_costs_nothing_and_one_cancelled_halfway_its_rows(
    open_bot: Opener, tmp_path: Path
) -> None:
    play = write_play(tmp_path / "play.jsonl", ends_at=NEVER)
    async with open_bot(backend=replaying(play, speed=1)) as house:
        halfway = await house.imagine("halfway")
        waiting = await house.imagine("waiting")
        await house.shows(halfway, "ready")
        for asked in (waiting, halfway):
            assert asked.response is not None
            await house.member().press(asked.response, "Cancel")
        await house.shows(waiting, "Cancelled by")
        await house.shows(halfway, "2 images given back; 2 images had been painted already")
        assert "2 of 120 images used" in await used(house)
        jobs = [await house.ended(one) for one in (waiting, halfway)]
        history = await told(house)
        assert f"+4 given back for `{jobs[0].id[:8]}`" in history
        assert f"`{jobs[1].id[:8]}` made 2 images" in history


async def test_a_result_that_was_kept_is_charged_since_it_can_be_had(house: House) -> None:
    gate = house.witness.hold(JobState.DELIVERING)
    asked = await house.imagine()
    await house.reached(asked, JobState.DELIVERING)
    house.clock.pass_time(minutes=15)
    house.playground.world.add_deny_overwrite("imagine", "SEND_MESSAGES")
    house.playground.world.user("Ada").takes_dms = False
    gate.set()
    assert (await house.ended(asked)).delivery_method == "kept"
    assert "4 of 120 images used" in await used(house)


async def test_who_has_used_up_a_quota_is_refused_until_something_is_given_back(
    open_bot: Opener, tmp_path: Path
) -> None:
    play = write_play(tmp_path / "play.jsonl", ends_at=NEVER)
    async with open_bot(backend=replaying(play, speed=1)) as house:
        await house.ask("quota-admin set", "Mo", images=12)
        asked = [await house.imagine(f"number {number}") for number in range(3)]
        refused = await house.imagine("one too many")
        assert refused.response is not None
        assert refused.response.ephemeral
        assert "You have 0 of 12 images left per 24h, and this needs 4" in refused.response.content
        assert len(await house.jobs()) == 3
        assert asked[2].response is not None
        await house.member().press(asked[2].response, "Cancel")
        await house.ended(asked[2])
        accepted = await house.imagine("now it fits")
        assert (await house.job(accepted)).state is JobState.QUEUED
