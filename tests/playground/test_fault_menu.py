"""Test the fault menu over HTTP, as the page uses it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import httpx
import pytest

from bot.playground.server import Playground
from tests.playground.clock import Clock
from tests.playground.page import Page
from tests.playground.raw import Api, calling


@pytest.fixture
async def ada(playground: Playground) -> AsyncIterator[Page]:
    async with aiohttp.ClientSession() as session:
        yield Page(playground, session, "Ada")


def active(state: Any) -> dict[str, float | None]:
    return {one["id"]: one["left"] for one in state["faults"] if one["active"]}


async def change(page: Page, channel: str = "imagine", **body: Any) -> Any:
    place = str(page.playground.world.channel(channel).id)
    status, state = await page.post("/play/faults", channel_id=place, **body)
    assert status == 200, state
    return state


async def outcome(api: Api, place: str = "imagine", *, file: bool = True) -> int:
    """Post into a channel; return the status, 0 for a broken connection."""
    world = api.playground.world
    channel = world.direct_channel("Ada") if place == "Ada" else world.channel(place)
    path = f"/channels/{channel.id}/messages"
    files = [("a.png", b"x" * 200_000)] if file else None
    try:
        return (await api.call("POST", path, {"content": "x"}, files)).status_code
    except httpx.TransportError:
        return 0


# What a message with a file meets, and one without; where.
EFFECTS: dict[str, tuple[int, int, str]] = {
    "away": (0, 0, "imagine"),
    "unavailable": (503, 503, "imagine"),
    "rate_limit": (429, 429, "imagine"),
    "cut_before": (0, 200, "imagine"),
    "cut_after": (0, 200, "imagine"),
    "size": (413, 200, "imagine"),
    "size_page": (413, 200, "imagine"),
    "no_files": (403, 200, "imagine"),
    "no_messages": (403, 403, "imagine"),
    "locked": (400, 400, "stories"),
    "kicked": (403, 403, "imagine"),
    "no_dms": (403, 403, "Ada"),
}
# Their effect is not the status of a message.
OTHERS = {"no_answer", "archived", "store"}


@pytest.mark.parametrize("name", EFFECTS)
async def test_each_fault_is_started_and_stopped_from_the_page(
    playground: Playground, ada: Page, name: str
) -> None:
    world = playground.world
    world.message_board.open_thread(world.channel("imagine"), world.user("Ada"), "stories")
    with_file, without, place = EFFECTS[name]
    channel = "imagine" if place == "Ada" else place
    shown = {one["id"]: one for one in (await ada.get("/play/faults"))["faults"]}
    async with calling(playground) as api:
        state = await change(ada, channel, id=name, choice=shown[name]["choices"][0]["value"])
        assert list(active(state)) == [name]
        assert await outcome(api, place, file=False) == without
        assert await outcome(api, place) == with_file
        assert active(await change(ada, id=name)) == {}
        assert active(await change(ada, id=name)) == {}
        assert await outcome(api, place) == 200


async def test_every_entry_has_a_test(playground: Playground, ada: Page) -> None:
    async def hold(seconds: float) -> None:
        raise AssertionError(seconds)

    assert "store" not in {one["id"] for one in (await ada.get("/play/faults"))["faults"]}
    playground.offer_store_fault(hold)
    shown = {one["id"] for one in (await ada.get("/play/faults"))["faults"]}
    assert shown == set(EFFECTS) | OTHERS


async def test_a_fault_tells_how_long_it_lasts_and_ends_by_itself(
    playground: Playground, ada: Page, clock: Clock
) -> None:
    assert active(await change(ada, id="away", choice=10)) == {"away": 10}
    clock.pass_time(seconds=4)
    assert active(await ada.get("/play/faults")) == {"away": 6}
    clock.pass_time(seconds=6)
    assert active(await ada.get("/play/faults")) == {}


async def test_sizes_are_chosen(playground: Playground, ada: Page) -> None:
    async with calling(playground) as api:
        await change(ada, id="size", choice=1_000_000)
        assert await outcome(api) == 200
        await change(ada, id="size", choice=100_000)
        assert await outcome(api) == 413


async def test_no_answer_ends_when_everything_is_stopped(playground: Playground, ada: Page) -> None:
    await change(ada, id="no_answer", choice=0)
    async with calling(playground) as api:
        call = asyncio.create_task(outcome(api))
        while active(await ada.get("/play/faults")):
            pass
        assert not call.done()
        await change(ada)
        assert await call == 0
        assert await outcome(api) == 200


async def test_what_two_faults_take_from_a_channel_comes_back_one_by_one(
    playground: Playground, ada: Page
) -> None:
    async with calling(playground) as api:
        await change(ada, id="no_files", choice=0)
        await change(ada, id="no_messages", choice=0)
        await change(ada, id="no_messages")
        assert (await outcome(api), await outcome(api, file=False)) == (403, 200)
        await change(ada)
        assert await outcome(api) == 200
    assert playground.world.channel("imagine").overwrites == {}


async def test_a_thread_is_archived_and_opened(playground: Playground, ada: Page) -> None:
    world = playground.world
    thread = world.message_board.open_thread(
        world.channel("imagine"), world.user("Ada"), "stories"
    ).thread
    assert thread is not None
    await change(ada, "stories", id="archived", choice=0)
    assert thread.archived
    await change(ada, id="archived")
    assert not thread.archived


async def test_a_thread_that_is_gone_meanwhile_needs_no_undoing(
    playground: Playground, ada: Page
) -> None:
    world = playground.world
    world.message_board.open_thread(world.channel("random"), world.user("Ada"), "stories")
    await change(ada, "stories", id="locked", choice=0)
    await change(ada, "random", id="no_files", choice=0)
    world.delete_channel("random")
    assert active(await change(ada)) == {}


@pytest.mark.parametrize(
    "body",
    [
        {"id": "nothing", "choice": 1},
        {"id": ["away"], "choice": 1},
        {"id": "away", "choice": 2},
        {"id": "away", "choice": "1"},
        {"id": "away", "choice": True},
        {"id": "locked", "choice": 0},
        {"id": "away", "choice": 1, "as": "9"},
        {"id": "away", "choice": 1, "channel_id": "9"},
    ],
)
async def test_other_faults_and_choices_are_refused(
    playground: Playground, ada: Page, body: dict[str, Any]
) -> None:
    place = {"channel_id": str(playground.world.channel("imagine").id)}
    status, said = await ada.post("/play/faults", **(place | body))
    assert (status, active(await ada.get("/play/faults"))) == (400, {})
    assert said["message"]


async def test_the_store_is_held_by_whoever_owns_it(playground: Playground, ada: Page) -> None:
    held: list[float] = []
    ended = asyncio.Event()

    async def hold(seconds: float) -> None:
        held.append(seconds)
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    playground.offer_store_fault(hold)
    assert list(active(await change(ada, id="store", choice=5))) == ["store"]
    await change(ada, id="store")
    await ended.wait()
    assert (held, active(await ada.get("/play/faults"))) == ([5], {})


async def test_a_store_that_cannot_be_held_is_no_fault_at_work(
    playground: Playground, ada: Page
) -> None:
    async def hold(_seconds: float) -> None:
        raise OSError("it is somebody else's")

    playground.offer_store_fault(hold)
    await change(ada, id="store", choice=5)
    assert active(await ada.get("/play/faults")) == {}
