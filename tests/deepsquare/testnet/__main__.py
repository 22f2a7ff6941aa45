"""Brings a test grid up for a person: prints the bot's environment, or runs a command in it.

    python -m tests.deepsquare.testnet [--speed N] [--tail SECONDS] [COMMAND ...]

Without a command it stays up until it is interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shlex
import signal
import sys
import tempfile
from pathlib import Path

from tests.deepsquare.testnet.anvil import AnvilMissing
from tests.deepsquare.testnet.site import Setup, TestGrid


def main(arguments: list[str]) -> int:
    """Parse the command line and serve; the exit status is the command's."""
    parser = argparse.ArgumentParser(prog="scripts/play-deepsquare", description=__doc__)
    parser.add_argument("--speed", type=float, default=1.0, help="minutes of a job per minute")
    parser.add_argument("--tail", type=float, default=15.0, help="seconds from script to end")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="run this, then stop")
    chosen = parser.parse_args(arguments)
    command = chosen.command[1:] if chosen.command[:1] == ["--"] else chosen.command
    setup = Setup(speed=chosen.speed, tail_seconds=chosen.tail)
    try:
        return asyncio.run(_serve(setup, command))
    except (AnvilMissing, FileNotFoundError) as missing:
        print(missing, file=sys.stderr)
        return 1


async def _serve(setup: Setup, command: list[str]) -> int:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    # A terminal sends its Ctrl-C to the command, too, which may take its time to end.
    loop.add_signal_handler(signal.SIGINT, (lambda: None) if command else stopped.set)
    with tempfile.TemporaryDirectory(prefix="deepsquare-") as folder:
        async with await TestGrid.start(Path(folder), setup) as grid:
            # This chain ends with us: what a bot remembers of it must not mix with anything else.
            own = f"data/deepsquare-{grid.customer.address[2:10].lower()}"
            environment = {"GRIDBRUSH_DATA__DIR": own, **grid.environment()}
            if command:
                return await _run(command, {**os.environ, **environment}, stopped)
            print("# A DeepSquare of your own, with 100,000 credits. Ctrl-C ends it.")
            for name, value in environment.items():
                print(f"export {name}={shlex.quote(value)}")
            sys.stdout.flush()
            await stopped.wait()
    return 0


async def _run(command: list[str], environment: dict[str, str], stopped: asyncio.Event) -> int:
    process = await asyncio.create_subprocess_exec(*command, env=environment)
    ended = asyncio.create_task(process.wait())
    stopping = asyncio.create_task(stopped.wait())
    await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not ended.done():
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
    return await ended


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
