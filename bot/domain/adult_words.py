"""The words that are allowed only in age-restricted channels, as they come with the bot.

Edit the list here; moderators switch single words off for their server, and add their own with
``/art-admin words``. Each is a whole word in the folded form of ``word_filter``.
"""

from __future__ import annotations

from typing import Final

ADULT_WORDS: Final = (
    "bdsm",
    "bondage",
    "ecchi",
    "erotic",
    "erotica",
    "explicit content",
    "fetish",
    "genitals",
    "hentai",
    "masturbation",
    "naked",
    "nsfw",
    "nude",
    "nudes",
    "nudity",
    "orgasm",
    "orgy",
    "penis",
    "porn",
    "pornographic",
    "pornography",
    "sex",
    "sexual",
    "striptease",
    "topless",
    "vagina",
    "xxx",
)
