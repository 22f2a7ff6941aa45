"""Rules for imports that import-linter does not have; its contracts stand in pyproject.toml."""

from __future__ import annotations

import ast
import graphlib
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.unit.source_tree import Module, imports, names_of, within

BY_NAME: Mapping[str, str] = {
    "bot.backends": "the backend that the settings name, and no other",
    "bot.backends.slots": "the old path of bot.backends.task_slots, for one release",
    "bot.frontend.client": "every module of bot.frontend.commands",
    "bot.painter.__main__": "the old path of bot.txt2img, for one release",
    "bot.painter.upscale": "the old path of bot.txt2img.upscale, for one release",
}
"""Module that imports by name -> what it imports so. No contract sees these imports."""

MAX_FLOORS: Mapping[str, int] = {"bot.frontend": 5}
"""Package -> how many modules a chain of imports inside it may have."""

_LOADERS = frozenset({"import_module", "__import__", "run_module", "run_path"})


def dynamic_imports(modules: tuple[Module, ...]) -> Iterator[str]:
    """Imports by name outside the modules of the table."""
    for module in modules:
        if module.name in BY_NAME:
            continue
        for node in ast.walk(module.tree):
            match node:
                case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)):
                    if name in _LOADERS:
                        yield module.at(node.lineno, f"{module.name} may not call {name}")
                case _:
                    pass


def imports_of_the_own_package(modules: tuple[Module, ...]) -> Iterator[str]:
    """Imports of a package by its own modules: a circle that the contract does not look for."""
    known = names_of(modules)
    for module in modules:
        for target, line in imports(module, known):
            if target != "bot" and module.name.startswith(f"{target}."):
                yield module.at(line, f"{module.name} may not import the package it lies in")


def floors(modules: tuple[Module, ...], package: str) -> dict[str, int]:
    """Return on which floor each module of a package stands: 1 if it imports none of the others.

    Imports inside functions, under TYPE_CHECKING and by name (BY_NAME) count. Raises
    graphlib.CycleError.
    """
    known = names_of(modules)
    inside = {module.name: module for module in modules if within(module.name, package)}
    below = {
        name: {target for target in _loaded(module, known) if target in inside} - {name}
        for name, module in inside.items()
    }
    found: dict[str, int] = {}
    for name in graphlib.TopologicalSorter(below).static_order():
        found[name] = 1 + max((found[target] for target in below[name]), default=0)
    return found


def _loaded(module: Module, known: frozenset[str]) -> Iterator[str]:
    for target, _ in imports(module, known):
        yield target
        if module.name in BY_NAME:  # of a package that it imports it loads every module
            yield from (name for name in known if name.startswith(f"{target}."))


def too_many_floors(modules: tuple[Module, ...]) -> Iterator[str]:
    """Modules above the floors that a package may have, and circles in it."""
    for package, most in MAX_FLOORS.items():
        try:
            above = {name: at for name, at in floors(modules, package).items() if at > most}
        except graphlib.CycleError as error:
            yield f"{package} has a circle: {' <- '.join(error.args[1])}"
            continue
        for module in modules:
            if module.name in above:
                yield module.at(1, f"{module.name} is on floor {above[module.name]} of {most}")


def backends_of(modules: tuple[Module, ...]) -> set[str]:
    """Return the names of the backends: what has an ``async def open``."""
    return {
        module.name
        for module in modules
        if re.fullmatch(r"bot\.backends\.\w+", module.name)
        and any(isinstance(n, ast.AsyncFunctionDef) and n.name == "open" for n in module.tree.body)
    }


def independent_backends(pyproject: Path) -> set[str]:
    """Return the backends that a contract keeps independent of each other."""
    contracts = tomllib.loads(pyproject.read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    return {
        name
        for contract in contracts
        if contract["type"] == "independence"
        for name in contract["modules"]
    }
