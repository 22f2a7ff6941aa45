"""Typed parameters of a template: their sources, allowed values and placeholders.

A parameter takes its value from the request or the RenderContext (``from``), is a constant of the
template (``default``), or the text of a file beside the template (``file``).
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
"""Maximum characters of a text; at four bytes each they fit Linux's 128 KiB per variable."""

MAX_FILE_SIZE = 4 * MAX_VALUE_LENGTH
"""Maximum bytes of a file's text, for the same reason."""

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
    "guidance": "text",
    "sampler": "text",
    "model_url": "url",
    "model_sha256": "text",
    "model_file": "text",
    "model_input": "url",
    "cpus_per_task": "integer",
    "mem_per_cpu": "integer",
    "gpus_per_task": "integer",
    "gpus": "integer",
    "job_id": "text",
    "mac_key": "text",
    "upload_url": "url",
    "input_url": "url",
    "input_sha256": "text",
    "input_box": "text",
    "image_input": "url",
    "strength": "text",
}
"""Names allowed in ``from``, and the type of each."""

USER_TEXT_SOURCES = frozenset({"prompt", "negative", "model"})
"""Sources with text of a member: allowed in environment values only."""

_SECRET_SOURCES = frozenset({"mac_key"})
_URL = re.compile(r"(https?|file)://[!-~]+")
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})

_RESERVED_NAMES = frozenset(
    {
        *("PATH", "LD_LIBRARY_PATH", "HOME", "USER", "IFS", "ENV", "SHELLOPTS", "STORAGE_PATH"),
        *("NTASKS", "CPUS_PER_TASK", "MEM_PER_CPU", "GPUS", "GPUS_PER_TASK", "CPUS", "MEM"),
        *("index", "item"),
    }
)
_RESERVED_PREFIXES = ("DEEPSQUARE_", "SLURM_", "APPTAINER", "SINGULARITY", "LD_", "BASH")


def validate_file_text(text: str) -> Violation | None:
    """Return the violation of a file's text, if any; it may contain line breaks."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return Violation("is not valid Unicode", "Save it as UTF-8.")
    if "\0" in text:
        return Violation("contains a NUL character", "Remove it.")
    if size > MAX_FILE_SIZE:
        hint = f"At most {MAX_FILE_SIZE} fit into an environment variable."
        return Violation(f"has {size} bytes", hint)
    return None


def validate_not_reserved(name: str) -> Violation | None:
    """Return a violation if the platform, container runtime or shell uses ``name`` itself."""
    if name in _RESERVED_NAMES or name.startswith(_RESERVED_PREFIXES):
        return Violation(
            "is a name that the platform or the shell uses itself", "Choose another name."
        )
    return None


def validate_name(name: str) -> Violation | None:
    """Return a violation if a parameter may not be called ``name``."""
    if not re.fullmatch(ENV_NAME, name, re.ASCII):
        return Violation("is not a name for an environment variable", "Use letters, digits and _.")
    return validate_not_reserved(name)


_file_name = matches(
    r"[A-Za-z0-9_-][A-Za-z0-9._-]*", "a plain file name", "Name a file beside the template."
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """Declaration of a parameter. Bounds are inclusive; for text they count characters.

    With ``env`` the job gets a variable of the parameter's name. A ``secret`` is never shown.
    An ``optional`` URL may be empty: a ``job.input`` or ``job.output`` with its placeholder is then
    left out.
    """

    type: Annotated[str, one_of("integer", "text", "url")] = "text"
    source: Annotated[str | None, Key("from"), one_of(*SOURCES)] = None
    default: object = None
    file: Annotated[str | None, _file_name] = None
    minimum: int | None = None
    maximum: int | None = None
    secret: bool = False
    optional: bool = False
    env: bool = True

    @property
    def is_free_text(self) -> bool:
        """Return whether it is a member's or a file's text: for environment values only."""
        return self.source in USER_TEXT_SOURCES or self.file is not None

    def check(self) -> Violation | None:
        """Return the first violated rule of the declaration, if any."""
        return first_violation((self._check_source(), self._check_bounds(), self._check_default()))

    def _check_source(self) -> Violation | None:
        if [self.source, self.default, self.file].count(None) != 2:
            return Violation("must have one of from, default and file", "Keep one of the three.")
        if self.source in _SECRET_SOURCES and not self.secret:
            return Violation(f"takes {self.source} but is not secret", "Add secret: true.")
        right = "text" if self.file else SOURCES.get(self.source or "", self.type)
        if self.type == right:
            return None
        what = self.source or "a file"
        return Violation(f"{what} is not of this type", f"Write type: {right}.", ("type",))

    def _check_bounds(self) -> Violation | None:
        if self.optional and self.type != "url":
            hint = "Remove it: a text may be empty, a number needs a value."
            return Violation("is not a URL", hint, ("optional",))
        if (self.type == "url" or self.file) and (self.minimum, self.maximum) != (None, None):
            return Violation(
                "cannot have bounds: it is not a number", "Remove minimum and maximum."
            )
        if self.type == "text":
            for key, bound, lowest in (("minimum", self.minimum, 0), ("maximum", self.maximum, 1)):
                violation = None if bound is None else between(lowest, MAX_VALUE_LENGTH)(bound)
                if violation:
                    return Violation(violation.problem, violation.hint, (key,))
        if self.minimum is None or self.maximum is None or self.minimum <= self.maximum:
            return None
        return Violation("has a minimum above its maximum", "Swap the two.")

    def _check_default(self) -> Violation | None:
        if self.default is None:
            return None
        violation = self.validate(self.default)
        return violation and Violation(violation.problem, violation.hint, ("default",))

    def validate(self, value: object) -> Violation | None:
        """Return the violation of a value, if any; it never quotes the value's text."""
        if self.type == "integer":
            if type(value) is not int:
                return Violation("must be a whole number", "Write it without quotes.")
            return self._check_range(value, str(value))
        if not isinstance(value, str):
            return Violation("must be text", "Put it in quotes.")
        if self.type == "url":
            if not value and self.optional:
                return None
            if not value:
                return Violation("has no address", "Use this template for jobs that have one.")
            hint = "Write http://, https:// or file:// and what follows, without spaces."
            return None if _URL.fullmatch(value) else Violation("is not a URL", hint)
        if any(unicodedata.category(character) in _FORBIDDEN_CATEGORIES for character in value):
            return Violation("contains a line break or another control character", "Remove it.")
        return self._check_range(len(value), f"text of {len(value)} characters")

    def _check_range(self, measure: int, what: str) -> Violation | None:
        maximum = MAX_VALUE_LENGTH if self.type == "text" and self.maximum is None else self.maximum
        if self.minimum is not None and measure < self.minimum:
            return Violation(f"{what} is below the minimum", f"At least {self.minimum} is needed.")
        if maximum is not None and measure > maximum:
            return Violation(f"{what} is above the maximum", f"At most {maximum} is allowed.")
        return None

    def examples(self) -> tuple[Value, Value]:
        """Return a small and a large allowed value, for a trial."""
        if isinstance(self.default, int | str):
            return self.default, self.default
        if self.type == "url":
            return "" if self.optional else "https://example.org", "https://example.org"
        if self.type == "text":
            text = "x" * max(1, self.minimum or 0)
            return text, text
        low = 1 if self.minimum is None else self.minimum
        high = low if self.maximum is None else self.maximum
        return min(low, high), high


_CONSTANT_KEYS = frozenset({"command", "if", "key"})
_TRANSFER_KEYS = frozenset({"input", "output"})


def validate_placeholders(job: object, parameters: Mapping[str, Parameter]) -> None:
    """Raise WorkflowError unless each placeholder names a parameter that is allowed there."""
    used = set()
    for where, placeholder, key in _iter_placeholders(job, ("job",)):
        name = placeholder.name
        parameter = parameters.get(name)
        if parameter is None:
            problem = f"there is no parameter {name}"
            raise schema_error(where, Violation(problem, suggest_name(name, parameters)))
        if violation := _validate_position(name, parameter, where, key):
            raise schema_error(where, violation)
        used.add(name)
    for name, parameter in parameters.items():
        if not parameter.env and name not in used:
            hint = f"Remove it or env: false, or write !param {name} somewhere in the job."
            raise schema_error(("parameters", name), Violation("is not used", hint))


def substitute(
    job: object, values: Mapping[str, Value], parameters: Mapping[str, Parameter]
) -> object:
    """Replace placeholders by values: text in the environment, else of the parameter's type.

    ``input`` and ``output`` are left out if an optional parameter in them has no value.
    """
    absent = {name for name, item in parameters.items() if item.optional and not values[name]}
    if isinstance(job, dict):
        job = {
            key: part
            for key, part in job.items()
            if key not in _TRANSFER_KEYS
            or absent.isdisjoint(item.name for _, item, _ in _iter_placeholders(part, (key,)))
        }
    return _substitute_part(job, (), values)


def _in_env(where: Path) -> bool:
    """Return whether a path is that of an environment value, ``….env[0].value``."""
    match where:
        case (*_, "env" | "args", int(), "value"):
            return True
    return False


def _iter_placeholders(
    part: object, where: Path, key: object = None
) -> Iterator[tuple[Path, Placeholder, object]]:
    """Yield every placeholder, its path, and the ``key`` beside an environment value."""
    match part:
        case Placeholder():
            yield where, part, key
        case dict():
            for name, item in part.items():
                yield from _iter_placeholders(item, (*where, name), part.get("key"))
        case tuple():
            for position, item in enumerate(part):
                yield from _iter_placeholders(item, (*where, position))


def _validate_position(
    name: str, parameter: Parameter, where: Path, key: object
) -> Violation | None:
    if where[-1] in _CONSTANT_KEYS:
        problem = "a parameter is not allowed in a command or a variable's name"
        return Violation(problem, f'Use the environment variable instead: "${name}".')
    if _in_env(where):
        if parameter.secret and key != name:
            return Violation("a secret must keep its name", f"Write key: {name} beside it.")
        return validate_not_reserved(str(key))
    if parameter.secret:
        return Violation("a secret is only allowed in environment values", "Remove it here.")
    if parameter.optional and _TRANSFER_KEYS.isdisjoint(where[1:2]):
        problem = "an optional parameter is only allowed in input, output and environment values"
        return Violation(problem, "Remove it here, or optional: true.")
    if parameter.is_free_text:
        return Violation("free text is only allowed in environment values", "Remove it here.")
    return None


def _substitute_part(part: object, where: Path, values: Mapping[str, Value]) -> object:
    match part:
        case Placeholder(name):
            # Environment values are text; all others have the parameter's type.
            return str(values[name]) if _in_env(where) else values[name]
        case dict():
            return {
                key: _substitute_part(item, (*where, key), values) for key, item in part.items()
            }
        case tuple():
            return [_substitute_part(item, (*where, at), values) for at, item in enumerate(part)]
    return part
