"""Define the types of settings' values: numbers, addresses, durations, labels, keys.

Each validates itself with a problem and a hint. Errors never repeat a value: it may be a secret.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_core import PydanticCustomError

from bot.domain.errors import BotError
from bot.domain.hosts import is_loopback
from bot.domain.quota import parse_window

REFUSAL = "refusal"
"""The type of the errors made by ``validation_error``."""

MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What members can type as ``--model``; also a folder's name."""

MAX_SNOWFLAKE = 2**63 - 1
"""SQLite and TOML keep whole numbers in 63 bits, as Discord keeps its own."""

_HOST = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
# Names that only a private network resolves (RFC 6762, RFC 8375), or that routers give.
_LOCAL_SUFFIXES = (".local", ".lan", ".internal", ".home.arpa", ".home")
_LABEL = re.compile(r"([a-z0-9._-]+)\s*=\s*([a-z0-9._-]+)")
_AFFINITY = re.compile(r"([a-z0-9._-]+)(?:\s*(==|!=|<=|>=|=|<|>)\s*|\s+(in)\s+)([a-z0-9._-]+)")
_PRIVATE_KEY = re.compile(r"(?:0x)?[0-9a-fA-F]{64}")


def validation_error(problem: str, hint: str, key: str = "") -> PydanticCustomError:
    """Return the error for a validator to raise.

    ``problem`` continues the key's name, ``hint`` is a whole sentence. ``key`` names one key if the
    validator checks a whole section.
    """
    return PydanticCustomError(REFUSAL, "{problem}", {"problem": problem, "hint": hint, "key": key})


def split_address(text: str) -> tuple[str, int]:
    """Split ``host:port`` or ``[v6]:port``. Raises ValueError if it is neither."""
    host, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError("no port")
    return _host(host), int(port)


def split_label(text: str) -> tuple[str, str]:
    """Split a provider label, ``os=linux``. Raises ValueError."""
    match = _LABEL.fullmatch(text)
    if match is None:
        raise ValueError("no label")
    return match[1], match[2]


def split_affinity(text: str) -> tuple[str, str, str]:
    """Split a provider filter, ``compute.gflops >= 10000``. Raises ValueError."""
    match = _AFFINITY.fullmatch(text)
    if match is None:
        raise ValueError("no filter")
    operator = match[2] or match[3]
    return match[1], "==" if operator == "=" else operator, match[4]


def looks_like_private_key(text: str) -> bool:
    """Return whether ``text`` has the form of a secp256k1 private key: 64 hex digits."""
    return _PRIVATE_KEY.fullmatch(text) is not None


def _host(text: str) -> str:
    """Return the host in lower case without brackets. Raises ValueError if it is not a host."""
    host = text.lower()
    if host.startswith("[") and host.endswith("]"):
        return str(ipaddress.IPv6Address(host[1:-1]))
    if not _HOST.fullmatch(host):
        raise ValueError("no host")
    return host


def refuse_bool(value: object) -> object:
    """Return the value unless it is true or false, which Python counts as numbers."""
    # Python counts True as 1; an operator who writes `running = true` has mistaken the key.
    if isinstance(value, bool):
        raise validation_error(
            "is true or false, where a number belongs", "Write a number without quotes."
        )
    return value


def _split_url(text: str, schemes: tuple[str, str]) -> SplitResult:
    """Split a URL whose scheme is ``schemes[0]``, or ``schemes[1]`` on loopback."""
    safe, plain = schemes
    hint = f"Write it like {safe}://example.org/path."
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise validation_error("is not a URL", hint) from None
    if parts.scheme not in schemes or not host or re.search(r"[\s\x00-\x1f]", text):
        raise validation_error("is not a URL of the right kind", hint)
    if parts.username is not None or parts.password is not None:
        raise validation_error("holds a name or a password", "Leave out the part before the @.")
    if parts.scheme == plain and not is_loopback(host):
        raise validation_error(
            f"uses {plain}, which anybody on the way can read",
            f"Use {safe}; {plain} is for this machine itself only, such as 127.0.0.1.",
        )
    return parts


def _check_web_url(text: str) -> str:
    _split_url(text, ("https", "http"))
    return text


def _check_server_url(text: str) -> str:
    hint = "Write it like http://127.0.0.1:8188."
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise validation_error("is not a URL", hint) from None
    if parts.scheme == "http" and _is_on_local_network(host):
        _split_url(text.replace("http:", "https:", 1), ("https", "http"))
        if parts.query or parts.fragment:
            raise validation_error("is more than a server's address", hint)
        return text
    return _check_web_url(text)


def _is_on_local_network(host: str) -> bool:
    """Return whether ``host`` is an address or a name of a private network, such as at home."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        is_name = _HOST.fullmatch(host) is not None
        return is_name and ("." not in host or host.endswith(_LOCAL_SUFFIXES))


def _check_socket_url(text: str) -> str:
    _split_url(text, ("wss", "ws"))
    return text


def _check_address(text: str) -> str:
    try:
        split_address(text)
    except ValueError:
        hint = "Write host:port, such as example.org:443 or [::1]:443."
        raise validation_error("is not a host with a port", hint) from None
    return text


def _check_listen(text: str) -> str:
    return _check_address(text) if text else text


def _check_trusted_host(text: str) -> str:
    lowered = text.strip().lower()
    try:
        if re.search(r":[0-9]*$", lowered):
            split_address(lowered)
        else:
            _host(lowered)
    except ValueError:
        hint = "Write the bare name, as in transfer.example.org or 127.0.0.1:8080: no https://."
        raise validation_error("is not a host", hint) from None
    return lowered


def _check_label(text: str) -> str:
    try:
        return "=".join(split_label(text.strip().lower()))
    except ValueError:
        hint = 'Write "key=value", such as "os=linux".'
        raise validation_error("is not a provider label", hint) from None


def _check_affinity(text: str) -> str:
    try:
        return " ".join(split_affinity(text.strip().lower()))
    except ValueError:
        hint = 'Write "key operator value" with one of == != < <= > >= in, "gpu in rtx".'
        raise validation_error("is not a provider filter", hint) from None


def _parse_window(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    try:
        return parse_window(value) if isinstance(value, str) else _raise_no_window()
    except (ValueError, BotError):
        return _raise_no_window()


def _raise_no_window() -> timedelta:
    raise validation_error(
        "is not a length of time", 'Write it like "24h", "7d", "90m" or "1h30m".'
    )


def _check_token(secret: SecretStr) -> SecretStr:
    token = secret.get_secret_value().strip()
    if token.lower().startswith("bot "):
        raise validation_error(
            "begins with the word Bot", "Leave the word out; only the token itself."
        )
    if re.search(r"[\s\"'\x00-\x1f]", token) or not token.isascii():
        hint = "Copy it again from the Bot page of the Discord developer portal."
        raise validation_error("holds characters that no bot token has", hint)
    return SecretStr(token)


def _check_private_key(secret: SecretStr) -> SecretStr:
    key = secret.get_secret_value().strip()
    if key and not looks_like_private_key(key):
        hint = "It is 0x and 64 hexadecimal digits, as your wallet exports it."
        raise validation_error("is not a private key", hint)
    return SecretStr(key)


def _check_single_line(text: str) -> str:
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise validation_error("holds a line break or a control character", "Write it on one line.")
    return text


StrictInt = Annotated[int, BeforeValidator(refuse_bool)]
"""A whole number; bounds are the field's."""
EmptyIsNone = BeforeValidator(lambda value: None if value == "" else value)
"""An empty text means not given."""
Seconds = Annotated[float, BeforeValidator(refuse_bool), Field(ge=0, le=86400, allow_inf_nan=False)]
"""A duration of at most a day, fractions allowed."""
Strength = Annotated[float, BeforeValidator(refuse_bool), Field(gt=0, le=1, allow_inf_nan=False)]
"""How far a picture departs from the one it starts from."""
SpeedFactor = Annotated[
    float, BeforeValidator(refuse_bool), Field(ge=0, le=1000, allow_inf_nan=False)
]
"""How many times as fast, 1 is as recorded."""
Gigabytes = Annotated[
    float, BeforeValidator(refuse_bool), Field(ge=0, le=1_000_000, allow_inf_nan=False)
]
"""Thousand millions of bytes, fractions allowed."""
Credits = Annotated[Decimal, BeforeValidator(refuse_bool), Field(gt=0, le=10**9)]
CreditBudget = Annotated[Decimal, BeforeValidator(refuse_bool), Field(ge=0, le=10**12)]
"""An amount of DeepSquare credits, exact."""
SingleLine = Annotated[str, AfterValidator(_check_single_line)]
"""Text on one line."""
WebUrl = Annotated[str, AfterValidator(_check_web_url)]
"""https, or http on loopback."""
MaybeWebUrl = Annotated[str, AfterValidator(lambda text: text and _check_web_url(text))]
"""https, or http on loopback; an empty text means none."""
ServerUrl = Annotated[str, AfterValidator(_check_server_url)]
"""https, or http on this machine or a private network."""
MaybeServerUrl = Annotated[str, AfterValidator(lambda text: text and _check_server_url(text))]
"""A server's URL; an empty text means none."""
SocketUrl = Annotated[str, AfterValidator(_check_socket_url)]
"""wss, or ws on loopback."""
Address = Annotated[str, AfterValidator(_check_address)]
"""``host:port``."""
Listen = Annotated[str, AfterValidator(_check_listen)]
"""``host:port`` to listen on; port 0 is any free one, an empty text is off."""
TrustedHost = Annotated[str, AfterValidator(_check_trusted_host)]
"""``host`` or ``host:port``, lower case."""
Label = Annotated[str, AfterValidator(_check_label)]
"""``key=value``."""
Affinity = Annotated[str, AfterValidator(_check_affinity)]
"""``key operator value``."""
Window = Annotated[timedelta, BeforeValidator(_parse_window)]
"""A length of time, written like ``24h``."""
MaybeWindow = Annotated[
    timedelta | None,
    BeforeValidator(lambda value: None if value in (None, "", "0", 0) else _parse_window(value)),
]
"""A length of time; an empty text or 0 means never."""
Token = Annotated[SecretStr, AfterValidator(_check_token)]
"""A Discord bot token, or empty."""
PrivateKey = Annotated[SecretStr, AfterValidator(_check_private_key)]
"""A wallet's private key in hex, or empty."""
OptionalPath = Annotated[Path | None, EmptyIsNone]
"""A path; an empty text means none."""
