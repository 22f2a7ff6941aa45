"""Blocked words of the moderators, found in a text also when they are disguised.

Text and rule are folded to the same plain form: compatibility forms resolved, case and accents
removed, confusable letters replaced by Latin ones, invisible characters removed. Digits and signs
in place of letters (``a55``, ``sh!t``) are not folded, since ``50 mm`` is no word; a rule's letter
matches them as well.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal, NamedTuple

from bot.domain.errors import InvalidRequest
from bot.domain.text import BRAILLE_BLANK, is_ignorable, normalize_text

# Cyrillic, Greek, Armenian, Latin extensions and small capitals, Cherokee, Lisu; in that order.
_CONFUSABLE_LETTERS: Mapping[str, str] = {
    "a": "аαɑᴀꭺꓮ",
    "ae": "æӕᴁ",
    "b": "вьβƀɓʙᏼꓐ",
    "c": "сƈᴄꮯꓚ",
    "d": "ԁđɖɗᴅꭰꓓ",
    "e": "еєεɛəᴇꭼꓰ",
    "f": "ƒꜰꓝ",
    "g": "ԍցɡɢꮐꓖ",
    "h": "нһհħʜꮋꓧ",
    "i": "іӏιıɩɪꓲ",
    "j": "јϳյᴊꭻꓙ",
    "k": "кκƙᴋꮶꓗ",
    "l": "łʟꮮꓡ",
    "m": "мᴍꮇꓟ",
    "n": "пոŋɴꓠ",
    "o": "оοօøᴏꓳ",
    "oe": "œɶ",
    "p": "рρƥᴘꮲꓑ",
    "q": "ԛզ",
    "r": "гɍʀꭱꓣ",
    "s": "ѕʂꜱꮪꓢ",
    "t": "тτŧƭᴛꭲꓔ",
    "u": "սʊᴜꓴ",
    "v": "ѵᴠꮩꓦ",
    "w": "ԝωшᴡꮃꓪ",
    "x": "хχꓫ",
    "y": "уʏꓬ",
    "z": "ζƶᴢꮓꓜ",
}

CONFUSABLES: Mapping[int, str] = {
    # Cherokee is the only alphabet that casefolds to capitals.
    ord(sign.casefold()): letter
    for letter, signs in _CONFUSABLE_LETTERS.items()
    for sign in signs
} | {
    # Letters in dark circles (U+1F150) and dark squares (U+1F170), which NFKC leaves alone.
    first + offset: chr(ord("a") + offset)
    for first in (0x1F150, 0x1F170)
    for offset in range(26)
}
"""Code points that look like a Latin letter, and that letter; for ``str.translate``."""

LEETSPEAK: Mapping[str, str] = {
    "a": "4@",
    "b": "68",
    "e": "3€з",
    "g": "69",
    "h": "η",
    "i": "1!|",
    "l": "1|£",
    "m": "μ",
    "n": "η",
    "o": "0",
    "r": "я",
    "s": "5$§",
    "t": "7+†",
    "u": "μυ",
    "v": "ν",
    "x": "×",
    "y": "υγ¥",
    "z": "2",
}
"""Characters that may stand for a letter, but often do not.

They cannot be folded into the letter: ``1`` is an ``i`` or an ``l``, and usually a number; the
Greek ``ν`` looks like a ``v``, and its capital like an ``N``.
"""


MAX_PATTERN_LENGTH = 100
"""Maximum characters of a rule."""

MIN_LETTERS_ANYWHERE = 2
"""Minimum letters of a rule that matches inside words."""


@dataclass(frozen=True, slots=True)
class WordRule:
    """Blocked word or phrase, in plain letters.

    ``whole_word``: the rule "ass" does not match "glass". In scripts without spaces between words,
    such as Chinese or Thai, a rule matches everywhere. ``effect``: a request is refused, or held
    for the moderators. ``adult``: only where a channel is not age-restricted.
    """

    id: int
    pattern: str
    whole_word: bool = True
    effect: Literal["refuse", "hold"] = "refuse"
    adult: bool = False


@dataclass(frozen=True, slots=True)
class WordMatch:
    """Matched rule and the characters of the text that matched it."""

    rule: WordRule
    excerpt: str


def validate_pattern(text: str) -> str:
    """Return a pattern in its stored form. Raises InvalidRequest if nothing could match it."""
    pattern = normalize_text(text)
    if len(pattern) > MAX_PATTERN_LENGTH:
        raise InvalidRequest(
            "pattern",
            f"pattern can have 1 to {MAX_PATTERN_LENGTH} characters, not {len(pattern)}.",
        )
    if not _expressions(pattern):
        raise InvalidRequest(
            "pattern",
            f"pattern: use 1 to {MAX_PATTERN_LENGTH} letters, digits or symbols. Spaces and "
            "punctuation alone match nothing.",
        )
    return pattern


def validate_breadth(pattern: str, *, whole_word: bool) -> None:
    """Raise InvalidRequest for a pattern that would match nearly every text."""
    if not whole_word and len("".join(_words(pattern))) < MIN_LETTERS_ANYWHERE:
        raise InvalidRequest(
            "pattern",
            "pattern: a single letter anywhere would match nearly everything. Use "
            f"{MIN_LETTERS_ANYWHERE} to {MAX_PATTERN_LENGTH} letters, or match whole words only.",
        )


def fold_text(text: str) -> str:
    """Return the plain form in which texts are compared; idempotent."""
    return "".join(piece for piece, _, _ in _pieces(text))


def iter_matches(rules: Iterable[WordRule], text: str) -> Iterator[WordMatch]:
    """Yield the first match of each of ``rules`` in ``text``, in the order of the rules."""
    pieces = _pieces(text)
    folded = "".join(piece for piece, _, _ in pieces)
    gaps = _gaps(folded)
    pairs = {first + second for first, second in pairwise(folded)}
    for rule in rules:
        # Hundreds of rules are ruled out by two neighbouring letters that the text does not have.
        for wanted in _letter_pairs(rule.pattern):
            if pairs.isdisjoint(wanted):
                break
        else:
            for start, end in _spans(_expressions(rule.pattern), folded, gaps):
                whole = not rule.whole_word or _is_whole(folded, start, end)
                if whole and _has_letters(folded[start:end], rule):
                    yield WordMatch(rule, _excerpt(text, pieces, start, end))
                    break


@lru_cache(maxsize=4096)
def _letter_pairs(pattern: str) -> tuple[frozenset[str], ...]:
    """Return, for each two neighbouring letters of each word, the pairs that stand for them."""
    return tuple(
        frozenset(one + two for one in _letters_for(first) for two in _letters_for(second))
        for word in _words(pattern)
        for first, second in pairwise(word)
    )


@lru_cache(maxsize=4096)
def _expressions(pattern: str) -> tuple[re.Pattern[str], ...]:
    """Return one expression per word; group 1 finds all matches, also overlapping ones."""
    return tuple(
        re.compile(f"(?=({''.join(f'[{re.escape(_letters_for(char))}]' for char in word)}))")
        for word in _words(pattern)
    )


def _words(pattern: str) -> list[str]:
    apart = "".join(" " if _is_separator(char) else char for char in fold_text(pattern))
    return apart.split()


def _letters_for(char: str) -> str:
    """Return the characters that match a letter of a rule."""
    return char + LEETSPEAK.get(char, "")


def _is_separator(char: str) -> bool:
    return char == " " or unicodedata.category(char).startswith("P")


def _spans(
    words: Sequence[re.Pattern[str]], folded: str, gaps: Sequence[int]
) -> list[tuple[int, int]]:
    """Return the spans in which the words follow one another, separated by non-words.

    A single expression for the phrase would take exponential time on a prompt of exclamation
    marks, since each of them may be a letter or a separator.
    """
    spans = [match.span(1) for match in words[0].finditer(folded)] if words else []
    for word in words[1:]:
        ends = [end for _, end in spans]
        longer = []
        for match in word.finditer(folded):
            start, end = match.span(1)
            nearest = bisect_left(ends, start) - 1
            if nearest >= 0 and ends[nearest] >= gaps[start]:
                longer.append((spans[nearest][0], end))
        spans = longer
    return spans


def _gaps(folded: str) -> list[int]:
    """Return, for each position, the start of the separators right before it."""
    gaps = []
    begin = 0
    for at, char in enumerate(folded):
        gaps.append(begin)
        if char.isalnum() or _is_mark(char):
            begin = at + 1
    return gaps


def _has_letters(found: str, rule: WordRule) -> bool:
    """Return whether the match has letters where the rule has: 455 is a plain number."""
    if any(char.isalpha() for char in found) or not any(char.isdigit() for char in found):
        return True
    return not any(char.isalpha() for char in rule.pattern)


def _is_whole(folded: str, start: int, end: int) -> bool:
    """Return whether the match is not part of a longer word."""
    before = reversed(folded[:start])
    after = iter(folded[end:])
    return not _continues_word(folded[start], before) and not _continues_word(
        folded[end - 1], after
    )


def _continues_word(edge: str, beyond: Iterator[str]) -> bool:
    """Return whether the word that ends in ``edge`` continues in the characters ``beyond``.

    Digits around a word do not continue it, so that "1girl" and "ak47" are found, but digits
    inside do: in "c1ass" the 1 stands for a letter. A number does continue with digits.
    """
    for char in beyond:
        if not char.isdigit():
            return _in_word(char) and (_in_word(edge) or edge in _LEETSPEAK_SIGNS)
        if edge.isdigit():
            return True
    return False


def _in_word(char: str) -> bool:
    return (char.isalpha() or _is_mark(char)) and not _SPACELESS_SCRIPTS.match(char)


_is_ignored = lru_cache(maxsize=4096)(is_ignorable)


@lru_cache(maxsize=4096)
def _is_mark(char: str) -> bool:
    return unicodedata.category(char).startswith("M")


def _excerpt(text: str, pieces: Sequence[_Piece], start: int, end: int) -> str:
    """Return the part of ``text`` that was folded to the characters ``start`` to ``end``."""
    origins = [piece for piece in pieces for _ in piece.folded]
    return text[origins[start].start : origins[end - 1].end]


class _Piece(NamedTuple):
    """Folded form of a character with its marks, and its span in the text."""

    folded: str
    start: int
    end: int


def _pieces(text: str) -> list[_Piece]:
    pieces = []
    cluster, start, end = "", 0, 0
    for at, char in enumerate(text):
        if _is_ignored(char):
            continue
        if cluster and not _continues_cluster(char):
            pieces.append(_Piece(_fold_cluster(cluster), start, end))
            cluster = ""
        if not cluster:
            start = at
        cluster += char
        end = at + 1
    if cluster:
        pieces.append(_Piece(_fold_cluster(cluster), start, end))
    return pieces


@lru_cache(maxsize=4096)
def _continues_cluster(char: str) -> bool:
    """Return whether a character belongs to the one before: a mark, Hangul vowel or final."""
    first = unicodedata.normalize("NFKD", char)[0]
    return _is_mark(first) or "\u1160" <= first <= "\u11ff"


@lru_cache(maxsize=4096)
def _fold_cluster(cluster: str) -> str:
    plain = ""
    for char in unicodedata.normalize("NFKD", cluster):
        if _is_mark(char):
            # Accents are removed. Marks of other scripts are vowels, and are kept.
            if plain and not plain[-1].isascii() and not _ACCENTS.match(char):
                plain += char
        elif char.isspace() or char == BRAILLE_BLANK:
            plain += " "
        else:
            plain += char.casefold().translate(CONFUSABLES)
    plain = unicodedata.normalize("NFC", plain)
    # Some results fold again, such as capitals with an iota below.
    return plain if plain == cluster else fold_text(plain)


# The combining accents, and the optional points of Hebrew and Arabic.
_ACCENTS = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed"
    "\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
)
# Thai, Lao, Burmese, Khmer, kana and Han: no spaces between words.
_SPACELESS_SCRIPTS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)
_LEETSPEAK_SIGNS = frozenset("".join(LEETSPEAK.values()))
