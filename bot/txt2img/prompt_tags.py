"""Make the tags in a prompt plain text, except for the LoRAs of the model.

Whoever wrote the prompt was told about tags before: this is the second lock, for servers that act
on what is left. The table of what acts is in ``bot/domain/prompt_tags.py``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from bot.txt2img.config import LoraConfig

MAX_LORA_WEIGHT = 2.0
"""Either sign; the same as for members."""

_LORA = re.compile(r"\s*<lora:(?P<name>[^:<>]+)(?::(?P<weight>-?[0-9]{1,4}(?:\.[0-9]{1,9})?))?>")
_SHORTCODES = (
    "after|array|bypass|call|choose|config|controlnet|do|elif|else|eval|faceswap|file|file2mask"
    "|filelist|for|gpt|if|img2img|img2img_autosize|init_image|override|remember|repeat"
    "|restore_faces|set|sets|switch|txt2img|txt2mask|unless|unset|upscale|while|zoom_enhance"
)
# One character of each tag; without it the rest means nothing to a server.
_ACTING = re.compile(
    r"<(?=\s*/?\s*(?:sd_cpp_extra_args|\w+\s*(?:\[[^\[\]<>]*\]\s*)?:))"
    r"|(?<=_)_|\$(?=\{\s*\w+\s*[=:])|\{(?=%|\{[^{}]*\}\}|[^|]*\|.*\})"
    rf"|\[(?=\s*/?\s*(?:{_SHORTCODES})[\s\]/])",
    re.IGNORECASE | re.DOTALL,
)


def has_tags(text: str) -> bool:
    """Return whether ``text`` has something that an image server may act on."""
    return _ACTING.search(text) is not None


def split_loras(
    prompt: str, loras: Sequence[LoraConfig]
) -> tuple[str, tuple[tuple[LoraConfig, float], ...]]:
    """Return ``prompt`` as plain text, and the LoRAs to apply with their weights.

    All ``loras`` are applied, with their own weight unless a tag ``<lora:name:weight>`` in
    ``prompt`` gives another. Tags with other names become text.
    """
    weights = {lora.name: lora.weight for lora in loras}

    def take(match: re.Match[str]) -> str:
        if match["name"] not in weights:
            return match[0]
        if match["weight"]:
            bound = MAX_LORA_WEIGHT
            weights[match["name"]] = min(max(float(match["weight"]), -bound), bound)
        return " "

    text = _LORA.sub(take, prompt)
    if text == prompt and not has_tags(text):
        return prompt, tuple((lora, weights[lora.name]) for lora in loras)
    text = " ".join(_ACTING.sub(" ", text).split())
    return text, tuple((lora, weights[lora.name]) for lora in loras)
