"""Upscale a picture with the model of a server."""

from __future__ import annotations

import re
from typing import Any

from PIL import Image

from bot.txt2img.engines.a1111.client import (
    ASK_SECONDS,
    NotThere,
    Server,
    decode_any_picture,
    encode_picture,
)

_SECONDS = 900.0
_PREFERRED = (r"r-esrgan 4x\+$", r"esrgan.*4x|4x.*esrgan", r"4x", r"dat|swinir|scunet")


def upscale(server: Server, image: Image.Image, factor: int) -> tuple[Image.Image, str]:
    """Return the picture ``factor`` times as wide and high, and the name of the upscaling model.

    Raises NotThere if the server has no such model, or not this part of the API, as
    stable-diffusion.cpp; and other ServerErrors.
    """
    name = _choose(server.ask("/upscalers", seconds=ASK_SECONDS))
    if not name:
        raise NotThere(f"{server.name} has no upscaling model.")
    body = {
        "image": encode_picture(image),
        "resize_mode": 0,
        "upscaling_resize": factor,
        "upscaler_1": name,
    }
    answer = server.post("/extra-single-image", body, seconds=_SECONDS)
    text = answer.get("image") if isinstance(answer, dict) else None
    large = decode_any_picture(server.name, text)
    size = (image.width * factor, image.height * factor)
    # Models multiply by their own factor, and some servers round.
    return (large if large.size == size else large.resize(size, Image.Resampling.LANCZOS)), name


def _choose(upscalers: Any) -> str:
    """Return the name of the best upscaling model in the server's list, or nothing."""
    names = [
        str(item["name"])
        for item in (upscalers if isinstance(upscalers, list) else ())
        if isinstance(item, dict) and isinstance(item.get("name"), str)
    ]
    for pattern in _PREFERRED:
        for name in names:
            if re.search(pattern, name, re.IGNORECASE):
                return name
    return ""
