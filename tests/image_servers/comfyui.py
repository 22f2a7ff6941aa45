"""A stand-in for a ComfyUI server, on loopback, in a thread of its own.

It keeps to what was measured on ComfyUI 0.3.64: the order of messages, what they hold, validation,
the cache that runs nothing twice, queue and history in memory, answers 200 that do nothing. The
tests of test_comfyui_protocol.py run against this and against a real server.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import threading
from collections.abc import Callable, Container, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from aiohttp import WSMsgType, web
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.image_servers.comfyui_nodes import Machine, NodeError, evaluate
from tests.image_servers.comfyui_validation import is_link, validate

T = TypeVar("T")
FileKey = tuple[str, str, str]
Fault = Callable[[web.Request], web.StreamResponse | None]


@dataclass
class Entry:
    """One prompt in the queue."""

    number: float
    prompt_id: str
    graph: dict[str, Any]
    extra: dict[str, Any]
    outputs: list[str]

    def show(self) -> list[Any]:
        return [self.number, self.prompt_id, self.graph, self.extra, self.outputs]


class Interrupted(Exception):
    pass


class ComfyUI:
    """The server. Use it as a context manager; ``url`` is where it listens.

    Methods may be called from any thread. ``fault`` may answer any request in the server's place;
    ``lost_answers`` are paths whose next answer is lost after the request took effect.
    """

    def __init__(self, machine: Machine | None = None) -> None:
        self.machine = machine or Machine()
        self.requests: list[tuple[str, str]] = []
        self.submitted: list[dict[str, Any]] = []
        self.interrupts: list[str | None] = []
        self.fault: Fault | None = None
        self.lost_answers: list[str] = []
        self.files: dict[FileKey, bytes] = {}
        self.honours_ids = True
        self.failing_seeds: Container[int] = ()
        self.held_seeds: Container[int] = ()
        """Seeds at which a job stays at work as if ``hold`` were called."""
        self.rendezvous = 0
        """How many clients have to ask for /system_stats at once before one is answered."""
        self.stepping = threading.Event()
        """Set while a sampler is at work."""
        self.at_step: Callable[[int], None] = lambda _step: None
        """Called in the server's loop before each sampling step."""
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._runner: web.AppRunner | None = None
        self._port = 0
        self._numbers = itertools.count()
        self._sockets: dict[str, web.WebSocketResponse] = {}
        self._forget()

    def _forget(self) -> None:
        """Start as a new process does: nothing is known."""
        self._pending: list[Entry] = []
        self._running: Entry | None = None
        self._history: dict[str, dict[str, Any]] = {}
        self._cache: dict[str, tuple[Any, ...]] = {}
        self._shown: dict[str, dict[str, Any]] = {}
        self._interrupt = False

    # Control by tests

    def __enter__(self) -> ComfyUI:
        self._thread.start()
        self.call(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self.call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def hold(self) -> None:
        """Let no job make a step until ``release``; an interrupt still ends it."""
        self._loop.call_soon_threadsafe(self._moving.clear)

    def release(self) -> None:
        self._loop.call_soon_threadsafe(self._moving.set)

    def drop_sockets(self) -> None:
        async def drop() -> None:
            for socket in list(self._sockets.values()):
                await socket.close()

        self.call(drop())

    def stop(self) -> None:
        self.call(self._stop())

    def start(self) -> None:
        """Listen again on the same port, having forgotten everything."""
        self.call(self._start())

    def restart(self) -> None:
        self.stop()
        self.start()

    def wait_until_idle(self) -> None:
        self.call(self._idle.wait())

    @property
    def waiting(self) -> list[str]:
        return [entry.prompt_id for entry in self._pending]

    @property
    def running(self) -> str | None:
        return self._running.prompt_id if self._running else None

    @property
    def history(self) -> Mapping[str, dict[str, Any]]:
        return self._history

    # The server

    async def _start(self) -> None:
        self._forget()
        self._moving = asyncio.Event()
        self._moving.set()
        self._work = asyncio.Event()
        self._met = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        app = web.Application(middlewares=[self._middleware], client_max_size=100 << 20)
        app.add_routes(
            [
                web.get("/ws", self._ws),
                web.get("/queue", self._get_queue),
                web.post("/queue", self._post_queue),
                web.post("/prompt", self._post_prompt),
                web.post("/interrupt", self._post_interrupt),
                web.get("/history/{id}", self._get_history),
                web.get("/view", self._view),
                web.post("/upload/image", self._upload),
                web.get("/models/{folder}", self._models),
                web.get("/object_info", self._object_info),
                web.get("/object_info/{node}", self._object_info),
                web.get("/system_stats", self._system_stats),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._worker = asyncio.create_task(self._run_queue())

    async def _stop(self) -> None:
        if self._runner is None:
            return
        self._worker.cancel()
        await asyncio.gather(self._worker, return_exceptions=True)
        for socket in list(self._sockets.values()):
            await socket.close()
        await self._runner.cleanup()
        self._runner = None
        self._forget()

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.requests.append((request.method, request.path))
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("Host"):
            return web.Response(status=403)
        if request.path == "/system_stats" and self.rendezvous:
            self.rendezvous -= 1
            if not self.rendezvous:
                self._met.set()
            await asyncio.wait_for(self._met.wait(), 5)
        if self.fault is not None and (answer := self.fault(request)) is not None:
            return answer
        response: web.StreamResponse = await handler(request)
        if request.path in self.lost_answers:
            self.lost_answers.remove(request.path)
            assert request.transport is not None
            request.transport.abort()
        return response

    async def _ws(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        client = request.query.get("clientId") or "new-client"
        self._sockets[client] = socket
        status = {"status": self._status(), "sid": client}
        await socket.send_json({"type": "status", "data": status})
        try:
            async for message in socket:
                if message.type is WSMsgType.ERROR:
                    break
        finally:
            if self._sockets.get(client) is socket:
                del self._sockets[client]
        return socket

    def _status(self) -> dict[str, Any]:
        left = len(self._pending) + (self._running is not None)
        return {"exec_info": {"queue_remaining": left}}

    async def _send(self, kind: str, data: Mapping[str, Any], client: str | None) -> None:
        """Send to one client; to all if there is no name."""
        targets = (
            list(self._sockets.values())
            if client is None
            else [self._sockets[client]]
            if client in self._sockets
            else []
        )
        for socket in targets:
            try:
                await socket.send_json({"type": kind, "data": data})
            except ConnectionError:
                pass

    async def _get_queue(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "queue_running": [self._running.show()] if self._running else [],
                "queue_pending": [entry.show() for entry in self._pending],
            }
        )

    async def _post_queue(self, request: web.Request) -> web.Response:
        body = await request.json()
        for prompt_id in body.get("delete", []):
            self._pending = [e for e in self._pending if e.prompt_id != prompt_id]
        await self._send("status", {"status": self._status()}, None)
        return web.Response()

    async def _post_prompt(self, request: web.Request) -> web.Response:
        body = await request.json()  # what is not JSON is an exception, and a 500
        graph = body["prompt"]
        error, outputs, node_errors = validate(graph, self.machine.object_info())
        if error is not None:
            return web.json_response({"error": error, "node_errors": node_errors}, status=400)
        own = str(next(self._numbers)) + "-of-the-server"
        prompt_id = body.get("prompt_id", own) if self.honours_ids else own
        entry = Entry(
            len(self.submitted),
            prompt_id,
            graph,
            {"client_id": body.get("client_id")},
            outputs,
        )
        self.submitted.append(graph)
        self._pending.append(entry)
        self._idle.clear()
        self._work.set()
        await self._send("status", {"status": self._status()}, None)
        return web.json_response(
            {"prompt_id": prompt_id, "number": entry.number, "node_errors": node_errors}
        )

    async def _post_interrupt(self, request: web.Request) -> web.Response:
        text = await request.text()
        prompt_id = json.loads(text).get("prompt_id") if text else None
        self.interrupts.append(prompt_id)
        if self._running and prompt_id in (None, self._running.prompt_id):
            self._interrupt = True
            self._moving.set()
        return web.Response()

    async def _get_history(self, request: web.Request) -> web.Response:
        prompt_id = request.match_info["id"]
        known = self._history.get(prompt_id)
        return web.json_response({} if known is None else {prompt_id: known})

    async def _view(self, request: web.Request) -> web.Response:
        query = request.query
        key = (query.get("type", "output"), query.get("subfolder", ""), query["filename"])
        if key not in self.files:
            return web.Response(status=404)
        return web.Response(body=self.files[key], content_type="image/png")

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        field, subfolder = form["image"], str(form.get("subfolder", ""))
        assert isinstance(field, web.FileField)
        name = "/".join(part for part in (subfolder, field.filename) if part)
        self.machine.inputs[name] = Image.open(io.BytesIO(field.file.read()))
        return web.json_response({"name": field.filename, "subfolder": subfolder, "type": "input"})

    async def _models(self, request: web.Request) -> web.Response:
        machine = self.machine
        folders = {
            "checkpoints": machine.checkpoints,
            "loras": machine.loras,
            "upscale_models": machine.upscalers,
        }
        folder = request.match_info["folder"]
        if folder not in folders:
            return web.Response(status=404)
        return web.json_response(folders[folder])

    async def _object_info(self, request: web.Request) -> web.Response:
        info = self.machine.object_info()
        node = request.match_info.get("node")
        return web.json_response(
            info if node is None else {node: info[node]} if node in info else {}
        )

    async def _system_stats(self, _: web.Request) -> web.Response:
        device = {"name": "cpu", "type": "cpu", "vram_total": 8 << 30, "vram_free": 4 << 30}
        return web.json_response({"system": {"comfyui_version": "0.3.64"}, "devices": [device]})

    # Running jobs

    async def _run_queue(self) -> None:
        while True:
            while not self._pending:
                self._work.clear()
                self._idle.set()
                await self._work.wait()
            self._running = entry = self._pending.pop(0)
            self._interrupt = False
            messages: list[list[Any]] = []
            outputs: dict[str, Any] = {}
            completed = await _Execution(self, entry, messages, outputs).run()
            self._running = None
            self.stepping.clear()
            self._history[entry.prompt_id] = {
                "prompt": entry.show(),
                "outputs": outputs,
                "status": {
                    "status_str": "success" if completed else "error",
                    "completed": completed,
                    "messages": messages,
                },
                "meta": {},
            }
            client = entry.extra["client_id"]
            await self._send("status", {"status": self._status()}, None)
            data = {"node": None, "prompt_id": entry.prompt_id}
            await self._send("executing", data, client)


class _Execution:
    """One job while it runs."""

    def __init__(
        self, server: ComfyUI, entry: Entry, messages: list[list[Any]], outputs: dict[str, Any]
    ) -> None:
        self._server = server
        self._entry = entry
        self._messages = messages
        self._outputs = outputs
        self._client = entry.extra["client_id"]
        self._node = ""

    async def run(self) -> bool:
        server, graph = self._server, self._entry.graph
        await self._note("execution_start", {})
        cached = [id for id in graph if self._signature(id) in server._cache]
        for id in cached:
            if shown := server._shown.get(self._signature(id)):
                self._outputs[id] = shown  # the old file's name, whether it is there or not
        await self._note("execution_cached", {"nodes": cached})
        try:
            for output in self._entry.outputs:
                await self._give(output)
        except Interrupted:
            node_class = graph[self._node]["class_type"]
            await self._note(
                "execution_interrupted",
                {"node_id": self._node, "node_type": node_class, "executed": []},
            )
            return False
        except NodeError as error:
            await self._note(
                "execution_error",
                {
                    "node_id": self._node,
                    "node_type": graph[self._node]["class_type"],
                    "executed": [],
                    "exception_message": str(error),
                    "exception_type": error.kind,
                    "traceback": ["a line\n"],
                    "current_inputs": {},
                    "current_outputs": [],
                },
            )
            return False
        await self._note("execution_success", {})
        return True

    async def _note(self, kind: str, data: Mapping[str, Any]) -> None:
        """Send a message that history keeps, too."""
        whole = {"prompt_id": self._entry.prompt_id, **data}
        self._messages.append([kind, {**whole, "timestamp": 0}])
        await self._server._send(kind, {**whole, "timestamp": 0}, self._client)

    def _signature(self, id: str) -> str:
        node = self._entry.graph[id]
        inputs = {
            key: [self._signature(value[0]), value[1]] if is_link(value) else value
            for key, value in sorted(node["inputs"].items())
        }
        return json.dumps([node["class_type"], inputs])

    async def _give(self, id: str) -> tuple[Any, ...]:
        server, node = self._server, self._entry.graph[id]
        signature = self._signature(id)
        if signature in server._cache:
            return server._cache[signature]
        inputs = {}
        for key, value in node["inputs"].items():
            inputs[key] = (await self._give(value[0]))[value[1]] if is_link(value) else value
        self._node = id
        prompt_id = self._entry.prompt_id
        await server._send("executing", {"node": id, "prompt_id": prompt_id}, self._client)
        if "steps" in inputs:
            await self._sample(id, inputs)
        if server._interrupt:
            raise Interrupted
        given = evaluate(server.machine, node["class_type"], inputs)
        if node["class_type"] == "SaveImage":
            self._outputs[id] = server._shown[signature] = self._save(inputs)
            data = {"node": id, "output": self._outputs[id], "prompt_id": prompt_id}
            await server._send("executed", data, self._client)
        server._cache[signature] = given
        return given

    async def _sample(self, id: str, inputs: Mapping[str, Any]) -> None:
        server, prompt_id = self._server, self._entry.prompt_id
        for step in range(inputs["steps"]):
            server.stepping.set()
            server.at_step(step)
            await asyncio.sleep(inputs.get("milliseconds", 0) / 1000)
            if inputs["seed"] in server.held_seeds:
                server._moving.clear()
            await server._moving.wait()
            if server._interrupt:
                raise Interrupted
            if step == inputs.get("fail", -1) or inputs["seed"] in server.failing_seeds:
                message = "CUDA out of memory is what this test error says"
                raise NodeError("RuntimeError", message)
            progress = {"value": step + 1, "max": inputs["steps"], "prompt_id": prompt_id}
            state = {**progress, "state": "running", "node_id": id}
            states = {"prompt_id": prompt_id, "nodes": {id: state}}
            await server._send("progress_state", states, self._client)
            await server._send("progress", {**progress, "node": id}, self._client)

    def _save(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Save as SaveImage does: numbered names, and the whole graph in the text chunks."""
        texts = PngInfo()
        texts.add_text("prompt", json.dumps(self._entry.graph))
        subfolder, _, prefix = inputs["filename_prefix"].rpartition("/")
        images = []
        for image in inputs["images"]:
            number = sum(key[1] == subfolder for key in self._server.files) + 1
            name = f"{prefix}_{number:05}_.png"
            data = io.BytesIO()
            image.save(data, "PNG", pnginfo=texts)
            self._server.files["output", subfolder, name] = data.getvalue()
            images.append({"filename": name, "subfolder": subfolder, "type": "output"})
        return {"images": images}
