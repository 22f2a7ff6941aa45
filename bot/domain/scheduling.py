"""Fair scheduling: fewest running jobs first, then least recently served, then oldest request.

Each member's own requests start in order of age. So any number of requests of one member delays
another member's first request by at most one job.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from itertools import combinations, count
from statistics import median
from typing import Final

_NO_LIMITS: Mapping[int, int] = {}
_NO_DURATIONS: Mapping[str, float] = {}
_NEVER = datetime.min.replace(tzinfo=UTC)
_ORDINAL_SUFFIXES = {1: "st", 2: "nd", 3: "rd"}


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A waiting request.

    A member's running jobs are divided by ``weight`` before they are compared; ``work`` is the size
    of the request in work units (see ``RuntimeHistory``). ``channel_ids`` are its channel, the
    thread's parent and the category. ``held``: a moderator has to decide first.
    """

    job_id: str
    user_id: int
    queued_at: datetime
    images: int
    weight: int = 1
    work: int = 0
    guild_id: int = 0
    channel_ids: tuple[int, ...] = ()
    held: bool = False

    def __post_init__(self) -> None:
        if self.weight < 1:
            raise ValueError("a weight is at least 1")


@dataclass(frozen=True, slots=True)
class RunningJob:
    """A job that occupies a slot: submitted and not ended. ``channel_ids`` as in QueuedJob."""

    job_id: str
    user_id: int
    channel_ids: tuple[int, ...] = ()


HELD: Final = "a moderator has to approve it first"
PAUSED: Final = "paused by the moderators"


@dataclass(frozen=True, slots=True)
class Restrictions:
    """What moderators restrict: paused servers, and running jobs by channel or category."""

    paused: frozenset[int] = frozenset()
    channels: Mapping[int, int] = field(default_factory=dict)

    def startable(
        self, waiting: Iterable[QueuedJob], running: Iterable[RunningJob]
    ) -> tuple[list[QueuedJob], dict[str, str]]:
        """Return the jobs that may start now, and for the others by id why they may not."""
        busy = Counter(id for job in running for id in set(job.channel_ids))
        free: list[QueuedJob] = []
        reasons: dict[str, str] = {}
        for job in waiting:
            full = next(
                (id for id in job.channel_ids if busy[id] >= self.channels.get(id, busy[id] + 1)),
                None,
            )
            if job.held:
                reasons[job.job_id] = HELD
            elif job.guild_id in self.paused:
                reasons[job.job_id] = PAUSED
            elif full is not None:
                most = self.channels[full]
                what = "1 request" if most == 1 else f"{most} requests"
                reasons[job.job_id] = f"this channel runs {what} at a time"
            else:
                free.append(job)
        return free, reasons


@dataclass(frozen=True, slots=True)
class Selection:
    """The job to start next, and the reason in words."""

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
    """Return the job to start in a free slot; None if no waiting member may run one more.

    ``last_started`` maps user ids to the last start of a job of theirs. ``per_user`` is how many
    jobs of a member may run at a time; ``limits`` maps user ids to exceptions from it.
    """
    heads: dict[int, QueuedJob] = {}
    for job in waiting:
        head = heads.get(job.user_id)
        if head is None or _age_key(job) < _age_key(head):
            heads[job.user_id] = job
    active = Counter(job.user_id for job in running)

    def priority(job: QueuedJob) -> tuple[float, datetime, datetime, str]:
        since = last_started.get(job.user_id, _NEVER)
        return (active[job.user_id] / job.weight, since, *_age_key(job))

    eligible = [head for user, head in heads.items() if active[user] < limits.get(user, per_user)]
    if not eligible:
        return None
    job = min(eligible, key=priority)
    if len(heads) == 1:
        reason = "no other member waits"
    elif active[job.user_id]:
        reason = "the other waiting members have as many running jobs"
    elif job.user_id in last_started:
        reason = "this member was served least recently"
    else:
        reason = "this member has not been served yet"
    return Selection(job.job_id, reason)


def queue_order(
    waiting: Iterable[QueuedJob],
    running: Iterable[RunningJob],
    last_started: Mapping[int, datetime],
    *,
    per_user: int,
    limits: Mapping[int, int] = _NO_LIMITS,
) -> tuple[Selection, ...]:
    """Return the waiting jobs in the order of their start; ``reason`` explains each position.

    The first is that of ``select_next``, unless only members at their limit wait. One slot is
    simulated: the job that has run longest ends, the next one starts. Jobs of members with a limit
    of 0 have no position and are left out.
    """
    simulation = _QueueSimulation(
        waiting, running, last_started, lambda user: limits.get(user, per_user)
    )
    blocked = simulation.blocked()
    own: Counter[int] = Counter()
    selections: list[Selection] = []
    for job in simulation.iter_order():
        user = job.user_id
        reason = explain_position(
            len(selections) + 1,
            own_ahead=own[user],
            members_ahead=len(own) - (user in own),
            own_running=blocked.get(user, 0),
        )
        own[user] += 1
        selections.append(Selection(job.job_id, reason))
    return tuple(selections)


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
    """Return, by job id, in how many seconds each waiting job starts if no job is added.

    ``seconds`` is the duration of each waiting job and the remaining one of each running job. A job
    that can never start, without slots or with a limit of 0, is left out.
    """
    simulation = _QueueSimulation(
        waiting, running, last_started, lambda user: limits.get(user, per_user), seconds
    )
    return {job.job_id: at for job, at in simulation.iter_starts(slots, seconds)}


def explain_position(
    position: int, *, own_ahead: int = 0, members_ahead: int = 0, own_running: int = 0
) -> str:
    """Return a position in the queue in words, for the member whose request it is.

    ``position`` counts from 1. Of the requests before it ``own_ahead`` are the member's own, the
    others belong to ``members_ahead`` members. ``own_running`` is how many jobs the member has
    running if one of them must end first, else 0.
    """
    place = "next in the queue" if position == 1 else f"{_ordinal(position)} in the queue"
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


class _QueueSimulation:
    """Simulation of the queue: each job that ends frees its slot for the next one."""

    __slots__ = (
        "_candidates",
        "_count",
        "_current_entries",
        "_ends",
        "_jobs",
        "_limit",
        "_next_rank",
        "_ranks",
        "_running",
        "_waiting_by_user",
    )

    def __init__(
        self,
        waiting: Iterable[QueuedJob],
        running: Iterable[RunningJob],
        last_started: Mapping[int, datetime],
        limit: Callable[[int], int],
        seconds: Mapping[str, float] = _NO_DURATIONS,
    ) -> None:
        self._limit = limit
        self._jobs = sorted(waiting, key=_age_key)
        # Indexes into self._jobs stand for ages, ranks for start times: integers compare fast.
        self._waiting_by_user: dict[int, deque[int]] = {}
        for index, job in enumerate(self._jobs):
            self._waiting_by_user.setdefault(job.user_id, deque()).append(index)
        starts = sorted(
            {last_started[user] for user in self._waiting_by_user if user in last_started}
        )
        rank_of = {start: rank for rank, start in enumerate(starts, start=1)}
        self._ranks = {
            user: rank_of[last_started[user]] if user in last_started else 0
            for user in self._waiting_by_user
        }
        # The job that started first is assumed to end first.
        held = sorted(running, key=lambda job: (last_started.get(job.user_id, _NEVER), job.job_id))
        self._running = Counter(job.user_id for job in held)
        self._count = count()
        self._next_rank = len(self._jobs)  # above the rank of every real start time
        # Running jobs as (end in seconds, order of start, user id).
        self._ends = [
            (seconds.get(job.job_id, 0.0), next(self._count), job.user_id) for job in held
        ]
        heapq.heapify(self._ends)
        self._candidates: list[tuple[float, int, int]] = []
        self._current_entries: dict[int, tuple[float, int, int]] = {}
        for user in self._waiting_by_user:
            self._push_oldest(user)

    def blocked(self) -> dict[int, int]:
        """Return the members at their limit, with their number of running jobs."""
        return {
            user: self._running[user]
            for user in self._waiting_by_user
            if user not in self._current_entries
        }

    def iter_order(self) -> Iterator[QueuedJob]:
        """Yield the jobs in order of start, where the job that started first ends first."""
        slots = len(self._ends)
        while True:
            job = self._start(0.0)
            if job is None:
                if not self._ends:
                    return
                self._end_first()
                continue
            if len(self._ends) > slots:
                self._end_first()
            yield job

    def iter_starts(
        self, slots: int, seconds: Mapping[str, float]
    ) -> Iterator[tuple[QueuedJob, float]]:
        """Yield each job with its start, in seconds from now."""
        now = 0.0
        while slots > 0:
            while len(self._ends) < slots:
                job = self._start(now, seconds)
                if job is None:
                    break
                yield job, now
            if not self._ends:
                return
            now = max(now, self._ends[0][0])
            while self._ends and self._ends[0][0] <= now:
                self._end_first()

    def _start(self, now: float, seconds: Mapping[str, float] = _NO_DURATIONS) -> QueuedJob | None:
        """Start the next job; return None if no waiting member may run one more."""
        while self._candidates:
            entry = heapq.heappop(self._candidates)
            job = self._jobs[entry[2]]
            user = job.user_id
            if self._current_entries.get(user) != entry:
                continue  # outdated: a job of this member has ended since
            self._next_rank += 1
            self._waiting_by_user[user].popleft()
            self._ranks[user] = self._next_rank
            self._running[user] += 1
            end = now + seconds.get(job.job_id, 0.0)
            heapq.heappush(self._ends, (end, next(self._count), user))
            self._push_oldest(user)
            return job
        return None

    def _end_first(self) -> None:
        """End the job that ends first."""
        _, _, user = heapq.heappop(self._ends)
        self._running[user] -= 1
        if user in self._waiting_by_user:
            self._push_oldest(user)

    def _push_oldest(self, user: int) -> None:
        """Push the member's oldest request to the heap, if they may run one more."""
        self._current_entries.pop(user, None)
        if self._waiting_by_user[user] and self._running[user] < self._limit(user):
            index = self._waiting_by_user[user][0]
            load = self._running[user] / self._jobs[index].weight
            self._current_entries[user] = (load, self._ranks[user], index)
            heapq.heappush(self._candidates, self._current_entries[user])


def _age_key(job: QueuedJob) -> tuple[datetime, str]:
    return job.queued_at, job.job_id


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in {11, 12, 13} else _ORDINAL_SUFFIXES.get(number % 10, "th")
    return f"{number}{ending}"


HISTORY_SIZE: Final = 40
"""How many of the last runs count; older ones may be from other hardware."""


@dataclass(frozen=True, slots=True)
class RuntimeHistory:
    """Durations of finished jobs, newest last: pairs of work units and seconds."""

    samples: tuple[tuple[int, float], ...] = ()

    def seconds(self, work: int) -> float | None:
        """Return the expected seconds of a job of ``work`` units; None without samples.

        Fits a line by medians (Theil-Sen): the median of slopes, then the median of the remainders
        (the start-up), so that a single outlier hardly changes it.
        """
        line = _fit_line(self.samples[-HISTORY_SIZE:])
        return None if line is None else line[0] + line[1] * work


@lru_cache(maxsize=8)  # called for every waiting job
def _fit_line(newest: tuple[tuple[int, float], ...]) -> tuple[float, float] | None:
    """Return the start-up in seconds, and seconds per work unit; None without samples."""
    if not newest:
        return None
    slopes = [
        (one_took - other_took) / (one - other)
        for (one, one_took), (other, other_took) in combinations(newest, 2)
        if one != other
    ]
    if not slopes:
        # Only one size was run: start-up and work cannot be told apart, so time scales with work.
        return 0.0, median(took / max(1, done) for done, took in newest)
    slope = max(0.0, median(slopes))
    return max(0.0, median(took - slope * done for done, took in newest)), slope


def seconds_left(expected: float, started: datetime, now: datetime) -> float:
    """Return the remaining seconds of a running job; 0 if it took longer than expected."""
    return max(0.0, expected - (now - started).total_seconds())
