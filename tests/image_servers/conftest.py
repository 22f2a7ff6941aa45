"""The servers that the protocol's tests run against: the stand-in, and a real one where there is.

``COMFYUI_DIR`` is a folder of ComfyUI: a server is started there on the CPU with the tests' node,
in a folder of its own for models, inputs and outputs. ``COMFYUI_URL`` is a running server that has
the node (copy tests/data/comfyui/gridbrush_test_node.py into its custom_nodes).
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.image_servers.comfyui import ComfyUI

NODE = Path(__file__).parents[1] / "data" / "comfyui" / "gridbrush_test_node.py"
START_SECONDS = 180.0


@pytest.fixture(scope="session")
def real_comfyui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if url := os.environ.get("COMFYUI_URL"):
        if "GridbrushTestSampler" not in httpx.get(f"{url}/object_info", timeout=60).json():
            pytest.skip(f"{url} lacks the node GridbrushTestSampler of {NODE.name}")
        yield url
    elif folder := os.environ.get("COMFYUI_DIR"):
        with started(Path(folder), tmp_path_factory.mktemp("comfyui")) as url:
            yield url
    else:
        pytest.skip("no real ComfyUI: set COMFYUI_DIR to its folder, or COMFYUI_URL")


@contextmanager
def started(program: Path, base: Path) -> Iterator[str]:
    """Start a server in ``base``; yield its URL when it answers."""
    (base / "custom_nodes").mkdir()
    shutil.copy(NODE, base / "custom_nodes")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    own = [program / name / "bin" / "python" for name in (".venv", "venv")]
    python = next((str(path) for path in own if path.exists()), sys.executable)
    python = os.environ.get("COMFYUI_PYTHON", python)
    options = ("--cpu", "--listen", "127.0.0.1", "--port", port, "--base-directory", str(base))
    url = f"http://127.0.0.1:{port}"
    with (base / "log").open("wb") as log:
        server = subprocess.Popen(
            [
                os.environ.get("COMFYUI_PYTHON", python),
                "main.py",
                *options,
                "--disable-auto-launch",
            ],
            cwd=program,
            stdout=log,
            stderr=log,
        )
    try:
        end = time.monotonic() + START_SECONDS
        while not answers(url):
            if server.poll() is not None or time.monotonic() > end:
                last = (base / "log").read_text(errors="replace")[-2000:]
                pytest.fail(f"ComfyUI in {program} does not start:\n{last}")
            time.sleep(0.2)
        yield url
    finally:
        server.terminate()
        server.wait(30)


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/system_stats", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(params=["stand-in", "real"])
def comfyui(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a server."""
    if request.param == "real":
        yield request.getfixturevalue("real_comfyui")
        return
    with ComfyUI() as server:
        yield server.url
