"""The stock template's resources and a model of one's own, on the test grid."""

from __future__ import annotations

import hashlib
import io
import tarfile
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from bot.backends.base import Submission
from bot.domain.events import Exited, Failed, FailureReason, Finished, RowStarted
from bot.domain.log_parser import LogItem, LogParser
from bot.domain.resources import DEFAULT_RESOURCES, ResourceRequest
from bot.domain.workflow.document import Workflow
from bot.domain.workflow.template import WorkflowModel
from bot.services.rendering import WorkflowTemplates
from tests.backends.conformance import ending
from tests.deepsquare.clients import open_client
from tests.deepsquare.testnet.site import TestGrid
from tests.stock_jobs import KEY, load, request, ticket

pytestmark = pytest.mark.timing(
    "watches a real EVM node and its services, which a busy machine makes late"
)
WEIGHTS = b"weights of one's own"
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


def grid_workflow(
    upload: str, own: WorkflowModel, resources: ResourceRequest, rows: int = 2
) -> Workflow:
    templates = WorkflowTemplates(
        load("stable-diffusion.yaml"),
        None,
        {},
        models={"no-such-model": own},
        model_resources={"no-such-model": resources},
        platform_input=True,
    )
    return templates.render_grid(request(rows), ticket(upload))


async def test_the_price_follows_the_resources_of_the_request(
    grid: TestGrid, tmp_path: Path
) -> None:
    # A small lock: the price of an unmeasured job is then that of two minutes.
    client = await open_client(grid, tmp_path, lock_credits=Decimal(1))
    for resources, per_task in (
        (DEFAULT_RESOURCES, "11.68"),  # 2 x 0.95 + 16,000 x 0.00008 + 8.5
        (ResourceRequest(8, 16_000, 1), "17.38"),
        (ResourceRequest(2, 32_000, 1), "12.96"),
        (ResourceRequest(8, 64_000, 0), "12.72"),
    ):
        upload = "https://transfer.example.org"
        workflow = grid_workflow(upload, WorkflowModel(), resources, rows=8)
        quote = await client.price(workflow)
        assert quote.credits == 2 * 8 * Decimal(per_task)
    await client.aclose()


def tar(**files: bytes) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return target.getvalue()


async def run(grid: TestGrid, tmp_path: Path, name: str, file: bytes | None) -> list[LogItem]:
    """Run a grid whose model is this file, or an address at which there is none."""
    url = f"{grid.transfer.url}gone/mine"
    if file is not None:
        async with httpx.AsyncClient() as http:
            url = (await http.put(f"{grid.transfer.url}mine", content=file)).text
    client = await open_client(grid, tmp_path)
    own = WorkflowModel(url=url, sha256=SHA256)
    workflow = grid_workflow(client.upload_url(name), own, DEFAULT_RESOURCES)
    lines, last = await ending(client.follow(await client.submit(Submission(name, workflow))))
    await client.aclose()
    parser = LogParser(KEY, 2)
    return [*(item for line in lines for item in parser.feed(line.data)), *parser.close(), last]


@pytest.mark.parametrize("file", [WEIGHTS, tar(model=WEIGHTS, other=b"x")], ids=["file", "tar"])
async def test_the_platform_downloads_a_model_and_its_first_step_checks_it(
    grid: TestGrid, tmp_path: Path, file: bytes
) -> None:
    items = await run(grid, tmp_path, "own", file)
    assert Finished(2, 0) in items
    assert (await grid.job("own")).gpus == 2


@pytest.mark.parametrize("file", [WEIGHTS + b"!", None], ids=["wrong digest", "not there"])
async def test_a_model_that_cannot_be_used_starts_no_row(
    grid: TestGrid, tmp_path: Path, file: bytes | None
) -> None:
    items = await run(grid, tmp_path, "own", file)
    failed = [item for item in items if isinstance(item, Failed)]
    if file is not None:
        assert [item.cause for item in failed] == [FailureReason.MODEL_MISSING]
        assert "is not the one that was chosen" in failed[0].message
    assert not any(isinstance(item, RowStarted) for item in items)
    last = items[-1]
    assert isinstance(last, Exited)
    assert last.code == (8 if file is None else 1)
