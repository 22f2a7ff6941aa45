"""Serve rows with resident models: one at a time, in the order of their arrival.

Connections are handled by an event loop; loading and generating happen in one thread, so neither
needs a lock. After a crash or exhausted memory the worker answers and ends: the next row starts a
fresh one, and rows that wait go there.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from bot.txt2img.engines.base import Batch, OutOfMemory
from bot.txt2img.engines.spec import EngineSpec
from bot.txt2img.engines.worker import protocol
from bot.txt2img.engines.worker.model_cache import ModelCache
from bot.txt2img.plan import UsageError

_DEFAULT_IDLE_SECONDS = 600.0
_MAX_TICK_SECONDS = 30.0
_EXIT_FACTOR = 2
"""The process itself ends after so many times the idle time without a row."""

_SEND_SECONDS = 5.0
"""How long a row waits until its client has been told that it starts."""


class _RowCancelled(BaseException):
    """The row's process is gone. Not an Exception: no library may catch it."""


@dataclass(slots=True)
class _Row:
    spec: EngineSpec
    batch: Batch
    budget: int
    send: Callable[[str], object]
    """Sends a message of that kind without data, from any thread."""
    cancelled: threading.Event = field(default_factory=threading.Event)


_Answer = tuple[dict[str, Any], tuple[bytes, ...]]


class WorkerServer:
    """One worker. ``clock`` is in seconds; ``device_bytes`` gives a device's memory.

    It ends when it is idle for long, after a failure, or, with ``until``, when the job with that
    ``STORAGE_PATH`` has ended.
    """

    def __init__(
        self,
        cache: ModelCache,
        clock: Callable[[], float],
        device_bytes: Callable[[str], int],
        until: Path | None = None,
    ) -> None:
        self._cache = cache
        self._clock = clock
        self._device_bytes = device_bytes
        self._until = until
        self._idle_seconds = _DEFAULT_IDLE_SECONDS
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="generate")
        self._clients: set[asyncio.Task[None]] = set()
        self._used_at = clock()
        self._rows = 0
        self._waiting = 0
        self._stopped = False
        self._stop = asyncio.Event()

    async def run(self, listener: socket.socket) -> None:
        """Serve until the end. ``listener`` is a bound Unix socket, which is closed."""
        server = await asyncio.start_unix_server(self._accept, sock=listener)
        ticks = asyncio.create_task(self._tick_regularly())
        try:
            await self._stop.wait()
        finally:
            ticks.cancel()
            server.close()
            for task in self._clients:
                task.cancel()
            await asyncio.gather(*self._clients, ticks, return_exceptions=True)
            self._thread.shutdown(wait=False, cancel_futures=True)

    def stop(self) -> None:
        """End the worker: rows are cut off at their next step, and their runs notice."""
        self._stopped = True
        self._stop.set()

    async def tick(self) -> None:
        """Unload idle models, and end the worker when nothing needs it any more."""
        await self._in_thread(self._cache.unload_idle, self._idle_seconds)
        if self._clients:
            return
        idle = self._clock() - self._used_at >= self._idle_seconds * _EXIT_FACTOR
        if (idle and not len(self._cache)) or (self._until and is_over(self._until)):
            self.stop()

    async def _tick_regularly(self) -> None:
        while True:
            seconds = 2.0 if self._until else _MAX_TICK_SECONDS
            await asyncio.sleep(min(seconds, max(0.05, self._idle_seconds / 4)))
            await self.tick()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a connection is handled by a task"
        self._clients.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, EOFError, protocol.ProtocolError) as error:
            _log(f"A connection was lost: {error}")
        except asyncio.CancelledError:
            pass  # the worker ends
        finally:
            self._clients.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        message, blobs = await read_message(reader)
        if message.get("kind") == protocol.STATUS:
            writer.write(protocol.encode(self._status()))
            await writer.drain()
            return
        row = self._parse(message, blobs, writer)
        watcher = asyncio.create_task(_watch(reader, row))
        self._waiting += 1
        try:
            answer = await self._in_thread(self._generate, row)
        finally:
            self._waiting -= 1
            row.cancelled.set()
            watcher.cancel()
        self._used_at = self._clock()
        if answer is not None:
            writer.write(protocol.encode(*answer))
            await writer.drain()
            if answer[0].get("reason") in (protocol.MEMORY, protocol.CRASH):
                self.stop()

    def _parse(
        self, message: dict[str, Any], blobs: tuple[bytes, ...], writer: asyncio.StreamWriter
    ) -> _Row:
        loop = asyncio.get_running_loop()

        def send(kind: str) -> None:
            written = threading.Event()

            def write() -> None:
                writer.write(protocol.encode({"kind": kind}))
                written.set()

            loop.call_soon_threadsafe(write)
            if kind == protocol.STARTED:
                # A model may end the process: then the client has to know that the row had begun.
                written.wait(_SEND_SECONDS)

        try:
            spec = EngineSpec.from_dict(message["spec"])
            batch = protocol.decode_batch(message["batch"], blobs)
            # The settings may have changed since the worker was started.
            self._idle_seconds = float(message["idle_seconds"])
            budget = int(message["memory_mb"]) << 20 or self._device_bytes(spec.device)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise protocol.ProtocolError(f"a request is damaged ({error!r})") from error
        return _Row(spec, batch, budget, send)

    def _generate(self, row: _Row) -> _Answer | None:
        """Return the last message; None if nobody waits for it or another worker shall do it."""
        if self._stopped or row.cancelled.is_set():
            return None
        row.send(protocol.STARTED)
        self._rows += 1
        try:
            return self._run(row)
        except _RowCancelled:
            return None
        except OutOfMemory as error:
            self._stopped = True
            return _failed(protocol.MEMORY, str(error))
        except UsageError as error:
            return _failed(protocol.USAGE, str(error))
        except MemoryError:
            self._stopped = True
            return _failed(protocol.MEMORY, "The memory of this machine is exhausted.")
        except Exception as error:  # whatever the libraries raise; a GPU may be unusable now
            self._stopped = True
            _log("".join(traceback.format_tb(error.__traceback__)) + type(error).__name__)
            text = (" ".join(str(error).split()) or type(error).__name__)[:300]
            return _failed(protocol.CRASH, text)

    def _run(self, row: _Row) -> _Answer | None:
        engine = self._cache.get(row.spec, row.budget)

        def step() -> None:
            if row.cancelled.is_set() or self._stopped:
                raise _RowCancelled
            row.send(protocol.STEP)

        if row.cancelled.is_set():
            return None
        try:
            pictures = engine.generate(row.batch, step)
        finally:
            self._cache.touch(row.spec)
        report = engine.report
        values = {name: getattr(report, name) for name in REPORT_FIELDS}
        blobs = tuple(protocol.encode_image(picture) for picture in pictures)
        return {"kind": protocol.PICTURES, "report": values}, blobs

    def _status(self) -> dict[str, Any]:
        return {
            "kind": protocol.STATUS,
            "pid": os.getpid(),
            "models": list(self._cache.names),
            "loads": self._cache.loads,
            "rows": self._rows,
            "waiting": self._waiting,
            "resident_bytes": resident_bytes(),
        }

    async def _in_thread(self, function: Callable[..., Any], *arguments: object) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, partial(function, *arguments))


REPORT_FIELDS = ("engine", "model", "steps", "guidance", "negative", "sampler", "sha256")


async def read_message(reader: asyncio.StreamReader) -> _Answer:
    """Return the next message and its data. Raises EOFError, ProtocolError."""
    header = await reader.readexactly(protocol.HEADER.size)
    text, data = protocol.decode_header(header)
    return protocol.decode(await reader.readexactly(text), await reader.readexactly(data))


async def _watch(reader: asyncio.StreamReader, row: _Row) -> None:
    """Cancel the row when its process has gone; it sends nothing after the request."""
    try:
        await reader.read(1)
    except OSError:
        pass
    row.cancelled.set()


def _failed(reason: str, text: str) -> _Answer:
    return {"kind": protocol.FAILED, "reason": reason, "text": text}, ()


def is_over(storage: Path) -> bool:
    """Return whether the job with that ``STORAGE_PATH`` has ended; its result lies beside it."""
    return not storage.exists() or (storage.parent / "result").exists()


def resident_bytes() -> int:
    """Return the resident memory of this process; 0 where there is no ``/proc``."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
