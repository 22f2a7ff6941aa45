"""Build a request from an interaction and submit it; ``first_response`` answers it.

Accepting is one short transaction, done before the first response: a refusal is private, an
accepted request has its status message at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import discord

from bot.domain.errors import RequestError, StoreUnavailable
from bot.domain.image_check import ImageOutcome
from bot.domain.job import Job
from bot.domain.moderation import Place
from bot.domain.permutations import parse_requests
from bot.domain.prompt_tags import describe_removed
from bot.domain.request import (
    Author,
    ChannelRef,
    InitImage,
    Request,
    RequestLimits,
    RequestOptions,
    random_seed,
)
from bot.frontend.context import get_context
from bot.frontend.formatting import escape_message
from bot.frontend.permissions import actor_of, model_roles
from bot.services.delivery import InteractionRef
from bot.services.queue import SubmitResult, limit_waits, response_time_left

log = logging.getLogger(__name__)

CHECK_SECONDS: Final = 1.0
ONLY_AGE_RESTRICTED: Final = "These images may be shown only in age-restricted channels."
STATUS_UNKNOWN_MESSAGE: Final = (
    "Something went wrong in the bot. Use /queue to see whether your request was accepted. If it "
    "is not there, nothing was charged. Give a moderator this number: {number}."
)


@dataclass(frozen=True, slots=True)
class RequestFactory:
    """Builds requests of one interaction: author, channel, random seed and limits.

    ``role_ids`` are the roles that decide which models the author may use; None for every model.
    ``removed_tags`` collects what was removed from the texts. ``next_seed`` returns the random
    seeds of further requests.
    """

    author: Author
    place: ChannelRef
    seed: int
    limits: RequestLimits
    next_seed: Callable[[], int]
    role_ids: frozenset[int] | None = None
    removed_tags: list[str] = field(default_factory=list)

    def parse(
        self,
        text: str,
        options: RequestOptions | None = None,
        *,
        typed: bool = True,
        init_image: InitImage | None = None,
        repeated: bool = False,
    ) -> Request:
        """Return the request for a typed or stored prompt. Raises RequestError.

        ``init_image`` is the picture that it starts from.
        """
        return Request.parse(
            text,
            options or RequestOptions(),
            limits=self.limits,
            seed=self.seed,
            author=self.author,
            place=self.place,
            role_ids=self.role_ids,
            typed=typed,
            removed_tags=self.removed_tags,
            init_image=init_image,
            repeated=repeated,
        )

    def parse_all(self, text: str, options: RequestOptions) -> tuple[Request, ...]:
        """Return the requests of a typed prompt: several with permutations or ``--repeat``.

        Raises RequestError.
        """

        def parse_one(one: str, seed: int) -> Request:
            return replace(self, seed=seed).parse(one, options, repeated=True)

        return parse_requests(
            text,
            self.limits,
            parse_one,
            iter(self.next_seed, -1),
            has_seed=options.seed is not None,
        )

    def repeat(self, request: Request) -> Request:
        """Return the same request for this member and channel.

        Raises RequestError if it is no longer allowed.
        """
        text = request.within(self.limits).to_prompt()
        return self.parse(text, typed=False, init_image=request.init_image)

    def vary(self, request: Request, picture: InitImage) -> Request:
        """Return the same request with a new seed, starting from a picture. Raises RequestError."""
        return self.repeat(replace(request, init_image=picture)).reroll(self.seed)

    def upscale(self, request: Request, job_id: str, row: int, column: int) -> Request:
        """Return a request to upscale one image of a grid. Raises InvalidRequest."""
        cropped = request.upscale_of(job_id, row, column)
        return replace(cropped, author=self.author, place=self.place)


def build_factory(interaction: discord.Interaction[Any]) -> RequestFactory:
    """Return what builds the requests of an interaction."""
    context = get_context(interaction)
    actor = actor_of(interaction, context.moderator_role)

    def next_seed() -> int:
        return random_seed(context.entropy(4))

    return RequestFactory(
        Author(actor.id, actor.name),
        ChannelRef(interaction.guild_id or 0, interaction.channel_id or 0),
        next_seed(),
        context.limits,
        next_seed,
        model_roles(actor),
    )


async def submit_request(
    interaction: discord.Interaction[Any], make: Callable[[RequestFactory], Request]
) -> SubmitResult:
    """Build and submit a request; return its job, to be answered by ``answer_accepted``.

    Idempotent. Raises RequestError if the request is refused or if it is unknown whether it was
    accepted, and StoreUnavailable if it was withdrawn.
    """
    factory = build_factory(interaction)
    return await submit(interaction, factory, make(factory))


async def submit(
    interaction: discord.Interaction[Any], factory: RequestFactory, request: Request
) -> SubmitResult:
    """Submit a request that ``factory`` has built, as ``submit_request`` does."""
    context = get_context(interaction)
    actor = actor_of(interaction, context.moderator_role)
    for check in context.checks:
        await check(request, actor)
    try:
        async with context.init_images.held(request.init_image):
            accepted = await context.queue.submit(
                request, actor, interaction_ref(interaction), place_of(interaction)
            )
    except (RequestError, StoreUnavailable):
        raise  # refused or withdrawn: it was not accepted, and will not be
    except Exception as error:
        job = await _find_accepted(interaction, error)
        if job is not None:
            return SubmitResult(job, created=False, images_left=None)
        raise
    return replace(accepted, notice=escape_message(describe_removed(factory.removed_tags)))


async def submit_with_picture(
    interaction: discord.Interaction[Any],
    load: Callable[[], Awaitable[bytes | Path]],
    make: Callable[[RequestFactory, InitImage], Request],
    strength: float | None = None,
) -> SubmitResult:
    """Store the picture that ``load`` returns and submit the request that ``make`` makes of it.

    That can take longer than Discord waits for a first response, so the interaction has to be
    deferred before. ``strength`` is how far to depart from the picture, None for the
    server's default. A refused request leaves nothing stored. Raises as ``submit_request`` does.
    """
    context = get_context(interaction)
    data = await load()
    limit_waits()  # from now on: the member has been told to wait
    given = context.limits.strength if strength is None else strength
    async with context.init_images.stored(data, given) as picture:
        await context.picture_check.require_allowed(
            context.init_images.path(picture),
            interaction.guild_id or 0,
            age_restricted=place_of(interaction).age_restricted,
        )
        return await submit_request(interaction, lambda factory: make(factory, picture))


def place_of(interaction: discord.Interaction[Any]) -> Place:
    """Return where an interaction happens; a thread has its parent's category and age restriction.

    Direct messages, and threads whose parent the bot cannot see, count as not age-restricted.
    """
    channel, channel_id = interaction.channel, interaction.channel_id or 0
    if isinstance(channel, discord.Thread):
        parent = channel.parent
        return Place(
            channel_id,
            channel.parent_id,
            (parent.category_id if parent else None) or 0,
            parent is not None and parent.is_nsfw(),
        )
    if isinstance(channel, discord.abc.GuildChannel):
        restricted = getattr(channel, "is_nsfw", None)
        return Place(
            channel_id, 0, channel.category_id or 0, restricted is not None and restricted()
        )
    return Place(channel_id)


def require_shown_here(interaction: discord.Interaction[Any], job: Job) -> None:
    """Raise RequestError for marked images where the channel is not age-restricted."""
    if job.image_check is ImageOutcome.RESTRICTED and not place_of(interaction).age_restricted:
        raise RequestError(ONLY_AGE_RESTRICTED)


async def _find_accepted(interaction: discord.Interaction[Any], error: Exception) -> Job | None:
    """Return the job of an interaction whose submission failed with ``error``, None if refused.

    Raises RequestError if the store cannot say.
    """
    try:
        async with asyncio.timeout(min(CHECK_SECONDS, response_time_left())):
            job = await get_context(interaction).queue.jobs.by_interaction(interaction.id)
    except Exception:
        # The store may be what went wrong.
        log.error(
            "interaction %s: whether it was accepted is unknown", interaction.id, exc_info=error
        )
        raise RequestError(STATUS_UNKNOWN_MESSAGE.format(number=interaction.id)) from error
    if job is not None:
        log.error("interaction %s failed after it was accepted", interaction.id, exc_info=error)
    return job


def interaction_ref(interaction: discord.Interaction[Any]) -> InteractionRef:
    """Return what is stored of an interaction, to respond later and only once."""
    return InteractionRef(
        interaction.id, interaction.application_id, interaction.token, interaction.expires_at
    )
