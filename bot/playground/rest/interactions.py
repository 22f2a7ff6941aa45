"""REST calls by an interaction's token: the first response, its message, and follow-ups.

They carry no Authorization; the token in the path is all there is.
"""

from __future__ import annotations

from bot.playground.rest.http import ApiRequest, ApiResponse, Route
from bot.playground.serializers import message_payload
from bot.playground.state.models import DEFER, REPLY, UPDATE, Interaction, Json, Message
from bot.playground.validation.message_body import validate_sizes


def respond(call: ApiRequest) -> ApiResponse:
    """POST /interactions/{id}/{token}/callback; 204 unless ``with_response`` is asked for."""
    world = call.world
    validate_sizes(call.uploads, call.size)
    interaction_id = call.ident("interaction_id")
    message = world.interactions.respond(
        interaction_id, call.ids["interaction_token"], call.record(), call.uploads
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
    return call.world.interactions.by_token(call.ident("webhook_id"), call.ids["webhook_token"])


def follow_up(call: ApiRequest) -> ApiResponse:
    """POST /webhooks/{application}/{token}; without ``wait`` the answer is an empty 204."""
    interaction = _interaction(call)
    validate_sizes(call.uploads, call.size)
    message = call.world.interactions.follow_up(interaction, call.record(), call.uploads)
    if call.query.get("wait", "").lower() not in ("1", "true"):
        return ApiResponse()
    return ApiResponse(message_payload(call.world, message))


def _answer(call: ApiRequest) -> Message:
    return call.world.interactions.answer(
        _interaction(call), call.ids.get("message_id", "@original")
    )


def get(call: ApiRequest) -> ApiResponse:
    """GET .../messages/@original or by id."""
    return ApiResponse(message_payload(call.world, _answer(call)))


def edit(call: ApiRequest) -> ApiResponse:
    """PATCH .../messages/@original or by id."""
    message = _answer(call)
    validate_sizes(call.uploads, call.size)
    edited = call.world.interactions.edit(message, call.record(), call.uploads)
    return ApiResponse(message_payload(call.world, edited))


def delete(call: ApiRequest) -> ApiResponse:
    """DELETE .../messages/@original or by id."""
    call.world.message_board.delete(_answer(call))
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
