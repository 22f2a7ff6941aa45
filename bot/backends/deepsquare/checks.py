"""The DeepSquare checks of ``gridbrush check``, each with a hint, and the wallet's balances.

Everything is read anew; a problem becomes a failed check, never an exception.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bot.backends.base import WalletStatus
from bot.backends.deepsquare.abi import format_credits, to_credits
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
"""Native coin, in wei, below which a wallet soon cannot pay for gas."""
NETWORK_HINT = "Is the Grid in operation? Its services may be reduced or gone."


@dataclass(frozen=True, slots=True)
class CheckTargets:
    """What is checked."""

    chain: ContractReader
    chain_id: int
    providers: ProviderDirectory
    quotes: QuoteService
    scripts: SbatchClient
    logs: LogClient
    files: ArtifactDownloader
    transfer_url: str


async def wallet_report(targets: CheckTargets) -> WalletStatus:
    """Return balances and allowance. Raises Unavailable."""
    chain = targets.chain
    return WalletStatus(
        address=chain.customer,
        chain_id=targets.chain_id,
        scheduler=chain.scheduler,
        coins=to_credits(await chain.native_balance()),
        credits=to_credits(await chain.credit_balance()),
        allowance=to_credits(await chain.allowance()),
    )


async def run_checks(targets: CheckTargets, workflow: Workflow | None) -> list[CheckResult]:
    """Run the checks, in the order in which to fix them; ``workflow`` is what is priced."""
    checks: list[tuple[str, Callable[[], Awaitable[CheckResult]]]] = [
        ("chain", lambda: _chain(targets)),
        ("contract", lambda: _contract(targets)),
        ("coin for gas", lambda: _coins(targets)),
        ("credits", lambda: _credits(targets)),
        ("allowance", lambda: _allowance(targets)),
        ("providers", lambda: _providers(targets)),
        ("script service", lambda: _scripts(targets)),
        ("logger", lambda: _logger(targets)),
        ("file host", lambda: _files(targets)),
    ]
    if workflow is not None:
        checks.insert(6, ("price", lambda: _price(targets, workflow)))

    async def check(what: str, act: Callable[[], Awaitable[CheckResult]]) -> CheckResult:
        try:
            return await act()
        except BackendError as error:
            return CheckResult(what, False, str(error), NETWORK_HINT)

    return list(await asyncio.gather(*(check(what, act) for what, act in checks)))


async def _chain(targets: CheckTargets) -> CheckResult:
    served = await targets.chain.rpc.chain_id()
    hint = "Set [backend.deepsquare] rpc_url and chain_id to the same chain."
    return CheckResult(
        "chain", served == targets.chain_id, f"the endpoint serves chain {served}", hint
    )


async def _contract(targets: CheckTargets) -> CheckResult:
    await targets.chain.contracts()
    takes_jobs = await targets.chain.takes_jobs()
    detail = f"{targets.chain.scheduler} {'takes jobs' if takes_jobs else 'is retired'}"
    hint = "Set [backend.deepsquare] meta_scheduler to the contract that is in use."
    return CheckResult("contract", takes_jobs, detail, hint)


async def _coins(targets: CheckTargets) -> CheckResult:
    held = await targets.chain.native_balance()
    wallet = targets.chain.customer
    hint = f"Send some of the chain's native coin to {wallet}: every transaction needs it."
    return CheckResult("coin for gas", held >= LOW_BALANCE_WEI, f"{format_credits(held)}", hint)


async def _credits(targets: CheckTargets) -> CheckResult:
    held, minimum = await targets.chain.credit_balance(), await targets.chain.minimum()
    wallet = targets.chain.customer
    hint = f"A job locks at least {format_credits(minimum)} credits: buy some for {wallet}."
    return CheckResult("credits", held >= minimum, format_credits(held), hint)


async def _allowance(targets: CheckTargets) -> CheckResult:
    allowed, minimum = await targets.chain.allowance(), await targets.chain.minimum()
    hint = "Every job takes its whole lock from it. Raise it with `gridbrush wallet`."
    return CheckResult("allowance", allowed >= minimum, format_credits(allowed), hint)


async def _providers(targets: CheckTargets) -> CheckResult:
    found = await targets.providers.providers()
    gpus = sum(each.gpus for each in found)
    hint = f"No provider takes jobs now. {NETWORK_HINT}"
    return CheckResult("providers", bool(found), f"{len(found)} with {gpus} GPUs", hint)


async def _price(targets: CheckTargets, workflow: Workflow) -> CheckResult:
    per_minute, lock = (
        await targets.quotes.per_minute(workflow),
        await targets.quotes.lock_amount(workflow),
    )
    price, locked = format_credits(per_minute), format_credits(lock)
    detail = f"a default grid costs up to {price} credits a minute, locks {locked}"
    hint = "Raise the allowance or buy credits: one grid locks more than the wallet has."
    enough = lock <= min(await targets.chain.credit_balance(), await targets.chain.allowance())
    return CheckResult("price", enough, detail, hint)


async def _scripts(targets: CheckTargets) -> CheckResult:
    problem = await targets.scripts.find_problem()
    hint = f"Check [backend.deepsquare] sbatch_url. {NETWORK_HINT}"
    return CheckResult("script service", not problem, problem or "answers", hint)


async def _logger(targets: CheckTargets) -> CheckResult:
    await targets.logs.probe()
    return CheckResult("logger", True, "answers and accepts the wallet's signature")


async def _files(targets: CheckTargets) -> CheckResult:
    problem = await targets.files.find_problem(targets.transfer_url)
    hint = f"Check [backend.deepsquare] transfer_url. {NETWORK_HINT}"
    return CheckResult("file host", not problem, problem or "answers", hint)
