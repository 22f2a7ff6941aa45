"""Make ``left_behind.tar.xz``: what a bot of release 0.1 left behind when it was killed.

This program is kept to show how the archive came about; no test runs it. It runs code of release
0.1 only (commit f7a3a00), so its imports are the names of that release. They must never follow a
renaming, and they stand inside functions. For the same reason mypy leaves this folder out.

    git clone REPOSITORY /tmp/gridbrush-0.1/program
    cd /tmp/gridbrush-0.1/program && git checkout f7a3a00 && make lint
    .venv/bin/python REPOSITORY/tests/data/release_0_1/make.py

The paths are fixed, because they are signed: a job's log announces its files with their absolute
addresses under the job's own key, and its script names the interpreter and the programs. A test
that wrote other paths into them would test its own signatures instead of those of the release.

The archive holds ``config.toml``, the ``data`` folder as ``kill -9`` left it (the write-ahead log
included), ``discord`` (the playground's threads, messages, files and interactions), and ``samples``
(what the two other backends keep in files). Everything in ``data`` was made by the release's whole
bot, but for what the release could read and had no command for: a server's setting, a rule on
words and a block, which its own store has written.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tarfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path("/tmp/gridbrush-0.1")
PROGRAM = ROOT / "program"
DATA = ROOT / "data"
ARCHIVE = Path(__file__).with_name("left_behind.tar.xz")
EDIT_OF_ANSWER = r"/webhooks/.*/messages/@original$"

CONFIG = """\
# As an operator wrote it for release 0.1. The token comes from the environment.
[discord]
guilds = [{guild}]
moderator_role = {role}

[data]
dir = "data"

[imagine]
rows = 2
samples = 2
width = 64
height = 64
steps = 4
styles.ink = "ink drawing, fine line work, cross-hatching, black and white"

[queue]
running = 1
running_per_user = 1
waiting_per_user = 3
when_paused = "accept"

[quota]
images = 120
window = "24h"

[delivery]
rows = "attachments"

[backend]
kind = "local"

[backend.local]
tasks = 1
engine = "sketch"
step_seconds = 0.0

[metrics]
listen = ""

[log]
format = "json"
"""


class Clock:
    """Stands still while the world is furnished, so that its ids can be made again."""

    def __init__(self) -> None:
        self.furnished_at = datetime.now(UTC).replace(microsecond=0)
        self.stands = True

    def __call__(self) -> datetime:
        return self.furnished_at if self.stands else datetime.now(UTC)


def wait_for(what: Callable[[], Any], within: float = 60.0) -> Any:
    """Return the first truthy value; the bot is another process, so it is asked again and again."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.02)
    raise TimeoutError(what)


def row(sql: str, *values: object) -> tuple[Any, ...] | None:
    """Return one row of the bot's database."""
    with contextlib.closing(
        sqlite3.connect(f"file:{DATA}/gridbrush.sqlite3?mode=ro", uri=True)
    ) as db:
        found = db.execute(sql, values).fetchone()
    return tuple(found) if found else None


async def until(sql: str, *values: object) -> tuple[Any, ...]:
    """Wait in a thread until the database has such a row."""
    return await asyncio.to_thread(wait_for, lambda: row(sql, *values))


async def ended(asked: Any, state: str) -> str:
    """Wait until the job of a command is in a state; its id."""
    (job_id,) = await until(
        "SELECT id FROM jobs WHERE interaction_id = ? AND state = ?", asked.id, state
    )
    return str(job_id)


async def rows_posted(job_id: str) -> None:
    """Wait until a job's rows are posted in full size."""
    await until("SELECT 1 FROM deliveries WHERE job_id = ? AND rung = 'rows' AND delivered", job_id)


@contextlib.asynccontextmanager
async def bot(playground: Any, **more: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the release's bot as a process of its own, with the operator's file."""
    environ = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(ROOT),
        "DISCORD_TOKEN": playground.token,
        "DISCORD_API_BASE": playground.api_base,
        "DISCORD_GATEWAY_URL": playground.gateway_url,
        **more,
    }
    interpreter = str(PROGRAM / ".venv/bin/python")
    command = (interpreter, "-m", "bot", "--config", str(ROOT / "config.toml"), "run")
    with (ROOT / "bot.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=PROGRAM, env=environ, stdout=log, stderr=log
        )
    try:
        await playground.online(within=60)
        yield process
        await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    await playground.until(lambda _: not playground.gateway.online, within=60)


async def finished_jobs(playground: Any) -> None:
    """A morning at the server: jobs that ended in every way, and what moderators set."""
    world = playground.world
    ada, ben, mo = (playground.as_member(name) for name in ("Ada", "Ben", "Mo"))
    async with bot(playground) as process:
        for command, options in (
            ("quota-admin set", {"member": ada.user, "images": 60, "window": "12h", "waiting": 4}),
            ("quota-admin set", {"images": 90, "window": "24h"}),
            ("quota-admin grant", {"member": ben.user, "images": 8, "reason": "a fine print"}),
        ):
            await (await mo.slash("random", command, **options)).answered()

        # The card becomes the result; its rows follow in a thread.
        asked = await ada.slash("imagine", "imagine", prompt="a lighthouse in the fog", seed=7)
        await rows_posted(await ended(asked, "finished"))

        # One picture alone has buttons instead of menus; what is made larger has an origin.
        single = await mo.slash(
            "imagine", "imagine", prompt="a red apple", seed=6, rows=1, samples=1
        )
        await ended(single, "finished")
        message = await playground.until(
            lambda _: single.response if single.response.attachments else None
        )
        await ended(await mo.press(message, "Upscale"), "finished")

        # The token is not taken: a message of the bot's own in the channel.
        world.faults.answer("PATCH", EDIT_OF_ANSWER, 401, code=50027, times=1000)
        asked = await ben.slash("imagine", "imagine", prompt="a castle on a hill", seed=8)
        await rows_posted(await ended(asked, "finished"))

        # Neither the channel nor a direct message: kept for the history.
        world.deny("gallery", "SEND_MESSAGES")
        world.user("Ada").takes_dms = False
        asked = await ada.slash("gallery", "imagine", prompt="a boat at night", seed=9)
        await ended(asked, "finished")
        world.restore("gallery")
        world.user("Ada").takes_dms = True
        world.faults.clear()

        # The program that paints is gone for a moment: the job fails.
        program = DATA / "local/bin/txt2img.py"
        program.rename(program.with_suffix(".away"))
        asked = await ben.slash("imagine", "imagine", prompt="a broken mirror")
        await ended(asked, "failed")
        program.with_suffix(".away").rename(program)
        process.send_signal(signal.SIGTERM)


async def interrupted_jobs(playground: Any) -> None:
    """One job runs, one is cancelled, two wait: then the bot is killed; the job goes on."""
    ada, ben, mo = (playground.as_member(name) for name in ("Ada", "Ben", "Mo"))
    async with bot(playground, GRIDBRUSH_BACKEND__LOCAL__STEP_SECONDS="1.5") as process:
        running = await mo.slash("imagine", "imagine", prompt="a train in the rain", seed=10)
        await running.answered()
        await ended(running, "running")
        asked = await ben.slash("imagine", "imagine", prompt="a mistake")
        card = await asked.answered()
        await (await ben.press(card, "Cancel")).acked()
        await ended(asked, "cancelled")
        for member, prompt, seed in ((ada, "a wolf", 11), (ben, "a whale", 12)):
            asked = await member.slash("imagine", "imagine", prompt=prompt, seed=seed, rows=1)
            await asked.answered()
            await ended(asked, "queued")
        # Its first row is known to the bot, the second is not painted yet.
        (job_id,) = await until(
            "SELECT id FROM jobs WHERE state = 'running' AND instr(snapshot, '/published/') > 0"
        )
        process.kill()
    folder = DATA / "local/jobs" / job_id
    assert not (folder / "result").exists(), "it ended too early: give it more time"
    await asyncio.to_thread(wait_for, (folder / "result").exists)
    time.sleep(0.5)


def moderation(guild_id: int, user_id: int, channel_id: int) -> None:
    """A setting, a rule on words and a block, by the release's own store."""
    from bot.store import guilds
    from bot.store import moderation as store

    database = DATA / "gridbrush.sqlite3"
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as link:
        guilds.set_setting(link, guild_id, "greeting", {"text": "Type /imagine", "times": 3})
        store.add_word_rule(link, guild_id, "mud", channel_id=channel_id)
        until = datetime.now(UTC) + timedelta(days=365)
        store.block(link, guild_id, store.Block(user_id, until, "spam"))


def discord_of(playground: Any, clock: Clock) -> None:
    """Write down the playground's state, files beside it."""
    world = playground.world
    (commands,) = [
        call.body
        for call in playground.requests
        if call.method == "PUT" and call.path.endswith("/commands")
    ]
    folder = ROOT / "discord"
    folder.mkdir()
    messages = []
    for message in world.messages.values():
        plain = asdict(message)
        plain["author"] = message.author.id
        plain["interaction"] = message.interaction.id if message.interaction else None
        for attachment in plain["attachments"]:
            (folder / str(attachment["id"])).write_bytes(attachment.pop("content"))
        messages.append(plain)
    interactions = []
    for one in world.desk.all():
        plain = asdict(one)
        plain["user"], plain["parent"] = one.user.id, one.parent.id if one.parent else None
        interactions.append(plain)
    threads = []
    for channel in world.channels.values():
        if channel.is_thread:
            plain = asdict(channel)
            threads.append(plain)
    document = {
        "furnished_at": clock.furnished_at,
        "left_at": clock(),
        "guild_id": world.guild_id,
        "application_id": world.application_id,
        "users": {user.name: user.id for user in world.users.values()},
        "channels": {c.name: c.id for c in world.channels.values() if c.name and not c.is_thread},
        "commands": commands,
        "threads": threads,
        "messages": messages,
        "interactions": interactions,
    }
    text = json.dumps(document, default=datetime.isoformat, indent=1)
    (folder / "world.json").write_text(text, encoding="utf-8")


def samples() -> None:
    """What the backends DeepSquare and Slurm keep, by the release's own writers."""
    from bot.backends.deepsquare.journal import Journal
    from bot.backends.deepsquare.records import (
        Attempt,
        JobRecord,
        Purpose,
        Signed,
        Slot,
        Withdrawal,
    )
    from bot.backends.slurm.folder import Folder

    at = datetime(2026, 11, 23, 12, 0, 0, 250, tzinfo=UTC)
    journal = Journal(ROOT / "samples/deepsquare/179188-0xabc")
    journal.prepare(at)
    withdrawn = Attempt(
        "c0ffee", at, 500 * 10**18, 41, 1001, at, Withdrawal.NOBODY_TOOK_IT, at, 3, 0, 500 * 10**18
    )
    running = Attempt("beefed", at, 500 * 10**18, 42, 1003, at, status=2)
    journal.save_job(
        JobRecord(
            "running",
            "0x5c4ed",
            at,
            "2x2",
            {"steps": [{"run": "echo"}]},
            (withdrawn, running),
            stopped=True,
        )
    )
    paid = Attempt("f00d", at, 500 * 10**18, 40, 999, at, status=5, cost=123, refund=10**20)
    journal.save_job(JobRecord("settled", "0x5c4ed", at, "4x3", None, (paid,), 7.25))
    journal.save_job(JobRecord("intended", "0x5c4ed", at))
    first = Signed(b"\x01\xff", b"\x02" * 32, 10**9, at, at, "beefed")
    journal.save_slot(
        Slot(
            7,
            Purpose.REQUEST,
            "running",
            "0x7524",
            b"\x00\x01",
            210_000,
            (first, Signed(b"\x03", b"\x04" * 32, 2 * 10**9, at, at, "", True)),
            at,
        )
    )
    for nonce, purpose in enumerate(list(Purpose)[1:], 8):
        journal.save_slot(Slot(nonce, purpose, "", "0x7524", b"", 50_000, (first,), at))
    journal.save_note("blocks", {"seen": 1003})

    jobs = ROOT / "samples/slurm/jobs"
    jobs.mkdir(parents=True)
    script = 'echo "--- Job has started ---"; echo "--- Job has ended ---"; echo 0 > result\n'
    for name in ("intended", "submitted", "ran", "failed", "cancelled", "refused"):
        folder = Folder(jobs / name)
        folder.make()
        folder.intend(script.replace("0 >", "7 >") if name == "failed" else script, gpus=True)
        if name != "intended":
            folder.note_submitted("4711")
        if name in ("ran", "failed"):
            environ = {"PATH": os.environ["PATH"], "SLURM_JOB_ID": "4712", "SLURM_JOB_GPUS": "0"}
            with folder.log.open("ab") as log:
                subprocess.run(
                    ["bash", folder.path / "job.sh"], env=environ, stdout=log, check=True
                )
        if name == "failed":
            folder.note_over()
        if name == "cancelled":
            folder.note_cancelled()
        if name == "refused":
            folder.note_refused("No node has so many GPUs.")


async def main() -> None:
    """Make everything, and pack it."""
    from bot.playground.world import World

    from bot.playground.server import Playground

    clock = Clock()
    world = World(now=clock)
    playground = Playground(world)
    clock.stands = False
    (role,) = (role for role in world.roles.values() if role.name == "Moderators")
    text = CONFIG.format(guild=world.guild_id, role=role.id)
    (ROOT / "config.toml").write_text(text, encoding="utf-8")
    await playground.start()
    await finished_jobs(playground)
    moderation(world.guild_id, world.user("Keeper").id, world.channel("random").id)
    await interrupted_jobs(playground)
    discord_of(playground, clock)
    await playground.aclose()
    samples()
    with tarfile.open(ARCHIVE, "w:xz") as archive:
        for name in ("config.toml", "data", "discord", "samples"):
            archive.add(ROOT / name, name, filter=anonymous)


def anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """An entry that does not name the user who made it."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    assert Path.cwd() == PROGRAM, f"stand in {PROGRAM}"
    sys.path.insert(0, str(PROGRAM))
    os.umask(0o022)
    asyncio.run(main())
