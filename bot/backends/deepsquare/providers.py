"""List the Grid's providers and their prices from the chain, cached for some minutes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from eth_abi.exceptions import DecodingError
from eth_utils.address import to_checksum_address

from bot.backends.deepsquare import abi
from bot.backends.deepsquare.abi import JobDefinition
from bot.backends.deepsquare.contracts import ContractReader
from bot.backends.deepsquare.pricing import Prices, Provider, highest_price
from bot.backends.deepsquare.revert_errors import ContractReverted
from bot.backends.deepsquare.state_store import StateStore
from bot.domain.errors import SubmissionRejected, Unavailable

OVERLAP_BLOCKS = 32
MAX_REGISTRATION_BLOCKS = 1_000_000
"""Registrations are few, so one request may span many blocks; halved where it is rejected."""


class ProviderDirectory:
    """The providers that may run jobs now."""

    def __init__(
        self,
        chain: ContractReader,
        store: StateStore,
        *,
        now: Callable[[], datetime],
        max_age: float,
    ) -> None:
        self._chain = chain
        self._store = store
        self._now = now
        self._max_age = timedelta(seconds=max_age)
        self._cached: tuple[Provider, ...] = ()
        self._cached_at: datetime | None = None
        self._lock = asyncio.Lock()

    async def providers(self) -> tuple[Provider, ...]:
        """Return all providers valid for scheduling, from the cache if it is fresh.

        Raises Unavailable.
        """
        async with self._lock:
            now = self._now()
            if (
                self._cached_at is None
                or now - self._cached_at >= self._max_age
                or not self._cached
            ):
                addresses = await self._addresses()
                found = [await self._provider(address) for address in addresses]
                self._cached = tuple(each for each in found if each is not None)
                self._cached_at = now
            return self._cached

    async def price_per_minute(self, definition: JobDefinition) -> int:
        """Return the maximum price per minute of the job.

        Raises Unavailable where no provider takes jobs, SubmissionRejected where none is large
        enough or has the labels.
        """
        providers = await self.providers()
        if not providers:
            raise Unavailable("no provider of the Grid takes jobs")
        price = highest_price(providers, definition)
        if price is None:
            raise SubmissionRejected(
                f"none of the Grid's {len(providers)} providers has "
                f"{definition.gpus} GPUs and {definition.tasks} x {definition.cpus_per_task} CPUs "
                "with the labels of [backend.deepsquare] uses and affinity"
            )
        return price

    async def price_per_minute_at(self, address: str, definition: JobDefinition) -> int | None:
        """Return the job's price per minute at a provider; None if no provider is known.

        Raises Unavailable.
        """
        providers = await self.providers()
        at = next((each for each in providers if each.address == address), None)
        return at.prices.per_minute(definition) if at else highest_price(providers, definition)

    async def _addresses(self) -> list[str]:
        """Return all registered addresses; the last scanned block is kept on disk."""
        contracts = await self._chain.contracts()
        name = f"providers-{contracts.providers.lower()}"
        note = self._store.read_note(name) or {}
        known = [str(address) for address in note.get("addresses", ())]
        head = await self._chain.rpc.head()
        block = int(note.get("block", 0))
        first = max(0, min(block, head) - OVERLAP_BLOCKS)
        events = self._chain.events(
            contracts.providers, abi.PROVIDER_WAITING, first, head, step=MAX_REGISTRATION_BLOCKS
        )
        async for log in events:
            (address,) = abi.PROVIDER_WAITING.decode(log.data)
            if address not in known:
                known.append(address)
        if note.get("addresses") != known or head - block >= OVERLAP_BLOCKS:
            self._store.save_note(name, {"block": head, "addresses": known})
        return known

    async def _provider(self, address: str) -> Provider | None:
        contracts = await self._chain.contracts()
        call = self._chain.rpc.call
        try:
            answer = await call(
                contracts.providers, abi.IS_VALID_FOR_SCHEDULING.encode_call(address)
            )
            if not abi.IS_VALID_FOR_SCHEDULING.decode(answer)[0]:
                return None
            answer = await call(contracts.providers, abi.GET_PROVIDER.encode_call(address))
            (found,) = abi.GET_PROVIDER.decode(answer)
        except (ContractReverted, DecodingError):
            # It left the Grid, or was never approved.
            return None
        _, (_, gpus, cpus, mem), prices, labels, banned = found
        if banned:
            return None
        return Provider(
            address=to_checksum_address(address),
            prices=Prices(*prices),
            labels=tuple((str(key), str(value)) for key, value in labels),
            gpus=sum(gpus),
            cpus=sum(cpus),
            mem=sum(mem),
        )
