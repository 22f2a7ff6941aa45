"""What the server does wrong on purpose: errors, rate limits, delays, dropped connections.

A fault waits for requests whose method and path fit and is used up by them. It knows requests by
method and path only.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field

from bot.playground.refusals import ApiError, Json, refuse


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
    """One thing to go wrong for the next ``times`` fitting requests.

    ``carried_out`` means that the request takes effect and only its answer is lost or replaced:
    what a client cannot tell from a failure.
    """

    method: str
    path: re.Pattern[str]
    times: int
    answer: ApiError | None = None
    headers: dict[str, str] = field(default_factory=dict)
    extra: Json = field(default_factory=dict)
    gate: Gate | None = None
    drop: bool = False
    carried_out: bool = False
    hits: int = 0

    def fits(self, method: str, path: str) -> bool:
        """Whether the fault still has something to spoil and this request is it."""
        return (
            self.times > self.hits
            and self.method in ("*", method)
            and self.path.search(path) is not None
        )


class Faults:
    """The faults still waiting. Paths are regular expressions, searched for in the request's path.

    Paths carry neither ``/api/v10`` nor a query: ``r"/channels/\\d+/messages$"``, ``"@original"``.
    """

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def take(self, method: str, path: str) -> Fault | None:
        """Return the fault for a request, oldest first, and count it as used."""
        for fault in self._faults:
            if fault.fits(method, path):
                fault.hits += 1
                return fault
        return None

    def clear(self) -> None:
        """Forget every fault; gates open."""
        for fault in self._faults:
            if fault.gate is not None:
                fault.gate.open()
        self._faults.clear()

    def answer(
        self,
        method: str,
        path: str,
        status: int,
        *,
        code: int = 0,
        message: str = "The playground was asked to fail",
        times: int = 1,
        carried_out: bool = False,
    ) -> Fault:
        """Answer with a status and JSON code instead, or (``carried_out``) after doing it."""
        return self._add(
            method,
            path,
            times,
            answer=ApiError(status, code, message),
            carried_out=carried_out,
        )

    def refuse(self, method: str, path: str, code: int, *, times: int = 1) -> Fault:
        """Refuse with one of Discord's documented codes, such as 50013."""
        return self._add(method, path, times, answer=refuse(code))

    def rate_limit(
        self,
        method: str,
        path: str,
        retry_after: float,
        *,
        times: int = 1,
        via: bool = True,
        is_global: bool = False,
        scope: str = "user",
    ) -> Fault:
        """Answer 429 for ``retry_after`` seconds; without ``Via`` it is Cloudflare's ban."""
        headers = {
            "Retry-After": str(max(1, round(retry_after))),
            "X-RateLimit-Scope": "global" if is_global else scope,
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset-After": f"{retry_after:.3f}",
        }
        if via:
            headers["Via"] = "1.1 google"
        if is_global:
            headers["X-RateLimit-Global"] = "true"
        fault = self._add(
            method, path, times, answer=ApiError(429, 0, "You are being rate limited.")
        )
        fault.headers = headers
        fault.extra = {"retry_after": retry_after, "global": is_global}
        return fault

    def hold(self, method: str, path: str, *, times: int = 1, carried_out: bool = False) -> Gate:
        """Hold requests back until the returned gate opens; with ``carried_out``, their answers."""
        gate = Gate()
        self._add(method, path, times, gate=gate, carried_out=carried_out)
        return gate

    def drop(self, method: str, path: str, *, times: int = 1, carried_out: bool = False) -> Fault:
        """Break the connection without an answer, before or after the request took effect."""
        return self._add(method, path, times, drop=True, carried_out=carried_out)

    def _add(
        self,
        method: str,
        path: str,
        times: int,
        *,
        answer: ApiError | None = None,
        gate: Gate | None = None,
        drop: bool = False,
        carried_out: bool = False,
    ) -> Fault:
        fault = Fault(
            method.upper(),
            re.compile(path),
            times,
            answer=answer,
            gate=gate,
            drop=drop,
            carried_out=carried_out,
        )
        self._faults.append(fault)
        return fault
