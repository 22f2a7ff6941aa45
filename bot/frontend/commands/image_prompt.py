"""The message action "Use as image prompt": a form for the prompt of a picture in the channel."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import discord
from discord import app_commands

from bot.domain.errors import RequestError
from bot.domain.request import RequestOptions
from bot.frontend.context import BotContext, get_context
from bot.frontend.first_response import answer_accepted
from bot.frontend.formatting import jump_link
from bot.frontend.image_prompts import download, grid_path, require_own_host
from bot.frontend.job_lookup import REMOVED
from bot.frontend.refused_prompt import MAX_INPUT_LENGTH, PROMPT, STRENGTH, iter_text_inputs
from bot.frontend.responses import open_modal, thinking_in_public, with_error_response
from bot.frontend.submission import require_shown_here, submit_with_picture

_FORM: Final = re.compile(r"gb-image-prompt:(?P<message>[0-9]{1,19})(?::(?P<job>[a-z2-7]{16}))?")
_NO_PICTURE: Final = "This message has no picture that was uploaded to Discord."
_FORGOTTEN: Final = (
    "The bot was restarted and does not know the picture any more. Copy your prompt and use the "
    "action on the message again."
)


def build(context: BotContext) -> app_commands.ContextMenu | tuple[()]:
    """Return the message action; nothing where no request can start from a picture."""
    if not context.limits.img2img:
        return ()

    @app_commands.context_menu(name="Use as image prompt")
    @app_commands.guild_only()
    async def use(
        interaction: discord.Interaction[discord.Client], message: discord.Message
    ) -> None:
        picture = next((one for one in message.attachments if _is_picture(one)), None)
        ident = f"gb-image-prompt:{message.id}"
        if picture is None:
            # A result shows its grid in an embed, and no attachment.
            job_id = await context.messages.job_of(message.id)
            if job_id is None:
                raise RequestError(_NO_PICTURE)
            ident += f":{job_id}"
        else:
            require_own_host(picture)
            # Only an action gets the attachments of others: they cannot be fetched later.
            context.picked_pictures.put(interaction.user.id, message.id, picture)
        await open_modal(interaction, _form(ident, context.limits.strength))

    return use


async def handle_form(interaction: discord.Interaction[Any]) -> bool:
    """Handle the interaction if it is this form; return whether it was."""
    if interaction.type is not discord.InteractionType.modal_submit:
        return False
    data: Any = interaction.data or {}
    match = _FORM.fullmatch(str(data.get("custom_id")))
    if match is None:
        return False
    fields = dict(iter_text_inputs(data.get("components")))

    async def handle(interaction: discord.Interaction[Any]) -> None:
        message_id = int(match["message"])
        load = await _picture_of(interaction, message_id, match["job"])
        options = RequestOptions(strength=fields.get(STRENGTH, "").strip() or None)
        async with thinking_in_public(interaction):
            accepted = await submit_with_picture(
                interaction,
                load,
                lambda factory, start: factory.parse(
                    fields.get(PROMPT, ""), options, init_image=start
                ),
            )
        link = jump_link(interaction.guild_id or 0, interaction.channel_id or 0, message_id)
        note = f"-# From the picture in [this message]({link}), by <@{interaction.user.id}>"
        await answer_accepted(interaction, accepted, note=note)

    await with_error_response(interaction, handle)
    return True


async def _picture_of(
    interaction: discord.Interaction[Any], message_id: int, job_id: str | None
) -> Callable[[], Awaitable[bytes | Path]]:
    """Return what loads the picture of a message. Raises RequestError."""
    context = get_context(interaction)
    if job_id is None:
        picture = context.picked_pictures.get(interaction.user.id, message_id)
        if picture is None:
            raise RequestError(_FORGOTTEN)
        return lambda: download(picture)
    job = await context.queue.jobs.get(job_id)
    named = await context.messages.job_of(message_id)
    if job is None or named != job_id or job.request.place.guild_id != interaction.guild_id:
        raise RequestError(_NO_PICTURE)
    if await context.messages.removals(job_id):
        raise RequestError(REMOVED)
    require_shown_here(interaction, job)
    return lambda: grid_path(context, job)


FORM_HANDLERS: Final = (handle_form,)


def _is_picture(attachment: discord.Attachment) -> bool:
    return (attachment.content_type or "").startswith("image/")


def _form(ident: str, strength: float) -> discord.ui.Modal:
    modal = discord.ui.Modal(title="Use as image prompt", custom_id=ident, timeout=None)
    modal.add_item(
        discord.ui.Label(
            text="Prompt and options",
            component=discord.ui.TextInput(
                custom_id=PROMPT,
                style=discord.TextStyle.paragraph,
                placeholder="What the images should show",
                max_length=MAX_INPUT_LENGTH,
            ),
        )
    )
    modal.add_item(
        discord.ui.Label(
            text="Strength",
            description="How far to depart from the picture: 0.3 stays close, 0.9 keeps little.",
            component=discord.ui.TextInput(
                custom_id=STRENGTH, default=f"{strength:g}", max_length=10, required=False
            ),
        )
    )
    # Finished from the library's point of view: it has nothing to remember.
    modal.stop()
    return modal
