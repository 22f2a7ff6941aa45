"""The meta-scheduler: assigns waiting jobs to providers whose labels and machines fit.

What DeepSquare's own does is only documented; this one takes the first provider that can run the
job. It knows nothing of scripts and logs.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.deepsquare.testnet.behaviour import Conduct
from tests.deepsquare.testnet.chain import Chain, Contracts, GridJob, Status
from tests.deepsquare.testnet.deploy import Offer, join

_OPERATORS: dict[str, Callable[[object, object], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,  # type: ignore[dict-item]  # both sides are numbers, or both are text
    "<=": operator.le,  # type: ignore[dict-item]
    ">": operator.gt,  # type: ignore[dict-item]
    ">=": operator.ge,  # type: ignore[dict-item]
}


def fits(job: GridJob, offer: Offer) -> bool:
    """Whether the provider's labels pass every filter and its machines are large enough."""
    labels = dict(offer.labels)
    if any(labels.get(key) != value for key, value in job.uses):
        return False
    for key, value, comparison in job.affinity:
        if key not in labels or not _passes(labels[key], comparison, value):
            return False
    return job.gpus <= offer.gpus and job.tasks * job.cpus_per_task <= offer.cpus


def _passes(label: str, comparison: str, value: str) -> bool:
    if comparison == "in":
        return value in label
    compare = _OPERATORS[comparison]
    try:
        return compare(float(label), float(value))
    except ValueError:
        return compare(label, value)


@dataclass
class Matcher:
    """Holds the METASCHEDULER_ROLE; ``sleeper`` is a provider that never claims anything.

    The sleeper is admitted only for the moment in which a job is assigned to it: for customers
    there is no such provider.
    """

    chain: Chain
    contracts: Contracts
    admin: str
    address: str
    sleeper: str
    offers: Mapping[str, Offer]
    conduct: Callable[[GridJob], Conduct]
    _sent_back: Counter[str] = field(default_factory=Counter)
    _sleeper_joined: bool = False

    async def look(self, job: GridJob) -> None:
        """Do what this job's state asks of the meta-scheduler."""
        if job.status is Status.PENDING:
            await self._assign(job)
            return
        asleep = job.status is Status.META_SCHEDULED and job.provider == self.sleeper
        if asleep and self.conduct(job).stays is not Status.META_SCHEDULED:
            self._sent_back[job.job_id] += 1
            await self._send("timeoutJob(bytes32)", bytes.fromhex(job.job_id[2:]))

    async def _assign(self, job: GridJob) -> None:
        conduct = self.conduct(job)
        if conduct.stays is Status.PENDING:
            return
        sleeps = conduct.stays is Status.META_SCHEDULED
        if sleeps or self._sent_back[job.job_id] < conduct.timeouts:
            await self._admit_sleeper()
            await self._give(job, self.sleeper)
            await self._manage("ban(address)")
            return
        for provider, offer in self.offers.items():
            if fits(job, offer):
                await self._give(job, provider)
                return

    async def _give(self, job: GridJob, provider: str) -> None:
        job_id = bytes.fromhex(job.job_id[2:])
        await self._send("metaSchedule(bytes32,address)", job_id, provider)

    async def _send(self, signature: str, *arguments: object) -> None:
        await self.chain.send(self.address, self.contracts.scheduler, signature, *arguments)

    async def _admit_sleeper(self) -> None:
        if self._sleeper_joined:
            await self._manage("unban(address)")
            return
        await join(self.chain, self.contracts, self.admin, self.sleeper, Offer())
        self._sleeper_joined = True

    async def _manage(self, signature: str) -> None:
        await self.chain.send(self.admin, self.contracts.providers, signature, self.sleeper)
