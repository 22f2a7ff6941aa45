"""Save tiny pipelines with random weights, of every family and in every format.

Needs the extra ``gridbrush[diffusers]``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

NEEDS = "needs the extra gridbrush[diffusers]"


def libraries() -> tuple[Any, Any, Any]:
    """Return torch, diffusers and transformers, or skip."""
    torch = pytest.importorskip("torch", reason=NEEDS)
    diffusers = pytest.importorskip("diffusers", reason=NEEDS)
    transformers = pytest.importorskip("transformers", reason=NEEDS)
    torch.manual_seed(0)
    return torch, diffusers, transformers


def save_sd(folder: Path, *, distilled: bool = False) -> Path:
    """Save Stable Diffusion; ``distilled``: a latent consistency model."""
    _, diffusers, transformers = libraries()
    tokenizer = _clip_tokenizer(folder, transformers)
    kind = diffusers.StableDiffusionPipeline
    scheduler = diffusers.DDIMScheduler
    if distilled:
        kind, scheduler = diffusers.LatentConsistencyModelPipeline, diffusers.LCMScheduler
    kind(
        unet=_unet(diffusers, time_cond_proj_dim=32 if distilled else None),
        vae=_autoencoder(diffusers),
        text_encoder=transformers.CLIPTextModel(_clip_config(tokenizer, transformers)),
        tokenizer=tokenizer,
        scheduler=scheduler(**BETAS, clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        image_encoder=None,
        requires_safety_checker=False,
    ).save_pretrained(folder, safe_serialization=True)
    return folder


def save_lcm(folder: Path) -> Path:
    """Save a latent consistency model."""
    return save_sd(folder, distilled=True)


def save_sdxl(folder: Path) -> Path:
    """Save SDXL, which has two text encoders and is told the size."""
    _, diffusers, transformers = libraries()
    tokenizer = _clip_tokenizer(folder, transformers)
    config = _clip_config(tokenizer, transformers)
    diffusers.StableDiffusionXLPipeline(
        unet=_unet(
            diffusers,
            cross_attention_dim=64,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + 32,
            transformer_layers_per_block=1,
            use_linear_projection=True,
        ),
        vae=_autoencoder(diffusers),
        text_encoder=transformers.CLIPTextModel(config),
        text_encoder_2=transformers.CLIPTextModelWithProjection(config),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        scheduler=diffusers.EulerDiscreteScheduler(**BETAS),
        add_watermarker=False,
    ).save_pretrained(folder, safe_serialization=True)
    return folder


def save_sd3(folder: Path, *, t5: bool = True) -> Path:
    """Save Stable Diffusion 3, which has up to three text encoders."""
    _, diffusers, transformers = libraries()
    tokenizer = _clip_tokenizer(folder, transformers)
    config = _clip_config(tokenizer, transformers)
    diffusers.StableDiffusion3Pipeline(
        transformer=diffusers.SD3Transformer2DModel(
            sample_size=32,
            patch_size=1,
            in_channels=4,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            caption_projection_dim=32,
            joint_attention_dim=64,
            pooled_projection_dim=64,
            out_channels=4,
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=_autoencoder(diffusers, scaling_factor=1.5, shift_factor=0.06),
        text_encoder=transformers.CLIPTextModelWithProjection(config),
        tokenizer=tokenizer,
        text_encoder_2=transformers.CLIPTextModelWithProjection(config),
        tokenizer_2=tokenizer,
        text_encoder_3=_t5(transformers, 64) if t5 else None,
        tokenizer_3=_t5_tokenizer(transformers) if t5 else None,
    ).save_pretrained(folder, safe_serialization=True)
    return folder


def save_sd3_without_t5(folder: Path) -> Path:
    """Save Stable Diffusion 3 without its largest text encoder."""
    return save_sd3(folder, t5=False)


def save_flux(folder: Path) -> Path:
    """Save Flux, which takes guidance as an input."""
    _, diffusers, transformers = libraries()
    tokenizer = _clip_tokenizer(folder, transformers)
    diffusers.FluxPipeline(
        transformer=diffusers.FluxTransformer2DModel(
            patch_size=1,
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=32,
            axes_dims_rope=[4, 4, 8],
            guidance_embeds=True,
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=_autoencoder(diffusers, scaling_factor=1.5, shift_factor=0.06),
        text_encoder=transformers.CLIPTextModel(_clip_config(tokenizer, transformers)),
        tokenizer=tokenizer,
        text_encoder_2=_t5(transformers, 32),
        tokenizer_2=_t5_tokenizer(transformers),
    ).save_pretrained(folder, safe_serialization=True)
    return folder


SAVERS: Mapping[str, Callable[[Path], Path]] = {
    "sd": save_sd,
    "lcm": save_lcm,
    "sdxl": save_sdxl,
    "sd3": save_sd3,
    "sd3-without-t5": save_sd3_without_t5,
    "flux": save_flux,
}


def save_single_file(folder: Path, path: Path, *, network_only: bool = False) -> Path:
    """Save the Stable Diffusion pipeline in ``folder`` as one file, with the original names."""
    from safetensors.torch import save_file

    save_file(original_tensors(folder, network_only=network_only), path)
    return path


def save_ckpt(folder: Path, path: Path) -> Path:
    """Save the Stable Diffusion pipeline in ``folder`` as a pickle, as before safetensors."""
    torch, _, _ = libraries()
    torch.save({"state_dict": original_tensors(folder), "global_step": 7}, path)
    return path


def save_gguf(folder: Path, path: Path) -> Path:
    """Save the network of the Stable Diffusion pipeline in ``folder``, quantized."""
    gguf = pytest.importorskip("gguf", reason=NEEDS)
    writer = gguf.GGUFWriter(path, "sd1")
    for name, weight in original_tensors(folder, network_only=True).items():
        data = weight.float().numpy()
        if data.ndim == 2 and data.shape[1] % 32 == 0:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(data, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def original_tensors(folder: Path, *, network_only: bool = False) -> dict[str, Any]:
    """Return a Stable Diffusion pipeline's tensors under the names of the original repository."""
    from safetensors.torch import load_file

    def read(part: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = load_file(folder / part / f"{name}.safetensors")
        return found

    unet = read("unet", "diffusion_pytorch_model")
    tensors = {f"model.diffusion_model.{_unet_name(name)}": unet[name] for name in unet}
    if network_only:
        return tensors
    for name, weight in read("vae", "diffusion_pytorch_model").items():
        original = _vae_name(name)
        is_linear = re.search(r"attn_1\.(q|k|v|proj_out)\.weight", original)
        stored = weight[:, :, None, None] if is_linear else weight
        tensors[f"first_stage_model.{original}"] = stored
    for name, weight in read("text_encoder", "model").items():
        prefixed = name if name.startswith("text_model.") else f"text_model.{name}"
        tensors[f"cond_stage_model.transformer.{prefixed}"] = weight
    return {name: weight.contiguous() for name, weight in tensors.items()}


def save_lora(path: Path, pipeline: Path, scale: float = 50.0) -> Path:
    """Save a LoRA that changes the attention of the network in ``pipeline`` strongly."""
    torch, _, _ = libraries()
    from safetensors.torch import load_file, save_file

    unet = load_file(pipeline / "unet" / "diffusion_pytorch_model.safetensors")
    tensors = {}
    for name, weight in unet.items():
        if re.search(r"attn[12]\.to_[qkv]\.weight$", name):
            base = f"unet.{name.removesuffix('.weight')}"
            tensors[f"{base}.lora_A.weight"] = torch.randn(4, weight.shape[1])
            tensors[f"{base}.lora_B.weight"] = torch.randn(weight.shape[0], 4) * scale
    assert tensors
    save_file(tensors, path)
    return path


BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
_PER_BLOCK = 2  # a block's single layer and its down- or upsampler, in the original's numbers
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_UNET = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
    # down: conv_in, then block 0 (a resnet, a downsampler), then block 1 (a resnet, attention)
    "down_blocks.0.resnets.0": "input_blocks.1.0",
    "down_blocks.0.downsamplers.0.conv": "input_blocks.2.0.op",
    "down_blocks.1.resnets.0": "input_blocks.3.0",
    "down_blocks.1.attentions.0": "input_blocks.3.1",
    "up_blocks.0.resnets.0": "output_blocks.0.0",
    "up_blocks.0.attentions.0": "output_blocks.0.1",
    "up_blocks.0.resnets.1": "output_blocks.1.0",
    "up_blocks.0.attentions.1": "output_blocks.1.1",
    "up_blocks.0.upsamplers.0.conv": "output_blocks.1.2.conv",
    "up_blocks.1.resnets.0": "output_blocks.2.0",
    "up_blocks.1.resnets.1": "output_blocks.3.0",
}


def _unet_name(name: str) -> str:
    for ours, original in _UNET.items():
        if name.startswith(f"{ours}."):
            rest = name.removeprefix(f"{ours}.")
            part, _, last = rest.partition(".")
            if "resnets" in ours:
                return f"{original}.{_RESNET[part]}.{last}"
            return f"{original}.{rest}"
    raise KeyError(name)


def _vae_name(name: str) -> str:
    last = 1  # of two blocks
    name = re.sub(r"down_blocks\.(\d)\.resnets\.(\d)", r"down.\1.block.\2", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0\.conv", r"down.\1.downsample.conv", name)
    name = re.sub(
        r"up_blocks\.(\d)\.resnets\.(\d)",
        lambda found: f"up.{last - int(found[1])}.block.{found[2]}",
        name,
    )
    name = re.sub(
        r"up_blocks\.(\d)\.upsamplers\.0\.conv",
        lambda found: f"up.{last - int(found[1])}.upsample.conv",
        name,
    )
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda at: f"mid.block_{int(at[1]) + 1}", name)
    name = name.replace("mid_block.attentions.0", "mid.attn_1")
    for ours, original in (
        *((".group_norm", ".norm"), (".to_q", ".q"), (".to_k", ".k"), (".to_v", ".v")),
        *((".to_out.0", ".proj_out"), ("conv_norm_out", "norm_out")),
        ("conv_shortcut", "nin_shortcut"),
    ):
        name = name.replace(ours, original)
    return name


def _unet(diffusers: Any, **changes: object) -> Any:
    return diffusers.UNet2DConditionModel(
        **{
            "sample_size": 32,
            "in_channels": 4,
            "out_channels": 4,
            "layers_per_block": 1,
            "block_out_channels": (32, 64),
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
            "cross_attention_dim": 32,
            "attention_head_dim": 8,
            "norm_num_groups": 8,
            **changes,
        }
    )


def _autoencoder(diffusers: Any, **changes: object) -> Any:
    return diffusers.AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=[32, 64],
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        norm_num_groups=8,
        **changes,
    )


def _clip_config(tokenizer: Any, transformers: Any) -> Any:
    return transformers.CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=37,
        num_attention_heads=4,
        num_hidden_layers=2,
        max_position_embeddings=77,
        projection_dim=32,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
    )


def _clip_tokenizer(folder: Path, transformers: Any) -> Any:
    """Return CLIP's tokenizer with an alphabet of single bytes and no merges."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = (byte for byte in range(256) if byte not in printable)
    letters = [*map(chr, printable), *(chr(256 + number) for number, _ in enumerate(hidden))]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    folder.mkdir(parents=True, exist_ok=True)
    files = folder.with_name(f"{folder.name}.vocab.json"), folder.with_name("merges.txt")
    files[0].write_text(json.dumps(vocabulary), encoding="utf-8")
    files[1].write_text("#version: 0.2\n", encoding="utf-8")
    return transformers.CLIPTokenizer(*map(str, files), model_max_length=77)


def _t5(transformers: Any, width: int) -> Any:
    return transformers.T5EncoderModel(
        transformers.T5Config(
            vocab_size=300,
            d_model=width,
            d_kv=8,
            d_ff=37,
            num_layers=1,
            num_heads=4,
            feed_forward_proj="gated-gelu",
        )
    )


def _t5_tokenizer(transformers: Any) -> Any:
    """Return a fast T5 tokenizer of single characters."""
    letters = [chr(code) for code in range(32, 256)]
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    vocabulary += [(letter, -3.0) for letter in letters if letter != " "]
    return transformers.T5TokenizerFast(vocab=vocabulary, extra_ids=0, model_max_length=77)
