"""A tree of source as modules and their imports; nothing is imported to read it.

Imports count wherever they stand: inside functions and under ``TYPE_CHECKING`` as well.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Module:
    """One source file; ``name`` is dotted, a package's is that of its folder."""

    name: str
    path: str
    text: str
    tree: ast.Module

    @property
    def package(self) -> str:
        """What a relative import starts from."""
        return self.name if self.path.endswith("__init__.py") else self.name.rpartition(".")[0]

    def at(self, line: int, problem: str) -> str:
        return f"{self.path}:{line}: {problem}"


Rule = Callable[[tuple[Module, ...]], Iterable[str]]


def modules_of(root: Path) -> tuple[Module, ...]:
    """Every module of the package ``bot`` below ``root``."""
    modules = []
    for path in sorted((root / "bot").rglob("*.py")):
        place = path.relative_to(root)
        parts = place.with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text(encoding="utf-8")
        modules.append(Module(name, place.as_posix(), text, ast.parse(text)))
    return tuple(modules)


def imports(module: Module, known: frozenset[str]) -> Iterator[tuple[str, int]]:
    """Each imported module and its line; a name in a package that is a module counts as that."""
    for node in ast.walk(module.tree):
        match node:
            case ast.Import():
                yield from ((alias.name, node.lineno) for alias in node.names)
            case ast.ImportFrom():
                base = node.module or ""
                if node.level:
                    above = module.package.split(".")[: 1 - node.level or None]
                    base = ".".join([*above, base] if base else above)
                for alias in node.names:
                    whole = f"{base}.{alias.name}"
                    yield (whole if whole in known else base), node.lineno
            case ast.Call(func=ast.Attribute(attr="import_module") | ast.Name(id="import_module")):
                match node.args:
                    case [ast.Constant(value=str(name)), *_]:
                        yield name, node.lineno
                    case _:
                        pass
            case _:
                pass


def names_of(modules: Iterable[Module]) -> frozenset[str]:
    return frozenset(module.name for module in modules)


def within(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room.rstrip('.')}.")
