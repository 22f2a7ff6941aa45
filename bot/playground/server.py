"""The playground: one HTTP server with the REST API, the gateway, stored files and the page.

It puts a world on the network and keeps the timers that a living Discord has; all rules are the
world's. Port 0 takes any free port, so many can run side by side.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from typing import TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from bot.playground.client.driver import MemberDriver, Person
from bot.playground.client.waiter import ConditionWaiter
from bot.playground.web.fault_menu import StoreFault
from bot.playground.gateway.server import Gateway
from bot.playground.rest.app import BASE, Rest
from bot.playground.rest.http import RecordedCall
from bot.playground.state import files
from bot.playground.state.guild import Event
from bot.playground.state.models import DEFER
from bot.playground.state.world import World
from bot.playground.untrusted_input import may_be_called
from bot.playground.web.handlers import WebHandlers

Value = TypeVar("Value")
# Addresses to listen on that are none to call.
WILDCARDS = ("0.0.0.0", "::", "")
# Above Discord's own limit, so that the refusal is Discord's and not the HTTP server's.
MOST_BYTES = 64 * 1024 * 1024
# A moment longer than the life itself, so that the clock agrees when the timer rings.
MARGIN_S = 0.02


def only_called_by(names: Collection[str]) -> Middleware:
    """Return a guard against foreign names that were pointed at this machine: 421 for those."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        local = request.transport and request.transport.get_extra_info("sockname")
        reached_at = str(local[0]) if local else ""
        if may_be_called(request.headers.get("Host"), reached_at, names):
            return await handler(request)
        return web.Response(status=421, text="The playground is not called by that name.")

    return guard


class Playground:
    """Plays Discord for one world. ``start`` it, point a bot at its addresses, ``aclose`` it.

    ``as_member`` drives a person; ``until`` waits for the world; ``requests`` is everything the bot
    asked of the REST API, oldest first; ``gateway`` and ``world.faults`` make trouble on request.
    """

    def __init__(self, world: World | None = None) -> None:
        self.world = World() if world is None else world
        self.gateway = Gateway(self.world)
        self.rest = Rest(self.world)
        self.browser = WebHandlers(self.world, self.gateway)
        self._watch = ConditionWaiter(self.world)
        self._runner: web.AppRunner | None = None
        self._timers: set[asyncio.TimerHandle] = set()
        self.world.listeners.append(self._set_timers)

    def offer_store_fault(self, hold: StoreFault) -> None:
        """Let the page keep the bot's store from being written, by calling ``hold``."""
        self.browser.fault_menu.offer_store_fault(hold)

    @property
    def api_base(self) -> str:
        """The REST API's address, ``http://127.0.0.1:<port>/api/v10``."""
        return self.world.site + BASE

    @property
    def gateway_url(self) -> str:
        """The gateway's address, ``ws://127.0.0.1:<port>/gateway``."""
        return self.world.gateway_url

    @property
    def page_url(self) -> str:
        """The address of the page to chat in."""
        return self.world.site + "/"

    @property
    def token(self) -> str:
        """The bot's token."""
        return self.world.token

    @property
    def requests(self) -> deque[RecordedCall]:
        """Every REST call so far, oldest first."""
        return self.rest.requests

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen. Raises OSError if the port is taken."""
        names = {host.lower()} - set(WILDCARDS)
        app = web.Application(client_max_size=MOST_BYTES, middlewares=[only_called_by(names)])
        self.rest.add_to(app)
        app.router.add_get("/gateway", self.gateway.serve)
        app.router.add_get("/attachments/{channel_id}/{attachment_id}/{name}", self._file)
        self.browser.add_to(app)
        # Its own log lines would drown the bot's; every call is in ``requests``.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        bound = self._runner.addresses[0][1]
        reached = "127.0.0.1" if host in WILDCARDS else host
        self.world.site = f"http://{reached}:{bound}"
        self.world.gateway_url = f"ws://{reached}:{bound}/gateway"

    async def aclose(self) -> None:
        """Hang up and stop listening; whatever waits at a gate is let through."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self.world.faults.clear()
        await self.browser.aclose()
        await self.gateway.aclose()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def as_member(self, who: Person) -> MemberDriver:
        """Return a driver for a member, by name or id."""
        return MemberDriver(self.world, self._watch, self.world.user(who))

    async def until(
        self, condition: Callable[[World], Value | None], *, within: float = 10.0
    ) -> Value:
        """Wait until a condition of the world is truthy and return its value."""
        return await self._watch.until(condition, within=within)

    async def online(self, *, within: float = 10.0) -> None:
        """Wait until the bot is connected and identified."""
        await self.until(lambda _: self.gateway.online, within=within)

    async def requested(
        self, method: str, ending: str, count: int = 1, *, within: float = 10.0
    ) -> list[RecordedCall]:
        """Wait for ``count`` answered calls whose path ends so, and return all of them."""

        def found(_: World) -> list[RecordedCall] | None:
            calls = [
                one
                for one in self.requests
                if one.method == method and one.path.endswith(ending) and one.status is not None
            ]
            return calls if len(calls) >= count else None

        return await self.until(found, within=within)

    def _set_timers(self, event: Event) -> None:
        """Ring when an interaction's time is up; what that means the world's clock says."""
        if self._runner is None:
            return
        if event.name == "INTERACTION_CREATE":
            self._ring_in(self.world.ack_life.total_seconds())
        elif event.name == "INTERACTION_ACK" and event.data["interaction"].callback == DEFER:
            self._ring_in(self.world.token_life.total_seconds())

    def _ring_in(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()

        def ring() -> None:
            self._timers.discard(timer)
            self.world.sweep()

        timer = loop.call_later(seconds + MARGIN_S, ring)
        self._timers.add(timer)

    async def _file(self, request: web.Request) -> web.Response:
        """Serve a stored file by its signed link; 404 once expired or its message is gone."""
        query = request.query
        missing = web.Response(status=404, text="This content is no longer available.")
        path = request.rel_url.raw_path
        try:
            good = files.valid(self.world, path, query["ex"], query["is"], query["hm"])
            channel_id, attachment_id = (
                int(request.match_info[key]) for key in ("channel_id", "attachment_id")
            )
        except (KeyError, ValueError):
            return missing
        found = files.find(self.world, channel_id, attachment_id) if good else None
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
