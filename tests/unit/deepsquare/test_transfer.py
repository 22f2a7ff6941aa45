"""Downloads: from trusted hosts only, exactly what was announced, whole or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from bot.backends.deepsquare.downloads import ArtifactDownloader
from bot.backends.deepsquare.timeouts import Timeouts
from bot.domain.errors import ArtifactMissing, Unavailable
from bot.domain.events import Artifact
from tests.deepsquare.clients import IMPATIENT
from tests.deepsquare.testnet.transfer import TransferFault, TransferServer

CONTENT = b"a row of pictures" * 1000


@pytest.fixture
async def server() -> AsyncIterator[TransferServer]:
    transfer = TransferServer()
    await transfer.service.start()
    yield transfer
    await transfer.service.stop()


@asynccontextmanager
async def host(*trusted: str, timeouts: Timeouts = IMPATIENT) -> AsyncIterator[ArtifactDownloader]:
    async with httpx.AsyncClient(verify=False) as http:
        yield ArtifactDownloader(trusted, timeouts, http=http)


async def put(server: TransferServer, content: bytes = CONTENT) -> Artifact:
    """A file on the server, as its marker would announce it."""
    async with httpx.AsyncClient(verify=False) as http:
        answer = await http.put(f"{server.url}row-01.png", content=content)
    return Artifact(answer.text, len(content), hashlib.sha256(content).hexdigest())


async def test_a_file_comes_whole(server: TransferServer, tmp_path: Path) -> None:
    async with host(server.service.host) as files:
        await files.fetch(await put(server), tmp_path / "new" / "row.png")
    assert (tmp_path / "new" / "row.png").read_bytes() == CONTENT
    assert list((tmp_path / "new").iterdir()) == [tmp_path / "new" / "row.png"]


@pytest.mark.parametrize(
    "flaw",
    [
        TransferFault("status", 500),
        TransferFault("status", 429),
        TransferFault("drop"),
        TransferFault("cut"),
    ],
    ids=lambda flaw: f"{flaw.flaw} {flaw.code}",
)
async def test_a_download_is_tried_again_after_a_fault_of_the_way(
    server: TransferServer, tmp_path: Path, flaw: TransferFault
) -> None:
    artifact = await put(server)
    server.downloads.extend([flaw, flaw])
    async with host(server.service.host) as files:
        await files.fetch(artifact, tmp_path / "row.png")
    assert (tmp_path / "row.png").read_bytes() == CONTENT
    assert server.gets == 3


async def test_a_host_that_stays_away_is_an_outage(server: TransferServer, tmp_path: Path) -> None:
    artifact = await put(server)
    server.every_download = TransferFault("status", 503)
    async with host(server.service.host) as files:
        with pytest.raises(Unavailable, match="503"):
            await files.fetch(artifact, tmp_path / "row.png")
        await server.service.stop()
        with pytest.raises(Unavailable):
            await files.fetch(artifact, tmp_path / "row.png")
        assert "does not answer" in await files.find_problem(server.url)
    assert list(tmp_path.iterdir()) == []


async def test_a_file_that_is_gone_after_its_upload_has_expired(
    server: TransferServer, tmp_path: Path
) -> None:
    artifact = await put(server)
    server.expire()
    async with host(server.service.host) as files:
        with pytest.raises(ArtifactMissing, match="not there"):
            await files.fetch(artifact, tmp_path / "row.png")
    assert server.gets == 1


@pytest.mark.parametrize(
    "flaw",
    [TransferFault("redirect"), TransferFault("wrong bytes"), TransferFault("status", 403)],
    ids=lambda flaw: flaw.flaw,
)
async def test_what_was_not_announced_is_not_taken(
    server: TransferServer, tmp_path: Path, flaw: TransferFault
) -> None:
    artifact = await put(server)
    server.every_download = flaw
    async with host(server.service.host) as files:
        with pytest.raises(ArtifactMissing):
            await files.fetch(artifact, tmp_path / "row.png")
    assert list(tmp_path.iterdir()) == []
    assert server.gets == 1


async def test_a_file_without_end_is_cut_off(server: TransferServer, tmp_path: Path) -> None:
    artifact = await put(server)
    server.every_download = TransferFault("endless")
    async with host(server.service.host) as files:
        with pytest.raises(ArtifactMissing, match="more bytes"):
            await files.fetch(artifact, tmp_path / "row.png")
    assert list(tmp_path.iterdir()) == []


async def test_a_host_that_drips_is_given_up(server: TransferServer, tmp_path: Path) -> None:
    artifact = await put(server)
    server.every_download = TransferFault("slow", seconds=0.5)
    timeouts = replace(IMPATIENT, download=0.05)
    async with host(server.service.host, timeouts=timeouts) as files:
        with pytest.raises(Unavailable, match="too long"):
            await files.fetch(artifact, tmp_path / "row.png")


@pytest.mark.parametrize(
    "lie", [{"size": 5}, {"size": len(CONTENT) + 1}, {"sha256": "0" * 64}, {"size": 10**12}]
)
async def test_size_and_digest_must_be_as_announced(
    server: TransferServer, tmp_path: Path, lie: dict[str, object]
) -> None:
    artifact = replace(await put(server), **lie)  # type: ignore[arg-type]
    async with host(server.service.host) as files:
        with pytest.raises(ArtifactMissing):
            await files.fetch(artifact, tmp_path / "row.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/abc/row.png",
        "https://transfer.deepsquare.run.evil.example/abc/row.png",
        "https://transfer.deepsquare.run@evil.example/abc/row.png",
        "https://user:word@transfer.deepsquare.run/abc/row.png",
        "https://transfer.deepsquare.run:8443/abc/row.png",
        "https://transfer.deepsquare.run/abc/row.png?to=http://evil.example",
        "https://transfer.deepsquare.run/abc/row.png#there",
        "https://transfer.deepsquare.run/../etc/passwd",
        "https://transfer.deepsquare.run/abc/../../row.png",
        "https://transfer.deepsquare.run/abc/row png",
        "https://transfer.deepsquare.run/",
        "https://transfer.deepsquare.run:x/abc/row.png",
        "https://169.254.169.254/latest/meta-data",
        "http://127.0.0.1/abc/row.png",
        "ftp://transfer.deepsquare.run/abc/row.png",
        "file:///etc/passwd",
        "row.png",
        "",
    ],
)
async def test_no_address_leads_anywhere_else(url: str, tmp_path: Path) -> None:
    async with host("transfer.deepsquare.run") as files:
        with pytest.raises(ArtifactMissing):
            await files.fetch(Artifact(url, 5, "0" * 64), tmp_path / "row.png")


@pytest.mark.parametrize(
    ("trusted", "url", "asked"),
    [
        ("transfer.deepsquare.run", "https://transfer.deepsquare.run/AbC/row-01.png", ""),
        ("transfer.deepsquare.run", "https://TRANSFER.deepsquare.run/AbC/row-01.png", ""),
        ("transfer.deepsquare.run", "https://transfer.deepsquare.run:443/AbC/row-01.png", ""),
        ("transfer.deepsquare.run:443", "https://transfer.deepsquare.run/AbC/row-01.png", ""),
        (
            "transfer.deepsquare.run",
            "http://transfer.deepsquare.run/AbC/row-01.png",
            "https://transfer.deepsquare.run/AbC/row-01.png",
        ),
        ("files.example:8443", "https://files.example:8443/a/b.png", ""),
        ("127.0.0.1:9999", "http://127.0.0.1:9999/a/b.png", ""),
        ("localhost:9999", "http://localhost:9999/a/b.png", ""),
    ],
)
async def test_trusted_hosts_are_asked_by_https_save_on_this_machine(
    trusted: str, url: str, asked: str
) -> None:
    async with host(trusted) as files:
        assert files.validate_url(url) == (asked or url)


async def test_the_host_is_reachable_whatever_it_says(server: TransferServer) -> None:
    async with host(server.service.host) as files:
        assert await files.find_problem(server.url) == ""
        assert await files.find_problem(server.url + "health.html") == ""


async def test_a_job_s_input_is_uploaded_and_the_host_is_told_to_forget_it(
    server: TransferServer, tmp_path: Path
) -> None:
    (tmp_path / "start.png").write_bytes(CONTENT)
    server.uploads.extend([TransferFault("status", 500), TransferFault("drop")])
    async with host(server.service.host) as files:
        url = await files.upload(tmp_path / "start.png", server.url)
    assert url.startswith(server.url)
    assert list(server.files.values()) == [CONTENT]
    assert server.kept_days == ["7"]


@pytest.mark.parametrize(
    ("flaw", "trusted", "problem"),
    [
        (TransferFault("status", 500), True, "HTTP status 500"),
        (
            TransferFault(
                "status",
                413,
            ),
            True,
            "HTTP status 413",
        ),
        (TransferFault("drop"), True, "http"),
        (TransferFault("page"), True, "without an address"),
        (TransferFault("redirect", url="https://example.org/x"), True, "HTTP status 302"),
        (None, False, "without an address"),
    ],
    ids=str,
)
async def test_an_input_that_is_not_taken_waits(
    server: TransferServer, tmp_path: Path, flaw: TransferFault | None, trusted: bool, problem: str
) -> None:
    (tmp_path / "start.png").write_bytes(CONTENT)
    server.every_upload = flaw
    async with host(server.service.host if trusted else "example.org") as files:
        with pytest.raises(Unavailable, match=problem):
            await files.upload(tmp_path / "start.png", server.url)
