"""Collect Prometheus metrics and serve them with the health endpoints.

One port serves ``/metrics``, ``/healthz`` (the event loop runs) and ``/readyz`` (Discord is
connected, the database accepts a write, the backend is available). Each Metrics has its own
registry.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from bot.domain.events import Delivered, JobEvent, Redelivered, Scheduled, Started
from bot.domain.hosts import is_loopback
from bot.domain.job import Job, JobState
from bot.http_listener import listen
from bot.services.supervision import keep_running

_WAIT_BUCKETS_S = (1, 5, 15, 60, 300, 900, 3600, 14400)
_ACK_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3)
_RUN_BUCKETS_S = (1, 5, 15, 30, 60, 120, 300, 900, 3600)
LAG_INTERVAL_SECONDS = 0.1


class Metrics:
    """The bot's metrics; a JobObserver that counts events."""

    def __init__(self, *, now: Callable[[], datetime]) -> None:
        self._now = now
        self.registry = CollectorRegistry()
        registry = self.registry
        self._ended = Counter(
            "gridbrush_jobs_ended", "Jobs that ended.", ["state", "cause"], registry=registry
        )
        self._images = Counter("gridbrush_images_delivered", "Images delivered.", registry=registry)
        self._credits = Counter(
            "gridbrush_credits_spent", "Credits that jobs have cost.", registry=registry
        )
        self._refunds = Counter(
            "gridbrush_credits_refunded",
            "Credits reserved for jobs and refunded.",
            registry=registry,
        )
        self._deliveries = Counter(
            "gridbrush_deliveries", "Results by delivery method.", ["method"], registry=registry
        )
        self._wait = Histogram(
            "gridbrush_job_wait_seconds",
            "From accepted to scheduled.",
            buckets=_WAIT_BUCKETS_S,
            registry=registry,
        )
        self._run = Histogram(
            "gridbrush_job_run_seconds",
            "From started to delivered.",
            buckets=_RUN_BUCKETS_S,
            registry=registry,
        )
        self._ack = Histogram(
            "gridbrush_interaction_ack_seconds",
            "From receiving an interaction to its first response.",
            buckets=_ACK_BUCKETS_S,
            registry=registry,
        )
        self._waiting = Gauge("gridbrush_jobs_waiting", "Jobs in the queue.", registry=registry)
        self._running = Gauge("gridbrush_jobs_running", "Jobs that hold a slot.", registry=registry)
        self._backend_unavailable = Gauge(
            "gridbrush_backend_unavailable",
            "1 while the backend is unavailable.",
            registry=registry,
        )
        self._store_unavailable = Gauge(
            "gridbrush_store_unavailable",
            "1 while the database cannot be written or read.",
            registry=registry,
        )
        self._outages = Counter(
            "gridbrush_store_outages", "Times the store became unavailable.", registry=registry
        )
        self._outage_seconds = Counter(
            "gridbrush_store_unavailable_seconds",
            "Seconds for which the store was unavailable, counted at the end of each time.",
            registry=registry,
        )
        self._outage_since: datetime | None = None
        self._rate_limited = Counter(
            "gridbrush_discord_rate_limited", "Responses 429 from Discord.", registry=registry
        )
        self._lag = Gauge(
            "gridbrush_event_loop_lag_seconds_max",
            "Longest lag of the event loop so far.",
            registry=registry,
        )
        self._success = Gauge(
            "gridbrush_last_success_timestamp_seconds", "Last delivered grid.", registry=registry
        )
        self._backup = Gauge(
            "gridbrush_backup_last_success_timestamp_seconds",
            "Last scheduled backup of the database.",
            registry=registry,
        )
        self._backup_failures = Counter(
            "gridbrush_backup_failures", "Scheduled backups that failed.", registry=registry
        )
        self._picture_requests = Counter(
            "gridbrush_picture_requests",
            "Requests to the picture server.",
            ["status"],
            registry=registry,
        )
        self._picture_bytes = Counter(
            "gridbrush_picture_served_bytes",
            "Bytes that the picture server has sent.",
            registry=registry,
        )
        self._removed = Counter(
            "gridbrush_results_removed",
            "Results whose pictures were removed.",
            ["cause"],
            registry=registry,
        )
        self._removed_bytes = Counter(
            "gridbrush_results_removed_bytes",
            "Bytes of pictures that were removed.",
            registry=registry,
        )
        self.max_lag_s = 0.0

    async def on_event(self, job: Job, event: JobEvent) -> None:
        """Count a job's event."""
        now = self._now()
        if isinstance(event, Scheduled):
            self._wait.observe((now - job.created_at).total_seconds())
        if isinstance(event, Started) and job.state is JobState.RUNNING:
            self._backend_unavailable.set(0)
        if isinstance(event, Delivered):
            self._deliveries.labels(event.method).inc()
            self._images.inc(len(job.fetched_rows) * job.request.samples)
            self._success.set(now.timestamp())
            if job.started_at is not None:
                self._run.observe((now - job.started_at).total_seconds())
        if isinstance(event, Redelivered):
            self._deliveries.labels(event.method).inc()  # it has ended, and was counted, before
        elif job.state.terminal:
            self._ended.labels(job.state.value, job.cause or "").inc()

    def observe_cost(self, cost: Decimal, refund: Decimal) -> None:
        """Count the credits that a job has cost, and those refunded."""
        self._credits.inc(float(cost))
        self._refunds.inc(float(refund))

    def observe_ack_latency(self, seconds: float) -> None:
        """Record the seconds from receiving an interaction to its first response."""
        self._ack.observe(seconds)

    def count_rate_limit(self) -> None:
        """Count a response 429 from Discord."""
        self._rate_limited.inc()

    def set_backend_unavailable(self, unavailable: bool, _detail: str) -> None:
        """Record whether the backend is unavailable."""
        self._backend_unavailable.set(int(unavailable))

    def backed_up(self, at: datetime) -> None:
        """Record the time of a successful scheduled backup."""
        self._backup.set(at.timestamp())

    def backup_failed(self) -> None:
        """Count a failed scheduled backup."""
        self._backup_failures.inc()

    def picture_served(self, status: int, size: int) -> None:
        """Count an answer of the picture server, with the bytes of its body."""
        self._picture_requests.labels(str(status)).inc()
        self._picture_bytes.inc(size)

    def pictures_removed(self, cause: str, size: int) -> None:
        """Count a result whose pictures, ``size`` bytes, were removed."""
        self._removed.labels(cause).inc()
        self._removed_bytes.inc(size)

    def store_changed(self, cause: str) -> None:
        """Record why the store is unavailable, or "" when it is available again."""
        self._store_unavailable.set(int(bool(cause)))
        if cause and self._outage_since is None:
            self._outage_since = self._now()
            self._outages.inc()
        elif not cause and self._outage_since is not None:
            spent = (self._now() - self._outage_since).total_seconds()
            self._outage_seconds.inc(max(0.0, spent))
            self._outage_since = None

    def set_queue_depth(self, *, waiting: int, running: int) -> None:
        """Set the numbers of queued and running jobs."""
        self._waiting.set(waiting)
        self._running.set(running)

    async def monitor_event_loop(self) -> None:
        """Measure for ever how late the event loop wakes this task: its lag."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_INTERVAL_SECONDS
            await asyncio.sleep(LAG_INTERVAL_SECONDS)
            lag = loop.time() - due
            if lag > self.max_lag_s:
                self.max_lag_s = lag
                self._lag.set(lag)


def _require_local_host(host: str) -> Middleware:
    """Return a middleware for a server on ``host``: 421 for foreign Host names on loopback.

    A web page can point its own name at 127.0.0.1 and read what listens there (DNS rebinding). On
    any other address the Host may be any name of the operator's network.
    """

    def local(name: str) -> bool:
        return is_loopback(name) or name.endswith(".localhost")

    def called(header: str) -> str:
        with contextlib.suppress(ValueError):
            return urlsplit(f"//{header}").hostname or ""
        return ""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        header = request.headers.get("Host")
        if not local(host) or header is None:
            return await handler(request)
        name = called(header)
        if local(name) or name == host:
            return await handler(request)
        return web.Response(status=421, text="Call it by the address it listens on.\n")

    return guard


@asynccontextmanager
async def serve_metrics(
    metrics: Metrics,
    address: tuple[str, int] | None,
    *,
    readiness: Callable[[], Awaitable[Mapping[str, bool | str]]],
    refresh: Callable[[], Awaitable[None]],
) -> AsyncIterator[str]:
    """Serve on ``address`` (port 0: a free one; None: not at all) and yield the base URL.

    ``readiness`` returns the state of each part, and a cause as text; ``refresh`` updates gauges
    before a scrape. Raises ConfigError if the address cannot be used.
    """
    if address is None:
        yield ""
        return

    async def show(_: web.Request) -> web.Response:
        await refresh()
        body = generate_latest(metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def live(_: web.Request) -> web.Response:
        return web.json_response({"live": True})

    async def ready(_: web.Request) -> web.Response:
        parts = dict(await readiness())
        return web.json_response(parts, status=503 if False in parts.values() else 200)

    program = web.Application(middlewares=[_require_local_host(address[0])])
    program.add_routes(
        [web.get("/metrics", show), web.get("/healthz", live), web.get("/readyz", ready)]
    )
    runner = web.AppRunner(program, access_log=None)
    await runner.setup()
    try:
        url = await listen(runner, address, "[metrics] listen", "metrics")
        watching = asyncio.get_running_loop().create_task(
            keep_running("measuring the event loop", metrics.monitor_event_loop)
        )
        try:
            yield url
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
    finally:
        await runner.cleanup()
