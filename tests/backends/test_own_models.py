"""A model of one's own from its settings to the local backend: downloaded once, then found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from bot.backends import open_backend
from bot.backends.base import Submission
from bot.bootstrap import load_templates
from bot.domain.events import Failed, FailureReason, Finished
from bot.domain.log_parser import LogItem, LogParser
from bot.settings import Settings
from tests.backends.conformance import ending
from tests.deepsquare.testnet.service import Service
from tests.stock_jobs import KEY, request, ticket

pytestmark = pytest.mark.timing(
    "watches job scripts as processes, which a busy machine starts and stops late"
)
WEIGHTS = b"weights of one's own"


@pytest.fixture
async def server() -> AsyncIterator[Service]:
    async def serve(request: web.Request) -> web.Response:
        served.append(request.path)
        return web.Response(body=WEIGHTS)

    served: list[str] = []
    service = Service(web.get("/mine.ckpt", serve))
    await service.start()
    yield service
    await service.stop()
    assert len(served) == 2, "one good download, and one that is not the chosen file"


def load_settings(folder: Path, url: str, backend: str = "local") -> Settings:
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    (folder / "config.toml").write_text(
        f'''
        [backend]
        kind = "{backend}"
        [backend.local]
        engine = "sketch"
        [models.mine]
        input = "{url}"
        sha256 = "{digest}"
        guidance = 6.5
        [models.mine.resources]
        memory_mb_per_task = 24000
        [models.wrong]
        input = "{url}"
        sha256 = "{"0" * 64}"
        [models.hosted]
        hosted = "sd-2-1"
        [imagine.resources]
        cpus_per_task = 4
        '''
    )
    return Settings.load(folder / "config.toml", {}, folder)


async def run(settings: Settings, job_id: str, model: str) -> list[LogItem]:
    backend = await open_backend("local", settings.backend_options())
    context = ticket(backend.upload_url(job_id))
    workflow = load_templates(settings).render_grid(replace(request(), model=model), context)
    submission = Submission(job_id, workflow)
    lines, _ = await ending(backend.follow(await backend.submit(submission)))
    parser = LogParser(KEY, 2)
    return [item for line in lines for item in parser.feed(line.data)]


async def test_a_model_is_downloaded_once_to_where_the_engine_looks_for_it(
    server: Service, tmp_path: Path
) -> None:
    settings = load_settings(tmp_path, f"http://{server.host}/mine.ckpt?token=secret")
    assert Finished(2, 0) in await run(settings, "first", "mine")
    config = json.loads((tmp_path / "data" / "local" / "txt2img.json").read_text())
    assert Path(config["models"]["mine"]["location"]).read_bytes() == WEIGHTS
    assert config["models"]["mine"]["location"].endswith(".ckpt")
    assert Finished(2, 0) in await run(settings, "again", "mine")
    items = await run(settings, "wrong", "wrong")
    assert [item.cause for item in items if isinstance(item, Failed)] == [
        FailureReason.MODEL_MISSING
    ]
    assert "secret" not in str(items)
    assert not Path(config["models"]["wrong"]["location"]).exists()


@pytest.mark.parametrize(
    ("backend", "model", "has_input", "environment", "memory"),
    [
        ("deepsquare", "mine", True, {"MODEL": "mine", "GUIDANCE": "6.5"}, 6000),
        ("deepsquare", "hosted", False, {"MODEL": "sd-2-1", "GUIDANCE": "", "MODEL_URL": ""}, 4000),
        ("local", "mine", False, {"MODEL": "mine", "MODEL_URL": "https://x/mine.ckpt"}, 6000),
    ],
)
def test_the_workflow_gets_the_model_s_settings(
    tmp_path: Path,
    backend: str,
    model: str,
    has_input: bool,
    environment: dict[str, str],
    memory: int,
) -> None:
    settings = load_settings(tmp_path, "https://x/mine.ckpt", backend)
    asked = replace(request(), model=model)
    workflow = load_templates(settings).render_grid(asked, ticket())
    assert (workflow.input is not None) is has_input
    rendered = {variable.key: variable.value for variable in workflow.env}
    assert rendered.items() >= environment.items()
    assert workflow.resources.mem_per_cpu == memory
    assert workflow.resources.cpus_per_task == 4
