"""A result that no place takes is delivered by itself, once, when a way is open again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bot.domain.job import Job, JobState
from bot.frontend.delivery_methods import CHANNEL, DIRECT
from bot.playground.client.driver import Invocation
from bot.playground.server import Playground
from bot.playground.state.guild import Event
from bot.playground.state.models import Message
from bot.playground.state.world import World
from tests.frontend.harness import Harness, Naps, open_harness, turns
from tests.playground.clock import Clock


@asynccontextmanager
async def serving(harness: Harness) -> AsyncIterator[None]:
    """Kept results are looked after until the block ends."""
    task = asyncio.create_task(harness.kept.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def kept(harness: Harness, where: str | int = "imagine") -> tuple[Invocation, Job]:
    """A job whose result nobody takes: the token has expired, the channel and Ada are closed."""
    world = harness.playground.world
    end = harness.backend.hold("done ok=")
    asked = await harness.member("Ada").slash(where, "imagine", prompt="a lighthouse")
    await asked.answered()
    await harness.shows(asked, "Generating")
    harness.clock.pass_time(minutes=15)
    world.add_deny_overwrite("imagine", "SEND_MESSAGES", "SEND_MESSAGES_IN_THREADS")
    world.user("Ada").takes_dms = False
    end.set()
    await harness.shows(asked, "could not be posted")
    return asked, await harness.ended(asked)


def results(world: World, job: Job) -> list[Message]:
    return [
        one for one in world.messages.values() if one.attachments and job.id in str(one.controls())
    ]


async def delivered(harness: Harness, job: Job, method: str) -> Message:
    """The one message with the result, once the job says where it is."""
    stored = job
    async for _ in turns():
        found = await harness.queue.jobs.get(job.id)
        assert found is not None
        stored = found
        if stored.delivery_method == method and len(harness.kept) == 0:
            break
    assert (stored.state, stored.delivery_method) == (JobState.FINISHED, method)
    (message,) = results(harness.playground.world, job)
    assert stored.result is not None
    assert stored.result.message_id == message.id
    assert stored.ended_at == job.ended_at
    assert len(harness.kept) == 0
    return message


def give_permission(harness: Harness) -> str:
    harness.playground.world.restore("imagine")
    return CHANNEL


def invite_back(harness: Harness) -> str:
    world = harness.playground.world
    world._overwrites.clear() if hasattr(world, "_overwrites") else None
    world.channel("imagine").overwrites.clear()
    harness.client.dispatch("guild_join", harness.client.guilds[0])
    return CHANNEL


def open_direct_messages(harness: Harness) -> str:
    harness.playground.world.user("Ada").takes_dms = True  # nobody is told: tried by the hour
    return DIRECT


OPENINGS: list[Callable[[Harness], str]] = [give_permission, invite_back, open_direct_messages]


@pytest.mark.parametrize("opening", OPENINGS)
async def test_a_kept_result_comes_by_itself_once_a_way_is_open(
    playground: Playground, tmp_path: Path, clock: Clock, opening: Callable[[Harness], str]
) -> None:
    async with open_harness(playground, tmp_path, clock, naps=Naps()) as harness, serving(harness):
        asked, job = await kept(harness)
        assert len(harness.kept) == 1
        method = opening(harness)

        message = await delivered(harness, job, method)

        pings = [f"<@{job.request.author.id}>" in one.content for one in [message]]
        assert pings == [method == CHANNEL]
        if method == CHANNEL:
            status = await harness.shows(asked, "Go to the images")
            assert f"/{message.id})" in status.text


@pytest.mark.parametrize("opening", [*OPENINGS])
async def test_after_a_restart_kept_results_are_tried_at_once(
    playground: Playground, tmp_path: Path, clock: Clock, opening: Callable[[Harness], str]
) -> None:
    async with open_harness(playground, tmp_path, clock, naps=Naps()) as harness:
        _, job = await kept(harness)
        method = opening(harness)
    for _ in range(2):
        async with (
            open_harness(playground, tmp_path, clock, naps=Naps()) as harness,
            serving(harness),
        ):
            await delivered(harness, job, method)


async def test_a_kept_result_is_tried_when_its_author_is_there_again(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    async with open_harness(playground, tmp_path, clock) as harness, serving(harness):
        _, job = await kept(harness)
        playground.world.user("Ada").takes_dms = True

        clock.pass_time(seconds=1)
        await harness.imagine("another lighthouse")

        message = await delivered(harness, job, DIRECT)
        assert "could not be posted there" in message.content


async def test_a_kept_result_in_a_thread_comes_when_the_thread_is_unlocked(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    world = playground.world
    async with open_harness(playground, tmp_path, clock, naps=Naps()) as harness, serving(harness):
        thread = world.message_board.open_thread(
            world.channel("imagine"), world.user("Ada"), "talk"
        )
        end = harness.backend.hold("done ok=")
        asked = await harness.member("Ada").slash(thread.id, "imagine", prompt="a lighthouse")
        await asked.answered()
        await harness.shows(asked, "Generating")
        clock.pass_time(minutes=15)
        world.user("Ada").takes_dms = False
        assert thread.thread is not None
        thread.thread.locked = thread.thread.archived = True
        world.emit(Event("THREAD_UPDATE", channel=thread))
        end.set()
        job = await harness.ended(asked)
        assert job.delivery_method == "kept"

        thread.thread.locked = thread.thread.archived = False
        world.emit(Event("THREAD_UPDATE", channel=thread))

        await delivered(harness, job, CHANNEL)
        await harness.shows(asked, "Go to the images")


@pytest.mark.parametrize("carried_out", [False, True])
async def test_a_crash_in_the_middle_of_a_late_delivery_doubles_nothing(
    playground: Playground, tmp_path: Path, clock: Clock, carried_out: bool
) -> None:
    faults = playground.world.faults
    async with open_harness(playground, tmp_path, clock, naps=Naps()) as harness, serving(harness):
        _, job = await kept(harness)
        gate = faults.hold("POST", r"/channels/\d+/messages$", carried_out=carried_out)
        give_permission(harness)
        await gate.reached.wait()
    faults._faults.clear()
    clock.pass_time(minutes=10)
    async with open_harness(playground, tmp_path, clock, naps=Naps()) as harness, serving(harness):
        await delivered(harness, job, CHANNEL)


async def test_a_way_that_stays_closed_is_tried_seldom_and_seldomer(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    async with open_harness(playground, tmp_path, clock) as harness:
        _, job = await kept(harness)
        _, other = await kept(harness)
        slept: list[float] = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)
            if len(slept) > 12:
                await asyncio.Event().wait()
            await asyncio.sleep(0)

        now = 0.0
        results_kept = type(harness.kept)(
            harness.database, _never, now=clock, clock=lambda: now + sum(slept), sleep=sleep
        )
        task = asyncio.create_task(results_kept.run())
        async for _ in turns():
            if len(slept) > 12:
                break
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        long = [round(one / 3600) for one in slept if one > 60]
        assert long == [1, 2, 4, 8, 16, 24][: len(long)]
        assert len(long) >= 5
        assert {job.id, other.id} == {
            one.id for one in await harness.queue.jobs.kept(job.created_at)
        }


async def _never(job: Job) -> Job:
    return job
