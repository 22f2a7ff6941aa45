"""Whose turn it is: members take turns, and within one member's requests the oldest goes first.

The next job belongs to the member with the fewest jobs running, then to the one whose last turn is
the longest ago (or who had none), then to the one who has waited longest. So a flood by one member
delays another member's first request by one job at most. The module knows no slots, no quota and
no clock; how long things take is ``bot.domain.scheduling``.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import combinations, count
from statistics import median
from typing import Final

_NO_LIMITS: Mapping[int, int] = {}
_AT_ONCE: Mapping[str, float] = {}
_NEVER = datetime.min.replace(tzinfo=UTC)
_ENDINGS = {1: "st", 2: "nd", 3: "rd"}


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A request in the line.

    ``weight`` is how many jobs this member may have running to be treated as another is with one;
    ``work`` is the size of the request in work units (see ``bot.domain.scheduling``).
    """

    job_id: str
    user_id: int
    queued_at: datetime
    images: int
    weight: int = 1
    work: int = 0

    def __post_init__(self) -> None:
        if self.weight < 1:
            raise ValueError("a weight is at least 1")


@dataclass(frozen=True, slots=True)
class RunningJob:
    """A job that holds a slot: submitted and not yet over."""

    job_id: str
    user_id: int


@dataclass(frozen=True, slots=True)
class Selection:
    """``job_id`` comes next; ``reason`` says why in words for a card."""

    job_id: str
    reason: str


def select_next(
    waiting: Iterable[QueuedJob],
    running: Iterable[RunningJob],
    last_started: Mapping[int, datetime],
    *,
    per_user: int,
    limits: Mapping[int, int] = _NO_LIMITS,
) -> Selection | None:
    """The job that a free slot goes to; None if nobody waits who may run one more.

    ``last_started`` holds, by user, when a job of theirs last got a slot. ``per_user`` is how many
    of a member's jobs may run at once, ``limits`` the members for whom it is another number.
    """
    heads: dict[int, QueuedJob] = {}
    for job in waiting:
        head = heads.get(job.user_id)
        if head is None or _age(job) < _age(head):
            heads[job.user_id] = job
    active = Counter(job.user_id for job in running)

    def claim(job: QueuedJob) -> tuple[float, datetime, datetime, str]:
        since = last_started.get(job.user_id, _NEVER)
        return (active[job.user_id] / job.weight, since, *_age(job))

    eligible = [head for user, head in heads.items() if active[user] < limits.get(user, per_user)]
    if not eligible:
        return None
    turn = min(eligible, key=claim)
    if len(heads) == 1:
        reason = "no other member waits"
    elif active[turn.user_id]:
        reason = "the other members waiting have as many running"
    elif turn.user_id in last_started:
        reason = "this member's last turn is the longest ago"
    else:
        reason = "this member has had no turn yet"
    return Selection(turn.job_id, reason)


def queue_order(
    waiting: Iterable[QueuedJob],
    running: Iterable[RunningJob],
    last_started: Mapping[int, datetime],
    *,
    per_user: int,
    limits: Mapping[int, int] = _NO_LIMITS,
) -> tuple[Selection, ...]:
    """The whole line as it would move if nobody joined it; ``reason`` explains each place.

    The first is ``next_job``'s, unless only members at their limit wait. Then one slot is played
    through: the job that has run longest ends, the next one starts. Whoever may run nothing at all
    (a limit of 0) has no place and is left out.
    """
    line = _Line(waiting, running, last_started, lambda user: limits.get(user, per_user))
    blocked = line.blocked()
    own: Counter[int] = Counter()
    turns: list[Selection] = []
    for job in line.play():
        user = job.user_id
        reason = explain_position(
            len(turns) + 1,
            own_ahead=own[user],
            members_ahead=len(own) - (user in own),
            own_running=blocked.get(user, 0),
        )
        own[user] += 1
        turns.append(Selection(job.job_id, reason))
    return tuple(turns)


def start_times(
    waiting: Iterable[QueuedJob],
    running: Iterable[RunningJob],
    last_started: Mapping[int, datetime],
    seconds: Mapping[str, float],
    *,
    slots: int,
    per_user: int,
    limits: Mapping[int, int] = _NO_LIMITS,
) -> dict[str, float]:
    """Return, by job id, in how many seconds each waiting job starts if nobody joins the line.

    ``seconds`` says how long each waiting job will run, and each running one still. A job that
    could never start, for want of slots or by a limit of 0, is left out.
    """
    line = _Line(waiting, running, last_started, lambda user: limits.get(user, per_user), seconds)
    return {job.job_id: at for job, at in line.schedule(slots, seconds)}


def explain_position(
    position: int, *, own_ahead: int = 0, members_ahead: int = 0, own_running: int = 0
) -> str:
    """A place in the line in words, for the member who holds it.

    ``position`` counts from 1. Of the requests before it ``own_ahead`` are the member's own, the
    others belong to ``members_ahead`` members. ``own_running`` is 0 unless the member must wait for
    one of so many jobs of their own to end.
    """
    place = "next in line" if position == 1 else f"{_ordinal(position)} in line"
    requests = position - 1 - own_ahead
    parts = []
    if own_ahead:
        parts.append(f"your {_ordinal(own_ahead + 1)} request")
        if members_ahead == 1:
            parts.append("1 member goes first")
        elif members_ahead:
            parts.append(f"{members_ahead} members go first")
    elif requests == 1:
        parts.append("starts after 1 other member's request")
    elif members_ahead == 1:
        parts.append(f"starts after {requests} requests of 1 other member")
    elif requests == members_ahead > 0:
        parts.append(f"starts after {requests} other members' requests")
    elif requests:
        parts.append(f"starts after {requests} requests of {members_ahead} other members")
    if own_running and not own_ahead:
        ends = "your running request ends" if own_running == 1 else "one of your requests ends"
        parts.append(f"waits until {ends}")
    return f"{place}: {'; '.join(parts)}" if parts else place


class _Line:
    """The line, played through: every job that starts frees a slot for the one after it."""

    __slots__ = (
        "_active",
        "_count",
        "_entries",
        "_heap",
        "_jobs",
        "_limit",
        "_own",
        "_ranks",
        "_running",
        "_turn",
    )

    def __init__(
        self,
        waiting: Iterable[QueuedJob],
        running: Iterable[RunningJob],
        last_started: Mapping[int, datetime],
        limit: Callable[[int], int],
        seconds: Mapping[str, float] = _AT_ONCE,
    ) -> None:
        self._limit = limit
        self._jobs = sorted(waiting, key=_age)
        # Places in self._jobs stand for ages, and ranks for moments: small integers compare fast.
        self._own: dict[int, deque[int]] = {}
        for place, job in enumerate(self._jobs):
            self._own.setdefault(job.user_id, deque()).append(place)
        moments = sorted({last_started[user] for user in self._own if user in last_started})
        rank_of = {moment: rank for rank, moment in enumerate(moments, start=1)}
        self._ranks = {
            user: rank_of[last_started[user]] if user in last_started else 0 for user in self._own
        }
        # Who got a slot first is taken to end first.
        held = sorted(running, key=lambda job: (last_started.get(job.user_id, _NEVER), job.job_id))
        self._running = Counter(job.user_id for job in held)
        self._count = count()
        self._turn = len(self._jobs)  # above every rank that stands for a real moment
        # Ends of running jobs: the moment, then the order in which they started, and whose.
        self._active = [
            (seconds.get(job.job_id, 0.0), next(self._count), job.user_id) for job in held
        ]
        heapq.heapify(self._active)
        self._heap: list[tuple[float, int, int]] = []
        self._entries: dict[int, tuple[float, int, int]] = {}
        for user in self._own:
            self._offer(user)

    def blocked(self) -> dict[int, int]:
        """The members who may not run one more, with how many they have running."""
        return {user: self._running[user] for user in self._own if user not in self._entries}

    def play(self) -> Iterator[QueuedJob]:
        """The jobs in the order in which they would start, whoever started first ending first."""
        slots = len(self._active)
        while True:
            job = self._start(0.0)
            if job is None:
                if not self._active:
                    return
                self._release()
                continue
            if len(self._active) > slots:
                self._release()
            yield job

    def schedule(
        self, slots: int, seconds: Mapping[str, float]
    ) -> Iterator[tuple[QueuedJob, float]]:
        """The jobs with the moment at which each would start, in seconds from now."""
        now = 0.0
        while slots > 0:
            while len(self._active) < slots:
                job = self._start(now, seconds)
                if job is None:
                    break
                yield job, now
            if not self._active:
                return
            now = max(now, self._active[0][0])
            while self._active and self._active[0][0] <= now:
                self._release()

    def _start(self, now: float, seconds: Mapping[str, float] = _AT_ONCE) -> QueuedJob | None:
        """Start the job whose turn it is; None if nobody waits who may run one more."""
        while self._heap:
            entry = heapq.heappop(self._heap)
            job = self._jobs[entry[2]]
            user = job.user_id
            if self._entries.get(user) != entry:
                continue  # outdated: a job of theirs has ended since, and a newer entry follows
            self._turn += 1
            self._own[user].popleft()
            self._ranks[user] = self._turn
            self._running[user] += 1
            end = now + seconds.get(job.job_id, 0.0)
            heapq.heappush(self._active, (end, next(self._count), user))
            self._offer(user)
            return job
        return None

    def _release(self) -> None:
        """The job that ends first is over."""
        _, _, user = heapq.heappop(self._active)
        self._running[user] -= 1
        if user in self._own:
            self._offer(user)

    def _offer(self, user: int) -> None:
        """Enter the member's oldest request into the heap, if they may run one more."""
        self._entries.pop(user, None)
        if self._own[user] and self._running[user] < self._limit(user):
            place = self._own[user][0]
            load = self._running[user] / self._jobs[place].weight
            self._entries[user] = (load, self._ranks[user], place)
            heapq.heappush(self._heap, self._entries[user])


def _age(job: QueuedJob) -> tuple[datetime, str]:
    return job.queued_at, job.job_id


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in {11, 12, 13} else _ENDINGS.get(number % 10, "th")
    return f"{number}{ending}"


HISTORY_SIZE: Final = 40
"""How many of the last runs count: what was true of last month's machines is no forecast."""


@dataclass(frozen=True, slots=True)
class RuntimeHistory:
    """What finished jobs took, the newest last: pairs of work units and seconds."""

    samples: tuple[tuple[int, float], ...] = ()

    def seconds(self, work: int) -> float | None:
        """What a job of ``work`` units will take; None while nothing was measured.

        A line through the samples: a median of slopes and a median of what they leave over (the
        start-up), so that a single run that hung or was cut short hardly moves it.
        """
        line = _line(self.samples[-HISTORY_SIZE:])
        return None if line is None else line[0] + line[1] * work


@lru_cache(maxsize=8)  # it is asked for every job that waits
def _line(newest: tuple[tuple[int, float], ...]) -> tuple[float, float] | None:
    """The start-up in seconds, and seconds for each work unit; None while nothing was measured."""
    if not newest:
        return None
    slopes = [
        (one_took - other_took) / (one - other)
        for (one, one_took), (other, other_took) in combinations(newest, 2)
        if one != other
    ]
    if not slopes:
        # Only one size was ever run: nothing tells start-up from work, so time scales.
        return 0.0, median(took / max(1, done) for done, took in newest)
    slope = max(0.0, median(slopes))
    return max(0.0, median(took - slope * done for done, took in newest)), slope


def seconds_left(expected: float, started: datetime, now: datetime) -> float:
    """Return how long a running job will still take; 0 if it took longer than expected."""
    return max(0.0, expected - (now - started).total_seconds())
