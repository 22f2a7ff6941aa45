"""Inject faults into requests: errors, rate limits, delays, dropped connections.

A fault applies to requests by method, path and size of their files: to a number of them, for some
seconds of the world's clock, or until it is removed.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bot.playground.validation.errors import ApiError, Json, api_error

FOREVER = math.inf
"""``seconds`` of a fault that lasts until it is removed."""
CONNECT = "CONNECT"
"""The method that stands for a new gateway connection; its path is ``/gateway``."""
ERROR_PAGE = "<!DOCTYPE html><html><head><title>Error</title></head><body>%s</body></html>"


@dataclass(slots=True, eq=False)
class Gate:
    """Hold requests until ``open()``; ``reached`` is set when the first one arrives."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    _find_modal_opener: asyncio.Event = field(default_factory=asyncio.Event)

    def open(self) -> None:
        """Let all held and all later requests continue."""
        self._find_modal_opener.set()

    async def wait_until_open(self) -> None:
        """Wait until the gate is open."""
        self.reached.set()
        await self._find_modal_opener.wait()


@dataclass(slots=True, eq=False)
class Fault:
    """A fault for the next ``times`` matching requests, until ``ends_at``.

    ``carried_out`` means that the request takes effect and only its response is lost or replaced,
    which a client cannot tell from a failure. ``over_bytes`` limits the fault to requests whose
    files have more bytes in total; 0 means any file. ``page`` is sent as HTML instead of JSON.
    """

    method: str
    path: re.Pattern[str]
    times: float = 1
    ends_at: datetime | None = None
    over_bytes: int | None = None
    answer: ApiError | None = None
    page: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    extra: Json = field(default_factory=dict)
    gate: Gate | None = None
    drop: bool = False
    carried_out: bool = False
    hits: int = 0

    def is_used_up(self, now: datetime) -> bool:
        """Return whether the fault applies to no further request."""
        return self.hits >= self.times or self.is_expired(now)

    def is_expired(self, now: datetime) -> bool:
        """Return whether the time of the fault has passed."""
        return self.ends_at is not None and now >= self.ends_at

    def matches(self, method: str, path: str, file_bytes: int) -> bool:
        """Return whether the fault applies to this request."""
        return (
            self.method in ("*", method)
            and self.path.search(path) is not None
            and (self.over_bytes is None or file_bytes > self.over_bytes)
        )


class Faults:
    """The injected faults of a world. Paths are regular expressions for a search in the path.

    Paths have neither ``/api/v10`` nor a query: ``r"/channels/\\d+/messages$"``, ``"@original"``;
    an empty path matches every call and every gateway connection. A fault applies to one request,
    to ``times`` requests, or to all within ``seconds`` (``FOREVER``: until ``remove`` or
    ``clear``). The callbacks in ``cut`` break open gateway connections.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._faults: list[Fault] = []
        self.cut: list[Callable[[], None]] = []

    def take(self, method: str, path: str, file_bytes: int = 0) -> Fault | None:
        """Return the oldest fault that applies to a request, and count the hit."""
        now = self._now()
        for fault in tuple(self._faults):
            if fault.is_expired(now):
                self.remove(fault)
            elif not fault.is_used_up(now) and fault.matches(method, path, file_bytes):
                fault.hits += 1
                return fault
        return None

    def is_active(self, fault: Fault) -> bool:
        """Return whether a fault still applies to requests."""
        return fault in self._faults and not fault.is_used_up(self._now())

    def remove(self, fault: Fault) -> None:
        """Remove a fault; requests that it holds continue. Idempotent."""
        if fault.gate is not None:
            fault.gate.open()
        if fault in self._faults:
            self._faults.remove(fault)

    def clear(self) -> None:
        """Remove all faults and open all gates."""
        for fault in tuple(self._faults):
            self.remove(fault)

    def answer(
        self,
        method: str,
        path: str,
        status: int,
        *,
        code: int = 0,
        message: str = "This fault was injected by the playground",
        page: str | None = None,
        times: int | None = None,
        seconds: float | None = None,
        over_bytes: int | None = None,
        carried_out: bool = False,
    ) -> Fault:
        """Respond with a status and JSON code, before or (``carried_out``) after the request.

        ``page`` is sent as HTML instead of JSON, as proxies do; it may be empty.
        """
        fault = self._add(method, path, times, seconds, carried_out=carried_out)
        fault.answer, fault.page = ApiError(status, code, message), page
        fault.over_bytes = over_bytes
        return fault

    def refuse(
        self,
        method: str,
        path: str,
        code: int,
        *,
        times: int | None = None,
        seconds: float | None = None,
    ) -> Fault:
        """Respond with one of Discord's documented error codes, such as 50013."""
        fault = self._add(method, path, times, seconds)
        fault.answer = api_error(code)
        return fault

    def limit_files(
        self,
        max_bytes: int,
        path: str = "",
        *,
        page: bool = False,
        times: int | None = None,
        seconds: float = FOREVER,
    ) -> Fault:
        """Reject requests with more bytes of files: 413 with code 40005, or a proxy's page."""
        fault = self._add("*", path, times, seconds)
        fault.answer, fault.over_bytes = api_error(40005), max_bytes
        fault.page = ERROR_PAGE % "413 Request Entity Too Large" if page else None
        return fault

    def rate_limit(
        self,
        method: str,
        path: str,
        retry_after: float,
        *,
        times: int | None = None,
        seconds: float | None = None,
        via: bool = True,
        is_global: bool = False,
        scope: str = "user",
    ) -> Fault:
        """Respond 429 with ``retry_after`` seconds; without ``via``, with Cloudflare's page."""
        fault = self._add(method, path, times, seconds)
        fault.answer = ApiError(429, 0, "You are being rate limited.")
        fault.headers = {"Retry-After": str(max(1, round(retry_after)))}
        if not via:
            fault.page = ERROR_PAGE % "Error 1015: You are being rate limited"
            return fault
        fault.headers |= {
            "X-RateLimit-Scope": "global" if is_global else scope,
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset-After": f"{retry_after:.3f}",
            "Via": "1.1 google",
        }
        if is_global:
            fault.headers["X-RateLimit-Global"] = "true"
        fault.extra = {"retry_after": retry_after, "global": is_global}
        return fault

    def hold(
        self, method: str, path: str, *, times: int | None = None, carried_out: bool = False
    ) -> Gate:
        """Hold requests until the returned gate opens; with ``carried_out``, their responses."""
        fault = self._add(method, path, times, None, carried_out=carried_out)
        fault.gate = Gate()
        return fault.gate

    def no_answer(
        self,
        method: str,
        path: str,
        *,
        times: int | None = None,
        seconds: float | None = None,
        over_bytes: int | None = None,
        carried_out: bool = False,
    ) -> Fault:
        """Send no response and keep the connection open until the client gives up.

        The request has no effect unless ``carried_out``. Removing the fault breaks the connection.
        """
        fault = self.drop(
            method,
            path,
            times=times,
            seconds=seconds,
            over_bytes=over_bytes,
            carried_out=carried_out,
        )
        fault.gate = Gate()
        return fault

    def drop(
        self,
        method: str,
        path: str,
        *,
        times: int | None = None,
        seconds: float | None = None,
        over_bytes: int | None = None,
        carried_out: bool = False,
    ) -> Fault:
        """Break the connection without a response, before or after the request takes effect."""
        fault = self._add(method, path, times, seconds, carried_out=carried_out)
        fault.drop, fault.over_bytes = True, over_bytes
        return fault

    def away(self, seconds: float) -> Fault:
        """Break all connections, REST and gateway, and all new ones for ``seconds``."""
        fault = self.drop("*", "", seconds=seconds)
        for cut in self.cut:
            cut()
        return fault

    def _add(
        self,
        method: str,
        path: str,
        times: int | None,
        seconds: float | None,
        *,
        carried_out: bool = False,
    ) -> Fault:
        default_times = 1 if seconds is None else math.inf
        ends_at = None
        if seconds is not None and math.isfinite(seconds):
            ends_at = self._now() + timedelta(seconds=seconds)
        fault = Fault(
            method.upper(),
            re.compile(path),
            default_times if times is None else times,
            ends_at,
            carried_out=carried_out,
        )
        self._faults.append(fault)
        return fault
