"""The Slurm backend on a real cluster: the suite with each engine, and what only Slurm does."""

from __future__ import annotations

import asyncio
import functools
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.backends import open_backend
from bot.backends.base import Backend
from bot.domain.errors import ConfigError, LogStreamLost, Unavailable
from bot.domain.events import BackendJobRef, Cancelled, Exited, RowReady, Started
from tests.backends.conformance import *  # noqa: F403
from tests.backends.conformance import Site, ending, events
from tests.backends.engines import engine, over_engines, serving
from tests.backends.jobs import submission
from tests.backends.runtime import PretendedRuntime
from tests.image_servers.comfyui import ComfyUI
from tests.slurm.cluster import Cluster
from tests.slurm.jobs import MARK, PUBLISH, job, until, wait_for
from tests.slurm.site import backend, cluster, options
from tests.slurm.wrapped import Wrapped

__all__ = ["backend", "cluster", "engine", "options"]

pytestmark = [
    pytest.mark.xdist_group("slurm"),
    pytest.mark.timing(
        "watches the daemons of a real Slurm cluster, which a busy machine makes late"
    ),
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    over_engines(metafunc)


@pytest.fixture
def site(options: dict[str, object], tmp_path: Path, engine: str) -> Iterator[Site]:
    with serving(engine) as (of_engine, server_works):
        opening = functools.partial(open_backend, "slurm", {**options, **of_engine})
        if engine:
            yield Site(opening, tmp_path / "shared", 2, generates=True, server_works=server_works)
        else:
            yield Site(opening, tmp_path / "shared")


async def test_the_rows_of_a_grid_start_together_on_different_gpus(backend: Backend) -> None:
    # Each row waits until all four have begun: rows that ran one after another would never end.
    meet = 'touch "$STORAGE_PATH/here-$index"\n'
    meet += 'until [ "$(ls "$STORAGE_PATH"/here-* | wc -l)" -eq 4 ]; do sleep 0.05; done\n'
    work = job("together", backend.upload_url("together"), MARK + meet)
    lines, last = await ending(backend.follow(await backend.submit(work)))
    assert last == Exited(0)
    text = b"".join(line.data for line in lines).decode()
    places = re.findall(r"On node (\w+), CUDA_VISIBLE_DEVICES=(\d)", text)
    assert len(set(places)) == len(places) == 4
    began = [int(moment) for moment in re.findall(r"@@sd1 (\d+) row-start", text)]
    assert len(began) == 4
    assert max(began) - min(began) < 2000


async def test_long_lines_of_one_row_do_not_tear_the_markers_of_another(backend: Backend) -> None:
    chatter = """
      for number in $(seq 200); do
        if [ "$index" -eq 1 ]; then printf '%03000d\\n' 0; else
          printf 'row %s says %s\\n' "$index" "$number"
        fi
      done
    """
    work = job("chatter", backend.upload_url("chatter"), chatter)
    lines, _ = await ending(backend.follow(await backend.submit(work)))
    assert sum(line.data == b"0" * 3000 + b"\n" for line in lines) == 200
    said = [line.data for line in lines if re.fullmatch(rb"row [2-4] says \d+\n", line.data)]
    assert len(set(said)) == 3 * 200


async def test_a_killed_bot_started_again_follows_the_same_job_to_its_end(
    site: Site, cluster: Cluster, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.slurm.following_program"),
        *(str(site.folder), "survivor", str(gate)),
        env=cluster.environ,
        stdout=asyncio.subprocess.PIPE,
    )
    assert program.stdout is not None
    async for line in program.stdout:
        if b"CUDA_VISIBLE_DEVICES" in line:
            break
    program.send_signal(signal.SIGKILL)
    await program.wait()
    program._transport.close()  # type: ignore[attr-defined]  # or its pipe outlives the test
    before = cluster.jobs("%i", "survivor")

    backend = await site.open()
    handle = await backend.find("survivor")
    assert handle is not None
    work = job("survivor", backend.upload_url("survivor"), PUBLISH)
    assert await backend.submit(work) == handle
    gate.touch()
    lines, last = await ending(backend.follow(handle))
    assert last == Exited(0)
    assert {event.row for event in events(lines, 4) if isinstance(event, RowReady)} == {1, 2, 3, 4}
    assert sum(b"Job has started" in line.data for line in lines) == 1
    assert cluster.jobs("%i", "survivor") == before
    await backend.aclose()


async def test_a_crash_right_after_sbatch_is_repaired_by_the_job_s_name(
    options: dict[str, object], site: Site, cluster: Cluster
) -> None:
    waiting = await open_backend("slurm", {**options, "extra_args": ("--hold",)})
    handle = await waiting.submit(submission("nameless", waiting.upload_url("nameless")))
    (site.folder / "jobs" / "nameless" / "submitted").unlink()
    again = await site.open()
    assert await again.find("nameless") == handle
    assert await again.submit(submission("nameless", again.upload_url("nameless"))) == handle
    assert len(cluster.jobs("%i", "nameless")) == 1
    await again.cancel(handle)
    _, last = await ending(again.follow(handle))
    assert last == Cancelled(by=0)
    await waiting.aclose()
    await again.aclose()


async def test_a_crash_right_before_sbatch_loses_nothing(site: Site, backend: Backend) -> None:
    refused = await open_backend("slurm", {"shared_dir": site.folder, "environ": {"PATH": "/none"}})
    work = submission("intended", refused.upload_url("intended"))
    with pytest.raises(Unavailable):
        await refused.submit(work)
    assert await backend.find("intended") is None
    _, last = await ending(backend.follow(await backend.submit(work)))
    assert last == Exited(0)
    await refused.aclose()


async def test_two_slurm_jobs_of_one_name_do_the_work_once(
    site: Site, backend: Backend, cluster: Cluster
) -> None:
    gate = site.folder / "gate"
    handle = await backend.submit(
        job("double", backend.upload_url("double"), wait_for(gate) + PUBLISH)
    )
    folder = site.folder / "jobs" / "double"
    script = str(folder / "job.sh")
    await until((folder / "owner").exists)
    cluster.ask("sbatch", "--job-name=double", f"--chdir={folder}", "--output=other", script)
    await until(lambda: "COMPLETED" in cluster.jobs("%T", "double"))
    gate.touch()
    lines, last = await ending(backend.follow(handle))
    assert last == Exited(0)
    assert len(cluster.jobs("%i", "double")) == 2
    assert sum(b"Job has started" in line.data for line in lines) == 1


async def test_a_hundred_jobs_cost_one_question_a_poll(
    options: dict[str, object], cluster: Cluster, tmp_path: Path
) -> None:
    squeue = Wrapped(tmp_path / "bin", "squeue")
    poll = 0.5
    backend = await open_backend(
        "slurm",
        {
            **options,
            "extra_args": ("--hold",),
            "poll_seconds": poll,
            "log_seconds": 0.2,
            "environ": {**cluster.environ, "PATH": squeue.path},
        },
    )
    names = [f"crowd-{number}" for number in range(100)]
    handles = [await backend.submit(submission(name, backend.upload_url(name))) for name in names]
    loop = asyncio.get_running_loop()
    before, began = len(squeue.calls), loop.time()
    following = [asyncio.create_task(ending(backend.follow(handle))) for handle in handles]
    await until(lambda: len(squeue.calls) >= before + 5)
    assert len(squeue.calls) - before <= (loop.time() - began) / poll + 2
    await asyncio.to_thread(cluster.ask, "scancel", "--state=PENDING", "--me")
    assert {last for _, last in await asyncio.gather(*following)} == {Cancelled(by=0)}
    await backend.aclose()


@pytest.mark.parametrize(
    "before",
    [
        'case "$*" in *--json*) echo "squeue: unrecognized option --json" >&2; exit 1;; esac',
        'case "$*" in *--json*) echo "{}"; exit 0;; esac',
        'case "$*" in *--json*) printf "%05000000d" 0;; esac',
    ],
    ids=["unknown", "other", "endless"],
)
async def test_where_squeue_has_no_json_its_text_does(
    options: dict[str, object], cluster: Cluster, tmp_path: Path, before: str
) -> None:
    squeue = Wrapped(tmp_path / "bin", "squeue", before)
    environ = {**cluster.environ, "PATH": squeue.path}
    backend = await open_backend("slurm", {**options, "environ": environ})
    name = f"in-plain-text-{abs(hash(before))}-with-a-long-name"
    work = submission(name, backend.upload_url(name), "slow")
    handle = await backend.submit(work)
    seen: list[object] = []
    async for item in backend.follow(handle):
        seen.append(item)
        if isinstance(item, Started):
            await backend.cancel(handle)
    assert seen[-1] == Cancelled(by=0)
    assert not any("--json" in call for call in squeue.calls[1:])
    await backend.aclose()


async def test_the_bots_secrets_do_not_reach_a_job(backend: Backend) -> None:
    work = job("spy", backend.upload_url("spy"), "env", rows=1)
    lines, last = await ending(backend.follow(await backend.submit(work)))
    assert last == Exited(0)
    assert any(b"SLURM_JOB_ID" in line.data for line in lines)
    assert not any(b"DISCORD" in line.data for line in lines)


async def test_a_container_step_runs_in_the_nodes_own_runtime(
    options: dict[str, object], site: Site, cluster: Cluster, tmp_path: Path
) -> None:
    runtime = PretendedRuntime(tmp_path / "runtime")
    runtime.write()
    environ = {**cluster.environ, "PATH": f"{runtime.programs}:{cluster.environ['PATH']}"}
    contained = {**options, "container": "apptainer", "environ": environ}
    backend = await open_backend("slurm", contained)
    work = submission("contained", backend.upload_url("contained"), rows=1)
    lines, last = await ending(backend.follow(await backend.submit(work)))
    assert last == Exited(0)
    assert [event for event in events(lines, 1) if isinstance(event, RowReady)]
    folder = site.folder / "jobs" / "contained"
    assert f"{folder}/published:{folder}/published:rw" in runtime.bound
    assert f"{folder}/scratch:/deepsquare:rw" in runtime.bound
    await backend.aclose()


async def test_a_shared_folder_that_is_gone_proves_nothing(site: Site, backend: Backend) -> None:
    (site.folder / "jobs").rename(site.folder / "elsewhere")
    with pytest.raises(Unavailable, match="mounted"):
        await backend.find("anything")
    with pytest.raises(LogStreamLost, match="mounted"):
        await ending(backend.follow(BackendJobRef("slurm", "anything")))
    health = await backend.health()
    assert not health.ok
    assert "Mount" in health.hint


async def test_a_folder_that_cannot_be_shared_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="Make it writable"):
        await open_backend("slurm", {"shared_dir": tmp_path / "file" / "shared"})
    with pytest.raises(ConfigError, match="too long"):
        await open_backend(
            "slurm", {"shared_dir": tmp_path / ("x" * 200) / ("y" * 200) / ("z" * 99)}
        )


async def test_an_image_server_generates_the_rows_and_is_told_when_they_are_cancelled(
    options: dict[str, object],
) -> None:
    with ComfyUI() as server:
        servers = {"engine": "comfyui", "comfyui": {"urls": [server.url]}}
        backend = await open_backend("slurm", options | servers)
        work = submission("generated", backend.upload_url("generated"), rows=2, generate=True)
        lines, last = await ending(backend.follow(await backend.submit(work)))
        assert last == Exited(0)
        assert len([event for event in events(lines, 2) if isinstance(event, RowReady)]) == 2
        assert len(server.submitted) == 2

        server.restart()  # with an empty cache: it runs nothing twice
        server.hold()
        work = submission("withdrawn", backend.upload_url("withdrawn"), rows=2, generate=True)
        handle = await backend.submit(work)
        assert await asyncio.to_thread(server.stepping.wait, 60)
        await backend.cancel(handle)
        _, last = await ending(backend.follow(handle))
        assert isinstance(last, Cancelled)
        await asyncio.to_thread(server.wait_until_idle)
        assert server.waiting == []
        assert None not in server.interrupts
        await backend.aclose()
