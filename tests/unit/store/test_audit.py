from __future__ import annotations

import sqlite3

import pytest

from bot.store import audit, guilds
from bot.store.audit import AuditEntry, AuditRepository
from bot.store.database import Database
from bot.store.guilds import GuildRepository
from tests.unit.store.builders import NOW, memory_database


def pause(connection: sqlite3.Connection, guild_id: int = 1, action: str = "pause") -> AuditEntry:
    guilds.set_setting(connection, guild_id, "paused", True)
    return audit.record_action(
        connection,
        at=NOW,
        guild_id=guild_id,
        actor_id=9,
        action=action,
        subject="queue",
        detail={"notice": "till 18:00 \ud800", "jobs": [1, 2]},
    )


async def test_actions_are_read_from_the_newest_back(database: Database) -> None:
    recorded = [await database.write(pause) for _ in range(3)]
    await database.write(lambda connection: pause(connection, guild_id=2))
    reading = AuditRepository(database)
    newest = await reading.entries(1, limit=2)
    assert newest == (recorded[2], recorded[1])
    assert await reading.entries(1, before=newest[-1].id) == (recorded[0],)
    assert newest[0].detail == {"notice": "till 18:00 \ud800", "jobs": [1, 2]}


async def test_neither_the_deed_nor_its_record_stands_alone(database: Database) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        pause(connection)
        raise LookupError

    with pytest.raises(LookupError):
        await database.write(fail)
    assert await AuditRepository(database).entries(1) == ()
    assert await GuildRepository(database).settings(1) == {}


def test_detail_may_be_left_out() -> None:
    connection = memory_database()
    entry = audit.record_action(
        connection, at=NOW, guild_id=1, actor_id=9, action="resume", subject="queue"
    )
    assert entry.detail == {}
    connection.close()


@pytest.mark.parametrize("sql", ["UPDATE audit SET action = 'x'", "DELETE FROM audit"])
def test_the_audit_is_never_rewritten(sql: str) -> None:
    connection = memory_database()
    pause(connection)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(sql)
    connection.close()
