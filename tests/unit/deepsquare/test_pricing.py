"""What is locked for a job: enough, not more than allowed, and never less than the least."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.backends.deepsquare.abi import JobDefinition, format_credits, to_wei
from bot.backends.deepsquare.pricing import (
    LockLimits,
    Prices,
    Provider,
    RuntimeSamples,
    highest_price,
    lock_amount,
    workload_key,
)
from bot.domain.errors import SubmissionRejected
from tests.backends.jobs import submission
from tests.unit.deepsquare.vectors import CPU, CREDIT, GPU, MEM, PER_MINUTE

BOUNDS = LockLimits(minimum=100 * CREDIT, default=500 * CREDIT, maximum=1000 * CREDIT)
JOB = JobDefinition(gpus=4, mem_per_cpu=8000, cpus_per_task=8, tasks=4, script="script")
LABELS = (("os", "linux"), ("gpu", "nvidia-geforce-rtx-3090"), ("compute.gflops", "35000"))


def provider(gpu_price: int = GPU, **changed: object) -> Provider:
    facts: dict[str, object] = {
        "address": "0x",
        "prices": Prices(gpu_price, CPU, MEM),
        "labels": LABELS,
        "gpus": 8,
        "cpus": 64,
        "mem": 512_000,
    }
    return Provider(**facts | changed)  # type: ignore[arg-type]


def wanting(
    *affinity: tuple[str, str, str], uses: tuple[tuple[str, str], ...] = ()
) -> JobDefinition:
    return JobDefinition(4, 8000, 8, 4, "script", uses=uses, affinity=affinity)


def test_an_unknown_job_locks_the_usual_amount() -> None:
    assert lock_amount(PER_MINUTE, BOUNDS, None) == 500 * CREDIT


def test_a_cheap_job_locks_at_least_the_minimum() -> None:
    assert (
        lock_amount(CREDIT, LockLimits(100 * CREDIT, CREDIT, 1000 * CREDIT), None) == 100 * CREDIT
    )


def test_a_measured_job_locks_its_time_with_a_margin() -> None:
    assert lock_amount(10 * CREDIT, BOUNDS, 20.0) == 26 * 10 * CREDIT


def test_a_lock_never_passes_the_operators_ceiling_and_still_buys_what_is_needed() -> None:
    assert lock_amount(100 * CREDIT, BOUNDS, 8.5) == 1000 * CREDIT


def test_a_job_that_the_ceiling_does_not_buy_is_refused_with_the_figures() -> None:
    with pytest.raises(SubmissionRejected, match=r"20 min at 84\.88 .*allows 1,000"):
        lock_amount(PER_MINUTE, BOUNDS, 19.0)
    with pytest.raises(SubmissionRejected):
        lock_amount(CREDIT, LockLimits(100 * CREDIT, 50 * CREDIT, 50 * CREDIT), None)
    with pytest.raises(SubmissionRejected):
        lock_amount(501 * CREDIT, BOUNDS, None)


@settings(max_examples=60, deadline=None)
@given(
    per_minute=st.integers(1, 600 * CREDIT),
    least=st.integers(0, 300 * CREDIT),
    usual=st.integers(0, 900 * CREDIT),
    more=st.integers(0, 900 * CREDIT),
    measured=st.none() | st.floats(0, 500),
)
def test_a_lock_is_within_its_bounds_and_buys_two_minutes_or_is_refused(
    per_minute: int, least: int, usual: int, more: int, measured: float | None
) -> None:
    bounds = LockLimits(least, usual, usual + more)
    try:
        lock = lock_amount(per_minute, bounds, measured)
    except SubmissionRejected:
        return
    assert bounds.minimum <= lock <= bounds.maximum
    assert lock // per_minute >= max(2, measured or 0)


def test_the_dearest_provider_that_fits_is_what_is_reckoned_with() -> None:
    dear, cheap = provider(2 * GPU), provider()
    assert highest_price([cheap, dear], JOB) == PER_MINUTE + 4 * GPU
    assert highest_price([cheap, provider(9 * GPU, gpus=3)], JOB) == PER_MINUTE
    assert highest_price([provider(cpus=31), provider(mem=255_999)], JOB) is None
    assert highest_price([], JOB) is None


@pytest.mark.parametrize(
    ("definition", "fits"),
    [
        (wanting(uses=(("os", "linux"),)), True),
        (wanting(uses=(("os", "plan9"),)), False),
        (wanting(uses=(("zone", "eu"),)), False),
        (wanting(("gpu", "in", "rtx")), True),
        (wanting(("gpu", "in", "a100")), False),
        (wanting(("compute.gflops", ">", "4000")), True),
        (wanting(("compute.gflops", "<", "4000")), False),
        (wanting(("compute.gflops", ">=", "35000.0")), True),
        (wanting(("compute.gflops", "<=", "34999")), False),
        (wanting(("os", "!=", "linux")), False),
        (wanting(("os", "==", "linux"), ("os", ">", "aix")), True),
        (wanting(("os", "~", "linux")), False),
    ],
)
def test_labels_are_compared_as_the_grid_compares_them(
    definition: JobDefinition, fits: bool
) -> None:
    assert provider().fits(definition) is fits


def test_run_times_count_when_enough_are_known_and_the_last_ones_only() -> None:
    runtimes = RuntimeSamples([("a", 3.0), ("a", 9.0)])
    assert runtimes.longest("a") is None
    runtimes.add("a", 4.0)
    assert runtimes.longest("a") == 9.0
    assert runtimes.longest("b") is None
    for _ in range(20):
        runtimes.add("a", 5.0)
    assert runtimes.longest("a") == 5.0


def test_a_shape_is_what_makes_a_job_long_and_nothing_of_what_it_says() -> None:
    first = submission("one", "https://x.example").workflow
    assert workload_key(first) == workload_key(submission("two", "https://y.example").workflow)
    assert workload_key(first) != workload_key(
        submission("two", "https://y.example", rows=4).workflow
    )
    assert "MAC_KEY" not in workload_key(first)


def test_amounts_are_exact_and_readable() -> None:
    assert to_wei(Decimal("0.1")) == CREDIT // 10
    assert to_wei(Decimal("1e-19")) == 1
    assert format_credits(848_800_000_000_000_000_000) == "848.8"
    assert format_credits(1_000_000 * CREDIT) == "1,000,000"
    assert format_credits(0) == "0"
