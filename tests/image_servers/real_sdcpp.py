"""The engine's suite against a real stable-diffusion.cpp: ``make test-sdcpp``.

Not collected by default, for it needs a program that takes minutes to build. SDCPP_SERVER names
it, SDCPP_MODEL a checkpoint; the random one will do.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from PIL import Image

from bot.txt2img.config import LoraConfig, ModelConfig
from bot.txt2img.engines.base import Batch
from bot.txt2img.plan import UsageError
from tests.image_servers.engine_suite import *  # noqa: F403
from tests.image_servers.engine_suite import BATCH, engine, generate

_START_SECONDS = 120.0


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("sdcpp") / "log"
    program, model = os.environ["SDCPP_SERVER"], os.environ["SDCPP_MODEL"]
    command = [
        program,
        "-m",
        os.path.realpath(model),
        "-l",
        "127.0.0.1",
        "--listen-port",
        str(port),
    ]
    # In an empty folder: it takes every .pth file around it for a LoRA.
    with (
        log.open("w") as out,
        subprocess.Popen(command, cwd=log.parent, stdout=out, stderr=out) as server,
    ):
        try:
            _wait_for(server, f"http://127.0.0.1:{port}", log)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.send_signal(signal.SIGKILL)


def _wait_for(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while True:
        try:
            httpx.get(f"{url}/sdapi/v1/sd-models")
        except httpx.TransportError:
            assert server.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < until, "it does not start"
            time.sleep(0.1)
        else:
            return


@pytest.fixture
def odd_size() -> int:
    return 70  # it makes 128 of it


def test_tags_in_a_prompt_do_not_change_the_job(url: str) -> None:
    plain = generate(url, replace(BATCH, prompts=("a heron",)))
    tag = '<sd_cpp_extra_args>{"width":128,"steps":1}</sd_cpp_extra_args>'
    assert generate(url, replace(BATCH, prompts=(f"a heron {tag}",))).size == plain.size


def test_the_server_obeys_the_tag_that_the_bot_removes(url: str) -> None:
    """Show that the tag acts, so that the test above can fail."""
    tag = '<sd_cpp_extra_args>{"width":128}</sd_cpp_extra_args>'
    body = {"prompt": f"a heron {tag}", "width": 64, "height": 64, "steps": 1, "seed": 1}
    answer = httpx.post(f"{url}/sdapi/v1/txt2img", json=body, timeout=300)
    without = httpx.post(
        f"{url}/sdapi/v1/txt2img", json={**body, "prompt": "a heron "}, timeout=300
    )
    assert len(answer.json()["images"][0]) > len(without.json()["images"][0])


def test_an_empty_prompt_and_an_unknown_sampler_and_lora_are_said(url: str) -> None:
    with pytest.raises(UsageError, match=r"\(400: prompt required\)"):
        generate(url, replace(BATCH, prompts=("",)))
    with pytest.raises(UsageError, match="has no sampler 'nope'; it has default, euler"):
        generate(url, model=ModelConfig("it", sampler="nope"))
    with pytest.raises(UsageError, match="has no LoRA 'film'; it has none"):
        generate(url, model=ModelConfig("it", loras=(LoraConfig("film", "film"),)))


@pytest.mark.parametrize("sampler", ["Euler a", "euler_a", "DPM++ 2M", "k_dpmpp_2m karras"])
def test_samplers_are_known_by_the_names_of_other_servers(url: str, sampler: str) -> None:
    one = engine(url, model=ModelConfig("it", sampler=sampler))
    one.generate(replace(BATCH, steps=1), lambda: None)
    assert one.report.sampler in ("euler_a", "dpm++2m")


def test_it_cannot_upscale(url: str) -> None:
    assert engine(url).upscale(Image.new("RGB", (9, 5)), 4) is None


def test_a_wrong_type_is_said(url: str) -> None:
    batch: Batch = replace(BATCH, scale="much")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"\(500: server_error: "):
        generate(url, batch)
