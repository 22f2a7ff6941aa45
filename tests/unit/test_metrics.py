"""Metrics over their real port: figures, life and readiness."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import httpx
import pytest

from bot.domain.errors import ConfigError
from bot.domain.events import Delivered, Failed, FailureReason, Scheduled
from bot.domain.job import Job, JobState, new_job
from bot.domain.request import Author, ChannelRef, Request
from bot.metrics import Metrics, serve_metrics

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def job() -> Job:
    request = Request("a fox", 7, 20, 64, 64, 2, 3, "sd-2-1", Author(1, "Ada"), ChannelRef(2, 3))
    return new_job("abcdefghijklmnop", request, NOW - timedelta(seconds=30))


async def well() -> dict[str, bool]:
    return {"discord": True, "backend": True}


async def nothing() -> None:
    return None


async def test_events_become_figures() -> None:
    metrics = Metrics(now=lambda: NOW)
    await metrics.on_event(job(), Scheduled())
    started = replace(job(), state=JobState.FINISHED, started_at=NOW, fetched_rows=(1, 2))
    await metrics.on_event(started, Delivered("channel"))
    failed = replace(job(), state=JobState.FAILED, cause=FailureReason.DIED)
    await metrics.on_event(failed, Failed(FailureReason.DIED, "It died."))
    metrics.count_rate_limit()
    metrics.observe_ack_latency(0.2)
    metrics.observe_cost(Decimal("4.5"), Decimal("95.5"))
    metrics.set_queue_depth(waiting=4, running=2)
    metrics.set_backend_unavailable(True, "away")
    metrics.picture_served(206, 1000)
    metrics.pictures_removed("age", 5000)
    async with (
        serve_metrics(metrics, ("127.0.0.1", 0), readiness=well, refresh=nothing) as base,
        httpx.AsyncClient() as client,
    ):
        answer = await client.get(f"{base}/metrics")
        assert (await client.get(f"{base}/healthz")).json() == {"live": True}
        assert (await client.get(f"{base}/readyz")).status_code == 200
    text = answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'gridbrush_deliveries_total{method="channel"} 1.0' in text
    assert 'gridbrush_jobs_ended_total{cause="died",state="failed"} 1.0' in text
    assert "gridbrush_images_delivered_total 6.0" in text
    assert "gridbrush_discord_rate_limited_total 1.0" in text
    assert "gridbrush_credits_spent_total 4.5" in text
    assert "gridbrush_credits_refunded_total 95.5" in text
    assert "gridbrush_jobs_waiting 4.0" in text
    assert 'gridbrush_picture_requests_total{status="206"} 1.0' in text
    assert "gridbrush_picture_served_bytes_total 1000.0" in text
    assert 'gridbrush_results_removed_total{cause="age"} 1.0' in text
    assert "gridbrush_results_removed_bytes_total 5000.0" in text
    assert "gridbrush_backend_unavailable 1.0" in text
    assert 'gridbrush_job_wait_seconds_bucket{le="60.0"} 1.0' in text
    assert "gridbrush_job_run_seconds_count 1.0" in text
    assert "gridbrush_interaction_ack_seconds_count 1.0" in text
    assert "gridbrush_event_loop_lag_seconds_max" in text


async def test_what_is_not_ready_is_named() -> None:
    async def unwell() -> dict[str, bool]:
        return {"discord": True, "backend": False}

    metrics = Metrics(now=lambda: NOW)
    async with (
        serve_metrics(metrics, ("127.0.0.1", 0), readiness=unwell, refresh=nothing) as base,
        httpx.AsyncClient() as client,
    ):
        answer = await client.get(f"{base}/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"discord": True, "backend": False}


async def test_a_port_that_is_taken_is_a_configuration_error() -> None:
    metrics = Metrics(now=lambda: NOW)
    async with serve_metrics(metrics, ("127.0.0.1", 0), readiness=well, refresh=nothing) as base:
        port = int(base.rpartition(":")[2])
        with pytest.raises(ConfigError, match="listen"):
            async with serve_metrics(metrics, ("127.0.0.1", port), readiness=well, refresh=nothing):
                pass


async def test_switched_off_means_no_port() -> None:
    async with serve_metrics(
        Metrics(now=lambda: NOW), None, readiness=well, refresh=nothing
    ) as base:
        assert base == ""


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz", "/nothing"])
@pytest.mark.parametrize(
    ("listen", "host", "answered"),
    [
        ("127.0.0.1", "evil.invalid", False),
        ("127.0.0.1", "evil.invalid:9100", False),
        ("127.0.0.1", "localhost.evil.invalid", False),
        ("127.0.0.1", "[", False),
        ("127.0.0.1", "10.0.0.1", False),
        ("127.0.0.1", "localhost:9100", True),
        ("127.0.0.1", "127.0.0.1:9100", True),
        ("127.0.0.1", "[::1]:9100", True),
        ("localhost", "evil.invalid", False),
        ("localhost", "gridbrush.localhost", True),
        ("0.0.0.0", "gridbrush:9100", True),
        ("0.0.0.0", "gridbrush.monitoring.svc", True),
    ],
)
async def test_a_loopback_port_answers_only_to_this_machines_names(
    path: str, listen: str, host: str, answered: bool
) -> None:
    """Whoever listens for others is scraped by a service name; a page elsewhere has no business."""
    metrics = Metrics(now=lambda: NOW)
    async with (
        serve_metrics(metrics, (listen, 0), readiness=well, refresh=nothing) as base,
        httpx.AsyncClient(trust_env=False) as client,
    ):
        address = base.replace("0.0.0.0", "127.0.0.1") + path
        usual = (await client.get(address)).status_code
        answer = await client.get(address, headers={"Host": host})
    assert answer.status_code == (usual if answered else 421)
