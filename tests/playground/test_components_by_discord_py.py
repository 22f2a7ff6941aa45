"""Test buttons, selects, modals and Components V2 with a real discord.py client."""

from __future__ import annotations

import re
from typing import Any

import discord
import pytest

from bot.playground.client.command_options import ClientError
from bot.playground.server import Playground
from bot.playground.state.models import Upload
from tests.playground.bots import Bot, picture, png, running

Reply = discord.Interaction[discord.Client]


class Cancel(
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]], template=r"cancel:(?P<job>[0-9]+)"
):
    def __init__(self, job: int) -> None:
        super().__init__(
            discord.ui.Button(
                label="Cancel", style=discord.ButtonStyle.danger, custom_id=f"cancel:{job}"
            )
        )
        self.job = job

    @classmethod
    async def from_custom_id(
        cls, interaction: Reply, item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Cancel:
        return cls(int(match["job"]))

    async def callback(self, interaction: Reply) -> None:
        await interaction.response.edit_message(content=f"cancelled {self.job}", view=None)


async def test_a_dynamic_button_works_on_a_message_another_process_sent(
    playground: Playground,
) -> None:
    def sender(bot: Bot) -> None:
        @bot.tree.command()
        async def start(interaction: Reply) -> None:
            view = discord.ui.View(timeout=None)
            view.add_item(Cancel(7))
            await interaction.response.send_message("running", view=view)

    def restarted(bot: Bot) -> None:
        bot.add_dynamic_items(Cancel)

    ada = playground.as_member("Ada")
    async with running(playground, sender):
        message = await (await ada.slash("imagine", "start")).answered()
    async with running(playground, restarted):
        pressed = await (await ada.press(message, "Cancel")).acked()
    assert pressed.callback == 7
    assert message.content == "cancelled 7"
    assert message.controls() == []
    with pytest.raises(ClientError, match="no Cancel"):
        await ada.press(message, "Cancel")


async def test_a_select_brings_its_values(playground: Playground) -> None:
    class Chooser(discord.ui.View):
        @discord.ui.select(
            custom_id="cell",
            placeholder="which one",
            min_values=1,
            max_values=2,
            options=[discord.SelectOption(label=one) for one in ("a", "b", "c")],
        )
        async def cell(self, interaction: Reply, select: discord.ui.Select[Chooser]) -> None:
            await interaction.response.send_message(",".join(select.values), ephemeral=True)

        @discord.ui.select(cls=discord.ui.UserSelect, custom_id="who")
        async def who(self, interaction: Reply, select: discord.ui.UserSelect[Chooser]) -> None:
            await interaction.response.send_message(select.values[0].display_name)

    def set_up(bot: Bot) -> None:
        @bot.tree.command()
        async def choose(interaction: Reply) -> None:
            await interaction.response.send_message("choose", view=Chooser())

    ada = playground.as_member("Ada")
    async with running(playground, set_up):
        message = await (await ada.slash("imagine", "choose")).answered()
        chosen = await (await ada.select(message, "which one", ["a", "c"])).answered()
        named = await (await ada.select(message, "who", [playground.as_member("Ben")])).answered()
        for values in ([], ["a", "b", "c"], ["d"], ["a", "a"]):
            with pytest.raises(ClientError):
                await ada.select(message, "cell", values)
        with pytest.raises(ClientError, match="does not exist"):
            await ada.select(message, "who", ["123"])
    assert (chosen.content, named.content) == ("a,c", "Ben")


class Form(discord.ui.Modal, title="Edit and run again"):
    prompt = discord.ui.TextInput[discord.ui.Modal](label="Prompt", custom_id="p", min_length=2)
    style = discord.ui.Label[discord.ui.Modal](
        text="Style",
        component=discord.ui.Select(
            custom_id="s",
            options=[discord.SelectOption(label="ink"), discord.SelectOption(label="oil")],
        ),
    )
    sketch = discord.ui.Label[discord.ui.Modal](
        text="Sketch", component=discord.ui.FileUpload(custom_id="f", required=False)
    )

    async def on_submit(self, interaction: Reply) -> None:
        assert isinstance(self.style.component, discord.ui.Select)
        assert isinstance(self.sketch.component, discord.ui.FileUpload)
        files = [await one.read() for one in self.sketch.component.values]
        text = f"{self.prompt.value} {self.style.component.values} {len(files)}"
        if interaction.message is None:
            await interaction.response.send_message(text)
        else:
            await interaction.response.edit_message(content=text)


class Opener(discord.ui.View):
    @discord.ui.button(label="Edit", custom_id="edit")
    async def edit(self, interaction: Reply, button: discord.ui.Button[Opener]) -> None:
        await interaction.response.send_modal(Form())


def modal_bot(bot: Bot) -> None:
    @bot.tree.command()
    async def form(interaction: Reply) -> None:
        await interaction.response.send_modal(Form())

    @bot.tree.command()
    async def status(interaction: Reply) -> None:
        await interaction.response.send_message("card", view=Opener())


async def test_a_form_opened_by_a_command_is_answered_by_a_message(playground: Playground) -> None:
    ada = playground.as_member("Ada")
    async with running(playground, modal_bot):
        opened = await (await ada.slash("imagine", "form")).acked()
        assert opened.modal is not None
        assert opened.modal["title"] == "Edit and run again"
        for values, complaint in (
            ({"p": "x", "s": ["ink"]}, "between 2"),
            ({"p": "", "s": ["ink"]}, "required"),
            ({"p": "xx", "s": ["clay"]}, "among the choices"),
            ({"p": "xx", "s": []}, "required"),
        ):
            with pytest.raises(ClientError, match=complaint):
                await ada.submit_modal(opened, values)
        with pytest.raises(KeyError):
            await ada.submit_modal(opened, {"q": "x"})
        sent = await ada.submit_modal(
            opened, {"p": "a cat", "s": ["oil"], "f": Upload("a.png", png())}
        )
        message = await sent.answered()
    assert message.content == "a cat ['oil'] 1"


async def test_a_form_opened_by_a_button_edits_the_buttons_message(playground: Playground) -> None:
    ada = playground.as_member("Ada")
    async with running(playground, modal_bot):
        message = await (await ada.slash("imagine", "status")).answered()
        opened = await (await ada.press(message, "edit")).acked()
        await (await ada.submit_modal(opened, {"p": "a dog", "s": ["ink"]})).acked()
    assert message.content == "a dog ['ink'] 0"


async def test_buttons_on_ephemeral_messages_are_for_one_person(playground: Playground) -> None:
    class Private(discord.ui.View):
        @discord.ui.button(label="More")
        async def more(self, interaction: Reply, button: discord.ui.Button[Private]) -> None:
            await interaction.response.defer()
            await interaction.edit_original_response(content="more", view=None)

    def set_up(bot: Bot) -> None:
        @bot.tree.command()
        async def secret(interaction: Reply) -> None:
            await interaction.response.send_message("less", view=Private(), ephemeral=True)

    ada, ben = playground.as_member("Ada"), playground.as_member("Ben")
    async with running(playground, set_up):
        message = await (await ada.slash("imagine", "secret")).answered()
        with pytest.raises(ClientError, match="no such message"):
            await ben.press(message, "More")
        pressed = await (await ada.press(message, "More")).acked()
        await playground.until(lambda _: message.content == "more")
    assert pressed.response is message


async def test_links_and_disabled_buttons_cannot_be_pressed(playground: Playground) -> None:
    def set_up(bot: Bot) -> None:
        @bot.tree.command()
        async def dead(interaction: Reply) -> None:
            view = discord.ui.View()
            view.add_item(discord.ui.Button(label="Row 1", url="https://example.invalid/1.png"))
            view.add_item(discord.ui.Button(label="Off", custom_id="off", disabled=True))
            await interaction.response.send_message("dead", view=view)

    ada = playground.as_member("Ada")
    async with running(playground, set_up):
        message = await (await ada.slash("imagine", "dead")).answered()
        with pytest.raises(ClientError, match="is a link"):
            await ada.press(message, "Row 1")
        with pytest.raises(ClientError, match="disabled"):
            await ada.press(message, "Off")


async def test_components_v2_come_with_the_edit_of_a_deferred_answer(
    playground: Playground,
) -> None:
    class StatusView(discord.ui.LayoutView):
        def __init__(self) -> None:
            super().__init__()
            gallery = discord.ui.MediaGallery[StatusView](
                discord.MediaGalleryItem("attachment://grid.png", description="alt")
            )
            thumb = discord.ui.Thumbnail[StatusView]("attachment://grid.png")
            self.add_item(
                discord.ui.Container(
                    discord.ui.TextDisplay("# Done"),
                    discord.ui.Section("seed 7", accessory=thumb),
                    discord.ui.Separator(),
                    gallery,
                    discord.ui.File("attachment://log.txt"),
                    accent_colour=0x6C8CFF,
                )
            )

    def set_up(bot: Bot) -> None:
        @bot.tree.command()
        async def layout(interaction: Reply) -> None:
            await interaction.response.defer()
            log = discord.File(__file__, "log.txt")
            await interaction.edit_original_response(
                view=StatusView(), attachments=[picture(), log]
            )

    async with running(playground, set_up) as bot:
        message = await (await playground.as_member("Ada").slash("imagine", "layout")).answered()
        channel = bot.get_partial_messageable(message.channel_id)
        fetched = await channel.fetch_message(message.id)
    assert message.text == "# Done\nseed 7"
    assert fetched.flags.components_v2
    container = fetched.components[0]
    assert isinstance(container, discord.Container)
    gallery = container.children[3]
    assert isinstance(gallery, discord.MediaGalleryComponent)
    assert "?ex=" in gallery.items[0].media.url
    assert gallery.items[0].media.width == 64
