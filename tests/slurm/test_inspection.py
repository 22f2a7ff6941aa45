"""What ``gridbrush check`` finds on a cluster, each with its mend."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from bot.backends import open_backend
from bot.backends.base import Backend, SupportsChecks
from bot.backends.slurm.checks import NodeGroup, gpu_health, partition_health
from bot.backends.slurm.options import SlurmOptions
from bot.domain.checks import CheckResult
from tests.backends.jobs import submission
from tests.slurm.cluster import SEARCH, Cluster
from tests.slurm.site import cluster, fragile, options, options_for
from tests.slurm.wrapped import Wrapped

__all__ = ["cluster", "fragile", "options"]

pytestmark = [
    pytest.mark.xdist_group("slurm"),
    pytest.mark.timing(
        "watches the daemons of a real Slurm cluster, which a busy machine makes late"
    ),
]

NODES = (
    NodeGroup("debug", True, True, 3, "idle", "(null)"),
    NodeGroup("gpu", False, True, 2, "mixed", "gpu:a100:4(S:0-1),gpu:v100:2"),
    NodeGroup("old", False, False, 1, "idle", "gpu:4"),
)


def some(**values: object) -> SlurmOptions:
    return SlurmOptions.from_mapping({"shared_dir": "/shared", **values})


async def inspect(options: dict[str, object], **changes: object) -> dict[str, CheckResult]:
    backend = await open_backend("slurm", {**options, **changes})
    found = await report(backend)
    await backend.aclose()
    return found


async def report(backend: Backend) -> dict[str, CheckResult]:
    assert isinstance(backend, SupportsChecks)
    found = await backend.run_checks(submission("grid", backend.upload_url("grid")).workflow)
    for finding in found:
        assert finding.detail
        assert finding.ok or finding.hint
    return {finding.name: finding for finding in found}


async def test_a_cluster_in_order_passes_every_check(
    options: dict[str, object], tmp_path: Path
) -> None:
    found = await inspect(options, gpus="fake", partition="debug")
    assert [what for what, health in found.items() if not health.ok] == []
    assert list(found) == [
        "Slurm's programs",
        "shared folder here",
        "Slurm controller",
        "partition",
        "GPUs",
        "account and limits",
        "test job on a node",
        "image engine",
    ]
    assert found["image engine"].detail == "sketch, no model"
    assert not list((tmp_path / "shared").glob("check-*"))


async def test_a_model_that_the_nodes_cannot_paint_with_is_found(
    options: dict[str, object], tmp_path: Path
) -> None:
    model = str(tmp_path / "gone")
    found = await inspect(options, gpus="fake", engine="diffusers", model=model)
    assert found["test job on a node"].ok
    assert not found["image engine"].ok


async def test_missing_client_programs_are_named(tmp_path: Path) -> None:
    environ = {"PATH": str(tmp_path)}
    found = await inspect({"shared_dir": tmp_path / "shared", "environ": environ})
    assert "sbatch" in found["Slurm's programs"].detail
    assert "slurm-client" in found["Slurm's programs"].hint


async def test_a_controller_that_is_away_is_said_to_be_so(fragile: Cluster, tmp_path: Path) -> None:
    await asyncio.to_thread(fragile.stop_controller)
    found = await inspect(options_for(fragile, tmp_path / "shared"))
    assert not found["Slurm controller"].ok
    assert "slurmctld" in found["Slurm controller"].hint


async def test_a_wrong_partition_and_what_there_is_are_named(options: dict[str, object]) -> None:
    found = await inspect(options, partition="nowhere")
    assert "nowhere" in found["partition"].detail
    assert "debug" in found["partition"].hint
    assert not found["account and limits"].ok
    assert "test job on a node" not in found


async def test_an_interpreter_that_the_nodes_lack_is_named(options: dict[str, object]) -> None:
    found = await inspect(options, python="/opt/none/bin/python")
    health = found["test job on a node"]
    assert not health.ok
    assert "/opt/none/bin/python" in health.detail
    assert "python" in health.hint


async def test_a_container_runtime_that_the_nodes_lack_is_named(options: dict[str, object]) -> None:
    absent = [name for name in ("podman", "apptainer") if shutil.which(name, path=SEARCH) is None]
    if not absent:
        pytest.skip("this machine has both runtimes")
    found = await inspect(options, container=absent[0])
    assert absent[0] in found["test job on a node"].detail


async def test_a_full_cluster_is_no_fault(options: dict[str, object]) -> None:
    found = await inspect(options, extra_args=("--hold",), inspect_seconds=0.5)
    health = found["test job on a node"]
    assert health.ok
    assert "JobHeldUser" in health.detail


async def test_a_node_that_does_not_see_the_shared_folder_is_found_out(
    options: dict[str, object], cluster: Cluster, tmp_path: Path
) -> None:
    # What the job's script does first fails, as its `cd` would.
    blind = """
      for last; do :; done
      case $last in */job.sh) printf '#!/bin/sh\\nexit 1\\n' > "$last" ;; esac
    """
    sbatch = Wrapped(tmp_path / "bin", "sbatch", blind)
    found = await inspect(options, environ={**cluster.environ, "PATH": sbatch.path})
    health = found["test job on a node"]
    assert not health.ok
    assert "on every node" in health.hint


async def test_a_folder_that_is_gone_is_named(options: dict[str, object], tmp_path: Path) -> None:
    backend = await open_backend("slurm", options)
    (tmp_path / "shared").rename(tmp_path / "gone")
    found = await report(backend)
    assert not found["shared folder here"].ok
    assert "Mount" in found["shared folder here"].hint
    await backend.aclose()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (some(), "debug, nodes: 3 idle"),
        (some(partition="debug,gpu"), "debug, nodes: 3 idle, 2 mixed"),
        (some(partition="none"), "there is no partition none"),
        (some(partition="old"), "the partition old is down"),
    ],
)
def test_a_partition_must_be_there_and_up(options: SlurmOptions, said: str) -> None:
    health = partition_health(NODES, options)
    assert health.detail == said
    assert health.ok is ("nodes" in said)


def test_a_cluster_without_a_default_partition_wants_one_named() -> None:
    health = partition_health(NODES[1:], some())
    assert health.detail == "there is no default partition"
    assert "gpu, old" in health.hint


@pytest.mark.parametrize(
    ("options", "ok", "said"),
    [
        (some(gpus="none"), True, "none are requested"),
        (some(), False, "the partition has no GPUs"),
        (some(partition="gpu"), True, "a100, v100"),
        (some(partition="gpu", gpus="v100"), True, "v100"),
        (some(partition="gpu", gpus="h100"), False, "the partition has no GPUs of type h100"),
        (some(partition="old"), True, "yes, without a type"),
        (some(partition="old", gpus="v100"), False, "the partition has no GPUs of type v100"),
    ],
)
def test_gpus_of_the_wanted_kind_must_be_there(options: SlurmOptions, ok: bool, said: str) -> None:
    health = gpu_health(NODES, options)
    assert (health.ok, health.detail) == (ok, said)
