"""What must be true of a bot once everything is calm again, whatever happened before.

``broken`` takes the facts of one history and returns a sentence for each thing that is lost,
doubled, hanging, charged wrongly or told wrongly. It knows facts only: nothing of how they came
about, of processes, stores or servers.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

ENDED = frozenset({"finished", "failed", "cancelled"})
UNCHARGED = "nothing was charged"
"""What no member may read whose request was accepted."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request of a member. ``answered`` is whether Discord saw an answer in time.

    ``told`` is every text that the member read in answer to it.
    """

    interaction: int
    author: int
    answered: bool
    told: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JobFact:
    """A job as it is stored. ``rows`` are the numbers of those that were collected."""

    id: str
    interaction: int | None
    author: int
    state: str
    images: int
    samples: int
    rows: tuple[int, ...]
    sentence: str = ""
    cancelled_by: int | None = None


@dataclass(frozen=True, slots=True)
class Post:
    """A message of the bot: which grid and rows it shows, whom it called, what can be pressed.

    ``job`` is the job's id, or empty where nothing tells it.
    """

    id: int
    job: str = ""
    grid: bool = False
    rows: tuple[int, ...] = ()
    called: tuple[int, ...] = ()
    interaction: int | None = None
    cancels: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger."""

    job: str
    kind: str
    images: int


@dataclass(frozen=True, slots=True)
class History:
    """All that happened. ``starts`` counts how often each job's run began at the backend."""

    asks: tuple[Ask, ...] = ()
    jobs: tuple[JobFact, ...] = ()
    posts: tuple[Post, ...] = ()
    ledger: tuple[Entry, ...] = ()
    starts: Mapping[str, int] = field(default_factory=dict)
    ledger_faults: tuple[str, ...] = ()
    exits: tuple[str, ...] = ()
    """How bots ended that nobody had stopped or killed."""


def broken(history: History) -> tuple[str, ...]:
    """Return what is wrong, a sentence each; nothing if all is well."""
    return (
        *history.exits,
        *history.ledger_faults,
        *_asks(history),
        *_results(history),
        *_posts(history),
        *_ledger(history),
        *_starts(history),
    )


def _asks(history: History) -> Iterator[str]:
    accepted = Counter(job.interaction for job in history.jobs)
    statuses = {post.interaction for post in history.posts if post.cancels}
    for ask in history.asks:
        count = accepted[ask.interaction]
        if count > 1:
            yield f"request {ask.interaction} was accepted {count} times"
        if count and any(UNCHARGED in text.lower() for text in ask.told):
            yield f"request {ask.interaction} was accepted, and its author read: {UNCHARGED}"
        if not count and ask.interaction in statuses:
            yield f"request {ask.interaction} has a card and no job: it is lost"
        if not count and ask.answered and not any(text.strip() for text in ask.told):
            yield f"request {ask.interaction} was answered and never told anything"


def _results(history: History) -> Iterator[str]:
    grids = Counter(post.job for post in history.posts if post.grid)
    rows = Counter((post.job, row) for post in history.posts for row in post.rows)
    for job in history.jobs:
        shown = grids[job.id]
        match job.state:
            case "finished":
                if shown != 1:
                    yield f"job {job.id} is finished and has {shown} results: {_outcome(shown)}"
                # Of a single row the result itself is the picture; it needs no message of its own.
                least = 0 if job.images == job.samples else 1
                for row in job.rows:
                    if not least <= rows[job.id, row] <= 1:
                        yield f"job {job.id} has row {row} {rows[job.id, row]} times"
            case "cancelled" if job.cancelled_by == job.author:
                if shown:
                    yield f"job {job.id} was cancelled by its author and has a result"
            case "failed" | "cancelled":
                yield f"job {job.id} ended as {job.state}: {job.sentence}"
            case _:
                yield f"job {job.id} hangs: {job.state}"


def _outcome(shown: int) -> str:
    return "lost" if shown == 0 else "doubled"


def _posts(history: History) -> Iterator[str]:
    ended = {job.id for job in history.jobs if job.state in ENDED}
    jobs = {job.id: job for job in history.jobs}
    calls: dict[str, int] = defaultdict(int)
    called: Counter[int] = Counter()
    for post in history.posts:
        if post.cancels in ended:
            yield f"job {post.cancels} has ended, and message {post.id} can still cancel it"
        if (post.grid or post.rows) and post.job not in jobs:
            yield f"message {post.id} shows a picture of no job: {post.job}"
        for member in post.called:
            called[member] += 1
            if post.job in jobs:
                calls[post.job] += 1
                if member != jobs[post.job].author:
                    yield f"message {post.id} calls {member}, who did not ask for it"
    for job_id, count in calls.items():
        if count > 1:
            yield f"job {job_id} called its author {count} times"
    jobs_of = Counter(job.author for job in history.jobs)
    for member, count in called.items():
        if count > jobs_of[member]:
            yield f"member {member} was called {count} times for {jobs_of[member]} jobs"


def _ledger(history: History) -> Iterator[str]:
    entries: dict[str, list[Entry]] = defaultdict(list)
    for entry in history.ledger:
        entries[entry.job].append(entry)
    for job in history.jobs:
        mine = entries.pop(job.id, [])
        reserved = [entry.images for entry in mine if entry.kind == "reserve"]
        closed = [(entry.kind, entry.images) for entry in mine if entry.kind != "reserve"]
        if reserved != [job.images]:
            yield f"job {job.id} of {job.images} images reserved {reserved}"
        if job.state not in ENDED:
            continue
        made = len(job.rows) * job.samples
        right = ("settle", made) if job.state == "finished" else ("refund", job.images)
        if closed != [right]:
            yield f"job {job.id} is {job.state} with {made} images and was closed by {closed}"
    for job_id in entries:
        yield f"the ledger has entries of no job: {job_id}"


def _starts(history: History) -> Iterator[str]:
    for job in history.jobs:
        count = history.starts.get(job.id, 0)
        if count > 1 or (job.state == "finished" and count != 1):
            yield f"job {job.id} ran {count} times"
    known = {job.id for job in history.jobs}
    for job_id in history.starts:
        if job_id not in known:
            yield f"the backend ran a job that nobody asked for: {job_id}"
