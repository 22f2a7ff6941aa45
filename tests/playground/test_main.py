"""Test the playground as a program."""

from __future__ import annotations

import asyncio
import signal
import sys

import httpx


async def test_it_says_where_it_listens_and_ends_when_interrupted() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot.playground", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(30):
        lines = [(await process.stdout.readline()).decode().split() for _ in range(4)]
        said = {words[0]: words[1] for words in lines}
        async with httpx.AsyncClient(trust_env=False) as client:
            reply = await client.get(
                said["DISCORD_API_BASE"] + "/users/@me",
                headers={
                    "Authorization": f"Bot {said['DISCORD_TOKEN']}",
                    "User-Agent": "DiscordBot (test, 1)",
                },
            )
        assert reply.json()["username"] == "Gridbrush"
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
