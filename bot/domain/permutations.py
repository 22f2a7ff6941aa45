r"""Permutations: one typed text that asks for several requests.

``{red, blue}`` stands for each of its alternatives in turn, and ``--repeat 3`` for three requests
with seeds of their own. ``\{``, ``\}`` and ``\,`` are those characters as text, as are braces
without a comma between them and a brace without its partner. Only text that was typed just now is
expanded, before its flags are parsed; stored prompts are never expanded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import Final

from bot.domain.errors import InvalidRequest
from bot.domain.request import Request
from bot.domain.request_limits import RequestLimits
from bot.domain.request_parsing import RawOption, parse_flags, parse_int
from bot.domain.text import normalize_text, truncate

_TOKEN: Final = re.compile(r"\\[{},]|[{},]|[^\\{},]+|\\")
_ESCAPE: Final = re.compile(r"\\[{},]")
_TO_ESCAPE: Final = re.compile(r"[{}]|(?<=\\),")
_MAX_COUNTED: Final = 1_000_000
_AS_TEXT: Final = r"To keep a brace as text, write \{ or \}."


@dataclass(slots=True)
class _Group:
    """A pair of braces: the positions of its tokens, and what stands between them."""

    start: int
    commas: list[int] = field(default_factory=list)
    end: int = -1
    has_inner: bool = False
    has_inner_commas: bool = False

    @property
    def is_nested(self) -> bool:
        """Whether braces stand inside, and one of the pairs has alternatives."""
        return self.has_inner and bool(self.commas or self.has_inner_commas)


def expand(text: str, max_texts: int) -> tuple[str, ...]:
    """Return the texts that ``text`` stands for, without escapes; the last braces vary fastest.

    An alternative may be empty; spaces around it are dropped. Raises InvalidRequest for braces
    inside braces, and for more than ``max_texts``, which are counted before they are built.
    """
    tokens = _TOKEN.findall(text)
    parts: list[tuple[str, ...]] = []
    at = 0
    for group in _find_alternatives(tokens):
        ends = [*group.commas, group.end]
        starts = [group.start, *group.commas]
        parts.append((_read(tokens[at : group.start]),))
        parts.append(
            tuple(
                _read(tokens[start + 1 : end]).strip()
                for start, end in zip(starts, ends, strict=True)
            )
        )
        at = group.end + 1
    parts.append((_read(tokens[at:]),))
    check_count(prod(len(part) for part in parts), max_texts)
    return tuple("".join(chosen) for chosen in product(*parts))


def escape(text: str) -> str:
    """Return ``text`` so that ``expand`` gives exactly it; most texts need no change."""
    try:
        is_plain = expand(text, 1) == (text,)
    except InvalidRequest:
        is_plain = False
    return text if is_plain else _TO_ESCAPE.sub(r"\\\g<0>", text)


def to_typed_prompt(request: Request) -> str:
    """Return the prompt with its flags as one types it, for forms and for texts to copy.

    Braces are text in a stored prompt, and in one that is typed for a picture to start from.
    """
    prompt = request.to_prompt()
    return prompt if request.init_image is not None else escape(prompt)


def check_count(count: int, most: int) -> None:
    """Raise InvalidRequest for more than ``most`` grids at once."""
    if count > most:
        shown = f"{count:,}" if count <= _MAX_COUNTED else f"more than {_MAX_COUNTED:,}"
        raise InvalidRequest(
            "prompt",
            f"This asks for {shown} grids; at most {most} are made at once. "
            f"Use fewer alternatives, or a smaller --repeat. {_AS_TEXT}",
        )


def parse_requests(
    text: str,
    limits: RequestLimits,
    parse_one: Callable[[str, int], Request],
    seeds: Iterator[int],
    *,
    has_seed: bool = False,
) -> tuple[Request, ...]:
    """Return the requests that a typed text asks for, at least one.

    ``parse_one`` parses a text without permutations; it gets one of the random ``seeds``, which
    ``--seed`` overrides. ``has_seed``: the member gave a seed as an option. Raises InvalidRequest,
    which names the grid if there are several, and what ``parse_one`` raises.
    """
    most = limits.max_permutations
    texts = expand(text, most) if most > 1 else (text,)
    parsed: list[tuple[Request, int]] = []
    for number, one in enumerate(texts, 1):
        try:
            count = _parse_repeat(one, limits, has_seed=has_seed)
            parsed.append((parse_one(one, next(seeds)), count))
        except InvalidRequest as refusal:
            raise name_refusal(refusal, number, len(texts), one) from refusal
    check_count(sum(count for _, count in parsed), most)
    return tuple(
        request.reroll(next(seeds)) if at else request
        for request, count in parsed
        for at in range(count)
    )


def name_refusal(refusal: InvalidRequest, number: int, of: int, prompt: str) -> InvalidRequest:
    """Return the refusal with the grid that it is about, if there are several."""
    if of == 1:
        return refusal
    text = truncate(normalize_text(prompt), 60)
    return InvalidRequest(refusal.field, f"Grid {number} of {of} ({text}): {refusal}")


def _parse_repeat(text: str, limits: RequestLimits, *, has_seed: bool) -> int:
    """Return the number after ``--repeat``, 1 without it. Raises InvalidRequest."""
    _, given = parse_flags(normalize_text(text), limits.phrases)
    repeat: RawOption | None = given.get("repeat")
    if repeat is None:
        return 1
    if limits.max_permutations == 1:
        raise InvalidRequest(
            repeat.name, f"This server makes one grid for each request. Remove {repeat.name}."
        )
    count = parse_int(repeat, 2, limits.max_permutations)
    if has_seed or "seed" in given:
        raise InvalidRequest(
            repeat.name,
            f"{repeat.name} with a seed would make the same grid {count} times. "
            f"Remove the seed, or {repeat.name}.",
        )
    return count


def _find_alternatives(tokens: list[str]) -> list[_Group]:
    """Return the pairs of braces with a comma, in order. Raises InvalidRequest for nested ones."""
    found: list[_Group] = []
    opened: list[_Group] = []
    for at, sign in enumerate(tokens):
        if sign == "{":
            opened.append(_Group(at))
        elif sign == "," and opened:
            opened[-1].commas.append(at)
        elif sign == "}" and opened:
            group = opened.pop()
            group.end = at
            if group.is_nested:
                inside = truncate("".join(tokens[group.start : at + 1]))
                raise InvalidRequest(
                    "prompt",
                    f"Braces inside braces cannot be combined: {inside}. "
                    f"Write the alternatives without inner braces. {_AS_TEXT}",
                )
            if opened:
                outer = opened[-1]
                outer.has_inner = True
                outer.has_inner_commas |= bool(group.commas) or group.has_inner_commas
            if group.commas:
                found.append(group)
    return found


def _read(tokens: list[str]) -> str:
    """Return the text of tokens, without the backslashes of escapes."""
    return "".join(part[1:] if _ESCAPE.fullmatch(part) else part for part in tokens)
