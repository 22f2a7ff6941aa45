"""Implement the endpoints of interactions: the first response, its message, and follow-ups.

They need no Authorization header; the token in the path is enough.
"""

from __future__ import annotations

from bot.playground.rest.http import ApiRequest, ApiResponse, Route
from bot.playground.serializers import message_payload
from bot.playground.state.models import DEFER, REPLY, UPDATE, Interaction, Json, Message
from bot.playground.validation.message_body import validate_sizes


def respond(call: ApiRequest) -> ApiResponse:
    """POST /interactions/{id}/{token}/callback; 204 unless ``with_response`` is set."""
    world = call.world
    validate_sizes(call.uploads, call.size)
    interaction_id = call.path_id("interaction_id")
    message = world.interactions.respond(
        interaction_id, call.path_params["interaction_token"], call.json_object(), call.uploads
    )
    if call.query.get("with_response", "").lower() not in ("1", "true"):
        return ApiResponse()
    return ApiResponse(callback_payload(call, world.interactions.find(interaction_id), message))


def callback_payload(call: ApiRequest, interaction: Interaction, message: Message | None) -> Json:
    """Render ``InteractionCallbackResponse``."""
    about: Json = {
        "id": str(interaction.id),
        "type": interaction.kind,
        "channel_id": str(interaction.channel_id),
    }
    if interaction.guild_id is not None:
        about["guild_id"] = str(interaction.guild_id)
    if message is None:
        return {"interaction": about}
    about["response_message_id"] = str(message.id)
    about["response_message_loading"] = message.loading
    about["response_message_ephemeral"] = message.ephemeral
    body: Json = {"interaction": about}
    if interaction.callback != DEFER:
        kind = UPDATE if interaction.callback == UPDATE else REPLY
        body["resource"] = {"type": kind, "message": message_payload(call.world, message)}
    return body


def _interaction(call: ApiRequest) -> Interaction:
    return call.world.interactions.by_token(
        call.path_id("webhook_id"), call.path_params["webhook_token"]
    )


def follow_up(call: ApiRequest) -> ApiResponse:
    """POST /webhooks/{application}/{token}; an empty 204 unless ``wait`` is set."""
    interaction = _interaction(call)
    validate_sizes(call.uploads, call.size)
    message = call.world.interactions.follow_up(interaction, call.json_object(), call.uploads)
    if call.query.get("wait", "").lower() not in ("1", "true"):
        return ApiResponse()
    return ApiResponse(message_payload(call.world, message))


def _response_message(call: ApiRequest) -> Message:
    return call.world.interactions.response_message(
        _interaction(call), call.path_params.get("message_id", "@original")
    )


def get(call: ApiRequest) -> ApiResponse:
    """GET .../messages/@original or by id."""
    return ApiResponse(message_payload(call.world, _response_message(call)))


def edit(call: ApiRequest) -> ApiResponse:
    """PATCH .../messages/@original or by id."""
    message = _response_message(call)
    validate_sizes(call.uploads, call.size)
    edited = call.world.interactions.edit(message, call.json_object(), call.uploads)
    return ApiResponse(message_payload(call.world, edited))


def delete(call: ApiRequest) -> ApiResponse:
    """DELETE .../messages/@original or by id."""
    call.world.message_board.delete(_response_message(call))
    return ApiResponse()


_HOOK = "/webhooks/{webhook_id}/{webhook_token}"

ROUTES: tuple[Route, ...] = (
    Route(
        "POST",
        "/interactions/{interaction_id}/{interaction_token}/callback",
        respond,
        token=False,
    ),
    Route("POST", _HOOK, follow_up, token=False),
    *(
        Route(method, f"{_HOOK}/messages/{which}", handler, token=False)
        for which in ("@original", "{message_id}")
        for method, handler in (("GET", get), ("PATCH", edit), ("DELETE", delete))
    ),
)
