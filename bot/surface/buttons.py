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
from bot.engine.posts import erased
from bot.engine.queue import limit_waits
from bot.surface.answers import acknowledge, answer_error, open_form, whisper
from bot.surface.belonging import FOREIGN, carries, pressed_job
from bot.surface.cards import card_of, moved
from bot.surface.catalogue import ItemType
from bot.surface.controls import TEMPLATE, Press, Verb
from bot.surface.courier import DIRECT
from bot.surface.desk import Desk, desk_of
from bot.surface.details import details
from bot.surface.editing import edit_form, from_message
from bot.surface.first_answers import is_card
from bot.surface.members import member_of
from bot.surface.opening import chosen_image, open_image
from bot.surface.outcomes import insist
from bot.surface.posting import embed_of, view_of
from bot.surface.removing import ask_removal, remove
from bot.surface.submitting import Asker, submit
from bot.surface.texts import jump_link

log = logging.getLogger(__name__)

Action: TypeAlias = Callable[[discord.Interaction[Any], Press, Job], Awaitable[None]]

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


class Control(
    discord.ui.DynamicItem[discord.ui.Item[Any]],
    template=TEMPLATE,
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
        await press_control(interaction, self.custom_id)


ITEMS: Final = (Control,)
"""What the client registers once, so that presses on any message find their way here."""


async def press_control(interaction: discord.Interaction[Any], custom_id: str) -> None:
    """Do what a custom id asks for; errors are answered, never raised."""
    limit_waits()
    try:
        press = Press.read(custom_id)
        if press is None:
            raise RequestError(OLD)
        job = await pressed_job(interaction, press, custom_id)
        if press.verb in _MAKING_JOBS and _double_click(interaction):
            await acknowledge(interaction)
            return
        await ACTIONS[press.verb](interaction, press, job)
    except Exception as error:
        # The root of what a press does: whatever happens, the member hears of it.
        await answer_error(interaction, error)


async def refuse_unknown(interaction: discord.Interaction[Any], items: Iterable[ItemType]) -> None:
    """Answer a press or a form that none of ``items`` answers; leave the others to them.

    The client calls this for every interaction that was not a form of ours.
    """
    data: Any = interaction.data or {}
    custom_id = str(data.get("custom_id"))
    if interaction.type is discord.InteractionType.modal_submit:
        await answer_error(interaction, RequestError(OLD_FORM))
    elif interaction.type is discord.InteractionType.component:
        message = interaction.message
        if message is None or not carries(message, custom_id):
            # The library looks for the control on the message, too, and does nothing without it.
            await answer_error(interaction, RequestError(FOREIGN))
        elif not any(item.__discord_ui_compiled_template__.fullmatch(custom_id) for item in items):
            await answer_error(interaction, RequestError(OLD))


async def _cancel(interaction: discord.Interaction[Any], press: Press, job: Job) -> None:
    desk = desk_of(interaction)
    member = member_of(interaction, desk.moderator_role)
    await acknowledge(interaction)
    over = job.state.terminal
    try:
        job = await desk.queue.cancel(press.job_id, member)
    except BackendError as error:
        raise RequestError(_UNHEARD) from error
    if job.state.terminal:
        await _settle_pressed(interaction, desk, job, over=over)


async def _settle_pressed(
    interaction: discord.Interaction[Any], desk: Desk, job: Job, *, over: bool
) -> None:
    """Let the message that offered Cancel say how the job has ended, whichever message it is.

    ``over``: it had ended before the press, so its card should have said so.
    """
    card = await desk.posts.card(job.id)
    message = interaction.message
    if message is None or (card is not None and card.message.message_id == message.id):
        if over:
            desk.settling.on_card(job)
    elif is_card(interaction.client, message, job):
        # A copy that nobody wrote down, or what /show has said: the press's own token edits it.
        ended = card_of(job, desk.now())
        if job.result is not None and job.rung != DIRECT:
            guild_id = job.request.place.guild_id
            result = job.result
            ended = moved(job, jump_link(guild_id, result.channel_id, result.message_id))
        edit = interaction.edit_original_response
        edited = await insist(
            lambda: edit(embed=embed_of(ended), view=view_of(ended.controls)), desk.sleep
        )
        log.info("a copy of the card was settled: %s", edited.outcome, extra={"job": job.id})


async def _reroll(interaction: discord.Interaction[Any], press: Press, job: Job) -> None:
    request = _words_of(job)
    note = f"-# Re-rolled by <@{interaction.user.id}>{from_message(interaction)}"
    await submit(interaction, lambda asker: asker.again(request).reroll(asker.seed), note=note)


async def _retry(interaction: discord.Interaction[Any], press: Press, job: Job) -> None:
    request = _words_of(job)
    if job.state not in (JobState.FAILED, JobState.CANCELLED):
        raise RequestError("This one did not fail; re-roll it to get another.")

    def make(asker: Asker) -> Request:
        if request.origin is not None:
            return replace(request, author=asker.author, place=asker.place)
        return asker.again(request)

    note = f"-# Tried again by <@{interaction.user.id}>{from_message(interaction)}"
    await submit(interaction, make, note=note)


async def _edit(interaction: discord.Interaction[Any], press: Press, job: Job) -> None:
    _words_of(job)
    painter = desk_of(interaction).limits.painter
    await open_form(interaction, edit_form(job, painter))


async def _open(interaction: discord.Interaction[Any], press: Press, job: Job) -> None:
    _check_has_result(job)
    await open_image(interaction, press, job)


async def _upscale(interaction: discord.Interaction[Any], press: Press, job: Job) -> None:
    request = _words_of(job)
    _check_has_result(job)
    if not desk_of(interaction).upscaling:
        raise RequestError(_NO_UPSCALING)
    if request.origin is not None:
        raise RequestError("This one is upscaled already.")
    cell = await chosen_image(interaction, press, job)
    if cell is None:
        return
    row, column = cell
    source = from_message(interaction)
    if not source and job.result is not None and job.rung != DIRECT:
        link = jump_link(request.place.guild_id, job.result.channel_id, job.result.message_id)
        source = f" from [this one]({link})"
    note = f"-# Row {row}, image {column}, upscaled by <@{interaction.user.id}>{source}"
    await submit(interaction, lambda asker: asker.crop(request, job.id, row, column), note=note)


async def _details(interaction: discord.Interaction[Any], press: Press, job: Job) -> None:
    desk = desk_of(interaction)
    credits = await desk.queue.jobs.credits(job.id)
    await whisper(interaction, "", card=details(job, credits, desk.limits.painter))


def _double_click(interaction: discord.Interaction[Any]) -> bool:
    data: Any = interaction.data or {}
    if data.get("values"):
        return False  # nobody opens a menu and chooses the same twice within a moment
    message = interaction.message
    return desk_of(interaction).clicks.repeated(
        interaction.user.id,
        message.id if message else 0,
        str(data.get("custom_id")),
        interaction.created_at,
    )


def _words_of(job: Job) -> Request:
    if erased(job):
        raise RequestError(_ERASED)
    return job.request


def _check_has_result(job: Job) -> None:
    if not job.collected:
        raise RequestError(_NO_RESULT)


_MAKING_JOBS: Final = frozenset({Verb.REROLL, Verb.RETRY, Verb.UPSCALE})

ACTIONS: Final[Mapping[Verb, Action]] = {
    Verb.CANCEL: _cancel,
    Verb.REROLL: _reroll,
    Verb.EDIT: _edit,
    Verb.OPEN: _open,
    Verb.UPSCALE: _upscale,
    Verb.DELETE: ask_removal,
    Verb.REMOVE: remove,
    Verb.DETAILS: _details,
    Verb.RETRY: _retry,
}
