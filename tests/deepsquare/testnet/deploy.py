"""Puts the contracts on an empty chain and gives the accounts their roles."""

from __future__ import annotations

from dataclasses import dataclass, field

from eth_abi.abi import encode
from eth_utils.address import to_checksum_address

from tests.deepsquare.testnet.chain import CREDIT, HARDWARE, LABELS, PRICES, Chain, Contracts
from tests.deepsquare.testnet.compiler import compile_contracts

SUPPLY = 10**9 * CREDIT


@dataclass(frozen=True, slots=True)
class Offer:
    """What a provider registers: prices in wei of credit per minute, memory in MB.

    The prices are the ones that DeepSquare's own supervisor comes with.
    """

    nodes: int = 2
    gpus_per_node: int = 4
    cpus_per_node: int = 32
    mem_per_node: int = 256_000
    gpu_price: int = 85 * CREDIT // 10
    cpu_price: int = 95 * CREDIT // 100
    mem_price: int = 8 * CREDIT // 100_000
    labels: tuple[tuple[str, str], ...] = field(
        default=(("os", "linux"), ("arch", "amd64"), ("gpu", "nvidia-geforce-rtx-3090"))
    )

    @property
    def gpus(self) -> int:
        """On all nodes."""
        return self.nodes * self.gpus_per_node

    @property
    def cpus(self) -> int:
        """On all nodes."""
        return self.nodes * self.cpus_per_node


async def deploy(chain: Chain, admin: str, scheduler: str) -> Contracts:
    """Deploy everything; the credits are ``admin``'s."""
    code = compile_contracts()

    async def create(name: str, types: tuple[str, ...] = (), *arguments: object) -> str:
        data = code[name].bytecode + encode(types, arguments).hex()
        receipt = await chain.transact(admin, None, data)
        return to_checksum_address(receipt["contractAddress"])

    credit = await create("Credit", ("uint256",), SUPPLY)
    jobs = await create("JobRepository")
    providers = await create("ProviderManager")
    queues = await create("ProviderJobQueues")
    constants = await create("Constants")
    parts = (credit, jobs, providers, queues, constants)
    meta = await create("MetaScheduler", ("address",) * 6, *parts, scheduler)
    for owned in (jobs, queues):
        await chain.send(admin, owned, "give(address)", meta)
    return Contracts(*parts, scheduler=meta)


async def join(chain: Chain, contracts: Contracts, admin: str, provider: str, offer: Offer) -> None:
    """Register a provider and admit it."""
    nodes = offer.nodes
    hardware = (
        nodes,
        [offer.gpus_per_node] * nodes,
        [offer.cpus_per_node] * nodes,
        [offer.mem_per_node] * nodes,
    )
    prices = (offer.gpu_price, offer.cpu_price, offer.mem_price)
    register = f"register({HARDWARE},{PRICES},{LABELS})"
    await chain.send(provider, contracts.providers, register, hardware, prices, [*offer.labels])
    await chain.send(admin, contracts.providers, "approve(address)", provider)
