"""Flags inside a prompt: ``an oak --ar 16:9 --no people, cars --seed=7``.

A flag is a word that begins with two dashes, or with the long dash that a phone makes of them,
and a letter. A bare ``--`` is text. Of a flag given twice the last counts, and so it is between
``--ar`` and ``--size``, which say the same thing; only ``--no`` adds up. This module tells flags
from prose and names from values; what a value may be is the request's to say.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from bot.domain.errors import InvalidRequest
from bot.domain.text import clean, shorten

SLOTS: Mapping[str, str] = {
    "ar": "shape",
    "aspect": "shape",
    "size": "shape",
    "no": "negative",
    "rows": "rows",
    "samples": "samples",
    "steps": "steps",
    "seed": "seed",
    "model": "model",
    "style": "style",
}
"""Each flag's name and the part of a request that it sets."""

_EXAMPLES: Mapping[str, str] = {
    "shape": "--ar 16:9",
    "negative": "--no trees",
    "rows": "--rows 2",
    "samples": "--samples 2",
    "steps": "--steps 30",
    "seed": "--seed 7",
    "model": "--model NAME",
    "style": "--style NAME",
}
_FLAG = re.compile(r"(?:--|[‒-―]{1,2})(?P<name>[^\W\d_][^=]*)(?:=(?P<value>.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing the member said; ``name`` is how they called it: ``--ar``, or an option's name."""

    name: str
    value: str


def is_flag(word: str) -> bool:
    """Whether a word is written like a flag, known or not."""
    return _FLAG.fullmatch(word) is not None


def split_flags(
    text: str, phrases: Mapping[str, Collection[str]]
) -> tuple[str, dict[str, Setting]]:
    """The prompt without its flags, and what the flags set, by slot (the values of ``SLOTS``).

    ``text`` is clean. ``phrases`` lists, by slot, the values that may have spaces in them; of
    those the longest that fits is taken. Raises InvalidRequest for an unknown flag or one that
    has no value.
    """
    words = text.split()
    prose: list[str] = []
    found: dict[str, Setting] = {}
    at = 0
    while at < len(words):
        match = _FLAG.fullmatch(words[at])
        at += 1
        if match is None:
            prose.append(words[at - 1])
            continue
        slot = _slot(match["name"])
        joined = [match["value"]] if match["value"] else []
        rest = [*joined, *words[at:]]
        name = f"--{match['name'].lower()}"
        taken = _value_length(slot, rest, len(joined), phrases.get(slot, ()))
        if taken == 0:
            raise InvalidRequest(name, f"{name} needs a value, for example {_EXAMPLES[slot]}.")
        value = " ".join(rest[:taken])
        if slot == "negative" and slot in found:
            value = f"{found[slot].value}, {value}"
        found[slot] = Setting(name, value)
        at += taken - len(joined)
    return " ".join(prose), found


def _slot(name: str) -> str:
    slot = SLOTS.get(name.lower())
    if slot is not None:
        return slot
    near = get_close_matches(name.lower(), SLOTS, n=1)
    hint = f" Did you mean --{near[0]}?" if near else ""
    flag = f"--{shorten(name)}"
    allowed = ", ".join(f"--{known}" for known in SLOTS)
    raise InvalidRequest(
        flag,
        f"There is no flag {flag}.{hint} The flags are {allowed}. "
        "To keep the word as text, put a space after the dashes.",
    )


def _value_length(slot: str, rest: Sequence[str], joined: int, phrases: Collection[str]) -> int:
    """How many words of ``rest`` are the flag's value; the first ``joined`` came after ``=``."""
    folded = [word.casefold() for word in rest]
    for phrase in sorted((clean(name).casefold().split() for name in phrases), key=len)[::-1]:
        if phrase and phrase == folded[: len(phrase)]:
            return len(phrase)
    most = len(rest) if slot == "negative" else 1
    taken = joined
    while taken < min(most, len(rest)) and not is_flag(rest[taken]):
        taken += 1
    return taken
