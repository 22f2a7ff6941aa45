"""Cards are kept up through trouble, restarts and crowds."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path

import pytest

from bot.domain.events import CancelRequested, RowProgress
from bot.domain.job import JobState
from bot.domain.request import ChannelRef
from bot.frontend.edit_schedule import EditSchedule
from bot.playground.client.driver import Invocation
from bot.playground.server import Playground
from bot.services.queue import Actor, JobQueue, QueuePosition
from tests.frontend.harness import open_harness, turns
from tests.playground.clock import Clock

OPERATOR = Actor(1, "operator", moderator=True)


@pytest.mark.timing("waits for edits that a real client paces by the clock")
async def test_a_deleted_status_message_is_given_up_with_one_line_in_the_log(
    playground: Playground, tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_harness(playground, tmp_path, clock) as harness:
        harness.backend.hold("row-done row=1")
        asked = await harness.imagine("a lighthouse")
        status_message = await harness.shows(asked, "Generating")
        playground.world.delete_message(status_message)
        job = await harness.job(asked)
        with caplog.at_level(logging.INFO, "bot.frontend.status_updater"):
            for percent in (60, 70, 80):
                job = await harness.lifecycle.apply_event(job, RowProgress(1, percent))
                await playground.requested("PATCH", "@original")
            await harness.queue.cancel(job.id, OPERATOR)
            await harness.scheduler.idle()

        assert caplog.text.count("the status message is not updated any more") == 1


async def test_a_token_that_discord_calls_dead_is_not_used_again(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    async with open_harness(playground, tmp_path, clock, hurry=True) as harness:
        harness.backend.hold("row-done row=1")
        asked = await harness.imagine("a lighthouse")
        await harness.shows(asked, "**100 %**")
        before = len(playground.requests)
        playground.world.faults.refuse("PATCH", "@original", 50027)
        job = await harness.job(asked)

        await harness.lifecycle.apply_event(job, RowProgress(1, 77))

        await harness.shows(asked, "77 %")
        refused = [call for call in list(playground.requests)[before:] if call.status == 401]
        assert len(refused) == 1


async def test_an_end_is_written_again_until_discord_takes_it(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    async with open_harness(playground, tmp_path, clock, hurry=True) as harness:
        harness.backend.hold("done ok=")
        asked = await harness.imagine("a lighthouse")
        status_message = await harness.shows(asked, "Generating")
        fault = playground.world.faults.answer("PATCH", "@original", 400, times=5)

        await harness.member().press(status_message, "Cancel")

        await harness.shows(asked, "Cancelled by")
        assert fault.hits == 5


async def test_an_end_that_discord_never_takes_is_given_up(
    playground: Playground, tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_harness(playground, tmp_path, clock, hurry=True) as harness:
        harness.backend.hold("done ok=")
        asked = await harness.imagine("a lighthouse")
        status_message = await harness.shows(asked, "Generating")
        playground.world.faults.answer("PATCH", "@original", 400, times=1000)

        await harness.member().press(status_message, "Cancel")
        await harness.scheduler.idle()
        await harness.forgotten()

        assert "the status message is given up" in caplog.text


@pytest.mark.timing("waits for edits that a real client paces by the clock")
async def test_after_a_restart_every_status_message_goes_on(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    async with open_harness(playground, tmp_path, clock) as harness:
        harness.backend.hold("row-done row=1")
        running = await harness.imagine("first", "Ada")
        clock.pass_time(seconds=1)
        waiting = await harness.imagine("second", "Ada")
        await harness.shows(running, "Generating")
        await harness.shows(waiting, "Next in the queue")
        queued = await harness.job(waiting)
        async for _ in turns():  # it is saved a moment after it is shown
            if await harness.messages.status_message(queued.id) is not None:
                break

    async with open_harness(playground, tmp_path, clock) as harness:
        end = harness.backend.hold("done ok=")
        assert waiting.response is not None
        waiting.response.embeds[0]["description"] = "stale"
        await harness.scheduler.resume_jobs()
        await harness.observer.resume()

        await harness.shows(waiting, "Next in the queue")
        await harness.shows(running, "█  ready")
        end.set()
        await harness.shows(running, "Done")
        await harness.shows(waiting, "Done")
        await harness.scheduler.idle()


async def test_an_end_that_was_not_written_before_a_crash_is_written_after_it(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    async with open_harness(playground, tmp_path, clock) as harness:
        end = harness.backend.hold("done ok=")
        asked = await harness.imagine("hopeless")
        await harness.shows(asked, "Generating")
        clock.pass_time(seconds=5)
        writing = playground.world.faults.hold("PATCH", "@original")
        end.set()
        await writing.reached.wait()
        assert (await harness.ended(asked)).state is JobState.FAILED
        assert await harness.messages.stale_status_messages("interaction") != ()
    playground.world.faults.clear()
    async with open_harness(playground, tmp_path, clock) as harness:
        await harness.observer.resume()
        await harness.shows(asked, "Failed")
        await harness.forgotten()
        # And not once more after the next restart.
        assert await harness.messages.stale_status_messages("interaction") == ()


async def test_status_messages_are_written_at_a_humane_pace(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    async with open_harness(
        playground, tmp_path, clock, pace=EditSchedule(min_interval_s=60.0)
    ) as harness:
        harness.backend.hold("row-done row=1")
        asked = await harness.imagine("a lighthouse")
        await playground.requested("PATCH", "@original")
        job = await harness.reached(asked, JobState.RUNNING)
        for percent in range(1, 90):
            job = await harness.lifecycle.apply_event(job, RowProgress(1, percent))
        await harness.lifecycle.apply_event(job, CancelRequested(job.request.author.id))
        assert asked.response is not None
        await harness.member().press(asked.response, "Cancel")

        await harness.shows(asked, "Cancelled by")

        # One for the start, one at once for the wish to stop unless the end was as quick, one for
        # the end; nothing of ninety in between.
        assert asked.response.edits in (2, 3)


async def test_jobs_without_a_channel_are_not_followed(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    async with open_harness(playground, tmp_path, clock) as harness:
        asked = await harness.imagine("a lighthouse")
        await harness.shows(asked, "Done")
        job = await harness.ended(asked)
        stray = replace(job, request=replace(job.request, place=ChannelRef()))

        await harness.observer.on_event(stray, RowProgress(1, 1))

        assert harness.observer.tracked_count == 0


async def test_who_waits_is_told_when_the_machines_go_away_and_come_back(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    notices = [""]
    async with open_harness(playground, tmp_path, clock, notice=lambda: notices[0]) as harness:
        end = harness.backend.hold("done ok=")
        running = await harness.imagine("first")
        clock.pass_time(seconds=1)
        waiting = await harness.imagine("second")
        await harness.shows(waiting, "Next in the queue")

        notices[0] = "The machines are away."
        harness.observer.refresh_queue()
        message = await harness.shows(waiting, "The machines are away.")
        notices[0] = ""
        harness.observer.refresh_queue()
        await playground.until(lambda _: "away" not in message.text)

        end.set()
        await harness.shows(running, "Done")
        await harness.shows(waiting, "Done")
        await harness.scheduler.idle()


async def test_a_line_that_cannot_be_read_stops_nothing(
    playground: Playground, tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_harness(playground, tmp_path, clock) as harness:
        whole = harness.client.context
        harness.client.context = replace(whole, queue=_Blind())
        harness.observer.refresh_queue()
        async for _ in turns():
            if "the queue cannot be read" in caplog.text:
                break
        harness.client.context = whole

        asked = await harness.imagine("a lighthouse")

        await harness.shows(asked, "Done")
        await harness.scheduler.idle()


class _Blind(JobQueue):
    """A line whose database is away."""

    def __init__(self) -> None:
        pass

    async def positions(self) -> dict[str, QueuePosition]:
        raise OSError("no disk")


async def test_an_estimate_on_a_status_message_is_never_in_the_past(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    async with open_harness(playground, tmp_path, clock, hurry=True) as harness:

        def estimates(asked: Invocation) -> list[float]:
            message = asked.response
            assert message is not None
            return [float(at) for at in re.findall(r"<t:(\d+):R>", message.text)]

        async def holds(asked: Invocation, words: str) -> None:
            """The card says it, and what it counts down to is still to come."""

            def found(_: object) -> bool:
                message = asked.response
                true = all(at > clock().timestamp() for at in estimates(asked))
                return message is not None and words in message.text and true

            await playground.until(found)

        measured = harness.backend.hold("done ok=")
        first = await harness.imagine("a measured fox")
        await harness.shows(first, "Generating")
        clock.pass_time(seconds=60)
        measured.set()
        await harness.ended(first)

        harness.backend.hold("done ok=")
        running = await harness.imagine("a slow fox")
        await harness.shows(running, "Generating")
        second = await harness.imagine("a patient fox")
        start = clock().timestamp()
        clock.pass_time(seconds=1)
        third = await harness.imagine("a very patient fox")
        # Two slots are there, but a member has one at a time: their own request is waited for.
        assert estimates(second) == [start + 60]
        assert estimates(third) == [start + 120]
        for passed in (19, 26, 10, 10, 30, 40, 600):
            clock.pass_time(seconds=passed)
            for asked in (running, second, third):
                await holds(asked, "**")
        await holds(
            second, "It should start at any moment; the running jobs take longer than usual."
        )
        await holds(third, "It should start <t:")
        assert estimates(third) == [clock().timestamp() + 60]
