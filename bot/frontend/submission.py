"""Submit a request from an interaction, and respond with its status message.

Accepting is one short transaction, done before the first response: a refusal is private, an
accepted request has its status message at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import discord

from bot.domain.errors import RequestError, StoreUnavailable
from bot.domain.job import Job
from bot.domain.request import (
    Author,
    ChannelRef,
    Request,
    RequestLimits,
    RequestOptions,
    random_seed,
)
from bot.frontend.context import BotContext, get_context
from bot.frontend.first_response import answer_accepted
from bot.frontend.permissions import actor_of
from bot.frontend.responses import SUBMITTED, send_error
from bot.services.delivery import InteractionRef
from bot.services.queue import SubmitResult, response_time_left, waits_limited


@dataclass(frozen=True, slots=True)
class RequestFactory:
    """Builds requests of one interaction: author, channel, random seed and limits."""

    author: Author
    place: ChannelRef
    seed: int
    limits: RequestLimits

    def parse(
        self, text: str, options: RequestOptions | None = None, *, typed: bool = True
    ) -> Request:
        """Return the request for a typed or stored prompt. Raises InvalidRequest."""
        return Request.parse(
            text,
            options or RequestOptions(),
            limits=self.limits,
            seed=self.seed,
            author=self.author,
            place=self.place,
            typed=typed,
        )

    def repeat(self, request: Request) -> Request:
        """Return the same request for this member and channel.

        Raises InvalidRequest if it is no longer allowed.
        """
        return self.parse(request.for_engine(self.limits.engine).to_prompt(), typed=False)

    def upscale(self, request: Request, job_id: str, row: int, column: int) -> Request:
        """Return a request to upscale one image of a grid. Raises InvalidRequest."""
        cropped = request.upscale_of(job_id, row, column)
        return replace(cropped, author=self.author, place=self.place)


async def submit_request(
    interaction: discord.Interaction[Any],
    make: Callable[[RequestFactory], Request],
    *,
    note: str = "",
) -> SubmitResult | None:
    """Build and submit a request; respond with its status message or a private refusal.

    ``note`` is the text above the embed. Returns None if the request was refused.
    """
    context = get_context(interaction)
    actor = actor_of(interaction, context.moderator_role)
    factory = RequestFactory(
        Author(actor.id, actor.name),
        ChannelRef(interaction.guild_id or 0, interaction.channel_id or 0),
        random_seed(context.entropy(4)),
        context.limits,
    )
    try:
        request = make(factory)
        for check in context.checks:
            await check(request, actor)
        interaction.extras[SUBMITTED] = True
        receipt = await context.queue.submit(request, actor, interaction_ref(interaction))
    except StoreUnavailable:
        # It was withdrawn: it was not accepted, and will not be.
        interaction.extras.pop(SUBMITTED)
        raise
    except RequestError as refusal:
        await send_error(interaction, refusal)
        return None
    if receipt.created or not await _is_answered(context, receipt.job):
        await answer_accepted(interaction, receipt.job, left=receipt.images_left, note=note)
    return receipt


async def _is_answered(context: BotContext, job: Job) -> bool:
    """Return whether a repeated event needs no answer: only after a crash in between it does."""
    try:
        with waits_limited(response_time_left() / 2):
            return await context.messages.status_message(job.id) is not None
    except StoreUnavailable:
        return False  # Discord takes no second answer


def interaction_ref(interaction: discord.Interaction[Any]) -> InteractionRef:
    """Return what is stored of an interaction, to respond later and only once."""
    return InteractionRef(
        interaction.id, interaction.application_id, interaction.token, interaction.expires_at
    )
