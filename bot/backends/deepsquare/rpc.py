"""JSON-RPC client of the chain: typed results, mapped errors, retried reads.

Whatever web3 and its HTTP client raise becomes Unavailable, ContractReverted or RpcError here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import aiohttp
from eth_abi.exceptions import DecodingError
from hexbytes import HexBytes
from web3 import AsyncHTTPProvider, AsyncWeb3
from web3.exceptions import (
    ContractLogicError,
    ContractPanicError,
    TransactionNotFound,
    Web3Exception,
    Web3RPCError,
)
from web3.middleware import ExtraDataToPOAMiddleware

from bot.backends.deepsquare.revert_errors import ContractReverted, Revert, decode_revert
from bot.backends.deepsquare.timeouts import Timeouts
from bot.domain.errors import BackendError, Unavailable

Answer = TypeVar("Answer")
Sleep = Callable[[float], Awaitable[None]]

MAX_CONNECTIONS = 20
_TRANSIENT_STATUSES = (401, 403, 404, 408, 425, 429)
_INVALID_RESPONSE = (
    *(ValueError, RecursionError),  # not JSON, or nested too deeply
    *(TypeError, KeyError, AttributeError),  # a missing field
    DecodingError,  # not this contract's result
)


class RpcError(BackendError):
    """The endpoint returned a JSON-RPC error; ``text`` is its message in lower case."""

    def __init__(self, text: str) -> None:
        super().__init__(f"the chain's endpoint refused: {text}")
        self.text = text.lower()


@dataclass(frozen=True, slots=True)
class EventLog:
    """One event in one block; ``block_hash`` and ``index`` identify it across reorganisations."""

    address: str
    topics: tuple[bytes, ...]
    data: bytes
    block: int
    block_hash: bytes
    index: int


@dataclass(frozen=True, slots=True)
class TransactionReceipt:
    """The receipt of a mined transaction: whether it succeeded, and its events."""

    ok: bool
    block: int
    logs: tuple[EventLog, ...]


@contextmanager
def map_rpc_errors() -> Iterator[None]:
    """Map whatever the chain's libraries raise."""
    try:
        yield
    except ContractPanicError as error:
        raise ContractReverted(Revert("Panic")) from error
    except ContractLogicError as error:
        raise ContractReverted(_revert(error)) from error
    except Web3RPCError as error:
        raise RpcError(_message(error)) from error
    except aiohttp.ClientResponseError as error:
        # A rejected request is an error; too many requests are an outage.
        if 400 <= error.status < 500 and error.status not in _TRANSIENT_STATUSES:
            raise RpcError(f"HTTP status {error.status}") from error
        raise Unavailable(f"the chain's endpoint answers HTTP status {error.status}") from error
    except (Web3Exception, aiohttp.ClientError, OSError, TimeoutError) as error:
        raise Unavailable(f"the chain's endpoint does not answer: {_describe(error)}") from error
    except _INVALID_RESPONSE as error:
        raise Unavailable(
            f"the chain's endpoint sent an invalid response: {_describe(error)}"
        ) from error


class RpcClient:
    """One endpoint. Reads are retried through short faults; sending is not."""

    def __init__(self, url: str, timeouts: Timeouts, sleep: Sleep = asyncio.sleep) -> None:
        provider = AsyncHTTPProvider(
            url,
            request_kwargs={"timeout": aiohttp.ClientTimeout(total=timeouts.request)},
            exception_retry_configuration=None,
        )
        # Avalanche's block headers are longer than Ethereum's.
        self._web3 = AsyncWeb3(provider, middleware=[ExtraDataToPOAMiddleware])
        self._eth = self._web3.eth
        self._retries = timeouts.retries
        self._sleep = sleep
        self._semaphore = asyncio.Semaphore(MAX_CONNECTIONS)

    async def chain_id(self) -> int:
        """Return the chain's id."""
        return await self._read(lambda: self._eth.chain_id)

    async def head(self) -> int:
        """Return the newest block's number."""
        return await self._read(lambda: self._eth.block_number)

    async def gas_price(self) -> int:
        """Return the gas price in wei of the native coin."""
        return await self._read(lambda: self._eth.gas_price)

    async def balance(self, address: str) -> int:
        """Return the balance in wei of the native coin."""
        return await self._read(lambda: self._eth.get_balance(HexBytes(address)))  # type: ignore[arg-type]

    async def transaction_count(self, address: str, block: Literal["latest", "pending"]) -> int:
        """Return how many transactions of ``address`` are mined (latest), or mined or pending."""
        return await self._read(
            lambda: self._eth.get_transaction_count(HexBytes(address), block)  # type: ignore[arg-type]
        )

    async def call(
        self, to: str, data: bytes, *, sender: str | None = None, block: int | str = "latest"
    ) -> bytes:
        """Call a function and return its result. Raises ContractReverted."""
        asked: Any = {"to": to, "data": HexBytes(data)} | ({"from": sender} if sender else {})
        at: Any = block
        answer = await self._read(lambda: self._eth.call(asked, at, ccip_read_enabled=False))
        return bytes(answer)

    async def estimate_gas(self, to: str, data: bytes, sender: str) -> int:
        """Estimate a transaction's gas. Raises ContractReverted if it would revert."""
        asked: Any = {"to": to, "data": HexBytes(data), "from": sender}
        return await self._read(lambda: self._eth.estimate_gas(asked))

    async def get_logs(
        self, address: str, topic: bytes, first: int, last: int
    ) -> tuple[EventLog, ...]:
        """Return the events of one kind of one contract, in blocks ``first`` to ``last``.

        Raises RpcError for a range that is too long. Not retried: the caller asks again.
        """
        asked: Any = {
            "address": address,
            "topics": [HexBytes(topic)],
            "fromBlock": first,
            "toBlock": last,
        }
        with map_rpc_errors():
            async with self._semaphore:
                found = await self._eth.get_logs(asked)
        with map_rpc_errors():
            return tuple(_log(entry) for entry in found)

    async def receipt(self, transaction: bytes) -> TransactionReceipt | None:
        """Return a transaction's receipt, or None until it is mined."""
        try:
            found = await self._read(
                lambda: self._eth.get_transaction_receipt(HexBytes(transaction))
            )
        except _TransactionMissing:
            return None
        with map_rpc_errors():
            logs = tuple(_log(entry) for entry in found["logs"])
            return TransactionReceipt(found["status"] == 1, found["blockNumber"], logs)

    async def has_transaction(self, transaction: bytes) -> bool:
        """Return whether the endpoint has the transaction, mined or pending."""
        try:
            await self._read(lambda: self._eth.get_transaction(HexBytes(transaction)))
        except _TransactionMissing:
            return False
        return True

    async def send(self, raw: bytes) -> None:
        """Send a signed transaction, once.

        Raises RpcError, or Unavailable: it may then have arrived or not.
        """
        with map_rpc_errors():
            await self._eth.send_raw_transaction(HexBytes(raw))

    async def aclose(self) -> None:
        """Close the connections."""
        with map_rpc_errors():
            await self._web3.provider.disconnect()

    async def _read(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        for pause in (*self._retries, None):
            try:
                async with self._semaphore:
                    with map_rpc_errors():
                        try:
                            return await ask()
                        except TransactionNotFound as error:
                            raise _TransactionMissing from error
            except Unavailable:
                if pause is None:
                    raise
            except RpcError as error:
                # Nothing in these requests can be rejected: the endpoint is faulty.
                if pause is None:
                    raise Unavailable(str(error)) from error
            if pause is not None:
                await self._sleep(pause)
        raise AssertionError("the last attempt returns or raises")


class _TransactionMissing(BackendError):
    """The transaction does not exist: an answer, not a fault."""


def _log(entry: Mapping[str, Any]) -> EventLog:
    return EventLog(
        address=str(entry["address"]),
        topics=tuple(bytes(topic) for topic in entry["topics"]),
        data=bytes(entry["data"]),
        block=int(entry["blockNumber"]),
        block_hash=bytes(entry["blockHash"]),
        index=int(entry["logIndex"]),
    )


def _revert(error: ContractLogicError) -> Revert:
    data = error.data
    if isinstance(data, dict):
        data = data.get("data")
    if isinstance(data, str) and data.startswith("0x"):
        try:
            return decode_revert(bytes.fromhex(data[2:]))
        except ValueError:
            pass
    # Without data the reason is only in the message, if anywhere.
    text = str(error.message or "").removeprefix("execution reverted").lstrip(": ")
    return Revert("Error", (text[:200],)) if text else Revert("")


def _message(error: Web3RPCError) -> str:
    response: Any = error.rpc_response or {}
    told = response.get("error") if isinstance(response, dict) else None
    text = told.get("message") if isinstance(told, dict) else None
    return str(text or error.message or "no reason given")[:300]


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]
