"""What an operator sees of wallet, chain and services: checks with their mends, and balances.

Everything is asked anew and nothing is raised for what is found to be wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bot.backends.base import WalletReport
from bot.backends.deepsquare.abi import credits_of, shown
from bot.backends.deepsquare.chain import Chain
from bot.backends.deepsquare.logger import LogService
from bot.backends.deepsquare.market import Market
from bot.backends.deepsquare.sbatch import ScriptService
from bot.backends.deepsquare.terms import Quotes
from bot.backends.deepsquare.transfer import FileHost
from bot.domain.errors import BackendError
from bot.domain.findings import Finding
from bot.domain.workflow import Workflow

LITTLE_COIN = 10**16
"""Below so much of the native coin, in wei, a wallet soon cannot pay for gas."""
NETWORK = "Is the Grid in operation? Its services may be reduced or gone."


@dataclass(frozen=True, slots=True)
class Parts:
    """What there is to look at."""

    chain: Chain
    chain_id: int
    market: Market
    quotes: Quotes
    scripts: ScriptService
    logs: LogService
    files: FileHost
    transfer_url: str


async def wallet_report(parts: Parts) -> WalletReport:
    """Balances and allowance. Raises Unavailable."""
    chain = parts.chain
    return WalletReport(
        address=chain.me,
        chain_id=parts.chain_id,
        scheduler=chain.scheduler,
        coins=credits_of(await chain.coins()),
        credits=credits_of(await chain.credits()),
        allowance=credits_of(await chain.allowance()),
    )


async def inspect(parts: Parts, workflow: Workflow | None) -> list[Finding]:
    """Every check in the order in which they are mended; ``workflow`` is what is priced."""
    checks: list[tuple[str, Callable[[], Awaitable[Finding]]]] = [
        ("chain", lambda: _chain(parts)),
        ("contract", lambda: _contract(parts)),
        ("coin for gas", lambda: _coins(parts)),
        ("credits", lambda: _credits(parts)),
        ("allowance", lambda: _allowance(parts)),
        ("providers", lambda: _providers(parts)),
        ("script service", lambda: _scripts(parts)),
        ("logger", lambda: _logger(parts)),
        ("file host", lambda: _files(parts)),
    ]
    if workflow is not None:
        checks.insert(6, ("price", lambda: _price(parts, workflow)))

    async def check(what: str, act: Callable[[], Awaitable[Finding]]) -> Finding:
        try:
            return await act()
        except BackendError as error:
            return Finding(what, False, str(error), NETWORK)

    return list(await asyncio.gather(*(check(what, act) for what, act in checks)))


async def _chain(parts: Parts) -> Finding:
    served = await parts.chain.rpc.chain_id()
    mend = "Set [backend.deepsquare] rpc_url and chain_id to the same chain."
    return Finding("chain", served == parts.chain_id, f"the endpoint serves chain {served}", mend)


async def _contract(parts: Parts) -> Finding:
    await parts.chain.contracts()
    alive = await parts.chain.takes_jobs()
    detail = f"{parts.chain.scheduler} {'takes jobs' if alive else 'is retired'}"
    mend = "Set [backend.deepsquare] meta_scheduler to the contract that is in use."
    return Finding("contract", alive, detail, mend)


async def _coins(parts: Parts) -> Finding:
    held = await parts.chain.coins()
    mend = f"Send some of the chain's own coin to {parts.chain.me}: every transaction needs it."
    return Finding("coin for gas", held >= LITTLE_COIN, f"{shown(held)}", mend)


async def _credits(parts: Parts) -> Finding:
    held, least = await parts.chain.credits(), await parts.chain.minimum()
    mend = f"A job locks at least {shown(least)} credits: get some for {parts.chain.me}."
    return Finding("credits", held >= least, shown(held), mend)


async def _allowance(parts: Parts) -> Finding:
    allowed, least = await parts.chain.allowance(), await parts.chain.minimum()
    mend = "Every job uses up as much of it as it locks; raise it with `gridbrush wallet`."
    return Finding("allowance", allowed >= least, shown(allowed), mend)


async def _providers(parts: Parts) -> Finding:
    known = await parts.market.providers()
    gpus = sum(each.gpus for each in known)
    mend = f"Nobody would compute now. {NETWORK}"
    return Finding("providers", bool(known), f"{len(known)} with {gpus} GPUs", mend)


async def _price(parts: Parts, workflow: Workflow) -> Finding:
    per_minute, lock = await parts.quotes.per_minute(workflow), await parts.quotes.lock(workflow)
    detail = f"a default grid costs up to {shown(per_minute)} credits a minute, locks {shown(lock)}"
    mend = "Raise the allowance or get credits: one grid locks more than there is."
    enough = lock <= min(await parts.chain.credits(), await parts.chain.allowance())
    return Finding("price", enough, detail, mend)


async def _scripts(parts: Parts) -> Finding:
    trouble = await parts.scripts.healthy()
    mend = f"Check [backend.deepsquare] sbatch_url. {NETWORK}"
    return Finding("script service", not trouble, trouble or "answers", mend)


async def _logger(parts: Parts) -> Finding:
    await parts.logs.probe()
    return Finding("logger", True, "answers and knows the wallet's signature")


async def _files(parts: Parts) -> Finding:
    trouble = await parts.files.reachable(parts.transfer_url)
    mend = f"Check [backend.deepsquare] transfer_url. {NETWORK}"
    return Finding("file host", not trouble, trouble or "answers", mend)
