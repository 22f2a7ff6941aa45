"""A result is removed while its rows are posted, or while it is delivered again: nothing stays."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bot.domain.job import Job
from bot.frontend.result_removal import remove_result
from bot.playground.rest.faults import Gate
from bot.playground.server import Playground
from bot.playground.state import permissions
from bot.playground.state.models import Message
from bot.services.queue import Actor
from tests.frontend.harness import Harness, open_harness, turns
from tests.playground.clock import Clock

ROW = "/channels/[0-9]+/messages$"
MOMENTS = {
    "the thread is asked for": ("/threads$", 1, False),
    "the thread is there": ("/threads$", 1, True),
    "the first row is sent": (ROW, 1, False),
    "the first row is there": (ROW, 1, True),
    "the second row is sent": (ROW, 2, False),
    "the last row is there": (ROW, 2, True),
}


def hold(playground: Playground, path: str, number: int, *, carried_out: bool) -> Gate:
    """Hold the ``number``-th call of a path."""
    for _ in range(number - 1):
        playground.world.faults.hold("POST", path).open()
    return playground.world.faults.hold("POST", path, carried_out=carried_out)


async def removed_by_a_moderator(harness: Harness, message: Message, job: Job) -> None:
    context = harness.client.context
    mo = Actor(harness.member("Mo").id, "Mo", moderator=True)
    await context.reports.remove(harness.playground.world.guild_id, job, reason="", by=mo)
    assert await remove_result(harness.client, job.id) == ""


async def deleted_by_its_author(harness: Harness, message: Message, job: Job) -> None:
    asked = await (await harness.member().press(message, "Delete")).answered()
    await harness.member().press(asked, "Delete permanently")
    await harness.playground.until(lambda _: asked.content == "Deleted.")


async def rows_ended(harness: Harness) -> None:
    async for _ in turns():
        if not harness.transport._row_tasks:
            return
    raise AssertionError("rows are still posted")


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(
    ("remove", "manages_threads"),
    [
        (removed_by_a_moderator, True),
        (removed_by_a_moderator, False),
        (deleted_by_its_author, False),
    ],
    ids=["removed", "removed without Manage Threads", "deleted by its author"],
)
async def test_no_row_of_a_removed_result_stays(
    playground: Playground,
    tmp_path: Path,
    clock: Clock,
    moment: str,
    remove: object,
    *,
    manages_threads: bool,
) -> None:
    world = playground.world
    if manages_threads:
        role = next(role for role in world.roles.values() if role.managed)
        role.permissions |= permissions.MANAGE_THREADS
    async with open_harness(playground, tmp_path, clock, rows="auto") as harness:
        path, number, carried_out = MOMENTS[moment]
        gate = hold(playground, path, number, carried_out=carried_out)
        message = await harness.result()
        await gate.reached.wait()
        await harness.scheduler.idle()
        job_id = await harness.messages.job_of(message.id)
        job = await harness.queue.jobs.get(job_id or "")
        assert job is not None

        removing = asyncio.create_task(remove(harness, message, job))  # type: ignore[operator]
        async for _ in turns():
            break  # it may not have to wait for the call that hangs
        gate.open()
        await removing
        await rows_ended(harness)

        assert message.id not in world.messages
        thread = world.channels.get(message.id)
        assert thread is None or not manages_threads
        assert thread is None or [m for m in world.messages_in(thread) if m.attachments] == []
        assert await harness.messages.pending_rows() == ()
        assert await harness.messages.pending_removals() == ()
