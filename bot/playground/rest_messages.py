"""REST calls about messages in channels, by the bot's token and under its permissions."""

from __future__ import annotations

from datetime import timedelta

from bot.playground.drafts import Kind, check_sizes, read_draft
from bot.playground.entities import DIRECT, FORUM, Channel, Json
from bot.playground.posts import Message
from bot.playground.refusals import Form, read_snowflake, refuse
from bot.playground.render import message_payload
from bot.playground.rest_channels import sending_right
from bot.playground.wire import Answer, Call, Route

BULK_AGE = timedelta(days=14)


def create(call: Call) -> Answer:
    """POST /channels/{channel_id}/messages."""
    world, body = call.world, call.record()
    channel = world.channel(call.ident("channel_id"))
    if channel.type == FORUM:
        raise refuse(40058)
    _may_send(call, channel, body)
    check_sizes(call.uploads, call.size)
    draft = read_draft(body, call.uploads, Kind.CHANNEL)
    if draft.reference_id is not None:
        world.require(channel, "READ_MESSAGE_HISTORY")
    return Answer(message_payload(world, world.board.post(channel, world.bot, draft)))


def _may_send(call: Call, channel: Channel, body: Json) -> None:
    if channel.type == DIRECT:
        if not all(user.takes_dms for user in channel.recipients):
            raise refuse(50007)
        return
    if channel.thread is not None and channel.thread.locked:
        raise refuse(50083)
    needed = [sending_right(channel)]
    if call.uploads:
        needed.append("ATTACH_FILES")
    if body.get("embeds"):
        needed.append("EMBED_LINKS")
    call.world.require(channel, *needed)


def listing(call: Call) -> Answer:
    """GET /channels/{channel_id}/messages, newest first, ``limit`` 1 to 100."""
    world = call.world
    channel = world.channel(call.ident("channel_id"))
    world.require(channel)
    form = Form()
    asked = {
        key: read_snowflake(call.query.get(key, default))
        for key, default in (("limit", "50"), ("before", "0"), ("after", "0"))
    }
    form.at("limit").whole(asked["limit"], least=1, most=100)
    for key in ("before", "after"):
        if asked[key] is None:
            form.at(key).complain("NUMBER_TYPE_COERCE", "A value is not snowflake.")
    form.settle()
    limit, before, after = (asked[key] or 0 for key in ("limit", "before", "after"))
    found = [
        message
        for message in world.messages_in(channel)
        if not message.ephemeral
        and (not before or message.id < before)
        and (not after or message.id > after)
    ]
    chosen = found[:limit] if after else found[-limit:]
    return Answer([message_payload(world, message) for message in reversed(chosen)])


def _public(call: Call) -> tuple[Channel, Message]:
    """Return the message of a call; ephemeral ones are invisible to the bot's token."""
    channel = call.world.channel(call.ident("channel_id"))
    call.world.require(channel)
    message = call.world.message(call.ident("message_id"), channel)
    if message.ephemeral:
        raise refuse(10008)
    return channel, message


def get(call: Call) -> Answer:
    """GET /channels/{channel_id}/messages/{message_id}."""
    channel, message = _public(call)
    call.world.require(channel, "READ_MESSAGE_HISTORY")
    return Answer(message_payload(call.world, message))


def edit(call: Call) -> Answer:
    """PATCH /channels/{channel_id}/messages/{message_id}."""
    world, body = call.world, call.record()
    channel, message = _public(call)
    if message.author is not world.bot:
        raise refuse(50005)
    if channel.thread is not None and channel.thread.archived:
        raise refuse(50083)
    if call.uploads and channel.type != DIRECT:
        world.require(channel, "ATTACH_FILES")
    check_sizes(call.uploads, call.size)
    draft = read_draft(body, call.uploads, Kind.EDIT, standing=world.board.standing(message))
    return Answer(message_payload(world, world.board.edit(message, draft)))


def delete(call: Call) -> Answer:
    """DELETE /channels/{channel_id}/messages/{message_id}."""
    channel, message = _public(call)
    if message.author is not call.world.bot:
        call.world.require(channel, "MANAGE_MESSAGES")
    call.world.board.delete(message)
    return Answer()


def bulk_delete(call: Call) -> Answer:
    """POST /channels/{channel_id}/messages/bulk-delete: 2 to 100 messages of the last 14 days."""
    world = call.world
    channel = world.channel(call.ident("channel_id"))
    world.require(channel, "MANAGE_MESSAGES")
    form = Form()
    listed = form.at("messages").listing(call.record().get("messages"), most=100, least=2)
    form.settle()
    found = [world.messages.get(read_snowflake(one) or 0) for one in listed]
    mine = [one for one in found if one is not None and one.channel_id == channel.id]
    if any(world.now() - one.timestamp > BULK_AGE for one in mine):
        form.at("messages").complain("BULK_DELETE_TOO_OLD", "A message is older than 14 days.")
        form.settle()
    for message in mine:
        world.board.delete(message)
    return Answer()


ROUTES: tuple[Route, ...] = (
    Route("POST", "/channels/{channel_id}/messages", create),
    Route("GET", "/channels/{channel_id}/messages", listing),
    Route("POST", "/channels/{channel_id}/messages/bulk-delete", bulk_delete),
    Route("GET", "/channels/{channel_id}/messages/{message_id}", get),
    Route("PATCH", "/channels/{channel_id}/messages/{message_id}", edit),
    Route("DELETE", "/channels/{channel_id}/messages/{message_id}", delete),
)
