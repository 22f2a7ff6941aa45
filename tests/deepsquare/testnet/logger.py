"""The Grid's log service: gRPC, signatures checked, every read from the first line, no end.

Writing asks for no authentication, as on the real one. It keeps lines in memory, and knows nothing
of jobs: a log is a user and a name.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
from eth_account import Account
from eth_account.messages import encode_defunct

from tests.deepsquare.testnet import wire


@dataclass(frozen=True, slots=True)
class ReadCall:
    """What one reader asked for."""

    address: str
    log_name: str
    timestamp: int


@dataclass
class LoggerFaults:
    """What goes wrong from now on; a fresh one is nothing.

    ``unavailable`` refuses every read; ``silent`` accepts and never sends a line; ``drop_after``
    breaks each stream after so many lines, ``end_after`` ends it politely; ``forgotten`` lines
    at the start are not known to this replica.
    """

    unavailable: bool = False
    silent: bool = False
    drop_after: int | None = None
    end_after: int | None = None
    forgotten: int = 0


@dataclass
class _Log:
    lines: list[tuple[bytes, int]] = field(default_factory=list)
    grown: asyncio.Event = field(default_factory=asyncio.Event)

    def stir(self) -> None:
        """Wake every reader."""
        self.grown.set()
        self.grown = asyncio.Event()


class LoggerServer:
    """``reads`` are the calls so far, ``crashes`` what would have killed the real service."""

    def __init__(self) -> None:
        self.faults = LoggerFaults()
        self.reads: list[ReadCall] = []
        self.crashes = 0
        self.open_streams = 0
        self._logs: dict[tuple[str, str], _Log] = {}
        self._server: grpc.aio.Server | None = None
        self._credentials: Any = None
        self._port = 0
        self._epoch = 0
        self._attendance = asyncio.Event()

    @property
    def address(self) -> str:
        """``127.0.0.1:port``."""
        return f"127.0.0.1:{self._port}"

    async def start(self, key: bytes = b"", certificate: bytes = b"") -> None:
        """Listen, with TLS if a key and a certificate are given; after a ``stop`` as before."""
        if key:
            self._credentials = grpc.ssl_server_credentials([(key, certificate)])
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((self._handlers(),))
        name = f"127.0.0.1:{self._port}"
        if self._credentials is None:
            self._port = server.add_insecure_port(name)
        else:
            self._port = server.add_secure_port(name, self._credentials)
        await server.start()
        self._server = server

    async def stop(self) -> None:
        """Close the port and every stream; logs are kept."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    def write(self, user: str, log_name: str, data: bytes, timestamp: int | None = None) -> None:
        """Append one line, as a provider's writer or any stranger can. Nanoseconds."""
        log = self._log(user, log_name)
        log.lines.append((data.rstrip(b"\r\n"), timestamp or time.time_ns()))
        log.stir()

    def lines(self, user: str, log_name: str) -> list[bytes]:
        """What a log holds."""
        return [data for data, _ in self._log(user, log_name).lines]

    async def written(self, user: str, log_name: str, word: bytes) -> None:
        """Wait until a line of a log holds ``word``."""
        log = self._log(user, log_name)
        while not any(word in data for data, _ in log.lines):
            await log.grown.wait()

    def drop_streams(self) -> None:
        """Break every open stream now, as an hourly GOAWAY does."""
        self._epoch += 1
        for log in self._logs.values():
            log.stir()

    async def attended(self, streams: int) -> None:
        """Wait until so many streams are open."""
        while self.open_streams != streams:
            await self._attendance.wait()

    def _count(self, change: int) -> None:
        self.open_streams += change
        self._attendance.set()
        self._attendance = asyncio.Event()

    def _log(self, user: str, log_name: str) -> _Log:
        return self._logs.setdefault((user.lower(), log_name), _Log())

    def _handlers(self) -> Any:
        def entry(kind: Any, method: Any, request: Any, response: Any) -> Any:
            return kind(
                method,
                request_deserializer=request.FromString,
                response_serializer=response.SerializeToString,
            )

        stream = grpc.unary_stream_rpc_method_handler
        methods = {
            "Read": entry(stream, self._read, wire.ReadRequest, wire.ReadResponse),
            "WatchList": entry(
                stream, self._watch_list, wire.WatchListRequest, wire.WatchListResponse
            ),
            "Write": entry(
                grpc.stream_unary_rpc_method_handler,
                self._write,
                wire.WriteRequest,
                wire.WriteResponse,
            ),
        }
        return grpc.method_handlers_generic_handler(wire.SERVICE, methods)

    async def _read(self, request: Any, context: Any) -> AsyncIterator[Any]:
        address = request.address.lower()
        text = f"read:{address}/{request.log_name}/{request.timestamp}"
        await self._authenticate(address, text, request.signed_hash, context)
        self.reads.append(ReadCall(address, request.log_name, request.timestamp))
        if self.faults.unavailable:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "no healthy upstream")
        self._count(1)
        try:
            async for line in self._follow(self._log(address, request.log_name), context):
                yield line
        finally:
            self._count(-1)

    async def _follow(self, log: _Log, context: Any) -> AsyncIterator[Any]:
        epoch, faults, sent = self._epoch, self.faults, 0
        position = faults.forgotten
        while True:
            grown = log.grown
            while True:
                if sent == faults.drop_after:
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "connection reset")
                if sent == faults.end_after:
                    return
                if faults.silent or position >= len(log.lines):
                    break
                data, timestamp = log.lines[position]
                yield wire.ReadResponse(data=data, timestamp=timestamp)
                position += 1
                sent += 1
            if self._epoch != epoch:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "max_age")
            if grown is log.grown:
                await grown.wait()

    async def _watch_list(self, request: Any, context: Any) -> AsyncIterator[Any]:
        address = request.address.lower()
        text = f"watchList:{address}/{request.timestamp}"
        await self._authenticate(address, text, request.signed_hash, context)
        names = [name for user, name in self._logs if user == address]
        yield wire.WatchListResponse(log_names=names)

    async def _write(self, requests: AsyncIterator[Any], context: Any) -> Any:
        async for request in requests:
            self.write(request.user, request.log_name, request.data, request.timestamp)
        return wire.WriteResponse()

    async def _authenticate(self, address: str, text: str, signature: bytes, context: Any) -> None:
        if len(signature) < 65:
            # Byte 64 is read unchecked there, and nothing catches the panic.
            self.crashes += 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "connection reset")
        recovery = signature[64] + (27 if signature[64] < 2 else 0)
        signer = ""
        with contextlib.suppress(Exception):  # whatever is wrong with it, it is not theirs
            whole = signature[:64] + bytes([recovery])
            signer = Account.recover_message(encode_defunct(text=text), signature=whole)
        if signer.lower() != address:
            await context.abort(
                grpc.StatusCode.UNAUTHENTICATED, "failed to authenticate: not the address's key"
            )
