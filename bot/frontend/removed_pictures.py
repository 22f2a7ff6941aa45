"""Results whose pictures are no longer stored: what is said about them, and what is offered."""

from __future__ import annotations

import asyncio
from typing import Final

from bot.domain.errors import RequestError
from bot.domain.job import Job
from bot.domain.retention import RemovalCause
from bot.frontend.context import BotContext
from bot.frontend.custom_ids import ComponentAction, custom_id
from bot.frontend.formatting import format_footer, format_prompt, timestamp
from bot.frontend.message_content import GREY, ButtonSpec, MessageContent

_REASONS: Final = {
    RemovalCause.AGE: "because they were too old",
    RemovalCause.SIZE: "to make room for new ones",
}
_OFFER: Final = " Its prompt, seed and settings are. Making it again counts as a new request."


async def are_pictures_gone(context: BotContext, job: Job) -> bool:
    """Return whether the pictures of a delivered result are no longer stored."""
    if await context.queue.jobs.picture_removal(job.id) is not None:
        return True
    return not await asyncio.to_thread(context.fetcher.result(job).grid.exists)


async def require_gone(context: BotContext, job: Job) -> None:
    """Raise RequestError unless a finished job may be run again because its pictures are gone."""
    if not await are_pictures_gone(context, job):
        raise RequestError("This job did not fail. Use Re-roll to run it with a new seed.")
    if await context.messages.removals(job.id):
        raise RequestError("A moderator removed this result, so it is not made again.")


async def removed_pictures_message(context: BotContext, job: Job) -> MessageContent:
    """Return when and why pictures were removed, with a button that makes them again.

    Without the button if somebody wanted them away, not the retention.
    """
    removal = await context.queue.jobs.picture_removal(job.id)
    text = "The images of this job are no longer stored"
    again = removal is None or removal.cause in _REASONS
    if removal is not None and again:
        text += f": they were removed {timestamp(removal.removed_at, 'f')} "
        text += _REASONS[removal.cause]
    button = ButtonSpec("Make it again", custom_id(ComponentAction.RETRY, job))
    return MessageContent(
        title="Images removed",
        description=f"{format_prompt(job)}\n{text}.{_OFFER if again else ''}",
        colour=GREY,
        footer=format_footer(job),
        controls=((button,),) if again else (),
    )
