"""Merge a TOML file and environment variables into one tree of values with their origins.

Precedence, lowest first: the file, ``GRIDBRUSH_<SECTION>__<KEY>``, the aliases such as
``DISCORD_TOKEN``. Unknown names are reported here, with the nearest known name. The environment is
an argument: ``os.environ`` is never read.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias, TypeGuard, TypeVar, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsError

from bot.domain.errors import ConfigError
from bot.settings.models import BackendSection
from bot.settings.types import looks_like_private_key

KeyPath: TypeAlias = tuple[str, ...]

PREFIX = "GRIDBRUSH_"
DELIMITER = "__"


MODELS: KeyPath = ("models",)
"""The table of which each entry is a section of its own."""


def quoted(text: str) -> str:
    """Format ``text`` as a TOML basic string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def key_name(trail: KeyPath) -> str:
    """Format a key as in the file: ``[backend.local] tasks``, ``[queue]``."""
    if len(trail) < 2 or trail[:-1] == MODELS:
        return f"[{'.'.join(trail)}]"
    return f"[{'.'.join(trail[:-1])}] {trail[-1]}"


def variable_name(trail: KeyPath) -> str:
    """Return the environment variable of a key, such as ``GRIDBRUSH_BACKEND__LOCAL__TASKS``."""
    return PREFIX + DELIMITER.join(trail).upper()


@dataclass(frozen=True, slots=True)
class TomlDocument:
    """A parsed configuration file; ``name`` is as the operator gave it."""

    name: str
    text: str = field(repr=False)
    values: Mapping[str, object] = field(repr=False)

    def holds(self, trail: KeyPath) -> bool:
        """Return whether the file sets this value."""
        return _holds(self.values, trail)

    def value(self, trail: KeyPath) -> object:
        """Return the value that the file sets, None if it sets none."""
        found: object = self.values
        for name in trail:
            found = found.get(name) if isinstance(found, Mapping) else None
        return found

    def line(self, trail: KeyPath) -> int | None:
        """Return the line number (from 1) of the value, None if it cannot be found.

        It is the line that makes the value appear when the file is parsed up to there. This works
        for dotted keys, inline tables and multi-line strings.
        """
        lines = re.split(r"(?<=\n)", self.text)
        for start, line in enumerate(lines):
            if trail[-1] not in line:
                continue
            before = _parse(lines[:start])
            if before is None or _holds(before, trail):
                continue  # inside a value that began earlier, or the key is spelt with escapes
            ends = range(start + 1, len(lines) + 1)
            end = next((end for end in ends if _parse(lines[start:end]) is not None), start)
            if _holds(_parse(lines[:end]), trail):
                return start + 1
        return None


@dataclass(frozen=True, slots=True)
class ValueOrigins:
    """Which variable set which value, and the file; variables win."""

    variables: Mapping[KeyPath, str]
    document: TomlDocument | None = None

    def variable(self, trail: KeyPath) -> str | None:
        """Return the variable that set this value or, as JSON, the table that contains it."""
        for length in range(len(trail), 0, -1):
            if trail[:length] in self.variables:
                return self.variables[trail[:length]]
        return None

    def source(self, trail: KeyPath) -> str:
        """Return the source of a value: ``DISCORD_TOKEN``, ``config.toml:12``, or ``default``."""
        variable = self.variable(trail)
        if variable is not None:
            return variable
        if self.document is not None and self.document.holds(trail):
            line = self.document.line(trail)
            return self.document.name if line is None else f"{self.document.name}:{line}"
        return "default"

    def where(self, trail: KeyPath) -> str:
        """Return the location for an error: the variable, or file, line, section and key."""
        source = self.source(trail)
        if source == "default":
            return key_name(trail)
        # A variable names its key, unless it holds a whole section as JSON.
        if self.variable(trail) and source.upper().endswith(f"_{trail[-1].upper()}"):
            return source
        return f"{source}: {key_name(trail)}"


def _holds(values: object, trail: KeyPath) -> bool:
    for name in trail:
        if not isinstance(values, Mapping) or name not in values:
            return False
        values = values[name]
    return True


def _parse(lines: list[str]) -> dict[str, object] | None:
    try:
        return tomllib.loads("".join(lines))
    except tomllib.TOMLDecodeError:
        return None


ENV_ALIASES: Mapping[str, KeyPath] = {
    "DISCORD_TOKEN": ("discord", "token"),
    "DISCORD_API_BASE": ("discord", "api_base"),
    "DISCORD_GATEWAY_URL": ("discord", "gateway_url"),
    "DEEPSQUARE_PRIVATE_KEY": ("backend", "deepsquare", "private_key"),
}

# Kubernetes tells every container about every service in this way; a service that is called
# gridbrush would otherwise keep the bot from starting.
_SERVICE_LINK = re.compile(
    r"GRIDBRUSH(_[A-Z0-9]+)*_(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)"
    r"|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)


class _Variable(EnvSettingsSource):
    """One environment variable as a nested dictionary, lists and tables decoded from JSON."""

    def __init__(self, model: type[BaseSettings], name: str, text: str) -> None:
        self._only = {name.lower(): text}
        super().__init__(model, env_prefix=PREFIX.lower(), env_nested_delimiter=DELIMITER)

    # The base class asks os.environ here, and offers no public way to give it something else.
    def _load_env_vars(self) -> Mapping[str, str | None]:
        return self._only


def load_toml(path: Path, name: str) -> TomlDocument:
    """Read and parse the file at ``path``. Raises ConfigError if it is unreadable or not TOML."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        hint = "Copy config.example.toml there, or start without --config to use the defaults."
        problem = f"the file cannot be read ({error.strerror or type(error).__name__})"
        raise ConfigError(name, problem, hint) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{name}:{line}", "this is not UTF-8", "Save it as UTF-8.") from None
    try:
        return TomlDocument(name, text, tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        # "(at line 3, column 9)"; at the very end of the file tomllib gives no numbers.
        problem, _, place = str(error).partition(" (at ")
        numbers = re.findall(r"[0-9]+", place) or [str(text.count("\n") + 1)]
        where = ":".join([name, *numbers])
        hint = 'Texts stand in "quotes", lists in [brackets], and each key once on its own line.'
        problem = problem[:1].lower() + problem[1:]
        raise ConfigError(where, f"this is not TOML: {problem}", hint) from None


def merge_sources(
    model: type[BaseSettings], document: TomlDocument | None, environ: Mapping[str, str]
) -> tuple[dict[str, Any], ValueOrigins, tuple[ConfigError, ...]]:
    """Return the values that ``model`` knows, their origins, and an error per unknown name."""
    values = _merge({}, document.values) if document else {}
    variables: dict[KeyPath, str] = {}
    problems: list[ConfigError] = []
    for name in sorted(name for name in environ if name.upper().startswith(PREFIX)):
        if _SERVICE_LINK.fullmatch(name):
            continue
        try:
            found = _Variable(model, name, environ[name])()
        except SettingsError:
            problems.append(_json_error(name))
            continue
        if not found:
            problems.append(_unknown_variable_error(model, name))
        for trail, value in _leaves(found):
            if len(trail) == 1:
                problems.append(_json_error(name))
                continue
            values = _merge(values, _nested(trail, value))
            variables[trail] = name
    for name, trail in ENV_ALIASES.items():
        # Empty is how Compose files pass on a variable that is not set.
        if environ.get(name):
            values = _merge(values, _nested(trail, environ[name]))
            variables[trail] = name
    origins = ValueOrigins(variables, document)
    for trail in tuple(_unknown_keys(values, model)):
        _remove(values, trail)
        problems.append(_unknown_key_error(model, trail, origins))
    return values, origins, tuple(problems)


def keys(model: type[BaseModel], above: KeyPath = ()) -> Iterator[KeyPath]:
    """Yield the path of every key of ``model`` and its sections, in order; none of tables."""
    for name, info in model.model_fields.items():
        if is_section(info.annotation):
            yield from keys(info.annotation, (*above, name))
        elif section_table(info.annotation) is None:
            yield (*above, name)


def is_section(annotation: object) -> TypeGuard[type[BaseModel]]:
    """Return whether a field of this type is a table with its own keys."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def section_table(annotation: object) -> type[BaseModel] | None:
    """Return the type of the sections in a table of sections, ``[models.<id>]``; else None."""
    arguments = get_args(annotation)
    if get_origin(annotation) is dict and is_section(arguments[-1]):
        return arguments[-1]
    return None


def section_of(model: type[BaseModel], trail: KeyPath) -> type[BaseModel]:
    """Return the deepest section along ``trail``."""
    names = iter(trail)
    for name in names:
        info = model.model_fields.get(name)
        annotation = None if info is None else info.annotation
        section = section_table(annotation)
        if section is not None:
            next(names, None)  # the name of the section in the table
        elif is_section(annotation):
            section = annotation
        else:
            break
        model = section
    return model


def set_keys(section: BaseModel, above: KeyPath = ()) -> Iterator[KeyPath]:
    """Yield the path of every key of ``section``, with those of the tables that it holds."""
    for name in type(section).model_fields:
        value, trail = getattr(section, name), (*above, name)
        if isinstance(value, BaseModel):
            yield from set_keys(value, trail)
        elif section_table(type(section).model_fields[name].annotation):
            for id, entry in value.items():
                yield from set_keys(entry, (*trail, id))
        else:
            yield trail


def _nested(trail: KeyPath, value: object) -> dict[str, Any]:
    for name in reversed(trail):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge ``above`` over ``below``, table by table; the result shares no table with either."""
    result = dict(below)
    for name, value in above.items():
        if isinstance(value, Mapping):
            under = result.get(name)
            result[name] = _merge(under if isinstance(under, Mapping) else {}, value)
        else:
            result[name] = value
    return result


def _leaves(values: Mapping[str, Any], above: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (*above, name))
        else:
            yield (*above, name), value


def _unknown_keys(
    values: Mapping[str, Any], model: type[BaseModel], above: KeyPath = ()
) -> Iterator[KeyPath]:
    for name, value in values.items():
        info = model.model_fields.get(name)
        if info is None:
            yield (*above, name)
        elif not isinstance(value, Mapping):
            continue  # pydantic says what it must be
        elif is_section(info.annotation):
            yield from _unknown_keys(value, info.annotation, (*above, name))
        elif (section := section_table(info.annotation)) is not None:
            for id, entry in value.items():
                if isinstance(entry, Mapping):
                    yield from _unknown_keys(entry, section, (*above, name, id))


def _remove(values: dict[str, Any], trail: KeyPath) -> None:
    for name in trail[:-1]:
        values = values[name]
    del values[trail[-1]]


def _json_error(name: str) -> ConfigError:
    hint = 'Write a list as ["one", "two"], a table as {"key": "value"}, as JSON does.'
    return ConfigError(name, "holds no list or table that can be read", hint)


def _unknown_variable_error(model: type[BaseModel], name: str) -> ConfigError:
    known = {variable_name(trail).removeprefix(PREFIX): trail for trail in keys(model)}
    nearest = difflib.get_close_matches(name.upper().removeprefix(PREFIX), known, n=1)
    if nearest:
        hint = f"Did you mean {PREFIX}{nearest[0]}?"
    else:
        hint = f"Names are like {PREFIX}QUEUE__RUNNING, for [queue] running."
    return ConfigError(name, "there is no such setting", hint)


def _unknown_key_error(
    model: type[BaseModel], trail: KeyPath, origins: ValueOrigins
) -> ConfigError:
    """Return the error for an unknown key, with the nearest known key, its section first."""
    where = origins.where(trail)
    if where == origins.variable(trail):
        return _unknown_variable_error(model, where)
    *above, name = trail
    section = section_of(model, trail)
    nearest = difflib.get_close_matches(name.lower(), section.model_fields, n=1)
    known = [(*above, *nearest)] if nearest else []
    known += [known for known in keys(model) if known[-1] == name.lower()]
    if known:
        hint = f"Did you mean {_format_key(model, known[0])}?"
    else:
        hint = f"There are {', '.join(section.model_fields)}."
    problem = "there is no such key" if above else "there is no such section"
    return ConfigError(where, problem, hint)


def _format_key(model: type[BaseModel], trail: KeyPath) -> str:
    """Format a key or section: ``[queue]`` or ``[queue] running``."""
    *above, name = trail
    is_table = is_section(section_of(model, tuple(above)).model_fields[name].annotation)
    return f"[{'.'.join(trail)}]" if is_table else key_name(trail)


PRIVATE_KEY: KeyPath = ("backend", "deepsquare", "private_key")
PRIVATE_KEY_FILE: KeyPath = ("backend", "deepsquare", "private_key_file")

_PACKAGE = Path(__file__).resolve().parents[1]
# An installed bot carries its templates inside the package; a checkout has them beside it.
_TEMPLATES = (_PACKAGE / "workflow_templates", _PACKAGE.parent / "workflow_templates")

_Model = TypeVar("_Model", bound=BaseModel)


def resolve_paths(model: _Model, base: Path, home: str | None) -> _Model:
    """Resolve every relative path in a section against ``base``, and ``~`` against ``home``."""
    updates: dict[str, object] = {}
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            updates[name] = resolve_paths(value, base, home)
        elif isinstance(value, Path):
            updates[name] = _resolve(value, base, home)
        elif isinstance(value, dict):
            updates[name] = {key: _resolve_entry(entry, base, home) for key, entry in value.items()}
    return model.model_copy(update=updates)


def _resolve_entry(value: object, base: Path, home: str | None) -> object:
    if isinstance(value, BaseModel):
        return resolve_paths(value, base, home)
    return _resolve(value, base, home) if isinstance(value, Path) else value


def _resolve(path: Path, base: Path, home: str | None) -> Path:
    at_home = path.parts[:1] == ("~",)
    return Path(home, *path.parts[1:]) if home and at_home else base / path


def template_file(name: str, base: Path, where: str) -> Path:
    """Return the packaged template of this name, or the file at this path (from ``base``).

    A path ends in ``.yaml`` or ``.yml`` or contains a slash. Raises ConfigError at ``where``.
    """
    if "/" in name or name.endswith((".yaml", ".yml")):
        places = [base / name]
    else:
        places = [folder / f"{name}.yaml" for folder in _TEMPLATES]
    for place in places:
        if place.is_file():
            return place
    known = sorted({path.stem for folder in _TEMPLATES for path in folder.glob("*.yaml")})
    hint = f"Write the path of a .yaml file, or one of these names: {', '.join(known)}."
    raise ConfigError(where, f"there is no file {places[-1]}", hint)


def with_private_key(
    backend: BackendSection, origins: ValueOrigins
) -> tuple[BackendSection, ValueOrigins]:
    """Read the private key from ``private_key_file``, if set, into the section.

    If the key itself is set, too, the one from the environment wins. Raises ConfigError for two
    keys from the same source, an unreadable file, or a file that others may read.
    """
    path = backend.deepsquare.private_key_file
    if path is None:
        return backend, origins
    where = origins.where(PRIVATE_KEY_FILE)
    if backend.deepsquare.private_key:
        key_wins = origins.variable(PRIVATE_KEY) is not None
        if key_wins == (origins.variable(PRIVATE_KEY_FILE) is not None):
            problem = "the key is given a second time by private_key"
            raise ConfigError(where, problem, "Remove one of the two.")
        if key_wins:
            return backend, origins
    key = SecretStr(_read_private_key(path, where))
    section = backend.deepsquare.model_copy(update={"private_key": key})
    origins = replace(origins, variables={**origins.variables, PRIVATE_KEY: str(path)})
    return backend.model_copy(update={"deepsquare": section}), origins


def refuse_open_file(path: Path, document: TomlDocument, secrets: Iterable[KeyPath]) -> None:
    """Raise ConfigError if the configuration file holds a secret and others may read or write it.

    ``secrets`` are the keys whose values are secret, wherever they were set.
    """
    held = [trail for trail in secrets if document.value(trail)]
    mode = path.stat().st_mode
    if held and mode & 0o077:
        problem = f"it holds {key_name(held[0])} and is open to other users"
        hint = f"Run: chmod 600 {path}, or give the secret by an environment variable."
        raise ConfigError(document.name, f"{problem} (mode {mode & 0o777:04o})", hint)


def _read_private_key(path: Path, where: str) -> str:
    try:
        mode = path.stat().st_mode
        text = path.read_text("ascii", "replace").strip()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        hint = "Correct the path, or let the bot's own user read the file."
        raise ConfigError(where, f"{path} cannot be read ({reason})", hint) from None
    if mode & 0o077:
        problem = f"{path} is open to other users (mode {mode & 0o777:04o})"
        raise ConfigError(where, problem, f"Run: chmod 600 {path}")
    if not looks_like_private_key(text):
        hint = "It must hold 0x and 64 hexadecimal digits, and nothing else."
        raise ConfigError(where, f"{path} holds no private key", hint)
    return text
