"""``gridbrush render``: print the workflow of a request without submitting it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
import yaml

from bot.backends.base import Submission
from bot.bootstrap import load_templates, render_local_script
from bot.cli import options
from bot.cli.app import ExitCode, load_settings, run_async
from bot.clock import utc_now
from bot.domain.job import job_id
from bot.domain.request import Author, ChannelRef, InitImage, Request, RequestOptions, random_seed
from bot.domain.workflow.template import RenderContext, redact
from bot.services.init_images import normalize
from bot.settings import Settings


class OutputFormat(StrEnum):
    """The output format of the workflow."""

    YAML = "yaml"
    JSON = "json"
    BASH = "bash"


@options.request_options
def render_(
    context: typer.Context,
    prompt: options.Prompt,
    chosen: RequestOptions,
    image: options.StartImage = None,
    form: Annotated[
        OutputFormat,
        typer.Option(
            "--format", help="A DeepSquare job document, or the script of the local backend."
        ),
    ] = OutputFormat.YAML,
) -> None:
    """Print the workflow of a request without submitting it.

    A picture to start from is named as it is, where it lies.

    The key that signs the log markers is masked, except in the script, which can be run.
    """
    run_async(_render(load_settings(context), prompt, chosen, image, form))


async def _render(
    settings: Settings,
    prompt: str,
    chosen: RequestOptions,
    image: Path | None,
    form: OutputFormat,
) -> ExitCode:
    templates = await asyncio.to_thread(load_templates, settings)
    limits = settings.limits(
        negative=templates.grid.supports_negative, img2img=templates.image is not None
    )
    source, start = "", None
    if image is not None:
        source, start = await asyncio.to_thread(_read_image, image, limits.strength)
    request = Request.parse(
        prompt,
        chosen,
        limits=limits,
        seed=random_seed(os.urandom(4)),
        author=Author(0, "operator"),
        place=ChannelRef(),
        init_image=start,
    )
    name = job_id(utc_now(), os.urandom(5))
    folder = settings.data.dir / "local" / "jobs" / name / "published"
    context = RenderContext(
        name,
        os.urandom(32),
        folder.as_uri(),
        input_url=source,
        input_sha256=start.sha256 if start else "",
    )
    if form is OutputFormat.BASH:
        # Only DeepSquare downloads a job's input: here a step does.
        workflow = replace(templates, platform_input=False).render_grid(request, context)
        print(await render_local_script(settings, Submission(name, workflow)), end="")
        return ExitCode.OK
    workflow = templates.render_grid(request, context)
    document = redact(workflow, templates.grid_template(request)).to_dict()
    if form is OutputFormat.JSON:
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        print(yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100))
    return ExitCode.OK


def _read_image(path: Path, strength: float) -> tuple[str, InitImage]:
    """Return URL and description of the picture. Raises InvalidRequest if unusable. Blocking."""
    data = path.read_bytes()
    image = InitImage(hashlib.sha256(data).hexdigest(), *normalize(data)[1], strength)
    return path.resolve().as_uri(), image


class _Dumper(yaml.SafeDumper):
    """YAML for people: multi-line strings as blocks, no aliases."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _block_text(dumper: _Dumper, text: str) -> yaml.Node:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _block_text)


def add_to(target: typer.Typer) -> None:
    """Add the command to the program."""
    target.command("render")(render_)
