"""Test the inspection of folders, files and names, without any library."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from bot.txt2img.describe import describe
from bot.txt2img.models import GUIDANCE, UnusableModel, read_model
from tests.unit.txt2img.conftest import Paint

CLASSES = {
    "sd": "StableDiffusionPipeline",
    "sdxl": "StableDiffusionXLPipeline",
    "sd3": "StableDiffusion3Pipeline",
    "flux": "FluxPipeline",
    "lcm": "LatentConsistencyModelPipeline",
}
WEIGHTS = b"w" * 2000


def put(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(json.dumps(content), encoding="utf-8")


def tensors(*names: str) -> bytes:
    head = json.dumps({"__metadata__": {}, **{name: {"shape": []} for name in names}}).encode()
    return struct.pack("<Q", len(head)) + head + WEIGHTS


def model(
    folder: Path,
    kind: str = "StableDiffusionPipeline",
    *,
    scheduler: Mapping[str, object] | None = None,
    network: Mapping[str, object] | None = None,
    **parts: object,
) -> Path:
    name = "transformer" if kind in (CLASSES["flux"], CLASSES["sd3"]) else "unet"
    listed = {name: ["diffusers", "Net"], "scheduler": ["diffusers", "S"], **parts}
    put(folder / "model_index.json", {"_class_name": kind, "_diffusers_version": "1", **listed})
    put(folder / name / "config.json", network or {})
    put(folder / name / "diffusion_pytorch_model.safetensors", WEIGHTS)
    put(folder / "scheduler" / "scheduler_config.json", scheduler or {"_class_name": "DDIM"})
    return folder


EULER: dict[str, object] = {"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "trailing"}
FAMILIES: dict[str, tuple[str, str, dict[str, dict[str, object]], bool]] = {
    # folder's name: class, family, what its files say, whether negative prompts act
    "sd-2-1": (CLASSES["sd"], "sd", {}, True),
    "sd-turbo": (CLASSES["sd"], "turbo", {}, False),
    "fast": (CLASSES["sd"], "turbo", {"scheduler": EULER}, False),
    "zero-snr": (CLASSES["sd"], "sd", {"scheduler": {**EULER, "rescale_betas_zero_snr": 1}}, True),
    "dream": (CLASSES["sd"], "lcm", {"scheduler": {"_class_name": "LCMScheduler"}}, False),
    "guided": (CLASSES["sd"], "lcm", {"network": {"time_cond_proj_dim": 256}}, False),
    "lcm": (CLASSES["lcm"], "lcm", {}, False),
    "sdxl": (CLASSES["sdxl"], "sdxl", {}, True),
    "sdxl-Lightning": (CLASSES["sdxl"], "turbo", {}, False),
    "sd3": (CLASSES["sd3"], "sd3", {}, True),
    "flux-dev": (CLASSES["flux"], "flux", {"network": {"guidance_embeds": True}}, False),
    "flux-fast": (CLASSES["flux"], "schnell", {"network": {"guidance_embeds": False}}, False),
    "FLUX.1-schnell": (CLASSES["flux"], "schnell", {}, False),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_has_its_own_guidance(tmp_path: Path, name: str) -> None:
    kind, family, files, negative = FAMILIES[name]
    found = read_model(str(model(tmp_path / name, kind, **files)), {})
    assert (found.name, found.family, found.guidance) == (name, family, GUIDANCE[family])
    assert found.negative_acts(None) is negative


@pytest.mark.parametrize(
    ("family", "scale", "acts"),
    [("sd", 9.0, True), ("sd", 1.0, False), ("sdxl", 0.0, False), ("flux", 9.0, False)],
)
def test_a_scale_that_is_asked_for_decides_about_the_negative_prompt(
    tmp_path: Path, family: str, scale: float, acts: bool
) -> None:
    found = read_model(str(model(tmp_path / "m", CLASSES[family])), {})
    assert found.negative_acts(scale) is acts


LORA = tensors("unet.to_q.lora_A.weight", "unet.to_q.lora_B.weight", "unet.to_q.alpha")
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"
Lay = Callable[[Path], object]

MISTAKES: dict[str, tuple[Lay, str, str]] = {
    "nothing": (lambda at: None, "there is no folder", "whole path"),
    "a checkpoint.safetensors": (
        lambda at: put(at, tensors("model.diffusion_model.input")),
        "is none of the known models",
        "sdxl",
    ),
    "a checkpoint.ckpt": (lambda at: put(at, WEIGHTS), "of another format", "again"),
    "a model.gguf": (lambda at: put(at, b"GGUF"), "it is damaged", "again"),
    "a pointer.safetensors": (lambda at: put(at, POINTER), "a pointer of Git LFS", "again"),
    "a pointer.ckpt": (lambda at: put(at, POINTER), "a pointer of Git LFS", "again"),
    "nothing.ckpt": (lambda at: put(at, b""), "it is empty", "again"),
    "a lora.safetensors": (lambda at: put(at, LORA), "is a LoRA and not a model", "sdxl"),
    "a text.txt": (lambda at: put(at, b"hi"), "is a file and not a model's folder", "whole path"),
    "damaged.safetensors": (lambda at: put(at, b"\xff" * 99), "it is damaged", "again"),
    "cut.safetensors": (lambda at: put(at, b"\x09" + bytes(9)), "it is damaged", "again"),
    "empty": (lambda at: at.mkdir(), "is empty", "model_index.json"),
    "LoRA by its name": (
        lambda at: put(at / "pytorch_lora_weights.safetensors", WEIGHTS),
        "holds a LoRA",
        "whole path",
    ),
    "LoRA of peft": (lambda at: put(at / "adapter_config.json", {}), "holds a LoRA", "whole"),
    "LoRA by its tensors": (lambda at: put(at / "style.safetensors", LORA), "a LoRA", "whole"),
    "checkpoints": (
        lambda at: put(at / "v1-5.safetensors", tensors("model.diffusion_model.x")),
        "but single files such as v1-5.safetensors",
        "Name the file",
    ),
    "a part": (
        lambda at: put(at / "config.json", {"_class_name": "UNet2DConditionModel"}),
        "is a part of a model (UNet2DConditionModel)",
        "folder around it",
    ),
    "a level too high": (lambda at: model(at / "inner"), "no model_index", "inner has one"),
    "pictures": (lambda at: put(at / "a.png", b"png"), "has no model_index.json", "whole path"),
    "damaged": (lambda at: put(at / "model_index.json", b"{"), "is damaged", "again"),
    "a list": (lambda at: put(at / "model_index.json", b"[]"), "is damaged", "again"),
    "video": (
        lambda at: model(at, "WanPipeline"),
        "is a WanPipeline, which this engine does not support",
        "StableDiffusionXLPipeline",
    ),
    "inpainting": (
        lambda at: model(at, "StableDiffusionInpaintPipeline"),
        "is a StableDiffusionInpaintPipeline",
        "Name a model of one of",
    ),
    "without a class": (lambda at: put(at / "model_index.json", {}), "is a None", "one of"),
    "without a part": (
        lambda at: model(at, vae=["diffusers", "Vae"]),
        "lacks its part vae",
        "gain",
    ),
    "without weights": (
        lambda at: put(model(at, vae=["diffusers", "Vae"]) / "vae" / "config.json", {}),
        "vae has no weights",
        "whole",
    ),
    "pointers": (
        lambda at: put(model(at) / "unet/diffusion_pytorch_model.safetensors", POINTER),
        "holds no weights",
        "git lfs pull",
    ),
    "hollow": (
        lambda at: put(model(at) / "unet/diffusion_pytorch_model.safetensors", b""),
        "holds no weights",
        "again",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_is_no_model_is_named_with_what_helps(tmp_path: Path, name: str) -> None:
    lay, problem, hint = MISTAKES[name]
    lay(tmp_path / name)
    with pytest.raises(UnusableModel) as caught:
        read_model(str(tmp_path / name), {})
    assert problem in caught.value.problem
    assert hint in caught.value.hint
    found = describe({"PAINTER_ENGINE": "diffusers", "PAINTER_MODEL": str(tmp_path / name)})
    problems = found["problems"]
    assert isinstance(problems, list)
    assert problems[0] == (caught.value.problem, caught.value.hint)


@pytest.mark.parametrize(
    "name", ["/nope/model", "./model", "../model", "~/model", "a/b/c", "-x", "C:\\models\\sd", " "]
)
def test_what_cannot_be_a_name_on_the_hub_is_a_folder_that_is_not_there(name: str) -> None:
    with pytest.raises(UnusableModel, match="there is no folder"):
        read_model(name, {})


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    folder = model(tmp_path / "m")
    folder.chmod(0)
    with pytest.raises(UnusableModel, match="cannot be read"):
        read_model(str(folder), {})
    folder.chmod(0o700)


def test_parts_saved_as_none_and_half_precision_are_loaded_as_such(tmp_path: Path) -> None:
    none: list[None] = [None, None]
    folder = model(tmp_path / "m", CLASSES["sd3"], text_encoder_3=none, tokenizer_3=none)
    weights = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".fp16.safetensors"))
    found = read_model(str(folder), {})
    assert (found.absent, found.variant) == (("text_encoder_3", "tokenizer_3"), "fp16")


def test_a_model_of_the_hub_is_read_where_it_was_downloaded(tmp_path: Path) -> None:
    cache = tmp_path / "hub" / "models--acme--paint" / "snapshots" / "0a1b"
    model(cache, CLASSES["sdxl"])
    for environment in ({"HF_HOME": str(tmp_path)}, {"HF_HUB_CACHE": str(tmp_path / "hub")}):
        found = read_model("acme/paint", environment)
        assert (found.name, found.family, found.note) == ("acme/paint", "sdxl", "")


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("stabilityai/stable-diffusion-2-1", "sd"),
        ("stabilityai/sdxl-turbo", "turbo"),
        ("stabilityai/stable-diffusion-xl-base-1.0", "sdxl"),
        ("stabilityai/stable-diffusion-3.5-medium", "sd3"),
        ("black-forest-labs/FLUX.1-schnell", "schnell"),
        ("black-forest-labs/FLUX.1-dev", "flux"),
        ("SimianLuo/LCM_Dreamshaper_v7", "lcm"),
        ("acme/anything", ""),
    ],
)
def test_a_model_that_is_not_downloaded_is_judged_by_its_name(name: str, family: str) -> None:
    found = read_model(name, {"HOME": "/nowhere"})
    assert (found.family, found.guidance) == (family, GUIDANCE.get(family))
    assert "not downloaded yet" in found.note
    with pytest.raises(UnusableModel, match="HF_HUB_OFFLINE is set"):
        read_model(name, {"HF_HUB_OFFLINE": "1"})


@pytest.mark.parametrize(
    ("environment", "engine", "problems"),
    [
        ({}, "sketch", 0),
        ({"PAINTER_ENGINE": "sketch", "PAINTER_MODEL": "/nope"}, "sketch", 0),
        ({"PAINTER_ENGINE": "diffusers"}, "diffusers", 1),
    ],
)
def test_an_engine_is_described_as_it_is_chosen(
    environment: dict[str, str], engine: str, problems: int
) -> None:
    found = describe(environment)
    assert found["engine"] == engine
    assert isinstance(found["problems"], list)
    assert len(found["problems"]) >= problems
    assert bool(found["problems"]) == bool(problems)


def test_a_run_reports_what_painted(paint: Paint, tmp_path: Path) -> None:
    report = tmp_path / "report"
    words = ("--n_iter=1", "--n_samples=1", f"--outdir={tmp_path / 'out'}")
    assert paint(*words, PAINTER_REPORT=str(report)).status == 0
    assert report.read_text() == "engine=sketch\nsteps=4\nnegative=1\n"
    # Numbers of files count what lies in the folder, so the report is not put there.
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"grid-0000.png", "samples"}
