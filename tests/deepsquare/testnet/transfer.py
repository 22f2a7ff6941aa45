"""A file host that behaves like transfer.sh: put a file, get an unlisted address for it.

Files live in memory. What DeepSquare's own host is configured to (sizes, retention) is unknown, so
nothing is limited here; whatever may go wrong with an upload or a download is a fault to ask for.
"""

from __future__ import annotations

import hashlib
import itertools
import mimetypes
from collections import deque
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from aiohttp import web

from tests.deepsquare.testnet.service import Service, drop, stall

Flaw = Literal[
    "status",
    "slow",
    "redirect",
    "wrong bytes",
    "cut",
    "endless",
    "drop",
    "short",
    "longer",
    "empty",
    "page",
]


@dataclass(frozen=True, slots=True)
class TransferFault:
    """What happens instead of an answer.

    ``status`` answers ``code`` with an error text; ``slow`` waits ``seconds`` first; ``redirect``
    sends the caller to ``url``; ``wrong bytes`` keeps the length and changes the content;
    ``short``, ``longer`` and ``empty`` change it; ``page`` is a proxy's own page; ``cut`` closes
    the connection in the middle; ``endless`` never stops sending; ``drop`` says nothing.
    """

    flaw: Flaw
    code: int = 500
    seconds: float = 0.0
    url: str = "http://127.0.0.1:9/elsewhere"


class TransferServer:
    """``uploads`` and ``downloads`` hold faults for the next requests, one each, in order.

    ``every_upload`` and ``every_download`` are for all that have no fault of their own.
    """

    def __init__(self) -> None:
        self.files: dict[tuple[str, str], bytes] = {}
        self.uploads: deque[TransferFault] = deque()
        self.downloads: deque[TransferFault] = deque()
        self.every_upload: TransferFault | None = None
        self.every_download: TransferFault | None = None
        self.gets = 0
        self.kept_days: list[str] = []
        self._tokens = itertools.count(1)
        address = "/{token}/{name}"
        self.service = Service(
            web.get("/health.html", self._health),
            *(web.put(prefix + "/{name}", self._put) for prefix in ("", "/put", "/upload")),
            *(
                web.get(prefix + address, self._get)  # aiohttp answers HEAD with it, too
                for prefix in ("", "/get", "/download", "/inline")
            ),
        )

    @property
    def url(self) -> str:
        """The base address, with its slash."""
        return f"http://{self.service.host}/"

    def expire(self) -> None:
        """Forget every file, as the host does after a time of its own."""
        self.files.clear()

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(text="Approaching Neutral Zone, all systems normal and functioning.")

    async def _put(self, request: web.Request) -> web.StreamResponse:
        content = await request.read()
        fault = self.uploads.popleft() if self.uploads else self.every_upload
        if fault is not None and (answer := await _misbehave(request, fault, content)):
            return answer
        if not content:
            return web.Response(status=400, text="Could not upload empty file")
        name = request.match_info["name"]
        digest = hashlib.sha256(f"{next(self._tokens)}{name}".encode()).hexdigest()
        token = digest[:10]
        self.files[token, name] = content
        self.kept_days += filter(None, [request.headers.get("Max-Days")])
        url = f"{self.url}{token}/{quote(name)}"
        return web.Response(text=url, headers={"X-Url-Delete": f"{url}/{digest[10:20]}"})

    async def _get(self, request: web.Request) -> web.StreamResponse:
        content = self.files.get((request.match_info["token"], request.match_info["name"]))
        if request.method == "GET":
            self.gets += 1
            fault = self.downloads.popleft() if self.downloads else self.every_download
            if fault is not None and (answer := await _misbehave(request, fault, content or b"")):
                return answer
        if content is None:
            return web.Response(status=404, text="Not Found")
        direct = request.path.startswith(("/get/", "/download/", "/inline/"))
        if not direct and "text/html" in request.headers.get("Accept", ""):
            return web.Response(text="<html>a preview page</html>", content_type="text/html")
        return _file(request, content)


def _file(request: web.Request, content: bytes) -> web.Response:
    kind = mimetypes.guess_type(request.match_info["name"])[0] or "application/octet-stream"
    headers = {
        "X-Remaining-Downloads": "n/a",
        "X-Remaining-Days": "n/a",
        "Cache-Control": "no-store",
    }
    part = request.http_range
    if part.start is None and part.stop is None:
        return web.Response(body=content, content_type=kind, headers=headers)
    first, last, _ = part.indices(len(content))
    headers["Content-Range"] = f"bytes {first}-{last - 1}/{len(content)}"
    return web.Response(status=206, body=content[part], content_type=kind, headers=headers)


async def _misbehave(
    request: web.Request, fault: TransferFault, content: bytes
) -> web.StreamResponse | None:
    match fault.flaw:
        case "status":
            return web.Response(status=fault.code, text="Could not do that")
        case "slow":
            await stall(fault.seconds)
            return None
        case "redirect":
            return web.Response(status=302, headers={"Location": fault.url})
        case "wrong bytes":
            return web.Response(body=bytes(byte ^ 1 for byte in content), content_type="image/png")
        case "short" | "longer" | "empty":
            kept = {"short": content[:-9], "longer": content + b"x", "empty": b""}[fault.flaw]
            return web.Response(body=kept, content_type="image/png")
        case "page":
            return web.Response(text="<html>back in a moment</html>", content_type="text/html")
        case "drop":
            return drop(request)
        case "cut":
            response = web.StreamResponse(headers={"Content-Length": str(len(content) + 1)})
            await response.prepare(request)
            await response.write(content[: len(content) // 2])
            drop(request)
            return response
        case "endless":
            response = web.StreamResponse()
            await response.prepare(request)
            try:
                while True:
                    await response.write(bytes(1 << 16))
            except ConnectionError:
                return response
