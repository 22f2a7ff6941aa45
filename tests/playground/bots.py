"""Run a real discord.py client against a playground; it never connects to Discord."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import discord
import yarl
from discord import app_commands
from discord.gateway import DiscordWebSocket
from discord.http import Route
from PIL import Image

from bot.playground.server import Playground


def png(width: int = 64, height: int = 48) -> bytes:
    """Return a real image."""
    stream = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 60)).save(stream, "PNG")
    return stream.getvalue()


def picture(name: str = "grid.png", description: str | None = None) -> discord.File:
    """Return an image as a file of discord.py."""
    return discord.File(io.BytesIO(png()), name, description=description)


@contextmanager
def pointed_at(playground: Playground) -> Iterator[None]:
    """Let discord.py use the playground's addresses until the block ends."""
    before = Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY
    Route.BASE = playground.api_base
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(playground.gateway_url)
    assert not Route.BASE.startswith("https://discord.com")
    try:
        yield
    finally:
        Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY = before


class Bot(discord.Client):
    """A client with a command tree, synced on start, and a list of received events."""

    def __init__(self, intents: discord.Intents, set_up: Callable[[Bot], None]) -> None:
        super().__init__(intents=intents, guild_ready_timeout=0.1)
        self.tree = app_commands.CommandTree(self)
        self.heard: list[str] = []
        self._stirred = asyncio.Event()
        set_up(self)

    async def setup_hook(self) -> None:
        await self.tree.sync()

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Identify without the 5 s that discord.py waits by default."""

    async def on_socket_event_type(self, event_type: str) -> None:
        self.heard.append(event_type)
        self._stirred.set()

    async def hears(self, event_type: str, times: int = 1) -> None:
        """Wait for ``count`` events of a type."""
        async with asyncio.timeout(10):
            while self.heard.count(event_type) < times:
                self._stirred.clear()
                await self._stirred.wait()


@asynccontextmanager
async def running(
    playground: Playground,
    set_up: Callable[[Bot], None] = lambda bot: None,
    intents: discord.Intents | None = None,
) -> AsyncIterator[Bot]:
    """Run a bot until the block ends; it is ready when the block begins."""
    bot = Bot(discord.Intents(guilds=True) if intents is None else intents, set_up)
    with pointed_at(playground):
        task = asyncio.create_task(bot.start(playground.token))
        try:
            await playground.online()
            await bot.wait_until_ready()
            yield bot
        finally:
            await bot.close()
            await asyncio.gather(task, return_exceptions=True)
