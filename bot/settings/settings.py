"""Combine all sections, load them, and derive what other packages need from them.

The environment is an argument: ``os.environ`` is never read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bot.domain.errors import ConfigError
from bot.domain.image_engine import UNKNOWN, EngineInfo
from bot.domain.quota import Quota
from bot.domain.request import RequestLimits
from bot.settings.errors import MASK, to_config_errors, toml
from bot.settings.image_check import ImageCheckSection
from bot.settings.model_checks import (
    check_models,
    engine_section,
    offered_models,
    server_engines,
    why_unusable,
)
from bot.settings.model_table import ModelSection, check_model_ids
from bot.settings.models import (
    BackendSection,
    DataSection,
    DeliverySection,
    DiscordSection,
    ImagineSection,
    LocalSection,
    LogSection,
    MetricsSection,
    PicturesSection,
    QueueSection,
    QuotaSection,
    SlurmSection,
    SpendingSection,
)
from bot.settings.sources import (
    PRIVATE_KEY,
    KeyPath,
    ValueOrigins,
    load_toml,
    merge_sources,
    refuse_open_file,
    resolve_paths,
    set_keys,
    template_file,
    with_private_key,
)
from bot.settings.types import split_affinity, split_label

DEFAULT_FILE = "config.toml"


@dataclass(frozen=True, slots=True)
class EffectiveSetting:
    """One effective setting: ``value`` as TOML writes it, secrets masked.

    ``source`` is ``default``, the variable that set it, or the file and line.
    """

    section: str
    key: str
    value: str
    source: str


@dataclass(frozen=True, slots=True)
class BackendOptions(Mapping[str, object]):
    """Plain values for ``open(options)`` of the chosen backend; its repr hides secrets."""

    values_by_key: Mapping[str, object] = field(repr=False)
    secret: frozenset[str] = frozenset()

    def __getitem__(self, key: str) -> object:
        return self.values_by_key[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_by_key)

    def __len__(self) -> int:
        return len(self.values_by_key)

    def __repr__(self) -> str:
        shown = {key: MASK if key in self.secret else self[key] for key in self}
        return f"BackendOptions({shown})"


class Settings(BaseSettings):
    """All sections; frozen. Relative paths are already resolved when they come from ``load``."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    discord: DiscordSection = DiscordSection()
    data: DataSection = DataSection()
    imagine: ImagineSection = ImagineSection()
    queue: QueueSection = QueueSection()
    quota: QuotaSection = QuotaSection()
    spending: SpendingSection = SpendingSection()
    delivery: DeliverySection = DeliverySection()
    image_check: ImageCheckSection = ImageCheckSection()
    backend: BackendSection = BackendSection()
    metrics: MetricsSection = MetricsSection()
    pictures: PicturesSection = PicturesSection()
    log: LogSection = LogSection()
    models: dict[str, ModelSection] = Field(default_factory=dict)

    _origins: ValueOrigins = PrivateAttr(default=ValueOrigins({}))
    _base: Path = PrivateAttr(default=Path())

    @field_validator("models")
    @classmethod
    def _check_models(cls, models: dict[str, ModelSection]) -> dict[str, ModelSection]:
        return check_model_ids(models)

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], *args: Any, **sources: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use only what ``load`` has merged, not this process's environment."""
        return (sources["init_settings"],)

    @classmethod
    def load(
        cls, path: Path | None, environ: Mapping[str, str], base: Path | None = None
    ) -> Settings:
        """Load the settings from file and environment; the environment wins.

        ``path`` must exist if given. Without it ``config.toml`` in ``base`` (by default the current
        folder) is read if it exists. Relative paths in settings start at the file's folder, or at
        ``base``. Raises ConfigError for the first problem.
        """
        settings, problems = cls.validate_files(path, environ, base)
        if settings is None:
            raise problems[0]
        return settings

    @classmethod
    def validate_files(
        cls, path: Path | None, environ: Mapping[str, str], base: Path | None = None
    ) -> tuple[Settings | None, tuple[ConfigError, ...]]:
        """Load like ``load``, but return every problem; settings are None if there is any."""
        folder = base or Path.cwd()
        name = str(path or DEFAULT_FILE)
        place = folder / name
        document = None
        if path is not None or os.path.lexists(place):
            try:
                document = load_toml(place, name)
            except ConfigError as error:
                return None, (error,)
            folder = place.parent
        values, origins, problems = merge_sources(cls, document, environ)
        try:
            settings = cls(**values)
        except ValidationError as error:
            return None, (*problems, *to_config_errors(error, cls, origins))
        if problems:
            return None, problems
        if problems := check_models(settings.imagine, settings.models, settings.backend, origins):
            return None, problems
        settings = resolve_paths(settings, folder, environ.get("HOME"))
        try:
            if document is not None:
                refuse_open_file(place, document, settings._secret_keys())
            backend, origins = with_private_key(settings.backend, origins)
        except ConfigError as error:
            return None, (error,)
        settings = settings.model_copy(update={"backend": backend})
        settings._origins = origins
        settings._base = folder
        return settings, ()

    def missing_values(self, *, discord: bool) -> tuple[ConfigError, ...]:
        """Return an error for each required value that is not set, for the chosen backend.

        With ``discord`` also for what Discord requires.
        """
        backend = self.backend
        needs: list[tuple[bool, KeyPath, str]] = [
            (
                discord and not self.discord.token,
                ("discord", "token"),
                "Create a bot at https://discord.com/developers/applications, and put its token "
                "into the environment variable DISCORD_TOKEN.",
            ),
            (
                backend.kind == "deepsquare" and not backend.deepsquare.private_key,
                PRIVATE_KEY,
                "Put the wallet's private key into the environment variable "
                "DEEPSQUARE_PRIVATE_KEY, or its file's name into private_key_file.",
            ),
            (
                backend.kind == "slurm" and backend.slurm.shared_dir is None,
                ("backend", "slurm", "shared_dir"),
                "Name a folder that this machine and all nodes of the cluster see.",
            ),
            (
                backend.kind == "scripted" and backend.scripted.recording is None,
                ("backend", "scripted", "recording"),
                "Name the file of a recorded run.",
            ),
            (
                backend.kind == "local"
                and backend.local.engine == "diffusers"
                and not backend.local.model
                and not self.models,
                ("backend", "local", "model"),
                "Name the model's folder or its name on the hub, or set engine to auto.",
            ),
            (
                bool(server_engines(backend, self.models))
                and not engine_section(backend).server_urls,
                ("backend", backend.kind, "url"),
                "Write the image server's address, such as http://127.0.0.1:8188.",
            ),
        ]
        return tuple(
            ConfigError(self._origins.where(trail), "it is required, but not set", hint)
            for lacking, trail, hint in needs
            if lacking
        )

    def limits(
        self,
        *,
        negative: bool,
        img2img: bool = True,
        engine: EngineInfo = UNKNOWN,
        engines: Mapping[str, EngineInfo] | None = None,
    ) -> RequestLimits:
        """Return the limits of requests; ``negative``: the template takes negative prompts.

        ``img2img``: there is a template that starts from a picture.

        ``engine`` makes the images, ``engines`` those of models with another one.
        """
        imagine, unusable = self.imagine, self.unusable_models()
        table = {
            id: model.spec(id, (engines or {}).get(id) or model.engine_info(id, engine))
            for id, model in self.models.items()
            if id not in unusable
        }
        names = offered_models(imagine, table, self.models, self.backend)
        return RequestLimits(
            rows=imagine.rows,
            samples=imagine.samples,
            width=imagine.width,
            height=imagine.height,
            steps=imagine.steps,
            model=imagine.model if imagine.model in names or not table else names[0],
            max_rows=imagine.max_rows,
            max_samples=imagine.max_samples,
            max_steps=imagine.max_steps,
            max_pixels=imagine.max_pixels,
            max_prompt=imagine.max_prompt,
            max_permutations=imagine.max_permutations,
            models=names,
            styles=dict(imagine.styles),
            negative=negative,
            engine=engine,
            table={id: table[id] for id in names if id in table},
            img2img=img2img,
            strength=imagine.strength,
        )

    def unusable_models(self) -> Mapping[str, str]:
        """Return the models of the table that the chosen backend cannot use, and why."""
        reasons = {id: why_unusable(model, self.backend) for id, model in self.models.items()}
        return {id: reason for id, reason in reasons.items() if reason}

    def default_quota(self) -> Quota:
        """Return the quota of members without a quota rule."""
        return Quota(
            images=self.quota.images,
            window=self.quota.window,
            running=self.queue.running_per_user,
            waiting=self.queue.waiting_per_user,
        )

    def backend_options(self) -> BackendOptions:
        """Return the chosen backend's keys as plain values, plus ``data_dir`` for its files.

        ``models``, ``worker``, ``comfyui`` and ``a1111`` are in the form of txt2img's configuration
        file. DeepSquare's ``uses`` are pairs, its ``affinity`` triples, its ``private_key`` a str.
        """
        section = getattr(self.backend, self.backend.kind)
        options = {name: getattr(section, name) for name in type(section).model_fields}
        secret = {name for name, value in options.items() if isinstance(value, SecretStr)}
        options |= {name: options[name].get_secret_value() for name in secret}
        if isinstance(section, LocalSection | SlurmSection):
            servers = section.server_options(server_engines(self.backend, self.models))
            for name in ("url", "urls", "username", "password", "graphs"):
                del options[name]
            secret = set(servers) if section.password.get_secret_value() else set()
            options |= servers | {"worker": section.worker.to_json(), "models": self._json_models()}
        if self.backend.kind == "deepsquare":
            del options["private_key_file"]
            options["uses"] = tuple(split_label(text) for text in options["uses"])
            options["affinity"] = tuple(split_affinity(text) for text in options["affinity"])
        return BackendOptions(options | {"data_dir": self.data.dir}, frozenset(secret))

    def template_path(self, name: str) -> Path:
        """Return the file of a workflow template: a packaged one by name, or any by path.

        A path ends in ``.yaml`` or ``.yml`` or contains a slash. Raises ConfigError if there is no
        such file.
        """
        trails = tuple(("imagine", f"{kind}template") for kind in ("", "image_", "upscale_"))
        named = [trail for trail in trails if self._value(trail) == name]
        where = self._origins.where(named[0]) if named else f'the template "{name}"'
        return template_file(name, self._base, where)

    def secrets(self) -> tuple[str, ...]:
        """Return the values that must never be printed, for the log's redactor."""
        found = (self._value(trail) for trail in self._secret_keys())
        held = (value.get_secret_value() for value in found if isinstance(value, SecretStr))
        return tuple(text for text in held if text)

    def describe(self) -> tuple[EffectiveSetting, ...]:
        """Return every key with its effective value and source, for ``gridbrush check --show``."""
        return tuple(
            EffectiveSetting(
                ".".join(trail[:-1]),
                trail[-1],
                toml(self._value(trail)),
                self._origins.source(trail),
            )
            for trail in set_keys(self)
        )

    def _json_models(self) -> dict[str, object]:
        unusable = self.unusable_models()
        return {id: model.to_json() for id, model in self.models.items() if id not in unusable}

    def _secret_keys(self) -> tuple[KeyPath, ...]:
        return tuple(trail for trail in set_keys(self) if isinstance(self._value(trail), SecretStr))

    def _value(self, trail: KeyPath) -> object:
        value: object = self
        for name in trail:
            value = value[name] if isinstance(value, Mapping) else getattr(value, name)
        return value
