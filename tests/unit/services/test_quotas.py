from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.errors import InvalidRequest, RequestError
from bot.domain.job import new_job
from bot.domain.quota import Quota, QuotaGrant, QuotaRule, effective_quota
from bot.domain.request import Author, ChannelRef, Request
from bot.services.queue import Actor
from bot.services.quotas import (
    MAX_IMAGES,
    MAX_RUNNING,
    MAX_WAITING,
    QuotaRuleChange,
    QuotaService,
    QuotaSubject,
)
from bot.store import guilds, jobs, ledger
from bot.store.database import Database
from bot.store.guilds import GuildRepository
from tests.unit.store.builders import memory_database

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
GUILD = 10
DEFAULT = Quota(images=120, window=timedelta(hours=24), running=1, waiting=5)
ADA = Actor(1, "Ada", frozenset({5, 6}))
MO = Actor(9, "Mo", moderator=True)
OF_ADA = QuotaSubject("member", ADA.id)
SERVER = QuotaSubject("server", GUILD)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with await Database.open(tmp_path / "test.sqlite3", now=lambda: NOW) as opened:
        yield opened


@pytest.fixture
def quotas(database: Database) -> QuotaService:
    return QuotaService(database, DEFAULT, now=lambda: NOW)


def request_of(member: Actor, guild: int = GUILD) -> Request:
    return Request(
        prompt="a heron",
        seed=7,
        steps=30,
        width=512,
        height=512,
        rows=4,
        samples=3,
        model="sd-2-1",
        author=Author(member.id, member.name),
        place=ChannelRef(guild, 20),
    )


async def accept(database: Database, job_id: str, member: Actor, guild: int = GUILD) -> None:
    job = new_job(job_id, request_of(member, guild), NOW)

    def insert(link: sqlite3.Connection) -> None:
        jobs.insert(link, job, interaction=None, mac_key=bytes(32), role_ids=member.role_ids)
        ledger.reserve(link, job)

    await database.write(insert)


async def test_a_member_without_rules_has_the_default(
    quotas: QuotaService, database: Database
) -> None:
    await accept(database, "a" * 16, ADA)
    account = await quotas.show(GUILD, ADA)
    assert account.allowance.quota == quotas.default == DEFAULT
    assert (account.allowance.used, account.allowance.left) == (12, 108)
    assert (account.allowance.waiting, account.allowance.running) == (1, 0)
    assert account.allowance.resets_at == NOW + timedelta(hours=24)
    assert (account.rules, account.grants) == ((), ())


async def test_an_account_names_the_rules_and_grants_it_comes_from(
    quotas: QuotaService,
) -> None:
    own = await quotas.set_rule(GUILD, OF_ADA, QuotaRuleChange(waiting=2), by=MO)
    role = await quotas.set_rule(GUILD, QuotaSubject("role", 6), QuotaRuleChange(images=50), by=MO)
    server = await quotas.set_rule(GUILD, SERVER, QuotaRuleChange(images=10), by=MO)
    await quotas.set_rule(GUILD, QuotaSubject("role", 7), QuotaRuleChange(images=999), by=MO)
    await quotas.set_rule(GUILD, QuotaSubject("member", 2), QuotaRuleChange(images=999), by=MO)
    grant = await quotas.grant(
        GUILD, ADA.id, images=5, lasts=timedelta(days=7), reason="a prize", by=MO
    )
    account = await quotas.show(GUILD, ADA)
    assert account.rules == (server, role, own)
    assert account.grants == (grant,) == (QuotaGrant(5, NOW + timedelta(days=7)),)
    assert account.allowance.left == 55
    assert account.allowance.quota.waiting == 2
    assert len(await quotas.rules(GUILD)) == 5
    assert await quotas.rules(11) == ()


async def test_terms_change_only_what_they_name(quotas: QuotaService) -> None:
    await quotas.set_rule(
        GUILD, OF_ADA, QuotaRuleChange(images=12, window=timedelta(hours=1)), by=MO
    )
    rule = await quotas.set_rule(GUILD, OF_ADA, QuotaRuleChange(running=3), by=MO)
    assert rule == QuotaRule("member", ADA.id, 12, timedelta(hours=1), 3, None)
    assert await quotas.rule(GUILD, OF_ADA) == rule
    assert await quotas.rule(GUILD, SERVER) is None


async def test_a_rule_is_removed_once(quotas: QuotaService) -> None:
    rule = await quotas.set_rule(GUILD, OF_ADA, QuotaRuleChange(images=0), by=MO)
    assert await quotas.remove_rule(GUILD, OF_ADA, by=MO) == rule
    with pytest.raises(RequestError, match="There is no such rule"):
        await quotas.remove_rule(GUILD, OF_ADA, by=MO)
    assert await quotas.rules(GUILD) == ()
    changes = await quotas.changes(GUILD)
    assert [change.action for change in changes] == ["quota-remove", "quota-set"]


async def test_every_change_is_on_record_with_who_made_it(quotas: QuotaService) -> None:
    await quotas.set_rule(GUILD, SERVER, QuotaRuleChange(images=10), by=MO)
    await quotas.set_rule(GUILD, SERVER, QuotaRuleChange(window=timedelta(hours=3)), by=MO)
    await quotas.grant(GUILD, ADA.id, images=5, lasts=None, reason=" a\nprize ", by=MO)
    await quotas.reset(GUILD, ADA.id, reason="", by=MO)
    reset, grant, changed, made = await quotas.changes(GUILD)
    assert {entry.actor_id for entry in (reset, grant, changed, made)} == {MO.id}
    assert (reset.action, reset.subject) == ("quota-reset", "user:1")
    assert grant.detail == {"images": 5, "until": None, "reason": "a prize"}
    assert made.detail == {"was": None, "is": {"images": 10}}
    assert changed.detail == {"was": {"images": 10}, "is": {"images": 10, "window": "3h"}}
    assert await quotas.changes(GUILD, OF_ADA) == (reset, grant)
    assert await quotas.changes(GUILD, SERVER, limit=1) == (changed,)
    assert await quotas.changes(11) == ()


async def test_a_grant_counts_at_once_and_a_reset_ends_it(
    quotas: QuotaService, database: Database
) -> None:
    await accept(database, "a" * 16, ADA)
    await quotas.grant(GUILD, ADA.id, images=30, lasts=None, reason="", by=MO)
    assert (await quotas.show(GUILD, ADA)).allowance.left == 138
    await quotas.reset(GUILD, ADA.id, reason="a fresh start", by=MO)
    account = await quotas.show(GUILD, ADA)
    assert (account.allowance.left, account.grants) == (120, ())
    entries = await quotas.history(GUILD, ADA.id)
    assert [entry.kind for entry in entries] == ["reset", "grant", "reserve"]
    assert await quotas.history(GUILD, ADA.id, 1, before=entries[0].id) == entries[1:2]
    (balance,) = await quotas.balances(GUILD)
    assert (balance.user_id, balance.held, balance.granted) == (ADA.id, 12, 30)


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        (QuotaRuleChange(), "fill in at least one"),
        (QuotaRuleChange(images=-1), "images must be a whole number from 0 to 100000, not -1"),
        (QuotaRuleChange(images=MAX_IMAGES + 1), "from 0 to 100000"),
        (
            QuotaRuleChange(running=0),
            "running must be .* from 1 to 100, not 0. To let them make nothing",
        ),
        (QuotaRuleChange(running=MAX_RUNNING + 1), "from 1 to 100"),
        (QuotaRuleChange(waiting=0), "set images to 0"),
        (QuotaRuleChange(waiting=MAX_WAITING + 1), "from 1 to 1000"),
        (QuotaRuleChange(window=timedelta()), "window must be from 1s to 366d"),
        (QuotaRuleChange(window=timedelta(days=367)), "window must be from 1s to 366d"),
    ],
)
async def test_terms_out_of_range_are_refused_and_nothing_is_written(
    quotas: QuotaService, terms: QuotaRuleChange, said: str
) -> None:
    with pytest.raises(RequestError, match=said):
        await quotas.set_rule(GUILD, OF_ADA, terms, by=MO)
    assert await quotas.rules(GUILD) == ()
    assert await quotas.changes(GUILD) == ()


async def test_a_grant_out_of_range_is_refused(quotas: QuotaService) -> None:
    for images in (0, -5, MAX_IMAGES + 1):
        with pytest.raises(InvalidRequest, match="from 1 to 100000"):
            await quotas.grant(GUILD, 1, images=images, lasts=None, reason="", by=MO)
    with pytest.raises(InvalidRequest, match="expires must be from 1s"):
        await quotas.grant(GUILD, 1, images=1, lasts=timedelta(0), reason="", by=MO)
    with pytest.raises(InvalidRequest, match="reason has 201 characters"):
        await quotas.reset(GUILD, 1, reason="x" * 201, by=MO)
    assert await quotas.history(GUILD, 1) == ()


async def test_a_server_has_only_so_many_rules(quotas: QuotaService, database: Database) -> None:
    def fill(link: sqlite3.Connection) -> None:
        for number in range(1, 501):
            guilds.set_rule(link, GUILD, QuotaRule("member", number, 1))

    await database.write(fill)
    with pytest.raises(RequestError, match="500 quota rules"):
        await quotas.set_rule(GUILD, SERVER, QuotaRuleChange(images=1), by=MO)
    assert (await quotas.set_rule(GUILD, OF_ADA, QuotaRuleChange(images=2), by=MO)).images == 2


async def test_how_many_run_at_once_follows_the_member_then_the_server(
    quotas: QuotaService, database: Database
) -> None:
    ben, cleo = Actor(2, "Ben"), Actor(3, "Cleo")
    await accept(database, "a" * 16, ADA)
    await accept(database, "b" * 16, ben)
    await accept(database, "c" * 16, cleo, guild=11)
    reading = GuildRepository(database)
    assert await reading.running_limits() == {}
    await quotas.set_rule(GUILD, SERVER, QuotaRuleChange(running=2), by=MO)
    await quotas.set_rule(GUILD, OF_ADA, QuotaRuleChange(running=4), by=MO)
    await quotas.set_rule(11, QuotaSubject("member", ADA.id), QuotaRuleChange(running=9), by=MO)
    assert await reading.running_limits() == {ADA.id: 4, ben.id: 2}
    await accept(database, "d" * 16, ADA, guild=11)
    assert await database.write(guilds.running_limits) == {ADA.id: 9, ben.id: 2}


limit = st.none() | st.integers(1, 9)


@given(server=limit, roles=st.tuples(limit, limit, limit), own=limit)
@settings(deadline=None, max_examples=40)
def test_the_store_and_the_domain_agree_on_how_many_run_at_once(
    server: int | None, roles: tuple[int | None, ...], own: int | None
) -> None:
    rules = [
        QuotaRule("server", GUILD, running=server, images=1),
        *(QuotaRule("role", 4 + n, running=role, images=1) for n, role in enumerate(roles)),
        QuotaRule("member", ADA.id, running=own, images=1),
    ]
    connection = memory_database()
    for rule in rules:
        guilds.set_rule(connection, GUILD, rule)
    job = new_job("a" * 16, request_of(ADA), NOW)
    jobs.insert(connection, job, interaction=None, mac_key=bytes(32), role_ids=ADA.role_ids)
    allowed = guilds.running_limits(connection).get(ADA.id, DEFAULT.running)
    assert allowed == effective_quota(DEFAULT, rules, ADA.role_ids, ADA.id).running
    connection.close()


async def test_the_roles_of_the_last_request_count(
    quotas: QuotaService, database: Database
) -> None:
    await quotas.set_rule(GUILD, QuotaSubject("role", 6), QuotaRuleChange(running=3), by=MO)
    await accept(database, "a" * 16, ADA)
    assert await GuildRepository(database).running_limits() == {ADA.id: 3}
    await accept(database, "b" * 16, Actor(ADA.id, "Ada"))
    assert await GuildRepository(database).running_limits() == {}


@given(
    st.builds(
        QuotaRuleChange,
        images=st.none() | st.integers(-5, MAX_IMAGES + 5),
        window=st.none() | st.timedeltas(timedelta(seconds=-5), timedelta(days=400)),
        running=st.none() | st.integers(-1, MAX_RUNNING + 2),
        waiting=st.none() | st.integers(-1, MAX_WAITING + 2),
    )
)
@settings(deadline=None, max_examples=60)
def test_terms_that_pass_make_a_quota_under_which_something_can_run(terms: QuotaRuleChange) -> None:
    try:
        terms.check()
    except RequestError:
        return
    QuotaRule("server", 1, terms.images, terms.window, terms.running, terms.waiting)
    assert terms.running != 0
    assert terms.waiting != 0
