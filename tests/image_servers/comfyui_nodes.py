"""The nodes of the stand-in ComfyUI: what ``/object_info`` says of them, and what they give.

No model runs. What a node gives is a text that holds everything it depends on, so that pictures are
equal exactly where those of a real server would be: a picture is a patch of a colour that is drawn
from the sampler's inputs, its seed and its number among the noises of that seed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import Image

SAMPLERS = ["euler", "euler_ancestral", "dpmpp_2m", "dpmpp_2m_sde", "ddim", "lcm", "uni_pc"]
SCHEDULERS = ["normal", "karras", "exponential", "sgm_uniform", "simple", "ddim_uniform", "beta"]
_SIZE = ("INT", {"default": 512, "min": 16, "max": 16384, "step": 8})
_TEXT = ("STRING", {"multiline": True})
_CLIP = ("CLIP",)


@dataclass(frozen=True)
class Latents:
    """A batch: the size, and for each picture its number among the noises and what it shows."""

    width: int
    height: int
    pictures: tuple[tuple[int, str], ...]


@dataclass
class Machine:
    """What nodes use of the server: its files, and the hooks of a running job."""

    checkpoints: list[str] = field(default_factory=lambda: ["sd15.safetensors"])
    loras: list[str] = field(default_factory=list)
    upscalers: list[str] = field(default_factory=list)
    inputs: dict[str, Image.Image] = field(default_factory=dict)
    max_batch: int = 64
    missing: set[str] = field(default_factory=set)
    """Node classes that this server does not have."""

    def object_info(self) -> dict[str, Any]:
        return {
            name: {
                "input": {"required": required(self)},
                "input_order": {"required": list(required(self))},
                "output": list(outputs),
                "output_node": name == "SaveImage",
                "name": name,
            }
            for name, (required, outputs) in _NODES.items()
            if name not in self.missing
        }


_NODES: Mapping[str, tuple[Callable[[Machine], dict[str, Any]], tuple[str, ...]]] = {
    "CheckpointLoaderSimple": (
        lambda machine: {"ckpt_name": (machine.checkpoints, {})},
        ("MODEL", "CLIP", "VAE"),
    ),
    "LoraLoader": (
        lambda machine: {
            "model": ("MODEL",),
            "clip": _CLIP,
            "lora_name": (machine.loras, {}),
            "strength_model": ("FLOAT", {"min": -100.0, "max": 100.0}),
            "strength_clip": ("FLOAT", {"min": -100.0, "max": 100.0}),
        },
        ("MODEL", "CLIP"),
    ),
    "ModelSamplingSD3": (
        lambda _: {"model": ("MODEL",), "shift": ("FLOAT", {"min": 0.0, "max": 100.0})},
        ("MODEL",),
    ),
    "CLIPTextEncode": (lambda _: {"text": _TEXT, "clip": _CLIP}, ("CONDITIONING",)),
    "CLIPTextEncodeSDXL": (
        lambda _: {
            "clip": _CLIP,
            "text_g": _TEXT,
            "text_l": _TEXT,
            **dict.fromkeys(("width", "height", "target_width", "target_height"), _SIZE),
            **dict.fromkeys(("crop_w", "crop_h"), ("INT", {"min": 0, "max": 16384})),
        },
        ("CONDITIONING",),
    ),
    "FluxGuidance": (
        lambda _: {
            "conditioning": ("CONDITIONING",),
            "guidance": ("FLOAT", {"min": 0.0, "max": 100.0}),
        },
        ("CONDITIONING",),
    ),
    "ConditioningZeroOut": (lambda _: {"conditioning": ("CONDITIONING",)}, ("CONDITIONING",)),
    **dict.fromkeys(
        ("EmptyLatentImage", "EmptySD3LatentImage"),
        (
            lambda _: {
                "width": _SIZE,
                "height": _SIZE,
                "batch_size": ("INT", {"min": 1, "max": 4096}),
            },
            ("LATENT",),
        ),
    ),
    "LatentFromBatch": (
        lambda _: {
            "samples": ("LATENT",),
            "batch_index": ("INT", {"min": 0, "max": 63}),
            "length": ("INT", {"min": 1, "max": 64}),
        },
        ("LATENT",),
    ),
    "RepeatLatentBatch": (
        lambda _: {"samples": ("LATENT",), "amount": ("INT", {"min": 1, "max": 64})},
        ("LATENT",),
    ),
    "KSampler": (
        lambda _: {
            "model": ("MODEL",),
            "seed": ("INT", {"min": 0, "max": 2**64 - 1}),
            "steps": ("INT", {"min": 1, "max": 10000}),
            "cfg": ("FLOAT", {"min": 0.0, "max": 100.0}),
            "sampler_name": (SAMPLERS, {}),
            # The form of newer nodes.
            "scheduler": ("COMBO", {"options": SCHEDULERS}),
            "positive": ("CONDITIONING",),
            "negative": ("CONDITIONING",),
            "latent_image": ("LATENT",),
            "denoise": ("FLOAT", {"min": 0.0, "max": 1.0}),
        },
        ("LATENT",),
    ),
    "VAEDecode": (lambda _: {"samples": ("LATENT",), "vae": ("VAE",)}, ("IMAGE",)),
    "VAEEncode": (lambda _: {"pixels": ("IMAGE",), "vae": ("VAE",)}, ("LATENT",)),
    "LoadImage": (lambda machine: {"image": (sorted(machine.inputs), {})}, ("IMAGE", "MASK")),
    "UpscaleModelLoader": (
        lambda machine: {"model_name": (machine.upscalers, {})},
        ("UPSCALE_MODEL",),
    ),
    "ImageUpscaleWithModel": (
        lambda _: {"upscale_model": ("UPSCALE_MODEL",), "image": ("IMAGE",)},
        ("IMAGE",),
    ),
    "ImageScale": (
        lambda _: {
            "image": ("IMAGE",),
            "upscale_method": (["nearest-exact", "bilinear", "lanczos"], {}),
            "width": _SIZE,
            "height": _SIZE,
            "crop": (["disabled", "center"], {}),
        },
        ("IMAGE",),
    ),
    "SaveImage": (lambda _: {"images": ("IMAGE",), "filename_prefix": ("STRING", {})}, ()),
    # The node of tests/data/comfyui, for tests that run against a real server, too.
    "GridbrushTestSampler": (
        lambda _: {
            "text": _TEXT,
            "seed": ("INT", {"min": 0, "max": 2**64 - 1}),
            "steps": ("INT", {"min": 1, "max": 1000}),
            "width": _SIZE,
            "height": _SIZE,
            "samples": ("INT", {"min": 1, "max": 64}),
            "fail": ("INT", {"min": -1, "max": 1000}),
            "milliseconds": ("INT", {"min": 0, "max": 60000}),
        },
        ("IMAGE",),
    ),
}


class NodeError(Exception):
    """What a node raises; ``kind`` is the class's whole name, as messages have it."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def colour(*words: object) -> tuple[int, int, int]:
    digest = hashlib.sha256("\0".join(map(str, words)).encode()).digest()
    return digest[0], digest[1], digest[2]


def evaluate(machine: Machine, node_class: str, inputs: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a node gives; the samplers' steps are made by the server."""
    match node_class:
        case "CheckpointLoaderSimple":
            name = inputs["ckpt_name"]
            return f"model {name}", f"clip {name}", f"vae {name}"
        case "LoraLoader":
            lora = f"+ {inputs['lora_name']} {inputs['strength_model']}"
            return f"{inputs['model']} {lora}", f"{inputs['clip']} {lora}"
        case "EmptyLatentImage" | "EmptySD3LatentImage":
            pictures = tuple((number, "") for number in range(inputs["batch_size"]))
            return (Latents(inputs["width"], inputs["height"], pictures),)
        case "LatentFromBatch":
            latents, first = inputs["samples"], inputs["batch_index"]
            return (replace(latents, pictures=latents.pictures[first : first + inputs["length"]]),)
        case "RepeatLatentBatch":
            latents = inputs["samples"]
            (only,) = latents.pictures
            repeated = tuple((number, only[1]) for number in range(inputs["amount"]))
            return (replace(latents, pictures=repeated),)
        case "KSampler":
            latents = inputs["latent_image"]
            if len(latents.pictures) > machine.max_batch:
                raise NodeError("torch.OutOfMemoryError", "Allocation on device 0 would exceed it.")
            settings = {key: value for key, value in inputs.items() if key != "latent_image"}
            shown = tuple(
                (number, f"{settings} {number} {below}") for number, below in latents.pictures
            )
            return (replace(latents, pictures=shown),)
        case "VAEDecode":
            latents = inputs["samples"]
            size = latents.width, latents.height
            return ([Image.new("RGB", size, colour(what)) for _, what in latents.pictures],)
        case "VAEEncode":
            (picture,) = inputs["pixels"]
            digest = hashlib.sha256(picture.tobytes()).hexdigest()
            return (Latents(picture.width, picture.height, ((0, digest),)),)
        case "LoadImage":
            return [machine.inputs[inputs["image"]]], None
        case "ImageUpscaleWithModel":
            return (
                [image.resize((image.width * 2, image.height * 2)) for image in inputs["image"]],
            )
        case "ImageScale":
            size = inputs["width"], inputs["height"]
            return ([image.resize(size) for image in inputs["image"]],)
        case "GridbrushTestSampler":
            size = inputs["width"], inputs["height"]
            return (
                [
                    Image.new("RGB", size, colour(inputs["seed"], inputs["text"], number))
                    for number in range(inputs["samples"])
                ],
            )
        case _:  # what is a text in, is a text out
            return (f"{node_class}({dict(inputs)})",)
