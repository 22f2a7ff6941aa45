"""What the buttons and menus of a card do. They carry their state, so they outlive the process.

Each press is answered, whatever happens; each is a press of its own, by its own member, charged to
that member. Who may do what is asked here again, never left to who can see a button.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, Self, TypeAlias

import discord

from bot.domain.errors import ArtifactMissing, BackendError, DeliveryError, NotAllowed, RequestError
from bot.domain.events import MessageRef
from bot.domain.grid import alt_text
from bot.domain.job import Job, JobState
from bot.domain.request import Request
from bot.frontend import messages
from bot.frontend.components import (
    CUSTOM_ID_PATTERN,
    ComponentAction,
    CustomId,
    confirm_delete_components,
    custom_id,
    image_selects,
    parse_selection,
    public_links,
)
from bot.frontend.context import BotContext, get_context
from bot.frontend.delivery import DIRECT
from bot.frontend.edit_modal import build_edit_modal, source_link
from bot.frontend.embeds import details_message, job_message, posted_elsewhere
from bot.frontend.first_response import is_card
from bot.frontend.formatting import jump_link, short_id
from bot.frontend.messages import (
    ActionRow,
    ButtonSpec,
    FileUpload,
    MessageNotFound,
    TooLarge,
    map_discord_errors,
    to_embed,
    to_view,
)
from bot.frontend.permissions import actor_of
from bot.frontend.press_checks import FOREIGN, NO_MESSAGE, carries, check_removable, pressed_job
from bot.frontend.response_outcomes import insist
from bot.frontend.responses import defer, edit_deferred, open_form, send_ephemeral, send_error
from bot.frontend.result_files import REQUEST_LIMIT, learning
from bot.frontend.submission import RequestFactory, submit_request
from bot.frontend.upload_limits import upload_within_limit
from bot.services.delivery import is_erased
from bot.services.queue import limit_waits

ItemType: TypeAlias = type[discord.ui.DynamicItem[Any]]
log = logging.getLogger(__name__)

_NO_FILES: Final = "Try again later, or in a direct message with `/show`."
_AWAY: Final = "The pictures of this job are not stored any more."


async def selected_image(
    interaction: discord.Interaction[Any], press: CustomId, job: Job
) -> tuple[int, int] | None:
    """The row and column that a button names or a menu's choice means.

    None if the choice was of rows: then the member was shown their pictures to choose from.
    Raises RequestError for a picture that the result does not have.
    """
    data: Any = interaction.data or {}
    values = data.get("values") or ()
    if values:
        choice = parse_selection(str(values[0]))
    else:
        choice = ("cell", *press.numbers) if len(press.numbers) == 2 else None
    if choice is None:
        raise RequestError("This menu is from an older version. Use /show to get a fresh one.")
    kind, first, second = choice
    if kind == "rows":
        what = "open" if press.verb is ComponentAction.OPEN else "upscale"
        rows = image_selects(job, press.verb, first, second)
        await send_ephemeral(interaction, f"Which image shall I {what}?", controls=rows)
        return None
    if first not in job.fetched_rows or not 1 <= second <= job.request.samples:
        raise RequestError(f"There is no image {second} in row {first} of this result.")
    return first, second


async def open_image(interaction: discord.Interaction[Any], press: CustomId, job: Job) -> None:
    """Show the picture privately, as large as Discord takes it. Raises RequestError."""
    cell = await selected_image(interaction, press, job)
    if cell is None:
        return
    context = get_context(interaction)
    await defer(interaction, thinking=True)
    row, column = cell
    seed = job.request.row_seed(row)
    text = f"Row {row}, image {column} · seed {seed}"
    rows: tuple[ActionRow, ...] = ()
    if context.upscaling and job.request.origin is None:
        rows = ((ButtonSpec("Upscale", custom_id(ComponentAction.UPSCALE, job, row, column)),),)

    async def make(limit: int) -> tuple[FileUpload, int]:
        path = await context.renditions.image(job, row, column, limit)
        name = f"gridbrush-{short_id(job.id)}-row-{row:02}-img-{column:02}{path.suffix}"
        size = (await asyncio.to_thread(path.stat)).st_size
        return FileUpload(path, name, alt_text(job.request, row, column)), size

    async def post(upload: FileUpload) -> None:
        with map_discord_errors():
            await edit_deferred(interaction, text, controls=rows, uploads=[upload])

    place = interaction.guild_id or 0
    believed = min(interaction.filesize_limit, REQUEST_LIMIT)
    limit = context.sizes.limit(place, believed, context.now())
    try:
        await upload_within_limit(limit, make, post, learn=learning(context, place))
    except ArtifactMissing as error:
        raise RequestError(_AWAY) from error
    except TooLarge:
        links = (
            public_links(job, plain=context.rows == "links")
            if context.rows != "attachments"
            else ()
        )
        link = next((link.url for link in links if link.row == row), None)
        way = f"Its row is [here]({link})." if link else _NO_FILES
        await edit_deferred(interaction, f"{text}\nDiscord does not take this picture here. {way}")


_MOST_IN_THREAD = 100


async def confirm_delete(interaction: discord.Interaction[Any], press: CustomId, job: Job) -> None:
    """Ask whether the message that was pressed shall go. Raises NotAllowed."""
    require_delete_permission(interaction, job)
    if interaction.message is None:
        raise RequestError("That message cannot be seen any more.")
    controls = confirm_delete_components(press.job_id, interaction.message.id)
    await send_ephemeral(
        interaction, "Delete this picture and its rows from the channel?", controls=controls
    )


async def delete_result(interaction: discord.Interaction[Any], press: CustomId, job: Job) -> None:
    """Delete the message that ``press`` names, and the rows below it. Raises RequestError."""
    require_delete_permission(interaction, job)
    context = get_context(interaction)
    if interaction.channel_id is None or len(press.numbers) != 1:
        raise RequestError(NO_MESSAGE)
    message = MessageRef(interaction.channel_id, press.numbers[0])
    await defer(interaction)
    text = "Deleted."
    try:
        await check_removable(interaction.client, context, job, message)
        await _remove_rows(interaction.client, context, job, message)
        await messages.delete(interaction.client, message)
    except MessageNotFound as error:
        if isinstance(error.__cause__, discord.Forbidden):
            raise RequestError(
                "I may not delete messages here; a moderator can delete it by hand."
            ) from error
        text = "It was gone already."
    except DeliveryError as error:
        raise RequestError("Discord did not delete it. Please try again in a minute.") from error
    await context.messages.record_deletion(job, message.message_id, interaction.user.id)
    log.info("a result was removed by %d", interaction.user.id, extra={"job": job.id})
    await edit_deferred(interaction, text)


def require_delete_permission(interaction: discord.Interaction[Any], job: Job) -> None:
    """Raises NotAllowed for anybody but the author and moderators."""
    member = actor_of(interaction, get_context(interaction).moderator_role)
    if member.id != job.request.author.id and not member.moderator:
        raise NotAllowed("Only its author or a moderator can delete this.")


async def _remove_rows(
    client: discord.Client, context: BotContext, job: Job, message: MessageRef
) -> None:
    """Delete the rows below a message, if they are there; the empty thread stays behind."""
    first = await context.messages.thread(job.id)
    if first is None or first.channel_id != message.message_id or client.user is None:
        return
    thread = client.get_partial_messageable(first.channel_id)
    try:
        with map_discord_errors():
            async for posted in thread.history(limit=_MOST_IN_THREAD):
                if posted.author.id == client.user.id:
                    await posted.delete()
    except MessageNotFound as error:
        log.info("the rows are gone already: %s", error, extra={"job": job.id})


Action: TypeAlias = Callable[[discord.Interaction[Any], CustomId, Job], Awaitable[None]]

OLD: Final = (
    "This button is from another version of the bot and does nothing any more. "
    "/history and /show bring a job out with buttons that work."
)
OLD_FORM: Final = (
    "This form is from another version of the bot, so nothing was made of it. Use /imagine."
)
_UNHEARD: Final = "The machines do not answer at the moment. Press Cancel again in a minute."
_ERASED: Final = "Its author had this request erased, so it cannot be made again."
_NO_RESULT: Final = "This job has no pictures to choose from."
_NO_UPSCALING: Final = "This bot has no workflow for upscaling."


class JobComponent(
    discord.ui.DynamicItem[discord.ui.Item[Any]],
    template=CUSTOM_ID_PATTERN,
):
    """Any control of ours, recognised by its custom id in any message of the bot."""

    @classmethod
    async def from_custom_id(
        cls,
        interaction: discord.Interaction[Any],
        item: discord.ui.Item[Any],
        match: re.Match[str],
        /,
    ) -> Self:
        """The control that was pressed; everything it needs is in its custom id."""
        return cls(item)

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Do what it asks for, and answer."""
        await handle_component(interaction, self.custom_id)


DYNAMIC_ITEMS: Final = (JobComponent,)
"""What the client registers once, so that presses on any message find their way here."""


async def handle_component(interaction: discord.Interaction[Any], custom_id: str) -> None:
    """Do what a custom id asks for; errors are answered, never raised."""
    limit_waits()
    try:
        press = CustomId.parse(custom_id)
        if press is None:
            raise RequestError(OLD)
        job = await pressed_job(interaction, press, custom_id)
        if press.verb in _MAKING_JOBS and _double_click(interaction):
            await defer(interaction)
            return
        await HANDLERS[press.verb](interaction, press, job)
    except Exception as error:
        # The root of what a press does: whatever happens, the member hears of it.
        await send_error(interaction, error)


async def refuse_unknown(interaction: discord.Interaction[Any], items: Iterable[ItemType]) -> None:
    """Answer a press or a form that none of ``items`` answers; leave the others to them.

    The client calls this for every interaction that was not a form of ours.
    """
    data: Any = interaction.data or {}
    custom_id = str(data.get("custom_id"))
    if interaction.type is discord.InteractionType.modal_submit:
        await send_error(interaction, RequestError(OLD_FORM))
    elif interaction.type is discord.InteractionType.component:
        message = interaction.message
        if message is None or not carries(message, custom_id):
            # The library looks for the control on the message, too, and does nothing without it.
            await send_error(interaction, RequestError(FOREIGN))
        elif not any(item.__discord_ui_compiled_template__.fullmatch(custom_id) for item in items):
            await send_error(interaction, RequestError(OLD))


async def _cancel(interaction: discord.Interaction[Any], press: CustomId, job: Job) -> None:
    context = get_context(interaction)
    member = actor_of(interaction, context.moderator_role)
    await defer(interaction)
    over = job.state.terminal
    try:
        job = await context.queue.cancel(press.job_id, member)
    except BackendError as error:
        raise RequestError(_UNHEARD) from error
    if job.state.terminal:
        await _settle_pressed(interaction, context, job, over=over)


async def _settle_pressed(
    interaction: discord.Interaction[Any], context: BotContext, job: Job, *, over: bool
) -> None:
    """Let the message that offered Cancel say how the job has ended, whichever message it is.

    ``over``: it had ended before the press, so its card should have said so.
    """
    card = await context.messages.status_message(job.id)
    message = interaction.message
    if message is None or (card is not None and card.message.message_id == message.id):
        if over:
            context.settling.on_card(job)
    elif is_card(interaction.client, message, job):
        # A copy that nobody wrote down, or what /show has said: the press's own token edits it.
        ended = job_message(job, context.now())
        if job.result is not None and job.delivery_method != DIRECT:
            guild_id = job.request.place.guild_id
            result = job.result
            ended = posted_elsewhere(job, jump_link(guild_id, result.channel_id, result.message_id))
        edit = interaction.edit_original_response
        edited = await insist(
            lambda: edit(embed=to_embed(ended), view=to_view(ended.controls)), context.sleep
        )
        log.info("a copy of the card was settled: %s", edited.outcome, extra={"job": job.id})


async def _reroll(interaction: discord.Interaction[Any], press: CustomId, job: Job) -> None:
    request = _words_of(job)
    note = f"-# Re-rolled by <@{interaction.user.id}>{source_link(interaction)}"
    await submit_request(
        interaction, lambda asker: asker.repeat(request).reroll(asker.seed), note=note
    )


async def _retry(interaction: discord.Interaction[Any], press: CustomId, job: Job) -> None:
    request = _words_of(job)
    if job.state not in (JobState.FAILED, JobState.CANCELLED):
        raise RequestError("This one did not fail; re-roll it to get another.")

    def make(asker: RequestFactory) -> Request:
        if request.origin is not None:
            return replace(request, author=asker.author, place=asker.place)
        return asker.repeat(request)

    note = f"-# Tried again by <@{interaction.user.id}>{source_link(interaction)}"
    await submit_request(interaction, make, note=note)


async def _edit(interaction: discord.Interaction[Any], press: CustomId, job: Job) -> None:
    _words_of(job)
    painter = get_context(interaction).limits.painter
    await open_form(interaction, build_edit_modal(job, painter))


async def _open(interaction: discord.Interaction[Any], press: CustomId, job: Job) -> None:
    _check_has_result(job)
    await open_image(interaction, press, job)


async def _upscale(interaction: discord.Interaction[Any], press: CustomId, job: Job) -> None:
    request = _words_of(job)
    _check_has_result(job)
    if not get_context(interaction).upscaling:
        raise RequestError(_NO_UPSCALING)
    if request.origin is not None:
        raise RequestError("This one is upscaled already.")
    cell = await selected_image(interaction, press, job)
    if cell is None:
        return
    row, column = cell
    source = source_link(interaction)
    if not source and job.result is not None and job.delivery_method != DIRECT:
        link = jump_link(request.place.guild_id, job.result.channel_id, job.result.message_id)
        source = f" from [this one]({link})"
    note = f"-# Row {row}, image {column}, upscaled by <@{interaction.user.id}>{source}"
    await submit_request(
        interaction, lambda asker: asker.upscale(request, job.id, row, column), note=note
    )


async def _details(interaction: discord.Interaction[Any], press: CustomId, job: Job) -> None:
    context = get_context(interaction)
    credits = await context.queue.jobs.credits(job.id)
    await send_ephemeral(
        interaction, "", card=details_message(job, credits, context.limits.painter)
    )


def _double_click(interaction: discord.Interaction[Any]) -> bool:
    data: Any = interaction.data or {}
    if data.get("values"):
        return False  # nobody opens a menu and chooses the same twice within a moment
    message = interaction.message
    return get_context(interaction).clicks.is_repeat(
        interaction.user.id,
        message.id if message else 0,
        str(data.get("custom_id")),
        interaction.created_at,
    )


def _words_of(job: Job) -> Request:
    if is_erased(job):
        raise RequestError(_ERASED)
    return job.request


def _check_has_result(job: Job) -> None:
    if not job.fetched_rows:
        raise RequestError(_NO_RESULT)


_MAKING_JOBS: Final = frozenset(
    {ComponentAction.REROLL, ComponentAction.RETRY, ComponentAction.UPSCALE}
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
}
