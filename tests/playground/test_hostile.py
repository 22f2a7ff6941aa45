"""Hostile bodies at every door of the playground: a refusal, never a crash; and foreign names."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import aiohttp
import httpx
import pytest

from bot.playground.rest.app import BASE, ROUTES
from bot.playground.server import Playground
from bot.playground.untrusted import MAX_DEPTH, is_loopback, may_be_called, parse_json
from tests.playground.raw import Api, calling

DEEP = 100_000
BROKEN: dict[str, bytes] = {
    "deep lists": b"[" * DEEP,
    "deep objects": b'{"a":' * DEEP,
    "deep and closed": b"[" * DEEP + b"]" * DEEP,
    "a little too deep": b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
    "deep inside": b'{"embeds":' + b"[" * 500 + b"]" * 500 + b"}",
    "a huge whole number": b'{"type":' + b"9" * 5000 + b"}",
    "a huge float": b'{"type":1e999}',
    "NaN": b'{"content":NaN}',
    "Infinity": b'{"type":-Infinity}',
    "no UTF-8": b'{"content":"\xff\xfe"}',
    "half a character": b'{"content":"\\ud800"}',
    "half a character as a name": b'{"\\udfff":1}',
    "UTF-16": '{"content":"x"}'.encode("utf-16"),
    "cut off": b'{"content":"x',
    "a null byte": b"\x00",
    "no JSON": b"hello",
}
"""Bodies that are no JSON, or none that may be read."""

VALUES: list[Any] = [
    *(None, True, -1, 10**30, 1.5, "x", "9" * 400, "²", [], [[]], {}, {"id": {}}),
    *([{"type": []}], [{"type": 10**30}]),
]
KEYS = [
    *("type", "data", "content", "embeds", "components", "attachments", "flags", "tts", "nonce"),
    *("message_reference", "allowed_mentions", "name", "auto_archive_duration", "archived"),
    *("locked", "recipient_id", "messages", "message", "description", "options", "custom_id"),
    *("title", "poll", "sticker_ids", "default_member_permissions"),
]
WRONG: dict[str, bytes] = {
    **{f"the body is {value!r:.20}": json.dumps(value).encode() for value in VALUES},
    **{
        f"all is {value!r:.20}": json.dumps(dict.fromkeys(KEYS, value)).encode() for value in VALUES
    },
    **{
        f"data is {value!r:.20}": json.dumps(
            {"type": 4, "data": dict.fromkeys(KEYS, value)}
        ).encode()
        for value in VALUES
    },
}
"""Good JSON of the wrong shape."""


@pytest.fixture(autouse=True)
def no_traceback(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """What an unforeseen error of the server would leave behind."""
    yield
    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR] == []


def addresses(api: Api) -> list[tuple[str, str, str]]:
    """Every call of the API, with ids that exist: method, template and address."""
    world = api.playground.world
    channel = world.channel("imagine")
    message = world.message_board.say(world.bot, channel, "mine")
    interaction = api.press(message=message)
    world.interactions.respond(interaction.id, interaction.token, {"type": 5}, {})
    fresh = api.press()
    ids = {
        "application_id": world.application_id,
        "guild_id": world.guild_id,
        "channel_id": channel.id,
        "message_id": message.id,
        "user_id": world.user("Ada").id,
        "interaction_id": fresh.id,
        "interaction_token": fresh.token,
        "webhook_id": world.application_id,
        "webhook_token": interaction.token,
        "command_id": 1,
    }
    return [
        (
            route.method,
            route.template,
            api.playground.world.site + BASE + route.template.format(**ids),
        )
        for route in ROUTES
        if route.method != "DELETE"
    ]


@pytest.mark.parametrize("name", BROKEN)
async def test_no_call_takes_a_broken_body(playground: Playground, name: str) -> None:
    async with calling(playground) as api:
        for method, template, address in addresses(api):
            for kind, body in bodies(BROKEN[name]):
                reply = await api.client.request(
                    method, address, content=body, headers={"Content-Type": kind}
                )
                assert (reply.status_code, reply.json()["code"]) == (400, 50109), template


def test_deep_nesting_is_refused_however_far_python_may_recurse() -> None:
    """In a process of its own: failing, this overflows the stack and kills it."""
    program = (
        "import sys; sys.setrecursionlimit(10**6)\n"
        "from bot.playground.untrusted import parse_json\n"
        "for text in ('[' * 10**6, '{\"a\":' * 10**6, '[[' * 65 + ']]' * 65):\n"
        "    try:\n"
        "        parse_json(text)\n"
        "    except ValueError:\n"
        "        print('refused')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout.split()) == (0, ["refused"] * 3), ended.stderr


@pytest.mark.parametrize(
    "text", ['"' + "[" * 500 + '"', '["\\"' + "[" * 500 + '"]', "[" * 64 + "]" * 64, "[[],{}]"]
)
def test_brackets_in_strings_are_no_nesting(text: str) -> None:
    assert parse_json(text) == json.loads(text)


def bodies(content: bytes) -> list[tuple[str, bytes]]:
    """A body as JSON and as the JSON part of a multipart body: content type and bytes."""
    part = b'--x\r\nContent-Disposition: form-data; name="payload_json"\r\n\r\n%s\r\n--x--\r\n'
    return [("application/json", content), ("multipart/form-data; boundary=x", part % content)]


@pytest.mark.parametrize("name", WRONG)
async def test_every_call_refuses_or_takes_a_body_of_the_wrong_shape(
    playground: Playground, name: str
) -> None:
    async with calling(playground) as api:
        kind = {"Content-Type": "application/json"}
        for method, template, address in addresses(api):
            reply = await api.client.request(method, address, content=WRONG[name], headers=kind)
            assert reply.status_code < 500, (template, reply.text)
    # A body that happened to be taken need not be one that Discord's document allows.
    playground.requests.clear()


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=", b"x"),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b"--x\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data"),
        ("multipart/form-data; boundary=x", b"--x\r\n\xff: \xff\r\n\r\nx\r\n--x--\r\n"),
        ("multipart/form-data; boundary=" + "x" * 300, b"x"),
        ("application/json; charset=nonsense", b"{"),
        ("nonsense", b"{}"),
    ],
)
async def test_broken_framing_is_refused(playground: Playground, kind: str, content: bytes) -> None:
    async with calling(playground) as api:
        for method, template, address in addresses(api):
            reply = await api.client.request(
                method, address, content=content, headers={"Content-Type": kind}
            )
            assert reply.status_code < 500, template
    playground.requests.clear()


@pytest.mark.parametrize("bad", ["²", "9" * 5000, "-1", "0x1", "%00", "%ed%a0%80", "@all"])
async def test_no_id_of_a_path_is_trusted(playground: Playground, bad: str) -> None:
    async with calling(playground) as api:
        for route in ROUTES:
            path = "/".join(bad if part[:1] == "{" else part for part in route.template.split("/"))
            reply = await api.call(route.method, path, {"content": "x", "type": 4})
            assert reply.status_code < 500, route.template
    playground.requests.clear()


@pytest.mark.parametrize("name", [*BROKEN, *WRONG])
async def test_the_gateway_hangs_up_on_hostile_frames(playground: Playground, name: str) -> None:
    body = BROKEN.get(name) or WRONG[name]
    async with aiohttp.ClientSession() as session:
        frames = [body, b'{"op":2,"d":' + body + b"}", b'{"op":6,"d":' + body + b"}"]
        for frame in frames:
            try:
                text = frame.decode()
            except UnicodeDecodeError:
                continue
            async with session.ws_connect(playground.gateway_url, max_msg_size=0) as gateway:
                await gateway.receive()
                await gateway.send_str(text)
                answer = await gateway.receive()
                if answer.type is aiohttp.WSMsgType.CLOSE:
                    assert 4001 <= answer.data <= 4014 or answer.data == 1009
                else:
                    assert json.loads(answer.data)["op"] in (9, 11)


PAGE_DOORS = ("/play/interactions", "/play/say", "/play/faults", "/play/attachments")


@pytest.mark.parametrize("name", [*BROKEN, *WRONG])
async def test_the_page_is_told_what_makes_no_sense(playground: Playground, name: str) -> None:
    body = BROKEN.get(name) or WRONG[name]
    async with httpx.AsyncClient(trust_env=False) as client:
        for path in PAGE_DOORS:
            reply = await client.post(
                playground.page_url.rstrip("/") + path,
                content=body,
                headers={"Content-Type": "application/json"},
            )
            stops_all = path == "/play/faults" and isinstance(_parsed(body), dict)
            assert reply.status_code == 400 or (stops_all and reply.status_code == 200)
        for query in ("as=%00", "as=" + "9" * 5000, "as=²&channel=²"):
            reply = await client.get(playground.page_url + "play/messages?" + query)
            assert reply.status_code == 400


def _parsed(body: bytes) -> object:
    try:
        return parse_json(body)
    except ValueError:
        return None


DOORS = (
    "/",
    "/page/app.js",
    "/play/world",
    "/play/faults",
    "/gateway",
    "/api/v10/gateway",
    "/api/v10/users/@me",
    "/api/nothing",
    "/attachments/1/2/a.png",
)
FOREIGN = (
    "evil.invalid",
    "evil.invalid:80",
    "127.0.0.1.evil.invalid",
    "localhost.evil.invalid",
    "[",
    "10.0.0.1",
)
OWN = ("127.0.0.1", "127.0.0.1:1", "localhost:8788", "LOCALHOST", "[::1]:80", "play.localhost")


@pytest.mark.parametrize("door", DOORS)
async def test_only_this_machines_own_names_are_answered(playground: Playground, door: str) -> None:
    """A page elsewhere may point its own name at 127.0.0.1 and call whatever listens there."""
    async with httpx.AsyncClient(trust_env=False) as client:

        async def status(host: str) -> int:
            address = playground.page_url.rstrip("/") + door
            return (await client.get(address, headers={"Host": host})).status_code

        for host in FOREIGN:
            assert await status(host) in (421, 400), host
        usual = (await client.get(playground.page_url.rstrip("/") + door)).status_code
        for host in OWN:
            assert await status(host) == usual, host
    playground.requests.clear()


@pytest.mark.parametrize(
    ("host", "reached_at", "names", "answered"),
    [
        ("evil.invalid", "127.0.0.1", (), False),
        ("evil.invalid", "::1", (), False),
        ("mybox:8788", "127.0.1.1", ("mybox",), True),
        ("mybox.evil.invalid", "127.0.1.1", ("mybox",), False),
        ("bot:8788", "172.17.0.2", (), True),
        (None, "127.0.0.1", (), True),
        ("", "127.0.0.1", (), False),
        ("[", "127.0.0.1", (), False),
        ("127.0.0.2", "127.0.0.1", (), True),
    ],
)
def test_by_which_name_a_server_may_be_called(
    host: str | None, reached_at: str, names: tuple[str, ...], answered: bool
) -> None:
    assert may_be_called(host, reached_at, names) is answered


def test_loopback_is_what_no_name_server_decides() -> None:
    assert all(map(is_loopback, ("localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "::1")))
    assert not any(map(is_loopback, ("localhost.evil", "", "10.0.0.1", "::", "0.0.0.0")))


async def test_a_caller_without_a_host_is_no_browser(playground: Playground) -> None:
    _, port = playground.page_url.rstrip("/").rsplit(":", 1)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
    writer.write(b"GET /api/v10/gateway HTTP/1.0\r\n\r\n")
    assert (await reader.readline()).split()[1] == b"200"
    writer.close()
