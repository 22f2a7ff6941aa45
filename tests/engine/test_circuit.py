"""Closed while the service answers, open while it is away, and probed one at a time."""

from __future__ import annotations

import asyncio

import pytest

from bot.backends.base import Health
from bot.engine.circuit import PROBE_SECONDS, Circuit
from tests.engine.cast import Naps


class Service:
    """Is away for so many probes."""

    def __init__(self, away: int) -> None:
        self.away = away
        self.probes = 0

    async def health(self) -> Health:
        self.probes += 1
        if self.probes <= self.away:
            return Health(False, f"away at probe {self.probes}")
        return Health(True, "there")


async def test_one_failure_is_no_outage() -> None:
    circuit = Circuit(Service(0).health)
    circuit.fail("reset")
    circuit.succeed()
    circuit.fail("reset")
    assert not circuit.open
    await asyncio.wait_for(circuit.closed(), 1)
    await circuit.aclose()


async def test_failures_in_a_row_open_it_until_a_probe_succeeds() -> None:
    service, naps, changes = Service(away=3), Naps(), list[tuple[bool, str]]()
    circuit = Circuit(
        service.health, sleep=naps, on_change=lambda is_open, why: changes.append((is_open, why))
    )
    circuit.fail("reset")
    circuit.fail("refused")
    assert (circuit.open, circuit.detail) == (True, "refused")
    circuit.fail("a third one changes nothing")
    await asyncio.wait_for(circuit.closed(), 5)
    assert (circuit.open, circuit.detail) == (False, "away at probe 3")
    assert service.probes == 4
    assert naps.taken == list(PROBE_SECONDS[:4])
    assert changes == [(True, "refused"), (False, "there")]
    await circuit.aclose()


async def test_probing_slows_down_and_never_stops() -> None:
    service, naps = Service(away=9), Naps()
    circuit = Circuit(service.health, sleep=naps, trips_at=1)
    circuit.fail("refused")
    await asyncio.wait_for(circuit.closed(), 5)
    assert naps.taken == [*PROBE_SECONDS, *[PROBE_SECONDS[-1]] * 5]
    await circuit.aclose()


async def test_after_an_outage_it_counts_afresh() -> None:
    circuit = Circuit(Service(0).health, sleep=Naps())
    circuit.fail("refused")
    circuit.fail("refused")
    await circuit.closed()
    circuit.fail("refused")
    assert not circuit.open
    await circuit.aclose()


async def test_closing_stops_the_probing() -> None:
    async def never(_seconds: float) -> None:
        await asyncio.Event().wait()

    service = Service(0)
    circuit = Circuit(service.health, sleep=never, trips_at=1)
    circuit.fail("refused")
    await circuit.aclose()
    assert circuit.open
    assert service.probes == 0
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(circuit.closed(), 0)
