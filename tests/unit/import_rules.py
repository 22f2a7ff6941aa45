"""Rules for imports that import-linter does not have; its contracts stand in pyproject.toml."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.unit.source_tree import Module, imports, names_of

BY_NAME: Mapping[str, str] = {
    "bot.backends": "the backend that the settings name, and no other",
    "bot.backends.slots": "the old path of bot.backends.task_slots, for one release",
    "bot.frontend.command_loader": "every module of bot.frontend.commands",
    "bot.painter.__main__": "the old path of bot.txt2img, for one release",
    "bot.painter.upscale": "the old path of bot.txt2img.upscale, for one release",
}
"""Module that imports by name -> what it imports so. No contract sees these imports."""

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
