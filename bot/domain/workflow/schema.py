"""Reads documents (mappings, lists, text, numbers) into frozen dataclasses, and writes them back.

A dataclass is its own schema: the types say what may stand in a key, a default makes the key
optional (absent and null are the same then), ``Annotated`` adds rules and odd key names. This
module knows nothing of what the documents mean, nor of YAML or JSON text.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import re
import types
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import MISSING, dataclass
from typing import (
    Annotated,
    Any,
    NewType,
    Protocol,
    TypeAlias,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    runtime_checkable,
)

from bot.domain.errors import WorkflowError

Path: TypeAlias = tuple[str | int, ...]
"""A path from the document's root: keys, and positions in lists from 0."""

Record = TypeVar("Record")

Opaque = NewType("Opaque", str)
"""A part that is passed through unread, kept as JSON text so that records stay immutable."""

_DEEPEST = 100
_UNSPEAKABLE = re.compile(r"[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken rule: a problem without a full stop, a mend with one, ``at`` the part to blame."""

    problem: str
    hint: str
    at: Path = ()


Rule: TypeAlias = Callable[[Any], Violation | None]
"""Looks at a value of the right type; used inside ``Annotated``."""


@dataclass(frozen=True, slots=True)
class Key:
    """The document's name for an attribute, where it is not the attribute in camelCase."""

    name: str


@runtime_checkable
class SupportsCheck(Protocol):
    """A record with rules that concern several of its keys."""

    def check(self) -> Violation | None:
        """The first broken rule, if any."""
        ...


def path(where: Path) -> str:
    """The path as people write it: ``steps[0].run.command``; the root is ``the document``."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in where)
    return "".join(parts).removeprefix(".") or "the document"


def schema_error(where: Path, fault: Violation) -> WorkflowError:
    """The error that says ``fault`` of the part at ``where``."""
    return WorkflowError(path((*where, *fault.at)), fault.problem, fault.hint)


def suggest_name(name: object, known: Collection[str]) -> str:
    """A mend for a name that is not one of ``known``."""
    close = difflib.get_close_matches(str(name), known, n=1)
    return f"Did you mean {close[0]}?" if close else f"Known are: {', '.join(known)}."


def decode(kind: type[Record], value: object, where: Path = ()) -> Record:
    """The record that a document's mapping describes.

    Raises WorkflowError for the first problem in the document's own order; a missing key counts
    as a problem at the end of its mapping.
    """
    if not isinstance(value, Mapping):
        hint = "Write keys and values here."
        raise schema_error(where, Violation(f"must be a mapping, not {_name_of(value)}", hint))
    schema: Any = kind  # mypy holds that a class is not hashable
    entries = _entries(schema)
    values: dict[str, object] = {}
    for key, part in value.items():
        entry = entries.get(key)
        if entry is None:
            raise schema_error(
                (*where, str(key)),
                Violation("there is no such key here", suggest_name(key, entries)),
            )
        if part is not None or not entry.optional:
            values[entry.attribute] = _read_part(entry.kind, part, (*where, key), entry.optional)
    for key, entry in entries.items():
        if not entry.optional and entry.attribute not in values:
            raise schema_error(
                (*where, key), Violation("is missing", f"Add {key}: it is required.")
            )
    record = kind(**values)
    if isinstance(record, SupportsCheck) and (fault := record.check()):
        raise schema_error(where, fault)
    return record


def encode(record: object) -> dict[str, object]:
    """The mapping that ``read`` turns into ``record``; keys at their default are left out."""
    schema: Any = type(record)
    parts = ((entry, getattr(record, entry.attribute)) for entry in _entries(schema).values())
    return {
        entry.key: _write_part(entry.kind, part)
        for entry, part in parts
        if not entry.optional or part != entry.default
    }


@dataclass(frozen=True, slots=True)
class _Entry:
    key: str
    attribute: str
    kind: Any
    optional: bool
    default: object


@functools.cache
def _entries(kind: Any) -> Mapping[str, _Entry]:
    """What may stand in a record's mapping, by key."""
    hints = get_type_hints(kind, include_extras=True)
    entries = []
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        names = [note.name for note in _unwrap(hint)[1] if isinstance(note, Key)]
        key = names[0] if names else _camel(field.name)
        optional = field.default is not MISSING
        entries.append(_Entry(key, field.name, hint, optional, field.default))
    return {entry.key: entry for entry in entries}


def _camel(attribute: str) -> str:
    first, *rest = attribute.rstrip("_").split("_")
    return first + "".join(word.capitalize() for word in rest)


def _unwrap(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    """The type without ``Annotated`` and ``| None``, and what was noted on it."""
    if get_origin(kind) is Annotated:
        inner, *notes = get_args(kind)
        bare, inner_notes = _unwrap(inner)
        return bare, (*inner_notes, *notes)
    if get_origin(kind) in (types.UnionType, Union):
        return _unwrap(next(arg for arg in get_args(kind) if arg is not types.NoneType))
    return kind, ()


def _read_part(kind: Any, value: object, where: Path, optional: bool) -> object:
    if len(where) > _DEEPEST:
        raise schema_error(where, Violation("is nested too deeply", "Write it flatter."))
    bare, notes = _unwrap(kind)
    part: object
    if bare is object:
        part = value
    elif bare is Opaque:
        part = _read_opaque(value, where)
    elif dataclasses.is_dataclass(bare):
        record: Any = bare
        part = decode(record, value, where)
    elif get_origin(bare) is tuple:
        part = _read_list(get_args(bare)[0], value, where)
    else:
        part = _read_scalar(bare, value, where, optional)
    for rule in notes:
        if not isinstance(rule, Key) and (fault := rule(part)):
            raise schema_error(where, fault)
    return part


def _read_list(kind: Any, value: object, where: Path) -> tuple[object, ...]:
    if not isinstance(value, list | tuple):
        raise schema_error(where, _not("a list", value))
    return tuple(_read_part(kind, item, (*where, at), False) for at, item in enumerate(value))


def _read_scalar(kind: Any, value: object, where: Path, optional: bool) -> object:
    # type(), because a bool is an int to isinstance.
    if type(value) is not kind:
        raise schema_error(where, _not(_TYPE_NAMES[kind], value))
    if isinstance(value, str):
        if optional and not value:
            raise schema_error(where, Violation("is empty text", "Leave the key out instead."))
        if _UNSPEAKABLE.search(value):
            problem = "holds a NUL character or half of a surrogate pair"
            raise schema_error(where, Violation(problem, "Remove it."))
    return value


def _read_opaque(value: object, where: Path) -> str:
    try:
        text = json.dumps(value, allow_nan=False)
        if json.loads(text) == value:
            return text
    except (TypeError, ValueError, RecursionError):
        pass
    raise schema_error(
        where, Violation("cannot be written as JSON", "Use text keys and plain values.")
    )


def _write_part(kind: Any, part: object) -> object:
    bare, _ = _unwrap(kind)
    if bare is Opaque:
        return json.loads(str(part))
    if isinstance(part, tuple):
        return [_write_part(get_args(bare)[0], item) for item in part]
    return encode(part) if dataclasses.is_dataclass(bare) else part


_TYPE_NAMES: Mapping[type, str] = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a fraction",
    list: "a list",
    tuple: "a list",
    dict: "a mapping",
    types.NoneType: "empty",
}


def _name_of(value: object) -> str:
    return _TYPE_NAMES.get(type(value), f"a {type(value).__name__.lower()}")


def _not(expected: str, value: object) -> Violation:
    quotable = expected == "text" and isinstance(value, int | float)
    hint = "Put it in quotes." if quotable else f"Write {expected} here."
    return Violation(f"must be {expected}, not {_name_of(value)}", hint)


def between(minimum: int, maximum: int) -> Rule:
    """A rule for whole numbers: both bounds are allowed."""

    def rule(number: int) -> Violation | None:
        if minimum <= number <= maximum:
            return None
        allowed = f"Allowed is {minimum} to {maximum}."
        return Violation(f"{number} is too {'small' if number < minimum else 'large'}", allowed)

    return rule


def one_of(*allowed: str) -> Rule:
    """A rule for text that is a word of a closed list."""

    def rule(text: str) -> Violation | None:
        words = ", ".join(word or '"" (empty)' for word in allowed)
        return None if text in allowed else Violation("is not known here", f"Allowed are: {words}.")

    return rule


def matches(pattern: str, what: str, hint: str) -> Rule:
    """A rule for text that must match ``pattern`` from its first to its last character."""
    compiled = re.compile(pattern, re.ASCII)

    def rule(text: str) -> Violation | None:
        return None if compiled.fullmatch(text) else Violation(f"is not {what}", hint)

    return rule


def first_violation(faults: Iterable[Violation | None]) -> Violation | None:
    """The first fault there is."""
    return next((fault for fault in faults if fault is not None), None)
