"""A store that cannot be used for a while: waited out, in order, once; or said in time."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest

from bot.domain.errors import ConfigError, StoreDamaged, StoreUnavailable
from bot.store import wait_limits
from bot.store.database import Database, Query
from bot.store.sqlite_errors import passing_cause
from bot.store.wait_limits import waits_limited
from tests.store.outages import HELD, IO, OUTAGES, FullDisk, Outage, connection_of, small_disk
from tests.unit.store.accounts import Gate, add, balance, hold_reader
from tests.unit.store.builders import fixed_now

pytestmark = pytest.mark.timing("watches another process that holds the database or is killed")

NAMES = Query("SELECT name FROM account ORDER BY rowid", (), lambda rows: [row[0] for row in rows])


class Timers:
    """Deadlines that pass when the test says so."""

    def __init__(self) -> None:
        self.set: list[tuple[asyncio.TimerHandle, Callable[[], None]]] = []

    def __call__(self, seconds: float, expire: Callable[[], None]) -> asyncio.TimerHandle:
        handle = asyncio.get_running_loop().call_later(3600, expire)
        self.set.append((handle, expire))
        return handle

    def pass_all(self) -> None:
        for handle, expire in self.set:
            if not handle.cancelled():
                handle.cancel()
                expire()
        self.set.clear()


class Place:
    """An open database with an account, timers, and what was said of its troubles."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.timers = Timers()
        self.stirred = asyncio.Event()
        self.database: Database

    def changed(self, cause: str) -> None:
        self.said.append(cause)
        self.stirred.set()

    async def says(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.said) < count:
                self.stirred.clear()
                await self.stirred.wait()


async def open_place(folder: Path) -> Place:
    place = Place()
    place.database = await Database.open(
        folder / "gridbrush.sqlite3",
        now=fixed_now,
        on_change=place.changed,
        later=place.timers,
        sleep=lambda _: asyncio.sleep(0),
    )
    await place.database.write(
        lambda link: link.execute("CREATE TABLE account (name TEXT UNIQUE, left INTEGER)")
    )
    return place


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    opened = await open_place(tmp_path)
    yield opened
    await opened.database.aclose()


@pytest.fixture(params=[*OUTAGES, FullDisk], ids=lambda kind: kind.__name__)
def outage(request: pytest.FixtureRequest) -> Outage:
    kind: type[Outage] = request.param
    return kind()


@pytest.fixture
async def away(outage: Outage, tmp_path: Path) -> AsyncIterator[Place]:
    """A place whose store has just become unavailable."""
    if isinstance(outage, FullDisk):
        with small_disk(tmp_path) as disk:
            opened = await open_place(disk)
            outage.begin(opened.database)
            yield opened
            await opened.database.aclose()
        return
    opened = await open_place(tmp_path)
    outage.begin(opened.database)
    yield opened
    await opened.database.aclose()


def begun(place: Place, name: str, max_wait_s: float | None = None) -> asyncio.Task[None]:
    """A write that has been handed in."""

    async def write() -> None:
        with waits_limited(max_wait_s):
            await place.database.write(lambda link: add(link, name))

    return asyncio.create_task(write(), name=name)


async def test_what_may_wait_is_done_once_when_it_is_over(
    away: Place, outage: Outage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    writes = [begun(away, name) for name in ("first", "second", "third")]
    await away.says(1)
    assert outage.cause in away.said[0]
    assert outage.cause in away.database.unavailable
    assert not any(write.done() for write in writes)
    outage.end(away.database)
    await asyncio.gather(*writes)
    await away.says(2)
    assert await away.database.read(NAMES) == ["first", "second", "third"]
    assert away.said[1:] == [""]
    assert away.database.unavailable == ""
    assert caplog.text.count("the store is unavailable") == 1
    assert caplog.text.count("the store is available again") == 1


async def test_what_may_not_wait_is_refused_in_time_and_never_done(
    away: Place, outage: Outage
) -> None:
    before, hurried, after = (
        begun(away, "before"),
        begun(away, "hurried", 2.0),
        begun(away, "after"),
    )
    await away.says(1)
    away.timers.pass_all()
    with pytest.raises(StoreUnavailable, match=outage.cause):
        await hurried
    outage.end(away.database)
    await asyncio.gather(before, after)
    assert await away.database.read(NAMES) == ["before", "after"]


async def test_a_cancelled_caller_waits_no_longer_and_nothing_is_done(
    away: Place, outage: Outage
) -> None:
    cancelled, kept = begun(away, "cancelled"), begun(away, "kept")
    await away.says(1)
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    outage.end(away.database)
    await kept
    assert await away.database.read(balance("cancelled")) is None


async def test_the_end_is_noticed_though_nobody_waits_any_more(away: Place, outage: Outage) -> None:
    hurried = begun(away, "hurried", 2.0)
    await away.says(1)
    away.timers.pass_all()
    with pytest.raises(StoreUnavailable):
        await hurried
    outage.end(away.database)
    await away.says(2)
    assert away.said[-1] == ""


async def test_a_trial_tells_it_and_leaves_nothing_behind(away: Place, outage: Outage) -> None:
    async def try_out() -> None:
        with waits_limited(1.0):
            await away.database.probe()

    trial = asyncio.create_task(try_out())
    await away.says(1)
    away.timers.pass_all()
    with pytest.raises(StoreUnavailable, match=outage.cause):
        await trial
    outage.end(away.database)
    await try_out()
    versions = Query("SELECT min(version) FROM schema_version", (), lambda rows: rows[0][0])
    assert await away.database.read(versions) > 0


async def test_closing_does_not_wait_for_it(away: Place, outage: Outage) -> None:
    waiting = begun(away, "waiting")
    await away.says(1)
    async with asyncio.timeout(20):
        await away.database.aclose()
    with pytest.raises(StoreUnavailable, match=outage.cause):
        await waiting
    if not isinstance(outage, FullDisk):
        # The connection is gone, and with it what was set on it.
        outage_is_its_own = outage.cause in (HELD, IO)
        if outage_is_its_own:
            outage.end(away.database)
        again = sqlite3.connect(away.database.path)
        assert again.execute("SELECT count(*) FROM account").fetchone() == (0,)
        again.close()


async def test_a_deadline_that_passes_during_the_commit_leaves_the_outcome_to_it(
    place: Place,
) -> None:
    gate = Gate()

    def slow(link: sqlite3.Connection) -> None:
        gate.wait()
        add(link, "slow")

    async def write() -> None:
        with waits_limited(2.0):
            await place.database.write(slow)

    writing = asyncio.create_task(write())
    await gate.reached()
    place.timers.pass_all()
    await asyncio.sleep(0)
    assert not writing.done()
    gate.open()
    await writing
    assert await place.database.read(balance("slow")) == 1


async def test_a_deadline_behind_a_writer_that_hangs_is_kept(place: Place) -> None:
    gate = Gate()
    stuck = asyncio.create_task(place.database.write(lambda _: gate.wait()))
    await gate.reached()
    hurried = begun(place, "hurried", 2.0)
    await asyncio.sleep(0)
    place.timers.pass_all()
    with pytest.raises(StoreUnavailable, match="does not answer"):
        await hurried
    gate.open()
    await stuck
    await place.database.write(lambda link: add(link, "later"))
    assert await place.database.read(NAMES) == ["later"]


async def test_a_deadline_of_a_read_from_a_disk_that_hangs_is_kept(place: Place) -> None:
    gate = Gate()
    stuck = hold_reader(place.database, gate)
    await gate.reached()
    with waits_limited(0.01), pytest.raises(StoreUnavailable, match="does not answer"):
        await place.database.read(NAMES)
    patient = asyncio.create_task(place.database.read(NAMES))
    gate.open()
    await stuck
    assert await patient == []
    with waits_limited(5.0):
        assert await place.database.read(NAMES) == []


async def test_all_waits_before_a_first_response_share_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert wait_limits.response_time_left() == wait_limits.RESPONSE_TIMEOUT_S
    at = [100.0]
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: at[0])
    wait_limits.limit_waits()
    left = []
    for passed in (0.0, 1.0, 1.25, 1.0, 3600.0):
        at[0] += passed
        left.append(wait_limits.response_time_left())
    monkeypatch.undo()
    assert left == [2.5, 1.5, 0.25, wait_limits.MIN_WAIT_S, wait_limits.MIN_WAIT_S]


async def test_another_program_that_is_quick_is_no_trouble(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    other = sqlite3.connect(place.database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    write = begun(place, "patient")
    await asyncio.sleep(0)
    other.execute("ROLLBACK")
    other.close()
    await write
    assert place.said == []
    assert caplog.text == ""


async def test_another_process_that_holds_the_database_is_outlasted(place: Place) -> None:
    program = (
        "import sqlite3, sys; link = sqlite3.connect(sys.argv[1], isolation_level=None); "
        "link.execute('BEGIN EXCLUSIVE'); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(place.database.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert await asyncio.to_thread(other.stdout.readline) == b"held\n"
        write = begun(place, "patient")
        await place.says(1)
        assert HELD in place.said[0]
        # Readers are not in its way, nor it in theirs.
        assert await place.database.read(NAMES) == []
        other.stdin.close()
        await write
    assert await place.database.read(NAMES) == ["patient"]


SORTED = """
WITH RECURSIVE number(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM number WHERE i < 100000)
SELECT i FROM (SELECT i, hex(randomblob(60)) AS words FROM number ORDER BY words) LIMIT 99000, 1
"""


async def test_a_read_is_tried_again_until_the_disk_gives_it(place: Place) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # What is sorted on disk needs a file that may grow.
    query = Query(SORTED, (), len)
    await place.database.read(Query("PRAGMA temp_store = FILE", (), len))
    await place.database.read(Query("PRAGMA cache_size = 10", (), len))
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with waits_limited(0.5), pytest.raises(StoreUnavailable):
            await place.database.read(query)
        patient = asyncio.create_task(place.database.read(query))
        await place.says(1)
        assert not patient.done()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert await patient == 1
    await place.says(2)
    assert place.said[-1] == ""


async def test_damage_is_not_waited_out(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    many = [f"member {number}" for number in range(2000)]
    await asyncio.gather(
        *(place.database.write(partial(add, name=name)) for name in many),
    )
    link = connection_of(place.database)
    link.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    link.execute("PRAGMA cache_size = 0")
    link.execute("PRAGMA shrink_memory")
    with place.database.path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))
    with pytest.raises(StoreDamaged, match="damaged"):
        await place.database.write(lambda link: add(link, "one more"))
    with pytest.raises(StoreDamaged):
        await place.database.damaged
    assert "gridbrush restore" in caplog.text
    assert place.said == []


def sqlite_error(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("said by SQLite")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (sqlite_error(sqlite3.SQLITE_BUSY), "the database is locked by another program"),
        (sqlite_error(sqlite3.SQLITE_FULL), "the disk is full"),
        (sqlite_error(sqlite3.SQLITE_IOERR_WRITE), "the disk could not be read or written"),
        (sqlite_error(sqlite3.SQLITE_READONLY), ""),
        (sqlite_error(sqlite3.SQLITE_CORRUPT), ""),
        (OSError(errno.ENOSPC, "said by the system"), "the disk is full"),
        (OSError(errno.EDQUOT, "said by the system"), "the disk quota is used up"),
        (OSError(errno.EACCES, "said by the system"), ""),
        (OSError(errno.ENOENT, "said by the system"), ""),
        (OSError("without a number"), ""),
        (ValueError(), ""),
    ],
)
def test_what_passes_by_itself_is_told_from_what_the_operator_has_to_repair(
    error: Exception, cause: str
) -> None:
    outer = ConfigError("[data] dir", "cannot be used", "Free some space.")
    outer.__cause__ = error
    assert [passing_cause(error), passing_cause(outer)] == [cause, cause]
