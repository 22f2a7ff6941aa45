"""All timeouts of the DeepSquare backend in one place, so that tests can shorten them.

They follow the known intervals of the Grid (a provider asks for work every 5 s, a script is kept
one hour, the logger hangs up every hour) and leave room around them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """In seconds, unless a name says otherwise."""

    poll: float = 4.0
    """Between two polls of the chain, for all followed jobs together."""
    outage: float = 30.0
    """Maximum between two polls while the chain is unavailable."""
    receipt_poll: float = 1.0
    receipt: float = 120.0
    """For a transaction to be mined; after that the next call continues from what is saved."""
    rebroadcast: float = 10.0
    fee_bump_after: float = 60.0
    """After this an unmined transaction is replaced at a higher gas price, same nonce."""
    max_missed_polls: int = 5
    """Consecutive polls without a receipt for a used nonce before the transaction is given up."""

    script_resend: float = 2700.0
    """Age of its script up to which a transaction is sent unchanged; later with a new one."""
    script_renew: float = 3000.0
    """Age of its script at which an unclaimed job is cancelled and resubmitted, 10 min early."""
    pending_warning: float = 120.0
    pending: float = 600.0
    """For a provider to be assigned; then the job is cancelled, at no cost."""
    claim_warning: float = 120.0
    max_rejections: int = 3
    max_resubmissions: int = 2

    log_silence: float = 600.0
    """Without a log line while the job runs; then the stream is reopened."""
    tail: float = 30.0
    """Without a log line after the job's end; then the log counts as complete."""
    quiet_period: float = 1.0
    """Without a log line after the platform's last one; then the log is complete."""
    flood: float = 900.0
    """After the job's end; then reading its log stops, even if lines keep coming."""
    logger_outage: float = 600.0
    """For an unavailable logger after the job's end: the log has the links to the files."""
    stopping: float = 1.0
    """Between two polls of a job that is being cancelled."""
    stopped_tail: float = 2.5
    """For the rest of a cancelled job's log: nobody waits for its pictures."""
    cancel: float = 300.0
    """For a provider to stop a running job; then the cancellation is repeated."""
    overdue: float = 1200.0
    """Past the paid minutes; then the operator is warned and the job cancelled."""
    lost: float = 1800.0
    """After ``overdue``; then the job is given up."""
    state_refresh: float = 240.0
    """Maximum age of a followed job's state without events."""

    backoff: tuple[float, ...] = (1.0, 2.0, 5.0, 10.0, 30.0)
    """Between attempts to reach the logger, with a jitter of a fifth."""
    retries: tuple[float, ...] = (0.3, 1.0, 2.0)
    """Between attempts to read from the chain, to submit a script or to download a file."""
    request: float = 15.0
    """For one request to the chain."""
    probe: float = 5.0
    """For one response of a health check."""
    submit_request: float = 100.0
    """For a script to be accepted: the service may query image registries meanwhile."""
    download: float = 600.0
    read: float = 60.0
    connect: float = 10.0
    prices: float = 600.0
    """How long the providers' prices are cached."""
