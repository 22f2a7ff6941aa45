"""The card as first answer to an accepted request, whatever Discord makes of it.

From the acceptance on, the member must read that it is accepted, once, and never anything else. A
refused answer is given again without the member's words. One whose outcome is unknown is looked
for: by the interaction's token while that lives, then in the channel. Where there is none, the bot
posts a message of its own. What is not settled when the bot stops, the next one takes up.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, cast

import discord

from bot.domain.events import MessageRef
from bot.domain.job import Job, JobState
from bot.frontend.components import ComponentAction, custom_id
from bot.frontend.context import BotContext, ContextClient
from bot.frontend.embeds import QueueInfo, job_message
from bot.frontend.formatting import short_id
from bot.frontend.messages import NO_MENTIONS, MessageContent, to_embed, to_view
from bot.frontend.press_checks import carries, named_jobs
from bot.frontend.response_outcomes import Attempt, Outcome, attempt, insist
from bot.services.delivery import InteractionRef, StatusMessage

log = logging.getLogger(__name__)

ANSWER_SECONDS: Final = 3.0
"""Discord takes no first answer after this."""
LOOK_SECONDS: Final = 30.0
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 60.0
LOOK_BACK: Final = 200

_ORIGINAL: Final = cast("int", "@original")
_A_MINUTE: Final = timedelta(minutes=1)


class NotKnownYetError(Exception):
    """Discord cannot say at the moment what is true."""


async def answer_accepted(
    interaction: discord.Interaction[Any], job: Job, *, left: int | None = None, note: str = ""
) -> None:
    """Tell the member that the request is accepted, by its card; idempotent, never raises.

    Returns when the card is known, or known to be impossible. ``left``: images left after this
    job, if known; ``note`` stands above the card.
    """
    client = interaction.client
    assert isinstance(client, ContextClient), "only the bot's own client hears interactions"

    async def answer() -> StatusMessage | None:
        try:
            return await _answer(interaction, client, job, left, note)
        except Exception:
            # The job is accepted: whatever goes wrong here is said to the log alone.
            log.exception("the card could not be given", extra={"job": job.id})
        return await _settle(client, job.id)

    await client.context.settling.settle(job.id, answer)


async def find_card(client: ContextClient, job: Job) -> StatusMessage | None:
    """Return the job's card, found or posted if need be; None if there is and will be none."""
    return await client.context.settling.settle(job.id, lambda: _settle(client, job.id))


async def resume(client: ContextClient) -> None:
    """Begin to settle every card that a stop or a crash has left unknown."""
    for job_id in await client.context.messages.cards_owed():
        client.context.settling.begin(job_id, lambda job_id=job_id: _settle(client, job_id))  # type: ignore[misc]


async def _answer(
    interaction: discord.Interaction[Any],
    client: ContextClient,
    job: Job,
    left: int | None,
    note: str,
) -> StatusMessage | None:
    context = client.context
    position = await context.queue.position(job)
    card = job_message(job, context.now(), QueueInfo(position, left, context.notice()))
    for form in _forms(job, card, note):
        made = await insist(lambda form=form: _respond(interaction, form), context.sleep)  # type: ignore[misc]
        if made.outcome is not Outcome.REFUSED:
            break
        log.warning("Discord refused the card: %s", made.error, extra={"job": job.id})
    if made.outcome is Outcome.GIVEN and made.value is not None:
        await context.messages.save_status_message(
            job.id, MessageRef(job.request.place.channel_id, made.value)
        )
        await _tell(context, job.id)
        return await context.messages.status_message(job.id)
    log.info("the card is looked for: %s", made.error, extra={"job": job.id})
    if made.outcome is Outcome.UNKNOWN:
        await context.sleep(ANSWER_SECONDS)  # an attempt on its way takes effect now or never
    return await _settle(client, job.id, look=False)


async def _respond(interaction: discord.Interaction[Any], form: dict[str, Any]) -> int | None:
    response = await interaction.response.send_message(allowed_mentions=NO_MENTIONS, **form)
    return response.message_id


def _forms(job: Job, card: MessageContent, note: str) -> Iterator[dict[str, Any]]:
    """Ways to say the same, each plainer than the one before; the member's words in the first."""
    accepted = f"Your request `{short_id(job.id)}` was accepted."
    view = to_view(card.controls)
    controls = {"view": view} if view is not None else {}
    yield {"content": note or None, "embed": to_embed(card), **controls}
    plain = replace(card, description=f"{accepted} It cannot be shown here.", fields=(), image="")
    yield {"embed": to_embed(plain), **controls}
    yield {"content": accepted, **controls}
    yield {"content": accepted}


async def _settle(client: ContextClient, job_id: str, *, look: bool = True) -> StatusMessage | None:
    """Find or post the card, for as long as it takes; ``look``: it may be in the channel."""
    tries = 0
    while True:
        try:
            return await _settle_now(client, job_id, look=look)
        except NotKnownYetError as error:
            log.info("the card is not known yet: %s", error, extra={"job": job_id})
        except Exception:
            # The root of this task: the member is still to be told.
            log.exception("looking for the card broke off", extra={"job": job_id})
        look = True
        await client.context.sleep(min(LONGEST_PAUSE, FIRST_PAUSE * 2**tries))
        tries += 1


async def _settle_now(client: ContextClient, job_id: str, *, look: bool) -> StatusMessage | None:
    """Find or post the card. Raises NotKnownYetError."""
    context = client.context
    job = await context.queue.jobs.get(job_id)
    if job is None or not await context.messages.card_owed(job_id):
        return await context.messages.status_message(job_id)
    interaction = await context.queue.jobs.interaction(job_id)
    if interaction is not None and interaction.expires_at > context.now():
        message = await _original(client, job, interaction)
        if message is not None:
            return await _keep(context, job, message, answer=True)
    for channel in await _places(client, job) if look else ():
        message = await _in_history(client, channel, job)
        if message is not None:
            return await _keep(context, job, message, answer=False)
    return await _post(client, job_id)


async def _keep(
    context: BotContext, job: Job, message: discord.Message, *, answer: bool
) -> StatusMessage | None:
    place = MessageRef(message.channel.id, message.id)
    await context.messages.save_status_message(
        job.id, place, posted_at=message.created_at, answer=answer
    )
    log.info("the card was found", extra={"job": job.id})
    await _tell(context, job.id)
    return await context.messages.status_message(job.id)


async def _tell(context: BotContext, job_id: str) -> None:
    job = await context.queue.jobs.get(job_id)
    if job is not None and job.state is not JobState.DELIVERING:
        context.settling.on_card(job)


async def _original(
    client: ContextClient, job: Job, interaction: InteractionRef
) -> discord.Message | None:
    """The answer to the interaction, if that is the job's card. Raises NotKnownYetError."""
    webhook = discord.Webhook.partial(interaction.application_id, interaction.token, client=client)
    found = await attempt(lambda: webhook.fetch_message(_ORIGINAL), seconds=LOOK_SECONDS)
    message: discord.Message | None = _known(found)
    if message is None:
        return None
    if job.id in named_jobs(message):
        return message
    # After a press, @original can be the message that was pressed; its own answer names the press.
    answers = message.interaction_metadata
    mine = answers is not None and answers.id == interaction.id
    return message if mine and not message.flags.ephemeral else None


def _known(made: Attempt[Any]) -> Any:
    if made.outcome is Outcome.UNKNOWN:
        raise NotKnownYetError(f"{type(made.error).__name__}: {made.error}")
    return made.value


async def _places(client: ContextClient, job: Job) -> list[discord.abc.Messageable]:
    """The channel of the request, then the author's direct messages if there are any."""
    channel = client.get_partial_messageable(job.request.place.channel_id)
    author = discord.Object(job.request.author.id)
    direct = _known(await attempt(lambda: client.create_dm(author), seconds=LOOK_SECONDS))
    return [channel, direct] if direct is not None else [channel]


def is_card(client: discord.Client, message: discord.Message, job: Job) -> bool:
    """Whether a message in a channel looks like the job's card: it is the bot's and no result."""
    if client.user is None or message.author.id != client.user.id:
        return False
    if carries(message, custom_id(ComponentAction.DETAILS, job)):
        return False
    named = named_jobs(message)
    if named:
        return named == {job.id}
    footers = [embed.footer.text or "" for embed in message.embeds]
    return any(short_id(job.id) in text for text in (message.content, *footers))


async def _in_history(
    client: ContextClient, channel: discord.abc.Messageable, job: Job
) -> discord.Message | None:
    """The job's card among the messages since it was accepted. Raises NotKnownYetError."""
    result = job.result.message_id if job.result is not None else 0

    async def look() -> discord.Message | None:
        since = job.created_at - _A_MINUTE
        async for message in channel.history(limit=LOOK_BACK, after=since, oldest_first=True):
            # The short id that cards show can be another job's, too.
            like = message.id != result and is_card(client, message, job)
            if like and await client.context.messages.job_of(message.id) is None:
                return message
        return None

    found: discord.Message | None = _known(await attempt(look, seconds=LOOK_SECONDS))
    return found


async def _post(client: ContextClient, job_id: str) -> StatusMessage | None:
    """Post the card as the bot's own message, unless the result is on its way already.

    Raises NotKnownYetError.
    """
    context = client.context
    async with context.locks.acquire(job_id):
        job = await context.queue.jobs.get(job_id)
        assert job is not None, "jobs are kept"
        if job.state in (JobState.DELIVERING, JobState.FINISHED):
            await context.messages.no_card(job_id, "the result was ready first")
            return None
        position = await context.queue.position(job)
        card = job_message(job, context.now(), QueueInfo(position, notice=context.notice()))
        for channel in await _places(client, job):
            message = await _send(channel, job, card)
            if message is not None:
                place = MessageRef(message.channel.id, message.id)
                await context.messages.save_status_message(job_id, place, answer=False)
                break
        else:
            await context.messages.no_card(job_id, "refused everywhere")
            return None
    await _tell(context, job_id)
    return await context.messages.status_message(job_id)


async def _send(
    channel: discord.abc.Messageable, job: Job, card: MessageContent
) -> discord.Message | None:
    """Post the card, the plainest if need be; None if refused. Raises NotKnownYetError."""
    said = f"-# <@{job.request.author.id}>: accepted, though Discord lost the first answer."
    for form in _forms(job, card, said):
        sent = await attempt(
            lambda form=form: channel.send(  # type: ignore[misc]
                nonce=f"card-{job.id}", allowed_mentions=NO_MENTIONS, **form
            ),
            seconds=LOOK_SECONDS,
        )
        message: discord.Message | None = _known(sent)
        if message is not None:
            return message
        log.warning("Discord refused the card: %s", sent.error, extra={"job": job.id})
        if isinstance(sent.error, discord.Forbidden | discord.NotFound):
            break  # nothing plainer would be taken here either
    return None
