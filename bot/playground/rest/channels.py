"""Implement the endpoints of channels, threads, forum posts, direct messages and typing."""

from __future__ import annotations

from bot.playground.rest.http import ApiRequest, ApiResponse, Route
from bot.playground.serializers import channel_payload, message_payload
from bot.playground.state.guild import Event
from bot.playground.state.models import (
    DIRECT,
    FORUM,
    PRIVATE_THREAD,
    PUBLIC_THREAD,
    TEXT,
    Channel,
    Json,
)
from bot.playground.validation.errors import ErrorCollector, api_error, parse_snowflake
from bot.playground.validation.message_body import BodyKind, parse_message_body, validate_sizes

ARCHIVE_MINUTES = (60, 1440, 4320, 10080)


def get_channel(call: ApiRequest) -> ApiResponse:
    """GET /channels/{channel_id}."""
    channel = call.world.channel(call.path_id("channel_id"))
    call.world.require(channel)
    return ApiResponse(channel_payload(call.world, channel))


def edit_channel(call: ApiRequest) -> ApiResponse:
    """PATCH /channels/{channel_id}, only threads: name, archived, locked, auto archive."""
    world, body = call.world, call.json_object()
    channel = world.channel(call.path_id("channel_id"))
    if channel.thread is None:
        raise api_error(50024)
    if channel.thread.owner_id != world.application_id:
        world.require(channel, "MANAGE_THREADS")
    form = ErrorCollector()
    if "name" in body and form.at("name").check_string(body["name"], max_chars=100, min_chars=1):
        channel.name = body["name"]
    minutes = _archive_minutes(form, body, channel.thread.auto_archive)
    form.raise_errors()
    channel.thread.auto_archive = minutes
    channel.thread.archived = bool(body.get("archived", channel.thread.archived))
    channel.thread.locked = bool(body.get("locked", channel.thread.locked))
    world.emit(Event("THREAD_UPDATE", channel=channel))
    return ApiResponse(channel_payload(world, channel))


def delete_channel(call: ApiRequest) -> ApiResponse:
    """DELETE /channels/{channel_id}."""
    channel = call.world.channel(call.path_id("channel_id"))
    call.world.require(channel, "MANAGE_THREADS" if channel.is_thread else "MANAGE_CHANNELS")
    payload = channel_payload(call.world, channel)
    call.world.delete_channel(channel)
    return ApiResponse(payload)


def typing(call: ApiRequest) -> ApiResponse:
    """POST /channels/{channel_id}/typing."""
    world = call.world
    channel = world.channel(call.path_id("channel_id"))
    world.require(channel, send_permission(channel))
    world.emit(Event("TYPING", {"user_id": str(world.application_id)}, channel=channel))
    return ApiResponse()


def thread_from_message(call: ApiRequest) -> ApiResponse:
    """POST /channels/{channel_id}/messages/{message_id}/threads."""
    world, body = call.world, call.json_object()
    parent = world.channel(call.path_id("channel_id"))
    world.require(parent, "CREATE_PUBLIC_THREADS")
    if parent.type != TEXT:
        raise api_error(50024)
    message = world.message(call.path_id("message_id"), parent)
    if message.ephemeral:
        raise api_error(10008)
    name, minutes = _thread_fields(body)
    thread = world.message_board.open_thread(
        parent, world.bot, name, auto_archive=minutes, message=message
    )
    return ApiResponse(channel_payload(world, thread), 201)


def thread(call: ApiRequest) -> ApiResponse:
    """POST /channels/{channel_id}/threads: a thread without a message, or a forum post."""
    world, body = call.world, call.json_object()
    parent = world.channel(call.path_id("channel_id"))
    if parent.type == FORUM:
        return _forum_post(call, parent, body)
    if parent.type != TEXT:
        raise api_error(50024)
    # Discord's default type is a private thread.
    kind = body.get("type") or PRIVATE_THREAD
    name, minutes = _thread_fields(body)
    if kind not in (PUBLIC_THREAD, PRIVATE_THREAD):
        raise api_error(50024)
    public = kind == PUBLIC_THREAD
    world.require(parent, "CREATE_PUBLIC_THREADS" if public else "CREATE_PRIVATE_THREADS")
    made = world.message_board.open_thread(parent, world.bot, name, kind=kind, auto_archive=minutes)
    return ApiResponse(channel_payload(world, made), 201)


def _forum_post(call: ApiRequest, parent: Channel, body: Json) -> ApiResponse:
    world = call.world
    world.require(parent, "SEND_MESSAGES")
    validate_sizes(call.uploads, call.size)
    name, minutes = _thread_fields(body)
    form = ErrorCollector()
    inner = form.at("message").check_object(body.get("message"))
    form.raise_errors()
    payload = parse_message_body(inner, call.uploads, BodyKind.CHANNEL, form=form.at("message"))
    made = world.message_board.open_thread(parent, world.bot, name, auto_archive=minutes)
    message = world.message_board.post(made, world.bot, payload)
    thread = channel_payload(world, made) | {"message": message_payload(world, message)}
    return ApiResponse(thread, 201)


def _thread_fields(body: Json) -> tuple[str, int]:
    form = ErrorCollector()
    form.at("name").check_string(body.get("name"), max_chars=100, min_chars=1)
    minutes = _archive_minutes(form, body, 1440)
    form.raise_errors()
    return str(body["name"]), minutes


def _archive_minutes(form: ErrorCollector, body: Json, default: int) -> int:
    minutes = body.get("auto_archive_duration")
    if minutes is None:
        return default
    if not isinstance(minutes, int) or minutes not in ARCHIVE_MINUTES:
        form.at("auto_archive_duration").add_error(
            "BASE_TYPE_CHOICES", f"Value must be one of {ARCHIVE_MINUTES}."
        )
        return default
    return minutes


def direct_channel(call: ApiRequest) -> ApiResponse:
    """POST /users/@me/channels."""
    recipient = parse_snowflake(call.json_object().get("recipient_id"))
    user = call.world.users.get(recipient or 0)
    if user is None:
        raise api_error(10013)
    if user.bot:
        raise api_error(50007)
    return ApiResponse(channel_payload(call.world, call.world.direct_channel(user)))


def send_permission(channel: Channel) -> str:
    """Return the name of the permission that sending to a channel needs."""
    if channel.type == DIRECT:
        return "SEND_MESSAGES"
    return "SEND_MESSAGES_IN_THREADS" if channel.is_thread else "SEND_MESSAGES"


ROUTES: tuple[Route, ...] = (
    Route("GET", "/channels/{channel_id}", get_channel),
    Route("PATCH", "/channels/{channel_id}", edit_channel),
    Route("DELETE", "/channels/{channel_id}", delete_channel),
    Route("POST", "/channels/{channel_id}/typing", typing),
    Route("POST", "/channels/{channel_id}/messages/{message_id}/threads", thread_from_message),
    Route("POST", "/channels/{channel_id}/threads", thread),
    Route("POST", "/users/@me/channels", direct_channel),
)
