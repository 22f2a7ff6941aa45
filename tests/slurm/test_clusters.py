"""Jobs on a cluster that has a name: handed over, watched, found and stopped on the same one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from bot.backends import open_backend
from bot.backends.base import Backend, LifecycleEvent, LogLine
from bot.domain.errors import Unavailable
from bot.domain.events import BackendJobRef, Cancelled, Exited
from tests.backends.conformance import ending
from tests.backends.jobs import submission
from tests.slurm.cluster import Cluster
from tests.slurm.routed import Routed
from tests.slurm.site import cluster, options_for, require_slurm

__all__ = ["cluster"]

pytestmark = [
    pytest.mark.xdist_group("slurm-clusters"),
    pytest.mark.timing(
        "watches the daemons of a real Slurm cluster, which a busy machine makes late"
    ),
]


@pytest.fixture(scope="module")
def gpuland(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A second cluster."""
    require_slurm()
    started = Cluster(tmp_path_factory.mktemp("gpuland"), nodes=1)
    started.up()
    yield started
    started.down()


@pytest.fixture
def routed(cluster: Cluster, gpuland: Cluster, tmp_path: Path) -> Routed:
    return Routed(tmp_path / "routed", {"": cluster, "home": cluster, "gpuland": gpuland})


def chosen(
    cluster: Cluster,
    routed: Routed,
    shared: Path,
    extra_args: tuple[str, ...] = (),
    **variables: str,
) -> dict[str, object]:
    options = options_for(cluster, shared)
    environ = {**options["environ"], "PATH": routed.path, **variables}  # type: ignore[dict-item]
    return {**options, "environ": environ, "extra_args": extra_args}


async def stopped(backend: Backend, handle: BackendJobRef) -> list[LifecycleEvent]:
    """Stop the job once it paints; what its stream says of its life."""
    said: list[LifecycleEvent] = []
    async for item in backend.follow(handle):
        if not isinstance(item, LogLine):
            said.append(item)
        elif b"row-start" in item.data:
            await backend.cancel(handle)
    return said


WAYS = [
    (("--clusters=gpuland",), {}),
    (("--clusters", "gpuland"), {}),
    (("--cluster=gpuland",), {}),
    (("-M", "gpuland"), {}),
    (("-Mgpuland",), {}),
    (("--comment=x", "-M", "gpuland", "--nice=0"), {}),
    (("--clusters=home,gpuland",), {}),
    ((), {"SBATCH_CLUSTERS": "gpuland"}),
    ((), {"SLURM_CLUSTERS": "gpuland"}),
    (("-Mgpuland",), {"SBATCH_CLUSTERS": "nowhere", "SQUEUE_CLUSTERS": "home"}),
]


@pytest.mark.parametrize(("extra_args", "variables"), WAYS)
async def test_every_program_speaks_to_the_cluster_that_took_the_job(
    cluster: Cluster,
    gpuland: Cluster,
    routed: Routed,
    tmp_path: Path,
    extra_args: tuple[str, ...],
    variables: dict[str, str],
) -> None:
    shared = tmp_path / "shared"
    backend = await open_backend("slurm", chosen(cluster, routed, shared, extra_args, **variables))
    name = f"there-{uuid4().hex[:8]}"  # the cluster still lists the job of an earlier try
    handle = await backend.submit(submission(name, backend.upload_url(name), "slow"))
    assert (await stopped(backend, handle))[-1] == Cancelled(by=0)
    assert gpuland.jobs("%T", name) == ["CANCELLED"]
    assert cluster.jobs("%T", name) == []
    assert routed.asked("squeue") == routed.asked("scancel") == {"gpuland"}
    assert (await backend.health()).ok
    assert "" not in routed.asked("sinfo") | routed.asked("sbatch")
    await backend.aclose()


async def test_a_job_is_followed_where_it_is_though_another_cluster_is_configured_by_now(
    cluster: Cluster, routed: Routed, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    there = await open_backend("slurm", chosen(cluster, routed, shared, ("-Mgpuland",)))
    handle = await there.submit(submission("moved", there.upload_url("moved")))
    await there.aclose()
    here = await open_backend("slurm", chosen(cluster, routed, shared))
    assert await here.find("moved") == handle
    assert (await ending(here.follow(handle)))[1] == Exited(0)
    assert routed.asked("squeue") == {"gpuland"}
    await here.aclose()


async def test_a_job_whose_submission_was_not_written_down_is_found_on_its_cluster(
    cluster: Cluster, routed: Routed, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    for extra_args in (("-Mgpuland",), ("--clusters=home,gpuland",)):
        backend = await open_backend("slurm", chosen(cluster, routed, shared, extra_args))
        name = f"lost-{len(extra_args[0])}"
        handle = await backend.submit(submission(name, backend.upload_url(name), "slow"))
        for file in ("submitted", "owner"):
            (shared / "jobs" / name / file).unlink(missing_ok=True)
        assert await backend.find(name) == handle
        await backend.cancel(handle)
        assert (await ending(backend.follow(handle)))[1] == Cancelled(by=0)
        await backend.aclose()


async def test_the_folder_of_an_earlier_version_says_no_cluster_and_the_configured_one_counts(
    cluster: Cluster, routed: Routed, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    backend = await open_backend("slurm", chosen(cluster, routed, shared, ("-Mgpuland",)))
    handle = await backend.submit(submission("earlier", backend.upload_url("earlier"), "slow"))
    submitted = shared / "jobs" / "earlier" / "submitted"
    number, _, named = submitted.read_text().partition(";")
    assert named == "gpuland"
    submitted.write_text(number)
    assert (await stopped(backend, handle))[-1] == Cancelled(by=0)
    await backend.aclose()


async def test_a_cluster_that_cannot_be_reached_is_an_outage_and_no_refusal(
    cluster: Cluster, routed: Routed, tmp_path: Path
) -> None:
    backend = await open_backend(
        "slurm", chosen(cluster, routed, tmp_path / "shared", ("--clusters=nowhere",))
    )
    with pytest.raises(Unavailable, match="nowhere"):
        await backend.submit(submission("waits", backend.upload_url("waits")))
    health = await backend.health()
    assert not health.ok
    assert "nowhere" in health.detail
    await backend.aclose()


async def test_a_job_that_slurm_does_not_show_while_its_folder_moves_is_not_taken_for_dead(
    cluster: Cluster, routed: Routed, tmp_path: Path
) -> None:
    """squeue is asked elsewhere, as an empty answer would have it; the job prints and lives on."""
    shared = tmp_path / "shared"
    options = {**chosen(cluster, routed, shared), "settle_seconds": 0.3}
    backend = await open_backend("slurm", options)
    handle = await backend.submit(submission("unseen", backend.upload_url("unseen"), "slow"))
    stream = backend.follow(handle)
    while not isinstance(item := await anext(stream), LogLine) or b"row-start" not in item.data:
        pass
    submitted = shared / "jobs" / "unseen" / "submitted"
    kept = submitted.read_text()
    submitted.write_text(f"{kept};gpuland")
    blind = await open_backend("slurm", options)
    said: list[LogLine | LifecycleEvent] = []

    async def listen() -> None:
        async for item in blind.follow(handle):
            said.append(item)  # noqa: PERF401  # what came before the cancellation counts

    listening = asyncio.create_task(listen())
    await asyncio.wait({listening}, timeout=2.0)  # 0.3 s of absence would be the end
    assert not listening.done()
    assert all(isinstance(item, LogLine) for item in said)
    submitted.write_text(kept)
    await backend.cancel(handle)
    assert (await ending(stream))[1] == Cancelled(by=0)
    await listening
    assert said[-1] == Cancelled(by=0)
    await blind.aclose()
    await backend.aclose()
