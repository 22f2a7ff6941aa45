"""A member floods the bot, and another asks once. Real slash commands, one slot."""

from __future__ import annotations

from bot.domain.job import JobState
from tests.scenarios.conftest import Opener
from tests.scenarios.harness import Harness

REQUESTS = 200


async def raise_limits(harness: Harness) -> None:
    """What a moderator does before an event."""
    answer = await harness.ask("quota-admin set", "Mo", images=100_000, waiting=1000)
    assert answer.content.startswith("Set.")


async def flood(harness: Harness) -> None:
    for number in range(REQUESTS):
        asked = await harness.imagine(f"flood {number} --rows 1 --samples 1", "Ada")
        assert asked.response is not None
        assert not asked.response.ephemeral


async def test_whoever_asks_once_behind_a_flood_of_200_starts_at_most_second(
    open_bot: Opener,
) -> None:
    async with open_bot(queue={"running": 1}) as harness:
        await raise_limits(harness)
        running = harness.recorder.hold(JobState.RUNNING)
        await flood(harness)
        line = await harness.ask("queue", "Ben")
        assert f"{REQUESTS - 1} waiting, 1 running" in line.text
        once = await harness.imagine("only this one", "Ben")
        assert "Next in the queue" in (await harness.shows(once, "Queued")).text
        before = len(harness.recorder.starts)
        running.set()
        job = await harness.ended(once)
        assert harness.recorder.starts.index(job.id) - before <= 1
        assert len(harness.results(job)) == 1
        # What is left is stopped, so that no image stays reserved.
        harness.service.application.scheduler.drain()
        stopped = await harness.ask("cancel", "Ada", what="all")
        assert "cancelled, 1 image refunded." in stopped.content
        await harness.service.application.scheduler.idle()
        states = {job.state for job in await harness.jobs()}
        assert states <= {JobState.FINISHED, JobState.CANCELLED}
        quota = await harness.ask("quota", "Ada")
        painted = sum(job.state is JobState.FINISHED for job in await harness.jobs()) - 1
        assert f"{painted} of 100000 images used" in quota.text


async def test_members_who_flood_alike_take_turns(open_bot: Opener) -> None:
    async with open_bot(queue={"running": 1}) as harness:
        gate = harness.recorder.hold(JobState.RUNNING)
        asked = [
            await harness.imagine(f"{who} {number} --rows 1 --samples 1", who)
            for who in ("Ada", "Ben", "Mo")
            for number in range(3)
        ]
        gate.set()
        jobs = [await harness.ended(one) for one in asked]
        names = {job.id: job.request.author.name for job in jobs}
        assert [names[started] for started in harness.recorder.starts] == ["Ada", "Ben", "Mo"] * 3
