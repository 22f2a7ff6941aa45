"""Check whether the picture server can listen, for ``gridbrush check``."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Final
from urllib.parse import urlsplit

import httpx

from bot.domain.checks import CheckResult
from bot.domain.hosts import is_loopback
from bot.pictures.server import ROBOTS

_NAME: Final = "picture server"
_PROBE_S: Final = 2.0


async def check_server(address: tuple[str, int] | None, public_url: str) -> list[CheckResult]:
    """Return what is wrong with address and public URL; nothing if there is no such server."""
    if address is None:
        if not public_url:
            return []
        hint = 'Set listen, such as "127.0.0.1:8790", or leave out public_url.'
        return [
            CheckResult(_NAME, False, "[pictures] public_url is set, but listen is empty", hint)
        ]
    host, port = address
    try:
        await asyncio.to_thread(_bind, host, port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE or not await _is_picture_server(host, port):
            problem = f"[pictures] listen: cannot listen on {host}:{port}: {error.strerror}"
            return [CheckResult(_NAME, False, problem, "Choose an address and a port of its own.")]
        detail = f"{host}:{port} is in use by a bot that runs"
    else:
        detail = f"can listen on {host}:{port}"
    if public_url and not is_loopback(urlsplit(public_url).hostname or ""):
        return [CheckResult(_NAME, True, f"{detail}, reached at {public_url}")]
    return [CheckResult(_NAME, True, f"{detail}; without an https public_url only from here")]


def _bind(host: str, port: int) -> None:
    """Listen for a moment. Raises OSError. Blocking."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family):
        pass


async def _is_picture_server(host: str, port: int) -> bool:
    shown = f"[{host}]" if ":" in host else host
    try:
        async with httpx.AsyncClient(timeout=_PROBE_S, trust_env=False) as client:
            answer = await client.get(f"http://{shown}:{port}/robots.txt")
    except httpx.HTTPError:
        return False
    return answer.text == ROBOTS and "noindex" in answer.headers.get("x-robots-tag", "")
