"""Every press is answered, even where Discord makes it hard."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.frontend.custom_ids import CustomId
from bot.playground.server import Playground
from bot.playground.state.models import MODAL_SUBMIT, Json, Message
from tests.frontend.harness import Harness, open_harness
from tests.playground.clock import Clock


@pytest.fixture
async def harness(playground: Playground, tmp_path: Path, clock: Clock) -> AsyncIterator[Harness]:
    async with open_harness(playground, tmp_path, clock) as opened:
        yield opened


def _field(value: str) -> Json:
    return {"type": 4, "custom_id": "prompt", "value": value}


def relabel(message: Message, label: str, verb: str, numbers: str = "") -> None:
    """Let a button ask for something else, as one from an older message might."""
    for control in message.controls():
        if control.get("label") == label:
            click = CustomId.parse(control["custom_id"])
            assert click is not None
            control["custom_id"] = f"gb:{verb}:{click.job_id}{numbers}"


async def test_an_answer_that_is_too_late_is_only_noted(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    message = await harness.result()
    caplog.set_level(logging.INFO, "bot.frontend.responses")
    harness.playground.world.faults.refuse("POST", "/callback", 40060)

    await harness.member().press(message, "Details")
    await harness.playground.requested("POST", "/callback", 2)
    again = await harness.member().press(message, "Details")
    await again.answered()

    assert "an answer came too late" in caplog.text
    assert "could not be answered" not in caplog.text


async def test_an_answer_that_discord_refuses_is_logged(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    message = await harness.result()
    harness.playground.world.faults.answer("POST", "/callback", 400, times=2)

    await harness.member().press(message, "Details")
    await harness.playground.requested("POST", "/callback", 3)
    again = await harness.member().press(message, "Details")
    await again.answered()

    assert "could not be answered" in caplog.text


async def test_a_click_that_is_acknowledged_too_late_is_carried_out_all_the_same(
    harness: Harness,
) -> None:
    harness.backend.hold("done ok=")
    asked = await harness.imagine()
    status_message = await harness.shows(asked, "Generating")
    harness.playground.world.faults.refuse("POST", "/callback", 10062)

    await harness.member().press(status_message, "Cancel")

    await harness.shows(asked, "Cancelled by")


async def test_an_image_for_somebody_who_waited_too_long_is_not_a_defect(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    message = await harness.result()
    caplog.set_level(logging.INFO, "bot.frontend.responses")
    harness.playground.world.faults.refuse("PATCH", "@original", 50027)

    await harness.member().select(message, "Open an image …", ["cell:1:1"])
    await harness.playground.until(
        lambda _: any(call.status == 401 for call in harness.playground.requests)
    )
    again = await harness.member().select(message, "Open an image …", ["cell:1:1"])
    await again.answered()

    assert "an answer came too late" in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_what_is_upscaled_already_is_not_upscaled_again(harness: Harness) -> None:
    message = await harness.result()
    clicked = await harness.member().select(message, "Upscale an image …", ["cell:1:1"])
    upscaled = await harness.shows(clicked, "Upscaled")
    relabel(upscaled, "Details", "upscale", ":1:1")

    refused = await (await harness.member().press(upscaled, "Details")).answered()

    assert "already upscaled" in refused.content


async def test_an_upscale_that_failed_is_tried_again_as_it_was(harness: Harness) -> None:
    message = await harness.result()
    first = await harness.member().select(message, "Upscale an image …", ["cell:2:1"])
    await harness.shows(first, "Upscaled")
    harness.backend.faults.reject = "no such thing"
    again = await harness.member().select(message, "Upscale an image …", ["cell:2:1"])
    failed = await harness.shows(again, "Failed")
    harness.backend.faults.reject = ""

    retried = await harness.member("Ben").press(failed, "Try again")

    await harness.shows(retried, "Upscaled")
    request = (await harness.job(retried)).request
    assert request.origin == (await harness.job(first)).request.origin
    assert request.author.name == "Ben"


async def test_a_bot_without_a_workflow_for_it_says_that_it_cannot_upscale(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    async with open_harness(playground, tmp_path, clock, upscaling=False) as harness:
        message = await harness.result()
        relabel(message, "Details", "upscale", ":1:1")

        refused = await (await harness.member().press(message, "Details")).answered()

        assert "not set up on this bot" in refused.content


async def test_a_removal_that_names_no_message_is_refused(harness: Harness) -> None:
    message = await harness.result()
    relabel(message, "Details", "remove")

    refused = await (await harness.member().press(message, "Details")).answered()

    assert "cannot be found any more" in refused.content


async def test_rows_that_are_gone_do_not_stop_a_removal(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    async with open_harness(playground, tmp_path, clock, rows="auto") as harness:
        message = await harness.result()
        await playground.until(
            lambda _: len([one for one in message.controls() if "url" in one]) == 2
        )
        asked = await (await harness.member().press(message, "Delete")).answered()
        playground.world.faults.refuse("GET", "/messages$", 10003)

        await harness.member().press(asked, "Delete permanently")

        await playground.until(lambda _: asked.content == "Deleted.")
        assert message.id not in playground.world.messages


async def test_a_request_that_a_check_refuses_is_not_taken_in(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    async with open_harness(playground, tmp_path, clock, forbidden="dragon") as harness:
        asked = await harness.member().slash("imagine", "imagine", prompt="a dragon")
        message = await asked.answered()

        assert message.ephemeral
        assert message.content == "Not that word, please."
        assert await harness.queue.jobs.by_interaction(asked.id) is None


@pytest.mark.parametrize(
    ("components", "answer"),
    [
        ([], "The prompt is empty"),
        ([{"type": 1, "components": [_field("a cat --steps 0")]}], "--steps must be"),
        ([{"type": 18, "component": _field("a cat --rows 0")}], "--rows must be"),
    ],
)
async def test_forms_are_read_however_they_are_nested(
    harness: Harness, components: list[Json], answer: str
) -> None:
    message = await harness.result()
    job_id = await harness.messages.job_of(message.id)
    world = harness.playground.world
    data = {"custom_id": f"gb:edit:{job_id}", "components": components}

    handed = world.interactions.open(
        MODAL_SUBMIT, harness.member().user, world.channel("imagine"), data, message=message
    )

    await harness.playground.until(lambda _: handed.original_id)
    assert answer in world.messages[handed.original_id or 0].content


async def test_a_form_that_nobody_knows_is_answered(harness: Harness) -> None:
    message = await harness.result()
    world = harness.playground.world
    data: Json = {"custom_id": "somebody:else", "components": []}

    handed = world.interactions.open(
        MODAL_SUBMIT, harness.member().user, world.channel("imagine"), data, message=message
    )

    await harness.playground.until(lambda _: handed.original_id)
    assert "another version of the bot" in world.messages[handed.original_id or 0].content
