"""Find out what a single model file holds, from the names of its tensors and without loading it.

Reads the header of ``.safetensors`` and GGUF files and the names in the pickle of a ``.ckpt``,
which is not executed. Names are those of the original repositories, which ComfyUI and A1111 use.
"""

from __future__ import annotations

import json
import pickletools
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf")
_MAX_HEADER_BYTES = 1 << 26
_MAX_STRING_BYTES = 1 << 24
_NETWORK = "model.diffusion_model."
_SHAPE = tuple[int, ...]

_LORA = re.compile(r"lora|\.alpha$|dora_scale|hada_|lokr_")
_OTHER_KINDS = (
    ("a ControlNet", re.compile(r"control_model\.|controlnet_")),
    ("an embedding (textual inversion)", re.compile(r"emb_params$|string_to_param$|clip_[lg]$")),
    ("a VAE", re.compile(r"(first_stage_model\.)?(encoder|decoder)\.(conv_in|mid|down|up)")),
    ("a text encoder", re.compile(r"(text_model|encoder\.block|text_encoders?)\b")),
    ("a part of a diffusers folder", re.compile(r"(down_blocks|transformer_blocks)\.")),
)
_TEXT_ENCODERS = re.compile(r"(cond_stage_model|conditioner\.embedders|text_encoders)\.")

_DAMAGE = (
    *(ValueError, TypeError, KeyError, AttributeError, RecursionError, struct.error),
    *(zipfile.BadZipFile, zlib.error, NotImplementedError),
)


class UnreadableFile(Exception):
    """The file is damaged or of another format; the text says why."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file holds.

    ``family`` is ``sd``, ``sdxl``, ``sd3``, ``flux``, ``schnell`` or ``lcm``, empty if the file is
    no text-to-image model; then ``kind`` says what it is. ``complete``: the text encoders are in
    it, too.
    """

    family: str
    kind: str = "a model"
    complete: bool = False


def read_contents(path: Path) -> Contents:
    """Return what the file holds. Raises UnreadableFile, OSError."""
    tensors = _read_tensors(path)
    if not tensors:
        raise UnreadableFile("there are no weights in it")
    if all(_LORA.search(name) for name in tensors):
        return Contents("", "a LoRA")
    names = {name.removeprefix(_NETWORK): shape for name, shape in tensors.items()}
    first = names.get("input_blocks.0.0.weight", ())
    if len(first) > 1 and first[1] != 4:
        return Contents("", "a model for inpainting or editing")
    if "conditioner.embedders.0.model.ln_final.weight" in names:
        return Contents("", "an SDXL refiner")
    if family := _find_family(names):
        return Contents(family, complete=any(_TEXT_ENCODERS.match(name) for name in names))
    for kind, pattern in _OTHER_KINDS:
        if any(pattern.match(name) for name in names):
            return Contents("", kind)
    return Contents("", "none of the known models")


def _find_family(names: Mapping[str, _SHAPE]) -> str:
    """Return the family, or an empty text; ``names`` are those within the network."""

    def has(prefix: str) -> bool:
        return any(name.startswith(prefix) for name in names)

    if has("control_model."):
        return ""
    if has("double_blocks."):
        return "flux" if has("guidance_in.") else "schnell"
    if has("joint_blocks."):
        return "sd3"
    if "input_blocks.0.0.weight" not in names:
        return ""
    if "time_embed.cond_proj.weight" in names:
        return "lcm"
    return "sdxl" if has("label_emb.") else "sd"


def is_lora(path: Path) -> bool:
    """Return whether a .safetensors file holds a LoRA; False for what cannot be read."""
    if path.suffix != ".safetensors":
        return False
    try:
        tensors = _read_tensors(path)
    except UnreadableFile:
        return False
    return bool(tensors) and all(_LORA.search(name) for name in tensors)


def _read_tensors(path: Path) -> Mapping[str, _SHAPE]:
    """Return the tensors' names and shapes; of a pickle the names alone."""
    with path.open("rb") as file:
        start = file.read(8)
        file.seek(0)
        if start == b"version ":
            raise UnreadableFile("it is a pointer of Git LFS")
        try:
            if start[:4] == b"GGUF":
                return dict(_gguf_tensors(file))
            if path.suffix == ".safetensors":
                return _safetensors(file)
            if zipfile.is_zipfile(file):
                return dict.fromkeys(_pickled_names(file), ())
        except _DAMAGE as error:
            raise UnreadableFile(f"it is damaged ({type(error).__name__})") from error
    raise UnreadableFile("it is empty" if not start else "it is damaged or of another format")


def _safetensors(file: BinaryIO) -> Mapping[str, _SHAPE]:
    length = int.from_bytes(file.read(8), "little")
    if not 0 < length <= _MAX_HEADER_BYTES:
        raise ValueError("no header")
    header = json.loads(file.read(length))
    return {
        str(name): tuple(map(int, entry.get("shape", ())))
        for name, entry in header.items()
        if name != "__metadata__" and isinstance(entry, dict)
    }


def _pickled_names(file: BinaryIO) -> Iterator[str]:
    """Yield the texts with a dot in the archive's pickle: its tensors' names are among them."""
    with zipfile.ZipFile(file) as archive:
        member = next((name for name in archive.namelist() if name.endswith("data.pkl")), None)
        if member is None or archive.getinfo(member).file_size > _MAX_HEADER_BYTES:
            raise ValueError("no header")
        for opcode, argument, _ in pickletools.genops(archive.read(member)):
            if "UNICODE" in opcode.name and "." in str(argument):
                yield str(argument)


# GGUF: magic, version, tensor count, key count; then keys with typed values, then the tensors.
# https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
_GGUF_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_GGUF_TEXT, _GGUF_ARRAY = 8, 9


def _gguf_tensors(file: BinaryIO) -> Iterator[tuple[str, _SHAPE]]:
    _, version, tensors, keys = struct.unpack("<4sIQQ", file.read(24))
    if version < 2 or tensors > 1 << 16 or keys > 1 << 16:
        raise ValueError("no header")
    for _ in range(keys):
        _read_text(file)
        _skip_value(file, *struct.unpack("<I", file.read(4)))
    for _ in range(tensors):
        name = _read_text(file)
        (dimensions,) = struct.unpack("<I", file.read(4))
        shape = struct.unpack(f"<{min(dimensions, 8)}Q", file.read(8 * min(dimensions, 8)))
        file.seek(12, 1)
        yield name, tuple(reversed(shape))


def _read_text(file: BinaryIO) -> str:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > _MAX_STRING_BYTES:
        raise ValueError("no header")
    return file.read(length).decode(errors="replace")


def _skip_value(file: BinaryIO, kind: int) -> None:
    if kind == _GGUF_TEXT:
        _read_text(file)
    elif kind == _GGUF_ARRAY:
        item, count = struct.unpack("<IQ", file.read(12))
        if item in _GGUF_SIZES:
            file.seek(_GGUF_SIZES[item] * count, 1)
            return
        for _ in range(count):
            _skip_value(file, item)
    else:
        file.seek(_GGUF_SIZES[kind], 1)
