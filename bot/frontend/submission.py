"""The one path from a press or a command to a job with a card.

Accepting is one quick transaction, so it is done before the first answer: who is refused reads so
privately, who is accepted has the card at once, and nobody reads "thinking" in between.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import discord

from bot.domain.errors import RequestError, StoreUnavailable
from bot.domain.request import (
    Author,
    ChannelRef,
    Request,
    RequestLimits,
    RequestOptions,
    random_seed,
)
from bot.frontend.context import get_context
from bot.frontend.first_response import answer_accepted
from bot.frontend.permissions import actor_of
from bot.frontend.responses import SUBMITTED, send_error
from bot.services.delivery import InteractionRef
from bot.services.queue import SubmitResult

TOKEN_SECONDS: Final = 15 * 60


@dataclass(frozen=True, slots=True)
class RequestFactory:
    """What a request takes from the interaction: who, where, a random seed, and what is allowed."""

    author: Author
    place: ChannelRef
    seed: int
    limits: RequestLimits

    def parse(
        self, text: str, options: RequestOptions | None = None, *, typed: bool = True
    ) -> Request:
        """The request for what was typed, or accepted before. Raises InvalidRequest."""
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
        """The same settings, asked for by this member here.

        Raises InvalidRequest where they are no longer allowed.
        """
        return self.parse(request.painted_by(self.limits.painter).to_prompt(), typed=False)

    def upscale(self, request: Request, job_id: str, row: int, column: int) -> Request:
        """One picture of somebody's grid, upscaled for this member. Raises InvalidRequest."""
        cropped = request.upscale_of(job_id, row, column)
        return replace(cropped, author=self.author, place=self.place)


async def submit_request(
    interaction: discord.Interaction[Any],
    make: Callable[[RequestFactory], Request],
    *,
    note: str = "",
) -> SubmitResult | None:
    """Make a request and hand it in; answer with its card, or privately with why not.

    ``note`` stands above the card for as long as it exists. None if the request was refused.
    """
    context = get_context(interaction)
    member = actor_of(interaction, context.moderator_role)
    asker = RequestFactory(
        Author(member.id, member.name),
        ChannelRef(interaction.guild_id or 0, interaction.channel_id or 0),
        random_seed(context.entropy(4)),
        context.limits,
    )
    try:
        request = make(asker)
        for check in context.checks:
            await check(request, member)
        interaction.extras[SUBMITTED] = True
        receipt = await context.queue.submit(request, member, interaction_ref(interaction))
    except StoreUnavailable:
        # It was withdrawn: it was not accepted, and will not be.
        interaction.extras.pop(SUBMITTED)
        raise
    except RequestError as refusal:
        await send_error(interaction, refusal)
        return None
    # A repeated event is answered only if the first one was not, as after a crash in between.
    if receipt.created or await context.messages.status_message(receipt.job.id) is None:
        await answer_accepted(interaction, receipt.job, left=receipt.images_left, note=note)
    return receipt


def interaction_ref(interaction: discord.Interaction[Any]) -> InteractionRef:
    """What the engine keeps of an interaction, to answer it later and only once."""
    return InteractionRef(
        interaction.id, interaction.application_id, interaction.token, interaction.expires_at
    )
