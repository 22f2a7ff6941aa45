"""What the buttons and menus of a card do. They carry their state, so they outlive the process.

Each press is answered, whatever happens; each is a press of its own, by its own member, charged to
that member. Who may do what is asked here again, never left to who can see a button.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, Self, TypeAlias

import discord

from bot.domain.errors import BackendError, RequestError
from bot.domain.job import Job, JobState
from bot.domain.request import Request
from bot.engine.posts import is_erased
from bot.engine.queue import limit_waits
from bot.surface.answers import defer, open_form, send_ephemeral, send_error
from bot.surface.belonging import FOREIGN, carries, pressed_job
from bot.surface.cards import job_message, posted_elsewhere
from bot.surface.catalogue import ItemType
from bot.surface.controls import CUSTOM_ID_PATTERN, ComponentAction, CustomId
from bot.surface.courier import DIRECT
from bot.surface.desk import BotContext, get_context
from bot.surface.details import details_message
from bot.surface.editing import build_edit_modal, source_link
from bot.surface.first_answers import is_card
from bot.surface.members import actor_of
from bot.surface.opening import open_image, selected_image
from bot.surface.outcomes import insist
from bot.surface.posting import to_embed, to_view
from bot.surface.removing import confirm_delete, delete_result
from bot.surface.submitting import RequestFactory, submit_request
from bot.surface.texts import jump_link

log = logging.getLogger(__name__)

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
    desk = get_context(interaction)
    member = actor_of(interaction, desk.moderator_role)
    await defer(interaction)
    over = job.state.terminal
    try:
        job = await desk.queue.cancel(press.job_id, member)
    except BackendError as error:
        raise RequestError(_UNHEARD) from error
    if job.state.terminal:
        await _settle_pressed(interaction, desk, job, over=over)


async def _settle_pressed(
    interaction: discord.Interaction[Any], desk: BotContext, job: Job, *, over: bool
) -> None:
    """Let the message that offered Cancel say how the job has ended, whichever message it is.

    ``over``: it had ended before the press, so its card should have said so.
    """
    card = await desk.posts.status_message(job.id)
    message = interaction.message
    if message is None or (card is not None and card.message.message_id == message.id):
        if over:
            desk.settling.on_card(job)
    elif is_card(interaction.client, message, job):
        # A copy that nobody wrote down, or what /show has said: the press's own token edits it.
        ended = job_message(job, desk.now())
        if job.result is not None and job.delivery_method != DIRECT:
            guild_id = job.request.place.guild_id
            result = job.result
            ended = posted_elsewhere(job, jump_link(guild_id, result.channel_id, result.message_id))
        edit = interaction.edit_original_response
        edited = await insist(
            lambda: edit(embed=to_embed(ended), view=to_view(ended.controls)), desk.sleep
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
    desk = get_context(interaction)
    credits = await desk.queue.jobs.credits(job.id)
    await send_ephemeral(interaction, "", card=details_message(job, credits, desk.limits.painter))


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
