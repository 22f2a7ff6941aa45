"""gRPC client of DeepSquare's logger: signed requests, one channel for all jobs.

A stream begins at the log's first line and may break at any time; ``log_reader`` makes one log of
many streams. gRPC errors become LogStreamLost here.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import grpc
import grpc.aio

from bot.backends.deepsquare import log_pb2
from bot.backends.deepsquare.abi import log_name
from bot.backends.deepsquare.rpc import Sleep
from bot.backends.deepsquare.timeouts import Timeouts
from bot.backends.deepsquare.wallet import SIGNATURE_BYTES, Wallet
from bot.concurrency import delay_after
from bot.domain.errors import LogStreamLost, Unavailable

log = logging.getLogger(__name__)

SERVICE = "logger.v1alpha1.LoggerAPI"
MAX_LINE_BYTES = 64 * 1024
"""Longer lines are truncated: anybody may append a line of any length."""
MAX_MESSAGE_BYTES = 8 << 20
"""Message limit of the first attempt; gRPC breaks the stream at a longer message."""
MAX_RETRY_MESSAGE_BYTES = 256 << 20
"""Message limit of the next attempts at a log that broke the first limit."""
_TOO_LARGE = "larger than max"

# Retrying is useless. Anything else may be a restart, a proxy, the network.
_PERMANENT_CODES = (
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.INVALID_ARGUMENT,
)


@dataclass(frozen=True, slots=True)
class LogCursor:
    """The position behind ``lines`` lines of an attempt's log; ``digest`` covers all of them."""

    attempt: int
    lines: int = 0
    digest: str = ""

    @classmethod
    def parse(cls, cursor: str | None) -> LogCursor:
        """Parse a cursor; an invalid one is the beginning."""
        try:
            attempt, lines, digest = (cursor or "").split(":")
            return cls(int(attempt), int(lines), digest)
        except ValueError:
            return cls(0)

    def after(self, data: bytes) -> LogCursor:
        """Return the position behind one more line."""
        digest = hashlib.blake2b(self.digest.encode() + b"\0" + data, digest_size=8)
        return LogCursor(self.attempt, self.lines + 1, digest.hexdigest())

    def __str__(self) -> str:
        return f"{self.attempt}:{self.lines}:{self.digest}"


class LogClient:
    """One channel for all jobs. ``now`` gives the timestamp that is signed."""

    def __init__(
        self,
        address: str,
        *,
        tls: bool,
        wallet: Wallet,
        timeouts: Timeouts,
        now: Callable[[], datetime],
        sleep: Sleep = asyncio.sleep,
        jitter: Callable[[], float],
    ) -> None:
        self._address = address
        self._tls = tls
        self._wallet = wallet
        self._timeouts = timeouts
        self._now = now
        self._sleep = sleep
        self._jitter = jitter
        self._channels: dict[int, grpc.aio.Channel] = {}
        self._oversized: set[int] = set()

    def request(self, number: int) -> log_pb2.ReadRequest:
        """Sign a request for a job's log. It never expires: do not log it."""
        name, address = log_name(number), self._wallet.address.lower()
        moment = int(self._now().timestamp() * 1000)
        signature = self._wallet.sign_text(f"read:{address}/{name}/{moment}")
        assert len(signature) == SIGNATURE_BYTES
        return log_pb2.ReadRequest(
            address=address, log_name=name, timestamp=moment, signed_hash=signature
        )

    async def probe(self) -> None:
        """Request the list of logs, which needs the service and a valid signature.

        Raises Unavailable with the problem.
        """
        address = self._wallet.address.lower()
        moment = int(self._now().timestamp() * 1000)
        signature = self._wallet.sign_text(f"watchList:{address}/{moment}")
        request = log_pb2.WatchListRequest(address=address, timestamp=moment, signed_hash=signature)
        stream = self._open_stream("WatchList", request, log_pb2.WatchListResponse)
        try:
            async with asyncio.timeout(self._timeouts.connect):
                async for _ in self._messages(stream):
                    return
        except TimeoutError as error:
            raise Unavailable(f"the logger {self._address} does not answer") from error
        except LogStreamLost as error:
            raise Unavailable(str(error)) from error
        finally:
            stream.cancel()

    async def aclose(self) -> None:
        """Close the channels and every stream on them."""
        while self._channels:
            await self._channels.popitem()[1].close()

    async def lines(self, number: int) -> AsyncIterator[bytes]:
        """Yield all lines from the first on until the stream ends or raises LogStreamLost.

        A line over MAX_LINE_BYTES is truncated. Raises LogAccessDenied where a retry is hopeless.
        """
        limit = MAX_RETRY_MESSAGE_BYTES if number in self._oversized else MAX_MESSAGE_BYTES
        stream = self._open_stream("Read", self.request(number), log_pb2.ReadResponse, limit)
        try:
            async for message in self._messages(stream):
                # One message is one line, even if it contains a newline.
                yield message.data[:MAX_LINE_BYTES].replace(b"\n", b" ")
        except MessageTooLarge as error:
            if number in self._oversized:
                size = MAX_RETRY_MESSAGE_BYTES >> 20
                text = f"a line of the log of Grid job {number} is over {size} MiB"
                raise LogAccessDenied(text) from error
            self._oversized.add(number)
            log.warning("the log of Grid job %d has a line over %d bytes: truncated", number, limit)
            raise
        finally:
            stream.cancel()

    def pause(self, attempt: int) -> float:
        """Return the seconds to wait before reconnection number ``attempt``."""
        return delay_after(self._timeouts.backoff, attempt) * (0.9 + 0.2 * self._jitter())

    async def sleep(self, seconds: float) -> None:
        """Sleep for so many seconds."""
        await self._sleep(seconds)

    @property
    def now(self) -> datetime:
        """Return the current time."""
        return self._now()

    async def _messages(self, stream: Any) -> AsyncIterator[Any]:
        try:
            async for message in stream:
                yield message
        except grpc.aio.AioRpcError as error:
            code = error.code()
            text = f"the logger {self._address}: {code.name}"
            if code is grpc.StatusCode.RESOURCE_EXHAUSTED and _TOO_LARGE in (error.details() or ""):
                raise MessageTooLarge(text) from error
            raise (LogAccessDenied if code in _PERMANENT_CODES else LogStreamLost)(text) from error
        except (grpc.aio.BaseError, grpc.RpcError, OSError) as error:
            raise LogStreamLost(f"the logger {self._address}: {type(error).__name__}") from error

    def _open_stream(
        self, method: str, request: Any, answer: Any, limit: int = MAX_MESSAGE_BYTES
    ) -> Any:
        if limit not in self._channels:
            self._channels[limit] = self._open_channel(limit)
        call = self._channels[limit].unary_stream(
            f"/{SERVICE}/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        return call(request)

    def _open_channel(self, limit: int) -> grpc.aio.Channel:
        # No keepalive pings: the service hangs up on clients that ping more often than it likes.
        options = (
            ("grpc.max_receive_message_length", limit),
            ("grpc.initial_reconnect_backoff_ms", 500),
            ("grpc.max_reconnect_backoff_ms", 10_000),
            ("grpc.enable_retries", 0),
        )
        if self._tls:
            credentials = grpc.ssl_channel_credentials()
            return grpc.aio.secure_channel(self._address, credentials, options)
        return grpc.aio.insecure_channel(self._address, options)


class MessageTooLarge(LogStreamLost):
    """A message was longer than the channel accepts, and gRPC broke the stream."""


class LogAccessDenied(LogStreamLost):
    """The service permanently refuses this reader."""
