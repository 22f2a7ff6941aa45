from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from bot.domain.errors import ConfigError
from bot.store import jobs
from bot.store.backups import back_up
from bot.store.database import Database, Query
from bot.store.job_queries import JobCost
from bot.store.jobs import JobRepository
from bot.store.migrations import (
    Migration,
    current_version,
    enable_wal,
    load_migrations,
    migrate,
    statements,
)
from tests.unit.store.accounts import half_done
from tests.unit.store.builders import KEY, a_job, fixed_now

NEXT = load_migrations()[-1].number + 1
ADD_MOOD = Migration(NEXT, "mood.sql", "ALTER TABLE jobs ADD COLUMN mood TEXT;\n")


def pragma(name: str) -> Query[object]:
    return Query(f"PRAGMA {name}", (), lambda rows: rows[0][0])


def columns_of(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {row[1] for row in connection.execute("PRAGMA table_info(jobs)")}


async def fill(database: Database, number: int = 1) -> None:
    for index in range(number):
        job = a_job(f"job{index:013}")
        await database.write(partial(jobs.insert, job=job, interaction=None, mac_key=KEY))


async def test_a_new_database_is_made_with_its_folders_and_for_its_owner_only(
    tmp_path: Path,
) -> None:
    path = tmp_path / "new data" / "50% ä#?" / "gridbrush.sqlite3"
    async with await Database.open(path, now=fixed_now) as database:
        assert await JobRepository(database).unfinished() == ()
        version = await database.read(Query("SELECT * FROM schema_version", (), list))
    assert [tuple(row) for row in version] == [
        (migration.number, migration.name, "2025-03-01T12:00:00.000000+00:00")
        for migration in load_migrations()
    ]
    assert path.stat().st_mode & 0o077 == 0


async def test_commits_are_synced_and_logged_ahead(database: Database) -> None:
    assert await database.read(pragma("journal_mode")) == "wal"

    def ask(connection: sqlite3.Connection, name: str) -> object:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]

    assert await database.write(lambda connection: ask(connection, "synchronous")) == 2
    assert await database.write(lambda connection: ask(connection, "foreign_keys")) == 1


async def test_what_was_written_is_there_after_opening_again(tmp_path: Path) -> None:
    path = tmp_path / "gridbrush.sqlite3"
    async with await Database.open(path, now=fixed_now) as database:
        await fill(database)
    async with await Database.open(path, now=fixed_now) as database:
        assert await JobRepository(database).unfinished() == (a_job("job0000000000000"),)
    assert sorted(tmp_path.iterdir()) == [path, path.with_name(path.name + ".id")]


async def test_what_was_committed_survives_a_power_cut(tmp_path: Path) -> None:
    path = tmp_path / "gridbrush.sqlite3"
    cut = tmp_path / "after the cut"
    cut.mkdir()
    async with await Database.open(path, now=fixed_now) as database:
        await fill(database, 3)
        async with half_done(database, "DELETE FROM jobs"):
            # The disk as it is at this moment: the log not folded in, a transaction half done.
            for name in (path.name, path.name + "-wal"):
                shutil.copy(tmp_path / name, cut / name)
            assert (cut / (path.name + "-wal")).stat().st_size > 0
    async with await Database.open(cut / path.name, now=fixed_now) as database:
        assert len(await JobRepository(database).unfinished()) == 3


async def test_an_older_database_is_backed_up_and_then_migrated(tmp_path: Path) -> None:
    path = tmp_path / "gridbrush.sqlite3"
    async with await Database.open(path, now=fixed_now) as database:
        await fill(database)
    steps = (*load_migrations(), ADD_MOOD)
    async with await Database.open(path, now=fixed_now, migrations=steps) as database:
        assert len(await JobRepository(database).unfinished()) == 1
    assert "mood" in columns_of(path)
    backup = tmp_path / f"gridbrush-v{NEXT - 1}-20250301T120000000000Z.sqlite3"
    assert "mood" not in columns_of(backup)
    async with await Database.open(backup, now=fixed_now) as database:
        assert len(await JobRepository(database).unfinished()) == 1


async def test_a_database_of_every_earlier_version_is_brought_up_to_date(tmp_path: Path) -> None:
    newest = tmp_path / "newest.sqlite3"
    async with await Database.open(newest, now=fixed_now) as database:
        await fill(database)
    for number in range(1, NEXT - 1):
        path = tmp_path / f"version-{number}.sqlite3"
        steps = load_migrations()[:number]
        await (await Database.open(path, now=fixed_now, migrations=steps)).aclose()
        # Today's code writes columns that an earlier version does not have.
        names = ", ".join(columns_of(path))
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("ATTACH ? AS newest", (str(newest),))
            connection.execute(f"INSERT INTO jobs ({names}) SELECT {names} FROM newest.jobs")
        async with await Database.open(path, now=fixed_now) as database:
            (job,) = await JobRepository(database).unfinished()
            assert await JobRepository(database).credits(job.id) == JobCost()


async def test_nothing_is_backed_up_when_there_is_nothing_to_migrate(tmp_path: Path) -> None:
    path = tmp_path / "gridbrush.sqlite3"
    for _ in range(2):
        await (await Database.open(path, now=fixed_now)).aclose()
    assert sorted(tmp_path.iterdir()) == [path, path.with_name(path.name + ".id")]


async def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "gridbrush.sqlite3"
    await (await Database.open(path, now=fixed_now)).aclose()
    script = ADD_MOOD.script + "INSERT INTO nowhere VALUES (1);\n"
    steps = (*load_migrations(), Migration(NEXT, "mood.sql", script))
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        await Database.open(path, now=fixed_now, migrations=steps)
    assert "mood" not in columns_of(path)
    await (await Database.open(path, now=fixed_now)).aclose()


async def test_a_migration_that_orphans_rows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gridbrush.sqlite3"
    async with await Database.open(path, now=fixed_now) as database:
        await fill(database)
        await database.write(
            lambda connection: connection.execute(
                "INSERT INTO deliveries (job_id, rung, nonce, attempted_at) "
                "SELECT id, 'channel', 'n', created_at FROM jobs"
            )
        )
    steps = (*load_migrations(), Migration(NEXT, "empty.sql", "DELETE FROM jobs;\n"))
    with pytest.raises(ConfigError, match=r"empty\.sql left a row in deliveries"):
        await Database.open(path, now=fixed_now, migrations=steps)
    async with await Database.open(path, now=fixed_now) as database:
        assert len(await JobRepository(database).unfinished()) == 1


async def test_a_newer_database_is_refused_and_the_way_back_named(tmp_path: Path) -> None:
    path = tmp_path / "gridbrush.sqlite3"
    steps = (*load_migrations(), ADD_MOOD)
    await (await Database.open(path, now=fixed_now, migrations=steps)).aclose()
    way_back = rf"version {NEXT}, .* up to {NEXT - 1}.*restore gridbrush-v{NEXT - 1}-"
    with pytest.raises(ConfigError, match=way_back) as caught:
        await Database.open(path, now=fixed_now)
    assert caught.value.location == str(path)


async def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "bookmarks.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmarks (url)")
    with pytest.raises(ConfigError, match=r"another program .*table bookmarks"):
        await Database.open(path, now=fixed_now)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("bookmarks",)]


async def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "gridbrush.sqlite3"
    text = "Dear diary, " * 100
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"not a SQLite database.*gridbrush restore"):
        await Database.open(path, now=fixed_now)
    assert path.read_text() == text


async def test_a_damaged_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gridbrush.sqlite3"
    async with await Database.open(path, now=fixed_now) as database:
        await fill(database, 20)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 9000] = b"\xff" * 9000
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"(?s)database is damaged.*gridbrush restore") as caught:
        await Database.open(path, now=fixed_now)
    assert caught.value.location == str(path)


async def test_a_value_that_breaks_the_rules_of_its_table_is_found_at_start(tmp_path: Path) -> None:
    path = tmp_path / "gridbrush.sqlite3"
    async with await Database.open(path, now=fixed_now) as database:
        await fill(database)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("UPDATE jobs SET images = -12")
        connection.commit()
    with pytest.raises(ConfigError, match=r"damaged \(CHECK constraint failed in jobs\)"):
        await Database.open(path, now=fixed_now)


def test_a_file_system_without_write_ahead_log_is_refused(tmp_path: Path) -> None:
    with (
        closing(sqlite3.connect(":memory:")) as connection,
        pytest.raises(ConfigError, match=r"journal mode stays memory.*local disk"),
    ):
        enable_wal(connection, tmp_path / "gridbrush.sqlite3")


async def test_programs_that_start_at_once_on_a_new_file_all_get_it(tmp_path: Path) -> None:
    path = tmp_path / "gridbrush.sqlite3"
    opened = await asyncio.gather(*(Database.open(path, now=fixed_now) for _ in range(3)))
    for database in opened:
        assert await JobRepository(database).unfinished() == ()
        await database.aclose()


def test_nobody_sees_a_new_file_with_some_of_its_migrations_only(tmp_path: Path) -> None:
    path = tmp_path / "gridbrush.sqlite3"
    steps = (*load_migrations(), ADD_MOOD)
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as other,
        closing(sqlite3.connect(path, isolation_level=None)) as connection,
    ):
        enable_wal(connection, path)
        seen: list[int] = []
        connection.set_trace_callback(lambda _statement: seen.append(current_version(other)))
        migrate(connection, path, steps, fixed_now)
        connection.set_trace_callback(None)
        assert current_version(other) == NEXT
    assert len(seen) > len(steps)
    assert set(seen) <= {0, NEXT}
    assert list(tmp_path.glob("*-v*")) == []


def test_the_write_ahead_log_waits_for_a_program_that_just_opened_the_file(
    tmp_path: Path,
) -> None:
    path = tmp_path / "gridbrush.sqlite3"
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as other,
        closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection,
    ):
        other.execute("CREATE TABLE jobs (id)")
        other.execute("BEGIN")
        other.execute("SELECT * FROM jobs").fetchall()
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            enable_wal(connection, path)

        def end_the_others_transaction(statement: str) -> None:
            if statement == "ROLLBACK":
                other.execute("COMMIT")

        connection.set_trace_callback(end_the_others_transaction)
        enable_wal(connection, path)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("name", ["a file/gridbrush.sqlite3", "a folder"])
async def test_a_place_that_cannot_hold_a_database_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "a file").touch()
    (tmp_path / "a folder").mkdir()
    with pytest.raises(ConfigError, match=r"cannot be opened.*\[data\] dir"):
        await Database.open(tmp_path / name, now=fixed_now)


async def test_a_write_ahead_log_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gridbrush.sqlite3"
    (tmp_path / "gridbrush.sqlite3-wal").mkdir()
    with pytest.raises(ConfigError, match=r"gridbrush\.sqlite3"):
        await Database.open(path, now=fixed_now)


async def test_a_backup_is_whole_while_the_database_is_in_use(
    database: Database, tmp_path: Path
) -> None:
    await fill(database, 5)
    target = tmp_path / "backup.sqlite3"
    async with half_done(database, "DELETE FROM jobs"):
        await asyncio.to_thread(back_up, database.path, target)
    async with await Database.open(target, now=fixed_now) as copy:
        assert len(await JobRepository(copy).unfinished()) == 5
    assert target.stat().st_mode & 0o077 == 0


async def test_a_backup_overwrites_nothing(database: Database, tmp_path: Path) -> None:
    target = tmp_path / "backup.sqlite3"
    target.write_text("precious")
    with pytest.raises(ConfigError, match="backup cannot be written") as caught:
        back_up(database.path, target)
    assert caught.value.location == str(target)
    assert target.read_text() == "precious"


async def test_a_backup_that_fails_leaves_nothing_behind(
    database: Database, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="backup cannot be written"):
        back_up(database.path, tmp_path / "no such folder" / "backup.sqlite3")
    database.path.rename(tmp_path / "gone.sqlite3")
    with pytest.raises(ConfigError, match="cannot be opened"):
        back_up(database.path, tmp_path / "backup.sqlite3")
    assert not list(tmp_path.glob("backup*"))


def test_a_script_is_cut_into_statements_with_triggers_whole() -> None:
    trigger = "CREATE TRIGGER t BEFORE DELETE ON a\nBEGIN\n    SELECT 1;\n    SELECT 2;\nEND;\n"
    script = f"-- why\nCREATE TABLE a (b TEXT DEFAULT ';');\n{trigger}-- the end\n"
    first, second = statements(script)
    assert first.endswith("(b TEXT DEFAULT ';');\n")
    assert second == trigger


def test_a_script_whose_last_statement_has_no_end_is_refused() -> None:
    with pytest.raises(ValueError, match="without an end: SELECT 2"):
        list(statements("SELECT 1;\nSELECT 2\n"))


def test_the_stock_migrations_are_numbered_without_gaps() -> None:
    numbers = [migration.number for migration in load_migrations()]
    assert numbers == list(range(1, len(numbers) + 1))
