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

OVERLAP = 32
WIDE = 1_000_000
"""Registrations are few, so many blocks can be asked for at once; halved where that is refused."""


class ProviderDirectory:
    """The providers that may run jobs now."""

    def __init__(
        self,
        chain: ContractReader,
        store: StateStore,
        *,
        now: Callable[[], datetime],
        keep: float,
    ) -> None:
        self._chain = chain
        self._store = store
        self._now = now
        self._keep = timedelta(seconds=keep)
        self._known: tuple[Provider, ...] = ()
        self._known_at: datetime | None = None
        self._asking = asyncio.Lock()

    async def providers(self) -> tuple[Provider, ...]:
        """Return all providers valid for scheduling, from the cache if it is fresh.

        Raises Unavailable.
        """
        async with self._asking:
            now = self._now()
            if self._known_at is None or now - self._known_at >= self._keep or not self._known:
                addresses = await self._addresses()
                found = [await self._provider(address) for address in addresses]
                self._known = tuple(each for each in found if each is not None)
                self._known_at = now
            return self._known

    async def price_per_minute(self, definition: JobDefinition) -> int:
        """Return the maximum price per minute of the job.

        Raises Unavailable where no provider takes jobs, SubmissionRejected where none is large
        enough or has the labels.
        """
        providers = await self.providers()
        if not providers:
            raise Unavailable("no provider of the Grid is open for work")
        price = highest_price(providers, definition)
        if price is None:
            raise SubmissionRejected(
                f"none of the Grid's {len(providers)} providers has "
                f"{definition.gpus} GPUs and {definition.tasks} x {definition.cpus_per_task} CPUs "
                "with the labels of [backend.deepsquare] uses and affinity"
            )
        return price

    async def per_minute_at(self, address: str, definition: JobDefinition) -> int | None:
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
        first = max(0, min(block, head) - OVERLAP)
        events = self._chain.events(
            contracts.providers, abi.PROVIDER_WAITING, first, head, step=WIDE
        )
        async for log in events:
            (address,) = abi.PROVIDER_WAITING.read(log.data)
            if address not in known:
                known.append(address)
        if note.get("addresses") != known or head - block >= OVERLAP:
            self._store.save_note(name, {"block": head, "addresses": known})
        return known

    async def _provider(self, address: str) -> Provider | None:
        contracts = await self._chain.contracts()
        call = self._chain.rpc.call
        try:
            answer = await call(contracts.providers, abi.IS_VALID_FOR_SCHEDULING.data(address))
            if not abi.IS_VALID_FOR_SCHEDULING.read(answer)[0]:
                return None
            answer = await call(contracts.providers, abi.GET_PROVIDER.data(address))
            (found,) = abi.GET_PROVIDER.read(answer)
        except (ContractReverted, DecodingError):
            # One that left, or was never let in.
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
