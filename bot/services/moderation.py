"""Let moderators run a server: pauses, channels, words, blocks, cancels, and what waits for them.

Every action is one transaction with its audit entry and its message for the log channel. Only
moderators of the server may act; this is checked here for every call. What belongs to another
server is not found.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, Literal

from bot.domain.errors import RequestError
from bot.domain.image_check import ImageAction
from bot.domain.job import JobState
from bot.domain.moderation import (
    MAX_PAUSE,
    MIN_PAUSE,
    ChannelRule,
    Pause,
    PauseMode,
    parse_reason,
    shipped_rules,
)
from bot.domain.word_filter import (
    WordMatch,
    WordRule,
    iter_matches,
    validate_breadth,
    validate_pattern,
)
from bot.services import holds
from bot.services.lifecycle import AppliedEvent, JobLifecycle, request_cancel
from bot.services.moderation_records import (
    MODERATORS_SETTINGS,
    SETTING_KEYS,
    ServerSettings,
    ServerStatus,
    audit_to_json_lines,
    channel_to_json,
    ends_alike,
    find_same_word,
    parse_settings,
    record_logged_action,
    require_manager,
    require_moderator,
    validate_channel_rule,
    validate_length,
    word_to_json,
)
from bot.services.pauses import end_pause, start_pause
from bot.services.queue import Actor, JobQueue
from bot.store import guilds, moderation
from bot.store.audit import AuditRepository
from bot.store.database import Database
from bot.store.gallery import GalleryRepository
from bot.store.moderation import (
    HoldKind,
    JobHold,
    MemberBlock,
    ModerationRepository,
    ScopedWordRule,
)
from bot.store.moderation_log import ModerationLogRepository

MAX_WORD_RULES: Final = 500
MAX_CHANNEL_RULES: Final = 200
CANCELLABLE: Final = (JobState.QUEUED, JobState.SUBMITTING, JobState.PENDING, JobState.RUNNING)


class ModerationService:
    """What moderators do. Raises NotAllowed for everybody else, RequestError for bad values.

    ``image_action`` is the operator's; None: there is no image check.
    """

    def __init__(
        self,
        database: Database,
        lifecycle: JobLifecycle,
        queue: JobQueue,
        *,
        now: Callable[[], datetime],
        wake: Callable[[], None],
        image_action: ImageAction | None = None,
    ) -> None:
        self._database = database
        self._image_action = image_action
        self._lifecycle = lifecycle
        self._queue = queue
        self._now = now
        self._wake = wake
        self._reader = ModerationRepository(database)
        self._guilds = guilds.GuildRepository(database)
        self._log = ModerationLogRepository(database)
        self._audit = AuditRepository(database)
        self._gallery = GalleryRepository(database)

    # Pauses

    async def pause(
        self,
        guild_id: int,
        *,
        reason: str,
        lasts: timedelta | None,
        refuses: bool,
        mode: PauseMode = "pause",
        by: Actor,
    ) -> Pause:
        """Pause a server, replacing an earlier pause; ``lasts`` None is until it is resumed.

        Raises RequestError if it is paused like this already.
        """
        require_moderator(by)
        why = parse_reason(reason)
        if lasts is not None:
            validate_length("until", lasts, MIN_PAUSE, MAX_PAUSE)
        at = self._now()
        until = None if lasts is None else at + lasts
        pause = Pause(why, until, refuses or mode == "drain", mode)

        done = await self._database.write(lambda link: start_pause(link, guild_id, pause, at, by))
        self._wake()
        return done

    async def resume(self, guild_id: int, *, by: Actor) -> Pause:
        """End the pause and return it. Raises RequestError if there is none."""
        require_moderator(by)
        at = self._now()
        done = await self._database.write(lambda link: end_pause(link, guild_id, at, by))
        self._wake()
        return done

    async def active_pause(self, guild_id: int) -> Pause | None:
        """Return the pause that holds now."""
        pause = Pause.from_setting((await self._guilds.settings(guild_id)).get("paused"))
        return pause if pause is not None and pause.is_active(self._now()) else None

    # Channels

    async def set_channel(self, guild_id: int, rule: ChannelRule, *, by: Actor) -> ChannelRule:
        """Set what holds in a channel or category. Raises RequestError for a value out of range."""
        require_moderator(by)
        validate_channel_rule(rule)
        at = self._now()

        def change(link: sqlite3.Connection) -> ChannelRule:
            rules = moderation.channel_rules(link, guild_id)
            if rule in rules:
                raise RequestError("This rule is set already.")
            known = any(other.channel_id == rule.channel_id for other in rules)
            if not known and len(rules) >= MAX_CHANNEL_RULES:
                raise RequestError(
                    f"This server has {MAX_CHANNEL_RULES} channel rules, and more are not "
                    "possible. Remove one first."
                )
            moderation.set_channel_rule(link, guild_id, rule)
            detail = channel_to_json(rule)
            subject = f"channel:{rule.channel_id}"
            record_logged_action(link, guild_id, at, by, "channel-set", subject, detail)
            return rule

        done = await self._database.write(change)
        self._wake()
        return done

    async def remove_channel(self, guild_id: int, channel_id: int, *, by: Actor) -> ChannelRule:
        """Remove a channel's rule and return it. Raises RequestError if there is none."""
        require_moderator(by)
        at = self._now()

        def change(link: sqlite3.Connection) -> ChannelRule:
            rules = moderation.channel_rules(link, guild_id)
            rule = next((one for one in rules if one.channel_id == channel_id), None)
            if rule is None:
                raise RequestError("There is no rule for this channel.")
            moderation.remove_channel_rule(link, guild_id, channel_id)
            detail = channel_to_json(rule)
            record_logged_action(
                link, guild_id, at, by, "channel-remove", f"channel:{channel_id}", detail
            )
            return rule

        done = await self._database.write(change)
        self._wake()
        return done

    async def channels(self, guild_id: int) -> tuple[ChannelRule, ...]:
        """Return a server's channel rules."""
        return await self._reader.channel_rules(guild_id)

    # Words

    async def add_word(
        self,
        guild_id: int,
        pattern: str,
        *,
        whole_word: bool,
        channel_id: int | None,
        effect: Literal["refuse", "hold"],
        adult: bool,
        by: Actor,
    ) -> WordRule:
        """Add a word rule. Raises InvalidRequest for a pattern that matches nothing, or all."""
        require_moderator(by)
        stored = validate_pattern(pattern)
        validate_breadth(stored, whole_word=whole_word)
        at = self._now()

        def change(link: sqlite3.Connection) -> WordRule:
            known = moderation.all_word_rules(link, guild_id)
            if len(known) >= MAX_WORD_RULES:
                raise RequestError(
                    f"This server has {MAX_WORD_RULES} word rules, and more are not possible. "
                    "Remove one first."
                )
            wanted = WordRule(0, stored, whole_word, effect, adult)
            if (same := find_same_word(known, ScopedWordRule(wanted, channel_id))) is not None:
                raise RequestError(f"This rule exists already: number {same.rule.id}.")
            self._queue.word_rules.clear(guild_id)
            added = moderation.add_word_rule(
                link,
                guild_id,
                stored,
                whole_word=whole_word,
                channel_id=channel_id,
                effect=effect,
                adult=adult,
            )
            detail = word_to_json(ScopedWordRule(added, channel_id))
            record_logged_action(link, guild_id, at, by, "word-add", f"word:{added.id}", detail)
            return added

        return await self._database.write(change)

    async def remove_word(self, guild_id: int, rule_id: int, *, by: Actor) -> ScopedWordRule:
        """Remove a word rule and return it. Raises RequestError if the server has none like it."""
        require_moderator(by)
        at = self._now()

        def change(link: sqlite3.Connection) -> ScopedWordRule:
            known = moderation.all_word_rules(link, guild_id)
            found = next((one for one in known if one.rule.id == rule_id), None)
            if found is None:
                raise RequestError(f"There is no word rule {rule_id} on this server.")
            self._queue.word_rules.clear(guild_id)
            moderation.remove_word_rule(link, guild_id, rule_id)
            detail = word_to_json(found)
            record_logged_action(link, guild_id, at, by, "word-remove", f"word:{rule_id}", detail)
            return found

        return await self._database.write(change)

    async def words(self, guild_id: int) -> tuple[ScopedWordRule, ...]:
        """Return a server's word rules, oldest first."""
        return await self._reader.word_rules(guild_id)

    async def test_words(self, guild_id: int, channel_id: int, text: str) -> tuple[WordMatch, ...]:
        """Return what each rule of a channel finds in ``text``, the shipped ones included."""
        rules = await self._reader.word_rules_in(guild_id, channel_id)
        shipped = shipped_rules(await self._guilds.settings(guild_id))
        return tuple(iter_matches((*rules, *shipped), text))

    # Members

    async def block(
        self,
        guild_id: int,
        member_id: int,
        *,
        lasts: timedelta | None,
        reason: str,
        by: Actor,
        within: Callable[[sqlite3.Connection, MemberBlock], None] | None = None,
    ) -> tuple[MemberBlock, int]:
        """Block a member and cancel their waiting requests; return the block and their number.

        ``lasts`` None is until unblocked. ``within`` is called first, in the same transaction.
        Raises RequestError for a value out of range, and what ``within`` raises; without it, also
        for a member who is blocked like this already.
        """
        require_moderator(by)
        why = parse_reason(reason)
        if lasts is not None:
            validate_length("for", lasts, MIN_PAUSE, MAX_PAUSE)
        if member_id == by.id:
            raise RequestError("You cannot block yourself.")
        at = self._now()
        block = MemberBlock(member_id, None if lasts is None else at + lasts, why)

        def change(
            link: sqlite3.Connection,
        ) -> tuple[tuple[MemberBlock, int], list[AppliedEvent]]:
            before = moderation.blocked(link, guild_id, member_id, at)
            if within is not None:
                within(link, block)
            elif before and before.reason == why and ends_alike(before.until, block.until):
                raise RequestError("This member is already blocked like this.")
            moderation.block(link, guild_id, block)
            applied: list[AppliedEvent] = []
            waiting = moderation.jobs_in(link, guild_id, [JobState.QUEUED], author_id=member_id)
            for job_id in waiting:
                applied += request_cancel(link, job_id, by.id, at)
            detail = {
                "until": block.until and block.until.isoformat(),
                "reason": why,
                "cancelled": len(waiting),
            }
            record_logged_action(link, guild_id, at, by, "block", f"user:{member_id}", detail)
            return (block, len(waiting)), applied

        return await self._lifecycle.write(change)

    async def unblock(self, guild_id: int, member_id: int, *, by: Actor) -> MemberBlock:
        """Unblock a member and return the block. Raises RequestError if there is none."""
        require_moderator(by)
        at = self._now()

        def change(link: sqlite3.Connection) -> MemberBlock:
            block = moderation.blocked(link, guild_id, member_id, at)
            if block is None:
                raise RequestError("This member is not blocked.")
            moderation.unblock(link, guild_id, member_id)
            record_logged_action(link, guild_id, at, by, "unblock", f"user:{member_id}", {})
            return block

        return await self._database.write(change)

    async def blocks(self, guild_id: int) -> tuple[MemberBlock, ...]:
        """Return the blocks that hold now."""
        return await self._reader.blocks(guild_id, self._now())

    # Jobs

    async def cancellable(
        self, guild_id: int, *, member_id: int | None = None, channel_id: int | None = None
    ) -> tuple[str, ...]:
        """Return the waiting and running jobs of a member, a channel or the whole server."""
        return await self._reader.jobs_in(
            guild_id, CANCELLABLE, author_id=member_id, channel_id=channel_id
        )

    async def cancel(
        self,
        guild_id: int,
        *,
        member_id: int | None = None,
        channel_id: int | None = None,
        by: Actor,
    ) -> int:
        """Cancel the jobs that ``cancellable`` returns and return their number.

        They are marked in one transaction, so a stop in between loses none. Jobs that are being
        stopped already are stopped again, not counted. Raises RequestError if there are none.
        """
        require_moderator(by)
        at = self._now()
        whose = {"author_id": member_id, "channel_id": channel_id}
        subject = (
            f"user:{member_id}"
            if member_id is not None
            else f"channel:{channel_id}"
            if channel_id is not None
            else f"server:{guild_id}"
        )

        def change(link: sqlite3.Connection) -> tuple[int, list[AppliedEvent]]:
            applied: list[AppliedEvent] = []
            for job_id in moderation.jobs_in(link, guild_id, CANCELLABLE, **whose):
                applied += request_cancel(link, job_id, by.id, at)
            count = len({job.id for job, _ in applied})
            if count:
                detail = {"requests": count}
                record_logged_action(link, guild_id, at, by, "cancel", subject, detail)
            return count, applied

        wanted = await self.cancellable(guild_id, member_id=member_id, channel_id=channel_id)
        if not wanted:
            raise RequestError("There is nothing to cancel: no request waits or runs there.")
        count = await self._lifecycle.write(change)
        self._wake()
        for job_id in wanted:
            await self._queue.stop(job_id)
        return count

    async def decide_hold(
        self, guild_id: int, job_id: str, kind: HoldKind, *, approved: bool, by: Actor
    ) -> JobHold:
        """Approve or reject a job that waits for a moderator, once; a rejected one is refunded.

        Raises RequestError, naming who was first, if it was decided before.
        """
        require_moderator(by)
        at = self._now()

        decided = await self._lifecycle.write(
            lambda link: holds.decide_hold(
                link, guild_id, job_id, kind, approved=approved, by=by, at=at
            )
        )
        self._wake()
        return decided

    async def hold(self, job_id: str, kind: HoldKind = "words") -> JobHold | None:
        """Return a job's hold, decided or not."""
        return await self._reader.hold(job_id, kind)

    async def open_holds(self, guild_id: int) -> tuple[JobHold, ...]:
        """Return what waits for the moderators, oldest first."""
        return await self._reader.open_holds(guild_id)

    # Settings and overview

    async def settings(self, guild_id: int) -> ServerSettings:
        """Return what is set for a server."""
        return parse_settings(await self._guilds.settings(guild_id))

    async def image_action(self, guild_id: int) -> ImageAction | None:
        """Return what happens to marked images on a server; None: there is no image check."""
        return (await self.settings(guild_id)).effective_image_action(self._image_action)

    async def checks_images(self, guild_id: int) -> bool:
        """Return whether images are checked before they are shown on a server."""
        if self._image_action is None:
            return False
        return await self.image_action(guild_id) != "allow"

    async def set_setting(self, guild_id: int, key: str, value: object, *, by: Actor) -> bool:
        """Set one of the settings of ServerSettings, by its stored key; None is the default.

        Return False, and record nothing, if it has this value already.
        """
        return await self.change_setting(guild_id, key, lambda _: value, by=by)

    async def change_setting(
        self, guild_id: int, key: str, change: Callable[[object], object], *, by: Actor
    ) -> bool:
        """Set a setting to what ``change`` makes of the stored value, in one transaction.

        Return False, and record nothing, if that is the stored value.
        """
        (require_moderator if key in MODERATORS_SETTINGS else require_manager)(by)
        if key not in SETTING_KEYS:
            raise ValueError(f"there is no setting {key}")
        at = self._now()

        def save(link: sqlite3.Connection) -> bool:
            before = guilds.settings(link, guild_id).get(key)
            value = change(before)
            if value == before:
                return False
            guilds.set_setting(link, guild_id, key, value)
            detail = {"was": before, "is": value}
            record_logged_action(link, guild_id, at, by, "setting", f"setting:{key}", detail)
            return True

        return await self._database.write(save)

    async def status(self, guild_id: int) -> ServerStatus:
        """Return what holds in a server now."""
        return ServerStatus(
            pause=await self.active_pause(guild_id),
            settings=await self.settings(guild_id),
            channels=await self.channels(guild_id),
            words=len(await self.words(guild_id)),
            blocks=len(await self.blocks(guild_id)),
            holds=len(await self.open_holds(guild_id)),
            waiting=len(await self._reader.jobs_in(guild_id, [JobState.QUEUED])),
            running=len(await self._reader.jobs_in(guild_id, CANCELLABLE[1:])),
            unposted=await self._log.pending_count(guild_id),
            gallery_unposted=await self._gallery.unposted_count(guild_id),
            image_action=await self.image_action(guild_id),
        )

    async def export(self, guild_id: int, limit: int, *, by: Actor) -> tuple[bytes, int]:
        """Return the latest ``limit`` audit entries as JSON lines, oldest first, and their number.

        The entry of this export itself is not among them.
        """
        require_manager(by)
        found, at = await self._audit.latest(guild_id, limit), self._now()
        await self._database.write(
            lambda link: record_logged_action(
                link, guild_id, at, by, "export", f"server:{guild_id}", {"entries": len(found)}
            )
        )
        return await asyncio.to_thread(audit_to_json_lines, found[::-1]), len(found)
