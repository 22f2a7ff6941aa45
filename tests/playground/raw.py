"""Send plain HTTP to a playground: requests that discord.py never sends."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from bot.playground.server import Playground
from bot.playground.state.models import COMPONENT, Channel, Interaction, Message


class Api:
    """Discord's REST API with the bot's token, without the checks of a library."""

    def __init__(self, playground: Playground, client: httpx.AsyncClient) -> None:
        self.playground = playground
        self.client = client

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        files: list[tuple[str, bytes]] | None = None,
    ) -> httpx.Response:
        """Make a call; ``files`` makes it multipart, as discord.py would."""
        url = self.playground.api_base + path
        if files is None:
            return await self.client.request(method, url, json=body)
        parts: list[Any] = [("payload_json", (None, json.dumps(body), "text/plain"))]
        parts += [
            (f"files[{number}]", (name, content, "application/octet-stream"))
            for number, (name, content) in enumerate(files)
        ]
        return await self.client.request(method, url, files=parts)

    async def post(self, channel: str | Channel, **body: Any) -> httpx.Response:
        """Post a message."""
        place = self.playground.world.channel(channel)
        return await self.call("POST", f"/channels/{place.id}/messages", body)

    async def respond(self, interaction: Interaction, body: Any) -> httpx.Response:
        """Send the first response to an interaction."""
        path = f"/interactions/{interaction.id}/{interaction.token}/callback?with_response=1"
        return await self.call("POST", path, body)

    async def original(
        self, interaction: Interaction, method: str = "PATCH", body: Any = None
    ) -> httpx.Response:
        """Edit, get or delete the first response."""
        application = self.playground.world.application_id
        path = f"/webhooks/{application}/{interaction.token}/messages/@original"
        return await self.call(method, path, body)

    def press(self, who: str = "Ada", message: Message | None = None) -> Interaction:
        """Open a button interaction, whether or not the message has the button."""
        world = self.playground.world
        source = message or world.message_board.say(world.bot, world.channel("imagine"), "press me")
        return world.interactions.open(
            COMPONENT,
            world.user(who),
            world.channel(source.channel_id),
            {"custom_id": "x", "component_type": 2},
            message=source,
        )


def error(response: httpx.Response) -> tuple[int, int]:
    """Return the HTTP status and Discord's code of an error."""
    return response.status_code, response.json()["code"]


@asynccontextmanager
async def calling(playground: Playground) -> AsyncIterator[Api]:
    """Yield the API client."""
    headers = {
        "Authorization": f"Bot {playground.token}",
        "User-Agent": "DiscordBot (https://example.invalid, 1)",
    }
    async with httpx.AsyncClient(headers=headers, trust_env=False) as client:
        yield Api(playground, client)
