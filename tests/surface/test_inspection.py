"""What ``gridbrush check`` finds out about Discord, against the loopback one."""

from __future__ import annotations

from discord.gateway import DiscordWebSocket
from discord.http import Route

from bot.playground.server import Playground
from bot.surface.connection import aimed_at
from bot.surface.inspection import INVITE_PERMISSIONS, inspect, invitation


async def look(playground: Playground, token: str = "") -> list[tuple[str, bool, str, str]]:
    with aimed_at(playground.api_base, playground.gateway_url):
        assert not Route.BASE.startswith("https://discord.com")
        assert DiscordWebSocket.DEFAULT_GATEWAY.host == "127.0.0.1"
        found = await inspect(token or playground.token, [playground.world.guild_id])
    return [(finding.what, finding.ok, finding.detail, finding.mend) for finding in found]


async def test_a_bot_that_can_work_is_told_so(playground: Playground) -> None:
    found = await look(playground)
    assert all(ok for _, ok, _, _ in found)
    assert ("#imagine", True, "all permissions", "") in found
    links = [detail for what, _, detail, _ in found if what == "invitation"]
    assert links == [invitation(playground.world.application_id)]
    assert "permissions=309237763072" in links[0]
    assert INVITE_PERMISSIONS.value == 309237763072


async def test_a_missing_permission_is_named_with_its_channel(playground: Playground) -> None:
    playground.world.deny("imagine", "ATTACH_FILES")
    found = await look(playground)
    bad = [(what, detail) for what, ok, detail, _ in found if not ok]
    assert bad == [("#imagine", "lacks Attach Files")]


async def test_a_wrong_token_is_the_first_thing_said(playground: Playground) -> None:
    found = await look(playground, "wrong.token.here")
    assert [(what, ok) for what, ok, _, _ in found] == [("Discord token", False)]
    assert "DISCORD_TOKEN" in found[0][3]


async def test_a_server_without_the_bot_gets_the_invitation(playground: Playground) -> None:
    with aimed_at(playground.api_base, playground.gateway_url):
        found = await inspect(playground.token, [playground.world.guild_id + 1])
    assert [finding.ok for finding in found if finding.what.startswith("server")] == [False]
    assert invitation(playground.world.application_id) in found[-1].mend


async def test_an_unreachable_discord_is_a_finding_too(playground: Playground) -> None:
    with aimed_at("http://127.0.0.1:9/api/v10", "ws://127.0.0.1:9/gateway"):
        found = await inspect(playground.token, [1])
    assert [(finding.what, finding.ok) for finding in found] == [("Discord", False)]
