"""Test the ComfyUI engine when servers fail, restart, forget, or are several; and cancelling."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from PIL import Image

from bot.txt2img.engines.comfyui.graphs import stock_graph
from bot.txt2img.plan import UsageError
from tests.image_servers.comfyui import ComfyUI
from tests.image_servers.comfyui_nodes import Machine
from tests.unit.txt2img.comfyui_engines import (
    NO_STEP,
    ROW,
    SHORT,
    answering,
    batch,
    colours,
    engine,
    model,
    nodes,
    two_servers,
)

# A connection that is given up while it is made is closed by the garbage collector (aiohttp).
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def server() -> Iterator[ComfyUI]:
    with ComfyUI() as running:
        yield running


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads


def paint(*servers: ComfyUI | str, samples: int = 1, **options: Any) -> list[Any]:
    return colours(engine(*servers, **options).generate(batch(samples), NO_STEP))


def begin(
    threads: ThreadPoolExecutor, server: ComfyUI, *servers: ComfyUI, **options: Any
) -> Future[list[Any]]:
    """Start painting, and return when the first step is held."""
    server.hold()
    at_step = threading.Event()
    server.at_step = lambda _step: at_step.set()
    painting = threads.submit(paint, server, *servers, **options)
    assert at_step.wait(20)
    return painting


def html() -> web.Response:
    return web.Response(text="<!doctype html><title>router</title>", content_type="text/html")


# What a server answers that is no picture


def redirect() -> web.Response:
    return web.Response(status=302, headers={"Location": "https://elsewhere.example/x?key=1"})


@pytest.mark.parametrize(
    ("path", "answer", "sentence"),
    [
        ("/", html, "answers with a web page (status 200): it is no ComfyUI server"),
        ("/", lambda: web.Response(status=404, text="no"), "answers with something unknown"),
        ("/", lambda: web.Response(status=204), "answers with nothing"),
        ("/", redirect, "redirects to https://elsewhere.example/x: write that"),
        ("/", lambda: web.Response(status=401), "wants a user name and a password"),
        ("/", lambda: web.Response(status=403), "refuses requests from here"),
        ("/", lambda: web.Response(status=502), "is unavailable: it answers 502"),
        ("/prompt", lambda: web.Response(status=500, text="Oops"), "something unknown (status 500"),
        ("/prompt", lambda: web.Response(status=400, text="{}"), "refused the graph txt2img-sd"),
        ("/history", lambda: web.json_response([1]), "answers with something unknown"),
        ("/view", lambda: web.Response(body=b""), "a picture of 0 bytes: is its disk full?"),
        ("/view", lambda: web.Response(body=b"GIF89a"), "sent 6 bytes that are no whole picture"),
        ("/view", lambda: web.Response(status=404), "no longer has the picture"),
        ("/view", html, "bytes that are no whole picture"),
    ],
)
def test_a_wrong_answer_is_one_sentence(
    server: ComfyUI, path: str, answer: Callable[[], web.Response], sentence: str
) -> None:
    server.fault = answering(path, answer)
    with pytest.raises(UsageError) as caught:
        paint(server)
    text = str(caught.value)
    assert sentence in text
    assert "\n" not in text
    assert text.endswith((".", "?"))


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://127.0.0.1:1", "http://127.0.0.1:1 cannot be reached: Connection refused."),
        ("http://user:secret@127.0.0.1:1", "http://127.0.0.1:1 cannot be reached"),
        ("127.0.0.1:8188", "is no URL of a server: write http://HOST:PORT"),
        ("http://", "is no URL of a server"),
        ("ftp://127.0.0.1", "is no URL of a server"),
    ],
)
def test_a_wrong_url_is_one_sentence_without_secrets(url: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        paint(url)
    assert sentence in str(caught.value)
    assert "secret" not in str(caught.value)


def test_an_engine_without_a_url_says_so() -> None:
    with pytest.raises(UsageError, match="needs a url"):
        engine()


@pytest.mark.parametrize("cut", [40, -30])
def test_a_picture_that_is_cut_short_is_refused(server: ComfyUI, cut: int) -> None:
    paint(server)
    (whole,) = server.files.values()
    server.fault = answering("/view", lambda: web.Response(body=whole[:cut]))
    with pytest.raises(UsageError, match="no whole picture"):
        paint(server)


# Graphs that a server refuses


def refuse_checkpoint(machine: Machine) -> None:
    machine.checkpoints = ["other.safetensors", "a.ckpt"]


def refuse_checkpoint_of_many(machine: Machine) -> None:
    machine.checkpoints = [f"{number:02}.ckpt" for number in range(30)]


def lack_checkpoints(machine: Machine) -> None:
    machine.checkpoints = []


def lack_a_node(machine: Machine) -> None:
    machine.missing.add("LatentFromBatch")


@pytest.mark.parametrize(
    ("change", "options", "sentence"),
    [
        (
            refuse_checkpoint,
            {},
            "there is no checkpoint 'sd15.safetensors'; there are: a.ckpt, other.safetensors.",
        ),
        (refuse_checkpoint_of_many, {}, "there are: 00.ckpt, 01.ckpt"),
        (lack_checkpoints, {}, "there is no checkpoint 'sd15.safetensors'; there is none."),
        (lack_checkpoints, {"model": None}, "has no checkpoint: put one into its folder."),
        (lack_a_node, {}, "does not have the node LatentFromBatch of the graph txt2img-sd"),
        (lambda _: None, {"model": model(sampler="magic")}, "no sampler_name 'magic'; there are"),
        (lambda _: None, {"model": model(guidance=900.0)}, "takes cfg up to 100.0, not 900.0"),
    ],
)
def test_a_refused_graph_is_explained(
    server: ComfyUI, change: Callable[[Machine], None], options: dict[str, Any], sentence: str
) -> None:
    change(server.machine)
    with pytest.raises(UsageError) as caught:
        paint(server, **options)
    assert sentence in str(caught.value)
    assert len(str(caught.value)) < 700


def test_a_job_of_which_the_server_would_run_a_part_is_withdrawn(
    server: ComfyUI, tmp_path: Path
) -> None:
    # The other output is valid, so that the server answers 200 and runs that one alone.
    loader = {"class_type": "LoadImage", "inputs": {"image": "gone.png"}}
    save = {"class_type": "SaveImage", "inputs": {"images": ["load", 0], "filename_prefix": "x"}}
    stock = dict(stock_graph("txt2img", "sd").nodes)
    path = tmp_path / "graph.json"
    path.write_text(json.dumps({**stock, "load": loader, "preview": save}), encoding="utf-8")
    server.hold()
    with pytest.raises(UsageError, match=r"node load \(LoadImage\) refuses its input: Custom"):
        paint(server, graphs={"txt2img": str(path)})
    server.wait_until_idle()
    assert_withdrawn(server)
    assert server.files == {}


def test_a_picture_that_is_too_large_for_the_server_is_one_sentence(server: ComfyUI) -> None:
    server.fault = answering("/upload", lambda: web.Response(status=413))
    start = batch(init_image=Image.new("RGB", (64, 64)), strength=0.5)
    with pytest.raises(UsageError, match="takes no picture as large as this one"):
        engine(server).generate(start, NO_STEP)


def test_a_server_that_cannot_list_its_models_is_given_the_name_as_it_is(server: ComfyUI) -> None:
    server.fault = answering("/models", lambda: web.Response(status=404))
    assert len(paint(server)) == 1


# Restarts, lost answers and lost sockets


@pytest.mark.parametrize("path", ["/prompt", "/queue", "/models/checkpoints", "/view"])
def test_a_lost_answer_does_not_run_the_job_twice(server: ComfyUI, path: str) -> None:
    server.lost_answers = [path] * 2
    assert len(paint(server, model=None, timing=SHORT, samples=2)) == 2
    assert len(server.submitted) == 1


def test_a_lost_socket_costs_nothing_but_progress(
    server: ComfyUI, background: ThreadPoolExecutor
) -> None:
    painting = begin(background, server)
    server.drop_sockets()
    server.release()
    assert len(painting.result(20)) == 1
    assert len(server.submitted) == 1


def test_a_server_without_a_socket_is_asked_again_and_again(server: ComfyUI) -> None:
    server.fault = answering("/ws", lambda: web.Response(status=400))
    assert len(paint(server)) == 1


def test_a_job_that_a_restart_forgot_is_sent_again(
    server: ComfyUI, background: ThreadPoolExecutor, capsys: pytest.CaptureFixture[str]
) -> None:
    painting = begin(background, server)
    server.restart()
    assert len(painting.result(20)) == 1
    assert len(server.submitted) == 2
    assert "no longer has the job: it is sent again" in capsys.readouterr().err


def test_a_job_that_is_forgotten_again_and_again_fails(server: ComfyUI) -> None:
    # A proxy before several servers, say: nobody knows what another one was told.
    nothing: dict[str, list[object]] = {"queue_running": [], "queue_pending": []}
    server.fault = lambda request: (
        web.json_response(nothing if request.path == "/queue" else {})
        if request.path == "/queue" or request.path.startswith("/history")
        else None
    )
    with pytest.raises(UsageError, match="lost the job 3 times"):
        paint(server)


def test_a_restarted_process_finds_its_running_job(
    server: ComfyUI, background: ThreadPoolExecutor
) -> None:
    first = begin(background, server, environment=ROW)
    second = background.submit(paint, server, environment=ROW)
    server.release()
    assert first.result(20) == second.result(20)
    assert len(server.submitted) == 1
    # And when it is over: nothing runs again.
    assert paint(server, environment=ROW) == first.result()
    assert len(server.submitted) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"environment": {**ROW, "index": "2"}},
        {"environment": {**ROW, "GRIDBRUSH_JOB": "job-2"}},
        {"environment": ROW, "model": model(sampler="ddim")},
        {"environment": {}},
    ],
)
def test_another_row_job_or_request_is_another_prompt(
    server: ComfyUI, other: dict[str, Any]
) -> None:
    paint(server, environment=ROW)
    paint(server, **other)
    assert len(server.submitted) == 2


def test_after_a_failed_attempt_a_restarted_process_tries_anew(server: ComfyUI) -> None:
    server.machine.max_batch = 0
    with pytest.raises(UsageError):
        paint(server, environment=ROW)
    server.machine.max_batch = 64
    assert len(paint(server, environment=ROW)) == 1


def test_a_job_that_somebody_stops_at_the_server_fails_in_words(
    server: ComfyUI, background: ThreadPoolExecutor
) -> None:
    painting = begin(background, server)

    async def stop() -> None:
        server._interrupt = True
        server._moving.set()

    server.call(stop())
    with pytest.raises(UsageError, match="Somebody stopped the job"):
        painting.result(20)


# Several servers


def test_the_least_busy_server_takes_a_row(background: ThreadPoolExecutor) -> None:
    with two_servers() as (one, two):
        busy = begin(background, one)
        assert len(paint(one, two)) == 1
        assert len(two.submitted) == 1
        one.release()
        busy.result(20)


def test_rows_that_start_together_begin_with_different_servers() -> None:
    with two_servers() as (one, two):
        for row in range(1, 5):
            paint(one, two, row=row)
        assert (len(one.submitted), len(two.submitted)) == (2, 2)


@pytest.mark.parametrize(
    ("path", "answer"), [("/", html), ("/prompt", lambda: web.Response(status=503))]
)
def test_a_server_that_fails_is_left_out(
    path: str, answer: Callable[[], web.Response], capsys: pytest.CaptureFixture[str]
) -> None:
    with two_servers() as (bad, good):
        bad.fault = answering(path, answer)
        assert len(paint(bad, good, samples=2)) == 2
        assert len(good.submitted) == 1
        assert f"{bad.url} " in capsys.readouterr().err


def test_a_server_that_dies_with_a_row_is_left_out_and_the_row_sent_again(
    background: ThreadPoolExecutor,
) -> None:
    with two_servers() as (dying, other):
        painting = begin(background, dying, other, row=1)
        dying.stop()
        assert len(painting.result(20)) == 1
        assert len(other.submitted) == 1


def test_a_server_without_the_checkpoint_is_left_out() -> None:
    with ComfyUI(Machine(checkpoints=["x"])) as without, ComfyUI() as other:
        assert len(paint(without, other, row=1)) == 1
        assert nodes(other)["CheckpointLoaderSimple"]["ckpt_name"] == "sd15.safetensors"


def test_if_all_servers_fail_each_cause_is_named() -> None:
    with two_servers() as (one, two):
        one.fault = answering("/", html)
        two.machine.checkpoints = ["other"]
        with pytest.raises(UsageError) as caught:
            paint(one, two)
    assert "None of the ComfyUI servers" in str(caught.value)
    assert "a web page" in str(caught.value)
    assert "there are: other" in str(caught.value)


def test_without_a_user_there_is_no_password_and_never_an_origin(server: ComfyUI) -> None:
    seen: list[tuple[str | None, str | None]] = []

    def look(request: web.Request) -> None:
        seen.append((request.headers.get("Origin"), request.headers.get("Authorization")))

    server.fault = look
    paint(server)
    assert set(seen) == {(None, None)}
    seen.clear()
    paint(server, username="me", password="x")
    assert set(seen) == {(None, "Basic bWU6eA==")}


# Cancelling: SIGTERM in the process of the row


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def assert_withdrawn(server: ComfyUI) -> None:
    assert server.running is None
    assert server.waiting == []
    assert None not in server.interrupts  # a bare interrupt would stop whoever runs


def test_a_running_job_is_interrupted_by_its_id(server: ComfyUI) -> None:
    server.hold()
    server.at_step = lambda _step: terminate()
    with pytest.raises(SystemExit) as caught:
        paint(server)
    assert caught.value.code == 143
    (prompt_id,) = server.interrupts
    server.wait_until_idle()
    assert server.history[str(prompt_id)]["status"]["completed"] is False
    assert_withdrawn(server)


def test_a_waiting_job_is_deleted_and_the_running_one_goes_on(
    server: ComfyUI, background: ThreadPoolExecutor
) -> None:
    other = begin(background, server)
    done = threading.Event()

    def fault(request: web.Request) -> None:
        if server.waiting and not done.is_set():
            done.set()
            terminate()

    server.fault = fault
    with pytest.raises(SystemExit):
        paint(server, model=model(sampler="ddim"))
    assert server.interrupts == []
    assert server.waiting == []
    server.release()
    assert len(other.result(20)) == 1


def test_a_job_whose_sending_is_under_way_is_withdrawn_too(server: ComfyUI) -> None:
    server.hold()
    server.fault = lambda request: terminate() if request.path == "/prompt" else None
    with pytest.raises(SystemExit):
        paint(server)
    server.wait_until_idle()
    assert len(server.submitted) == 1
    assert_withdrawn(server)


def test_a_second_signal_does_not_hinder_the_withdrawal(server: ComfyUI) -> None:
    server.hold()
    server.at_step = lambda _step: terminate()
    server.fault = lambda request: terminate() if request.path == "/interrupt" else None
    with pytest.raises(SystemExit):
        paint(server)
    assert len(server.interrupts) == 1


def test_an_unreachable_server_does_not_hold_up_the_end(server: ComfyUI) -> None:
    server.hold()
    server.at_step = lambda _step: terminate()
    server.fault = lambda request: (
        web.Response(status=502) if server.running and request.path == "/queue" else None
    )
    with pytest.raises(SystemExit):
        paint(server)
