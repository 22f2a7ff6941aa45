"""Reports, removals and their evidence, on a real database with real pictures."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from bot.domain.errors import NotAllowed, RequestError
from bot.domain.events import MessageRef
from bot.domain.job import Job
from bot.domain.quota import Quota
from bot.services.init_images import InitImageStore
from bot.services.moderation import ModerationService
from bot.services.privacy import PrivacyService
from bot.services.queue import Actor
from bot.services.quotas import QuotaRuleChange, QuotaService, QuotaSubject
from bot.services.renditions import RenditionCache
from bot.services.reports import CLEANUP_S, Decision, ReportService
from bot.store.audit import AuditRepository
from bot.store.deliveries import REMOVAL, DeliveryRepository
from bot.store.reports import ReportRepository
from tests.unit.services.fakes import CHANNEL, GUILD
from tests.unit.services.harness import Harness, open_harness

MESSAGE = MessageRef(CHANNEL, 1001)
URL = "https://discord.com/channels/1/2/1001"
DEFAULT = Quota(images=100, window=timedelta(hours=24), running=1, waiting=5)
BEN, CAI = Actor(8, "Ben"), Actor(9, "Cai")
MO = Actor(5, "Mo", moderator=True)


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[Harness]:
    async with open_harness(tmp_path) as opened:
        yield opened


def moderation_of(harness: Harness) -> ModerationService:
    return ModerationService(
        harness.database, harness.lifecycle, harness.queue, now=harness.clock, wake=lambda: None
    )


@pytest.fixture
def service(harness: Harness, tmp_path: Path) -> ReportService:
    return ReportService(
        harness.database,
        moderation_of(harness),
        RenditionCache(harness.fetcher),
        tmp_path / "evidence",
        default=DEFAULT,
        keep=timedelta(days=90),
        now=harness.clock,
    )


async def done(harness: Harness, **changes: object) -> Job:
    """A finished job of user 7."""
    job = await harness.submit(7, **changes)
    (ended,) = await harness.ended(job.id)
    return ended


async def report(service: ReportService, job: Job, by: Actor = BEN, reason: str = "rude") -> int:
    return await service.report(GUILD, job, MESSAGE, url=URL, reason=reason, by=by)


async def opened(service: ReportService) -> int:
    (found,) = await service.open_reports(GUILD)
    return found.id


async def test_the_evidence_outlives_the_authors_data(
    harness: Harness, service: ReportService
) -> None:
    job = await done(harness)
    assert await report(service, job) == 1
    assert await report(service, job, CAI, "") == 2
    entry = await service.entry(GUILD, f"report:{await opened(service)}")
    assert entry is not None
    expected = {
        "job": job.id,
        "author": 7,
        "channel": CHANNEL,
        "prompt": job.request.prompt,
        "seed": job.request.seed,
        "link": URL,
        "count": 2,
        "reasons": [[8, "rude"], [9, ""]],
        "decision": None,
    }
    assert {key: entry.body[key] for key in expected} == expected
    privacy = open_privacy(harness)
    await privacy.erase(GUILD, Actor(7, "Ada"))
    picture = service.picture_path(str(entry.body["picture"]))
    assert await asyncio.to_thread(picture.read_bytes)
    assert service.picture_path("../../etc/passwd").parent == picture.parent


async def _forget(_job_id: str) -> None:
    """The backend keeps nothing."""


def open_privacy(harness: Harness) -> PrivacyService:
    return PrivacyService(
        harness.database,
        harness.fetcher.folder,
        forget=_forget,
        pictures=InitImageStore(harness.fetcher.folder("none").parent / "inputs", harness.database),
        now=harness.clock,
    )


async def test_reports_are_counted_and_erased_for_who_made_them(
    harness: Harness, service: ReportService
) -> None:
    job = await done(harness)
    await report(service, job)
    await report(service, job, CAI, "secret")
    privacy = open_privacy(harness)
    assert (await privacy.report(CAI.id)).reports == 1
    await privacy.erase(GUILD, CAI)
    await privacy.erase(GUILD, CAI)
    assert (await privacy.report(CAI.id)).reports == 0
    entry = await service.entry(GUILD, f"report:{await opened(service)}")
    assert entry is not None
    assert (entry.body["count"], entry.body["reasons"]) == (2, [[8, "rude"]])


async def test_a_result_without_files_is_reported_without_a_picture(
    harness: Harness, service: ReportService
) -> None:
    job = await done(harness)
    await asyncio.to_thread(shutil.rmtree, harness.fetcher.folder(job.id))
    await report(service, job)
    entry = await service.entry(GUILD, f"report:{await opened(service)}")
    assert entry is not None
    assert entry.body["picture"] == ""


Act = Callable[[ReportService, Job, int], Awaitable[object]]
REFUSED: dict[str, tuple[Act, type[Exception], str]] = {
    "a second report": (lambda s, j, _: report(s, j), RequestError, "already reported"),
    "a long reason": (lambda s, j, _: report(s, j, CAI, "x" * 301), RequestError, "0 to 300"),
    "another server": (
        lambda s, j, _: s.report(GUILD + 1, j, MESSAGE, url=URL, reason="", by=CAI),
        RequestError,
        "another server",
    ),
    "a member decides": (
        lambda s, _, r: s.decide(GUILD, r, "removed", by=BEN),
        NotAllowed,
        "Only moderators",
    ),
    "a member blocks": (
        lambda s, _, r: s.block_author(GUILD, r, lasts=None, reason="", by=BEN),
        NotAllowed,
        "Only moderators",
    ),
    "a member removes": (
        lambda s, j, _: s.remove(GUILD, j, reason="", by=BEN),
        NotAllowed,
        "Only moderators",
    ),
    "decided elsewhere": (
        lambda s, _, r: s.decide(GUILD + 1, r, "removed", by=MO),
        RequestError,
        "no longer stored",
    ),
    "blocked elsewhere": (
        lambda s, _, r: s.block_author(GUILD + 1, r, lasts=None, reason="", by=MO),
        RequestError,
        "no longer stored",
    ),
    "removed elsewhere": (
        lambda s, j, _: s.remove(GUILD + 1, j, reason="", by=MO),
        RequestError,
        "no such result",
    ),
    "unknown report": (
        lambda s, _, r: s.decide(GUILD, r + 1, "dismissed", by=MO),
        RequestError,
        "no longer stored",
    ),
    "blocked for nothing": (
        lambda s, _, r: s.block_author(GUILD, r, lasts=timedelta(), reason="", by=MO),
        RequestError,
        "for can be",
    ),
    "blocked for 100 years": (
        lambda s, _, r: s.block_author(GUILD, r, lasts=timedelta(days=36500), reason="", by=MO),
        RequestError,
        "for can be",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_is_refused_changes_nothing(
    harness: Harness, service: ReportService, case: str
) -> None:
    act, error, words = REFUSED[case]
    job = await done(harness)
    await report(service, job)
    ident = await opened(service)
    before = [await harness.count(table) for table in TABLES]
    with pytest.raises(error, match=words):
        await act(service, job, ident)
    assert [await harness.count(table) for table in TABLES] == before
    assert (await service.open_reports(GUILD))[0].decision is None


TABLES = ("audit", "log_messages", "report_votes", "deliveries", "ledger", "blocks")
DECISIONS: tuple[Decision, ...] = ("removed", "refunded", "dismissed")


@pytest.mark.parametrize("first", DECISIONS)
@pytest.mark.parametrize("second", DECISIONS)
async def test_the_first_decision_counts(
    harness: Harness, service: ReportService, first: Decision, second: Decision
) -> None:
    job = await done(harness)
    await report(service, job)
    ident = await opened(service)
    await service.decide(GUILD, ident, first, by=MO)
    after = [await harness.count(table) for table in TABLES]
    said = r"It was already (removed|dismissed).* by <@5>"
    with pytest.raises(RequestError, match=said):
        await service.decide(GUILD, ident, second, by=Actor(6, "Mia", moderator=True))
    with pytest.raises(RequestError, match=said):
        await service.block_author(GUILD, ident, lasts=None, reason="", by=MO)
    assert [await harness.count(table) for table in TABLES] == after
    attempts = await DeliveryRepository(harness.database).attempts(job.id)
    removals = [one.nonce for one in attempts if one.method == REMOVAL]
    assert removals == ([] if first == "dismissed" else [f"{CHANNEL}:1001"])
    (entry, *_) = await AuditRepository(harness.database).entries(GUILD)
    assert (entry.action, entry.actor_id) == (f"report-{first}", MO.id)
    assert await harness.faults() == ()


@pytest.mark.parametrize(
    ("hours", "window", "refunded"),
    [(1, None, 4), (25, None, 0), (25, timedelta(days=7), 4)],
)
async def test_a_refund_lasts_as_long_as_the_charge(
    harness: Harness,
    service: ReportService,
    hours: int,
    window: timedelta | None,
    refunded: int,
) -> None:
    quotas = QuotaService(harness.database, DEFAULT, now=harness.clock)
    if window is not None:
        change = QuotaRuleChange(images=50, window=window)
        await quotas.set_rule(GUILD, QuotaSubject("member", 7), change, by=MO)
    job = await done(harness)
    await report(service, job)
    harness.clock.at += timedelta(hours=hours)
    before = (await quotas.show(GUILD, Actor(7, "Ada"))).allowance.left
    await service.decide(GUILD, await opened(service), "refunded", by=MO)
    assert (await quotas.show(GUILD, Actor(7, "Ada"))).allowance.left == before + refunded
    harness.clock.at += timedelta(days=8)
    # Neither the charge nor the refund counts any more.
    allowance = (await quotas.show(GUILD, Actor(7, "Ada"))).allowance
    assert allowance.left == allowance.quota.images


async def test_reports_of_a_blocked_author_join_the_entry_until_it_is_decided(
    harness: Harness, service: ReportService
) -> None:
    job = await done(harness)
    await report(service, job)
    ident = await opened(service)
    block, cancelled = await service.block_author(
        GUILD, ident, lasts=timedelta(hours=1), reason="rude", by=MO
    )
    assert (block.user_id, cancelled) == (7, 0)
    with pytest.raises(RequestError, match="already blocked by <@5>"):
        await service.require_unblocked(GUILD, ident)
    assert await report(service, job, CAI) == 2
    assert await opened(service) == ident
    await service.decide(GUILD, ident, "removed", by=MO)
    entry = await service.entry(GUILD, f"report:{ident}")
    assert entry is not None
    assert [action["what"] for action in entry.body["actions"]] == ["blocked", "removed"]
    # A later report is a new one: the result may be shown elsewhere.
    assert await report(service, job, Actor(10, "Dee")) == 1
    with pytest.raises(RequestError, match="already reported"):
        await service.require_first(job, BEN)


async def test_a_removal_is_once_and_decides_the_open_report(
    harness: Harness, service: ReportService
) -> None:
    job = await done(harness)
    await report(service, job)
    await service.remove(GUILD, job, reason="rule 3", by=MO, message=MessageRef(CHANNEL, 77))
    assert await service.open_reports(GUILD) == ()
    with pytest.raises(RequestError, match="already removed"):
        await service.remove(GUILD, job, reason="", by=MO)
    attempts = await DeliveryRepository(harness.database).attempts(job.id)
    assert [one.nonce for one in attempts if one.method == REMOVAL] == [
        f"{CHANNEL}:1001",
        f"{CHANNEL}:77",
    ]
    entry = await service.entry(GUILD, f"removal:{job.id}")
    assert entry is not None
    assert (entry.body["detail"], entry.body["prompt"]) == (
        {"reason": "rule 3"},
        job.request.prompt,
    )


async def test_old_evidence_is_deleted_and_newer_stays(
    harness: Harness, service: ReportService, tmp_path: Path
) -> None:
    old = await done(harness)
    await report(service, old)
    await service.remove(GUILD, await done(harness), reason="", by=MO)
    harness.clock.at += timedelta(days=60)
    new = await done(harness)
    await report(service, new)
    folder = tmp_path / "evidence"
    assert await service.clean_up() == 0
    assert len(list(folder.iterdir())) == 3
    harness.clock.at += timedelta(days=31)
    naps: list[float] = []

    async def nap(seconds: float) -> None:
        naps.append(seconds)
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await service.run_cleanup(nap)
    assert naps == [CLEANUP_S]
    assert [path.stem for path in folder.iterdir()] == [new.id]
    (left,) = await service.open_reports(GUILD)
    assert left.job_id == new.id
    assert await ReportRepository(harness.database).votes_by(BEN.id) == 1
    assert await service.entry(GUILD, "report:1") is None
