"""Files that arrive damaged: fetched again with pauses, from every backend, before they are lost.

The damages are real: a file host that misbehaves, files on a shared disk that are cut short. The
collector is the engine's own, on a real database; only its pauses are not slept.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from bot.backends.base import Backend
from bot.backends.deepsquare.downloads import ArtifactDownloader
from bot.backends.job_folders import MAX_BYTES, copy_published
from bot.backends.scripted import synthetic_image
from bot.domain.errors import ArtifactDamaged, ArtifactMissing, Unavailable
from bot.domain.events import Artifact
from bot.domain.grid import grid_geometry
from bot.domain.job import Job, new_job
from bot.services.results import DAMAGED_DELAYS_S, OUTAGE_DELAYS_S, RETRY_DELAYS_S, ResultFetcher
from tests.deepsquare.clients import IMPATIENT
from tests.deepsquare.testnet.transfer import TransferFault, TransferServer
from tests.unit.services.fakes import NOW, RecordedSleeps
from tests.unit.services.harness import a_request

REQUEST = a_request(rows=1)


@dataclass
class Served:
    """A published row, and how it is damaged from the next fetch on."""

    artifact: Artifact
    damage: Callable[[str], Awaitable[None]]
    fetch: Callable[[Artifact, Path], Awaitable[None]]


class Fetching:
    """A backend that only fetches, and does something before each attempt."""

    def __init__(self, served: Served, damages: list[str]) -> None:
        self._served = served
        self._damages = damages
        self.attempts = 0

    async def fetch(self, artifact: Artifact, target: Path) -> None:
        self.attempts += 1
        damage = self._damages.pop(0) if len(self._damages) > 1 else self._damages[0]
        await self._served.damage(damage)
        await self._served.fetch(artifact, target)


def content() -> bytes:
    """A strip as a job would publish it."""
    width, height = grid_geometry(REQUEST).strip_size
    env = {"ROWS": "1", "SAMPLES": "2", "WIDTH": "64", "HEIGHT": "64", "SEED_BASE": "7"}
    data = synthetic_image(env, "row-01.png")
    assert (width, height) != (0, 0)
    return data


FLAWS = {
    "": None,
    "other bytes": TransferFault("wrong bytes"),
    "short": TransferFault("short"),
    "longer": TransferFault("longer"),
    "empty": TransferFault("empty"),
    "an error page": TransferFault("page"),
    "elsewhere": TransferFault("redirect"),
    "forbidden": TransferFault("status", 403),
    "not there": TransferFault("status", 404),
    "gone": TransferFault("status", 410),
}


@pytest.fixture(params=["deepsquare", "shared disk"])
async def served(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Served]:
    data = content()
    digest = hashlib.sha256(data).hexdigest()
    if request.param == "shared disk":
        jobs = tmp_path / "jobs"
        file = jobs / "job" / "published" / "row-01.png"
        file.parent.mkdir(parents=True)

        async def spoil(how: str) -> None:
            kinds = {"short": data[:-9], "longer": data + b"x", "empty": b""}
            kinds |= {"other bytes": bytes(byte ^ 1 for byte in data)}
            file.write_bytes(data if not how else kinds.get(how, b"<html>502</html>"))
            if how in ("not there", "gone"):
                file.unlink()

        async def copy(artifact: Artifact, target: Path) -> None:
            copy_published(artifact, jobs, target)

        yield Served(Artifact(file.as_uri(), len(data), digest), spoil, copy)
        return
    server = TransferServer()
    await server.service.start()
    async with httpx.AsyncClient(verify=False) as http:
        url = (await http.put(f"{server.url}row-01.png", content=data)).text

        async def spoil(how: str) -> None:
            server.every_download = FLAWS[how]

        host = ArtifactDownloader([server.service.host], IMPATIENT, http=http)
        yield Served(Artifact(url, len(data), digest), spoil, host.fetch)
    await server.service.stop()


def job_with(artifact: Artifact, grid: Artifact | None = None) -> Job:
    job = new_job("job", REQUEST, NOW)
    return replace(job, rows=(replace(job.rows[0], artifact=artifact, percent=100),), grid=grid)


def fetcher(backend: object, folder: Path, sleeps: RecordedSleeps) -> ResultFetcher:
    fetching: Backend = backend  # type: ignore[assignment]  # it is only ever asked for files
    return ResultFetcher(fetching, folder / "pictures", now=lambda: NOW, sleep=sleeps)


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("how", [how for how in FLAWS if how])
async def test_a_row_that_arrives_damaged_is_fetched_again_and_is_not_lost(
    served: Served, tmp_path: Path, how: str, times: int
) -> None:
    sleeps, backend = RecordedSleeps(), Fetching(served, [how] * times + [""])
    rows = await fetcher(backend, tmp_path, sleeps).fetch_all(job_with(served.artifact))
    assert rows == (1,)
    assert backend.attempts == times + 1
    assert sleeps.taken == list(DAMAGED_DELAYS_S[:times])
    assert (tmp_path / "pictures" / "job" / "row-01.png").read_bytes() == content()


@pytest.mark.parametrize("how", [how for how in FLAWS if how])
async def test_a_row_that_stays_damaged_is_given_up_after_some_minutes(
    served: Served, tmp_path: Path, how: str
) -> None:
    sleeps, backend = RecordedSleeps(), Fetching(served, [how])
    with pytest.raises(ArtifactMissing):
        await fetcher(backend, tmp_path, sleeps).fetch_all(job_with(served.artifact))
    assert sleeps.taken == list(DAMAGED_DELAYS_S)
    assert 60 <= sum(sleeps.taken) <= 300
    assert not list((tmp_path / "pictures").rglob("*.p*"))


@pytest.mark.parametrize("how", ["short", "an error page", "not there"])
async def test_a_grid_that_stays_damaged_is_composed_here_after_some_seconds(
    served: Served, tmp_path: Path, how: str
) -> None:
    sleeps, backend = RecordedSleeps(), Fetching(served, ["", how])
    grid = replace(served.artifact, sha256=hashlib.sha256(b"grid").hexdigest())
    rows = await fetcher(backend, tmp_path, sleeps).fetch_all(job_with(served.artifact, grid))
    assert rows == (1,)
    assert sleeps.taken == list(RETRY_DELAYS_S)
    assert (tmp_path / "pictures" / "job" / "grid.png").is_file()


@pytest.mark.parametrize(
    "never",
    [
        {"url": "https://evil.example/row-01.png"},
        {"url": "file:///etc/passwd"},
        {"url": "row-01.png"},
        {"size": MAX_BYTES + 1},
    ],
    ids=lambda never: next(iter(never)),
)
async def test_what_is_never_taken_is_not_asked_for_twice(
    served: Served, tmp_path: Path, never: dict[str, object]
) -> None:
    artifact = replace(served.artifact, **never)  # type: ignore[arg-type]
    sleeps, backend = RecordedSleeps(), Fetching(served, [""])
    with pytest.raises(ArtifactMissing):
        await fetcher(backend, tmp_path, sleeps).fetch_all(job_with(artifact))
    assert (sleeps.taken, backend.attempts) == ([], 1)


@pytest.mark.parametrize("left", [b"", b"half of it", b"<html>"])
async def test_what_a_crash_left_under_a_rows_name_is_fetched_anew(
    served: Served, tmp_path: Path, left: bytes
) -> None:
    there = tmp_path / "pictures" / "job" / "row-01.png"
    there.parent.mkdir(parents=True)
    there.write_bytes(left)
    backend = Fetching(served, [""])
    assert await fetcher(backend, tmp_path, RecordedSleeps()).fetch_all(
        job_with(served.artifact)
    ) == (1,)
    assert there.read_bytes() == content()
    assert await fetcher(backend, tmp_path, RecordedSleeps()).fetch_all(
        job_with(served.artifact)
    ) == (1,)
    assert backend.attempts == 1


async def test_a_shared_disk_that_is_away_is_an_outage_and_no_lost_file(tmp_path: Path) -> None:
    jobs = tmp_path / "jobs"
    artifact = Artifact((jobs / "job" / "published" / "row-01.png").as_uri(), 5, "0" * 64)
    with pytest.raises(Unavailable, match="mounted"):
        copy_published(artifact, jobs, tmp_path / "row.png")
    (jobs / "job" / "published").mkdir(parents=True)
    with pytest.raises(ArtifactDamaged):
        copy_published(artifact, jobs, tmp_path / "row.png")
    assert sum(OUTAGE_DELAYS_S) > 10 * sum(DAMAGED_DELAYS_S)
