"""The delivery ladder: a finished picture finds its way, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot.domain.errors import DeliveryError
from bot.domain.job import Job
from bot.domain.request import Author, ChannelRef
from bot.frontend.delivery import CHANNEL, DIRECT, INTERACTION
from bot.frontend.messages import MessageNotFound
from bot.playground.client.driver import Invocation
from bot.playground.server import Playground
from bot.playground.state.models import Message
from tests.frontend.harness import LIMITS, Stage, open_stage
from tests.playground.clock import Clock


@pytest.fixture
async def stage(playground: Playground, tmp_path: Path, clock: Clock) -> AsyncIterator[Stage]:
    async with open_stage(playground, tmp_path, clock) as opened:
        yield opened


async def outlived(stage: Stage, minutes: float = 15) -> Invocation:
    """A job whose picture is ready after the token has died."""
    end = stage.backend.hold("done ok=")
    asked = await stage.imagine("a lighthouse")
    await stage.shows(asked, "Painting")
    stage.clock.pass_time(minutes=minutes)
    end.set()
    return asked


async def test_after_the_token_has_died_the_bot_posts_and_calls_the_author_once(
    stage: Stage,
) -> None:
    asked = await outlived(stage)

    message = await stage.posted("Your picture is ready.")
    card = await stage.shows(asked, "Go to the picture")

    assert message.mentions == [stage.member().id]
    assert message.nonce is not None
    assert len(message.attachments) == 1
    assert f"/{message.id})" in card.text
    assert not card.attachments
    assert not card.controls()
    assert not [call for call in stage.playground.requests if call.status == 401]
    assert (await stage.ended(asked)).delivery_method == CHANNEL


async def test_the_token_is_left_alone_in_its_last_minute(stage: Stage) -> None:
    asked = await outlived(stage, minutes=14.5)

    await stage.posted("Your picture is ready.")

    assert (await stage.ended(asked)).delivery_method == CHANNEL


async def test_where_the_bot_may_not_post_the_author_gets_a_direct_message(stage: Stage) -> None:
    stage.playground.world.faults.refuse("POST", r"/channels/\d+/messages$", 50013)
    asked = await outlived(stage)

    job = await _ended(stage, asked)

    assert job.delivery_method == DIRECT
    assert job.result is not None
    message = stage.playground.world.messages[job.result.message_id]
    assert "could not be posted there" in message.content
    assert len(message.attachments) == 1
    await stage.shows(asked, "sent separately")


async def test_what_nobody_takes_is_kept_and_the_card_says_so(stage: Stage) -> None:
    stage.playground.world.faults.refuse("POST", r"/channels/\d+/messages$", 50013)
    stage.playground.world.user("Ada").takes_dms = False
    asked = await outlived(stage)

    await stage.shows(asked, "could not be posted")

    assert (await stage.ended(asked)).delivery_method == "kept"


async def test_a_card_that_was_deleted_is_replaced_by_a_message(stage: Stage) -> None:
    end = stage.backend.hold("done ok=")
    asked = await stage.imagine("a lighthouse")
    card = await stage.shows(asked, "Painting")
    stage.playground.world.delete_message(card)

    end.set()

    await stage.posted("Your picture is ready.")
    assert (await stage.ended(asked)).delivery_method == CHANNEL


async def test_an_interrupted_attempt_is_found_on_every_rung(stage: Stage) -> None:
    asked = await stage.imagine("a lighthouse")
    await stage.shows(asked, "Done")
    job = await stage.ended(asked)
    package = stage.collector.result(job)
    nonce = f"job-{job.id}"

    assert await stage.courier.find_sent(INTERACTION, job, nonce, job.created_at) == job.result
    for rung in (CHANNEL, DIRECT):
        if rung == CHANNEL:
            assert asked.response is not None
            stage.playground.world.delete_message(asked.response)
        assert await stage.courier.find_sent(rung, job, nonce, job.created_at) is None
        posted = await stage.courier.send(rung, job, package, nonce)
        assert await stage.courier.find_sent(rung, job, nonce, job.created_at) == posted
    assert await stage.courier.find_sent(INTERACTION, job, nonce, job.created_at) is None


async def test_the_same_nonce_posts_nothing_new(stage: Stage) -> None:
    asked = await stage.imagine("a lighthouse")
    await stage.shows(asked, "Done")
    job = await stage.ended(asked)
    package = stage.collector.result(job)

    first = await stage.courier.send(CHANNEL, job, package, f"job-{job.id}")
    second = await stage.courier.send(CHANNEL, job, package, f"job-{job.id}")

    assert first == second


async def test_an_unfinished_card_is_no_result(stage: Stage) -> None:
    stage.backend.hold("done ok=")
    asked = await stage.imagine("a lighthouse")
    await stage.shows(asked, "Painting")
    job = await stage.job(asked)

    assert await stage.courier.find_sent(INTERACTION, job, "n", job.created_at) is None
    assert await stage.courier.find_sent(INTERACTION, _elsewhere(job), "n", job.created_at) is None


async def test_jobs_of_the_command_line_have_no_ladder_here(stage: Stage) -> None:
    job = await _finished(stage)
    package = stage.collector.result(job)
    nobodys = replace(_elsewhere(job), id=job.id)

    assert await stage.courier.methods(nobodys) == ()
    with pytest.raises(MessageNotFound):
        await stage.courier.send(DIRECT, nobodys, package, "n")


async def test_without_a_card_nothing_can_become_the_result(stage: Stage) -> None:
    job = await _finished(stage)
    assert job.result is not None
    await stage.posts.forget(job.result.message_id)

    with pytest.raises(MessageNotFound):
        await stage.courier.send(INTERACTION, job, stage.collector.result(job), "n")


async def test_discord_being_away_is_a_delivery_error(stage: Stage) -> None:
    job = await _finished(stage)
    stage.playground.world.faults.answer("POST", r"/messages$", 400, message="no")

    with pytest.raises(DeliveryError, match="400"):
        await stage.courier.send(CHANNEL, job, stage.collector.result(job), "n")


async def test_a_result_waits_for_the_card_that_is_just_being_posted(stage: Stage) -> None:
    gate = stage.playground.world.faults.hold("POST", "/callback", carried_out=True)
    asked = await stage.member().slash("imagine", "imagine", prompt="a lighthouse")
    await gate.reached.wait()
    await asyncio.sleep(0.1)

    gate.open()

    await stage.shows(asked, "Done")
    assert (await stage.ended(asked)).delivery_method == INTERACTION


async def test_rows_without_public_links_come_in_a_thread(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    async with open_stage(playground, tmp_path, clock, rows="auto") as stage:
        message = await stage.result("a lighthouse --seed 7")
        await playground.until(lambda _: len(_links(message)) == 2)

        assert message.thread_id is None or message.thread_id == message.id
        rows = playground.world.messages_in(playground.world.channels[message.id])
        assert [one.content for one in rows] == ["Row 1 · seed 7", "Row 2 · seed 8"]
        assert [one.attachments[0].description for one in rows] == [
            "Row 1 of 2: a lighthouse",
            "Row 2 of 2: a lighthouse",
        ]
        assert _links(message) == [
            f"https://discord.com/channels/{playground.world.guild_id}/{message.id}/{one.id}"
            for one in rows
        ]
        assert len(message.attachments) == 1

        asked = await (await stage.member().press(message, "Delete")).answered()
        await stage.member().press(asked, "Delete for good")
        await playground.until(lambda _: asked.content == "Deleted.")
        assert playground.world.messages_in(playground.world.channels[message.id]) == []


async def test_a_thread_that_is_there_already_is_used(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    async with open_stage(playground, tmp_path, clock, rows="attachments") as stage:
        end = stage.backend.hold("done ok=")
        asked = await stage.imagine("a lighthouse")
        card = await stage.shows(asked, "Painting")
        world = playground.world
        world.message_board.open_thread(world.channel("imagine"), world.bot, "talk", message=card)

        end.set()

        await playground.until(lambda _: len(_links(card)) == 2)


async def test_rows_that_a_stop_left_behind_are_posted_by_the_next_bot(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    async with open_stage(playground, tmp_path, clock, rows="auto") as stage:
        opening = playground.world.faults.hold("POST", "/threads$")
        message = await stage.result("a lighthouse")
        await opening.reached.wait()
        await stage.dispatcher.idle()
        await stage.courier.aclose(0)
        playground.world.faults.clear()
    for _ in range(2):
        async with open_stage(playground, tmp_path, clock, rows="auto") as stage:
            await stage.courier.resume_pending_rows()
            await playground.until(lambda _: len(_links(message)) == 2)
            await stage.courier.aclose()
            assert await stage.posts.pending_rows() == ()
        assert len(playground.world.messages_in(playground.world.channels[message.id])) == 2


async def test_rows_that_were_posted_before_a_crash_are_not_posted_again(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    async with open_stage(playground, tmp_path, clock, rows="auto") as stage:
        opening = playground.world.faults.hold("POST", "/threads$")
        message = await stage.result("a lighthouse")
        await opening.reached.wait()
        await stage.dispatcher.idle()
        linking = playground.world.faults.hold("PATCH", "@original")
        opening.open()
        await linking.reached.wait()
        await stage.courier.aclose(0)
        playground.world.faults.clear()
    rows = playground.world.messages_in(playground.world.channels[message.id])
    assert len(rows) == 2
    clock.pass_time(minutes=30)  # Discord has forgotten their nonces
    async with open_stage(playground, tmp_path, clock, rows="auto") as stage:
        await stage.courier.resume_pending_rows()
        await playground.until(lambda _: len(_links(message)) == 2)
    assert playground.world.messages_in(playground.world.channels[message.id]) == rows
    assert [url.rpartition("/")[2] for url in _links(message)] == [str(row.id) for row in rows]


async def test_a_grid_that_is_found_after_a_crash_gets_its_rows(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    async with open_stage(playground, tmp_path, clock, rows="auto") as stage:
        opening = playground.world.faults.hold("POST", "/threads$")
        asked = await stage.imagine("a lighthouse")
        await opening.reached.wait()
        job = await stage.ended(asked)
        await stage.courier.aclose(0)
        playground.world.faults.clear()
    async with open_stage(playground, tmp_path, clock, rows="auto") as stage:
        assert await stage.courier.find_sent(INTERACTION, job, "", job.created_at) == job.result
        card = await stage.shows(asked, "Done")
        await playground.until(lambda _: len(_links(card)) == 2)


async def test_without_threads_the_rows_lie_beside_the_grid_as_far_as_they_fit(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    limits = replace(LIMITS, max_rows=12)
    async with open_stage(playground, tmp_path, clock, rows="auto", limits=limits) as stage:
        playground.world.faults.refuse("POST", "/threads$", 50013, times=2)
        message = await stage.result("a lighthouse")
        await playground.until(lambda _: len(message.attachments) == 3)
        assert message.embeds[0]["image"]["url"] == (
            f"attachment://{message.attachments[0].filename}"
        )
        await stage.dispatcher.idle()

        many = await stage.result("a tower --rows 12 --samples 1")
        await playground.until(lambda _: len(many.attachments) == 10)
        await playground.until(lambda _: "Rows 10, 11 and 12 do not fit here" in many.text)


async def test_links_only_means_no_files(stage: Stage) -> None:
    message = await stage.result()
    await stage.dispatcher.idle()
    await stage.courier.aclose()

    assert len(message.attachments) == 1
    assert message.id not in stage.playground.world.channels


async def test_rows_that_cannot_be_posted_cost_nothing(
    playground: Playground, tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_stage(playground, tmp_path, clock, rows="auto") as stage:
        opening = playground.world.faults.hold("POST", "/threads$")
        asked = await stage.imagine("a lighthouse")
        await opening.reached.wait()
        playground.world.faults.answer("PATCH", "@original", 400)
        opening.open()
        job = await stage.ended(asked)
        await stage.courier.aclose()

        assert job.delivery_method == INTERACTION
        assert "the rows could not be posted" in caplog.text
        await stage.shows(asked, "Done")


def _links(message: Message) -> list[str]:
    return [one["url"] for one in message.controls() if "url" in one]


async def _ended(stage: Stage, asked: Invocation) -> Job:
    def over(_: object) -> bool:
        return stage.dispatcher.running == 0

    await stage.shows(asked, "Done")
    await stage.playground.until(over)
    return await stage.ended(asked)


async def _finished(stage: Stage) -> Job:
    asked = await stage.imagine("a lighthouse")
    await stage.shows(asked, "Done")
    return await stage.ended(asked)


def _elsewhere(job: Job) -> Job:
    request = replace(job.request, author=Author(0, "operator"), place=ChannelRef())
    return replace(job, id="a" * 16, request=request)
