"""Generate a batch in the resident worker, which is started if none runs.

If the worker dies or runs out of memory, the batch is sent once more in two halves to a new one,
and the log says so; a second failure is that of the row. The pictures are the same: each has its
own noise. A run that ends early closes its connection, which cancels its batch.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from bot.txt2img.config import WorkerConfig
from bot.txt2img.engines.base import Batch, Report, StepProgress
from bot.txt2img.engines.spec import EngineSpec
from bot.txt2img.engines.worker import protocol
from bot.txt2img.engines.worker.place import prepare_folder, short_path
from bot.txt2img.plan import UsageError

PROGRAM = (sys.executable, "-m", "bot.txt2img.engines.worker")
START_SECONDS = 60.0
_POLL_SECONDS = 0.02
_RESTARTS = 8
"""How often a row may meet a worker that ends before the row's turn."""
_MAX_LOG_BYTES = 1 << 20
# The worker outlives this process; an object that is freed while its process runs would warn.
_started: list[subprocess.Popen[bytes]] = []
# The worker outlives the row: it must not know the job's prompt and keys.
_INHERITED = re.compile(
    r"PATH|PYTHON\w*|VIRTUAL_ENV|HOME|LANG|LC_\w+|TMPDIR|TZ|USER|LOGNAME|LD_LIBRARY_PATH"
    r"|(?:CUDA|NVIDIA|HF|HIP|ROCR|OMP|MKL|PYTORCH)_\w+|HUGGING_?FACE_HUB_TOKEN"
)


class WorkerLost(Exception):
    """The worker died or failed while it ran the batch; the text says how."""


class _NotStarted(Exception):
    """The worker ended before the batch's turn came."""


@dataclass(frozen=True, slots=True)
class Worker:
    """Where the worker is and how it is started.

    ``until``: see ``python -m bot.txt2img.engines.worker``. ``environment`` is the run's; what does
    not concern the worker is left out.
    """

    path: Path
    config: WorkerConfig
    environment: Mapping[str, str]
    until: str = ""
    program: Sequence[str] = PROGRAM

    def connect(self) -> socket.socket:
        """Return a connection; starts the worker if there is none. Raises UsageError."""
        prepare_folder(self.path.parent)
        with contextlib.suppress(OSError):
            return self._connect()
        # Several rows begin together: one starts the worker, the others wait for that.
        with _open_private(self.path.with_name(f"{self.path.name}.start")) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with contextlib.suppress(OSError):
                return self._connect()
            return self._start()

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with short_path(self.path) as name:
                connection.connect(name)
        except BaseException:
            connection.close()
            raise
        return connection

    def _start(self) -> socket.socket:
        deadline = time.monotonic() + START_SECONDS
        process = self._spawn()
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                return self._connect()
            if process.poll() == 0:
                process = self._spawn()  # one that was about to end still held the socket
            elif process.poll() is not None:
                raise UsageError(
                    f"the worker that holds the models cannot be started ({_tell_exit(process)}); "
                    f"see {self._log}."
                )
            time.sleep(_POLL_SECONDS)
        process.kill()
        raise UsageError(f"the worker that holds the models does not answer; see {self._log}.")

    @property
    def _log(self) -> Path:
        return self.path.with_name(f"{self.path.name}.log")

    def _spawn(self) -> subprocess.Popen[bytes]:
        """Start the process in a session of its own: a signal to the job does not reach it."""
        environment = {
            name: value for name, value in self.environment.items() if _INHERITED.fullmatch(name)
        }
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        with contextlib.suppress(OSError):
            if self._log.stat().st_size > _MAX_LOG_BYTES:
                flags |= os.O_TRUNC
        descriptor = os.open(self._log, flags, 0o600)
        try:
            # Descriptors are closed: the job's lock and its task slot must end with the row.
            process = subprocess.Popen(
                [*self.program, str(self.path), *([self.until] if self.until else [])],
                cwd="/",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                start_new_session=True,
            )
        finally:
            os.close(descriptor)
        _started.append(process)
        return process


class WorkerEngine:
    """Run ``spec`` in the worker. ``say`` writes a line to the run's log."""

    def __init__(self, spec: EngineSpec, worker: Worker, say: Callable[[str], None]) -> None:
        self._spec = spec
        self._worker = worker
        self._say = say
        self._report: Report | None = None

    @property
    def notice(self) -> str:
        """Return the log line that names the model."""
        return f"Generating with {self._spec.model.location or self._spec.engine}"

    @property
    def report(self) -> Report:
        """Return the report of the last batch."""
        assert self._report is not None, "generate was called"
        return self._report

    def generate(self, batch: Batch, step: Callable[[], None]) -> tuple[Image.Image, ...]:
        """Return the batch's pictures. Raises UsageError."""
        progress = StepProgress(batch.steps, step)
        try:
            pictures = self._send(batch, _count_part(progress, batch.steps, 0, 1))
        except WorkerLost as error:
            parts = split(batch)
            how = "in two halves" if len(parts) > 1 else "once more"
            self._say(f"{error} A new worker generates this batch {how}.")
            pictures = ()
            for number, part in enumerate(parts):
                try:
                    pictures += self._send(
                        part, _count_part(progress, batch.steps, number, len(parts))
                    )
                except WorkerLost as second:
                    raise UsageError(f"{second} That was the second attempt.") from second
        progress.show(1.0)
        return pictures

    def _send(self, batch: Batch, step: Callable[[], None]) -> tuple[Image.Image, ...]:
        for _ in range(_RESTARTS):
            with contextlib.suppress(_NotStarted), self._worker.connect() as connection:
                return self._exchange(connection, batch, step)
        raise UsageError(f"the worker that holds the models ends again and again; {self._see_log}")

    def _exchange(
        self, connection: socket.socket, batch: Batch, step: Callable[[], None]
    ) -> tuple[Image.Image, ...]:
        values, blobs = protocol.encode_batch(batch)
        request = {
            "kind": protocol.GENERATE,
            "spec": self._spec.to_dict(),
            "batch": values,
            "memory_mb": self._worker.config.memory_mb,
            "idle_seconds": self._worker.config.idle_seconds,
        }
        started = False
        try:
            connection.sendall(protocol.encode(request, blobs))
            for message, data in read_messages(connection):
                match message.get("kind"):
                    case protocol.STARTED:
                        started = True
                    case protocol.STEP:
                        step()
                    case protocol.PICTURES:
                        self._report = Report(**message["report"])
                        return tuple(protocol.decode_image(blob) for blob in data)
                    case protocol.FAILED:
                        self._raise_failure(message)
        except protocol.ProtocolError as error:
            raise WorkerLost(
                f"The worker that holds the models sent no message: {error}."
            ) from error
        except OSError:
            pass  # as when the connection ends
        if not started:
            raise _NotStarted
        raise WorkerLost(f"The worker that holds the models died; {self._see_log}")

    def _raise_failure(self, message: Mapping[str, Any]) -> None:
        text = str(message.get("text", ""))
        if message.get("reason") == protocol.USAGE:
            raise UsageError(text)
        if message.get("reason") == protocol.MEMORY:
            raise WorkerLost(text)
        raise WorkerLost(f"The model failed: {text.rstrip('.')}.")

    @property
    def _see_log(self) -> str:
        return f"see {self._worker.path}.log."


def read_messages(
    connection: socket.socket,
) -> Iterator[tuple[dict[str, Any], tuple[bytes, ...]]]:
    """Yield messages until the connection ends. Raises ProtocolError, OSError."""
    with connection.makefile("rb") as stream:
        while len(header := stream.read(protocol.HEADER.size)) == protocol.HEADER.size:
            text, data = protocol.decode_header(header)
            body = stream.read(text + data)
            if len(body) < text + data:
                return
            yield protocol.decode(body[:text], body[text:])


def _count_part(progress: StepProgress, steps: int, number: int, parts: int) -> Callable[[], None]:
    """Return the function that counts the ``steps`` of one of ``parts`` successive parts."""
    done = number * steps

    def step() -> None:
        nonlocal done
        done += 1
        progress.show(done / (parts * steps))

    return step


def split(batch: Batch) -> tuple[Batch, ...]:
    """Return the batch in two halves that give the same pictures; one picture cannot be split."""
    half = len(batch.prompts) // 2
    if not half:
        return (batch,)
    rest = replace(batch, prompts=batch.prompts[half:], first=batch.first + half)
    return replace(batch, prompts=batch.prompts[:half]), rest


def _open_private(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb")


def _tell_exit(process: subprocess.Popen[bytes]) -> str:
    code = process.returncode
    return signal.Signals(-code).name if code < 0 else f"exit status {code}"
