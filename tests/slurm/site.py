"""The cluster that the tests of a module share, and backends over it.

A test module imports the fixtures by name. Without Slurm the tests that use them are skipped and
say so; with ``CI=true`` they fail, since there it is installed.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bot.backends import open_backend
from bot.backends.base import Backend, LogLine
from tests.backends.conformance import Site
from tests.backends.jobs import submission
from tests.slurm.cluster import Cluster, missing

__all__ = ["backend", "cluster", "fragile", "options", "site", "timed_out"]


def require_slurm() -> None:
    """Skip, or fail in CI, where no cluster can be started."""
    if lacking := missing():
        said = f"not installed: {', '.join(lacking)} (Debian: apt install slurm-wlm munge)"
        if os.environ.get("CI") == "true":
            pytest.fail(said)
        pytest.skip(said)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Four nodes with four fake GPUs each."""
    require_slurm()
    started = Cluster(tmp_path_factory.mktemp("slurm"))
    started.up()
    yield started
    started.down()


@pytest.fixture
def fragile(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster of the test's own, whose clients give up after a second and not after nine."""
    require_slurm()
    started = Cluster(tmp_path / "cluster", message_timeout=2)
    started.up()
    yield started
    started.down()


def options_for(cluster: Cluster, shared_dir: Path) -> dict[str, object]:
    """Options that make a backend quick."""
    return {
        "shared_dir": shared_dir,
        "engine": "sketch",
        "poll_seconds": 0.2,
        "log_seconds": 0.05,
        "settle_seconds": 2.0,
        "environ": {**cluster.environ, "HOME": str(shared_dir), "DISCORD_TOKEN": "a secret"},
    }


@pytest.fixture
def options(cluster: Cluster, tmp_path: Path) -> dict[str, object]:
    """Options for a backend of this test's own, over the shared cluster."""
    return options_for(cluster, tmp_path / "shared")


@pytest.fixture
def site(options: dict[str, object], tmp_path: Path) -> Site:
    """What the conformance suite asks for."""
    return Site(functools.partial(open_backend, "slurm", options), tmp_path / "shared")


@pytest.fixture
async def backend(site: Site) -> AsyncIterator[Backend]:
    """One backend over the shared cluster."""
    opened = await site.open()
    yield opened
    await opened.aclose()


@pytest.fixture(scope="module")
def timed_out(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Where the job ``endless`` runs, whose time is up.

    Slurm looks for such jobs only twice a minute: a module uses this fixture from its first test
    on, and looks for the job in its last. Tests that take a node down must leave n4 alone.
    """
    shared = tmp_path_factory.mktemp("timed-out")
    chosen = {**options_for(cluster, shared), "extra_args": ("--nodelist=n4",)}
    site = Site(functools.partial(open_backend, "slurm", chosen), shared)
    asyncio.run(_start_endless(site, cluster))
    return site


async def _start_endless(site: Site, cluster: Cluster) -> None:
    backend = await site.open()
    handle = await backend.submit(submission("endless", backend.upload_url("endless"), "slow", 1))
    async for item in backend.follow(handle):
        if isinstance(item, LogLine) and b"row-start" in item.data:
            break
    number = cluster.ask("squeue", "--noheader", "--format=%i", "--name=endless").strip()
    await asyncio.to_thread(cluster.ask, "scontrol", "update", f"JobId={number}", "TimeLimit=0")
    await backend.aclose()
