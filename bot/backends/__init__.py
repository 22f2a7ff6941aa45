"""Open the backend that ``[backend] kind`` names: each module or package here is one.

There is no registry: the module is imported when it is chosen, so that a backend's heavy libraries
cost nothing to those who use another.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Mapping

from bot.backends.base import Backend
from bot.domain.errors import ConfigError

_NOT_BACKENDS = frozenset(
    {
        *("base", "container_stubs", "engine_info", "environment", "job_folders", "slots"),
        *("task_slots", "txt2img_config"),
    }
)


def available_kinds() -> tuple[str, ...]:
    """Return the values that ``[backend] kind`` may have."""
    names = {module.name for module in pkgutil.iter_modules(__path__)}
    return tuple(sorted(names - _NOT_BACKENDS))


async def open_backend(kind: str, options: Mapping[str, object]) -> Backend:
    """Open the backend that ``kind`` names. Raises ConfigError if it is unknown or cannot open."""
    if kind not in available_kinds():
        raise ConfigError(
            "[backend] kind", f"{kind!r} is no backend", f"Use one of {available_kinds()}."
        )
    limit = sys.getrecursionlimit()
    module = importlib.import_module(f"bot.backends.{kind}")
    # py_ecc, which web3 loads, raises it so far that JSON with enough brackets, from anyone whom
    # any library here reads, would overflow the C stack and end the process.
    sys.setrecursionlimit(limit)
    backend: Backend = await module.open(options)
    return backend
