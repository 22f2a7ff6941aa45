"""Runs ``publisher.py`` as a workflow's step does: as text in an environment variable."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PUBLISHER = Path(__file__).parents[1] / "workflow_templates" / "publisher.py"
KEY = bytes(range(32))


@dataclass(frozen=True, slots=True)
class Said:
    """What the program left: its status, its lines, and its standard error."""

    code: int
    lines: tuple[bytes, ...]
    errors: str


def publisher(
    *words: str, data: bytes = b"", memory: int | None = None, **variables: str | None
) -> Said:
    """Run one verb with ``data`` as its input; a variable that is None is not set.

    ``memory`` limits the program's address space, in MiB.
    """
    limit = f"ulimit -v {memory * 1024}; " if memory else ""
    text = PUBLISHER.read_text(encoding="utf-8")
    given = {"PATH": os.environ["PATH"], "MAC_KEY": KEY.hex(), "PUBLISHER": text, **variables}
    done = subprocess.run(
        ["/bin/sh", "-c", limit + '"$0" -c "$PUBLISHER" "$@"', sys.executable, *words],
        env={name: value for name, value in given.items() if value is not None},
        input=data,
        capture_output=True,
        timeout=60,
        check=False,
    )
    lines = tuple(done.stdout.split(b"\n")[:-1])
    assert not done.stdout or done.stdout.endswith(b"\n")
    return Said(done.returncode, lines, done.stderr.decode())
