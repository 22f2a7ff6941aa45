"""The whole bot on a cluster: from ``/imagine`` on a played Discord to the grid, and outages."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bot.playground.posts import Message
from bot.playground.server import Playground
from tests.slurm.cluster import Cluster
from tests.slurm.site import cluster, fragile

__all__ = ["cluster", "fragile"]

pytestmark = pytest.mark.xdist_group("slurm-away")


@pytest.fixture
async def playground() -> AsyncIterator[Playground]:
    playing = Playground()
    await playing.start()
    yield playing
    await playing.aclose()


@asynccontextmanager
async def bot(
    playground: Playground, cluster: Cluster, folder: Path, **settings: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """``gridbrush run`` against the cluster, connected; killed at the end if it still lives."""
    environ = {
        **{key: value for key, value in cluster.environ.items() if key in {"PATH", "SLURM_CONF"}},
        "HOME": str(folder),
        "DISCORD_TOKEN": playground.token,
        "DISCORD_API_BASE": playground.api_base,
        "DISCORD_GATEWAY_URL": playground.gateway_url,
        "GRIDBRUSH_DISCORD__GUILDS": json.dumps([playground.world.guild_id]),
        "GRIDBRUSH_DATA__DIR": str(folder / "data"),
        "GRIDBRUSH_METRICS__LISTEN": "",
        "GRIDBRUSH_IMAGINE__WIDTH": "64",
        "GRIDBRUSH_IMAGINE__HEIGHT": "64",
        "GRIDBRUSH_IMAGINE__ROWS": "2",
        "GRIDBRUSH_IMAGINE__SAMPLES": "1",
        "GRIDBRUSH_IMAGINE__STEPS": "4",
        "GRIDBRUSH_BACKEND__KIND": "slurm",
        "GRIDBRUSH_BACKEND__SLURM__SHARED_DIR": str(folder / "shared"),
        "GRIDBRUSH_BACKEND__SLURM__ENGINE": "sketch",
        "GRIDBRUSH_BACKEND__SLURM__POLL_SECONDS": "0.3",
        **settings,
    }
    with (folder / "bot.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bot", "run"),
            cwd=Path(__file__).parents[2],
            env=environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        await playground.online(within=30)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await playground.until(lambda _: not playground.gateway.online)


def grids(playground: Playground) -> list[Message]:
    """The messages in #imagine that show a grid."""
    channel = playground.world.channel("imagine").id
    return [
        message
        for message in playground.world.messages_in(channel)
        if any(file.filename.startswith("grid") for file in message.attachments)
    ]


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


async def test_the_cards_say_that_the_cluster_is_away_and_the_grids_come_when_it_is_back(
    playground: Playground, fragile: Cluster, tmp_path: Path
) -> None:
    async with bot(playground, fragile, tmp_path):
        await asyncio.to_thread(fragile.stop_controller)
        await imagine(playground, "Ada")
        await imagine(playground, "Ben")
        channel = playground.world.channel("imagine").id

        def told(_: object) -> bool:
            cards = [str(message) for message in playground.world.messages_in(channel)]
            return sum("away" in card for card in cards) == 2

        await playground.until(told, within=30)
        await asyncio.to_thread(fragile.start_controller)
        await playground.until(lambda _: len(grids(playground)) == 2, within=60)
    assert len(fragile.jobs("%j")) == len(set(fragile.jobs("%j"))) == 2
