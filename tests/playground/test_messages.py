"""Test files, edits and deletions of messages, by plain HTTP."""

from __future__ import annotations

from typing import Any

from bot.playground.server import Playground
from bot.playground.validation.message_body import MAX_FILE_BYTES
from tests.playground.raw import calling, error

V2 = 1 << 15
TEXT = {"type": 10, "content": "t"}


async def test_files_have_limits_in_number_size_and_sum(playground: Playground) -> None:
    path = f"/channels/{playground.world.channel('imagine').id}/messages"
    async with calling(playground) as api:

        async def send(*sizes: int) -> Any:
            files = [(f"{number}.bin", b"x" * size) for number, size in enumerate(sizes)]
            return await api.call("POST", path, {"content": "x"}, files)

        assert (await send(*[1] * 10)).status_code == 200
        assert error(await send(*[1] * 11)) == (400, 30015)
        assert (await send(MAX_FILE_BYTES)).status_code == 200
        assert error(await send(MAX_FILE_BYTES + 1)) == (413, 40005)
        assert error(await send(*[9 * 1024 * 1024] * 3)) == (413, 40005)
        described = {"content": "x", "attachments": [{"id": 0, "description": "d" * 1025}]}
        assert error(await api.call("POST", path, described, [("a.bin", b"x")])) == (400, 50035)
        renamed = {"attachments": [{"id": "0", "filename": "b c.bin"}]}
        sent = await api.call("POST", path, renamed, [("a.bin", b"x")])
    assert sent.json()["attachments"][0]["filename"] == "b_c.bin"


async def test_a_patch_keeps_only_the_files_it_lists(playground: Playground) -> None:
    world = playground.world
    path = f"/channels/{world.channel('imagine').id}/messages"
    async with calling(playground) as api:
        sent = await api.call(
            "POST", path, {"content": "x"}, [(f"{one}.bin", b"x") for one in range(10)]
        )
        at = f"{path}/{sent.json()['id']}"
        first = sent.json()["attachments"][0]["id"]
        more = await api.call(
            "PATCH", at, {"attachments": sent.json()["attachments"]}, [("n", b"")]
        )
        assert error(more) == (400, 30015)
        untouched = await api.call("PATCH", at, {"content": "y"})
        assert len(untouched.json()["attachments"]) == 10
        listed = {"attachments": [{"id": first, "description": "alt"}]}
        kept = await api.call("PATCH", at, listed)
        assert [one["description"] for one in kept.json()["attachments"]] == ["alt"]
        empty = await api.call("PATCH", at, {"content": "", "attachments": []})
        assert error(empty) == (400, 50006)
        none = await api.call("PATCH", at, {"attachments": None})
        assert none.json()["attachments"] == []


async def test_turning_v2_on_takes_emptying_the_rest_and_never_turns_back(
    playground: Playground,
) -> None:
    world = playground.world
    async with calling(playground) as api:
        sent = await api.post("imagine", content="x")
        path = f"/channels/{world.channel('imagine').id}/messages/{sent.json()['id']}"
        converted = {"flags": V2, "components": [TEXT]}
        assert error(await api.call("PATCH", path, converted)) == (400, 50035)
        turned = await api.call("PATCH", path, converted | {"content": None, "embeds": []})
        assert turned.json()["flags"] & V2
        back = await api.call(
            "PATCH", path, {"flags": 0, "components": [{"type": 10, "content": "still"}]}
        )
        assert back.json()["flags"] & V2
        assert error(await api.call("PATCH", path, {"content": "x"})) == (400, 50035)


async def test_only_ones_own_messages_are_edited_and_others_deleted_with_permission(
    playground: Playground,
) -> None:
    world = playground.world
    said = world.say("Ada", "imagine", "mine")
    path = f"/channels/{said.channel_id}/messages/{said.id}"
    async with calling(playground) as api:
        assert error(await api.call("PATCH", path, {"content": "x"})) == (403, 50005)
        assert error(await api.call("DELETE", path)) == (403, 50013)
        world.overwrite("imagine", world.bot, allow=1 << 13)
        assert (await api.call("DELETE", path)).status_code == 204
        pair = [world.say("Ada", "imagine", one) for one in ("a", "b")]
        bulk = {"messages": [str(one.id) for one in pair]}
        base = f"/channels/{said.channel_id}/messages"
        assert error(await api.call("POST", f"{base}/bulk-delete", {"messages": []})) == (
            400,
            50035,
        )
        assert (await api.call("POST", f"{base}/bulk-delete", bulk)).status_code == 204
        assert error(await api.call("GET", f"{base}?limit=101")) == (400, 50035)
    assert world.messages_in("imagine") == []
