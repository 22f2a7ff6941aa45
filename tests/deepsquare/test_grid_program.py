"""``scripts/play-deepsquare`` without its installing half: the environment, and a command in it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import httpx
import pytest

from bot.settings.settings import Settings
from tests.deepsquare.testnet.anvil import AnvilMissing, find_anvil

pytestmark = pytest.mark.timing(
    "watches a real EVM node and its services, which a busy machine makes late"
)

PROGRAM = (sys.executable, "-m", "tests.deepsquare.testnet")


@pytest.fixture(autouse=True)
def _anvil() -> None:
    try:
        find_anvil()
    except AnvilMissing as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))


async def test_it_prints_settings_that_the_bot_accepts_and_ends_when_told(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(*PROGRAM, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    environment = {}
    while "DEEPSQUARE_PRIVATE_KEY" not in environment:
        line = (await process.stdout.readline()).decode().strip()
        assert line, "it ended early"
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            environment[name] = value.strip("'")
    settings = Settings.load(None, environment, tmp_path)
    options = settings.backend_options()
    assert settings.backend.kind == "deepsquare"
    assert options["logger_tls"] is False
    async with httpx.AsyncClient() as client:
        health = await client.get(str(options["sbatch_url"]).replace("graphql", "health"))
        assert health.text == "ok"
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0


async def test_it_runs_a_command_and_ends_with_its_status() -> None:
    command = ("sh", "-c", 'test "$GRIDBRUSH_BACKEND__KIND" = deepsquare && exit 3')
    process = await asyncio.create_subprocess_exec(*PROGRAM, "--speed", "60", *command)
    assert await process.wait() == 3


async def test_without_a_node_it_says_how_to_get_one() -> None:
    environment = {**os.environ, "ANVIL": "/no/such/anvil"}
    process = await asyncio.create_subprocess_exec(
        *PROGRAM, "true", env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode == 1
    assert b"scripts/components" in said
