"""Parsing of options and ``--flags`` into validated values.

Every error is an InvalidRequest with the option's name as the member typed it; its message says
what is allowed and quotes the rejected value.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from bot.domain import image_size
from bot.domain.errors import InvalidRequest
from bot.domain.image_engine import EngineInfo
from bot.domain.image_size import MAX_ASPECT_RATIO, SIZE_STEP_PX
from bot.domain.midjourney_flags import FLAGS_WITHOUT_VALUE, MIDJOURNEY_FLAGS, REFERENCE_FLAGS
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
    "strength": "strength",
    "repeat": "repeat",
    "r": "repeat",
}
"""Flag names, and the request field that each sets; ``repeat`` makes several requests."""

_EXAMPLES: Mapping[str, str] = {
    "shape": "--ar 16:9",
    "negative": "--no trees",
    "rows": "--rows 2",
    "samples": "--samples 2",
    "steps": "--steps 30",
    "seed": "--seed 7",
    "model": "--model NAME",
    "style": "--style NAME",
    "strength": "--strength 0.5",
    "repeat": "--repeat 4",
}

_FLAG = re.compile(r"(?:--|[‒-―]{1,2})(?P<name>[^\W\d_][^=]*)(?:=(?P<value>.*))?", re.DOTALL)
_NAMES = "|".join(sorted({*FLAG_FIELDS, *MIDJOURNEY_FLAGS}, key=len, reverse=True))
_ATTACHED = re.compile(rf"(?P<name>{_NAMES})[:=]?(?P<value>[0-9].*)", re.IGNORECASE | re.DOTALL)
_DASHES = "[-‐-―−﹘﹣－]"  # what keyboards and phones produce for a dash
_LOOKALIKE = re.compile(
    rf"(?P<before>.*?)(?<!{_DASHES})(?P<dashes>{_DASHES}++)(?P<name>{_NAMES})"
    r"(?:[:=]?(?P<value>[0-9].*)|[:=](?P<word>.+))?",
    re.IGNORECASE | re.DOTALL,
)
_NUMBER = re.compile(r"[+-]?[0-9]+(?:[.][0-9]+)?")
_RATIO_OR_SIZE = re.compile(r"[0-9]+(?:[.][0-9]+)?[:xX×/][0-9]+(?:[.][0-9]+)?")
_REFERENCE = re.compile(r"https?://.+|[0-9]+|random", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RawOption:
    """Unparsed value; ``name`` is the flag or option as typed, such as ``--ar``."""

    name: str
    value: str


def is_flag(word: str) -> bool:
    """Return whether a word has the form of a flag, known or not."""
    return _FLAG.fullmatch(word) is not None


def parse_flags(
    text: str, phrases: Mapping[str, Collection[str]], *, typed: bool = True
) -> tuple[str, dict[str, RawOption]]:
    """Return the prompt without its flags, and the flags by field (values of ``FLAG_FIELDS``).

    ``text`` is normalised. ``phrases`` lists, by field, the values that may contain spaces; the
    longest match is taken. ``typed``: a person wrote it just now, so mistyped flags are refused;
    stored text is taken literally. Raises InvalidRequest for an unknown flag, a flag without a
    value, and text that looks like a flag.
    """
    words = text.split()
    _reject_midjourney(words, phrases, typed=typed)
    folded = {
        field: sorted((normalize_text(name).casefold().split() for name in names), key=len)[::-1]
        for field, names in phrases.items()
    }
    text_words: list[str] = []
    found: dict[str, RawOption] = {}
    negatives: list[str] = []
    at = 0
    while at < len(words):
        match = _FLAG.fullmatch(words[at])
        at += 1
        if match is None:
            text_words.append(words[at - 1])
            continue
        field = _parse_flag_name(match["name"])
        joined = [match["value"]] if match["value"] else []
        name = f"--{match['name'].lower()}"
        value_words = _take_value(field, joined, words, at, folded.get(field, ()))
        if not value_words:
            raise InvalidRequest(name, f"{name} needs a value, for example {_EXAMPLES[field]}.")
        value = " ".join(value_words)
        if field == "negative":
            negatives.append(value)
            value = ""
        found[field] = RawOption(name, value)
        at += len(value_words) - len(joined)
    if negatives:
        found["negative"] = RawOption("--no", ", ".join(negatives))
    if typed:
        reject_lookalikes(text_words, phrases)
        reject_lookalikes(", ".join(negatives).split(), phrases)
    return " ".join(text_words), found


def reject_lookalikes(words: Sequence[str], phrases: Mapping[str, Collection[str]]) -> None:
    """Raise InvalidRequest if some of ``words`` are probably mistyped flags.

    A word counts only if its name is that of a flag, ours or Midjourney's, followed by a value that
    fits it; so "t-shirt -red", "semi--transparent" and "3--4 cats" are text.
    """
    typed_forms: list[str] = []
    meant: list[str] = []
    midjourney: list[str] = []
    for at in range(len(words)):
        # Correctly written flags are allowed or refused by the caller.
        found = None if is_flag(words[at]) else _match_lookalike(words, at, phrases)
        if found is None:
            continue
        name, typed, spelled = found
        if _is_midjourney(name):
            midjourney.append(name)
        else:
            typed_forms.append(f'"{truncate(typed)}"')
            meant.append(truncate(spelled))
    if midjourney:
        raise _midjourney_error(midjourney)
    if meant:
        raise InvalidRequest(
            meant[0].partition(" ")[0],
            f"{_format_list(typed_forms)} {'looks' if len(meant) == 1 else 'look'} like a flag. "
            f"Did you mean {_format_list(meant)}? A flag needs a space and two dashes before "
            "its name. To keep it as text, put a space after the dashes.",
        )


def _match_lookalike(
    words: Sequence[str], at: int, phrases: Mapping[str, Collection[str]]
) -> tuple[str, str, str] | None:
    """Return the flag that ``words[at]`` resembles, the typed text and its correct form."""
    word = words[at]
    match = _LOOKALIKE.fullmatch(word)
    if match is None:
        return None
    name, dashes = match["name"].lower(), match["dashes"]
    attached = match["value"] or match["word"] or ""
    after = attached or (words[at + 1] if at + 1 < len(words) else "")
    value = after.rstrip(",.;)]\"'")
    evidence = _classify_value(name, "" if is_flag(after) else value, phrases)
    if match["before"] and match["before"][-1].isalnum():
        # Dashes inside a word are common, so stronger evidence is required.
        if len(dashes) == 1 and dashes in "‒–—―":
            is_flag_like = evidence == "shape" or evidence == "number"
        elif len(dashes) == 1:
            is_flag_like = evidence == "shape" and name == "ar"
        else:
            is_flag_like = bool(evidence) and evidence != "any name"
    else:
        is_flag_like = bool(evidence)
    if not is_flag_like:
        return None
    if name == "style" and evidence == "raw":
        name = "style raw"
    if not value or evidence == "none":
        return f"--{name}", word, f"--{name}"
    return f"--{name}", word if attached else f"{word} {value}", f"--{name} {value}"


def _classify_value(name: str, value: str, phrases: Mapping[str, Collection[str]]) -> str:
    """Classify the value after a flag's name; empty if it does not fit the flag."""
    field = FLAG_FIELDS.get(name)
    if not value:
        return "none" if field is None and name in FLAGS_WITHOUT_VALUE else ""
    if field == "shape":
        return "shape" if _RATIO_OR_SIZE.fullmatch(value) else ""
    if field in ("style", "model"):
        known = [normalize_text(one).casefold() for one in phrases.get(field, ())]
        if value.casefold() == "raw" and field == "style" and "raw" not in known:
            return "raw"
        begins = any(one.split()[:1] == [value.casefold()] for one in known)
        return "name" if begins else "any name"
    if field == "negative":
        return "words"
    if name in REFERENCE_FLAGS:
        return "number" if _REFERENCE.fullmatch(value) else ""
    return "number" if _NUMBER.fullmatch(value) else ""


def _reject_midjourney(
    words: Sequence[str], phrases: Mapping[str, Collection[str]], *, typed: bool
) -> None:
    """Raise InvalidRequest with every Midjourney flag among ``words``."""
    styles = {normalize_text(name).casefold() for name in phrases.get("style", ())}
    found: list[str] = []
    for at, word in enumerate(words):
        match = _FLAG.fullmatch(word)
        if match is None:
            looks = _match_lookalike(words, at, phrases) if typed else None
            found += [looks[0]] if looks and _is_midjourney(looks[0]) else []
            continue
        name, value = match["name"].lower(), match["value"] or "".join(words[at + 1 : at + 2])
        attached = _ATTACHED.fullmatch(name)
        if attached is not None:
            name = attached["name"]
        if name == "style" and value.casefold() == "raw" and "raw" not in styles:
            name = "style raw"
        if _is_midjourney(f"--{name}"):
            found.append(f"--{name}")
    if found:
        raise _midjourney_error(found)


def _is_midjourney(flag: str) -> bool:
    name = flag.removeprefix("--")
    return name == "style raw" or (name in MIDJOURNEY_FLAGS and name not in FLAG_FIELDS)


def _midjourney_error(flags: Sequence[str]) -> InvalidRequest:
    one = len(set(flags)) == 1
    return InvalidRequest(
        flags[0].partition(" ")[0],
        f"{_format_list(flags)} {'is a Midjourney flag' if one else 'are Midjourney flags'} and "
        f"{'has' if one else 'have'} no effect here. Remove {'it' if one else 'them'}.",
    )


def _format_list(parts: Sequence[str]) -> str:
    """Return ``a``, ``a and b`` or ``a, b and c``, each part once."""
    unique = list(dict.fromkeys(parts))
    return " and ".join(([", ".join(unique[:-1])] if unique[:-1] else []) + unique[-1:])


def _parse_flag_name(name: str) -> str:
    field = FLAG_FIELDS.get(name.lower())
    if field is not None:
        return field
    flag = f"--{truncate(name)}"
    attached = _ATTACHED.fullmatch(name)
    if attached is not None:
        suggestion = f"--{attached['name'].lower()} {truncate(attached['value'])}"
        raise InvalidRequest(
            flag, f"There is no flag {flag}. Did you mean {suggestion}, with a space between?"
        )
    near = get_close_matches(name.lower(), FLAG_FIELDS, n=1)
    hint = f" Did you mean --{near[0]}?" if near else ""
    allowed = ", ".join(f"--{known}" for known in FLAG_FIELDS)
    raise InvalidRequest(
        flag,
        f"There is no flag {flag}.{hint} The flags are {allowed}. "
        "To keep the word as text, put a space after the dashes.",
    )


def _take_value(
    field: str,
    joined: Sequence[str],
    words: Sequence[str],
    at: int,
    phrases: Sequence[Sequence[str]],
) -> list[str]:
    """Return the words of the flag's value: ``joined`` (after ``=``), then from ``words[at]``."""
    if phrases:
        longest = len(phrases[0])
        rest = [*joined, *words[at : at + longest]]
        folded = [word.casefold() for word in rest]
        for phrase in phrases:
            if phrase and list(phrase) == folded[: len(phrase)]:
                return rest[: len(phrase)]
    value = list(joined)
    max_length = len(words) + 1 if field == "negative" else 1
    while len(value) < max_length and at < len(words) and not is_flag(words[at]):
        value.append(words[at])
        at += 1
    return value


_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
_ASPECT = re.compile(r"([0-9]{1,4}):([0-9]{1,4})")
_SIZE = re.compile(r"([0-9]{1,5})[xX×]([0-9]{1,5})")
# Names of model hubs: no part begins with a dot or a dash, so none can leave a folder or be
# parsed as an option.
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")


def validate_prompt(prompt: str, max_length: int) -> str:
    """Return the prompt. Raises InvalidRequest if it is empty, too long or ``--``."""
    if not has_visible_characters(prompt):
        raise InvalidRequest(
            "prompt",
            "The prompt is empty. Say what the picture should show, "
            "for example an astronaut in space.",
        )
    return _validate_text(RawOption("prompt", prompt), max_length)


def validate_negative_prompt(
    setting: RawOption, max_length: int, *, is_supported: bool, ineffective_with: str = ""
) -> str:
    """Return the negative prompt, empty if it has no visible character. Raises InvalidRequest.

    ``is_supported``: whether the workflow takes one. ``ineffective_with`` says with which model it
    would have no effect, or is empty.
    """
    negative = setting.value
    if not has_visible_characters(negative):
        return ""
    if not is_supported:
        raise InvalidRequest(
            setting.name,
            "This server's workflow does not support negative prompts. "
            f"Leave {setting.name} out and say in the prompt what the picture should show.",
        )
    if ineffective_with:
        raise InvalidRequest(
            setting.name,
            f"{setting.name} has no effect with {ineffective_with}. "
            f"Leave {setting.name} out and say in the prompt what the picture should show.",
        )
    for word in negative.split():
        if is_flag(word):
            raise InvalidRequest(
                setting.name,
                f"{setting.name} takes plain words, not flags such as {truncate(word)}. "
                "Flags belong in the prompt.",
            )
    return _validate_text(setting, max_length)


def _validate_text(setting: RawOption, max_length: int) -> str:
    if len(setting.value) > max_length:
        raise InvalidRequest(
            setting.name,
            f"{setting.name} has {len(setting.value)} characters, and at most {max_length} are "
            "allowed. Please shorten it.",
        )
    # argparse of the image program drops a lone "--", even in --prompt=--.
    if setting.value == "--":
        raise InvalidRequest(
            setting.name, f"{setting.name} cannot be two dashes alone. Use words instead."
        )
    return setting.value


def parse_int(setting: RawOption, low: int, high: int, model: str = "") -> int:
    """Parse a whole number from ``low`` to ``high``, inclusive. Raises InvalidRequest.

    ``model`` is the one that the bounds belong to, if not to all.
    """
    value = int(setting.value) if _INTEGER.fullmatch(setting.value) else None
    if value is None or not low <= value <= high:
        allowed = f"a whole number from {low} to {high}" if low < high else f"{low}"
        raise InvalidRequest(
            setting.name,
            f"{setting.name} must be {allowed}{_with(model)}, {_format_received(setting)}.",
        )
    return value


def parse_choice(setting: RawOption, allowed: Iterable[str], *, kind: str) -> str:
    """Return the matching name in ``allowed``, ignoring case if needed. Raises InvalidRequest."""
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
    raise InvalidRequest(
        setting.name, f"{setting.name} must be {choice}; {_format_received(setting)}.{hint}"
    )


def parse_model(setting: RawOption) -> str:
    """Return a model name, ``name`` or ``owner/name``, where no list is configured."""
    if not _MODEL.fullmatch(setting.value):
        raise InvalidRequest(
            setting.name,
            f"{setting.name} must be one name of letters, digits, dots, dashes and underscores, "
            f"with at most one slash inside, {_format_received(setting)}.",
        )
    return setting.value


def parse_fixed_model(setting: RawOption, engine: EngineInfo, default: str) -> str:
    """Return an empty model, where there is none to choose.

    Accepts names of the only model and ``default``, which older messages repeat. Raises
    InvalidRequest for any other name: it would have no effect.
    """
    if setting.value.casefold() in (*engine.names, normalize_text(default).casefold()):
        return ""
    what = f"uses only {engine.model}" if engine.model else "draws without a model"
    raise InvalidRequest(
        setting.name,
        f"You cannot choose a model: this server {what}, {_format_received(setting)}. "
        f"Leave {setting.name} out.",
    )


def parse_size(
    setting: RawOption,
    default: tuple[int, int],
    max_pixels: int,
    min_pixels: int = 1,
    model: str = "",
) -> tuple[int, int]:
    """Return width and height in pixels, from ``--size 768x512`` or an aspect such as ``16:9``.

    An aspect is fitted to the area of ``default``. As a size, ``default`` is always allowed if it
    has ``min_pixels``. ``model`` is the one that the bounds belong to, if not to all. Raises
    InvalidRequest.
    """
    if setting.name == "--size":
        size = _parse_exact_size(setting, default, max_pixels, min_pixels, model)
        return validate_min_size(setting.name, size, max_pixels, min_pixels, model)
    match = _ASPECT.fullmatch(setting.value)
    width, height = (int(match[1]), int(match[2])) if match else (0, 0)
    if not image_size.is_valid_aspect(width, height):
        raise InvalidRequest(
            setting.name,
            f"{setting.name} must be width:height in whole numbers, from 1:{MAX_ASPECT_RATIO} to "
            f"{MAX_ASPECT_RATIO}:1, for example 16:9, {_format_received(setting)}.",
        )
    if min_pixels > max_pixels:
        validate_min_size(setting.name, default, max_pixels, min_pixels, model)
    return image_size.fit_aspect(width, height, default[0] * default[1], max_pixels, min_pixels)


def validate_min_size(
    name: str, size: tuple[int, int], max_pixels: int, min_pixels: int, model: str = ""
) -> tuple[int, int]:
    """Return ``size``. Raises InvalidRequest if it is too small for the image engine.

    ``name`` is the option's; empty for the default size of the server or of ``model``.
    """
    pixels = size[0] * size[1]
    if pixels >= min_pixels <= max_pixels:
        return size
    what = f"{name} is" if name else "This server's picture size is"
    hint = f"Choose a size of {min_pixels} pixels or more, for example --size 512x512."
    if min_pixels > max_pixels:
        hint = "No larger size is allowed here. Please tell a moderator."
    elif min_pixels > 512 * 512 or max_pixels < 512 * 512:
        hint = f"Choose a size of {min_pixels} pixels or more."
    raise InvalidRequest(
        name or "size",
        f"{what} too small for {model or 'the image model'}: "
        f"{size[0]}x{size[1]} has {pixels} pixels. {hint}",
    )


def _parse_exact_size(
    setting: RawOption, default: tuple[int, int], max_pixels: int, min_pixels: int, model: str
) -> tuple[int, int]:
    match = _SIZE.fullmatch(setting.value)
    size = (int(match[1]), int(match[2])) if match else (0, 0)
    minimum = f" and at least {min_pixels}" if min_pixels > SIZE_STEP_PX**2 else ""
    if size != default and not image_size.is_valid_size(
        *size, max_pixels, min(min_pixels, max_pixels)
    ):
        raise InvalidRequest(
            setting.name,
            f"{setting.name} must be WIDTHxHEIGHT in multiples of {SIZE_STEP_PX} pixels, shaped "
            f"from 1:{MAX_ASPECT_RATIO} to {MAX_ASPECT_RATIO}:1, with at most {max_pixels} pixels "
            f"in all{minimum}{_with(model)}, for example {default[0]}x{default[1]}, "
            f"{_format_received(setting)}.",
        )
    return size


def _with(model: str) -> str:
    return f" with {model}" if model else ""


def _format_received(setting: RawOption) -> str:
    return f"not {truncate(setting.value)}" if setting.value else "and cannot be empty"
