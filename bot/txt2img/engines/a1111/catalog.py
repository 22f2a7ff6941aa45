"""Find checkpoints, samplers and LoRAs on a server, by the names that people write."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from bot.txt2img.config import LoraConfig, ModelConfig
from bot.txt2img.engines.a1111.client import NotThere, Server, ServerError
from bot.txt2img.plan import UsageError

_MODEL_FILE = re.compile(r"\.(?:safetensors|ckpt|gguf|sft|pt|pth)$", re.IGNORECASE)
_MAX_LISTED = 10


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint of a server. ``title`` is what the server calls it by, ``name`` is for people.

    Both are empty if the server does not say which it uses.
    """

    title: str = ""
    name: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Selection:
    """What a server has of a model. ``scheduler`` is empty where the sampler's name implies it.

    ``loras`` are the names or, with ``lora_paths``, the paths of the model's LoRAs in their order:
    stable-diffusion.cpp takes them in a field, by path, and ignores tags. ``has_progress``: whether
    the server tells how far it is.
    """

    checkpoint: Checkpoint
    sampler: str = ""
    scheduler: str = ""
    loras: tuple[str, ...] = ()
    lora_paths: bool = False
    has_progress: bool = False


def select(server: Server, model: ModelConfig | None, *, seconds: float) -> Selection:
    """Return what ``server`` has of ``model``. Raises UsageError naming what it has instead."""
    has_progress = _ask_progress(server, seconds)
    checkpoint = _find_checkpoint(server, model.location if model else "", seconds)
    sampler, scheduler = _find_sampler(server, model.sampler if model else "", seconds)
    loras = _find_loras(server, model.loras if model else (), has_progress, seconds)
    return Selection(checkpoint, sampler, scheduler, loras, not has_progress, has_progress)


def _ask_progress(server: Server, seconds: float) -> bool:
    try:
        server.ask("/progress?skip_current_image=true", seconds=seconds)
    except NotThere:
        return False
    return True


def _find_checkpoint(server: Server, wanted: str, seconds: float) -> Checkpoint:
    found = _list_checkpoints(server, seconds)
    if not wanted:
        return _current_checkpoint(server, found, seconds)
    match = _match_checkpoint(wanted, found)
    if match is None and found:
        try:
            # A file that was added since the server started.
            server.post("/refresh-checkpoints", {}, seconds=seconds)
        except ServerError:
            pass
        else:
            found = _list_checkpoints(server, seconds)
            match = _match_checkpoint(wanted, found)
    if match is None:
        raise UsageError(
            f"{server.name} has no checkpoint {wanted!r}; "
            f"{_list_names(each.name for each in found)}."
        )
    return match


def _current_checkpoint(
    server: Server, found: tuple[Checkpoint, ...], seconds: float
) -> Checkpoint:
    try:
        options = server.ask("/options", seconds=seconds)
    except NotThere:
        options = {}
    loaded = options.get("sd_model_checkpoint") if isinstance(options, dict) else None
    current = _match_checkpoint(loaded, found) if isinstance(loaded, str) else None
    # An empty title: the server's own choice is not set again.
    return Checkpoint("", current.name, current.sha256) if current else Checkpoint()


def _list_checkpoints(server: Server, seconds: float) -> tuple[Checkpoint, ...]:
    answer = server.ask("/sd-models", seconds=seconds)
    if not isinstance(answer, list):
        raise ServerError(f"{server.name} lists its checkpoints in a way that is not A1111's.")
    found = []
    for item in answer:
        if isinstance(item, dict) and (title := _text(item, "title") or _text(item, "model_name")):
            sha256 = _text(item, "sha256").lower()
            # stable-diffusion.cpp does not know it and writes 64 eights.
            known = re.fullmatch(r"[0-9a-f]{64}", sha256) and len(set(sha256)) > 1
            name = _text(item, "model_name") or title
            found.append(Checkpoint(title, name, sha256 if known else ""))
    return tuple(found)


def _match_checkpoint(wanted: str, found: tuple[Checkpoint, ...]) -> Checkpoint | None:
    """Return the checkpoint by title, else by name, else by file name without its ending."""
    for form in (str, _without_hash, _stem):
        for each in found:
            if form(wanted) in (form(each.title), form(each.name)):
                return each
    return None


def _without_hash(title: str) -> str:
    return re.sub(r"\s*\[[0-9a-f]+\]$", "", title)


def _stem(title: str) -> str:
    path = _without_hash(title).replace("\\", "/")
    return _MODEL_FILE.sub("", PurePath(path).name).casefold()


def _find_sampler(server: Server, wanted: str, seconds: float) -> tuple[str, str]:
    """Return the server's names of a sampler and, if ``wanted`` ends in one, of a scheduler."""
    if not wanted:
        return "", ""
    samplers = _list_named(server, "/samplers", seconds)
    if not samplers:
        return wanted, ""
    if name := samplers.get(_fold_sampler(wanted)):
        return name, ""
    first, _, last = wanted.rpartition(" ")
    schedulers = _list_named(server, "/schedulers", seconds)
    if (name := samplers.get(_fold_sampler(first))) and (
        scheduler := schedulers.get(_fold_sampler(last))
    ):
        return name, scheduler
    names = _list_names(dict.fromkeys(samplers.values()))
    raise UsageError(f"{server.name} has no sampler {wanted!r}; {names}.")


def _list_named(server: Server, path: str, seconds: float) -> dict[str, str]:
    """Return folded names and aliases, each with the server's name; empty without such a list."""
    try:
        answer = server.ask(path, seconds=seconds)
    except NotThere:
        return {}
    names: dict[str, str] = {}
    for item in answer if isinstance(answer, list) else ():
        if isinstance(item, dict) and (name := _text(item, "name")):
            aliases = item.get("aliases")
            others = [*aliases] if isinstance(aliases, list) else []
            for one in (*others, _text(item, "label"), name):
                if isinstance(one, str) and one:
                    names[_fold_sampler(one)] = name
    return names


def _fold_sampler(name: str) -> str:
    """Fold ``DPM++ 2M`` and ``k_dpmpp_2m`` into one form."""
    folded = name.casefold().removeprefix("k_").replace("pp", "++")
    return re.sub(r"[^a-z0-9+]", "", folded)


def _find_loras(
    server: Server, wanted: tuple[LoraConfig, ...], has_tags: bool, seconds: float
) -> tuple[str, ...]:
    if not wanted:
        return ()
    try:
        answer = server.ask("/loras", seconds=seconds)
    except NotThere:
        answer = None
    if not isinstance(answer, list):
        return tuple(_lora_name(lora.location) for lora in wanted)
    known = {
        _stem(_text(item, "name")): item
        for item in answer
        if isinstance(item, dict) and _text(item, "name")
    }
    loras = []
    for lora in wanted:
        item = known.get(_stem(lora.location))
        if item is None:
            names = _list_names(_text(each, "name") for each in known.values())
            raise UsageError(f"{server.name} has no LoRA {lora.location!r}; {names}.")
        loras.append(_text(item, "name" if has_tags else "path") or _text(item, "name"))
    return tuple(loras)


def _lora_name(location: str) -> str:
    return _MODEL_FILE.sub("", PurePath(location.replace("\\", "/")).name)


def _list_names(names: Iterable[str]) -> str:
    known = list(names)
    if not known:
        return "it has none"
    more = f" and {len(known) - _MAX_LISTED} more" if len(known) > _MAX_LISTED else ""
    return f"it has {', '.join(known[:_MAX_LISTED])}{more}"


def _text(item: dict[str, Any], key: str) -> str:
    value = item.get(key)
    return " ".join(value.split()) if isinstance(value, str) else ""
