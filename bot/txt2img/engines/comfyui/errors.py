"""Say in words why a server refused a graph, or why running it failed."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from bot.txt2img.engines.base import OutOfMemory
from bot.txt2img.engines.comfyui.client import ServerError
from bot.txt2img.engines.comfyui.graphs import Graph
from bot.txt2img.plan import UsageError

_MODELS: Mapping[str, str] = {
    "ckpt_name": "checkpoint",
    "lora_name": "LoRA",
    "unet_name": "diffusion model",
    "vae_name": "VAE",
    "clip_name": "text encoder",
    "model_name": "upscale model",
    "control_net_name": "ControlNet",
}
"""Input whose values are the server's files -> what they are."""

_MAX_NAMES = 20
_MAX_TEXT = 200
_OUT_OF_MEMORY = re.compile(r"OutOfMemory|^MemoryError$")


class Interrupted(UsageError):
    """Somebody stopped the job at the server."""


async def explain_rejection(
    server: str,
    graph: Graph,
    errors: Mapping[str, Any],
    options: Callable[[str, str], Awaitable[tuple[str, ...]]],
) -> ServerError:
    """Return the error for an answer 400 to ``graph``.

    ``options`` gives what a node class allows for an input: an answer lists up to 20 names only.
    """
    for id, node in _objects(errors.get("node_errors")):
        for error in _list(node.get("errors")):
            text = await _explain_input(str(node.get("class_type", "")), error, options)
            where = (
                "" if text.startswith("there is no") else f"node {id} ({node.get('class_type')}) "
            )
            return ServerError(f"{server}, graph {graph.name}: {where}{text}.")
    error = errors.get("error")
    error = error if isinstance(error, Mapping) else {"message": error}
    kind, message = error.get("type"), _short(error.get("message"))
    extra = error.get("extra_info")
    named = extra.get("class_type") if isinstance(extra, Mapping) else None
    missing = re.search(r"node '?([^']+?)'? (?:does not exist|not found)", message)
    if kind in ("invalid_prompt", "missing_node_type") and (missing or named):
        node_class = named or (missing[1] if missing else "")
        return ServerError(
            f"{server} does not have the node {node_class} of the graph {graph.name}: "
            "install the custom node, or use a graph without it."
        )
    if kind == "prompt_no_outputs":
        return ServerError(f"{server}: the graph {graph.name} has no output node.")
    details = _short(error.get("details"))
    words = ": ".join(part for part in (message, details) if part) or "no reason"
    return ServerError(f"{server} refused the graph {graph.name}: {words}.")


async def _explain_input(
    node_class: str,
    error: Mapping[str, Any],
    options: Callable[[str, str], Awaitable[tuple[str, ...]]],
) -> str:
    extra = error.get("extra_info")
    extra = extra if isinstance(extra, Mapping) else {}
    name, value = str(extra.get("input_name", "")), _short(extra.get("received_value"))
    config = extra.get("input_config")
    limits = config[1] if isinstance(config, list) and len(config) > 1 else {}
    match error.get("type"):
        case "value_not_in_list":
            known = await options(node_class, name)
            what = _MODELS.get(name, name)
            return f"there is no {what} {value!r}; there {list_names(known)}"
        case "value_smaller_than_min":
            return f"takes {name} from {limits.get('min')}, not {value}"
        case "value_bigger_than_max":
            return f"takes {name} up to {limits.get('max')}, not {value}"
        case "required_input_missing":
            return f"needs the input {name or _short(error.get('details'))}"
        case _:
            parts = (_short(error.get("message")), _short(error.get("details")))
            return "refuses its input: " + ": ".join(part for part in parts if part)


def explain_failure(server: str, graph: Graph, entry: Mapping[str, Any]) -> UsageError | None:
    """Return the error in a history entry; None if the job was completed."""
    status = entry.get("status")
    status = status if isinstance(status, Mapping) else {}
    if status.get("status_str", "success") == "success" and status.get("completed", True):
        return None
    messages = {
        str(message[0]): message[1]
        for message in _list(status.get("messages"))
        if isinstance(message, list) and len(message) == 2 and isinstance(message[1], Mapping)
    }
    if "execution_interrupted" in messages:
        return Interrupted(f"Somebody stopped the job at {server}.")
    error = messages.get("execution_error", {})
    kind = str(error.get("exception_type", "")).rpartition(".")[2]
    # By the class alone: anything may write "out of memory" into a message.
    if _OUT_OF_MEMORY.search(kind):
        return OutOfMemory(f"{server} ran out of memory")
    node = f"node {error.get('node_id')} ({error.get('node_type')})"
    what = f"{kind}: {_short(error.get('exception_message'))}" if kind else "no reason is given"
    return UsageError(f"{server}, graph {graph.name}: {node} failed: {what}.")


def list_names(names: Iterable[str]) -> str:
    """Return "is none" or "are: a, b, …" for a sentence."""
    known = sorted(names)
    more = f" and {len(known) - _MAX_NAMES} more" if len(known) > _MAX_NAMES else ""
    return f"are: {', '.join(known[:_MAX_NAMES])}{more}" if known else "is none"


def allowed_values(spec: object) -> tuple[str, ...] | None:
    """Return the values that an input's description lists; None if it lists none.

    The first entry is the list itself, or since 2025 the word COMBO with the list as an option.
    """
    if not isinstance(spec, list) or not spec:
        return None
    values: object = spec[0]
    if values == "COMBO" and len(spec) > 1 and isinstance(spec[1], Mapping):
        values = spec[1].get("options")
    return tuple(map(str, values)) if isinstance(values, list) else None


def _short(value: object) -> str:
    """Return one line of text; it may quote a prompt, which belongs into no log."""
    text = " ".join(str(value if value is not None else "").split()).rstrip(".")
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…"


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _objects(value: object) -> Iterable[tuple[str, Mapping[str, Any]]]:
    entries = value.items() if isinstance(value, Mapping) else ()
    return [(str(key), item) for key, item in entries if isinstance(item, Mapping)]
