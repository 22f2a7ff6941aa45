"""Inspect a model for diffusers: its family, guidance scale, and whether it can be loaded.

A model is a folder, a single file (:mod:`bot.txt2img.single_files`) or a name on the hub. Reads
small JSON files and the headers of weight files and loads no library, so it is cheap enough for
``gridbrush check``. A model on the Hugging Face hub is read from the hub's cache; if it is not
downloaded, only its name is known.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bot.txt2img.config import ModelConfig
from bot.txt2img.plan import UsageError
from bot.txt2img.single_files import SUFFIXES, UnreadableFile, is_lora, read_contents

FAMILIES: Mapping[str, str] = {
    "StableDiffusionPipeline": "sd",
    "StableDiffusionXLPipeline": "sdxl",
    "StableDiffusion3Pipeline": "sd3",
    "FluxPipeline": "flux",
    "LatentConsistencyModelPipeline": "lcm",
}
"""Supported pipelines: class name in model_index.json to family."""

GUIDANCE: Mapping[str, float] = {
    "sd": 9.0,  # also what scripts/txt2img.py uses
    "sdxl": 5.0,
    "sd3": 3.5,
    "flux": 3.5,
    "schnell": 0.0,
    "turbo": 0.0,
    "lcm": 1.0,
}
"""Default guidance scale of each family."""

_NEGATIVE_PROMPT_FAMILIES = frozenset({"sd", "sdxl", "sd3", "turbo"})
"""Families in which a negative prompt has an effect, if the scale is above 1."""

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?", re.ASCII)
_DISTILLED = re.compile(r"turbo|lightning|hyper", re.IGNORECASE)
_FAMILY_PATTERNS = (
    ("schnell", r"schnell"),
    ("flux", r"flux"),
    ("lcm", r"lcm|latent-consistency"),
    ("turbo", _DISTILLED.pattern),
    ("sd3", r"stable-diffusion-3|sd-?3"),
    ("sdxl", r"xl"),
    ("sd", r"stable-diffusion|sd-"),
)
_WEIGHTS = (".safetensors", ".bin")
_WITHOUT_WEIGHTS = ("scheduler", "tokenizer", "feature_extractor")
_OPTIONAL = ("text_encoder_3", "tokenizer_3")  # SD3's T5
_ALIASES = {"sd1": "sd", "sd1.5": "sd", "sd15": "sd", "sd2": "sd", "sd3.5": "sd3"}
_USE_A_FOLDER = (
    "Write the whole path of a folder with a model_index.json or of a checkpoint file, or a "
    "model's name on the Hugging Face hub."
)
_AGAIN = "Download the file again, whole."
_NEEDS_CONFIG = (
    "Put a folder of the same name without the suffix beside it: a diffusers pipeline of the same "
    "family, from which the text encoders and the VAE are taken."
)


class UnusableModel(UsageError):
    """A model that cannot be used: the ``problem``, and a ``hint`` how to fix it."""

    def __init__(self, problem: str, hint: str) -> None:
        super().__init__(f"{problem}. {hint}")
        self.problem = problem
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Model:
    """The facts about a model that loading and reporting need.

    ``name`` is the folder's or file's name, or the name on the hub. ``family`` is a key of
    GUIDANCE, or empty. ``guidance`` is None for the pipeline's default. ``variant`` and ``absent``
    (components saved as null) are arguments for loading. ``note`` is text for the operator.

    ``file`` is the single file, else None; then ``base`` is the family by its tensors (also where
    it is distilled), ``config`` a folder with the other components or empty, and ``complete`` says
    whether the text encoders are in the file. ``weight_bytes`` is the size of the weights on disk,
    0 if unknown.
    """

    name: str
    family: str
    guidance: float | None
    variant: str | None = None
    absent: tuple[str, ...] = ()
    note: str = ""
    file: Path | None = None
    base: str = ""
    config: str = ""
    complete: bool = True
    weight_bytes: int = 0

    def negative_acts(self, scale: float | None) -> bool:
        """Return whether a negative prompt has an effect at ``scale``; None means the default."""
        scale = self.guidance if scale is None else scale
        return not self.family or (
            self.family in _NEGATIVE_PROMPT_FAMILIES and (scale is None or scale > 1)
        )


def read_configured(model: ModelConfig, environment: Mapping[str, str]) -> Model:
    """Return the facts about a model of the configuration, with what that says of it.

    Raises UnusableModel, also for a LoRA that is missing or none.
    """
    facts = read_model(model.location, environment)
    if family := configured_family(model):
        facts = replace(facts, family=family, guidance=GUIDANCE[family])
    if model.guidance is not None:
        facts = replace(facts, guidance=model.guidance)
    for lora in model.loras:
        _check_lora(Path(lora.location))
    return facts


def configured_family(model: ModelConfig) -> str:
    """Return the family that the configuration names, or an empty text. Raises UnusableModel."""
    family = model.family.lower()
    family = _ALIASES.get(family, family)
    if family and family not in GUIDANCE:
        hint = f"Leave it out, or write one of: {', '.join(GUIDANCE)}."
        raise UnusableModel(f"the family {model.family!r} is unknown", hint)
    return family


def _check_lora(path: Path) -> None:
    hint = "Write the whole path of its .safetensors file."
    if not path.is_file():
        raise UnusableModel(f"there is no LoRA {path}", hint)
    try:
        if not is_lora(path):
            raise UnusableModel(f"{path} is no LoRA", hint)
    except OSError as error:
        raise UnusableModel(f"the LoRA {path} cannot be read: {error.strerror}", hint) from error


def read_model(model: str, environment: Mapping[str, str]) -> Model:
    """Return the facts about ``model``: a folder, a file or a name on the hub.

    Raises UnusableModel.
    """
    path = Path(model)
    is_hub_name = _HUB_NAME.fullmatch(model) is not None
    if not is_hub_name and not path.exists():
        raise UnusableModel(f"there is no folder or file {model}", _USE_A_FOLDER)
    if not is_hub_name or path.is_dir():
        try:
            return _read_file(path) if path.is_file() else _read_folder(path, path.resolve().name)
        except OSError as error:
            raise UnusableModel(
                f"{error.filename} cannot be read: {error.strerror}",
                "Let the user who runs the jobs read the whole folder.",
            ) from error
    if (folder := _cached_snapshot(model, environment)) is not None:
        return _read_folder(folder, model)
    if environment.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        hint = "Download it first (hf download NAME), or unset HF_HUB_OFFLINE."
        raise UnusableModel(f"{model} is not downloaded, and HF_HUB_OFFLINE is set", hint)
    family = family_of_name(model)
    note = "not downloaded yet: the first picture downloads it from the hub"
    return Model(model, family, GUIDANCE.get(family), note=f"{note}; a folder needs its whole path")


def family_of_name(name: str) -> str:
    """Return the family that a model's name suggests, or an empty text."""
    return next((key for key, words in _FAMILY_PATTERNS if re.search(words, name, re.I)), "")


def _read_folder(folder: Path, name: str) -> Model:
    if not (folder / "model_index.json").is_file():
        raise _folder_error(folder)
    index = _read_json(folder / "model_index.json")
    kind = str(index.get("_class_name"))
    family = FAMILIES.get(kind)
    if family is None:
        raise UnusableModel(
            f"{folder} is a {kind}, which this engine does not support",
            f"Name a model of one of: {', '.join(FAMILIES)}.",
        )
    parts = {key: entry for key, entry in index.items() if isinstance(entry, list)}
    present = [key for key, entry in parts.items() if entry and all(entry)]
    variant, weight_bytes = None, 0
    for part in present:
        if not (folder / part).is_dir():
            raise UnusableModel(
                f"{folder} lacks its part {part}", "Download or copy the model again."
            )
        if not part.startswith(_WITHOUT_WEIGHTS):
            variant = _weights_variant(folder / part) or variant
            weight_bytes += _weights_size(folder / part)
    absent = tuple(key for key in parts if key in _OPTIONAL and key not in present)
    family = _refine_family(folder, name, family)
    guidance = GUIDANCE[family]
    return Model(name, family, guidance, variant, absent, weight_bytes=weight_bytes)


def _read_file(path: Path) -> Model:
    if path.suffix not in SUFFIXES:
        raise UnusableModel(f"{path} is a file and not a model's folder", _USE_A_FOLDER)
    try:
        contents = read_contents(path)
    except UnreadableFile as error:
        raise UnusableModel(f"{path} cannot be used: {error}", _AGAIN) from error
    if not contents.family:
        hint = f"Name a text-to-image model of one of the families {', '.join(GUIDANCE)}."
        raise UnusableModel(f"{path} is {contents.kind} and not a model", hint)
    family = base = {"schnell": "flux", "lcm": "sd"}.get(contents.family, contents.family)
    if base != contents.family:
        family = contents.family
    elif _DISTILLED.search(path.stem):
        family = "turbo"
    beside = path.with_suffix("")
    config = str(beside) if (beside / "model_index.json").is_file() else ""
    note = ""
    if not config:
        if path.suffix == ".gguf":
            raise UnusableModel(f"{path} holds the network alone", _NEEDS_CONFIG)
        note = "the first picture downloads what the file lacks; a folder beside it avoids that"
    return Model(
        *(path.stem, family, GUIDANCE[family]),
        note=note,
        file=path,
        base=base,
        config=config,
        complete=contents.complete,
        weight_bytes=path.stat().st_size,
    )


def _refine_family(folder: Path, name: str, family: str) -> str:
    """Return the exact family: distilled models need another guidance than their base models."""
    scheduler = _read_json(folder / "scheduler" / "scheduler_config.json", missing_ok=True)
    unet = _read_json(folder / "unet" / "config.json", missing_ok=True)
    transformer = _read_json(folder / "transformer" / "config.json", missing_ok=True)
    if family == "flux":
        distilled = transformer.get("guidance_embeds") is False or "schnell" in name.lower()
        return "schnell" if distilled else family
    if scheduler.get("_class_name") == "LCMScheduler" or unet.get("time_cond_proj_dim"):
        return "lcm"
    # The scheduler settings of sd-turbo and sdxl-turbo; their base models have others.
    euler = str(scheduler.get("_class_name")).startswith("Euler")
    trailing = scheduler.get("timestep_spacing") == "trailing"
    if _DISTILLED.search(name) or (
        euler and trailing and not scheduler.get("rescale_betas_zero_snr")
    ):
        return "turbo"
    return family


def _weights_variant(part: Path) -> str | None:
    """Return the variant of the component's weights, or None. Raises UnusableModel."""
    hint = "Download the model's weights again, whole (with git: git lfs pull)."
    files = [path for path in part.iterdir() if path.suffix in _WEIGHTS]
    if not files:
        raise UnusableModel(f"{part} has no weights", hint)
    for path in files:
        # A pointer of Git LFS is a text of about 130 bytes.
        if path.stat().st_size < 1024 and (
            not path.stat().st_size or path.read_bytes().startswith(b"version https://git-lfs")
        ):
            raise UnusableModel(f"{path} holds no weights: it is empty, or a Git LFS pointer", hint)
    if all(".fp16." in path.name for path in files):
        return "fp16"
    return None


def _weights_size(part: Path) -> int:
    """Return the bytes of the component's weights; of two formats, those of safetensors."""
    for suffix in _WEIGHTS:
        if sizes := [path.stat().st_size for path in part.iterdir() if path.suffix == suffix]:
            return sum(sizes)
    return 0


def _folder_error(folder: Path) -> UnusableModel:
    """Return the error for a folder without a model_index.json."""
    entries = sorted(folder.iterdir())
    if not entries:
        return UnusableModel(f"{folder} is empty", _USE_A_FOLDER)
    if any(
        "lora" in path.name or path.name == "adapter_config.json" or is_lora(path)
        for path in entries
        if path.is_file()
    ):
        return UnusableModel(f"{folder} holds a LoRA and not a model", _USE_A_FOLDER)
    for path in entries:
        if (path / "model_index.json").is_file():
            return UnusableModel(f"{folder} has no model_index.json", f"{path} has one: name that.")
    if (folder / "config.json").is_file():
        kind = _read_json(folder / "config.json").get("_class_name") or "something else"
        return UnusableModel(
            f"{folder} is a part of a model ({kind})", "Name the folder around it."
        )
    for path in entries:
        if path.is_file() and path.suffix in SUFFIXES:
            return UnusableModel(
                f"{folder} has no model_index.json, but single files such as {path.name}",
                f"Name the file: {path}.",
            )
    return UnusableModel(f"{folder} has no model_index.json", _USE_A_FOLDER)


def _cached_snapshot(name: str, environment: Mapping[str, str]) -> Path | None:
    """Return the model's folder in the hub's cache, or None if it is not there completely."""
    for cache in _cache_folders(environment):
        folder = cache / f"models--{name.replace('/', '--')}"
        for snapshot in sorted(folder.glob("snapshots/*"), reverse=True):
            if (snapshot / "model_index.json").is_file():
                return snapshot
    return None


def _cache_folders(environment: Mapping[str, str]) -> Iterator[Path]:
    if cache := environment.get("HF_HUB_CACHE"):
        yield Path(cache)
    if home := environment.get("HF_HOME"):
        yield Path(home) / "hub"
    if home := environment.get("HOME"):
        yield Path(home) / ".cache" / "huggingface" / "hub"


def _read_json(path: Path, *, missing_ok: bool = False) -> Mapping[str, Any]:
    """Return the object in a JSON file, or an empty one if ``missing_ok`` and there is no file.

    Raises UnusableModel, OSError.
    """
    if missing_ok and not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UnusableModel(f"{path} is damaged: {error}", "Download the model again.") from error
    if not isinstance(found, dict):
        raise UnusableModel(f"{path} is damaged: it is not an object", "Download the model again.")
    return found
