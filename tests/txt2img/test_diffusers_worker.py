"""Tiny pipelines of every family and format through the resident worker.

Opt-in: needs the extra ``gridbrush[diffusers]``; ``make test-diffusers`` installs it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageStat

from bot.txt2img.config import LoraConfig, ModelConfig, WorkerConfig
from bot.txt2img.engines.base import Batch, Report
from bot.txt2img.engines.samplers import DIFFUSION
from bot.txt2img.engines.spec import EngineSpec
from bot.txt2img.engines.worker.client import Worker, WorkerEngine
from bot.txt2img.engines.worker.place import socket_path
from bot.txt2img.plan import UsageError
from tests.txt2img import tiny_models
from tests.txt2img.test_worker import ROOT
from tests.txt2img.test_worker_processes import worker_status
from tests.unit.txt2img.conftest import Paint

pytestmark = [
    pytest.mark.diffusers,
    # The libraries warn about each other on import; nothing here can change it.
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one tiny pipeline for each family, and what goes with ``sd``."""
    folder = tmp_path_factory.mktemp("models")
    for name, save in tiny_models.SAVERS.items():
        save(folder / name)
    tiny_models.save_lora(folder / "lora.safetensors", folder / "sd")
    tiny_models.save_single_file(folder / "sd", folder / "one.safetensors")
    (folder / "one").symlink_to(folder / "sd")
    tiny_models.save_ckpt(folder / "sd", folder / "old.ckpt")
    (folder / "old").symlink_to(folder / "sd")
    tiny_models.save_gguf(folder / "sd", folder / "small.gguf")
    (folder / "small").symlink_to(folder / "sd")
    return folder


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    path = tmp_path_factory.mktemp("worker") / "w" / "w.sock"
    made = Worker(path, WorkerConfig(), environment)
    yield made
    with contextlib.suppress(OSError):
        os.kill(worker_status(made)["pid"], signal.SIGKILL)


Run = Callable[..., tuple[list[Image.Image], Report, int]]


@pytest.fixture
def run(worker: Worker, models: Path) -> Run:
    """Return a function that runs a model: pictures, report, and steps that were shown."""

    def generate(
        name: str, model: Any = None, worker: Worker = worker, **changes: Any
    ) -> tuple[list[Image.Image], Report, int]:
        made = ModelConfig(name, location=str(models / name), **(model or {}))
        batch = Batch(("a red cat", "a dog"), "", 7, 0, 64, 128, 4, None)
        steps: list[int] = []
        engine = WorkerEngine(EngineSpec("diffusers", made), worker, print)
        pictures = engine.generate(replace(batch, **changes), lambda: steps.append(1))
        return list(pictures), engine.report, len(steps)

    return generate


@pytest.mark.parametrize("change", ["cut", "other family"])
def test_a_file_that_cannot_be_loaded_is_named(run: Run, models: Path, change: str) -> None:
    data = (models / "one.safetensors").read_bytes()
    broken = models / "broken.safetensors"
    if change == "cut":
        broken.write_bytes(data[: len(data) // 2])
    else:
        broken.write_bytes(data.replace(b"time_embed.0.weight", b"time_embed.7.weight"))
    with contextlib.suppress(FileExistsError):
        (models / "broken").symlink_to(models / "sd")
    with pytest.raises(UsageError, match="cannot be loaded"):
        run("broken.safetensors")


def is_like(first: Image.Image, second: Image.Image) -> bool:
    """Return whether pictures differ by rounding alone."""
    pairs = zip(first.tobytes(), second.tobytes(), strict=True)
    return max(abs(one - other) for one, other in pairs) <= 2


FAMILIES = {
    # model: guidance, sampler, whether negative prompts act
    "sd": (9.0, "DDIM", True),
    "lcm": (1.0, "LCM", False),
    "sdxl": (5.0, "EulerDiscrete", True),
    "sd3": (3.5, "FlowMatchEulerDiscrete", True),
    "sd3-without-t5": (3.5, "FlowMatchEulerDiscrete", True),
    "flux": (3.5, "FlowMatchEulerDiscrete", False),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_generates_from_text_and_from_a_picture(run: Run, name: str) -> None:
    guidance, sampler, negative = FAMILIES[name]
    pictures, report, steps = run(name)
    assert [image.size for image in pictures] == [(64, 128)] * 2
    assert pictures[0].tobytes() != pictures[1].tobytes()
    expected = Report("diffusers", name, 4, guidance, negative=negative, sampler=sampler)
    assert (report, steps) == (expected, 4)
    # The same pictures in a batch of another size.
    alone, _, _ = run(name, prompts=("a dog",), first=1)
    assert is_like(alone[0], pictures[1])
    refused, _, _ = run(name, negative="trees")
    assert (refused[0].tobytes() != pictures[0].tobytes()) == negative
    start = Image.effect_noise((64, 128), 80).convert("RGB")
    weak, report, steps = run(name, init_image=start, strength=0.3, steps=10)
    strong, _, _ = run(name, init_image=start, strength=0.9, steps=10)
    assert steps == 10
    assert report.steps < 10 or name == "lcm"
    assert len({image.tobytes() for image in (pictures[0], weak[0], strong[0])}) == 3


@pytest.mark.parametrize("name", ["one.safetensors", "old.ckpt"])
def test_a_single_file_gives_the_pictures_of_its_folder(run: Run, name: str) -> None:
    pictures, report, _ = run(name)
    assert (report.model, len(report.sha256), report.guidance) == (name[:3], 64, 9.0)
    expected, _, _ = run("sd")
    assert all(is_like(*pair) for pair in zip(pictures, expected, strict=True))
    with pytest.raises(UsageError, match="and the settings say 00"):
        run(name, {"sha256": "00"})
    assert run(name, {"sha256": report.sha256.upper()})[1].sha256 == report.sha256


def test_a_quantized_network_gives_nearly_the_same(run: Run) -> None:
    (picture, _), report, _ = run("small.gguf")
    (expected, _), _, _ = run("sd")
    assert report.model == "small"
    difference = ImageStat.Stat(ImageChops.difference(picture, expected)).mean
    assert 0 < max(difference) < 1


def test_loras_samplers_and_guidance_of_the_table_act(run: Run, models: Path) -> None:
    plain, _, _ = run("sd")
    lora = models / "lora.safetensors"
    with_lora, _, _ = run("sd", {"loras": (LoraConfig("film.v1", str(lora), 1.0),)})
    without, _, _ = run("sd", {"loras": (LoraConfig("film.v1", str(lora), 0.0),)})
    assert with_lora[0].tobytes() != plain[0].tobytes()
    assert is_like(without[0], plain[0])
    other, report, _ = run("sd", {"sampler": "dpmpp_2m_karras", "guidance": 2.0})
    assert other[0].tobytes() != plain[0].tobytes()
    assert (report.sampler, report.guidance) == ("DPM++ 2M Karras", 2.0)
    with pytest.raises(UsageError, match=r"does not fit the model|do not fit the model"):
        run("flux", {"loras": (LoraConfig("film", str(lora)),)})
    for name, sampler in (("sd", "magic"), ("flux", "DDIM")):
        with pytest.raises(UsageError, match=r"is unknown for .* There are:"):
            run(name, {"sampler": sampler})


@pytest.mark.parametrize("sampler", [sampler.name for sampler in DIFFUSION])
def test_every_sampler_generates(run: Run, sampler: str) -> None:
    pictures, report, steps = run("sd", {"sampler": sampler}, steps=5, prompts=("a cat",))
    assert (report.sampler, steps, len(pictures)) == (sampler, 5, 1)


def test_four_rows_load_a_model_once(run: Run, worker: Worker) -> None:
    run("sd")
    before = worker_status(worker)
    threads = [
        threading.Thread(target=run, args=("sd",), kwargs={"seed": seed}) for seed in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = worker_status(worker)
    assert (after["loads"], after["rows"]) == (before["loads"], before["rows"] + 4)


def test_models_leave_for_others_when_the_budget_is_small(run: Run, worker: Worker) -> None:
    for name in ("sd", "sdxl"):
        run(name)
    assert len(worker_status(worker)["models"]) > 1
    run("flux", worker=replace(worker, config=WorkerConfig(memory_mb=1)))
    assert [Path(name).name for name in worker_status(worker)["models"]] == ["flux"]


def test_a_closed_engine_frees_its_weights(models: Path) -> None:
    from bot.txt2img.engines.worker.loading import load_engine

    model = ModelConfig("sd", location=str(models / "sd"))
    engine: Any = load_engine(EngineSpec("diffusers", model, slicing=True))
    engine.generate(Batch(("a cat",), "", 7, 0, 64, 64, 2, None), lambda: None)
    start = Image.new("RGB", (64, 64))
    with_picture = Batch(("a cat",), "", 7, 0, 64, 64, 2, None, init_image=start, strength=0.5)
    engine.generate(with_picture, lambda: None)
    assert engine.memory_bytes > 1_000_000
    parts = [weakref.ref(engine._pipeline.unet), weakref.ref(engine._pipeline.vae)]
    engine.close()
    assert [part() for part in parts] == [None, None]


def test_exhausted_memory_is_known_by_its_error() -> None:
    torch, _, _ = tiny_models.libraries()
    from bot.txt2img.engines.pipelines import is_out_of_memory

    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(torch.OutOfMemoryError("x"))
    assert is_out_of_memory(MemoryError())
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2, 3) @ torch.empty(2, 3)
    assert not is_out_of_memory(caught.value)


def test_the_program_uses_the_worker_of_its_configuration(
    worker: Worker, models: Path, paint: Paint, tmp_path: Path
) -> None:
    folder = tmp_path / "w"
    folder.mkdir(mode=0o700)
    socket_path(str(folder / "w.sock"), {}, "cpu").symlink_to(worker.path)
    config = tmp_path / "config.json"
    table = {"tiny": {"location": str(models / "sd"), "guidance": 3.0}}
    config.write_text(json.dumps({"worker": {"socket": str(folder / "w.sock")}, "models": table}))
    report = tmp_path / "report"
    done = paint(
        *("--n_iter=2", "--n_samples=2", f"--outdir={tmp_path / 'out'}"),
        TXT2IMG_CONFIG=str(config),
        MODEL="tiny",
        PAINTER_REPORT=str(report),
    )
    assert done.status == 0, done.err
    assert "DDIM Sampler: 100%|██████████| 4/4" in done.err
    assert f"Generating with {models / 'sd'}" in done.out
    assert len(list((tmp_path / "out" / "samples").iterdir())) == 4
    assert "model=sd\nsteps=4\nguidance=3\nsampler=DDIM\n" in report.read_text()
