"""A web service on a loopback port that can go away and come back at the same address.

The common part of the RPC endpoint, the GraphQL endpoint and the file host; it knows what none of
them answers.
"""

from __future__ import annotations

import asyncio

from aiohttp import web


class Service:
    """``routes`` served on 127.0.0.1; the port is chosen once and kept."""

    def __init__(self, *routes: web.AbstractRouteDef) -> None:
        self._routes = routes
        self._runner: web.AppRunner | None = None
        self._port = 0

    @property
    def host(self) -> str:
        """``127.0.0.1:port``."""
        return f"127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Listen. After a ``stop`` at the same port."""
        application = web.Application(client_max_size=1 << 28)
        application.add_routes(self._routes)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the port and every connection; callers are refused until ``start``."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None


def drop(request: web.Request) -> web.Response:
    """Close the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def stall(seconds: float) -> None:
    """Keep the caller waiting: there are time limits to be tried."""
    await asyncio.sleep(seconds)
