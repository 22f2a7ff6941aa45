"""One setting at a time: from what was typed to a value in range, or a refusal that helps.

Every refusal is an InvalidRequest that carries the setting's name as the member typed it, says
what is allowed, and quotes what was said instead. The limits are plain arguments: this module
knows neither the operator's ``Limits`` nor the request that is being put together.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import ceil, floor, isqrt, log
from typing import Final

from bot.domain.errors import InvalidRequest
from bot.domain.image_engine import Painter
from bot.domain.text import has_visible_characters, normalize_text, truncate

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


SIZE_STEP_PX = 64
"""Pixels; both sides are multiples of it."""

MAX_ASPECT_RATIO = 4
"""The long side is at most this many times the short one."""


def is_valid_aspect(width: int, height: int) -> bool:
    """Whether the two numbers, in whatever unit, lie between 1:4 and 4:1."""
    return 0 < width <= MAX_ASPECT_RATIO * height and height <= MAX_ASPECT_RATIO * width


def is_valid_size(width: int, height: int, max_pixels: int, min_pixels: int = 1) -> bool:
    """Whether a picture may have this size in pixels."""
    whole_tiles = width % SIZE_STEP_PX == 0 and height % SIZE_STEP_PX == 0
    return (
        whole_tiles
        and is_valid_aspect(width, height)
        and min_pixels <= width * height <= max_pixels
    )


def fit_aspect(
    ratio_w: int, ratio_h: int, area: int, max_pixels: int, min_pixels: int = 1
) -> tuple[int, int]:
    """The allowed width and height, in pixels, nearest to a shape and to ``area`` square pixels.

    Never above ``max_pixels`` or below ``min_pixels``. The shape weighs twice as much as the area,
    so a square stays square. Raises ValueError for a ratio beyond 1:4 or 4:1, and for limits that
    leave no size.
    """
    tiles, fewest = max_pixels // SIZE_STEP_PX**2, ceil(min_pixels / SIZE_STEP_PX**2)
    if not is_valid_aspect(ratio_w, ratio_h) or not 1 <= fewest <= tiles or area < 1:
        raise ValueError(f"nothing fits {ratio_w}:{ratio_h}, {area} and {max_pixels} pixels")
    if ratio_w < ratio_h:
        height, width = fit_aspect(ratio_h, ratio_w, area, max_pixels, min_pixels)
        return width, height
    ratio = ratio_w / ratio_h
    wanted = min(area, max_pixels) / SIZE_STEP_PX**2

    def misfit(size: tuple[int, int]) -> tuple[float, int]:
        columns, rows = size
        error = 2 * abs(log(columns / rows / ratio)) + abs(log(columns * rows / wanted))
        # Rounded, so that equally good sizes are equal; of those, the one with more pixels.
        return round(error, 9), -columns * rows

    # For one width the misfit grows on both sides of the exact height: only its neighbours matter.
    candidates = [
        (columns, min(max(rows, shortest), tallest))
        for columns in range(1, isqrt(MAX_ASPECT_RATIO * tiles) + 1)
        if (shortest := max(ceil(columns / MAX_ASPECT_RATIO), ceil(fewest / columns)))
        <= (tallest := min(columns, tiles // columns))
        for rows in (floor(columns / ratio), ceil(columns / ratio))
    ]
    columns, rows = min(candidates, key=misfit)
    return columns * SIZE_STEP_PX, rows * SIZE_STEP_PX


_WHOLE = re.compile(r"[+-]?[0-9]{1,20}")
_ASPECT = re.compile(r"([0-9]{1,4}):([0-9]{1,4})")
_SIZE = re.compile(r"([0-9]{1,5})[xX×]([0-9]{1,5})")
# Names as model hubs have them: no part begins with a dot or a dash, so none climbs out of a
# folder or is taken for an option.
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")


def validate_prompt(prompt: str, most: int) -> str:
    """The clean prompt itself, if a picture can be made of it."""
    if not has_visible_characters(prompt):
        raise InvalidRequest(
            "prompt",
            "The prompt is empty: say what the picture should show, "
            "for example an astronaut in space.",
        )
    return _check_text(RawOption("prompt", prompt), most)


def validate_negative_prompt(
    setting: RawOption, most: int, *, taken: bool, idle_with: str = ""
) -> str:
    """The words to keep out of the picture; ``taken``: whether the workflow has a use for them.

    ``idle_with`` is empty, or names the model with which they would have no effect.
    """
    negative = setting.value
    if not has_visible_characters(negative):
        return ""
    if not taken:
        raise InvalidRequest(
            setting.name,
            "This server's workflow cannot take a negative prompt. "
            f"Leave {setting.name} out and say in the prompt what should be there.",
        )
    if idle_with:
        raise InvalidRequest(
            setting.name,
            f"{setting.name} has no effect with this server's model ({idle_with}). "
            f"Leave {setting.name} out and say in the prompt what should be there.",
        )
    for word in negative.split():
        if is_flag(word):
            raise InvalidRequest(
                setting.name,
                f"{setting.name} takes plain words, no flags such as {truncate(word)}. "
                "Flags belong in the prompt.",
            )
    return _check_text(setting, most)


def _check_text(setting: RawOption, most: int) -> str:
    if len(setting.value) > most:
        raise InvalidRequest(
            setting.name,
            f"{setting.name} has {len(setting.value)} characters, and at most {most} are allowed. "
            "Please shorten it.",
        )
    # A lone "--" would reach the painter's argparse, which swallows it even as --prompt=--.
    if setting.value == "--":
        raise InvalidRequest(
            setting.name, f"{setting.name} cannot be two dashes alone. Use words instead."
        )
    return setting.value


def parse_int(setting: RawOption, low: int, high: int) -> int:
    """A whole number from ``low`` to ``high``, both allowed."""
    value = int(setting.value) if _WHOLE.fullmatch(setting.value) else None
    if value is None or not low <= value <= high:
        allowed = f"a whole number from {low} to {high}" if low < high else f"{low}"
        raise InvalidRequest(setting.name, f"{setting.name} must be {allowed}, {_not(setting)}.")
    return value


def parse_choice(setting: RawOption, allowed: Iterable[str], *, kind: str) -> str:
    """The name in ``allowed`` that was meant; case does not matter unless only case differs."""
    names = {normalize_text(name): name for name in allowed if name}
    if setting.value in names:
        return names[setting.value]
    folded = {name.casefold(): original for name, original in names.items()}
    if setting.value.casefold() in folded:
        return folded[setting.value.casefold()]
    if not names:
        raise InvalidRequest(
            setting.name, f"This server has no {kind} to choose from. Leave {setting.name} out."
        )
    near = get_close_matches(setting.value.casefold(), folded, n=1)
    hint = f" Did you mean {folded[near[0]]}?" if near else ""
    choice = f"one of: {', '.join(names)}" if len(names) > 1 else next(iter(names))
    raise InvalidRequest(setting.name, f"{setting.name} must be {choice}; {_not(setting)}.{hint}")


def parse_model(setting: RawOption) -> str:
    """Any model, where the operator has drawn up no list: a plain name, or ``owner/name``."""
    if not _MODEL.fullmatch(setting.value):
        raise InvalidRequest(
            setting.name,
            f"{setting.name} must be one name of letters, digits, dots, dashes and underscores, "
            f"with at most one slash inside, {_not(setting)}.",
        )
    return setting.value


def only_model(setting: RawOption, painter: Painter, default: str) -> str:
    """Nothing, where there is no model to choose; a name that means it anyway is no mistake.

    ``default`` is the server's name for whatever paints, which older messages repeat. Raises
    InvalidRequest for any other name: it would change nothing.
    """
    if setting.value.casefold() in (*painter.names, normalize_text(default).casefold()):
        return ""
    what = f"paints with {painter.model} only" if painter.model else "draws without a model"
    raise InvalidRequest(
        setting.name,
        f"There is no model to choose: this server {what}, {_not(setting)}. "
        f"Leave {setting.name} out.",
    )


def parse_size(
    setting: RawOption, default: tuple[int, int], max_pixels: int, min_pixels: int = 1
) -> tuple[int, int]:
    """Width and height in pixels, from ``--size 768x512`` or from an aspect such as ``16:9``.

    An aspect is fitted to the area of ``default``, which is itself always allowed as a size, if
    only it has ``min_pixels``.
    """
    if setting.name == "--size":
        size = _exact_size(setting, default, max_pixels, min_pixels)
        return large_enough(setting.name, size, max_pixels, min_pixels)
    match = _ASPECT.fullmatch(setting.value)
    width, height = (int(match[1]), int(match[2])) if match else (0, 0)
    if not is_valid_aspect(width, height):
        raise InvalidRequest(
            setting.name,
            f"{setting.name} must be width:height in whole numbers, from 1:{MAX_ASPECT_RATIO} to "
            f"{MAX_ASPECT_RATIO}:1, for example 16:9, {_not(setting)}.",
        )
    if min_pixels > max_pixels:
        large_enough(setting.name, default, max_pixels, min_pixels)
    return fit_aspect(width, height, default[0] * default[1], max_pixels, min_pixels)


def large_enough(
    name: str, size: tuple[int, int], max_pixels: int, min_pixels: int
) -> tuple[int, int]:
    """``size`` itself, unless it is too small for what paints here; ``name`` is the setting's.

    An empty ``name`` is the server's own default. Raises InvalidRequest.
    """
    pixels = size[0] * size[1]
    if pixels >= min_pixels <= max_pixels:
        return size
    what = f"{name} is" if name else "The picture size that this server uses is"
    hint = f"Choose one of {min_pixels} pixels or more, for example --size 512x512."
    if min_pixels > max_pixels:
        hint = "A moderator can tell the operator: no larger one is allowed here."
    elif min_pixels > 512 * 512 or max_pixels < 512 * 512:
        hint = f"Choose one of {min_pixels} pixels or more."
    raise InvalidRequest(
        name or "size",
        f"{what} too small for what paints here: {size[0]}x{size[1]} has {pixels} pixels. {hint}",
    )


def _exact_size(
    setting: RawOption, default: tuple[int, int], max_pixels: int, min_pixels: int
) -> tuple[int, int]:
    match = _SIZE.fullmatch(setting.value)
    size = (int(match[1]), int(match[2])) if match else (0, 0)
    least = f" and at least {min_pixels}" if min_pixels > SIZE_STEP_PX**2 else ""
    if size != default and not is_valid_size(*size, max_pixels, min(min_pixels, max_pixels)):
        raise InvalidRequest(
            setting.name,
            f"{setting.name} must be WIDTHxHEIGHT in multiples of {SIZE_STEP_PX} pixels, shaped from "
            f"1:{MAX_ASPECT_RATIO} to {MAX_ASPECT_RATIO}:1, with at most {max_pixels} pixels in all{least}, for "
            f"example {default[0]}x{default[1]}, {_not(setting)}.",
        )
    return size


def _not(setting: RawOption) -> str:
    return f"not {truncate(setting.value)}" if setting.value else "and cannot be empty"
