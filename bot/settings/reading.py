"""Bring a TOML file and environment variables into one tree of values, knowing where each is from.

Precedence, lowest first: the file, ``GRIDBRUSH_<SECTION>__<KEY>``, the well-known names. What the
values mean is left to the models; only names that no model has are sorted out here, with the
nearest name that there is. The environment is an argument: ``os.environ`` is never asked.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

from pydantic import BaseModel
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsError

from bot.domain.errors import ConfigError
from bot.settings.origins import (
    DELIMITER,
    PREFIX,
    KeyPath,
    TomlDocument,
    ValueOrigins,
    key_name,
    variable_name,
)

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
    """The file at ``path``; ConfigError if it cannot be read or is not TOML."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        mend = "Copy config.example.toml there, or start without --config to use the defaults."
        problem = f"the file cannot be read ({error.strerror or type(error).__name__})"
        raise ConfigError(name, problem, mend) from None
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
        mend = 'Texts stand in "quotes", lists in [brackets], and each key once on its own line.'
        problem = problem[:1].lower() + problem[1:]
        raise ConfigError(where, f"this is not TOML: {problem}", mend) from None


def merge_sources(
    model: type[BaseSettings], document: TomlDocument | None, environ: Mapping[str, str]
) -> tuple[dict[str, Any], ValueOrigins, tuple[ConfigError, ...]]:
    """All values that ``model`` knows, their origins, and every name that it does not know."""
    values = _merged({}, document.values) if document else {}
    variables: dict[KeyPath, str] = {}
    problems: list[ConfigError] = []
    for name in sorted(name for name in environ if name.upper().startswith(PREFIX)):
        if _SERVICE_LINK.fullmatch(name):
            continue
        try:
            found = _Variable(model, name, environ[name])()
        except SettingsError:
            problems.append(_no_json(name))
            continue
        if not found:
            problems.append(_unknown_variable(model, name))
        for trail, value in _leaves(found):
            if len(trail) == 1:
                problems.append(_no_json(name))
                continue
            values = _merged(values, _nested(trail, value))
            variables[trail] = name
    for name, trail in ENV_ALIASES.items():
        # Empty is how Compose files pass on a variable that is not set.
        if environ.get(name):
            values = _merged(values, _nested(trail, environ[name]))
            variables[trail] = name
    origins = ValueOrigins(variables, document)
    for trail in tuple(_strays(values, model)):
        _remove(values, trail)
        problems.append(_stray(model, trail, origins))
    return values, origins, tuple(problems)


def keys(model: type[BaseModel], above: KeyPath = ()) -> Iterator[KeyPath]:
    """The trail of every key that ``model`` and its sections have, in their order."""
    for name, info in model.model_fields.items():
        if is_section(info.annotation):
            yield from keys(info.annotation, (*above, name))
        else:
            yield (*above, name)


def is_section(annotation: object) -> TypeGuard[type[BaseModel]]:
    """Whether the field of this type is a table with keys of its own."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def section_of(model: type[BaseModel], trail: KeyPath) -> type[BaseModel]:
    """The deepest section on the way along ``trail``."""
    for name in trail:
        info = model.model_fields.get(name)
        if info is None or not is_section(info.annotation):
            break
        model = info.annotation
    return model


def _nested(trail: KeyPath, value: object) -> dict[str, Any]:
    for name in reversed(trail):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``below`` with ``above`` laid over it, table by table; shares no table with either."""
    result = dict(below)
    for name, value in above.items():
        if isinstance(value, Mapping):
            under = result.get(name)
            value = _merged(under if isinstance(under, Mapping) else {}, value)
        result[name] = value
    return result


def _leaves(values: Mapping[str, Any], above: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (*above, name))
        else:
            yield (*above, name), value


def _strays(
    values: Mapping[str, Any], model: type[BaseModel], above: KeyPath = ()
) -> Iterator[KeyPath]:
    for name, value in values.items():
        info = model.model_fields.get(name)
        if info is None:
            yield (*above, name)
        elif is_section(info.annotation) and isinstance(value, Mapping):
            yield from _strays(value, info.annotation, (*above, name))


def _remove(values: dict[str, Any], trail: KeyPath) -> None:
    for name in trail[:-1]:
        values = values[name]
    del values[trail[-1]]


def _no_json(name: str) -> ConfigError:
    mend = 'Write a list as ["one", "two"], a table as {"key": "value"}, as JSON does.'
    return ConfigError(name, "holds no list or table that can be read", mend)


def _unknown_variable(model: type[BaseModel], name: str) -> ConfigError:
    known = {variable_name(trail).removeprefix(PREFIX): trail for trail in keys(model)}
    nearest = difflib.get_close_matches(name.upper().removeprefix(PREFIX), known, n=1)
    if nearest:
        mend = f"Did you mean {PREFIX}{nearest[0]}?"
    else:
        mend = f"Names are like {PREFIX}QUEUE__RUNNING, for [queue] running."
    return ConfigError(name, "there is no such setting", mend)


def _stray(model: type[BaseModel], trail: KeyPath, origins: ValueOrigins) -> ConfigError:
    """An unknown key: say which known one is nearest, first among its neighbours."""
    where = origins.where(trail)
    if where == origins.variable(trail):
        return _unknown_variable(model, where)
    *above, name = trail
    section = section_of(model, trail)
    nearest = difflib.get_close_matches(name.lower(), section.model_fields, n=1)
    known = [(*above, *nearest)] if nearest else []
    known += [known for known in keys(model) if known[-1] == name.lower()]
    if known:
        mend = f"Did you mean {_spelling(model, known[0])}?"
    else:
        mend = f"There are {', '.join(section.model_fields)}."
    problem = "there is no such key" if above else "there is no such section"
    return ConfigError(where, problem, mend)


def _spelling(model: type[BaseModel], trail: KeyPath) -> str:
    """``[queue]`` or ``[queue] running``."""
    *above, name = trail
    is_table = is_section(section_of(model, tuple(above)).model_fields[name].annotation)
    return f"[{'.'.join(trail)}]" if is_table else key_name(trail)
