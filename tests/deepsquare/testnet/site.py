"""The whole test grid: starts its parts, and is the one object that tests hold.

async with await TestGrid.start(folder) as grid:
    backend = await open_backend("deepsquare", grid.options(data_dir))
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
from eth_utils.address import to_checksum_address

from tests.deepsquare.testnet.anvil import CHAIN_ID, Anvil
from tests.deepsquare.testnet.behaviour import Conduct
from tests.deepsquare.testnet.chain import Chain, Contracts, GridJob, Status
from tests.deepsquare.testnet.credit_token import Bank, Budget, Customer
from tests.deepsquare.testnet.deploy import Offer, deploy, join
from tests.deepsquare.testnet.logger import LoggerServer
from tests.deepsquare.testnet.matcher import Matcher
from tests.deepsquare.testnet.node import Node
from tests.deepsquare.testnet.rpc import RpcProxy
from tests.deepsquare.testnet.runner import Operation, Transition
from tests.deepsquare.testnet.sbatch import SbatchServer
from tests.deepsquare.testnet.supervisor import Supervisor
from tests.deepsquare.testnet.transfer import TransferServer


class Clock:
    """The Grid's own time in Unix seconds; ``offset`` moves it on."""

    def __init__(self) -> None:
        self.offset = 0.0

    def __call__(self) -> float:
        return time.time() + self.offset


@dataclass(frozen=True, slots=True)
class Setup:
    """How a grid is set up.

    ``speed`` 60 makes a minute of a job's time limit and bill pass in a second. On the real Grid a
    job ends ``tail_seconds`` = 15 after its script. With a key and a certificate (PEM) the logger
    speaks TLS. ``usual`` is how jobs are treated that have no fate of their own.
    """

    offers: tuple[Offer, ...] = (Offer(),)
    speed: float = 1.0
    tail_seconds: float = 0.0
    budget: Budget = field(default_factory=Budget)
    logger_key: bytes = b""
    logger_certificate: bytes = b""
    usual: Conduct = field(default_factory=Conduct)


class TestGrid:
    """A running grid, with one ``customer`` who has money.

    Faults are at the parts: ``rpc.faults``, ``sbatch.faults``, ``logger.faults``,
    ``transfer.uploads`` and the like; ``rpc.service.stop()``, ``logger.stop()`` take one down and
    ``start()`` brings it back at the same address. A job's fate is set with ``behave``.
    """

    __test__ = False  # not a test, pytest, for all its name

    def __init__(self, folder: Path, setup: Setup, anvil: Anvil) -> None:
        self.setup = setup
        self.clock = Clock()
        self.sbatch = SbatchServer(self.clock)
        self.logger = LoggerServer()
        self.transfer = TransferServer()
        self._session = aiohttp.ClientSession()
        self.chain = Chain(anvil.url, self._session)
        self.rpc = RpcProxy(anvil.url, self._session, self.wake)
        self.contracts: Contracts
        self.bank: Bank
        self.customer: Customer
        self._admin = self._scheduler = ""
        self._operation: Operation | None = None
        self._folder = folder
        self._anvil = anvil

    @classmethod
    async def start(cls, folder: Path, setup: Setup | None = None) -> TestGrid:
        """Bring everything up. ``folder`` takes what providers write. Raises AnvilMissing."""
        grid = cls(folder, setup or Setup(), await Anvil.start())
        try:
            await grid._start()
        except BaseException:
            await grid.aclose()
            raise
        return grid

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _start(self) -> None:
        setup, chain = self.setup, self.chain
        for part in (self.rpc, self.sbatch, self.transfer):
            await part.service.start()
        await self.logger.start(setup.logger_key, setup.logger_certificate)
        accounts = [to_checksum_address(text) for text in await chain.rpc("eth_accounts")]
        admin, scheduler, sleeper, *providers = accounts
        self._admin, self._scheduler = admin, scheduler
        self.contracts = await deploy(chain, admin, scheduler)
        self.bank = Bank(chain, self.contracts, admin)
        self.customer = await self.bank.new_customer(setup.budget)
        operation = self._operation = Operation(chain, self.contracts.jobs, setup.usual)
        offers: dict[str, Offer] = dict(zip(providers, setup.offers, strict=False))
        for provider, offer in offers.items():
            await join(chain, self.contracts, admin, provider, offer)
        operation.start(
            Matcher(chain, self.contracts, admin, scheduler, sleeper, offers, operation.fate),
            [self._supervisor(provider, offer) for provider, offer in offers.items()],
        )

    def _supervisor(self, provider: str, offer: Offer) -> Supervisor:
        return Supervisor(
            chain=self.chain,
            contracts=self.contracts,
            address=provider,
            offer=offer,
            sbatch=self.sbatch,
            logger=self.logger,
            node=Node(self._folder / provider, offer.cpus),
            conduct=self.operation.fate,
            look_again=self.operation.look_again,
            minute_seconds=60 / self.setup.speed,
            tail_seconds=self.setup.tail_seconds,
        )

    async def aclose(self) -> None:
        """Stop everything. Raises what went wrong inside the grid, if anything did."""
        try:
            if self._operation is not None:
                await self._operation.aclose()
        finally:
            await self.logger.stop()
            for part in (self.rpc, self.sbatch, self.transfer):
                await part.service.stop()
            await self._session.close()
            await self._anvil.aclose()

    # What customers are given

    def options(self, data_dir: Path, customer: Customer | None = None) -> dict[str, object]:
        """The backend's options, as ``Settings.backend_options()`` gives them."""
        return {
            "sbatch_url": self.sbatch.url,
            "rpc_url": self.rpc.url,
            "logger_address": self.logger.address,
            "logger_tls": bool(self.setup.logger_key),
            "transfer_url": self.transfer.url,
            "trusted_hosts": (self.transfer.service.host,),
            "meta_scheduler": self.contracts.scheduler,
            "chain_id": CHAIN_ID,
            "private_key": (customer or self.customer).key,
            "lock_credits": Decimal(500),
            "max_credits_per_job": Decimal(1000),
            "uses": (),
            "affinity": (),
            "poll_seconds": 0.05,
            "data_dir": data_dir,
        }

    def environment(self) -> dict[str, str]:
        """The same as environment variables of the bot."""
        section = "GRIDBRUSH_BACKEND__DEEPSQUARE__"
        options = self.options(Path())
        names = ("sbatch_url", "rpc_url", "logger_address", "transfer_url", "meta_scheduler")
        return {
            "GRIDBRUSH_BACKEND__KIND": "deepsquare",
            **{section + name.upper(): str(options[name]) for name in names},
            section + "LOGGER_TLS": str(options["logger_tls"]).lower(),
            section + "TRUSTED_HOSTS": f'["{self.transfer.service.host}"]',
            section + "POLL_SECONDS": "0.5",
            # Its file host is this machine, which a person in the playground can reach.
            "GRIDBRUSH_DELIVERY__ROWS": "links",
            "DEEPSQUARE_PRIVATE_KEY": self.customer.key,
        }

    # What the Grid does

    @property
    def operation(self) -> Operation:
        """Meta-scheduler and providers at work."""
        assert self._operation is not None, "the grid is not started"
        return self._operation

    def behave(self, name: str, conduct: Conduct) -> None:
        """Set the fate of the job that is named so on the chain, also while it lives."""
        self.operation.behave(name, conduct)

    def wake(self) -> None:
        """Let the Grid look at the chain now and not in a moment."""
        if self._operation is not None:
            self._operation.wake()

    async def advance(self, seconds: int) -> None:
        """Move the Grid's clock and the chain's on."""
        self.clock.offset += seconds
        await self.chain.advance(seconds)
        self.wake()

    async def hold_blocks(self) -> None:
        """Mine nothing until ``release_blocks``."""
        await self.chain.rpc("evm_setAutomine", False)

    async def release_blocks(self) -> None:
        """Mine what waits, and everything from now on at once."""
        await self.chain.rpc("evm_setAutomine", True)
        await self.chain.rpc("evm_mine")
        self.wake()

    async def reorganise(self, depth: int) -> None:
        """Replace the newest blocks by empty ones: what was in them has not happened."""
        await self.chain.rpc("anvil_reorg", depth, [])
        self.operation.start_over()

    async def retire(self) -> None:
        """Take the contract out of use, as an upgrade does."""
        signature = "setEnableRequestNewJob(bool)"
        await self.chain.send(self._admin, self.contracts.scheduler, signature, False)

    async def reprice(self, offer: Offer) -> None:
        """Let the first provider register anew, with other prices, machines or labels."""
        supervisor = self.operation.supervisors[0]
        supervisor.offer = offer
        await join(self.chain, self.contracts, self._admin, supervisor.address, offer)

    async def panic(self, job: GridJob, reason: str) -> None:
        """Stop a job as the Grid's administrator, with a full refund."""
        signature, job_id = "panicJob(bytes32,string)", bytes.fromhex(job.job_id[2:])
        await self.chain.send(self._scheduler, self.contracts.scheduler, signature, job_id, reason)
        self.wake()

    # What tests ask

    @property
    def counts(self) -> Counter[str]:
        """RPC requests of customers by method."""
        return self.rpc.counts

    @property
    def transitions(self) -> list[Transition]:
        """Every change of status on the chain so far."""
        return self.operation.transitions

    async def request_new_jobs(self) -> list[GridJob]:
        """Every job that was requested on the chain, oldest first, as it is now."""
        return await self.bank.jobs()

    async def job(self, name: str) -> GridJob:
        """The newest job of this name. Raises LookupError."""
        found = [job for job in await self.bank.jobs() if job.name == name]
        if not found:
            raise LookupError(name)
        return found[-1]

    async def reached(self, name: str, status: Status) -> GridJob:
        """Wait until a job of this name is, or was, in ``status``; the job as it is now."""
        return await self.operation.reached(name, status)

    def log(self, job: GridJob) -> list[bytes]:
        """What the job's log holds."""
        return self.logger.lines(job.customer, job.job_id)

    async def heard(self, job: GridJob, word: bytes) -> None:
        """Wait until a line of the job's log holds ``word``."""
        await self.logger.written(job.customer, job.job_id, word)
