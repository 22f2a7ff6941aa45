"""REST calls by an interaction's token: the first response, its message, and follow-ups.

They carry no Authorization; the token in the path is all there is.
"""

from __future__ import annotations

from bot.playground.drafts import check_sizes
from bot.playground.entities import Json
from bot.playground.posts import DEFER, REPLY, UPDATE, Interaction, Message
from bot.playground.render import message_payload
from bot.playground.wire import Answer, Call, Route


def respond(call: Call) -> Answer:
    """POST /interactions/{id}/{token}/callback; 204 unless ``with_response`` is asked for."""
    world = call.world
    check_sizes(call.uploads, call.size)
    interaction_id = call.ident("interaction_id")
    message = world.desk.respond(
        interaction_id, call.ids["interaction_token"], call.record(), call.uploads
    )
    if call.query.get("with_response", "").lower() not in ("1", "true"):
        return Answer()
    return Answer(callback_payload(call, world.desk.find(interaction_id), message))


def callback_payload(call: Call, interaction: Interaction, message: Message | None) -> Json:
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


def _interaction(call: Call) -> Interaction:
    return call.world.desk.by_token(call.ident("webhook_id"), call.ids["webhook_token"])


def follow_up(call: Call) -> Answer:
    """POST /webhooks/{application}/{token}; without ``wait`` the answer is an empty 204."""
    interaction = _interaction(call)
    check_sizes(call.uploads, call.size)
    message = call.world.desk.follow_up(interaction, call.record(), call.uploads)
    if call.query.get("wait", "").lower() not in ("1", "true"):
        return Answer()
    return Answer(message_payload(call.world, message))


def _answer(call: Call) -> Message:
    return call.world.desk.answer(_interaction(call), call.ids.get("message_id", "@original"))


def get(call: Call) -> Answer:
    """GET .../messages/@original or by id."""
    return Answer(message_payload(call.world, _answer(call)))


def edit(call: Call) -> Answer:
    """PATCH .../messages/@original or by id."""
    message = _answer(call)
    check_sizes(call.uploads, call.size)
    edited = call.world.desk.edit(message, call.record(), call.uploads)
    return Answer(message_payload(call.world, edited))


def delete(call: Call) -> Answer:
    """DELETE .../messages/@original or by id."""
    call.world.board.delete(_answer(call))
    return Answer()


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
