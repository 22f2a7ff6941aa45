"""Translate pydantic's validation errors into ConfigErrors: location, problem and hint.

A value is quoted only if it is short and not a secret: error texts end up in logs and forums.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from bot.domain.errors import ConfigError
from bot.domain.quota import format_window
from bot.settings.sources import KeyPath, ValueOrigins, is_section, quoted, section_table
from bot.settings.types import REFUSAL

MASK = "********"

# Shorter than any Discord token or private key, so none of them is shown in the wrong place.
_MAX_SHOWN_CHARS = 24
_MAX_DEFAULT_CHARS = 100


def to_config_errors(
    error: ValidationError, model: type[BaseModel], origins: ValueOrigins
) -> tuple[ConfigError, ...]:
    """Return one ConfigError for each problem in ``error``, in the order of the sections."""
    return tuple(
        _to_config_error(
            item["loc"], item["type"], item["input"], item.get("ctx", {}), model, origins
        )
        for item in error.errors(include_url=False)
    )


def toml(value: object) -> str:
    """Format ``value`` as in config.toml: secrets as stars, None as an empty string."""
    if isinstance(value, SecretStr):
        return quoted(MASK if value else "")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float | Decimal):
        return str(value)
    if isinstance(value, timedelta):
        return quoted(format_window(value))
    if isinstance(value, tuple):
        return f"[{', '.join(toml(item) for item in value)}]"
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{name} = {toml(item)}" for name, item in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    return quoted("" if value is None else str(value))


def _to_config_error(
    place: tuple[int | str, ...],
    kind: str,
    written: object,
    context: Mapping[str, Any],
    model: type[BaseModel],
    origins: ValueOrigins,
) -> ConfigError:
    field, trail = _field_at(model, place)
    inside = place[len(trail) :]
    entry = "".join(f"entry {part + 1} " for part in inside if isinstance(part, int))
    trail = (*trail, *(part for part in inside[:1] if isinstance(part, str)))
    if kind == REFUSAL:
        if context["key"]:
            trail = (*trail, context["key"])
        return ConfigError(origins.where(trail), entry + context["problem"], context["hint"])
    annotation = field.annotation
    if inside:
        annotation = get_args(annotation)[-1 if get_origin(annotation) is dict else 0]
    must = f"must be {_describe_allowed(annotation, field.metadata)}"
    shown = None if field.annotation is SecretStr else _format_short(written)
    problem = f"is {shown}, but {must}" if shown else must
    if is_section(field.annotation):
        hint = f"Write [{'.'.join(trail)}] on a line of its own and the keys below it."
    else:
        default = toml(field.get_default(call_default_factory=True))
        named = f", {default}" if len(default) <= _MAX_DEFAULT_CHARS else ""
        hint = f"Correct it, or leave it out for the default{named}."
    return ConfigError(origins.where(trail), entry + problem, hint)


def _field_at(model: type[BaseModel], place: tuple[int | str, ...]) -> tuple[FieldInfo, KeyPath]:
    """Return the last field along ``place`` and its key path."""
    field, length = model.model_fields[str(place[0])], 1
    while length < len(place):
        section = section_table(field.annotation)
        skipped = 0 if section is None else 1  # the name of the section in the table
        if section is None and is_section(field.annotation):
            section = field.annotation
        if section is None or length + skipped >= len(place):
            break
        field = section.model_fields[str(place[length + skipped])]
        length += 1 + skipped
    return field, tuple(str(part) for part in place[:length])


def _format_short(written: object) -> str | None:
    """Format a value if it is too short to be a secret; None otherwise."""
    if isinstance(written, str):
        return quoted(written) if len(written) <= _MAX_SHOWN_CHARS else None
    if isinstance(written, int | float) and abs(written) < 10**_MAX_SHOWN_CHARS:
        return toml(written)
    return None


def _describe_allowed(annotation: object, metadata: list[Any]) -> str:
    """Describe the values that a field takes, as a continuation of "must be"."""
    if get_origin(annotation) is Annotated:
        annotation, *inner = get_args(annotation)
        metadata = [part for item in inner for part in getattr(item, "metadata", [item])]
    if get_origin(annotation) in (Union, UnionType):
        # The other one is None: not given.
        return _describe_allowed(get_args(annotation)[0], metadata)
    if get_origin(annotation) is Literal:
        *others, last = (quoted(word) for word in get_args(annotation))
        return f"{', '.join(others)} or {last}"
    if annotation is bool:
        return "true or false"
    if annotation in (int, float, Decimal):
        return (
            f"{'a whole number' if annotation is int else 'a number'}{_describe_bounds(metadata)}"
        )
    if get_origin(annotation) is tuple:
        return "a list in [brackets]"
    if get_origin(annotation) is dict or is_section(annotation):
        return "a table of keys and values"
    some = any(getattr(item, "min_length", 0) for item in metadata)
    return "a text in quotes that is not empty" if some else "a text in quotes"


def _describe_bounds(metadata: list[Any]) -> str:
    def bounds(name: str) -> list[Any]:
        found = (getattr(item, name, None) for item in metadata)
        return [bound for bound in found if bound is not None]

    words = ""
    if least := bounds("ge"):
        words += f" from {max(least)}"
    if above := bounds("gt"):
        words += f" above {max(above)}"
    if most := bounds("le"):
        words += f"{' and at most' if above else ' to'} {min(most)}"
    if step := bounds("multiple_of"):
        words += f" in steps of {step[0]}"
    return words
