"""Define one frozen model for each section of config.toml: keys, defaults and bounds.

A section validates only its own values; it reads no file and leaves relative paths as they are.
``config.example.toml`` explains each key to the operator; a test keeps the two in step.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from bot.domain.hosts import is_loopback
from bot.domain.init_image import DEFAULT_STRENGTH
from bot.domain.resources import DEFAULT_RESOURCES, ResourceRequest
from bot.domain.retention import RetentionLimits
from bot.settings.model_table import GRAPHS, SERVER_ENGINES, WorkerSection
from bot.settings.sections import Section
from bot.settings.types import (
    MAX_SNOWFLAKE,
    MODEL_ID,
    Address,
    Affinity,
    CreditBudget,
    Credits,
    Gigabytes,
    Label,
    Listen,
    MaybeServerUrl,
    MaybeWebUrl,
    MaybeWindow,
    OptionalPath,
    PrivateKey,
    Seconds,
    ServerUrl,
    SingleLine,
    SocketUrl,
    SpeedFactor,
    Strength,
    StrictInt,
    Token,
    TrustedHost,
    WebUrl,
    Window,
    split_address,
    validation_error,
)

_MAX_STYLE_CHARS = 400
# The workflow's text parameters hold 4000 characters; prompt, a comma and a style must fit.
_MAX_PROMPT_CHARS = 3500
# Discord takes 512 for a button's link; the path of a row has up to 140.
_MAX_PUBLIC_URL = 300

STYLES = {
    "watercolour": "delicate watercolour painting, soft washes, paper texture",
    "oil": "oil painting, visible brush strokes, rich colours, dramatic light",
    "ink": "ink drawing, fine line work, cross-hatching, black and white",
    "photo": "photograph, 50 mm lens, natural light, shallow depth of field",
    "anime": "anime illustration, clean lines, cel shading, vivid colours",
    "pixel": "pixel art, limited palette, 16-bit game scene",
    "woodcut": "woodblock print, flat colours, bold outlines, washi paper",
    "noir": "film noir still, high contrast, hard shadows, black and white",
}


class DiscordSection(Section):
    """``[discord]``: how the bot signs in, and where. Ids are snowflakes, 0 for none."""

    token: Token = SecretStr("")
    api_base: WebUrl = "https://discord.com/api/v10"
    gateway_url: SocketUrl = "wss://gateway.discord.gg/"
    guilds: tuple[StrictInt, ...] = ()
    moderator_role: StrictInt = Field(default=0, ge=0, le=MAX_SNOWFLAKE)

    @field_validator("guilds")
    @classmethod
    def _check_guilds(cls, guilds: tuple[int, ...]) -> tuple[int, ...]:
        if not all(0 < guild <= MAX_SNOWFLAKE for guild in guilds):
            hint = "Copy the server's id in Discord: developer mode, right click, Copy Server ID."
            raise validation_error("holds a number that is no server's id", hint)
        return guilds


class DataSection(Section):
    """``[data]``: the folder for the database and the results, and its backups.

    ``backup_every`` None is never; ``backup_keep`` counts scheduled backups only. ``keep_evidence``
    is how long reports, removed pictures and the entries of log channels are stored. Pictures are
    removed when they are older than ``keep`` (None: never), and beyond ``keep_gb`` (0: no limit).
    """

    dir: Path = Path("data")
    backup_every: MaybeWindow = timedelta(hours=24)
    backup_keep: StrictInt = Field(default=7, ge=1, le=10_000)
    keep_evidence: Window = timedelta(days=90)
    keep: MaybeWindow = None
    keep_gb: Gigabytes = 0.0

    def retention(self) -> RetentionLimits:
        """Return the limits for the pictures."""
        size = int(self.keep_gb * 1_000_000_000) if self.keep_gb else None
        return RetentionLimits(self.keep, size)


class ResourcesSection(Section):
    """``[imagine.resources]``: what one task, which makes one row, requests of the backend."""

    cpus_per_task: StrictInt = Field(default=DEFAULT_RESOURCES.cpus_per_task, ge=1, le=1024)
    memory_mb_per_task: StrictInt = Field(
        default=DEFAULT_RESOURCES.memory_mb_per_task, ge=256, le=4_000_000
    )
    gpus_per_task: StrictInt = Field(default=DEFAULT_RESOURCES.gpus_per_task, ge=0, le=16)

    def request(self) -> ResourceRequest:
        """Return the values for the workflow."""
        return ResourceRequest(self.cpus_per_task, self.memory_mb_per_task, self.gpus_per_task)


class ImagineSection(Section):
    """``[imagine]``: the defaults and limits of requests.

    ``template``, ``image_template`` and ``upscale_template`` are names of packaged templates or
    paths of YAML files. ``image_template`` is empty if nothing starts from a picture, as by default
    with an own ``template``. ``strength`` and ``vary_*`` are how far pictures depart from others.
    """

    template: SingleLine = Field(default="stable-diffusion", min_length=1)
    image_template: SingleLine = "image-to-image"
    upscale_template: SingleLine = Field(default="upscale", min_length=1)
    rows: StrictInt = Field(default=4, ge=1, le=64)
    samples: StrictInt = Field(default=3, ge=1, le=16)
    width: StrictInt = Field(default=768, ge=64, le=4096, multiple_of=64)
    height: StrictInt = Field(default=768, ge=64, le=4096, multiple_of=64)
    steps: StrictInt = Field(default=50, ge=1, le=1000)
    model: SingleLine = "sd-2-1"
    models: tuple[SingleLine, ...] = ("sd-2-1", "wd-1-4")
    max_rows: StrictInt = Field(default=8, ge=1, le=64)
    max_samples: StrictInt = Field(default=4, ge=1, le=16)
    max_steps: StrictInt = Field(default=150, ge=1, le=1000)
    max_pixels: StrictInt = Field(default=1024 * 1024, ge=64 * 64, le=4096 * 4096)
    max_prompt: StrictInt = Field(default=1000, ge=1, le=_MAX_PROMPT_CHARS)
    strength: Strength = DEFAULT_STRENGTH
    vary_subtle: Strength = 0.35
    vary_strong: Strength = 0.7
    max_permutations: StrictInt = Field(default=8, ge=1, le=25)
    styles: dict[str, SingleLine] = Field(default_factory=STYLES.copy)
    resources: ResourcesSection = ResourcesSection()

    @field_validator("styles")
    @classmethod
    def _check_styles(cls, styles: dict[str, str]) -> dict[str, str]:
        for name, words in styles.items():
            if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", name):
                hint = "Use up to 32 lower-case letters, digits, - and _, without spaces."
                raise validation_error("has a style whose name cannot be typed as a flag", hint)
            if not words.strip() or len(words) > _MAX_STYLE_CHARS:
                hint = f"Write between 1 and {_MAX_STYLE_CHARS} characters."
                raise validation_error(
                    f'has too few or too many words for the style "{name}"', hint
                )
        return styles

    @field_validator("models")
    @classmethod
    def _check_models(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        if not models or not all(MODEL_ID.fullmatch(name) for name in models):
            hint = 'List at least one name of letters, digits and . _ -, as in ["sd-2-1"].'
            raise validation_error("holds something that is no model's name", hint)
        return models

    @model_validator(mode="after")
    def _adopt_image_template(self) -> Self:
        # The stock one may need another image than an own template.
        default = type(self).model_fields["template"].default
        if self.template != default and "image_template" not in self.model_fields_set:
            object.__setattr__(self, "image_template", "")
        return self

    @model_validator(mode="after")
    def _check_defaults_are_allowed(self) -> Self:
        for name in ("rows", "samples", "steps"):
            value, most = getattr(self, name), getattr(self, f"max_{name}")
            if value > most:
                hint = f"Lower {name} or raise max_{name}."
                raise validation_error(f"is {value}, but max_{name} is {most}", hint, name)
        pixels = self.width * self.height
        if pixels > self.max_pixels:
            problem = f"times height is {pixels} pixels, but max_pixels is {self.max_pixels}"
            raise validation_error(problem, "Lower width or height, or raise max_pixels.", "width")
        return self


class QueueSection(Section):
    """``[queue]``: how many requests may run and wait, per member and in total."""

    running: StrictInt = Field(default=4, ge=1, le=1000)
    running_per_user: StrictInt = Field(default=1, ge=1, le=1000)
    waiting_per_user: StrictInt = Field(default=5, ge=1, le=10_000)
    waiting: StrictInt = Field(default=1000, ge=1, le=1_000_000)
    when_paused: Literal["accept", "refuse"] = "accept"


class QuotaSection(Section):
    """``[quota]``: the quota of members without a quota rule."""

    images: StrictInt = Field(default=120, ge=0, le=1_000_000)
    window: Window = timedelta(hours=24)


class SpendingSection(Section):
    """``[spending]``: limits in credits per day (UTC); 0 is no limit."""

    credits_per_day: CreditBudget = Decimal(0)
    credits_per_day_per_server: CreditBudget = Decimal(0)


class DeliverySection(Section):
    """``[delivery]``: how the full-size rows reach the members."""

    rows: Literal["auto", "links", "attachments"] = "auto"


class EngineSection(Section):
    """The image engine of a backend that runs ``bot.txt2img``.

    ``url`` and ``urls`` are image servers of the kind that ``engine`` names; ``graphs`` are files
    with a ComfyUI graph, by what is generated with it.
    """

    engine: Literal["auto", "sketch", "diffusers", "comfyui", "a1111"] = "auto"
    model: SingleLine = ""
    url: MaybeServerUrl = ""
    urls: tuple[ServerUrl, ...] = ()
    username: SingleLine = ""
    password: SecretStr = SecretStr("")
    graphs: dict[str, Path] = Field(default_factory=dict)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    container: Literal["none", "apptainer", "podman"] = "none"
    step_seconds: Seconds = 0.0

    @property
    def server_urls(self) -> tuple[str, ...]:
        """Return the addresses of the image servers, each once, without a slash at the end."""
        given = (self.url, *self.urls) if self.url else self.urls
        return tuple(dict.fromkeys(url.rstrip("/") for url in given))

    def server_options(self, engines: Collection[str]) -> dict[str, object]:
        """Return the image servers of each kind in ``engines``, as plain values."""
        server: dict[str, object] = {
            "urls": self.server_urls,
            "username": self.username,
            "password": self.password.get_secret_value(),
            "graphs": {name: str(path) for name, path in self.graphs.items()},
        }
        return dict.fromkeys(engines, server)

    @field_validator("graphs")
    @classmethod
    def _check_graphs(cls, graphs: dict[str, Path]) -> dict[str, Path]:
        if not graphs.keys() <= GRAPHS:
            hint = f"There are {', '.join(sorted(GRAPHS))}."
            raise validation_error("names a graph that nothing uses", hint)
        return graphs

    @model_validator(mode="after")
    def _check_server(self) -> Self:
        if self.engine in SERVER_ENGINES and self.container != "none":
            hint = 'Set container = "none": the server is called by a program outside of it.'
            problem = f"is {self.container}, but engine is {self.engine}"
            raise validation_error(problem, hint, "container")
        if bool(self.username) != bool(self.password.get_secret_value()):
            given, missing = "username", "password"
            if not self.username:
                given, missing = missing, given
            hint = "Write both, or neither if the server asks for none."
            raise validation_error(f"is given without {missing}", hint, given)
        return self


class LocalSection(EngineSection):
    """``[backend.local]``: processes on this machine.

    ``tasks`` 0 is one for each GPU with a model, for each image server, else for each processor.
    """

    tasks: StrictInt = Field(default=0, ge=0, le=1024)
    worker: WorkerSection = WorkerSection()


class DeepSquareSection(Section):
    """``[backend.deepsquare]``: the Grid's services and the wallet. Amounts are whole credits."""

    sbatch_url: WebUrl = "https://sbatch.deepsquare.run/graphql"
    rpc_url: WebUrl = "https://testnet.deepsquare.run/rpc"
    logger_address: Address = "grid-logger.deepsquare.run:443"
    logger_tls: bool = True
    transfer_url: WebUrl = "https://transfer.deepsquare.run/"
    trusted_hosts: tuple[TrustedHost, ...] = ("transfer.deepsquare.run",)
    meta_scheduler: SingleLine = "0x7524fBB0c1e099A4A472C5A7b0B1E1E3aBd3fE97"
    chain_id: StrictInt = Field(default=179188, ge=1, le=2**63 - 1)
    private_key: PrivateKey = SecretStr("")
    private_key_file: OptionalPath = None
    lock_credits: Credits = Decimal(500)
    max_credits_per_job: Credits = Decimal(1000)
    uses: tuple[Label, ...] = ()
    affinity: tuple[Affinity, ...] = ()
    poll_seconds: Seconds = Field(default=4.0, ge=0.1)

    @field_validator("meta_scheduler")
    @classmethod
    def _check_contract(cls, address: str) -> str:
        if not re.fullmatch(r"0x[0-9a-fA-F]{40}", address):
            raise validation_error(
                "is not a contract's address", "It is 0x and 40 hexadecimal digits."
            )
        return address

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.lock_credits > self.max_credits_per_job:
            problem = f"is {self.lock_credits}, but max_credits_per_job is"
            hint = "Lower lock_credits or raise max_credits_per_job."
            raise validation_error(f"{problem} {self.max_credits_per_job}", hint, "lock_credits")
        # A result from a host that is not trusted is refused after it has been paid for.
        parts = urlsplit(self.transfer_url)
        if not {parts.netloc.lower(), parts.hostname} & set(self.trusted_hosts):
            problem = "is at a host that trusted_hosts does not name"
            raise validation_error(
                problem, f'Add "{parts.netloc}" to trusted_hosts.', "transfer_url"
            )
        return self


class SlurmSection(EngineSection):
    """``[backend.slurm]``: your own cluster; ``shared_dir`` is visible to all its nodes.

    ``gpus`` is ``any``, ``none`` or a type that the cluster knows; ``python`` an interpreter on
    the nodes, empty for the bot's own.
    """

    partition: SingleLine = ""
    account: SingleLine = ""
    shared_dir: OptionalPath = None
    extra_args: tuple[SingleLine, ...] = ()
    poll_seconds: Seconds = Field(default=2.0, ge=0.1)
    gpus: SingleLine = "any"
    python: SingleLine = ""
    worker: WorkerSection = WorkerSection()

    @field_validator("gpus")
    @classmethod
    def _check_gpus(cls, gpus: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", gpus):
            hint = 'Write "any", "none", or a type as `sinfo -o %G` shows it, such as "a100".'
            raise validation_error("is no type of GPU", hint)
        return gpus


class ScriptedSection(Section):
    """``[backend.scripted]``: a recorded run; ``speed`` 0 plays it without waiting."""

    recording: OptionalPath = None
    speed: SpeedFactor = 1.0


class BackendSection(Section):
    """``[backend]``: which backend computes, and one section for each kind of backend."""

    kind: Literal["local", "deepsquare", "slurm", "scripted"] = "local"
    local: LocalSection = LocalSection()
    deepsquare: DeepSquareSection = DeepSquareSection()
    slurm: SlurmSection = SlurmSection()
    scripted: ScriptedSection = ScriptedSection()


class _ListeningSection(Section):
    """A server of the bot."""

    listen: Listen = ""

    @property
    def address(self) -> tuple[str, int] | None:
        """Return host (without brackets) and port (0: any free one); None if switched off."""
        return split_address(self.listen) if self.listen else None


class MetricsSection(_ListeningSection):
    """``[metrics]``: where Prometheus and health checks find the bot."""

    listen: Listen = "127.0.0.1:9464"


class PicturesSection(_ListeningSection):
    """``[pictures]``: the picture server, and the address under which members reach it."""

    public_url: MaybeWebUrl = ""

    @field_validator("public_url")
    @classmethod
    def _check_base(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.query or parts.fragment:
            hint = "Write it like https://pictures.example.org or https://example.org/pictures."
            raise validation_error("is more than an address and a path", hint)
        if len(url) > _MAX_PUBLIC_URL:
            hint = f"Use at most {_MAX_PUBLIC_URL} characters: Discord limits the links of buttons."
            raise validation_error("is too long", hint)
        return url.rstrip("/")

    @model_validator(mode="after")
    def _check_reachable(self) -> Self:
        if self.address and not self.public_url and not is_loopback(self.address[0]):
            hint = "Write the https address that leads to it, such as your reverse proxy's."
            raise validation_error("is needed for a server that others reach", hint, "public_url")
        return self

    @property
    def prefix(self) -> str:
        """Return the path of the public URL, without a slash at the end."""
        return urlsplit(self.public_url).path


class LogSection(Section):
    """``[log]``: the format and level of the bot's log."""

    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("level", mode="before")
    @classmethod
    def _fold_level(cls, level: object) -> object:
        return level.lower() if isinstance(level, str) else level
