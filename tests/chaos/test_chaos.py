"""Half a minute of trouble, then calm: nothing lost, doubled, hanging or charged wrongly.

``GRIDBRUSH_CHAOS_SEED`` plays another schedule, ``GRIDBRUSH_CHAOS`` names what may go wrong (all,
or ``kill,away``), ``GRIDBRUSH_CHAOS_SECONDS`` says for how long. A failure prints how to play it
again, what was done when, and what came of it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.chaos.driver import INGREDIENTS, lacking, run

pytestmark = [
    pytest.mark.xdist_group("chaos"),
    pytest.mark.timing("runs the bot as a process, which a busy machine starts and stops late"),
]

SEED = 9
SECONDS = 30.0
TIMEOUTS = 120.0
"""Only a busy machine, or a bot that has not set all right, takes so long."""


def wanted() -> list[str]:
    """What may go wrong in this run; what this machine cannot do is left out, and said."""
    named = os.environ.get("GRIDBRUSH_CHAOS", "")
    chosen = named.split(",") if named else list(INGREDIENTS)
    without = {name: why for name in chosen if (why := lacking(name))}
    for name, why in without.items():
        print(f"without {name}: {why}")
    return [name for name in chosen if name not in without]


async def test_trouble_of_every_kind_loses_doubles_and_charges_nothing(tmp_path: Path) -> None:
    seed = int(os.environ.get("GRIDBRUSH_CHAOS_SEED", SEED))
    seconds = float(os.environ.get("GRIDBRUSH_CHAOS_SECONDS", SECONDS))
    outcome = await run(
        tmp_path, seed=seed, ingredients=wanted(), seconds=seconds, timeouts=TIMEOUTS
    )
    assert not outcome.problems, f"{outcome.told()}\n\n{outcome.log[-20_000:]}"
    assert outcome.history.jobs, outcome.told()


async def test_an_unknown_ingredient_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such ingredient: rain"):
        await run(tmp_path, seed=1, ingredients=["kill", "rain"], events=1)
