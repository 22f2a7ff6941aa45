"""Implement the endpoints of the application, its commands, the guild and the gateway URL."""

from __future__ import annotations

from bot.playground.rest.http import ApiRequest, ApiResponse, Route
from bot.playground.serializers import channel_payload, guild_payload
from bot.playground.state.guild import Event
from bot.playground.state.models import Json
from bot.playground.validation.errors import api_error


def me(call: ApiRequest) -> ApiResponse:
    """GET /users/@me."""
    extra: Json = {"mfa_enabled": False, "locale": "en-US", "verified": True, "email": None}
    return ApiResponse(call.world.bot.payload() | extra)


def user(call: ApiRequest) -> ApiResponse:
    """GET /users/{user_id}."""
    return ApiResponse(call.world.user(call.path_id("user_id")).payload())


def application(call: ApiRequest) -> ApiResponse:
    """GET /oauth2/applications/@me."""
    world = call.world
    return ApiResponse(
        {
            "id": str(world.application_id),
            "name": world.bot.username,
            "icon": None,
            "description": "",
            "type": None,
            "bot_public": True,
            "bot_require_code_grant": False,
            "verify_key": f"{world.application_id:064x}",
            "flags": 0,
            "flags_new": "0",
            "owner": world.users[world.owner_id].payload(),
            "redirect_uris": [],
            "explicit_content_filter": 0,
            "team": None,
            "eligible_oauth2_scopes": [],
            "interactions_endpoint_url": None,
            "role_connections_verification_url": None,
            "approximate_guild_count": 1,
            "approximate_user_install_count": 0,
            "approximate_user_authorization_count": 0,
            "bot": world.bot.payload(),
        }
    )


def gateway(call: ApiRequest) -> ApiResponse:
    """GET /gateway."""
    return ApiResponse({"url": call.world.gateway_url})


def gateway_bot(call: ApiRequest) -> ApiResponse:
    """GET /gateway/bot."""
    return ApiResponse(
        {
            "url": call.world.gateway_url,
            "shards": 1,
            "session_start_limit": {
                "total": 1000,
                "remaining": 999,
                "reset_after": 14_400_000,
                "max_concurrency": 1,
            },
        }
    )


def _scope(call: ApiRequest) -> int | None:
    """Return the guild id of a command call, None for global commands. Raises ApiError 50001."""
    if call.path_id("application_id") != call.world.application_id:
        raise api_error(50001)
    if "guild_id" not in call.path_params:
        return None
    _own_guild(call)
    return call.world.guild_id


def _own_guild(call: ApiRequest) -> None:
    if call.path_id("guild_id") != call.world.guild_id:
        raise api_error(50001)


def list_commands(call: ApiRequest) -> ApiResponse:
    """GET .../commands."""
    return ApiResponse(call.world.commands.list_scope(_scope(call)))


def replace_commands(call: ApiRequest) -> ApiResponse:
    """PUT .../commands."""
    registered = call.world.commands.replace(_scope(call), call.body)
    call.world.emit(Event("COMMANDS_UPDATE"))
    return ApiResponse(registered)


def upsert_command(call: ApiRequest) -> ApiResponse:
    """POST .../commands; 201 for a new name, 200 for a known one."""
    command, new = call.world.commands.upsert(_scope(call), call.body)
    call.world.emit(Event("COMMANDS_UPDATE"))
    return ApiResponse(command, 201 if new else 200)


def get_command(call: ApiRequest) -> ApiResponse:
    """GET .../commands/{command_id}."""
    _scope(call)
    return ApiResponse(call.world.commands.find(call.path_id("command_id")))


def delete_command(call: ApiRequest) -> ApiResponse:
    """DELETE .../commands/{command_id}."""
    _scope(call)
    call.world.commands.delete(call.path_id("command_id"))
    call.world.emit(Event("COMMANDS_UPDATE"))
    return ApiResponse()


def guild(call: ApiRequest) -> ApiResponse:
    """GET /guilds/{guild_id}."""
    _own_guild(call)
    return ApiResponse(guild_payload(call.world))


def guild_channels(call: ApiRequest) -> ApiResponse:
    """GET /guilds/{guild_id}/channels."""
    _own_guild(call)
    return ApiResponse(
        [
            channel_payload(call.world, one)
            for one in call.world.channels.values()
            if one.guild_id == call.world.guild_id and not one.is_thread
        ]
    )


def member(call: ApiRequest) -> ApiResponse:
    """GET /guilds/{guild_id}/members/{user_id}."""
    _own_guild(call)
    found = call.world.members.get(call.path_id("user_id"))
    if found is None:
        raise api_error(10007)
    return ApiResponse(found.payload())


_GLOBAL = "/applications/{application_id}/commands"
_GUILD = "/applications/{application_id}/guilds/{guild_id}/commands"

ROUTES: tuple[Route, ...] = (
    Route("GET", "/users/@me", me),
    Route("GET", "/users/{user_id}", user),
    Route("GET", "/oauth2/applications/@me", application),
    Route("GET", "/gateway", gateway, token=False),
    Route("GET", "/gateway/bot", gateway_bot),
    *(
        route
        for base in (_GLOBAL, _GUILD)
        for route in (
            Route("GET", base, list_commands),
            Route("PUT", base, replace_commands),
            Route("POST", base, upsert_command),
            Route("GET", base + "/{command_id}", get_command),
            Route("DELETE", base + "/{command_id}", delete_command),
        )
    ),
    Route("GET", "/guilds/{guild_id}", guild),
    Route("GET", "/guilds/{guild_id}/channels", guild_channels),
    Route("GET", "/guilds/{guild_id}/members/{user_id}", member),
)
