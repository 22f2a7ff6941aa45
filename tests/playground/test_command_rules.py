"""Test the validation of commands, by the REST calls that register them."""

from __future__ import annotations

from typing import Any

import pytest

from bot.playground.server import Playground
from tests.playground.clock import Clock
from tests.playground.raw import Api, calling, error


def command(name: str = "paint", **change: Any) -> dict[str, Any]:
    return {"name": name, "description": "d"} | change


def option(name: str = "o", kind: int = 3, **change: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "description": "d"} | change


def nested(depth: int) -> dict[str, Any]:
    inner = option("leaf", 1, options=[])
    for level in range(depth):
        inner = option(f"g{level}", 2, options=[inner])
    return command(options=[inner])


def base(api: Api, *, guild: bool = False) -> str:
    world = api.playground.world
    scope = f"/guilds/{world.guild_id}" if guild else ""
    return f"/applications/{world.application_id}{scope}/commands"


GOOD = [
    command(),
    command("größe"),
    command("ภาพ"),
    command(options=[option(f"o{one}") for one in range(25)]),
    command(options=[option(choices=[{"name": f"{n}", "value": f"{n}"} for n in range(25)])]),
    command(options=[option(kind=4, choices=[{"name": "a", "value": 1}])]),
    command(options=[option(kind=10, choices=[{"name": "a", "value": 1.5}])]),
    command(options=[option("a", required=True), option("b")]),
    command(options=[option(min_length=0, max_length=6000)]),
    nested(1),
    {"name": "Any Case!", "type": 3},
    command(default_member_permissions=32),
    command(description_localizations={"de": "x" * 100}),
]
BAD = [
    "no",
    command(type=7),
    command(""),
    command("Paint"),
    command("two words"),
    command("n" * 33),
    command(description=""),
    command(description="d" * 101),
    command(default_member_permissions="many"),
    command(options=[option(f"o{one}") for one in range(26)]),
    command(options=[option(choices=[{"name": f"{n}", "value": f"{n}"} for n in range(26)])]),
    command(options=[option(choices=[{"name": "a", "value": "a"}], autocomplete=True)]),
    command(options=[option(kind=4, choices=[{"name": "a", "value": "1"}])]),
    command(options=[option("b"), option("a", required=True)]),
    command(options=[option(), option()]),
    command(options=[option(kind=12)]),
    command(options=[option(max_length=6001)]),
    command(options=[option("s", 1), option("o", 3)]),
    nested(2),
    {"name": "Menu", "type": 2, "description": "none allowed"},
    {"name": "", "type": 2},
    command(
        options=[
            option(f"o{one}", choices=[{"name": "n" * 100, "value": f"{n:0100}"} for n in range(5)])
            for one in range(9)
        ]
    ),
]


@pytest.mark.parametrize("body", GOOD)
async def test_a_proper_command_is_registered(playground: Playground, body: Any) -> None:
    async with calling(playground) as api:
        reply = await api.call("PUT", base(api), [body])
    assert reply.status_code == 200, reply.text


@pytest.mark.parametrize("body", BAD)
async def test_an_improper_command_is_refused(playground: Playground, body: Any) -> None:
    async with calling(playground) as api:
        assert error(await api.call("PUT", base(api), [body])) == (400, 50035)
    assert playground.world.commands.all() == []


async def test_lists_are_bounded_and_names_unique(playground: Playground) -> None:
    async with calling(playground) as api:
        many = [command(f"c{one}") for one in range(101)]
        assert error(await api.call("PUT", base(api), many)) == (400, 50035)
        assert error(await api.call("PUT", base(api), [command()] * 2)) == (400, 50035)
        menus = [{"name": f"m{one}", "type": 3} for one in range(16)]
        assert error(await api.call("PUT", base(api), menus)) == (400, 50035)
        assert (await api.call("PUT", base(api), many[:100] + menus[:15])).status_code == 200


async def test_names_that_stay_keep_their_ids(playground: Playground) -> None:
    async with calling(playground) as api:
        first = (await api.call("PUT", base(api), [command("a"), command("b")])).json()
        second = (await api.call("PUT", base(api), [command("b"), command("c")])).json()
        assert second[0]["id"] == first[1]["id"]
        made = await api.call("POST", base(api), command("d"))
        again = await api.call("POST", base(api), command("d", description="new"))
        assert (made.status_code, again.status_code) == (201, 200)
        assert made.json()["id"] == again.json()["id"]
        at = f"{base(api)}/{made.json()['id']}"
        assert (await api.call("GET", at)).json()["description"] == "new"
        assert (await api.call("DELETE", at)).status_code == 204
        assert error(await api.call("GET", at)) == (404, 10063)
        listed = (await api.call("GET", base(api))).json()
        assert [one["name"] for one in listed] == ["b", "c"]


async def test_servers_have_their_own_commands(playground: Playground) -> None:
    world = playground.world
    async with calling(playground) as api:
        await api.call("PUT", base(api), [command("everywhere")])
        here = (await api.call("PUT", base(api, guild=True), [command("here")])).json()
        assert here[0]["guild_id"] == str(world.guild_id)
        assert [one["name"] for one in world.commands.list_scope(None)] == ["everywhere"]
        stranger = f"/applications/{world.application_id}/guilds/1/commands"
        assert error(await api.call("PUT", stranger, [])) == (403, 50001)
        assert error(await api.call("GET", "/applications/1/commands")) == (403, 50001)
    ada, imagine = world.user("Ada"), world.channel("imagine")
    assert world.client.command("here", 1, imagine)["guild_id"]
    assert len(world.client.visible_commands(ada, imagine)) == 2
    assert len(world.client.visible_commands(ada, world.direct_channel(ada))) == 1


async def test_two_hundred_new_names_a_day_and_no_more(
    playground: Playground, clock: Clock
) -> None:
    async with calling(playground) as api:
        for batch in "ab":
            names = [command(f"{batch}{one}") for one in range(100)]
            assert (await api.call("PUT", base(api), names)).status_code == 200
        assert (await api.call("PUT", base(api), names)).status_code == 200
        assert error(await api.call("POST", base(api), command("more"))) == (400, 30034)
        clock.pass_time(hours=25)
        await api.call("PUT", base(api), [])
        assert (await api.call("POST", base(api), command("more"))).status_code == 201


async def test_the_server_and_its_people_are_described(playground: Playground) -> None:
    world = playground.world
    async with calling(playground) as api:
        guild = (await api.call("GET", f"/guilds/{world.guild_id}")).json()
        assert guild["name"] == "Gridbrush Arts"
        channels = (await api.call("GET", f"/guilds/{world.guild_id}/channels")).json()
        assert len(channels) == 6
        assert error(await api.call("GET", "/guilds/1")) == (403, 50001)
        assert error(await api.call("GET", "/users/1")) == (404, 10013)
        assert error(await api.call("GET", "/channels/1")) == (404, 10003)
        assert error(await api.call("GET", "/channels/imagine")) == (404, 10003)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"name": "t"}, (403, 50013)),
        ({"name": "t", "type": 11}, (201, 11)),
        ({"name": "", "type": 11}, (400, 50035)),
        ({"name": "t" * 101, "type": 11}, (400, 50035)),
        ({"name": "t", "type": 11, "auto_archive_duration": 5}, (400, 50035)),
        ({"name": "t", "type": 2}, (403, 50024)),
    ],
)
async def test_threads_are_private_unless_a_type_is_given(
    playground: Playground, body: Any, expected: tuple[int, int]
) -> None:
    channel = playground.world.channel("imagine")
    async with calling(playground) as api:
        reply = await api.call("POST", f"/channels/{channel.id}/threads", body)
    found = reply.json()
    assert (reply.status_code, found.get("code", found.get("type"))) == expected


async def test_threads_follow_their_own_permission_and_lock(playground: Playground) -> None:
    world = playground.world
    parent = world.channel("imagine")
    thread = world.message_board.open_thread(parent, world.bot, "talk")
    path = f"/channels/{thread.id}"
    async with calling(playground) as api:
        world.add_deny_overwrite("imagine", "SEND_MESSAGES")
        assert (await api.post(thread, content="x")).status_code == 200
        world.add_deny_overwrite("imagine", "SEND_MESSAGES_IN_THREADS")
        assert error(await api.post(thread, content="x")) == (403, 50013)
        world.restore("imagine")
        locked = await api.call("PATCH", path, {"locked": True, "name": "closed"})
        assert locked.json()["thread_metadata"]["locked"]
        assert error(await api.post(thread, content="x")) == (400, 50083)
        assert error(await api.call("PATCH", path, {"name": ""})) == (400, 50035)
        assert error(await api.call("PATCH", f"/channels/{parent.id}", {})) == (403, 50024)
        inner = await api.call("POST", f"{path}/threads", {"name": "t", "type": 11})
        assert error(inner) == (403, 50024)
        assert error(await api.call("DELETE", path)) == (403, 50013)
        world.overwrite("imagine", world.bot, allow=1 << 34)
        assert (await api.call("DELETE", path)).status_code == 200
        assert error(await api.call("GET", path)) == (404, 10003)


async def test_direct_messages_are_opened_with_people_only(playground: Playground) -> None:
    world = playground.world
    async with calling(playground) as api:
        for who, expected in ((1, (404, 10013)), (world.application_id, (403, 50007))):
            reply = await api.call("POST", "/users/@me/channels", {"recipient_id": str(who)})
            assert error(reply) == expected
