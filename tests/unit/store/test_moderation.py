from __future__ import annotations

import sqlite3
from datetime import timedelta

from bot.domain.word_filter import WordRule
from bot.store import moderation
from bot.store.database import Database
from bot.store.moderation import MemberBlock, ModerationRepository, ScopedWordRule, WordRuleCache
from tests.unit.store.builders import NOW


async def test_word_rules_hold_in_their_channel_or_on_the_whole_server(
    database: Database,
) -> None:
    def fill(connection: sqlite3.Connection) -> tuple[WordRule, WordRule, WordRule]:
        everywhere = moderation.add_word_rule(connection, 1, "gore")
        here = moderation.add_word_rule(connection, 1, "cat", whole_word=False, channel_id=5)
        return everywhere, here, moderation.add_word_rule(connection, 2, "dog")

    everywhere, here, elsewhere = await database.write(fill)
    assert (here.pattern, here.whole_word) == ("cat", False)
    reading = ModerationRepository(database)
    assert await reading.word_rules(1) == (
        ScopedWordRule(everywhere, None),
        ScopedWordRule(here, 5),
    )
    assert await reading.word_rules_in(1, 5) == (everywhere, here)
    assert await reading.word_rules_in(1, 6) == (everywhere,)
    assert await reading.word_rules_in(2, 5) == (elsewhere,)
    inside = await database.write(lambda connection: WordRuleCache().rules(connection, 1, 5))
    assert inside == (everywhere, here)


async def test_a_word_rule_is_removed_by_its_own_server_only(database: Database) -> None:
    rule = await database.write(lambda connection: moderation.add_word_rule(connection, 1, "gore"))

    def remove(connection: sqlite3.Connection) -> list[bool]:
        return [
            moderation.remove_word_rule(connection, guild_id, rule.id) for guild_id in (2, 1, 1)
        ]

    assert await database.write(remove) == [False, True, False]
    again = await database.write(lambda connection: moderation.add_word_rule(connection, 1, "gore"))
    assert again.id > rule.id


async def test_a_block_holds_until_its_end_or_until_it_is_lifted(database: Database) -> None:
    short = MemberBlock(7, NOW + timedelta(hours=1), "spam")
    long = MemberBlock(8, None, "worse")

    def fill(connection: sqlite3.Connection) -> None:
        moderation.block(connection, 1, MemberBlock(7, None, "a slip"))
        moderation.block(connection, 1, short)
        moderation.block(connection, 1, long)

    await database.write(fill)
    reading = ModerationRepository(database)
    assert await reading.blocks(1, NOW) == (short, long)
    assert await reading.blocks(1, NOW + timedelta(hours=1)) == (long,)
    inside = await database.write(
        lambda connection: (
            moderation.blocked(connection, 1, 7, NOW),
            moderation.blocked(connection, 1, 7, NOW + timedelta(hours=1)),
            moderation.blocked(connection, 2, 8, NOW),
        )
    )
    assert inside == (short, None, None)
    lifted = await database.write(
        lambda connection: (
            moderation.blocked(connection, 1, 8, NOW),
            moderation.unblock(connection, 1, 8),
            moderation.unblock(connection, 1, 8),
            moderation.blocked(connection, 1, 8, NOW),
        )
    )
    assert lifted == (long, True, False, None)
