from __future__ import annotations

import sqlite3
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.quota import QuotaRule
from bot.store import guilds
from bot.store.database import Database
from bot.store.guilds import GuildRepository
from tests.unit.store.builders import memory_database, snowflakes, texts

values = st.recursive(
    st.booleans() | snowflakes | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
amounts = st.none() | st.integers(0, 10_000)
quota_rules = st.builds(
    QuotaRule,
    st.sampled_from(["server", "role", "member"]),
    snowflakes,
    amounts,
    st.none() | st.timedeltas(timedelta(microseconds=1), timedelta(days=366)),
    amounts,
    amounts,
)


async def test_settings_are_kept_by_server_and_key(database: Database) -> None:
    def fill(connection: sqlite3.Connection) -> dict[str, object]:
        guilds.set_setting(connection, 1, "paused", "until tea")
        guilds.set_setting(connection, 1, "paused", True)
        guilds.set_setting(connection, 1, "channels", [2**62, 5])
        guilds.set_setting(connection, 1, "drain", True)
        guilds.set_setting(connection, 1, "drain", None)
        guilds.set_setting(connection, 2, "paused", False)
        return guilds.settings(connection, 1)

    expected = {"paused": True, "channels": [2**62, 5]}
    assert await database.write(fill) == expected
    reading = GuildRepository(database)
    assert await reading.settings(1) == expected
    assert await reading.settings(3) == {}
    assert await reading.all_settings("paused") == {1: True, 2: False}


@given(values)
@settings(deadline=None, max_examples=50)
def test_any_json_value_comes_back(value: object) -> None:
    connection = memory_database()
    guilds.set_setting(connection, 1, "key", value)
    assert guilds.settings(connection, 1) == {"key": value}
    connection.close()


def test_what_is_not_json_is_refused() -> None:
    connection = memory_database()
    with pytest.raises(ValueError, match="JSON compliant"):
        guilds.set_setting(connection, 1, "key", float("nan"))
    connection.close()


@given(quota_rules)
@settings(deadline=None, max_examples=50)
def test_any_quota_rule_comes_back(rule: QuotaRule) -> None:
    connection = memory_database()
    guilds.set_rule(connection, 1, rule)
    assert guilds.rules(connection, 1) == (rule,)
    connection.close()


async def test_a_subject_has_one_quota_rule(database: Database) -> None:
    first = QuotaRule("role", 5, images=10)
    second = QuotaRule("role", 5, running=2)
    member = QuotaRule("member", 5, waiting=0)

    def fill(connection: sqlite3.Connection) -> None:
        for rule in (first, second, member):
            guilds.set_rule(connection, 1, rule)
        guilds.set_rule(connection, 2, first)

    await database.write(fill)
    reading = GuildRepository(database)
    assert await reading.rules(1) == (member, second)

    def remove(connection: sqlite3.Connection) -> bool:
        return guilds.remove_rule(connection, 1, "role", 5)

    assert await database.write(remove)
    assert not await database.write(remove)
    assert await reading.rules(1) == (member,)
    assert await reading.rules(2) == (first,)
