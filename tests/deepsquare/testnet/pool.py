"""A rule of geth's transaction pool that the test node does not keep: a replacement must pay more.

It knows raw legacy transactions, and nothing of what they do.
"""

from __future__ import annotations

import rlp  # type: ignore[import-untyped]
from eth_account import Account

BUMP_PERCENT = 10


class Pool:
    """The price that was last taken for each account and nonce."""

    def __init__(self) -> None:
        self._prices: dict[tuple[str, int], tuple[bytes, int]] = {}

    def place(self, raw: bytes) -> tuple[str, int] | None:
        """Whose transaction it is, and its nonce; None for what is no legacy transaction."""
        if not raw or raw[0] < 0xC0:
            return None
        return str(Account.recover_transaction(raw)), _number(raw, 0)

    def underpriced(self, place: tuple[str, int], raw: bytes) -> bool:
        """Whether it would replace another one without paying 10 % more."""
        known = self._prices.get(place)
        if known is None or known[0] == raw:
            return False
        return _number(raw, 1) * 100 < known[1] * (100 + BUMP_PERCENT)

    def take(self, place: tuple[str, int], raw: bytes) -> None:
        """Remember a transaction that the node took."""
        self._prices[place] = raw, _number(raw, 1)


def _number(raw: bytes, position: int) -> int:
    return int.from_bytes(rlp.decode(raw)[position], "big")
