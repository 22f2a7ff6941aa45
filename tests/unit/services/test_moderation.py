"""What moderators do: who may, on which server, twice at once, and over a restart."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bot.backends.scripted import ScriptedBackend, synthetic_recording
from bot.domain.adult_words import ADULT_WORDS
from bot.domain.errors import InvalidRequest, NotAllowed, QueueFull, RequestError, Unavailable
from bot.domain.events import BackendJobRef
from bot.domain.job import JobState
from bot.domain.moderation import ChannelRule, Place
from bot.domain.request import ChannelRef
from bot.services.drains import DrainWatcher
from bot.services.moderation import ModerationService
from bot.services.moderation_records import change_model_role, change_word_off
from bot.services.queue import Actor
from bot.store.audit import AuditRepository
from tests.unit.services.fakes import CHANNEL, GUILD, GatedBackend
from tests.unit.services.harness import Harness, a_member, a_request, open_harness

OTHER = GUILD + 100
MINUTE = timedelta(minutes=1)
MODERATOR = Actor(50, "Mo", moderator=True, manager=True)
SECOND = Actor(51, "Max", moderator=True, manager=True)
PLAIN = Actor(52, "Ben")

Act = Callable[[ModerationService, int, Actor], Awaitable[object]]


def moderation_of(harness: Harness) -> ModerationService:
    return ModerationService(
        harness.database,
        harness.lifecycle,
        harness.queue,
        now=harness.clock,
        wake=harness.scheduler.wake,
    )


async def actions(harness: Harness, guild_id: int = GUILD) -> list[str]:
    """Return the moderators' actions of the audit, oldest first."""
    entries = await AuditRepository(harness.database).entries(guild_id, 500)
    return [entry.action for entry in reversed(entries)]


async def pause(service: ModerationService, guild: int, by: Actor, **how: Any) -> object:
    settings: dict[str, Any] = {"reason": "tea", "lasts": None, "refuses": False} | how
    return await service.pause(guild, by=by, **settings)


async def add_word(
    service: ModerationService, guild: int, by: Actor, pattern: str = "fox", **how: Any
) -> object:
    rule: dict[str, Any] = {"whole_word": True, "channel_id": None, "effect": "refuse"}
    return await service.add_word(guild, pattern, adult=False, by=by, **(rule | how))


async def decide(service: ModerationService, guild: int, by: Actor) -> object:
    (held,) = await service.open_holds(GUILD) or [None]
    job_id = held.job_id if held else await first_hold(service)
    return await service.decide_hold(guild, job_id, "words", approved=True, by=by)


async def first_hold(service: ModerationService) -> str:
    entries, _ = await service.export(GUILD, 100, by=MODERATOR)
    lines = [json.loads(line) for line in entries.decode().splitlines()]
    return str(next(line["subject"] for line in lines if line["action"] == "approve"))[4:]


async def set_up(harness: Harness) -> None:
    """Have something of everything on the server: it is what the actions undo."""
    service = moderation_of(harness)
    await add_word(service, GUILD, MODERATOR, "wolf", effect="hold")
    await harness.submit(user=9, prompt="a wolf")
    await harness.submit(user=7)
    await service.set_channel(GUILD, ChannelRule(CHANNEL, running=2), by=MODERATOR)
    await service.block(GUILD, 8, lasts=None, reason="spam", by=MODERATOR)
    await pause(service, GUILD, MODERATOR)


@dataclass(frozen=True)
class Case:
    """One action. ``undoes``: it needs what ``set_up`` made, and works only once."""

    act: Act
    action: str
    undoes: bool = False
    manager: bool = False


CASES: dict[str, Case] = {
    "pause": Case(partial(pause, reason="coffee"), "pause"),
    "drain": Case(partial(pause, mode="drain"), "drain"),
    "resume": Case(lambda s, g, by: s.resume(g, by=by), "resume", undoes=True),
    "channel": Case(
        lambda s, g, by: s.set_channel(g, ChannelRule(77, allowed=False), by=by), "channel-set"
    ),
    "no channel": Case(
        lambda s, g, by: s.remove_channel(g, CHANNEL, by=by), "channel-remove", undoes=True
    ),
    "word": Case(add_word, "word-add"),
    "no word": Case(lambda s, g, by: s.remove_word(g, 1, by=by), "word-remove", undoes=True),
    "block": Case(lambda s, g, by: s.block(g, 7, lasts=MINUTE, reason="rude", by=by), "block"),
    "unblock": Case(lambda s, g, by: s.unblock(g, 8, by=by), "unblock", undoes=True),
    "cancel": Case(lambda s, g, by: s.cancel(g, by=by), "cancel", undoes=True),
    "decide": Case(decide, "approve", undoes=True),
    "shipped word": Case(
        lambda s, g, by: s.change_setting(
            g, "adult_words_off", lambda was: change_word_off(was, "nude", off=True), by=by
        ),
        "setting",
    ),
    "log": Case(
        lambda s, g, by: s.set_setting(g, "log_channel", 5, by=by), "setting", manager=True
    ),
    "models": Case(
        lambda s, g, by: s.change_setting(
            g, "model_roles", lambda was: change_model_role(was, "sd", 6, allowed=True), by=by
        ),
        "setting",
        manager=True,
    ),
    "export": Case(lambda s, g, by: s.export(g, 100, by=by), "export", manager=True),
}
ALL = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
UNDOING = pytest.mark.parametrize(
    "case", [pytest.param(case, id=name) for name, case in CASES.items() if case.undoes]
)


@ALL
async def test_an_action_is_for_moderators_and_logged_with_its_effect(
    tmp_path: Path, case: Case
) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        await set_up(harness)
        service = moderation_of(harness)
        before = await actions(harness)
        messages = await harness.count("log_messages")
        with pytest.raises(NotAllowed, match=r"moderators|Manage Server"):
            await case.act(service, GUILD, PLAIN)
        if case.manager:
            with pytest.raises(NotAllowed, match="Manage Server"):
                await case.act(service, GUILD, replace(MODERATOR, manager=False))
        assert await actions(harness) == before
        assert await harness.count("log_messages") == messages
        await case.act(service, GUILD, MODERATOR)
        assert case.action in (await actions(harness))[len(before) :]
        assert await harness.count("log_messages") > messages
        assert await harness.faults() == ()
        after = await actions(harness)
    async with open_harness(tmp_path, dispatching=False) as reopened:
        assert await actions(reopened) == after
        assert await reopened.faults() == ()


@UNDOING
async def test_what_belongs_to_another_server_is_not_found(tmp_path: Path, case: Case) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        await set_up(harness)
        service = moderation_of(harness)
        before = await service.status(GUILD)
        with pytest.raises(RequestError):
            await case.act(service, OTHER, MODERATOR)
        assert await service.status(GUILD) == before
        assert await actions(harness, OTHER) == []


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=name) for name, case in CASES.items() if name != "export"]
)
async def test_of_two_moderators_at_once_one_acts(tmp_path: Path, case: Case) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        await set_up(harness)
        service = moderation_of(harness)
        before = len(await actions(harness))
        done = await asyncio.gather(
            *(case.act(service, GUILD, by) for by in (MODERATOR, SECOND)), return_exceptions=True
        )
        new = (await actions(harness))[before:]
        assert new.count(case.action) == 1
        late = [one for one in done if isinstance(one, RequestError) or one == 0]
        assert len(late) == 1
        assert await harness.faults() == ()


@pytest.mark.parametrize(
    ("act", "field"),
    [
        (partial(pause, lasts=timedelta(seconds=1)), "until"),
        (partial(pause, lasts=timedelta(days=36_500)), "until"),
        (partial(pause, reason="x" * 301), "reason"),
        (lambda s, g, by: s.block(g, 7, lasts=timedelta(), reason="", by=by), "for"),
        (lambda s, g, by: s.block(g, 7, lasts=timedelta(days=366), reason="", by=by), "for"),
        (lambda s, g, by: s.set_channel(g, ChannelRule(1, running=0), by=by), "running"),
        (lambda s, g, by: s.set_channel(g, ChannelRule(1, max_rows=65), by=by), "rows"),
        (lambda s, g, by: s.set_channel(g, ChannelRule(1, max_samples=0), by=by), "samples"),
        (lambda s, g, by: s.set_channel(g, ChannelRule(1, between=timedelta()), by=by), "between"),
        (partial(add_word, pattern=" ... "), "pattern"),
        (partial(add_word, pattern="a", whole_word=False), "pattern"),
        (partial(add_word, pattern="x" * 101), "pattern"),
    ],
)
async def test_values_out_of_range_name_the_field_and_change_nothing(
    tmp_path: Path, act: Act, field: str
) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        with pytest.raises(InvalidRequest) as caught:
            await act(moderation_of(harness), GUILD, MODERATOR)
        assert caught.value.field == field
        assert await actions(harness) == []
        assert await harness.count("log_messages") == 0


async def test_a_rule_is_not_added_twice_and_nobody_blocks_themselves(tmp_path: Path) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        service = moderation_of(harness)
        await add_word(service, GUILD, MODERATOR)
        with pytest.raises(RequestError, match="exists already: number 1"):
            await add_word(service, GUILD, SECOND)
        with pytest.raises(RequestError, match="yourself"):
            await service.block(GUILD, MODERATOR.id, lasts=None, reason="", by=MODERATOR)
        with pytest.raises(ValueError, match="no setting"):
            await service.set_setting(GUILD, "paused", True, by=MODERATOR)


@pytest.mark.parametrize("mode", ["pause", "drain"])
async def test_a_paused_server_starts_nothing_and_others_go_on(tmp_path: Path, mode: Any) -> None:
    async with open_harness(tmp_path) as harness:
        service = moderation_of(harness)
        await pause(service, GUILD, MODERATOR, mode=mode)
        if mode == "drain":
            with pytest.raises(QueueFull, match="let no more requests start: tea"):
                await harness.submit(user=7)
            await service.resume(GUILD, by=MODERATOR)
            await pause(service, GUILD, MODERATOR)
        waiting = await harness.submit(user=7)
        other = await harness.submit(user=8, place=ChannelRef(OTHER, 9))
        await harness.ended(other.id)
        place = await harness.queue.position(waiting)
        assert place is not None
        assert (place.position, place.reason) == (0, "paused by the moderators")
        await service.resume(GUILD, by=MODERATOR)
        await harness.ended(waiting.id)


async def test_a_pause_ends_by_itself_after_a_restart_too(tmp_path: Path) -> None:
    async with open_harness(tmp_path) as harness:
        await pause(moderation_of(harness), GUILD, MODERATOR, lasts=timedelta(seconds=60))
        job = await harness.submit(user=7)
    # The harness opens again a minute later.
    async with open_harness(tmp_path) as reopened:
        reopened.clock.at += timedelta(seconds=5)
        assert await moderation_of(reopened).active_pause(GUILD) is None
        reopened.scheduler.wake()
        await reopened.ended(job.id)


async def test_a_pause_wakes_the_scheduler_when_it_ends(tmp_path: Path) -> None:
    async with open_harness(tmp_path) as harness:
        await pause(moderation_of(harness), GUILD, MODERATOR, lasts=MINUTE)
        # To the scheduler's timer only a moment of the minute is left.
        harness.clock.at += MINUTE - timedelta(milliseconds=50)
        job = await harness.submit(user=7)
        await harness.ended(job.id)


async def test_a_channel_runs_as_many_as_it_may_and_the_others_wait(tmp_path: Path) -> None:
    backend = GatedBackend(tmp_path / "scripted")
    async with open_harness(tmp_path, backend=backend) as harness:
        await moderation_of(harness).set_channel(GUILD, ChannelRule(33, running=1), by=MODERATOR)

        async def submit(user: int, channel: int, category: int = 0) -> str:
            where = Place(channel, category_id=category)
            request = a_request(user, place=ChannelRef(GUILD, channel))
            return (await harness.queue.submit(request, a_member(user), place=where)).job.id

        first = await submit(1, 2, category=33)
        await harness.reaches(first, JobState.PENDING)
        second, free = await submit(2, 3, category=33), await submit(3, 4)
        await harness.reaches(free, JobState.PENDING)
        place = await harness.queue.position(await harness.stored(second))
        assert place is not None
        assert place.reason == "this channel runs 1 request at a time"
        backend.gate.set()
        await harness.ended(first, second, free)


class DeafBackend(ScriptedBackend):
    """Runs for an hour and does not hear a cancel while it is ``deaf``."""

    deaf = True

    async def cancel(self, handle: BackendJobRef) -> None:
        if self.deaf:
            raise Unavailable("nobody listens")
        await super().cancel(handle)


def an_hour(folder: Path) -> DeafBackend:
    return DeafBackend(
        folder, recording=lambda job: synthetic_recording(job.workflow, seconds=3600)
    )


async def test_a_cancel_survives_a_stop_between_intent_and_effect(tmp_path: Path) -> None:
    async with open_harness(tmp_path, backend=an_hour(tmp_path / "scripted")) as harness:
        service = moderation_of(harness)
        running = await harness.submit(user=7)
        await harness.reaches(running.id, JobState.RUNNING)
        waiting = await harness.submit(user=7)
        assert await service.cancel(GUILD, member_id=7, by=MODERATOR) == 2
        assert (await harness.stored(waiting.id)).state is JobState.CANCELLED
        assert (await harness.stored(running.id)).cancelled_by == MODERATOR.id
        assert await service.cancel(GUILD, member_id=7, by=SECOND) == 0
        assert (await actions(harness)).count("cancel") == 1
    again = an_hour(tmp_path / "scripted")
    again.deaf = False
    async with open_harness(tmp_path, backend=again) as reopened:
        await reopened.scheduler.resume_jobs()
        (ended,) = await reopened.ended(running.id)
        assert ended.state is JobState.CANCELLED
        assert await reopened.faults() == ()


async def test_a_drain_tells_once_that_nothing_runs_any_more(tmp_path: Path) -> None:
    backend = GatedBackend(tmp_path / "scripted")
    async with open_harness(tmp_path, backend=backend) as harness:
        watcher = DrainWatcher(harness.database, now=harness.clock)
        service = moderation_of(harness)
        job = await harness.submit(user=7)
        await harness.reaches(job.id, JobState.PENDING)
        await pause(service, GUILD, MODERATOR, mode="drain")
        await watcher.recover()
        assert "drained" not in await actions(harness)
        backend.gate.set()
        (ended,) = await harness.ended(job.id)
        for _ in range(2):
            await watcher.on_event(ended, None)  # type: ignore[arg-type]  # it is not looked at
            await watcher.recover()
        assert (await actions(harness)).count("drained") == 1
        await service.resume(GUILD, by=MODERATOR)
        await watcher.recover()
        await pause(service, GUILD, MODERATOR, mode="drain")
        assert (await actions(harness)).count("drained") == 2


@pytest.mark.parametrize(
    ("place", "prompt", "refused"),
    [
        (Place(CHANNEL), "a nude", True),
        (Place(CHANNEL), "a n u d e", False),
        (Place(CHANNEL, age_restricted=True), "a nude", False),
        (Place(CHANNEL, parent_id=5, age_restricted=True), "a nude", False),
        (Place(CHANNEL), "a lighthouse", False),
    ],
)
async def test_adult_words_need_an_age_restricted_channel(
    tmp_path: Path, place: Place, prompt: str, refused: bool
) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        service = moderation_of(harness)
        for guild in (GUILD, 0):  # 0: direct messages, which have only this list
            request = a_request(7, prompt=prompt, place=ChannelRef(guild, CHANNEL))
            submit = partial(harness.queue.submit, request, a_member(7), place=place)
            if not refused:
                await submit()
                continue
            with pytest.raises(InvalidRequest, match="only in age-restricted channels"):
                await submit()
            assert await harness.count("jobs") == 0
        if refused:
            await CASES["shipped word"].act(service, GUILD, MODERATOR)
            await harness.submit(user=7, prompt=prompt)
            await service.set_setting(GUILD, "adult_by_flag", False, by=MODERATOR)
            await harness.submit(user=7, prompt="porn")


def test_shipped_words_are_found_as_they_are_written() -> None:
    assert list(ADULT_WORDS) == sorted(set(ADULT_WORDS))


@pytest.mark.parametrize(
    ("roles", "allowed"), [(frozenset(), False), ({6}, True), ({5}, False), ({5, 6}, True)]
)
async def test_a_model_may_be_for_some_roles_only(
    tmp_path: Path, roles: frozenset[int], allowed: bool
) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        service = moderation_of(harness)

        async def change(role: int, *, yes: bool) -> None:
            await service.change_setting(
                GUILD,
                "model_roles",
                lambda was: change_model_role(was, "sd-2-1", role, allowed=yes),
                by=MODERATOR,
            )

        await change(6, yes=True)
        member = replace(a_member(7), role_ids=frozenset(roles))
        await harness.queue.submit(a_request(7, model="other"), member)
        if not allowed:
            with pytest.raises(NotAllowed, match="sd-2-1 is only for <@&6>"):
                await harness.queue.submit(a_request(7), member)
        with pytest.raises(RequestError, match="already"):
            await change(6, yes=True)
        with pytest.raises(RequestError, match="no rule"):
            await change(5, yes=False)
        if not allowed:
            await change(6, yes=False)
            assert (await service.settings(GUILD)).model_roles == {}
        await harness.queue.submit(a_request(7), member)


async def test_words_see_the_style_and_the_negative_prompt_too(tmp_path: Path) -> None:
    async with open_harness(tmp_path, dispatching=False, styles={"ink": "foxy lines"}) as harness:
        service = moderation_of(harness)
        await add_word(service, GUILD, MODERATOR, "fox", whole_word=False)
        for changes in ({"prompt": "a f0x"}, {"negative": "foxes"}, {"style": "ink"}):
            with pytest.raises(InvalidRequest, match="A word rule of this server"):
                await harness.submit(user=7, **changes)
        await service.set_setting(GUILD, "show_word", True, by=MODERATOR)
        with pytest.raises(InvalidRequest, match="`f0x`"):
            await harness.submit(user=7, prompt="a f0x")
        found = await service.test_words(GUILD, CHANNEL, "a f0x, nude")
        assert [match.excerpt for match in found] == ["f0x", "nude"]


async def test_the_exported_audit_is_one_json_object_a_line(tmp_path: Path) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        await set_up(harness)
        told, count = await moderation_of(harness).export(GUILD, 100, by=MODERATOR)
        lines = [json.loads(line) for line in told.decode().splitlines()]
        assert [*(line["action"] for line in lines), "export"] == await actions(harness)
        assert {"id", "at", "actor", "action", "subject", "detail"} == set(lines[0])
        assert count == len(lines)
        latest, _ = await moderation_of(harness).export(GUILD, 2, by=MODERATOR)
        assert [json.loads(line)["action"] for line in latest.decode().splitlines()] == [
            lines[-1]["action"],
            "export",
        ]
