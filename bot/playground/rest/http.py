"""Read requests and build responses: JSON, multipart, headers, with Discord's conventions."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from bot.playground.state.models import Upload
from bot.playground.state.world import World
from bot.playground.untrusted_input import parse_json
from bot.playground.validation.errors import ApiError, Json, api_error, parse_snowflake

FILE_PART = re.compile(r"^files\[([0-9]{1,4})\]$")


@dataclass(slots=True)
class RecordedCall:
    """A call of the bot and its response.

    ``path`` is relative to the API's base URL; ``template`` is the path of Discord's OpenAPI
    document. ``reply`` and ``status`` are None until the call is complete.
    """

    method: str
    path: str
    template: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: Any = None
    files: list[Upload] = field(default_factory=list)
    status: int | None = None
    reply: Any = None


@dataclass(slots=True)
class ApiRequest:
    """A parsed REST call."""

    world: World
    path_params: dict[str, str]
    query: dict[str, str]
    body: Any
    uploads: dict[int, Upload]
    size: int

    def path_id(self, name: str) -> int:
        """Return an id of the path, or 0, which never exists, if it is not an id."""
        return parse_snowflake(self.path_params[name]) or 0

    def json_object(self) -> Json:
        """Return the body if it is an object. Raises ApiError 50035."""
        if not isinstance(self.body, dict):
            raise api_error(50035)
        return self.body


@dataclass(slots=True)
class ApiResponse:
    """A status and JSON, or None for an empty 204."""

    payload: Any = None
    status: int = 200


Handler = Callable[[ApiRequest], ApiResponse]


@dataclass(frozen=True, slots=True)
class Route:
    """An endpoint: method, path template, handler, and whether it needs the bot's token."""

    method: str
    template: str
    handler: Handler
    token: bool = True


@dataclass(slots=True)
class Body:
    """A request body: JSON (None if empty), uploads by number, and its size in bytes."""

    content: Any
    uploads: dict[int, Upload]
    size: int


async def read_body(request: web.Request) -> Body:
    """Read JSON, or multipart with ``payload_json`` and ``files[n]``. Raises ApiError."""
    if not request.can_read_body:
        return Body(None, {}, 0)
    try:
        if request.content_type == "multipart/form-data":
            return await _read_multipart(request)
        if request.content_type != "application/json":
            raise api_error(50035)
        raw = await request.read()
        return Body(parse_json(raw) if raw else None, {}, len(raw))
    except (ValueError, AssertionError, LookupError, HttpProcessingError) as error:
        # Invalid JSON, or multipart without boundary, of unknown charset, or incomplete.
        raise api_error(50109) from error


async def _read_multipart(request: web.Request) -> Body:
    content: Any = None
    uploads: dict[int, Upload] = {}
    size = 0
    reader = await request.multipart()
    async for part in reader:
        if not isinstance(part, BodyPartReader):
            raise api_error(50035)
        raw = bytes(await part.read())
        size += len(raw)
        if part.name == "payload_json":
            content = parse_json(raw)
            continue
        matched = FILE_PART.match(part.name or "")
        if matched is None or not part.filename:
            raise api_error(50035)
        uploads[int(matched[1])] = Upload(part.filename, raw, part.headers.get("Content-Type"))
    return Body(content, uploads, size)


def rate_headers(world: World, route: Route) -> dict[str, str]:
    """Return the rate limit headers of every response; the bucket never runs out."""
    bucket = hashlib.sha256(f"{route.method} {route.template}".encode()).hexdigest()[:32]
    return {
        "X-RateLimit-Limit": "1000",
        "X-RateLimit-Remaining": "999",
        "X-RateLimit-Reset": f"{world.now().timestamp() + 1:.3f}",
        "X-RateLimit-Reset-After": "1.000",
        "X-RateLimit-Bucket": bucket,
    }


def reply(payload: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Return a JSON response without a charset, as Discord does; None becomes an empty 204."""
    if payload is None:
        return web.Response(status=204, headers=headers)
    raw = json.dumps(payload, ensure_ascii=False).encode()
    # aiohttp's json_response adds a charset, and then discord.py does not parse the body.
    return web.Response(
        body=raw, status=status, headers={**(headers or {}), "Content-Type": "application/json"}
    )


def error_reply(
    error: ApiError, headers: dict[str, str] | None = None, extra: Json | None = None
) -> web.Response:
    """Return an error response in Discord's format."""
    return reply(error.payload() | (extra or {}), error.status, headers)


def page_reply(page: str, status: int, headers: dict[str, str]) -> web.Response:
    """Return an HTML response without Discord's headers, as a proxy in front of it sends."""
    return web.Response(text=page, status=status, headers=headers, content_type="text/html")
