"""The same press twice, however it comes to be twice: one job."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.domain.job import JobState
from bot.playground.state.guild import Event
from bot.store.ledger import LedgerRepository
from tests.scenarios.conftest import Opener
from tests.scenarios.harness import House, replaying
from tests.scenarios.log_capture import Journal
from tests.scenarios.scenarios import NEVER, write_play


async def settled(house: House) -> None:
    """Everything that was sent before has been taken in: a later command is answered."""
    await house.ask("quota", "Mo")


async def test_an_interaction_that_comes_twice_is_one_job(house: House) -> None:
    gate = house.witness.hold(JobState.RUNNING)
    asked = await house.imagine()
    house.playground.gateway.replay_last_interaction()
    await settled(house)
    gate.set()
    job = await house.ended(asked)
    house.playground.world.emit(Event("INTERACTION_CREATE", {"interaction": asked.interaction}))
    await settled(house)
    assert [one.id for one in await house.jobs()] == [job.id]
    assert house.witness.starts == [job.id]
    assert len(house.results(job)) == 1
    assert len(house.playground.world.messages_in("imagine")) == 1


async def test_two_copies_at_the_same_moment_are_one_job(house: House) -> None:
    house.clock.pass_time(seconds=1)
    asked = await house.member().slash("imagine", "imagine", prompt="a fox")
    for _ in range(5):
        house.playground.gateway.replay_last_interaction()
    await asked.answered()
    job = await house.ended(asked)
    await settled(house)
    assert [one.id for one in await house.jobs()] == [job.id]
    assert len(house.results(job)) == 1
    assert len(house.playground.world.messages_in("imagine")) == 1


async def test_what_was_pressed_while_the_connection_was_down_comes_once_with_the_resume(
    house: House,
) -> None:
    gateway = house.playground.gateway
    before = await house.imagine("before")
    await house.ended(before)
    gateway.disconnect()
    house.clock.pass_time(seconds=1)
    meanwhile = await house.member("Ben").slash("imagine", "imagine", prompt="meanwhile")
    await meanwhile.answered(within=20)
    gateway.replay_last_interaction()
    assert gateway.resumes == 1
    await house.ended(meanwhile)
    await settled(house)
    jobs = await house.jobs()
    assert [job.request.prompt for job in jobs] == ["before", "meanwhile"]
    assert [len(house.results(job)) for job in jobs] == [1, 1]
    assert len(house.playground.world.messages_in("imagine")) == 2


@pytest.mark.parametrize("button", ["Re-roll", "Try again"])
async def test_a_double_click_makes_one_job(
    open_bot: Opener, tmp_path: Path, journal: Journal, button: str
) -> None:
    failing = (1, 2) if button == "Try again" else ()
    if failing:
        journal.expect("the job failed")
    play = write_play(tmp_path / "play.jsonl", failing=failing)
    async with open_bot(backend=replaying(play)) as house:
        asked = await house.imagine()
        await house.ended(asked)
        card = await house.shows(asked, "That did not work" if failing else "Done")
        house.clock.pass_time(seconds=5)
        first = await house.member().press(card, button)
        house.clock.pass_time(milliseconds=180)
        second = await house.member().press(card, button)
        await first.answered()
        await second.acked()
        await settled(house)
        assert len(await house.jobs()) == 2
        # Who presses again because they want another gets another.
        house.clock.pass_time(seconds=5)
        third = await house.member().press(card, button)
        await third.answered()
        assert len(await house.jobs()) == 3
        # And somebody else's press is their own, however soon it comes.
        fourth = await house.member("Ben").press(card, button)
        await fourth.answered()
        assert len(await house.jobs()) == 4


async def test_a_double_click_on_cancel_gives_back_once(open_bot: Opener, tmp_path: Path) -> None:
    play = write_play(tmp_path / "play.jsonl", ends_at=NEVER)
    async with open_bot(backend=replaying(play, speed=1)) as house:
        asked = await house.imagine()
        await house.reached(asked, JobState.RUNNING)
        assert asked.response is not None
        presses = [await house.member().press(asked.response, "Cancel") for _ in range(2)]
        job = await house.ended(asked)
        for press in presses:
            await press.acked()
            assert press.followups == []
        await house.shows(asked, "Cancelled by")
        entries = await LedgerRepository(house.service.engine.database).history(
            job.request.place.guild_id, job.request.author.id
        )
        assert job.state is JobState.CANCELLED
        assert sorted(entry.kind for entry in entries) in (
            ["refund", "reserve"],
            ["reserve", "settle"],
        )
