"""``/art-admin words``: which words are refused or held for a moderator."""

from __future__ import annotations

from functools import partial
from typing import Any, Final, Literal, TypeAlias

import discord
from discord import app_commands

from bot.domain.adult_words import ADULT_WORDS
from bot.domain.errors import InvalidRequest, RequestError
from bot.domain.text import normalize_text, truncate_utf16
from bot.frontend.command_options import (
    Channel,
    guild_of,
    is_moderator,
    moderator_of,
    require_channel,
)
from bot.frontend.context import BotContext, get_context
from bot.frontend.listing import Listing
from bot.frontend.message_content import MAX_OPTION_TEXT, MAX_OPTIONS
from bot.frontend.moderation_embeds import (
    format_matches,
    format_word_rule,
    quote_text,
    words_listing,
)
from bot.frontend.responses import page_buttons, safe_autocomplete, send_ephemeral, send_listing
from bot.services.moderation_records import ScopedWordRule, change_word_off

Interaction: TypeAlias = discord.Interaction[discord.Client]

PARENT: Final = "art-admin"
_NAME: Final = "mod-words"
_MAX_PHRASE: Final = 1000


@safe_autocomplete
async def _suggest_rules(
    interaction: discord.Interaction[Any], typed: str
) -> list[app_commands.Choice[str]]:
    """Suggest the server's rules, then the adult words that come with the bot."""
    if not is_moderator(interaction):
        return []
    moderation, guild_id = get_context(interaction).moderation, guild_of(interaction)
    rules = [one.rule for one in await moderation.words(guild_id)]
    off = (await moderation.settings(guild_id)).adult_words_off
    named = [(f"{rule.id} · {rule.pattern}", str(rule.id)) for rule in rules]
    named += [(f"{word} · adult word", word) for word in ADULT_WORDS if word not in off]
    return [
        app_commands.Choice(name=truncate_utf16(name, MAX_OPTION_TEXT), value=value)
        for name, value in named
        if typed.strip().casefold() in name.casefold()
    ][:MAX_OPTIONS]


class Words(app_commands.Group):
    """The subcommands; each checks that the member is a moderator."""

    def __init__(self, context: BotContext) -> None:
        super().__init__(name="words", description="Words that are refused, or held")
        self._moderation = context.moderation

    @app_commands.command(name="add", description="Refuse a word or phrase, or hold requests")
    @app_commands.describe(
        pattern="The word or phrase; disguises such as f0x are found, too",
        match="Whole words only, or anywhere inside words",
        channel="Only in this channel and its threads; without it on the whole server",
        effect="Refuse the request, or hold it until a moderator approves",
        adult="The rule does not hold in age-restricted channels",
    )
    async def add(
        self,
        interaction: Interaction,
        pattern: str,
        match: Literal["whole word", "anywhere"] = "whole word",
        channel: Channel | None = None,
        effect: Literal["refuse", "hold"] = "refuse",
        adult: bool = False,
    ) -> None:
        """Add a rule, or switch an adult word on again."""
        by, guild_id = moderator_of(interaction), guild_of(interaction)
        if channel is not None:
            require_channel(interaction, channel)
        word = normalize_text(pattern).casefold()
        off = (await self._moderation.settings(guild_id)).adult_words_off
        if word in off and adult and channel is None and effect == "refuse":
            change = partial(change_word_off, word=word, off=False)
            await self._moderation.change_setting(guild_id, "adult_words_off", change, by=by)
            await send_ephemeral(interaction, f"The adult word {quote_text(word)} is on again.")
            return
        where = None if channel is None else channel.id
        rule = await self._moderation.add_word(
            guild_id,
            pattern,
            whole_word=match == "whole word",
            channel_id=where,
            effect=effect,
            adult=adult,
            by=by,
        )
        await send_ephemeral(
            interaction,
            f"Added. Rule {format_word_rule(ScopedWordRule(rule, where))}.\n"
            f"Undo: `/art-admin words remove rule:{rule.id}`.",
        )

    @app_commands.command(name="remove", description="Remove a rule, or switch an adult word off")
    @app_commands.describe(rule="The number of a rule, or an adult word")
    async def remove(self, interaction: Interaction, rule: str) -> None:
        """Remove a rule."""
        by, guild_id = moderator_of(interaction), guild_of(interaction)
        wanted = normalize_text(rule).casefold()
        if wanted in ADULT_WORDS:
            change = partial(change_word_off, word=wanted, off=True)
            await self._moderation.change_setting(guild_id, "adult_words_off", change, by=by)
            await send_ephemeral(
                interaction,
                f"The adult word {quote_text(wanted)} is off on this server.\n"
                f"Undo: `/art-admin words add pattern:{wanted} adult:True`.",
            )
            return
        if not (wanted.isascii() and wanted.isdecimal() and int(wanted) < 2**63):
            raise InvalidRequest(
                "rule", "rule: that is no rule of this server. Choose one from the list."
            )
        gone = await self._moderation.remove_word(guild_id, int(wanted), by=by)
        await send_ephemeral(interaction, f"Removed. It was rule {format_word_rule(gone)}.")

    remove.autocomplete("rule")(_suggest_rules)

    @app_commands.command(name="list", description="All word rules of this server")
    async def list_rules(self, interaction: Interaction) -> None:
        """Show all word rules, also those that come with the bot."""
        await send_listing(interaction, _NAME, await _listing(interaction, ""))

    @app_commands.command(name="test", description="See which rules match a phrase, and where")
    @app_commands.describe(
        text="A prompt to try", channel="As if in this channel; without it in this one"
    )
    async def test(
        self,
        interaction: Interaction,
        text: str,
        channel: Channel | None = None,
    ) -> None:
        """Show what each rule finds."""
        moderator_of(interaction)
        if len(text) > _MAX_PHRASE:
            raise InvalidRequest("text", f"text can have 1 to {_MAX_PHRASE} characters.")
        where = interaction.channel
        here = where.parent_id if isinstance(where, discord.Thread) else interaction.channel_id
        found = await self._moderation.test_words(
            guild_of(interaction), channel.id if channel else here or 0, text
        )
        await send_ephemeral(interaction, format_matches(found, text))

    @app_commands.command(
        name="settings", description="What members are told, and the adult words (Manage Server)"
    )
    @app_commands.describe(
        show_word="Tell a member which word was refused",
        adult_by_flag="Allow adult words only in age-restricted channels",
    )
    async def settings(
        self,
        interaction: Interaction,
        show_word: bool | None = None,
        adult_by_flag: bool | None = None,
    ) -> None:
        """Set what holds for all word rules."""
        by, guild_id = moderator_of(interaction), guild_of(interaction)
        chosen = {"show_word": show_word, "adult_by_flag": adult_by_flag}
        changes = {key: value for key, value in chosen.items() if value is not None}
        if not changes:
            raise RequestError("Nothing to set: fill in show_word or adult_by_flag.")
        changed = [
            await self._moderation.set_setting(guild_id, key, value, by=by)
            for key, value in changes.items()
        ]
        if not any(changed):
            raise RequestError("They are set like this already. See /art-admin words list.")
        set_to = ", ".join(f"{key} is {'on' if on else 'off'}" for key, on in changes.items())
        await send_ephemeral(interaction, f"Set: {set_to}.")


def build(context: BotContext) -> Words:
    """Return the group of subcommands."""
    return Words(context)


async def _listing(interaction: discord.Interaction[Any], _subject: str) -> Listing:
    moderator_of(interaction)
    moderation, guild_id = get_context(interaction).moderation, guild_of(interaction)
    return words_listing(await moderation.words(guild_id), await moderation.settings(guild_id))


ITEMS: Final = (page_buttons(_NAME, _listing),)
