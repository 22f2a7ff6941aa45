"""What single model files hold, found out from their headers without any library."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from bot.txt2img.config import LoraConfig, ModelConfig
from bot.txt2img.describe import describe
from bot.txt2img.file_hashes import file_sha256, files_version
from bot.txt2img.models import GUIDANCE, UnusableModel, read_configured, read_model
from bot.txt2img.single_files import UnreadableFile, read_contents

Tensors = Mapping[str, tuple[int, ...]]
NETWORK = "model.diffusion_model."
FIRST: Tensors = {f"{NETWORK}input_blocks.0.0.weight": (320, 4, 3, 3)}
SD: Tensors = {
    **FIRST,
    f"{NETWORK}middle_block.0.in_layers.0.weight": (1280,),
    "first_stage_model.encoder.conv_in.weight": (128, 3, 3, 3),
    "cond_stage_model.transformer.text_model.embeddings.position_ids": (1, 77),
}
SD2: Tensors = {**FIRST, "cond_stage_model.model.transformer.resblocks.0.ln_1.weight": (1024,)}
SDXL: Tensors = {
    **FIRST,
    f"{NETWORK}label_emb.0.0.weight": (1280, 2816),
    "conditioner.embedders.0.transformer.text_model.final_layer_norm.weight": (768,),
    "conditioner.embedders.1.model.ln_final.weight": (1280,),
}
LCM: Tensors = {**SD, f"{NETWORK}time_embed.cond_proj.weight": (320, 256)}
SD3: Tensors = {f"{NETWORK}joint_blocks.0.x_block.attn.qkv.weight": (1, 1)}
SD3_WHOLE: Tensors = {**SD3, "text_encoders.clip_l.transformer.text_model.x.weight": (1,)}
FLUX: Tensors = {"double_blocks.0.img_attn.qkv.weight": (1,), "guidance_in.in_layer.weight": (1,)}
SCHNELL: Tensors = {f"{NETWORK}double_blocks.0.img_attn.qkv.weight": (1,)}


def safetensors(tensors: Tensors) -> bytes:
    entries = {name: {"dtype": "F16", "shape": list(shape)} for name, shape in tensors.items()}
    head = json.dumps({"__metadata__": {"format": "pt"}, **entries}).encode()
    return struct.pack("<Q", len(head)) + head + bytes(2000)


def write_ckpt(path: Path, tensors: Tensors) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"state_dict": dict(tensors)}))


def gguf(tensors: Tensors) -> bytes:
    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    values = [
        text("general.architecture") + struct.pack("<I", 8) + text("flux"),
        text("general.file_type") + struct.pack("<II", 4, 1),
        text("numbers") + struct.pack("<IIQ", 9, 5, 3) + bytes(12),
        text("words") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("bc"),
        text("flag") + struct.pack("<IB", 7, 1),
    ]
    found = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(values)) + b"".join(values)
    for name, shape in tensors.items():
        found += text(name) + struct.pack("<I", len(shape))
        found += struct.pack(f"<{len(shape)}Q", *reversed(shape)) + struct.pack("<IQ", 0, 0)
    return found


FAMILIES: Mapping[str, tuple[Tensors, str, bool]] = {
    "sd": (SD, "sd", True),
    "sd2": (SD2, "sd", True),
    "sd without text encoders": (FIRST, "sd", False),
    "sdxl": (SDXL, "sdxl", True),
    "lcm": (LCM, "lcm", True),
    "sd3": (SD3, "sd3", False),
    "sd3 with clip": (SD3_WHOLE, "sd3", True),
    "flux": (FLUX, "flux", False),
    "schnell": (SCHNELL, "schnell", False),
}


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt", ".gguf"])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_found_in_every_format(tmp_path: Path, name: str, suffix: str) -> None:
    tensors, family, complete = FAMILIES[name]
    path = tmp_path / f"model{suffix}"
    match suffix:
        case ".safetensors":
            path.write_bytes(safetensors(tensors))
        case ".gguf":
            path.write_bytes(gguf(tensors))
        case _:
            write_ckpt(path, tensors)
    found = read_contents(path)
    assert (found.family, found.complete) == (family, complete)


OTHERS: Mapping[str, tuple[Tensors, str]] = {
    "kohya's LoRA": ({"lora_unet_down_blocks_0.lora_up.weight": (1,)}, "a LoRA"),
    "peft's LoRA": ({"unet.to_q.lora_A.weight": (1,), "unet.to_q.alpha": ()}, "a LoRA"),
    "inpainting": ({f"{NETWORK}input_blocks.0.0.weight": (320, 9, 3, 3)}, "for inpainting"),
    "editing": ({f"{NETWORK}input_blocks.0.0.weight": (320, 8, 3, 3)}, "or editing"),
    "refiner": ({**FIRST, "conditioner.embedders.0.model.ln_final.weight": (1,)}, "an SDXL ref"),
    "control": ({"control_model.input_blocks.0.0.weight": (1,)}, "a ControlNet"),
    "control of diffusers": ({"controlnet_down_blocks.0.weight": (1,)}, "a ControlNet"),
    "embedding": ({"emb_params": (4, 768)}, "an embedding"),
    "embedding of SDXL": ({"clip_l": (4, 768), "clip_g": (4, 1280)}, "an embedding"),
    "vae": ({"encoder.conv_in.weight": (1,), "decoder.conv_in.weight": (1,)}, "a VAE"),
    "clip": ({"text_model.embeddings.weight": (1,)}, "a text encoder"),
    "t5": ({"encoder.block.0.layer.0.weight": (1,)}, "a text encoder"),
    "part": ({"down_blocks.0.resnets.0.conv1.weight": (1,)}, "a part of a diffusers folder"),
    "language": ({"model.layers.0.self_attn.q_proj.weight": (1,)}, "none of the known models"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_text_to_image_model_is_named(tmp_path: Path, name: str) -> None:
    tensors, kind = OTHERS[name]
    path = tmp_path / "file.safetensors"
    path.write_bytes(safetensors(tensors))
    with pytest.raises(UnusableModel, match=kind):
        read_model(str(path), {})


def _other_archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme.txt", "hello")
    return buffer.getvalue()


DAMAGED: Mapping[str, tuple[str, Callable[[], bytes]]] = {
    "cut": (".safetensors", lambda: safetensors(SD)[:40]),
    "long": (".safetensors", lambda: struct.pack("<Q", 1 << 60) + b"{}"),
    "list": (".safetensors", lambda: struct.pack("<Q", 2) + b"[]"),
    "no shape": (".safetensors", lambda: struct.pack("<Q", 19) + b'{"a":{"shape":[[]]}}'),
    "no weights": (".safetensors", lambda: safetensors({})),
    "text": (".ckpt", lambda: b"hello there"),
    "an archive": (".ckpt", _other_archive),
    "cut gguf": (".gguf", lambda: gguf(FLUX)[:90]),
    "odd gguf": (".gguf", lambda: gguf(FLUX).replace(b"\x09\0\0\0", b"\x63\0\0\0")),
    "old gguf": (".gguf", lambda: b"GGUF" + struct.pack("<IQQ", 1, 1, 1)),
    "long gguf": (".gguf", lambda: b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 40)),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    suffix, content = DAMAGED[name]
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content())
    with pytest.raises(UnreadableFile):
        read_contents(path)


def test_a_pickle_is_not_executed(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",))

    path = tmp_path / "evil.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"a.weight": Evil(), **SD}))
    read_contents(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "tensors", "family", "base"),
    [
        ("dream.safetensors", SD, "sd", "sd"),
        ("sdxl-turbo.safetensors", SDXL, "turbo", "sdxl"),
        ("dream-lightning.safetensors", SDXL, "turbo", "sdxl"),
        ("lcm.safetensors", LCM, "lcm", "sd"),
        ("flux.safetensors", SCHNELL, "schnell", "flux"),
        ("flux-dev.safetensors", FLUX, "flux", "flux"),
    ],
)
def test_a_single_file_is_a_model_with_the_guidance_of_its_family(
    tmp_path: Path, name: str, tensors: Tensors, family: str, base: str
) -> None:
    path = tmp_path / name
    path.write_bytes(safetensors(tensors))
    found = read_model(str(path), {})
    assert (found.family, found.base, found.guidance) == (family, base, GUIDANCE[family])
    assert (found.name, found.file, found.config) == (path.stem, path, "")
    assert "downloads" in found.note
    assert found.weight_bytes == path.stat().st_size
    # A folder of the same name has what the file lacks.
    (tmp_path / path.stem).mkdir()
    (tmp_path / path.stem / "model_index.json").write_text("{}")
    found = read_model(str(path), {})
    assert (found.config, found.note) == (str(tmp_path / path.stem), "")


def test_a_gguf_file_needs_the_other_parts(tmp_path: Path) -> None:
    path = tmp_path / "flux.gguf"
    path.write_bytes(gguf(FLUX))
    with pytest.raises(UnusableModel, match="the network alone"):
        read_model(str(path), {})
    (tmp_path / "flux").mkdir()
    (tmp_path / "flux" / "model_index.json").write_text("{}")
    assert read_model(str(path), {}).family == "flux"


def test_the_table_says_more_than_the_file(tmp_path: Path) -> None:
    path, lora = tmp_path / "m.safetensors", tmp_path / "l.safetensors"
    path.write_bytes(safetensors(SD))
    lora.write_bytes(safetensors({"a.lora_A.weight": (1,)}))
    model = ModelConfig("m", location=str(path))

    def read(**changes: Any) -> tuple[str, float | None]:
        found = read_configured(ModelConfig("m", **{"location": str(path), **changes}), {})
        return found.family, found.guidance

    assert read() == ("sd", 9.0)
    assert read(family="turbo") == ("turbo", 0.0)
    assert read(family="SD1.5", guidance=6.5) == ("sd", 6.5)
    assert read(loras=(LoraConfig("film", str(lora)),)) == ("sd", 9.0)
    for changes, problem in (
        ({"family": "dalle"}, "family 'dalle' is unknown"),
        ({"loras": (LoraConfig("x", str(tmp_path / "none")),)}, "there is no LoRA"),
        ({"loras": (LoraConfig("x", str(path)),)}, "is no LoRA"),
    ):
        with pytest.raises(UnusableModel, match=problem):
            read(**changes)
    assert model.id == "m"


def test_the_whole_table_is_described(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(safetensors(SDXL))
    models = {
        "good": {"location": str(path), "guidance": 4.0},
        "drawn": {"engine": "sketch"},
        "gone": {"location": str(tmp_path / "gone.ckpt")},
        "odd": {"location": str(path), "sampler": "magic"},
        "served": {"location": "m", "kind": "checkpoint"},
    }
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"models": models}))
    found = describe({"TXT2IMG_CONFIG": str(config), "PAINTER_ENGINE": "diffusers"})
    table = found["models"]
    assert list(table) == list(models)
    keys = set(found) - {"models", "devices"}
    assert all(set(entry) == keys for entry in table.values())
    assert [table["good"][key] for key in ("model", "family", "guidance")] == ["m", "sdxl", 4.0]
    assert (table["drawn"]["engine"], table["drawn"]["problems"]) == ("sketch", [])
    for id, text in (
        ("gone", "there is no folder or file"),
        ("odd", "There are: DDIM, DDPM"),
        ("served", "the name of a checkpoint"),
    ):
        assert text in table[id]["problems"][0][0]
    assert describe({"TXT2IMG_CONFIG": "/nope"})["problems"][0][0].startswith("the configuration")


@pytest.mark.parametrize(
    ("megabytes", "config", "problems"),
    [
        (1, {}, 0),
        (20_000, {}, 1),
        (20_000, {"worker": {"offload": "model"}}, 0),
        (20_000, {"device": "cpu"}, 0),
    ],
)
def test_a_model_that_is_larger_than_the_gpu_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    megabytes: int,
    config: dict[str, object],
    problems: int,
) -> None:
    gpus = [{"name": "Tesla T4", "memory_mb": 15360}, {"name": "Odd", "memory_mb": 1}]
    monkeypatch.setattr("bot.txt2img.describe._list_gpus", lambda: gpus)
    path = tmp_path / "m.safetensors"
    path.write_bytes(safetensors(SDXL))
    os.truncate(path, megabytes << 20)  # sparse
    (tmp_path / "c.json").write_text(
        json.dumps({**config, "models": {"m": {"location": str(path)}}})
    )
    environment = {"TXT2IMG_CONFIG": str(tmp_path / "c.json"), "PAINTER_ENGINE": "diffusers"}
    found = describe(environment)
    texts = [problem for problem, _ in found["models"]["m"]["problems"] if "MiB" in problem]
    assert len(texts) == problems
    assert found["devices"] == gpus


def test_a_replaced_file_is_another_version(tmp_path: Path) -> None:
    folder, file = tmp_path / "model", tmp_path / "m.safetensors"
    folder.mkdir()
    for path, single in ((folder / "model_index.json", None), (file, file)):
        path.write_bytes(b"{}")
        before = files_version(str(folder), single, 7)
        assert before == files_version(str(folder), single, 7) != files_version("", single, 8)
        os.utime(path, (1, 1))
        assert files_version(str(folder), single, 7) != before
    assert files_version("some/name", None, 7) == ""


def test_a_hash_is_computed_once_until_the_file_changes(tmp_path: Path) -> None:
    path, cache = tmp_path / "m", tmp_path / "hashes.json"
    path.write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_sha256(path, None) == known
    assert file_sha256(path, cache) == known
    cache.write_text(cache.read_text().replace(known, "cached"))
    assert file_sha256(path, cache) == "cached"
    path.write_bytes(b"abcd")
    assert file_sha256(path, cache) not in (known, "cached")
    for damaged in ("{", "[]"):
        cache.write_text(damaged)
        assert len(file_sha256(path, cache)) == 64
    assert file_sha256(path, tmp_path / "no" / "folder.json")
    assert cache.stat().st_mode & 0o077 == 0
