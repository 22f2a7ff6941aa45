"""Test that the validation by Discord's document can fail."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from bot.playground.rest.app import ROUTES
from bot.playground.serializers import message_payload
from bot.playground.state.world import World
from tests.playground.schema import (
    SUBSET,
    Validator,
    assert_valid_request,
    assert_valid_response,
    document,
    find_operation,
)

MESSAGES = "/channels/1/messages"
SCRIPT = Path(__file__).parents[2] / "scripts" / "reduce_openapi.py"


def test_every_call_of_the_playground_is_in_the_document() -> None:
    for route in ROUTES:
        assert route.method in document()["paths"][route.template], route
    assert SUBSET.stat().st_size < 400_000


@pytest.mark.parametrize(
    "body",
    [
        {"content": "x" * 4001},
        {"embeds": "no"},
        {"attachments": [{"filename": "no id"}]},
        {"components": [{"type": 1, "components": [{"type": 2}]}]},
        None,
    ],
)
def test_a_request_discord_would_not_know_fails(body: Any) -> None:
    with pytest.raises(AssertionError):
        assert_valid_request("POST", MESSAGES, body)


def test_the_quick_validator_says_what_the_librarys_own_says() -> None:
    text = {"type": 10, "content": "x"}
    button = {"type": 2, "style": 1, "custom_id": "x"}
    parts: list[Any] = [text, button, {**text, "content": ""}, {**button, "style": 99}, {}, None]
    bodies = [
        {"components": [{"type": kind, "components": [part, text]}]}
        for kind in (1, 17, 99)
        for part in parts
    ]
    schema = find_operation("POST", MESSAGES)["body"]
    whole = {**schema, "components": document()["components"]}
    found = []
    for body in bodies:
        quick, own = (
            [(error.json_path, error.message, len(error.context)) for error in each]
            for each in (
                Validator(whole).iter_errors(body),
                Draft202012Validator(whole).iter_errors(body),
            )
        )
        assert quick == own
        found.append(bool(own))
    assert {True, False} == set(found)


def test_a_wrong_body_is_refused_each_time() -> None:
    for body in ({"content": 1}, {"content": "1"}, {"content": 1}):
        if body["content"] == "1":
            assert_valid_request("POST", MESSAGES, body)
            continue
        with pytest.raises(AssertionError, match="content"):
            assert_valid_request("POST", MESSAGES, body)


def test_ids_may_be_numbers_in_requests_but_not_in_replies(world: World) -> None:
    assert_valid_request("POST", MESSAGES, {"content": "x", "attachments": [{"id": 0}]})
    said = message_payload(world, world.say("Ada", "imagine", "x"))
    assert_valid_response("POST", MESSAGES, 200, said)
    for wrong in ({"id": 1}, {"content": None}, {"author": None}):
        with pytest.raises(AssertionError):
            assert_valid_response("POST", MESSAGES, 200, said | wrong)
    without = {key: value for key, value in said.items() if key != "edited_timestamp"}
    with pytest.raises(AssertionError, match="edited_timestamp"):
        assert_valid_response("POST", MESSAGES, 200, without)


def test_statuses_and_bodies_must_belong_together() -> None:
    with pytest.raises(AssertionError, match="no such status"):
        assert_valid_response("POST", MESSAGES, 204, None)
    with pytest.raises(AssertionError, match="none belongs"):
        assert_valid_response("DELETE", f"{MESSAGES}/1", 204, {})
    with pytest.raises(AssertionError):
        assert_valid_response("POST", MESSAGES, 400, {"message": "no code"})
    with pytest.raises(AssertionError):
        assert_valid_response("POST", MESSAGES, 429, {"message": "m", "code": 0})
    with pytest.raises(AssertionError, match="wants no body"):
        assert_valid_request("GET", MESSAGES, {})
    with pytest.raises(AssertionError, match="has no PUT"):
        find_operation("PUT", MESSAGES)


def test_the_original_response_is_not_taken_for_a_message_id() -> None:
    path = "/webhooks/1/token/messages/@original"
    template = "/webhooks/{webhook_id}/{webhook_token}/messages/@original"
    assert find_operation("PATCH", path) is document()["paths"][template]["PATCH"]


def test_the_reduced_document_keeps_what_it_points_at() -> None:
    operation: dict[str, Any] = {
        "description": "prose",
        "requestBody": {"content": {"application/json": {"schema": {"$ref": _ref("A")}}}},
        "responses": {
            "200": {"content": {"application/json": {"schema": {"$ref": _ref("B")}}}},
            "204": {},
            "4XX": {},
        },
    }
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.template, {})[route.method.lower()] = operation
    named = {"type": "object", "description": "prose", "properties": {"title": {"type": "string"}}}
    schemas = {
        "A": named,
        "B": {"items": [{"$ref": _ref("C")}]},
        "C": {},
        "Unused": {},
        "ErrorResponse": {},
        "RatelimitedResponse": {},
    }
    script = runpy.run_path(str(SCRIPT))
    reduced = script["reduce_document"](
        {
            "info": {"title": "t", "license": {"name": "MIT"}},
            "paths": paths,
            "components": {"schemas": schemas},
        }
    )
    assert set(reduced["components"]["schemas"]) == set(schemas) - {"Unused"}
    kept = reduced["components"]["schemas"]["A"]
    assert kept == {"type": "object", "properties": {"title": {"type": "string"}}}
    one = next(iter(next(iter(reduced["paths"].values())).values()))
    assert one == {
        "body": {"$ref": _ref("A")},
        "responses": {"200": {"$ref": _ref("B")}, "204": None},
    }
    assert script["reduce_operation"]({"responses": {"204": {}}}) == {"responses": {"204": None}}


def _ref(name: str) -> str:
    return f"#/components/schemas/{name}"
