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
from bot.frontend.delivery_methods import CHANNEL, DIRECT, INTERACTION
from bot.frontend.discord_errors import MessageNotFound
from bot.playground.client.driver import Invocation
from bot.playground.server import Playground
from bot.playground.state.models import Message
from bot.playground.state.world import World
from tests.frontend.harness import LIMITS, Harness, Naps, open_harness
from tests.playground.clock import Clock


@pytest.fixture
async def harness(playground: Playground, tmp_path: Path, clock: Clock) -> AsyncIterator[Harness]:
    async with open_harness(playground, tmp_path, clock) as opened:
        yield opened


async def outlived(harness: Harness, minutes: float = 15) -> Invocation:
    """A job whose picture is ready after the token has died."""
    end = harness.backend.hold("done ok=")
    asked = await harness.imagine("a lighthouse")
    await harness.shows(asked, "Generating")
    harness.clock.pass_time(minutes=minutes)
    end.set()
    return asked


async def test_after_the_token_has_died_the_bot_posts_and_calls_the_author_once(
    harness: Harness,
) -> None:
    asked = await outlived(harness)

    message = await harness.posted("Your images are ready.")
    status_message = await harness.shows(asked, "Go to the images")

    assert message.mentions == [harness.member().id]
    assert message.nonce is not None
    assert len(message.attachments) == 1
    assert f"/{message.id})" in status_message.text
    assert not status_message.attachments
    assert not status_message.controls()
    assert not [call for call in harness.playground.requests if call.status == 401]
    assert (await harness.ended(asked)).delivery_method == CHANNEL


async def test_the_token_is_left_alone_in_its_last_minute(harness: Harness) -> None:
    asked = await outlived(harness, minutes=14.5)

    await harness.posted("Your images are ready.")

    assert (await harness.ended(asked)).delivery_method == CHANNEL


async def test_where_the_bot_may_not_post_the_author_gets_a_direct_message(
    harness: Harness,
) -> None:
    harness.playground.world.faults.refuse("POST", r"/channels/\d+/messages$", 50013)
    asked = await outlived(harness)

    job = await _ended(harness, asked)

    assert job.delivery_method == DIRECT
    assert job.result is not None
    message = harness.playground.world.messages[job.result.message_id]
    assert "could not be posted there" in message.content
    assert len(message.attachments) == 1
    await harness.shows(asked, "sent in another message")


async def test_what_nobody_takes_is_kept_and_the_status_message_says_so(harness: Harness) -> None:
    harness.playground.world.faults.refuse("POST", r"/channels/\d+/messages$", 50013)
    harness.playground.world.user("Ada").takes_dms = False
    asked = await outlived(harness)

    await harness.shows(asked, "could not be posted")

    assert (await harness.ended(asked)).delivery_method == "kept"


async def test_a_status_message_that_was_deleted_is_replaced_by_a_message(harness: Harness) -> None:
    end = harness.backend.hold("done ok=")
    asked = await harness.imagine("a lighthouse")
    status_message = await harness.shows(asked, "Generating")
    harness.playground.world.delete_message(status_message)

    end.set()

    await harness.posted("Your images are ready.")
    assert (await harness.ended(asked)).delivery_method == CHANNEL


async def test_an_interrupted_attempt_is_found_by_every_method(harness: Harness) -> None:
    asked = await harness.imagine("a lighthouse")
    await harness.shows(asked, "Done")
    job = await harness.ended(asked)
    package = harness.fetcher.result(job)
    nonce = f"job-{job.id}"

    assert await harness.transport.find_sent(INTERACTION, job, nonce, job.created_at) == job.result
    for method in (CHANNEL, DIRECT):
        if method == CHANNEL:
            assert asked.response is not None
            harness.playground.world.delete_message(asked.response)
        assert await harness.transport.find_sent(method, job, nonce, job.created_at) is None
        posted = await harness.transport.send(method, job, package, nonce)
        assert await harness.transport.find_sent(method, job, nonce, job.created_at) == posted
    assert await harness.transport.find_sent(INTERACTION, job, nonce, job.created_at) is None


async def test_the_same_nonce_posts_nothing_new(harness: Harness) -> None:
    asked = await harness.imagine("a lighthouse")
    await harness.shows(asked, "Done")
    job = await harness.ended(asked)
    package = harness.fetcher.result(job)

    first = await harness.transport.send(CHANNEL, job, package, f"job-{job.id}")
    second = await harness.transport.send(CHANNEL, job, package, f"job-{job.id}")

    assert first == second


async def test_an_unfinished_status_message_is_no_result(harness: Harness) -> None:
    harness.backend.hold("done ok=")
    asked = await harness.imagine("a lighthouse")
    await harness.shows(asked, "Generating")
    job = await harness.job(asked)

    assert await harness.transport.find_sent(INTERACTION, job, "n", job.created_at) is None
    assert (
        await harness.transport.find_sent(INTERACTION, _elsewhere(job), "n", job.created_at) is None
    )


async def test_jobs_of_the_command_line_have_no_delivery_method_here(harness: Harness) -> None:
    job = await _finished(harness)
    package = harness.fetcher.result(job)
    nobodys = replace(_elsewhere(job), id=job.id)

    assert await harness.transport.methods(nobodys) == ()
    with pytest.raises(MessageNotFound):
        await harness.transport.send(DIRECT, nobodys, package, "n")


async def test_without_a_status_message_nothing_can_become_the_result(harness: Harness) -> None:
    job = await _finished(harness)
    assert job.result is not None
    await harness.messages.forget(job.result.message_id)

    with pytest.raises(MessageNotFound):
        await harness.transport.send(INTERACTION, job, harness.fetcher.result(job), "n")


async def test_discord_being_away_is_a_delivery_error(harness: Harness) -> None:
    job = await _finished(harness)
    harness.playground.world.faults.answer("POST", r"/messages$", 400, message="no")

    with pytest.raises(DeliveryError, match="400"):
        await harness.transport.send(CHANNEL, job, harness.fetcher.result(job), "n")


async def test_a_result_waits_for_the_status_message_that_is_just_being_posted(
    harness: Harness,
) -> None:
    gate = harness.playground.world.faults.hold("POST", "/callback", carried_out=True)
    asked = await harness.member().slash("imagine", "imagine", prompt="a lighthouse")
    await gate.reached.wait()
    await asyncio.sleep(0.1)

    gate.open()

    await harness.shows(asked, "Done")
    assert (await harness.ended(asked)).delivery_method == INTERACTION


async def test_rows_without_public_links_come_in_a_thread(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    async with open_harness(playground, tmp_path, clock, rows="auto") as harness:
        message = await harness.result("a lighthouse --seed 7")
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

        asked = await (await harness.member().press(message, "Delete")).answered()
        await harness.member().press(asked, "Delete permanently")
        await playground.until(lambda _: asked.content == "Deleted.")
        assert playground.world.messages_in(playground.world.channels[message.id]) == []


async def test_a_thread_that_is_there_already_is_used(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    async with open_harness(playground, tmp_path, clock, rows="attachments") as harness:
        end = harness.backend.hold("done ok=")
        asked = await harness.imagine("a lighthouse")
        status_message = await harness.shows(asked, "Generating")
        world = playground.world
        world.message_board.open_thread(
            world.channel("imagine"), world.bot, "talk", message=status_message
        )

        end.set()

        await playground.until(lambda _: len(_links(status_message)) == 2)


async def test_rows_that_a_stop_left_behind_are_posted_by_the_next_bot(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    async with open_harness(playground, tmp_path, clock, rows="auto") as harness:
        opening = playground.world.faults.hold("POST", "/threads$")
        message = await harness.result("a lighthouse")
        await opening.reached.wait()
        await harness.scheduler.idle()
        await harness.transport.aclose(0)
        playground.world.faults.clear()
    for _ in range(2):
        async with open_harness(playground, tmp_path, clock, rows="auto") as harness:
            await harness.transport.resume_pending_rows()
            await playground.until(lambda _: len(_links(message)) == 2)
            await harness.transport.aclose()
            assert await harness.messages.pending_rows() == ()
        assert len(playground.world.messages_in(playground.world.channels[message.id])) == 2


async def test_rows_that_were_posted_before_a_crash_are_not_posted_again(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    async with open_harness(playground, tmp_path, clock, rows="auto") as harness:
        opening = playground.world.faults.hold("POST", "/threads$")
        message = await harness.result("a lighthouse")
        await opening.reached.wait()
        await harness.scheduler.idle()
        linking = playground.world.faults.hold("PATCH", "@original")
        opening.open()
        await linking.reached.wait()
        await harness.transport.aclose(0)
        playground.world.faults.clear()
    rows = playground.world.messages_in(playground.world.channels[message.id])
    assert len(rows) == 2
    clock.pass_time(minutes=30)  # Discord has forgotten their nonces
    async with open_harness(playground, tmp_path, clock, rows="auto") as harness:
        await harness.transport.resume_pending_rows()
        await playground.until(lambda _: len(_links(message)) == 2)
    assert playground.world.messages_in(playground.world.channels[message.id]) == rows
    assert [url.rpartition("/")[2] for url in _links(message)] == [str(row.id) for row in rows]


async def test_a_grid_that_is_found_after_a_crash_gets_its_rows(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    async with open_harness(playground, tmp_path, clock, rows="auto") as harness:
        opening = playground.world.faults.hold("POST", "/threads$")
        asked = await harness.imagine("a lighthouse")
        await opening.reached.wait()
        job = await harness.ended(asked)
        await harness.transport.aclose(0)
        playground.world.faults.clear()
    async with open_harness(playground, tmp_path, clock, rows="auto") as harness:
        assert await harness.transport.find_sent(INTERACTION, job, "", job.created_at) == job.result
        status_message = await harness.shows(asked, "Done")
        await playground.until(lambda _: len(_links(status_message)) == 2)


async def test_without_threads_the_rows_lie_beside_the_grid_as_far_as_they_fit(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    limits = replace(LIMITS, max_rows=12)
    async with open_harness(playground, tmp_path, clock, rows="auto", limits=limits) as harness:
        playground.world.faults.refuse("POST", "/threads$", 50013, times=2)
        message = await harness.result("a lighthouse")
        await playground.until(lambda _: len(message.attachments) == 3)
        assert message.embeds[0]["image"]["url"] == (
            f"attachment://{message.attachments[0].filename}"
        )
        await harness.scheduler.idle()

        many = await harness.result("a tower --rows 12 --samples 1")
        await playground.until(lambda _: len(many.attachments) == 10)
        await playground.until(lambda _: "Rows 10, 11 and 12 do not fit here" in many.text)


def _shown_rows(world: World, message: Message) -> list[str]:
    """Return the rows that are beside a grid or in its thread."""
    thread = world.channels.get(message.id)
    posts = [message, *(world.messages_in(thread) if thread else ())]
    names = [file.filename for post in posts for file in post.attachments]
    return sorted(name.partition(".")[0][-6:] for name in names if "-row-" in name)


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize("refused", ["thread", "second row", "first row"])
async def test_no_row_is_posted_twice_when_a_thread_is_refused(
    playground: Playground, tmp_path: Path, clock: Clock, refused: str, stopped: bool
) -> None:
    world = playground.world
    async with open_harness(playground, tmp_path, clock, rows="auto") as harness:
        opening = world.faults.hold("POST", "/threads$")
        message = await harness.result("a lighthouse")
        await opening.reached.wait()
        await harness.scheduler.idle()
        in_thread = f"/channels/{message.id}/messages$"
        if refused == "thread":
            world.faults.refuse("POST", "/threads$", 50013)
        else:
            # The first one is held where it is not the one that is refused.
            first = world.faults.hold("POST", in_thread) if refused == "second row" else None
            world.faults.refuse("POST", in_thread, 50013)
            if first is not None:
                first.open()
        attaching = world.faults.hold("PATCH", "@original", carried_out=True)
        opening.open()
        await attaching.reached.wait()
        if stopped:
            await harness.transport.aclose(0)
            world.faults.clear()
        else:
            attaching.open()
            await playground.until(lambda _: len(_shown_rows(world, message)) == 2)
            await harness.transport.aclose()
    if stopped:
        async with open_harness(playground, tmp_path, clock, rows="auto") as harness:
            await harness.transport.resume_pending_rows()
            await harness.transport.aclose(10)
            assert await harness.messages.pending_rows() == ()
    assert _shown_rows(world, message) == ["row-01", "row-02"]


@pytest.mark.parametrize("refusals", [6, 7])
@pytest.mark.parametrize("posted", [0, 1])
async def test_rows_come_when_the_bot_is_invited_back(
    playground: Playground, tmp_path: Path, clock: Clock, posted: int, refusals: int
) -> None:
    world = playground.world
    naps = Naps()
    async with open_harness(playground, tmp_path, clock, rows="auto", naps=naps) as harness:
        opening = world.faults.hold("POST", "/threads$")
        message = await harness.result("a lighthouse")
        await opening.reached.wait()
        await harness.scheduler.idle()
        clock.pass_time(minutes=30)  # the token of the interaction no longer works
        first = world.faults.hold("POST", f"/channels/{message.id}/messages$")
        opening.open()
        await first.reached.wait()
        if posted:
            second = world.faults.hold("POST", f"/channels/{message.id}/messages$")
            first.open()
            await second.reached.wait()
            first = second
        # As if the bot were thrown off the server, and invited back some attempts later.
        world.faults.refuse("*", "", 50001, times=refusals)
        first.open()
        await playground.until(lambda _: len(_shown_rows(world, message)) == 2)
        world.faults.clear()
        await harness.transport.aclose(0)
    async with open_harness(playground, tmp_path, clock, rows="auto") as harness:
        await harness.transport.resume_pending_rows()
        await harness.transport.aclose(10)
        assert _shown_rows(world, message) == ["row-01", "row-02"]
        assert await harness.messages.pending_rows() == ()


async def test_links_only_means_no_files(harness: Harness) -> None:
    message = await harness.result()
    await harness.scheduler.idle()
    await harness.transport.aclose()

    assert len(message.attachments) == 1
    assert message.id not in harness.playground.world.channels


async def test_rows_that_cannot_be_posted_cost_nothing(
    playground: Playground, tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_harness(playground, tmp_path, clock, rows="auto") as harness:
        opening = playground.world.faults.hold("POST", "/threads$")
        asked = await harness.imagine("a lighthouse")
        await opening.reached.wait()
        playground.world.faults.answer("PATCH", "@original", 400)
        opening.open()
        job = await harness.ended(asked)
        await harness.transport.aclose()

        assert job.delivery_method == INTERACTION
        assert "the rows could not be posted" in caplog.text
        await harness.shows(asked, "Done")


def _links(message: Message) -> list[str]:
    return [one["url"] for one in message.controls() if "url" in one]


async def _ended(harness: Harness, asked: Invocation) -> Job:
    def over(_: object) -> bool:
        return harness.scheduler.running == 0

    await harness.shows(asked, "Done")
    await harness.playground.until(over)
    return await harness.ended(asked)


async def _finished(harness: Harness) -> Job:
    asked = await harness.imagine("a lighthouse")
    await harness.shows(asked, "Done")
    return await harness.ended(asked)


def _elsewhere(job: Job) -> Job:
    request = replace(job.request, author=Author(0, "operator"), place=ChannelRef())
    return replace(job, id="a" * 16, request=request)
