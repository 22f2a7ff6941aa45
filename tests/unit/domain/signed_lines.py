"""A job's key, lines signed with it, and a parser's answer to lines, for the tests of logs."""

from __future__ import annotations

import base64

from bot.domain.events import JobEvent
from bot.domain.log_parser import LogItem, LogOutput, LogParser, sign_marker

KEY = bytes.fromhex("00112233445566778899aabbccddeeff" * 2)
ROWS = 4
SHA = "711430f6164e93803d93428bc1fab80f41e213bb197689307de8606d437c3038"
URL = "https://transfer.deepsquare.run/AbCdEfGhIj/row-02.png"
ROW_DONE = f"@@sd1 7 row-done row=2 seed=1001 size=1234567 sha256={SHA} url="


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def read(*lines: str | bytes, rows: int = ROWS, key: bytes = KEY) -> tuple[LogItem, ...]:
    parser = LogParser(key, rows)
    data = b"".join((line.encode() if isinstance(line, str) else line) + b"\n" for line in lines)
    return parser.feed(data)


def signed(text: str) -> str:
    return sign_marker(KEY, text)


def events(parsed: tuple[LogItem, ...]) -> tuple[JobEvent, ...]:
    return tuple(item for item in parsed if not isinstance(item, LogOutput))
