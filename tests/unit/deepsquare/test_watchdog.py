"""What is done about jobs that wait, hang or come back, with figures in the place of time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from bot.backends.deepsquare.abi import ChainJob, Status
from bot.backends.deepsquare.state import CancelReason, ChainAttempt
from bot.backends.deepsquare.timeouts import Timeouts
from bot.backends.deepsquare.watchdog import CancelAttempt, Watchdog, WatchdogAction
from tests.unit.deepsquare import vectors
from tests.unit.deepsquare.vectors import CREDIT

BEGUN = datetime(2026, 1, 1, 12, tzinfo=UTC)
ATTEMPT = ChainAttempt("script", BEGUN, 500 * CREDIT, number=7, requested_at=BEGUN)
JOB = replace(
    ChainJob.decode(vectors.JOB_ANSWER),
    status=Status.PENDING,
    started=int(BEGUN.timestamp()),
    max_cost=500 * CREDIT,
)


def later(**time: float) -> datetime:
    return BEGUN + timedelta(**time)


def watchdog(attempt: ChainAttempt = ATTEMPT, per_minute: int | None = 50 * CREDIT) -> Watchdog:
    return Watchdog(attempt, Timeouts(), BEGUN, per_minute)


def kinds(findings: list[WatchdogAction]) -> list[str]:
    return [
        finding.reason if isinstance(finding, CancelAttempt) else type(finding).__name__
        for finding in findings
    ]


def look(
    watch: Watchdog, status: Status, now: datetime, heard: datetime | None = None, **facts: object
) -> list[str]:
    job = replace(JOB, status=status, **facts)  # type: ignore[arg-type]
    return kinds(watch.check(job, heard or now, now))


def test_pending_for_long_is_told_at_two_minutes_and_cancelled_at_ten() -> None:
    watch = watchdog()
    assert look(watch, Status.PENDING, later(seconds=119)) == []
    assert look(watch, Status.PENDING, later(seconds=120)) == ["LogMessage"]
    assert look(watch, Status.PENDING, later(seconds=599)) == []
    assert look(watch, Status.PENDING, later(seconds=600)) == [CancelReason.NOBODY_TOOK_IT]
    assert look(watch, Status.PENDING, later(seconds=900)) == []


def test_meta_scheduled_for_long_is_told_and_waited_out_until_the_script_is_old() -> None:
    watch = watchdog()
    assert look(watch, Status.META_SCHEDULED, later(seconds=121)) == ["LogMessage"]
    assert look(watch, Status.META_SCHEDULED, later(minutes=49)) == []
    assert look(watch, Status.META_SCHEDULED, later(minutes=50)) == [CancelReason.SCRIPT_OLD]


def test_at_fifty_minutes_since_the_submit_a_waiting_job_is_withdrawn_however_it_waits() -> None:
    old = replace(ATTEMPT, script_at=BEGUN - timedelta(minutes=50))
    assert look(watchdog(old), Status.PENDING, later(seconds=1)) == [CancelReason.SCRIPT_OLD]


def test_a_claimed_job_waits_in_its_providers_line_without_limit() -> None:
    watch = watchdog()
    for hours in range(1, 20):
        assert look(watch, Status.SCHEDULED, later(hours=hours)) == []


def test_status_back_to_pending_is_counted_and_the_third_time_it_is_cancelled() -> None:
    watch = watchdog()
    for _ in range(2):
        watch.note_rejection()
        assert look(watch, Status.META_SCHEDULED, later(seconds=5)) == []
        assert look(watch, Status.PENDING, later(seconds=10)) == []
    watch.note_rejection()
    assert look(watch, Status.PENDING, later(seconds=15)) == [CancelReason.REFUSED]


def test_each_return_to_the_line_waits_anew() -> None:
    watch = watchdog()
    assert look(watch, Status.PENDING, later(minutes=8)) == ["LogMessage"]
    assert look(watch, Status.META_SCHEDULED, later(minutes=9)) == []
    assert look(watch, Status.PENDING, later(minutes=11)) == []
    assert look(watch, Status.PENDING, later(minutes=13)) == ["LogMessage"]
    assert look(watch, Status.PENDING, later(minutes=21)) == [CancelReason.NOBODY_TOOK_IT]


def test_no_log_at_all_while_running_reopens_the_stream_every_ten_minutes() -> None:
    watch = watchdog(per_minute=None)
    heard = BEGUN
    assert look(watch, Status.RUNNING, later(seconds=599), heard) == []
    assert look(watch, Status.RUNNING, later(seconds=600), heard) == ["LogMessage", "ReopenLog"]
    assert look(watch, Status.RUNNING, later(seconds=700), heard) == []
    assert look(watch, Status.RUNNING, later(seconds=1200), heard) == ["LogMessage", "ReopenLog"]
    assert look(watch, Status.RUNNING, later(seconds=1900), later(seconds=1800)) == []


def test_cancel_while_running_is_asked_again_after_five_minutes() -> None:
    watch = watchdog()

    def asked(seconds: int) -> list[str]:
        return look(watch, Status.RUNNING, later(seconds=seconds), cancel_requested=True)

    assert asked(10) == []
    assert asked(300) == []
    assert asked(310) == ["LogMessage", "RepeatCancel"]
    assert asked(320) == []


def test_running_past_what_was_paid_is_told_cancelled_and_at_last_given_up() -> None:
    watch = watchdog()  # 500 credits at 50 a minute: ten minutes, and 20 more of grace
    assert look(watch, Status.RUNNING, later(minutes=29)) == []
    assert look(watch, Status.RUNNING, later(minutes=30)) == ["LogMessage", CancelReason.OVERDUE]
    assert look(watch, Status.RUNNING, later(minutes=59)) == []
    assert look(watch, Status.RUNNING, later(minutes=60)) == ["AbandonJob"]


def test_a_job_that_is_over_is_left_alone() -> None:
    assert look(watchdog(), Status.FINISHED, later(days=1)) == []


def test_a_job_that_was_claimed_at_the_last_moment_may_have_to_be_cancelled_later() -> None:
    watch = watchdog()
    assert look(watch, Status.PENDING, later(minutes=10)) == [CancelReason.NOBODY_TOOK_IT]
    watch.reset()
    assert look(watch, Status.SCHEDULED, later(minutes=10)) == []
    assert look(watch, Status.PENDING, later(minutes=11)) == []
    assert look(watch, Status.PENDING, later(minutes=21)) == [CancelReason.NOBODY_TOOK_IT]


def test_a_job_that_was_topped_up_may_run_for_what_was_paid_since() -> None:
    watch = watchdog()
    more = 1000 * CREDIT
    assert look(watch, Status.RUNNING, later(minutes=39), max_cost=more) == []
    late = look(watch, Status.RUNNING, later(minutes=40), max_cost=more)
    assert late == ["LogMessage", CancelReason.OVERDUE]
