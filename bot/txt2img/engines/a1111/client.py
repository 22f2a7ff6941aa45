"""Speak the API of the A1111 web UI, ``/sdapi/v1``, with one server.

Forge, SD.Next, koboldcpp and stable-diffusion.cpp speak it, too, each a part of it. A call answers
when the picture is there. Every failure is one sentence without the prompt and without a password.
"""

from __future__ import annotations

import base64
import io
import json
import re
import socket
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
from PIL import Image

from bot.txt2img.config import ServerConfig
from bot.txt2img.engines.base import Batch
from bot.txt2img.plan import UsageError

CONNECT_SECONDS = 10.0
ASK_SECONDS = 20.0
"""How long a question about the server may take; a server that loads a model answers late."""
MAX_BYTES = 256 * 1024 * 1024

_API = "/sdapi/v1"
_OUT_OF_MEMORY = re.compile(r"out ?of ?memory|failed to alloc|cannot allocate|bad_alloc", re.I)
_NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_DAMAGED = "{} returned a damaged picture: its own log may say why."
_KEEP_ALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6))
        if hasattr(socket, name)
    ),
]


class ServerError(UsageError):
    """The server refused, or answered what is no picture."""


class Unreachable(ServerError):
    """The request never reached the server, so that it may be sent again, anywhere."""


class ConnectionLost(ServerError):
    """The connection ended during a request, which may still run there."""


class Busy(ServerError):
    """The server takes no request at the moment; it has not begun this one."""


class NotThere(ServerError):
    """The server does not have this part of the API."""


class Server:
    """A server at ``url``; ``name`` is the URL without user and path, for messages."""

    def __init__(self, url: str, config: ServerConfig) -> None:
        try:
            parts = urlsplit(url.strip())
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(
                "The address of an image server is written like http://127.0.0.1:7860, not "
                f"{_printable(url.rpartition('@')[2])!r}."
            )
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self.name = f"{parts.scheme}://{host}" + (f":{port}" if port else "")
        path = parts.path.rstrip("/").removesuffix(_API)
        username = config.username or parts.username or ""
        password = config.password or parts.password or ""
        self._client = httpx.Client(
            base_url=self.name + path,
            auth=httpx.BasicAuth(username, password) if username or password else None,
            timeout=httpx.Timeout(ASK_SECONDS, connect=CONNECT_SECONDS),
            transport=httpx.HTTPTransport(
                verify=_certificates(parts.scheme),
                socket_options=_KEEP_ALIVE,
                limits=httpx.Limits(max_keepalive_connections=0),
            ),
            trust_env=False,
        )

    def ask(self, path: str, *, seconds: float = ASK_SECONDS) -> Any:
        """Return the JSON of ``GET path``. Raises NotThere and the other ServerErrors."""
        return self._request("GET", path, None, seconds)

    def post(self, path: str, body: Mapping[str, Any], *, seconds: float | None) -> Any:
        """Return the JSON of ``POST path``; ``seconds`` None waits as long as it takes."""
        return self._request("POST", path, body, seconds)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _request(
        self, method: str, path: str, body: Mapping[str, Any] | None, seconds: float | None
    ) -> Any:
        if not path.startswith("/internal"):
            path = _API + path
        timeout = httpx.Timeout(seconds, connect=CONNECT_SECONDS, write=60.0)
        try:
            with self._client.stream(method, path, json=body, timeout=timeout) as response:
                data = self._read(response)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Unreachable(f"{self.name} does not answer: {_cause(error)}.") from None
        except httpx.TransportError as error:
            raise ConnectionLost(f"{self.name} broke the connection: {_cause(error)}.") from None
        except (httpx.InvalidURL, httpx.DecodingError) as error:
            raise ServerError(f"{self.name} cannot be asked: {_cause(error)}.") from None
        if response.status_code == httpx.codes.OK:
            return self._parse(data)
        raise self._refusal(response.status_code, data, str((body or {}).get("prompt", "")))

    def _read(self, response: httpx.Response) -> bytes:
        data = bytearray()
        for chunk in response.iter_bytes():
            data += chunk
            if len(data) > MAX_BYTES:
                raise ServerError(f"{self.name} answers with more than {MAX_BYTES >> 20} MB.")
        return bytes(data)

    def _parse(self, data: bytes) -> Any:
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            what = "a web page" if b"<html" in data[:2000].lower() else "something"
            raise ServerError(
                f"{self.name} answers with {what} that is not the A1111 API: is it the right "
                "address, and was the server started with --api?"
            ) from None

    def _refusal(self, status: int, data: bytes, prompt: str) -> ServerError:
        if status in (401, 403):
            return ServerError(
                f"{self.name} refuses the username or password ({status}): set them in the "
                "section of the backend."
            )
        if 300 <= status < 400:
            return ServerError(
                f"{self.name} sends elsewhere ({status}): give the address that it sends to."
            )
        said = _said(data, prompt)
        if _OUT_OF_MEMORY.search(data[:20_000].decode(errors="replace")):
            return ServerError(
                f"{self.name} ran out of memory with a single picture: ask for a smaller size, or "
                "give the server less to hold."
            )
        if "returned no results" in said:
            return ServerError(
                f"{self.name} could not make the picture, often for lack of memory: its own log "
                "says why."
            )
        if status in (404, 405, 501) and said.lower() in ("", "not found", "method not allowed"):
            return NotThere(
                f"{self.name} has no A1111 API at this address ({status}): start the web UI with "
                "--api."
            )
        if status in (429, 502, 503, 504):
            return Busy(f"{self.name} is busy or starts up ({status}{said and ': '}{said}).")
        return ServerError(f"{self.name} refuses the request ({status}{said and ': '}{said}).")


def _certificates(scheme: str) -> ssl.SSLContext:
    """Return what servers are verified with; without https the file of authorities is not read."""
    return ssl.create_default_context() if scheme == "https" else _NO_AUTHORITIES


def decode_picture(server: str, text: object, width: int, height: int) -> Image.Image:
    """Return the picture in base64 ``text`` in RGB, without its text chunks. Raises ServerError.

    ``width`` and ``height`` are what was asked for.
    """
    image = _open(server, text)
    if image.size != (width, height):
        raise ServerError(
            f"{server} returned a picture of {image.width}x{image.height} instead of "
            f"{width}x{height}: choose a size that its model can make, such as multiples of 64."
        )
    return _load(server, image)


def decode_any_picture(server: str, text: object) -> Image.Image:
    """Return a picture of any size; see ``decode_picture``."""
    return _load(server, _open(server, text))


def encode_picture(image: Image.Image) -> str:
    """Return the picture as base64 of a PNG file without text chunks."""
    buffer = io.BytesIO()
    clean = image.convert("RGB")
    clean.info.clear()
    clean.save(buffer, format="PNG", compress_level=1)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def picture_request(batch: Batch, prompt: str, seed: int, scale: float | None) -> dict[str, Any]:
    """Return the fields that all servers know, for one picture."""
    body: dict[str, Any] = {
        "prompt": prompt,
        "negative_prompt": batch.negative,
        "width": batch.width,
        "height": batch.height,
        "steps": batch.steps,
        "seed": seed,
        "batch_size": 1,
        "n_iter": 1,
        "send_images": True,
        "save_images": False,
    }
    if scale is not None:
        body["cfg_scale"] = scale
    if batch.init_image is not None:
        body["init_images"] = [encode_picture(batch.init_image)]
        body["denoising_strength"] = batch.strength
    return body


def _open(server: str, text: object) -> Image.Image:
    if not isinstance(text, str) or not text:
        raise ServerError(f"{server} returned an empty picture: its own log says why.")
    try:
        data = base64.b64decode(text.partition("base64,")[2] or text, validate=True)
        if data:
            return Image.open(io.BytesIO(data))
    except (ValueError, OSError, SyntaxError, Image.DecompressionBombError):
        pass
    raise ServerError(_DAMAGED.format(server))


def _load(server: str, image: Image.Image) -> Image.Image:
    try:
        clean = image.convert("RGB")
    except (ValueError, OSError, SyntaxError, Image.DecompressionBombError):
        raise ServerError(
            f"{server} returned a damaged picture: its own log may say why."
        ) from None
    clean.info.clear()
    return clean


def _said(data: bytes, prompt: str) -> str:
    """Return what the body of an error says, in one short line and without the prompt."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return ""
    parts: list[str] = []
    if isinstance(body, dict):
        # A1111: error (a class), detail, errors; SD.Next the same; koboldcpp: detail.msg;
        # stable-diffusion.cpp: error, message; FastAPI's 422: a list of loc and msg.
        for key in ("error", "message", "errors", "detail"):
            parts += _texts(body.get(key))
    line = ": ".join(dict.fromkeys(part for part in parts if part))
    if prompt:
        line = line.replace(prompt, "…")
    return _printable(line).rstrip(".")


def _texts(value: object) -> list[str]:
    match value:
        case str():
            return [value.strip()]
        case {"loc": list(loc), "msg": str(msg)}:
            return [f"{'.'.join(str(part) for part in loc if part != 'body')} {msg}"]
        case {"msg": str(msg)} | {"message": str(msg)}:
            return [msg]
        case list():
            return [text for item in value[:3] for text in _texts(item)]
    return []


def _printable(text: str) -> str:
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= 200 else line[:199] + "…"


def _cause(error: Exception) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    return _printable(str(error)).rstrip(".") or type(error).__name__
