"""Define the table of models, ``[models.<id>]``, and the resident worker's section.

Where a model lies decides which backends can use it: ``hosted`` and ``input`` where a job runs
Stability's script (DeepSquare, containers), the others where it runs ``bot.txt2img``.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, field_validator, model_validator

from bot.domain.image_engine import SKETCH, EngineInfo
from bot.domain.models import ModelSpec
from bot.domain.resources import ResourceRequest
from bot.domain.workflow.template import WorkflowModel
from bot.settings.sections import Section
from bot.settings.types import (
    MAX_SNOWFLAKE,
    MODEL_ID,
    EmptyIsNone,
    MaybeWebUrl,
    OptionalPath,
    SingleLine,
    StrictInt,
    Window,
    validation_error,
)

PLACES = ("hosted", "input", "path", "hub", "checkpoint")
GRAPHS = frozenset({"txt2img", "img2img", "upscale"})
SERVER_ENGINES = frozenset({"comfyui", "a1111"})
_LORA_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,99}")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)
_Cpus: TypeAlias = Annotated[StrictInt, Field(ge=1, le=1024)]
_Megabytes: TypeAlias = Annotated[StrictInt, Field(ge=256, le=4_000_000)]
_Gpus: TypeAlias = Annotated[StrictInt, Field(ge=0, le=16)]
_Guidance: TypeAlias = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
_MAX_PIXELS = 4096 * 4096


class LoraSection(Section):
    """``loras.<name>``: a ``file``, or its ``name`` on a server, and how strongly it acts."""

    file: OptionalPath = None
    name: SingleLine = ""
    weight: float = Field(default=1.0, ge=-4, le=4, allow_inf_nan=False)

    @model_validator(mode="after")
    def _check_place(self) -> Self:
        if (self.file is None) == (not self.name):
            hint = "Write file for a LoRA on this machine, or name for one on an image server."
            raise validation_error("needs one of file and name", hint)
        return self


class ModelResourcesSection(Section):
    """``[models.<id>.resources]``: what a task requests; None is as in ``[imagine.resources]``."""

    cpus_per_task: Annotated[_Cpus | None, EmptyIsNone] = None
    memory_mb_per_task: Annotated[_Megabytes | None, EmptyIsNone] = None
    gpus_per_task: Annotated[_Gpus | None, EmptyIsNone] = None

    def request(self, usual: ResourceRequest) -> ResourceRequest:
        """Return the values for the workflow; ``usual`` has those that are not given."""
        return usual.override(
            cpus_per_task=self.cpus_per_task,
            memory_mb_per_task=self.memory_mb_per_task,
            gpus_per_task=self.gpus_per_task,
        )


class ModelSection(Section):
    """``[models.<id>]``: a model that members can choose. 0 and "" mean as in ``[imagine]``."""

    title: SingleLine = Field(default="", max_length=60)
    about: SingleLine = Field(default="", max_length=200)
    engine: Literal["", "sketch", "diffusers", "comfyui", "a1111"] = ""
    hosted: SingleLine = ""
    input: MaybeWebUrl = ""
    sha256: SingleLine = ""
    path: OptionalPath = None
    hub: SingleLine = ""
    checkpoint: SingleLine = ""
    family: Literal["", "sd", "sdxl", "sd3", "flux", "schnell", "lcm", "turbo"] = ""
    width: StrictInt = Field(default=0, ge=0, le=4096, multiple_of=64)
    height: StrictInt = Field(default=0, ge=0, le=4096, multiple_of=64)
    steps: StrictInt = Field(default=0, ge=0, le=1000)
    guidance: Annotated[_Guidance | None, EmptyIsNone] = None
    sampler: SingleLine = Field(default="", max_length=60)
    min_pixels: StrictInt = Field(default=0, ge=0, le=_MAX_PIXELS)
    max_pixels: StrictInt = Field(default=0, ge=0, le=_MAX_PIXELS)
    max_steps: StrictInt = Field(default=0, ge=0, le=1000)
    negative: Annotated[bool | None, EmptyIsNone] = None
    img2img: bool = True
    cost: StrictInt = Field(default=1, ge=1, le=1000)
    roles: tuple[StrictInt, ...] = ()
    loras: dict[str, LoraSection] = Field(default_factory=dict)
    resources: ModelResourcesSection = ModelResourcesSection()

    @property
    def place(self) -> str:
        """Return which of PLACES is set; "" for a sketch, which has no model."""
        return next((place for place in PLACES if getattr(self, place)), "")

    def spec(self, id: str, engine: EngineInfo) -> ModelSpec:
        """Return what members see of the model; ``engine`` makes its images."""
        return ModelSpec(
            id,
            title=self.title,
            about=self.about,
            family=self.family,
            width=self.width,
            height=self.height,
            steps=self.steps,
            guidance=self.guidance,
            sampler=self.sampler,
            min_pixels=self.min_pixels,
            max_pixels=self.max_pixels,
            max_steps=self.max_steps,
            negative=self.negative,
            img2img=self.img2img,
            cost=self.cost,
            roles=frozenset(self.roles),
            loras=tuple(self.loras),
            engine=engine,
        )

    def engine_info(self, id: str, engine: EngineInfo) -> EngineInfo:
        """Return what is known of the model's engine beforehand; ``engine`` is the backend's."""
        if self.place in ("hosted", "input") or not (name := self.engine or engine.engine):
            return engine
        return EngineInfo(name, "" if name == SKETCH else id)

    def workflow_model(self) -> WorkflowModel:
        """Return what the workflow gets of the model."""
        url, sha256 = (self.input, self.sha256) if self.input else ("", "")
        return WorkflowModel(self.hosted, self.guidance, self.sampler, url, sha256)

    def to_json(self) -> dict[str, object]:
        """Return the model's entry in the configuration file of ``bot.txt2img``.

        ``download`` is the name of a downloaded model's file among the backend's caches.
        """
        kind = self.place if self.place in ("hub", "checkpoint") else "path"
        location = self.hub or self.checkpoint or (str(self.path) if self.path else "")
        return {
            "title": self.title,
            "engine": self.engine,
            "kind": kind,
            "location": location,
            **({"download": self.workflow_model().file} if self.input else {}),
            "family": self.family,
            "guidance": self.guidance,
            "sampler": self.sampler,
            "sha256": self.sha256,
            "loras": {
                name: {"location": str(lora.file or lora.name), "weight": lora.weight}
                for name, lora in self.loras.items()
            },
        }

    @field_validator("sha256")
    @classmethod
    def _check_sha256(cls, digest: str) -> str:
        if digest and not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
            hint = "It is 64 hexadecimal digits; `sha256sum FILE` prints it."
            raise validation_error("is no sha256", hint)
        return digest.lower()

    @field_validator("hosted", "hub", "checkpoint")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if name != name.strip() or name.startswith("-") or len(name) > 200:
            raise validation_error("is no name of a model", "Write it as the place lists it.")
        return name

    @field_validator("hosted")
    @classmethod
    def _check_folder(cls, name: str) -> str:
        if name and not MODEL_ID.fullmatch(name):
            hint = "Write one name of letters, digits and . _ -, without a slash."
            raise validation_error("is no name of a folder", hint)
        return name

    @field_validator("hub")
    @classmethod
    def _check_hub_name(cls, name: str) -> str:
        if name and not _HUB_NAME.fullmatch(name):
            hint = 'Write "owner/name" as its page shows it; path is for files and folders.'
            raise validation_error("is no name on the Hugging Face hub", hint)
        return name

    @field_validator("roles")
    @classmethod
    def _check_roles(cls, roles: tuple[int, ...]) -> tuple[int, ...]:
        if not all(0 < role <= MAX_SNOWFLAKE for role in roles):
            hint = "Copy the role's id in Discord: developer mode, right click, Copy Role ID."
            raise validation_error("holds a number that is no role's id", hint)
        return roles

    @field_validator("loras")
    @classmethod
    def _check_loras(cls, loras: dict[str, LoraSection]) -> dict[str, LoraSection]:
        if not all(_LORA_NAME.fullmatch(name) for name in loras):
            hint = "Use up to 100 letters, digits, spaces and . _ - for a LoRA's name."
            raise validation_error("has a LoRA with a name that cannot be written", hint)
        return loras

    @model_validator(mode="after")
    def _check_place(self) -> Self:
        given = [place for place in PLACES if getattr(self, place)]
        if self.engine == "sketch" and given:
            hint = f"Remove {given[0]}: a sketch is drawn without a model."
            raise validation_error("is sketch, which has no model", hint, "engine")
        if self.engine != "sketch" and len(given) != 1:
            problem = f"says where it lies {len(given)} times" if given else "does not say where"
            problem += f" ({' and '.join(given)})" if given else " it lies"
            raise validation_error(problem, f"Write exactly one of {', '.join(PLACES)}.")
        if self.input and not self.sha256:
            problem = "is missing: a downloaded model is checked before it is used"
            raise validation_error(problem, "`sha256sum FILE` prints it.", "sha256")
        if self.sha256 and not (self.input or self.path):
            hint = "Remove it; it is for input and for a single file in path."
            raise validation_error("cannot be checked there", hint, "sha256")
        if self.engine in SERVER_ENGINES and not self.checkpoint:
            problem = f"is {self.engine}, a server that finds its models itself"
            hint = f"Write checkpoint, the server's own name of it, instead of {given[0]}."
            raise validation_error(problem, hint, "engine")
        if self.engine == "diffusers" and not (self.path or self.hub or self.input):
            hint = "Write path or hub, or another engine."
            raise validation_error("is diffusers, which loads files", hint, "engine")
        if self.hosted and self.engine:
            hint = "Remove engine: a hosted model is for Stability's script."
            raise validation_error(f"is {self.engine}, which has no hosted models", hint, "engine")
        if self.loras and self.place not in ("path", "hub", "checkpoint"):
            hint = "Remove them, or use the model by path, hub or checkpoint."
            raise validation_error("have no effect with this model", hint, "loras")
        return self

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        if self.steps and self.max_steps and self.steps > self.max_steps:
            problem = f"is {self.steps}, but max_steps is {self.max_steps}"
            raise validation_error(problem, "Lower steps or raise max_steps.", "steps")
        if self.max_pixels and self.min_pixels > self.max_pixels:
            problem = f"is {self.min_pixels}, but max_pixels is {self.max_pixels}"
            raise validation_error(problem, "Lower min_pixels or raise max_pixels.", "min_pixels")
        if bool(self.width) != bool(self.height):
            missing = "height" if self.width else "width"
            hint = "Write both or neither."
            raise validation_error("is missing beside the other side", hint, missing)
        pixels = self.width * self.height
        if pixels and self.max_pixels and pixels > self.max_pixels:
            problem = f"times height is {pixels} pixels, but max_pixels is {self.max_pixels}"
            raise validation_error(problem, "Lower width or height, or raise max_pixels.", "width")
        if pixels and pixels < self.min_pixels:
            problem = f"times height is {pixels} pixels, but min_pixels is {self.min_pixels}"
            raise validation_error(problem, "Raise width or height, or lower min_pixels.", "width")
        return self


class WorkerSection(Section):
    """``[backend.local.worker]``: the process that keeps diffusers models loaded.

    ``memory_mb`` 0 is what the device has; ``idle`` is how long an unused model stays loaded.
    """

    enabled: bool = True
    memory_mb: StrictInt = Field(default=0, ge=0, le=4_000_000)
    idle: Window = timedelta(minutes=10)
    offload: Literal["none", "model", "sequential"] = "none"
    slicing: bool = False
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"

    def to_json(self) -> dict[str, object]:
        """Return the plain values for a backend."""
        return {
            "enabled": self.enabled,
            "memory_mb": self.memory_mb,
            "idle_seconds": self.idle.total_seconds(),
            "offload": self.offload,
            "slicing": self.slicing,
            "dtype": self.dtype,
        }


def check_model_ids(models: dict[str, ModelSection]) -> dict[str, ModelSection]:
    """Return the table. Raises the error of a validator for an id or title that is ambiguous."""
    spoken: dict[str, str] = {}
    for id, model in models.items():
        if not MODEL_ID.fullmatch(id):
            hint = "Use up to 64 letters, digits and . _ - between [models. and ]."
            raise validation_error("has a model with a name that cannot be typed", hint)
        for name in {id.casefold(), model.title.casefold()} - {""}:
            if spoken.setdefault(name, id) != id:
                hint = "Give each model a name and a title of its own."
                raise validation_error(f"calls {spoken[name]} and {id} by the same name", hint)
    return models
