"""Implement the endpoints of messages in channels, with the bot's permissions."""

from __future__ import annotations

from datetime import timedelta

from bot.playground.rest.channels import send_permission
from bot.playground.rest.http import ApiRequest, ApiResponse, Route
from bot.playground.serializers import message_payload
from bot.playground.state.models import DIRECT, FORUM, Channel, Json, Message
from bot.playground.validation.errors import ErrorCollector, api_error, parse_snowflake
from bot.playground.validation.message_body import BodyKind, parse_message_body, validate_sizes

MAX_BULK_DELETE_AGE = timedelta(days=14)


def create(call: ApiRequest) -> ApiResponse:
    """POST /channels/{channel_id}/messages."""
    world, body = call.world, call.json_object()
    channel = world.channel(call.path_id("channel_id"))
    if channel.type == FORUM:
        raise api_error(40058)
    _require_send_permission(call, channel, body)
    validate_sizes(call.uploads, call.size)
    payload = parse_message_body(body, call.uploads, BodyKind.CHANNEL)
    if payload.reference_id is not None:
        world.require(channel, "READ_MESSAGE_HISTORY")
    return ApiResponse(
        message_payload(world, world.message_board.post(channel, world.bot, payload))
    )


def _require_send_permission(call: ApiRequest, channel: Channel, body: Json) -> None:
    if channel.type == DIRECT:
        if not all(user.takes_dms for user in channel.recipients):
            raise api_error(50007)
        return
    if channel.thread is not None and channel.thread.locked:
        raise api_error(50083)
    needed = [send_permission(channel)]
    if call.uploads:
        needed.append("ATTACH_FILES")
    if body.get("embeds"):
        needed.append("EMBED_LINKS")
    call.world.require(channel, *needed)


def list_messages(call: ApiRequest) -> ApiResponse:
    """GET /channels/{channel_id}/messages, newest first, ``limit`` 1 to 100."""
    world = call.world
    channel = world.channel(call.path_id("channel_id"))
    world.require(channel)
    form = ErrorCollector()
    asked = {
        key: parse_snowflake(call.query.get(key, default))
        for key, default in (("limit", "50"), ("before", "0"), ("after", "0"))
    }
    form.at("limit").check_integer(asked["limit"], minimum=1, maximum=100)
    for key in ("before", "after"):
        if asked[key] is None:
            form.at(key).add_error("NUMBER_TYPE_COERCE", "A value is not snowflake.")
    form.raise_errors()
    limit, before, after = (asked[key] or 0 for key in ("limit", "before", "after"))
    found = [
        message
        for message in world.messages_in(channel)
        if not message.ephemeral
        and (not before or message.id < before)
        and (not after or message.id > after)
    ]
    chosen = found[:limit] if after else found[-limit:]
    return ApiResponse([message_payload(world, message) for message in reversed(chosen)])


def _public_message(call: ApiRequest) -> tuple[Channel, Message]:
    """Return channel and message of a call. Raises ApiError 10008 for ephemeral messages."""
    channel = call.world.channel(call.path_id("channel_id"))
    call.world.require(channel)
    message = call.world.message(call.path_id("message_id"), channel)
    if message.ephemeral:
        raise api_error(10008)
    return channel, message


def get(call: ApiRequest) -> ApiResponse:
    """GET /channels/{channel_id}/messages/{message_id}."""
    channel, message = _public_message(call)
    call.world.require(channel, "READ_MESSAGE_HISTORY")
    return ApiResponse(message_payload(call.world, message))


def edit(call: ApiRequest) -> ApiResponse:
    """PATCH /channels/{channel_id}/messages/{message_id}."""
    world, body = call.world, call.json_object()
    channel, message = _public_message(call)
    if message.author is not world.bot:
        raise api_error(50005)
    if channel.thread is not None and channel.thread.archived:
        raise api_error(50083)
    if call.uploads and channel.type != DIRECT:
        world.require(channel, "ATTACH_FILES")
    validate_sizes(call.uploads, call.size)
    payload = parse_message_body(
        body, call.uploads, BodyKind.EDIT, existing=world.message_board.existing(message)
    )
    return ApiResponse(message_payload(world, world.message_board.edit(message, payload)))


def delete(call: ApiRequest) -> ApiResponse:
    """DELETE /channels/{channel_id}/messages/{message_id}."""
    channel, message = _public_message(call)
    if message.author is not call.world.bot:
        call.world.require(channel, "MANAGE_MESSAGES")
    call.world.message_board.delete(message)
    return ApiResponse()


def bulk_delete(call: ApiRequest) -> ApiResponse:
    """POST /channels/{channel_id}/messages/bulk-delete: 2 to 100 messages of the last 14 days."""
    world = call.world
    channel = world.channel(call.path_id("channel_id"))
    world.require(channel, "MANAGE_MESSAGES")
    form = ErrorCollector()
    listed = form.at("messages").check_list(
        call.json_object().get("messages"), max_items=100, min_items=2
    )
    form.raise_errors()
    found = [world.messages.get(parse_snowflake(one) or 0) for one in listed]
    mine = [one for one in found if one is not None and one.channel_id == channel.id]
    if any(world.now() - one.timestamp > MAX_BULK_DELETE_AGE for one in mine):
        form.at("messages").add_error("BULK_DELETE_TOO_OLD", "A message is older than 14 days.")
        form.raise_errors()
    for message in mine:
        world.message_board.delete(message)
    return ApiResponse()


ROUTES: tuple[Route, ...] = (
    Route("POST", "/channels/{channel_id}/messages", create),
    Route("GET", "/channels/{channel_id}/messages", list_messages),
    Route("POST", "/channels/{channel_id}/messages/bulk-delete", bulk_delete),
    Route("GET", "/channels/{channel_id}/messages/{message_id}", get),
    Route("PATCH", "/channels/{channel_id}/messages/{message_id}", edit),
    Route("DELETE", "/channels/{channel_id}/messages/{message_id}", delete),
)
