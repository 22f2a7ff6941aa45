"""What settings take from the file system beside config.toml: folders, templates, a wallet's key.

It looks at files and hands back settings or paths. What stands in a template is not known here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, SecretStr

from bot.domain.errors import ConfigError
from bot.settings.origins import KeyPath, TomlDocument, ValueOrigins, key_name
from bot.settings.sections import BackendSection
from bot.settings.values import looks_like_private_key

PRIVATE_KEY: KeyPath = ("backend", "deepsquare", "private_key")
PRIVATE_KEY_FILE: KeyPath = ("backend", "deepsquare", "private_key_file")

_PACKAGE = Path(__file__).resolve().parents[1]
# An installed bot carries its templates inside the package; a checkout has them beside it.
_TEMPLATES = (_PACKAGE / "workflow_templates", _PACKAGE.parent / "workflow_templates")

_Model = TypeVar("_Model", bound=BaseModel)


def resolve_paths(model: _Model, base: Path, home: str | None) -> _Model:
    """The same section with every relative path starting at ``base``, and ``~`` at ``home``."""
    updates: dict[str, object] = {}
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            updates[name] = resolve_paths(value, base, home)
        elif isinstance(value, Path):
            at_home = value.parts[:1] == ("~",)
            updates[name] = Path(home, *value.parts[1:]) if home and at_home else base / value
    return model.model_copy(update=updates)


def template_file(name: str, base: Path, where: str) -> Path:
    """The packaged template of this name, or the file at this path (from ``base``).

    A path ends in ``.yaml`` or ``.yml`` or holds a slash. Raises ConfigError at ``where``.
    """
    if "/" in name or name.endswith((".yaml", ".yml")):
        places = [base / name]
    else:
        places = [folder / f"{name}.yaml" for folder in _TEMPLATES]
    for place in places:
        if place.is_file():
            return place
    known = sorted({path.stem for folder in _TEMPLATES for path in folder.glob("*.yaml")})
    mend = f"Write the path of a .yaml file, or one of these names: {', '.join(known)}."
    raise ConfigError(where, f"there is no file {places[-1]}", mend)


def with_private_key(
    backend: BackendSection, origins: ValueOrigins
) -> tuple[BackendSection, ValueOrigins]:
    """The same with the private key that ``private_key_file`` holds, if it names a file.

    When the key itself is given too, the one from the environment wins; two from the same place,
    an unreadable file, or one that others may read, are a ConfigError.
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
    key = SecretStr(_private_key_in(path, where))
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
        mend = f"Run: chmod 600 {path}, or give the secret by an environment variable."
        raise ConfigError(document.name, f"{problem} (mode {mode & 0o777:04o})", mend)


def _private_key_in(path: Path, where: str) -> str:
    try:
        mode = path.stat().st_mode
        text = path.read_text("ascii", "replace").strip()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        mend = "Correct the path, or let the bot's own user read the file."
        raise ConfigError(where, f"{path} cannot be read ({reason})", mend) from None
    if mode & 0o077:
        problem = f"{path} is open to other users (mode {mode & 0o777:04o})"
        raise ConfigError(where, problem, f"Run: chmod 600 {path}")
    if not looks_like_private_key(text):
        mend = "It must hold 0x and 64 hexadecimal digits, and nothing else."
        raise ConfigError(where, f"{path} holds no private key", mend)
    return text
