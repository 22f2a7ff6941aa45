"""Download published files from trusted hosts, exactly as announced; upload a job's input.

A URL comes from a signed log line, but a stranger's server answers. So the host must be one that
the operator named, redirects are not followed, no more bytes are taken than announced, and size
and sha256 are verified before the file appears.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import httpx

from bot.backends.deepsquare.rpc import Sleep
from bot.backends.deepsquare.timeouts import Timeouts
from bot.backends.job_folders import CHUNK_BYTES, MAX_BYTES
from bot.domain.errors import ArtifactDamaged, ArtifactMissing, Unavailable
from bot.domain.events import Artifact
from bot.domain.hosts import is_loopback
from bot.files import atomic_write_async

_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)+")


UPLOAD_DAYS = 7
"""For which the file host keeps what the bot has uploaded for a job."""


class ArtifactDownloader:
    """Download from trusted hosts over https, or over http on loopback.

    ``trusted`` holds ``host`` or ``host:port`` in lower case.
    """

    def __init__(
        self,
        trusted: Iterable[str],
        timeouts: Timeouts,
        *,
        http: httpx.AsyncClient,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._trusted = frozenset(trusted)
        self._timeouts = timeouts
        self._http = http
        self._sleep = sleep

    def validate_url(self, url: str) -> str:
        """Return the URL to request for ``url``: https unless it is on this machine.

        Raises ArtifactMissing for an untrusted host and for anything but a plain URL of a file.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ArtifactMissing(f"{url[:200]!r} is no address") from error
        host = (parts.hostname or "").lower()
        plain = (
            parts.scheme in ("http", "https")
            and not (parts.username or parts.password or parts.query or parts.fragment)
            and _PATH.fullmatch(parts.path) is not None
            and not {".", ".."} & set(parts.path.split("/"))
        )
        if not plain:
            raise ArtifactMissing(f"{url[:200]!r} is not a plain https address of a file")
        names = {host if port is None else f"{host}:{port}"}
        if port in (None, 443):
            names |= {host, f"{host}:443"}
        if not names & self._trusted:
            raise ArtifactMissing(f"{host!r} is not one of [backend.deepsquare] trusted_hosts")
        return _to_https(parts, host)

    async def fetch(self, artifact: Artifact, target: Path) -> None:
        """Download a file to ``target`` atomically.

        Raises ArtifactMissing for a URL or a size that is never accepted, ArtifactDamaged for other
        bytes than those announced, which another attempt may bring, Unavailable.
        """
        url = self.validate_url(artifact.url)
        if artifact.size > MAX_BYTES:
            raise ArtifactMissing(f"{artifact.size} bytes announced, the limit is {MAX_BYTES}")
        for pause in (*self._timeouts.retries, None):
            try:
                async with asyncio.timeout(self._timeouts.download):
                    await self._download(url, artifact, target)
                return
            except TimeoutError as error:
                raise Unavailable(f"{url} takes too long") from error
            except Unavailable:
                if pause is None:
                    raise
            await self._sleep(pause)

    async def upload(self, source: Path, base: str) -> str:
        """Upload a file to the file host at ``base`` and return its URL, on a trusted host.

        Raises Unavailable.
        """
        data = await asyncio.to_thread(source.read_bytes)
        # transfer.sh: PUT /<name> answers with the URL, as text.
        target = f"{base.rstrip('/')}/{source.name}"
        for pause in (*self._timeouts.retries, None):
            try:
                async with asyncio.timeout(self._timeouts.download):
                    return await self._send(target, data)
            except TimeoutError as error:
                raise Unavailable(f"{target} takes too long") from error
            except Unavailable:
                if pause is None:
                    raise
            await self._sleep(pause)
        raise AssertionError("the last attempt has no pause")

    async def _send(self, target: str, data: bytes) -> str:
        timeout = httpx.Timeout(self._timeouts.read, connect=self._timeouts.connect)
        headers = {"max-days": str(UPLOAD_DAYS), "content-type": "image/png"}
        try:
            answer = await self._http.put(target, content=data, headers=headers, timeout=timeout)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(f"{target}: {type(error).__name__}") from error
        if answer.status_code != 200:
            raise Unavailable(f"{target}: HTTP status {answer.status_code}")
        try:
            return self.validate_url(answer.text.strip())
        except ArtifactMissing as error:
            raise Unavailable(f"{target} answered without an address: {error}") from error

    async def find_problem(self, url: str) -> str:
        """Return "" if the host at ``url`` answers at all, or the problem."""
        try:
            answer = await self._http.get(url, timeout=self._timeouts.probe)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return f"{url} does not answer: {type(error).__name__}"
        return "" if answer.status_code < 500 else f"{url}: HTTP status {answer.status_code}"

    async def _download(self, url: str, artifact: Artifact, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        async with atomic_write_async(target) as part:
            await self._receive(url, artifact, part)

    async def _receive(self, url: str, artifact: Artifact, part: Path) -> None:
        timeout = httpx.Timeout(self._timeouts.read, connect=self._timeouts.connect)
        # Not compressed: a small response must not expand into a large one.
        headers = {"accept": "*/*", "accept-encoding": "identity"}
        digest, size = hashlib.sha256(), 0
        try:
            async with self._http.stream(
                "GET", url, headers=headers, timeout=timeout, follow_redirects=False
            ) as answer:
                _check_response(answer, url)
                with part.open("wb") as out:
                    async for chunk in answer.aiter_raw(CHUNK_BYTES):
                        size += len(chunk)
                        if size > artifact.size:
                            raise ArtifactDamaged(f"more bytes than the {artifact.size} announced")
                        digest.update(chunk)
                        await asyncio.to_thread(out.write, chunk)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise Unavailable(f"{url}: {type(error).__name__}") from error
        if size != artifact.size or digest.hexdigest() != artifact.sha256:
            raise ArtifactDamaged(f"{url!r} is not the file that was announced")


def _check_response(answer: httpx.Response, url: str) -> None:
    status = answer.status_code
    if status >= 500 or status in (408, 425, 429):
        raise Unavailable(f"{url}: HTTP status {status}")
    if 300 <= status < 400:
        raise ArtifactDamaged(f"{url} leads elsewhere (HTTP status {status})")
    if status == 404:
        raise ArtifactDamaged(f"{url} is not there (any more)")
    if status != 200:
        raise ArtifactDamaged(f"{url}: HTTP status {status}")
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise ArtifactDamaged(f"{url} comes compressed, which was not asked for")


def _to_https(parts: SplitResult, host: str) -> str:
    """Return the URL with https: a proxy in front of the host may have said http."""
    if parts.scheme == "http" and not is_loopback(host):
        return parts._replace(scheme="https", netloc=host).geturl()
    return parts.geturl()
