"""What ``gridbrush check`` finds out about Discord, against the loopback one."""

from __future__ import annotations

from discord.gateway import DiscordWebSocket
from discord.http import Route

from bot.frontend.checks import INVITE_PERMISSIONS, invite_url, run_checks
from bot.frontend.gateway import discord_endpoints
from bot.playground.server import Playground


async def look(playground: Playground, token: str = "") -> list[tuple[str, bool, str, str]]:
    with discord_endpoints(playground.api_base, playground.gateway_url):
        assert not Route.BASE.startswith("https://discord.com")
        assert DiscordWebSocket.DEFAULT_GATEWAY.host == "127.0.0.1"
        found = await run_checks(token or playground.token, [playground.world.guild_id])
    return [(finding.name, finding.ok, finding.detail, finding.hint) for finding in found]


async def test_a_bot_that_can_work_is_told_so(playground: Playground) -> None:
    found = await look(playground)
    assert all(ok for _, ok, _, _ in found)
    assert ("#imagine", True, "all permissions", "") in found
    links = [detail for what, _, detail, _ in found if what == "invitation"]
    assert links == [invite_url(playground.world.application_id)]
    assert "permissions=309237763072" in links[0]
    assert INVITE_PERMISSIONS.value == 309237763072


async def test_a_missing_permission_is_named_with_its_channel(playground: Playground) -> None:
    playground.world.add_deny_overwrite("imagine", "ATTACH_FILES")
    found = await look(playground)
    bad = [(what, detail) for what, ok, detail, _ in found if not ok]
    assert bad == [("#imagine", "missing: Attach Files")]


async def test_a_wrong_token_is_the_first_thing_said(playground: Playground) -> None:
    found = await look(playground, "wrong.token.here")
    assert [(what, ok) for what, ok, _, _ in found] == [("Discord token", False)]
    assert "DISCORD_TOKEN" in found[0][3]


async def test_a_server_without_the_bot_gets_the_invitation(playground: Playground) -> None:
    with discord_endpoints(playground.api_base, playground.gateway_url):
        found = await run_checks(playground.token, [playground.world.guild_id + 1])
    assert [finding.ok for finding in found if finding.name.startswith("server")] == [False]
    assert invite_url(playground.world.application_id) in found[-1].hint


async def test_an_unreachable_discord_is_a_finding_too(playground: Playground) -> None:
    with discord_endpoints("http://127.0.0.1:9/api/v10", "ws://127.0.0.1:9/gateway"):
        found = await run_checks(playground.token, [1])
    assert [(finding.name, finding.ok) for finding in found] == [("Discord", False)]
