"""Who may import whom: rules from modules to what breaks them, as ``path:line: what is wrong``."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping

from tests.source_tree import Module, imports, names_of, within

MAY_IMPORT: Mapping[str, tuple[str, ...]] = {
    "bot.domain": (),
    "bot.store": ("bot.domain", "bot.concurrency", "bot.files"),
    "bot.settings": ("bot.domain",),
    "bot.backends": ("bot.domain", "bot.concurrency", "bot.files"),
    "bot.services": (
        *("bot.domain", "bot.store", "bot.backends.base", "bot.concurrency", "bot.files"),
    ),
    "bot.frontend": ("bot.domain", "bot.services", "bot.concurrency", "bot.files"),
    "bot.txt2img": (),
    "bot.playground": (),
    "bot.log_config": (),
    "bot.concurrency": (),
    "bot.files": (),
    "bot.file_modes": (),
    "bot.metrics": ("bot.domain", "bot.services.lifecycle", "bot.services.supervision"),
    "bot.cli": (
        *(
            "bot",
            "bot.bootstrap",
            "bot.backups",
            "bot.checks",
            "bot.file_modes",
            "bot.files",
            "bot.restore",
            "bot.runtime",
            "bot.services",
            "bot.settings",
            "bot.domain",
        ),
        *("bot.backends.base", "bot.log_config", "bot.playground.server"),
    ),
    "bot.__main__": ("bot.cli",),
    # The composition roots: of the engine, and of the engine with Discord around it.
    "bot.bootstrap": ("bot.",),
    "bot.runtime": ("bot.",),
    "bot.checks": ("bot.",),
    "bot.backups": ("bot.",),
    "bot.restore": ("bot.",),
}
"""Room -> what it may import beside itself: a room or a module; "bot." is everything."""

ONLY_IN: Mapping[str, str] = {"discord": "bot.frontend", "aiosqlite": "bot.store"}
"""Libraries that one room keeps to itself."""


def wrong_directions(modules: tuple[Module, ...]) -> Iterator[str]:
    """Imports between rooms that the table does not have."""
    known = names_of(modules)
    for module in modules:
        room = next((room for room in MAY_IMPORT if within(module.name, room)), None)
        if room is None and module.name != "bot":
            yield module.at(1, f"{module.name} is in no room")
        allowed = (room, *MAY_IMPORT[room]) if room else ()
        for target, line in imports(module, known):
            if not within(target, "bot"):
                continue
            # "bot" alone is the package itself, not everything below it.
            if not any(target == way or (way != "bot" and within(target, way)) for way in allowed):
                yield module.at(line, f"{room or module.name} may not import {target}")


def shared_libraries(modules: tuple[Module, ...]) -> Iterator[str]:
    """Libraries outside the one room that may know them."""
    for module in modules:
        for target, line in imports(module, frozenset()):
            room = ONLY_IN.get(target.split(".")[0])
            if room and not within(module.name, room):
                yield module.at(line, f"only {room} may import {target}")


def backends_that_know_each_other(modules: tuple[Module, ...]) -> Iterator[str]:
    """A backend is what has an ``async def open``; it may import what is none, and itself."""
    backends = {
        module.name
        for module in modules
        if re.fullmatch(r"bot\.backends\.\w+", module.name)
        and any(isinstance(n, ast.AsyncFunctionDef) and n.name == "open" for n in module.tree.body)
    }
    known = names_of(modules)
    for module in modules:
        if not within(module.name, "bot.backends"):
            continue
        for target, line in imports(module, known):
            for other in backends:
                if within(target, other) and not within(module.name, other):
                    yield module.at(line, f"{module.name} may not import the backend {other}")


def cycles(modules: tuple[Module, ...]) -> Iterator[str]:
    """Modules that import each other, however far around."""
    known = names_of(modules)
    graph = {
        module.name: {target for target, _ in imports(module, known)} & known - {module.name}
        for module in modules
    }
    while removable := [name for name, targets in graph.items() if not targets & graph.keys()]:
        for name in removable:
            del graph[name]
    # What is left imports a cycle or is in one; walking on must come back to where it was.
    if graph:
        trail = [min(graph)]
        while (following := min(graph[trail[-1]] & graph.keys())) not in trail:
            trail.append(following)
        ring = [*trail[trail.index(following) :], following]
        yield f"{ring[0].replace('.', '/')}.py:1: a cycle: {' -> '.join(ring)}"
