"""Run all benchmarks, or those named on the command line."""

from __future__ import annotations

import importlib
import os
import pkgutil
import platform
import sys

import benchmarks

NOT_CASES = frozenset({"__main__", "fixtures", "harness", "measure", "probe", "recordings"})


def main(wanted: list[str]) -> None:
    """Run the named cases, or all, in the order of their names."""
    names = {module.name for module in pkgutil.iter_modules(benchmarks.__path__)} - NOT_CASES
    if unknown := sorted(set(wanted) - names):
        sys.exit(f"no such case: {', '.join(unknown)}. There are: {', '.join(sorted(names))}")
    machine = f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores"
    print(f"Python {platform.python_version()}, {machine}, load {os.getloadavg()[0]:.1f}")
    for name in sorted(names):
        if not wanted or name in wanted:
            print(f"\n{name}", flush=True)
            importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main(sys.argv[1:])
