"""Run one graph on the best of several servers, exactly once where that can be known.

The least busy server takes a job. What a socket says is for progress alone; ``/history`` is the
truth. A job has an id of its own that is asked for in ``/queue`` and ``/history`` before it is sent
again: after a lost answer, after a restart of this process (which finds its job by the same id),
and after a restart of the server, which forgets everything.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from bot.txt2img.engines.comfyui.client import File, Rejected, Server, ServerError, Unreachable
from bot.txt2img.engines.comfyui.errors import (
    allowed_values,
    explain_failure,
    explain_rejection,
)
from bot.txt2img.engines.comfyui.graphs import Graph
from bot.txt2img.plan import UsageError

T = TypeVar("T")

_MAX_SENT = 3
"""How often a job is sent in all, if servers forget it."""

_MAX_ATTEMPTS = 20
"""How many earlier attempts of a restarted process are looked for."""

_ENDS = ("execution_success", "execution_error", "execution_interrupted")


@dataclass(frozen=True, slots=True)
class Timing:
    """Durations in seconds.

    ``answer`` limits one answer; ``poll`` is how often history is asked while the socket works;
    pauses between attempts double from ``pause`` to ``max_pause``. ``patience`` is how long the
    only server may be unreachable, for instance while it restarts, ``first_patience`` how long if
    it never answered, ``patience_elsewhere`` how long a server beside others. ``withdrawal`` is how
    long stopping a job may take: what ends this process gives it 4 seconds.
    """

    answer: float = 30.0
    poll: float = 2.0
    pause: float = 0.25
    max_pause: float = 5.0
    patience: float = 120.0
    first_patience: float = 30.0
    patience_elsewhere: float = 15.0
    withdrawal: float = 1.5


@dataclass(frozen=True, slots=True)
class Job:
    """A graph to run. ``prompt_id`` gives the id of an attempt, counted from 0.

    ``fill`` returns the graph with its values for a server and an id, and stores there what the
    graph reads. ``progress`` gets the part that is done, 0 to 1, and the samplers' steps in all.
    """

    graph: Graph
    prompt_id: Callable[[int], str]
    fill: Callable[[Server, str], Awaitable[Mapping[str, Any]]]
    progress: Callable[[float, int], None]


class _Forgotten(Exception):
    """The server is reachable and does not have the job."""


@dataclass
class Servers:
    """The servers of one run. ``row`` decides which of equally busy ones comes first.

    ``say`` gets what the operator should read in the log. A server that fails is left out.
    """

    servers: Sequence[Server]
    row: int = 0
    timing: Timing = Timing()
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    say: Callable[[str], None] = lambda _text: None
    _left_out: dict[str, ServerError] = field(default_factory=dict, init=False)

    async def run(self, job: Job) -> list[bytes]:
        """Return the files of the job's pictures. Raises UsageError.

        If this task is cancelled, the job is withdrawn first.
        """
        server, prompt_id = await self._find_earlier(job)
        known, sent = server is not None, 0
        while True:
            server = server or await self._least_busy()
            try:
                return await _Run(self, server, job, prompt_id).complete(known)
            except _Forgotten:
                sent += 1
                if sent == _MAX_SENT:
                    raise UsageError(
                        f"{server.name} lost the job {sent} times: it restarts, or its queue is "
                        "cleared while jobs wait."
                    ) from None
                self.say(f"{server.name} no longer has the job: it is sent again.")
            except ServerError as error:
                self._leave_out(server, error)
            server, known = None, False

    async def ask_any(self, ask: Callable[[Server], Awaitable[T]]) -> T:
        """Return the answer of the first server that gives one. Raises ServerError."""
        while True:
            server = self._remaining()[0]
            try:
                return await self.patiently(server, partial(ask, server))
            except ServerError as error:
                self._leave_out(server, error)

    async def patiently(self, server: Server, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask again while the server is unreachable, as long as the patience with it lasts."""
        loop = asyncio.get_running_loop()
        start, pause = loop.time(), self.timing.pause
        while True:
            try:
                return await ask()
            except Unreachable:
                if loop.time() + pause > start + self._patience(server):
                    raise
            await self.sleep(pause)
            pause = min(pause * 2, self.timing.max_pause)

    def _patience(self, server: Server) -> float:
        if len(self._remaining()) > 1:
            return self.timing.patience_elsewhere
        return self.timing.patience if server.has_answered else self.timing.first_patience

    async def _find_earlier(self, job: Job) -> tuple[Server | None, str]:
        """Return where an earlier process of this row left the job, and the id to use."""
        for attempt in range(_MAX_ATTEMPTS):
            prompt_id = job.prompt_id(attempt)
            servers = self._remaining()
            found = await asyncio.gather(*(_look(server, job, prompt_id) for server in servers))
            for server, state in zip(servers, found, strict=True):
                if state == "alive":
                    return server, prompt_id
            if not any(found):
                break
        return None, prompt_id

    async def _least_busy(self) -> Server:
        """Return the server with the fewest jobs. Raises ServerError if none is left."""
        remaining = self._remaining()
        if len(remaining) == 1:
            return remaining[0]
        # The rows of one job start at the same moment: each begins with another server.
        turn = self.row % len(remaining)
        remaining = [*remaining[turn:], *remaining[:turn]]
        answers = await asyncio.gather(*(_count_jobs(server) for server in remaining))
        jobs = {}
        for server, answer in zip(remaining, answers, strict=True):
            if isinstance(answer, ServerError):
                self._leave_out(server, answer)
            else:
                jobs[server] = answer
        return min(jobs, key=jobs.__getitem__)

    def _remaining(self) -> list[Server]:
        return [server for server in self.servers if server.name not in self._left_out]

    def _leave_out(self, server: Server, error: ServerError) -> None:
        """Use the server no more in this run. Raises ServerError if it was the last one."""
        self._left_out[server.name] = error
        if self._remaining():
            self.say(f"{error} The row goes to another server.")
        elif len(self._left_out) == 1:
            raise error
        else:
            causes = " ".join(dict.fromkeys(map(str, self._left_out.values())))
            raise ServerError(f"None of the ComfyUI servers can generate this: {causes}") from error


class _Run:
    """One attempt to run a job on one server."""

    def __init__(self, servers: Servers, server: Server, job: Job, prompt_id: str) -> None:
        self._servers = servers
        self._server = server
        self._job = job
        self._client_id = self._prompt_id = prompt_id
        self._connected = asyncio.Event()
        self._changed = asyncio.Event()
        self._done: dict[str, tuple[int, int]] = {}
        self._was_sent = False

    async def complete(self, known: bool) -> list[bytes]:
        """Send the job unless the server has it, wait for its end, return the files.

        Raises ServerError, _Forgotten, UsageError.
        """
        timing = self._servers.timing
        listener = asyncio.create_task(self._listen())
        try:
            # The first messages may come at once. Without a socket there is no progress, only.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timing.poll):
                    await self._connected.wait()
            if known:
                self._changed.set()  # it may be over
            else:
                await self._send()
            entry = await self._end()
        except asyncio.CancelledError:
            # A restarting server is not waited for: it forgets the job anyway.
            with contextlib.suppress(ServerError, TimeoutError):
                async with asyncio.timeout(timing.withdrawal):
                    await self._server.withdraw(self._prompt_id)
            raise
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)
        if error := explain_failure(self._server.name, self._job.graph, entry):
            raise error
        return [
            await self._ask(partial(self._server.view, file))
            for file in _pictures(entry, self._job.graph.output)
        ]

    async def _ask(self, ask: Callable[[], Awaitable[T]]) -> T:
        return await self._servers.patiently(self._server, ask)

    async def _send(self) -> None:
        graph = await self._ask(partial(self._job.fill, self._server, self._prompt_id))
        sending = asyncio.create_task(self._ask(partial(self._send_once, graph)))
        try:
            await asyncio.shield(sending)
        except Rejected as error:
            raise await explain_rejection(
                self._server.name, self._job.graph, error.errors, self._options
            ) from None
        except asyncio.CancelledError:
            # What is on its way arrives: only then it can be withdrawn.
            await asyncio.wait([sending], timeout=self._servers.timing.withdrawal)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            raise

    async def _send_once(self, graph: Mapping[str, Any]) -> None:
        # A lost answer says nothing about the request.
        if self._was_sent and await _state(self._server, self._job, self._prompt_id):
            return
        self._was_sent = True
        self._prompt_id = await self._server.submit(graph, self._client_id)

    async def _end(self) -> Mapping[str, Any]:
        """Return the history entry when there is one. Raises _Forgotten."""
        server, prompt_id = self._server, self._prompt_id
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._servers.timing.poll):
                    await self._changed.wait()
            self._changed.clear()
            # History twice: the job may end between the first question and that for the queue.
            entry = await self._ask(partial(server.history, prompt_id))
            if entry is None and not await self._ask(partial(server.place, prompt_id)):
                entry = await self._ask(partial(server.history, prompt_id))
                if entry is None:
                    raise _Forgotten
            if entry is not None:
                return entry

    async def _listen(self) -> None:
        """Follow the socket and connect it again; the job goes on without it."""
        timing = self._servers.timing
        pause = timing.pause
        while True:
            with contextlib.suppress(Unreachable):
                async with self._server.socket(self._client_id) as messages:
                    pause = timing.pause
                    self._connected.set()
                    async for message in messages:
                        self._read(str(message.get("type")), message["data"])
            # Messages may be lost, the last one among them.
            self._connected.set()
            self._changed.set()
            await self._servers.sleep(pause)
            pause = min(pause * 2, timing.max_pause)

    def _read(self, kind: str, data: Mapping[str, Any]) -> None:
        if data.get("prompt_id") != self._prompt_id:
            return
        if kind in _ENDS or (kind == "executing" and data.get("node") is None):
            self._changed.set()
        elif kind == "progress":
            self._count(data.get("node"), data)
        elif kind == "progress_state" and isinstance(data.get("nodes"), Mapping):
            for node, state in data["nodes"].items():
                self._count(node, state)

    def _count(self, node: object, state: object) -> None:
        samplers = self._job.graph.samplers
        if not isinstance(state, Mapping) or (samplers and node not in samplers):
            return
        value, most = state.get("value"), state.get("max")
        if not isinstance(value, int | float) or not isinstance(most, int | float) or most < 1:
            return
        self._done[str(node)] = int(value), int(most)
        parts = sum(min(value / most, 1.0) for value, most in self._done.values())
        steps = sum(most for _, most in self._done.values())
        self._job.progress(parts / (len(samplers) or len(self._done)), steps)

    async def _options(self, node_class: str, name: str) -> tuple[str, ...]:
        """Return what a node class allows for an input."""
        with contextlib.suppress(ServerError):
            info = await self._server.object_info(node_class)
            for kind in info.get(node_class, {}).get("input", {}).values():
                if isinstance(kind, Mapping) and name in kind:
                    return allowed_values(kind[name]) or ()
        return ()


async def _state(server: Server, job: Job, prompt_id: str) -> str:
    """Return ``alive`` or ``failed``, or nothing if the server does not have the job."""
    if await server.place(prompt_id):
        return "alive"
    if (entry := await server.history(prompt_id)) is None:
        return ""
    return "failed" if explain_failure(server.name, job.graph, entry) else "alive"


async def _look(server: Server, job: Job, prompt_id: str) -> str:
    try:
        return await _state(server, job, prompt_id)
    except ServerError:
        return ""  # what is wrong with it shows when it is chosen


async def _count_jobs(server: Server) -> int | ServerError:
    try:
        running, pending = await server.queue()
    except ServerError as error:
        return error
    return len(running) + len(pending)


def _pictures(entry: Mapping[str, Any], node: str) -> list[File]:
    """Return the pictures of a node, as history lists them."""
    outputs = entry.get("outputs")
    of_node = outputs.get(node) if isinstance(outputs, Mapping) else None
    images = of_node.get("images") if isinstance(of_node, Mapping) else None
    return [
        File(str(image["filename"]), str(image.get("subfolder", "")), str(image.get("type", "")))
        for image in (images if isinstance(images, list) else [])
        if isinstance(image, Mapping) and "filename" in image
    ]
