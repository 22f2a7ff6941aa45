"""The engine for the A1111 API, with a stand-in that differs and breaks as the servers do."""

from __future__ import annotations

import io
import itertools
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from bot.txt2img.config import CHECKPOINT, LoraConfig, ModelConfig, ServerConfig
from bot.txt2img.engines.a1111 import A1111Engine, describe
from bot.txt2img.engines.a1111.client import ConnectionLost, Server
from bot.txt2img.engines.a1111.engine import (
    MAX_BUSY_SECONDS,
    MAX_SILENT_SECONDS,
    Clock,
    Watch,
)
from bot.txt2img.plan import UsageError
from tests.image_servers.a1111 import ABSENT, SHA256, VARIANTS, StandIn, Variant, serve
from tests.image_servers.engine_suite import *  # noqa: F403
from tests.image_servers.engine_suite import BATCH, FAST, engine, generate
from tests.tagged_prompts import ACTING

FORGE, SDNEXT, KOBOLD, SDCPP = VARIANTS


@pytest.fixture(params=VARIANTS, ids=lambda variant: variant.name)
def site(request: pytest.FixtureRequest) -> Iterator[StandIn]:
    with serve(request.param) as running:
        yield running


@pytest.fixture
def url(site: StandIn) -> str:
    return site.url


@pytest.fixture
def odd_size(site: StandIn) -> int:
    return site.variant.size_step + 4


@pytest.fixture
def forge() -> Iterator[StandIn]:
    with serve(FORGE) as running:
        yield running


def unused_url() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("html", "answers with a web page that is not the A1111 API"),
        ("html 500", r"refuses the request \(500\)"),
        ("no json", "answers with something that is not the A1111 API"),
        ("deep", "is not the A1111 API"),
        ("a list", "answers without pictures"),
        ("no list", "answers without pictures"),
        ("none", "made no picture"),
        ("empty", "returned an empty picture"),
        ("truncated", "returned a damaged picture"),
        ("cut base64", "returned a damaged picture"),
        ("redirect", r"sends elsewhere \(302\)"),
        ("out of memory", "ran out of memory with a single picture"),
        ("sdcpp no memory", "often for lack of memory"),
        ("wrong types", r"\(422: steps value is not a valid integer\)"),
        ("class and text", r"\(500: NansException: A tensor with all NaNs .* for …\)"),
        ("sdcpp exception", r"\(500: server_error: \[json.exception.type_error.302\] type\)"),
    ],
)
def test_what_is_no_picture_is_one_sentence(forge: StandIn, fault: str, sentence: str) -> None:
    forge.faults.append(fault)
    with pytest.raises(UsageError, match=sentence) as caught:
        generate(forge.url)
    said = str(caught.value)
    assert "\n" not in said
    assert "a red heron" not in said
    assert said.startswith(forge.url)
    assert len(forge.requests) == 1


def test_a_picture_with_a_prefix_is_read(forge: StandIn) -> None:
    forge.faults.append("prefix")
    assert generate(forge.url).size == (64, 64)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "is written like http"),
        ("127.0.0.1:7860", "is written like http"),
        ("ftp://127.0.0.1", "is written like http"),
        ("http://", "is written like http"),
        ("http://[::1", "is written like http"),
        ("http://ada:secret@127.0.0.1:no", "is written like http"),
    ],
)
def test_an_address_that_is_none_is_refused_before_anything_is_sent(
    url: str, sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence) as caught:
        engine(url)
    assert "secret" not in str(caught.value)
    assert describe(ServerConfig((url,)), None)["problems"]


def test_no_address_and_no_server_are_said() -> None:
    with pytest.raises(UsageError, match="needs the url"):
        engine()
    assert describe(ServerConfig(), None)["problems"] == [
        ("the engine a1111 has no url", "Set url to the image server's address.")
    ]
    with pytest.raises(UsageError, match="does not answer"):
        generate(unused_url())
    ((problem, hint),) = describe(ServerConfig((unused_url(),)), None)["problems"]
    assert "does not answer" in problem
    assert "--api" in hint


def test_a_web_ui_without_its_api_is_told_apart() -> None:
    bare = replace(FORGE, name="no api", progress=False)
    with serve(bare) as site, pytest.raises(UsageError, match="has no A1111 API"):
        generate(site.url + "/elsewhere")


def test_a_password_is_sent_and_never_said() -> None:
    with serve(FORGE, username="ada", password="open sesame") as site:
        config = ServerConfig((site.url + "/",), "ada", "open sesame")
        right = A1111Engine(config, None, {})
        assert right.generate(BATCH, lambda: None)
        inside = site.url.replace("//", "//ada:open%20sesame@") + "/sdapi/v1/"
        assert "sesame" not in repr(config) + A1111Engine(ServerConfig((inside,)), None, {}).notice
        with pytest.raises(UsageError, match="refuses the username or password") as caught:
            engine(site.url, username="ada", password="wrong sesame").generate(BATCH, print)
        assert "sesame" not in str(caught.value)


def test_each_picture_has_a_seed_that_the_server_takes(site: StandIn) -> None:
    engine(site.url).generate(replace(BATCH, seed=2**32 - 1, prompts=("x",) * 4), lambda: None)
    assert site.seeds[0] == site.variant.seeds - 1
    assert len({*site.seeds}) == 4
    assert all(0 <= seed < site.variant.seeds for seed in site.seeds)
    assert [body["batch_size"] for _, body in site.requests] == [1] * 4


def test_the_model_of_the_table_is_what_is_asked_for(forge: StandIn) -> None:
    model = ModelConfig(
        "it",
        kind=CHECKPOINT,
        location="Dreamshaper_8.safetensors",
        guidance=4.5,
        sampler="dpmpp_2m karras",
        loras=(LoraConfig("film", "film.safetensors", 0.8),),
    )
    one = engine(forge.url, model=model)
    one.generate(replace(BATCH, scale=None, prompts=("a # <lora:film:9> AND b",)), lambda: None)
    ((_, body),) = forge.requests
    assert body["override_settings"] == {
        "samples_format": "png",
        "sd_model_checkpoint": "dreamshaper_8.safetensors [879db523c3]",
        "enable_prompt_comments": False,
    }
    assert body["prompt"] == "a # and b <lora:film:2>"
    assert (body["sampler_name"], body["scheduler"]) == ("DPM++ 2M", "karras")
    assert (one.report.model, one.report.sha256) == ("dreamshaper_8", SHA256)
    assert (one.report.guidance, one.report.sampler) == (4.5, "DPM++ 2M")
    assert one.report.negative


def test_stable_diffusion_cpp_takes_loras_in_a_field() -> None:
    model = ModelConfig("it", loras=(LoraConfig("film", "film"),), guidance=1.0)
    with serve(SDCPP) as site:
        one = engine(site.url, model=model)
        one.generate(replace(BATCH, scale=None, prompts=("a <lora:film:0.5> b",)), lambda: None)
        ((_, body),) = site.requests
    assert body["lora"] == [{"path": "/loras/film.safetensors", "multiplier": 0.5}]
    assert body["prompt"] == "a b"
    assert not one.report.negative
    assert one.report.sha256 == ""


def test_flux_has_a_guidance_of_its_own(forge: StandIn) -> None:
    one = engine(forge.url, model=ModelConfig("it", family="flux", guidance=3.5))
    one.generate(replace(BATCH, scale=None), lambda: None)
    body = forge.requests[0][1]
    assert (body["cfg_scale"], body["distilled_cfg_scale"]) == (1.0, 3.5)
    assert (one.report.guidance, one.report.negative) == (3.5, False)


def test_a_model_without_guidance_takes_the_servers_own(forge: StandIn) -> None:
    one = engine(forge.url)
    one.generate(replace(BATCH, scale=None), lambda: None)
    assert "cfg_scale" not in forge.requests[0][1]
    assert (one.report.guidance, one.report.sampler) == (7.0, "Euler")


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (ModelConfig("it", sampler="nope"), "has no sampler 'nope'; it has Euler a, DPM"),
        (ModelConfig("it", sampler="Euler a fast"), "has no sampler 'Euler a fast'"),
        (ModelConfig("it", loras=(LoraConfig("a", "b"),)), "has no LoRA 'b'; it has film"),
    ],
)
def test_what_a_server_lacks_is_named_before_it_paints(
    site: StandIn, model: ModelConfig, sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        generate(site.url, model=model)
    assert site.requests == []
    assert (
        sentence.partition(";")[0] in describe(ServerConfig((site.url,)), model)["problems"][0][0]
    )


@pytest.mark.parametrize("text", [text for text, kept, _ in ACTING if kept and text.isascii()])
def test_a_tag_that_came_so_far_is_text(forge: StandIn, text: str) -> None:
    generate(forge.url, replace(BATCH, prompts=(text,), negative=text))
    body = forge.requests[0][1]
    for sent in (body["prompt"], body["negative_prompt"]):
        assert "<lora:" not in sent
        assert "<sd_cpp_extra_args" not in sent
        assert "__" not in sent


def test_progress_is_shown_step_by_step_while_the_call_runs(site: StandIn) -> None:
    site.hold.clear()
    steps: list[int] = []

    def step() -> None:
        steps.append(1)
        if len(steps) == 5:
            site.hold.set()  # half of ten: only now the picture may become ready

    if not site.variant.progress:
        site.hold.set()
    engine(site.url).generate(replace(BATCH, steps=10), step)
    assert len(steps) == 10


@pytest.mark.parametrize(
    ("variant", "interrupts"), [(FORGE, 1), (SDNEXT, 0), (KOBOLD, 0), (SDCPP, 0)]
)
def test_a_stopped_row_interrupts_its_own_call_and_no_other(
    variant: Variant, interrupts: int
) -> None:
    with serve(variant) as site:
        site.hold.clear()

        def stop() -> None:
            site.started.wait(20)
            os.kill(os.getpid(), signal.SIGTERM)

        before = signal.getsignal(signal.SIGTERM)
        stopper = threading.Thread(target=stop)
        stopper.start()
        with pytest.raises(SystemExit) as ended:
            generate(site.url)
        stopper.join()
        assert ended.value.code == 128 + signal.SIGTERM
        assert site.interrupts == interrupts
        assert signal.getsignal(signal.SIGTERM) is before


def test_a_call_behind_somebody_elses_is_never_interrupted() -> None:
    with serve(FORGE) as site:
        site.hold.clear()
        other = threading.Thread(target=lambda: generate(site.url, replace(BATCH, seed=1)))
        # Only a main thread hears signals: the other one plays another client of the server.
        other.start()
        site.started.wait(20)

        def stop() -> None:
            while len(site.requests) < 2:
                site.interrupted.wait(0.01)
            os.kill(os.getpid(), signal.SIGTERM)

        stopper = threading.Thread(target=stop)
        stopper.start()
        with pytest.raises(SystemExit):
            generate(site.url)
        stopper.join()
        assert site.interrupts == 0
        site.hold.set()
        other.join()


def test_rows_go_to_the_next_server_and_to_an_idle_one() -> None:
    with ExitStack() as stack:
        sites = [stack.enter_context(serve(variant)) for variant in (FORGE, SDNEXT, SDCPP)]
        urls = [site.url for site in sites]
        for seed in range(6):
            engine(*urls).generate(replace(BATCH, seed=seed), lambda: None)
        assert [len(site.requests) for site in sites] == [2, 2, 2]
        sites[0].running = "somebody's"
        for seed in (6, 9):
            engine(*urls).generate(replace(BATCH, seed=seed), lambda: None)
        assert [len(site.requests) for site in sites] == [2, 4, 2]


def test_a_dead_server_is_left_out_and_one_without_the_checkpoint_too(forge: StandIn) -> None:
    model = ModelConfig("it", kind=CHECKPOINT, location="anything_v5")
    with serve(KOBOLD) as without:
        several = engine(unused_url(), without.url, forge.url, model=model)
        assert len(several.generate(replace(BATCH, prompts=("x",) * 3), lambda: None)) == 3
        assert without.requests == []
        assert len(forge.requests) == 3


def test_a_server_that_dies_over_a_picture_loses_it_to_another(forge: StandIn) -> None:
    with serve(FORGE) as dying:
        several = engine(dying.url, forge.url)
        dying.faults.append("lost")
        image = several.generate(replace(BATCH, seed=2), lambda: None)[0]
    assert image.tobytes() == generate(forge.url, replace(BATCH, seed=2)).tobytes()


def test_a_lost_call_is_sent_again_only_when_it_runs_no_more(site: StandIn) -> None:
    site.faults += ["lost", "lost"]
    assert generate(site.url).size == (64, 64)
    assert len(site.requests) == 3
    assert len({str(body["force_task_id"]) for _, body in site.requests}) == 3
    site.faults += ["lost"] * 3
    with pytest.raises(UsageError, match="broke the connection"):
        generate(site.url)


def test_a_busy_server_is_asked_again(site: StandIn) -> None:
    site.faults += ["busy", "busy"]
    assert generate(site.url).size == (64, 64)


@pytest.mark.parametrize("variant", [FORGE, SDNEXT], ids=lambda variant: variant.name)
def test_a_picture_is_upscaled_by_the_servers_best_model(variant: Variant) -> None:
    with serve(variant) as site, serve(SDCPP) as without:
        one = engine(unused_url(), without.url, site.url)
        large = one.upscale(Image.new("RGB", (9, 5)), 4)
        assert large is not None
        assert (large.size, one.report.model) == ((36, 20), "R-ESRGAN 4x+")
        site.overrides["/sdapi/v1/upscalers"] = [{"name": "Lanczos"}, {}, None]
        assert engine(without.url, site.url).upscale(large, 4) is None


def test_a_server_that_cannot_be_asked_to_upscale_is_said() -> None:
    with serve(SDCPP) as site, pytest.raises(UsageError, match="does not answer"):
        engine(site.url, unused_url()).upscale(Image.new("RGB", (9, 5)), 4)


def test_an_answer_without_end_is_not_read(forge: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.txt2img.engines.a1111.client.MAX_BYTES", 100)
    with pytest.raises(UsageError, match="answers with more than"):
        Server(forge.url, ServerConfig()).ask("/sd-models")


def test_the_program_generates_by_its_configuration(
    forge: StandIn,
    tmp_path: Path,
) -> None:
    from bot.txt2img.__main__ import main
    from bot.txt2img.run import Streams

    config = {"engine": "a1111", "a1111": {"urls": [forge.url]}, "models": {"it": {}}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    environment = {
        "TXT2IMG_CONFIG": str(tmp_path / "config.json"),
        "MODEL": "it",
        "PAINTER_REPORT": str(tmp_path / "report"),
    }
    words = ["--prompt=a red heron", "--outdir", str(tmp_path / "out"), "--W=64", "--H=64"]
    out, err = io.StringIO(), io.StringIO()
    status = main(
        [*words, "--n_iter=1", "--n_samples=2"], environment, Streams(out, err, lambda: 0.0)
    )
    assert (status, f"Generating on {forge.url}" in out.getvalue()) == (0, True)
    assert "engine=a1111\nmodel=dreamshaper_8\n" in (tmp_path / "report").read_text()
    assert b"heron" not in (tmp_path / "out" / "samples" / "00001.png").read_bytes()


def counting(step: float) -> Clock:
    """A clock that passes ``step`` seconds each time somebody looks at it."""
    time = itertools.count(0.0, step)
    return Clock(lambda: next(time), lambda _: None, 0.01)


@pytest.mark.parametrize("fault", ["busy", "lost"])
def test_a_row_does_not_wait_for_ever(forge: StandIn, fault: str) -> None:
    forge.faults += [fault] * 9
    slept: list[float] = []
    clock = Clock(lambda: len(slept) * MAX_BUSY_SECONDS / 3, slept.append, 0.01)
    one = A1111Engine(ServerConfig((forge.url,)), None, {}, clock=clock)
    with pytest.raises(
        UsageError, match=r"is busy or starts up \(503: Server is|broke the connection"
    ):
        one.generate(BATCH, lambda: None)
    assert 1 < len(forge.requests) < 9


def test_a_lost_call_is_waited_for_while_somebody_paints(forge: StandIn) -> None:
    looks: list[int] = []

    def sleep(_: float) -> None:
        looks.append(1)
        forge.running = "" if len(looks) > 2 else "somebody's"

    one = A1111Engine(
        ServerConfig((forge.url,)), None, {}, clock=replace(FAST, sleep=sleep), new_id=lambda: "1"
    )
    forge.faults.append("lost")
    forge.running_after = ["gridbrush-1"]
    assert one.generate(BATCH, lambda: None)
    assert len(looks) == 3


def test_a_call_to_a_server_that_has_died_is_given_up(site: StandIn) -> None:
    dead = Server(unused_url(), ServerConfig())
    watch = Watch(dead, "1", site.variant.progress, counting(MAX_SILENT_SECONDS))
    assert (watch.look(), watch.look()) == (0.0, 0.0)
    with pytest.raises(ConnectionLost, match="does not answer"):
        watch.look()


def test_a_server_that_says_nothing_any_more_is_given_up_late(forge: StandIn) -> None:
    password = Server(forge.url, ServerConfig())
    forge.username = "ada"  # from now on every question is refused
    watch = Watch(password, "1", True, counting(MAX_SILENT_SECONDS * 0.4))
    assert watch.look() == 0.0
    with pytest.raises(ConnectionLost, match="any more"):
        [watch.look() for _ in range(9)]


def test_the_progress_of_a_queued_call_is_not_that_of_the_one_before(forge: StandIn) -> None:
    watch = Watch(Server(forge.url, ServerConfig()), "mine", True, FAST)
    forge.queued = "mine"
    forge.running = "somebody's"
    assert watch.look() == 0.0
    forge.queued, forge.running = "", "mine"
    assert watch.look() == 0.5
    forge.running = ""
    assert watch.look() == 0.5


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"sd-models": {}}, "lists its checkpoints in a way that is not A1111's"),
        ({"sd-models": []}, "has no checkpoint 'it'; it has none"),
        ({"sd-models": [1, {}, {"title": None}]}, "has no checkpoint 'it'; it has none"),
        (
            {"sd-models": [{"title": f"model {number}"} for number in range(12)]},
            "it has model 0, .* model 9 and 2 more",
        ),
        ({"samplers": [1, {"name": "DDIM", "aliases": None}]}, "'nope'; it has DDIM"),
    ],
)
def test_an_odd_list_is_said(forge: StandIn, overrides: dict[str, object], sentence: str) -> None:
    forge.overrides = {f"/sdapi/v1/{path}": answer for path, answer in overrides.items()}
    location = "it" if "sd-models" in overrides else ""
    with pytest.raises(UsageError, match=sentence):
        generate(forge.url, model=ModelConfig("it", location=location, sampler="nope"))


def test_a_server_without_lists_is_taken_at_its_word(forge: StandIn) -> None:
    paths = ("options", "loras", "samplers", "schedulers")
    forge.overrides = {f"/sdapi/v1/{path}": ABSENT for path in paths}
    model = ModelConfig("it", sampler="Euler", loras=(LoraConfig("film", "a/film.safetensors"),))
    generate(forge.url, model=model)
    body = forge.requests[0][1]
    assert body["sampler_name"] == "Euler"
    assert body["prompt"] == "a red heron <lora:film:1>"
    forge.overrides["/sdapi/v1/options"] = {"sd_model_checkpoint": "gone"}
    assert describe(ServerConfig((forge.url,)), None)["model"] == ""
