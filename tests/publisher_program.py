"""Runs ``publisher.py`` as a workflow's step does: as text in an environment variable."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PUBLISHER = Path(__file__).parents[1] / "workflow_templates" / "publisher.py"
KEY = bytes(range(32))


@dataclass(frozen=True, slots=True)
class Said:
    """What the program left: its status, its lines, and its standard error."""

    code: int
    lines: tuple[bytes, ...]
    errors: str


def publisher(
    *words: str,
    data: bytes = b"",
    memory: int | None = None,
    chunk: int | None = None,
    **variables: str | None,
) -> Said:
    """Run one verb with ``data`` as its input; a variable that is None is not set.

    ``memory`` limits the program's address space, in MiB. With ``chunk`` each of its reads gives
    so many bytes: the input is a socket of packets then, not a pipe.
    """
    limit = f"ulimit -v {memory * 1024}; " if memory else ""
    text = PUBLISHER.read_text(encoding="utf-8")
    given = {"PATH": os.environ["PATH"], "MAC_KEY": KEY.hex(), "PUBLISHER": text, **variables}
    command = ["/bin/sh", "-c", limit + '"$0" -c "$PUBLISHER" "$@"', sys.executable, *words]
    environment = {name: value for name, value in given.items() if value is not None}
    with ExitStack() as stack:
        source: dict[str, Any] = {"input": data}
        if chunk is not None:
            source = {"stdin": stack.enter_context(_packets(data, chunk))}
        done = subprocess.run(
            command, env=environment, capture_output=True, timeout=60, check=False, **source
        )
    lines = tuple(done.stdout.split(b"\n")[:-1])
    assert not done.stdout or done.stdout.endswith(b"\n")
    return Said(done.returncode, lines, done.stderr.decode())


@contextmanager
def _packets(data: bytes, size: int) -> Iterator[socket.socket]:
    """Send ``data`` from a thread in packets of ``size`` bytes; yield the end that reads them."""
    writing, reading = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def send() -> None:
        with writing, suppress(BrokenPipeError):
            for start in range(0, len(data), size):
                writing.sendall(data[start : start + size])

    sender = threading.Thread(target=send)
    sender.start()
    with reading:
        yield reading
    sender.join()
