"""The same press twice, however it comes to be twice: one job."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.domain.job import JobState
from bot.playground.state.guild import Event
from bot.store.ledger import LedgerRepository
from tests.scenarios.conftest import Opener
from tests.scenarios.harness import Harness, replaying
from tests.scenarios.log_capture import Journal
from tests.scenarios.scenarios import NEVER, write_play


async def settled(harness: Harness) -> None:
    """Everything that was sent before has been taken in: a later command is answered."""
    await harness.ask("quota", "Mo")


async def test_an_interaction_that_comes_twice_is_one_job(harness: Harness) -> None:
    gate = harness.recorder.hold(JobState.RUNNING)
    asked = await harness.imagine()
    harness.playground.gateway.replay_last_interaction()
    await settled(harness)
    gate.set()
    job = await harness.ended(asked)
    harness.playground.world.emit(Event("INTERACTION_CREATE", {"interaction": asked.interaction}))
    await settled(harness)
    assert [one.id for one in await harness.jobs()] == [job.id]
    assert harness.recorder.starts == [job.id]
    assert len(harness.results(job)) == 1
    assert len(harness.playground.world.messages_in("imagine")) == 1


async def test_two_copies_at_the_same_moment_are_one_job(harness: Harness) -> None:
    harness.clock.pass_time(seconds=1)
    asked = await harness.member().slash("imagine", "imagine", prompt="a fox")
    for _ in range(5):
        harness.playground.gateway.replay_last_interaction()
    await asked.answered()
    job = await harness.ended(asked)
    await settled(harness)
    assert [one.id for one in await harness.jobs()] == [job.id]
    assert len(harness.results(job)) == 1
    assert len(harness.playground.world.messages_in("imagine")) == 1


async def test_what_was_clicked_while_the_connection_was_down_comes_once_with_the_resume(
    harness: Harness,
) -> None:
    gateway = harness.playground.gateway
    before = await harness.imagine("before")
    await harness.ended(before)
    gateway.disconnect()
    harness.clock.pass_time(seconds=1)
    meanwhile = await harness.member("Ben").slash("imagine", "imagine", prompt="meanwhile")
    await meanwhile.answered(within=20)
    gateway.replay_last_interaction()
    assert gateway.resumes == 1
    await harness.ended(meanwhile)
    await settled(harness)
    jobs = await harness.jobs()
    assert [job.request.prompt for job in jobs] == ["before", "meanwhile"]
    assert [len(harness.results(job)) for job in jobs] == [1, 1]
    assert len(harness.playground.world.messages_in("imagine")) == 2


@pytest.mark.parametrize("button", ["Re-roll", "Try again"])
async def test_a_double_click_makes_one_job(
    open_bot: Opener, tmp_path: Path, journal: Journal, button: str
) -> None:
    failing = (1, 2) if button == "Try again" else ()
    if failing:
        journal.expect("the job failed")
    play = write_play(tmp_path / "play.jsonl", failing=failing)
    async with open_bot(backend=replaying(play)) as harness:
        asked = await harness.imagine()
        await harness.ended(asked)
        status = await harness.shows(asked, "Failed" if failing else "Done")
        harness.clock.pass_time(seconds=5)
        first = await harness.member().press(status, button)
        harness.clock.pass_time(milliseconds=180)
        second = await harness.member().press(status, button)
        await first.answered()
        await second.acked()
        await settled(harness)
        assert len(await harness.jobs()) == 2
        # Who presses again because they want another gets another.
        harness.clock.pass_time(seconds=5)
        third = await harness.member().press(status, button)
        await third.answered()
        assert len(await harness.jobs()) == 3
        # And somebody else's press is their own, however soon it comes.
        fourth = await harness.member("Ben").press(status, button)
        await fourth.answered()
        assert len(await harness.jobs()) == 4


async def test_a_double_click_on_cancel_gives_back_once(open_bot: Opener, tmp_path: Path) -> None:
    play = write_play(tmp_path / "play.jsonl", ends_at=NEVER)
    async with open_bot(backend=replaying(play, speed=1)) as harness:
        asked = await harness.imagine()
        await harness.reached(asked, JobState.RUNNING)
        assert asked.response is not None
        clicks = [await harness.member().press(asked.response, "Cancel") for _ in range(2)]
        job = await harness.ended(asked)
        for click in clicks:
            await click.acked()
            assert click.followups == []
        await harness.shows(asked, "Cancelled by")
        entries = await LedgerRepository(harness.service.application.database).history(
            job.request.place.guild_id, job.request.author.id
        )
        assert job.state is JobState.CANCELLED
        assert sorted(entry.kind for entry in entries) in (
            ["refund", "reserve"],
            ["reserve", "settle"],
        )
