"""The data folder that a killed bot of release 0.1 left behind, unpacked where it was made.

Its path is fixed: the log of each job announces files under that path, signed with the job's key,
and the scripts name the interpreter and the programs below it. So one test run at a time may have
it; ``tests/data/release_0_1/make.py`` tells how it was made. Beside it lies what its Discord held.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import shutil
import sqlite3
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from bot.playground.state.models import Attachment, Channel, Interaction, Message, ThreadState
from bot.playground.state.world import World
from tests.playground.clock import Clock

ROOT = Path("/tmp/gridbrush-0.1")
ARCHIVE = Path(__file__).parent / "data" / "release_0_1" / "left_behind.tar.xz"
CHECKOUT = Path(__file__).parents[1]

# What a backup or an update must not change; jobs and deliveries go on, so rows of theirs do.
KEPT_TABLES = (
    "ledger",
    "guild_settings",
    "quota_rules",
    "word_rules",
    "blocks",
    "audit",
    "schema_version",
)


@contextlib.contextmanager
def holding_root() -> Iterator[None]:
    """Wait for the fixed path and keep it, and leave nothing there.

    Raises OSError where it is somebody else's.
    """
    lock = os.open(f"{ROOT}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ROOT.mkdir(mode=0o700, exist_ok=True)
        if ROOT.is_symlink() or ROOT.stat().st_uid != os.getuid():
            raise PermissionError(f"{ROOT} belongs to somebody else")
        yield
        shutil.rmtree(ROOT)
    finally:
        os.close(lock)


class LeftBehind:
    """A fresh copy of it: the operator's file, the data folder, Discord, other backends' files."""

    def __init__(self) -> None:
        for found in ROOT.iterdir():
            shutil.rmtree(found) if found.is_dir() else found.unlink()
        with tarfile.open(ARCHIVE) as archive:
            archive.extractall(ROOT, filter="data")
        for path in ROOT.rglob("*"):
            os.utime(path)  # what ended a week ago would be forgotten
        self._put_program_in_place()

    @property
    def config(self) -> Path:
        """The operator's file."""
        return ROOT / "config.toml"

    @property
    def database(self) -> Path:
        """The database; its write-ahead log lies beside it."""
        return ROOT / "data" / "gridbrush.sqlite3"

    @property
    def samples(self) -> Path:
        """Files of the backends that need more than this machine."""
        return ROOT / "samples"

    @cached_property
    def discord(self) -> Mapping[str, Any]:
        """What the release's playground held when the bot had been killed."""
        text = (ROOT / "discord" / "world.json").read_text(encoding="utf-8")
        found: dict[str, Any] = json.loads(text)
        return found

    @property
    def left_at(self) -> datetime:
        """When the bot was gone and its job had ended."""
        return datetime.fromisoformat(self.discord["left_at"])

    def folder(self, job_id: str) -> Path:
        """The folder of a job of the local backend."""
        return ROOT / "data" / "local" / "jobs" / job_id

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        """All rows of a table of the database as it is now."""
        return self._read(f"SELECT * FROM {table}")

    def job_id(self, prompt: str, number: int = 0) -> str:
        """The first job with that prompt, or a later one."""
        sql = "SELECT id FROM jobs WHERE json_extract(request, '$.prompt') = ? ORDER BY id"
        return str(self._read(sql, prompt)[number][0])

    def _read(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Read a copy: whoever opens a killed bot's database tidies its write-ahead log away."""
        with tempfile.TemporaryDirectory() as folder:
            for path in self.database.parent.glob(f"{self.database.name}*"):
                shutil.copy(path, folder)
            copy = Path(folder) / self.database.name
            with contextlib.closing(sqlite3.connect(copy)) as connection:
                return [tuple(row) for row in connection.execute(sql, values)]

    def world(self, clock: Clock) -> World:
        """The same Discord: people, places and messages with the ids they had."""
        left = self.discord
        clock.moment = datetime.fromisoformat(left["furnished_at"])
        world = World(now=clock)
        assert (world.guild_id, world.application_id) == (left["guild_id"], left["application_id"])
        assert {user.name: user.id for user in world.users.values()} == left["users"]
        channels = {place.name: place.id for place in world.channels.values()}
        # A later playground has more of them.
        assert left["channels"].items() <= channels.items()
        world.commands.replace(world.guild_id, left["commands"])
        for plain in left["threads"]:
            state = plain["thread"]
            state = state | {"created_at": datetime.fromisoformat(state["created_at"])}
            thread = Channel(**plain | {"thread": ThreadState(**state)})
            world.channels[thread.id] = thread
        for plain in left["interactions"]:
            at = datetime.fromisoformat(plain["created_at"])
            user = world.users[plain["user"]]
            world.interactions.add(Interaction(**plain | {"created_at": at, "user": user}))
        for plain in left["messages"]:
            message = _message(world, plain)
            world.messages[message.id] = message
        clock.moment = self.left_at
        return world

    def _put_program_in_place(self) -> None:
        """This checkout where the release's was, as after ``git pull``."""
        program = ROOT / "program"
        for path in CHECKOUT.iterdir():
            if not path.name.startswith("."):
                program.mkdir(exist_ok=True)
                (program / path.name).symlink_to(path)
        interpreter = program / ".venv" / "bin" / "python"
        interpreter.parent.mkdir(parents=True)
        interpreter.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
        interpreter.chmod(0o700)


def _message(world: World, plain: Mapping[str, Any]) -> Message:
    edited_at = plain["edited_at"]
    changed = {
        "author": world.users[plain["author"]],
        "timestamp": datetime.fromisoformat(plain["timestamp"]),
        "edited_at": datetime.fromisoformat(edited_at) if edited_at else None,
        "attachments": [
            Attachment(**one, content=(ROOT / "discord" / str(one["id"])).read_bytes())
            for one in plain["attachments"]
        ],
        "interaction": world.interactions.find(plain["interaction"])
        if plain["interaction"]
        else None,
    }
    return Message(**{**plain, **changed})
