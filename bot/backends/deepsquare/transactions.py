"""Send the wallet's transactions, each at most once.

A transaction is signed and saved before it is sent, and what is saved is sent again until its nonce
is used: as it is or, where it has to be replaced, by another one for the same nonce. So whatever
crashes or times out, the chain takes one of them at most. All of it happens under the wallet's
lock, which other processes with the same data folder share.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime

from bot.backends.deepsquare.abi import format_credits
from bot.backends.deepsquare.rpc import RpcClient, RpcError, Sleep, TransactionReceipt
from bot.backends.deepsquare.state import NonceRecord, Purpose, SignedTransaction
from bot.backends.deepsquare.state_store import StateStore
from bot.backends.deepsquare.timeouts import Timeouts
from bot.backends.deepsquare.wallet import Wallet
from bot.domain.errors import InsufficientFunds, Unavailable

log = logging.getLogger(__name__)

MAX_GAS = 20_000_000
VOID_GAS = 21_000
MAX_GAS_PRICE_FACTOR = 10
"""Limit of replacements: multiple of a transaction's first gas price."""

_ALREADY_KNOWN = ("already known", "already imported", "known transaction")
_NONCE_USED = ("nonce too low", "nonce has already been used", "underpriced")
_INSUFFICIENT_FUNDS = ("insufficient funds",)

Renewal = Callable[[], Awaitable[tuple[str, bytes]]]
"""Returns a fresh script and the call data that requests it."""


@dataclass(frozen=True, slots=True)
class MinedTransaction:
    """The signed transaction that used a nonce, and its receipt."""

    signed: SignedTransaction
    receipt: TransactionReceipt


class TransactionSender:
    """Send transactions from one wallet on one chain."""

    def __init__(
        self,
        *,
        rpc: RpcClient,
        wallet: Wallet,
        store: StateStore,
        chain_id: int,
        timeouts: Timeouts,
        now: Callable[[], datetime],
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._rpc = rpc
        self._wallet = wallet
        self._store = store
        self._chain_id = chain_id
        self._timeouts = timeouts
        self._now = now
        self._sleep = sleep

    def pending_nonce(self, purpose: Purpose, job_id: str) -> NonceRecord | None:
        """Return the job's pending transaction of that purpose."""
        found = (
            pending for pending in self._store.pending_transactions() if pending.job_id == job_id
        )
        return next((pending for pending in found if pending.purpose is purpose), None)

    async def send(
        self,
        purpose: Purpose,
        job_id: str,
        to: str,
        data: bytes,
        *,
        script: str = "",
        script_at: datetime | None = None,
    ) -> NonceRecord:
        """Save and send a new transaction.

        Raises ContractReverted if the contract would revert it, InsufficientFunds if its gas
        cannot be paid; nothing was sent then. After Unavailable nothing was sent either, or the
        transaction is saved.
        """
        async with self._store.wallet_lock():
            estimate = await self._rpc.estimate_gas(to, data, self._wallet.address)
            gas = min(estimate * 3 // 2, MAX_GAS)
            price = await self._rpc.gas_price() * 5 // 4
            held = await self._rpc.balance(self._wallet.address)
            if held < gas * price:
                raise InsufficientFunds(
                    f"the wallet {self._wallet.address} holds {format_credits(held)} of the "
                    f"chain's own coin, a transaction needs {format_credits(gas * price)}"
                )
            nonce = await self._next_nonce()
            moment = self._now()
            unsigned = NonceRecord(nonce, purpose, job_id, to, data, gas, (), moment)
            signed = self._sign(unsigned, price, script, script_at or moment)
            pending = unsigned.with_signed(signed)
            # From here on the intent survives a crash.
            self._store.save_transaction(pending)
            await self._broadcast(pending)
            return pending

    async def wait_mined(
        self, pending: NonceRecord, renew: Renewal | None = None
    ) -> MinedTransaction | None:
        """Wait until the nonce is used, and return the transaction that was mined.

        None: none of them, or the transaction was withdrawn; it can never be mined any more. Raises
        Unavailable after a timeout: call again later. ``renew`` gives a fresh script where the old
        one is about to expire. The caller deletes the transaction once the result is saved.
        """
        started_at = rebroadcast_at = self._now()
        missed_polls = 0
        problem = "no receipt"
        while (self._now() - started_at).total_seconds() < self._timeouts.receipt:
            current = self._store.pending_transaction(pending.nonce)
            if current is None:
                return None
            try:
                mined = await self._mined(current)
                if mined is not None:
                    return mined
                used = await self._rpc.transaction_count(self._wallet.address, "latest")
                # Endpoints with several nodes may have the count before the receipt.
                missed_polls = missed_polls + 1 if used > pending.nonce else 0
                if missed_polls >= self._timeouts.max_missed_polls:
                    return None
                waited = (self._now() - rebroadcast_at).total_seconds()
                if missed_polls == 0 and waited >= self._timeouts.rebroadcast:
                    rebroadcast_at = self._now()
                    await self._unblock(pending.nonce, renew)
            except Unavailable as error:
                problem = str(error)
            await self._sleep(self._timeouts.receipt_poll)
        raise Unavailable(f"transaction {pending.nonce} of the wallet is not mined: {problem}")

    async def resend(self, pending: NonceRecord) -> None:
        """Send a saved transaction again, after a crash that may have come before its sending.

        Raises InsufficientFunds if its gas cannot be paid: the transaction is then deleted.
        """
        async with self._store.wallet_lock():
            current = self._store.pending_transaction(pending.nonce)
            if current is not None and not await self._rpc.has_transaction(current.newest.hash):
                await self._broadcast(current)

    async def _mined(self, pending: NonceRecord) -> MinedTransaction | None:
        for signed in pending.signed:
            receipt = await self._rpc.receipt(signed.hash)
            if receipt is not None:
                return MinedTransaction(signed, receipt)
        return None

    async def _next_nonce(self) -> int:
        used = await self._rpc.transaction_count(self._wallet.address, "latest")
        for pending in self._store.pending_transactions():
            # What may be repeated has no waiter: a used nonce is all that counts.
            repeatable = pending.purpose in (Purpose.APPROVE, Purpose.CANCEL, Purpose.VOID)
            if repeatable and pending.nonce < used:
                self._store.delete_transaction(pending.nonce)
        pending_count = await self._rpc.transaction_count(self._wallet.address, "pending")
        return max(
            pending_count, *(pending.nonce + 1 for pending in self._store.pending_transactions()), 0
        )

    async def _unblock(self, nonce: int, renew: Renewal | None) -> None:
        """Get ``nonce`` used: rebroadcast or replace its transaction and those before it."""
        # Before the wallet is locked: the script service may be slow.
        renewed = await self._renew_script(nonce, renew)
        async with self._store.wallet_lock():
            used = await self._rpc.transaction_count(self._wallet.address, "latest")
            by_nonce = {pending.nonce: pending for pending in self._store.pending_transactions()}
            own, first = by_nonce.get(nonce), by_nonce.get(used)
            if own is not None and renewed is not None:
                await self._replace(own, *renewed, fresh=True)
                return
            if (
                own is not None
                and nonce != used
                and not await self._rpc.has_transaction(own.newest.hash)
            ):
                await self._broadcast(own)
            if first is not None:
                await self._rebroadcast(first)
            elif used < nonce and used == await self._rpc.transaction_count(
                self._wallet.address, "pending"
            ):
                log.warning("nonce %d of the wallet was never used; filling it", used)
                to = self._wallet.address
                unused = NonceRecord(used, Purpose.VOID, "", to, b"", VOID_GAS, (), self._now())
                await self._replace(unused, void=True)

    async def _renew_script(self, nonce: int, renew: Renewal | None) -> tuple[str, bytes] | None:
        pending = self._store.pending_transaction(nonce)
        if renew is None or pending is None or not self._is_stale(pending):
            return None
        return await renew()

    def _is_stale(self, pending: NonceRecord) -> bool:
        """Return whether its script would be gone by the time a provider claims the job."""
        if pending.purpose is not Purpose.REQUEST or pending.newest.void:
            return False
        age = (self._now() - pending.newest.script_at).total_seconds()
        return age >= self._timeouts.script_resend

    async def _rebroadcast(self, pending: NonceRecord) -> None:
        """Rebroadcast the next transaction to be mined, or raise its gas price."""
        newest = pending.newest
        if self._is_stale(pending):
            # Nobody renews it; it must neither cost anything nor block the nonce.
            await self._replace(pending, void=True)
        elif (self._now() - newest.signed_at).total_seconds() >= self._timeouts.fee_bump_after:
            await self._replace(pending, newest.script, pending.data, void=newest.void)
        elif not await self._rpc.has_transaction(newest.hash):
            await self._broadcast(pending)

    async def _replace(
        self,
        pending: NonceRecord,
        script: str = "",
        data: bytes = b"",
        *,
        void: bool = False,
        fresh: bool = False,
    ) -> None:
        """Sign another transaction for the same nonce, at a gas price an eighth higher."""
        price = await self._rpc.gas_price() * 5 // 4
        script_at = self._now()
        if pending.signed:
            price = max(price, pending.newest.gas_price * 9 // 8 + 1)
            if price > pending.signed[0].gas_price * MAX_GAS_PRICE_FACTOR:
                log.error(
                    "nonce %d of the wallet is not mined at the maximum gas price", pending.nonce
                )
                return
            script_at = script_at if fresh else pending.newest.script_at
        changed = pending if void else replace(pending, data=data)
        changed = changed.with_signed(self._sign(changed, price, script, script_at, void=void))
        self._store.save_transaction(changed)
        await self._broadcast(changed)

    def _sign(
        self,
        pending: NonceRecord,
        price: int,
        script: str,
        script_at: datetime,
        *,
        void: bool = False,
    ) -> SignedTransaction:
        raw, digest = self._wallet.sign_transaction(
            {
                "chainId": self._chain_id,
                "nonce": pending.nonce,
                "gasPrice": price,
                "gas": VOID_GAS if void else pending.gas,
                "to": self._wallet.address if void else pending.to,
                "value": 0,
                "data": b"" if void else pending.data,
            }
        )
        return SignedTransaction(
            bytes(raw), bytes(digest), price, self._now(), script_at, script, void
        )

    async def _broadcast(self, pending: NonceRecord) -> None:
        """Broadcast the newest transaction; doubtful results are left to ``wait_mined``."""
        try:
            await self._rpc.send(pending.newest.raw)
        except Unavailable as error:
            log.warning("transaction %d may not have arrived: %s", pending.nonce, error)
        except RpcError as error:
            if any(text in error.text for text in (*_ALREADY_KNOWN, *_NONCE_USED)):
                return
            if any(text in error.text for text in _INSUFFICIENT_FUNDS):
                await self._release_nonce(pending, error)
                return
            log.error("transaction %d was rejected: %s", pending.nonce, error)

    async def _release_nonce(self, pending: NonceRecord, error: RpcError) -> None:
        """Release a nonce whose transaction nobody has, so that the next one can use it.

        Raises InsufficientFunds then; otherwise an earlier one is pending, and may yet be mined.
        """
        known = [await self._rpc.has_transaction(signed.hash) for signed in pending.signed]
        used = await self._rpc.transaction_count(self._wallet.address, "latest")
        if any(known) or used > pending.nonce:
            return
        self._store.delete_transaction(pending.nonce)
        raise InsufficientFunds(
            f"the wallet {self._wallet.address} cannot pay for a transaction's gas"
        ) from error
