"""After an update everything goes on that a bot of release 0.1 has left behind.

The folder was made by that release's own code: jobs that ended in every way, one that ran when the
bot was killed, two that waited, and what moderators had set. Here today's bot starts on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image

from bot.backends.deepsquare.state_store import StateStore
from bot.backends.slurm.job_folder import JobFolder
from bot.domain.job import Job, JobState
from bot.playground.server import Playground
from bot.playground.state.models import Message
from bot.settings import Settings
from tests.left_behind import KEPT_TABLES, ROOT, LeftBehind, holding_root
from tests.playground.clock import Clock
from tests.scenarios.harness import Harness, open_with

pytestmark = [
    pytest.mark.xdist_group("release 0.1"),
    pytest.mark.timing("runs the bot as a process, which a busy machine starts and stops late"),
]

RUNNING, FIRST, SECOND = "a train in the rain", "a wolf", "a whale"
KEPT = "a boat at night"
ENDED = {
    "a lighthouse in the fog": JobState.FINISHED,
    "a red apple": JobState.FINISHED,
    "a castle on a hill": JobState.FINISHED,
    KEPT: JobState.FINISHED,
    "a broken mirror": JobState.FAILED,
    "a mistake": JobState.CANCELLED,
}


@pytest.fixture(scope="module")
def root() -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(holding_root())
        except OSError as error:
            pytest.skip(f"the folder of release 0.1 cannot be put where it was made: {error}")
        yield


@pytest.fixture
def left(root: None) -> LeftBehind:
    return LeftBehind()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def playground(left: LeftBehind, clock: Clock) -> AsyncIterator[Playground]:
    playing = Playground(left.world(clock))
    await playing.start()
    yield playing
    await playing.aclose()


Opener = Callable[..., AbstractAsyncContextManager[Harness]]


@pytest.fixture
def open_bot(left: LeftBehind, playground: Playground, clock: Clock) -> Opener:
    """Opens today's bot with the release's file, some minutes after the other was killed."""

    @contextlib.asynccontextmanager
    async def opened(*, minutes: float = 5, dispatching: bool = True) -> AsyncIterator[Harness]:
        clock.pass_time(minutes=minutes)
        async with open_with(settings(left, playground), playground, clock) as harness:
            if not dispatching:
                harness.service.application.scheduler.drain()
            yield harness

    return opened


def settings(left: LeftBehind, playground: Playground) -> Settings:
    """What the operator had: a file, and the environment of the service."""
    environ = {
        "PATH": os.environ["PATH"],
        "DISCORD_TOKEN": playground.token,
        "DISCORD_API_BASE": playground.api_base,
        "DISCORD_GATEWAY_URL": playground.gateway_url,
    }
    return Settings.load(left.config, environ)


async def job_of(harness: Harness, left: LeftBehind, prompt: str) -> Job:
    job = await harness.service.application.queue.jobs.get(left.job_id(prompt))
    assert job is not None
    return job


async def finished(harness: Harness, job_id: str) -> None:
    """Wait until a job has ended well."""
    job = await harness.recorder.reached(job_id, *(state for state in JobState if state.terminal))
    assert job.state is JobState.FINISHED, job.failure_message


def status_message_of(harness: Harness, job_id: str) -> Message:
    """The message that the release had posted for a job, or what it has become."""
    (found,) = [
        message
        for message in harness.playground.world.messages_in("imagine")
        if not message.ephemeral
        and any(job_id in control.get("custom_id", "") for control in message.controls())
    ]
    return found


class StillPainting:
    """The running job as it was when the bot was killed: its first row is done, it goes on.

    This process holds the job's lock, as the job's processes do; ``end`` does what they did.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        log = (folder / "log").read_bytes()
        row_done = re.search(rb"@@sd1 \d+ row-done row=(\d) .*\n", log)
        assert row_done is not None
        self._rest = log[row_done.end() :]
        (folder / "log").write_bytes(log[: row_done.end()])
        first = folder / "published" / f"row-0{int(row_done[1])}.png"
        later = [path for path in (folder / "published").iterdir() if path != first]
        self._files = {path: path.read_bytes() for path in (*later, folder / "result")}
        for path in self._files:
            path.unlink()
        self._lock = (folder / "alive").open("a")
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def end(self) -> None:
        """Publish the rest, say so, and be gone."""
        with (self._folder / "log").open("ab") as log:
            for path, content in self._files.items():
                if path.name != "result":
                    path.write_bytes(content)
            log.write(self._rest)
        (self._folder / "result").write_bytes(self._files[self._folder / "result"])
        self._lock.close()


def test_the_configuration_is_read_as_it_is(left: LeftBehind) -> None:
    found = Settings.load(left.config, {})
    assert found.discord.guilds == (left.discord["guild_id"],)
    assert found.data.dir == left.database.parent
    assert (found.imagine.rows, found.imagine.width, found.imagine.steps) == (2, 64, 4)
    assert list(found.imagine.styles) == ["ink"]
    assert (found.queue.running, found.queue.waiting_per_user) == (1, 3)
    assert (found.quota.images, found.delivery.rows) == (120, "attachments")
    assert (found.backend.kind, found.backend.local.tasks) == ("local", 1)
    assert (found.metrics.listen, found.log.format) == ("", "json")


async def test_the_command_finds_every_job_that_has_not_ended(left: LeftBehind) -> None:
    program = ROOT / "program"
    process = await asyncio.create_subprocess_exec(
        *(program / ".venv" / "bin" / "python", "-m", "bot", "--config", left.config),
        *("jobs", "--list", "--json"),
        cwd=program,
        env={"PATH": os.environ["PATH"], "HOME": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0
    waiting = {RUNNING: "running", FIRST: "queued", SECOND: "queued"}
    assert jobs_in(printed) == {(left.job_id(prompt), state) for prompt, state in waiting.items()}


def jobs_in(printed: bytes) -> set[tuple[str, str]]:
    """Ids and states, as the command prints them."""
    found = (json.loads(line) for line in printed.splitlines())
    return {(one["job"], one["state"]) for one in found}


async def test_what_ran_and_what_waited_is_delivered_once_and_in_order(
    left: LeftBehind, open_bot: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    before = {table: left.rows(table) for table in KEPT_TABLES}
    running, first, second = (left.job_id(prompt) for prompt in (RUNNING, FIRST, SECOND))
    delivered: list[Job] = []
    async with open_bot() as harness:
        for job_id in (running, first, second):
            await finished(harness, job_id)
        assert harness.recorder.starts == [first, second]
        # The card, which the release had posted, has become the result: its token lives still.
        statuses = {one["id"] for one in left.discord["messages"]}
        for job_id in (running, first, second):
            job = await harness.service.application.queue.jobs.get(job_id)
            assert job is not None
            (result,) = harness.results(job)
            assert (job.delivery_method, result.id in statuses) == ("interaction", True)
            delivered.append(job)
        assert [job.fetched_rows for job in delivered] == [(1, 2), (1,), (1,)]
        # What the release could post nowhere is posted now that there is a way.
        await finished(harness, left.job_id(KEPT))
        kept = await job_of(harness, left, KEPT)
        assert (kept.delivery_method, len(harness.results(kept))) == ("interaction", 1)
        delivered.append(kept)
        # What the release had made is a source for what is made now.
        asked = await harness.member("Ada").select(
            status_message_of(harness, left.job_id("a lighthouse in the fog")),
            "Upscale an image …",
            ["cell:1:2"],
        )
        await asked.answered()
        await finished(harness, (await harness.job(asked)).id)
        for prompt, state in ENDED.items():
            assert (await job_of(harness, left, prompt)).state is state
    async with open_bot() as harness:
        await harness.service.application.scheduler.idle()
        assert [len(harness.results(job)) for job in delivered] == [1, 1, 1, 1]
    after = {table: left.rows(table) for table in KEPT_TABLES}
    for table, rows in before.items():
        # A later version may add columns, at the end.
        same = [now[: len(row)] for row, now in zip(rows, after[table], strict=False)]
        assert same == rows, table
        if table not in ("ledger", "schema_version"):
            assert len(after[table]) == len(rows), table
    news = [(row[4], row[5]) for row in after["ledger"][len(before["ledger"]) :]]
    larger = news[-1][0]
    assert sorted(news) == sorted(
        [(job_id, "settle") for job_id in (running, first, second, larger)] + [(larger, "reserve")]
    )
    assert [one.message for one in caplog.records if one.levelno >= logging.ERROR] == []


async def test_a_job_that_still_paints_is_followed_to_its_end(
    left: LeftBehind, open_bot: Opener
) -> None:
    running = left.job_id(RUNNING)
    painting = StillPainting(left.folder(running))
    edits = {one["id"]: one["edits"] for one in left.discord["messages"]}
    async with open_bot(minutes=20, dispatching=False) as harness:
        status_message = status_message_of(harness, running)
        await harness.playground.until(lambda _: status_message.edits > edits[status_message.id])
        job = await job_of(harness, left, RUNNING)
        assert job.state is JobState.RUNNING
        painting.end()
        await finished(harness, running)
        # The token of its card is dead by now: the bot calls its author, once.
        job = await job_of(harness, left, RUNNING)
        (result,) = harness.results(job)
        assert (job.delivery_method, job.fetched_rows) == ("channel", (1, 2))
        assert harness.called(result) == [harness.member("Mo").id]


# What is pressed on messages of the release: the job of the message, who, what, which choice.
PRESSES: tuple[tuple[str, str, str, str, str], ...] = (
    ("a lighthouse in the fog", "Ben", "Details", "", "shows words"),
    ("a lighthouse in the fog", "Ben", "Open an image …", "cell:2:1", "shows a picture"),
    ("a lighthouse in the fog", "Ben", "Re-roll", "", "makes a job"),
    ("a lighthouse in the fog", "Ada", "Upscale an image …", "cell:1:2", "makes a job"),
    ("a lighthouse in the fog", "Mo", "Edit & run again", "", "opens a form"),
    ("a castle on a hill", "Ada", "Details", "", "shows words"),
    ("a castle on a hill", "Ada", "Open an image …", "cell:1:1", "shows a picture"),
    ("a red apple", "Ada", "Open full size", "", "shows a picture"),
    ("a red apple", "Ada", "Upscale", "", "makes a job"),
    ("a broken mirror", "Ben", "Try again", "", "makes a job"),
    ("a broken mirror", "Ada", "Edit & run again", "", "opens a form"),
    ("a mistake", "Mo", "Try again", "", "makes a job"),
    (SECOND, "Ben", "Cancel", "", "cancels"),
    ("a lighthouse in the fog", "Ada", "Delete", "", "deletes"),
    ("a castle on a hill", "Mo", "Delete", "", "deletes"),
)


async def test_every_control_of_a_posted_message_does_what_it_did(
    left: LeftBehind, open_bot: Opener
) -> None:
    async with open_bot(dispatching=False) as harness:
        await finished(harness, left.job_id(RUNNING))
        for prompt, who, control, choice, effect in PRESSES:
            assert await pressed(harness, left, prompt, who, control, choice) == effect, control


async def pressed(
    harness: Harness, left: LeftBehind, prompt: str, who: str, control: str, choice: str
) -> str:
    """Press it, and say what happened."""
    message = status_message_of(harness, left.job_id(prompt))
    harness.clock.pass_time(seconds=5)
    member = harness.member(who)
    if choice:
        asked = await member.select(message, control, [choice])
    else:
        asked = await member.press(message, control)
    await asked.acked()
    if asked.modal is not None:
        handed_in = await member.submit_modal(asked, {})
        answer = await handed_in.answered()
        made = await harness.service.application.queue.jobs.by_interaction(handed_in.id)
        same = made is not None and made.request.prompt == prompt
        return "opens a form" if same else answer.text
    if control == "Cancel":
        job = await harness.recorder.reached(left.job_id(prompt), JobState.CANCELLED)
        return f"{job.state.removesuffix('led')}s"
    answer = await asked.answered()
    if control == "Delete":
        await (await member.press(answer, "Delete permanently")).acked()
        await harness.playground.until(lambda world: message.id not in world.messages)
        return "deletes"
    if answer.attachments:
        return "shows a picture"
    if await harness.service.application.queue.jobs.by_interaction(asked.id):
        return "makes a job"
    return "shows words" if prompt in answer.text else answer.text


async def test_commands_know_what_was_made_and_set_before(
    left: LeftBehind, open_bot: Opener
) -> None:
    async with open_bot(dispatching=False) as harness:
        await finished(harness, left.job_id(RUNNING))
        for prompt, who in (
            ("a lighthouse in the fog", "Ada"),
            ("a castle on a hill", "Ben"),
            (KEPT, "Ada"),
            ("a red apple", "Mo"),
        ):
            shown = await harness.ask("show", who, id=left.job_id(prompt))
            assert (len(shown.attachments), prompt in shown.text) == (1, True)
        history = (await harness.ask("history")).text
        assert [
            prompt for prompt in ("a lighthouse in the fog", KEPT, FIRST) if prompt not in history
        ] == []
        assert FIRST in (await harness.ask("queue", "Ada")).text
        assert SECOND in (await harness.ask("queue", "Ben")).text
        # 60 by the moderator's rule; two grids of 4 are charged, 2 pictures are reserved.
        quota = (await harness.ask("quota")).text
        assert "60" in quota
        assert "50" in quota
        ben = (await harness.ask("quota-admin show", "Mo", member=harness.member("Ben"))).text
        assert "8" in ben
        record = (await harness.ask("quota-admin history", "Mo", member=harness.member("Ben"))).text
        assert "a fine print" in record
        refused = await harness.ask("imagine", "Keeper", prompt="a fox")
        assert "blocked" in refused.text
        refused = await harness.ask("imagine", "Ada", prompt="mud on boots")
        assert "mud" in refused.text


@pytest.mark.parametrize(
    ("prompt", "number"), [("a castle on a hill", 0), ("a red apple", 0), ("a red apple", 1)]
)
async def test_a_script_of_the_release_runs_with_the_programs_of_today(
    left: LeftBehind, prompt: str, number: int
) -> None:
    folder = left.folder(left.job_id(prompt, number))
    printed = (folder / "log").read_text(encoding="utf-8")
    pictures = sizes(folder / "published")
    for path in (folder / "result", folder / "log", *(folder / "published").iterdir()):
        path.unlink()
    # As the release started it; where it names the interpreter and the programs, today's lie.
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *("bash", "script.sh"),
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(folder)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        async with asyncio.timeout(60):
            assert await process.wait() == 0, (folder / "log").read_text(encoding="utf-8")
    assert (folder / "result").read_text() == "0\n"
    again = (folder / "log").read_text(encoding="utf-8")
    assert sorted(kinds_in(again)) == sorted(kinds_in(printed))
    assert sizes(folder / "published") == pictures


def sizes(folder: Path) -> dict[str, tuple[int, int]]:
    """The pictures in a folder, and how large they are."""
    found = {}
    for path in folder.iterdir():
        with Image.open(path) as picture:
            found[path.name] = picture.size
    return found


def kinds_in(log: str) -> list[str]:
    """The kinds of a log's markers."""
    return re.findall(r"^@@sd1 \d+ ([a-z-]+) .*mac=", log, re.MULTILINE)


AT = datetime(2026, 11, 23, 12, 0, 0, 250, tzinfo=UTC)


def test_jobs_and_transactions_of_deepsquare_are_read(left: LeftBehind) -> None:
    journal = StateStore(left.samples / "deepsquare" / "179188-0xabc")
    journal.prepare(AT + timedelta(days=1))
    intended, running, settled = journal.jobs()
    assert (intended.job_id, intended.attempts, intended.settled) == ("intended", (), False)
    assert (running.job_id, running.numbers, running.stopped) == ("running", (41, 42), True)
    assert (running.scheduler, running.shape, running.created_at) == ("0x5c4ed", "2x2", AT)
    assert running.workflow == {"steps": [{"run": "echo"}]}
    withdrawn, attempt = running.attempts
    assert (withdrawn.withdrawal, withdrawn.refund) == ("nobody_took_it", 500 * 10**18)
    assert (attempt.script, attempt.script_at, attempt.lock) == ("beefed", AT, 500 * 10**18)
    assert (attempt.block, attempt.status, attempt.settled) == (1003, 2, False)
    assert (settled.settled, settled.minutes, settled.attempts[0].cost) == (True, 7.25, 123)
    slots = journal.pending_transactions()
    assert [(slot.nonce, slot.purpose) for slot in slots] == [
        (7, "request"),
        (8, "cancel"),
        (9, "approve"),
        (10, "top_up"),
        (11, "void"),
    ]
    first, newest = slots[0].signed
    assert (slots[0].job_id, slots[0].data, slots[0].gas) == ("running", b"\x00\x01", 210_000)
    assert (first.raw, first.hash, first.script) == (b"\x01\xff", b"\x02" * 32, "beefed")
    assert (newest.void, newest.gas_price, newest.signed_at) == (True, 2 * 10**9, AT)
    assert journal.read_note("blocks") == {"seen": 1003}


@pytest.mark.parametrize(
    ("name", "number", "over", "code"),
    [
        ("intended", "", False, None),
        ("submitted", "4711", False, None),
        ("ran", "4712", True, 0),
        ("failed", "4712", True, 7),
        ("cancelled", "4711", False, None),
        ("refused", "4711", False, None),
    ],
)
def test_job_folders_of_slurm_are_read(
    left: LeftBehind, name: str, number: str, over: bool, code: int | None
) -> None:
    folder = JobFolder(left.samples / "slurm" / "jobs" / name)
    assert (folder.has_intent(), folder.slurm_job_id(), folder.is_over()) == (True, number, over)
    traces = folder.state()
    assert (traces.exit_code, traces.cancelled) == (code, name == "cancelled")
    assert traces.rejection == ("No node has so many GPUs." if name == "refused" else "")


async def test_a_job_of_the_release_that_slurm_starts_only_now_runs(left: LeftBehind) -> None:
    folder = JobFolder(left.samples / "slurm" / "jobs" / "submitted")
    process = await asyncio.create_subprocess_exec(
        *("bash", str(folder.path / "job.sh")),
        env={"PATH": os.environ["PATH"], "SLURM_JOB_ID": "4711", "SLURM_JOB_GPUS": "0"},
        stdout=asyncio.subprocess.DEVNULL,
    )
    assert await process.wait() == 0
    assert (folder.slurm_job_id(), folder.is_over(), folder.state().exit_code) == ("4711", True, 0)
