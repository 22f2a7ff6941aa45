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
from bot.domain.request import Author, Limits, Options, Place, Request, choose_seed
from bot.engine.posts import InteractionRef
from bot.engine.queue import Receipt
from bot.surface.answers import SUBMITTED, answer_error
from bot.surface.desk import desk_of
from bot.surface.first_answers import answer_accepted
from bot.surface.members import member_of

TOKEN_SECONDS: Final = 15 * 60


@dataclass(frozen=True, slots=True)
class Asker:
    """What a request takes from the interaction: who, where, a random seed, and what is allowed."""

    author: Author
    place: Place
    seed: int
    limits: Limits

    def parse(self, text: str, options: Options | None = None, *, typed: bool = True) -> Request:
        """The request for what was typed, or accepted before. Raises InvalidRequest."""
        return Request.parse(
            text,
            options or Options(),
            limits=self.limits,
            seed=self.seed,
            author=self.author,
            place=self.place,
            typed=typed,
        )

    def again(self, request: Request) -> Request:
        """The same settings, asked for by this member here.

        Raises InvalidRequest where they are no longer allowed.
        """
        return self.parse(request.painted_by(self.limits.painter).show(), typed=False)

    def crop(self, request: Request, job_id: str, row: int, column: int) -> Request:
        """One picture of somebody's grid, upscaled for this member. Raises InvalidRequest."""
        cropped = request.crop(job_id, row, column)
        return replace(cropped, author=self.author, place=self.place)


async def submit(
    interaction: discord.Interaction[Any], make: Callable[[Asker], Request], *, note: str = ""
) -> Receipt | None:
    """Make a request and hand it in; answer with its card, or privately with why not.

    ``note`` stands above the card for as long as it exists. None if the request was refused.
    """
    desk = desk_of(interaction)
    member = member_of(interaction, desk.moderator_role)
    asker = Asker(
        Author(member.id, member.name),
        Place(interaction.guild_id or 0, interaction.channel_id or 0),
        choose_seed(desk.entropy(4)),
        desk.limits,
    )
    try:
        request = make(asker)
        for check in desk.checks:
            await check(request, member)
        interaction.extras[SUBMITTED] = True
        receipt = await desk.queue.submit(request, member, reference(interaction))
    except StoreUnavailable:
        # It was withdrawn: it was not accepted, and will not be.
        interaction.extras.pop(SUBMITTED)
        raise
    except RequestError as refusal:
        await answer_error(interaction, refusal)
        return None
    # A repeated event is answered only if the first one was not, as after a crash in between.
    if receipt.created or await desk.posts.card(receipt.job.id) is None:
        await answer_accepted(interaction, receipt.job, left=receipt.left, note=note)
    return receipt


def reference(interaction: discord.Interaction[Any]) -> InteractionRef:
    """What the engine keeps of an interaction, to answer it later and only once."""
    return InteractionRef(
        interaction.id, interaction.application_id, interaction.token, interaction.expires_at
    )
