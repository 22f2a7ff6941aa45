"""``/imagine`` and the forms with a prompt: submit what a member typed.

A text with permutations or ``--repeat`` asks for a set of requests. The member is asked first,
privately; the set waits in the database, and its buttons work after a restart. Each job of a set
gets a status message of its own in the channel.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Any, Final, Optional

import discord
from discord import app_commands

from bot.domain.errors import RequestError, StoreUnavailable
from bot.domain.init_image import names_strength
from bot.domain.models import ModelSpec
from bot.domain.prompt_tags import describe_removed
from bot.domain.request import MAX_SEED, Request, RequestOptions
from bot.domain.text import truncate_utf16
from bot.frontend.cancelling import cancel_jobs
from bot.frontend.context import BotContext, get_client, get_context
from bot.frontend.custom_ids import MAX_ID, ComponentAction, CustomId
from bot.frontend.edit_modal import build_prompt_modal, source_link
from bot.frontend.first_response import answer_accepted, start_status_message
from bot.frontend.formatting import escape_message
from bot.frontend.image_prompts import download
from bot.frontend.job_lookup import load_component_job
from bot.frontend.message_content import MAX_OPTION_TEXT, MAX_OPTIONS
from bot.frontend.permissions import actor_of, model_roles
from bot.frontend.refused_prompt import (
    EDIT_ID,
    MODAL_ID,
    NEGATIVE,
    PROMPT,
    extract_prompt,
    iter_text_inputs,
)
from bot.frontend.request_set_embeds import (
    NOT_RUN,
    SET_PATTERN,
    question_message,
    queued_message,
    stopped_message,
)
from bot.frontend.responses import (
    PersistentComponent,
    defer,
    open_modal,
    safe_autocomplete,
    send_ephemeral,
    send_error,
    thinking_in_public,
    update_message,
)
from bot.frontend.submission import (
    build_factory,
    place_of,
    submit,
    submit_request,
    submit_with_picture,
)
from bot.services.queue import Actor, limit_waits
from bot.services.request_sets import CLOSED, AcceptedSet

log = logging.getLogger(__name__)

_DESCRIPTIONS = {
    "prompt": "What the images should show. Flags work too: --ar 16:9 --seed 7 --no trees",
    "negative": "What the images should not show",
    "aspect": "Aspect ratio as width:height, for example 16:9",
    "rows": "Rows in the grid; each row is one parallel task with its own seed",
    "samples": "Images in each row",
    "steps": "Sampling steps; more steps take longer",
    "seed": "The same seed and settings give the same images again",
    "model": "The model that generates the images; /models says what each is for",
    "style": "A style to add to the prompt; /styles lists them",
    "image": "A picture to start from: PNG, JPEG or WebP",
    "strength": "How far to depart from the picture: 0.3 stays close, 0.9 keeps little",
}


class EditPromptButton(PersistentComponent, template=re.escape(EDIT_ID)):
    """Opens the modal with the refused prompt of this message."""

    async def handle(self, interaction: discord.Interaction[Any]) -> None:
        """Open the modal."""
        await open_modal(interaction, build_prompt_modal(extract_prompt(interaction.message)))


async def submit_typed(
    interaction: discord.Interaction[Any],
    text: str,
    options: RequestOptions | None = None,
    *,
    note: str = "",
) -> None:
    """Accept the request of a typed text and respond, or ask first if it stands for several.

    ``note`` is the text above the status message of a single one. Idempotent. Raises RequestError
    and StoreUnavailable as ``submit_request`` does.
    """
    factory = build_factory(interaction)
    requests = factory.parse_all(text, options or RequestOptions())
    if len(requests) == 1:
        accepted = await submit(interaction, factory, requests[0])
        await answer_accepted(interaction, accepted, note=note)
        return
    context = get_context(interaction)
    member = actor_of(interaction, context.moderator_role)
    await _check(context, requests, member)
    place = place_of(interaction)
    question = await context.sets.ask(interaction.id, requests, member, place)
    if isinstance(question, AcceptedSet):  # Discord sent the command again
        await send_ephemeral(interaction, "", embed=queued_message(question))
        return
    removed = escape_message(describe_removed(tuple(dict.fromkeys(factory.removed_tags))))
    await send_ephemeral(interaction, "", embed=question_message(question, removed))


async def _check(context: BotContext, requests: Sequence[Request], member: Actor) -> None:
    for request in requests:
        for check in context.checks:
            await check(request, member)


class SetButton(PersistentComponent, template=SET_PATTERN):
    """Runs a set of requests, drops it, or cancels its jobs, for the member who asked for it."""

    async def handle(self, interaction: discord.Interaction[Any]) -> None:
        """Do what the button says and show the outcome in its message. Raises RequestError."""
        actions = {"run": _run, "drop": _drop, "stop": _stop}
        set_id = int(self.match["id"])
        if set_id > MAX_ID:
            raise RequestError(CLOSED)
        await actions[self.match["verb"]](interaction, set_id)


async def _run(interaction: discord.Interaction[Any], set_id: int) -> None:
    context, client = get_context(interaction), get_client(interaction)
    member = actor_of(interaction, context.moderator_role)
    accepted = await context.sets.accepted(set_id, member)
    if accepted is None:
        factory = build_factory(interaction)
        stored = await context.sets.pending(set_id, member)
        requests = [factory.repeat(request) for request in stored]
        await _check(context, requests, member)
        accepted = await _accept(interaction, set_id, requests, member)
    for job in accepted.jobs:
        start_status_message(client, job.id, search_history=not accepted.created)
    await update_message(interaction, queued_message(accepted))


async def _accept(
    interaction: discord.Interaction[Any], set_id: int, requests: Sequence[Request], member: Actor
) -> AcceptedSet:
    """Run a set. Raises RequestError, and StoreUnavailable if it was not run."""
    context = get_context(interaction)
    try:
        return await context.sets.run(set_id, requests, member, place_of(interaction))
    except (RequestError, StoreUnavailable):
        raise  # refused or withdrawn: it was not run
    except Exception as error:
        accepted = await context.sets.accepted(set_id, member)
        if accepted is None:
            raise
        log.error("set %d failed after it was accepted", set_id, exc_info=error)
        return accepted


async def _drop(interaction: discord.Interaction[Any], set_id: int) -> None:
    context = get_context(interaction)
    member = actor_of(interaction, context.moderator_role)
    accepted = await context.sets.drop(set_id, member)
    if accepted is not None:
        await update_message(interaction, queued_message(accepted))
        return
    await update_message(interaction, NOT_RUN)


async def _stop(interaction: discord.Interaction[Any], set_id: int) -> None:
    context = get_context(interaction)
    member = actor_of(interaction, context.moderator_role)
    jobs = await context.sets.jobs(set_id, member)
    # A backend may take longer to let go of a job than Discord waits for an answer.
    await defer(interaction)
    lines = await cancel_jobs(context, jobs, member)
    left = [job for job in await context.sets.jobs(set_id, member) if not job.state.terminal]
    await update_message(interaction, stopped_message(set_id, lines, left))


async def handle_prompt_form(interaction: discord.Interaction[Any]) -> bool:
    """Handle the interaction if it is a form with a prompt; return whether it was.

    Called for every interaction. The form is that of a job, or of a refused prompt.
    """
    if interaction.type is not discord.InteractionType.modal_submit:
        return False
    data: Any = interaction.data or {}
    custom_id = str(data.get("custom_id"))
    target = CustomId.parse(custom_id)
    if custom_id != MODAL_ID and (target is None or target.verb is not ComponentAction.EDIT):
        return False
    limit_waits()
    try:
        start = None
        if target is not None:
            job = await load_component_job(interaction, target, custom_id)
            start = job.request.init_image
        if not isinstance(data.get("components"), list):
            raise RequestError("The form was empty. Please try again.")
        fields = dict(iter_text_inputs(data["components"]))
        text, negative = fields.get(PROMPT, ""), fields.get(NEGATIVE, "").strip()
        options = RequestOptions(negative=negative or None)
        note = ""
        if target is not None:
            note = f"-# Edited by <@{interaction.user.id}>{source_link(interaction)}"
        if start is None or not names_strength(text):  # it has none, or the member removed it
            await submit_typed(interaction, text, options, note=note)
            return True
        accepted = await submit_request(
            interaction, lambda factory: factory.parse(text, options, init_image=start)
        )
        await answer_accepted(interaction, accepted, note=note)
    except Exception as error:
        # The root of a modal: the member gets a response whatever happens.
        await send_error(interaction, error)
    return True


ITEMS: Final = (EditPromptButton, SetButton)
FORM_HANDLERS: Final = (handle_prompt_form,)


def build(context: BotContext) -> app_commands.Command[Any, ..., None]:
    """Return the command, with this bot's limits as option ranges."""
    limits = context.limits

    async def imagine(
        interaction: discord.Interaction[discord.Client],
        prompt: str,
        negative: str | None = None,
        aspect: str | None = None,
        rows: int | None = None,
        samples: int | None = None,
        steps: int | None = None,
        seed: int | None = None,
        model: str | None = None,
        style: str | None = None,
        image: discord.Attachment | None = None,
        strength: float | None = None,
    ) -> None:
        options = RequestOptions(
            *(negative, aspect, rows, samples, steps, seed, model, style), strength=strength
        )
        if image is None:
            await submit_typed(interaction, prompt, options)
            return
        # A set that waits for its author holds no picture: with one, a text makes one request.
        async with thinking_in_public(interaction):
            accepted = await submit_with_picture(
                interaction,
                lambda: download(image),
                lambda factory, start: factory.parse(prompt, options, init_image=start),
            )
        await answer_accepted(interaction, accepted)

    # The bounds are known only now, so they cannot be written into the signature above.
    for name, low, high in (
        ("rows", 1, limits.max_rows),
        ("samples", 1, limits.max_samples),
        ("steps", 1, limits.highest_max_steps),
        ("seed", 0, MAX_SEED),
    ):
        imagine.__annotations__[name] = Optional[app_commands.Range[int, low, high]]  # noqa: UP045
    imagine.__annotations__["strength"] = Optional[app_commands.Range[float, 0.0, 1.0]]  # noqa: UP045
    command: app_commands.Command[Any, ..., None] = app_commands.Command(
        name="imagine",
        description="Generate a grid of images from a prompt",
        callback=imagine,
    )
    app_commands.describe(**_DESCRIPTIONS)(command)

    @command.autocomplete("model")
    @safe_autocomplete
    async def suggest_model(
        interaction: discord.Interaction[discord.Client], typed: str
    ) -> list[app_commands.Choice[str]]:
        roles = model_roles(actor_of(interaction, context.moderator_role))
        specs = [limits.table.get(name, ModelSpec(name)) for name in limits.names_for(roles)]
        return [
            app_commands.Choice(name=spec.format_choice(MAX_OPTION_TEXT), value=spec.id)
            for spec in specs
            if typed.casefold() in f"{spec.id} {spec.title} {spec.about}".casefold()
            and len(spec.id) <= MAX_OPTION_TEXT
        ][:MAX_OPTIONS]

    @command.autocomplete("style")
    @safe_autocomplete
    async def suggest_style(
        interaction: discord.Interaction[discord.Client], typed: str
    ) -> list[app_commands.Choice[str]]:
        return [
            app_commands.Choice(
                name=truncate_utf16(f"{name}: {words}", MAX_OPTION_TEXT), value=name
            )
            for name, words in limits.styles.items()
            if typed.casefold() in f"{name} {words}".casefold()
        ][:MAX_OPTIONS]

    return command
