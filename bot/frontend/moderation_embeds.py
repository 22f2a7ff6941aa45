"""Texts about moderation: what holds on a server, its rules, blocks and holds. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from bot.domain.adult_words import ADULT_WORDS
from bot.domain.image_check import ImageAction
from bot.domain.moderation import ChannelRule, format_seconds
from bot.domain.word_filter import WordMatch
from bot.frontend.formatting import as_sentence, escape_user_text, pluralize, short_id, timestamp
from bot.frontend.listing import Listing, Section
from bot.frontend.message_content import AMBER, GREEN, EmbedField
from bot.services.moderation_records import (
    JobHold,
    MemberBlock,
    ScopedWordRule,
    ServerSettings,
    ServerStatus,
)

_MAX_REASON: Final = 200
_MAX_CHANNELS: Final = 10
IMAGE_ACTION_TEXTS: Final[Mapping[ImageAction, str]] = {
    "allow": "off: all images are posted without a check",
    "spoiler": "marked images are posted behind a spoiler",
    "hold": "marked images wait for a moderator",
    "block": "marked images are not posted and refunded",
}


def status_listing(
    status: ServerStatus, problems: Sequence[str], *, restricted_gallery: bool = False
) -> Listing:
    """Return what holds on a server, and what is missing.

    ``restricted_gallery``: Discord says that the gallery is age-restricted.
    """
    pause, settings = status.pause, status.settings
    notice = pause.notice if pause else "Requests are accepted and started."
    log = f"<#{settings.log_channel_id}>" if settings.log_channel_id else "none"
    if status.unposted and settings.log_channel_id:
        log += f", {pluralize(status.unposted, 'message')} not posted yet"
    words = f"{pluralize(status.words, 'rule')}; adult words {_adult_words(settings)}"
    lines = {
        "Requests": f"{status.waiting} waiting, {status.running} running",
        "For a moderator to decide": pluralize(status.holds, "request") if status.holds else "",
        "Channels": _summarize_channels(status.channels),
        "Words": words,
        "Blocked": pluralize(status.blocks, "member"),
        "Models": _format_models(settings),
        "Image check": _format_image_action(status),
        "Log channel": log,
        "Gallery": _format_gallery(status, restricted=restricted_gallery),
    }
    fields = tuple(EmbedField(name, text) for name, text in lines.items() if text)
    missing = [*problems]
    if not settings.log_channel_id:
        missing.append("There is no log channel. Set one with `/art-admin log`.")
    sections = [Section("Missing", missing)] if missing else []
    colour = AMBER if missing or pause else GREEN
    return Listing("Moderation", sections, notice, fields, colour)


def format_channel_rule(rule: ChannelRule) -> str:
    """Return a channel rule in one line."""
    limits = [
        f"{pluralize(rule.running, 'request')} running at once" if rule.running else "",
        f"{format_seconds(rule.between)} between two requests" if rule.between else "",
        f"at most {pluralize(rule.max_rows, 'row')}" if rule.max_rows else "",
        f"at most {pluralize(rule.max_samples, 'sample')}" if rule.max_samples else "",
    ]
    state = {True: "allowed", False: "denied", None: ""}[rule.allowed]
    said = ", ".join(part for part in (state, *limits) if part) or "no limits"
    return f"<#{rule.channel_id}>: {said}"


def channels_listing(rules: Sequence[ChannelRule]) -> Listing:
    """Return a server's channel rules."""
    only = any(rule.allowed for rule in rules)
    head = (
        "Requests are allowed only in the allowed channels."
        if only
        else "Requests are allowed in all channels that are not denied."
    )
    lines = [format_channel_rule(rule) for rule in rules]
    return Listing("Channels", [Section("", lines, "There are no channel rules.")], head)


def format_word_rule(scoped: ScopedWordRule) -> str:
    """Return a word rule in one line, with its number."""
    rule = scoped.rule
    parts = [
        "whole word" if rule.whole_word else "anywhere",
        "holds for a moderator" if rule.effect == "hold" else "refuses",
        f"in <#{scoped.channel_id}>" if scoped.channel_id is not None else "",
        "adult" if rule.adult else "",
    ]
    said = ", ".join(part for part in parts if part)
    return f"**{rule.id}** {quote_text(rule.pattern)}: {said}"


def words_listing(rules: Sequence[ScopedWordRule], settings: ServerSettings) -> Listing:
    """Return a server's word rules and the adult words that come with the bot."""
    on = [quote_text(word) for word in ADULT_WORDS if word not in settings.adult_words_off]
    off = [quote_text(word) for word in settings.adult_words_off]
    shipped = [as_sentence(_adult_words(settings)), ", ".join(on)]
    if off:
        shipped.append(f"Off on this server: {', '.join(off)}")
    told = "are told which word it was" if settings.show_word else "are not told which word it was"
    sections = [
        Section("Rules", [format_word_rule(rule) for rule in rules], "None."),
        Section("Adult words that come with the bot", shipped),
    ]
    return Listing("Words", sections, f"Members {told}.")


def format_matches(matches: Sequence[WordMatch], text: str) -> str:
    """Return which rules find what in a phrase."""
    if not matches:
        return f"No rule matches {quote_text(text[:200])}."
    lines = [
        f"{_rule_name(match)} {'holds' if match.rule.effect == 'hold' else 'refuses'} it for "
        f"{quote_text(match.excerpt)}{', except in age-restricted channels' * match.rule.adult}."
        for match in matches[:20]
    ]
    more = len(matches) - len(lines)
    return "\n".join([*lines, *([f"… and {more} more"] if more else [])])


def _rule_name(match: WordMatch) -> str:
    rule = match.rule
    number = f"Rule {rule.id}" if rule.id > 0 else "The adult word"
    return f"{number} {quote_text(rule.pattern)}"


def blocks_listing(blocks: Sequence[MemberBlock]) -> Listing:
    """Return a server's blocks."""
    lines = [format_block(block) for block in blocks]
    return Listing("Blocked members", [Section("", lines, "Nobody is blocked.")])


def format_block(block: MemberBlock) -> str:
    """Return a block in one line."""
    until = timestamp(block.until, "f") if block.until else "they are unblocked"
    why = f": {escape_user_text(block.reason, _MAX_REASON)}" if block.reason else ""
    return f"<@{block.user_id}> until {until}{why}"


def holds_listing(holds: Sequence[JobHold]) -> Listing:
    """Return what waits for a server's moderators."""
    lines = [
        f"`{short_id(hold.job_id)}` {timestamp(hold.held_at)}: "
        f"{escape_user_text(hold.reason, _MAX_REASON)}"
        for hold in holds
    ]
    head = "Decide with `/art-admin decide`." if holds else ""
    return Listing("Waiting for a moderator", [Section("", lines, "Nothing.")], head)


def models_listing(settings: ServerSettings) -> Listing:
    """Return which roles may use which model."""
    lines = [
        f"{quote_text(model)}: {', '.join(f'<@&{id}>' for id in ids)}"
        for model, ids in settings.model_roles.items()
    ]
    empty = "Every member may use every model."
    return Listing("Models", [Section("", lines, empty)], "Other models are for everybody.")


def quote_text(text: str) -> str:
    """Return a text as inline code."""
    return f"`{text.replace('`', chr(39))}`"


def _adult_words(settings: ServerSettings) -> str:
    return (
        "allowed only in age-restricted channels"
        if settings.adult_by_flag
        else "allowed everywhere"
    )


def _format_image_action(status: ServerStatus) -> str:
    if status.image_action is None:
        return "not set up by the operator of this bot"
    where = ", except in age-restricted channels" if status.settings.adult_by_flag else ""
    said = IMAGE_ACTION_TEXTS[status.image_action]
    return said if status.image_action == "allow" else f"{said}{where}"


def _format_models(settings: ServerSettings) -> str:
    models = settings.model_roles
    return f"{pluralize(len(models), 'model')} only for some roles" if models else ""


def _format_gallery(status: ServerStatus, *, restricted: bool) -> str:
    settings = status.settings
    if not settings.gallery_channel_id:
        return ""
    stars = pluralize(settings.gallery_threshold, "star")
    parts = [f"<#{settings.gallery_channel_id}> at {stars} of other members"]
    if status.gallery_unposted:
        parts.append(f"{pluralize(status.gallery_unposted, 'result')} not posted yet")
    if not restricted:
        parts.append("nothing from age-restricted channels")
    return ", ".join(parts)


def _summarize_channels(rules: Sequence[ChannelRule]) -> str:
    allowed = _mentions(rule for rule in rules if rule.allowed)
    denied = _mentions(rule for rule in rules if rule.allowed is False)
    where = f"only {allowed}" if allowed else f"all but {denied}" if denied else "all"
    if allowed and denied:
        where += f", not {denied}"
    limited = sum(
        any((rule.running, rule.between, rule.max_rows, rule.max_samples)) for rule in rules
    )
    return where + (f"; {limited} with limits" if limited else "")


def _mentions(rules: Iterable[ChannelRule]) -> str:
    names = [f"<#{rule.channel_id}>" for rule in rules]
    more = len(names) - _MAX_CHANNELS
    return ", ".join(names[:_MAX_CHANNELS]) + (f" and {more} more" if more > 0 else "")
