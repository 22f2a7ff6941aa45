"""Codec between documents (mappings, lists, text, numbers) and frozen dataclasses.

A dataclass is its own schema: types define the allowed values, a default makes the key optional
(absent and null are then equal), and ``Annotated`` adds rules and key names.
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
"""Path from the document's root: keys, and list indexes from 0."""

Record = TypeVar("Record")

Opaque = NewType("Opaque", str)
"""Part that is passed through unchecked, as JSON text so that records stay immutable."""

_MAX_DEPTH = 100
_INVALID_CHARACTERS = re.compile(r"[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Violation:
    """Violated rule: ``problem`` without a full stop, ``hint`` with one, ``at`` a relative path."""

    problem: str
    hint: str
    at: Path = ()


Rule: TypeAlias = Callable[[Any], Violation | None]
"""Check of a value of the right type; used inside ``Annotated``."""


@dataclass(frozen=True, slots=True)
class Key:
    """Key of an attribute, if it is not the attribute's name in camelCase."""

    name: str


@runtime_checkable
class SupportsCheck(Protocol):
    """Record with rules between several of its keys."""

    def check(self) -> Violation | None:
        """Return the first violated rule, if any."""
        ...


def format_path(where: Path) -> str:
    """Format a path as ``steps[0].run.command``; the root is ``the document``."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in where)
    return "".join(parts).removeprefix(".") or "the document"


def schema_error(where: Path, violation: Violation) -> WorkflowError:
    """Return the error for a violation in the part at ``where``."""
    return WorkflowError(format_path((*where, *violation.at)), violation.problem, violation.hint)


def suggest_name(name: object, known: Collection[str]) -> str:
    """Return a hint for a name that is not one of ``known``."""
    close = difflib.get_close_matches(str(name), known, n=1)
    return f"Did you mean {close[0]}?" if close else f"Known are: {', '.join(known)}."


def decode(kind: type[Record], value: object, where: Path = ()) -> Record:
    """Decode a mapping into a record.

    Raises WorkflowError for the first problem in document order; a missing key counts as a problem
    at the end of its mapping.
    """
    if not isinstance(value, Mapping):
        hint = "Write keys and values here."
        raise schema_error(where, Violation(f"must be a mapping, not {_type_name(value)}", hint))
    schema: Any = kind  # mypy takes a class for unhashable
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
            values[entry.attribute] = _decode_part(entry.kind, part, (*where, key), entry.optional)
    for key, entry in entries.items():
        if not entry.optional and entry.attribute not in values:
            raise schema_error(
                (*where, key), Violation("is missing", f"Add {key}: it is required.")
            )
    record = kind(**values)
    if isinstance(record, SupportsCheck) and (violation := record.check()):
        raise schema_error(where, violation)
    return record


def encode(record: object) -> dict[str, object]:
    """Encode a record, the inverse of ``decode``; keys at their default are left out."""
    schema: Any = type(record)
    parts = ((entry, getattr(record, entry.attribute)) for entry in _entries(schema).values())
    return {
        entry.key: _encode_part(entry.kind, part)
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
    """Return the allowed entries of a record's mapping, by key."""
    hints = get_type_hints(kind, include_extras=True)
    entries = []
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        names = [annotation.name for annotation in _unwrap(hint)[1] if isinstance(annotation, Key)]
        key = names[0] if names else _to_camel_case(field.name)
        optional = field.default is not MISSING
        entries.append(_Entry(key, field.name, hint, optional, field.default))
    return {entry.key: entry for entry in entries}


def _to_camel_case(attribute: str) -> str:
    first, *rest = attribute.rstrip("_").split("_")
    return first + "".join(word.capitalize() for word in rest)


def _unwrap(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return the type without ``Annotated`` and ``| None``, and its annotations."""
    if get_origin(kind) is Annotated:
        inner, *annotations = get_args(kind)
        bare, inner_annotations = _unwrap(inner)
        return bare, (*inner_annotations, *annotations)
    if get_origin(kind) in (types.UnionType, Union):
        return _unwrap(next(arg for arg in get_args(kind) if arg is not types.NoneType))
    return kind, ()


def _decode_part(kind: Any, value: object, where: Path, optional: bool) -> object:
    if len(where) > _MAX_DEPTH:
        raise schema_error(where, Violation("is nested too deeply", "Write it flatter."))
    bare, annotations = _unwrap(kind)
    part: object
    if bare is object:
        part = value
    elif bare is Opaque:
        part = _decode_opaque(value, where)
    elif dataclasses.is_dataclass(bare):
        record: Any = bare
        part = decode(record, value, where)
    elif get_origin(bare) is tuple:
        part = _decode_list(get_args(bare)[0], value, where)
    else:
        part = _decode_scalar(bare, value, where, optional)
    for rule in annotations:
        if not isinstance(rule, Key) and (violation := rule(part)):
            raise schema_error(where, violation)
    return part


def _decode_list(kind: Any, value: object, where: Path) -> tuple[object, ...]:
    if not isinstance(value, list | tuple):
        raise schema_error(where, _type_violation("a list", value))
    return tuple(_decode_part(kind, item, (*where, at), False) for at, item in enumerate(value))


def _decode_scalar(kind: Any, value: object, where: Path, optional: bool) -> object:
    # type(), because a bool is an int to isinstance.
    if type(value) is not kind:
        raise schema_error(where, _type_violation(_TYPE_NAMES[kind], value))
    if isinstance(value, str):
        if optional and not value:
            raise schema_error(where, Violation("is empty text", "Leave the key out instead."))
        if _INVALID_CHARACTERS.search(value):
            problem = "contains a NUL character or a lone surrogate"
            raise schema_error(where, Violation(problem, "Remove it."))
    return value


def _decode_opaque(value: object, where: Path) -> str:
    try:
        text = json.dumps(value, allow_nan=False)
        if json.loads(text) == value:
            return text
    except (TypeError, ValueError, RecursionError):
        pass
    raise schema_error(
        where, Violation("cannot be written as JSON", "Use text keys and plain values.")
    )


def _encode_part(kind: Any, part: object) -> object:
    bare, _ = _unwrap(kind)
    if bare is Opaque:
        return json.loads(str(part))
    if isinstance(part, tuple):
        return [_encode_part(get_args(bare)[0], item) for item in part]
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


def _type_name(value: object) -> str:
    return _TYPE_NAMES.get(type(value), f"a {type(value).__name__.lower()}")


def _type_violation(expected: str, value: object) -> Violation:
    quotable = expected == "text" and isinstance(value, int | float)
    hint = "Put it in quotes." if quotable else f"Write {expected} here."
    return Violation(f"must be {expected}, not {_type_name(value)}", hint)


def between(minimum: int, maximum: int) -> Rule:
    """Return a rule for integers; both bounds are allowed."""

    def rule(number: int) -> Violation | None:
        if minimum <= number <= maximum:
            return None
        allowed = f"Allowed is {minimum} to {maximum}."
        return Violation(f"{number} is too {'small' if number < minimum else 'large'}", allowed)

    return rule


def one_of(*allowed: str) -> Rule:
    """Return a rule for text that must be one of ``allowed``."""

    def rule(text: str) -> Violation | None:
        words = ", ".join(word or '"" (empty)' for word in allowed)
        return None if text in allowed else Violation("is not known here", f"Allowed are: {words}.")

    return rule


def matches(pattern: str, what: str, hint: str) -> Rule:
    """Return a rule for text that must match ``pattern`` as a whole."""
    compiled = re.compile(pattern, re.ASCII)

    def rule(text: str) -> Violation | None:
        return None if compiled.fullmatch(text) else Violation(f"is not {what}", hint)

    return rule


def first_violation(violations: Iterable[Violation | None]) -> Violation | None:
    """Return the first violation, if any."""
    return next((violation for violation in violations if violation is not None), None)
