"""The status message as first response to an accepted request.

The member must learn exactly once that the request was accepted. A refused response is sent again
without the member's text. If the outcome is unknown, the message is searched: by the interaction
token, then in the channel. If there is none, the bot posts one. The next process resumes this.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, Final, cast

import discord

from bot.concurrency import Backoff
from bot.domain.errors import StoreUnavailable
from bot.domain.events import MessageRef
from bot.domain.job import Job, JobState
from bot.frontend.acknowledgement import THINKING, acknowledged
from bot.frontend.context import BotContext, ContextClient, get_client
from bot.frontend.custom_ids import ComponentAction, custom_id, has_component, job_ids_on
from bot.frontend.discord_errors import Attempt, Outcome, attempt, retry_unknown
from bot.frontend.formatting import short_id
from bot.frontend.message_content import MessageContent
from bot.frontend.messages import NO_MENTIONS, to_embed, to_view
from bot.frontend.status_embeds import QueueInfo, job_message
from bot.services.delivery import InteractionRef, StatusMessage
from bot.services.queue import SubmitResult, response_time_left, waits_limited

log = logging.getLogger(__name__)

RESPONSE_LIMIT_S: Final = 3.0
"""Discord takes no first answer after this."""
LOOKUP_TIMEOUT_S: Final = 30.0
MAX_HISTORY: Final = 200

_ORIGINAL: Final = cast("int", "@original")
_CLOCK_TOLERANCE: Final = timedelta(minutes=1)


class OutcomeUnknownError(Exception):
    """Discord cannot say at the moment whether the message exists."""


async def answer_accepted(
    interaction: discord.Interaction[Any], accepted: SubmitResult, *, note: str = ""
) -> None:
    """Respond with the status message of an accepted job. Idempotent; never raises.

    If it was deferred in public, the status message replaces that.

    Returns when the message is known, or known to be impossible. ``note`` is the text above the
    embed. The notice in ``accepted`` follows privately.
    """
    client = get_client(interaction)
    job = accepted.job
    seconds = response_time_left() / 2  # here: the task below has a context of its own

    async def answer() -> StatusMessage | None:
        try:
            # A repeated event is answered only if the first one was not, as after a crash.
            if not accepted.created and (known := await _known_message(client, job, seconds)):
                return known
            left = accepted.images_left
            return await _respond_with_status(interaction, client, job, left, note, seconds)
        except Exception:
            # The job is accepted: whatever goes wrong here is said to the log alone.
            log.exception("the status message could not be sent", extra={"job": job.id})
        return await _find_or_post(client, job.id)

    await client.context.status_tasks.run(job.id, answer)
    if accepted.notice:
        await _tell_privately(interaction, accepted.notice)


async def _tell_privately(interaction: discord.Interaction[Any], text: str) -> None:
    sent = await attempt(
        lambda: interaction.followup.send(text, ephemeral=True, allowed_mentions=NO_MENTIONS)
    )
    if sent.outcome is not Outcome.SUCCEEDED:
        log.info("the notice of interaction %s was not sent: %s", interaction.id, sent.error)


async def find_status_message(client: ContextClient, job: Job) -> StatusMessage | None:
    """Return the job's status message, found or posted; None if it is impossible."""
    return await client.context.status_tasks.run(job.id, lambda: _find_or_post(client, job.id))


def start_status_message(client: ContextClient, job_id: str, *, search_history: bool) -> None:
    """Start posting the status message of a job that answers no interaction, one of a set.

    ``search_history``: it may have been posted before.
    """
    client.context.status_tasks.start(
        job_id, partial(_find_or_post, client, job_id, search_history=search_history)
    )


async def resume(client: ContextClient) -> None:
    """Start finding or posting every status message that a stop or crash left unknown."""
    for job_id in await client.context.messages.status_messages_owed():
        client.context.status_tasks.start(job_id, partial(_find_or_post, client, job_id))


async def _known_message(client: ContextClient, job: Job, seconds: float) -> StatusMessage | None:
    """Return the status message that is stored; None too if the store does not say in time."""
    try:
        with waits_limited(seconds):
            return await client.context.messages.status_message(job.id)
    except StoreUnavailable:
        return None  # Discord takes no second answer


async def _respond_with_status(
    interaction: discord.Interaction[Any],
    client: ContextClient,
    job: Job,
    left: int | None,
    note: str,
    seconds: float,
) -> StatusMessage | None:
    context = client.context
    position, notice = None, context.notice()
    try:
        with waits_limited(seconds):
            position = await context.queue.position(job)
            notice = await context.notice_for(job.request.place.guild_id)
    except StoreUnavailable as error:
        # That the request was accepted is more important; the updater adds the position.
        log.info("a position is not known in time: %s", error, extra={"job": job.id})
    embed = job_message(job, context.now(), QueueInfo(position, left, notice))
    respond = _edit_thinking if acknowledged(interaction) == THINKING else _respond
    for variant in _message_variants(job, embed, note):
        response = await retry_unknown(partial(respond, interaction, variant), context.sleep)
        if response.outcome is not Outcome.REFUSED:
            break
        log.warning("Discord refused the status message: %s", response.error, extra={"job": job.id})
    if response.outcome is Outcome.SUCCEEDED and response.value is not None:
        await context.messages.save_status_message(
            job.id, MessageRef(job.request.place.channel_id, response.value)
        )
        await _notify_updater(context, job.id)
        return await context.messages.status_message(job.id)
    log.info("looking for the status message: %s", response.error, extra={"job": job.id})
    if response.outcome is Outcome.UNKNOWN:
        await context.sleep(RESPONSE_LIMIT_S)  # an attempt on its way takes effect now or never
    return await _find_or_post(client, job.id, search_history=False)


async def _edit_thinking(
    interaction: discord.Interaction[Any], variant: dict[str, Any]
) -> int | None:
    message = await interaction.edit_original_response(allowed_mentions=NO_MENTIONS, **variant)
    return message.id


async def _respond(interaction: discord.Interaction[Any], variant: dict[str, Any]) -> int | None:
    response = await interaction.response.send_message(allowed_mentions=NO_MENTIONS, **variant)
    return response.message_id


def _message_variants(job: Job, embed: MessageContent, note: str) -> Iterator[dict[str, Any]]:
    """Yield the message in ever simpler forms; only the first has the member's text."""
    accepted = f"Your request `{short_id(job.id)}` was accepted."
    view = to_view(embed.controls)
    controls = {"view": view} if view is not None else {}
    yield {"content": note or None, "embed": to_embed(embed), **controls}
    plain = replace(embed, description=f"{accepted} It cannot be shown here.", fields=(), image="")
    yield {"embed": to_embed(plain), **controls}
    yield {"content": accepted, **controls}
    yield {"content": accepted}


async def _find_or_post(
    client: ContextClient, job_id: str, *, search_history: bool = True
) -> StatusMessage | None:
    """Find or post the status message, retrying for ever.

    ``search_history``: look in the channel, too.
    """
    backoff = Backoff()
    while True:
        try:
            return await _find_or_post_once(client, job_id, search_history=search_history)
        except OutcomeUnknownError as error:
            log.info("the status message is not known yet: %s", error, extra={"job": job_id})
        except Exception:
            # The root of this task: the member has no status message yet.
            log.exception("looking for the status message failed", extra={"job": job_id})
        search_history = True
        await client.context.sleep(backoff.next())


async def _find_or_post_once(
    client: ContextClient, job_id: str, *, search_history: bool
) -> StatusMessage | None:
    """Find or post the status message. Raises OutcomeUnknownError."""
    context = client.context
    job = await context.queue.jobs.get(job_id)
    if job is None or not await context.messages.status_message_owed(job_id):
        return await context.messages.status_message(job_id)
    interaction = await context.queue.jobs.interaction(job_id)
    if interaction is not None and interaction.expires_at > context.now():
        message = await _fetch_original(client, job, interaction)
        if message is not None:
            return await _save_found(context, job, message, answer=True)
    for channel in await _candidate_channels(client, job) if search_history else ():
        message = await _find_in_history(client, channel, job)
        if message is not None:
            return await _save_found(context, job, message, answer=False)
    return await _post(client, job_id)


async def _save_found(
    context: BotContext, job: Job, message: discord.Message, *, answer: bool
) -> StatusMessage | None:
    place = MessageRef(message.channel.id, message.id)
    await context.messages.save_status_message(
        job.id, place, posted_at=message.created_at, answer=answer
    )
    log.info("the status message was found", extra={"job": job.id})
    await _notify_updater(context, job.id)
    return await context.messages.status_message(job.id)


async def _notify_updater(context: BotContext, job_id: str) -> None:
    job = await context.queue.jobs.get(job_id)
    if job is not None and (job.state is not JobState.DELIVERING or job.is_held):
        context.status_found(job)


async def _fetch_original(
    client: ContextClient, job: Job, interaction: InteractionRef
) -> discord.Message | None:
    """Return the response to the interaction if it is the job's status message.

    Raises OutcomeUnknownError.
    """
    webhook = discord.Webhook.partial(interaction.application_id, interaction.token, client=client)
    found = await attempt(lambda: webhook.fetch_message(_ORIGINAL), seconds=LOOKUP_TIMEOUT_S)
    message: discord.Message | None = _require_known(found)
    if message is None:
        return None
    if job.id in job_ids_on(message):
        return message
    # After a component, @original can be the component's message; a response names its interaction.
    answers = message.interaction_metadata
    mine = answers is not None and answers.id == interaction.id
    return message if mine and not message.flags.ephemeral else None


def _require_known(response: Attempt[Any]) -> Any:
    if response.outcome is Outcome.UNKNOWN:
        raise OutcomeUnknownError(f"{type(response.error).__name__}: {response.error}")
    return response.value


async def _candidate_channels(client: ContextClient, job: Job) -> list[discord.abc.Messageable]:
    """Return the request's channel, then the author's direct messages if possible."""
    direct = await _direct_channel(client, job)
    channel = _channel_of(client, job)
    return [channel, direct] if direct is not None else [channel]


def _channel_of(client: ContextClient, job: Job) -> discord.abc.Messageable:
    return client.get_partial_messageable(job.request.place.channel_id)


async def _direct_channel(client: ContextClient, job: Job) -> discord.abc.Messageable | None:
    """Return the author's direct messages, None if Discord refuses. Raises OutcomeUnknownError."""
    author = discord.Object(job.request.author.id)
    opened = await attempt(lambda: client.create_dm(author), seconds=LOOKUP_TIMEOUT_S)
    channel: discord.abc.Messageable | None = _require_known(opened)
    return channel


def is_status_message(client: discord.Client, message: discord.Message, job: Job) -> bool:
    """Return whether a message is the job's status message: the bot's, and no result."""
    if client.user is None or message.author.id != client.user.id:
        return False
    if has_component(message, custom_id(ComponentAction.DETAILS, job)):
        return False
    named = job_ids_on(message)
    if named:
        return named == {job.id}
    footers = [embed.footer.text or "" for embed in message.embeds]
    return any(short_id(job.id) in text for text in (message.content, *footers))


async def _find_in_history(
    client: ContextClient, channel: discord.abc.Messageable, job: Job
) -> discord.Message | None:
    """Return the job's status message among the messages since it was accepted.

    Raises OutcomeUnknownError.
    """
    result = job.result.message_id if job.result is not None else 0

    async def search_history() -> discord.Message | None:
        since = job.created_at - _CLOCK_TOLERANCE
        async for message in channel.history(limit=MAX_HISTORY, after=since, oldest_first=True):
            # Another job can have the same short id.
            like = message.id != result and is_status_message(client, message, job)
            if like and await client.context.messages.job_of(message.id) is None:
                return message
        return None

    found: discord.Message | None = _require_known(
        await attempt(search_history, seconds=LOOKUP_TIMEOUT_S)
    )
    return found


async def _post(client: ContextClient, job_id: str) -> StatusMessage | None:
    """Post the status message as a new message, unless the result is being posted.

    Raises OutcomeUnknownError.
    """
    context = client.context
    async with context.locks.acquire(job_id):
        job = await context.queue.jobs.get(job_id)
        assert job is not None, "jobs are kept"
        if job.state in (JobState.DELIVERING, JobState.FINISHED) and not job.is_held:
            await context.messages.no_status_message(job_id, "the result was ready first")
            return None
        position = await context.queue.position(job)
        notice = await context.notice_for(job.request.place.guild_id)
        embed = job_message(job, context.now(), QueueInfo(position, notice=notice))
        said = await _introduce(context, job)
        message = await _send(_channel_of(client, job), job, embed, said)
        if message is None and (direct := await _direct_channel(client, job)) is not None:
            message = await _send(direct, job, embed, said)
        if message is None:
            await context.messages.no_status_message(job_id, "refused everywhere")
            return None
        place = MessageRef(message.channel.id, message.id)
        await context.messages.save_status_message(job_id, place, answer=False)
    await _notify_updater(context, job_id)
    return await context.messages.status_message(job_id)


async def _introduce(context: BotContext, job: Job) -> str:
    """Return the line above a status message that is no answer to a command."""
    author = f"<@{job.request.author.id}>"
    number = await context.sets.number_in_set(job.id)
    if number is not None:
        return f"-# {author}: grid {number[0]} of {number[1]}"
    return f"-# {author}: your request was accepted. Discord did not show the first message."


async def _send(
    channel: discord.abc.Messageable, job: Job, embed: MessageContent, said: str
) -> discord.Message | None:
    """Post the status message, the simplest form if need be; None if it was refused."""
    for variant in _message_variants(job, embed, said):
        sent = await attempt(
            lambda variant=variant: channel.send(  # type: ignore[misc]
                nonce=f"card-{job.id}", allowed_mentions=NO_MENTIONS, **variant
            ),
            seconds=LOOKUP_TIMEOUT_S,
        )
        message: discord.Message | None = _require_known(sent)
        if message is not None:
            return message
        log.warning("Discord refused the status message: %s", sent.error, extra={"job": job.id})
        if isinstance(sent.error, discord.Forbidden | discord.NotFound):
            break  # nothing plainer would be taken here either
    return None
