"""Test channels, threads and direct messages with a real discord.py client."""

from __future__ import annotations

import discord
import httpx
import pytest

from bot.playground.server import Playground
from tests.playground.bots import Bot, picture, png, running
from tests.playground.clock import Clock


async def test_the_same_nonce_twice_is_one_message(playground: Playground, clock: Clock) -> None:
    imagine = playground.world.channel("imagine")
    async with running(playground) as bot:
        channel = bot.get_partial_messageable(imagine.id)
        first = await channel.send("done", nonce="job-1")
        again = await channel.send("done", nonce="job-1")
        elsewhere = await bot.get_partial_messageable(playground.world.channel("random").id).send(
            "done", nonce="job-1"
        )
        clock.pass_time(minutes=6)
        later = await channel.send("done", nonce="job-1")
    assert first.id == again.id
    assert len({first.id, elsewhere.id, later.id}) == 3


async def test_a_message_is_sent_edited_fetched_and_deleted(playground: Playground) -> None:
    imagine = playground.world.channel("imagine")
    async with running(playground) as bot:
        channel = bot.get_partial_messageable(imagine.id)
        embed = discord.Embed(title="Grid").set_image(url="attachment://a.png")
        embed.add_field(name="seed", value="7")
        sent = await channel.send("hi", embed=embed, files=[picture("a.png"), picture("b.png")])
        assert [one.filename for one in sent.attachments] == ["b.png"]
        assert sent.embeds[0].image.width == 64
        kept = await sent.edit(content="hello", attachments=[sent.attachments[0], picture("c.png")])
        assert [one.filename for one in kept.attachments] == ["b.png", "c.png"]
        fetched = await channel.fetch_message(sent.id)
        assert fetched.content == "hello"
        assert fetched.edited_at is not None
        history = [one.id async for one in channel.history(limit=10)]
        assert history == [sent.id]
        await sent.delete()
        with pytest.raises(discord.NotFound) as caught:
            await channel.fetch_message(sent.id)
    assert caught.value.code == 10008


async def test_links_to_files_expire_and_fetching_renews_them(
    playground: Playground, clock: Clock
) -> None:
    imagine = playground.world.channel("imagine")
    async with running(playground) as bot, httpx.AsyncClient(trust_env=False) as web:
        channel = bot.get_partial_messageable(imagine.id)
        sent = await channel.send(file=picture())
        url = sent.attachments[0].url
        served = await web.get(url)
        assert (served.status_code, served.content) == (200, png())
        assert served.headers["content-type"] == "image/png"
        assert (await web.get(url.replace("hm=", "hm=0"))).status_code == 404
        assert (await web.get(url.partition("?")[0])).status_code == 404
        clock.pass_time(hours=25)
        assert (await web.get(url)).status_code == 404
        fresh = (await channel.fetch_message(sent.id)).attachments[0]
        assert await fresh.read() == png()
        await sent.delete()
        with pytest.raises(discord.NotFound):
            await fresh.read()


async def test_threads_grow_from_messages_and_by_themselves(playground: Playground) -> None:
    world = playground.world
    async with running(playground) as bot:
        channel = bot.get_channel(world.channel("gallery").id)
        assert isinstance(channel, discord.TextChannel)
        message = await channel.send("a picture")
        thread = await message.create_thread(name="about it")
        await thread.send("full size", file=picture("full.png"))
        assert thread.id == message.id
        with pytest.raises(discord.HTTPException) as twice:
            await message.create_thread(name="again")
        assert twice.value.code == 160004
        alone = await channel.create_thread(
            name="alone", type=discord.ChannelType.public_thread, auto_archive_duration=60
        )
        hello = await alone.send("hello")
        await alone.edit(archived=True)
        with pytest.raises(discord.HTTPException) as archived:
            await hello.edit(content="no")
        assert archived.value.code == 50083
        await alone.send("wakes up")
    assert [one.content for one in world.messages_in(thread.id)] == ["full size"]
    state = world.channel("alone").thread
    assert state is not None
    assert not state.archived


async def test_a_forum_takes_posts_and_no_plain_messages(playground: Playground) -> None:
    forum = playground.world.add_channel("showcase", kind=15)
    async with running(playground) as bot:
        channel = bot.get_channel(forum.id)
        assert isinstance(channel, discord.ForumChannel)
        made = await channel.create_thread(name="post", content="first", file=picture())
        assert made.message.content == "first"
        assert made.message.attachments[0].height == 48
        with pytest.raises(discord.HTTPException) as plain:
            await bot.get_partial_messageable(forum.id).send("hello")
    assert plain.value.code == 40058


async def test_direct_messages_reach_one_person_or_are_refused(playground: Playground) -> None:
    world = playground.world
    ada, ben = playground.as_member("Ada"), playground.as_member("Ben")
    world.user("Ben").takes_dms = False
    async with running(playground) as bot:
        user = await bot.fetch_user(ada.id)
        await user.send("your picture", file=picture())
        again = await user.create_dm()
        with pytest.raises(discord.Forbidden) as closed:
            await (await bot.fetch_user(ben.id)).send("no")
    direct = world.direct_channel("Ada")
    assert again.id == direct.id
    assert [one.content for one in ada.messages(direct)] == ["your picture"]
    assert ben.messages(direct) == []
    assert closed.value.code == 50007


async def test_a_command_in_direct_messages_comes_from_a_user(playground: Playground) -> None:
    def set_up(bot: Bot) -> None:
        @bot.tree.command()
        async def here(interaction: discord.Interaction[discord.Client]) -> None:
            await interaction.response.send_message(f"{interaction.guild_id} {interaction.user}")

    ada = playground.as_member("Ada")
    direct = playground.world.direct_channel("Ada")
    async with running(playground, set_up):
        message = await (await ada.slash(direct, "here")).answered()
    assert message.content == "None ada"


@pytest.mark.parametrize(
    ("denied", "code"),
    [
        (("VIEW_CHANNEL",), 50001),
        (("SEND_MESSAGES",), 50013),
        (("ATTACH_FILES",), 50013),
        (("EMBED_LINKS",), 50013),
    ],
)
async def test_missing_permissions_are_refused_until_they_are_back(
    playground: Playground, denied: tuple[str, ...], code: int
) -> None:
    world = playground.world
    async with running(playground) as bot:
        channel = bot.get_partial_messageable(world.channel("imagine").id)
        world.add_deny_overwrite("imagine", *denied)
        with pytest.raises(discord.Forbidden) as caught:
            await channel.send("hi", embed=discord.Embed(title="x"), file=picture())
        world.restore("imagine")
        await channel.send("hi", embed=discord.Embed(title="x"), file=picture())
    assert caught.value.code == code


async def test_app_permissions_say_what_the_channel_denies(playground: Playground) -> None:
    held: list[bool] = []

    def set_up(bot: Bot) -> None:
        @bot.tree.command()
        async def check(interaction: discord.Interaction[discord.Client]) -> None:
            held.append(interaction.app_permissions.attach_files)
            await interaction.response.send_message("ok")

    ada = playground.as_member("Ada")
    async with running(playground, set_up):
        await (await ada.slash("imagine", "check")).answered()
        playground.world.add_deny_overwrite("imagine", "ATTACH_FILES")
        await (await ada.slash("imagine", "check")).answered()
    assert held == [True, False]


async def test_nobody_is_pinged_against_allowed_mentions(playground: Playground) -> None:
    world = playground.world
    ada, ben = playground.as_member("Ada"), playground.as_member("Ben")
    text = f"{ada.mention} {ben.mention} @everyone <@&{world.guild_id}>"
    async with running(playground) as bot:
        channel = bot.get_partial_messageable(world.channel("imagine").id)
        silent = await channel.send(text, allowed_mentions=discord.AllowedMentions.none())
        one = await channel.send(
            text, allowed_mentions=discord.AllowedMentions(users=[discord.Object(ada.id)])
        )
        default = await channel.send(text)
        reply = await channel.send("re", reference=default, mention_author=False)
    assert world.message(silent.id).mentions == []
    assert world.message(silent.id).allowed_mentions == {"parse": []}
    assert world.message(one.id).mentions == [ada.id]
    assert world.message(default.id).mentions == [ada.id, ben.id]
    assert not world.message(default.id).mention_everyone
    assert world.message(reply.id).mentions == []
    assert world.message(reply.id).reference_id == default.id


async def test_places_and_people_can_vanish(playground: Playground) -> None:
    world = playground.world
    imagine, ben = world.channel("imagine"), world.member("Ben")
    async with running(playground) as bot:
        guild = await bot.fetch_guild(world.guild_id)
        assert (await guild.fetch_member(ben.id)).display_name == "Ben"
        channel = await bot.fetch_channel(imagine.id)
        assert isinstance(channel, discord.TextChannel)
        sent = await channel.send("soon gone")
        world.delete_message(sent.id)
        with pytest.raises(discord.NotFound) as message:
            await sent.edit(content="late")
        world.remove_member("Ben")
        with pytest.raises(discord.NotFound) as member:
            await guild.fetch_member(ben.id)
        world.delete_channel("imagine")
        with pytest.raises(discord.NotFound) as place:
            await channel.send("late")
    assert (message.value.code, member.value.code, place.value.code) == (10008, 10007, 10003)
