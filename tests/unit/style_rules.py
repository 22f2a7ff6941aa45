"""What no module may hold: rules from modules to what breaks them, as ``path:line: what``."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.unit.source_tree import Module, imports, names_of, within

MAX_LINES = 500
LONG_FOR_A_REASON = re.compile(rf"# Over {MAX_LINES} lines: \w")

PURE = frozenset(
    {
        *(
            "__future__",
            "base64",
            "bisect",
            "collections",
            "copy",
            "dataclasses",
            "datetime",
            "decimal",
        ),
        *("difflib", "enum", "fractions", "functools", "hashlib", "heapq", "hmac", "ipaddress"),
        *("itertools", "json", "math", "operator", "re", "shlex", "statistics", "string"),
        *("textwrap", "types", "typing", "unicodedata", "urllib.parse", "yaml"),
    }
)
"""What the domain may import: nothing that reads or writes anything, or asks a clock or a die."""

IMPURE_CALLS = frozenset({"open", "print", "input", "exec", "eval", "__import__", "breakpoint"})
OWN_JSON = {
    "bot.domain.json_parser": "the bounded parser",
    "bot.domain.workflow.schema": "what json.dumps has just made",
    "bot.store.audit": "written by the bot",
    "bot.store.guilds": "written by the bot",
    "bot.store.moderation_log": "written by the bot",
    "bot.store.reports": "written by the bot",
    "bot.store.serialization": "written by the bot",
}
CLOCKS = frozenset({"now", "utcnow", "today"})

BAD_NAME = re.compile(
    r"(?:^|_)(?:utils?|utilit(?:y|ies)|helpers?|managers?|misc|common)(?:_|$)"
    r"|(?:Util|Utils|Helper|Manager)$"
)
SQL = re.compile(
    r"\s*(?:SELECT|INSERT|UPDATE|DELETE|REPLACE|CREATE|ALTER|DROP|PRAGMA|BEGIN|COMMIT|ROLLBACK"
    r"|SAVEPOINT|RELEASE|VACUUM|ATTACH|WITH)\b",
    re.IGNORECASE,
)


def impure_domain(modules: tuple[Module, ...]) -> Iterator[str]:
    """What the domain may not do: I/O, clock, chance, waiting."""
    known = names_of(modules)
    for module in modules:
        if not within(module.name, "bot.domain"):
            continue
        for target, line in imports(module, known):
            pure = target in PURE or target.split(".")[0] in PURE
            if not pure and not within(target, "bot"):
                yield module.at(line, f"the domain may not import {target}")
        for node in ast.walk(module.tree):
            match node:
                case ast.AsyncFunctionDef() | ast.Await() | ast.AsyncFor() | ast.AsyncWith():
                    yield module.at(node.lineno, "the domain does not wait")
                case ast.Call(func=ast.Name(id=name)) if name in IMPURE_CALLS:
                    yield module.at(node.lineno, f"the domain may not call {name}")
                case ast.Call(func=ast.Attribute(attr=name)) if name in CLOCKS:
                    yield module.at(node.lineno, f"the domain has no clock to call {name} of")
                case _:
                    pass


def bare_excepts(modules: tuple[Module, ...]) -> Iterator[str]:
    """``except:`` without a type."""
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ExceptHandler) and node.type is None:
                yield module.at(node.lineno, "a bare except")


def broad_excepts(modules: tuple[Module, ...]) -> Iterator[tuple[str, str]]:
    """(``path::qualified name``, sentence) of each broad except that does not end by raising on."""
    for module in modules:
        for place, handler in _handlers(module.tree, ()):
            types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
            broad = [t.id for t in types if isinstance(t, ast.Name) and t.id in _BROAD]
            last = handler.body[-1]
            raises_on = isinstance(last, ast.Raise) and last.exc is None
            if broad and not raises_on:
                where = f"{module.path}::{'.'.join(place)}"
                yield where, module.at(handler.lineno, f"except {broad[0]} in {where}")


_BROAD = frozenset({"Exception", "BaseException"})


def _handlers(
    node: ast.AST, place: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], ast.ExceptHandler]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ExceptHandler):
            yield place, child
        inner = place
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = (*place, child.name)
        yield from _handlers(child, inner)


def globals_(modules: tuple[Module, ...]) -> Iterator[str]:
    """``global`` statements."""
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Global):
                yield module.at(node.lineno, f"global {', '.join(node.names)}")


def sql_outside_the_store(modules: tuple[Module, ...]) -> Iterator[str]:
    """SQL in the arguments of ``execute``, ``executemany`` and the like."""
    for module in modules:
        if within(module.name, "bot.store"):
            continue
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if not node.func.attr.startswith("execute"):
                continue
            texts = (part for argument in node.args for part in ast.walk(argument))
            for part in texts:
                if isinstance(part, ast.Constant) and SQL.match(str(part.value)):
                    yield module.at(part.lineno, "SQL outside bot.store")


def unbounded_json(modules: tuple[Module, ...]) -> Iterator[str]:
    """``json.loads`` of what others wrote: deep nesting ends the process or raises what no one
    expects, so that is for ``bot.domain.json_parser``. Programs of their own, which cannot import
    it, have their own parser or handle RecursionError.
    """
    for module in modules:
        alone = within(module.name, "bot.playground") or within(module.name, "bot.txt2img")
        if alone or module.name in OWN_JSON:
            continue
        for node in ast.walk(module.tree):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name("json"), attr="load" | "loads")):
                    yield module.at(node.lineno, "json.loads of what others wrote")
                case ast.Call(func=ast.Attribute(attr="json"), args=[], keywords=[]):
                    yield module.at(node.lineno, "a body parsed without a bound")
                case _:
                    pass


def empty_names(modules: tuple[Module, ...]) -> Iterator[str]:
    """Modules, functions and classes whose names say nothing."""
    for module in modules:
        if any(BAD_NAME.search(part) for part in module.name.split(".")):
            yield module.at(1, f"{module.name} says nothing")
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef) and BAD_NAME.search(node.name):
                yield module.at(node.lineno, f"{node.name} says nothing")


def long_files(modules: tuple[Module, ...]) -> Iterator[str]:
    """Files to split along an idea, unless their first line says why they are one."""
    for module in modules:
        lines = len(module.text.splitlines())
        if lines > MAX_LINES and not LONG_FOR_A_REASON.match(module.text):
            yield module.at(MAX_LINES + 1, f"{lines} lines")


def silent_modules(modules: tuple[Module, ...]) -> Iterator[str]:
    """Modules that do not say what they are."""
    for module in modules:
        if not ast.get_docstring(module.tree):
            yield module.at(1, "no docstring")


def effects_of_the_package(modules: tuple[Module, ...]) -> Iterator[str]:
    """What ``import bot`` would do beyond naming constants."""
    for module in modules:
        if module.name != "bot":
            continue
        for node in module.tree.body:
            match node:
                case ast.Expr(value=ast.Constant()) | ast.ImportFrom(module="__future__"):
                    pass
                case ast.Assign(value=ast.Constant()) | ast.AnnAssign(value=ast.Constant()):
                    pass
                case _:
                    yield module.at(node.lineno, "importing bot has an effect")
