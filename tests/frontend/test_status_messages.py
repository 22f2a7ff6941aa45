"""From /imagine to the picture in the channel, as members see it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.domain.events import RowProgress
from bot.domain.job import JobState
from bot.playground.server import Playground
from bot.playground.state.guild import Event
from tests.frontend.harness import Harness, open_harness
from tests.playground.clock import Clock


@pytest.fixture
async def harness(playground: Playground, tmp_path: Path, clock: Clock) -> AsyncIterator[Harness]:
    async with open_harness(playground, tmp_path, clock) as opened:
        yield opened


async def test_a_request_becomes_a_picture_in_the_same_message(harness: Harness) -> None:
    asked = await harness.imagine("a lighthouse --seed 7")

    message = await harness.shows(asked, "Done")

    assert message is asked.response
    assert [one.filename for one in message.attachments] == [message.embeds[0]["image"]["url"][13:]]
    assert message.attachments[0].description == "Grid of 2 × 2 pictures: a lighthouse"
    job = await harness.ended(asked)
    assert job.delivery_method == "interaction"
    assert {one.get("label") for one in message.controls()} >= {"Re-roll", "Details", "Delete"}
    assert len(harness.playground.world.messages_in("imagine")) == 1
    assert harness.observer.tracked_count == 0


async def test_progress_and_finished_rows_are_seen_while_it_runs(harness: Harness) -> None:
    end = harness.backend.hold("row-done row=2")

    asked = await harness.imagine("a lighthouse")
    await harness.shows(asked, "Generating")
    message = await harness.shows(asked, "█  ready")

    def pictured(_: object) -> bool:
        return [one.filename for one in message.attachments] == ["preview.webp"]

    await harness.playground.until(pictured)
    assert message.attachments[0].width == 134
    end.set()
    done = await harness.shows(asked, "Done")
    assert len(done.attachments) == 1


async def test_whoever_waits_sees_their_place_and_sees_it_change(harness: Harness) -> None:
    first_end = harness.backend.hold("done ok=")
    first = await harness.imagine("first", "Ada")
    harness.clock.pass_time(seconds=1)
    second = await harness.imagine("second", "Ada")
    harness.clock.pass_time(seconds=1)
    third = await harness.imagine("third", "Ada")

    await harness.shows(second, "Next in the queue")
    await harness.shows(third, "2nd in the queue")
    await harness.member().press(second.response or 0, "Cancel")

    await harness.shows(second, "Cancelled")
    await harness.shows(third, "Next in the queue")
    first_end.set()
    await harness.shows(first, "Done")
    await harness.shows(third, "Done")


async def test_a_row_that_fails_is_named_and_given_back(harness: Harness) -> None:
    message = await harness.result("it breaks")

    assert "Row 2 could not be generated; 2 images refunded." in message.text


async def test_a_job_that_fails_says_so_and_can_be_tried_again(harness: Harness) -> None:
    asked = await harness.imagine("hopeless")
    message = await harness.shows(asked, "Failed")

    assert "No row could be made. It" not in message.text
    assert "4 images refunded" in message.text
    assert not message.attachments
    again = await harness.member("Ben").press(message, "Try again")
    await again.answered()
    job = await harness.job(again)
    assert job.request.prompt == "hopeless"
    assert job.request.author.name == "Ben"
    assert job.request.seed == (await harness.job(asked)).request.seed


async def test_a_refusal_is_private_and_stores_no_job(harness: Harness) -> None:
    asked = await harness.member().slash("imagine", "imagine", prompt="a cat --rows 99")
    message = await asked.answered()

    assert message.ephemeral
    assert "--rows must be a whole number from 1 to 8" in message.content
    assert await harness.queue.jobs.by_interaction(asked.id) is None


async def test_nobody_is_called_by_a_prompt(harness: Harness) -> None:
    ben = harness.member("Ben")
    message = await harness.result(f"hello {ben.mention} @everyone https://evil.example")

    assert not message.mentions
    assert not message.mention_everyone
    assert "https://evil" not in message.embeds[0]["description"]


async def test_an_author_cancels_a_running_job(harness: Harness) -> None:
    harness.backend.hold("row-done row=2")
    asked = await harness.imagine("a lighthouse")
    message = await harness.shows(asked, "█  ready")

    await harness.member().press(message, "Cancel")

    message = await harness.shows(asked, "Cancelled by")
    assert "2 images refunded; 2 images already generated, not refunded" in message.text
    assert (await harness.ended(asked)).state is JobState.CANCELLED


async def test_a_stranger_cannot_cancel_and_a_moderator_can(harness: Harness) -> None:
    harness.backend.hold("row-done row=1")
    asked = await harness.imagine("a lighthouse")
    message = await harness.shows(asked, "Generating")

    refused = await harness.member("Ben").press(message, "Cancel")
    (said,) = await refused.followed_up()
    assert said.ephemeral
    assert "Only the member who requested this, or a moderator" in said.content

    await harness.member("Mo").press(message, "Cancel")
    message = await harness.shows(asked, "Cancelled by a moderator")


async def test_a_late_progress_edit_never_covers_the_result(harness: Harness) -> None:
    end = harness.backend.hold("row-done row=1")
    asked = await harness.imagine("a lighthouse")
    await harness.shows(asked, "Generating")
    slow = harness.playground.world.faults.hold("PATCH", "@original")
    job = await harness.job(asked)
    await harness.lifecycle.apply_event(job, RowProgress(1, 77))
    await slow.reached.wait()

    end.set()
    await asyncio.sleep(0)
    slow.open()

    await harness.shows(asked, "Done")
    await harness.ended(asked)
    await harness.playground.requested("PATCH", "@original")
    assert asked.response is not None
    assert "Done" in asked.response.text


async def test_a_replayed_click_makes_one_job_and_one_status_message(harness: Harness) -> None:
    world = harness.playground.world
    harness.backend.hold("done ok=")
    asked = await harness.imagine("a lighthouse")
    before = len(world.messages_in("imagine"))

    # What a resumed gateway does: the same event once more.
    world.emit(Event("INTERACTION_CREATE", {"interaction": asked.interaction}))
    other = await harness.imagine("a second one", "Ben")

    assert len(await harness.queue.jobs.unfinished()) == 2
    assert len(world.messages_in("imagine")) == before + 1
    assert other.id != asked.id


async def test_an_answer_that_comes_too_late_loses_no_job(harness: Harness) -> None:
    world = harness.playground.world
    world.faults.refuse("POST", "/callback", 10062)
    hold = harness.backend.hold("done ok=")

    asked = await harness.member().slash("imagine", "imagine", prompt="a lighthouse")
    await harness.playground.requested("POST", "/callback")
    hold.set()

    # Without a card the result comes as a message of its own, and calls its author.
    harness.clock.pass_time(seconds=10)
    message = await harness.posted("Your images are ready.")
    assert message.mentions == [harness.member().id]
    assert (await harness.ended(asked)).delivery_method == "channel"
