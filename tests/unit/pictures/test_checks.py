"""What `gridbrush check` says about the picture server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bot.pictures.checks import check_server
from tests.unit.pictures.site import open_site


@pytest.mark.parametrize(
    ("host", "public_url", "ok", "said"),
    [
        ("127.0.0.1", "", True, "only from here"),
        ("::1", "http://[::1]:8790", True, "only from here"),
        ("127.0.0.1", "https://pictures.example.org", True, "https://pictures.example.org"),
        ("203.0.113.1", "https://pictures.example.org", False, "cannot listen on 203.0.113.1"),
        ("", "https://pictures.example.org", False, "listen is empty"),
    ],
)
async def test_an_address_is_tried(host: str, public_url: str, ok: bool, said: str) -> None:
    (found,) = await check_server((host, 0) if host else None, public_url)
    assert (found.ok, bool(found.hint)) == (ok, not ok)
    assert said in found.detail


async def test_without_a_server_nothing_is_said() -> None:
    assert await check_server(None, "") == []


async def test_a_port_that_the_running_bot_uses_is_fine(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        own = int(site.base.rpartition(":")[2])
        (running,) = await check_server(("127.0.0.1", own), "")
    assert running.ok
    assert "a bot that runs" in running.detail


async def test_a_port_of_another_program_is_named() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        (found,) = await check_server(("127.0.0.1", port), "")
    assert (found.ok, str(port) in found.detail) == (False, True)
