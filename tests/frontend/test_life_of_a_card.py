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
from tests.frontend.harness import Stage, open_stage
from tests.playground.clock import Clock


@pytest.fixture
async def stage(playground: Playground, tmp_path: Path, clock: Clock) -> AsyncIterator[Stage]:
    async with open_stage(playground, tmp_path, clock) as opened:
        yield opened


async def test_a_request_becomes_a_picture_in_the_same_message(stage: Stage) -> None:
    asked = await stage.imagine("a lighthouse --seed 7")

    message = await stage.shows(asked, "Done")

    assert message is asked.response
    assert [one.filename for one in message.attachments] == [message.embeds[0]["image"]["url"][13:]]
    assert message.attachments[0].description == "Grid of 2 × 2 pictures: a lighthouse"
    job = await stage.ended(asked)
    assert job.delivery_method == "interaction"
    assert {one.get("label") for one in message.controls()} >= {"Re-roll", "Details", "Delete"}
    assert len(stage.playground.world.messages_in("imagine")) == 1
    assert stage.reporter.tracked == 0


async def test_progress_and_finished_rows_are_seen_while_it_runs(stage: Stage) -> None:
    end = stage.backend.hold("row-done row=2")

    asked = await stage.imagine("a lighthouse")
    await stage.shows(asked, "Painting")
    message = await stage.shows(asked, "ready")

    def pictured(_: object) -> bool:
        return [one.filename for one in message.attachments] == ["preview.webp"]

    await stage.playground.until(pictured)
    assert message.attachments[0].width == 134
    end.set()
    done = await stage.shows(asked, "Done")
    assert len(done.attachments) == 1


async def test_whoever_waits_sees_their_place_and_sees_it_change(stage: Stage) -> None:
    first_end = stage.backend.hold("done ok=")
    first = await stage.imagine("first", "Ada")
    stage.clock.pass_time(seconds=1)
    second = await stage.imagine("second", "Ada")
    stage.clock.pass_time(seconds=1)
    third = await stage.imagine("third", "Ada")

    await stage.shows(second, "Next in line")
    await stage.shows(third, "2nd in line")
    await stage.member().press(second.response or 0, "Cancel")

    await stage.shows(second, "Cancelled")
    await stage.shows(third, "Next in line")
    first_end.set()
    await stage.shows(first, "Done")
    await stage.shows(third, "Done")


async def test_a_row_that_fails_is_named_and_given_back(stage: Stage) -> None:
    message = await stage.result("it breaks")

    assert "Row 2 could not be made; 2 images given back." in message.text


async def test_a_job_that_fails_says_so_and_can_be_tried_again(stage: Stage) -> None:
    asked = await stage.imagine("hopeless")
    message = await stage.shows(asked, "That did not work")

    assert "No row could be made. It" not in message.text
    assert "4 images given back" in message.text
    assert not message.attachments
    again = await stage.member("Ben").press(message, "Try again")
    await again.answered()
    job = await stage.job(again)
    assert job.request.prompt == "hopeless"
    assert job.request.author.name == "Ben"
    assert job.request.seed == (await stage.job(asked)).request.seed


async def test_a_refusal_is_private_and_stores_no_job(stage: Stage) -> None:
    asked = await stage.member().slash("imagine", "imagine", prompt="a cat --rows 99")
    message = await asked.answered()

    assert message.ephemeral
    assert "--rows must be a whole number from 1 to 8" in message.content
    assert await stage.queue.jobs.by_interaction(asked.id) is None


async def test_nobody_is_called_by_a_prompt(stage: Stage) -> None:
    ben = stage.member("Ben")
    message = await stage.result(f"hello {ben.mention} @everyone https://evil.example")

    assert not message.mentions
    assert not message.mention_everyone
    assert "https://evil" not in message.embeds[0]["description"]


async def test_an_author_cancels_a_running_job(stage: Stage) -> None:
    stage.backend.hold("row-done row=2")
    asked = await stage.imagine("a lighthouse")
    message = await stage.shows(asked, "ready")

    await stage.member().press(message, "Cancel")

    message = await stage.shows(asked, "Cancelled by")
    assert "2 images given back; 2 images had been painted already" in message.text
    assert (await stage.ended(asked)).state is JobState.CANCELLED


async def test_a_stranger_cannot_cancel_and_a_moderator_can(stage: Stage) -> None:
    stage.backend.hold("row-done row=1")
    asked = await stage.imagine("a lighthouse")
    message = await stage.shows(asked, "Painting")

    refused = await stage.member("Ben").press(message, "Cancel")
    (said,) = await refused.followed_up()
    assert said.ephemeral
    assert "Only its author or a moderator" in said.content

    await stage.member("Mo").press(message, "Cancel")
    message = await stage.shows(asked, "Cancelled by a moderator")


async def test_a_late_progress_edit_never_covers_the_result(stage: Stage) -> None:
    end = stage.backend.hold("row-done row=1")
    asked = await stage.imagine("a lighthouse")
    await stage.shows(asked, "Painting")
    slow = stage.playground.world.faults.hold("PATCH", "@original")
    job = await stage.job(asked)
    await stage.book.apply_event(job, RowProgress(1, 77))
    await slow.reached.wait()

    end.set()
    await asyncio.sleep(0)
    slow.open()

    await stage.shows(asked, "Done")
    await stage.ended(asked)
    await stage.playground.requested("PATCH", "@original")
    assert asked.response is not None
    assert "Done" in asked.response.text


async def test_a_replayed_press_makes_one_job_and_one_card(stage: Stage) -> None:
    world = stage.playground.world
    stage.backend.hold("done ok=")
    asked = await stage.imagine("a lighthouse")
    before = len(world.messages_in("imagine"))

    # What a resumed gateway does: the same event once more.
    world.emit(Event("INTERACTION_CREATE", {"interaction": asked.interaction}))
    other = await stage.imagine("a second one", "Ben")

    assert len(await stage.queue.jobs.unfinished()) == 2
    assert len(world.messages_in("imagine")) == before + 1
    assert other.id != asked.id


async def test_an_answer_that_comes_too_late_loses_no_job(stage: Stage) -> None:
    world = stage.playground.world
    world.faults.refuse("POST", "/callback", 10062)
    hold = stage.backend.hold("done ok=")

    asked = await stage.member().slash("imagine", "imagine", prompt="a lighthouse")
    await stage.playground.requested("POST", "/callback")
    hold.set()

    # Without a card the result comes as a message of its own, and calls its author.
    stage.clock.pass_time(seconds=10)
    message = await stage.posted("Your picture is ready.")
    assert message.mentions == [stage.member().id]
    assert (await stage.ended(asked)).delivery_method == "channel"
