"""The log's reader: every line once and in order, through breaks, replays and other replicas."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from bot.backends.base import LogLine
from bot.backends.deepsquare.abi import log_name
from bot.backends.deepsquare.log_client import (
    MAX_LINE_BYTES,
    MAX_MESSAGE_BYTES,
    LogAccessDenied,
    LogClient,
    LogCursor,
)
from bot.backends.deepsquare.log_reader import MAX_QUEUED_LINES, LogReader
from bot.backends.deepsquare.wallet import Wallet
from bot.domain.errors import LogStreamLost, Unavailable
from tests.deepsquare.clients import IMPATIENT
from tests.deepsquare.testnet.logger import LoggerFaults, LoggerServer
from tests.unit.deepsquare import vectors

JOB = 5
NAME = log_name(JOB)


@pytest.fixture
async def server() -> AsyncIterator[LoggerServer]:
    logger = LoggerServer()
    await logger.start()
    yield logger
    await logger.stop()


@pytest.fixture
async def service(server: LoggerServer) -> AsyncIterator[LogClient]:
    client = open_service(server.address)
    yield client
    await client.aclose()


def open_service(address: str, key: str = vectors.PRIVATE_KEY) -> LogClient:
    return LogClient(
        address,
        tls=False,
        wallet=Wallet(key),
        timeouts=IMPATIENT,
        now=lambda: datetime.now(UTC),
        jitter=lambda: 0.5,
    )


def write(server: LoggerServer, *lines: str | bytes) -> None:
    for line in lines:
        data = line if isinstance(line, bytes) else line.encode()
        server.write(vectors.ADDRESS, NAME, data, timestamp=1)


class Reader:
    """A reading, and how to wait for what it brings."""

    def __init__(self, service: LogClient, start: LogCursor | None = None) -> None:
        self._woken = asyncio.Event()
        self.reading = LogReader(service, JOB, start or LogCursor(1), self._woken.set)
        self.got: list[LogLine] = []

    async def lines(self, count: int) -> list[str]:
        """Wait until there are ``count`` lines in all."""
        async with asyncio.timeout(10):
            while len(self.got) < count:
                self._woken.clear()
                while (line := self.reading.next_line()) is not None:
                    self.got.append(line)
                if len(self.got) < count:
                    await self._woken.wait()
        return [line.data.decode().rstrip("\n") for line in self.got]

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for something that no line tells of."""
        async with asyncio.timeout(10):
            while not true():  # noqa: ASYNC110 - it is the server's doing
                await asyncio.sleep(0.01)


@asynccontextmanager
async def reader(service: LogClient, start: LogCursor | None = None) -> AsyncIterator[Reader]:
    opened = Reader(service, start)
    try:
        yield opened
    finally:
        await opened.reading.aclose()


async def test_lines_come_from_the_first_on_and_as_they_are_written(
    server: LoggerServer, service: LogClient
) -> None:
    write(server, "--- Job has started ---", "", "same", "same")
    async with reader(service) as read:
        assert await read.lines(4) == ["--- Job has started ---", "", "same", "same"]
        ends = [read.reading.saw_end_line]
        write(server, "---")
        await read.lines(5)
        assert [*ends, read.reading.saw_end_line] == [False, True]
    assert [call.log_name for call in server.reads] == [NAME]


async def test_a_log_that_does_not_exist_yet_is_waited_for(
    server: LoggerServer, service: LogClient
) -> None:
    async with reader(service) as read:
        await read.until(lambda: server.open_streams == 1)
        write(server, "first")
        assert await read.lines(1) == ["first"]


@pytest.mark.parametrize(
    "faults", [LoggerFaults(drop_after=3), LoggerFaults(end_after=3)], ids=["drop", "end"]
)
async def test_a_stream_that_breaks_or_ends_goes_on_behind_its_last_line(
    server: LoggerServer, service: LogClient, faults: LoggerFaults
) -> None:
    write(server, "a", "a", "b")
    server.faults = faults
    async with reader(service) as read:
        assert await read.lines(3) == ["a", "a", "b"]
        await read.until(lambda: len(server.reads) > 2)
        server.faults = LoggerFaults()
        write(server, "c")
        assert await read.lines(4) == ["a", "a", "b", "c"]


async def test_an_hourly_hangup_loses_and_repeats_nothing(
    server: LoggerServer, service: LogClient
) -> None:
    async with reader(service) as read:
        for number in range(1, 30):
            write(server, f"line {number}")
            await read.lines(number)
            if number % 7 == 0:
                server.drop_streams()
        assert await read.lines(29) == [f"line {number}" for number in range(1, 30)]
    assert len(server.reads) >= 4


async def test_a_logger_that_is_away_for_long_is_waited_for(
    server: LoggerServer, service: LogClient
) -> None:
    write(server, "before")
    async with reader(service) as read:
        await read.lines(1)
        await server.stop()
        await read.until(lambda: read.reading.disconnected)
        write(server, "meanwhile")
        await server.start()
        assert await read.lines(2) == ["before", "meanwhile"]


async def test_a_cursor_goes_on_in_a_new_process(server: LoggerServer, service: LogClient) -> None:
    write(server, "a", "b", "c")
    async with reader(service) as read:
        await read.lines(3)
        cursors = [line.cursor for line in read.got]
    async with reader(service, LogCursor.parse(cursors[1])) as again:
        assert await again.lines(1) == ["c"]
        assert again.got[0].cursor == cursors[2]
    async with reader(service, LogCursor.parse(cursors[2])) as again:
        write(server, "d")
        assert await again.lines(1) == ["d"]


async def test_the_last_line_is_noticed_also_when_it_was_read_before(
    server: LoggerServer, service: LogClient
) -> None:
    write(server, "--- Job has started ---", "---")
    async with reader(service) as read:
        await read.lines(2)
        start = LogCursor.parse(read.got[1].cursor)
    async with reader(service, start) as again:
        await again.until(lambda: again.reading.saw_end_line)
        assert again.reading.next_line() is None


async def test_another_replicas_log_is_told_again_from_its_start(
    server: LoggerServer, service: LogClient
) -> None:
    lines = [f"line {number}" for number in range(20)]
    write(server, *lines)
    async with reader(service) as read:
        await read.lines(20)
        server.faults = LoggerFaults(forgotten=3)
        server.drop_streams()
        assert await read.lines(37) == lines + lines[3:]
        assert read.got[-1].cursor.startswith("1:17:")


async def test_a_shorter_log_is_noticed_before_it_is_as_long_as_the_old_one(
    server: LoggerServer, service: LogClient
) -> None:
    write(server, *(f"line {number}" for number in range(40)))
    async with reader(service) as read:
        await read.lines(40)
        server.faults = LoggerFaults(forgotten=35)
        server.drop_streams()
        assert (await read.lines(45))[40:] == [f"line {number}" for number in range(35, 40)]


async def test_a_silent_stream_can_be_opened_anew(server: LoggerServer, service: LogClient) -> None:
    server.faults = LoggerFaults(silent=True)
    write(server, "unheard")
    async with reader(service) as read:
        await read.until(lambda: server.open_streams == 1)
        server.faults = LoggerFaults()
        read.reading.reopen()
        assert await read.lines(1) == ["unheard"]


async def test_a_wrong_signature_is_not_tried_again(server: LoggerServer) -> None:
    service = open_service(server.address, "0x" + "11" * 32)
    honest = service.request(JOB)

    def forged(_: int) -> object:
        honest.address = vectors.ADDRESS
        return honest

    service.request = forged  # type: ignore[method-assign,assignment]
    async with reader(service) as read:
        await read.until(lambda: read.reading.denied)
        assert read.reading.is_complete
    with pytest.raises(LogAccessDenied):
        await anext(service.lines(JOB))
    await service.aclose()
    assert server.crashes == 0
    assert server.reads == []


async def test_a_strangers_endless_line_costs_no_more_than_a_long_one(
    server: LoggerServer, service: LogClient
) -> None:
    write(server, b"x" * (3 << 20), b"two\nin one", b"\xff\xfe")
    async with reader(service) as read:
        await read.until(lambda: read.reading.queue.qsize() == 3)
        data = [read.reading.queue.get_nowait().data for _ in range(3)]
    assert data == [b"x" * MAX_LINE_BYTES + b"\n", b"two in one\n", b"\xff\xfe\n"]


@pytest.mark.parametrize("size", [MAX_MESSAGE_BYTES - 64, MAX_MESSAGE_BYTES, MAX_MESSAGE_BYTES + 1])
async def test_a_line_over_the_limit_is_cut_and_the_log_goes_on(
    server: LoggerServer, service: LogClient, size: int
) -> None:
    write(server, "before", b"x" * size, "after", b"y" * size, "the end")
    async with reader(service) as read:
        lines = await read.lines(5)
    assert lines == ["before", "x" * MAX_LINE_BYTES, "after", "y" * MAX_LINE_BYTES, "the end"]


async def test_a_line_that_nobody_can_receive_ends_the_reading_and_not_the_others(
    server: LoggerServer, service: LogClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "bot.backends.deepsquare.log_client.MAX_RETRY_MESSAGE_BYTES", MAX_MESSAGE_BYTES + 1024
    )
    write(server, "before", b"x" * (MAX_MESSAGE_BYTES + 4096), "after")
    async with reader(service) as read:
        await read.until(lambda: read.reading.denied)
        assert await read.lines(1) == ["before"]


async def test_lines_that_nobody_takes_are_not_piled_up(
    server: LoggerServer, service: LogClient
) -> None:
    write(server, *(f"line {number}" for number in range(2 * MAX_QUEUED_LINES)))
    async with reader(service) as read:
        await read.until(read.reading.queue.full)
        assert len(await read.lines(2 * MAX_QUEUED_LINES)) == 2 * MAX_QUEUED_LINES


async def test_all_jobs_share_one_channel(server: LoggerServer, service: LogClient) -> None:
    write(server, "a")
    async with reader(service) as one, reader(service) as two:
        assert await one.lines(1) == await two.lines(1) == ["a"]
        assert server.open_streams == 2


async def test_a_probe_needs_the_service_and_a_valid_signature(server: LoggerServer) -> None:
    service = open_service(server.address)
    await service.probe()
    await server.stop()
    with pytest.raises(Unavailable, match="logger"):
        await service.probe()
    await service.aclose()


async def test_tls_is_spoken_unless_it_is_switched_off(server: LoggerServer) -> None:
    service = LogClient(
        server.address,
        tls=True,
        wallet=Wallet(vectors.PRIVATE_KEY),
        timeouts=IMPATIENT,
        now=lambda: datetime.now(UTC),
        jitter=lambda: 0.5,
    )
    with pytest.raises(LogStreamLost):
        await anext(service.lines(JOB))
    await service.aclose()
    assert server.reads == []


@pytest.mark.parametrize("cursor", [None, "", "nonsense", "1:2", "a:b:c", "1:2:3:4"])
def test_an_unreadable_cursor_is_the_beginning(cursor: str | None) -> None:
    assert LogCursor.parse(cursor) == LogCursor(0)


def test_a_cursor_says_where_and_behind_what() -> None:
    here = LogCursor(2).after(b"a").after(b"b")
    assert LogCursor.parse(str(here)) == here
    assert here != LogCursor(2).after(b"b").after(b"a")


def test_pauses_grow_and_differ_by_chance() -> None:
    service = open_service("127.0.0.1:1")
    assert service.pause(0) < service.pause(1) == service.pause(99)
