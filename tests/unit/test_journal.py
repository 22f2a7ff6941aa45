"""The log's two formats, and that no secret gets through either."""

from __future__ import annotations

import io
import json
import logging
import re
import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from bot.domain.picture_links import PictureLink, sign_link
from bot.log_config import MASK, RedactingStreamHandler, Redactor, configure_logging

TOKEN = "MTAxMDEwMTAxMDEwMTAxMDEw.GabcdE.x1y2z3-x1y2z3_x1y2z3-x1y2z3-x1y"
KEY = "0x" + "5aF0" * 16
ODD = 'p"w\\ü\n1'

Form = Literal["text", "json"]


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    level = root.level
    yield io.StringIO()
    for handler in [one for one in root.handlers if isinstance(one, RedactingStreamHandler)]:
        root.removeHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(False)


def start(
    stream: io.StringIO, form: Form = "text", level: str = "debug", *secrets: str
) -> logging.Logger:
    configure_logging(form, level, secrets, stream)
    return logging.getLogger("bot.somewhere")


def test_text_has_time_level_logger_job_and_message(stream: io.StringIO) -> None:
    log = start(stream)
    log.info("started with %d rows", 4, extra={"job": "abc234"})
    log.warning("no job here")
    first, second = stream.getvalue().splitlines()
    pattern = (
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO    bot\.somewhere \[job abc234\] started"
    )
    assert re.match(pattern, first)
    assert first.endswith("started with 4 rows")
    assert re.search(r"Z WARNING bot\.somewhere no job here$", second)


def test_json_is_one_object_a_line_with_the_same_facts(stream: io.StringIO) -> None:
    log = start(stream, "json")
    log.error("it\nfailed", extra={"job": "abc234"})
    log.info("café")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    moment = datetime.fromisoformat(first.pop("time"))
    assert moment.utcoffset() == timedelta(0)
    assert first == {
        "level": "error",
        "logger": "bot.somewhere",
        "message": "it\nfailed",
        "job": "abc234",
    }
    assert second["message"] == "café"
    assert set(second) == {"time", "level", "logger", "message"}


def test_levels_below_the_chosen_one_are_left_out(stream: io.StringIO) -> None:
    log = start(stream, "text", "warning")
    log.info("not this")
    log.warning("but this")
    assert "not this" not in stream.getvalue()
    assert "but this" in stream.getvalue()


@pytest.mark.parametrize(("level", "heard"), [("info", False), ("debug", True)])
def test_libraries_that_tell_every_request_are_quiet_unless_debugging(
    level: str, heard: bool, stream: io.StringIO
) -> None:
    start(stream, "text", level)
    logging.getLogger("httpx").info("GET /")
    logging.getLogger("httpx").error("broken")
    assert ("GET /" in stream.getvalue()) is heard
    assert "broken" in stream.getvalue()


def test_configuring_again_replaces_the_first_and_nothing_else(stream: io.StringIO) -> None:
    strangers = [
        one for one in logging.getLogger().handlers if not isinstance(one, RedactingStreamHandler)
    ]
    earlier = io.StringIO()
    start(earlier)
    start(stream).info("once")
    assert earlier.getvalue() == ""
    assert stream.getvalue().count("once") == 1
    assert all(stranger in logging.getLogger().handlers for stranger in strangers)


def test_warnings_reach_the_log(stream: io.StringIO) -> None:
    start(stream)
    with warnings.catch_warnings():
        # Leaving this block puts the earlier way of showing warnings back.
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.simplefilter("always")
        warnings.warn("mind the gap", UserWarning, stacklevel=1)
    assert "py.warnings" in stream.getvalue()
    assert "mind the gap" in stream.getvalue()


class Loud(Exception):
    """An error whose text and repr hold what they should not."""


def fail(secret: str) -> None:
    try:
        raise Loud(f"inner {secret}")
    except Loud as error:
        raise RuntimeError({"password": secret}) from error


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("secret", [TOKEN, KEY, ODD, "hunter2!", "plain secret"])
def test_a_secret_is_masked_in_messages_arguments_and_tracebacks(
    form: Form, secret: str, stream: io.StringIO
) -> None:
    log = start(stream, form, "debug", secret, "")
    log.info("the secret is %s", secret)
    log.info("as repr %r and in a list %s", secret, [secret])
    log.info("in json %s and a url %s", json.dumps(secret), f"https://x/?k={quote(secret)}")
    log.info("for a job", extra={"job": secret}, stack_info=True)
    try:
        fail(secret)
    except RuntimeError:
        log.exception("it went wrong: %s", secret)
    shown = stream.getvalue()
    plain = shown if form == "text" else " ".join(str(json.loads(x)) for x in shown.splitlines())
    for text in (shown, plain):
        for spelling in (secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], quote(secret)):
            assert spelling not in text
    assert "Traceback" in shown
    assert "Loud" in shown
    assert shown.count(MASK) >= 9


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    "text",
    [
        TOKEN,
        f"Authorization: Bot {TOKEN}",
        KEY,
        f"key={KEY},",
        "aW50ZXJhY3Rpb246MTIzNDU2Nzg5MDEyMzQ1Njc4OTpBYkNkRWY=",
        "PATCH /api/v10/webhooks/123456/abcdefghijklmnopqrstuvwxyz0123/messages/@original",
        "POST /interactions/123456/abcdefghijklmnopqrstuvwxyz0123/callback",
        sign_link(b"k" * 32, PictureLink("a" * 16)).join(("GET /pictures/p/", "/row-01.png")),
        f"https://example.org/p/{sign_link(b'k' * 32, PictureLink('a' * 16, 3, 1_900_000_000))}/",
    ],
)
def test_what_looks_like_a_secret_is_masked_though_nobody_named_it(
    form: Form, text: str, stream: io.StringIO
) -> None:
    start(stream, form).info("%s", text)
    secret = max(re.findall(r"[\w.=-]+", text), key=len)
    assert secret not in stream.getvalue()
    assert MASK in stream.getvalue()


def test_what_is_no_secret_stays_readable() -> None:
    harmless = (
        "GET /api/v10/channels/123456789012345678/messages "
        f"sha256={'ab' * 32} 0x{'ab' * 20} /webhooks/123456/@me M.N.O config.example.toml"
    )
    assert Redactor([""]).redact(harmless) == harmless
    assert Redactor().redact("/webhooks/123/" + "a" * 30 + "/x") == f"/webhooks/123/{MASK}/x"


def test_a_key_is_known_without_its_prefix_and_in_capitals() -> None:
    redact = Redactor([KEY.lower()]).redact
    assert redact(f"{KEY[2:]} {KEY.upper()} {KEY[2:].lower()}") == f"{MASK} {MASK} {MASK}"


def test_of_two_secrets_the_longer_is_masked_whole() -> None:
    assert Redactor(["abc", "abcdef"]).redact("abcdef abc") == f"{MASK} {MASK}"


def test_a_redactor_does_not_show_what_it_knows() -> None:
    assert TOKEN not in repr(Redactor([TOKEN]))
    assert TOKEN not in str(vars(Redactor())) + repr(Redactor([TOKEN]))


@hypothesis_settings(max_examples=150, deadline=None)
@given(st.lists(st.text("ab0*\\\"'x ", min_size=4), min_size=1, max_size=4), st.text(max_size=20))
def test_no_secret_survives_in_any_text(secrets: list[str], around: str) -> None:
    named = [secret for secret in secrets if secret.strip() and MASK.find(secret) < 0]
    text = around.join([around, *named, around])
    masked = Redactor(named).redact(text)
    pieces = masked.split(MASK)
    for secret in named:
        assert not any(secret in piece for piece in pieces)


@pytest.mark.parametrize("break_", ["\n", "\r\n", "\r", "\u2028", "\x85"])
def test_a_message_cannot_forge_a_line_or_move_the_cursor(break_: str, stream: io.StringIO) -> None:
    log = start(stream)
    forged = f"hi{break_}2026-01-01T00:00:00.000Z INFO    bot.app all is well\x1b[2J"
    log.info("prompt %s", forged)
    try:
        raise Loud(forged)
    except Loud:
        log.exception("failed")
    lines = re.split(r"[\n\r\x85\u2028]", stream.getvalue())
    assert not any(
        line.startswith("2026-01-01T00:00:00.000Z INFO    bot.bootstrap") for line in lines
    )
    assert "\x1b" not in stream.getvalue()


def test_a_record_that_cannot_be_formatted_is_named_but_not_shown(
    stream: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    log = start(stream)
    handler = logging.getLogger().handlers[-1]
    record = log.makeRecord("x", logging.INFO, "engine.py", 7, "%d rows", (TOKEN,), None)
    handler.handle(record)
    assert stream.getvalue() == "A log record of engine.py:7 was lost.\n"
    assert TOKEN not in "".join(capsys.readouterr())


def test_a_broken_stream_stops_nobody(
    stream: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    log = start(stream)
    handler = logging.getLogger().handlers[-1]
    stream.close()
    record = log.makeRecord("x", logging.INFO, "engine.py", 7, TOKEN, (), None)
    handler.handle(record)
    assert TOKEN not in "".join(capsys.readouterr())


PROMPT = "a quokka under umbrellas"
INTERACTION = "aW50ZXJhY3Rpb246MTIzOmNhbmFyeWNhbmFyeQ"
LIBRARIES = ("discord.http", "discord.gateway", "discord.webhook.async_", "aiosqlite", "httpx")
OTHERS = ("httpcore.http11", "aiohttp.client", "web3.providers", "grpc._channel", "root", "PIL.x")
EVENT = {"token": INTERACTION, "data": {"options": [{"name": "prompt", "value": PROMPT}]}}


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("library", [*LIBRARIES, *OTHERS])
@pytest.mark.parametrize(
    ("message", "args"),
    [
        ("For Shard ID %s: WebSocket Event: %s", (None, EVENT)),
        ("%s %s with %s has returned %s", ("POST", "https://x.org/y", json.dumps(EVENT), 200)),
        ("%s %s has received %s", ("GET", "https://x.org/y", EVENT)),
        ("executing %s", (("INSERT INTO jobs VALUES (?)", (PROMPT,)),)),
        ("%(prompt)s was asked for", ({"prompt": PROMPT},)),
        ("HTTP Request: %s %s", ("GET", f"https://x.org/?q={PROMPT.replace(' ', '%20')}")),
        ("prompt: %s", (PROMPT.encode(),)),
        (f"sending {PROMPT} with {INTERACTION}", ()),
        (f"100 % of {EVENT}", ()),
    ],
)
def test_what_libraries_fill_in_is_not_shown(
    stream: io.StringIO, form: Form, library: str, message: str, args: tuple[object, ...]
) -> None:
    start(stream, form, "debug")
    logging.getLogger(library).debug(message, *args)
    shown = stream.getvalue()
    assert library in shown
    for word in ("quokka", "umbrellas", INTERACTION):
        assert word not in shown


def test_what_helps_and_is_nobody_s_stays(stream: io.StringIO) -> None:
    start(stream, "text", "debug")
    log = logging.getLogger("discord.http")
    url = f"https://discord.com/api/v10/webhooks/123/{INTERACTION}/messages/@original?wait=true"
    log.debug("%s %s with %s has returned %s in %.2f s", "PATCH", url, EVENT, 429, 0.25)
    expected = f"PATCH https://discord.com/api/v10/webhooks/123/{MASK}/messages/@original"
    assert f"{expected} with {MASK} has returned 429 in 0.25 s" in stream.getvalue()


@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING, logging.ERROR])
@pytest.mark.parametrize(
    "shown",
    [
        "{'token': 'abcdefghijklmnop'}",
        '{"token": "abcdefghijklmnop"}',
        "Authorization: Bot abcdefghijklmnop",
        "{'Authorization': 'Bearer abcdefghijklmnop'}",
        "session_id=abcdefghijklmnop",
        "password = abcdefghijklmnop",
        "MAC_KEY=abcdefghijklmnop",
    ],
)
def test_a_secret_is_masked_by_the_name_it_stands_under(
    stream: io.StringIO, level: int, shown: str
) -> None:
    start(stream, "text", "debug")
    for name in ("discord.client", "bot.somewhere"):
        logging.getLogger(name).log(level, shown)
    assert "abcdefghijklmnop" not in stream.getvalue()
    assert stream.getvalue().count(MASK) == 2
