"""The resident worker: its socket, its rows, and what happens when it fails."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bot.txt2img.config import LoraConfig, ModelConfig, WorkerConfig
from bot.txt2img.engines.base import Batch, OutOfMemory
from bot.txt2img.engines.spec import EngineSpec
from bot.txt2img.engines.worker import protocol
from bot.txt2img.engines.worker.client import Worker, WorkerEngine, split
from bot.txt2img.engines.worker.model_cache import ModelCache
from bot.txt2img.engines.worker.place import prepare_folder, short_path, socket_path
from bot.txt2img.engines.worker.server import WorkerServer
from bot.txt2img.plan import UsageError
from tests.txt2img.worker_program import FailingEngine, draw

ROOT = Path(__file__).parents[2]
FAILING = (sys.executable, str(ROOT / "tests/txt2img/worker_program.py"))
SPEC = EngineSpec("diffusers", ModelConfig("m", location="/models/m"))
SKETCH = EngineSpec("sketch", ModelConfig("", location=""))
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "PYTHONPATH": str(ROOT),
    "MAC_KEY": "job-secret",
    "PROMPT": "a private prompt",
    "GRIDBRUSH_JOB": "1",
}


def batch(*prompts: str, **changes: Any) -> Batch:
    made = Batch(prompts or ("a cat",), "", 9, 0, 16, 24, 4, None)
    return replace(made, **changes)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


# The cache of models.


class Loaded(FailingEngine):
    def __init__(self, spec: EngineSpec, size: int, closed: list[str]) -> None:
        super().__init__(spec)
        self.memory_bytes = size
        self._closed = closed

    def close(self) -> None:
        self._closed.append(self._name)


def named(name: str) -> EngineSpec:
    return replace(SPEC, model=ModelConfig(name, location=name))


@pytest.mark.parametrize(
    ("budget", "used", "closed", "left"),
    [
        (100, "a b c", "", "a b c"),
        (60, "a b a c", "b", "a c"),  # the least recently used, not the oldest
        (60, "a b c d", "a b", "c d"),
        (10, "a b", "a", "b"),  # larger than the budget: alone
        (60, "a a a", "", "a"),
    ],
)
def test_the_least_recently_used_model_leaves_first(
    budget: int, used: str, closed: str, left: str
) -> None:
    gone: list[str] = []
    cache = ModelCache(lambda spec: Loaded(spec, 30, gone), lambda _: 30, Clock())
    for name in used.split():
        cache.get(named(name), budget)
    assert (gone, list(cache.names)) == (closed.split(), left.split())


def test_a_model_that_is_larger_than_estimated_makes_others_leave_after_loading() -> None:
    gone: list[str] = []
    cache = ModelCache(lambda spec: Loaded(spec, 30, gone), lambda _: 0, Clock())
    for name in ("a", "b", "c"):
        cache.get(named(name), 60)
    assert gone == ["a"]
    cache.clear()
    assert gone == ["a", "b", "c"]
    assert cache.memory_bytes == 0


def test_a_model_that_does_not_fit_beside_others_is_loaded_alone() -> None:
    gone: list[str] = []

    def load(spec: EngineSpec) -> Loaded:
        if spec.model.location == "big" and gone == []:
            raise OutOfMemory("no room")
        return Loaded(spec, 1, gone)

    cache = ModelCache(load, lambda _: 0, Clock())
    cache.get(named("a"), 100)
    cache.get(named("big"), 100)
    assert (gone, cache.names) == (["a"], ("big",))
    gone.clear()
    with pytest.raises(UsageError, match="no room"):
        ModelCache(load, lambda _: 0, Clock()).get(named("big"), 100)


def test_an_idle_model_is_unloaded_and_one_in_use_is_not() -> None:
    clock, gone = Clock(), list[str]()
    cache = ModelCache(lambda spec: Loaded(spec, 1, gone), lambda _: 0, clock)
    cache.get(named("a"), 100)
    clock.now = 50
    cache.get(named("b"), 100)
    clock.now = 100
    cache.unload_idle(60)
    assert gone == ["a"]
    cache.touch(named("b"))
    clock.now = 159
    cache.unload_idle(60)
    assert (gone, cache.loads) == (["a"], 2)


# Messages and places.


@pytest.mark.parametrize(
    "spec",
    [
        SPEC,
        replace(SPEC, offload="model", slicing=True, device="cuda", threads=3, dtype="bfloat16"),
        replace(SPEC, model=replace(SPEC.model, loras=(LoraConfig("film", "/l", 0.5),))),
    ],
)
def test_a_specification_survives_its_message(spec: EngineSpec) -> None:
    text = protocol.encode({"spec": spec.to_dict()})
    message, _ = protocol.decode(text[8:], b"")
    assert EngineSpec.from_dict(message["spec"]) == spec


def test_a_batch_survives_its_message() -> None:
    start = Image.effect_noise((16, 24), 90).convert("RGB")
    sent = batch("a ☃", "b", negative="trees", scale=2.5, first=3, init_image=start, strength=0.5)
    values, blobs = protocol.encode_batch(sent)
    found = protocol.decode_batch(values, blobs)
    assert found.init_image is not None
    assert found.init_image.tobytes() == start.tobytes()
    assert replace(found, init_image=None) == replace(sent, init_image=None)


HOSTILE = {
    "no JSON": protocol.HEADER.pack(2, 0) + b"{]",
    "a list": protocol.HEADER.pack(2, 0) + b"[]",
    "no lengths": protocol.HEADER.pack(2, 0) + b"{}",
    "wrong lengths": protocol.HEADER.pack(13, 0) + b'{"blobs":[1]}',
    "negative lengths": protocol.HEADER.pack(16, 0) + b'{"blobs":[1,-1]}',
    "too large": protocol.HEADER.pack(1 << 31, 0),
    "cut off": b"\0\0",
    "nothing": b"",
    "no batch": protocol.encode({"kind": "generate"}),
    "no picture": protocol.encode(
        {
            "kind": "generate",
            "spec": SPEC.to_dict(),
            "batch": protocol.encode_batch(batch())[0],
            "memory_mb": 0,
            "idle_seconds": 1,
        },
        (b"no PNG",),
    ),
}


@pytest.mark.parametrize(
    ("configured", "environment", "device", "expected"),
    [
        ("/d/worker.sock", {}, "cpu", "/d/worker-cpu-VERSION.sock"),
        ("/d/worker.sock", {"CUDA_VISIBLE_DEVICES": "1"}, "cpu", "/d/worker-cpu-VERSION.sock"),
        ("/d/worker.sock", {}, "cuda", "/d/worker-gpu-all-VERSION.sock"),
        ("/d/w", {"CUDA_VISIBLE_DEVICES": "0,1"}, "cuda", "/d/w-gpu-0-1-VERSION"),
        # Within a step, cgroups number the GPUs anew.
        (
            "/d/w",
            {"CUDA_VISIBLE_DEVICES": "0", "SLURM_STEP_GPUS": "3"},
            "cuda",
            "/d/w-gpu-3-VERSION",
        ),
        (
            "job",
            {"SLURM_JOB_ID": "77", "TMPDIR": "/t"},
            "cpu",
            f"/t/gridbrush-{os.getuid()}-77/worker-cpu-VERSION.sock",
        ),
        ("job", {}, "cpu", f"/tmp/gridbrush-{os.getuid()}-none/worker-cpu-VERSION.sock"),
    ],
)
def test_each_device_has_a_socket(
    configured: str, environment: dict[str, str], device: str, expected: str
) -> None:
    found = str(socket_path(configured, environment, device))
    assert found == expected.replace("VERSION", protocol.VERSION)


def test_devices_with_long_names_have_short_sockets() -> None:
    names = {
        socket_path("/d/w", {"CUDA_VISIBLE_DEVICES": f"GPU-{at:036}/.."}, "cuda") for at in (1, 2)
    }
    assert len(names) == 2
    assert all(path.parent == Path("/d") and len(path.name) < 30 for path in names)


@pytest.mark.parametrize(
    "lay",
    [
        lambda at: at.mkdir(mode=0o755),
        lambda at: at.mkdir(mode=0o710),
        lambda at: at.symlink_to("/tmp"),
        lambda at: at.write_text("in the way"),
    ],
)
def test_a_folder_that_others_may_use_is_refused(
    tmp_path: Path, lay: Callable[[Path], object]
) -> None:
    lay(tmp_path / "w")
    with pytest.raises(UsageError, match="folder"):
        prepare_folder(tmp_path / "w")


def test_a_long_path_is_no_obstacle(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 90) / ("e" * 90)
    prepare_folder(folder)
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        with short_path(folder / "w.sock") as name:
            listener.bind(name)
        listener.listen()
        with short_path(folder / "w.sock") as name:
            client.connect(name)
    with pytest.raises(UsageError, match="too long"), short_path(tmp_path / ("f" * 200)):
        pass


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_halves_are_the_same_pictures(count: int) -> None:
    whole = batch(*map(str, range(count)), first=5)
    parts = split(whole)
    assert len(parts) == min(2, count)
    assert [image.tobytes() for part in parts for image in draw(part)] == [
        image.tobytes() for image in draw(whole)
    ]
    assert tuple(prompt for part in parts for prompt in part.prompts) == whole.prompts


# A worker in this process, whose engine the test holds.


class HeldEngine(FailingEngine):
    """Generate one step for each permission that the test gives."""

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(spec)
        self.permitted = threading.Semaphore(0)
        self.steps: list[str] = []
        self.stepped = threading.Semaphore(0)

    def generate(self, batch: Batch, step: Callable[[], None]) -> tuple[Image.Image, ...]:
        for _ in range(batch.steps):
            assert self.permitted.acquire(timeout=60)
            step()
            self.steps.append(batch.prompts[0])
            self.stepped.release()
        return draw(batch)


class Site:
    """A worker on a socket in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Clock()
        self.engine = HeldEngine(SPEC)
        self.cache = ModelCache(lambda _: self.engine, lambda _: 0, self.clock)
        self.server = WorkerServer(self.cache, self.clock, lambda _: 1 << 30, folder / "until")
        self.lines: list[str] = []

    @property
    def path(self) -> Path:
        return self.folder / "w.sock"

    def client(self) -> WorkerEngine:
        # A program that fails: this worker is not to be started anew.
        program = (sys.executable, "-c", "raise SystemExit(3)")
        worker = Worker(self.path, WorkerConfig(idle_seconds=60), {}, program=program)
        return WorkerEngine(SPEC, worker, self.lines.append)

    def generate(self, *prompts: str) -> asyncio.Task[tuple[Image.Image, ...]]:
        made = self.client()
        return asyncio.create_task(asyncio.to_thread(made.generate, batch(*prompts), lambda: None))

    async def status(self) -> dict[str, Any]:
        reader, writer = await asyncio.open_unix_connection(self.path)
        writer.write(protocol.encode({"kind": "status"}))
        header = await reader.readexactly(protocol.HEADER.size)
        text, _ = protocol.decode_header(header)
        message, _ = protocol.decode(await reader.readexactly(text), b"")
        writer.close()
        return message

    async def until(self, holds: Callable[[dict[str, Any]], bool]) -> None:
        """Wait until the status is so; each question lets the worker run."""
        async with asyncio.timeout(60):
            while not holds(await self.status()):
                pass


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    made = Site(tmp_path / "w")
    prepare_folder(made.folder)
    (made.folder / "until").touch()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(made.path))
    running = asyncio.create_task(made.server.run(listener))
    await asyncio.sleep(0)
    yield made
    made.server.stop()
    made.engine.permitted.release(1000)
    await running


async def test_rows_of_two_clients_run_one_after_the_other(site: Site) -> None:
    first = site.generate("first", "x")
    await site.until(lambda status: status["rows"] == 1)
    second = site.generate("second")
    await site.until(lambda status: status["waiting"] == 2)
    site.engine.permitted.release(8)
    pictures = await first, await second
    assert site.engine.steps == ["first"] * 4 + ["second"] * 4
    assert [len(each) for each in pictures] == [2, 1]
    assert pictures[0][1].tobytes() == draw(batch("a", "b"))[1].tobytes()
    found = await site.status()
    assert (found["loads"], found["models"], found["pid"]) == (1, ["/models/m"], os.getpid())


async def test_a_row_whose_process_is_gone_ends_at_the_next_step(site: Site) -> None:
    def request() -> socket.socket:
        link = socket.socket(socket.AF_UNIX)
        link.connect(str(site.path))
        values, blobs = protocol.encode_batch(batch("gone"))
        settings = {"spec": SPEC.to_dict(), "memory_mb": 0, "idle_seconds": 60}
        link.sendall(protocol.encode({"kind": "generate", "batch": values, **settings}, blobs))
        return link

    running, waiting = await asyncio.to_thread(request), await asyncio.to_thread(request)
    await site.until(lambda status: status["waiting"] == 2 and status["rows"] == 1)
    site.engine.permitted.release()
    assert await asyncio.to_thread(site.engine.stepped.acquire, timeout=60)
    waiting.close()
    running.close()
    await site.until(lambda status: status["waiting"] == 2)
    await asyncio.sleep(0)
    site.engine.permitted.release()
    await site.until(lambda status: status["waiting"] == 0)
    assert len(site.engine.steps) <= 2
    # The worker goes on.
    site.engine.permitted.release(4)
    assert len(await site.generate("next")) == 1
    assert (await site.status())["rows"] == 2  # the one that waited never began


@pytest.mark.parametrize("name", HOSTILE)
async def test_what_is_no_request_ends_its_connection_alone(site: Site, name: str) -> None:
    reader, writer = await asyncio.open_unix_connection(site.path)
    writer.write(HOSTILE[name])
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    site.engine.permitted.release(4)
    assert len(await site.generate("next")) == 1


async def test_an_idle_worker_unloads_its_models_and_then_ends(site: Site) -> None:
    site.engine.permitted.release(4)
    await site.generate("once")
    await site.until(lambda status: status["waiting"] == 0)
    site.clock.now = 59
    await site.server.tick()
    assert len(site.cache) == 1
    site.clock.now = 60
    await site.server.tick()
    assert len(site.cache) == 0
    assert (await site.status())["loads"] == 1
    site.clock.now = 121
    async with asyncio.timeout(60):
        # The connection that asked for the status ends a moment later.
        while not site.server._stop.is_set():
            await site.server.tick()


@pytest.mark.parametrize("sign", ["the storage is gone", "there is a result"])
async def test_a_worker_of_a_job_ends_with_the_job(site: Site, sign: str) -> None:
    await site.server.tick()
    assert not site.server._stop.is_set()
    if sign == "there is a result":
        (site.folder / "result").write_text("0")
    else:
        (site.folder / "until").unlink()
    await site.server.tick()
    assert site.server._stop.is_set()


async def test_a_worker_that_cannot_be_started_is_named(site: Site, tmp_path: Path) -> None:
    engine = site.client()
    engine._worker = replace(engine._worker, path=tmp_path / "w" / "other.sock")
    with pytest.raises(UsageError, match=r"cannot be started \(exit status 3\); see .*log"):
        await asyncio.to_thread(engine.generate, batch(), lambda: None)
