"""Run all measurements, or those named."""

from __future__ import annotations

import importlib
import pkgutil
import platform
import sys

import benchmarks

SKIPPED = frozenset({"__main__", "measure"})


def main(wanted: list[str]) -> None:
    """Run the cases in order of name."""
    names = [module.name for module in pkgutil.iter_modules(benchmarks.__path__)]
    print(f"Python {platform.python_version()}, {platform.machine()}\n")
    for name in sorted(set(names) - SKIPPED):
        if not wanted or name in wanted:
            importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main(sys.argv[1:])
