"""The stock grid in a real container of podman's, where podman can start one.

The image is made of this machine's own bash and Python, and has a few lines in place of
Stability's script. Where podman is not installed or cannot start a container (in a container, or
with hybrid cgroups) the test is skipped with podman's own reason, also in CI.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.backends import open_backend
from bot.backends.base import Submission
from bot.domain.events import Exited, Finished, RowReady
from bot.domain.log_parser import LogParser
from bot.domain.workflow.template import Template, render
from tests.backends.conformance import ending
from tests.stock_jobs import FOLDER, KEY, SEED, request, ticket

pytestmark = pytest.mark.timing("starts containers, which a busy machine starts late")

IMAGE = "gridbrush-test:latest"
PROGRAMS = ("bash", "cat", "grep", "mkdir", "mv", "printf", "sed", "env")

SCRIPT = """\
import argparse, os
parser = argparse.ArgumentParser()
for name in ("prompt", "outdir", "seed", "ckpt", "config", "precision", "device"):
    parser.add_argument("--" + name)
for name in ("n_iter", "n_samples", "steps", "W", "H"):
    parser.add_argument("--" + name, type=int)
opt = parser.parse_args()
os.makedirs(opt.outdir)
with open(os.path.join(opt.outdir, "grid-0000.png"), "w") as picture:
    print(opt.prompt, opt.seed, open(opt.ckpt).read(), os.getcwd(), file=picture)
"""


def podman(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["podman", *(str(word) for word in words)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def libraries(program: Path) -> set[Path]:
    """The shared libraries that the program is linked to."""
    done = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    return {Path(word) for word in done.stdout.split() if word.startswith("/")}


def write_image(archive: Path, programs: tuple[str, ...], *, python: bool) -> None:
    """Write an image's file system: programs with their libraries, and this Python."""
    with tarfile.open(archive, "w") as image:
        files = {f"/bin/{name}": Path(shutil.which(name) or name) for name in programs}
        if python:
            files["/usr/bin/python"] = Path(sys.executable).resolve()
            modules = Path(sysconfig.get_path("stdlib"))
            image.add(modules, filter=_without_packages)
            files |= {str(path): path for path in modules.glob("lib-dynload/*.so")}
            (archive.parent / "txt2img.py").write_text(SCRIPT)
            files["/stablediffusion/scripts/txt2img.py"] = archive.parent / "txt2img.py"
        needed = {library for path in files.values() for library in libraries(path)}
        files |= {str(library): library for library in needed}
        for name, path in files.items():
            image.add(path.resolve(), name)


def _without_packages(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    skipped = {"site-packages", "dist-packages", "test", "__pycache__", "lib-dynload"}
    return None if skipped & set(Path(entry.name).parts) else entry


@pytest.fixture
def image(tmp_path: Path) -> Iterator[None]:
    if shutil.which("podman") is None:
        pytest.skip("podman is not installed")
    archive = tmp_path / "image.tar"
    try:
        write_image(archive, ("bash",), python=False)
        podman("import", archive, f"localhost/{IMAGE}")
        flags = ("--rm", "--network=host", "--entrypoint=")
        probe = podman("run", *flags, f"localhost/{IMAGE}", "/bin/bash", "-c", "exit 7")
        if probe.returncode != 7:
            pytest.skip(f"podman cannot start a container here: {probe.stderr.strip()}")
        write_image(archive, PROGRAMS, python=True)
        podman("import", archive, f"localhost/{IMAGE}")
        yield
    finally:
        podman("rmi", f"localhost/{IMAGE}")


async def test_the_stock_grid_runs_in_a_real_container(image: None, tmp_path: Path) -> None:
    models = tmp_path / "models"
    (models / "no-such-model").mkdir(parents=True)
    (models / "no-such-model" / "model.ckpt").write_text("weights")
    text = (FOLDER / "stable-diffusion.yaml").read_text(encoding="utf-8")
    for old, new in (
        ("registry: registry-1.deepsquare.run", "registry: localhost"),
        ("library/stable-diffusion:latest", IMAGE),
        ("hostDir: /opt/models/stable-diffusion", f"hostDir: {models}"),
        ("-lt 65536", "-lt 1"),
    ):
        text = text.replace(old, new)
    files = {"publisher.py": (FOLDER / "publisher.py").read_text(encoding="utf-8")}
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}
    options = {"data_dir": tmp_path, "container": "podman", "environ": environ, "device": "cpu"}
    backend = await open_backend("local", options)
    context = ticket(backend.upload_url("contained"))
    workflow = render(Template.load(text, "grid", files), request(prompt="a cat's"), context)
    submission = Submission("contained", workflow)
    lines, last = await ending(backend.follow(await backend.submit(submission)))
    parser = LogParser(KEY, 2)
    events = [event for line in lines for event in parser.feed(line.data)]
    log = b"".join(line.data for line in lines).decode()
    assert last == Exited(0), log
    assert Finished(2, 0) in events
    for event in events:
        if isinstance(event, RowReady):
            row = tmp_path / f"row-{event.row}"
            await backend.fetch(event.artifact, row)
            assert row.read_text() == f"a cat's {SEED + event.row - 1} weights /deepsquare\n"
