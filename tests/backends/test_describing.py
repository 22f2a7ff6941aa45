"""What each backend says would paint, and how the painter's own answer is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bot.backends import local
from bot.backends.base import Describing, Submission
from bot.backends.deepsquare.backend import DeepSquareBackend
from bot.backends.engine_info import CHECK_NAME, Description, parse_description
from bot.backends.slurm.backend import SlurmBackend
from bot.backends.slurm.options import SlurmOptions
from bot.backends.txt2img_config import EngineTables
from bot.domain.image_engine import SCRIPT, SKETCH, EngineInfo
from bot.domain.workflow.template import render
from tests.stock_jobs import load, request, ticket


def model(folder: Path, kind: str, network: str) -> Path:
    (folder / network).mkdir(parents=True)
    index = {"_class_name": kind, network: ["diffusers", "Net"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / network / "diffusion_pytorch_model.safetensors").write_bytes(b"w" * 2000)
    return folder


@pytest.fixture
def models(tmp_path: Path) -> dict[str, str]:
    return {
        "{sd}": str(model(tmp_path / "sd-1-5", "StableDiffusionPipeline", "unet")),
        "{flux}": str(model(tmp_path / "flux", "FluxPipeline", "transformer")),
        "": "",
        "/nope": "/nope",
    }


CASES = [
    ("sketch", "", "none", EngineInfo(SKETCH)),
    ("sketch", "{sd}", "none", EngineInfo(SKETCH)),
    ("auto", "", "none", EngineInfo(SKETCH)),
    ("diffusers", "{sd}", "none", EngineInfo("diffusers", "sd-1-5")),
    ("diffusers", "{flux}", "none", EngineInfo("diffusers", "flux", negative=False)),
    ("diffusers", "/nope", "none", EngineInfo("diffusers", "")),
    ("sketch", "", "podman", EngineInfo(SCRIPT)),
    ("diffusers", "{flux}", "apptainer", EngineInfo(SCRIPT)),
]


@pytest.mark.parametrize(("engine", "name", "container", "expected"), CASES)
@pytest.mark.parametrize("kind", ["local", "slurm"])
async def test_a_backend_says_what_would_paint(
    tmp_path: Path,
    models: dict[str, str],
    kind: str,
    engine: str,
    name: str,
    container: str,
    expected: EngineInfo,
) -> None:
    where = models[name]
    backend: Describing
    if kind == "local":
        backend = local.LocalBackend(
            local.LocalOptions(tmp_path, 1, engine, where, container=container)
        )
    else:
        options = SlurmOptions(tmp_path, engine=engine, model=where, container=container)
        backend = SlurmBackend(options)
    assert await backend.engine_info() == expected


async def test_a_model_on_the_nodes_is_painted_with_whatever_is_installed_here(
    tmp_path: Path, models: dict[str, str]
) -> None:
    backend = SlurmBackend(SlurmOptions(tmp_path, engine="auto", model=models["{flux}"]))
    assert await backend.engine_info() == EngineInfo("diffusers", "flux", negative=False)


def test_deepsquare_paints_with_the_script_of_its_image() -> None:
    assert issubclass(DeepSquareBackend, Describing)


@pytest.mark.parametrize("text", ["", "rubbish", "[]", "{}", "null", '{"engine": "x"}'])
def test_an_answer_that_is_none_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"in the answer of bot\.txt2img\.describe"):
        parse_description(text)


def test_an_answer_becomes_findings() -> None:
    said = {
        "engine": "diffusers",
        "model": "flux",
        "family": "flux",
        "guidance": 3.5,
        "negative": False,
        "note": "",
        "problems": [],
    }
    (fine,) = parse_description(json.dumps(said)).check_results("[x]")
    assert (fine.name, fine.ok) == (CHECK_NAME, True)
    assert fine.detail == (
        "diffusers, flux, family flux, guidance 3.5, "
        "negative prompts have no effect and are refused"
    )
    said["problems"] = [["a is b", "do c"], ["d is e", "do f"]]
    bad = parse_description(json.dumps(said)).check_results("[x]")
    assert [(one.ok, one.detail, one.hint) for one in bad] == [
        (False, "[x] a is b", "do c"),
        (False, "[x] d is e", "do f"),
    ]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("container", ["none", "podman", "apptainer"])
def test_a_container_is_told_the_device_as_a_stand_in_is(
    tmp_path: Path, device: str, container: str
) -> None:
    submission = Submission("a" * 16, render(load("stable-diffusion.yaml"), request(), ticket()))
    options = local.LocalOptions(tmp_path, 1, device=device, container=container)
    assert f"export DEVICE={device}\n" in local.LocalBackend(options).script(submission)


def test_a_model_that_the_first_request_downloads_is_no_problem(tmp_path: Path) -> None:
    here = tmp_path / "models" / "there.ckpt"
    here.parent.mkdir()
    here.touch()
    entries = {name: {"download": f"{name}.ckpt"} for name in ("there", "absent")}
    tables = EngineTables(models={**entries, "path": {"location": "/gone"}}).with_caches(tmp_path)
    assert tables.models["there"]["location"] == str(here)
    assert tables.find_pending() == {"absent"}
    unread = Description(EngineInfo("diffusers"), "", (("has no file", "Look for it."),))
    description = Description(
        EngineInfo("diffusers"), models=dict.fromkeys(("there", "absent", "path"), unread)
    ).with_pending(tables.find_pending())
    results = description.check_results("[backend.local]")
    assert [(result.name, result.ok) for result in results] == [
        ("model there", False),
        ("model absent", True),
        ("model path", False),
    ]
    assert "downloaded with the first request" in results[1].detail
