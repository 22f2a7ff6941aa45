"""Test the ComfyUI engine on a stand-in server: what it sends, and the pictures it returns."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from PIL import Image

from bot.txt2img.config import LoraConfig, ServerConfig
from bot.txt2img.engines.base import Report
from bot.txt2img.engines.comfyui import describe
from bot.txt2img.engines.comfyui.client import find_name
from bot.txt2img.plan import UsageError
from bot.txt2img.prompt_tags import has_tags
from bot.txt2img.upscale import main as upscale_main
from tests.image_servers.comfyui import ComfyUI
from tests.image_servers.comfyui_nodes import Machine
from tests.unit.txt2img.comfyui_engines import (
    NO_STEP,
    answering,
    batch,
    colours,
    engine,
    lora,
    model,
    nodes,
)
from tests.unit.txt2img.conftest import Paint


@pytest.fixture
def server() -> Any:
    with ComfyUI() as running:
        yield running


def test_a_batch_is_one_prompt_and_gives_bare_pictures(server: ComfyUI) -> None:
    steps: list[int] = []
    subject = engine(server)
    asked = batch(3, width=128, negative="dog", steps=6, scale=5.5)
    pictures = subject.generate(asked, lambda: steps.append(1))
    assert [(picture.size, picture.mode, picture.info) for picture in pictures] == [
        ((128, 64), "RGB", {})
    ] * 3
    assert all(b"a cat" in file for file in server.files.values())  # what had to be stripped
    assert len(steps) == 6
    assert len(server.submitted) == 1
    sampler = nodes(server)["KSampler"]
    assert {key: sampler[key] for key in ("seed", "steps", "cfg", "denoise")} == {
        "seed": 7,
        "steps": 6,
        "cfg": 5.5,
        "denoise": 1.0,
    }
    assert nodes(server)["EmptyLatentImage"] == {"width": 128, "height": 64, "batch_size": 3}
    texts = [
        node["inputs"]["text"]
        for node in server.submitted[0].values()
        if node["class_type"] == "CLIPTextEncode"
    ]
    assert texts == ["a cat", "dog"]
    assert subject.report == Report(
        "comfyui", "sd15", 6, 5.5, negative=True, sampler="euler/normal"
    )
    assert subject.notice == "Generating with sd15.safetensors on ComfyUI"
    assert not any(method == "POST" and "interrupt" in path for method, path in server.requests)


def test_picture_n_of_a_seed_does_not_depend_on_the_size_of_its_batch(server: ComfyUI) -> None:
    together = colours(engine(server).generate(batch(4), NO_STEP))
    alone = [colours(engine(server).generate(batch(first=n), NO_STEP))[0] for n in range(4)]
    assert together == alone
    # Beyond what one batch of latents holds, too.
    many = colours(engine(server).generate(batch(70), NO_STEP))
    assert len(set(many)) == 70
    assert many[:4] == together
    assert many[66] == colours(engine(server).generate(batch(first=66), NO_STEP))[0]


def test_rows_with_consecutive_seeds_repeat_no_picture(server: ComfyUI) -> None:
    rows = [colours(engine(server).generate(batch(4, seed=100 + row), NO_STEP)) for row in range(4)]
    assert len({colour for row in rows for colour in row}) == 16


def test_prompts_of_one_batch_may_differ(server: ComfyUI) -> None:
    pictures = engine(server).generate(batch(prompts=("a", "a", "b")), NO_STEP)
    assert len(set(colours(pictures))) == 3
    assert len(server.submitted) == 2


def test_the_same_again_makes_new_files(server: ComfyUI) -> None:
    first = engine(server).generate(batch(2), NO_STEP)
    server.files.clear()  # a server names cached files, which may be gone
    assert colours(engine(server).generate(batch(2), NO_STEP)) == colours(first)


@pytest.mark.parametrize("samples", [4, 5])
def test_without_memory_the_batch_is_halved_once_and_the_pictures_are_the_same(
    server: ComfyUI, samples: int, capsys: pytest.CaptureFixture[str]
) -> None:
    right = colours(engine(server).generate(batch(samples), NO_STEP))
    server.restart()  # with an empty cache
    server.machine.max_batch = (samples + 1) // 2
    steps: list[int] = []
    subject = engine(server)
    assert colours(subject.generate(batch(samples), lambda: steps.append(1))) == right
    assert len(steps) == 4
    said = capsys.readouterr().err
    assert f"ran out of memory with {samples} pictures at once" in said
    assert len(server.submitted) == 1 + 3
    subject.generate(batch(samples, first=samples), NO_STEP)  # it has learned it
    assert "ran out of memory" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("samples", "max_batch", "problem"),
    [
        (4, 1, "2 pictures of 64x64 did not fit, ask for fewer samples or smaller pictures"),
        (1, 0, "One picture of 64x64 did not fit"),
    ],
)
def test_a_server_without_enough_memory_is_an_error_in_one_sentence(
    server: ComfyUI, samples: int, max_batch: int, problem: str
) -> None:
    server.machine.max_batch = max_batch
    with pytest.raises(UsageError, match=problem):
        engine(server).generate(batch(samples), NO_STEP)


def test_a_picture_to_start_from_is_uploaded_once(server: ComfyUI) -> None:
    start = Image.new("RGB", (64, 64), (9, 9, 9))
    asked = batch(4, init_image=start, strength=0.6)
    together = colours(engine(server).generate(asked, NO_STEP))
    assert len(set(together)) == 4
    assert nodes(server)["KSampler"]["denoise"] == 0.6
    (name,) = server.machine.inputs
    assert name.startswith("gridbrush/")
    other = batch(4, init_image=Image.new("RGB", (64, 64)), strength=0.6)
    assert not set(colours(engine(server).generate(other, NO_STEP))) & set(together)
    server.restart()
    server.machine.max_batch = 2
    assert colours(engine(server).generate(asked, NO_STEP)) == together


@pytest.mark.parametrize(
    ("family", "name", "expected"),
    [
        ("sd", "", {"CLIPTextEncode", "EmptyLatentImage"}),
        ("sdxl", "", {"CLIPTextEncodeSDXL", "EmptyLatentImage"}),
        ("sd3", "", {"ModelSamplingSD3", "EmptySD3LatentImage"}),
        ("flux", "", {"FluxGuidance", "ConditioningZeroOut", "EmptySD3LatentImage"}),
        ("schnell", "", {"FluxGuidance"}),
        ("lcm", "", {"CLIPTextEncode"}),
        ("", "sd_xl_base_1.0.safetensors", {"CLIPTextEncodeSDXL"}),
        ("", "sub/flux1-dev-fp8.safetensors", {"FluxGuidance"}),
        ("", "my_own_mix.safetensors", {"CLIPTextEncode"}),
    ],
)
def test_each_family_has_its_graph(family: str, name: str, expected: set[str]) -> None:
    name = name or "x.safetensors"
    with ComfyUI(Machine(checkpoints=[name])) as server:
        subject = engine(server, model=model(family=family, location=name))
        pictures = subject.generate(batch(2, negative="dog"), NO_STEP)
        assert len(set(colours(pictures))) == 2
        assert expected <= set(nodes(server))
        # With a picture to start from as well.
        start = Image.new("RGB", (64, 64))
        subject.generate(batch(init_image=start, strength=0.5), NO_STEP)
        assert "VAEEncode" in nodes(server)
    flux = "FluxGuidance" in expected
    assert subject.report.negative is not (flux or family == "lcm")


@pytest.mark.parametrize(
    ("given", "sampler", "scheduler"),
    [
        ("", "euler", "normal"),
        ("DPM++ 2M Karras", "dpmpp_2m", "karras"),
        ("dpmpp_2m_sde exponential", "dpmpp_2m_sde", "exponential"),
        ("Euler a", "euler_ancestral", "normal"),
        ("euler/simple", "euler", "simple"),
        ("DDIM", "ddim", "ddim_uniform"),
        ("UniPC", "uni_pc", "normal"),
        ("LCM", "lcm", "sgm_uniform"),
        ("EulerAncestralDiscreteScheduler", "euler_ancestral", "normal"),
    ],
)
def test_samplers_may_have_their_usual_names(
    server: ComfyUI, given: str, sampler: str, scheduler: str
) -> None:
    subject = engine(server, model=model(sampler=given))
    subject.generate(batch(), NO_STEP)
    sent = nodes(server)["KSampler"]
    assert (sent["sampler_name"], sent["scheduler"]) == (sampler, scheduler)
    assert subject.report.sampler == f"{sampler}/{scheduler}"


@pytest.mark.parametrize(
    ("prompt", "text", "weights"),
    [
        ("a cat", "a cat", {"film": 0.8, "ink": 1.0}),
        ("a cat <lora:film:0.5>", "a cat", {"film": 0.5, "ink": 1.0}),
        ("<lora:ink:1.5> cat", "cat", {"film": 0.8, "ink": 1.5}),
        ("<lora:film:99>", "", {"film": 2.0, "ink": 1.0}),
        ("<lora:film>", "", {"film": 0.8, "ink": 1.0}),
        ("(cat:1.2) [dog] embedding:easy <3 a<b <b>", None, {}),
        ("!param SEED", None, {}),
        ('"}, "', None, {}),
    ],
)
def test_loras_of_the_table_become_nodes_and_tags_leave_the_text(
    prompt: str, text: str | None, weights: dict[str, float]
) -> None:
    with ComfyUI(Machine(loras=["film.safetensors", "ink.safetensors"])) as server:
        loras = (lora("film", 0.8), lora("ink"))
        engine(server, model=model(loras=loras)).generate(batch(prompts=(prompt,)), NO_STEP)
        sent = server.submitted[0]
    assert sent["positive"]["inputs"]["text"] == (prompt if text is None else text)
    found = {
        node["inputs"]["lora_name"].removesuffix(".safetensors"): node["inputs"]["strength_model"]
        for node in sent.values()
        if node["class_type"] == "LoraLoader"
    }
    assert found == (weights or {"film": 0.8, "ink": 1.0})
    assert sent["sampler"]["inputs"]["model"] == ["lora2", 0]
    assert sent["positive"]["inputs"]["clip"] == ["lora2", 1]
    assert sent["decode"]["inputs"]["vae"] == ["checkpoint", 2]


@pytest.mark.parametrize(
    "prompt", ["<lora:other:1> cat", "<hypernet:x:1> cat", "<sd_cpp_extra_args>{}</x>", "__a__"]
)
def test_what_servers_act_on_is_text(server: ComfyUI, prompt: str) -> None:
    engine(server).generate(batch(prompts=(prompt,), negative=prompt), NO_STEP)
    for node in ("positive", "negative"):
        assert not has_tags(server.submitted[0][node]["inputs"]["text"])


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("a.safetensors", ["b.safetensors", "a.safetensors"], "a.safetensors"),
        ("a", ["b.safetensors", "a.safetensors"], "a.safetensors"),
        ("sdxl/A", ["sdxl\\a.safetensors", "sd/a.safetensors"], "sdxl\\a.safetensors"),
        ("sdxl/a.safetensors", ["sdxl\\a.safetensors"], "sdxl\\a.safetensors"),
        ("a.safetensors", ["sdxl/a.safetensors"], "sdxl/a.safetensors"),
        ("a.safetensors", ["sdxl/a.safetensors", "sd/a.safetensors"], "a.safetensors"),
        ("a", ["a.ckpt", "a.safetensors"], "a"),
        ("a", [], "a"),
    ],
)
def test_a_models_name_is_found_in_the_servers_spelling(
    name: str, known: list[str], expected: str
) -> None:
    assert find_name(name, known) == expected
    if expected not in known:
        return
    machine = Machine(checkpoints=known, loras=known)
    with ComfyUI(machine) as server:
        chosen = model(location=name, loras=(LoraConfig("x", name),))
        engine(server, model=chosen).generate(batch(), NO_STEP)
        assert nodes(server)["CheckpointLoaderSimple"]["ckpt_name"] == expected
        assert nodes(server)["LoraLoader"]["lora_name"] == expected
        assert describe(ServerConfig((server.url,)), chosen)["problems"] == []


def test_without_a_named_model_the_first_checkpoint_is_taken() -> None:
    with ComfyUI(Machine(checkpoints=["sd_xl.safetensors", "a.safetensors"])) as server:
        subject = engine(server, model=None)
        subject.generate(batch(), NO_STEP)
        assert nodes(server)["CheckpointLoaderSimple"]["ckpt_name"] == "sd_xl.safetensors"
        assert "CLIPTextEncodeSDXL" in nodes(server)  # of its own family
        assert (subject.report.model, subject.report.guidance) == ("sd_xl", 5.0)


def test_a_server_that_chooses_the_ids_itself_is_followed(server: ComfyUI) -> None:
    server.honours_ids = False
    assert len(engine(server).generate(batch(2), NO_STEP)) == 2


def test_the_program_paints_with_the_model_of_the_job(
    paint: Paint, server: ComfyUI, tmp_path: Path, write_config: Any
) -> None:
    server.machine.checkpoints = ["one.safetensors", "two.safetensors"]
    models = {
        "second": {"kind": "checkpoint", "location": "two.safetensors", "sha256": "ab" * 32},
        "gone": {"kind": "checkpoint", "location": "gone.safetensors"},
        "folder": {"kind": "path", "location": "/models/x"},
    }
    servers = {"urls": [server.url]}
    config = write_config({"engine": "comfyui", "comfyui": servers, "models": models})
    report = tmp_path / "report"

    def run(model: str, default: str = "") -> tuple[int, str]:
        outcome = paint(
            "--prompt=a cat",
            f"--outdir={tmp_path / 'out'}",
            TXT2IMG_CONFIG=config,
            MODEL=model,
            PAINTER_ENGINE="comfyui",
            PAINTER_MODEL=default,
            PAINTER_REPORT=str(report),
        )
        return outcome.status, outcome.err.splitlines()[-1]

    assert run("second")[0] == 0
    assert report.read_text().splitlines() == [
        "engine=comfyui",
        "model=two",
        "steps=4",
        "guidance=7",
        "sampler=euler/normal",
        f"sha256={'ab' * 32}",
        "negative=1",
    ]
    assert run("other", "one.safetensors")[0] == 0
    assert "model=one\n" in report.read_text()
    assert run("other")[0] == 0
    status, line = run("gone")
    assert (status, line[:9]) == (1, "txt2img: ")
    assert "there is no checkpoint 'gone.safetensors'; there are: one.safetensors" in line
    assert run("folder") == (
        1,
        "txt2img: The model folder is not one of a server: write checkpoint = its name.",
    )


def test_upscaling_by_the_server_is_exactly_four_times(
    server: ComfyUI, tmp_path: Path, write_config: Any
) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    Image.new("RGBA", (20, 12), (200, 30, 30, 255)).save(frames / "red.png")
    server.machine.upscalers = ["2x-other.pth", "RealESRGAN_x4plus.pth"]
    report = tmp_path / "report"
    variables = {
        "STORAGE_PATH": str(tmp_path),
        "PAINTER_REPORT": str(report),
        "TXT2IMG_CONFIG": write_config({"engine": "comfyui", "comfyui": {"urls": [server.url]}}),
    }

    out, err = io.StringIO(), io.StringIO()
    assert upscale_main([str(frames)], variables, out, err) == 0, err.getvalue()
    with Image.open(tmp_path / "output_frames" / "red_out.png") as image:
        assert (image.size, image.info) == ((80, 48), {})
    assert nodes(server)["UpscaleModelLoader"]["model_name"] == "RealESRGAN_x4plus.pth"
    assert "engine=comfyui\nmodel=RealESRGAN_x4plus\n" in report.read_text()

    server.machine.upscalers.clear()
    assert upscale_main([str(frames)], variables, out, err) == 0
    assert "engine=upscaling\n" in report.read_text()

    server.fault = answering("/", lambda: web.Response(text="<html>", content_type="text/html"))
    assert upscale_main([str(frames)], variables, out, err) == 1
    assert "answers with a web page" in err.getvalue()
