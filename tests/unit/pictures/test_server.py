"""The picture server over real sockets: what it shows, to whom, and until when."""

from __future__ import annotations

import asyncio
import logging
import re
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from bot.domain.errors import ConfigError
from bot.domain.events import MessageRef
from bot.domain.image_check import ImageOutcome
from bot.domain.permutations import escape
from bot.domain.picture_links import PictureLink, sign_link
from bot.domain.retention import RemovalCause
from bot.pictures.page import result_page
from bot.pictures.server import ServerLimits, serve_pictures
from bot.services.delivery import MessageStore
from bot.services.init_images import InitImageStore
from bot.services.pictures import load_link_key
from bot.services.privacy import PrivacyService
from bot.store import deliveries, pictures
from tests.unit.pictures.site import KEY, Site, open_site
from tests.unit.services.fakes import GUILD, NOW
from tests.unit.services.harness import a_member


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with open_site(tmp_path) as opened:
        yield opened


async def test_files_and_the_page_are_served_with_their_headers(site: Site) -> None:
    page = await site.client.get(site.links.page)
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for url in (site.grid, *site.links.rows.values()):
        file = await site.client.get(url)
        assert file.status_code == 200
        assert file.content == (site.folder / url.rpartition("/")[2]).read_bytes()
        assert file.headers["content-type"] == "image/png"
        assert file.headers["accept-ranges"] == "bytes"
        assert await site.status(url, **{"If-None-Match": file.headers["etag"]}) == 304
        head = await site.client.head(url)
        assert (head.content, head.headers["content-length"]) == (b"", str(len(file.content)))
        assert head.headers["etag"] == file.headers["etag"]
    for answer in (page, file, head, await site.client.get(site.base + "/nothing")):
        headers = answer.headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "noindex" in headers["x-robots-tag"]
        assert headers["cache-control"] in ("private, no-cache", "no-store")
    assert (await site.client.get(site.base + "/robots.txt")).text == "User-agent: *\nDisallow: /\n"
    assert sum(size for _, size in site.served) >= len(file.content)


async def test_parts_of_a_file_are_served(site: Site) -> None:
    whole = (await site.client.get(site.grid)).content
    size = len(whole)
    for wanted, status, body, told in (
        ("bytes=0-9", 206, whole[:10], f"bytes 0-9/{size}"),
        ("bytes=-7", 206, whole[-7:], f"bytes {size - 7}-{size - 1}/{size}"),
        (f"bytes={size - 1}-", 206, whole[-1:], f"bytes {size - 1}-{size - 1}/{size}"),
        (f"bytes={size}-", 416, b"", f"bytes */{size}"),
        ("bytes=0-0,-1", 200, whole, None),
        ("pixels=0-9", 200, whole, None),
    ):
        answer = await site.client.get(site.grid, headers={"Range": wanted})
        assert (answer.status_code, answer.content) == (status, body), wanted
        assert answer.headers.get("content-range") == told
        assert answer.headers["content-length"] == str(len(body))


def removed_by_a_moderator(link: sqlite3.Connection, site: Site) -> None:
    deliveries.want_removal(link, site.job.id, (), at=NOW)


def removed_by_age(link: sqlite3.Connection, site: Site) -> None:
    pictures.record_removal(link, site.job.id, RemovalCause.AGE, at=NOW)


def links_ended(link: sqlite3.Connection, site: Site) -> None:
    pictures.end_links(link, site.job.id)


def held(link: sqlite3.Connection, site: Site) -> None:
    link.execute(
        "INSERT INTO holds (job_id, kind, guild_id, reason, held_at) VALUES (?, ?, ?, ?, ?)",
        (site.job.id, "image", GUILD, "a face", NOW.isoformat(timespec="microseconds")),
    )


def refused(link: sqlite3.Connection, site: Site) -> None:
    held(link, site)
    link.execute("UPDATE holds SET decided_at = held_at, approved = 0")


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (removed_by_a_moderator, 410),
        (removed_by_age, 410),
        (links_ended, 410),
        (held, 404),
        (refused, 404),
    ],
)
async def test_a_link_ends_the_moment_its_result_may_not_be_seen(
    site: Site, change: Callable[[sqlite3.Connection, Site], None], status: int
) -> None:
    etag = (await site.client.get(site.grid)).headers["etag"]
    await site.harness.database.write(lambda link: change(link, site))
    for url in (site.links.page, site.grid, *site.links.rows.values(), site.links.page + "x.png"):
        answer = await site.client.get(url, headers={"If-None-Match": etag})
        assert answer.status_code == status
        assert answer.headers["cache-control"] == "no-store"
        assert site.job.id not in answer.text
        assert "lighthouse" not in answer.text


async def test_what_was_approved_is_served(site: Site) -> None:
    def approve(link: sqlite3.Connection) -> None:
        held(link, site)
        link.execute("UPDATE holds SET decided_at = held_at, approved = 1")

    await site.harness.database.write(approve)
    assert await site.status(site.grid) == 200


async def test_erased_results_and_missing_files_are_gone(site: Site, tmp_path: Path) -> None:
    row = site.links.rows[2]
    site.harness.fetcher.row_path(site.job.id, 2).unlink()
    assert [await site.status(url) for url in (row, site.links.page, site.grid)] == [410, 410, 200]
    privacy = PrivacyService(
        site.harness.database,
        site.harness.fetcher.folder,
        forget=site.harness.backend.delete_job_data,
        pictures=InitImageStore(tmp_path / "inputs", site.harness.database),
        now=site.harness.clock,
    )
    assert await privacy.erase(GUILD, a_member()) == 1
    assert [await site.status(url) for url in (row, site.links.page, site.grid)] == [410] * 3
    assert not site.folder.exists()


async def test_links_end_when_their_author_deletes_the_result(site: Site) -> None:
    messages = MessageStore(site.harness.database, now=site.harness.clock)
    job = site.job
    assert job.result is not None
    await messages.record_deletion(job, job.result.message_id + 1, job.request.author.id)
    assert await site.status(site.grid) == 200  # it was a copy that /show had made
    await messages.record_deletion(job, job.result.message_id, job.request.author.id)
    assert await site.status(site.grid) == 410
    # The author can show it again, with links of its own.
    assert await site.status((await site.maker.links(job)).page) == 200
    assert MessageRef(1, 2) != job.result


async def test_links_last_as_long_as_pictures_are_kept(tmp_path: Path) -> None:
    async with open_site(tmp_path, keep=timedelta(days=3)) as site:
        assert await site.status(site.grid) == 200
        site.harness.clock.at += timedelta(days=2, hours=23)
        assert await site.status(site.grid) == 200
        site.harness.clock.at += timedelta(days=1, hours=2)
        assert await site.status(site.grid) == 410


async def test_nothing_else_is_served(site: Site) -> None:
    token = site.links.page.split("/")[-2]
    forged = sign_link(b"x" * 32, PictureLink(site.job.id))
    unknown = sign_link(KEY, PictureLink("z" * 16))
    paths = [
        *("/", "/p", "/p/", "/p//", f"/p/{token}", f"/p/{token}/.", f"/p/{token}/row-03.png"),
        *(f"/p/{forged}/", f"/p/{forged}/grid.png", f"/p/{unknown}/", f"/p/{site.job.id}/grid.png"),
        *(f"/p/{token}/metadata.json", f"/p/{token}/prints/", f"/p/{token}/grid.png/"),
        *(f"/p/{token}/..%2f..%2fgridbrush.sqlite3", f"/p/{token}/%2e%2e/grid.png"),
        *(f"/p/{token}/../../jobs/{site.job.id}/grid.png", f"/p/{token}/grid.png%00"),
        *(f"/p/{token}//etc/passwd", f"//p/{token}/grid.png", f"/P/{token}/grid.png"),
        *(f"/p/{token}/%252e%252e%252fgrid.png", f"/p/..%2f{token}/grid.png", "/style.css/"),
        *(f"/p/{token}\\grid.png", f"/p/{token}/GRID.png", "/metrics", "/p/" + "a" * 5000 + "/"),
    ]
    host, _, port = urlsplit(site.base).netloc.rpartition(":")
    for path in paths:
        # As typed: an HTTP client would resolve the dots before it sends them.
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 404"), path
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        answered = await site.client.request(method, site.grid)
        assert (answered.status_code, answered.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("prefix", ["/pictures", "/p", "/a/b"])
async def test_it_works_behind_a_proxy_that_cuts_its_path_off_or_not(
    tmp_path: Path, prefix: str
) -> None:
    async with open_site(tmp_path, prefix=prefix) as site:
        assert urlsplit(site.grid).path.startswith(f"{prefix}/p/")
        for url in (site.grid, site.grid.replace(f"{prefix}/p/", "/p/", 1)):
            # What a proxy, or anybody, says about hosts is not believed.
            headers = {"Host": "evil.invalid", "X-Forwarded-Host": "evil.invalid"}
            page = url.removesuffix("grid.png")
            for one in (url, page, f"{page}../../style.css", f"{page}../../copy.js"):
                answer = await site.client.get(one, headers=headers)
                assert answer.status_code == 200
                assert b"evil.invalid" not in answer.content


class Seen(HTMLParser):
    """The elements of a page, and the texts in them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[self._open[-1]] = self.texts.get(self._open[-1], "") + data


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "</title></textarea><style>*{display:none}</style>",
        "a fox' onload='x' & &lt;b&gt; <!-- -->",
        "javascript:alert(1) {{7*7}} {title} %s {a, b}",
    ],
)
async def test_what_a_member_wrote_is_text(site: Site, hostile: str) -> None:
    _, links = await site.another(prompt=hostile, negative=hostile)
    page = await site.client.get(links.page)
    seen = Seen(page.text)
    tags = [tag for tag, _ in seen.elements]
    assert (tags.count("script"), tags.count("style"), tags.count("img")) == (1, 0, 3)
    for _, attributes in seen.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for name in ("src", "href"):
            address = attributes.get(name) or ""
            assert not urlsplit(address).scheme
            assert re.fullmatch(r"(\.\./\.\./)?[a-z0-9-]*\.?(png|js|css|svg)?", address)
    assert seen.texts["h1"].strip() == hostile
    assert seen.texts["textarea"].startswith(f"/imagine prompt:{escape(hostile)} --size 64x64")
    alts = [attributes["alt"] for tag, attributes in seen.elements if tag == "img"]
    assert all(str(alt).endswith(hostile) for alt in alts)


@pytest.mark.parametrize(
    ("outcome", "covered"),
    [
        (ImageOutcome.UNCHECKED, 0),
        (ImageOutcome.PASSED, 0),
        (ImageOutcome.APPROVED, 0),
        (ImageOutcome.SPOILER, 1),
        (ImageOutcome.RESTRICTED, 1),
    ],
)
async def test_what_the_image_check_marked_is_covered(
    site: Site, outcome: ImageOutcome, covered: int
) -> None:
    page = Seen(result_page(replace(site.job, image_check=outcome)))
    tags = [tag for tag, _ in page.elements]
    assert (tags.count("details"), tags.count("img")) == (covered, 3)
    if covered:
        assert tags.index("details") < tags.index("img")


async def test_the_key_is_made_once(site: Site) -> None:
    assert await load_link_key(site.harness.database, lambda count: b"n" * count) == KEY


async def test_no_address_is_logged(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpcore").setLevel(logging.WARNING)
    token = site.links.page.split("/")[-2]
    host, _, port = urlsplit(site.base).netloc.rpartition(":")
    for request in (
        f"GET /p/{token}/grid.png HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        f"GET /p/{token}/grid.png HTTP/9.9.9\r\n\r\n",
        f"GET /p/{token}/grid.png \x01\r\n\r\n",
        f"GET /p/{token}/ HTTP/1.1\r\nHost: x\r\nbad header /p/{token}/\r\n\r\n",
    ):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request.encode())
        await reader.read()
        writer.close()
    await site.harness.database.aclose()
    with pytest.raises(httpx.HTTPStatusError):
        (await site.client.get(site.grid)).raise_for_status()
    assert token not in caplog.text


# Clients that are slow, many, or there when it stops.


@asynccontextmanager
async def connected(
    site: Site,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, _, port = urlsplit(site.base).netloc.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    try:
        yield reader, writer
    finally:
        writer.close()


async def ends(reader: asyncio.StreamReader) -> bytes:
    """Read until the server closes the connection, however it does that."""
    async with asyncio.timeout(5):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


@pytest.mark.parametrize("sent", ["", "GET / HTTP/1.1\r\nHost:", "GET /p/x/ HTTP/1.1\r\nA: b\r\n"])
async def test_a_request_that_is_never_complete_ends(tmp_path: Path, sent: str) -> None:
    async with (
        open_site(tmp_path, limits=ServerLimits(request_s=0.05)) as site,
        connected(site) as (reader, writer),
    ):
        writer.write(sent.encode())
        assert await ends(reader) == b""


async def test_so_does_the_second_one_of_a_connection(tmp_path: Path) -> None:
    async with (
        open_site(tmp_path, limits=ServerLimits(request_s=0.2)) as site,
        connected(site) as (reader, writer),
    ):
        writer.write(b"GET /robots.txt HTTP/1.1\r\nHost: x\r\n\r\nGET / HT")
        assert b"Disallow" in await ends(reader)


async def test_a_client_that_does_not_read_is_cut_off(tmp_path: Path) -> None:
    async with open_site(tmp_path, limits=ServerLimits(connections=1, answer_s=0.3)) as site:
        # More than the buffers of both sides hold.
        (site.folder / "grid.png").write_bytes(b"x" * 30_000_000)
        async with connected(site) as (reader, writer):
            writer.write(f"GET {urlsplit(site.grid).path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            await is_served(site, site.links.rows[1])  # it was in the way before


async def is_served(site: Site, url: str) -> None:
    """Try until a connection is accepted."""
    async with asyncio.timeout(5):
        while True:
            try:
                assert await site.status(url) == 200
                return
            except httpx.TransportError:
                await asyncio.sleep(0)


async def test_connections_are_limited_and_others_are_served_again_afterwards(
    tmp_path: Path,
) -> None:
    async with open_site(tmp_path, limits=ServerLimits(connections=2)) as site:
        async with connected(site), connected(site) as (_, second):
            second.write(b"GET")
            await second.drain()
            async with connected(site) as (reader, _):
                assert await ends(reader) == b""
        await is_served(site, site.grid)


async def test_a_download_in_progress_does_not_hold_up_the_end(tmp_path: Path) -> None:
    async with asyncio.timeout(10):
        async with open_site(tmp_path, limits=ServerLimits(closing_s=0.1)) as site:
            (site.folder / "grid.png").write_bytes(b"x" * 30_000_000)
            reader, writer = await asyncio.open_connection(
                *urlsplit(site.base).netloc.split(":"), limit=1024
            )
            writer.write(f"GET {urlsplit(site.grid).path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_an_address_that_is_taken_is_a_configuration_error(site: Site) -> None:
    port = int(site.base.rpartition(":")[2])
    with pytest.raises(ConfigError, match="listen"):
        async with serve_pictures(site.harness.fetcher, ("127.0.0.1", port)):  # type: ignore[arg-type]
            pass
