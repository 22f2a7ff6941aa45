"""Route REST calls: check the token, apply faults, call the endpoint, record everything.

Endpoints are plain functions from ``ApiRequest`` to ``ApiResponse`` in the modules beside this one.
They do not await, so two calls never see each other's partial changes.
"""

from __future__ import annotations

from collections import deque

from aiohttp import web

from bot.playground.rest import applications, channels, interactions, messages
from bot.playground.rest.faults import Fault
from bot.playground.rest.http import (
    ApiRequest,
    ApiResponse,
    Body,
    RecordedCall,
    Route,
    error_reply,
    page_reply,
    rate_headers,
    read_body,
    reply,
)
from bot.playground.state.guild import Event
from bot.playground.state.world import World
from bot.playground.validation.errors import ApiError, Json, api_error

BASE = "/api/v10"
ROUTES: tuple[Route, ...] = (
    *applications.ROUTES,
    *channels.ROUTES,
    *messages.ROUTES,
    *interactions.ROUTES,
)
# Bounds the memory of a server that runs for days.
MAX_RECORDED_CALLS = 5000
# Uploaded bytes are large: only the latest calls keep them.
MAX_CALLS_WITH_FILES = 500


class RestApi:
    """Serve the REST API of a world. ``requests`` holds the recorded calls, oldest first."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.requests: deque[RecordedCall] = deque(maxlen=MAX_RECORDED_CALLS)

    def record_call(self, call: RecordedCall) -> None:
        """Record a call."""
        self.requests.append(call)
        if len(self.requests) > MAX_CALLS_WITH_FILES:
            self.requests[-MAX_CALLS_WITH_FILES - 1].files = []

    def add_to(self, app: web.Application) -> None:
        """Add all routes, and Discord's 404 for other paths of the API."""
        for route in ROUTES:
            app.router.add_route(route.method, BASE + route.template, _Endpoint(self, route).serve)
        app.router.add_route("*", "/api/{rest:.*}", self._unknown)

    async def _unknown(self, request: web.Request) -> web.Response:
        self.record_call(
            RecordedCall(
                request.method, request.path, "", dict(request.query), request.headers, status=404
            )
        )
        return reply({"message": "404: Not Found", "code": 0}, 404)


class _Endpoint:
    """The handler of one route."""

    def __init__(self, rest: RestApi, route: Route) -> None:
        self._rest = rest
        self._route = route

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Handle one request."""
        try:
            return await self._serve(request)
        finally:
            # Wakes those who wait for this call to complete.
            self._rest.world.emit(Event("REQUEST_ANSWERED"))

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        world, route = self._rest.world, self._route
        path = request.path.removeprefix(BASE)
        recorded = RecordedCall(
            route.method, path, route.template, dict(request.query), request.headers
        )
        self._rest.record_call(recorded)
        headers = rate_headers(world, route)
        fault: Fault | None = None
        try:
            body = await read_body(request)
            recorded.body, recorded.files = body.content, list(body.uploads.values())
            file_bytes = sum(len(one.content) for one in recorded.files)
            fault = world.faults.take(route.method, path, file_bytes)
            if fault is not None and not fault.carried_out:
                await self._apply_fault(fault)
                if fault.drop:
                    return self._abort(request, recorded)
            answer = self._dispatch(request, body)
            if fault is not None and fault.carried_out:
                await self._apply_fault(fault)
                if fault.drop:
                    return self._abort(request, recorded)
            status = 204 if answer.payload is None else answer.status
            recorded.status, recorded.reply = status, answer.payload
            return reply(answer.payload, answer.status, headers)
        except ApiError as error:
            extra: Json = {}
            if fault is not None and error is fault.answer:
                headers |= fault.headers
                extra = fault.extra
                if fault.page is not None:
                    recorded.status, recorded.reply = error.status, fault.page
                    return page_reply(fault.page, error.status, fault.headers)
            recorded.status, recorded.reply = error.status, error.payload() | extra
            return error_reply(error, headers, extra)

    def _dispatch(self, request: web.Request, body: Body) -> ApiResponse:
        world = self._rest.world
        if self._route.token:
            if not request.headers.get("User-Agent", "").startswith("DiscordBot ("):
                raise api_error(40333)
            if request.headers.get("Authorization") != f"Bot {world.token}":
                raise api_error(0)
        return self._route.handler(
            ApiRequest(
                world,
                dict(request.match_info),
                dict(request.query),
                body.content,
                body.uploads,
                body.size,
            )
        )

    async def _apply_fault(self, fault: Fault) -> None:
        if fault.gate is not None:
            await fault.gate.wait_until_open()
        if fault.answer is not None:
            raise fault.answer

    def _abort(self, request: web.Request, recorded: RecordedCall) -> web.Response:
        recorded.status = 0
        if request.transport is not None:
            request.transport.abort()
        return web.Response()
