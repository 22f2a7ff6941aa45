"""Members' stars: their favourites, and the gallery of a server.

At so many stars of different members, the author's own not counted, a result is posted once in the
server's gallery channel. The star that reaches the threshold and the intent to post are saved in
one transaction; ``GalleryPoster`` carries it out. The post goes when its original goes.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final, Protocol

from bot.domain.errors import (
    ArtifactMissing,
    DeliveryError,
    DeliveryUnavailable,
    InvalidRequest,
    RequestError,
)
from bot.domain.events import MessageRef
from bot.domain.job import Job, JobState
from bot.services.channel_poster import (
    ATTEMPT_SECONDS,
    REFUSED_S,
    ChannelPoster,
    ChannelRefused,
    MessageGone,
)
from bot.services.delivery import is_erased
from bot.services.moderation_records import parse_settings, record_logged_action, require_manager
from bot.services.queue import Actor
from bot.store import deliveries, gallery, guilds, job_queries
from bot.store.database import Database
from bot.store.gallery import GalleryPost, GalleryRepository, StarCount
from bot.store.guilds import GuildRepository
from bot.store.jobs import JobRepository

__all__ = ["GalleryPost", "GalleryService"]

log = logging.getLogger(__name__)

MAX_THRESHOLD: Final = 100
CHECKED_POSTS: Final = 50
CHECK_S: Final = 3600.0
"""So often the originals of the latest CHECKED_POSTS posts are looked up in Discord."""
_DELETE_AGAIN_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class StarOutcome:
    """What a press of the star has changed. ``goes_to`` is the gallery, 0 unless it goes there."""

    starred: bool
    count: StarCount
    goes_to: int = 0


class GalleryService:
    """Save stars and the settings of galleries."""

    def __init__(self, database: Database, *, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now
        self._reader = GalleryRepository(database)

    async def toggle_star(self, job_id: str, by: Actor) -> StarOutcome:
        """Give a member's star to a result, or take it back.

        Raises RequestError for a result that is not finished, or is removed or erased.
        """
        at = self._now()

        def change(link: sqlite3.Connection) -> StarOutcome:
            job = _starrable_job(link, job_id)
            starred = gallery.toggle_star(link, job.id, by.id, at=at)
            count = gallery.count_stars(link, job.id)
            guild_id = job.request.place.guild_id
            settings = parse_settings(guilds.settings(link, guild_id))
            channel_id = settings.gallery_channel_id if guild_id and job.result else 0
            enough = starred and channel_id and count.others >= settings.gallery_threshold
            if enough and gallery.want_post(link, job.id, at=at):
                return StarOutcome(starred, count, channel_id)
            return StarOutcome(starred, count)

        return await self._database.write(change)

    async def favourites(
        self, user_id: int, guild_id: int | None, limit: int, skip: int
    ) -> tuple[Job, ...]:
        """Return results that a member has starred, latest first; None is every server."""
        return await self._reader.favourites(user_id, guild_id, limit, skip)

    async def has_star(self, job_id: str, user_id: int) -> bool:
        """Return whether a member has starred a result."""
        return await self._reader.has_star(job_id, user_id)

    async def withdraw(self, job_id: str) -> None:
        """Save that a result is gone: its stars too, and it is not to be in the gallery."""
        at = self._now()
        await self._database.write(lambda link: gallery.withdraw_result(link, job_id, at=at))

    async def set_gallery(
        self, guild_id: int, channel_id: int | None, threshold: int | None, *, by: Actor
    ) -> tuple[int, int]:
        """Set a server's gallery, its threshold alone or, without both, switch it off.

        Return the channel, 0 for none, and the threshold. Raises NotAllowed without Manage Server,
        InvalidRequest for a value out of range, RequestError for a threshold without a gallery.
        """
        require_manager(by)
        if threshold is not None and not 1 <= threshold <= MAX_THRESHOLD:
            raise InvalidRequest(
                "threshold", f"threshold can be 1 to {MAX_THRESHOLD}, not {threshold}."
            )
        at = self._now()

        def change(link: sqlite3.Connection) -> tuple[int, int]:
            before = parse_settings(guilds.settings(link, guild_id))
            if channel_id is None and threshold is not None and not before.gallery_channel_id:
                raise InvalidRequest("channel", "channel: name the gallery channel, too.")
            kept = before.gallery_channel_id if threshold is not None else 0
            channel = channel_id or kept
            stars = threshold or before.gallery_threshold
            if (channel, stars) == (before.gallery_channel_id, before.gallery_threshold):
                raise RequestError("It is set like this already. See /art-admin status.")
            guilds.set_setting(link, guild_id, "gallery_channel", channel or None)
            guilds.set_setting(link, guild_id, "gallery_threshold", stars)
            detail = {"channel": channel or "none", "threshold": stars if channel else None}
            record_logged_action(link, guild_id, at, by, "setting", "setting:gallery", detail)
            return channel, stars

        return await self._database.write(change)


def _starrable_job(link: sqlite3.Connection, job_id: str) -> Job:
    """Return a job whose result is there. Raises RequestError for any other."""
    job = job_queries.job_by_id(job_id).run(link)
    if job is None or job.state is not JobState.FINISHED or not job.fetched_rows:
        raise RequestError("Only finished results can be starred.")
    if is_erased(job):
        raise RequestError("The author erased this request, so it cannot be starred.")
    if deliveries.is_removed(link, job.id):
        raise RequestError("A moderator removed this result, so it cannot be starred.")
    return job


class AgeRestricted(DeliveryError):
    """The result is from an age-restricted channel, and the gallery is not one."""


class GalleryChannel(Protocol):
    """Posts and deletes results in gallery channels.

    All methods raise DeliveryUnavailable if that is not possible now, or the outcome is unknown.
    """

    async def is_original_there(self, job: Job) -> bool:
        """Return whether the message with the result exists where others see it."""
        ...

    async def post(self, channel_id: int, post: GalleryPost, job: Job) -> MessageRef:
        """Post a result.

        Raises ChannelRefused, AgeRestricted, ArtifactMissing without its images, or DeliveryError
        for what is never accepted.
        """
        ...

    async def find(self, channel_id: int, post: GalleryPost, since: datetime) -> MessageRef | None:
        """Return what an attempt after ``since`` has posted. Raises ChannelRefused."""
        ...

    async def delete(self, place: MessageRef) -> None:
        """Delete a post. Raises MessageGone if there is none, ChannelRefused."""
        ...


class GalleryPoster(ChannelPoster):
    """Post and delete in all servers' galleries, as a task of its own."""

    channel_name = "gallery"

    def __init__(
        self,
        database: Database,
        channel: GalleryChannel,
        *,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__(now=now, clock=clock, sleep=sleep)
        self._database = database
        self._channel = channel
        self._reader = GalleryRepository(database)
        self._jobs = JobRepository(database)
        self._guilds = GuildRepository(database)

    async def _servers(self) -> Sequence[int]:
        return await self._reader.servers_pending()

    async def _channel_of(self, guild_id: int) -> int:
        return parse_settings(await self._guilds.settings(guild_id)).gallery_channel_id

    async def post_pending(self, guild_id: int) -> None:
        """Delete what is withdrawn, wherever it is, then post what the gallery lacks."""
        async with self._locks.acquire(str(guild_id)):
            for post in await self._reader.withdrawn(guild_id):
                if self._is_due(post.job_id):
                    await self._delete(post)
        await super().post_pending(guild_id)

    async def check_originals(self) -> int:
        """Withdraw the latest posts whose original was deleted in Discord; return their number."""
        gone = 0
        for post in await self._reader.latest_posted(CHECKED_POSTS):
            job = await self._jobs.get(post.job_id)
            try:
                there = job is not None and await self._channel.is_original_there(job)
            except DeliveryUnavailable as error:
                log.info("whether an original exists is not known now: %s", error)
                break
            if not there:
                await self._write(partial(gallery.withdraw_post, job_id=post.job_id))
                gone += 1
        if gone:
            self.wake()
        return gone

    async def run_checks(self) -> None:
        """Look up the originals every hour until cancelled."""
        while True:
            await self._sleep(CHECK_S)
            await self.check_originals()

    async def _post_all(self, guild_id: int, channel_id: int) -> None:
        if not channel_id:
            return
        for post in await self._reader.unposted(guild_id):
            if self._is_due(post.job_id):
                await self._attempt(post.job_id, partial(self._post_one, post, channel_id))

    async def _post_one(self, post: GalleryPost, channel_id: int) -> None:
        job = await self._jobs.get(post.job_id)
        if job is None or not await self._channel.is_original_there(job):
            await self._write(partial(gallery.withdraw_post, job_id=post.job_id))
            return
        place = await self._find(post, channel_id, job.created_at)
        if place is None:
            attempt = partial(gallery.record_attempt, job_id=post.job_id, channel_id=channel_id)
            if not await self._write(attempt):
                return  # it was withdrawn meanwhile
            try:
                place = await self._channel.post(channel_id, post, job)
            except DeliveryUnavailable:
                raise
            except AgeRestricted as error:
                await self._cancel_attempt(post)
                log.info("a result waits: %s", error, extra={"job": post.job_id})
                self._put_off[post.job_id] = self._clock() + REFUSED_S
                return
            except ArtifactMissing as error:
                await self._cancel_attempt(post)
                await self._write(partial(gallery.withdraw_post, job_id=post.job_id))
                log.info("a result is not posted: %s", error, extra={"job": post.job_id})
                return
            except DeliveryError:
                await self._cancel_attempt(post)
                raise
        await self._write(partial(gallery.record_posted, job_id=post.job_id, message=place))

    async def _find(self, post: GalleryPost, channel_id: int, since: datetime) -> MessageRef | None:
        """Return what an earlier attempt has posted, also one before a backup was restored."""
        where = post.attempted_in or channel_id
        try:
            return await self._channel.find(where, post, post.attempted_at or since)
        except ChannelRefused as error:
            if where == channel_id:
                raise
            log.info("the earlier gallery cannot be read any more: %s", error)
            return None

    async def _delete(self, post: GalleryPost) -> None:
        """Delete a post, or save when that is tried again."""
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                place = post.message
                if place is None and post.attempted_in is not None:
                    since = post.attempted_at or post.wanted_at
                    place = await self._channel.find(post.attempted_in, post, since)
                if place is not None:
                    await self._channel.delete(place)
        except MessageGone:
            pass
        except (DeliveryError, OSError, TimeoutError) as error:
            log.info("a gallery post cannot be deleted now: %s", error, extra={"job": post.job_id})
            refused = isinstance(error, DeliveryError) and not isinstance(
                error, DeliveryUnavailable
            )
            pause = REFUSED_S if refused else _DELETE_AGAIN_S
            self._put_off[post.job_id] = self._clock() + pause
            return
        self._put_off.pop(post.job_id, None)
        await self._write(partial(gallery.record_removed, job_id=post.job_id))

    async def _cancel_attempt(self, post: GalleryPost) -> None:
        await self._database.write(lambda link: gallery.cancel_attempt(link, post.job_id))

    async def _write(self, change: Callable[..., bool | None]) -> bool | None:
        at = self._now()
        return await self._database.write(lambda link: change(link, at=at))
