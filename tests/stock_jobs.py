"""Jobs from the stock templates, and what is left when they have run on this machine."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bot.domain.log_parser import LogItem, LogParser
from bot.domain.request import Author, ChannelRef, InitImage, Request
from bot.domain.workflow.bash import ContainerStubs, ExecutionEnvironment, ProcessLauncher, to_bash
from bot.domain.workflow.document import Workflow
from bot.domain.workflow.template import RenderContext, Template, referenced_files, render

FOLDER = Path(__file__).parents[1] / "workflow_templates"
NAMES = ("stable-diffusion.yaml", "image-to-image.yaml", "upscale.yaml")
KEY = bytes(range(32))
SEED = 1000


def load(name: str, image: Path | None = None) -> Template:
    """The template; what it expects in its container's root is looked for below ``image``."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    if image is not None:
        for place in ("root=/stablediffusion", 'model="/models/$MODEL"'):
            assert place in text
            text = text.replace(place, place.replace("/", f"{image}/", 1))
    files = {
        file: (FOLDER / file).read_text(encoding="utf-8") for file in referenced_files(text, name)
    }
    return Template.load(text, name, files)


def request(rows: int = 2, samples: int = 2, prompt: str = "a cat", negative: str = "") -> Request:
    return Request(
        prompt=prompt,
        seed=SEED,
        steps=5,
        width=64,
        height=128,
        rows=rows,
        samples=samples,
        model="no-such-model",
        author=Author(0, "operator"),
        place=ChannelRef(),
        negative=negative,
    )


def ticket(upload: str = "https://transfer.example.org", **rest: str) -> RenderContext:
    return replace(RenderContext("job", KEY, upload), **rest)  # type: ignore[arg-type]


def site(folder: Path, **variables: str) -> ExecutionEnvironment:
    stand_in = {"PATH": f"{folder}:{os.environ['PATH']}", "DEVICE": "cpu", **variables}
    return ExecutionEnvironment(
        storage=str(folder / "scratch"),
        caches=str(folder / "caches"),
        result=str(folder / "result"),
        launcher=ProcessLauncher(),
        containers=ContainerStubs(
            {"library/stable-diffusion": stand_in, "library/upscaling": stand_in}
        ),
    )


def grids() -> Iterator[tuple[Workflow, int, int]]:
    template = load("stable-diffusion.yaml")
    for rows in range(1, 9):
        for samples in range(1, 5):
            yield render(template, request(rows, samples), ticket()), rows, samples


def upscaling(upload: str = "https://transfer.example.org", **rest: str) -> Workflow:
    given = {"input_url": "https://example.org/x.png", "input_sha256": "0" * 64, **rest}
    return render(load("upscale.yaml"), request(1, 1), ticket(upload, **given))


def varying(
    asked: Request,
    start: Path,
    where: RenderContext,
    *,
    strength: float = 0.5,
    image: Path | None = None,
) -> Workflow:
    """A grid that starts from the picture in a file, by default where it lies."""
    digest = hashlib.sha256(start.read_bytes()).hexdigest()
    if not where.input_url:
        where = replace(where, input_url=start.as_uri())
    asked = replace(asked, init_image=InitImage(digest, asked.width, asked.height, strength))
    where = replace(where, input_sha256=where.input_sha256 or digest)
    return render(load("image-to-image.yaml", image), asked, where)


@dataclass(frozen=True, slots=True)
class Done:
    """How a job ended: its status, its log's meaning, and what it published."""

    code: int
    parsed: tuple[LogItem, ...]
    log: str
    published: Path

    def all(self, kind: type[LogItem]) -> list[LogItem]:
        return [item for item in self.parsed if isinstance(item, kind)]

    def row(self, number: int) -> list[str]:
        """The fields that the painter wrote into a published row."""
        return (self.published / f"row-{number:02d}.png").read_text().strip().split("|")


def carry_out(workflow: Workflow, folder: Path, **variables: str) -> Done:
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (folder / "script.sh").write_text(to_bash(workflow, site(folder, **variables)))
    done = subprocess.run(
        ["bash", "script.sh"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
        check=False,
    )
    parsed = LogParser(KEY, workflow.resources.tasks).feed(done.stdout)
    return Done(done.returncode, parsed, done.stdout.decode(), folder / "published")
