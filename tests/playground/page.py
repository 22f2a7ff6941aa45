"""Act as the page, without a browser."""

from __future__ import annotations

from typing import Any

import aiohttp

from bot.playground.server import Playground


class Page:
    """One member's page."""

    def __init__(self, playground: Playground, session: aiohttp.ClientSession, name: str) -> None:
        self.playground = playground
        self.session = session
        self.me = str(playground.world.user(name).id)

    def url(self, path: str) -> str:
        return self.playground.page_url.rstrip("/") + path

    async def get(self, path: str, **query: str) -> Any:
        async with self.session.get(self.url(path), params={"as": self.me} | query) as reply:
            return await reply.json()

    async def post(self, path: str, **body: Any) -> tuple[int, Any]:
        async with self.session.post(self.url(path), json={"as": self.me} | body) as reply:
            return reply.status, await reply.json()

    async def interact(self, kind: int, data: Any, channel: str = "imagine", **more: Any) -> Any:
        place = str(self.playground.world.channel(channel).id)
        return await self.post("/play/interactions", type=kind, channel_id=place, data=data, **more)

    def socket(self) -> Any:
        return self.session.ws_connect(self.url(f"/play/socket?as={self.me}"))


async def frames(socket: aiohttp.ClientWebSocketResponse, until: str) -> list[Any]:
    """Return the received frames, up to and including a type of event."""
    heard: list[Any] = []
    while not heard or heard[-1]["t"] != until:
        heard.append(await socket.receive_json(timeout=10))
    return heard
