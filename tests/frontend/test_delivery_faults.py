"""Each call of a delivery × each thing that can go wrong with it: one grid, all rows, one ping."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import discord.http
import discord.webhook.async_
import pytest

from bot.domain.events import JobEvent
from bot.domain.job import Job, JobState
from bot.frontend.custom_ids import ComponentAction, CustomId
from bot.frontend.delivery_methods import CHANNEL, DIRECT, INTERACTION
from bot.playground.client.driver import Invocation
from bot.playground.rest.faults import Faults, Gate
from bot.playground.server import Playground
from bot.playground.state.models import Message
from tests.frontend.harness import Harness, Naps, open_harness, turns
from tests.playground.clock import Clock

LONG = 8  # so often Discord fails; with the pauses between, that is more than a minute


@pytest.fixture(autouse=True)
def library_in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry_library(monkeypatch)


def hurry_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library tries some failures again by itself, seconds later: here at once."""
    asleep = asyncio.sleep

    async def nap(_: float) -> None:
        await asleep(0.001)

    hurried = SimpleNamespace(**{name: getattr(asyncio, name) for name in dir(asyncio)})
    hurried.sleep = nap
    for module in (discord.http, discord.webhook.async_):
        monkeypatch.setattr(module, "asyncio", hurried)


Spoil = Callable[[Faults, str, str], Gate | None]


def fault(name: str, **options: object) -> Spoil:
    def spoil(faults: Faults, method: str, path: str) -> Gate | None:
        made = getattr(faults, name)(method, path, **options)
        return made if isinstance(made, Gate) else None

    return spoil


FAULTS: dict[str, Spoil] = {
    "cut before": fault("drop"),
    "cut after": fault("drop", carried_out=True),
    "cut for long": fault("drop", times=LONG),
    "500 before": fault("answer", status=500),
    "500 after": fault("answer", status=500, carried_out=True),
    "503 for long": fault("answer", status=503, times=LONG),
    "429 with Via": fault("rate_limit", retry_after=0.01, times=3),
    "429 without Via": fault("rate_limit", retry_after=15, via=False, times=LONG),
    "no answer before": fault("hold"),
    "no answer after": fault("hold", carried_out=True),
}


@dataclass(frozen=True)
class Call:
    """A call of a delivery: on which way it is made, and where.

    ``lost`` is a call whose answer is lost before, so that this one is made at all. ``{card}`` in a
    path is the id of the card, below which a thread has the same.
    """

    way: str
    method: str
    path: str
    lost: tuple[str, str] | None = None
    at: tuple[str, str] | None = None


IMAGINE = r"/channels/{imagine}/messages$"
CALLS: dict[str, Call] = {
    "edit of the card with the grid": Call(INTERACTION, "PATCH", "@original$"),
    "look by the token": Call(INTERACTION, "GET", "@original$", lost=("PATCH", "@original$")),
    "message in the channel": Call(CHANNEL, "POST", IMAGINE),
    "look through the channel": Call(CHANNEL, "GET", IMAGINE, lost=("POST", IMAGINE)),
    "opening of direct messages": Call(DIRECT, "POST", "/users/@me/channels$"),
    "direct message": Call(DIRECT, "POST", r"/channels/(?!{imagine})\d+/messages$"),
    "thread": Call(INTERACTION, "POST", "/threads$"),
    "rows": Call(INTERACTION, "POST", "/channels/{card}/messages$"),
    "look through the thread": Call(
        INTERACTION,
        "GET",
        "/channels/{card}/messages$",
        lost=("POST", "/channels/{card}/messages$"),
    ),
    "edit with the links": Call(INTERACTION, "PATCH", "@original$", at=("POST", "/threads$")),
    "thread below a message": Call(CHANNEL, "POST", "/threads$"),
    "edits of card and message": Call(CHANNEL, "PATCH", r"/channels/\d+/messages/\d+$"),
    "edits of the card before": Call(INTERACTION, "PATCH", "@original$", at=("start", "")),
}


@dataclass(slots=True)
class Play:
    """A job that is ready to be delivered, as soon as ``end`` is set."""

    harness: Harness
    asked: Invocation
    end: asyncio.Event

    @property
    def status_message(self) -> Message:
        assert self.asked.response is not None
        return self.asked.response

    def path(self, pattern: str) -> str:
        world = self.harness.playground.world
        return pattern.replace("{card}", str(self.status_message.id)).replace(
            "{imagine}", str(world.channel("imagine").id)
        )


@asynccontextmanager
async def opened(playground: Playground, folder: Path, clock: Clock) -> AsyncIterator[Harness]:
    async with open_harness(playground, folder, clock, rows="auto", naps=Naps()) as harness:
        yield harness


async def begun(harness: Harness, call: Call, patch: pytest.MonkeyPatch) -> Play:
    """Paint; nothing is edited any more, so that what follows is the delivery's."""
    end = harness.backend.hold("done ok=")
    asked = await harness.imagine("a lighthouse --seed 7")
    play = Play(harness, asked, end)
    await harness.shows(asked, "Generating")
    if call.at == ("start", ""):
        return play
    tell = harness.observer.on_event

    async def only_ends(job: Job, event: JobEvent) -> None:
        if job.state.terminal:
            await tell(job, event)

    patch.setattr(harness.observer, "on_event", only_ends)
    async for _ in turns():
        if not harness.observer.busy:
            break
    if call.way != INTERACTION:
        harness.clock.pass_time(minutes=15)
    if call.way == DIRECT:
        harness.playground.world.add_deny_overwrite("imagine", "SEND_MESSAGES")
    return play


def spoiled(play: Play, call: Call, spoil: Spoil) -> Gate | None:
    faults = play.harness.playground.world.faults
    if call.lost is not None:
        method, path = call.lost
        faults.drop(method, play.path(path), carried_out=True)
    return spoil(faults, call.method, play.path(call.path))


async def settled(harness: Harness, play: Play, way: str) -> Job:
    """The job, once everything about it has been posted."""
    job = await harness.job(play.asked)
    async for _ in turns(20):
        job = await harness.job(play.asked)
        status_message_is_done = way == INTERACTION or not play.status_message.controls()
        if (
            job.state.terminal
            and status_message_is_done
            and await harness.messages.pending_rows() == ()
        ):
            assert (job.state, job.delivery_method) == (JobState.FINISHED, way)
            return job
        await asyncio.sleep(0.01)
    raise AssertionError(
        f"{job.state} {job.delivery_method}, rows owed: {await harness.messages.pending_rows()}"
    )


def check(playground: Playground, job: Job, status_message: Message) -> None:
    """One grid, all rows, one ping, and a card that says where the picture is."""
    world = playground.world
    messages = list(world.messages.values())
    details = str(CustomId(ComponentAction.DETAILS, job.id))
    results = [
        one for one in messages if any(c.get("custom_id") == details for c in one.controls())
    ]
    assert [one.id for one in results] == [job.result and job.result.message_id]
    (result,) = results
    # Edits call nobody, and the mention is allowed once: when the message is posted.
    pings = [one for one in messages if f"<@{job.request.author.id}>" in one.content]
    assert pings == ([result] if job.delivery_method == CHANNEL else [])
    if job.delivery_method == DIRECT:
        assert len(result.attachments) == 3  # there are no threads: the rows are beside the grid
        assert len(messages) == 2
    else:
        assert len(result.attachments) == 1
        rows = world.messages_in(world.channels[result.id])
        assert [one.content for one in rows] == ["Row 1 · seed 7", "Row 2 · seed 8"]
        assert [len(one.attachments) for one in rows] == [1, 1]
        links = [c["url"].rpartition("/")[2] for c in result.controls() if "url" in c]
        assert links == [str(one.id) for one in rows]
        assert len(messages) == (3 if job.delivery_method == INTERACTION else 4)
    if job.delivery_method == INTERACTION:
        assert result is status_message
    else:
        assert (
            "Go to the images" in status_message.text
            or "sent in another message" in status_message.text
        )
        assert not status_message.controls()


CASES = [
    pytest.param(call, spoil, id=f"{name}, {trouble}")
    for name, call in CALLS.items()
    for trouble, spoil in FAULTS.items()
]


@pytest.mark.parametrize(("call", "spoil"), CASES)
async def test_whatever_goes_wrong_with_a_call_it_is_delivered_once(
    playground: Playground,
    tmp_path: Path,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    call: Call,
    spoil: Spoil,
) -> None:
    async with opened(playground, tmp_path, clock) as harness:
        play = await begun(harness, call, monkeypatch)
        faults = playground.world.faults
        gate: Gate | None = None
        if call.at is None or call.at == ("start", ""):
            gate = spoiled(play, call, spoil)
            play.end.set()
        else:
            before = faults.hold(*call.at)
            play.end.set()
            async with asyncio.timeout(20):
                await before.reached.wait()
            gate = spoiled(play, call, spoil)
            before.open()

        job = await settled(harness, play, call.way)
        check(playground, job, play.status_message)
        if gate is not None:
            # What was given up is carried out after all, late.
            answered = sum(one.status is not None for one in playground.requests)
            gate.open()
            await playground.until(
                lambda _: (
                    all(one.status is not None for one in playground.requests)
                    or sum(one.status is not None for one in playground.requests) > answered
                )
            )
            if call.method != "PATCH":
                check(playground, job, play.status_message)


@pytest.mark.parametrize("carried_out", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", [name for name, call in CALLS.items() if call.at is None])
async def test_a_bot_that_is_stopped_in_the_middle_goes_on_after_the_restart(
    playground: Playground,
    tmp_path: Path,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    carried_out: bool,
) -> None:
    call = CALLS[name]
    faults = playground.world.faults
    async with opened(playground, tmp_path, clock) as harness:
        play = await begun(harness, call, monkeypatch)
        gate = spoiled(play, call, fault("hold", carried_out=carried_out))
        assert gate is not None
        play.end.set()
        async with asyncio.timeout(20):
            await gate.reached.wait()
        await harness.transport.aclose(0)
        await harness.scheduler.aclose()
    faults._faults.clear()  # the request that was held stays so: its connection is gone
    clock.pass_time(minutes=10)  # Discord has forgotten every nonce
    async with opened(playground, tmp_path, clock) as harness:
        await harness.scheduler.resume_jobs()
        await harness.observer.resume()
        await harness.transport.resume_pending_rows()
        job = await settled(harness, play, call.way)
        check(playground, job, play.status_message)
