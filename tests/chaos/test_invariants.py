"""The checker itself: a good history passes, and each way of breaking one is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.chaos.invariants import Ask, Entry, History, JobFact, Post, broken

ADA, BEN = 1, 2
FOX = JobFact("foxfoxfoxfoxfoxf", 11, ADA, "finished", 4, 2, (1, 2))
OWL = JobFact("owlowlowlowlowlo", 12, BEN, "cancelled", 4, 2, (), cancelled_by=BEN)
GOOD = History(
    asks=(
        Ask(11, ADA, True, ("Done: a fox",)),
        Ask(12, BEN, True, ("Cancelled",)),
        Ask(13, BEN, True, ("You have no images left.",)),
        Ask(14, ADA, False),
    ),
    jobs=(FOX, OWL),
    posts=(
        Post(101, FOX.id, grid=True, called=(ADA,), interaction=11),
        Post(102, FOX.id, rows=(1,)),
        Post(103, FOX.id, rows=(2,)),
        Post(104, interaction=12),
    ),
    ledger=(
        Entry(FOX.id, "reserve", 4),
        Entry(FOX.id, "settle", 4),
        Entry(OWL.id, "reserve", 4),
        Entry(OWL.id, "refund", 4),
    ),
    starts={FOX.id: 1, OWL.id: 1},
)


def without(index: int) -> History:
    return replace(GOOD, posts=GOOD.posts[:index] + GOOD.posts[index + 1 :])


def more(*posts: Post) -> History:
    return replace(GOOD, posts=(*GOOD.posts, *posts))


def fox(**change: object) -> History:
    return replace(GOOD, jobs=(replace(FOX, **change), OWL))  # type: ignore[arg-type]


def ledger(change: Callable[[list[Entry]], object]) -> History:
    entries = list(GOOD.ledger)
    change(entries)
    return replace(GOOD, ledger=tuple(entries))


BROKEN: dict[str, tuple[History, str]] = {
    "a result is lost": (without(0), "has 0 results: lost"),
    "a result is doubled": (more(Post(9, FOX.id, grid=True)), "has 2 results: doubled"),
    "a row is lost": (without(1), "has row 1 0 times"),
    "a row is doubled": (more(Post(9, FOX.id, rows=(2,))), "has row 2 2 times"),
    "two pings": (more(Post(9, FOX.id, called=(ADA,))), "called its author 2 times"),
    "two pings that name no job": (
        more(Post(9, called=(ADA,))),
        "was called 2 times for 1 jobs",
    ),
    "the wrong member is called": (more(Post(9, FOX.id, called=(BEN,))), "did not ask for it"),
    "a job hangs": (fox(state="delivering"), "hangs: delivering"),
    "a job waits for ever": (fox(state="queued"), "hangs: queued"),
    "a job failed": (fox(state="failed", sentence="It died."), "failed: It died."),
    "the operator's stop ended it": (fox(state="cancelled"), "ended as cancelled"),
    "a live card": (more(Post(9, cancels=FOX.id)), "can still cancel it"),
    "a cancelled job has a result": (
        more(Post(9, OWL.id, grid=True)),
        "cancelled by its author and has a result",
    ),
    "a picture of no job": (more(Post(9, "catcatcatcatcatc", grid=True)), "a picture of no job"),
    "not reserved": (ledger(lambda entries: entries.pop(0)), "reserved []"),
    "reserved twice": (ledger(lambda entries: entries.append(entries[0])), "reserved [4, 4]"),
    "reserved wrongly": (
        ledger(lambda entries: entries.__setitem__(0, Entry(FOX.id, "reserve", 5))),
        "reserved [5]",
    ),
    "not settled": (ledger(lambda entries: entries.pop(1)), "closed by []"),
    "settled for less": (
        ledger(lambda entries: entries.__setitem__(1, Entry(FOX.id, "settle", 3))),
        "closed by [('settle', 3)]",
    ),
    "given away": (
        ledger(lambda entries: entries.__setitem__(1, Entry(FOX.id, "refund", 4))),
        "closed by [('refund', 4)]",
    ),
    "closed twice": (ledger(lambda entries: entries.append(entries[1])), "closed by"),
    "a cancelled job is paid": (
        ledger(lambda entries: entries.__setitem__(3, Entry(OWL.id, "settle", 4))),
        "closed by [('settle', 4)]",
    ),
    "given back by half": (
        ledger(lambda entries: entries.__setitem__(3, Entry(OWL.id, "refund", 2))),
        "closed by [('refund', 2)]",
    ),
    "entries of no job": (
        ledger(lambda entries: entries.append(Entry("cat", "reserve", 1))),
        "entries of no job",
    ),
    "the store says so itself": (
        replace(GOOD, ledger_faults=("job x is settled twice",)),
        "settled twice",
    ),
    "ran twice": (replace(GOOD, starts={FOX.id: 2, OWL.id: 1}), "ran 2 times"),
    "never ran": (replace(GOOD, starts={OWL.id: 1}), "ran 0 times"),
    "ran for nobody": (replace(GOOD, starts={**GOOD.starts, "cat": 1}), "nobody asked for"),
    "accepted twice": (
        replace(GOOD, jobs=(FOX, replace(OWL, interaction=11))),
        "accepted 2 times",
    ),
    "told that nothing was charged": (
        replace(GOOD, asks=(Ask(11, ADA, True, ("Something went wrong; nothing was charged.",)),)),
        "and its author read",
    ),
    "a card without a job": (
        more(Post(9, interaction=13, cancels="catcatcatcatcatc")),
        "a card and no job",
    ),
    "told nothing": (replace(GOOD, asks=(Ask(13, BEN, True, (" ",)),)), "never told anything"),
    "the bot ended by itself": (
        replace(GOOD, exits=("the bot ended by itself with status 1",)),
        "ended by itself",
    ),
}


def test_a_single_row_needs_no_message_of_its_own() -> None:
    cat = JobFact("catcatcatcatcatc", 15, ADA, "finished", 2, 2, (1,))
    history = History(
        jobs=(cat,),
        posts=(Post(1, "catcatcatcatcatc", grid=True),),
        ledger=(Entry(cat.id, "reserve", 2), Entry(cat.id, "settle", 2)),
        starts={cat.id: 1},
    )
    assert broken(history) == ()
    twice = (
        *history.posts,
        Post(2, "catcatcatcatcatc", rows=(1,)),
        Post(3, "catcatcatcatcatc", rows=(1,)),
    )
    assert broken(replace(history, posts=twice)) == ("job catcatcatcatcatc has row 1 2 times",)


def test_rows_may_share_a_message_and_lie_beside_the_result() -> None:
    beside = (replace(GOOD.posts[0], rows=(1, 2)), GOOD.posts[3])
    assert broken(replace(GOOD, posts=beside)) == ()


def test_a_good_history_is_well() -> None:
    assert broken(GOOD) == ()
    assert broken(History()) == ()


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_history_is_found(name: str) -> None:
    history, expected = BROKEN[name]
    assert any(expected in sentence for sentence in broken(history)), broken(history)
