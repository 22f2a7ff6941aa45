"""Serve a world over HTTP: REST API, gateway, stored files and the page.

The server also runs the timers after which interactions fail. Port 0 selects a free port, so many
servers can run at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from typing import TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from bot.playground.client.driver import MemberDriver, UserRef
from bot.playground.client.waiter import ConditionWaiter
from bot.playground.gateway.server import Gateway
from bot.playground.rest.app import BASE, RestApi
from bot.playground.rest.http import RecordedCall
from bot.playground.state import files
from bot.playground.state.guild import Event
from bot.playground.state.models import DEFER
from bot.playground.state.world import World
from bot.playground.untrusted_input import is_allowed_host
from bot.playground.web.fault_menu import StoreFault
from bot.playground.web.handlers import WebHandlers

Value = TypeVar("Value")
# Addresses to listen on that a client cannot connect to.
WILDCARD_ADDRESSES = ("0.0.0.0", "::", "")  # noqa: S104 (compared with, not bound to)
# Above Discord's limit, so that the error is Discord's and not that of the HTTP server.
MAX_BODY_BYTES = 64 * 1024 * 1024
# Added to the time limit, so that the clock has passed it when the timer fires.
TIMER_MARGIN_SECONDS = 0.02


def host_guard(names: Collection[str]) -> Middleware:
    """Return a middleware that answers 421 to requests for other host names (DNS rebinding)."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        local = request.transport and request.transport.get_extra_info("sockname")
        reached_at = str(local[0]) if local else ""
        if is_allowed_host(request.headers.get("Host"), reached_at, names):
            return await handler(request)
        return web.Response(status=421, text="The playground does not serve this host name.")

    return guard


class Playground:
    """Emulate Discord for one world. ``start`` it, connect a bot to its addresses, ``aclose`` it.

    ``as_member`` acts as a member, ``until`` waits for a condition, ``requests`` holds the bot's
    REST calls, oldest first; ``gateway`` and ``world.faults`` inject faults.
    """

    def __init__(self, world: World | None = None) -> None:
        self.world = World() if world is None else world
        self.gateway = Gateway(self.world)
        self.rest = RestApi(self.world)
        self.web_handlers = WebHandlers(self.world, self.gateway)
        self._waiter = ConditionWaiter(self.world)
        self._runner: web.AppRunner | None = None
        self._timers: set[asyncio.TimerHandle] = set()
        self.world.listeners.append(self._schedule_timers)

    def offer_store_fault(self, hold: StoreFault) -> None:
        """Add a fault to the page that blocks writes to the bot's database by calling ``hold``."""
        self.web_handlers.fault_menu.offer_store_fault(hold)

    @property
    def api_base(self) -> str:
        """Return the base URL of the REST API, ``http://127.0.0.1:<port>/api/v10``."""
        return self.world.site + BASE

    @property
    def gateway_url(self) -> str:
        """Return the URL of the gateway, ``ws://127.0.0.1:<port>/gateway``."""
        return self.world.gateway_url

    @property
    def page_url(self) -> str:
        """Return the URL of the page."""
        return self.world.site + "/"

    @property
    def token(self) -> str:
        """Return the bot's token."""
        return self.world.token

    @property
    def requests(self) -> deque[RecordedCall]:
        """Return the recorded REST calls, oldest first."""
        return self.rest.requests

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Start to listen. Raises OSError if the port is in use."""
        names = {host.lower()} - set(WILDCARD_ADDRESSES)
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[host_guard(names)])
        self.rest.add_to(app)
        app.router.add_get("/gateway", self.gateway.serve)
        app.router.add_get("/attachments/{channel_id}/{attachment_id}/{name}", self._file)
        self.web_handlers.add_to(app)
        # No access log: it would hide the bot's log, and ``requests`` has every call.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        bound = self._runner.addresses[0][1]
        reached = "127.0.0.1" if host in WILDCARD_ADDRESSES else host
        self.world.site = f"http://{reached}:{bound}"
        self.world.gateway_url = f"ws://{reached}:{bound}/gateway"

    async def aclose(self) -> None:
        """Close all connections and stop listening; held requests continue."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self.world.faults.clear()
        await self.web_handlers.aclose()
        await self.gateway.aclose()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def as_member(self, who: UserRef) -> MemberDriver:
        """Return a driver for a member, by name or id. Raises ApiError 10013."""
        return MemberDriver(self.world, self._waiter, self.world.user(who))

    async def until(
        self, condition: Callable[[World], Value | None], *, within: float = 10.0
    ) -> Value:
        """Wait until ``condition`` is truthy; return its value. Raises TimeoutError."""
        return await self._waiter.until(condition, within=within)

    async def online(self, *, within: float = 10.0) -> None:
        """Wait until the bot is connected and identified. Raises TimeoutError."""
        await self.until(lambda _: self.gateway.online, within=within)

    async def requested(
        self, method: str, ending: str, count: int = 1, *, within: float = 10.0
    ) -> list[RecordedCall]:
        """Wait for ``count`` completed calls by method and end of path; return all such calls."""

        def found(_: World) -> list[RecordedCall] | None:
            calls = [
                one
                for one in self.requests
                if one.method == method and one.path.endswith(ending) and one.status is not None
            ]
            return calls if len(calls) >= count else None

        return await self.until(found, within=within)

    def _schedule_timers(self, event: Event) -> None:
        """Schedule the check whether an interaction has failed."""
        if self._runner is None:
            return
        if event.name == "INTERACTION_CREATE":
            self._schedule_sweep(self.world.ack_life.total_seconds())
        elif event.name == "INTERACTION_ACK" and event.data["interaction"].callback == DEFER:
            self._schedule_sweep(self.world.token_life.total_seconds())

    def _schedule_sweep(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()

        def on_timer() -> None:
            self._timers.discard(timer)
            self.world.expire_unanswered()

        timer = loop.call_later(seconds + TIMER_MARGIN_SECONDS, on_timer)
        self._timers.add(timer)

    async def _file(self, request: web.Request) -> web.Response:
        """Serve a stored file by its signed link; 404 after expiry or deletion of its message."""
        query = request.query
        missing = web.Response(status=404, text="This content is no longer available.")
        path = request.rel_url.raw_path
        try:
            is_valid = files.is_valid_link(self.world, path, query["ex"], query["is"], query["hm"])
            channel_id, attachment_id = (
                int(request.match_info[key]) for key in ("channel_id", "attachment_id")
            )
        except (KeyError, ValueError):
            return missing
        found = files.find_attachment(self.world, channel_id, attachment_id) if is_valid else None
        if found is None:
            return missing
        kind = found.content_type or "application/octet-stream"
        inline = kind.startswith("image/") and kind != "image/svg+xml"
        return web.Response(
            body=found.content,
            headers={
                "Content-Type": kind if inline else "application/octet-stream",
                "Content-Disposition": "inline" if inline else "attachment",
                "X-Content-Type-Options": "nosniff",
                "Cache-Control": "private, max-age=3600",
            },
        )
