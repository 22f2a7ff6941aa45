"""Test the graphs for ComfyUI: what an operator's own may hold, and what is said of a bad one."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bot.txt2img.config import ServerConfig
from bot.txt2img.describe import describe as describe_program
from bot.txt2img.engines.comfyui import describe
from bot.txt2img.engines.comfyui.graphs import (
    IMG2IMG,
    TXT2IMG,
    UPSCALE,
    InvalidGraph,
    load_graph,
    parse_graph,
    stock_graph,
    with_loras,
)
from bot.txt2img.plan import UsageError
from tests.image_servers.comfyui import ComfyUI
from tests.image_servers.comfyui_nodes import Machine
from tests.unit.txt2img.comfyui_engines import (
    MODEL,
    NO_STEP,
    answering,
    batch,
    colours,
    engine,
    lora,
    model,
)


@pytest.fixture(autouse=True)
def usual_limit() -> Iterator[None]:
    """Recurse as far as the program does, whatever the libraries of other tests have set."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    yield
    sys.setrecursionlimit(before)


OWN: dict[str, Any] = {
    "3": {
        "class_type": "GridbrushTestSampler",
        "inputs": {
            "text": "!param PROMPT",
            "seed": "!param SEED",
            "steps": "!param STEPS",
            "width": "!param WIDTH",
            "height": "!param HEIGHT",
            "samples": "!param SAMPLES",
            "fail": -1,
            "milliseconds": 0,
        },
    },
    "9": {
        "class_type": "SaveImage",
        "inputs": {"images": ["3", 0], "filename_prefix": "mine"},
        "_meta": {"title": "Save Image"},
    },
}


def own(**changes: Any) -> dict[str, Any]:
    """The graph with other inputs of its sampler; None removes one."""
    graph: dict[str, Any] = json.loads(json.dumps(OWN))
    inputs = graph["3"]["inputs"]
    inputs.update(changes)
    graph["3"]["inputs"] = {key: value for key, value in inputs.items() if value is not None}
    return graph


def with_node(id: str, node_class: str, title: str = "", **inputs: Any) -> dict[str, Any]:
    node = {"class_type": node_class, "inputs": inputs, "_meta": {"title": title}}
    return {**own(), id: node}


def html() -> web.Response:
    return web.Response(text="<html>", content_type="text/html")


def saved(path: Path, graph: object) -> str:
    path.write_text(graph if isinstance(graph, str) else json.dumps(graph), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("purpose", [TXT2IMG, IMG2IMG, UPSCALE])
@pytest.mark.parametrize("family", ["sd", "sdxl", "sd3", "flux", "schnell", "lcm", "turbo", ""])
def test_every_stock_graph_is_valid_and_has_named_nodes(purpose: str, family: str) -> None:
    graph = stock_graph(purpose, family)
    assert graph.output == "output"
    assert not any(id.isdecimal() for id in graph.nodes)


@pytest.mark.parametrize(
    ("graph", "problem"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ([], "is not a graph in the API format"),
        ({}, "is not a graph in the API format"),
        ({"3": {"inputs": {}}}, "is not a graph in the API format"),
        ({"nodes": [{"id": 1}], "links": []}, "is in the format of the editor"),
        (own(seed=["77", 0]), "node 3 is linked to 77, which is missing"),
        (own(text="a masterpiece, !param PROMPT"), "has !param inside the text"),
        (own(text="!param"), "has !param inside the text"),
        (own(text="!param PROMT"), "has the unknown place PROMT"),
        (own(text="!param prompt"), "has the unknown place prompt"),
        (own(text="a cat"), "for txt2img lacks !param PROMPT"),
        (own(text="a cat", seed=1), "lacks !param PROMPT, !param SEED"),
        (own(width=512), "lacks !param WIDTH"),
        ({"3": OWN["3"]}, "saves no picture"),
        (with_node("8", "SaveImage", images=["3", 0], filename_prefix=""), "has several outputs"),
        (
            {id: {**node, "_meta": {"title": "output"}} for id, node in OWN.items()},
            "has several outputs",
        ),
    ],
)
def test_a_graph_that_cannot_work_is_refused_in_words(
    tmp_path: Path, graph: object, problem: str
) -> None:
    path = saved(tmp_path / "graph.json", graph)
    with pytest.raises(InvalidGraph) as caught:
        load_graph(path, TXT2IMG)
    assert problem in caught.value.problem
    assert caught.value.hint.endswith(".")
    # And the check says the same, as does a row.
    found = describe(ServerConfig(("http://127.0.0.1:1",), graphs={TXT2IMG: path}), None)
    assert (caught.value.problem, caught.value.hint) in found["problems"]
    with pytest.raises(UsageError, match=r"\.$"):
        engine("http://127.0.0.1:1", graphs={TXT2IMG: path}).generate(batch(), NO_STEP)


@pytest.mark.parametrize("make", [lambda path: path / "missing", lambda path: path])
def test_a_graph_that_cannot_be_read_is_named(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    with pytest.raises(InvalidGraph, match="cannot be read"):
        load_graph(str(make(tmp_path)), TXT2IMG)


def test_a_huge_graph_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "graph.json"
    with path.open("wb") as file:
        file.truncate(17 << 20)
    with pytest.raises(InvalidGraph, match="larger than 16 MiB"):
        load_graph(str(path), TXT2IMG)


@pytest.mark.parametrize("id", ["8", "Output"])
def test_of_several_outputs_the_named_one_counts(id: str) -> None:
    title = "OUTPUT " if id == "8" else ""
    graph = with_node(id, "SaveImage", title, images=["3", 0], filename_prefix="x")
    assert parse_graph(json.dumps(graph).encode(), "g", TXT2IMG).output == id


def test_values_have_their_types_and_text_is_never_read_again() -> None:
    graph = parse_graph(json.dumps(own(fail="!param STEPS")).encode(), "g", TXT2IMG)
    values: dict[str, object] = {
        "PROMPT": "!param SEED",
        "SEED": 2**64 - 1,
        "STEPS": 4,
        "WIDTH": 64,
        "HEIGHT": 128,
        "SAMPLES": 2,
    }
    filled = graph.fill(values, "an-id")
    assert filled["3"]["inputs"] == {
        "text": "!param SEED",
        "seed": 2**64 - 1,
        "steps": 4,
        "width": 64,
        "height": 128,
        "samples": 2,
        "fail": 4,
        "milliseconds": 0,
    }
    assert filled["9"]["inputs"]["filename_prefix"] == "gridbrush/an-id"
    assert graph.nodes["9"]["inputs"]["filename_prefix"] == "mine"  # the next one starts afresh


def test_an_own_graph_paints(tmp_path: Path) -> None:
    steps: list[int] = []
    graphs = {TXT2IMG: saved(tmp_path / "mine.json", OWN)}
    with ComfyUI() as server:
        subject = engine(server, model=None, graphs=graphs)
        pictures = subject.generate(batch(3), lambda: steps.append(1))
        assert len(set(colours(pictures))) == 3
        assert len(steps) == 4
        report = subject.report
        assert (report.model, report.negative, report.guidance) == ("mine", False, None)
        # Its batches have seeds of their own, since it cannot take single latents out of one.
        second = subject.generate(batch(3, first=3), NO_STEP)
        assert not set(colours(second)) & set(colours(pictures))


def test_an_own_graph_without_samples_is_run_for_each_picture(tmp_path: Path) -> None:
    graphs = {TXT2IMG: saved(tmp_path / "mine.json", own(samples=1))}
    with ComfyUI() as server:
        rows = [
            colours(engine(server, graphs=graphs).generate(batch(3, seed=seed), NO_STEP))
            for seed in (7, 8, 9)
        ]
        assert len(server.submitted) == 9
    assert len({colour for row in rows for colour in row}) == 9


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"samples": 5}, "made 5 pictures and not 1"),
        ({"width": 128, "fail": "!param WIDTH"}, "made a picture of 128x64 and not 64x64"),
        ({"fail": 2}, "node 3 (GridbrushTestSampler) failed: RuntimeError: CUDA out of memory"),
        ({"steps": 5000}, "takes steps up to 1000, not 5000"),
        ({"steps": 0}, "takes steps from 1, not 0"),
        ({"steps": "many"}, "refuses its input: Failed to convert"),
        ({"fail": None}, "needs the input fail"),
    ],
)
def test_an_own_graph_that_fails_says_why(
    tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    graphs = {TXT2IMG: saved(tmp_path / "mine.json", own(**changes))}
    with ComfyUI() as server, pytest.raises(UsageError) as caught:
        engine(server, graphs=graphs).generate(batch(), NO_STEP)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("loaders", [0, 2])
def test_loras_need_one_loader(loaders: int) -> None:
    graph = own()
    for number in range(loaders):
        graph[f"c{number}"] = {
            "class_type": "CheckpointLoaderSimple",
            "inputs": {"ckpt_name": "x"},
        }
    parsed = parse_graph(json.dumps(graph).encode(), "g", TXT2IMG)
    assert with_loras(parsed, {}) is parsed
    with pytest.raises(InvalidGraph, match=f"has {loaders} checkpoint loaders"):
        with_loras(parsed, {"film": 1.0})


# What gridbrush check says


def problems(*servers: ComfyUI | str, model: Any = MODEL, **config: Any) -> list[tuple[str, str]]:
    urls = tuple(server if isinstance(server, str) else server.url for server in servers)
    found = describe(ServerConfig(urls, **config), model, seconds=2.0)["problems"]
    assert isinstance(found, list)
    return found


def test_a_good_server_is_described(tmp_path: Path) -> None:
    with ComfyUI(Machine(loras=["film.safetensors"])) as server:
        config = ServerConfig((server.url,))
        assert describe(config, model(family="sdxl", loras=(lora("film"),))) == {
            "engine": "comfyui",
            "model": "sd15",
            "family": "sdxl",
            "guidance": 5.0,
            "negative": True,
            "note": f"ComfyUI 0.3.64 at {server.url}, cpu with 8 GiB",
            "problems": [],
        }
        flux = describe(config, model(family="flux"))
        assert (flux["guidance"], flux["negative"]) == (3.5, False)
        unnamed = describe(config, None)
        assert "no model is named: the first of 1 checkpoints is taken" in str(unnamed["note"])
        assert unnamed["model"] == "sd15"
        path = tmp_path / "txt2img.json"
        data = {"comfyui": {"urls": [server.url]}, "models": {}}
        path.write_text(json.dumps(data), encoding="utf-8")
        environment = {
            "PAINTER_ENGINE": "comfyui",
            "TXT2IMG_CONFIG": str(path),
            "PAINTER_MODEL": "gone.safetensors",
        }
        listed = describe_program(environment)["problems"]
        assert "has no checkpoint 'gone.safetensors'" in str(listed)


def test_the_models_of_a_table_are_described_side_by_side(tmp_path: Path) -> None:
    with ComfyUI(Machine(checkpoints=["a.ckpt", "b.ckpt"])) as server:
        server.rendezvous = 4
        models = {id: {"kind": "checkpoint", "location": f"{id}.ckpt"} for id in ("a", "b", "c")}
        data = {"engine": "comfyui", "comfyui": {"urls": [server.url]}, "models": models}
        path = saved(tmp_path / "txt2img.json", data)
        found = describe_program({"PAINTER_ENGINE": "comfyui", "TXT2IMG_CONFIG": path})
    assert {id: bool(each["problems"]) for id, each in found["models"].items()} == {
        "a": False,
        "b": False,
        "c": True,
    }
    assert (found["model"], found["problems"]) == ("a", [])


@pytest.mark.parametrize(
    ("machine", "changes", "problem", "hint"),
    [
        (Machine(checkpoints=[]), {}, "has no checkpoint", "Put one into its models folder."),
        (
            Machine(checkpoints=["b", "a"]),
            {},
            "no checkpoint 'sd15",
            "Correct the name",
        ),
        (Machine(), {"loras": (lora("film"),)}, "has no LoRA 'film.safe", "Correct the name"),
        (Machine(missing={"LatentFromBatch"}), {}, "does not have the node LatentFr", "Install"),
        (Machine(), {"family": "sd9"}, "the family 'sd9' is unknown", "Leave it out"),
        (Machine(), {"kind": "path"}, "is not one of a ComfyUI server", "Write checkpoint"),
    ],
)
def test_what_a_server_lacks_is_listed(
    machine: Machine, changes: dict[str, Any], problem: str, hint: str
) -> None:
    with ComfyUI(machine) as server:
        found = problems(server, model=model(**changes))
    assert problem in found[0][0]
    assert found[0][1].startswith(hint)
    if machine.checkpoints == ["b", "a"]:
        assert found[0][1].endswith("there are: a, b.")


def test_loras_that_fit_nowhere_are_a_problem(tmp_path: Path) -> None:
    graphs = {TXT2IMG: saved(tmp_path / "mine.json", OWN)}
    with ComfyUI(Machine(loras=["film.safetensors"])) as server:
        found = problems(server, model=model(loras=(lora("film"),)), graphs=graphs)
    assert "has 0 checkpoint loaders" in found[0][0]


@pytest.mark.parametrize(
    ("graph", "problem"),
    [
        (own(steps=0), "node 3 (GridbrushTestSampler): steps is 0"),
        (own(fail=None), "node 3 (GridbrushTestSampler) lacks its input fail"),
        (with_node("7", "Magic"), "does not have the node Magic"),
        (
            with_node("7", "CheckpointLoaderSimple", ckpt_name="gone.ckpt"),
            "does not know ckpt_name 'gone.ckpt'",
        ),
        (with_node("7", "KSampler", scheduler="odd"), "does not know scheduler 'odd'"),
    ],
)
def test_a_graph_is_checked_against_the_servers_nodes(
    tmp_path: Path, graph: object, problem: str
) -> None:
    graphs = {TXT2IMG: saved(tmp_path / "mine.json", graph)}
    with ComfyUI() as server:
        assert problem in str(problems(server, graphs=graphs))


def test_servers_that_do_not_answer_are_each_a_problem() -> None:
    assert problems() == [
        ("the engine comfyui has no url", 'Set url, for instance url = "http://127.0.0.1:8188".')
    ]
    with ComfyUI() as server, ComfyUI() as router:
        router.fault = answering("/", html)
        found = problems(server, "http://127.0.0.1:1", router)
    assert "127.0.0.1:1 cannot be reached" in found[0][0]
    assert "web page" in found[1][0]
    assert len(found) == 2
