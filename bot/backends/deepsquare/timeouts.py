"""All timeouts of the DeepSquare backend in one place, so that tests can shorten them.

They follow the known intervals of the Grid (a provider asks for work every 5 s, a script is kept
one hour, the logger hangs up every hour) and leave room around them.
"""

from __future__ import annotations

from dataclasses import dataclass

SCRIPT_LIFE_SECONDS = 3600.0
"""How long the service keeps a submitted script; a provider that claims later finds nothing."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """In seconds, unless a name says otherwise."""

    poll: float = 4.0
    """Between two looks at the chain for all followed jobs together."""
    outage: float = 30.0
    """The longest pause between two looks while the chain cannot be reached."""
    receipt_poll: float = 1.0
    receipt: float = 120.0
    """For a transaction to be mined; afterwards the job's recovery goes on from what is saved."""
    rebroadcast: float = 10.0
    fee_bump_after: float = 60.0
    """After which a transaction that is not mined is offered at a higher price, same nonce."""
    max_missed_polls: int = 5
    """So often in a row a used nonce must have no receipt before the transaction is given up."""

    script_resend: float = 2700.0
    """Until this age of its script a transaction is sent again as it is; later with a new one."""
    script_renew: float = 3000.0
    """At this age a job that nobody claimed is cancelled and submitted anew, 10 min early."""
    pending_warn: float = 120.0
    pending: float = 600.0
    """For a provider to be assigned; then the job is cancelled, at no cost."""
    claim_warning: float = 120.0
    refusals: int = 3
    resubmissions: int = 2

    log_silence: float = 600.0
    """Without a log line while the job runs; then the stream is opened anew."""
    tail: float = 30.0
    """Without a log line after the job's end; then the log is taken to be complete."""
    quiet_period: float = 1.0
    """Without a log line after the platform's last one; then the log is complete."""
    flood: float = 900.0
    """After which the log of an ended job is read no further, though lines go on coming."""
    logger_outage: float = 600.0
    """For a logger that is away to come back after the job's end: its links are in there."""
    stopping: float = 1.0
    """Between two looks at a job that somebody wants stopped."""
    stopped_tail: float = 2.5
    """For the rest of a stopped job's log, whatever it does: nobody waits for pictures of it."""
    cancel: float = 300.0
    """For a provider to stop a running job; then it is asked again."""
    overdue: float = 1200.0
    """Past the paid minutes; then the operator is told and the job cancelled."""
    lost: float = 1800.0
    """After that; then the job is given up."""
    state_refresh: float = 240.0
    """After which a followed job's state is read even if no event spoke of it."""

    backoff: tuple[float, ...] = (1.0, 2.0, 5.0, 10.0, 30.0)
    """Between attempts to reach the logger; a fifth of each is left to chance."""
    retries: tuple[float, ...] = (0.3, 1.0, 2.0)
    """Between attempts to read from the chain, to submit a script or to download a file."""
    request: float = 15.0
    """For one request to the chain."""
    probe: float = 5.0
    """For one answer of a health check."""
    submit_request: float = 100.0
    """For a script to be taken: the service may look at image registries meanwhile."""
    download: float = 600.0
    read: float = 60.0
    connect: float = 10.0
    prices: float = 600.0
    """For which the providers' prices are taken as known."""
