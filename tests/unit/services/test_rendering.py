"""Rendering a stored job gives the same workflow before and after a restart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bot.domain.errors import ArtifactMissing, BotError, ConfigError
from bot.domain.grid import grid_geometry
from bot.domain.job import Job
from bot.domain.request import SourceImage
from bot.domain.workflow.document import Workflow
from tests.unit.services.harness import Harness, a_member, open_harness, stock_templates


def _env(workflow: Workflow) -> dict[str, str]:
    return {variable.key: variable.value for variable in workflow.env}


async def test_the_same_job_gives_the_same_workflow_after_a_restart(tmp_path: Path) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        job = await harness.submit(negative="fog", style="oil")
        before = await harness.renderer.render(job)
        key = await harness.renderer.mac_key(job.id)
    async with open_harness(tmp_path, dispatching=False) as harness:
        assert await harness.renderer.render(await harness.stored(job.id)) == before
    env = _env(before)
    assert env["MAC_KEY"] == key.hex()
    assert env["SEED_BASE"] == "7"
    assert env["PROMPT"].startswith("a lighthouse at dawn, oil painting")
    assert env["NEGATIVE_PROMPT"] == "fog"
    assert before.resources.tasks == 2


async def test_every_job_has_a_key_of_its_own(tmp_path: Path) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        first, second = await harness.submit(), await harness.submit()
        assert await harness.renderer.mac_key(first.id) != await harness.renderer.mac_key(second.id)
        with pytest.raises(BotError, match="there is no job"):
            await harness.renderer.mac_key("nothing")


async def _upscale(harness: Harness, parent: Job, row: int, column: int) -> Workflow:
    request = parent.request.upscale_of(parent.id, row, column)
    receipt = await harness.queue.submit(request, a_member())
    return await harness.renderer.render(receipt.job)


async def test_an_upscale_starts_from_the_right_box_of_the_right_strip(tmp_path: Path) -> None:
    async with open_harness(tmp_path) as harness:
        (parent,) = await harness.ended((await harness.submit()).id)
        env = _env(await _upscale(harness, parent, 2, 2))
        strip = parent.rows[1].artifact
        assert strip is not None
        assert env["INPUT_URL"].endswith("/input/row-02.png")  # a copy in the job's own folder
        assert strip.sha256 in env.values()
        box = grid_geometry(parent.request).cell_box(1, 2)
        assert ",".join(str(edge) for edge in box) in env.values()


async def test_an_upscale_of_what_was_never_there_is_refused(tmp_path: Path) -> None:
    async with open_harness(tmp_path, dispatching=False) as harness:
        parent = await harness.submit()
        with pytest.raises(ArtifactMissing, match="never published"):
            await _upscale(harness, parent, 1, 1)
        for origin in (
            SourceImage("nothing", 1, 1),
            SourceImage(parent.id, 3, 1),
            SourceImage(parent.id, 0, 1),
        ):
            orphan = replace(parent, request=replace(parent.request, origin=origin))
            with pytest.raises(ArtifactMissing, match="there is no row"):
                await harness.renderer.render(orphan)


async def test_without_a_template_that_upscales_the_operator_is_told(tmp_path: Path) -> None:
    templates = replace(stock_templates(tmp_path), upscale=None)
    async with open_harness(tmp_path, templates=templates, dispatching=False) as harness:
        parent = await harness.submit()
        with pytest.raises(ConfigError, match="no template upscales"):
            await _upscale(harness, parent, 1, 1)
