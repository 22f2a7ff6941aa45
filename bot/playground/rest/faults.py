"""What the server does wrong on purpose: errors, rate limits, delays, dropped connections.

A fault waits for requests whose method, path and size fit. It lasts for a number of requests, for
some seconds of the world's clock, or until it is removed. It knows nothing else of a request.
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
"""The method by which faults know a new connection to the gateway; its path is ``/gateway``."""
ERROR_PAGE = "<!DOCTYPE html><html><head><title>Error</title></head><body>%s</body></html>"


@dataclass(slots=True, eq=False)
class Gate:
    """Holds requests back: ``reached`` is set when one arrives, ``open()`` lets them pass."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    _opened: asyncio.Event = field(default_factory=asyncio.Event)

    def open(self) -> None:
        """Let everything pass that waits, and everything after it."""
        self._opened.set()

    async def passage(self) -> None:
        """Wait until the gate is open."""
        self.reached.set()
        await self._opened.wait()


@dataclass(slots=True, eq=False)
class Fault:
    """One thing to go wrong for the next ``times`` fitting requests, until ``ends_at``.

    ``carried_out`` means that the request takes effect and only its answer is lost or replaced:
    what a client cannot tell from a failure. With ``over_bytes`` only requests fit whose files
    have more bytes altogether; 0 is any file. ``page`` is sent as HTML instead of Discord's JSON.
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

    def over(self, now: datetime) -> bool:
        """Whether the fault has nothing left to spoil."""
        return self.hits >= self.times or self.expired(now)

    def expired(self, now: datetime) -> bool:
        """Whether its time is up."""
        return self.ends_at is not None and now >= self.ends_at

    def fits(self, method: str, path: str, file_bytes: int) -> bool:
        """Whether this request is one to spoil."""
        return (
            self.method in ("*", method)
            and self.path.search(path) is not None
            and (self.over_bytes is None or file_bytes > self.over_bytes)
        )


class Faults:
    """The faults still waiting. Paths are regular expressions, searched for in the request's path.

    Paths carry neither ``/api/v10`` nor a query: ``r"/channels/\\d+/messages$"``, ``"@original"``;
    an empty path fits every call and every connection to the gateway. Each fault spoils one
    request, or with ``times`` as many, or with ``seconds`` all of that time (``FOREVER``: until
    ``remove`` or ``clear``). ``cut`` holds what is called when open connections must break.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._faults: list[Fault] = []
        self.cut: list[Callable[[], None]] = []

    def take(self, method: str, path: str, file_bytes: int = 0) -> Fault | None:
        """Return the fault for a request, oldest first, and count it as used."""
        now = self._now()
        for fault in tuple(self._faults):
            if fault.expired(now):
                self.remove(fault)
            elif not fault.over(now) and fault.fits(method, path, file_bytes):
                fault.hits += 1
                return fault
        return None

    def waits(self, fault: Fault) -> bool:
        """Whether a fault still has something to spoil."""
        return fault in self._faults and not fault.over(self._now())

    def remove(self, fault: Fault) -> None:
        """End a fault; requests it holds go on. Removing it twice does nothing."""
        if fault.gate is not None:
            fault.gate.open()
        if fault in self._faults:
            self._faults.remove(fault)

    def clear(self) -> None:
        """Forget every fault; gates open."""
        for fault in tuple(self._faults):
            self.remove(fault)

    def answer(
        self,
        method: str,
        path: str,
        status: int,
        *,
        code: int = 0,
        message: str = "The playground was asked to fail",
        page: str | None = None,
        times: int | None = None,
        seconds: float | None = None,
        over_bytes: int | None = None,
        carried_out: bool = False,
    ) -> Fault:
        """Answer with a status and JSON code instead, or (``carried_out``) after doing it.

        ``page`` is sent as HTML in place of JSON, as proxies do; it may be empty.
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
        """Refuse with one of Discord's documented codes, such as 50013."""
        fault = self._add(method, path, times, seconds)
        fault.answer = api_error(code)
        return fault

    def limit_files(
        self,
        most_bytes: int,
        path: str = "",
        *,
        page: bool = False,
        times: int | None = None,
        seconds: float = FOREVER,
    ) -> Fault:
        """Refuse requests with more bytes of files: 413 and 40005, or a proxy's page."""
        fault = self._add("*", path, times, seconds)
        fault.answer, fault.over_bytes = api_error(40005), most_bytes
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
        """Answer 429 for ``retry_after`` seconds; without ``Via`` it is Cloudflare's, a page."""
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
        """Hold requests back until the returned gate opens; with ``carried_out``, their answers."""
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
        """Keep the connection open and say nothing until the client gives up; nothing is done.

        With ``carried_out`` the request takes effect. Removing the fault breaks the connection.
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
        """Break the connection without an answer, before or after the request took effect."""
        fault = self._add(method, path, times, seconds, carried_out=carried_out)
        fault.drop, fault.over_bytes = True, over_bytes
        return fault

    def away(self, seconds: float) -> Fault:
        """Break every connection, REST and gateway, and every new one for so many seconds."""
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
        unasked = 1 if seconds is None else math.inf
        ends_at = None
        if seconds is not None and math.isfinite(seconds):
            ends_at = self._now() + timedelta(seconds=seconds)
        fault = Fault(
            method.upper(),
            re.compile(path),
            unasked if times is None else times,
            ends_at,
            carried_out=carried_out,
        )
        self._faults.append(fault)
        return fault
