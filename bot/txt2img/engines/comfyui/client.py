"""Talk to one ComfyUI server: its HTTP API and its socket for progress.

Facts of the protocol: ComfyUI 0.3.64. Everything about a job lies in the server's memory only, so
that a restart forgets it. A request with a foreign ``Origin`` is refused: none is sent.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import quote

import aiohttp

from bot.txt2img.plan import UsageError

CHECKPOINTS, LORAS, UPSCALERS = "checkpoints", "loras", "upscale_models"
"""Folders of models."""

_MAX_ANSWER_BYTES = 128 << 20
"""Of one answer: a picture of 8192 x 8192 pixels, or the description of all nodes."""

_UNAVAILABLE = frozenset({502, 503, 504})
"""What a proxy answers while the server behind it is down."""


class ServerError(UsageError):
    """A server cannot be used for this; another one may be."""


class Unreachable(ServerError):
    """A server does not answer. It may again: after a restart, or when the network is back."""


class Rejected(ServerError):
    """The answer 400 to a graph: ``errors`` is its JSON."""

    def __init__(self, server: str, errors: Mapping[str, Any]) -> None:
        super().__init__(f"{server} refused the graph.")
        self.errors = errors


@dataclass(frozen=True, slots=True)
class File:
    """A picture in one of the server's folders; ``type`` is output, temp or input."""

    filename: str
    subfolder: str
    type: str


Place = Literal["running", "pending"]


class Server:
    """One server at ``url``, which may hold a user and a password."""

    def __init__(self, session: aiohttp.ClientSession, url: str, timeout: float) -> None:
        """``timeout`` is in seconds for one answer without pictures."""
        self._session = session
        self._base = url.rstrip("/")
        self._timeout = timeout
        self.name = _name(url)
        self.has_answered = False

    async def queue(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the prompt ids that run and that wait."""
        answer = await self._get_json("/queue")
        running, pending = (
            tuple(str(entry[1]) for entry in answer[key])
            for key in ("queue_running", "queue_pending")
        )
        return running, pending

    async def place(self, prompt_id: str) -> Place | None:
        """Return where in the queue the prompt is, or None."""
        running, pending = await self.queue()
        if prompt_id in running:
            return "running"
        return "pending" if prompt_id in pending else None

    async def history(self, prompt_id: str) -> Mapping[str, Any] | None:
        """Return what became of a prompt: ``outputs`` and ``status``; None if it is unknown."""
        answer = await self._get_json(f"/history/{prompt_id}")
        entry = answer.get(prompt_id)
        return MappingProxyType(entry) if isinstance(entry, dict) else None

    async def submit(self, graph: Mapping[str, Any], prompt_id: str) -> str:
        """Queue a graph once more; return the id it got, which old servers choose themselves.

        Messages about it go to the socket of the client ``prompt_id``. Not idempotent. Raises
        Rejected.
        """
        body = {"prompt": graph, "client_id": prompt_id, "prompt_id": prompt_id}
        status, data = await self._request("POST", "/prompt", json=body)
        if status in (200, 400):
            answer = self._decode(data)
            if status == 400:
                raise Rejected(self.name, answer)
            if answer.get("node_errors"):
                # Some outputs run, and others do not: half a job is none.
                await self.withdraw(str(answer.get("prompt_id")))
                raise Rejected(self.name, answer)
            return str(answer.get("prompt_id") or prompt_id)
        raise self._unexpected(status, data)

    async def withdraw(self, prompt_id: str) -> None:
        """Delete a waiting prompt, or interrupt it if it runs. Idempotent.

        It is asked for first: an interrupt stops whatever runs if a server ignores the id, and a
        deletion does nothing to what runs.
        """
        place = await self.place(prompt_id)
        if place == "pending":
            await self._post("/queue", {"delete": [prompt_id]})
            place = await self.place(prompt_id)  # it may have started in between
        if place == "running":
            await self._post("/interrupt", {"prompt_id": prompt_id})

    async def view(self, file: File) -> bytes:
        """Return the bytes of a picture."""
        query = {"filename": file.filename, "subfolder": file.subfolder, "type": file.type}
        status, data = await self._request("GET", "/view", params=query)
        if status == 404:
            raise ServerError(
                f"{self.name} no longer has the picture {file.filename!r}: "
                "something deletes its output while it is in use."
            )
        if status != 200:
            raise self._unexpected(status, data)
        return data

    async def upload(self, name: str, png: bytes) -> str:
        """Store a picture as input, replacing one of that name; return the name for LoadImage."""
        form = aiohttp.FormData()
        form.add_field("image", png, filename=name, content_type="image/png")
        for key, value in (("subfolder", "gridbrush"), ("type", "input"), ("overwrite", "true")):
            form.add_field(key, value)
        status, data = await self._request("POST", "/upload/image", data=form)
        if status == 413:
            raise ServerError(f"{self.name} takes no picture as large as this one.")
        if status != 200:
            raise self._unexpected(status, data)
        answer = self._decode(data)
        return "/".join(part for part in (answer.get("subfolder"), answer["name"]) if part)

    async def models(self, folder: str) -> tuple[str, ...]:
        """Return the names of the models in a folder; empty on servers too old to tell."""
        status, data = await self._request("GET", f"/models/{folder}")
        if status == 404:
            return ()
        if status != 200:
            raise self._unexpected(status, data)
        return tuple(str(name) for name in self._decode(data, list))

    async def object_info(self, node: str = "") -> Mapping[str, Any]:
        """Return the inputs of all node classes, or of one; empty if there is none."""
        return await self._get_json(
            f"/object_info/{quote(node, safe='')}" if node else "/object_info"
        )

    async def system_stats(self) -> Mapping[str, Any]:
        """Return the version and the devices."""
        return await self._get_json("/system_stats")

    @asynccontextmanager
    async def socket(self, client_id: str) -> AsyncIterator[AsyncIterator[Mapping[str, Any]]]:
        """Connect as ``client_id``; yield the messages. Raises Unreachable.

        The messages end when the connection is lost; those sent meanwhile are lost, too.
        """
        url = f"{self._base}/ws"
        try:
            async with self._session.ws_connect(
                url, params={"clientId": client_id}, max_msg_size=_MAX_ANSWER_BYTES, heartbeat=30
            ) as connection:
                yield _messages(connection)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unreachable(f"{self.name} has no socket: {_reason(error)}.") from error

    async def _get_json(self, path: str) -> Mapping[str, Any]:
        status, data = await self._request("GET", path)
        if status != 200:
            raise self._unexpected(status, data)
        answer: Mapping[str, Any] = self._decode(data)
        return answer

    async def _post(self, path: str, body: Mapping[str, Any]) -> None:
        status, data = await self._request("POST", path, json=body)
        if status != 200:
            raise self._unexpected(status, data)

    async def _request(self, method: str, path: str, **options: Any) -> tuple[int, bytes]:
        """Return status and body. Raises Unreachable, ServerError."""
        try:
            async with (
                # A picture may take long; what matters is that it goes on.
                self._session.request(
                    method,
                    self._base + path,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(connect=self._timeout, sock_read=self._timeout),
                    **options,
                ) as response,
            ):
                data = bytearray()
                async for chunk in response.content.iter_any():
                    data += chunk
                    if len(data) > _MAX_ANSWER_BYTES:
                        raise ServerError(f"{self.name} answers without end.")
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError, ValueError) as error:
            raise ServerError(
                f"{self.name!r} is no URL of a server: write http://HOST:PORT."
            ) from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unreachable(f"{self.name} cannot be reached: {_reason(error)}.") from error
        if response.status in _UNAVAILABLE:
            raise Unreachable(f"{self.name} is unavailable: it answers {response.status}.")
        self.has_answered = True
        if response.status in range(300, 400):
            target = _name(response.headers.get("Location", "nowhere"))
            raise ServerError(f"{self.name} redirects to {target}: write that address as url.")
        if response.status in (401, 403):
            raise ServerError(
                f"{self.name} answers {response.status}: it wants a user name and a password, or "
                "refuses requests from here."
            )
        return response.status, bytes(data)

    def _decode(self, data: bytes, kind: type[dict[str, Any] | list[Any]] = dict) -> Any:
        """Return the JSON of an answer, an object or a list."""
        try:
            answer = json.loads(data)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, kind):
            raise self._unexpected(200, data)
        return answer

    def _unexpected(self, status: int, data: bytes) -> ServerError:
        """Return the error for an answer that ComfyUI does not give."""
        if data.lstrip()[:1] == b"<":
            what = "a web page"
        else:
            what = "something unknown" if data else "nothing"
        return ServerError(
            f"{self.name} answers with {what} (status {status}): it is no ComfyUI server, or its "
            "address has a path that is missing here."
        )


async def _messages(
    connection: aiohttp.ClientWebSocketResponse,
) -> AsyncIterator[Mapping[str, Any]]:
    async for message in connection:
        if message.type is not aiohttp.WSMsgType.TEXT:
            continue  # a preview picture
        try:
            decoded = json.loads(message.data)
        except (ValueError, RecursionError):
            continue
        if isinstance(decoded, dict) and isinstance(decoded.get("data"), dict):
            yield decoded


def open_session(username: str, password: str) -> aiohttp.ClientSession:
    """Return the session for all servers; it signs in with Basic auth if there is a user."""
    headers = {"Authorization": aiohttp.encode_basic_auth(username, password)} if username else {}
    return aiohttp.ClientSession(headers=headers)


def find_name(name: str, names: Sequence[str]) -> str:
    """Return the server's spelling of a model's name; ``name`` itself if that is not clear.

    The ending and the folder may be left out, and servers on Windows have backslashes.
    """
    wanted = name.replace("\\", "/").lower()

    def spellings(known: str) -> set[str]:
        path = known.replace("\\", "/").lower()
        return {path, path.rpartition(".")[0], path.rpartition("/")[2]}

    whole = [known for known in names if known.replace("\\", "/").lower() == wanted]
    found = whole or [known for known in names if wanted in spellings(known)]
    return found[0] if len(found) == 1 and name not in names else name


def _name(url: str) -> str:
    """Return a URL for people: without user, password and query."""
    scheme, separator, rest = url.rpartition("://")
    plain = re.split(r"[?#]", rest, maxsplit=1)[0]
    host, slash, path = plain.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}".rstrip("/")


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return "it did not answer in time"
    if isinstance(error, aiohttp.ClientConnectorError):
        # With several addresses the error lists each of them.
        return os.strerror(error.os_error.errno) if error.os_error.errno else str(error.os_error)
    return str(error) or type(error).__name__
