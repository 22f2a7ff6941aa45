"""Requests that wait for a moderator: approved, rejected, or ended before anybody decides."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bot.domain.errors import RequestError
from bot.domain.job import JobState
from bot.store.moderation_log import ModerationLogRepository
from tests.unit.services.fakes import GUILD
from tests.unit.services.harness import a_member, a_request, open_harness
from tests.unit.services.test_moderation import MODERATOR, SECOND, add_word, moderation_of


async def test_a_held_request_runs_once_it_is_approved(tmp_path: Path) -> None:
    async with open_harness(tmp_path) as harness:
        service = moderation_of(harness)
        await add_word(service, GUILD, MODERATOR, effect="hold")
        approved = await harness.queue.submit(a_request(7, prompt="a fox"), a_member(7))
        rejected = await harness.queue.submit(a_request(8, prompt="a fox"), a_member(8))
        free = await harness.submit(user=9)
        await harness.ended(free.id)
        assert (approved.held, rejected.held) == (True, True)
        for one, yes in ((approved, True), (rejected, False)):
            await service.decide_hold(GUILD, one.job.id, "words", approved=yes, by=MODERATOR)
        ended = await harness.ended(approved.job.id, rejected.job.id)
        assert [job.state for job in ended] == [JobState.FINISHED, JobState.CANCELLED]
        held = await service.hold(rejected.job.id)
        assert held is not None
        assert (held.approved, held.decided_by) == (False, MODERATOR.id)
        with pytest.raises(RequestError, match="already rejected by <@50>"):
            await service.decide_hold(GUILD, held.job_id, "words", approved=True, by=SECOND)
        assert await harness.faults() == ()


@pytest.mark.parametrize(
    ("end", "by", "said"),
    [
        (lambda h, s, job: h.queue.cancel(job, a_member(7)), 7, "already cancelled by the member"),
        (lambda h, s, job: h.queue.cancel(job, MODERATOR), 50, "already rejected by <@50>"),
        (lambda h, s, job: s.cancel(GUILD, by=MODERATOR), 50, "already rejected by <@50>"),
        (
            lambda h, s, job: s.block(GUILD, 7, lasts=None, reason="", by=MODERATOR),
            50,
            "already rejected by <@50>",
        ),
    ],
    ids=["by its member", "by a moderator", "with all", "with a block"],
)
async def test_a_held_request_that_ends_waits_for_nobody(
    tmp_path: Path, end: Callable[..., Awaitable[object]], by: int, said: str
) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        service = moderation_of(harness)
        await add_word(service, GUILD, MODERATOR, effect="hold")
        held = await harness.submit(user=7, prompt="a fox")
        await end(harness, service, held.id)
        assert await service.open_holds(GUILD) == ()
        with pytest.raises(RequestError, match=said):
            await service.decide_hold(GUILD, held.id, "words", approved=True, by=SECOND)
        entry = await ModerationLogRepository(harness.database).about(
            GUILD, f"hold:words:{held.id}"
        )
        assert entry is not None
        assert entry.is_closed
        assert (entry.body["decision"], entry.body["decided_by"]) == ("cancelled", by)
        assert await harness.faults() == ()
