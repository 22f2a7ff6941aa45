"""Provide repeatable randomness: one seed, and a stream of numbers for each part of a picture.

Each part has a stream of its own, so a change in one part does not change another.
"""

from __future__ import annotations

import hashlib

import numpy as np


class RandomStreams:
    """Named random streams of one picture."""

    def __init__(self, *facts: object) -> None:
        # A prompt from the command line may hold bytes that are no UTF-8, as lone surrogates.
        text = repr(facts)
        self._seed = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()

    def stream(self, name: str) -> np.random.Generator:
        """Return the stream called ``name``, from its beginning each time."""
        digest = hashlib.sha256(self._seed + name.encode("utf-8", "surrogatepass")).digest()
        return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
