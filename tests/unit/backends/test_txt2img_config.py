"""The configuration file that a backend writes is what ``bot.txt2img`` reads, and private."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from bot.backends import local, slurm
from bot.backends.base import Submission
from bot.backends.engine_info import parse_description
from bot.backends.local import LocalBackend
from bot.backends.local_devices import uses_model
from bot.backends.slurm import SlurmBackend
from bot.domain.image_engine import EngineInfo
from bot.domain.workflow.template import render
from bot.settings import Settings
from bot.txt2img.config import LoraConfig, ModelConfig, ServerConfig, WorkerConfig, read_config
from tests.stock_jobs import load, request, ticket

CONFIG = """
[models.sdxl]
title = "SDXL"
path = "/models/sdxl.safetensors"
family = "sdxl"
guidance = 5
sampler = "Euler a"
loras.film = { file = "/models/film.safetensors", weight = 0.5 }
[models.box]
engine = "comfyui"
checkpoint = "flux.safetensors"
[models.small]
hub = "owner/small"
[backend.KIND]
urls = ["http://gpu:8188", "http://gpu2:8188"]
username = "me"
password = "pass-word-1"
device = "cpu"
graphs.txt2img = "/graphs/own.json"
[backend.KIND.worker]
memory_mb = 8000
idle = "5m"
offload = "model"
"""


def options(folder: Path, kind: str, text: str = CONFIG) -> Mapping[str, object]:
    path = folder / "config.toml"
    path.write_text(text.replace("KIND", kind))
    path.chmod(0o600)
    environ = {
        "GRIDBRUSH_BACKEND__KIND": kind,
        "GRIDBRUSH_BACKEND__SLURM__SHARED_DIR": str(folder / "shared"),
    }
    return Settings.load(None, environ, folder).backend_options()


async def opened(folder: Path, kind: str, text: str = CONFIG) -> LocalBackend | SlurmBackend:
    chosen = options(folder, kind, text)
    return await (local.open(chosen) if kind == "local" else slurm.open(chosen))


def config_file(folder: Path, kind: str) -> Path:
    return folder / ("data/local" if kind == "local" else "shared") / "txt2img.json"


@pytest.mark.parametrize("kind", ["local", "slurm"])
async def test_the_program_reads_what_the_settings_say(tmp_path: Path, kind: str) -> None:
    backend = await opened(tmp_path, kind)
    path = config_file(tmp_path, kind)
    assert path.stat().st_mode & 0o777 == 0o600
    config = read_config({"TXT2IMG_CONFIG": str(path)})
    assert (config.engine, config.device) == ("auto", "cpu")
    # A worker is used where rows load models: here, if the library is installed.
    installed = uses_model("auto", has_model=True)
    local_socket = str(path.parent / "worker" / "worker.sock") if installed else ""
    socket = "job" if kind == "slurm" else local_socket
    assert config.worker == WorkerConfig(socket, 8000, 300.0, "model")
    assert config.comfyui == ServerConfig(
        ("http://gpu:8188", "http://gpu2:8188"),
        "me",
        "pass-word-1",
        {"txt2img": "/graphs/own.json"},
    )
    assert config.a1111 == ServerConfig()
    film = LoraConfig("film", "/models/film.safetensors", 0.5)
    assert config.models == {
        "sdxl": ModelConfig(
            "sdxl",
            title="SDXL",
            location="/models/sdxl.safetensors",
            family="sdxl",
            guidance=5.0,
            sampler="Euler a",
            loras=(film,),
        ),
        "box": ModelConfig("box", engine="comfyui", kind="checkpoint", location="flux.safetensors"),
        "small": ModelConfig("small", kind="hub", location="owner/small"),
    }
    # Each step finds the file; the password is in the file alone.
    workflow = render(load("stable-diffusion.yaml"), request(), ticket())
    script = backend.script(Submission("a" * 16, workflow))
    assert f"TXT2IMG_CONFIG={path}" in script
    assert "pass-word-1" not in script + repr(options(tmp_path, kind)) + repr(backend._options)


@pytest.mark.parametrize("kind", ["local", "slurm"])
async def test_the_file_follows_the_settings(tmp_path: Path, kind: str) -> None:
    await opened(tmp_path, kind)
    await opened(tmp_path, kind, "")
    config = read_config({"TXT2IMG_CONFIG": str(config_file(tmp_path, kind))})
    assert (config.models, config.comfyui) == ({}, ServerConfig())


@pytest.mark.parametrize(("models", "token"), [('hub = "a/b"', True), ('path = "/x"', False)])
async def test_the_hub_s_token_is_for_jobs_that_may_download(
    tmp_path: Path, models: str, token: bool
) -> None:
    chosen = {**options(tmp_path, "local", f"[models.m]\n{models}\n"), "environ": {"HF_TOKEN": "t"}}
    assert ("HF_TOKEN" in (await local.open(chosen))._environment()) is token


def entry(engine: str, **changed: object) -> dict[str, object]:
    known = {"engine": engine, "model": "m", "family": "", "guidance": None, "negative": True}
    return known | {"note": "", "problems": []} | changed


def test_each_model_of_the_table_is_a_line_of_check() -> None:
    text = json.dumps(
        entry("diffusers", problems=[["no model is named", "name one"]])
        | {
            "models": {
                "sdxl": entry("diffusers", model="sdxl-base", family="sdxl", guidance=5),
                "box": entry("comfyui", negative=False, problems=[["is gone", "ask"]]),
            }
        }
    )
    found = parse_description(text)
    assert found.model_engines == {
        "sdxl": EngineInfo("diffusers", "sdxl-base"),
        "box": EngineInfo("comfyui", "m", negative=False),
    }
    assert [(one.name, one.ok, one.detail, one.hint) for one in found.check_results("[x]")] == [
        ("model sdxl", True, "diffusers, sdxl-base, family sdxl, guidance 5", ""),
        ("model box", False, "[models.box] is gone", "ask"),
    ]


@pytest.mark.parametrize("models", [3, {"a": {}}, {"a": None}, [1]])
def test_a_table_that_is_none_is_said_to_be_none(models: object) -> None:
    with pytest.raises(ValueError, match="in the answer of"):
        parse_description(json.dumps(entry("diffusers") | {"models": models}))
