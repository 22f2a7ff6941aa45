"""The whole bot on a cluster: from ``/imagine`` on a played Discord to the grid, and outages."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from bot.playground.server import Playground
from bot.playground.state.models import Message
from bot.runtime import BACKEND_UNAVAILABLE_NOTICE
from tests.bot_process import bot_process, grids
from tests.slurm.cluster import Cluster
from tests.slurm.site import cluster, fragile

__all__ = ["cluster", "fragile"]

pytestmark = [
    pytest.mark.xdist_group("slurm-away"),
    pytest.mark.timing(
        "watches the daemons of a real Slurm cluster, which a busy machine makes late"
    ),
]


@pytest.fixture
async def playground() -> AsyncIterator[Playground]:
    playing = Playground()
    await playing.start()
    yield playing
    await playing.aclose()


def bot(
    playground: Playground, cluster: Cluster, folder: Path, **settings: str
) -> AbstractAsyncContextManager[asyncio.subprocess.Process]:
    """``gridbrush run`` against the cluster."""
    section = "GRIDBRUSH_BACKEND__SLURM__"
    on_the_cluster = {
        **{key: value for key, value in cluster.environ.items() if key in {"PATH", "SLURM_CONF"}},
        "GRIDBRUSH_IMAGINE__SAMPLES": "1",
        "GRIDBRUSH_BACKEND__KIND": "slurm",
        f"{section}SHARED_DIR": str(folder / "shared"),
        f"{section}ENGINE": "sketch",
        f"{section}POLL_SECONDS": "0.3",
        **settings,
    }
    return bot_process(playground, folder, on_the_cluster)


async def imagine(playground: Playground, who: str) -> Message:
    asked = await playground.as_member(who).slash("imagine", "imagine", prompt="a fox in the snow")
    return await asked.answered()


async def test_imagine_posts_a_grid_from_the_cluster_though_the_bot_is_killed_meanwhile(
    playground: Playground, fragile: Cluster, tmp_path: Path
) -> None:
    async with bot(
        playground, fragile, tmp_path, GRIDBRUSH_BACKEND__SLURM__STEP_SECONDS="0.5"
    ) as process:
        await imagine(playground, "Ada")
        await playground.until(lambda _: "RUNNING" in fragile.jobs("%T"), within=30)
        process.send_signal(signal.SIGKILL)
        await process.wait()
    assert not grids(playground)
    before = fragile.jobs("%i")
    async with bot(playground, fragile, tmp_path):
        await playground.until(lambda _: len(grids(playground)) == 1, within=30)
    assert fragile.jobs("%i") == before
    assert len(before) == 1


async def test_status_messages_say_the_cluster_is_unavailable_and_grids_follow_when_it_is_back(
    playground: Playground, fragile: Cluster, tmp_path: Path
) -> None:
    async with bot(playground, fragile, tmp_path):
        await asyncio.to_thread(fragile.stop_controller)
        await imagine(playground, "Ada")
        await imagine(playground, "Ben")
        channel = playground.world.channel("imagine").id

        def told(_: object) -> bool:
            messages = [str(message) for message in playground.world.messages_in(channel)]
            return sum(BACKEND_UNAVAILABLE_NOTICE in message for message in messages) == 2

        await playground.until(told, within=30)
        await asyncio.to_thread(fragile.start_controller)
        await playground.until(lambda _: len(grids(playground)) == 2, within=60)
    assert len(fragile.jobs("%j")) == len(set(fragile.jobs("%j"))) == 2
