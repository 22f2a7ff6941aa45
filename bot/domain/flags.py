"""Flags inside a prompt: ``an oak --ar 16:9 --no people, cars --seed=7``.

A flag is a word that begins with two dashes, or with the long dash that a phone makes of them,
and a letter. A bare ``--`` is text. Of a flag given twice the last counts, and so it is between
``--ar`` and ``--size``, which say the same thing; only ``--no`` adds up. What only looks like a
flag (``-ar 16:9``, ``cat--ar 16:9``) is asked about, never painted; Midjourney's own flags are
named as such. This module tells flags from prose and names from values; what a value may be is the
request's to say.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from bot.domain.errors import InvalidRequest
from bot.domain.text import normalize_text, truncate

FLAG_FIELDS: Mapping[str, str] = {
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
MIDJOURNEY: Final = frozenset(
    re.findall(
        r"\w+",
        """
        bs c chaos creative cref cw draft end exp fast hd iw loop motion niji oref ow p personalize
        profile public q quality r raw relax repeat s sameseed sref stealth stop stylize sv sw test
        testp tile turbo upbeta uplight v version video w weird
        """,
    )
)
"""Flags of Midjourney that mean nothing here. What is in ``SLOTS`` is ours, whoever else has it."""

_FLAG = re.compile(r"(?:--|[‒-―]{1,2})(?P<name>[^\W\d_][^=]*)(?:=(?P<value>.*))?", re.DOTALL)
_NAMES = "|".join(sorted({*FLAG_FIELDS, *MIDJOURNEY}, key=len, reverse=True))
_ATTACHED = re.compile(rf"(?P<name>{_NAMES})[:=]?(?P<value>[0-9].*)", re.IGNORECASE | re.DOTALL)
# Every sign that stands for a dash somewhere; keyboards and phones make each of them.
_DASH = "[-‐-―−﹘﹣－]"
_LOOKALIKE = re.compile(
    rf"(?P<before>.*?)(?<!{_DASH})(?P<dashes>{_DASH}++)(?P<name>{_NAMES})"
    r"(?:[:=]?(?P<value>[0-9].*)|[:=](?P<word>.+))?",
    re.IGNORECASE | re.DOTALL,
)
_NUMBER = re.compile(r"[+-]?[0-9]+(?:[.][0-9]+)?")
_SHAPE = re.compile(r"[0-9]+(?:[.][0-9]+)?[:xX×/][0-9]+(?:[.][0-9]+)?")
_REFERENCE = re.compile(r"https?://.+|[0-9]+|random", re.IGNORECASE)
_REFERRING = frozenset({"sref", "cref", "oref", "p", "profile"})
_VALUELESS = frozenset(
    re.findall(
        r"\w+",
        """
        creative draft fast hd loop niji personalize public raw relax stealth test testp tile turbo
        upbeta uplight video
        """,
    )
)


@dataclass(frozen=True, slots=True)
class RawOption:
    """One thing the member said; ``name`` is how they called it: ``--ar``, or an option's name."""

    name: str
    value: str


def is_flag(word: str) -> bool:
    """Whether a word is written like a flag, known or not."""
    return _FLAG.fullmatch(word) is not None


def parse_flags(
    text: str, phrases: Mapping[str, Collection[str]], *, typed: bool = True
) -> tuple[str, dict[str, RawOption]]:
    """Return the prompt without its flags, and what the flags set, by slot (values of ``SLOTS``).

    ``text`` is clean. ``phrases`` lists, by slot, the values that may have spaces in them; of
    those the longest that fits is taken. ``typed``: a person wrote it just now, who can be asked
    what was meant; what was accepted once is taken by the letter. Raises InvalidRequest for an
    unknown flag, one that has no value, and text that looks like a flag.
    """
    words = text.split()
    _refuse_midjourney(words, phrases, typed=typed)
    folded = {
        slot: sorted((normalize_text(name).casefold().split() for name in names), key=len)[::-1]
        for slot, names in phrases.items()
    }
    prose: list[str] = []
    found: dict[str, RawOption] = {}
    negatives: list[str] = []
    at = 0
    while at < len(words):
        match = _FLAG.fullmatch(words[at])
        at += 1
        if match is None:
            prose.append(words[at - 1])
            continue
        slot = _slot(match["name"])
        joined = [match["value"]] if match["value"] else []
        name = f"--{match['name'].lower()}"
        taken = _value_of(slot, joined, words, at, folded.get(slot, ()))
        if not taken:
            raise InvalidRequest(name, f"{name} needs a value, for example {_EXAMPLES[slot]}.")
        value = " ".join(taken)
        if slot == "negative":
            negatives.append(value)
            value = ""
        found[slot] = RawOption(name, value)
        at += len(taken) - len(joined)
    if negatives:
        found["negative"] = RawOption("--no", ", ".join(negatives))
    if typed:
        refuse_lookalikes(prose, phrases)
        refuse_lookalikes(", ".join(negatives).split(), phrases)
    return " ".join(prose), found


def refuse_lookalikes(words: Sequence[str], phrases: Mapping[str, Collection[str]]) -> None:
    """Raise InvalidRequest if some of ``words`` are most probably meant as flags.

    A word counts only if its name is a flag's, ours or Midjourney's, and a value of that flag
    stands where one belongs; so "t-shirt -red", "semi--transparent" and "3--4 cats" are text.
    """
    odd: list[str] = []
    meant: list[str] = []
    foreign: list[str] = []
    for at in range(len(words)):
        # A flag that is written as one is for whoever reads these words to allow or refuse.
        found = None if is_flag(words[at]) else _lookalike(words, at, phrases)
        if found is None:
            continue
        name, typed, spelled = found
        if _is_foreign(name):
            foreign.append(name)
        else:
            odd.append(f'"{truncate(typed)}"')
            meant.append(truncate(spelled))
    if foreign:
        raise _midjourney(foreign)
    if meant:
        raise InvalidRequest(
            meant[0].partition(" ")[0],
            f"{_joined(odd)} {'looks' if len(odd) == 1 else 'look'} like a flag. Did you mean "
            f"{_joined(meant)}? A flag needs a space and two dashes before its name. To keep it as "
            "text, put a space after the dashes.",
        )


def _lookalike(
    words: Sequence[str], at: int, phrases: Mapping[str, Collection[str]]
) -> tuple[str, str, str] | None:
    """What ``words[at]`` looks like: the flag's name, what was typed, and how it is spelled."""
    word = words[at]
    match = _LOOKALIKE.fullmatch(word)
    if match is None:
        return None
    name, dashes = match["name"].lower(), match["dashes"]
    attached = match["value"] or match["word"] or ""
    after = attached or (words[at + 1] if at + 1 < len(words) else "")
    value = after.rstrip(",.;)]\"'")
    evidence = _evidence(name, "" if is_flag(after) else value, phrases)
    if match["before"] and match["before"][-1].isalnum():
        # Within a word dashes are common, so more must speak for a flag.
        if len(dashes) == 1 and dashes in "‒–—―":
            enough = evidence == "shape" or evidence == "number"
        elif len(dashes) == 1:
            enough = evidence == "shape" and name == "ar"
        else:
            enough = bool(evidence) and evidence != "any name"
    else:
        enough = bool(evidence)
    if not enough:
        return None
    if name == "style" and evidence == "raw":
        name = "style raw"
    if not value or evidence == "none":
        return f"--{name}", word, f"--{name}"
    return f"--{name}", word if attached else f"{word} {value}", f"--{name} {value}"


def _evidence(name: str, value: str, phrases: Mapping[str, Collection[str]]) -> str:
    """How ``value``, what stands behind a name, speaks for a flag; empty if it does not."""
    slot = FLAG_FIELDS.get(name)
    if not value:
        return "none" if slot is None and name in _VALUELESS else ""
    if slot == "shape":
        return "shape" if _SHAPE.fullmatch(value) else ""
    if slot in ("style", "model"):
        known = [normalize_text(one).casefold() for one in phrases.get(slot, ())]
        if value.casefold() == "raw" and slot == "style" and "raw" not in known:
            return "raw"
        begins = any(one.split()[:1] == [value.casefold()] for one in known)
        return "name" if begins else "any name"
    if slot == "negative":
        return "words"
    if name in _REFERRING:
        return "number" if _REFERENCE.fullmatch(value) else ""
    return "number" if _NUMBER.fullmatch(value) else ""


def _refuse_midjourney(
    words: Sequence[str], phrases: Mapping[str, Collection[str]], *, typed: bool
) -> None:
    """Raise InvalidRequest that names every flag of Midjourney's among ``words``."""
    styles = {normalize_text(name).casefold() for name in phrases.get("style", ())}
    found: list[str] = []
    for at, word in enumerate(words):
        match = _FLAG.fullmatch(word)
        if match is None:
            looks = _lookalike(words, at, phrases) if typed else None
            found += [looks[0]] if looks and _is_foreign(looks[0]) else []
            continue
        name, value = match["name"].lower(), match["value"] or "".join(words[at + 1 : at + 2])
        attached = _ATTACHED.fullmatch(name)
        if attached is not None:
            name = attached["name"]
        if name == "style" and value.casefold() == "raw" and "raw" not in styles:
            name = "style raw"
        if _is_foreign(f"--{name}"):
            found.append(f"--{name}")
    if found:
        raise _midjourney(found)


def _is_foreign(flag: str) -> bool:
    name = flag.removeprefix("--")
    return name == "style raw" or (name in MIDJOURNEY and name not in FLAG_FIELDS)


def _midjourney(flags: Sequence[str]) -> InvalidRequest:
    one = len(set(flags)) == 1
    return InvalidRequest(
        flags[0].partition(" ")[0],
        f"{_joined(flags)} {'is' if one else 'are'} Midjourney's and {'has' if one else 'have'} "
        f"no effect here; remove {'it' if one else 'them'}.",
    )


def _joined(parts: Sequence[str]) -> str:
    """``a``, ``a and b`` or ``a, b and c``, each part once."""
    unique = list(dict.fromkeys(parts))
    return " and ".join(([", ".join(unique[:-1])] if unique[:-1] else []) + unique[-1:])


def _slot(name: str) -> str:
    slot = FLAG_FIELDS.get(name.lower())
    if slot is not None:
        return slot
    flag = f"--{truncate(name)}"
    attached = _ATTACHED.fullmatch(name)
    if attached is not None:
        meant = f"--{attached['name'].lower()} {truncate(attached['value'])}"
        raise InvalidRequest(
            flag, f"There is no flag {flag}. Did you mean {meant}, with a space between?"
        )
    near = get_close_matches(name.lower(), FLAG_FIELDS, n=1)
    hint = f" Did you mean --{near[0]}?" if near else ""
    allowed = ", ".join(f"--{known}" for known in FLAG_FIELDS)
    raise InvalidRequest(
        flag,
        f"There is no flag {flag}.{hint} The flags are {allowed}. "
        "To keep the word as text, put a space after the dashes.",
    )


def _value_of(
    slot: str,
    joined: Sequence[str],
    words: Sequence[str],
    at: int,
    phrases: Sequence[Sequence[str]],
) -> list[str]:
    """The flag's value: ``joined`` came after ``=``, what follows begins at ``words[at]``."""
    if phrases:
        longest = len(phrases[0])
        rest = [*joined, *words[at : at + longest]]
        folded = [word.casefold() for word in rest]
        for phrase in phrases:
            if phrase and list(phrase) == folded[: len(phrase)]:
                return rest[: len(phrase)]
    value = list(joined)
    most = len(words) + 1 if slot == "negative" else 1
    while len(value) < most and at < len(words) and not is_flag(words[at]):
        value.append(words[at])
        at += 1
    return value
