"""The real bot as a process of its own on a loopback Discord, for tests that stop or kill it."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from bot.playground.server import Playground
from bot.playground.state.models import Message

ROOT = Path(__file__).parents[1]

SMALL = {
    "GRIDBRUSH_IMAGINE__WIDTH": "64",
    "GRIDBRUSH_IMAGINE__HEIGHT": "64",
    "GRIDBRUSH_IMAGINE__ROWS": "2",
    "GRIDBRUSH_IMAGINE__SAMPLES": "2",
    "GRIDBRUSH_IMAGINE__STEPS": "4",
}
"""Pictures that take no time."""


def environment(
    playground: Playground, folder: Path, settings: Mapping[str, str]
) -> dict[str, str]:
    """Everything that such a process sees; its data lie in ``folder/data``."""
    return {
        "PATH": f"{counting_bash(folder)}:{os.environ['PATH']}",
        "HOME": str(folder),
        "DISCORD_TOKEN": playground.token,
        "DISCORD_API_BASE": playground.api_base,
        "DISCORD_GATEWAY_URL": playground.gateway_url,
        "GRIDBRUSH_DISCORD__GUILDS": json.dumps([playground.world.guild_id]),
        "GRIDBRUSH_DATA__DIR": str(folder / "data"),
        "GRIDBRUSH_METRICS__LISTEN": "",
        **SMALL,
        **settings,
    }


def counting_bash(folder: Path) -> Path:
    """A folder for PATH with a bash that writes down which job's script it begins.

    A job's own log goes with its work folder, as soon as its result is posted.
    """
    program = folder / "bin" / "bash"
    if not program.exists():
        program.parent.mkdir(exist_ok=True)
        program.write_text(
            "#!/bin/sh\n"
            f'[ "$1" = script.sh ] && echo "${{PWD##*/}}" >> {shlex.quote(str(_begun(folder)))}\n'
            f'exec {shlex.quote(shutil.which("bash") or "bash")} "$@"\n'
        )
        program.chmod(0o700)
    return program.parent


def starts(folder: Path) -> Counter[str]:
    """How often the script of each job began at the local backend."""
    return Counter(_begun(folder).read_text().split() if _begun(folder).exists() else ())


def _begun(folder: Path) -> Path:
    return folder / "begun"


@asynccontextmanager
async def bot_process(
    playground: Playground,
    folder: Path,
    settings: Mapping[str, str],
    program: tuple[str, ...] = ("-m", "bot", "run"),
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A bot, connected; killed at the end if it still lives. It writes ``folder/bot.log``."""
    with log_of(folder).open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *program),
            cwd=ROOT,
            env=environment(playground, folder, settings),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        await playground.online(within=30)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        # Its connection outlives it by an instant; the next bot's is not to be taken for it.
        await playground.until(lambda _: not playground.gateway.online)


def log_of(folder: Path) -> Path:
    """What all bots in this folder have printed."""
    return folder / "bot.log"


def grids(playground: Playground) -> list[Message]:
    """Every message in #imagine that is a result: it shows a grid."""
    return [
        message
        for message in playground.world.messages_in("imagine")
        if any(file.filename.startswith("gridbrush-") for file in message.attachments)
    ]
