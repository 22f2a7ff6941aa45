"""The one path from a press or a command to a job with a card.

Accepting is one quick transaction, so it is done before the first answer: who is refused reads so
privately, who is accepted has the card at once, and nobody reads "thinking" in between.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import discord

from bot.domain.errors import RequestError
from bot.domain.events import MessageRef
from bot.domain.request import Author, Limits, Options, Place, Request, choose_seed
from bot.engine.posts import InteractionRef
from bot.engine.queue import Receipt
from bot.surface.answers import answer_error, came_too_late
from bot.surface.cards import Waiting, card_of
from bot.surface.desk import Desk, desk_of
from bot.surface.members import member_of
from bot.surface.posting import NO_MENTIONS, embed_of, view_of

log = logging.getLogger(__name__)

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
        return self.parse(request.show(), typed=False)

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
        receipt = await desk.queue.submit(request, member, reference(interaction))
    except RequestError as refusal:
        await answer_error(interaction, refusal)
        return None
    # A repeated event is answered only if the first one was not, as after a crash in between.
    if receipt.created or await desk.posts.card(receipt.job.id) is None:
        await _answer(interaction, desk, receipt, note)
    return receipt


def reference(interaction: discord.Interaction[Any]) -> InteractionRef:
    """What the engine keeps of an interaction, to answer it later and only once."""
    return InteractionRef(
        interaction.id, interaction.application_id, interaction.token, interaction.expires_at
    )


async def _answer(
    interaction: discord.Interaction[Any], desk: Desk, receipt: Receipt, note: str
) -> None:
    """Post the card. The job is safe whatever happens here; its result finds its own way."""
    job = receipt.job
    standing = await desk.queue.standing(job)
    waiting = Waiting(standing, receipt.left, desk.notice())
    card = card_of(job, desk.now(), waiting)
    said: dict[str, Any] = {"embed": embed_of(card), "view": view_of(card.controls)}
    try:
        response = await interaction.response.send_message(
            note or None, allowed_mentions=NO_MENTIONS, **said
        )
    except discord.HTTPException as error:
        if not came_too_late(error):
            raise
        log.info("the card could not be posted: %s", error, extra={"job": job.id})
        return
    if response.message_id is not None:
        message = MessageRef(job.request.place.channel_id, response.message_id)
        await desk.posts.keep_card(job.id, message)
