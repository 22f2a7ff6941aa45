"""Test the rules of responses: once, in time, of a fitting type, and with a valid token."""

from __future__ import annotations

from typing import Any

import pytest

from bot.playground.server import Playground
from bot.playground.state.models import AUTOCOMPLETE, MODAL_SUBMIT, Interaction
from tests.playground.clock import Clock
from tests.playground.raw import calling, error

REPLY = {"type": 4, "data": {"content": "x"}}
FIELD = {"type": 18, "label": "l", "component": {"type": 4, "custom_id": "f", "style": 1}}
FORM = {"custom_id": "c", "title": "t", "components": [FIELD]}


def modal(**change: Any) -> dict[str, Any]:
    return {"type": 9, "data": FORM | change}


def field(**change: Any) -> dict[str, Any]:
    return {"components": [FIELD | {"component": FIELD["component"] | change}]}  # type: ignore[operator]


def typing_in(playground: Playground) -> Interaction:
    world = playground.world
    data = {"options": [{"name": "s", "type": 4, "value": "1", "focused": True}]}
    return world.interactions.open(AUTOCOMPLETE, world.user("Ada"), world.channel("imagine"), data)


async def test_the_second_answer_and_the_late_one_are_refused(
    playground: Playground, clock: Clock
) -> None:
    async with calling(playground) as api:
        pressed = api.press()
        assert (await api.respond(pressed, REPLY)).status_code == 200
        assert error(await api.respond(pressed, REPLY)) == (400, 40060)
        late = api.press()
        clock.pass_time(seconds=3.1)
        assert error(await api.respond(late, REPLY)) == (404, 10062)
        stranger = api.press()
        stranger_path = f"/interactions/{stranger.id}/wrong/callback"
        assert error(await api.call("POST", stranger_path, REPLY)) == (404, 10062)
        assert error(await api.call("POST", "/interactions/1/x/callback", REPLY)) == (404, 10062)


async def test_a_callback_is_silent_unless_a_response_is_asked_for(playground: Playground) -> None:
    async with calling(playground) as api:
        pressed = api.press()
        path = f"/interactions/{pressed.id}/{pressed.token}/callback"
        assert (await api.call("POST", path, REPLY)).status_code == 204
        hook = f"/webhooks/{playground.world.application_id}/{pressed.token}"
        assert (await api.call("POST", hook, {"content": "more"})).status_code == 204
        by_id = f"{hook}/messages/{pressed.followup_ids[0]}"
        assert (await api.call("GET", by_id)).json()["content"] == "more"
        assert (await api.call("PATCH", by_id, {"content": "less"})).json()["content"] == "less"
        assert (await api.call("DELETE", by_id)).status_code == 204
        assert error(await api.call("GET", by_id)) == (404, 10008)
        assert error(await api.call("GET", f"{hook}/messages/1")) == (404, 10008)


async def test_a_token_dies_after_fifteen_minutes(playground: Playground, clock: Clock) -> None:
    world = playground.world
    async with calling(playground) as api:
        pressed = api.press()
        assert error(await api.original(pressed, "GET")) == (404, 10015)
        await api.respond(pressed, REPLY)
        clock.pass_time(minutes=14, seconds=59)
        assert (await api.original(pressed, body={"content": "y"})).status_code == 200
        clock.pass_time(seconds=2)
        assert error(await api.original(pressed, body={"content": "z"})) == (401, 50027)
        path = f"/channels/{pressed.channel_id}/messages/{pressed.original_id}"
        assert (await api.call("PATCH", path, {"content": "by the bot"})).status_code == 200
        other = f"/webhooks/{world.guild_id}/{pressed.token}/messages/@original"
        assert error(await api.call("GET", other)) == (401, 50027)


async def test_a_deferral_never_finished_fails_with_its_token(
    playground: Playground, clock: Clock
) -> None:
    async with calling(playground) as api:
        pressed = api.press()
        reply = (await api.respond(pressed, {"type": 5, "data": {"flags": 64}})).json()
        assert reply["interaction"]["response_message_loading"]
        assert reply["interaction"]["response_message_ephemeral"]
        failed = []
        for minutes in (10, 6, 1):
            clock.pass_time(minutes=minutes)
            playground.world.expire_unanswered()
            failed.append(pressed.failed)
    assert failed == [False, True, True]


async def test_the_bots_token_does_not_reach_ephemeral_messages(playground: Playground) -> None:
    async with calling(playground) as api:
        pressed = api.press()
        await api.respond(pressed, {"type": 4, "data": {"content": "x", "flags": 64}})
        path = f"/channels/{pressed.channel_id}/messages/{pressed.original_id}"
        for method, body in (("GET", None), ("PATCH", {"content": "y"}), ("DELETE", None)):
            assert error(await api.call(method, path, body)) == (404, 10008)
        threads = f"{path}/threads"
        assert error(await api.call("POST", threads, {"name": "t"})) == (404, 10008)
        listing = await api.call("GET", f"/channels/{pressed.channel_id}/messages")
        assert str(pressed.original_id) not in [one["id"] for one in listing.json()]
        edited = await api.original(pressed, body={"content": "y"})
        assert edited.json()["flags"] & 64


async def test_a_refused_answer_leaves_the_interaction_open(playground: Playground) -> None:
    async with calling(playground) as api:
        pressed = api.press()
        wrong = await api.respond(pressed, {"type": 4, "data": {"content": "x" * 2001}})
        assert error(wrong) == (400, 50035)
        assert "content" in wrong.json()["errors"]["data"]
        assert (await api.respond(pressed, REPLY)).status_code == 200


async def test_only_fitting_kinds_of_answer_are_taken(playground: Playground) -> None:
    world = playground.world
    async with calling(playground) as api:
        assert error(await api.respond(api.press(), {"type": 8})) == (400, 50035)
        assert error(await api.respond(api.press(), {})) == (400, 50035)
        asked = typing_in(playground)
        assert error(await api.respond(asked, REPLY)) == (400, 50035)
        ada, channel = world.user("Ada"), world.channel("imagine")
        submitted = world.interactions.open(MODAL_SUBMIT, ada, channel, {"custom_id": "c"})
        assert error(await api.respond(submitted, modal())) == (400, 50035)
        assert error(await api.respond(submitted, {"type": 6})) == (400, 50035)
        assert (await api.respond(api.press(), {"type": 6})).status_code == 200


async def test_a_deferred_update_makes_the_message_the_original(playground: Playground) -> None:
    async with calling(playground) as api:
        pressed = api.press()
        reply = (await api.respond(pressed, {"type": 6})).json()
        assert "response_message_id" not in reply["interaction"]
        original = (await api.original(pressed, "GET")).json()
        assert original["content"] == "press me"
        playground.world.delete_message(int(original["id"]))
        assert error(await api.original(pressed, "GET")) == (404, 10008)


@pytest.mark.parametrize(
    ("choices", "status"),
    [
        ([{"name": "n", "value": 1}] * 25, 200),
        ([{"name": "n", "value": 1}] * 26, 400),
        ([{"name": "n", "value": "1"}], 400),
        ([{"name": "", "value": 1}], 400),
        ([{"name": "n" * 101, "value": 1}], 400),
        (None, 400),
    ],
)
async def test_suggestions_have_limits(playground: Playground, choices: Any, status: int) -> None:
    async with calling(playground) as api:
        body = {"type": 8, "data": {"choices": choices}}
        assert (await api.respond(typing_in(playground), body)).status_code == status


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (modal(), 200),
        (modal(components=[FIELD] * 0), 400),
        (modal(title="t" * 46), 400),
        (modal(custom_id="c" * 101), 400),
        (modal(components=[{"type": 10, "content": "t"}] * 6), 400),
        (modal(components=[{"type": 10, "content": "t"}] * 5), 200),
        (modal(components=[FIELD, FIELD]), 400),
        (modal(components=[{"type": 17}]), 400),
        (modal(components=[FIELD | {"label": "l" * 46}]), 400),
        (modal(components=[FIELD | {"description": "d" * 101}]), 400),
        (modal(components=[FIELD | {"component": {"type": 2}}]), 400),
        (modal(**field(style=3)), 400),
        (modal(**field(max_length=4001)), 400),
        (modal(**field(placeholder="p" * 101)), 400),
        (modal(**field(value="v" * 4001)), 400),
        (modal(**field(type=19, style=None)), 200),
        (modal(**field(type=21, options=[{"label": "a", "value": "a"}])), 400),
        (modal(**field(type=3, options=[{"label": "a", "value": "a"}])), 200),
        (modal(components=[{"type": 1, "components": [FIELD["component"]]}]), 400),
    ],
)
async def test_forms_have_limits(playground: Playground, body: Any, status: int) -> None:
    async with calling(playground) as api:
        reply = await api.respond(api.press(), body)
    assert reply.status_code == status, reply.text


async def test_a_deleted_channel_takes_no_answer(playground: Playground) -> None:
    async with calling(playground) as api:
        pressed = api.press()
        playground.world.delete_channel("imagine")
        assert error(await api.respond(pressed, REPLY)) == (404, 10003)
