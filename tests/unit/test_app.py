"""The composition root: what is wired, and what the operator is told when it cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.backends.base import Submission
from bot.bootstrap import load_templates, open_application, open_paid_backend, render_local_script
from bot.checks import run_checks
from bot.cli.job_runner import OPERATOR, FolderDelivery
from bot.clock import utc_now
from bot.domain.errors import ConfigError, RequestError
from bot.domain.job import JobState
from bot.domain.request import Author, ChannelRef, Request
from bot.settings import Settings

REQUEST = Request(
    prompt="a fox",
    seed=7,
    steps=2,
    width=64,
    height=64,
    rows=2,
    samples=2,
    model="sd-2-1",
    author=Author(0, "operator"),
    place=ChannelRef(),
)


def _settings(folder: Path, text: str = "") -> Settings:
    (folder / "config.toml").write_text(f'[backend]\nkind = "scripted"\n{text}', encoding="utf-8")
    return Settings.load(folder / "config.toml", {})


async def test_an_engine_carries_a_job_to_the_folder_it_is_told(tmp_path: Path) -> None:
    pictures = tmp_path / "elsewhere"
    async with open_application(
        _settings(tmp_path), transport=FolderDelivery(None), pictures=pictures
    ) as engine:
        job = await engine.worker.run(await engine.queue.submit_immediate(REQUEST))
        assert job.state is JobState.FINISHED
        assert job.delivery_method == "files"
        assert (pictures / job.id / "grid.png").is_file()
        assert engine.limits.rows == 4
        assert engine.limits.negative


async def test_a_job_without_a_handle_is_cancelled_by_its_runner(tmp_path: Path) -> None:
    async with open_application(_settings(tmp_path), transport=FolderDelivery(None)) as engine:
        job = await engine.queue.submit_immediate(REQUEST)
        await engine.queue.cancel(job.id, OPERATOR)
        stored = await engine.queue.jobs.get(job.id)
        assert stored is not None
        ended = await engine.worker.run(stored)
        assert ended.state is JobState.CANCELLED
        with pytest.raises(RequestError):
            await engine.queue.cancel("nothing", OPERATOR)


async def test_an_engine_wakes_its_dispatcher_for_a_request_from_a_channel(tmp_path: Path) -> None:
    async with open_application(_settings(tmp_path), transport=FolderDelivery(None)) as engine:
        assert engine.scheduler.running == 0
        assert await engine.scheduler.resume_jobs() == 0


async def test_a_folder_that_cannot_be_made_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    settings = _settings(tmp_path, '[data]\ndir = "taken/data"')
    with pytest.raises(ConfigError, match="Name a folder"):
        async with open_application(settings, transport=FolderDelivery(None)):
            pytest.fail("it opened")


def test_the_stock_templates_make_grids_and_upscale(tmp_path: Path) -> None:
    templates = load_templates(_settings(tmp_path))
    assert not templates.grid.needs_input
    assert templates.upscale is not None
    assert templates.upscale.needs_input
    assert templates.image is not None
    assert templates.image.starts_from_picture
    assert "oil" in templates.styles


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        ("", "image-to-image.yaml"),
        ('image_template = ""', None),
        ('template = "own.yaml"', None),
        ('template = "own.yaml"\nimage_template = "image-to-image"', "image-to-image.yaml"),
    ],
)
def test_an_own_template_needs_an_own_one_for_pictures(
    tmp_path: Path, lines: str, name: str | None
) -> None:
    stock = _settings(tmp_path).template_path("stable-diffusion")
    for file in (stock, stock.parent / "publisher.py"):
        target = tmp_path / file.name.replace(stock.name, "own.yaml")
        target.write_text(file.read_text())
    templates = load_templates(_settings(tmp_path, f"[imagine]\n{lines}"))
    assert (templates.image and templates.image.name) == name


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("stable-diffusion", "takes no prompt with a picture"),
        ("upscale", "takes no prompt with a picture"),
        ("own.yaml", "takes no negative prompt, but stable-diffusion does"),
    ],
)
def test_a_template_that_does_not_start_from_a_picture_is_refused(
    tmp_path: Path, name: str, problem: str
) -> None:
    own = (
        "gridbrush: 1\nabout: x\nparameters:\n"
        "  P: {from: prompt}\n  U: {from: input_url, type: url}\n"
        "  D: {from: input_sha256}\n  S: {from: strength}\njob:\n  enableLogging: true\n"
        "  resources: {tasks: 1, cpusPerTask: 1, memPerCpu: 1, gpus: 0}\n"
        "  steps: [{run: {command: 'true'}}]\n"
    )
    (tmp_path / "own.yaml").write_text(own)
    with pytest.raises(ConfigError, match=problem) as caught:
        load_templates(_settings(tmp_path, f'[imagine]\nimage_template = "{name}"'))
    assert "image_template" in caught.value.location


@pytest.mark.parametrize(
    ("template", "content", "problem"),
    [
        ("upscale", None, "starts from an image"),
        ("gone.yaml", None, "there is no file"),
        ("bytes.yaml", b"\xff\xfe\x00", "can't decode"),
        (
            "lost.yaml",
            b"gridbrush: 1\nabout: x\nparameters: {A: {file: lost.py}}\njob: {}\n",
            "lost.py",
        ),
    ],
)
def test_a_template_that_cannot_be_used_says_why(
    tmp_path: Path, template: str, content: bytes | None, problem: str
) -> None:
    if content is not None:
        (tmp_path / template).write_bytes(content)
    settings = _settings(tmp_path, f'[imagine]\ntemplate = "{template}"')
    with pytest.raises(ConfigError, match=problem) as caught:
        load_templates(settings)
    assert caught.value.hint


async def test_examining_finds_everything_at_once(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    text = '[backend.scripted]\nrecording = "gone"\n[imagine]\ntemplate = "upscale"\n'
    findings = await run_checks(_settings(tmp_path, f'{text}[data]\ndir = "taken"\n'))
    bad = {finding.name for finding in findings if not finding.ok}
    assert bad == {"templates", "database", "backend scripted"}
    assert all(finding.hint for finding in findings if not finding.ok)


async def test_the_script_is_the_local_backends_whatever_is_configured(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    async with open_application(settings, transport=FolderDelivery(None)) as engine:
        job = await engine.queue.submit_immediate(REQUEST)
        script = await render_local_script(
            settings, Submission(job.id, await engine.renderer.render(job))
        )
    assert script.startswith("#!")
    assert "a fox" in script


def test_the_present_moment_is_aware() -> None:
    assert utc_now().tzinfo is not None


async def test_a_backend_that_costs_nothing_has_no_wallet(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="costs nothing"):
        async with open_paid_backend(_settings(tmp_path, "")):
            pass
