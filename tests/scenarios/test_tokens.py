"""A token that dies before the picture is ready: every result finds its way, by the next rung."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bot.domain.job import JobState
from bot.frontend.delivery_methods import CHANNEL, INTERACTION
from tests.scenarios.conftest import Opener
from tests.scenarios.harness import Harness
from tests.scenarios.log_capture import Journal

MEMBERS = ("Ada", "Ben", "Mo")
EDIT = r"/webhooks/.*/messages/@original$"


@pytest.mark.parametrize("slots", [1, 3])
async def test_tokens_that_live_5_s_and_jobs_that_take_20_s_lose_no_result(
    open_bot: Opener, slots: int
) -> None:
    async with open_bot(queue={"running": slots}) as harness:
        harness.playground.world.token_life = timedelta(seconds=5)
        painted = harness.recorder.hold(JobState.COLLECTING)
        asked = [await harness.imagine(f"for {who}", who) for who in MEMBERS]
        await harness.reached(asked[0], JobState.COLLECTING)
        harness.clock.pass_time(seconds=20)
        painted.set()
        for one in asked:
            job = await harness.ended(one)
            (result,) = harness.results(job)
            assert job.delivery_method == CHANNEL
            assert harness.called(result) == [job.request.author.id]
            status_message = await harness.shows(one, "Go to the images")
            assert str(result.id) in status_message.text
            assert not status_message.attachments


async def test_the_bots_own_clock_saves_it_from_trying_a_dead_token(harness: Harness) -> None:
    painted = harness.recorder.hold(JobState.COLLECTING)
    asked = await harness.imagine()
    await harness.reached(asked, JobState.COLLECTING)
    harness.clock.pass_time(minutes=15)
    painted.set()
    job = await harness.ended(asked)
    assert job.delivery_method == CHANNEL
    assert len(harness.results(job)) == 1
    await harness.shows(asked, "Go to the images")
    assert [call.path for call in harness.playground.requests if call.status == 401] == []


@pytest.mark.parametrize("code", [50027, 10015, 10008, 10062])
async def test_what_the_server_says_counts_more_than_the_clock(
    harness: Harness, journal: Journal, code: int
) -> None:
    painted = harness.recorder.hold(JobState.DELIVERING)
    asked = await harness.imagine()
    await harness.reached(asked, JobState.DELIVERING)
    fault = harness.playground.world.faults.refuse("PATCH", EDIT, code, times=1000)
    painted.set()
    job = await harness.ended(asked)
    assert fault.hits
    assert job.delivery_method == CHANNEL
    assert len(harness.results(job)) == 1
    assert "delivery by interaction failed" in journal.text


async def test_an_answer_that_was_lost_on_its_way_is_not_taken_for_a_refusal(
    harness: Harness,
) -> None:
    painted = harness.recorder.hold(JobState.DELIVERING)
    asked = await harness.imagine()
    await harness.reached(asked, JobState.DELIVERING)
    fault = harness.playground.world.faults.drop("PATCH", EDIT, carried_out=True)
    painted.set()
    job = await harness.ended(asked)
    assert fault.hits
    assert len(harness.results(job)) == 1
    assert job.delivery_method == INTERACTION


async def test_a_message_whose_receipt_was_lost_is_not_posted_again(harness: Harness) -> None:
    painted = harness.recorder.hold(JobState.DELIVERING)
    asked = await harness.imagine()
    await harness.reached(asked, JobState.DELIVERING)
    harness.clock.pass_time(minutes=15)
    harness.playground.world.faults.drop("POST", r"/channels/\d+/messages$", carried_out=True)
    painted.set()
    job = await harness.ended(asked)
    assert len(harness.results(job)) == 1
    assert job.delivery_method == CHANNEL
