"""Closed while the backend answers, open while it is unavailable, with one probe at a time."""

from __future__ import annotations

import asyncio

import pytest

from bot.backends.base import Health
from bot.services.circuit_breaker import PROBE_DELAYS_S, CircuitBreaker
from tests.unit.services.fakes import RecordedSleeps


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
    breaker = CircuitBreaker(Service(0).health)
    breaker.record_failure("reset")
    breaker.record_success()
    breaker.record_failure("reset")
    assert not breaker.open
    await asyncio.wait_for(breaker.wait_closed(), 1)
    await breaker.aclose()


async def test_failures_in_a_row_open_it_until_a_probe_succeeds() -> None:
    service, sleeps, changes = Service(away=3), RecordedSleeps(), list[tuple[bool, str]]()
    breaker = CircuitBreaker(
        service.health, sleep=sleeps, on_change=lambda is_open, why: changes.append((is_open, why))
    )
    breaker.record_failure("reset")
    breaker.record_failure("refused")
    assert (breaker.open, breaker.detail) == (True, "refused")
    breaker.record_failure("a third one changes nothing")
    await asyncio.wait_for(breaker.wait_closed(), 5)
    assert (breaker.open, breaker.detail) == (False, "away at probe 3")
    assert service.probes == 4
    assert sleeps.taken == list(PROBE_DELAYS_S[:4])
    assert changes == [(True, "refused"), (False, "there")]
    await breaker.aclose()


async def test_probing_slows_down_and_never_stops() -> None:
    service, sleeps = Service(away=9), RecordedSleeps()
    breaker = CircuitBreaker(service.health, sleep=sleeps, threshold=1)
    breaker.record_failure("refused")
    await asyncio.wait_for(breaker.wait_closed(), 5)
    assert sleeps.taken == [*PROBE_DELAYS_S, *[PROBE_DELAYS_S[-1]] * 5]
    await breaker.aclose()


async def test_after_an_outage_it_counts_afresh() -> None:
    breaker = CircuitBreaker(Service(0).health, sleep=RecordedSleeps())
    breaker.record_failure("refused")
    breaker.record_failure("refused")
    await breaker.wait_closed()
    breaker.record_failure("refused")
    assert not breaker.open
    await breaker.aclose()


async def test_closing_stops_the_probing() -> None:
    async def never(_seconds: float) -> None:
        await asyncio.Event().wait()

    service = Service(0)
    breaker = CircuitBreaker(service.health, sleep=never, threshold=1)
    breaker.record_failure("refused")
    await breaker.aclose()
    assert breaker.open
    assert service.probes == 0
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(breaker.wait_closed(), 0)
