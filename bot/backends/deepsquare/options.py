"""Parse ``[backend.deepsquare]`` into one value that holds a wallet instead of its key.

Clock, timeouts and jitter have defaults here; tests pass their own in the same mapping.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bot.backends.deepsquare.rpc import Sleep
from bot.backends.deepsquare.timeouts import Timeouts
from bot.backends.deepsquare.wallet import Wallet
from bot.clock import utc_now
from bot.domain.errors import ConfigError

SECTION = "[backend.deepsquare]"


@dataclass(frozen=True, slots=True)
class DeepSquareOptions:
    """Amounts are credits; ``affinity`` holds (key, operator, value)."""

    wallet: Wallet
    data_dir: Path
    sbatch_url: str
    rpc_url: str
    logger_address: str
    transfer_url: str
    trusted_hosts: tuple[str, ...]
    meta_scheduler: str
    chain_id: int
    logger_tls: bool = True
    lock_credits: Decimal = Decimal(500)
    max_credits_per_job: Decimal = Decimal(1000)
    uses: tuple[tuple[str, str], ...] = ()
    affinity: tuple[tuple[str, str, str], ...] = ()
    timeouts: Timeouts = field(default_factory=Timeouts)
    now: Callable[[], datetime] = utc_now
    sleep: Sleep = asyncio.sleep
    jitter: Callable[[], float] = random.random

    @classmethod
    def from_mapping(cls, options: Mapping[str, object]) -> DeepSquareOptions:
        """Read options from settings; unknown keys are ignored.

        Raises ConfigError that names the key.
        """
        given: dict[str, Any] = {
            name: options[name] for name in cls.__dataclass_fields__ if name in options
        }
        key = str(options.get("private_key") or "")
        if not key:
            hint = "Set DEEPSQUARE_PRIVATE_KEY, or private_key_file to a file only you can read."
            raise ConfigError(f"{SECTION} private_key", "is missing", hint)
        timeouts = given.pop("timeouts", Timeouts())
        if "poll_seconds" in options:
            timeouts = replace(timeouts, poll=float(str(options["poll_seconds"])))
        given["data_dir"] = Path(str(options["data_dir"]))
        return cls(wallet=Wallet(key), timeouts=timeouts, **given)

    @property
    def folder(self) -> Path:
        """Return the folder of this wallet's state on this chain."""
        name = f"{self.chain_id}-{self.wallet.address.lower()}"
        return (self.data_dir / "deepsquare" / name).resolve()

    @property
    def sbatch_health(self) -> str:
        """Return the health URL of the script service."""
        return urlsplit(self.sbatch_url)._replace(path="/health", query="", fragment="").geturl()
