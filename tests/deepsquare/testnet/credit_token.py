"""Customers of the Grid and their money: accounts, credits, allowances, gas.

Transactions in a customer's name are the node's doing, without the key; it knows nothing of jobs
beyond what they lock.
"""

from __future__ import annotations

from dataclasses import dataclass

from eth_account import Account

from tests.deepsquare.testnet.chain import CREDIT, REQUESTED, Chain, Contracts, GridJob


@dataclass(frozen=True, slots=True)
class Customer:
    """An account with money; ``key`` is its private key, ``0x`` and 64 digits."""

    address: str
    key: str


@dataclass(frozen=True, slots=True)
class Budget:
    """What a customer starts with: whole credits, an allowance of them, whole SQUARE for gas."""

    credits: int = 100_000
    allowance: int = 100_000
    square: int = 100


class Bank:
    """``admin`` owns all credits there are."""

    def __init__(self, chain: Chain, contracts: Contracts, admin: str) -> None:
        self._chain = chain
        self._contracts = contracts
        self._admin = admin

    async def new_customer(self, budget: Budget) -> Customer:
        """A fresh account. An allowance of 0 is not approved at all."""
        account = Account.create()
        customer = Customer(account.address, "0x" + account.key.hex().removeprefix("0x"))
        await self.set_square(customer, budget.square)
        await self.give_credits(customer, budget.credits)
        if budget.allowance:
            await self.approve(customer, budget.allowance)
        return customer

    async def set_square(self, customer: Customer, square: int) -> None:
        """How much there is for gas."""
        await self._chain.rpc("anvil_setBalance", customer.address, hex(square * 10**18))

    async def give_credits(self, customer: Customer, amount: int) -> None:
        """Add whole credits."""
        signature, wei = "transfer(address,uint256)", amount * CREDIT
        credit = self._contracts.credit
        await self._chain.send(self._admin, credit, signature, customer.address, wei)

    async def approve(self, customer: Customer, amount: int) -> None:
        """Set the allowance in whole credits: a transaction of the customer's."""
        signature, spender = "approve(address,uint256)", self._contracts.scheduler
        await self.act(customer, self._contracts.credit, signature, spender, amount * CREDIT)

    async def act(
        self, customer: Customer, to: str, signature: str, *arguments: object
    ) -> dict[str, object]:
        """Any transaction of a customer's, and its receipt. Raises Reverted."""
        await self._chain.rpc("anvil_impersonateAccount", customer.address)
        try:
            return await self._chain.send(customer.address, to, signature, *arguments)
        finally:
            await self._chain.rpc("anvil_stopImpersonatingAccount", customer.address)

    async def balance(self, address: str) -> int:
        """Credits in wei."""
        credit, signature = self._contracts.credit, "balanceOf(address)"
        return int(await self._chain.call(credit, signature, address, returns="uint256"))

    async def allowance(self, customer: Customer) -> int:
        """What the contract may still take, in wei."""
        credit, signature = self._contracts.credit, "allowance(address,address)"
        owner, spender = customer.address, self._contracts.scheduler
        return int(await self._chain.call(credit, signature, owner, spender, returns="uint256"))

    async def jobs(self) -> list[GridJob]:
        """Every job that was requested on the chain as it is now, oldest first."""
        contracts = self._contracts
        entries = await self._chain.logs(contracts.scheduler, [REQUESTED], 0)
        return [await self._chain.job(contracts.jobs, entry["data"][:66]) for entry in entries]

    async def unaccounted(self) -> int:
        """What the contract holds beyond the locks of living jobs and its 20 % of the others."""
        owed = 0
        for job in await self.jobs():
            owed += job.final_cost * 20 // 100 if job.status.is_terminal else job.max_cost
        return await self.balance(self._contracts.scheduler) - owed
