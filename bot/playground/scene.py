"""The server every playground starts with: "Gridbrush Arts", its channels and its people."""

from __future__ import annotations

from bot.playground import permissions
from bot.playground.entities import Member, Role, User
from bot.playground.realm import GuildState


def seed_guild(realm: GuildState) -> None:
    """Fill an empty realm: four channels and an age-restricted one, Ada, Ben, Mo and the bot."""
    realm.guild_id = realm.mint.next_id()
    realm.guild_name = "Gridbrush Arts"
    everyone = Role(realm.guild_id, "@everyone", permissions.MEMBER)
    realm.roles[everyone.id] = everyone
    moderators = realm.add_role("Moderators", permissions.MODERATOR, color=0xE0A458)
    bots = realm.add_role("Gridbrush", permissions.BOT, color=0x6C8CFF)
    bots.managed = True

    owner = realm.add_member("keeper", "Keeper")
    realm.owner_id = owner.id
    realm.add_member("ada", "Ada")
    realm.add_member("ben", "Ben")
    realm.add_member("mo", "Mo", moderators)

    bot = User(realm.mint.next_id(), "Gridbrush", bot=True)
    realm.users[bot.id] = bot
    realm.members[bot.id] = Member(bot, realm.now(), [bots.id])
    realm.application_id = bot.id
    # Three parts like the real thing, so that code which looks at its shape is content.
    realm.token = ".".join(f"{realm.rng.getrandbits(80):020x}" for _ in range(3))

    realm.add_channel("welcome", topic="Start here")
    realm.add_channel("imagine", topic="Type /imagine and describe a picture")
    realm.add_channel("gallery", topic="The best of what was made")
    realm.add_channel("random", topic="Anything else")
    realm.add_channel("after-dark", topic="Adults only", nsfw=True)
