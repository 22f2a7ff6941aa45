"""One setting at a time: from what was typed to a value in range, or a refusal that helps.

Every refusal is an InvalidRequest that carries the setting's name as the member typed it, says
what is allowed, and quotes what was said instead. The limits are plain arguments: this module
knows neither the operator's ``Limits`` nor the request that is being put together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

from bot.domain.errors import InvalidRequest
from bot.domain.flags import RawOption, is_flag
from bot.domain.painter import Painter
from bot.domain.size import (
    MAX_ASPECT_RATIO,
    SIZE_STEP_PX,
    fit_aspect,
    is_valid_aspect,
    is_valid_size,
)
from bot.domain.text import has_visible_characters, normalize_text, truncate

_WHOLE = re.compile(r"[+-]?[0-9]{1,20}")
_ASPECT = re.compile(r"([0-9]{1,4}):([0-9]{1,4})")
_SIZE = re.compile(r"([0-9]{1,5})[xX×]([0-9]{1,5})")
# Names as model hubs have them: no part begins with a dot or a dash, so none climbs out of a
# folder or is taken for an option.
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")


def validate_prompt(prompt: str, most: int) -> str:
    """The clean prompt itself, if a picture can be made of it."""
    if not has_visible_characters(prompt):
        raise InvalidRequest(
            "prompt",
            "The prompt is empty: say what the picture should show, "
            "for example an astronaut in space.",
        )
    return _check_text(RawOption("prompt", prompt), most)


def validate_negative_prompt(
    setting: RawOption, most: int, *, taken: bool, idle_with: str = ""
) -> str:
    """The words to keep out of the picture; ``taken``: whether the workflow has a use for them.

    ``idle_with`` is empty, or names the model with which they would have no effect.
    """
    negative = setting.value
    if not has_visible_characters(negative):
        return ""
    if not taken:
        raise InvalidRequest(
            setting.name,
            "This server's workflow cannot take a negative prompt. "
            f"Leave {setting.name} out and say in the prompt what should be there.",
        )
    if idle_with:
        raise InvalidRequest(
            setting.name,
            f"{setting.name} has no effect with this server's model ({idle_with}). "
            f"Leave {setting.name} out and say in the prompt what should be there.",
        )
    for word in negative.split():
        if is_flag(word):
            raise InvalidRequest(
                setting.name,
                f"{setting.name} takes plain words, no flags such as {truncate(word)}. "
                "Flags belong in the prompt.",
            )
    return _check_text(setting, most)


def _check_text(setting: RawOption, most: int) -> str:
    if len(setting.value) > most:
        raise InvalidRequest(
            setting.name,
            f"{setting.name} has {len(setting.value)} characters, and at most {most} are allowed. "
            "Please shorten it.",
        )
    # A lone "--" would reach the painter's argparse, which swallows it even as --prompt=--.
    if setting.value == "--":
        raise InvalidRequest(
            setting.name, f"{setting.name} cannot be two dashes alone. Use words instead."
        )
    return setting.value


def parse_int(setting: RawOption, low: int, high: int) -> int:
    """A whole number from ``low`` to ``high``, both allowed."""
    value = int(setting.value) if _WHOLE.fullmatch(setting.value) else None
    if value is None or not low <= value <= high:
        allowed = f"a whole number from {low} to {high}" if low < high else f"{low}"
        raise InvalidRequest(setting.name, f"{setting.name} must be {allowed}, {_not(setting)}.")
    return value


def parse_choice(setting: RawOption, allowed: Iterable[str], *, kind: str) -> str:
    """The name in ``allowed`` that was meant; case does not matter unless only case differs."""
    names = {normalize_text(name): name for name in allowed if name}
    if setting.value in names:
        return names[setting.value]
    folded = {name.casefold(): original for name, original in names.items()}
    if setting.value.casefold() in folded:
        return folded[setting.value.casefold()]
    if not names:
        raise InvalidRequest(
            setting.name, f"This server has no {kind} to choose from. Leave {setting.name} out."
        )
    near = get_close_matches(setting.value.casefold(), folded, n=1)
    hint = f" Did you mean {folded[near[0]]}?" if near else ""
    choice = f"one of: {', '.join(names)}" if len(names) > 1 else next(iter(names))
    raise InvalidRequest(setting.name, f"{setting.name} must be {choice}; {_not(setting)}.{hint}")


def parse_model(setting: RawOption) -> str:
    """Any model, where the operator has drawn up no list: a plain name, or ``owner/name``."""
    if not _MODEL.fullmatch(setting.value):
        raise InvalidRequest(
            setting.name,
            f"{setting.name} must be one name of letters, digits, dots, dashes and underscores, "
            f"with at most one slash inside, {_not(setting)}.",
        )
    return setting.value


def only_model(setting: RawOption, painter: Painter, default: str) -> str:
    """Nothing, where there is no model to choose; a name that means it anyway is no mistake.

    ``default`` is the server's name for whatever paints, which older messages repeat. Raises
    InvalidRequest for any other name: it would change nothing.
    """
    if setting.value.casefold() in (*painter.names, normalize_text(default).casefold()):
        return ""
    what = f"paints with {painter.model} only" if painter.model else "draws without a model"
    raise InvalidRequest(
        setting.name,
        f"There is no model to choose: this server {what}, {_not(setting)}. "
        f"Leave {setting.name} out.",
    )


def parse_size(
    setting: RawOption, default: tuple[int, int], max_pixels: int, min_pixels: int = 1
) -> tuple[int, int]:
    """Width and height in pixels, from ``--size 768x512`` or from an aspect such as ``16:9``.

    An aspect is fitted to the area of ``default``, which is itself always allowed as a size, if
    only it has ``min_pixels``.
    """
    if setting.name == "--size":
        size = _exact_size(setting, default, max_pixels, min_pixels)
        return large_enough(setting.name, size, max_pixels, min_pixels)
    match = _ASPECT.fullmatch(setting.value)
    width, height = (int(match[1]), int(match[2])) if match else (0, 0)
    if not is_valid_aspect(width, height):
        raise InvalidRequest(
            setting.name,
            f"{setting.name} must be width:height in whole numbers, from 1:{MAX_ASPECT_RATIO} to "
            f"{MAX_ASPECT_RATIO}:1, for example 16:9, {_not(setting)}.",
        )
    if min_pixels > max_pixels:
        large_enough(setting.name, default, max_pixels, min_pixels)
    return fit_aspect(width, height, default[0] * default[1], max_pixels, min_pixels)


def large_enough(
    name: str, size: tuple[int, int], max_pixels: int, min_pixels: int
) -> tuple[int, int]:
    """``size`` itself, unless it is too small for what paints here; ``name`` is the setting's.

    An empty ``name`` is the server's own default. Raises InvalidRequest.
    """
    pixels = size[0] * size[1]
    if pixels >= min_pixels <= max_pixels:
        return size
    what = f"{name} is" if name else "The picture size that this server uses is"
    mend = f"Choose one of {min_pixels} pixels or more, for example --size 512x512."
    if min_pixels > max_pixels:
        mend = "A moderator can tell the operator: no larger one is allowed here."
    elif min_pixels > 512 * 512 or max_pixels < 512 * 512:
        mend = f"Choose one of {min_pixels} pixels or more."
    raise InvalidRequest(
        name or "size",
        f"{what} too small for what paints here: {size[0]}x{size[1]} has {pixels} pixels. {mend}",
    )


def _exact_size(
    setting: RawOption, default: tuple[int, int], max_pixels: int, min_pixels: int
) -> tuple[int, int]:
    match = _SIZE.fullmatch(setting.value)
    size = (int(match[1]), int(match[2])) if match else (0, 0)
    least = f" and at least {min_pixels}" if min_pixels > SIZE_STEP_PX**2 else ""
    if size != default and not is_valid_size(*size, max_pixels, min(min_pixels, max_pixels)):
        raise InvalidRequest(
            setting.name,
            f"{setting.name} must be WIDTHxHEIGHT in multiples of {SIZE_STEP_PX} pixels, shaped from "
            f"1:{MAX_ASPECT_RATIO} to {MAX_ASPECT_RATIO}:1, with at most {max_pixels} pixels in all{least}, for "
            f"example {default[0]}x{default[1]}, {_not(setting)}.",
        )
    return size


def _not(setting: RawOption) -> str:
    return f"not {truncate(setting.value)}" if setting.value else "and cannot be empty"
