"""The key signs and is never seen."""

from __future__ import annotations

import copy
import pickle
import traceback

import pytest

from bot.backends.deepsquare.options import DeepSquareOptions
from bot.backends.deepsquare.wallet import Wallet
from bot.domain.errors import ConfigError
from tests.unit.deepsquare import vectors


def test_nothing_that_is_printed_of_a_wallet_holds_its_key() -> None:
    wallet = Wallet(vectors.PRIVATE_KEY)
    shown = [repr(wallet), str(wallet), f"{wallet}", repr(dir(wallet))]
    shown += [repr(getattr(wallet, name)) for name in Wallet.__slots__]
    key = vectors.PRIVATE_KEY.removeprefix("0x")
    assert not any(key in text or str(int(key, 16)) in text for text in shown)


def test_a_wallet_cannot_be_copied_into_a_file() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Wallet(vectors.PRIVATE_KEY))
    with pytest.raises(TypeError):
        copy.copy(Wallet(vectors.PRIVATE_KEY))


@pytest.mark.parametrize(
    "key", ["0x" + "ab" * 31, "zz" * 32, "0x" + "00" * 32, "0x" + "ff" * 32, "ab" * 33, " "]
)
def test_a_bad_key_is_refused_without_being_repeated(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Wallet(key)
    text = "".join(traceback.format_exception(caught.value))
    assert key.strip("0x ") == "" or key.removeprefix("0x") not in text
    assert caught.value.location == "[backend.deepsquare] private_key"


def test_a_missing_key_says_where_to_put_it() -> None:
    with pytest.raises(ConfigError, match="DEEPSQUARE_PRIVATE_KEY"):
        DeepSquareOptions.from_mapping({"data_dir": "data", "private_key": ""})
