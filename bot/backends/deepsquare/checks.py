"""The DeepSquare checks of ``gridbrush check``, each with a hint, and the wallet's balances.

Everything is read anew; a problem becomes a failed check, never an exception.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bot.backends.base import WalletStatus
from bot.backends.deepsquare.abi import credits_of, format_credits
from bot.backends.deepsquare.contracts import ContractReader
from bot.backends.deepsquare.downloads import ArtifactDownloader
from bot.backends.deepsquare.log_client import LogClient
from bot.backends.deepsquare.providers import ProviderDirectory
from bot.backends.deepsquare.quotes import QuoteService
from bot.backends.deepsquare.sbatch_client import SbatchClient
from bot.domain.checks import CheckResult
from bot.domain.errors import BackendError
from bot.domain.workflow.document import Workflow

LOW_BALANCE_WEI = 10**16
"""Below so much of the native coin, in wei, a wallet soon cannot pay for gas."""
NETWORK = "Is the Grid in operation? Its services may be reduced or gone."


@dataclass(frozen=True, slots=True)
class CheckTargets:
    """What is checked."""

    chain: ContractReader
    chain_id: int
    market: ProviderDirectory
    quotes: QuoteService
    scripts: SbatchClient
    logs: LogClient
    files: ArtifactDownloader
    transfer_url: str


async def wallet_report(parts: CheckTargets) -> WalletStatus:
    """Return balances and allowance. Raises Unavailable."""
    chain = parts.chain
    return WalletStatus(
        address=chain.me,
        chain_id=parts.chain_id,
        scheduler=chain.scheduler,
        coins=credits_of(await chain.native_balance()),
        credits=credits_of(await chain.credit_balance()),
        allowance=credits_of(await chain.allowance()),
    )


async def run_checks(parts: CheckTargets, workflow: Workflow | None) -> list[CheckResult]:
    """Run the checks, in the order in which to fix them; ``workflow`` is what is priced."""
    checks: list[tuple[str, Callable[[], Awaitable[CheckResult]]]] = [
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

    async def check(what: str, act: Callable[[], Awaitable[CheckResult]]) -> CheckResult:
        try:
            return await act()
        except BackendError as error:
            return CheckResult(what, False, str(error), NETWORK)

    return list(await asyncio.gather(*(check(what, act) for what, act in checks)))


async def _chain(parts: CheckTargets) -> CheckResult:
    served = await parts.chain.rpc.chain_id()
    hint = "Set [backend.deepsquare] rpc_url and chain_id to the same chain."
    return CheckResult(
        "chain", served == parts.chain_id, f"the endpoint serves chain {served}", hint
    )


async def _contract(parts: CheckTargets) -> CheckResult:
    await parts.chain.contracts()
    alive = await parts.chain.takes_jobs()
    detail = f"{parts.chain.scheduler} {'takes jobs' if alive else 'is retired'}"
    hint = "Set [backend.deepsquare] meta_scheduler to the contract that is in use."
    return CheckResult("contract", alive, detail, hint)


async def _coins(parts: CheckTargets) -> CheckResult:
    held = await parts.chain.native_balance()
    hint = f"Send some of the chain's own coin to {parts.chain.me}: every transaction needs it."
    return CheckResult("coin for gas", held >= LOW_BALANCE_WEI, f"{format_credits(held)}", hint)


async def _credits(parts: CheckTargets) -> CheckResult:
    held, least = await parts.chain.credit_balance(), await parts.chain.minimum()
    hint = f"A job locks at least {format_credits(least)} credits: get some for {parts.chain.me}."
    return CheckResult("credits", held >= least, format_credits(held), hint)


async def _allowance(parts: CheckTargets) -> CheckResult:
    allowed, least = await parts.chain.allowance(), await parts.chain.minimum()
    hint = "Every job uses up as much of it as it locks; raise it with `gridbrush wallet`."
    return CheckResult("allowance", allowed >= least, format_credits(allowed), hint)


async def _providers(parts: CheckTargets) -> CheckResult:
    known = await parts.market.providers()
    gpus = sum(each.gpus for each in known)
    hint = f"Nobody would compute now. {NETWORK}"
    return CheckResult("providers", bool(known), f"{len(known)} with {gpus} GPUs", hint)


async def _price(parts: CheckTargets, workflow: Workflow) -> CheckResult:
    per_minute, lock = (
        await parts.quotes.per_minute(workflow),
        await parts.quotes.lock_amount(workflow),
    )
    price, locked = format_credits(per_minute), format_credits(lock)
    detail = f"a default grid costs up to {price} credits a minute, locks {locked}"
    hint = "Raise the allowance or get credits: one grid locks more than there is."
    enough = lock <= min(await parts.chain.credit_balance(), await parts.chain.allowance())
    return CheckResult("price", enough, detail, hint)


async def _scripts(parts: CheckTargets) -> CheckResult:
    trouble = await parts.scripts.healthy()
    hint = f"Check [backend.deepsquare] sbatch_url. {NETWORK}"
    return CheckResult("script service", not trouble, trouble or "answers", hint)


async def _logger(parts: CheckTargets) -> CheckResult:
    await parts.logs.probe()
    return CheckResult("logger", True, "answers and knows the wallet's signature")


async def _files(parts: CheckTargets) -> CheckResult:
    trouble = await parts.files.reachable(parts.transfer_url)
    hint = f"Check [backend.deepsquare] transfer_url. {NETWORK}"
    return CheckResult("file host", not trouble, trouble or "answers", hint)
