"""The contracts' Vyper sources as bytecode, compiled once and kept in the components' folder.

``python -m tests.deepsquare.testnet.compiler`` compiles ahead of the tests. It starts no nodes
or of what the contracts mean.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).parent / "contracts"
COMPONENTS = Path(__file__).parents[3] / ".components"
CONTRACTS = (
    "Constants",
    "Credit",
    "JobRepository",
    "MetaScheduler",
    "ProviderJobQueues",
    "ProviderManager",
)


@dataclass(frozen=True, slots=True)
class Contract:
    """One compiled contract; ``selectors`` maps ``name(types)`` to ``0x`` and 8 digits."""

    name: str
    bytecode: str
    abi: tuple[dict[str, Any], ...]
    selectors: dict[str, str]


def compile_contracts(cache: Path = COMPONENTS) -> dict[str, Contract]:
    """Every contract by name; seconds the first time, then read from ``cache``. Blocking."""
    sources = sorted(SOURCES.glob("*.vy"))
    digest = hashlib.sha256(importlib.metadata.version("vyper").encode())
    for source in sources:
        digest.update(source.read_bytes())
    kept = cache / f"contracts-{digest.hexdigest()[:16]}.json"
    if not kept.exists():
        _keep(kept, _compile())
    return {
        name: Contract(name, entry["bytecode"], tuple(entry["abi"]), entry["method_identifiers"])
        for name, entry in json.loads(kept.read_text()).items()
    }


def _compile() -> dict[str, Any]:
    files = [f"{name}.vy" for name in CONTRACTS]
    # A process of its own: the compiler is slow to load, and most runs have no use for it.
    command = [sys.executable, "-m", "vyper.cli.vyper_compile", "-p", ".", "-f", "combined_json"]
    output = subprocess.run([*command, *files], cwd=SOURCES, capture_output=True, check=False)
    if output.returncode:
        raise RuntimeError(output.stderr.decode())
    entries = json.loads(output.stdout)
    return {Path(name).stem: entry for name, entry in entries.items() if name.endswith(".vy")}


def _keep(path: Path, entries: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps(entries))
    part.replace(path)


if __name__ == "__main__":
    compile_contracts()
