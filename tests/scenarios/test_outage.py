"""The machines go away and come back: the line waits, says so, and everything runs once."""

from __future__ import annotations

from pathlib import Path

from bot.domain.job import JobState
from bot.runtime import BACKEND_UNAVAILABLE_NOTICE
from tests.scenarios.conftest import Opener
from tests.scenarios.harness import Harness, replaying
from tests.scenarios.log_capture import Journal
from tests.scenarios.scenarios import NEVER, write_play

LONG = 1_000_000


async def test_while_the_machines_are_away_every_status_message_says_so_and_nothing_is_lost(
    open_bot: Opener, journal: Journal
) -> None:
    journal.expect("the backend is unavailable")
    async with open_bot(queue={"running": 1}) as harness:
        turn = harness.recorder.hold(JobState.SUBMITTING)
        handed_over = await harness.imagine("handed over", "Ada")
        await harness.shows(handed_over, "being submitted")
        waiting = await harness.imagine("waiting", "Ben")
        harness.backend.faults.unavailable = LONG
        turn.set()
        for status in (handed_over, waiting):
            await harness.shows(status, BACKEND_UNAVAILABLE_NOTICE)
        # Requests are still taken, and say it from the start.
        later = await harness.imagine("later", "Mo")
        assert BACKEND_UNAVAILABLE_NOTICE in (await harness.shows(later, "Queued")).text
        assert BACKEND_UNAVAILABLE_NOTICE.rstrip(".") in (await harness.ask("queue", "Mo")).text
        assert harness.backend.submitted == []

        harness.backend.faults.unavailable = 0
        jobs = [await harness.ended(one) for one in (handed_over, waiting, later)]

        assert harness.backend.submitted == [job.id for job in jobs]
        assert [job.state for job in jobs] == [JobState.FINISHED] * 3
        assert [len(harness.results(job)) for job in jobs] == [1, 1, 1]
        assert journal.text.count("the backend is unavailable") == 1
        assert journal.text.count("the backend is available again") == 1


async def test_a_status_message_that_paints_says_so_too_while_the_machines_are_away(
    open_bot: Opener, journal: Journal, tmp_path: Path
) -> None:
    journal.expect("the backend is unavailable")
    play = write_play(tmp_path / "play.jsonl", ends_at=NEVER)
    async with open_bot(backend=replaying(play, speed=1)) as harness:
        painting = await harness.imagine("painting", "Ada")
        await harness.shows(painting, "Generating")
        harness.backend.faults.unavailable = LONG
        handed_over = await harness.imagine("handed over", "Ben")
        for asked in (painting, handed_over):
            await harness.shows(asked, BACKEND_UNAVAILABLE_NOTICE)
        assert "Generating" in (await harness.shows(painting, BACKEND_UNAVAILABLE_NOTICE)).text
        harness.backend.faults.unavailable = 0
        await harness.shows(handed_over, "Generating")
        await harness.playground.until(
            lambda _: (
                painting.response is not None
                and BACKEND_UNAVAILABLE_NOTICE not in painting.response.text
            )
        )


async def test_machines_that_stumble_once_cost_no_job_and_no_notice(harness: Harness) -> None:
    harness.backend.faults.unavailable = 1
    asked = await harness.imagine()
    job = await harness.ended(asked)
    assert job.state is JobState.FINISHED
    assert harness.backend.submitted == [job.id]


async def test_a_job_may_be_cancelled_while_the_machines_are_away(
    open_bot: Opener, journal: Journal
) -> None:
    journal.expect("the backend is unavailable")
    async with open_bot(queue={"running": 1}) as harness:
        harness.backend.faults.unavailable = LONG
        first = await harness.imagine("first", "Ada")
        second = await harness.imagine("second", "Ben")
        await harness.shows(second, BACKEND_UNAVAILABLE_NOTICE)
        for asked, who in ((second, "Ben"), (first, "Ada")):
            assert asked.response is not None
            click = await harness.member(who).press(asked.response, "Cancel")
            await click.acked()
        await harness.shows(second, "4 images refunded")
        harness.backend.faults.unavailable = 0
        await harness.shows(first, "4 images refunded")
        assert harness.backend.submitted == []


async def test_a_log_that_breaks_off_is_followed_again_from_where_it_was(
    open_bot: Opener, tmp_path: Path
) -> None:
    play = write_play(tmp_path / "play.jsonl", steps=6)
    async with open_bot(backend=replaying(play)) as harness:
        harness.backend.faults.lose_log = 2
        asked = await harness.imagine()
        job = await harness.ended(asked)
        assert job.state is JobState.FINISHED
        assert job.fetched_rows == (1, 2)
        assert harness.backend.submitted == [job.id]


async def test_what_runs_when_the_bot_is_stopped_is_taken_up_by_the_next(
    open_bot: Opener, tmp_path: Path
) -> None:
    play = write_play(tmp_path / "play.jsonl", ends_at=NEVER)
    async with open_bot(backend=replaying(play, speed=1)) as harness:
        asked = await harness.imagine()
        await harness.reached(asked, JobState.RUNNING)
        waiting = await harness.imagine("waits", "Ada")
    async with open_bot(backend=replaying(play, speed=0)) as harness:
        jobs = [await harness.ended(one) for one in (asked, waiting)]
        assert [len(harness.results(job)) for job in jobs] == [1, 1]
        # The first was submitted by the bot before.
        assert harness.backend.submitted == [jobs[1].id]
