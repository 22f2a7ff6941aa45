"""Measure what a server's rules add to accepting: words, blocks, channels, with 500 word rules."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import string
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from benchmarks import fixtures
from benchmarks.measure import percentile, show
from bot.bootstrap import Application
from bot.domain.moderation import ChannelRule, Place
from bot.services.admission import check_server
from bot.services.allowance import check_not_blocked
from bot.services.queue import Actor
from bot.store import moderation
from bot.store.moderation import MemberBlock, WordRuleCache

WORD_RULES = 500
BLOCKS = 500
CHANNEL_RULES = 50
DECISIONS = 2000
PROMPT_WORDS = 40
GOAL_MS = 1.0
MODERATOR = Actor(1, "Mo", moderator=True, manager=True)


def _words(chance: random.Random) -> Iterator[str]:
    while True:
        size = chance.randint(3, 9)
        yield "".join(chance.choice(string.ascii_lowercase) for _ in range(size))


async def _set_rules(engine: Application, words: Iterator[str]) -> None:
    """Have as many rules as a server may have."""

    def change(link: sqlite3.Connection) -> None:
        for number in range(WORD_RULES):
            moderation.add_word_rule(
                link,
                fixtures.GUILD,
                f"{next(words)}q{number}",
                whole_word=bool(number % 3),
                effect="hold" if number % 5 == 0 else "refuse",
            )
        for member in range(BLOCKS):
            moderation.block(link, fixtures.GUILD, MemberBlock(10_000 + member, None, "spam"))
        for channel in range(CHANNEL_RULES):
            rule = ChannelRule(channel + 1, allowed=True, between=timedelta(microseconds=1))
            moderation.set_channel_rule(link, fixtures.GUILD, rule)

    await engine.database.write(change)


async def _run() -> None:
    chance = random.Random(7)
    words = _words(chance)
    async with fixtures.open_engine() as engine:
        await _set_rules(engine, words)
        cache, place = WordRuleCache(), Place(fixtures.CHANNEL, 30, 40)
        taken: list[float] = []

        def decide(link: sqlite3.Connection) -> None:
            prompt = " ".join(next(words) for _ in range(PROMPT_WORDS))
            request = replace(fixtures.request(7), prompt=prompt)
            begin = time.perf_counter()
            check_not_blocked(link, request, engine.now())
            check_server(link, [request], place, cache.rules, {}, frozenset(), engine.now())
            taken.append(time.perf_counter() - begin)

        await engine.queue.submit(fixtures.request(7), fixtures.member(7), place=place)
        for _ in range(DECISIONS):
            await engine.database.write(decide)
    # The first decision reads the rules and compiles them; later ones find both ready.
    first, later = taken[0] * 1000, [one * 1000 for one in taken[1:]]
    figure = f"p50 {percentile(later, 50):.2f}, p99 {percentile(later, 99):.2f} ms"
    show(f"decision with {WORD_RULES} word rules", figure, f"goal p99 < {GOAL_MS:.0f} ms")
    show("the first one after a start or a change", f"{first:.1f} ms")


def main() -> None:
    """Print the milliseconds of a decision."""
    asyncio.run(_run())


if __name__ == "__main__":
    main()
