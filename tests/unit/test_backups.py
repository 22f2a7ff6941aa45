"""Backups: made by hand and on schedule, put in place, and what is refused on the way."""

from __future__ import annotations

import asyncio
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from bot.backups import ScheduledBackups, list_backups, make_backup
from bot.bootstrap import DATABASE, open_database
from bot.domain.errors import ConfigError
from bot.restore import restoring, starting_afresh
from bot.settings import Settings
from bot.store import jobs, migrations
from bot.store.database import Database
from bot.store.jobs import JobRepository
from bot.store.lock import FolderInUse, bot_lock, database_lock, holder
from bot.store.serialization import dump_job, dump_request
from tests.cli.terminal import CommandLine
from tests.playground.clock import Clock
from tests.unit.store.builders import KEY, a_job, fixed_now

AT = datetime(2026, 11, 23, 13, tzinfo=UTC)


def settings(folder: Path) -> Settings:
    return Settings.model_validate({"data": {"dir": folder}})


async def fill(folder: Path, *job_ids: str) -> None:
    async with open_database(folder, now=fixed_now) as database:
        for job_id in job_ids:
            job = a_job(job_id)
            await database.write(partial(jobs.insert, job=job, interaction=None, mac_key=KEY))


async def ids(path: Path) -> list[str]:
    async with await Database.open(path, now=fixed_now) as database:
        return [job.id for job in await JobRepository(database).prefix("")]


def carry_out(folder: Path, source: Path) -> tuple[list[str], tuple[Path, ...]]:
    with restoring(settings(folder), source) as ready:
        return list(ready.report), ready.carry_out(AT)


async def test_a_backup_made_while_the_bot_writes_is_one_private_sound_file(tmp_path: Path) -> None:
    await fill(tmp_path, "joba")
    async with open_database(tmp_path, now=fixed_now) as database:
        job = a_job("jobb")
        await database.write(partial(jobs.insert, job=job, interaction=None, mac_key=KEY))
        with bot_lock(tmp_path, "gridbrush run", AT):
            made, summary = make_backup(tmp_path, None, AT)
    assert made.path == tmp_path / "backups" / "gridbrush-20261123T130000000000Z.sqlite3"
    assert [path.name for path in made.path.parent.iterdir()] == [made.path.name]
    assert made.path.stat().st_mode & 0o777 == 0o600
    assert made.path.parent.stat().st_mode & 0o777 == 0o700
    assert made.size == made.path.stat().st_size
    assert (summary.jobs, summary.unfinished) == (2, 2)
    assert await ids(made.path) == ["joba", "jobb"]


async def test_a_backup_overwrites_nothing_and_takes_a_folder(tmp_path: Path) -> None:
    await fill(tmp_path, "joba")
    made, _ = make_backup(tmp_path, tmp_path, AT)
    assert made.path.parent == tmp_path
    with pytest.raises(ConfigError, match="backup cannot be written"):
        make_backup(tmp_path, made.path, AT)
    with pytest.raises(ConfigError, match="backup cannot be written"):
        make_backup(tmp_path, tmp_path / "nowhere" / "backup.sqlite3", AT)


@pytest.mark.parametrize("content", [None, b""], ids=["missing", "empty"])
def test_without_a_database_there_is_nothing_to_back_up(
    tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / DATABASE).write_bytes(content)
    with pytest.raises(ConfigError, match="no database to back up"):
        make_backup(tmp_path, None, AT)


async def test_a_damaged_database_makes_no_backup(tmp_path: Path) -> None:
    await fill(tmp_path, *(f"job{number:03}" for number in range(40)))
    path = tmp_path / DATABASE
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 9000] = b"\xff" * 9000
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"(?s)damaged.*gridbrush restore"):
        make_backup(tmp_path, None, AT)
    assert list((tmp_path / "backups").iterdir()) == []


async def test_a_restore_sets_the_database_and_its_log_aside(tmp_path: Path) -> None:
    await fill(tmp_path, "joba")
    made, _ = make_backup(tmp_path, None, AT)
    await fill(tmp_path, "jobb")
    # As after kill -9: what was committed last is in the log alone.
    stopped = tmp_path / "stopped"
    stopped.mkdir()
    async with open_database(tmp_path, now=fixed_now) as database:
        job = a_job("jobc")
        await database.write(partial(jobs.insert, job=job, interaction=None, mac_key=KEY))
        for name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}.id"):
            shutil.copy(tmp_path / name, stopped / name)
    report, aside = carry_out(stopped, made.path)
    assert "Newer than the backup: 2 requests (jobb, jobc)." in report
    names = [path.name for path in aside]
    assert names[:2] == [
        "gridbrush-replaced-20261123T130000000000Z.sqlite3",
        "gridbrush-replaced-20261123T130000000000Z.sqlite3-wal",
    ]
    assert await ids(stopped / DATABASE) == ["joba"]
    assert await ids(aside[0]) == ["joba", "jobb", "jobc"]
    assert not list(stopped.glob("*restoring*"))


def other_program(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as link:
        link.execute("CREATE TABLE bookmarks (url)")


def other_id(path: Path) -> None:
    with closing(sqlite3.connect(path)) as link:
        link.execute("PRAGMA application_id = 12345")


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as link:
        link.execute("INSERT INTO schema_version VALUES (999, '0999_x.sql', 'then')")


def torn(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.unlink(), "no such file"),
        (lambda path: path.write_bytes(b""), "it is empty"),
        (lambda path: path.write_text("Dear diary, " * 400), "not a SQLite database"),
        (other_program, "another program"),
        (other_id, "another program"),
        (newer, r"version 999.*Install the newer"),
        (torn, "damaged|malformed"),
    ],
)
async def test_a_backup_of_no_use_is_refused_and_nothing_changes(
    tmp_path: Path, spoil: Callable[[Path], object], words: str
) -> None:
    await fill(tmp_path, "joba")
    source = tmp_path / "backup.sqlite3"
    make_backup(tmp_path, source, AT)
    spoil(source)
    before = (tmp_path / DATABASE).read_bytes()
    with pytest.raises(ConfigError, match=words):
        carry_out(tmp_path, source)
    assert (tmp_path / DATABASE).read_bytes() == before
    assert not list(tmp_path.glob("*re[ps]*"))


TIME = "2026-01-01T00:00:00.000000+00:00"
OLD_JOB = """
    INSERT INTO jobs (
        id, author_id, guild_id, channel_id, state, images, steps, pixels, created_at, updated_at,
        request, snapshot, mac_key
    ) VALUES (?, 7, 1, 2, ?, 1, 1, 1, ?, ?, ?, ?, ?)
"""


async def test_an_older_backup_is_brought_up_to_date(tmp_path: Path) -> None:
    source = tmp_path / "old.sqlite3"
    steps = migrations.load_migrations()[:1]
    async with await Database.open(source, now=fixed_now, migrations=steps) as database:
        # The columns of that time; today's code writes more.
        job = a_job("joba")
        row = (job.id, job.state, TIME, TIME, dump_request(job.request), dump_job(job), KEY)
        await database.write(lambda link: link.execute(OLD_JOB, row).rowcount)
    with closing(sqlite3.connect(source)) as link:
        # As before these numbers were written into files.
        link.execute("PRAGMA application_id = 0")
        link.execute("PRAGMA user_version = 0")
    data = tmp_path / "data"
    data.mkdir()
    carry_out(data, source)
    assert await ids(data / DATABASE) == ["joba"]


async def test_a_new_machine_takes_up_a_backup(tmp_path: Path) -> None:
    await fill(tmp_path / "old", "joba")
    made, _ = make_backup(tmp_path / "old", None, AT)
    report, aside = carry_out(tmp_path / "new" / "data", made.path)
    assert "The current database cannot be read, or there is none." in report
    assert aside == ()
    assert await ids(tmp_path / "new" / "data" / DATABASE) == ["joba"]


async def test_the_database_itself_is_no_backup(tmp_path: Path) -> None:
    await fill(tmp_path, "joba")
    with pytest.raises(ConfigError, match="the database itself"):
        carry_out(tmp_path, tmp_path / DATABASE)


async def test_a_restore_waits_for_nobody_and_locks_everybody_out(tmp_path: Path) -> None:
    await fill(tmp_path, "joba")
    made, _ = make_backup(tmp_path, None, AT)
    with (
        bot_lock(tmp_path, "gridbrush run", AT),
        pytest.raises(ConfigError, match="a bot already uses"),
    ):
        carry_out(tmp_path, made.path)
    async with open_database(tmp_path, now=fixed_now):
        with pytest.raises(ConfigError, match="another gridbrush command"):
            carry_out(tmp_path, made.path)
    with restoring(settings(tmp_path), made.path):
        with pytest.raises(FolderInUse, match="gridbrush restore"):
            async with open_database(tmp_path, now=fixed_now):
                pass
        with pytest.raises(FolderInUse), bot_lock(tmp_path, "gridbrush run", AT):
            pass
    assert await ids(tmp_path / DATABASE) == ["joba"]


def test_a_lock_says_who_holds_it_and_many_may_share_the_database(tmp_path: Path) -> None:
    with bot_lock(tmp_path, "gridbrush run", AT), database_lock(tmp_path), database_lock(tmp_path):
        found = holder(tmp_path)
        assert found is not None
        assert str(found).endswith("since 2026-11-23T13:00:00+00:00")
    (tmp_path / "bot.lock").write_text("rubbish")
    assert holder(tmp_path) is None


LOST = {
    "pictures": "jobs/abc/grid.png",
    "local jobs": "local/jobs/abc/log",
    "backups": "backups/gridbrush-1.sqlite3",
    "paid jobs": "deepsquare/0xabc-1/jobs/abc.json",
    "write-ahead log": f"{DATABASE}-wal",
}


@pytest.mark.parametrize("evidence", LOST.values(), ids=LOST)
@pytest.mark.parametrize("content", [None, b""], ids=["missing", "empty"])
async def test_a_lost_database_is_no_fresh_start(
    tmp_path: Path, evidence: str, content: bytes | None
) -> None:
    (tmp_path / evidence).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / evidence).write_bytes(b"something")
    if content is not None:
        (tmp_path / DATABASE).write_bytes(content)
    with pytest.raises(ConfigError, match=r"restore.*--empty.*neither deletes"):
        async with open_database(tmp_path, now=fixed_now):
            pass
    with starting_afresh(settings(tmp_path)) as ready:
        ready.carry_out(AT)
    assert (tmp_path / evidence).exists() or list(tmp_path.glob("*replaced*-wal"))
    async with open_database(tmp_path, now=fixed_now) as database:
        assert await JobRepository(database).unfinished() == ()


@pytest.mark.parametrize("made", ["by backup", "by copying"])
@pytest.mark.parametrize("put", ["over the old one", "in its place"])
async def test_a_log_of_another_file_is_not_applied(tmp_path: Path, made: str, put: str) -> None:
    """A log is left by kill -9; then another file is put in place by hand."""
    await fill(tmp_path, "joba")
    path, copy = tmp_path / DATABASE, tmp_path / "copy"
    if made == "by backup":
        make_backup(tmp_path, copy, AT)
    else:
        other = tmp_path / "other"
        await fill(other, "jobx")
        shutil.copy(other / DATABASE, copy)
    async with open_database(tmp_path, now=fixed_now) as database:
        job = a_job("jobb")
        await database.write(partial(jobs.insert, job=job, interaction=None, mac_key=KEY))
        shutil.copy(path.with_name(f"{DATABASE}-wal"), tmp_path / "left")
    (tmp_path / "left").rename(path.with_name(f"{DATABASE}-wal"))
    if put == "over the old one":
        path.write_bytes(copy.read_bytes())
    else:
        copy.replace(path)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"put in place by hand.*gridbrush restore"):
        async with open_database(tmp_path, now=fixed_now):
            pass
    assert path.read_bytes() == before
    path.with_name(f"{DATABASE}-wal").unlink()
    assert await ids(path) == (["joba"] if made == "by backup" else ["jobx"])


async def test_the_log_of_the_same_file_is_applied(tmp_path: Path) -> None:
    await fill(tmp_path, "joba")
    async with open_database(tmp_path, now=fixed_now) as database:
        job = a_job("jobb")
        await database.write(partial(jobs.insert, job=job, interaction=None, mac_key=KEY))
        left = tmp_path / "left"
        left.mkdir()
        for name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}.id"):
            shutil.copy(tmp_path / name, left / name)
    assert await ids(left / DATABASE) == ["joba", "jobb"]


class Night:
    """A clock and a sleep that moves it; ends the loop after so many sleeps."""

    def __init__(self, sleeps: int) -> None:
        self.clock = Clock()
        self.slept: list[float] = []
        self._left = sleeps
        self.during: dict[int, Callable[[], object]] = {}

    async def sleep(self, seconds: float) -> None:
        if len(self.slept) == self._left:
            raise asyncio.CancelledError
        self.during.get(len(self.slept), lambda: None)()
        self.slept.append(seconds)
        self.clock.pass_time(seconds=seconds)


async def run(folder: Path, night: Night, every: str = "6h", keep: int = 2) -> list[object]:
    told: list[object] = []
    hours = timedelta(hours=int(every.rstrip("h")))
    scheduled = ScheduledBackups(
        folder,
        every=hours,
        keep=keep,
        now=night.clock,
        on_made=told.append,
        on_failed=lambda: told.append("failed"),
        sleep=night.sleep,
    )
    with pytest.raises(asyncio.CancelledError):
        await scheduled.run()
    return told


def scheduled_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("backups/scheduled-*"))


async def test_backups_are_made_on_schedule_and_the_oldest_removed(tmp_path: Path) -> None:
    await fill(tmp_path, "joba")
    make_backup(tmp_path, None, AT)
    night = Night(sleeps=4)
    told = await run(tmp_path, night)
    assert night.slept == [6 * 3600.0] * 4
    assert len(told) == 5
    assert [name[10:25] for name in scheduled_in(tmp_path)] == [
        "20261124T060000",
        "20261124T120000",
    ]
    # What was made by hand is still there.
    assert len(list_backups(tmp_path)) == 3


async def test_a_restart_makes_no_backup_before_it_is_due(tmp_path: Path) -> None:
    await fill(tmp_path, "joba")
    await run(tmp_path, Night(sleeps=0))
    night = Night(sleeps=0)
    night.clock.pass_time(hours=2)
    assert await run(tmp_path, night) == [Clock()()]
    assert len(scheduled_in(tmp_path)) == 1


async def test_a_backup_that_fails_is_tried_again_and_removes_nothing(tmp_path: Path) -> None:
    await fill(tmp_path, "joba")
    path, hidden = tmp_path / DATABASE, tmp_path / "hidden"
    night = Night(sleeps=4)
    night.during = {1: lambda: path.rename(hidden), 3: lambda: hidden.rename(path)}
    told = await run(tmp_path, night, keep=1)
    assert night.slept == [6 * 3600.0, 6 * 3600.0, 600.0, 600.0]
    assert [one if isinstance(one, str) else "made" for one in told] == [
        *("made", "made", "failed", "failed", "made"),
    ]
    assert len(scheduled_in(tmp_path)) == 1


async def test_switched_off_there_are_none(tmp_path: Path) -> None:
    await fill(tmp_path, "joba")
    await ScheduledBackups(tmp_path, every=None, keep=1, now=Clock()).run()
    assert scheduled_in(tmp_path) == []


@pytest.mark.parametrize(
    ("written", "every"),
    [("", None), ("0", None), ("6h", timedelta(hours=6)), ("7d", timedelta(days=7))],
)
def test_how_often_is_a_length_of_time_or_never(written: str, every: timedelta | None) -> None:
    loaded = Settings.load(None, {"GRIDBRUSH_DATA__BACKUP_EVERY": written})
    assert loaded.data.backup_every == every


def test_the_command_line_backs_up_lists_and_restores(command_line: CommandLine) -> None:
    assert command_line.scripted("imagine", "a fox").exit_code == 0
    made = command_line.type("backup")
    assert made.exit_code == 0
    path = made.stdout.splitlines()[0]
    assert re.search(r"[\d,]+ bytes, 1 requests, checked", made.stdout)
    assert f"gridbrush restore {path}" in made.stdout
    assert command_line.scripted("imagine", "an owl").exit_code == 0
    listed = command_line.type("restore")
    assert path in listed.stdout
    tried = command_line.type("restore", path, "--dry-run")
    assert tried.exit_code == 0
    assert "Newer than the backup: 1 request" in tried.stdout
    assert "Nothing was changed." in tried.stdout
    asked = command_line.type("restore", path)
    assert asked.exit_code == 2
    assert "--yes" in asked.stderr
    # The name alone is enough, for what lies in the folder of backups.
    done = command_line.type("restore", Path(path).name, "--yes")
    assert done.exit_code == 0
    assert "is in place." in done.stdout
    assert "gridbrush-replaced-" in done.stdout
    assert len(command_line.type("jobs", "--json").stdout.splitlines()) == 1
    assert command_line.type("restore", "--empty", "--yes").exit_code == 0
    assert command_line.type("jobs", "--json").stdout.splitlines() == []


def test_the_command_line_without_backups_says_so(command_line: CommandLine) -> None:
    assert "gridbrush backup makes one" in command_line.type("restore").stdout
    assert command_line.type("backup").exit_code == 2
    assert not command_line.data.exists()


@pytest.fixture
def command_line(tmp_path: Path) -> CommandLine:
    return CommandLine.lay(tmp_path / "command_line")
