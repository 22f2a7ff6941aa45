"""Check the table of models against the other sections, and find what a backend cannot use."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from bot.domain.errors import ConfigError
from bot.settings.model_table import SERVER_ENGINES, ModelSection
from bot.settings.models import BackendSection, EngineSection, ImagineSection
from bot.settings.sources import KeyPath, ValueOrigins

Models = Mapping[str, ModelSection]


def check_models(
    imagine: ImagineSection, models: Models, backend: BackendSection, origins: ValueOrigins
) -> tuple[ConfigError, ...]:
    """Return an error for each contradiction between models, defaults and backend."""
    found: list[tuple[KeyPath, str, str]] = []
    names = _named(imagine, models)
    if imagine.model not in names and ("model" in imagine.model_fields_set or not models):
        problem = f"is not one of models, which are {', '.join(names)}"
        hint = "Choose one of them, or add it to models."
        found.append((("imagine", "model"), problem, hint))
    for id, model in models.items():
        steps, max_steps = model.steps or imagine.steps, model.max_steps or imagine.max_steps
        if steps > max_steps:
            problem = f"is {steps}, but {_key('max_steps', model.max_steps)} is {max_steps}"
            hint = f"Write both in [models.{id}], steps not above max_steps."
            found.append((("models", id, "steps"), _default(model.steps) + problem, hint))
        pixels = (model.width or imagine.width) * (model.height or imagine.height)
        max_pixels = model.max_pixels or imagine.max_pixels
        if not model.min_pixels <= pixels <= max_pixels:
            bound = "min_pixels" if pixels < model.min_pixels else "max_pixels"
            limit = model.min_pixels if pixels < model.min_pixels else max_pixels
            problem = f"times height is {pixels} pixels, but {_key(bound, getattr(model, bound))}"
            hint = f"Write width, height and {bound} that fit together in [models.{id}]."
            where = ("models", id, "width")
            found.append((where, f"{_default(model.width)}{problem} is {limit}", hint))
    servers = sorted(server_engines(backend, models))
    if len(servers) > 1:
        problem = f"is one address, but {' and '.join(servers)} are both in use"
        hint = "Use one kind of image server; a model's engine names it, too."
        found.append((("backend", backend.kind, "url"), problem, hint))
    return tuple(ConfigError(origins.where(trail), problem, hint) for trail, problem, hint in found)


def why_unusable(model: ModelSection, backend: BackendSection) -> str:
    """Return why the chosen backend cannot use a model of the table; "" if it can."""
    kind, place = backend.kind, model.place
    if kind == "scripted" or place == "input":
        return ""
    if runs_script(backend):
        where = kind if kind == "deepsquare" else f"{kind} in a container"
        return "" if place == "hosted" else f"{where} takes models by hosted or input"
    if place == "hosted":
        return f"hosted is for Stability's script, which {kind} does not run"
    engine = model.engine or engine_section(backend).engine
    if place == "checkpoint" and engine not in SERVER_ENGINES:
        return f"checkpoint is a name on an image server, but engine is {engine}"
    if place in ("path", "hub") and engine in SERVER_ENGINES:
        return f"{place} is for diffusers, but engine is {engine}: write checkpoint"
    if engine == "sketch" and place:
        return "engine is sketch, which has no models"
    return ""


def runs_script(backend: BackendSection) -> bool:
    """Return whether jobs run Stability's script, which finds models by a folder's name."""
    if backend.kind in ("local", "slurm"):
        return engine_section(backend).container != "none"
    return backend.kind == "deepsquare"


def server_engines(backend: BackendSection, models: Models) -> set[str]:
    """Return the kinds of image servers that the chosen backend uses."""
    if backend.kind not in ("local", "slurm") or runs_script(backend):
        return set()
    used = {engine_section(backend).engine, *(model.engine for model in models.values())}
    return {engine for engine in SERVER_ENGINES if engine in used}


def engine_section(backend: BackendSection) -> EngineSection:
    """Return the chosen backend's section, for one that runs ``bot.txt2img``."""
    return backend.slurm if backend.kind == "slurm" else backend.local


def offered_models(
    imagine: ImagineSection, usable: Collection[str], models: Models, backend: BackendSection
) -> tuple[str, ...]:
    """Return the models that requests may name, in order; ``usable`` are those of the table.

    ``[imagine] models`` chooses among them, if it is given. Names that are not in the table are
    folders, which only Stability's script uses.
    """
    if not usable:
        return imagine.models
    folders = runs_script(backend) or backend.kind == "scripted"
    names = tuple(
        name
        for name in _named(imagine, models)
        if name in usable or (folders and name not in models)
    )
    return names or tuple(usable)


def _named(imagine: ImagineSection, models: Models) -> tuple[str, ...]:
    if not models or "models" in imagine.model_fields_set:
        return imagine.models
    return tuple(models)


def _key(name: str, given: int) -> str:
    return name if given else f"[imagine] {name}"


def _default(given: int) -> str:
    return "" if given else "as in [imagine], "
