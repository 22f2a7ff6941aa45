"""Write a Stable Diffusion 1 checkpoint with random weights: ``python -m … FILE``.

It paints noise, but is loaded and run like any other: the smallest layout that stable-diffusion.cpp
knows (the U-Net of "tiny SD"), in half precision. Of each tensor only the beginning is written, the
rest is a hole in the file: 1 GB long, 50 MB on the disk. Needs no library.
"""

from __future__ import annotations

import json
import math
import random
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

Shape = tuple[int, ...]
_WRITTEN = 32 * 1024
"""Numbers of a tensor that are not zero."""
_TIME, _TEXT, _CHANNELS = 1280, 768, 320


def tensors() -> Iterator[tuple[str, Shape]]:
    """Yield names and shapes in the layout of Stability's code."""
    yield from _prefix("model.diffusion_model.", _unet())
    yield from _prefix("cond_stage_model.transformer.text_model.", _text_encoder())
    yield from _prefix("first_stage_model.", _autoencoder())


def write(path: Path) -> None:
    """Write the checkpoint; the same bytes each time."""
    header: dict[str, object] = {}
    offset = 0
    shapes = list(tensors())
    for name, shape in shapes:
        size = 2 * math.prod(shape)
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    part = path.with_name(f"{path.name}.part")
    with part.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes:
            values = _values(name, shape)
            file.write(struct.pack(f"<{len(values)}e", *values))
            file.seek(2 * (math.prod(shape) - len(values)), 1)
        file.truncate(8 + len(text) + offset)
    part.replace(path)


def _values(name: str, shape: Shape) -> list[float]:
    count = min(math.prod(shape), _WRITTEN)
    if len(shape) == 1:
        return [0.0 if name.endswith("bias") else 1.0] * count
    source = random.Random(name)  # no secret
    deviation = 1 / math.sqrt(math.prod(shape[1:]))
    return [source.gauss(0.0, deviation) for _ in range(count)]


def _prefix(prefix: str, parts: Iterator[tuple[str, Shape]]) -> Iterator[tuple[str, Shape]]:
    for name, shape in parts:
        yield prefix + name, shape


def _layer(name: str, *weight: int, bias: bool = True) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", weight
    if bias:
        yield f"{name}.bias", weight[:1]


def _unet() -> Iterator[tuple[str, Shape]]:
    yield from _layer("time_embed.0", _TIME, _CHANNELS)
    yield from _layer("time_embed.2", _TIME, _TIME)
    yield from _layer("input_blocks.0.0", _CHANNELS, 4, 3, 3)
    one, two, four = _CHANNELS, 2 * _CHANNELS, 4 * _CHANNELS
    for block, before, after in ((1, one, one), (4, one, two), (7, two, four)):
        yield from _prefix(f"input_blocks.{block}.0.", _residual(before, after))
        yield from _prefix(f"input_blocks.{block}.1.", _transformer(after))
    for block, width in ((3, one), (6, two)):
        yield from _layer(f"input_blocks.{block}.0.op", width, width, 3, 3)
    # What comes from below, and from the side: 320, 320, 320, 640, 640, 1280 backwards.
    for block, before, after in (
        (0, four + four, four),
        (1, four + two, four),
        (3, four + two, two),
        (4, two + one, two),
        (6, two + one, one),
        (7, one + one, one),
    ):
        yield from _prefix(f"output_blocks.{block}.0.", _residual(before, after))
        yield from _prefix(f"output_blocks.{block}.1.", _transformer(after))
    yield from _layer("output_blocks.2.1.conv", four, four, 3, 3)
    yield from _layer("output_blocks.5.2.conv", two, two, 3, 3)
    yield from _layer("out.0", _CHANNELS)
    yield from _layer("out.2", 4, _CHANNELS, 3, 3)


def _residual(before: int, after: int) -> Iterator[tuple[str, Shape]]:
    yield from _layer("in_layers.0", before)
    yield from _layer("in_layers.2", after, before, 3, 3)
    yield from _layer("emb_layers.1", after, _TIME)
    yield from _layer("out_layers.0", after)
    yield from _layer("out_layers.3", after, after, 3, 3)
    if before != after:
        yield from _layer("skip_connection", after, before, 1, 1)


def _transformer(width: int) -> Iterator[tuple[str, Shape]]:
    yield from _layer("norm", width)
    yield from _layer("proj_in", width, width, 1, 1)
    yield from _layer("proj_out", width, width, 1, 1)
    for attention, source in (("attn1", width), ("attn2", _TEXT)):
        inside = f"transformer_blocks.0.{attention}"
        yield from _layer(f"{inside}.to_q", width, width, bias=False)
        yield from _layer(f"{inside}.to_k", width, source, bias=False)
        yield from _layer(f"{inside}.to_v", width, source, bias=False)
        yield from _layer(f"{inside}.to_out.0", width, width)
    yield from _layer("transformer_blocks.0.ff.net.0.proj", 8 * width, width)
    yield from _layer("transformer_blocks.0.ff.net.2", width, 4 * width)
    for number in (1, 2, 3):
        yield from _layer(f"transformer_blocks.0.norm{number}", width)


def _text_encoder() -> Iterator[tuple[str, Shape]]:
    yield "embeddings.token_embedding.weight", (49408, _TEXT)
    yield "embeddings.position_embedding.weight", (77, _TEXT)
    for number in range(12):
        layer = f"encoder.layers.{number}"
        for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
            yield from _layer(f"{layer}.self_attn.{name}", _TEXT, _TEXT)
        yield from _layer(f"{layer}.layer_norm1", _TEXT)
        yield from _layer(f"{layer}.layer_norm2", _TEXT)
        yield from _layer(f"{layer}.mlp.fc1", 4 * _TEXT, _TEXT)
        yield from _layer(f"{layer}.mlp.fc2", _TEXT, 4 * _TEXT)
    yield from _layer("final_layer_norm", _TEXT)


def _autoencoder() -> Iterator[tuple[str, Shape]]:
    widths = (128, 256, 512, 512)
    yield from _layer("encoder.conv_in", 128, 3, 3, 3)
    before = 128
    for level, width in enumerate(widths):
        for block in range(2):
            yield from _prefix(f"encoder.down.{level}.block.{block}.", _vae_block(before, width))
            before = width
        if level < 3:
            yield from _layer(f"encoder.down.{level}.downsample.conv", width, width, 3, 3)
    yield from _prefix("encoder.mid.", _vae_middle())
    yield from _layer("encoder.norm_out", 512)
    yield from _layer("encoder.conv_out", 8, 512, 3, 3)
    yield from _layer("decoder.conv_in", 512, 4, 3, 3)
    yield from _prefix("decoder.mid.", _vae_middle())
    before = 512
    for level, width in reversed([*enumerate(widths)]):
        for block in range(3):
            yield from _prefix(f"decoder.up.{level}.block.{block}.", _vae_block(before, width))
            before = width
        if level > 0:
            yield from _layer(f"decoder.up.{level}.upsample.conv", width, width, 3, 3)
    yield from _layer("decoder.norm_out", 128)
    yield from _layer("decoder.conv_out", 3, 128, 3, 3)
    yield from _layer("quant_conv", 8, 8, 1, 1)
    yield from _layer("post_quant_conv", 4, 4, 1, 1)


def _vae_block(before: int, after: int) -> Iterator[tuple[str, Shape]]:
    yield from _layer("norm1", before)
    yield from _layer("conv1", after, before, 3, 3)
    yield from _layer("norm2", after)
    yield from _layer("conv2", after, after, 3, 3)
    if before != after:
        yield from _layer("nin_shortcut", after, before, 1, 1)


def _vae_middle() -> Iterator[tuple[str, Shape]]:
    yield from _prefix("block_1.", _vae_block(512, 512))
    yield from _layer("attn_1.norm", 512)
    for name in ("q", "k", "v", "proj_out"):
        yield from _layer(f"attn_1.{name}", 512, 512, 1, 1)
    yield from _prefix("block_2.", _vae_block(512, 512))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
