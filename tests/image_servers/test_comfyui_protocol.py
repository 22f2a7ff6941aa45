"""What ComfyUI does, as far as the engine counts on it: the stand-in does it, and a real server."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bot.txt2img.config import CHECKPOINT, ModelConfig, ServerConfig
from bot.txt2img.engines.base import Batch
from bot.txt2img.engines.comfyui import ComfyUIEngine, describe
from bot.txt2img.plan import UsageError

GRAPH = Path(__file__).with_name("test_graph.json")
SECONDS = 60.0


class Client:
    """A bare client: it posts, asks and listens."""

    socket: aiohttp.ClientWebSocketResponse

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url
        self.id = uuid.uuid4().hex

    async def get(self, path: str) -> Any:
        async with self.session.get(self.url + path) as response:
            return await response.json()

    async def post(self, path: str, body: object, **headers: str) -> tuple[int, Any]:
        async with self.session.post(self.url + path, json=body, headers=headers) as response:
            if "json" not in response.headers.get("Content-Type", ""):
                return response.status, await response.text()
            return response.status, await response.json()

    async def submit(self, graph: object, prompt_id: str) -> tuple[int, Any]:
        body = {"prompt": graph, "client_id": self.id, "prompt_id": prompt_id}
        return await self.post("/prompt", body)

    async def listen(self, prompt_id: str, until: str = "end") -> list[tuple[str, Any]]:
        """The messages of a prompt up to one of type ``until``; the last of all is ``end``."""
        found: list[tuple[str, Any]] = []
        async with asyncio.timeout(SECONDS):
            async for message in self.socket:
                if message.type is not aiohttp.WSMsgType.TEXT:
                    continue
                decoded = message.json()
                kind, data = decoded["type"], decoded["data"]
                if data.get("prompt_id") != prompt_id or kind == "progress_state":
                    continue
                found.append((kind, data))
                if kind == until or (kind == "executing" and data["node"] is None):
                    break
        return found

    async def running(self, prompt_id: str) -> None:
        """Wait until the prompt makes steps."""
        await self.listen(prompt_id, "progress")


@pytest.fixture
async def client(comfyui: str) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        client = Client(session, comfyui)
        async with session.ws_connect(f"{comfyui}/ws?clientId={client.id}") as client.socket:
            first = await client.socket.receive_json()
            assert first["type"] == "status"
            assert first["data"]["sid"] == client.id
            assert first["data"]["status"]["exec_info"]["queue_remaining"] >= 0
            yield client


def graph(prefix: str = "", **inputs: Any) -> dict[str, Any]:
    sampler = {
        "text": "a cat",
        "seed": uuid.uuid4().int % 2**63,
        "steps": 4,
        "width": 64,
        "height": 64,
        "samples": 2,
        "fail": -1,
        "milliseconds": 0,
    }
    return {
        "sampler": {"class_type": "GridbrushTestSampler", "inputs": {**sampler, **inputs}},
        "save": {
            "class_type": "SaveImage",
            "inputs": {"images": ["sampler", 0], "filename_prefix": f"test/{prefix or new_id()}"},
        },
    }


def new_id() -> str:
    return str(uuid.uuid4())


SLOW: dict[str, Any] = {"steps": 600, "milliseconds": 100}


async def test_the_messages_of_a_job_come_in_this_order(client: Client) -> None:
    prompt_id = new_id()
    status, answer = await client.submit(graph(), prompt_id)
    assert status == 200
    assert answer["prompt_id"] == prompt_id
    assert answer["node_errors"] == {}
    messages = await client.listen(prompt_id)
    assert [(kind, data.get("node")) for kind, data in messages] == [
        ("execution_start", None),
        ("execution_cached", None),
        ("executing", "sampler"),
        *[("progress", "sampler")] * 4,
        ("executing", "save"),
        ("executed", "save"),
        ("execution_success", None),
        ("executing", None),
    ]
    progress = [data for kind, data in messages if kind == "progress"]
    assert [(data["value"], data["max"]) for data in progress] == [(1, 4), (2, 4), (3, 4), (4, 4)]

    entry = (await client.get(f"/history/{prompt_id}"))[prompt_id]
    assert entry["status"]["status_str"] == "success"
    assert entry["status"]["completed"] is True
    images = entry["outputs"]["save"]["images"]
    assert len(images) == 2
    assert {image["type"] for image in images} == {"output"}
    async with client.session.get(f"{client.url}/view", params=images[0]) as response:
        assert (await response.read()).startswith(b"\x89PNG")


async def test_the_same_graph_runs_nothing_and_names_the_old_files(client: Client) -> None:
    first, second, prompt = new_id(), new_id(), graph()
    await client.submit(prompt, first)
    await client.listen(first)
    await client.submit(prompt, second)
    messages = await client.listen(second)
    kinds = [kind for kind, _ in messages]
    assert "progress" not in kinds
    cached = next(data for kind, data in messages if kind == "execution_cached")
    assert set(cached["nodes"]) == {"sampler", "save"}
    old = (await client.get(f"/history/{first}"))[first]["outputs"]
    assert (await client.get(f"/history/{second}"))[second]["outputs"] == old
    # Another name for the file: only saving runs again.
    third = new_id()
    prompt["save"]["inputs"]["filename_prefix"] = f"test/{third}"
    await client.submit(prompt, third)
    kinds = [kind for kind, _ in await client.listen(third)]
    assert "progress" not in kinds
    assert "executed" in kinds


async def test_an_id_is_kept_but_not_recognized(client: Client) -> None:
    prompt_id = new_id()
    for _ in range(2):
        status, answer = await client.submit(graph(), prompt_id)
        assert (status, answer["prompt_id"]) == (200, prompt_id)
        assert "execution_success" in [kind for kind, _ in await client.listen(prompt_id)]


async def test_deleting_and_interrupting(client: Client) -> None:
    running, waiting = new_id(), new_id()
    await client.submit(graph(**SLOW), running)
    await client.submit(graph(**SLOW), waiting)
    await client.running(running)
    queue = await client.get("/queue")
    assert [entry[1] for entry in queue["queue_running"]] == [running]
    assert [entry[1] for entry in queue["queue_pending"]] == [waiting]
    assert all(len(entry) >= 5 for entry in queue["queue_running"])
    assert await client.get(f"/history/{running}") == {}

    for prompt_id in (running, new_id()):  # 200, and nothing happens
        assert (await client.post("/queue", {"delete": [prompt_id]}))[0] == 200
        assert (await client.post("/interrupt", {"prompt_id": new_id()}))[0] == 200
    queue = await client.get("/queue")
    assert [entry[1] for entry in queue["queue_running"]] == [running]

    assert (await client.post("/queue", {"delete": [waiting]}))[0] == 200
    assert (await client.get("/queue"))["queue_pending"] == []
    assert (await client.post("/interrupt", {"prompt_id": running}))[0] == 200
    kinds = [kind for kind, _ in await client.listen(running)]
    assert "execution_interrupted" in kinds
    status = (await client.get(f"/history/{running}"))[running]["status"]
    assert status["completed"] is False
    assert "execution_interrupted" in [message[0] for message in status["messages"]]
    assert await client.get(f"/history/{waiting}") == {}


async def test_a_failure_is_told_by_message_and_history(client: Client) -> None:
    prompt_id = new_id()
    await client.submit(graph(fail=2), prompt_id)
    data = dict(await client.listen(prompt_id))["execution_error"]
    assert (data["node_id"], data["node_type"]) == ("sampler", "GridbrushTestSampler")
    assert data["exception_type"] == "RuntimeError"
    assert "CUDA out of memory" in data["exception_message"]
    status = (await client.get(f"/history/{prompt_id}"))[prompt_id]["status"]
    assert (status["status_str"], status["completed"]) == ("error", False)
    assert dict(status["messages"])["execution_error"]["exception_type"] == "RuntimeError"


async def test_messages_go_to_the_client_that_posted(client: Client) -> None:
    prompt_id = new_id()
    other = Client(client.session, client.url)
    async with client.session.ws_connect(f"{client.url}/ws?clientId={other.id}") as other.socket:
        await other.submit(graph(), prompt_id)
        assert await other.listen(prompt_id)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await client.listen(prompt_id, "execution_start")


def without(node: str, name: str) -> dict[str, Any]:
    made = graph()
    del made[node]["inputs"][name]
    return made


@pytest.mark.parametrize(
    ("make", "kind", "node_error"),
    [
        (lambda: {"1": {"class_type": "NoSuchNode", "inputs": {}}}, "invalid_prompt", ""),
        (lambda: {"sampler": graph()["sampler"]}, "prompt_no_outputs", ""),
        (lambda: graph(steps=0), "", "value_smaller_than_min"),
        (lambda: graph(steps=99999), "", "value_bigger_than_max"),
        (lambda: graph(steps="many"), "", "invalid_input_type"),
        (lambda: without("sampler", "steps"), "", "required_input_missing"),
        (
            lambda: {
                **graph(),
                "model": {"class_type": "UpscaleModelLoader", "inputs": {"model_name": "gone"}},
                "up": {
                    "class_type": "ImageUpscaleWithModel",
                    "inputs": {"upscale_model": ["model", 0], "image": ["sampler", 0]},
                },
                "save": {
                    "class_type": "SaveImage",
                    "inputs": {"images": ["up", 0], "filename_prefix": "x"},
                },
            },
            "",
            "value_not_in_list",
        ),
        (
            lambda: {
                "load": {"class_type": "LoadImage", "inputs": {"image": "gone.png"}},
                "save": {
                    "class_type": "SaveImage",
                    "inputs": {"images": ["load", 0], "filename_prefix": "x"},
                },
            },
            "",
            "custom_validation_failed",
        ),
    ],
)
async def test_a_graph_is_validated(client: Client, make: Any, kind: str, node_error: str) -> None:
    status, answer = await client.submit(make(), new_id())
    assert status == 400
    # Since 2025 the type of the first is missing_node_type.
    known = (kind, "missing_node_type") if kind else ("prompt_outputs_failed_validation",)
    assert answer["error"]["type"] in known
    if node_error:
        errors = [error for node in answer["node_errors"].values() for error in node["errors"]]
        (error,) = errors
        assert error["type"] == node_error
        assert error["extra_info"]["input_name"] or error["details"]


async def test_odd_requests(client: Client) -> None:
    async with client.session.post(f"{client.url}/prompt", data=b"no json") as response:
        assert response.status == 500
    status, _ = await client.post("/prompt", {}, Origin="https://evil.example")
    assert status == 403
    assert await client.get(f"/history/{new_id()}") == {}
    assert await client.get("/object_info/NoSuchNode") == {}
    query = {"filename": "gone.png", "subfolder": "", "type": "output"}
    async with client.session.get(f"{client.url}/view", params=query) as response:
        assert response.status == 404
    assert (await client.get("/system_stats"))["devices"]
    assert isinstance(await client.get("/models/checkpoints"), list)


# The engine itself


def engine(url: str, **environment: str) -> ComfyUIEngine:
    return ComfyUIEngine(ServerConfig((url,), graphs={"txt2img": str(GRAPH)}), None, environment)


def batch(prompt: str = "a cat", samples: int = 3, steps: int = 4) -> Batch:
    seed = uuid.uuid4().int % 2**32
    return Batch((prompt,) * samples, "", seed, 0, 64, 128, steps, None)


def test_the_engine_paints_by_the_tests_node(comfyui: str) -> None:
    steps: list[int] = []
    subject = engine(comfyui)
    asked = batch()
    pictures = subject.generate(asked, lambda: steps.append(1))
    assert [(picture.size, picture.info) for picture in pictures] == [((64, 128), {})] * 3
    assert (len(steps), subject.report.steps) == (4, 4)
    again = engine(comfyui).generate(asked, lambda: None)
    assert [p.tobytes() for p in again] == [p.tobytes() for p in pictures]


def test_the_engine_withdraws_its_job(comfyui: str) -> None:
    seen = threading.Event()

    def step() -> None:
        if not seen.is_set():
            seen.set()
            os.kill(os.getpid(), signal.SIGTERM)

    subject = engine(comfyui)
    with pytest.raises(SystemExit):
        subject.generate(batch(prompt="slow", steps=600), step)
    # The next one need not wait for it.
    assert len(engine(comfyui).generate(batch(), lambda: None)) == 3


def test_the_engine_says_why_a_server_refuses(comfyui: str) -> None:
    missing = ModelConfig("x", kind=CHECKPOINT, location="no-such.safetensors")
    subject = ComfyUIEngine(ServerConfig((comfyui,)), missing, {})
    with pytest.raises(UsageError, match=r"there is no checkpoint 'no-such.safetensors'; there"):
        subject.generate(batch(), lambda: None)
    found = describe(ServerConfig((comfyui,), graphs={"txt2img": str(GRAPH)}), None)
    assert str(found["note"]).startswith("ComfyUI")
