"""The logger, asked with bytes of our own making: signatures, replay, and how streams break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from eth_account import Account
from eth_account.messages import encode_defunct

from tests.deepsquare.testnet import wire
from tests.deepsquare.testnet.certificate import make_certificate
from tests.deepsquare.testnet.logger import LoggerFaults, LoggerServer

KEY = "0x4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"
ADDRESS = "0x2c7536e3605d9c16a7a3d7b1898e529396a65c23"
NAME = "0x" + f"{1234:064x}"
REQUEST = bytes.fromhex(
    "0a2a307832633735333665333630356439633136613761336437623138393865353239333936613635633233"
    "12423078303030303030303030303030303030303030303030303030303030303030303030303030303030303030"
    "303030303030303030303030303030303030303464321880d095ffbc312241cc7d3d481d9e70e933b7cca2157c2d"
    "d9e546e9032547fc7e2132c40a727ead7d0ec328eb657687c637f06926b3e4262d6c6b19cef90a4170f92da1e976"
    "79a1ba1c"
)
RESPONSE = bytes.fromhex("0a172d2d2d204a6f62206861732073746172746564202d2d2d1095ae82c9e79fe7cb17")


@pytest.fixture
async def logger() -> AsyncIterator[LoggerServer]:
    server = LoggerServer()
    await server.start()
    yield server
    await server.stop()


def read(channel: grpc.aio.Channel, request: bytes) -> Any:
    return channel.unary_stream("/logger.v1alpha1.LoggerAPI/Read")(request)


def signed(stamp: int = 1, **changes: object) -> bytes:
    """A request that is signed for ``stamp``; changes come after the signature."""
    text = encode_defunct(text=f"read:{ADDRESS}/{NAME}/{stamp}")
    fields: dict[str, object] = {
        "address": ADDRESS,
        "log_name": NAME,
        "timestamp": stamp,
        "signed_hash": bytes(Account.sign_message(text, KEY).signature),
    }
    return bytes(wire.ReadRequest(**fields | changes).SerializeToString())


async def code(call: Any) -> grpc.StatusCode:
    """How a stream ends, whatever comes before."""
    try:
        while await call.read() is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def test_the_bytes_of_the_vectors_are_read_and_answered(logger: LoggerServer) -> None:
    logger.write(ADDRESS, NAME, b"--- Job has started ---", 1700000001123456789)
    async with grpc.aio.insecure_channel(logger.address) as channel:
        call = read(channel, REQUEST)
        assert await call.read() == RESPONSE
        call.cancel()
    assert [(one.address, one.log_name) for one in logger.reads] == [(ADDRESS, NAME)]


async def test_a_read_replays_from_the_first_line_follows_and_never_ends(
    logger: LoggerServer,
) -> None:
    async with grpc.aio.insecure_channel(logger.address) as channel:
        early = read(channel, signed())
        waiting = asyncio.ensure_future(early.read())
        logger.write(ADDRESS, NAME, b"one\r\n")
        assert wire.ReadResponse.FromString(await waiting).data == b"one"
        logger.write(ADDRESS, NAME, b"two")
        late = read(channel, signed(2))
        lines = [wire.ReadResponse.FromString(await late.read()).data for _ in range(2)]
        assert lines == [b"one", b"two"]
        assert wire.ReadResponse.FromString(await early.read()).data == b"two"
        assert logger.open_streams == 2
        for call in (early, late):
            assert not call.done()
            call.cancel()


@pytest.mark.parametrize("shift", [0, 27])
async def test_both_styles_of_a_signatures_last_byte_are_accepted(
    logger: LoggerServer, shift: int
) -> None:
    logger.write(ADDRESS, NAME, b"line")
    request = wire.ReadRequest.FromString(signed())
    signature = request.signed_hash[:64] + bytes([request.signed_hash[64] - 27 + shift])
    async with grpc.aio.insecure_channel(logger.address) as channel:
        call = read(channel, signed(signed_hash=signature))
        assert wire.ReadResponse.FromString(await call.read()).data == b"line"
        call.cancel()


@pytest.mark.parametrize(
    "changes",
    [
        {"timestamp": 2},
        {"log_name": NAME[:-1] + "3"},
        {"address": "0x" + "11" * 20},
        {"signed_hash": bytes(65)},
    ],
)
async def test_what_the_signature_does_not_cover_is_refused(
    logger: LoggerServer, changes: dict[str, object]
) -> None:
    async with grpc.aio.insecure_channel(logger.address) as channel:
        assert await code(read(channel, signed(1, **changes))) is grpc.StatusCode.UNAUTHENTICATED
    assert logger.reads == []


async def test_a_checksummed_address_is_lowered_before_it_is_compared(
    logger: LoggerServer,
) -> None:
    logger.write(ADDRESS, NAME, b"line")
    checksummed = Account.from_key(KEY).address
    async with grpc.aio.insecure_channel(logger.address) as channel:
        call = read(channel, signed(address=checksummed))
        assert await call.read() is not grpc.aio.EOF
        call.cancel()


async def test_a_short_signature_would_have_crashed_the_real_one(logger: LoggerServer) -> None:
    async with grpc.aio.insecure_channel(logger.address) as channel:
        short = signed(signed_hash=bytes(64))
        assert await code(read(channel, short)) is grpc.StatusCode.UNAVAILABLE
    assert logger.crashes == 1


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        (LoggerFaults(unavailable=True), grpc.StatusCode.UNAVAILABLE),
        (LoggerFaults(drop_after=0), grpc.StatusCode.UNAVAILABLE),
        (LoggerFaults(drop_after=2), grpc.StatusCode.UNAVAILABLE),
        (LoggerFaults(end_after=2), grpc.StatusCode.OK),
    ],
)
async def test_streams_break_as_asked(
    logger: LoggerServer, faults: LoggerFaults, expected: grpc.StatusCode
) -> None:
    for line in (b"one", b"two", b"three"):
        logger.write(ADDRESS, NAME, line)
    logger.faults = faults
    async with grpc.aio.insecure_channel(logger.address) as channel:
        assert await code(read(channel, signed())) is expected
    await logger.attended(0)


async def test_open_streams_can_be_dropped_and_the_service_restarted(logger: LoggerServer) -> None:
    logger.write(ADDRESS, NAME, b"one")
    address = logger.address
    async with grpc.aio.insecure_channel(address) as channel:
        call = read(channel, signed())
        await call.read()
        logger.drop_streams()
        assert await code(call) is grpc.StatusCode.UNAVAILABLE
        call = read(channel, signed())
        await call.read()
        await logger.stop()
        assert await code(call) is grpc.StatusCode.UNAVAILABLE
    await logger.start()
    assert logger.address == address
    async with grpc.aio.insecure_channel(address) as channel:
        call = read(channel, signed())
        assert wire.ReadResponse.FromString(await call.read()).data == b"one"
        call.cancel()


async def test_a_silent_logger_and_a_forgetful_replica(logger: LoggerServer) -> None:
    for line in (b"one", b"two"):
        logger.write(ADDRESS, NAME, line)
    async with grpc.aio.insecure_channel(logger.address) as channel:
        logger.faults = LoggerFaults(silent=True)
        call = read(channel, signed())
        reading = asyncio.ensure_future(call.read())
        await logger.attended(1)
        logger.write(ADDRESS, NAME, b"three")
        assert not reading.done()
        logger.drop_streams()
        with pytest.raises(grpc.aio.AioRpcError):
            await reading
        logger.faults = LoggerFaults(forgotten=2)
        call = read(channel, signed())
        assert wire.ReadResponse.FromString(await call.read()).data == b"three"
        call.cancel()


async def test_anybody_can_write_into_a_log(logger: LoggerServer) -> None:
    line = wire.WriteRequest(log_name=NAME, user=ADDRESS, data=b"forged", timestamp=1)
    async with grpc.aio.insecure_channel(logger.address) as channel:
        write = channel.stream_unary("/logger.v1alpha1.LoggerAPI/Write")
        await write(iter([line.SerializeToString()]))
    assert logger.lines(ADDRESS, NAME) == [b"forged"]


async def test_a_customer_can_list_the_logs_of_its_own(logger: LoggerServer) -> None:
    logger.write(ADDRESS, NAME, b"line")
    logger.write("0x" + "11" * 20, "0x1", b"line")
    text = encode_defunct(text=f"watchList:{ADDRESS}/1")
    request = wire.WatchListRequest(
        address=ADDRESS,
        timestamp=1,
        signed_hash=bytes(Account.sign_message(text, KEY).signature),
    )
    async with grpc.aio.insecure_channel(logger.address) as channel:
        watch = channel.unary_stream("/logger.v1alpha1.LoggerAPI/WatchList")
        answers = [answer async for answer in watch(request.SerializeToString())]
    assert wire.WatchListResponse.FromString(answers[0]).log_names == [NAME]


async def test_the_logger_can_speak_tls(tmp_path: Path) -> None:
    key, certificate = make_certificate(tmp_path)
    server = LoggerServer()
    await server.start(key, certificate)
    server.write(ADDRESS, NAME, b"line")
    credentials = grpc.ssl_channel_credentials(certificate)
    async with grpc.aio.secure_channel(server.address, credentials) as channel:
        call = read(channel, signed())
        assert wire.ReadResponse.FromString(await call.read()).data == b"line"
        call.cancel()
    await server.stop()
