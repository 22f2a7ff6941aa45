"""Jobs for the tests of Slurm itself: bash commands for the rows, in the stock template's shape."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bot.backends.base import Submission
from bot.domain.workflow.document import Step
from tests.backends.jobs import submission

MARK = """
publisher() { python -c "$PUBLISHER" "$@"; }
publisher mark row-start "row=$index" "seed=$((SEED_BASE + index - 1))"
"""

PUBLISH = (
    MARK
    + """
printf 'row %s\\n' "$index" > "$STORAGE_PATH/row-$index"
publisher publish row-done "$STORAGE_PATH/row-$index" "row-0$index.png" "row=$index" \\
  "seed=$((SEED_BASE + index - 1))"
"""
)


def job(job_id: str, upload_url: str, command: str, *, rows: int = 4) -> Submission:
    """Rows that run ``command`` side by side, and nothing else."""
    stock = submission(job_id, upload_url, rows=rows)
    loop = stock.workflow.steps[0].loop
    assert loop is not None
    run = loop.steps[0].run
    assert run is not None
    painting = replace(loop, steps=(Step(run=replace(run, command=command)),))
    steps = (Step(name="rows", loop=painting),)
    return Submission(job_id, replace(stock.workflow, steps=steps))


def wait_for(path: Path) -> str:
    """A command that goes on when ``path`` is there."""
    return f"until [ -e '{path}' ]; do sleep 0.05; done"


async def until(true: Callable[[], bool], *, within: float = 30.0) -> None:
    """Wait for something outside of this process; fails if it does not come."""
    give_up = time.monotonic() + within
    while not true():
        assert time.monotonic() < give_up, "it did not come to pass"
        await asyncio.sleep(0.05)
