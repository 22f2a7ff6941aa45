"""Sign with the operator's wallet, without ever showing its key.

The key enters once, as text, and afterwards exists only inside an object whose repr, attributes
and errors do not hold it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from eth_account import Account
from eth_account.messages import encode_defunct
from eth_utils.exceptions import ValidationError
from hexbytes import HexBytes

from bot.domain.errors import ConfigError

SIGNATURE_BYTES = 65


class Wallet:
    """Sign as one address. ``address`` is checksummed."""

    __slots__ = ("_sign_message", "_sign_transaction", "address")

    def __init__(self, private_key: str) -> None:
        """Load the key: 64 hex digits, with or without 0x. Raises ConfigError."""
        try:
            account = Account.from_key(private_key)
        # The library's messages contain the key: neither they nor their cause may be shown.
        except (ValueError, TypeError, ValidationError):
            hint = "It is 0x and 64 hexadecimal digits, as your wallet exports it."
            raise ConfigError(
                "[backend.deepsquare] private_key", "is not a private key", hint
            ) from None
        self.address: str = account.address
        self._sign_message = account.sign_message
        self._sign_transaction = account.sign_transaction

    def __repr__(self) -> str:
        return f"Wallet({self.address})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a wallet cannot be copied or pickled")

    def sign_text(self, text: str) -> bytes:
        """Return the EIP-191 signature of ``text``: 65 bytes, the last one 27 or 28."""
        signature = bytes(self._sign_message(encode_defunct(text=text)).signature)
        # The logger reads the last byte unchecked: a shorter signature would crash it.
        assert len(signature) == SIGNATURE_BYTES
        return signature

    def sign_transaction(self, transaction: Mapping[str, Any]) -> tuple[HexBytes, HexBytes]:
        """Return a signed transaction's raw bytes and its hash."""
        signed = self._sign_transaction(dict(transaction))
        return HexBytes(signed.raw_transaction), HexBytes(signed.hash)
