"""The machines go away and come back: the line waits, says so, and everything runs once."""

from __future__ import annotations

from pathlib import Path

from bot.domain.job import JobState
from bot.runtime import BACKEND_UNAVAILABLE_NOTICE
from tests.scenarios.conftest import Opener
from tests.scenarios.harness import House, replaying
from tests.scenarios.log_capture import Journal
from tests.scenarios.scenarios import NEVER, write_play

LONG = 1_000_000


async def test_while_the_machines_are_away_every_card_says_so_and_nothing_is_lost(
    open_bot: Opener, journal: Journal
) -> None:
    journal.expect("the backend is away")
    async with open_bot(queue={"running": 1}) as house:
        turn = house.witness.hold(JobState.SUBMITTING)
        handed_over = await house.imagine("handed over", "Ada")
        await house.shows(handed_over, "being handed to the machines")
        waiting = await house.imagine("waiting", "Ben")
        house.backend.faults.unavailable = LONG
        turn.set()
        for card in (handed_over, waiting):
            await house.shows(card, BACKEND_UNAVAILABLE_NOTICE)
        # Requests are still taken, and say it from the start.
        later = await house.imagine("later", "Mo")
        assert BACKEND_UNAVAILABLE_NOTICE in (await house.shows(later, "In line")).text
        assert BACKEND_UNAVAILABLE_NOTICE.rstrip(".") in (await house.ask("queue", "Mo")).text
        assert house.backend.submitted == []

        house.backend.faults.unavailable = 0
        jobs = [await house.ended(one) for one in (handed_over, waiting, later)]

        assert house.backend.submitted == [job.id for job in jobs]
        assert [job.state for job in jobs] == [JobState.FINISHED] * 3
        assert [len(house.results(job)) for job in jobs] == [1, 1, 1]
        assert journal.text.count("the backend is away") == 1
        assert journal.text.count("the backend is back") == 1


async def test_a_card_that_paints_says_so_too_while_the_machines_are_away(
    open_bot: Opener, journal: Journal, tmp_path: Path
) -> None:
    journal.expect("the backend is away")
    play = write_play(tmp_path / "play.jsonl", ends_at=NEVER)
    async with open_bot(backend=replaying(play, speed=1)) as house:
        painting = await house.imagine("painting", "Ada")
        await house.shows(painting, "Painting")
        house.backend.faults.unavailable = LONG
        handed_over = await house.imagine("handed over", "Ben")
        for asked in (painting, handed_over):
            await house.shows(asked, BACKEND_UNAVAILABLE_NOTICE)
        assert "Painting" in (await house.shows(painting, BACKEND_UNAVAILABLE_NOTICE)).text
        house.backend.faults.unavailable = 0
        await house.shows(handed_over, "Painting")
        await house.playground.until(
            lambda _: (
                painting.response is not None
                and BACKEND_UNAVAILABLE_NOTICE not in painting.response.text
            )
        )


async def test_machines_that_stumble_once_cost_no_job_and_no_notice(house: House) -> None:
    house.backend.faults.unavailable = 1
    asked = await house.imagine()
    job = await house.ended(asked)
    assert job.state is JobState.FINISHED
    assert house.backend.submitted == [job.id]


async def test_a_job_may_be_cancelled_while_the_machines_are_away(
    open_bot: Opener, journal: Journal
) -> None:
    journal.expect("the backend is away")
    async with open_bot(queue={"running": 1}) as house:
        house.backend.faults.unavailable = LONG
        first = await house.imagine("first", "Ada")
        second = await house.imagine("second", "Ben")
        await house.shows(second, BACKEND_UNAVAILABLE_NOTICE)
        for asked, who in ((second, "Ben"), (first, "Ada")):
            assert asked.response is not None
            press = await house.member(who).press(asked.response, "Cancel")
            await press.acked()
        await house.shows(second, "4 images given back")
        house.backend.faults.unavailable = 0
        await house.shows(first, "4 images given back")
        assert house.backend.submitted == []


async def test_a_log_that_breaks_off_is_followed_again_from_where_it_was(
    open_bot: Opener, tmp_path: Path
) -> None:
    play = write_play(tmp_path / "play.jsonl", steps=6)
    async with open_bot(backend=replaying(play)) as house:
        house.backend.faults.lose_log = 2
        asked = await house.imagine()
        job = await house.ended(asked)
        assert job.state is JobState.FINISHED
        assert job.fetched_rows == (1, 2)
        assert house.backend.submitted == [job.id]


async def test_what_runs_when_the_bot_is_stopped_is_taken_up_by_the_next(
    open_bot: Opener, tmp_path: Path
) -> None:
    play = write_play(tmp_path / "play.jsonl", ends_at=NEVER)
    async with open_bot(backend=replaying(play, speed=1)) as house:
        asked = await house.imagine()
        await house.reached(asked, JobState.RUNNING)
        waiting = await house.imagine("waits", "Ada")
    async with open_bot(backend=replaying(play, speed=0)) as house:
        jobs = [await house.ended(one) for one in (asked, waiting)]
        assert [len(house.results(job)) for job in jobs] == [1, 1]
        # The first was submitted by the bot before.
        assert house.backend.submitted == [jobs[1].id]
