"""``gridbrush wallet``: show the wallet and set its allowance, for backends that cost money."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer
from rich.console import Console

from bot.bootstrap import open_paid_backend
from bot.cli.app import ExitCode, load_settings, run_async
from bot.domain.errors import RequestError
from bot.domain.text import format_credits
from bot.settings import Settings


def wallet(
    context: typer.Context,
    allow: Annotated[
        str | None,
        typer.Option(help="Set the allowance to this many credits; asks first."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Show the wallet's address, balances and allowance, or set the allowance.

    The allowance is the bot's budget: each job reserves its whole lock from it. Refunds go to the
    balance, not to the allowance.
    """
    run_async(_wallet(load_settings(context), allow, yes))


async def _wallet(settings: Settings, allow: str | None, yes: bool) -> ExitCode:
    amount = _parse_credits(allow)
    console = Console(highlight=False)
    async with open_paid_backend(settings) as backend:
        report = await backend.wallet_report()
        console.print(f"address    {report.address}")
        console.print(f"chain      {report.chain_id}")
        console.print(f"coins      {format_credits(report.coins)} SQUARE, for gas")
        console.print(f"credits    {format_credits(report.credits)}")
        console.print(
            f"allowance  {format_credits(report.allowance)} credits, to {report.scheduler}"
        )
        if amount is None:
            return ExitCode.OK
        question = f"Let {report.scheduler} spend {format_credits(amount)} credits in total?"
        if not yes and not typer.confirm(question, err=True):
            console.print("Nothing was changed.")
            return ExitCode.CANCELLED
        await backend.approve(amount)
        changed = await backend.wallet_report()
        console.print(f"allowance  {format_credits(changed.allowance)} credits")
    return ExitCode.OK


def _parse_credits(text: str | None) -> Decimal | None:
    if text is None:
        return None
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise RequestError("--allow takes a number of credits, such as 5000.") from None
    if not amount.is_finite() or amount < 0 or amount > 10**9:
        raise RequestError("--allow takes between 0 and 1,000,000,000 credits.")
    return amount


def add_to(target: typer.Typer) -> None:
    """Add the command to the program."""
    target.command()(wallet)
