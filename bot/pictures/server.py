"""Serve results over HTTP: files and pages under signed links, and nothing else.

What may be served is decided by ``PictureLibrary``. Nothing is read from the headers of a proxy:
links are made from ``public_url``, and pages hold relative addresses only. Files are read in
threads. Connections are limited in number, and each has to send its request, and to take the
answer, within a time. Neither addresses nor errors that quote them are logged: who reads a link
could use it.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from aiohttp import web

from bot.domain.errors import BotError
from bot.domain.picture_links import Access
from bot.http_listener import listen
from bot.pictures.conditions import FileVersion, select_bytes
from bot.pictures.page import ICON, SCRIPT, STYLE, notice_page, result_page
from bot.services.pictures import PictureLibrary

log = logging.getLogger(__name__)

CHUNK_BYTES: Final = 1 << 18
ROBOTS: Final = "User-agent: *\nDisallow: /\n"
CSP: Final = (
    "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow, noarchive",
}
# Asked for again each time: what was erased must not be shown by a cache.
_CHECKED_CACHE: Final = "private, no-cache"
_ASSETS: Final = {
    "style.css": ("text/css", STYLE),
    "copy.js": ("text/javascript", SCRIPT),
    "icon.svg": ("image/svg+xml", ICON),
    "robots.txt": ("text/plain", ROBOTS),
}
_NOT_FOUND: Final = ("Not found", "There is nothing to see at this address.")
_GONE: Final = ("Removed", "These pictures were removed, or this link has ended.")
_UNAVAILABLE: Final = ("Unavailable", "This is not possible at the moment. Try again later.")


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """How many connections there may be, and how long each may take, in seconds.

    ``request_s`` is for the head of a request, also of the next one on a connection; ``answer_s``
    for the whole answer; ``closing_s`` for answers in progress when the server stops.
    """

    connections: int = 200
    request_s: float = 15.0
    answer_s: float = 600.0
    closing_s: float = 2.0


Handler: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class _Server(web.Server):
    """aiohttp's server with limits for connections."""

    def __init__(self, handle: Handler, limits: ServerLimits) -> None:
        silent = logging.Logger(__name__)  # noqa: LOG001 - nothing may switch it on
        silent.disabled = True  # its errors quote what was sent, and with it links
        super().__init__(
            self._within_limits,
            access_log=None,
            logger=silent,
            keepalive_timeout=limits.request_s,
            handler_cancellation=True,
        )
        self._handle = handle
        self._limits = limits
        self._deadlines: dict[web.RequestHandler, asyncio.TimerHandle] = {}

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Refuse a connection above the limit; give any other a time to send its request."""
        super().connection_made(handler, transport)
        if len(self.connections) > self._limits.connections:
            transport.abort()
        else:
            self._expect_request(handler, transport)

    def connection_lost(
        self, handler: web.RequestHandler, exc: BaseException | None = None
    ) -> None:
        """Forget a connection."""
        self._stop_waiting(handler)
        super().connection_lost(handler, exc)

    def _expect_request(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        loop = asyncio.get_running_loop()
        self._deadlines[handler] = loop.call_later(self._limits.request_s, transport.abort)

    def _stop_waiting(self, handler: web.RequestHandler) -> None:
        if timer := self._deadlines.pop(handler, None):
            timer.cancel()

    async def _within_limits(self, request: web.BaseRequest) -> web.StreamResponse:
        handler, transport = request.protocol, request.transport
        self._stop_waiting(handler)
        try:
            async with asyncio.timeout(self._limits.answer_s):
                return await self._handle(request)
        except TimeoutError:
            if transport is not None:
                transport.abort()
            raise
        finally:
            if transport is not None and not transport.is_closing():
                self._expect_request(handler, transport)


class PictureServer:
    """Answer requests. ``on_served`` gets the status and the bytes of each body."""

    def __init__(
        self,
        library: PictureLibrary,
        *,
        prefix: str = "",
        on_served: Callable[[int, int], None] = lambda _status, _bytes: None,
    ) -> None:
        self._library = library
        self._prefix = prefix
        self._on_served = on_served

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request to the last byte."""
        try:
            try:
                answer = await self._answer(request)
            except BotError as error:
                log.warning("a picture cannot be served: %s", error)
                answer = _notice(503, _UNAVAILABLE)
            if not answer.prepared:
                await answer.prepare(request)
            await answer.write_eof()
        except OSError as error:
            # The client went away, or the disk failed: either way the connection ends.
            log.info("serving a picture broke off: %s", error.strerror or type(error).__name__)
            raise
        except Exception:
            log.exception("serving a picture failed")  # the protocol's own log is silent
            raise
        self._on_served(answer.status, answer.body_length)
        return answer

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            refusal = _notice(405, ("Not allowed", "Pictures can only be read."))
            refusal.headers["Allow"] = "GET, HEAD"
            return refusal
        found = await self._find(request, request.path)
        if found is None and request.path.startswith(f"{self._prefix}/"):
            # A proxy may pass the path of ``public_url`` on, or cut it off.
            found = await self._find(request, request.path.removeprefix(self._prefix))
        return found or _notice(404, _NOT_FOUND)

    async def _find(self, request: web.BaseRequest, path: str) -> web.StreamResponse | None:
        """Return the answer for a path, None if there is nothing of this form."""
        match path.split("/"):
            case ["", name] if name in _ASSETS:
                kind, text = _ASSETS[name]
                return _text(200, text, kind, cache="public, max-age=3600")
            case ["", "p", token, ""]:
                return await self._page(token)
            case ["", "p", token, name]:
                return await self._file(request, token, name)
            case _:
                return None

    async def _page(self, token: str) -> web.StreamResponse:
        found = await self._library.find(token)
        if found.access is Access.ALLOWED and found.job is not None:
            if await asyncio.to_thread(_all_exist, found.files.values()):
                return _text(200, result_page(found.job), "text/html", cache=_CHECKED_CACHE)
            return _notice(410, _GONE)
        return _refusal(found.access)

    async def _file(self, request: web.BaseRequest, token: str, name: str) -> web.StreamResponse:
        found = await self._library.find(token)
        if found.access is not Access.ALLOWED:
            return _refusal(found.access)
        if name not in found.files:
            return _notice(404, _NOT_FOUND)
        try:
            async with _opened(found.files[name]) as (stream, version):
                return await _send_file(request, stream, version)
        except FileNotFoundError:
            return _notice(410, _GONE)


async def _send_file(
    request: web.BaseRequest, stream: BinaryIO, version: FileVersion
) -> web.StreamResponse:
    """Send a file, or what the request's conditions leave of it."""
    chosen = select_bytes(request.method, request.headers, version)
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": _CHECKED_CACHE,
        "ETag": version.etag,
        "Last-Modified": version.last_modified,
    }
    if chosen.status == 206:
        last = chosen.start + chosen.length - 1
        headers["Content-Range"] = f"bytes {chosen.start}-{last}/{version.size}"
    if chosen.status == 416:
        headers["Content-Range"] = f"bytes */{version.size}"
    answer = web.StreamResponse(status=chosen.status, headers=_HEADERS | headers)
    if chosen.status == 304:
        return answer
    answer.content_length = chosen.length
    if chosen.length:
        answer.content_type = "image/png"
    await answer.prepare(request)
    if request.method == "GET" and chosen.length:
        await asyncio.to_thread(stream.seek, chosen.start)
        left = chosen.length
        while left and (chunk := await asyncio.to_thread(stream.read, min(left, CHUNK_BYTES))):
            await answer.write(chunk)
            left -= len(chunk)
    return answer


@asynccontextmanager
async def _opened(path: Path) -> AsyncIterator[tuple[BinaryIO, FileVersion]]:
    """Open a file in a thread, and close it, also if the client goes away meanwhile."""
    # Not to be cancelled before they have begun: nobody would close the file then.
    loop = asyncio.get_running_loop()
    opening = loop.run_in_executor(None, _open_file, path)
    try:
        stream, version = await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close_opened)
        raise
    try:
        yield stream, version
    finally:
        await asyncio.shield(loop.run_in_executor(None, stream.close))


def _close_opened(opening: asyncio.Future[tuple[BinaryIO, FileVersion]]) -> None:
    """Close a file that nobody waits for any more."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result()[0].close()


def _open_file(path: Path) -> tuple[BinaryIO, FileVersion]:
    """Open a file. It can be read to its end even if it is deleted meanwhile. Blocking."""
    stream = path.open("rb")
    status = os.fstat(stream.fileno())
    return stream, FileVersion(status.st_size, status.st_mtime_ns)


def _all_exist(paths: Iterable[Path]) -> bool:
    """Return whether all files exist. Blocking."""
    return all(path.is_file() for path in paths)


def _refusal(access: Access) -> web.Response:
    return _notice(410, _GONE) if access is Access.GONE else _notice(404, _NOT_FOUND)


def _notice(status: int, texts: tuple[str, str]) -> web.Response:
    return _text(status, notice_page(*texts), "text/html", cache="no-store")


def _text(status: int, text: str, kind: str, *, cache: str) -> web.Response:
    return web.Response(
        status=status,
        text=text,
        content_type=kind,
        charset="utf-8",
        headers={**_HEADERS, "Cache-Control": cache},
    )


@asynccontextmanager
async def serve_pictures(
    library: PictureLibrary,
    address: tuple[str, int],
    *,
    prefix: str = "",
    limits: ServerLimits = ServerLimits(),
    on_served: Callable[[int, int], None] = lambda _status, _bytes: None,
) -> AsyncIterator[str]:
    """Serve on ``address`` (port 0: any free one) and yield the base URL, without a slash.

    ``prefix`` is the path of the public URL, such as ``/pictures``. Raises ConfigError if the
    address cannot be used.
    """
    handler = PictureServer(library, prefix=prefix, on_served=on_served)
    runner = web.ServerRunner(_Server(handler.handle, limits), shutdown_timeout=limits.closing_s)
    await runner.setup()
    try:
        yield await listen(runner, address, "[pictures] listen", "the server")
    finally:
        await runner.cleanup()
