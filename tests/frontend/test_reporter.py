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
from bot.frontend.status_updater import EditSchedule
from bot.playground.client.driver import Invocation
from bot.playground.server import Playground
from bot.services.queue import Actor, JobQueue, QueuePosition
from tests.frontend.harness import open_stage, turns
from tests.playground.clock import Clock

OPERATOR = Actor(1, "operator", moderator=True)


async def test_a_deleted_card_is_given_up_with_one_line_in_the_log(
    playground: Playground, tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_stage(playground, tmp_path, clock) as stage:
        stage.backend.hold("row-done row=1")
        asked = await stage.imagine("a lighthouse")
        card = await stage.shows(asked, "Painting")
        playground.world.delete_message(card)
        job = await stage.job(asked)
        with caplog.at_level(logging.INFO, "bot.frontend.status_updater"):
            for percent in (60, 70, 80):
                job = await stage.book.apply_event(job, RowProgress(1, percent))
                await playground.requested("PATCH", "@original")
            await stage.queue.cancel(job.id, OPERATOR)
            await stage.dispatcher.idle()

        assert caplog.text.count("the card is not kept up") == 1


async def test_a_token_that_discord_calls_dead_is_not_used_again(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    async with open_stage(playground, tmp_path, clock, hurry=True) as stage:
        stage.backend.hold("row-done row=1")
        asked = await stage.imagine("a lighthouse")
        await stage.shows(asked, "**100 %**")
        before = len(playground.requests)
        playground.world.faults.refuse("PATCH", "@original", 50027)
        job = await stage.job(asked)

        await stage.book.apply_event(job, RowProgress(1, 77))

        await stage.shows(asked, "77 %")
        refused = [call for call in list(playground.requests)[before:] if call.status == 401]
        assert len(refused) == 1


async def test_an_end_is_written_again_until_discord_takes_it(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    async with open_stage(playground, tmp_path, clock, hurry=True) as stage:
        stage.backend.hold("done ok=")
        asked = await stage.imagine("a lighthouse")
        card = await stage.shows(asked, "Painting")
        fault = playground.world.faults.answer("PATCH", "@original", 400, times=5)

        await stage.member().press(card, "Cancel")

        await stage.shows(asked, "Cancelled by")
        assert fault.hits == 5


async def test_an_end_that_discord_never_takes_is_given_up(
    playground: Playground, tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_stage(playground, tmp_path, clock, hurry=True) as stage:
        stage.backend.hold("done ok=")
        asked = await stage.imagine("a lighthouse")
        card = await stage.shows(asked, "Painting")
        playground.world.faults.answer("PATCH", "@original", 400, times=1000)

        await stage.member().press(card, "Cancel")
        await stage.dispatcher.idle()
        await stage.forgotten()

        assert "the card is given up" in caplog.text


async def test_after_a_restart_every_card_goes_on(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    async with open_stage(playground, tmp_path, clock) as stage:
        stage.backend.hold("row-done row=1")
        running = await stage.imagine("first", "Ada")
        clock.pass_time(seconds=1)
        waiting = await stage.imagine("second", "Ada")
        await stage.shows(running, "Painting")
        await stage.shows(waiting, "Next in line")

    async with open_stage(playground, tmp_path, clock) as stage:
        end = stage.backend.hold("done ok=")
        assert waiting.response is not None
        waiting.response.embeds[0]["description"] = "stale"
        await stage.dispatcher.resume_jobs()
        await stage.reporter.resume()

        await stage.shows(waiting, "Next in line")
        await stage.shows(running, "ready")
        end.set()
        await stage.shows(running, "Done")
        await stage.shows(waiting, "Done")
        await stage.dispatcher.idle()


async def test_an_end_that_was_not_written_before_a_crash_is_written_after_it(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    async with open_stage(playground, tmp_path, clock) as stage:
        end = stage.backend.hold("done ok=")
        asked = await stage.imagine("hopeless")
        await stage.shows(asked, "Painting")
        clock.pass_time(seconds=5)
        writing = playground.world.faults.hold("PATCH", "@original")
        end.set()
        await writing.reached.wait()
        assert (await stage.ended(asked)).state is JobState.FAILED
        assert await stage.posts.stale_status_messages("interaction") != ()
    playground.world.faults.clear()
    async with open_stage(playground, tmp_path, clock) as stage:
        await stage.reporter.resume()
        await stage.shows(asked, "That did not work")
        await stage.forgotten()
        # And not once more after the next restart.
        assert await stage.posts.stale_status_messages("interaction") == ()


async def test_cards_are_written_at_a_humane_pace(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    async with open_stage(playground, tmp_path, clock, pace=EditSchedule(every=60.0)) as stage:
        stage.backend.hold("row-done row=1")
        asked = await stage.imagine("a lighthouse")
        await playground.requested("PATCH", "@original")
        job = await stage.reached(asked, JobState.RUNNING)
        for percent in range(1, 90):
            job = await stage.book.apply_event(job, RowProgress(1, percent))
        await stage.book.apply_event(job, CancelRequested(job.request.author.id))
        assert asked.response is not None
        await stage.member().press(asked.response, "Cancel")

        await stage.shows(asked, "Cancelled by")

        # One for the start, one at once for the wish to stop unless the end was as quick, one for
        # the end; nothing of ninety in between.
        assert asked.response.edits in (2, 3)


async def test_jobs_without_a_channel_are_not_followed(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    async with open_stage(playground, tmp_path, clock) as stage:
        asked = await stage.imagine("a lighthouse")
        await stage.shows(asked, "Done")
        job = await stage.ended(asked)
        stray = replace(job, request=replace(job.request, place=ChannelRef()))

        await stage.reporter.on_event(stray, RowProgress(1, 1))

        assert stage.reporter.tracked == 0


async def test_who_waits_is_told_when_the_machines_go_away_and_come_back(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    notices = [""]
    async with open_stage(playground, tmp_path, clock, notice=lambda: notices[0]) as stage:
        end = stage.backend.hold("done ok=")
        running = await stage.imagine("first")
        clock.pass_time(seconds=1)
        waiting = await stage.imagine("second")
        await stage.shows(waiting, "Next in line")

        notices[0] = "The machines are away."
        stage.reporter.refresh_queue()
        message = await stage.shows(waiting, "The machines are away.")
        notices[0] = ""
        stage.reporter.refresh_queue()
        await playground.until(lambda _: "away" not in message.text)

        end.set()
        await stage.shows(running, "Done")
        await stage.shows(waiting, "Done")
        await stage.dispatcher.idle()


async def test_a_line_that_cannot_be_read_stops_nothing(
    playground: Playground, tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_stage(playground, tmp_path, clock) as stage:
        whole = stage.client.desk
        stage.client.desk = replace(whole, queue=_Blind())
        stage.reporter.refresh_queue()
        async for _ in turns():
            if "the line cannot be read" in caplog.text:
                break
        stage.client.desk = whole

        asked = await stage.imagine("a lighthouse")

        await stage.shows(asked, "Done")
        await stage.dispatcher.idle()


class _Blind(JobQueue):
    """A line whose database is away."""

    def __init__(self) -> None:
        pass

    async def positions(self) -> dict[str, QueuePosition]:
        raise OSError("no disk")


async def test_an_estimate_on_a_card_is_never_in_the_past(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    async with open_stage(playground, tmp_path, clock, hurry=True) as stage:

        def promised(asked: Invocation) -> list[float]:
            message = asked.response
            assert message is not None
            return [float(at) for at in re.findall(r"<t:(\d+):R>", message.text)]

        async def holds(asked: Invocation, words: str) -> None:
            """The card says it, and what it counts down to is still to come."""

            def found(_: object) -> bool:
                message = asked.response
                true = all(at > clock().timestamp() for at in promised(asked))
                return message is not None and words in message.text and true

            await playground.until(found)

        measured = stage.backend.hold("done ok=")
        first = await stage.imagine("a measured fox")
        await stage.shows(first, "Painting")
        clock.pass_time(seconds=60)
        measured.set()
        await stage.ended(first)

        stage.backend.hold("done ok=")
        running = await stage.imagine("a slow fox")
        await stage.shows(running, "Painting")
        second = await stage.imagine("a patient fox")
        start = clock().timestamp()
        clock.pass_time(seconds=1)
        third = await stage.imagine("a very patient fox")
        # Two slots are there, but a member has one at a time: their own request is waited for.
        assert promised(second) == [start + 60]
        assert promised(third) == [start + 120]
        for passed in (19, 26, 10, 10, 30, 40, 600):
            clock.pass_time(seconds=passed)
            for asked in (running, second, third):
                await holds(asked, "**")
        await holds(second, "It should start at any moment; what runs now takes longer than usual.")
        await holds(third, "It should start <t:")
        assert promised(third) == [clock().timestamp() + 60]
