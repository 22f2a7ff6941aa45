"""A stand-in for servers with the API of the A1111 web UI, on loopback.

It answers as those servers do where they differ (``VARIANTS``), and breaks as they break
(``faults``). The pictures are made from prompt, seed and steps, so that equal requests give equal
pictures. Facts: A1111 1.10 and SD.Next from their sources, stable-diffusion.cpp measured.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import socket
import threading
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from PIL import Image, PngImagePlugin

ABSENT = object()
SHA256 = hashlib.sha256(b"dreamshaper").hexdigest()


@dataclass(frozen=True, slots=True)
class Variant:
    """How a server differs. ``tasks``: it keeps the ids of calls. ``size_step``: in pixels.

    ``seeds``: from this on they are drawn by chance.
    """

    name: str
    progress: bool = True
    tasks: bool = True
    upscaling: bool = True
    info: bool = True
    strict_sampler: bool = True
    size_step: int = 8
    seeds: int = 2**32
    checkpoints: tuple[str, ...] = ("dreamshaper_8", "anything_v5")


VARIANTS = (
    Variant("a1111"),
    Variant("sdnext", tasks=False),
    Variant(
        "koboldcpp",
        progress=False,
        tasks=False,
        upscaling=False,
        info=False,
        strict_sampler=False,
        size_step=64,
        seeds=2**31,
        checkpoints=("dreamshaper_8",),
    ),
    Variant(
        "sdcpp",
        progress=False,
        tasks=False,
        upscaling=False,
        info=False,
        strict_sampler=False,
        size_step=64,
        seeds=2**31,
        checkpoints=("dreamshaper_8",),
    ),
)


@dataclass(slots=True)
class StandIn:
    """A running server. ``faults`` are used up one per generation; ``hold`` makes calls wait.

    Calls with ``failing_seeds`` run out of memory; with ``held_seeds`` they wait as for ``hold``.
    ``overrides`` are other answers by path, ABSENT for none.
    ``running`` is the id of the call that runs, ``running_after`` of those that follow it.
    """

    variant: Variant
    username: str = ""
    password: str = ""
    url: str = ""
    faults: list[str] = field(default_factory=list)
    failing_seeds: Container[int] = ()
    held_seeds: Container[int] = ()
    requests: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    interrupts: int = 0
    running: str = ""
    queued: str = ""
    running_after: list[str] = field(default_factory=list)
    overrides: dict[str, Any] = field(default_factory=dict)
    started: threading.Event = field(default_factory=threading.Event)
    hold: threading.Event = field(default_factory=threading.Event)
    interrupted: threading.Event = field(default_factory=threading.Event)
    one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    @property
    def seeds(self) -> list[int]:
        """The seeds that were asked for."""
        return [int(body["seed"]) for _, body in self.requests]


@contextlib.contextmanager
def serve(variant: Variant, **options: Any) -> Iterator[StandIn]:
    """Run a stand-in. Calls are held only after ``hold.clear()``."""
    site = StandIn(variant, **options)
    site.hold.set()

    class Handler(_Handler):
        stand_in = site

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield site
    finally:
        site.hold.set()
        site.interrupted.set()
        server.shutdown()
        thread.join()
        server.server_close()


def picture(body: Mapping[str, Any], width: int, height: int) -> bytes:
    """The PNG for a request, with its prompt in a text chunk as all these servers write it.

    A picture to start from shows through, as ``denoising_strength`` says.
    """
    key = json.dumps([body.get(name) for name in ("prompt", "negative_prompt", "seed", "steps")])
    colour = hashlib.sha256(key.encode()).digest()
    image = Image.new("RGB", (width, height), tuple(colour[:3]))
    for encoded in body.get("init_images", ()):
        with Image.open(io.BytesIO(base64.b64decode(encoded))) as start:
            below = start.convert("RGB").resize(image.size)
        image = Image.blend(below, image, body["denoising_strength"])
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", f"{body.get('prompt')}\nSteps: {body.get('steps')}")
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", pnginfo=text)
    return buffer.getvalue()


class _Handler(BaseHTTPRequestHandler):
    stand_in: StandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        site, variant = self.stand_in, self.stand_in.variant
        path = urlsplit(self.path).path
        site.asked.append(path)
        if not self._authorised():
            return
        checkpoints = [
            {
                "title": f"{name}.safetensors [879db523c3]" if variant.info else name,
                "model_name": name,
                "filename": f"/models/{name}.safetensors",
                "sha256": SHA256 if variant.info else "8" * 64,
            }
            for name in variant.checkpoints
        ]
        samplers = [
            {"name": "Euler a", "aliases": ["k_euler_a"], "options": {}},
            {"name": "DPM++ 2M", "aliases": ["k_dpmpp_2m"], "options": {}},
        ]
        busy = bool(site.running)
        state = {"job": site.running, "job_count": int(busy), "sampling_step": 5 * busy}
        answers: dict[str, Any] = {
            "/sdapi/v1/sd-models": checkpoints,
            "/sdapi/v1/samplers": samplers,
            "/sdapi/v1/schedulers": [{"name": "karras", "label": "Karras"}],
            "/sdapi/v1/loras": [{"name": "film", "path": "/loras/film.safetensors"}],
            "/sdapi/v1/options": {"sd_model_checkpoint": checkpoints[0]["title"]},
        }
        if variant.progress:
            answers["/sdapi/v1/progress"] = {
                "progress": 0.5 * busy,
                "state": {**state, "sampling_steps": 10},
            }
        if variant.upscaling:
            names = ("None", "Lanczos", "ESRGAN_4x", "R-ESRGAN 4x+")
            answers["/sdapi/v1/upscalers"] = [{"name": name} for name in names]
        answers |= site.overrides
        if answers.get(path, ABSENT) is not ABSENT:
            self._answer(200, answers[path])
        else:
            self._not_found()

    def do_POST(self) -> None:
        site, variant = self.stand_in, self.stand_in.variant
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        site.asked.append(self.path)
        if not self._authorised():
            return
        try:
            body = json.loads(data)
        except ValueError:
            self._answer(500, {"error": "server_error", "message": "parse error"})
            return
        if self.path in ("/sdapi/v1/txt2img", "/sdapi/v1/img2img"):
            site.requests.append((self.path, body))
            self._generate(body)
        elif self.path == "/internal/progress" and variant.progress:
            ours = variant.tasks and body["id_task"] == site.running
            queued = variant.tasks and body["id_task"] == site.queued
            answer = {"active": ours, "queued": queued, "completed": False}
            self._answer(200, {**answer, "progress": 0.5 * ours})
        elif self.path == "/sdapi/v1/interrupt" and variant.progress:
            site.interrupts += 1
            site.interrupted.set()
            self._answer(200, {})
        elif self.path == "/sdapi/v1/refresh-checkpoints" and variant.progress:
            self._answer(200, None)
        elif self.path == "/sdapi/v1/extra-single-image" and variant.upscaling:
            image = Image.open(io.BytesIO(base64.b64decode(body["image"])))
            factor = body["upscaling_resize"]
            large = image.resize((image.width * factor, image.height * factor))
            buffer = io.BytesIO()
            large.save(buffer, format="PNG")
            self._answer(200, {"image": base64.b64encode(buffer.getvalue()).decode()})
        else:
            self._not_found()

    def _generate(self, body: Mapping[str, Any]) -> None:
        site, variant = self.stand_in, self.stand_in.variant
        fault = site.faults.pop(0) if site.faults else ""
        if body["seed"] in site.failing_seeds:
            fault = "out of memory"
        if fault == "busy":
            detail = {"msg": "Server is busy; please try again later.", "type": "unavailable"}
            self._answer(503, {"detail": detail})
            return
        with site.one_at_a_time:
            site.running = str(body.get("force_task_id", "call"))
            site.started.set()
            if body["seed"] in site.held_seeds:
                site.hold.clear()
            site.hold.wait(30)
            site.running = site.running_after.pop(0) if site.running_after else ""
        if fault in _BROKEN_ANSWERS:
            self._send(*_BROKEN_ANSWERS[fault])
            return
        if fault == "lost":
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        if not body.get("prompt"):
            self._answer(400, {"error": "prompt required"})
            return
        known = ("", "Euler a", "DPM++ 2M", "Euler")
        if variant.strict_sampler and body.get("sampler_name", "") not in known:
            self._answer(404, {"detail": "Sampler not found"})
            return
        step = variant.size_step
        width, height = (-(-int(body[side]) // step) * step for side in ("width", "height"))
        drawn = {"seed": len(site.requests)} if body["seed"] >= variant.seeds else {}
        data = picture({**body, **drawn}, width, height)
        info = {
            "steps": body["steps"],
            "cfg_scale": body.get("cfg_scale", 7.0),
            "sampler_name": body.get("sampler_name") or "Euler",
            "sd_model_name": "dreamshaper_8",
        }
        text = base64.b64encode(data).decode()
        if fault == "truncated":
            text = base64.b64encode(data[: len(data) // 2]).decode()
        if fault == "cut base64":
            text = text[:-3]
        images: Any = {"empty": [""], "none": [], "no list": None}.get(fault, [text])
        if fault == "prefix":
            images = [f"data:image/png;base64,{text}"]
        answer = {"images": images, "parameters": {}}
        self._answer(200, {**answer, "info": json.dumps(info) if variant.info else ""})

    def _authorised(self) -> bool:
        site = self.stand_in
        wanted = base64.b64encode(f"{site.username}:{site.password}".encode()).decode()
        if not site.username or self.headers.get("Authorization") == f"Basic {wanted}":
            return True
        self._answer(401, {"detail": "Incorrect username or password"})
        return False

    def _not_found(self) -> None:
        if self.stand_in.variant.name == "sdcpp":
            self._send(404, "", b"")
        else:
            self._answer(404, {"detail": "Not Found"})

    def _answer(self, status: int, body: Any) -> None:
        self._send(status, "application/json", json.dumps(body).encode())

    def _send(self, status: int, kind: str, data: bytes) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.send_response(status)
            if kind:
                self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)


def _json(body: Any) -> bytes:
    return json.dumps(body).encode()


_BROKEN_ANSWERS: Mapping[str, tuple[int, str, bytes]] = {
    "html": (200, "text/html", b"<!DOCTYPE html><html><body>Welcome</body></html>"),
    "html 500": (500, "text/html", b"<html>Internal Server Error</html>"),
    "no json": (200, "application/json", b'{"images": ["'),
    "a list": (200, "application/json", b"[]"),
    "deep": (200, "application/json", b"[" * 100_000),
    "redirect": (302, "text/html", b""),
    "out of memory": (
        500,
        "application/json",
        _json(
            {
                "error": "OutOfMemoryError",
                "detail": "",
                "body": "",
                "errors": "CUDA out of memory. Tried to allocate 20.00 GiB (GPU 0)",
            }
        ),
    ),
    "sdcpp no memory": (
        500,
        "application/json",
        _json({"error": "generate_image returned no results"}),
    ),
    "wrong types": (
        422,
        "application/json",
        _json(
            {
                "detail": [
                    {
                        "loc": ["body", "steps"],
                        "msg": "value is not a valid integer",
                        "type": "type_error.integer",
                    }
                ]
            }
        ),
    ),
    "class and text": (
        500,
        "application/json",
        _json(
            {
                "error": "NansException",
                "detail": "",
                "body": "",
                "errors": "A tensor with all NaNs was produced in Unet for a red heron.",
            }
        ),
    ),
    "sdcpp exception": (
        500,
        "application/json",
        _json({"error": "server_error", "message": "[json.exception.type_error.302] type"}),
    ),
}
