"""Read graphs in ComfyUI's API format and set their values.

A graph maps node ids to ``{"class_type": …, "inputs": …}``. A text that is ``!param NAME`` as a
whole is replaced by the value of that place, with its type, as in the workflow templates; nothing
is ever inserted into another text. The stock graphs lie in the folder ``graphs``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.txt2img.plan import UsageError

TXT2IMG, IMG2IMG, UPSCALE = "txt2img", "img2img", "upscale"

PLACES: Mapping[str, type] = {
    "PROMPT": str,
    "NEGATIVE_PROMPT": str,
    "SEED": int,
    "STEPS": int,
    "WIDTH": int,
    "HEIGHT": int,
    "SAMPLES": int,  # pictures of this run of the graph
    "FIRST": int,  # number of the first of them among those of the seed, from 0
    "END": int,  # FIRST + SAMPLES
    "CHECKPOINT": str,
    "GUIDANCE": float,
    "SAMPLER": str,
    "SCHEDULER": str,
    "INIT_IMAGE": str,
    "STRENGTH": float,
}
"""Every place, and the type of its value."""

NEEDED: Mapping[str, tuple[str, ...]] = {
    TXT2IMG: ("PROMPT", "SEED", "WIDTH", "HEIGHT"),
    IMG2IMG: ("PROMPT", "SEED", "INIT_IMAGE"),
    UPSCALE: ("INIT_IMAGE",),
}
"""What is generated -> the places without which its graph would not do what is asked."""

EXPORT_HINT = "In ComfyUI, export the workflow with File, Export (API)."

LORA_LOADER = "LoraLoader"

_PLACE = re.compile(r"!param\s+(\w+)")
_SAMPLER = re.compile(r"Sampler(?!Select)")
_STOCK = Path(__file__).with_name("graphs")
_MAX_BYTES = 16 << 20
_SAVING_INPUT = "filename_prefix"
_OUTPUT = "output"


class InvalidGraph(UsageError):
    """A graph that cannot be used: the ``problem``, and a ``hint`` how to fix it."""

    def __init__(self, problem: str, hint: str) -> None:
        super().__init__(f"{problem}. {hint}")
        self.problem = problem
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Graph:
    """A valid graph. ``output`` is the node whose pictures are the result."""

    name: str
    nodes: Mapping[str, Any]
    places: frozenset[str]
    output: str

    @property
    def samplers(self) -> frozenset[str]:
        """Return the nodes whose progress counts; empty if none has the name of a sampler."""
        return frozenset(
            id for id, node in self.nodes.items() if _SAMPLER.search(node["class_type"])
        )

    def fill(self, values: Mapping[str, object], unique: str) -> dict[str, Any]:
        """Return the graph with its values; pictures are saved below ``unique``.

        A server runs nothing of a graph that it ran before and names the old files, which may be
        gone: the name makes each graph another one.
        """

        def replace(value: str) -> object:
            place = _PLACE.fullmatch(value)
            return PLACES[place[1]](values[place[1]]) if place else value

        filled = {
            id: {**node, "inputs": _map_texts(node["inputs"], replace)}
            for id, node in self.nodes.items()
        }
        for id, node in filled.items():
            if _SAVING_INPUT in node["inputs"] or id == self.output:
                node["inputs"][_SAVING_INPUT] = f"gridbrush/{unique}"
        return filled


def load_graph(path: str, purpose: str) -> Graph:
    """Read an operator's own graph for ``purpose``. Raises InvalidGraph."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        problem = f"the graph {path} cannot be read: {error.strerror}"
        raise InvalidGraph(problem, "Write the whole path of a file.") from error
    if len(data) > _MAX_BYTES:
        raise InvalidGraph(f"the graph {path} is larger than 16 MiB", EXPORT_HINT)
    return parse_graph(data, path, purpose)


def stock_graph(purpose: str, family: str) -> Graph:
    """Return the stock graph for a family of models; the one of SD serves unknown families."""
    base = "flux" if family == "schnell" else family
    names = (purpose, f"{purpose}-{base}", f"{purpose}-sd")
    path = next(path for name in names if (path := _STOCK / f"{name}.json").is_file())
    return parse_graph(path.read_bytes(), path.stem, purpose)


def parse_graph(data: bytes, name: str, purpose: str) -> Graph:
    """Validate a graph. Raises InvalidGraph."""
    try:
        nodes = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidGraph(f"the graph {name} is not JSON", EXPORT_HINT) from error
    if isinstance(nodes, dict) and isinstance(nodes.get("nodes"), list):
        raise InvalidGraph(f"the graph {name} is in the format of the editor", EXPORT_HINT)
    if not isinstance(nodes, dict) or not nodes or not all(map(_is_node, nodes.values())):
        raise InvalidGraph(f"{name} is not a graph in the API format", EXPORT_HINT)
    for id, node in nodes.items():
        for link in _links(node):
            if link not in nodes:
                problem = f"the graph {name}: node {id} is linked to {link}, which is missing"
                raise InvalidGraph(problem, EXPORT_HINT)
    return Graph(name, nodes, _read_places(nodes, name, purpose), _find_output(nodes, name))


def with_loras(graph: Graph, loras: Mapping[str, float]) -> Graph:
    """Return the graph with a loader for each LoRA (name at the server -> weight).

    They stand between the checkpoint's loader and whatever used its model and its text encoder.
    Raises InvalidGraph if there is no loader, or more than one.
    """
    if not loras:
        return graph
    loaders = [
        id
        for id, node in graph.nodes.items()
        if "!param CHECKPOINT" in node["inputs"].values()
        or node["class_type"].startswith("CheckpointLoader")
    ]
    if len(loaders) != 1:
        raise InvalidGraph(
            f"the graph {graph.name} has {len(loaders)} checkpoint loaders, so that it is unclear "
            "where the model's LoRAs belong",
            "Put the LoRAs into the graph itself.",
        )
    (loader,) = loaders
    added = [_free_id(graph.nodes, f"lora{number}") for number in range(1, len(loras) + 1)]
    last = added[-1]
    nodes = {
        id: {**node, "inputs": {key: _relink(v, loader, last) for key, v in node["inputs"].items()}}
        for id, node in graph.nodes.items()
    }
    before = loader
    for id, (name, weight) in zip(added, loras.items(), strict=True):
        strengths = {"strength_model": weight, "strength_clip": weight}
        links = {"model": [before, 0], "clip": [before, 1]}
        nodes[id] = {
            "class_type": LORA_LOADER,
            "inputs": {**links, "lora_name": name, **strengths},
        }
        before = id
    return Graph(graph.name, nodes, graph.places, graph.output)


def _relink(value: object, loader: str, last: str) -> object:
    """Return ``value``; a link to the loader's model (0) or text encoder (1) goes to ``last``."""
    return (
        [last, value[1]]
        if isinstance(value, list) and value in ([loader, 0], [loader, 1])
        else (value)
    )


def _free_id(nodes: Mapping[str, Any], id: str) -> str:
    return id if id not in nodes else _free_id(nodes, f"{id}_")


def _is_node(node: object) -> bool:
    return (
        isinstance(node, dict)
        and isinstance(node.get("class_type"), str)
        and isinstance(node.get("inputs"), dict)
    )


def _links(node: Mapping[str, Any]) -> Iterator[str]:
    for value in node["inputs"].values():
        if is_link(value):
            yield value[0]


def is_link(value: object) -> bool:
    """Return whether an input's value is a link: the id of a node and the number of its output."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and type(value[1]) is int
    )


def is_place(value: object) -> bool:
    """Return whether an input's value is a place, which gets its value later."""
    return isinstance(value, str) and _PLACE.fullmatch(value) is not None


def _map_texts(value: object, change: Callable[[str], object]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: _map_texts(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [_map_texts(item, change) for item in value]
    return value


def _read_places(nodes: Mapping[str, Any], name: str, purpose: str) -> frozenset[str]:
    found: set[str] = set()

    def note(text: str) -> str:
        place = _PLACE.fullmatch(text)
        if place is None:
            if "!param" in text:
                problem = f"the graph {name} has !param inside the text {text[:60]!r}"
                raise InvalidGraph(problem, "A place is the whole text: !param NAME.")
        elif place[1] not in PLACES:
            problem = f"the graph {name} has the unknown place {place[1]}"
            raise InvalidGraph(problem, f"Known: {', '.join(PLACES)}.")
        else:
            found.add(place[1])
        return text

    for node in nodes.values():
        _map_texts(node["inputs"], note)
    if missing := [place for place in NEEDED[purpose] if place not in found]:
        raise InvalidGraph(
            f"the graph {name} for {purpose} lacks !param {', !param '.join(missing)}",
            "Write it as the whole value of the input that it replaces.",
        )
    return frozenset(found)


def _find_output(nodes: Mapping[str, Any], name: str) -> str:
    named = [
        id
        for id, node in nodes.items()
        if id.lower() == _OUTPUT or _title(node).strip().lower() == _OUTPUT
    ]
    saving = [id for id, node in nodes.items() if _SAVING_INPUT in node["inputs"]]
    if len(named or saving) == 1:
        return (named or saving)[0]
    if not named and not saving:
        problem = f"the graph {name} saves no picture"
        raise InvalidGraph(problem, "It needs a node such as SaveImage.")
    hint = "Give the node whose pictures are the result the title output, and no other one."
    raise InvalidGraph(f"the graph {name} has several outputs", hint)


def _title(node: Mapping[str, Any]) -> str:
    meta = node.get("_meta")
    return str(meta.get("title", "")) if isinstance(meta, dict) else ""
