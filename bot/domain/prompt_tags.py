"""Remove from a prompt the tags that image servers act on: prompt text is text.

What acts where, and why it is removed or passes. The servers' grammars are read from the sources
of the A1111 web UI, stable-diffusion.cpp, the Dynamic Prompts, Wildcards and Unprompted extensions:

====================================  ============================================  ==============
tag                                   what a server does with it                    here
====================================  ============================================  ==============
``<sd_cpp_extra_args>{…}</…>``        stable-diffusion.cpp: replaces size, steps…   removed
``<lora:name:0.8>``                   loads a file that the operator did not offer  allowed by name
``<lyco:…>``, ``<hypernet:…>``,       the same; ``<word:…>`` is A1111's form for    removed
``<segment:…>``, ``<random:…>``       all extra networks and SwarmUI's commands
``__name__``                          wildcards: puts in a line of a server's file  removed
``a__b``                              the Wildcards extension splits at any ``__``  one underscore
``{a|b}``, ``{2$$a|b}``               Dynamic Prompts: a choice by chance           words stay
``${name=…}``, ``${name:…}``          Dynamic Prompts: variables                    removed
``{% … %}``, ``{{ … }}``              Dynamic Prompts: Jinja code                   removed; words
``[file …]``, ``[set …]``, ``[/if]``  Unprompted: reads files, changes settings     removed
``(word:1.2)``, ``[word]``            weight of words                               passes
``[from:to:0.5]``, ``[a|b]``          other words at other steps of one picture     passes
``embedding:name``, ``BREAK``         an embedding; a new part of the prompt        passes
``<b>``, ``<3``, ``${a}``, ``{a}``    nothing                                       passes
====================================  ============================================  ==============

A removed tag leaves a space, so that what stood around it cannot join into a new tag or flag.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Final

from bot.domain.errors import InvalidRequest
from bot.domain.text import has_visible_characters, is_ignorable, truncate

MAX_LORA_WEIGHT: Final = 2.0
"""Of a LoRA that a member names, either sign; beyond it pictures are noise."""

_EXTRA_ARGS: Final = r"sd_cpp_extra_args"
# As in A1111 a name of word characters and a colon; SwarmUI has a range in brackets between them.
_TAG_START: Final = r"<\s*\w+\s*(?:\[[^\[\]<>]*\]\s*)?:"
_SHORTCODES: Final = (
    "after|array|bypass|call|choose|config|controlnet|do|elif|else|eval|faceswap|file|file2mask"
    "|filelist|for|gpt|if|img2img|img2img_autosize|init_image|override|remember|repeat"
    "|restore_faces|set|sets|switch|txt2img|txt2mask|unless|unset|upscale|while|zoom_enhance"
)
"""Commands of Unprompted that read files, repeat, or change the job; others return text."""
_SHORTCODE: Final = rf"\[\s*/?\s*(?:{_SHORTCODES})(?=[\s\]/])"

_LORA: Final = re.compile(
    r"<\s*lora\s*:\s*(?P<name>[^:<>]*[^:<>\s])\s*(?::\s*(?P<weight>-?[0-9]{0,4}(?:\.[0-9]{0,9})?)"
    r"\s*(?::[^<>]*)?)?>",
    re.IGNORECASE,
)
_CHOICE_SYNTAX: Final = re.compile(r"[{}]|[0-9][0-9.-]*(?:::|\$\$)|\$\$")
_FLAG_START: Final = re.compile(r"(?<!\S)(--|[‒-―]{1,2})(?=[^\W\d_])")
"""Flags were read before; a word that begins like one was part of a word with a tag."""
_MAX_PASSES: Final = 32
"""Texts with more layers of tags than this are no prompts: they lose every bracket."""
_MAX_SHOWN: Final = 5
_BRACKETS: Final = re.compile(r"[][<>{}]|__+")


def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)


# In this order: a pair is removed with what it encloses only while both of its ends are there.
_REMOVED: Final[tuple[re.Pattern[str], ...]] = (
    _compile(rf"<\s*{_EXTRA_ARGS}[^<>]*>.*?<\s*/\s*{_EXTRA_ARGS}[^<>]*>"),
    _compile(rf"{_TAG_START}[^<>]*>"),
    _compile(r"\$\{\s*\w+\s*[=:][^{}]*\}"),
    _compile(r"\{%[^{}]*%\}"),
    _compile(rf"{_SHORTCODE}[^\[\]]*\]"),
    _compile(r"(?<!_)__+[^\s_](?:\S*?[^\s_])??__+"),
)
# Tags that never end, and doubled braces: one character of them is enough to make them text.
_DEFUSED: Final[tuple[tuple[re.Pattern[str], Callable[[str], str]], ...]] = (
    (_compile(rf"<\s*/?\s*{_EXTRA_ARGS}[^<>]*>?"), lambda _: " "),
    (_compile(_TAG_START), lambda tag: " " + tag[1:]),
    (_compile(r"\$\{(?=\s*\w+\s*[=:])"), lambda tag: " " + tag[1:]),
    (_compile(r"\{%|%\}"), lambda _: " "),
    (_compile(r"\{\{[^{}]*\}\}"), lambda tag: tag[1:-1]),
    (_compile(_SHORTCODE), lambda tag: " " + tag[1:]),
    (_compile(r"__+"), lambda _: "_"),
)


def strip_tags(
    text: str, allowed_loras: Collection[str] | None = ()
) -> tuple[str, tuple[str, ...]]:
    """Return ``text`` without tags, and what was removed, as it was written. Idempotent.

    ``<lora:name:weight>`` stays if ``allowed_loras`` has its name (with None: any name); it is
    written anew at the end, its weight within ± MAX_LORA_WEIGHT. Text without tags is returned as
    it is.
    """
    removed: list[str] = []
    loras: dict[str, str] = {}
    allowed = None if allowed_loras is None else {name.casefold(): name for name in allowed_loras}

    def remove(tag: str) -> str:
        lora = _read_lora(tag, allowed)
        if lora is None:
            removed.append(tag)
        else:
            loras[lora[0]] = lora[1]
        return " "

    stripped = text
    for _ in range(_MAX_PASSES):
        before = stripped
        stripped = _strip_once(before, remove)
        if stripped == before:
            break
    else:
        stripped = _replace(_BRACKETS, stripped, lambda _: " ")
    if stripped == text:
        return text, ()
    stripped = re.sub(r"\s+,", ",", " ".join(stripped.split()))
    stripped = re.sub(r",(?:\s*,)+", ",", stripped).strip(" ,")
    stripped = _FLAG_START.sub(r"\1 ", stripped)
    result = " ".join([*([stripped] if stripped else []), *loras.values()])
    return result, tuple(dict.fromkeys(tag.strip() for tag in removed))


def strip_prompt(prompt: str, allowed_loras: Collection[str] = ()) -> tuple[str, tuple[str, ...]]:
    """Return what ``strip_tags`` returns. Raises InvalidRequest for a prompt of tags alone."""
    text, removed = strip_tags(prompt, allowed_loras)
    if not has_visible_characters(strip_tags(prompt)[0]):
        raise InvalidRequest(
            "prompt",
            f"The prompt is nothing but tags: {truncate(prompt)}. Say in words what the picture "
            "should show.",
        )
    return text, removed


def describe_removed(removed: Sequence[str]) -> str:
    """Return the sentences that tell the author what was removed; empty for nothing."""
    if not removed:
        return ""
    tags = ", ".join(truncate(tag) for tag in removed[:_MAX_SHOWN])
    more = f" and {len(removed) - _MAX_SHOWN} more" if len(removed) > _MAX_SHOWN else ""
    return (
        f"Removed from your text: {tags}{more}. Tags that load files, pick words by chance or "
        "change settings do not work here; the rest of your text is used as it is."
    )


def _strip_once(text: str, remove: Callable[[str], str]) -> str:
    """Return ``text`` without one layer of tags; each is passed to ``remove``."""
    for pattern in _REMOVED:
        changed = _replace(pattern, text, remove)
        if changed != text:
            return changed
    text = _strip_choices(text, remove)
    for pattern, defuse in _DEFUSED:
        text = _replace(pattern, text, partial(_remove_part, remove, defuse))
    return text


def _remove_part(remove: Callable[[str], str], defuse: Callable[[str], str], tag: str) -> str:
    remove(tag)
    return defuse(tag)


def _strip_choices(text: str, remove: Callable[[str], str]) -> str:
    """Return ``text`` with the alternatives between braces as a list of words."""
    folded, positions = _fold(text)
    start, end = folded.find("{"), folded.rfind("}")
    if not -1 < start < folded.find("|", max(start, 0)) < end:
        return text
    start, end = positions[start], positions[end] + 1
    remove(text[start:end])
    words = _replace(_CHOICE_SYNTAX, text[start:end], lambda _: " ")
    return text[:start] + _replace(re.compile(r"\|"), words, lambda _: ", ") + text[end:]


def _replace(pattern: re.Pattern[str], text: str, replacement: Callable[[str], str]) -> str:
    """Replace the matches of ``pattern`` in the folded text, in ``text`` itself."""
    folded, positions = _fold(text)
    parts: list[str] = []
    last = 0
    for match in pattern.finditer(folded):
        start, end = positions[match.start()], positions[match.end() - 1] + 1
        parts += [text[last:start], replacement(text[start:end])]
        last = end
    return "".join([*parts, text[last:]])


def _fold(text: str) -> tuple[str, Sequence[int]]:
    """Return ``text`` with full-width forms narrow and without invisible characters.

    A server, or a library before it, may read it so. Also the position of each character.
    """
    if text.isascii():
        return text, range(len(text))
    folded: list[str] = []
    positions: list[int] = []
    for position, char in enumerate(text):
        if is_ignorable(char):
            continue
        narrow = unicodedata.normalize("NFKC", char)
        folded.append(narrow if len(narrow) == 1 else char)
        positions.append(position)
    return "".join(folded), positions


def _read_lora(tag: str, allowed: dict[str, str] | None) -> tuple[str, str] | None:
    """Return name and canonical tag of an allowed LoRA, else None."""
    match = _LORA.fullmatch(tag)
    if match is None:
        return None
    name = match["name"]
    if allowed is not None:
        if name.casefold() not in allowed:
            return None
        name = allowed[name.casefold()]
    try:
        weight = float(match["weight"])
    except (TypeError, ValueError):
        return name, f"<lora:{name}>"
    bounded = min(max(weight, -MAX_LORA_WEIGHT), MAX_LORA_WEIGHT)
    return name, f"<lora:{name}:{bounded:.6g}>"
