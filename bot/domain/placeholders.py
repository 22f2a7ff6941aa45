"""Where the values of parameters may stand in a template's job, and how they get there.

A text that a member chose never leaves the environment, a secret never changes its name, and no
script holds a value at all. This module does not know the shape of a job, only that ``env`` and
``args`` are lists of ``{key, value}`` and that ``command`` and ``if`` are scripts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bot.domain.document import Path, Violation, schema_error, suggest_name
from bot.domain.parameters import Parameter, Value, is_reserved
from bot.domain.template_text import Placeholder

_CONSTANT = frozenset({"command", "if", "key"})


def validate_placeholders(job: object, parameters: Mapping[str, Parameter]) -> None:
    """Raises WorkflowError unless each placeholder names a parameter that may stand there."""
    used = set()
    for where, placeholder, key in _placeholders(job, ("job",)):
        name = placeholder.name
        parameter = parameters.get(name)
        if parameter is None:
            problem = f"no parameter is called {name}"
            raise schema_error(where, Violation(problem, suggest_name(name, parameters)))
        if fault := _misplaced(name, parameter, where, key):
            raise schema_error(where, fault)
        used.add(name)
    for name, parameter in parameters.items():
        if not parameter.env and name not in used:
            mend = f"Remove it or env: false, or write !param {name} somewhere in the job."
            raise schema_error(("parameters", name), Violation("is used nowhere", mend))


def substitute(job: object, values: Mapping[str, Value]) -> object:
    """The job with values in place of placeholders: text in the environment, else as typed."""
    return _filled(job, (), values)


def _in_env(where: Path) -> bool:
    """Whether this is the value of an environment variable, ``….env[0].value``."""
    match where:
        case (*_, "env" | "args", int(), "value"):
            return True
    return False


def _placeholders(
    part: object, where: Path, key: object = None
) -> Iterator[tuple[Path, Placeholder, object]]:
    """Every placeholder, its path, and the ``key`` beside it if it is an environment value."""
    match part:
        case Placeholder():
            yield where, part, key
        case dict():
            for name, item in part.items():
                yield from _placeholders(item, (*where, name), part.get("key"))
        case tuple():
            for position, item in enumerate(part):
                yield from _placeholders(item, (*where, position))


def _misplaced(name: str, parameter: Parameter, where: Path, key: object) -> Violation | None:
    if where[-1] in _CONSTANT:
        problem = "no parameter may stand in a script or a variable's name"
        return Violation(problem, f'Use the environment variable there: "${name}".')
    if _in_env(where):
        if parameter.secret and key != name:
            return Violation("a secret keeps its name", f"Write key: {name} beside it.")
        return is_reserved(str(key))
    if parameter.secret:
        return Violation("a secret goes into environment values only", "Remove it here.")
    if parameter.is_free_text:
        return Violation("free text goes into environment values only", "Remove it here.")
    return None


def _filled(part: object, where: Path, values: Mapping[str, Value]) -> object:
    match part:
        case Placeholder(name):
            # Environment values are text; everywhere else the parameter's own type stands.
            return str(values[name]) if _in_env(where) else values[name]
        case dict():
            return {key: _filled(item, (*where, key), values) for key, item in part.items()}
        case tuple():
            return [_filled(item, (*where, at), values) for at, item in enumerate(part)]
    return part
