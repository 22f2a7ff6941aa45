"""The local backend: the suite with each engine, and what only processes here can do."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.backends import local, open_backend
from bot.backends.base import Backend, LogLine
from bot.domain.errors import ConfigError, SubmissionRejected
from bot.domain.events import Exited, RowReady
from tests.backends.conformance import *  # noqa: F403
from tests.backends.conformance import Site, ending, events
from tests.backends.engines import engine, over_engines, serving
from tests.backends.jobs import submission
from tests.backends.runtime import PretendedRuntime

__all__ = ["engine"]

pytestmark = pytest.mark.timing(
    "watches job scripts as processes, which a busy machine starts and stops late"
)

SECRET = "do-not-inherit-me"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    over_engines(metafunc)


@pytest.fixture
def site(tmp_path: Path, engine: str) -> Iterator[Site]:
    environ = {"PATH": os.environ["PATH"], "DISCORD_TOKEN": SECRET, "HOME": str(tmp_path)}
    options = {
        "data_dir": tmp_path,
        "tasks": 4,
        "poll_seconds": 0.01,
        "environ": environ,
    }
    with serving(engine) as (of_engine, server_works):
        opening = functools.partial(open_backend, "local", {**options, **of_engine})
        if engine:
            yield Site(opening, tmp_path / "local", 2, generates=True, server_works=server_works)
        else:
            yield Site(opening, tmp_path / "local")


def members(group: int) -> list[Path]:
    """The living processes of a group; one that is dead but not yet reaped does not count."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
            if os.getpgid(int(process.name)) == group and state != "Z":
                found.append(process)
        except (ProcessLookupError, FileNotFoundError):
            continue
    return found


async def test_a_job_whose_processes_are_killed_is_reported_as_gone(site: Site) -> None:
    backend = await site.open()
    handle = await backend.submit(submission("killed", backend.upload_url("killed"), "slow"))
    stream = backend.follow(handle)
    async for item in stream:
        if isinstance(item, LogLine) and b"row-start" in item.data:
            break
    os.killpg(int((site.folder / "jobs" / "killed" / "group").read_text()), signal.SIGKILL)
    _, last = await ending(stream)
    assert last == Exited(None, "its processes have disappeared")


async def test_cancelling_leaves_no_process_and_no_scratch(site: Site) -> None:
    backend = await site.open()
    handle = await backend.submit(submission("stopped", backend.upload_url("stopped"), "slow"))
    async for item in backend.follow(handle):
        if isinstance(item, LogLine) and b"row-start" in item.data:
            break
    group = int((site.folder / "jobs" / "stopped" / "group").read_text())
    await backend.cancel(handle)
    assert members(group) == []
    assert not (site.folder / "jobs" / "stopped" / "scratch").exists()


async def test_rows_of_all_jobs_share_the_machines_slots(tmp_path: Path) -> None:
    options = {"data_dir": tmp_path, "tasks": 1, "engine": "sketch", "poll_seconds": 0.01}
    backend = await open_backend("local", options)
    handles = [
        await backend.submit(submission(name, backend.upload_url(name))) for name in ("one", "two")
    ]
    for handle in handles:
        lines, last = await ending(backend.follow(handle))
        assert last == Exited(0)
        assert len([event for event in events(lines) if isinstance(event, RowReady)]) == 3
    assert [path.name for path in (tmp_path / "local" / "slots").iterdir()] == ["slot-0"]


async def test_the_bots_secrets_do_not_reach_a_job(site: Site) -> None:
    backend = await site.open()
    handle = await backend.submit(submission("spy", backend.upload_url("spy"), "slow"))
    async for item in backend.follow(handle):
        if isinstance(item, LogLine) and b"row-start" in item.data:
            break
    group = int((site.folder / "jobs" / "spy" / "group").read_text())
    seen = []
    for process in members(group):
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):  # it ended meanwhile
            seen.append((process / "environ").read_bytes())
    assert seen
    assert not any(SECRET.encode() in environment for environment in seen)
    await backend.cancel(handle)


async def test_a_job_id_that_is_no_file_name_is_refused(site: Site) -> None:
    backend: Backend = await site.open()
    with pytest.raises(SubmissionRejected):
        await backend.find("../escape")


async def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="Make it writable"):
        await open_backend("local", {"data_dir": tmp_path / "file"})


async def test_an_unknown_kind_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="local"):
        await open_backend("kubernetes", {})


async def test_jobs_that_ended_a_week_ago_are_forgotten(site: Site) -> None:
    backend = await site.open()
    handle = await backend.submit(submission("old", backend.upload_url("old")))
    await ending(backend.follow(handle))
    result = site.folder / "jobs" / "old" / "result"
    past = result.stat().st_mtime - (local.KEEP_DAYS + 1) * 86400
    os.utime(result, (past, past))
    again = await site.open()
    assert await again.find("old") is None


async def test_a_container_step_runs_in_the_runtime_and_can_publish(tmp_path: Path) -> None:
    runtime = PretendedRuntime(tmp_path / "runtime")
    runtime.write()
    environ = {"PATH": f"{runtime.programs}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    options = {"data_dir": tmp_path, "container": "apptainer", "environ": environ}
    backend = await open_backend("local", options)
    work = submission("contained", backend.upload_url("contained"), rows=1)
    lines, last = await ending(backend.follow(await backend.submit(work)))
    assert last == Exited(0)
    (ready,) = [event for event in events(lines, 1) if isinstance(event, RowReady)]
    await backend.fetch(ready.artifact, tmp_path / "row.png")
    folder = tmp_path / "local" / "jobs" / "contained"
    assert f"{folder}/published:{folder}/published:rw" in runtime.bound
    assert f"{folder}/scratch:/deepsquare:rw" in runtime.bound


async def test_a_missing_container_runtime_is_unhealthy(tmp_path: Path) -> None:
    options = {"data_dir": tmp_path, "container": "no-such-runtime"}
    health = await (await open_backend("local", options)).health()
    assert not health.ok
    assert "container" in health.hint
