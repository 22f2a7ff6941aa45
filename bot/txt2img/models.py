"""Inspect a diffusers model: its family, guidance scale, and whether it can be loaded.

Reads small JSON files and the headers of weight files and loads no library, so it is cheap enough
for ``gridbrush check``. A model on the Hugging Face hub is read from the hub's cache; if it is not
downloaded, only its name is known.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.txt2img.plan import UsageError

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
_SINGLE_FILES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf")
_WEIGHTS = (".safetensors", ".bin")
_WITHOUT_WEIGHTS = ("scheduler", "tokenizer", "feature_extractor")
_OPTIONAL = ("text_encoder_3", "tokenizer_3")  # SD3's T5
_MAX_HEADER_BYTES = 1 << 24
_USE_A_FOLDER = (
    "Write the whole path of a folder with a model_index.json, or a model's name on the Hugging "
    "Face hub."
)
_CONVERT = (
    "Convert it to a folder (diffusers: StableDiffusionPipeline.from_single_file(FILE)"
    ".save_pretrained(FOLDER), or the pipeline of its family) and name the folder."
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

    ``name`` is the folder's name, or the name on the hub. ``family`` is a key of GUIDANCE, or
    empty. ``guidance`` is None for the pipeline's default. ``variant`` and ``absent`` (components
    saved as null) are arguments for loading. ``note`` is text for the operator.
    """

    name: str
    family: str
    guidance: float | None
    variant: str | None = None
    absent: tuple[str, ...] = ()
    note: str = ""

    def negative_acts(self, scale: float | None) -> bool:
        """Return whether a negative prompt has an effect at ``scale``; None means the default."""
        scale = self.guidance if scale is None else scale
        return not self.family or (
            self.family in _NEGATIVE_PROMPT_FAMILIES and (scale is None or scale > 1)
        )


def read_model(model: str, environment: Mapping[str, str]) -> Model:
    """Return the facts about ``model``, a folder or a name on the hub. Raises UnusableModel."""
    path = Path(model)
    is_hub_name = _HUB_NAME.fullmatch(model) is not None
    if not is_hub_name and not path.exists():
        raise UnusableModel(f"there is no folder {model}", _USE_A_FOLDER)
    if not is_hub_name or path.is_dir():
        try:
            return _read_folder(path, path.resolve().name)
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
    family = next((key for key, words in _FAMILY_PATTERNS if re.search(words, model, re.I)), "")
    note = "not downloaded yet: the first picture downloads it from the hub"
    return Model(model, family, GUIDANCE.get(family), note=f"{note}; a folder needs its whole path")


def _read_folder(folder: Path, name: str) -> Model:
    if folder.is_file():
        raise _file_error(folder)
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
    variant = None
    for part in present:
        if not (folder / part).is_dir():
            raise UnusableModel(
                f"{folder} lacks its part {part}", "Download or copy the model again."
            )
        if not part.startswith(_WITHOUT_WEIGHTS):
            variant = _weights_variant(folder / part) or variant
    absent = tuple(key for key in parts if key in _OPTIONAL and key not in present)
    family = _refine_family(folder, name, family)
    return Model(name, family, GUIDANCE[family], variant, absent)


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


def _file_error(path: Path) -> UnusableModel:
    """Return the error for a file in place of a model folder."""
    if is_lora(path):
        return UnusableModel(f"{path} is a LoRA and not a model", _USE_A_FOLDER)
    if path.suffix in _SINGLE_FILES:
        return UnusableModel(f"{path} is a single file, and this engine loads folders", _CONVERT)
    return UnusableModel(f"{path} is a file and not a model's folder", _USE_A_FOLDER)


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
        if path.is_file() and path.suffix in _SINGLE_FILES:
            return UnusableModel(f"{folder} holds single files such as {path.name}", _CONVERT)
    return UnusableModel(f"{folder} has no model_index.json", _USE_A_FOLDER)


def is_lora(path: Path) -> bool:
    """Return whether a .safetensors file holds a LoRA, by the names of its tensors."""
    if path.suffix != ".safetensors":
        return False
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > _MAX_HEADER_BYTES:
            return False
        try:
            header = json.loads(file.read(length))
        except (ValueError, RecursionError):
            return False
    names = set(header) - {"__metadata__"} if isinstance(header, dict) else set()
    return bool(names) and all(
        re.search(r"lora|\.alpha$|dora_scale|hada_|lokr_", name) for name in names
    )


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
