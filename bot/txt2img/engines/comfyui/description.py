"""Describe a model on ComfyUI servers, and list what would fail, for ``bot.txt2img.describe``.

Asks each server once, for a few seconds, and generates nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bot.txt2img.config import CHECKPOINT, ModelConfig, ServerConfig
from bot.txt2img.engines.comfyui.client import (
    CHECKPOINTS,
    LORAS,
    Server,
    ServerError,
    find_name,
    open_session,
)
from bot.txt2img.engines.comfyui.engine import (
    NAME,
    choose_graph,
    default_guidance,
    find_family,
    model_name,
)
from bot.txt2img.engines.comfyui.errors import allowed_values, list_names
from bot.txt2img.engines.comfyui.graphs import (
    IMG2IMG,
    TXT2IMG,
    UPSCALE,
    Graph,
    InvalidGraph,
    is_link,
    is_place,
    with_loras,
)
from bot.txt2img.models import Model, UnusableModel

TIMEOUT_SECONDS = 5.0
_CORRECT = "Correct the name, or put the file on the server"
_START = "Start ComfyUI there, or correct the url."

Problem = tuple[str, str]
"""What would fail, and how to fix it."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What a server has; ``problem`` instead if it does not answer."""

    server: str
    problem: str = ""
    note: str = ""
    nodes: Mapping[str, Any] = field(default_factory=dict)
    checkpoints: tuple[str, ...] = ()
    loras: tuple[str, ...] = ()


def describe(
    config: ServerConfig, model: ModelConfig | None, *, seconds: float = TIMEOUT_SECONDS
) -> dict[str, Any]:
    """Return the keys that ``bot.txt2img.describe`` prints. Blocking; problems are not raised."""
    model = model or ModelConfig("", kind=CHECKPOINT)
    servers = asyncio.run(_ask_servers(config, seconds))
    note = "; ".join(found.note for found in servers if found.note)
    checkpoints = next((found.checkpoints for found in servers if found.checkpoints), ())
    if not model.location and checkpoints:
        # As the engine does.
        model = replace(model, location=checkpoints[0])
        note += f"; no model is named: the first of {len(checkpoints)} checkpoints is taken"
    problems: list[Problem] = []
    try:
        family = find_family(model)
    except UnusableModel as error:
        problems.append((error.problem, error.hint))
        family = ""
    graphs: dict[str, Graph] = {}
    for purpose in (TXT2IMG, IMG2IMG, UPSCALE):
        try:
            graphs[purpose] = choose_graph(config, purpose, family)
            if purpose != UPSCALE:
                with_loras(graphs[purpose], {lora.location: 1.0 for lora in model.loras})
        except InvalidGraph as error:
            problems.append((error.problem, error.hint))
    if UPSCALE not in config.graphs:
        graphs.pop(UPSCALE, None)  # the stock one is used only where it can be
    if model.id and model.kind != CHECKPOINT:
        problem = f"the model {model.id} is not one of a ComfyUI server"
        problems.append((problem, "Write checkpoint = its name there."))
    if not config.urls:
        hint = 'Set url, for instance url = "http://127.0.0.1:8188".'
        problems.append(("the engine comfyui has no url", hint))
    for found in servers:
        problems += _check_server(found, model, graphs)
    painting = graphs.get(TXT2IMG)
    places = painting.places if painting else frozenset()
    guidance = default_guidance(model, family) if "GUIDANCE" in places else model.guidance
    acts = Model("", family, guidance).negative_acts(None)
    return {
        "engine": NAME,
        "model": model_name(model.location, model, painting) if painting else model.id,
        "family": family,
        "guidance": guidance,
        "negative": acts and (painting is None or "NEGATIVE_PROMPT" in places),
        "note": note,
        "problems": list(dict.fromkeys(problems)),
    }


async def _ask_servers(config: ServerConfig, seconds: float) -> list[_Found]:
    async with open_session(config.username, config.password) as session:
        servers = [Server(session, url, seconds) for url in dict.fromkeys(config.urls)]
        return await asyncio.gather(*(_ask_server(server, seconds) for server in servers))


async def _ask_server(server: Server, seconds: float) -> _Found:
    try:
        async with asyncio.timeout(2 * seconds):
            return _Found(
                server.name,
                note=_show_system(server.name, await server.system_stats()),
                nodes=await server.object_info(),
                checkpoints=await server.models(CHECKPOINTS),
                loras=await server.models(LORAS),
            )
    except (ServerError, TimeoutError) as error:
        return _Found(server.name, str(error).rstrip(".") or f"{server.name} answers too late")


def _check_server(
    found: _Found, model: ModelConfig, graphs: Mapping[str, Graph]
) -> Iterator[Problem]:
    if found.problem:
        yield found.problem, _START
        return
    if any("CHECKPOINT" in graph.places for use, graph in graphs.items() if use != UPSCALE):
        if not found.checkpoints:
            yield f"{found.server} has no checkpoint", "Put one into its models folder."
        elif find_name(model.location, found.checkpoints) not in found.checkpoints:
            problem = f"{found.server} has no checkpoint {model.location!r}"
            yield problem, f"{_CORRECT}; there {list_names(found.checkpoints)}."
    for lora in model.loras:
        if find_name(lora.location, found.loras) not in found.loras:
            problem = f"{found.server} has no LoRA {lora.location!r}"
            yield problem, f"{_CORRECT}; there {list_names(found.loras)}."
    for graph in graphs.values():
        yield from check_graph(graph, found.server, found.nodes)


def check_graph(graph: Graph, server: str, info: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what ``/object_info`` says against a graph; its places get their values later."""
    for id, node in graph.nodes.items():
        known = info.get(node["class_type"])
        where = f"the graph {graph.name}, node {id} ({node['class_type']})"
        if not isinstance(known, Mapping):
            hint = "Install the custom node and restart ComfyUI, or use a graph without it."
            yield f"{server} does not have the node {node['class_type']} of {where}", hint
            continue
        inputs = known.get("input") or {}
        required = inputs.get("required") or {}
        specs = {**(inputs.get("optional") or {}), **required}
        for name in required:
            if name not in node["inputs"]:
                yield f"{where} lacks its input {name}", f"Export it again on {server}."
        for name, value in node["inputs"].items():
            if name in specs and not is_link(value) and not is_place(value):
                yield from _check_value(where, server, name, value, specs[name])


def _check_value(
    where: str, server: str, name: str, value: object, spec: object
) -> Iterator[Problem]:
    values = allowed_values(spec)
    if values is not None:
        if values and str(value) not in values:
            yield (
                f"{where}: {server} does not know {name} {value!r}",
                f"There {list_names(values)}.",
            )
        return
    limits = spec[1] if isinstance(spec, list) and len(spec) > 1 else {}
    if isinstance(limits, Mapping) and isinstance(value, int | float):
        low, high = limits.get("min", value), limits.get("max", value)
        if not low <= value <= high:
            yield f"{where}: {name} is {value}", f"It must be from {low} to {high}."


def _show_system(server: str, stats: Mapping[str, Any]) -> str:
    system, devices = stats.get("system"), stats.get("devices")
    version = system.get("comfyui_version", "") if isinstance(system, Mapping) else ""
    shown = [f"ComfyUI {version}".strip() + f" at {server}"]
    for device in devices if isinstance(devices, list) else ():
        if isinstance(device, Mapping):
            name = str(device.get("name", "device")).partition(" : ")[0]
            total = device.get("vram_total")
            memory = f" with {total / 2**30:.0f} GiB" if isinstance(total, int | float) else ""
            shown.append(name + memory)
    return ", ".join(shown)
