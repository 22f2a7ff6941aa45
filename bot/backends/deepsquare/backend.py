"""DeepSquareBackend: the Backend protocol over the modules of this package.

It wires them once and holds no state of its own: what must survive a crash is in the state store,
the rest is read from the chain.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from pathlib import Path

import httpx

from bot.backends.base import (
    FinalCost,
    Health,
    LifecycleEvent,
    LogLine,
    PriceQuote,
    Submission,
    WalletStatus,
)
from bot.backends.deepsquare import checks
from bot.backends.deepsquare.abi import Status, format_credits, to_credits, to_wei
from bot.backends.deepsquare.chain_watcher import ChainWatcher
from bot.backends.deepsquare.contracts import ContractReader
from bot.backends.deepsquare.downloads import ArtifactDownloader
from bot.backends.deepsquare.follower import Follower
from bot.backends.deepsquare.log_client import LogClient
from bot.backends.deepsquare.options import DeepSquareOptions
from bot.backends.deepsquare.pricing import RuntimeSamples
from bot.backends.deepsquare.providers import ProviderDirectory
from bot.backends.deepsquare.quotes import PricingPolicy, QuoteService
from bot.backends.deepsquare.rpc import RpcClient
from bot.backends.deepsquare.sbatch_client import SbatchClient
from bot.backends.deepsquare.settlement import JobSettlement
from bot.backends.deepsquare.state import JobRecord, NonceRecord
from bot.backends.deepsquare.state_store import StateStore
from bot.backends.deepsquare.submission import JobSubmitter
from bot.backends.deepsquare.transactions import TransactionSender
from bot.domain.checks import CheckResult
from bot.domain.errors import BackendError, SubmissionRejected, Unavailable
from bot.domain.events import Artifact, BackendJobRef
from bot.domain.image_engine import SCRIPT, EngineInfo
from bot.domain.workflow.document import Workflow

log = logging.getLogger(__name__)

NAME = "deepsquare"


class DeepSquareBackend:
    """Jobs on the DeepSquare Grid, paid from one wallet. A handle's ``ref`` is the bot's job id."""

    name = NAME

    def __init__(
        self, options: DeepSquareOptions, store: StateStore, records: list[JobRecord]
    ) -> None:
        """Build the backend. ``records`` are the stored jobs: their run times size future locks."""
        self._options = options
        timeouts, now, sleep = options.timeouts, options.now, options.sleep
        wallet = options.wallet
        self._store = store
        self._http = httpx.AsyncClient(follow_redirects=False)
        self._rpc = RpcClient(options.rpc_url, timeouts, sleep)
        chain = ContractReader(self._rpc, options.meta_scheduler, options.chain_id, wallet.address)
        providers = ProviderDirectory(chain, store, now=now, max_age=timeouts.prices)
        runs = [(each.shape, each.minutes) for each in records if each.minutes is not None]
        policy = PricingPolicy(
            to_wei(options.lock_credits),
            to_wei(options.max_credits_per_job),
            options.uses,
            options.affinity,
        )
        self._quotes = QuoteService(chain, providers, policy, RuntimeSamples(runs))
        self._scripts = SbatchClient(
            options.sbatch_url, options.sbatch_health, timeouts, http=self._http, sleep=sleep
        )
        sender = TransactionSender(
            rpc=self._rpc,
            wallet=wallet,
            store=store,
            chain_id=options.chain_id,
            timeouts=timeouts,
            now=now,
            sleep=sleep,
        )
        self._submitter = JobSubmitter(
            chain=chain,
            quotes=self._quotes,
            scripts=self._scripts,
            sender=sender,
            store=store,
            now=now,
        )
        self._settlement = JobSettlement(
            chain=chain,
            sender=sender,
            store=store,
            runtimes=self._quotes.runtimes,
            now=now,
            check_funds=self._quotes.check_funds,
        )
        self._watcher = ChainWatcher(chain, store, timeouts, now=now, sleep=sleep)
        self._logs = LogClient(
            options.logger_address,
            tls=options.logger_tls,
            wallet=wallet,
            timeouts=timeouts,
            now=now,
            sleep=sleep,
            jitter=options.jitter,
        )
        self._files = ArtifactDownloader(
            options.trusted_hosts, timeouts, http=self._http, sleep=sleep
        )
        self._follower = Follower(
            submitter=self._submitter,
            settlement=self._settlement,
            watcher=self._watcher,
            logs=self._logs,
            timeouts=timeouts,
            now=now,
            quotes=self._quotes,
        )
        self._chain = chain
        self._check_targets = checks.CheckTargets(
            chain=chain,
            chain_id=options.chain_id,
            providers=providers,
            quotes=self._quotes,
            scripts=self._scripts,
            logs=self._logs,
            files=self._files,
            transfer_url=options.transfer_url,
        )

    def __repr__(self) -> str:
        return f"DeepSquareBackend({self._options.wallet.address})"

    def upload_url(self, job_id: str) -> str:
        """Return the file host; it gives every file a folder of its own."""
        return self._options.transfer_url.rstrip("/")

    async def put_input(self, job_id: str, source: Path) -> str:
        """Upload the file to the file host, which deletes it after some days; return its URL."""
        return await self._files.upload(source, self._options.transfer_url)

    async def price(self, workflow: Workflow) -> PriceQuote:
        """Return what the job would lock now, which is the most it can cost.

        Raises Unavailable, and SubmissionRejected where ``max_credits_per_job`` is too low.
        """
        return PriceQuote(to_credits(await self._quotes.lock_amount(workflow)))

    async def submit(self, submission: Submission) -> BackendJobRef:
        """Submit the script, lock the credits, and wait until the chain has the job."""
        await self._chain.contracts()
        record = await self._submitter.submit(submission)
        return BackendJobRef(NAME, record.job_id)

    async def find(self, job_id: str) -> BackendJobRef | None:
        """Return the job's handle if the chain has it, finishing what a crash interrupted."""
        try:
            record = await self._submitter.find(job_id)
        except SubmissionRejected:
            # No job can have such an id.
            return None
        return BackendJobRef(NAME, job_id) if record is not None else None

    def follow(
        self, handle: BackendJobRef, cursor: str | None = None
    ) -> AsyncIterator[LogLine | LifecycleEvent]:
        """Yield log lines as they arrive and lifecycle events from the chain."""
        return self._follower.follow(handle.id, cursor)

    async def fetch(self, artifact: Artifact, target: Path) -> None:
        """Download a file from a trusted host and verify it."""
        await self._files.fetch(artifact, target)

    async def cancel(self, handle: BackendJobRef) -> None:
        """Cancel the job on the chain. A running job may take minutes to stop."""
        record = await self._settlement.cancel_job(handle.id)
        numbers = record.numbers if record is not None else ()
        if record is None or not numbers or record.settled:
            return
        job = await self._chain.job(numbers[-1])
        if job is None or job.status.is_terminal or job.cancel_requested:
            return
        await self._settlement.cancel_attempt(handle.id, numbers[-1])
        with contextlib.suppress(Unavailable):
            await self._watcher.refresh(numbers[-1])

    async def extension(self, handle: BackendJobRef) -> Decimal | None:
        """Return what a running job should lock in all once its paid minutes run out.

        None while its lock lasts; never more than ``max_credits_per_job``. Raises Unavailable.
        """
        record = self._store.job(handle.id)
        attempt = record.attempt if record is not None else None
        if record is None or attempt is None or attempt.number is None or attempt.settled:
            return None
        if attempt.lock_target > attempt.lock:
            return to_credits(attempt.lock_target)  # pending since before a crash or an outage
        if record.stopped:
            return None
        job = await self._chain.job(attempt.number)
        if job is None or job.status is not Status.RUNNING or job.cancel_requested:
            return None
        ran_minutes = (self._options.now().timestamp() - job.started) / 60
        total = await self._quotes.top_up_target(job, ran_minutes)
        return None if total is None or total <= attempt.lock else to_credits(total)

    async def extend(self, handle: BackendJobRef, total: Decimal) -> None:
        """Top up the job's lock to ``total`` credits, at most ``max_credits_per_job``.

        Raises InsufficientFunds, SubmissionRejected, Unavailable.
        """
        maximum = to_wei(self._options.max_credits_per_job)
        if to_wei(total) > maximum:
            raise SubmissionRejected(
                f"a job may cost at most max_credits_per_job, {format_credits(maximum)} credits"
            )
        await self._settlement.extend(handle.id, to_wei(total))

    async def delete_job_data(self, job_id: str) -> None:
        """Do nothing: the record of a settled job holds no prompt, and is kept for its cost.

        Script, log and files are at the Grid, which deletes them after a time of its own.
        """

    async def final_cost(self, handle: BackendJobRef) -> FinalCost | None:
        """Wait until every attempt is settled on the chain and return their total cost."""
        record = self._store.job(handle.id)
        if record is None:
            return None
        await self._settlement.finish_top_up(handle.id)
        for attempt in record.attempts:
            if attempt.number is not None and not attempt.settled:
                await self._wait_settled(handle.id, attempt.number)
        await self._settlement.close_record(handle.id)
        record = self._store.job(handle.id) or record
        settled = [attempt for attempt in record.attempts if attempt.settled]
        cost = sum(attempt.cost or 0 for attempt in settled)
        refund = sum(attempt.refund for attempt in settled)
        names = ", ".join(f"{attempt.number}" for attempt in settled)
        detail = (
            f"Grid job {names}: {format_credits(cost)} of {format_credits(cost + refund)} credits"
        )
        return FinalCost(to_credits(cost), to_credits(refund), detail)

    async def health(self) -> Health:
        """Check that the chain, the contract and the script service answer."""
        try:
            async with asyncio.timeout(self._options.timeouts.probe):
                await self._chain.contracts()
                takes_jobs = await self._chain.takes_jobs()
                problem = await self._scripts.find_problem()
        except TimeoutError:
            hint = f"Check [backend.deepsquare] rpc_url. {checks.NETWORK_HINT}"
            return Health(False, "the chain does not answer in time", hint)
        except BackendError as error:
            return Health(False, str(error), checks.NETWORK_HINT)
        if not takes_jobs:
            hint = "Set [backend.deepsquare] meta_scheduler to the contract that is in use."
            return Health(False, f"the MetaScheduler {self._chain.scheduler} is retired", hint)
        if problem:
            return Health(False, problem, checks.NETWORK_HINT)
        return Health(True, f"chain {self._options.chain_id}, wallet {self._chain.customer}")

    async def wallet_report(self) -> WalletStatus:
        """Return balances and allowance. Raises Unavailable."""
        return await checks.wallet_report(self._check_targets)

    async def approve(self, amount: Decimal) -> None:
        """Set the MetaScheduler's allowance in credits: the operator's budget.

        Raises InsufficientFunds (gas), Unavailable.
        """
        await self._settlement.approve(to_wei(amount))

    async def model_engines(self) -> Mapping[str, EngineInfo]:
        """Return none: one script makes the images of all models."""
        return {}

    async def engine_info(self) -> EngineInfo:
        """Return the image's own script: it runs the model that each request names."""
        return EngineInfo(SCRIPT)

    async def run_checks(self, workflow: Workflow) -> list[CheckResult]:
        """Run all checks, each with a hint; ``workflow`` is a default grid."""
        return await checks.run_checks(self._check_targets, workflow)

    def records(self) -> tuple[JobRecord, ...]:
        """Return the records of all jobs, oldest first. Blocking."""
        return tuple(self._store.jobs())

    def pending_transactions(self) -> tuple[NonceRecord, ...]:
        """Return the pending transactions, by nonce. Blocking."""
        return self._store.pending_transactions()

    async def aclose(self) -> None:
        """Close all connections; jobs run on."""
        await self._watcher.aclose()
        await self._logs.aclose()
        await self._http.aclose()
        await self._rpc.aclose()

    async def _wait_settled(self, job_id: str, number: int) -> None:
        """Wait until a chain job has ended and save its cost."""
        woken = asyncio.Event()
        async with self._watcher.subscribe(number, woken.set) as subscription:
            while subscription.job is None or not subscription.job.status.is_terminal:
                woken.clear()
                unavailable_since = self._watcher.unavailable_since
                now = self._options.now()
                timeouts = self._options.timeouts
                if (
                    unavailable_since is not None
                    and (now - unavailable_since).total_seconds() >= timeouts.receipt
                ):
                    raise Unavailable("the chain cannot be read, so the job cannot be settled")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(timeouts.poll):
                        await woken.wait()
            await self._settlement.settle(job_id, subscription.job)
