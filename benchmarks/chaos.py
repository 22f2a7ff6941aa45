"""Run the chaos test with a thousand kills and all other faults, in rounds, and count the results.

``GRIDBRUSH_CHAOS_KILLS`` is the number of kills, ``GRIDBRUSH_CHAOS_SEED`` the seed of the first
round, and ``GRIDBRUSH_CHAOS`` names the other faults (default: all). It takes hours. A failed round
is printed with all that is needed to repeat it.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks.measure import show
from tests.chaos.driver import INGREDIENTS, Outcome, lacking, run

KILLS = 1000
KILLS_PER_ROUND = 25
TIMEOUTS = 300.0
LOG_LINES = 200
"""So much of the bot's log is printed after a round in which something was wrong."""
WEIGHT = 6
"""How often a kill is drawn compared with each other thing."""


async def _rounds(kills: int, seed: int, others: list[str]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    while (left := kills - sum(one.kills for one in outcomes)) > 0:
        with tempfile.TemporaryDirectory() as name:
            outcome = await run(
                Path(name),
                seed=seed + len(outcomes),
                ingredients=[*["kill"] * WEIGHT, *others],
                kills=min(left, KILLS_PER_ROUND),
                timeouts=TIMEOUTS,
            )
        outcomes.append(outcome)
        so_far = sum(one.kills for one in outcomes)
        wrong = len(outcome.problems)
        print(f"  seed {outcome.seed}: {so_far} of {kills} kills, {wrong} wrong", flush=True)
        if outcome.problems:
            print(outcome.told(), *outcome.log.splitlines()[-LOG_LINES:], sep="\n", flush=True)
    return outcomes


def main() -> None:
    """Print what was done and what was wrong afterwards."""
    kills = int(os.environ.get("GRIDBRUSH_CHAOS_KILLS", KILLS))
    seed = int(os.environ.get("GRIDBRUSH_CHAOS_SEED", "1"))
    named = os.environ.get("GRIDBRUSH_CHAOS", "")
    chosen = [one for one in (named.split(",") if named else INGREDIENTS) if one != "kill"]
    without = {name: why for name in chosen if (why := lacking(name))}
    outcomes = asyncio.run(_rounds(kills, seed, [one for one in chosen if one not in without]))
    done = Counter(line.split()[-1] for one in outcomes for line in one.done)
    jobs = [job for one in outcomes for job in one.history.jobs]
    grids = sum(post.grid for one in outcomes for post in one.history.posts)
    problems = [problem for one in outcomes for problem in one.problems]
    for name in INGREDIENTS:
        show(name, without.get(name) or str(done[name]))
    show("requests, accepted of them", f"{sum(len(o.history.asks) for o in outcomes)}, {len(jobs)}")
    show("  grids posted", f"{grids} of {len(jobs)}")
    show("  lost, doubled", f"{_count(problems, 'lost')}, {_count(problems, 'doubled')}")
    show("  hanging", str(_count(problems, "hangs")))
    show("  wrong in all", str(len(problems)), "goal 0")


def _count(problems: list[str], word: str) -> int:
    return sum(word in problem for problem in problems)


if __name__ == "__main__":
    main()
