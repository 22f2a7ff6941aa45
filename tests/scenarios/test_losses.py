"""What can be taken away while a job runs: the card, the channel, permissions, the member.

Nothing crashes, the result goes to the next rung or is kept, and the log says so.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import pytest

from bot.domain.job import Job, JobState
from bot.frontend.delivery_methods import CHANNEL, DIRECT, INTERACTION
from bot.playground.client.driver import Invocation
from bot.playground.state.models import Message
from bot.playground.state.world import World
from tests.scenarios.conftest import Opener
from tests.scenarios.harness import Harness
from tests.scenarios.log_capture import Journal

KEPT = "kept"
IMAGINE = "imagine"


@dataclass(slots=True)
class Painted:
    """A job whose picture is ready; it is delivered once the trouble has been made."""

    harness: Harness
    asked: Invocation
    gate: asyncio.Event

    @property
    def world(self) -> World:
        return self.harness.playground.world

    def outlive_token(self) -> None:
        self.harness.clock.pass_time(minutes=15)

    def close_direct_messages(self) -> None:
        self.world.user("Ada").takes_dms = False

    async def delivered(self) -> tuple[Job, list[Message]]:
        """Let it go; the job as it ended, and every message with its picture."""
        self.gate.set()
        job = await self.harness.ended(self.asked)
        return job, self.harness.results(job)


@pytest.fixture
async def painted(harness: Harness) -> Painted:
    gate = harness.recorder.hold(JobState.DELIVERING)
    asked = await harness.imagine()
    await harness.reached(asked, JobState.DELIVERING)
    return Painted(harness, asked, gate)


async def expect_shown(harness: Harness, job: Job, who: str, channel: str | int = "random") -> None:
    """``/show`` brings the picture out again."""
    shown = await harness.ask("show", who, channel, id=job.id)
    assert [one.filename.startswith("gridbrush-") for one in shown.attachments] == [True]
    assert shown in harness.results(job)


async def test_a_deleted_status_message_is_replaced_by_a_message(
    painted: Painted, journal: Journal
) -> None:
    assert painted.asked.response is not None
    painted.world.delete_message(painted.asked.response)
    job, (result,) = await painted.delivered()
    assert job.delivery_method == CHANNEL
    assert painted.harness.called(result) == [job.request.author.id]
    assert "delivery by interaction failed" in journal.text


@pytest.mark.parametrize("token_lives", [True, False])
async def test_when_the_channel_is_deleted_the_author_gets_a_direct_message(
    painted: Painted, journal: Journal, token_lives: bool
) -> None:
    if not token_lives:
        painted.outlive_token()
    painted.world.delete_channel(IMAGINE)
    job, (result,) = await painted.delivered()
    assert job.delivery_method == DIRECT
    assert result.channel_id == painted.world.direct_channel("Ada").id
    assert "delivery by channel failed: Discord says 10003" in journal.text
    history = await painted.harness.ask("history")
    assert f"/channels/@me/{result.channel_id}/{result.id}" in history.text
    await expect_shown(painted.harness, job, "Ada")


@pytest.mark.parametrize("permission", ["SEND_MESSAGES", "ATTACH_FILES", "EMBED_LINKS"])
async def test_a_missing_permission_sends_the_result_to_the_author(
    painted: Painted, journal: Journal, permission: str
) -> None:
    painted.outlive_token()
    painted.world.add_deny_overwrite(IMAGINE, permission)
    job, (result,) = await painted.delivered()
    assert job.delivery_method == DIRECT
    assert "could not be posted there" in result.content
    assert "delivery by channel failed: Discord says 50013" in journal.text


async def test_as_long_as_the_token_lives_no_permission_is_needed(painted: Painted) -> None:
    painted.world.add_deny_overwrite(IMAGINE, "VIEW_CHANNEL")
    job, results = await painted.delivered()
    assert job.delivery_method == INTERACTION
    assert results == [painted.asked.response]


async def test_a_result_that_nobody_takes_is_kept_for_history_and_show(
    painted: Painted, journal: Journal
) -> None:
    painted.outlive_token()
    painted.world.add_deny_overwrite(IMAGINE, "SEND_MESSAGES")
    painted.close_direct_messages()
    job, results = await painted.delivered()
    assert (job.delivery_method, results) == (KEPT, [])
    assert "the result is kept: the author finds it with /history" in journal.text
    status = await painted.harness.shows(painted.asked, "could not be posted")
    assert f"/show {job.id[:8]}" in status.text
    assert "4 images, stored for you" in (await painted.harness.ask("history")).text
    await expect_shown(painted.harness, job, "Ada")


async def test_the_picture_of_a_member_who_left_is_kept(painted: Painted, journal: Journal) -> None:
    painted.outlive_token()
    painted.world.delete_channel(IMAGINE)
    painted.close_direct_messages()
    left = painted.world.member("Ada")
    painted.world.remove_member("Ada")
    job, results = await painted.delivered()
    assert (job.delivery_method, results) == (KEPT, [])
    assert "delivery by direct failed: Discord says 50007" in journal.text
    await expect_shown(painted.harness, job, "Mo")
    painted.world.members[left.id] = left
    assert "stored for you" in (await painted.harness.ask("history")).text
    await expect_shown(painted.harness, job, "Ada", channel=painted.world.direct_channel(left).id)


async def test_a_member_who_left_still_gets_the_status_message_that_is_there(
    painted: Painted,
) -> None:
    painted.world.remove_member("Ada")
    job, results = await painted.delivered()
    assert job.delivery_method == INTERACTION
    assert results == [painted.asked.response]


async def test_a_channel_that_goes_while_jobs_wait_and_run_stops_nobody_elses(
    open_bot: Opener,
) -> None:
    async with open_bot(queue={"running": 1}) as harness:
        gate = harness.recorder.hold(JobState.RUNNING)
        running = await harness.imagine("runs", "Ada")
        waiting = await harness.imagine("waits", "Ben")
        elsewhere = await harness.member("Mo").slash("random", "imagine", prompt="elsewhere")
        await elsewhere.answered()
        await harness.reached(running, JobState.RUNNING)
        harness.playground.world.delete_channel(IMAGINE)
        gate.set()
        jobs = [await harness.ended(one) for one in (running, waiting, elsewhere)]
        assert [job.delivery_method for job in jobs] == [DIRECT, DIRECT, INTERACTION]
        assert [len(harness.results(job)) for job in jobs] == [1, 1, 1]


async def test_everything_at_once_and_later_than_every_token(
    painted: Painted, journal: Journal
) -> None:
    painted.world.token_life = timedelta(seconds=1)
    painted.outlive_token()
    painted.world.remove_member("Gridbrush")
    painted.close_direct_messages()
    job, results = await painted.delivered()
    assert (job.delivery_method, results) == (KEPT, [])
    for method in (CHANNEL, DIRECT):
        assert f"delivery by {method} failed" in journal.text
