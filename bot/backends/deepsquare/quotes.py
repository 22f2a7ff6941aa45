"""Quote jobs: their definition on the chain, their maximum price, and whether it can be paid.

Amounts are in wei of credit.
"""

from __future__ import annotations

from dataclasses import dataclass

from bot.backends.deepsquare.abi import ChainJob, JobDefinition, format_credits
from bot.backends.deepsquare.contracts import ContractReader
from bot.backends.deepsquare.pricing import (
    LockLimits,
    RuntimeSamples,
    lock_amount,
    top_up_target,
    workload_key,
)
from bot.backends.deepsquare.providers import ProviderDirectory
from bot.domain.errors import InsufficientFunds
from bot.domain.workflow.document import Workflow


@dataclass(frozen=True, slots=True)
class PricingPolicy:
    """The operator's settings: lock amounts, and which providers are accepted."""

    default_lock: int
    max_lock: int
    uses: tuple[tuple[str, str], ...] = ()
    affinity: tuple[tuple[str, str, str], ...] = ()


class QuoteService:
    """Quote jobs under the policy; ``runtimes`` holds past run times."""

    def __init__(
        self,
        chain: ContractReader,
        providers: ProviderDirectory,
        policy: PricingPolicy,
        runtimes: RuntimeSamples,
    ) -> None:
        self._chain = chain
        self._providers = providers
        self._policy = policy
        self.runtimes = runtimes

    def definition(self, workflow: Workflow, script: str) -> JobDefinition:
        """Return the job's definition for the contract."""
        resources = workflow.resources
        return JobDefinition(
            gpus=resources.gpus,
            mem_per_cpu=resources.mem_per_cpu,
            cpus_per_task=resources.cpus_per_task,
            tasks=resources.tasks,
            script=script,
            uses=self._policy.uses,
            affinity=self._policy.affinity,
        )

    async def per_minute(self, workflow: Workflow) -> int:
        """Return the maximum price per minute. Raises as ``ProviderDirectory.price_per_minute``."""
        return await self._providers.price_per_minute(self.definition(workflow, "-"))

    async def lock_amount(self, workflow: Workflow) -> int:
        """Return what the job will lock, which is the most it can cost.

        Raises Unavailable, SubmissionRejected.
        """
        per_minute = await self.per_minute(workflow)
        policy = self._policy
        bounds = LockLimits(await self._chain.minimum(), policy.default_lock, policy.max_lock)
        return lock_amount(per_minute, bounds, self.runtimes.longest(workload_key(workflow)))

    async def top_up_target(self, job: ChainJob, ran_minutes: float) -> int | None:
        """Return what a running job should lock in all, None while its lock lasts.

        Raises Unavailable.
        """
        definition = JobDefinition(
            gpus=job.gpus,
            mem_per_cpu=job.mem_per_cpu,
            cpus_per_task=job.cpus_per_task,
            tasks=job.tasks,
            script=job.script,
        )
        per_minute = await self._providers.price_per_minute_at(job.provider, definition)
        if not per_minute:
            return None
        bounds = LockLimits(0, self._policy.default_lock, self._policy.max_lock)
        return top_up_target(job.max_cost, per_minute, bounds, ran_minutes)

    async def check_funds(self, lock: int) -> None:
        """Check balance and allowance. Raises InsufficientFunds that names what is missing."""
        held, allowed = await self._chain.credit_balance(), await self._chain.allowance()
        if held < lock:
            raise InsufficientFunds(
                f"the wallet {self._chain.customer} holds {format_credits(held)} credits, "
                f"the job locks {format_credits(lock)}; buy credits"
            )
        if allowed < lock:
            raise InsufficientFunds(
                f"the MetaScheduler may draw {format_credits(allowed)} credits, the job locks "
                f"{format_credits(lock)}; raise the allowance with `gridbrush wallet`"
            )
