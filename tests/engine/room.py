"""The engine on a real database and the scripted backend, with time and naps in the test's hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from bot.app import load_menu
from bot.backends.scripted import ScriptedBackend
from bot.domain.job import Job, JobState
from bot.domain.quota import Quota
from bot.domain.request import Author, Place, Request
from bot.engine.book import Book
from bot.engine.circuit import Circuit
from bot.engine.collect import Collector
from bot.engine.deliver import Courier, Deliverer
from bot.engine.dispatcher import Dispatcher
from bot.engine.kitchen import Kitchen, Menu
from bot.engine.queue import Limits, Member, Queue
from bot.engine.reporting import Fanout, Reporter
from bot.engine.runner import Runner
from bot.engine.spending import Ceilings, Purse
from bot.settings import Settings
from bot.store.database import Database
from bot.store.job_queries import InteractionRef
from bot.store.ledger import Ledger
from bot.store.query import Query
from tests.engine.cast import CHANNEL, GUILD, NOW, Clock, Diary, Dice, Naps, Postman


@dataclass
class Room:
    """Everything that is wired up, for a test to reach into."""

    database: Database
    backend: ScriptedBackend
    postman: Courier
    diary: Diary
    clock: Clock
    naps: Naps
    book: Book
    circuit: Circuit
    collector: Collector
    kitchen: Kitchen
    runner: Runner
    dispatcher: Dispatcher
    queue: Queue
    purse: Purse
    outage: asyncio.Event

    async def ended(self, *job_ids: str) -> list[Job]:
        """The jobs, once all of them have ended."""

        def over(diary: Diary) -> bool:
            known = {job.id for job, _ in diary.entries if job.state.terminal}
            return known.issuperset(job_ids)

        async with asyncio.timeout(20):
            await self.diary.until(over)
        return [await self.stored(job_id) for job_id in job_ids]

    async def reaches(self, job_id: str, state: JobState) -> None:
        """Wait until a job has got so far."""
        async with asyncio.timeout(20):
            await self.diary.until(
                lambda diary: any(
                    job.id == job_id and job.state is state for job, _ in diary.entries
                )
            )

    async def stored(self, job_id: str) -> Job:
        job = await self.queue.jobs.get(job_id)
        assert job is not None
        return job

    async def submit(self, user: int = 7, **changes: object) -> Job:
        """Submit a request of this user's."""
        receipt = await self.queue.submit(a_request(user, **changes), a_member(user))
        return receipt.job

    async def count(self, table: str) -> int:
        """How many rows a table has."""
        query = Query(f"SELECT count(*) FROM {table}", (), lambda rows: int(rows[0][0]))
        return await self.database.read(query)

    async def faults(self) -> tuple[str, ...]:
        """What is wrong between jobs and ledger."""
        return await Ledger(self.database).check()


def a_request(user: int = 7, **changes: object) -> Request:
    """Four small pictures."""
    request = Request(
        prompt="a lighthouse at dawn",
        seed=7,
        steps=2,
        width=64,
        height=64,
        rows=2,
        samples=2,
        model="sd-2-1",
        author=Author(user, "Ada"),
        place=Place(GUILD, CHANNEL),
    )
    return replace(request, **changes)  # type: ignore[arg-type]


def a_member(user: int = 7, *, moderator: bool = False) -> Member:
    return Member(user, "Ada", moderator=moderator)


def a_press(number: int) -> InteractionRef:
    return InteractionRef(number, 99, f"token-{number}", NOW + timedelta(minutes=15))


def stock_menu(folder: Path) -> Menu:
    """The packaged templates."""
    return load_menu(Settings.load(None, {}, base=folder))


@asynccontextmanager
async def open_room(
    folder: Path,
    *,
    backend: ScriptedBackend | None = None,
    postman: Courier | None = None,
    reporters: Iterable[Reporter] = (),
    slots: int = 4,
    running: int = 1,
    waiting: int = 5,
    waiting_of_all: int = 1000,
    images: int = 10_000,
    menu: Menu | None = None,
    ceilings: Ceilings | None = None,
    clock: Clock | None = None,
    dispatching: bool = True,
) -> AsyncIterator[Room]:
    """An engine in ``folder``; a second one later in the same folder is the bot after a restart."""
    database_file = folder / "gridbrush.sqlite3"
    # A restart is a minute later.
    later = timedelta(minutes=1) if database_file.exists() else timedelta()
    clock, naps, diary = clock or Clock(NOW + later), Naps(), Diary()
    backend = backend or ScriptedBackend(folder / "scripted", speed=0)
    postman = postman or Postman()
    quota = Quota(images, timedelta(hours=24), running, waiting)
    async with await Database.open(database_file, now=clock) as database:
        book = Book(database, Fanout([diary, *reporters]), now=clock)
        outage = asyncio.Event()
        circuit = Circuit(
            backend.health,
            sleep=naps,
            on_change=lambda is_open, _: outage.set() if is_open else None,
        )
        collector = Collector(backend, folder / "jobs", now=clock, sleep=naps)

        async def stop(job: Job) -> None:
            if job.handle is not None:
                await backend.cancel(job.handle)

        queue = Queue(
            database,
            book,
            Limits(slots, waiting_of_all, quota),
            now=clock,
            entropy=Dice(),
            wake=lambda: dispatcher.wake(),
            stop=stop,
        )
        kitchen = Kitchen(queue.jobs, backend, menu or stock_menu(folder))
        purse = Purse(database, backend, ceilings or Ceilings(), now=clock, sleep=naps)
        deliverer = Deliverer(database, postman, now=clock, sleep=naps)
        runner = Runner(
            book=book,
            backend=backend,
            kitchen=kitchen,
            collector=collector,
            deliverer=deliverer,
            circuit=circuit,
            purse=purse,
            sleep=naps,
        )
        dispatcher = Dispatcher(
            database, book, runner, circuit, slots=slots, per_user=running, now=clock, sleep=naps
        )
        dispatch = asyncio.create_task(dispatcher.run()) if dispatching else None
        try:
            yield Room(
                database,
                backend,
                postman,
                diary,
                clock,
                naps,
                book,
                circuit,
                collector,
                kitchen,
                runner,
                dispatcher,
                queue,
                purse,
                outage,
            )
        finally:
            if dispatch is not None:
                dispatch.cancel()
                with suppress(asyncio.CancelledError):
                    await dispatch
            await dispatcher.aclose()
            await purse.aclose()
            await circuit.aclose()
            await backend.aclose()
