"""Presses on a result, by its author and by others, before and after a restart."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot.domain.job import Job, JobState
from bot.playground.client.driver import Invocation
from bot.playground.server import Playground
from bot.store import jobs as job_table
from bot.store.audit import AuditRepository
from tests.frontend.harness import LIMITS, Harness, open_harness
from tests.playground.clock import Clock


@pytest.fixture
async def harness(playground: Playground, tmp_path: Path, clock: Clock) -> AsyncIterator[Harness]:
    async with open_harness(playground, tmp_path, clock) as opened:
        yield opened


async def ephemeral_text(clicked: Invocation) -> str:
    """What the bot said privately to whoever pressed."""
    message = await clicked.answered()
    assert message.ephemeral
    return message.text


async def test_a_reroll_is_the_same_with_another_seed_for_whoever_clicked(harness: Harness) -> None:
    message = await harness.result("a lighthouse --seed 7 --no fog")

    clicked = await harness.member("Ben").press(message, "Re-roll")
    await harness.shows(clicked, "Done")

    job = await harness.job(clicked)
    assert (job.request.prompt, job.request.negative) == ("a lighthouse", "fog")
    assert job.request.seed != 7
    assert job.request.author.name == "Ben"
    assert clicked.response is not None
    note = f"Re-rolled by <@{harness.member('Ben').id}> from [this message]"
    assert note in clicked.response.content
    assert f"/{message.id})" in clicked.response.content
    assert not clicked.response.mentions


async def test_the_form_is_filled_in_and_what_is_handed_in_is_made(harness: Harness) -> None:
    message = await harness.result("a lighthouse --seed 7 --no fog")

    clicked = await harness.member("Ben").press(message, "Edit & run again")
    await clicked.acked()
    assert clicked.modal is not None
    fields = [label["component"] for label in clicked.modal["components"]]
    assert fields[0]["value"].startswith("a lighthouse --size 64x64 --rows 2")
    assert "fog" not in fields[0]["value"]
    assert fields[1]["value"] == "fog"
    handed = await harness.member("Ben").submit_modal(
        clicked, {"prompt": "a castle --rows 1", "negative": ""}
    )

    await harness.shows(handed, "Done")
    request = (await harness.job(handed)).request
    assert (request.prompt, request.rows, request.negative) == ("a castle", 1, "")


async def test_a_form_with_a_mistake_is_answered_privately(harness: Harness) -> None:
    message = await harness.result()
    clicked = await harness.member().press(message, "Edit & run again")
    await clicked.acked()

    handed = await harness.member().submit_modal(clicked, {"prompt": "x --steps 9999"})

    assert "--steps must be a whole number" in await ephemeral_text(handed)


async def test_buttons_and_forms_work_after_a_restart(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    async with open_harness(playground, tmp_path, clock) as harness:
        message = await harness.result("a lighthouse")
        await harness.scheduler.idle()
        opened = await harness.member().press(message, "Edit & run again")
        await opened.acked()

    async with open_harness(playground, tmp_path, clock) as harness:
        handed = await harness.member().submit_modal(opened, {"prompt": "a castle"})
        await harness.shows(handed, "Done")
        clicked = await harness.member().press(message, "Re-roll")
        await harness.shows(clicked, "Done")


async def test_one_image_is_opened_at_full_size_and_upscaled_from_there(harness: Harness) -> None:
    message = await harness.result("a lighthouse --seed 7")
    await harness.scheduler.idle()

    clicked = await harness.member("Ben").select(message, "Open an image …", ["cell:2:1"])
    opened = await clicked.answered()

    assert opened.ephemeral
    (file,) = opened.attachments
    assert (file.width, file.height) == (64, 64)
    assert file.filename.endswith("-row-02-img-01.png")
    assert file.description == "Picture 1 of row 2: a lighthouse"
    assert opened.content == "Row 2, image 1 · seed 8"
    upscaling = await harness.member("Ben").press(opened, "Upscale")
    done = await harness.shows(upscaling, "Upscaled")
    job = await harness.job(upscaling)
    assert job.request.author.name == "Ben"
    assert job.request.origin is not None
    assert (job.request.origin.row, job.request.origin.column) == (2, 1)
    assert not done.ephemeral
    assert "Row 2, image 1, upscaled by" in done.content
    assert f"/{message.id})" in done.content


async def test_an_image_is_upscaled_from_the_menu_and_opened(harness: Harness) -> None:
    message = await harness.result("a lighthouse --seed 7")

    clicked = await harness.member().select(message, "Upscale an image …", ["cell:1:2"])
    done = await harness.shows(clicked, "Upscaled")
    opened = await harness.member().press(done, "Open full size")

    (file,) = (await opened.answered()).attachments
    assert file.width == done.attachments[0].width


async def test_a_large_grid_is_chosen_from_by_row(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    async with open_harness(playground, tmp_path, clock) as harness:
        message = await harness.result("a lighthouse --rows 8 --samples 4")

        clicked = await harness.member().select(
            message, "Open an image: choose a row …", ["rows:3:3"]
        )
        asked = await clicked.answered()
        assert asked.content == "Which image do you want to open?"
        menu = asked.controls()[0]
        assert [option["value"] for option in menu["options"]] == [
            f"cell:3:{column}" for column in (1, 2, 3, 4)
        ]
        chosen = await harness.member().select(asked, menu["custom_id"], ["cell:3:4"])

        opened = await chosen.answered()
        assert opened.content.startswith("Row 3, image 4")


async def test_pictures_that_are_gone_are_said_to_be_gone(harness: Harness) -> None:
    message = await harness.result()
    for file in harness.fetcher.folder((await _only_job(harness)).id).glob("row-*.png"):
        file.unlink()

    clicked = await harness.member().select(message, "Open an image …", ["cell:1:1"])

    assert "no longer stored" in await ephemeral_text(clicked)


async def test_details_are_private_and_can_be_copied(harness: Harness) -> None:
    message = await harness.result("a lighthouse --seed 7")

    said = await ephemeral_text(await harness.member("Ben").press(message, "Details"))

    assert "a lighthouse --size 64x64" in said
    assert "row 1: 7, row 2: 8" in said


async def test_a_result_is_deleted_by_its_author_after_asking(harness: Harness) -> None:
    message = await harness.result()

    clicked = await harness.member().press(message, "Delete")
    asked = await clicked.answered()
    assert asked.ephemeral
    assert message.id in harness.playground.world.messages
    confirmed = await harness.member().press(asked, "Delete permanently")
    await confirmed.acked()

    await harness.playground.until(lambda world: message.id not in world.messages)
    await harness.playground.until(lambda _: asked.content == "Deleted.")
    assert not asked.controls()
    job = await _only_job(harness)
    assert await harness.messages.status_message(job.id) is None


async def test_a_stranger_deletes_nothing_and_a_moderator_leaves_a_record(harness: Harness) -> None:
    message = await harness.result()

    refused = await ephemeral_text(await harness.member("Ben").press(message, "Delete"))
    assert "Only the member who requested this, or a moderator" in refused
    asked = await (await harness.member("Mo").press(message, "Delete")).answered()
    await harness.member("Mo").press(asked, "Delete permanently")

    await harness.playground.until(lambda _: asked.content == "Deleted.")
    (entry,) = await AuditRepository(harness.database).entries(harness.playground.world.guild_id)
    assert entry.action == "removed"
    assert entry.actor_id == harness.member("Mo").id
    assert entry.detail["prompt"] == "a lighthouse"


async def test_deleting_twice_is_harmless(harness: Harness) -> None:
    message = await harness.result()
    first = await (await harness.member().press(message, "Delete")).answered()
    second = await (await harness.member().press(message, "Delete")).answered()

    await harness.member().press(first, "Delete permanently")
    await harness.playground.until(lambda _: first.content == "Deleted.")
    await harness.member().press(second, "Delete permanently")

    await harness.playground.until(lambda _: second.content == "It was already deleted.")


async def test_what_discord_does_not_let_the_bot_delete_is_said(harness: Harness) -> None:
    message = await harness.result()
    world = harness.playground.world
    asked = await (await harness.member().press(message, "Delete")).answered()

    world.faults.refuse("DELETE", "/messages/", 50013)
    forbidden = await harness.member().press(asked, "Delete permanently")
    (said,) = await forbidden.followed_up()
    assert "I am not allowed to delete messages here" in said.content
    world.faults.answer("DELETE", "/messages/", 400)
    broken = await harness.member().press(asked, "Delete permanently")
    (said,) = await broken.followed_up()
    assert "try again in a minute" in said.content


async def test_two_clicks_are_two_requests_and_the_limits_hold(harness: Harness) -> None:
    message = await harness.result("a lighthouse --rows 8 --samples 4")

    clicked = await harness.member().press(message, "Re-roll")

    assert "You have 8 of 40 images left" in await ephemeral_text(clicked)


async def test_a_request_beyond_todays_limits_is_not_made_again(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    async with open_harness(playground, tmp_path, clock) as harness:
        message = await harness.result("a lighthouse --rows 8 --samples 1")
        await harness.scheduler.idle()

    async with open_harness(
        playground, tmp_path, clock, limits=replace(LIMITS, max_rows=4)
    ) as harness:
        clicked = await harness.member().press(message, "Re-roll")
        assert "--rows must be a whole number from 1 to 4" in await ephemeral_text(clicked)


async def test_what_was_erased_is_not_made_again(harness: Harness) -> None:
    message = await harness.result()
    await harness.scheduler.idle()
    author, at = harness.member().id, harness.clock()

    def erase(link: sqlite3.Connection) -> None:
        job_table.erase_author_data(link, author, at=at)

    await harness.database.write(erase)

    for label in ("Re-roll", "Edit & run again"):
        clicked = await harness.member("Ben").press(message, label)
        assert "erased" in await ephemeral_text(clicked)


async def test_a_button_of_an_unknown_job_says_so(harness: Harness) -> None:
    message = await harness.result()
    for control in message.controls():
        if control.get("label") == "Details":
            control["custom_id"] = "gb:details:" + "a" * 16

    clicked = await harness.member().press(message, "Details")

    assert "no longer exists" in await ephemeral_text(clicked)


async def test_only_what_failed_is_tried_again_and_only_results_are_opened(
    harness: Harness,
) -> None:
    done = await harness.result()
    job = await _only_job(harness)
    asked = await harness.imagine("hopeless")
    failed = await harness.shows(asked, "Failed")
    other = await harness.job(asked)
    for message, before, after in (
        (done, f"gb:details:{job.id}", f"gb:retry:{job.id}"),
        (failed, f"gb:retry:{other.id}", f"gb:open:{other.id}:1:1"),
    ):
        for control in message.controls():
            if control.get("custom_id") == before:
                control["custom_id"] = after

    retried = await harness.member().press(done, "Details")
    opened = await harness.member().press(failed, "Try again")

    assert "did not fail" in await ephemeral_text(retried)
    assert "no images to choose from" in await ephemeral_text(opened)


async def test_a_picture_that_the_result_does_not_have_is_refused(harness: Harness) -> None:
    message = await harness.result("a lighthouse")
    job = await _only_job(harness)
    clicks = {"9:1": "no image 1 in row 9", "1": "from an older version"}
    for numbers, words in clicks.items():
        for control in message.controls():
            if control.get("label") == "Details":
                original = control["custom_id"]
                control["custom_id"] = f"gb:open:{job.id}:{numbers}"
                clicked = await harness.member().press(message, "Details")
                control["custom_id"] = original
        assert words in await ephemeral_text(clicked)


async def test_machines_that_do_not_hear_a_cancel_are_told_again(harness: Harness) -> None:
    harness.backend.hold("done ok=")
    asked = await harness.imagine()
    message = await harness.shows(asked, "Generating")
    harness.backend.deaf = True

    clicked = await harness.member().press(message, "Cancel")
    (said,) = await clicked.followed_up()
    assert "Press Cancel again in a minute" in said.content
    await harness.shows(asked, "Stopping")
    harness.backend.deaf = False
    await harness.member().press(message, "Cancel")

    await harness.shows(asked, "Cancelled by")
    assert (await harness.ended(asked)).state is JobState.CANCELLED


async def test_a_defect_is_answered_with_an_apology_and_a_number(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    message = await harness.result()
    await harness.scheduler.idle()
    await harness.database.write(_break_the_job)

    clicked = await harness.member().press(message, "Details")

    assert str(clicked.id) in await ephemeral_text(clicked)
    assert str(clicked.id) in caplog.text


def _break_the_job(link: sqlite3.Connection) -> None:
    link.execute("UPDATE jobs SET snapshot = '{}'")


async def _only_job(harness: Harness) -> Job:
    await harness.scheduler.idle()
    (job,) = await harness.queue.jobs.history(harness.member().id)
    return job
