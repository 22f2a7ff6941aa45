"""Test the page's API over plain HTTP and its websocket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import discord
import pytest
from discord import app_commands

from bot.playground.server import Playground
from tests.playground.bots import Bot, picture, png, running
from tests.playground.clock import Clock
from tests.playground.page import Page, frames

pytestmark = pytest.mark.timing("watches a real Chromium, which a busy machine makes late")

Reply = discord.Interaction[discord.Client]


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
def ada(playground: Playground, session: aiohttp.ClientSession) -> Page:
    return Page(playground, session, "Ada")


@pytest.fixture
def ben(playground: Playground, session: aiohttp.ClientSession) -> Page:
    return Page(playground, session, "Ben")


class Opener(discord.ui.View):
    def __init__(self) -> None:
        super().__init__(timeout=None)

    @discord.ui.button(label="Edit", custom_id="edit")
    async def edit(self, interaction: Reply, button: discord.ui.Button[Opener]) -> None:
        await interaction.response.send_modal(Form())

    @discord.ui.select(custom_id="cell", options=[discord.SelectOption(label="a")])
    async def cell(self, interaction: Reply, select: discord.ui.Select[Opener]) -> None:
        await interaction.response.send_message(select.values[0], ephemeral=True)


class Form(discord.ui.Modal, title="Edit"):
    prompt = discord.ui.TextInput[discord.ui.Modal](label="Prompt", custom_id="p")

    async def on_submit(self, interaction: Reply) -> None:
        await interaction.response.send_message(self.prompt.value)


def set_up(bot: Bot) -> None:
    @bot.tree.command()
    async def imagine(
        interaction: Reply, prompt: str, file: discord.Attachment | None = None
    ) -> None:
        await interaction.response.defer()
        size = 0 if file is None else len(await file.read())
        await interaction.edit_original_response(
            content=f"{prompt} {size}", attachments=[picture()], view=Opener()
        )

    @imagine.autocomplete("prompt")
    async def suggest(interaction: Reply, typed: str) -> list[app_commands.Choice[str]]:
        return [app_commands.Choice(name=typed * 2, value=typed * 2)]

    async def report(interaction: Reply, message: discord.Message) -> None:
        await interaction.response.send_message("reported", ephemeral=True)

    bot.tree.add_command(app_commands.ContextMenu(name="Report", callback=report))


def command_id(playground: Playground, name: str) -> str:
    return str(playground.world.command(name)["id"])


async def test_the_page_and_its_assets_are_served_under_a_strict_policy(
    playground: Playground, session: aiohttp.ClientSession
) -> None:
    async with session.get(playground.page_url) as page:
        assert page.status == 200
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        assert "unsafe" not in page.headers["Content-Security-Policy"]
    async with session.get(playground.page_url + "page/api.js") as script:
        assert script.status == 200
        assert "javascript" in script.headers["Content-Type"]
    for path in ("page/none.js", "page/..%2fserver.py", "page/../server.py"):
        async with session.get(playground.page_url + path) as missing:
            assert missing.status == 404


async def test_the_world_is_shown_as_its_member_sees_it(
    playground: Playground, ada: Page, session: aiohttp.ClientSession
) -> None:
    playground.world.direct_channel("Ada")
    playground.world.direct_channel("Ben")
    playground.world.overwrite("random", "Ada", deny=1 << 10)
    async with running(playground, set_up):
        world = await ada.get("/play/world")
    assert world["me"] == {"id": ada.me, "name": "Ada", "moderator": False}
    assert world["guild"]["name"] == "Gridbrush Arts"
    names = [one["name"] for one in world["channels"]]
    assert names == ["welcome", "imagine", "gallery", "after-dark", "Gridbrush"]
    assert [one["nsfw"] for one in world["channels"]] == [False, False, False, True, False]
    assert {one["name"]: one["moderator"] for one in world["members"]}["Mo"]
    assert {one["name"]: one["bot"] for one in world["members"]}["Gridbrush"]
    assert {one["name"] for one in world["commands"]} == {"imagine", "Report"}
    assert world["bot_online"]
    async with session.get(ada.url("/play/world")) as anybody:
        assert (await anybody.json())["me"]["name"] == "Ada"


async def test_a_command_from_the_page_is_deferred_edited_and_shown(
    playground: Playground, ada: Page, ben: Page, session: aiohttp.ClientSession
) -> None:
    form = aiohttp.FormData()
    form.add_field("file", png(), filename="in.png")
    async with running(playground, set_up), ada.socket() as live:
        async with session.post(ada.url(f"/play/attachments?as={ada.me}"), data=form) as kept:
            file_id = (await kept.json())["id"]
        options = [
            {"name": "prompt", "value": "a cat"},
            {"name": "file", "value": file_id},
        ]
        status, _ = await ada.interact(
            2, {"options": options}, command_id=command_id(playground, "imagine")
        )
        assert status == 200
        heard = await frames(live, "MESSAGE_UPDATE")
        message = heard[-1]["d"]
        assert heard[0] == {"t": "BOT_STATUS", "d": {"online": True}}
        assert [one["t"] for one in heard[1:]] == [
            "MESSAGE_CREATE",
            "INTERACTION_ACK",
            "MESSAGE_UPDATE",
        ]
        assert heard[1]["d"]["flags"] == 128
        assert message["content"] == f"a cat {len(png())}"
        assert message["interaction_metadata"]["user"]["global_name"] == "Ada"
        url = message["attachments"][0]["url"]
        assert url.startswith("/attachments/")
        async with session.get(ada.url(url)) as file:
            assert await file.read() == png()

        at = {"message_id": message["id"]}
        status, _ = await ada.interact(3, {"custom_id": "cell", "values": ["a"]}, **at)
        assert status == 200
        private = (await frames(live, "MESSAGE_CREATE"))[-1]["d"]
        assert private["ephemeral_for"] == ada.me
        status, opened = await ada.interact(3, {"custom_id": "edit", "component_type": 2}, **at)
        modal = (await frames(live, "MODAL"))[-1]["d"]
        assert modal["interaction_id"] == opened["id"]
        typed = {"type": 4, "custom_id": "p", "value": "a dog"}
        data = {
            "custom_id": modal["modal"]["custom_id"],
            "components": [{"type": 1, "components": [typed]}],
        }
        status, _ = await ada.interact(5, data)
        assert status == 200
        assert (await frames(live, "MESSAGE_CREATE"))[-1]["d"]["content"] == "a dog"
        status, _ = await ada.interact(
            2, {"target_id": message["id"]}, command_id=command_id(playground, "Report")
        )
        assert (await frames(live, "MESSAGE_CREATE"))[-1]["d"]["content"] == "reported"

        channel = str(playground.world.channel("imagine").id)
        mine = (await ada.get("/play/messages", channel=channel))["messages"]
        others = (await ben.get("/play/messages", channel=channel))["messages"]
        playground.world.delete_message(int(message["id"]))
        gone = (await frames(live, "MESSAGE_DELETE"))[-1]["d"]
    assert len(mine) - len(others) == 2
    assert gone == {"id": message["id"], "channel_id": channel}


async def test_suggestions_come_back_in_the_same_call_or_not_at_all(
    playground: Playground, ada: Page, clock: Clock
) -> None:
    def data(typed: str) -> Any:
        return {"options": [{"name": "prompt", "value": typed, "focused": True}]}

    async with running(playground, set_up):
        at = {"command_id": command_id(playground, "imagine")}
        assert await ada.interact(4, data("ab"), **at) == (
            200,
            {"choices": [{"name": "abab", "value": "abab"}]},
        )
    used = ada.interact(4, data("ab"), **at)
    playground.world.ack_life *= 0.01
    clock.pass_time(seconds=5)
    playground.world.listeners.append(
        lambda event: clock.pass_time(seconds=5) if event.name == "INTERACTION_CREATE" else None
    )
    assert await used == (409, {"message": "Loading options failed"})


async def test_the_page_hears_of_everything_that_changes(
    playground: Playground, ada: Page, ben: Page
) -> None:
    world = playground.world
    async with ada.socket() as live, ben.socket():
        await frames(live, "BOT_STATUS")
        async with running(playground, set_up) as bot:
            heard = await frames(live, "BOT_STATUS")
            assert {one["t"] for one in heard} == {"COMMANDS_UPDATE", "BOT_STATUS"}
            assert {one["name"] for one in heard[0]["d"]["commands"]} == {"imagine", "Report"}
            await bot.get_partial_messageable(world.channel("imagine").id).typing()
            assert (await frames(live, "TYPING"))[-1]["d"]["user_id"] == str(bot.application_id)
        assert (await frames(live, "BOT_STATUS"))[-1]["d"] == {"online": False}
        made = world.add_channel("new")
        assert (await frames(live, "CHANNEL_CREATE"))[-1]["d"]["name"] == "new"
        world.overwrite("new", "Ada", deny=1 << 10)
        assert (await frames(live, "CHANNEL_DELETE"))[-1]["d"] == {"id": str(made.id)}
        world.say("Ben", "new", "unseen")
        world.overwrite("new", "Ada")
        assert (await frames(live, "CHANNEL_UPDATE"))[-1]["d"]["id"] == str(made.id)
        world.message_board.open_thread(made, world.bot, "talk")
        thread = (await frames(live, "CHANNEL_CREATE"))[-1]["d"]
        assert (thread["type"], thread["parent_id"]) == (11, str(made.id))
        channel = str(world.channel("random").id)
        status, said = await ben.post("/play/say", channel_id=channel, content="hello")
        assert status == 200
        assert (await frames(live, "MESSAGE_CREATE"))[-1]["d"]["id"] == said["id"]


async def test_silence_reaches_the_page(playground: Playground, ada: Page, clock: Clock) -> None:
    async with running(playground, set_up):
        pass
    async with ada.socket() as live:
        await ada.interact(
            2,
            {"options": [{"name": "prompt", "value": "x"}]},
            command_id=command_id(playground, "imagine"),
        )
        clock.pass_time(seconds=4)
        playground.world.expire_unanswered()
        failed = (await frames(live, "INTERACTION_FAILED"))[-1]["d"]
    assert failed["message"] == "The application did not respond"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/play/interactions", {"type": 2, "channel_id": "1", "command_id": "1"}),
        ("/play/interactions", {"type": 2}),
        ("/play/interactions", {"type": 3, "message_id": "1", "data": {"custom_id": "x"}}),
        ("/play/interactions", {"type": 5, "data": {"custom_id": "x", "components": []}}),
        ("/play/interactions", {"as": "1"}),
        ("/play/say", {"channel_id": "1", "content": "x"}),
        ("/play/say", {"content": "x"}),
    ],
)
async def test_nonsense_is_answered_with_a_message(
    ada: Page, path: str, body: dict[str, Any]
) -> None:
    status, answer = await ada.post(path, **body)
    assert status == 400
    assert answer["message"]


async def test_other_sites_and_other_names_are_shut_out(
    playground: Playground, ada: Page, session: aiohttp.ClientSession
) -> None:
    for headers, status in (
        ({"Origin": "https://evil.invalid"}, 403),
        ({"Origin": playground.page_url.rstrip("/").replace("http:", "https:")}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "evil.invalid"}, 421),
        ({"Origin": playground.page_url.rstrip("/")}, 200),
    ):
        async with session.get(ada.url(f"/play/world?as={ada.me}"), headers=headers) as reply:
            assert reply.status == status
    form = aiohttp.FormData({"file": "not a file"})
    async with session.post(ada.url(f"/play/attachments?as={ada.me}"), data=form) as reply:
        assert reply.status == 400
    async with session.post(ada.url("/play/say"), data="[]") as reply:
        assert reply.status == 400
