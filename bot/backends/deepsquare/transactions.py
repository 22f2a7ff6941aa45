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
"""A transaction is never offered at more than so many times its first price."""

_IN_THE_POOL = ("already known", "already imported", "known transaction")
_USED = ("nonce too low", "nonce has already been used", "underpriced")
_NO_MONEY = ("insufficient funds",)

Renewal = Callable[[], Awaitable[tuple[str, bytes]]]
"""Gives a fresh script and the call data that asks for it."""


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
        found = (slot for slot in self._store.slots() if slot.job_id == job_id)
        return next((slot for slot in found if slot.purpose is purpose), None)

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
            estimate = await self._rpc.estimate(to, data, self._wallet.address)
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
            bare = NonceRecord(nonce, purpose, job_id, to, data, gas, (), moment)
            signed = self._sign(bare, price, script, script_at or moment)
            slot = bare.with_signed(signed)
            # From here on the intent is known to whoever comes after a crash.
            self._store.save_slot(slot)
            await self._offer(slot)
            return slot

    async def outcome(
        self, slot: NonceRecord, renew: Renewal | None = None
    ) -> MinedTransaction | None:
        """Wait until the nonce is used, and return the transaction that was mined.

        None: none of them, or the transaction was withdrawn; it can never be mined any more. Raises
        Unavailable after a timeout: call again later. ``renew`` gives a fresh script where the old
        one is about to expire. The caller deletes the transaction once the result is saved.
        """
        begun = nudged = self._now()
        looks = 0
        trouble = "it is not mined"
        while (self._now() - begun).total_seconds() < self._timeouts.receipt:
            current = self._store.slot(slot.nonce)
            if current is None:
                return None
            try:
                mined = await self._mined(current)
                if mined is not None:
                    return mined
                used = await self._rpc.count(self._wallet.address, "latest")
                # Endpoints with several nodes may know the count before they know the receipt.
                looks = looks + 1 if used > slot.nonce else 0
                if looks >= self._timeouts.max_missed_polls:
                    return None
                waited = (self._now() - nudged).total_seconds()
                if looks == 0 and waited >= self._timeouts.rebroadcast:
                    nudged = self._now()
                    await self._nudge(slot.nonce, renew)
            except Unavailable as error:
                trouble = str(error)
            await self._sleep(self._timeouts.receipt_poll)
        raise Unavailable(f"transaction {slot.nonce} of the wallet is not settled: {trouble}")

    async def resend(self, slot: NonceRecord) -> None:
        """Send a saved transaction again, after a crash that may have come before its sending.

        Raises InsufficientFunds if its gas cannot be paid: the transaction is then deleted.
        """
        async with self._store.wallet_lock():
            current = self._store.slot(slot.nonce)
            if current is not None and not await self._rpc.knows(current.newest.hash):
                await self._offer(current)

    async def _mined(self, slot: NonceRecord) -> MinedTransaction | None:
        for signed in slot.signed:
            receipt = await self._rpc.receipt(signed.hash)
            if receipt is not None:
                return MinedTransaction(signed, receipt)
        return None

    async def _next_nonce(self) -> int:
        used = await self._rpc.count(self._wallet.address, "latest")
        for slot in self._store.slots():
            # Nobody waits for the outcome of what may be done twice: its use of the nonce is all.
            careless = slot.purpose in (Purpose.APPROVE, Purpose.CANCEL, Purpose.VOID)
            if careless and slot.nonce < used:
                self._store.close_slot(slot.nonce)
        pending = await self._rpc.count(self._wallet.address, "pending")
        return max(pending, *(slot.nonce + 1 for slot in self._store.slots()), 0)

    async def _nudge(self, nonce: int, renew: Renewal | None) -> None:
        """Get ``nonce`` used: rebroadcast or replace its transaction and those before it."""
        # The service is asked before the wallet is locked: it may take its time.
        renewed = await self._renewed(nonce, renew)
        async with self._store.wallet_lock():
            used = await self._rpc.count(self._wallet.address, "latest")
            open_slots = {slot.nonce: slot for slot in self._store.slots()}
            own, first = open_slots.get(nonce), open_slots.get(used)
            if own is not None and renewed is not None:
                await self._replace(own, *renewed, fresh=True)
                return
            if own is not None and nonce != used and not await self._rpc.knows(own.newest.hash):
                await self._offer(own)
            if first is not None:
                await self._push(first)
            elif used < nonce and used == await self._rpc.count(self._wallet.address, "pending"):
                log.warning("nonce %d of the wallet was never used; using it up", used)
                to = self._wallet.address
                hole = NonceRecord(used, Purpose.VOID, "", to, b"", VOID_GAS, (), self._now())
                await self._replace(hole, void=True)

    async def _renewed(self, nonce: int, renew: Renewal | None) -> tuple[str, bytes] | None:
        slot = self._store.slot(nonce)
        if renew is None or slot is None or not self._stale(slot):
            return None
        return await renew()

    def _stale(self, slot: NonceRecord) -> bool:
        """Return whether its script would be gone by the time a provider claims the job."""
        if slot.purpose is not Purpose.REQUEST or slot.newest.void:
            return False
        age = (self._now() - slot.newest.script_at).total_seconds()
        return age >= self._timeouts.script_resend

    async def _push(self, slot: NonceRecord) -> None:
        """Rebroadcast the next transaction to be mined, or raise its gas price."""
        newest = slot.newest
        if self._stale(slot):
            # Whoever it belongs to is not there to renew it; it must neither cost nor block.
            await self._replace(slot, void=True)
        elif (self._now() - newest.signed_at).total_seconds() >= self._timeouts.fee_bump_after:
            await self._replace(slot, newest.script, slot.data, void=newest.void)
        elif not await self._rpc.knows(newest.hash):
            await self._offer(slot)

    async def _replace(
        self,
        slot: NonceRecord,
        script: str = "",
        data: bytes = b"",
        *,
        void: bool = False,
        fresh: bool = False,
    ) -> None:
        """Sign another transaction for the same nonce, at a gas price an eighth higher."""
        price = await self._rpc.gas_price() * 5 // 4
        script_at = self._now()
        if slot.signed:
            price = max(price, slot.newest.gas_price * 9 // 8 + 1)
            if price > slot.signed[0].gas_price * MAX_GAS_PRICE_FACTOR:
                log.error("nonce %d of the wallet stays unmined at any sane price", slot.nonce)
                return
            script_at = script_at if fresh else slot.newest.script_at
        changed = slot if void else replace(slot, data=data)
        changed = changed.with_signed(self._sign(changed, price, script, script_at, void=void))
        self._store.save_slot(changed)
        await self._offer(changed)

    def _sign(
        self, slot: NonceRecord, price: int, script: str, script_at: datetime, *, void: bool = False
    ) -> SignedTransaction:
        raw, known_as = self._wallet.sign_transaction(
            {
                "chainId": self._chain_id,
                "nonce": slot.nonce,
                "gasPrice": price,
                "gas": VOID_GAS if void else slot.gas,
                "to": self._wallet.address if void else slot.to,
                "value": 0,
                "data": b"" if void else slot.data,
            }
        )
        return SignedTransaction(
            bytes(raw), bytes(known_as), price, self._now(), script_at, script, void
        )

    async def _offer(self, slot: NonceRecord) -> None:
        """Broadcast the newest transaction; doubtful results are left to ``wait_mined``."""
        try:
            await self._rpc.send(slot.newest.raw)
        except Unavailable as error:
            log.warning("transaction %d may not have arrived: %s", slot.nonce, error)
        except RpcError as error:
            if any(text in error.text for text in (*_IN_THE_POOL, *_USED)):
                return
            if any(text in error.text for text in _NO_MONEY):
                await self._withdraw(slot, error)
                return
            log.error("transaction %d was not taken: %s", slot.nonce, error)

    async def _withdraw(self, slot: NonceRecord, error: RpcError) -> None:
        """Release a nonce whose transaction nobody has, so that the next one can use it.

        Raises InsufficientFunds then; otherwise an earlier one is pending, and may yet be mined.
        """
        known = [await self._rpc.knows(signed.hash) for signed in slot.signed]
        used = await self._rpc.count(self._wallet.address, "latest")
        if any(known) or used > slot.nonce:
            return
        self._store.close_slot(slot.nonce)
        raise InsufficientFunds(
            f"the wallet {self._wallet.address} cannot pay for a transaction's gas"
        ) from error
