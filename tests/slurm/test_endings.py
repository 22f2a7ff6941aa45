"""How jobs end on a real cluster when they do not end well."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from bot.backends import open_backend
from bot.backends.base import Backend, LogLine
from bot.domain.errors import SubmissionRejected
from bot.domain.events import Cancelled, Exited, Failed, FailureReason, Requeued, Started
from bot.domain.workflow.schema import Opaque
from tests.backends.conformance import Site, ending
from tests.backends.jobs import submission
from tests.slurm.cluster import Cluster
from tests.slurm.jobs import MARK, job, wait_for
from tests.slurm.site import backend, cluster, options, site, timed_out

__all__ = ["backend", "cluster", "options", "site", "timed_out"]

pytestmark = [
    pytest.mark.xdist_group("slurm"),
    pytest.mark.usefixtures("timed_out"),
    pytest.mark.timing(
        "watches the daemons of a real Slurm cluster, which a busy machine makes late"
    ),
]


async def test_a_node_that_fails_puts_its_job_back(
    options: dict[str, object], cluster: Cluster
) -> None:
    backend = await open_backend("slurm", {**options, "extra_args": ("--exclude=n4",)})
    name = "on-a-bad-node"
    handle = await backend.submit(submission(name, backend.upload_url(name), "slow"))
    seen: list[object] = []
    async for item in backend.follow(handle):
        if isinstance(item, LogLine):
            continue
        seen.append(item)
        if isinstance(item, Started):
            await asyncio.to_thread(fail_node_of, cluster, name)
        if isinstance(item, Requeued):
            await backend.cancel(handle)
    assert seen == [Started(), Requeued(), Cancelled(by=0)]
    await backend.aclose()


async def test_a_failed_node_ends_a_job_that_must_not_run_again(
    options: dict[str, object], cluster: Cluster
) -> None:
    backend = await open_backend(
        "slurm", {**options, "extra_args": ("--no-requeue", "--exclude=n4")}
    )
    handle = await backend.submit(submission("only-once", backend.upload_url("only-once"), "slow"))
    async for item in backend.follow(handle):
        if isinstance(item, Started):
            await asyncio.to_thread(fail_node_of, cluster, "only-once")
    assert isinstance(item, Failed)
    assert "node" in item.message
    await backend.aclose()


def fail_node_of(cluster: Cluster, name: str) -> None:
    """Take the job's node down for good, as seen by the job, and give the node back."""
    node = cluster.ask("squeue", "--noheader", "--format=%N", f"--name={name}").strip()
    cluster.ask("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
    cluster.ask("scontrol", "update", f"NodeName={node}", "State=RESUME")


async def test_a_step_that_takes_too_much_memory_is_said_to_have_done_so(backend: Backend) -> None:
    glutton = "python -c 'x = bytearray(400_000_000); import time; time.sleep(60)'"
    work = job("glutton", backend.upload_url("glutton"), glutton, rows=1)
    _, last = await ending(backend.follow(await backend.submit(work)))
    assert isinstance(last, Failed)
    assert last.cause is FailureReason.DIED
    assert "memory" in last.message


async def test_a_job_that_can_never_start_is_given_up_and_taken_away(
    options: dict[str, object], cluster: Cluster
) -> None:
    backend = await open_backend(
        "slurm",
        {**options, "gpus": "none", "extra_args": ("--ntasks=99",), "hopeless_seconds": 0.3},
    )
    handle = await backend.submit(submission("too-large", backend.upload_url("too-large")))
    _, last = await ending(backend.follow(handle))
    assert isinstance(last, Failed)
    assert last.cause is FailureReason.REJECTED
    assert "fewer rows" in last.message
    assert cluster.jobs("%T", "too-large") == ["CANCELLED"]
    await backend.aclose()


async def test_a_job_cancelled_by_the_cluster_s_operator_ends_as_cancelled(
    backend: Backend, cluster: Cluster
) -> None:
    handle = await backend.submit(submission("removed", backend.upload_url("removed"), "slow"))
    async for item in backend.follow(handle):
        if isinstance(item, LogLine) and b"row-start" in item.data:
            await asyncio.to_thread(cluster.ask, "scancel", "--name=removed")
    assert item == Cancelled(by=0)


async def test_a_job_whose_script_is_killed_is_reported_with_slurm_s_word(
    backend: Backend, cluster: Cluster, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    work = job("shot", backend.upload_url("shot"), MARK + wait_for(gate), rows=1)
    async for item in backend.follow(await backend.submit(work)):
        if isinstance(item, LogLine) and b"row-start" in item.data:
            shoot = ("scancel", "--batch", "--signal=KILL", "--name=shot")
            await asyncio.to_thread(cluster.ask, *shoot)
            gate.touch()
    assert isinstance(item, Exited)
    assert item.code == 137
    assert "no result" in item.detail


async def test_a_refused_submission_says_why(options: dict[str, object]) -> None:
    backend = await open_backend("slurm", {**options, "partition": "nowhere"})
    with pytest.raises(SubmissionRejected, match="partition"):
        await backend.submit(submission("misplaced", backend.upload_url("misplaced")))
    assert await backend.find("misplaced") is None
    await backend.aclose()


async def test_a_refused_submission_that_left_a_record_was_not_taken(
    options: dict[str, object], backend: Backend
) -> None:
    picky = await open_backend("slurm", {**options, "gpus": "a100"})
    work = submission("picky", picky.upload_url("picky"))
    with pytest.raises(SubmissionRejected, match="not available"):
        await picky.submit(work)
    assert await backend.find("picky") is None
    await picky.aclose()


async def test_a_workflow_that_only_deepsquare_can_run_is_refused(backend: Backend) -> None:
    work = submission("modular", backend.upload_url("modular"))
    networked = replace(work.workflow, virtual_networks=(Opaque("net"),))
    with pytest.raises(SubmissionRejected, match="virtualNetworks"):
        await backend.submit(replace(work, workflow=networked))


async def test_a_job_over_its_time_limit_is_said_to_be_so(timed_out: Site) -> None:
    backend = await timed_out.open()
    handle = await backend.find("endless")
    assert handle is not None
    _, last = await ending(backend.follow(handle))
    assert isinstance(last, Failed)
    assert last.cause is FailureReason.TIME_LIMIT
    await backend.aclose()
