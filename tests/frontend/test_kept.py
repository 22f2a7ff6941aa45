"""A result that no place takes is delivered by itself, once, when a way is open again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bot.domain.job import Job, JobState
from bot.frontend.delivery import CHANNEL, DIRECT
from bot.playground.client.driver import Invocation
from bot.playground.server import Playground
from bot.playground.state.guild import Event
from bot.playground.state.models import Message
from bot.playground.state.world import World
from tests.frontend.harness import Naps, Stage, open_stage, turns
from tests.playground.clock import Clock


@asynccontextmanager
async def serving(stage: Stage) -> AsyncIterator[None]:
    """Kept results are looked after until the block ends."""
    task = asyncio.create_task(stage.kept.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def kept(stage: Stage, where: str | int = "imagine") -> tuple[Invocation, Job]:
    """A job whose result nobody takes: the token has expired, the channel and Ada are closed."""
    world = stage.playground.world
    end = stage.backend.hold("done ok=")
    asked = await stage.member("Ada").slash(where, "imagine", prompt="a lighthouse")
    await asked.answered()
    await stage.shows(asked, "Painting")
    stage.clock.pass_time(minutes=15)
    world.add_deny_overwrite("imagine", "SEND_MESSAGES", "SEND_MESSAGES_IN_THREADS")
    world.user("Ada").takes_dms = False
    end.set()
    await stage.shows(asked, "could not be posted")
    return asked, await stage.ended(asked)


def results(world: World, job: Job) -> list[Message]:
    return [
        one for one in world.messages.values() if one.attachments and job.id in str(one.controls())
    ]


async def delivered(stage: Stage, job: Job, rung: str) -> Message:
    """The one message with the result, once the job says where it is."""
    stored = job
    async for _ in turns():
        found = await stage.queue.jobs.get(job.id)
        assert found is not None
        stored = found
        if stored.delivery_method == rung and len(stage.kept) == 0:
            break
    assert (stored.state, stored.delivery_method) == (JobState.FINISHED, rung)
    (message,) = results(stage.playground.world, job)
    assert stored.result is not None
    assert stored.result.message_id == message.id
    assert stored.ended_at == job.ended_at
    assert len(stage.kept) == 0
    return message


def give_permission(stage: Stage) -> str:
    stage.playground.world.restore("imagine")
    return CHANNEL


def invite_back(stage: Stage) -> str:
    world = stage.playground.world
    world._overwrites.clear() if hasattr(world, "_overwrites") else None
    world.channel("imagine").overwrites.clear()
    stage.client.dispatch("guild_join", stage.client.guilds[0])
    return CHANNEL


def open_direct_messages(stage: Stage) -> str:
    stage.playground.world.user("Ada").takes_dms = True  # nobody is told: tried by the hour
    return DIRECT


OPENINGS: list[Callable[[Stage], str]] = [give_permission, invite_back, open_direct_messages]


@pytest.mark.parametrize("opening", OPENINGS)
async def test_a_kept_result_comes_by_itself_once_a_way_is_open(
    playground: Playground, tmp_path: Path, clock: Clock, opening: Callable[[Stage], str]
) -> None:
    async with open_stage(playground, tmp_path, clock, naps=Naps()) as stage, serving(stage):
        asked, job = await kept(stage)
        assert len(stage.kept) == 1
        rung = opening(stage)

        message = await delivered(stage, job, rung)

        pings = [f"<@{job.request.author.id}>" in one.content for one in [message]]
        assert pings == [rung == CHANNEL]
        if rung == CHANNEL:
            card = await stage.shows(asked, "Go to the picture")
            assert f"/{message.id})" in card.text


@pytest.mark.parametrize("opening", [*OPENINGS])
async def test_after_a_restart_kept_results_are_tried_at_once(
    playground: Playground, tmp_path: Path, clock: Clock, opening: Callable[[Stage], str]
) -> None:
    async with open_stage(playground, tmp_path, clock, naps=Naps()) as stage:
        _, job = await kept(stage)
        rung = opening(stage)
    for _ in range(2):
        async with open_stage(playground, tmp_path, clock, naps=Naps()) as stage, serving(stage):
            await delivered(stage, job, rung)


async def test_a_kept_result_is_tried_when_its_author_is_there_again(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    async with open_stage(playground, tmp_path, clock) as stage, serving(stage):
        _, job = await kept(stage)
        playground.world.user("Ada").takes_dms = True

        clock.pass_time(seconds=1)
        await stage.imagine("another lighthouse")

        message = await delivered(stage, job, DIRECT)
        assert "could not be posted there" in message.content


async def test_a_kept_result_in_a_thread_comes_when_the_thread_is_unlocked(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    world = playground.world
    async with open_stage(playground, tmp_path, clock, naps=Naps()) as stage, serving(stage):
        thread = world.message_board.open_thread(
            world.channel("imagine"), world.user("Ada"), "talk"
        )
        end = stage.backend.hold("done ok=")
        asked = await stage.member("Ada").slash(thread.id, "imagine", prompt="a lighthouse")
        await asked.answered()
        await stage.shows(asked, "Painting")
        clock.pass_time(minutes=15)
        world.user("Ada").takes_dms = False
        assert thread.thread is not None
        thread.thread.locked = thread.thread.archived = True
        world.emit(Event("THREAD_UPDATE", channel=thread))
        end.set()
        job = await stage.ended(asked)
        assert job.delivery_method == "kept"

        thread.thread.locked = thread.thread.archived = False
        world.emit(Event("THREAD_UPDATE", channel=thread))

        await delivered(stage, job, CHANNEL)
        await stage.shows(asked, "Go to the picture")


@pytest.mark.parametrize("carried_out", [False, True])
async def test_a_crash_in_the_middle_of_a_late_delivery_doubles_nothing(
    playground: Playground, tmp_path: Path, clock: Clock, carried_out: bool
) -> None:
    faults = playground.world.faults
    async with open_stage(playground, tmp_path, clock, naps=Naps()) as stage, serving(stage):
        _, job = await kept(stage)
        gate = faults.hold("POST", r"/channels/\d+/messages$", carried_out=carried_out)
        give_permission(stage)
        await gate.reached.wait()
    faults._faults.clear()
    clock.pass_time(minutes=10)
    async with open_stage(playground, tmp_path, clock, naps=Naps()) as stage, serving(stage):
        await delivered(stage, job, CHANNEL)


async def test_a_way_that_stays_closed_is_tried_seldom_and_seldomer(
    playground: Playground, tmp_path: Path, clock: Clock
) -> None:
    async with open_stage(playground, tmp_path, clock) as stage:
        _, job = await kept(stage)
        _, other = await kept(stage)
        slept: list[float] = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)
            if len(slept) > 12:
                await asyncio.Event().wait()
            await asyncio.sleep(0)

        now = 0.0
        results_kept = type(stage.kept)(
            stage.database, _never, now=clock, clock=lambda: now + sum(slept), sleep=sleep
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
        assert {job.id, other.id} == {one.id for one in await stage.queue.jobs.kept(job.created_at)}


async def _never(job: Job) -> Job:
    return job
