"""Edits at a humane pace, and what Discord's rate limits do to it: nothing is lost."""

from __future__ import annotations

from pathlib import Path

from bot.domain.job import JobState
from bot.frontend.edit_schedule import MIN_EDIT_INTERVAL_S
from tests.scenarios.conftest import Opener
from tests.scenarios.harness import Harness, replaying
from tests.scenarios.scenarios import write_play

ORIGINAL = "@original"
SECONDS = 3.0
BEATS = 20


def edits(harness: Harness) -> int:
    return len(harness.calls("PATCH", ORIGINAL))


async def test_a_job_of_twenty_beats_costs_a_handful_of_edits(
    open_bot: Opener, tmp_path: Path
) -> None:
    play = write_play(tmp_path / "play.jsonl", steps=BEATS, seconds=SECONDS)
    async with open_bot(backend=replaying(play, speed=1), delivery={"rows": "links"}) as harness:
        asked = await harness.imagine()
        job = await harness.ended(asked)
        assert job.state is JobState.FINISHED
        # One at once, one for each interval that passed, and the result.
        assert 2 <= edits(harness) <= 2 + SECONDS // MIN_EDIT_INTERVAL_S + 1


async def test_rate_limited_edits_still_end_in_the_result(open_bot: Opener, tmp_path: Path) -> None:
    play = write_play(tmp_path / "play.jsonl", steps=BEATS, seconds=0.6)
    async with open_bot(
        backend=replaying(play, speed=1), delivery={"rows": "links"}, queue={"running": 3}
    ) as harness:
        fault = harness.playground.world.faults.rate_limit("PATCH", ORIGINAL, 0.3, times=4)
        asked = [await harness.imagine(who, who) for who in ("Ada", "Ben", "Mo")]
        jobs = [await harness.ended(one) for one in asked]
        assert fault.hits == 4
        assert [job.delivery_method for job in jobs] == ["interaction"] * 3
        assert [len(harness.results(job)) for job in jobs] == [1, 1, 1]
        for one in asked:
            await harness.shows(one, "Done")
        # Who was told to slow down does not make up for it.
        assert edits(harness) <= fault.hits + 3 * 3


async def test_a_global_limit_delays_and_loses_nothing(harness: Harness) -> None:
    gate = harness.recorder.hold(JobState.DELIVERING)
    asked = await harness.imagine()
    await harness.reached(asked, JobState.DELIVERING)
    harness.clock.pass_time(minutes=15)
    fault = harness.playground.world.faults.rate_limit(
        "POST", r"/channels/\d+/messages$", 0.3, is_global=True, scope="global"
    )
    gate.set()
    job = await harness.ended(asked)
    assert fault.hits == 1
    assert job.delivery_method == "channel"
    assert len(harness.results(job)) == 1


async def test_many_waiting_status_messages_are_not_all_edited_whenever_the_line_moves(
    open_bot: Opener,
) -> None:
    async with open_bot(
        queue={"running": 1, "waiting_per_user": 30}, delivery={"rows": "links"}
    ) as harness:
        gate = harness.recorder.hold(JobState.RUNNING)
        asked = [await harness.imagine(f"number {number}") for number in range(25)]
        before = edits(harness)
        gate.set()
        jobs = [await harness.ended(one) for one in asked]
        # A result each, and a few that told of progress or of a better place.
        assert edits(harness) - before <= 3 * len(jobs)
        assert [len(harness.results(job)) for job in jobs] == [1] * len(jobs)
