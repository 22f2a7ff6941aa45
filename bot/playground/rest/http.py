"""Requests and replies of the REST API as bytes: JSON, multipart, headers, and the record of both.

It knows HTTP and Discord's conventions on it; what a call means is for the ``rest_*`` modules.
"""

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
from bot.playground.validation.errors import ApiError, Json, api_error, read_snowflake

FILE_PART = re.compile(r"^files\[([0-9]{1,4})\]$")


@dataclass(slots=True)
class RecordedCall:
    """One call a bot made, and what it was told.

    ``path`` is below the API's base; ``template`` is the same with the names of its ids, as
    Discord's OpenAPI document writes it. ``reply`` and ``status`` are None while it is under way.
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
    """One REST call, read and ready to be carried out."""

    world: World
    ids: dict[str, str]
    query: dict[str, str]
    body: Any
    uploads: dict[int, Upload]
    size: int

    def ident(self, name: str) -> int:
        """Return an id of the path; what is no id cannot be found, which is 0."""
        return read_snowflake(self.ids[name]) or 0

    def record(self) -> Json:
        """Return the body as an object; 50035 for anything else."""
        if not isinstance(self.body, dict):
            raise api_error(50035)
        return self.body


@dataclass(slots=True)
class ApiResponse:
    """What a call is answered with: a status and JSON, or None for an empty 204."""

    payload: Any = None
    status: int = 200


Handler = Callable[[ApiRequest], ApiResponse]


@dataclass(frozen=True, slots=True)
class Route:
    """A call of the API: method, path template, handler, and whether it wants the bot's token."""

    method: str
    template: str
    handler: Handler
    token: bool = True


@dataclass(slots=True)
class Body:
    """A request's body: JSON (None if empty), uploads by number, and its size in bytes."""

    content: Any
    uploads: dict[int, Upload]
    size: int


async def read_body(request: web.Request) -> Body:
    """Read JSON, or multipart with ``payload_json`` and ``files[n]``; 50109 for broken JSON."""
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
        # Broken JSON, or a multipart body without boundary, of an unknown charset, or cut short.
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
    """Return the headers Discord puts on every reply. The bucket is generous and never empties."""
    bucket = hashlib.sha256(f"{route.method} {route.template}".encode()).hexdigest()[:32]
    return {
        "X-RateLimit-Limit": "1000",
        "X-RateLimit-Remaining": "999",
        "X-RateLimit-Reset": f"{world.now().timestamp() + 1:.3f}",
        "X-RateLimit-Reset-After": "1.000",
        "X-RateLimit-Bucket": bucket,
    }


def reply(payload: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Return JSON the way Discord does: no charset in its content type, nothing with a 204."""
    if payload is None:
        return web.Response(status=204, headers=headers)
    raw = json.dumps(payload, ensure_ascii=False).encode()
    # aiohttp's json_response would add a charset, and discord.py would then not parse the body.
    return web.Response(
        body=raw, status=status, headers={**(headers or {}), "Content-Type": "application/json"}
    )


def error_reply(
    error: ApiError, headers: dict[str, str] | None = None, extra: Json | None = None
) -> web.Response:
    """Return a refusal as Discord words it."""
    return reply(error.payload() | (extra or {}), error.status, headers)


def page_reply(page: str, status: int, headers: dict[str, str]) -> web.Response:
    """Return what a proxy in front of Discord says: HTML, without Discord's headers."""
    return web.Response(text=page, status=status, headers=headers, content_type="text/html")
