"""Define the messages between a run and the resident worker, over a private Unix socket.

A message is two lengths of 4 bytes, big-endian, then a JSON object and binary data (PNG pictures,
whose lengths are in the object). The run sends one request and reads until the last message; if it
closes the connection, the worker stops at the next step::

    -> generate  spec, batch, memory_mb, idle_seconds; the picture to start from
    <- started   the rows before it are done; models are loaded now if need be
    <- step      one of the batch's steps has run
    <- pictures  report; one picture per prompt                       (last)
    <- failed    reason "usage", "memory" or "crash"; text            (last)

    -> status
    <- status    pid, models, waiting, rows, loads, resident_bytes    (last)
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from PIL import Image

from bot.txt2img.config import LoraConfig, ModelConfig
from bot.txt2img.engines.base import Batch
from bot.txt2img.engines.spec import EngineSpec

MAX_JSON_BYTES = 1 << 22
MAX_DATA_BYTES = 1 << 30
HEADER = struct.Struct(">II")

_BATCH_FIELDS = (
    *("prompts", "negative", "seed", "first", "width", "height", "steps", "scale", "strength"),
)


def _version() -> str:
    kinds = (EngineSpec, ModelConfig, LoraConfig)
    names = [[field.name for field in fields(kind)] for kind in kinds]
    return hashlib.sha256(repr((1, _BATCH_FIELDS, names)).encode()).hexdigest()[:8]


VERSION = _version()
"""Part of the socket's name: after an update that changes messages, the old worker idles out."""

GENERATE, STATUS = "generate", "status"
STARTED, STEP, PICTURES, FAILED = "started", "step", "pictures", "failed"
USAGE, MEMORY, CRASH = "usage", "memory", "crash"


class ProtocolError(Exception):
    """The peer sent what is no message."""


def encode(message: Mapping[str, Any], blobs: Sequence[bytes] = ()) -> bytes:
    """Return the message as bytes; ``blobs`` is its binary data."""
    text = json.dumps({**message, "blobs": [len(blob) for blob in blobs]}).encode()
    data = b"".join(blobs)
    return HEADER.pack(len(text), len(data)) + text + data


def decode_header(header: bytes) -> tuple[int, int]:
    """Return the lengths of the two parts that follow. Raises ProtocolError."""
    text, data = HEADER.unpack(header)
    if text > MAX_JSON_BYTES or data > MAX_DATA_BYTES:
        raise ProtocolError("a message is too large")
    return text, data


def decode(text: bytes, data: bytes) -> tuple[dict[str, Any], tuple[bytes, ...]]:
    """Return the message and its binary data. Raises ProtocolError."""
    try:
        message = json.loads(text)
        lengths = [int(length) for length in message["blobs"]]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ProtocolError(f"a message is damaged ({type(error).__name__})") from error
    if any(length < 0 for length in lengths) or sum(lengths) != len(data):
        raise ProtocolError("a message is damaged (lengths)")
    blobs, at = [], 0
    for length in lengths:
        blobs.append(data[at : at + length])
        at += length
    return message, tuple(blobs)


def encode_batch(batch: Batch) -> tuple[dict[str, Any], tuple[bytes, ...]]:
    """Return the batch as JSON values, and the picture it starts from."""
    values = {name: getattr(batch, name) for name in _BATCH_FIELDS}
    blobs = () if batch.init_image is None else (encode_image(batch.init_image),)
    return values, blobs


def decode_batch(values: Mapping[str, Any], blobs: Sequence[bytes]) -> Batch:
    """Return the batch. Raises ProtocolError."""
    try:
        fields = {name: values[name] for name in _BATCH_FIELDS}
        init_image = decode_image(blobs[0]) if blobs else None
        return Batch(**{**fields, "prompts": tuple(fields["prompts"])}, init_image=init_image)
    except (KeyError, TypeError) as error:
        raise ProtocolError(f"a batch is damaged ({error})") from error


def encode_image(image: Image.Image) -> bytes:
    """Return the picture as a PNG file; both ends are on one machine, so speed matters."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def decode_image(data: bytes) -> Image.Image:
    """Return the RGB picture in a PNG file. Raises ProtocolError."""
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise ProtocolError("a picture is damaged") from error
