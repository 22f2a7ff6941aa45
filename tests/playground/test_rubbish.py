"""Test that random JSON gets an error, never a crash, in every validation of a body."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.playground.client.command_options import ClientError, ResolvedData, validate_options
from bot.playground.server import Playground
from bot.playground.state.commands import validate_command
from bot.playground.state.models import Upload
from bot.playground.state.world import World
from bot.playground.validation.errors import ApiError, ErrorCollector
from bot.playground.validation.message_body import BodyKind, parse_message_body
from bot.playground.validation.modals import validate_modal
from tests.playground.clock import Clock
from tests.playground.raw import calling, error

KEYS = [
    "content",
    "embeds",
    "components",
    "flags",
    "attachments",
    "allowed_mentions",
    "nonce",
    "message_reference",
    "type",
    "custom_id",
    "label",
    "style",
    "url",
    "options",
    "value",
    "name",
    "description",
    "items",
    "media",
    "accessory",
    "fields",
    "image",
    "footer",
    "parse",
    "users",
    "message_id",
    "id",
    "title",
    "text",
    "min_values",
    "max_values",
    "choices",
    "required",
    "autocomplete",
    "component",
    "spacing",
    "accent_color",
    "file",
    "default_member_permissions",
    "contexts",
    "min_length",
]
LEAF = (
    st.none()
    | st.booleans()
    | st.integers(-2, 25)
    | st.sampled_from(["", "x", "1", "attachment://a.png", "https://x.invalid", "users", 1 << 15])
    | st.floats(allow_nan=False)
)
JSON: st.SearchStrategy[Any] = st.recursive(
    LEAF,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
    ),
    max_leaves=6,
)
OBJECT = st.dictionaries(st.sampled_from(KEYS), JSON, max_size=3)
NODE = st.builds(lambda kind, rest: {**rest, "type": kind}, st.integers(1, 23), OBJECT)
many = settings(max_examples=150, deadline=None)


@many
@given(OBJECT, st.lists(NODE, max_size=2), st.booleans())
def test_a_message_is_accepted_or_refused(body: dict[str, Any], nodes: list[Any], v2: bool) -> None:
    tree = [{"type": 17, "components": nodes}, {"type": 1, "components": nodes}, *nodes]
    for components in (body.get("components"), tree, nodes):
        sent = body | {"components": components} | ({"flags": 1 << 15} if v2 else {})
        codes = []
        try:
            parse_message_body(sent, {0: Upload("a.png", b"x")}, BodyKind.REPLY)
        except ApiError as error:
            codes.append(error.code)
        assert set(codes) <= {50035, 50006, 30015}


@many
@given(OBJECT, st.lists(NODE, max_size=2))
def test_a_form_is_accepted_or_refused(body: dict[str, Any], nodes: list[Any]) -> None:
    labelled = [{"type": 18, "label": "l", "component": node} for node in nodes]
    for components in (body.get("components"), nodes, labelled):
        form = ErrorCollector()
        validate_modal(form, body | {"components": components})
        assert isinstance(form.is_valid, bool)


@many
@given(OBJECT, st.lists(NODE, max_size=2))
def test_a_command_is_accepted_or_refused(body: dict[str, Any], options: list[Any]) -> None:
    for given_options in (body.get("options"), options):
        form = ErrorCollector()
        validate_command(form, body | {"type": 1, "options": given_options})
        assert isinstance(form.is_valid, bool)


@many
@given(JSON)
def test_options_are_sent_or_refused(options: Any) -> None:
    world = World(now=Clock())
    sub = {"name": "x", "description": "d", "type": 1, "options": []}
    plain = {"name": "1", "description": "d", "type": 4, "min_value": 0}
    for known in ([sub], [plain]):
        command = {"name": "c", "options": known}
        refusals = []
        try:
            validate_options(ResolvedData(world), command, options)
        except ClientError as error:
            refusals.append(str(error))
        assert all(refusals)


@pytest.mark.parametrize("query", ["limit=many", "before=x", "limit=0", "after=-"])
async def test_bad_queries_are_refused(playground: Playground, query: str) -> None:
    path = f"/channels/{playground.world.channel('imagine').id}/messages?{query}"
    async with calling(playground) as api:
        assert error(await api.call("GET", path)) == (400, 50035)


@pytest.mark.parametrize("body", [{"type": 5, "data": {"flags": "x"}}, {"type": [4]}, {"type": {}}])
async def test_bad_answers_are_refused(playground: Playground, body: Any) -> None:
    async with calling(playground) as api:
        reply = await api.respond(api.press(), body)
    assert error(reply) == (400, 50035)


@pytest.mark.parametrize(
    "body",
    [
        {"name": "t", "type": [11]},
        {"name": "t", "type": 11, "auto_archive_duration": []},
        {"name": 5, "type": 11},
    ],
)
async def test_bad_threads_are_refused(playground: Playground, body: Any) -> None:
    channel = playground.world.channel("imagine")
    async with calling(playground) as api:
        reply = await api.call("POST", f"/channels/{channel.id}/threads", body)
    assert reply.status_code in (400, 403)
    assert reply.json()["code"] in (50035, 50024)
