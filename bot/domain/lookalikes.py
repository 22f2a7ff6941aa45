"""Letters of other alphabets that read as Latin ones, and signs that stand in for letters.

A table chosen for what members are seen to type, far shorter than Unicode's own list of
confusables; compatibility forms (fullwidth, mathematical, circled letters) are not in it, because
NFKC takes care of those. It holds lower case only. How it is used is told in ``words``.
"""

from __future__ import annotations

from collections.abc import Mapping

# Cyrillic, Greek, Armenian, Latin extensions and small capitals, Cherokee, Lisu; in that order.
_READ_AS: Mapping[str, str] = {
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
    # Cherokee is the one alphabet whose capitals are its folded case.
    ord(sign.casefold()): letter
    for letter, signs in _READ_AS.items()
    for sign in signs
} | {
    # Letters in dark circles (U+1F150) and dark squares (U+1F170), which NFKC leaves alone.
    first + offset: chr(ord("a") + offset)
    for first in (0x1F150, 0x1F170)
    for offset in range(26)
}
"""Code points that read as one Latin letter, and which; for ``str.translate``."""

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
"""What may be written for a letter without always meaning it.

These cannot be folded into the letter: ``1`` is an ``i`` or an ``l``, and mostly it is a number;
the Greek ``ν`` looks like a ``v``, and its capital like an ``N``.
"""
