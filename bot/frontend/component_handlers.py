"""Handlers of the buttons, selects and modals of job messages.

All state is in the custom id, so they work after a restart. Every interaction gets a response, and
permissions are checked on each interaction. A new job belongs to the member who used the button.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeAlias

import discord

from bot.domain.errors import ArtifactMissing, BackendError, DeliveryError, NotAllowed, RequestError
from bot.domain.events import MessageRef
from bot.domain.grid import alt_text
from bot.domain.job import Job, JobState
from bot.domain.request import Request
from bot.frontend import messages
from bot.frontend.cancelling import BACKEND_UNAVAILABLE
from bot.frontend.context import BotContext, get_client, get_context
from bot.frontend.custom_ids import (
    CUSTOM_ID_PATTERN,
    ComponentAction,
    CustomId,
    has_component,
    parse_selection,
)
from bot.frontend.delivery_methods import public_result_link
from bot.frontend.discord_errors import MessageNotFound, TooLarge, map_discord_errors, retry_unknown
from bot.frontend.edit_modal import build_edit_modal, source_link, used_by
from bot.frontend.first_response import answer_accepted, is_status_message
from bot.frontend.image_prompts import IMAGES_GONE, image_actions, image_path
from bot.frontend.job_lookup import (
    MESSAGE_NOT_FOUND,
    REMOVED,
    WRONG_MESSAGE,
    load_component_job,
    require_own_message,
)
from bot.frontend.message_content import FileUpload
from bot.frontend.messages import to_embed, to_view
from bot.frontend.permissions import actor_of
from bot.frontend.removed_pictures import are_pictures_gone, require_gone
from bot.frontend.responses import (
    PersistentComponent,
    defer,
    edit_deferred,
    open_modal,
    send_ephemeral,
    send_error,
    thinking_in_public,
)
from bot.frontend.result_embeds import (
    confirm_delete_components,
    details_message,
    format_star,
    image_selects,
)
from bot.frontend.result_files import (
    find_links,
    limit_recorder,
    upload_name,
    upload_within_limit,
)
from bot.frontend.result_removal import remove_with_evidence
from bot.frontend.status_embeds import job_message, posted_elsewhere_message
from bot.frontend.submission import (
    RequestFactory,
    require_shown_here,
    submit_request,
    submit_with_picture,
)
from bot.frontend.upload_limits import REQUEST_LIMIT
from bot.services.cancelling import cancel_job
from bot.services.delivery import is_erased

ItemType: TypeAlias = type[discord.ui.DynamicItem[Any]]
log = logging.getLogger(__name__)

_TRY_ELSEWHERE: Final = "Try again later, or in a direct message with `/show`."


async def selected_image(
    interaction: discord.Interaction[Any], target: CustomId, job: Job
) -> tuple[int, int] | None:
    """Return the row and column that a button or select option names.

    None if the option names rows: the member then gets a select of the images in these rows.
    Raises RequestError for an image that the result does not have.
    """
    data: Any = interaction.data or {}
    values = data.get("values") or ()
    if values:
        choice = parse_selection(str(values[0]))
    else:
        choice = ("cell", *target.numbers) if len(target.numbers) == 2 else None
    if choice is None:
        raise RequestError(
            "This menu is from an older version of the bot. Use /show to get a new one."
        )
    kind, first, second = choice
    if kind == "rows":
        what = "open" if target.verb is ComponentAction.OPEN else "upscale"
        rows = image_selects(job, target.verb, first, second)
        await send_ephemeral(interaction, f"Which image do you want to {what}?", controls=rows)
        return None
    if first not in job.fetched_rows or not 1 <= second <= job.request.samples:
        raise RequestError(f"There is no image {second} in row {first} of this result.")
    return first, second


async def open_image(interaction: discord.Interaction[Any], target: CustomId, job: Job) -> None:
    """Send the image privately, as large as Discord accepts it. Raises RequestError."""
    position = await selected_image(interaction, target, job)
    if position is None:
        return
    context = get_context(interaction)
    await defer(interaction, thinking=True)
    row, column = position
    seed = job.request.row_seed(row)
    text = f"Row {row}, image {column} · seed {seed}"
    rows = image_actions(context, job, row, column)

    async def make(limit: int) -> tuple[FileUpload, int]:
        path = await context.renditions.image(job, row, column, limit)
        name = upload_name(job, f"-row-{row:02}-img-{column:02}{path.suffix}")
        size = (await asyncio.to_thread(path.stat)).st_size
        return FileUpload(path, name, alt_text(job.request, row, column)), size

    async def post(upload: FileUpload) -> None:
        with map_discord_errors():
            await edit_deferred(interaction, text, controls=rows, uploads=[upload])

    place = interaction.guild_id or 0
    default = min(interaction.filesize_limit, REQUEST_LIMIT)
    limit = context.size_limits.limit(place, default, context.now())
    try:
        await upload_within_limit(limit, make, post, learn=limit_recorder(context, place))
    except ArtifactMissing as error:
        raise RequestError(IMAGES_GONE) from error
    except TooLarge:
        links = (await find_links(context, job)).rows
        link = next((link.url for link in links if link.row == row), None)
        way = f"Its row is [here]({link})." if link else _TRY_ELSEWHERE
        await edit_deferred(interaction, f"{text}\nDiscord does not accept this image here. {way}")


_MAX_THREAD_MESSAGES = 100


async def confirm_delete(interaction: discord.Interaction[Any], target: CustomId, job: Job) -> None:
    """Ask the member to confirm the deletion of this message. Raises NotAllowed."""
    require_delete_permission(interaction, job)
    if interaction.message is None:
        raise RequestError("This message cannot be found any more.")
    controls = confirm_delete_components(target.job_id, interaction.message.id)
    await send_ephemeral(
        interaction, "Delete this result and its rows from the channel?", controls=controls
    )


async def delete_result(interaction: discord.Interaction[Any], target: CustomId, job: Job) -> None:
    """Delete the message that ``target`` names, and its rows. Raises RequestError."""
    require_delete_permission(interaction, job)
    context = get_context(interaction)
    if interaction.channel_id is None or len(target.numbers) != 1:
        raise RequestError(MESSAGE_NOT_FOUND)
    message = MessageRef(interaction.channel_id, target.numbers[0])
    await defer(interaction)
    text = "Deleted."
    try:
        await require_own_message(interaction.client, context, job, message)
        if interaction.user.id != job.request.author.id:
            problem = await remove_with_evidence(interaction, job, "", message)
            await edit_deferred(interaction, problem or text)
            return
        async with context.locks.acquire(job.id):
            if message == job.result:
                await context.gallery.withdraw(job.id)
                await context.messages.complete_rows(job.id, "deleted by the author")
            await _remove_rows(interaction.client, context, job, message)
            await messages.delete(interaction.client, message)
    except MessageNotFound as error:
        if isinstance(error.__cause__, discord.Forbidden):
            raise RequestError(
                "I am not allowed to delete messages here. A moderator can delete it."
            ) from error
        text = "It was already deleted."
    except DeliveryError as error:
        raise RequestError("Discord did not delete it. Please try again in a minute.") from error
    await context.messages.record_deletion(job, message.message_id, interaction.user.id)
    log.info("a result was removed by %d", interaction.user.id, extra={"job": job.id})
    await edit_deferred(interaction, text)


def require_delete_permission(interaction: discord.Interaction[Any], job: Job) -> None:
    """Raise NotAllowed unless the member is the author or a moderator."""
    actor = actor_of(interaction, get_context(interaction).moderator_role)
    if actor.id != job.request.author.id and not actor.moderator:
        raise NotAllowed("Only the member who requested this, or a moderator, can delete it.")


async def _remove_rows(
    client: discord.Client, context: BotContext, job: Job, message: MessageRef
) -> None:
    """Delete the posted rows of a message; the empty thread stays."""
    first = await context.messages.thread(job.id)
    if first is None or first.channel_id != message.message_id or client.user is None:
        return
    thread = client.get_partial_messageable(first.channel_id)
    try:
        with map_discord_errors():
            async for posted in thread.history(limit=_MAX_THREAD_MESSAGES):
                if posted.author.id == client.user.id:
                    await posted.delete()
    except MessageNotFound as error:
        log.info("the rows are already deleted: %s", error, extra={"job": job.id})


Action: TypeAlias = Callable[[discord.Interaction[Any], CustomId, Job], Awaitable[None]]

OUTDATED_BUTTON: Final = (
    "This button is from another version of the bot and no longer works. "
    "Use /history or /show to get the job with new buttons."
)
OUTDATED_MODAL: Final = (
    "This form is from another version of the bot and was not submitted. Use /imagine."
)
_ERASED: Final = "The author erased this request, so it cannot be run again."
_NO_RESULT: Final = "This job has no images to choose from."
_NO_UPSCALING: Final = "Upscaling is not set up on this bot."


class JobComponent(PersistentComponent, template=CUSTOM_ID_PATTERN):
    """Any button or select of a job message, recognised by its custom id."""

    async def handle(self, interaction: discord.Interaction[Any]) -> None:
        """Run the action that the custom id names."""
        target = CustomId.parse(self.custom_id)
        if target is None:
            raise RequestError(OUTDATED_BUTTON)
        job = await load_component_job(interaction, target, self.custom_id)
        if target.verb in _SHOWING and await get_context(interaction).messages.removals(job.id):
            raise RequestError(REMOVED)  # a copy that /show has posted elsewhere
        if target.verb in _JOB_CREATING and _is_double_click(interaction):
            await defer(interaction)
            return
        await HANDLERS[target.verb](interaction, target, job)


DYNAMIC_ITEMS: Final = (JobComponent,)
"""What the client registers once, so that components of every message are handled."""


async def refuse_unknown(interaction: discord.Interaction[Any], items: Iterable[ItemType]) -> None:
    """Respond to a component or modal that none of ``items`` handles; ignore all others.

    Called for every interaction that was not a modal of this bot.
    """
    data: Any = interaction.data or {}
    custom_id = str(data.get("custom_id"))
    if interaction.type is discord.InteractionType.modal_submit:
        await send_error(interaction, RequestError(OUTDATED_MODAL))
    elif interaction.type is discord.InteractionType.component:
        message = interaction.message
        if message is None or not has_component(message, custom_id):
            # The library looks for the control on the message, too, and does nothing without it.
            await send_error(interaction, RequestError(WRONG_MESSAGE))
        elif not any(item.__discord_ui_compiled_template__.fullmatch(custom_id) for item in items):
            await send_error(interaction, RequestError(OUTDATED_BUTTON))


async def _cancel(interaction: discord.Interaction[Any], target: CustomId, job: Job) -> None:
    context = get_context(interaction)
    actor = actor_of(interaction, context.moderator_role)
    await defer(interaction)
    had_ended = job.state.terminal
    try:
        job = await cancel_job(context.queue, target.job_id, actor, at=context.now())
    except BackendError as error:
        raise RequestError(BACKEND_UNAVAILABLE) from error
    if job.state.terminal:
        await _update_other_message(interaction, context, job, had_ended=had_ended)


async def _update_other_message(
    interaction: discord.Interaction[Any], context: BotContext, job: Job, *, had_ended: bool
) -> None:
    """Show the end of a job on the message whose Cancel button was used.

    ``had_ended``: the job had ended before, so its status message was outdated.
    """
    status = await context.messages.status_message(job.id)
    message = interaction.message
    if message is None or (status is not None and status.message.message_id == message.id):
        if had_ended:
            context.status_found(job)
    elif is_status_message(interaction.client, message, job):
        # Another message, such as a response of /show: edit it with this interaction's token.
        ended = job_message(job, context.now())
        if link := public_result_link(job):
            ended = posted_elsewhere_message(job, link)
        edit = interaction.edit_original_response
        edited = await retry_unknown(
            lambda: edit(embed=to_embed(ended), view=to_view(ended.controls)), context.sleep
        )
        log.info("another message of the job was edited: %s", edited.outcome, extra={"job": job.id})


async def _reroll(interaction: discord.Interaction[Any], target: CustomId, job: Job) -> None:
    request = _require_request(job)
    note = f"-# Re-rolled by <@{interaction.user.id}>{source_link(interaction)}"
    accepted = await submit_request(
        interaction, lambda factory: factory.repeat(request).reroll(factory.seed)
    )
    await answer_accepted(interaction, accepted, note=note)


async def _retry(interaction: discord.Interaction[Any], target: CustomId, job: Job) -> None:
    request = _require_request(job)
    if job.state not in (JobState.FAILED, JobState.CANCELLED):
        await require_gone(get_context(interaction), job)

    def make(factory: RequestFactory) -> Request:
        if request.origin is not None:
            return replace(request, author=factory.author, place=factory.place)
        return factory.repeat(request)

    note = f"-# Run again by <@{interaction.user.id}>{source_link(interaction)}"
    await answer_accepted(interaction, await submit_request(interaction, make), note=note)


async def _edit(interaction: discord.Interaction[Any], target: CustomId, job: Job) -> None:
    _require_request(job)
    limits = get_context(interaction).limits
    await open_modal(interaction, build_edit_modal(job, limits))


async def _open(interaction: discord.Interaction[Any], target: CustomId, job: Job) -> None:
    _check_has_result(job)
    require_shown_here(interaction, job)
    await open_image(interaction, target, job)


async def _upscale(interaction: discord.Interaction[Any], target: CustomId, job: Job) -> None:
    request = _require_request(job)
    _check_has_result(job)
    if not get_context(interaction).upscaling:
        raise RequestError(_NO_UPSCALING)
    if request.origin is not None:
        raise RequestError("This image is already upscaled.")
    if await are_pictures_gone(get_context(interaction), job):
        raise RequestError(IMAGES_GONE)
    position = await selected_image(interaction, target, job)
    if position is None:
        return
    row, column = position
    note = f"-# Row {row}, image {column}, upscaled by {used_by(interaction, job)}"
    accepted = await submit_request(
        interaction, lambda factory: factory.upscale(request, job.id, row, column)
    )
    await answer_accepted(interaction, accepted, note=note)


async def _vary(interaction: discord.Interaction[Any], target: CustomId, job: Job) -> None:
    request = _require_request(job)
    _check_has_result(job)
    require_shown_here(interaction, job)
    context = get_context(interaction)
    position = await selected_image(interaction, target, job)
    if position is None:
        return
    row, column = position
    note = f"-# Row {row}, image {column}, varied by {used_by(interaction, job)}"
    subtle = target.verb is ComponentAction.VARY_SUBTLE
    strength = context.vary_subtle if subtle else context.vary_strong
    async with thinking_in_public(interaction):
        accepted = await submit_with_picture(
            interaction,
            lambda: image_path(context, job, row, column),
            lambda factory, picture: factory.vary(request, picture),
            strength,
        )
    await answer_accepted(interaction, accepted, note=note)


async def _details(interaction: discord.Interaction[Any], target: CustomId, job: Job) -> None:
    context = get_context(interaction)
    credits = await context.queue.jobs.credits(job.id)
    engine = context.limits.engine_for(job.request.model)
    links = None if context.links is None else (await find_links(context, job)).rows
    await send_ephemeral(interaction, "", embed=details_message(job, credits, engine, links))


async def _star(interaction: discord.Interaction[Any], target: CustomId, job: Job) -> None:
    """Star a result, or take the star back, and say so privately."""
    context = get_context(interaction)
    # On every copy of a result, the button gives and takes the same star.
    if context.double_clicks.is_repeat(interaction.user.id, 0, str(target), interaction.created_at):
        await defer(interaction)
        return
    by = actor_of(interaction, context.moderator_role)
    outcome = await context.gallery.toggle_star(job.id, by)
    if outcome.goes_to:
        get_client(interaction).gallery_poster.wake()
    own = by.id == job.request.author.id and interaction.guild_id is not None
    await send_ephemeral(interaction, format_star(outcome, own=own))


def _is_double_click(interaction: discord.Interaction[Any]) -> bool:
    data: Any = interaction.data or {}
    if data.get("values"):
        return False  # nobody opens a menu and chooses the same twice within a moment
    message = interaction.message
    return get_context(interaction).double_clicks.is_repeat(
        interaction.user.id,
        message.id if message else 0,
        str(data.get("custom_id")),
        interaction.created_at,
    )


def _require_request(job: Job) -> Request:
    if is_erased(job):
        raise RequestError(_ERASED)
    return job.request


def _check_has_result(job: Job) -> None:
    if not job.fetched_rows or job.is_withheld:
        raise RequestError(_NO_RESULT)


_VARYING: Final = frozenset({ComponentAction.VARY_SUBTLE, ComponentAction.VARY_STRONG})
_SHOWING: Final = frozenset({ComponentAction.OPEN, ComponentAction.UPSCALE, *_VARYING})
_JOB_CREATING: Final = frozenset(
    {ComponentAction.REROLL, ComponentAction.RETRY, ComponentAction.UPSCALE, *_VARYING}
)

HANDLERS: Final[Mapping[ComponentAction, Action]] = {
    ComponentAction.CANCEL: _cancel,
    ComponentAction.REROLL: _reroll,
    ComponentAction.EDIT: _edit,
    ComponentAction.OPEN: _open,
    ComponentAction.UPSCALE: _upscale,
    ComponentAction.ASK_DELETE: confirm_delete,
    ComponentAction.CONFIRM_DELETE: delete_result,
    ComponentAction.DETAILS: _details,
    ComponentAction.RETRY: _retry,
    ComponentAction.STAR: _star,
    ComponentAction.VARY_SUBTLE: _vary,
    ComponentAction.VARY_STRONG: _vary,
}
