from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.domain.errors import Unavailable
from bot.domain.events import Cancelled
from bot.services.init_images import InitImageStore
from bot.services.lifecycle import CompositeObserver, JobLifecycle
from bot.services.privacy import PrivacyService, StoredDataReport
from bot.store.audit import AuditRepository
from bot.store.database import Database
from bot.store.jobs import ERASED_PROMPT, JobRepository
from tests.unit.services.test_quotas import ADA, GUILD, NOW, accept


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with await Database.open(tmp_path / "test.sqlite3", now=lambda: NOW) as opened:
        yield opened


def now() -> datetime:
    return datetime(2026, 11, 24, tzinfo=UTC)


async def nothing(_job_id: str) -> None:
    """A backend that keeps nothing."""


def open_privacy(
    database: Database, folder: Path, forget: Callable[[str], Awaitable[None]] = nothing
) -> PrivacyService:
    return PrivacyService(
        database,
        lambda job_id: folder / job_id,
        forget=forget,
        pictures=InitImageStore(folder / "inputs", database),
        now=now,
    )


async def test_what_is_kept_is_counted_and_then_forgotten(
    database: Database, tmp_path: Path
) -> None:
    privacy = open_privacy(database, tmp_path)
    ended, waiting = "a" * 16, "b" * 16
    await accept(database, ended, ADA)
    await accept(database, waiting, ADA)
    job = await JobRepository(database).get(ended)
    assert job is not None
    await JobLifecycle(database, CompositeObserver(), now=now).apply_event(job, Cancelled(ADA.id))
    for name in (ended, waiting):
        (tmp_path / name / "prints").mkdir(parents=True)
        (tmp_path / name / "prints" / "grid.webp").write_bytes(b"picture")
    assert await privacy.report(ADA.id) == StoredDataReport(2, 1, 0, files=1, size=7)

    assert await privacy.erase(GUILD, ADA) == 1

    assert await privacy.report(ADA.id) == StoredDataReport(1, 1, 1, files=0, size=0)
    assert not (tmp_path / ended).exists()
    assert (tmp_path / waiting).exists()
    forgotten = await JobRepository(database).get(ended)
    assert forgotten is not None
    assert (forgotten.request.prompt, forgotten.request.author.name) == (ERASED_PROMPT, "")
    (entry,) = await AuditRepository(database).entries(GUILD)
    assert (entry.action, entry.actor_id, dict(entry.detail)) == ("erase", ADA.id, {"jobs": 1})


async def test_asking_again_removes_what_an_interrupted_attempt_has_left(
    database: Database, tmp_path: Path
) -> None:
    privacy = open_privacy(database, tmp_path)
    await accept(database, "a" * 16, ADA)
    job = await JobRepository(database).get("a" * 16)
    assert job is not None
    await JobLifecycle(database, CompositeObserver(), now=now).apply_event(job, Cancelled(ADA.id))
    assert await privacy.erase(GUILD, ADA) == 1
    left = tmp_path / ("a" * 16)
    left.mkdir()
    (left / "grid.png").write_bytes(b"left behind")
    assert await privacy.erase(GUILD, ADA) == 0
    assert not left.exists()


async def test_the_backend_forgets_too_and_a_backend_that_is_away_stops_nothing(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str] = []

    async def forget(job_id: str) -> None:
        asked.append(job_id)
        if len(asked) == 1:
            raise Unavailable("the shared folder is not mounted")

    privacy = open_privacy(database, tmp_path, forget)
    for name in ("a" * 16, "b" * 16):
        await accept(database, name, ADA)
        job = await JobRepository(database).get(name)
        assert job is not None
        await JobLifecycle(database, CompositeObserver(), now=now).apply_event(
            job, Cancelled(ADA.id)
        )
    assert await privacy.erase(GUILD, ADA) == 2
    assert sorted(asked) == ["a" * 16, "b" * 16]
    assert "the backend could not erase the job" in caplog.text


async def test_nothing_is_kept_of_somebody_unknown(database: Database, tmp_path: Path) -> None:
    privacy = open_privacy(database, tmp_path)
    assert await privacy.report(404) == StoredDataReport(0, 0, 0, 0, 0)
