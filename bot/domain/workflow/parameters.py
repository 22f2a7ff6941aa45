"""The typed parameters of a template: where their values come from and what they may be.

A parameter takes its value from the request or its ticket (``from``), is the operator's constant
(``default``), or the text of a file beside the template (``file``). This module does not know
where in a job the values go.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from bot.domain.workflow.document import ENV_NAME
from bot.domain.workflow.schema import (
    Key,
    Path,
    Violation,
    between,
    first_violation,
    matches,
    one_of,
    schema_error,
    suggest_name,
)
from bot.domain.workflow.template_yaml import Placeholder

Value: TypeAlias = int | str

MAX_VALUE_LENGTH = 32_000
"""Characters of a text value: at four bytes each they fit into Linux's 128 KiB per variable."""

MAX_FILE_SIZE = 4 * MAX_VALUE_LENGTH
"""Bytes of a file's text, for the same reason."""

SOURCES: Mapping[str, str] = {
    "prompt": "text",
    "negative": "text",
    "rows": "integer",
    "samples": "integer",
    "steps": "integer",
    "width": "integer",
    "height": "integer",
    "seed": "integer",
    "model": "text",
    "job_id": "text",
    "mac_key": "text",
    "upload_url": "url",
    "input_url": "url",
    "input_sha256": "text",
    "input_box": "text",
}
"""What ``from`` can name, and the type that each has."""

USER_TEXT_SOURCES = frozenset({"prompt", "negative", "model"})
"""The sources whose text a member has chosen: it may go into environment values only."""

_SECRETS = frozenset({"mac_key"})
_URL = re.compile(r"(https?|file)://[!-~]+")
_FORBIDDEN = frozenset({"Cc", "Cs", "Zl", "Zp"})

_RESERVED = frozenset(
    {
        *("PATH", "LD_LIBRARY_PATH", "HOME", "USER", "IFS", "ENV", "SHELLOPTS", "STORAGE_PATH"),
        *("NTASKS", "CPUS_PER_TASK", "MEM_PER_CPU", "GPUS", "GPUS_PER_TASK", "CPUS", "MEM"),
        *("index", "item"),
    }
)
_RESERVED_BEGINNINGS = ("DEEPSQUARE_", "SLURM_", "APPTAINER", "SINGULARITY", "LD_", "BASH")


def validate_file_text(text: str) -> Violation | None:
    """Whether a file's text may not be a value: unlike other texts it may hold line breaks."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return Violation("is no proper Unicode", "Save it as UTF-8.")
    if "\0" in text:
        return Violation("holds a NUL character", "Remove it.")
    if size > MAX_FILE_SIZE:
        hint = f"At most {MAX_FILE_SIZE} fit into an environment variable."
        return Violation(f"has {size} bytes", hint)
    return None


def is_reserved(name: str) -> Violation | None:
    """Whether the platform, the container runtime or the shell sets or obeys ``name`` itself."""
    if name in _RESERVED or name.startswith(_RESERVED_BEGINNINGS):
        return Violation(
            "is a name that the platform or the shell uses itself", "Choose another name."
        )
    return None


def validate_name(name: str) -> Violation | None:
    """Whether a parameter may not be called ``name``."""
    if not re.fullmatch(ENV_NAME, name, re.ASCII):
        return Violation("is not a name for an environment variable", "Use letters, digits and _.")
    return is_reserved(name)


_file_name = matches(
    r"[A-Za-z0-9_-][A-Za-z0-9._-]*", "a plain file name", "Name a file beside the template."
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. Both bounds are allowed values; for text they count characters.

    With ``env`` the job gets a variable of the parameter's name. A ``secret`` is never shown.
    """

    type: Annotated[str, one_of("integer", "text", "url")] = "text"
    source: Annotated[str | None, Key("from"), one_of(*SOURCES)] = None
    default: object = None
    file: Annotated[str | None, _file_name] = None
    minimum: int | None = None
    maximum: int | None = None
    secret: bool = False
    env: bool = True

    @property
    def is_free_text(self) -> bool:
        """Whether its text is a member's choice or many lines long: for environment values only."""
        return self.source in USER_TEXT_SOURCES or self.file is not None

    def check(self) -> Violation | None:
        """The first broken rule of the declaration, if any."""
        return first_violation((self._origin(), self._bounds(), self._default()))

    def _origin(self) -> Violation | None:
        if [self.source, self.default, self.file].count(None) != 2:
            return Violation("must have one of from, default and file", "Keep one of the three.")
        if self.source in _SECRETS and not self.secret:
            return Violation(f"takes {self.source} but is not secret", "Add secret: true.")
        right = "text" if self.file else SOURCES.get(self.source or "", self.type)
        if self.type == right:
            return None
        what = self.source or "a file"
        return Violation(f"{what} is not of this type", f"Write type: {right}.", ("type",))

    def _bounds(self) -> Violation | None:
        if (self.type == "url" or self.file) and (self.minimum, self.maximum) != (None, None):
            return Violation("has no bounds: it is no number", "Remove minimum and maximum.")
        if self.type == "text":
            for key, bound, least in (("minimum", self.minimum, 0), ("maximum", self.maximum, 1)):
                fault = None if bound is None else between(least, MAX_VALUE_LENGTH)(bound)
                if fault:
                    return Violation(fault.problem, fault.hint, (key,))
        if self.minimum is None or self.maximum is None or self.minimum <= self.maximum:
            return None
        return Violation("has a minimum above its maximum", "Exchange the two.")

    def _default(self) -> Violation | None:
        if self.default is None:
            return None
        fault = self.validate(self.default)
        return fault and Violation(fault.problem, fault.hint, ("default",))

    def validate(self, value: object) -> Violation | None:
        """Why ``value`` cannot be this parameter's; no text is ever repeated in it."""
        if self.type == "integer":
            if type(value) is not int:
                return Violation("must be a whole number", "Write it without quotes.")
            return self._measure(value, str(value))
        if not isinstance(value, str):
            return Violation("must be text", "Put it in quotes.")
        if self.type == "url":
            if not value:
                return Violation("has no address", "Use this template for jobs that have one.")
            hint = "Write http://, https:// or file:// and what follows, without spaces."
            return None if _URL.fullmatch(value) else Violation("is not a URL", hint)
        if any(unicodedata.category(character) in _FORBIDDEN for character in value):
            return Violation("holds a line break or another control character", "Remove it.")
        return self._measure(len(value), f"text of {len(value)} characters")

    def _measure(self, measure: int, what: str) -> Violation | None:
        maximum = MAX_VALUE_LENGTH if self.type == "text" and self.maximum is None else self.maximum
        if self.minimum is not None and measure < self.minimum:
            return Violation(f"{what} is below the minimum", f"At least {self.minimum} is needed.")
        if maximum is not None and measure > maximum:
            return Violation(f"{what} is above the maximum", f"At most {maximum} is allowed.")
        return None

    def examples(self) -> tuple[Value, Value]:
        """A small and a large value that are allowed, for a trial."""
        if isinstance(self.default, int | str):
            return self.default, self.default
        if self.type == "url":
            return "https://example.org", "https://example.org"
        if self.type == "text":
            text = "x" * max(1, self.minimum or 0)
            return text, text
        low = 1 if self.minimum is None else self.minimum
        high = low if self.maximum is None else self.maximum
        return min(low, high), high


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
            hint = f"Remove it or env: false, or write !param {name} somewhere in the job."
            raise schema_error(("parameters", name), Violation("is used nowhere", hint))


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
