"""Files that Discord refuses for their size arrive smaller, in every place they can go to."""

from __future__ import annotations

import io
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image

from bot.backends.scripted import synthetic_image
from bot.domain.errors import ArtifactMissing
from bot.frontend.delivery_methods import CHANNEL, DIRECT, INTERACTION
from bot.frontend.discord_errors import TooLarge
from bot.frontend.responses import INTERNAL_ERROR_MESSAGE
from bot.frontend.result_embeds import Link
from bot.frontend.result_files import upload_within_limit
from bot.frontend.upload_limits import MIB, SIZE_STEPS, SizeLimits
from bot.playground.rest.faults import FOREVER, Faults
from bot.playground.server import Playground
from bot.playground.state.models import Message
from tests.frontend.application import Bot
from tests.frontend.harness import LIMITS, Harness, open_harness
from tests.playground.clock import Clock

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
MOST = 300_000
SIDE = 256

Fault = Callable[[Faults, str], object]

FAULTS: Mapping[str, Fault] = {
    "once": lambda faults, path: faults.answer("*", path, 413, code=40005, over_bytes=0),
    "above a size": lambda faults, path: faults.limit_files(MOST, path),
    "a proxy's page": lambda faults, path: faults.limit_files(MOST, path, page=True),
    "the newer code": lambda faults, path: faults.answer(
        "*", path, 400, code=50045, over_bytes=MOST, seconds=FOREVER
    ),
}
every_fault = pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)


def noise(env: Mapping[str, str], name: str) -> bytes:
    """A picture of the size that was asked for, as heavy as a picture can be."""
    with Image.open(io.BytesIO(synthetic_image(env, name))) as plain:
        size = plain.size
    heavy = Image.frombytes("RGB", size, random.Random(7).randbytes(size[0] * size[1] * 3))
    out = io.BytesIO()
    heavy.save(out, "PNG", compress_level=1)
    return out.getvalue()


@pytest.fixture(autouse=True)
def heavy_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.backends.scripted.synthetic_image", noise)


def big(rows: str, **more: object) -> dict[str, object]:
    limits = replace(LIMITS, width=SIDE, height=SIDE, max_pixels=384 * 384)
    return {"rows": rows, "limits": limits, **more}


@pytest.fixture
async def harness(playground: Playground, tmp_path: Path, clock: Clock) -> AsyncIterator[Harness]:
    async with open_harness(playground, tmp_path, clock, **big("attachments")) as opened:  # type: ignore[arg-type]
        yield opened


def sizes(message: Message) -> list[int]:
    return [len(attachment.content) for attachment in message.attachments]


async def to_interaction(harness: Harness, fault: Fault) -> Message:
    fault(harness.playground.world.faults, "@original")
    asked = await harness.imagine("a lighthouse")
    message = await harness.shows(asked, "Done")
    assert (await harness.ended(asked)).delivery_method == INTERACTION
    return message


async def to_channel(harness: Harness, fault: Fault) -> Message:
    return await late(harness, fault, CHANNEL)


async def to_direct(harness: Harness, fault: Fault) -> Message:
    channel = harness.playground.world.channel("imagine").id
    harness.playground.world.faults.answer(
        "POST", rf"/channels/{channel}/messages$", 403, code=50013, times=99
    )
    return await late(harness, fault, DIRECT)


async def late(harness: Harness, fault: Fault, method: str) -> Message:
    """A result that comes after the token has died, so that the bot posts by its own right."""
    end = harness.backend.hold("done ok=")
    asked = await harness.imagine("a lighthouse")
    await harness.shows(asked, "Generating")
    fault(harness.playground.world.faults, r"/messages(/\d+)?$")
    harness.clock.pass_time(minutes=15)
    end.set()
    job = await harness.ended(asked)
    assert job.delivery_method == method
    assert job.result is not None
    return harness.playground.world.messages[job.result.message_id]


async def to_thread(harness: Harness, fault: Fault) -> Message:
    fault(harness.playground.world.faults, r"/channels/\d+/messages$")
    grid = await harness.result("a lighthouse")

    def rows(_: object) -> list[Message]:
        found = harness.playground.world.messages_in(grid.id) if grid.thread_id else []
        return found if len(found) == 2 else []

    messages = await harness.playground.until(rows)
    assert all(message.attachments for message in messages)
    return max(messages, key=lambda message: max(sizes(message)))


async def to_beside(harness: Harness, fault: Fault) -> Message:
    faults = harness.playground.world.faults
    faults.answer("POST", r"/threads$", 403, code=50013, times=9)
    asked = await harness.imagine("a lighthouse --rows 2")
    fault(faults, "@original")
    message = await harness.shows(asked, "Done")
    await harness.ended(asked)
    await harness.transport.aclose()
    assert len(message.attachments) > 1 or "not fit here" in message.text
    return message


async def to_one_image(harness: Harness, fault: Fault) -> Message:
    grid = await harness.result("a lighthouse --samples 1 --rows 2 --size 384x384")
    fault(harness.playground.world.faults, "@original")
    click = await harness.member().select(grid, "Open an image …", ["cell:1:1"])
    answer = await click.answered()

    def opened(_: object) -> Message | None:
        message = click.response
        return message if message is not None and message.attachments else None

    assert answer.ephemeral
    return await harness.playground.until(opened)


PLACES: Mapping[str, Callable[[Harness, Fault], Awaitable[Message]]] = {
    "interaction": to_interaction,
    "channel": to_channel,
    "direct message": to_direct,
    "thread of rows": to_thread,
    "rows beside the grid": to_beside,
    "one image": to_one_image,
}


@every_fault
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
async def test_what_is_refused_for_its_size_arrives_smaller(
    harness: Harness, place: Callable[[Harness, Fault], Awaitable[Message]], fault: Fault
) -> None:
    message = await place(harness, fault)

    assert message.attachments
    assert fault is FAULTS["once"] or sum(sizes(message)) <= MOST
    assert INTERNAL_ERROR_MESSAGE[:30] not in message.text
    assert [call for call in harness.playground.requests if call.status in (400, 413)]


async def test_what_a_place_takes_is_remembered_for_a_while(harness: Harness) -> None:
    faults = harness.playground.world.faults
    fault = faults.limit_files(MOST, "@original")
    await harness.result("a lighthouse")
    refused = fault.hits
    assert refused > 0

    faults.remove(fault)
    smaller = await harness.result("a second lighthouse", "Ben")
    assert 0 < max(sizes(smaller)) <= MOST
    harness.clock.pass_time(hours=2)
    again = await harness.result("a third lighthouse")
    assert max(sizes(again)) > MOST


async def test_a_place_that_takes_no_file_gets_links_where_there_are_any(
    playground: Playground, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = Link(1, "https://example.org/row-01.png")
    monkeypatch.setattr("bot.frontend.result_files.public_links", lambda job, *, plain: (link,))
    async with open_harness(playground, tmp_path, clock, **big("links")) as harness:  # type: ignore[arg-type]
        playground.world.faults.limit_files(0)
        asked = await harness.imagine("a lighthouse")
        message = await harness.shows(asked, "Done")
        assert (await harness.ended(asked)).delivery_method == INTERACTION

        assert not message.attachments
        assert "The grid is too large for Discord here" in message.text
        assert "https://example.org/row-01.png" in str(message.components)


async def test_where_neither_file_nor_link_is_taken_the_result_is_kept(harness: Harness) -> None:
    harness.playground.world.faults.limit_files(0)
    asked = await harness.imagine("a lighthouse")
    await harness.shows(asked, "could not be posted")
    assert (await harness.ended(asked)).delivery_method == "kept"


async def test_an_image_that_no_size_fits_is_answered_in_words(harness: Harness) -> None:
    grid = await harness.result("a lighthouse")
    harness.playground.world.faults.limit_files(0)
    click = await harness.member().select(grid, "Open an image …", ["cell:1:1"])

    def said(_: object) -> bool:
        message = click.response
        return message is not None and "Discord does not accept this image here." in message.text

    await harness.playground.until(said)


async def test_a_status_message_whose_preview_is_refused_goes_on_without_it(
    harness: Harness,
) -> None:
    end = harness.backend.hold("done ok=")
    harness.playground.world.faults.limit_files(0, "@original")
    asked = await harness.imagine("a lighthouse")
    status_message = await harness.shows(asked, "**100 %**")
    assert not status_message.attachments
    harness.playground.world.faults.clear()
    end.set()
    await harness.shows(asked, "Done")


@pytest.mark.parametrize("over", [None, 300_000, 100])
async def test_show_never_ends_in_an_apology(bot: Bot, over: int | None) -> None:
    bot.dispatch()
    job = await bot.imagine("a lighthouse --size 256x256")
    await bot.finished(job)
    faults = bot.playground.world.faults
    if over is None:
        faults.answer("*", "@original", 413, code=40005, over_bytes=0)
    else:
        faults.limit_files(over, "@original")
    asked = await bot.member().slash("imagine", "show", id=job.id)

    def shown(_: object) -> Message | None:
        message = asked.response
        return message if message is not None and "Done" in message.text else None

    message = await bot.playground.until(shown)
    assert bool(message.attachments) == (over != 100)
    assert over != 100 or "open the images with the menu below" in message.text


@pytest.mark.parametrize(
    ("limit", "taken", "tried"),
    [
        (25 * MIB, 30 * MIB, [25 * MIB]),
        (25 * MIB, 9 * MIB, [25 * MIB, 10 * MIB, 8 * MIB]),
        (10 * MIB, MIB, [10 * MIB, 8 * MIB, 4 * MIB, 2 * MIB, MIB]),
        (10 * MIB, 0, [10 * MIB, *SIZE_STEPS[1:]]),
        (100, 50, [100, 50]),
        (100, 0, [100, 50]),
    ],
)
async def test_sizes_are_tried_from_the_largest_down_to_a_floor(
    limit: int, taken: int, tried: list[int]
) -> None:
    asked: list[int] = []
    learnt: list[int] = []

    async def make(most: int) -> tuple[int, int]:
        asked.append(most)
        return most, most

    async def post(weight: int) -> str:
        if weight > taken:
            raise TooLarge("too large")
        return "posted"

    if not taken:
        with pytest.raises(TooLarge):
            await upload_within_limit(limit, make, post, learn=learnt.append)
        assert learnt == []
    else:
        assert await upload_within_limit(limit, make, post, learn=learnt.append) == "posted"
        assert learnt == tried[-1:] * (len(tried) > 1)
    assert asked == tried


async def test_a_light_file_is_not_posted_again_at_the_same_size() -> None:
    posted: list[int] = []

    async def make(most: int) -> tuple[int, int]:
        return min(most, 700_000), min(most, 700_000)

    async def post(weight: int) -> None:
        posted.append(weight)
        raise TooLarge("too large")

    with pytest.raises(TooLarge):
        await upload_within_limit(10 * MIB, make, post)
    assert posted == [700_000, MIB // 2, MIB // 4]


async def test_what_cannot_be_written_so_small_is_too_large_and_not_missing() -> None:
    async def make(most: int) -> tuple[int, int]:
        if most < MIB:
            raise ArtifactMissing("cannot be written")
        return most, most

    async def post(_: int) -> None:
        raise TooLarge("too large")

    with pytest.raises(TooLarge):
        await upload_within_limit(2 * MIB, make, post)
    with pytest.raises(ArtifactMissing):
        await upload_within_limit(10, make, post)


def test_a_direct_message_has_a_limit_of_its_own() -> None:
    limits = SizeLimits()
    limits.learn(7, MIB, NOON)
    assert limits.limit(7, 10 * MIB, NOON) == MIB
    assert limits.limit(7, 1000, NOON) == 1000
    assert limits.limit(0, 10 * MIB, NOON) == 10 * MIB
    assert limits.limit(7, 10 * MIB, NOON + timedelta(hours=1)) == 10 * MIB
