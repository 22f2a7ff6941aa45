"""The file host, used by httpx: addresses, downloads, and everything that can go wrong."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.deepsquare.testnet.transfer import TransferFault, TransferServer

CONTENT = b"\x89PNG" + bytes(range(256)) * 40


@pytest.fixture
async def transfer() -> AsyncIterator[TransferServer]:
    server = TransferServer()
    await server.service.start()
    yield server
    await server.service.stop()


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=5) as opened:
        yield opened


async def put(transfer: TransferServer, client: httpx.AsyncClient, name: str = "row-01.png") -> str:
    return (await client.put(transfer.url + name, content=CONTENT)).text


@pytest.mark.parametrize("prefix", ["", "put/", "upload/"])
async def test_an_upload_is_answered_with_its_address_and_no_newline(
    transfer: TransferServer, client: httpx.AsyncClient, prefix: str
) -> None:
    answer = await client.put(f"{transfer.url}{prefix}row-01.png", content=CONTENT)
    assert answer.status_code == 200
    assert re.fullmatch(rf"{transfer.url}[0-9a-z]{{10}}/row-01\.png", answer.text)
    assert answer.headers["X-Url-Delete"].startswith(answer.text + "/")
    assert (await client.get(answer.text)).content == CONTENT


async def test_an_empty_upload_is_refused(
    transfer: TransferServer, client: httpx.AsyncClient
) -> None:
    assert (await client.put(transfer.url + "row.png", content=b"")).status_code == 400


async def test_downloads_have_the_hosts_headers(
    transfer: TransferServer, client: httpx.AsyncClient
) -> None:
    url = await put(transfer, client)
    for prefix in ("", "get/", "download/", "inline/"):
        answer = await client.get(url.replace(transfer.url, transfer.url + prefix))
        assert (answer.content, answer.headers["Content-Type"]) == (CONTENT, "image/png")
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Remaining-Downloads"] == "n/a"
    head = await client.head(url)
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(CONTENT)))
    part = await client.get(url, headers={"Range": "bytes=4-9"})
    assert (part.status_code, part.content) == (206, CONTENT[4:10])
    page = await client.get(url, headers={"Accept": "text/html"})
    assert page.headers["Content-Type"].startswith("text/html")
    assert transfer.gets == 6


async def test_an_unknown_or_expired_file_is_a_404(
    transfer: TransferServer, client: httpx.AsyncClient
) -> None:
    url = await put(transfer, client)
    assert (await client.get(url + "x")).status_code == 404
    transfer.expire()
    assert (await client.get(url)).status_code == 404
    assert (await client.head(url)).status_code == 404


async def test_a_download_fails_as_asked_and_then_works_again(
    transfer: TransferServer, client: httpx.AsyncClient
) -> None:
    url = await put(transfer, client)
    transfer.downloads.extend(
        [
            TransferFault("status", code=503),
            TransferFault("redirect", url="https://example.org/"),
            TransferFault("wrong bytes"),
            TransferFault("cut"),
            TransferFault("drop"),
            TransferFault("slow", seconds=0.01),
        ]
    )
    assert (await client.get(url)).status_code == 503
    assert (await client.get(url)).headers["Location"] == "https://example.org/"
    wrong = (await client.get(url)).content
    assert wrong != CONTENT
    assert len(wrong) == len(CONTENT)
    for _ in range(2):
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(url)
    for _ in range(2):
        assert (await client.get(url)).content == CONTENT


async def test_a_download_can_have_no_end(
    transfer: TransferServer, client: httpx.AsyncClient
) -> None:
    url = await put(transfer, client)
    transfer.every_download = TransferFault("endless")
    size = 0
    async with client.stream("GET", url) as answer:
        async for chunk in answer.aiter_bytes():
            size += len(chunk)
            if size > 10 * len(CONTENT):
                break
    assert size > 10 * len(CONTENT)


async def test_an_upload_fails_as_asked(
    transfer: TransferServer, client: httpx.AsyncClient
) -> None:
    transfer.uploads.append(TransferFault("status", code=500))
    assert (await client.put(transfer.url + "row.png", content=CONTENT)).status_code == 500
    transfer.every_upload = TransferFault("status", code=413)
    assert (await client.put(transfer.url + "row.png", content=CONTENT)).status_code == 413
    assert transfer.files == {}


async def test_the_host_can_go_away_and_come_back_with_its_files(
    transfer: TransferServer, client: httpx.AsyncClient
) -> None:
    url = await put(transfer, client)
    await transfer.service.stop()
    with pytest.raises(httpx.ConnectError):
        await client.get(url)
    await transfer.service.start()
    assert (await client.get(url)).content == CONTENT
    assert (await client.get(transfer.url + "health.html")).status_code == 200
