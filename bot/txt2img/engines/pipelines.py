"""Load pipelines of diffusers: folders, hub names, single files and GGUF, with LoRAs and samplers.

Needs the optional extra ``diffusers``, imported when a pipeline is loaded.
"""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

from bot.txt2img.engines.base import OutOfMemory
from bot.txt2img.engines.samplers import find_sampler
from bot.txt2img.engines.spec import EngineSpec
from bot.txt2img.models import Model
from bot.txt2img.plan import UsageError

_LOAD_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    ImportError,
    EOFError,
    MemoryError,
    pickle.UnpicklingError,
    RuntimeError,  # tensors of other shapes
)
_MEMORY_TEXT = re.compile(r"out of memory|can't allocate memory|not enough memory", re.IGNORECASE)
_SINGLE_FILE_CLASSES = {
    "sd": "StableDiffusionPipeline",
    "sdxl": "StableDiffusionXLPipeline",
    "sd3": "StableDiffusion3Pipeline",
    "flux": "FluxPipeline",
}
_GGUF_NETWORKS = {
    "sd": ("unet", "UNet2DConditionModel"),
    "sdxl": ("unet", "UNet2DConditionModel"),
    "sd3": ("transformer", "SD3Transformer2DModel"),
    "flux": ("transformer", "FluxTransformer2DModel"),
}


def load_pipeline(spec: EngineSpec, facts: Model) -> tuple[Any, str]:
    """Return the text-to-image pipeline on its device, and the sampler's name.

    Takes seconds to minutes. Raises UsageError, OutOfMemory.
    """
    try:
        import diffusers
        import torch
    except ImportError as error:
        raise UsageError(
            f"PAINTER_ENGINE=diffusers needs libraries that are not installed ({error}): "
            "pip install 'gridbrush[diffusers]', or use PAINTER_ENGINE=sketch."
        ) from error
    if spec.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: there is no CUDA GPU here; use --device cpu.")
    torch.set_num_threads(spec.threads)
    sampler = find_sampler(spec.model.sampler, facts.family)
    location = spec.model.location
    try:
        pipeline = _open(diffusers, location, facts, _precision(torch, spec, facts))
    except _load_errors() as error:
        _check_memory(error, facts)
        raise UsageError(f"The model {location!r} cannot be loaded: {_one_line(error)}") from error
    _apply_loras(pipeline, spec)
    if sampler is not None:
        kind = getattr(diffusers, sampler.scheduler)
        pipeline.scheduler = kind.from_config(pipeline.scheduler.config, **sampler.options)
    pipeline.set_progress_bar_config(disable=True)
    try:
        place(pipeline, spec)
    except (RuntimeError, MemoryError) as error:
        _check_memory(error, facts)
        raise
    name = sampler.name if sampler else type(pipeline.scheduler).__name__
    return pipeline, name.removesuffix("Scheduler")


def place(pipeline: Any, spec: EngineSpec) -> None:
    """Move the pipeline to its device, or have its parts moved there while they are needed."""
    if spec.device == "cuda" and spec.offload == "model":
        pipeline.enable_model_cpu_offload()
    elif spec.device == "cuda" and spec.offload == "sequential":
        pipeline.enable_sequential_cpu_offload()
    else:
        pipeline.to(spec.device)
    if spec.slicing:
        pipeline.enable_attention_slicing()
        pipeline.vae.enable_slicing()
        pipeline.vae.enable_tiling()


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the library ran out of memory; on the CPU the text alone tells."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and bool(_MEMORY_TEXT.search(str(error)))


def _load_errors() -> tuple[type[Exception], ...]:
    """Return what the libraries raise for a file that is damaged or of another kind."""
    from diffusers.loaders.single_file_utils import SingleFileComponentError
    from safetensors import SafetensorError

    return (*_LOAD_ERRORS, SingleFileComponentError, SafetensorError)


def _check_memory(error: BaseException, facts: Model) -> None:
    if is_out_of_memory(error):
        raise OutOfMemory(f"The model {facts.name!r} does not fit into memory.") from error


def _precision(torch: Any, spec: EngineSpec, facts: Model) -> Any:
    if spec.dtype != "auto":
        return getattr(torch, spec.dtype)
    if spec.device == "cpu":
        return torch.float32
    # The transformers of SD3 and Flux leave the range of float16.
    wide = facts.family in ("sd3", "flux", "schnell") and torch.cuda.is_bf16_supported()
    return torch.bfloat16 if wide else torch.float16


def _open(diffusers: Any, location: str, facts: Model, precision: Any) -> Any:
    if facts.file is None:
        return diffusers.AutoPipelineForText2Image.from_pretrained(
            location,
            dtype=precision,
            **({"variant": facts.variant} if facts.variant else {}),
            **dict.fromkeys(facts.absent),
        )
    if facts.file.suffix == ".gguf":
        return _open_gguf(diffusers, facts, precision)
    kind = getattr(diffusers, _SINGLE_FILE_CLASSES[facts.base])
    config = {"config": facts.config, "local_files_only": True} if facts.config else {}
    parts: dict[str, Any] = {}
    if facts.config and facts.base == "sd3":
        # A T5 that the folder has not is in no file of this size either.
        missing = ("text_encoder_3", "tokenizer_3")
        parts = {name: None for name in missing if not (Path(facts.config) / name).is_dir()}
    return kind.from_single_file(str(facts.file), dtype=precision, **config, **parts)


def _open_gguf(diffusers: Any, facts: Model, precision: Any) -> Any:
    """Load the quantized network, and everything else from the folder beside the file."""
    part, kind = _GGUF_NETWORKS[facts.base]
    network = getattr(diffusers, kind).from_single_file(
        str(facts.file),
        quantization_config=diffusers.GGUFQuantizationConfig(compute_dtype=precision),
        dtype=precision,
        config=facts.config,
        subfolder=part,
        local_files_only=True,
    )
    return diffusers.AutoPipelineForText2Image.from_pretrained(
        facts.config, dtype=precision, **{part: network}
    )


def _apply_loras(pipeline: Any, spec: EngineSpec) -> None:
    loras = spec.model.loras
    # The library takes these as module names, which know no dots.
    names = [f"lora{number}" for number in range(len(loras))]
    for name, lora in zip(names, loras, strict=True):
        path = Path(lora.location)
        try:
            pipeline.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name=name)
        except _LOAD_ERRORS as error:
            raise UsageError(
                f"The LoRA {lora.name!r} does not fit the model: {_one_line(error)}"
            ) from error
    if loras:
        try:
            pipeline.set_adapters(names, [lora.weight for lora in loras])
        except _LOAD_ERRORS as error:
            # A file for another kind of model is loaded without an error, and changes nothing.
            raise UsageError(f"The LoRAs do not fit the model: {_one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:300]
