"""The script service's client: hashes, refusals with the template's own path, and outages."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from aiohttp import web

from bot.backends.deepsquare.sbatch_client import SbatchClient, template_path
from bot.domain.errors import SubmissionRejected, Unavailable
from bot.domain.workflow.document import EnvVar, Workflow
from tests.backends.jobs import submission
from tests.deepsquare.clients import IMPATIENT
from tests.deepsquare.testnet.sbatch import SbatchFaults, SbatchServer
from tests.deepsquare.testnet.service import Service

SECRET = "a secret prompt about a lighthouse"


def workflow(**env: str) -> Workflow:
    base = submission("job", "https://transfer.example.org").workflow
    more = tuple(EnvVar(key, value) for key, value in env.items())
    return replace(base, env=(*base.env, *more))


@asynccontextmanager
async def service(url: str, health: str = "http://127.0.0.1:1/") -> AsyncIterator[SbatchClient]:
    async with httpx.AsyncClient(verify=False) as http:
        yield SbatchClient(url, health, IMPATIENT, http=http)


@pytest.fixture
async def server() -> AsyncIterator[SbatchServer]:
    sbatch = SbatchServer(lambda: 0.0)
    await sbatch.service.start()
    yield sbatch
    await sbatch.service.stop()


@asynccontextmanager
async def answering(status: int, body: Any) -> AsyncIterator[tuple[SbatchClient, list[str]]]:
    """A service that always says the same, and what it was sent."""
    sent: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        sent.append(await request.text())
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=status, text=text, content_type="application/json")

    site = Service(web.post("/graphql", answer))
    await site.start()
    try:
        async with service(f"http://{site.host}/graphql") as client:
            yield client, sent
    finally:
        await site.stop()


async def test_a_job_document_becomes_a_script(server: SbatchServer) -> None:
    async with service(server.url) as client:
        script = await client.submit(workflow())
    assert server.fetch(script) == workflow().to_dict()


async def test_a_lone_surrogate_in_a_text_does_not_stop_a_submission() -> None:
    async with answering(200, {"data": {"submit": "script"}}) as (client, sent):
        await client.submit(workflow(PROMPT="half \ud83d of a pair"))
    assert sent[0].isascii()


async def test_graphql_submit_is_tried_again_after_a_lost_answer(server: SbatchServer) -> None:
    server.faults = SbatchFaults(lost=2)
    async with service(server.url) as client:
        assert await client.submit(workflow())
    assert server.submits == 3


@pytest.mark.parametrize("status", [500, 502, 503, 429])
async def test_graphql_submit_gives_up_on_a_service_that_stays_away(
    server: SbatchServer, status: int
) -> None:
    server.faults = SbatchFaults(status=status)
    async with service(server.url) as client:
        with pytest.raises(Unavailable, match=str(status)):
            await client.submit(workflow())
    assert server.posts == 1 + len(IMPATIENT.retries)


async def test_graphql_submit_is_not_tried_again_after_a_validation_error(
    server: SbatchServer,
) -> None:
    # A key that our own reader would refuse, so it can only be made by hand.
    bad = replace(workflow(), env=(EnvVar("GOOD", "1"), EnvVar("1BAD", SECRET)))
    async with service(server.url) as client:
        with pytest.raises(SubmissionRejected) as caught:
            await client.submit(bad)
    assert server.posts == 1
    assert str(caught.value).startswith("env[1].key: DeepSquare refuses the value")
    assert SECRET not in str(caught.value)
    assert "1BAD" not in str(caught.value)


async def test_an_internal_error_is_tried_again_once(server: SbatchServer) -> None:
    server.faults = SbatchFaults(internal=f"image not found {SECRET}")
    async with service(server.url) as client:
        with pytest.raises(SubmissionRejected, match="could not render") as caught:
            await client.submit(workflow())
    assert server.posts == 2
    assert SECRET not in str(caught.value)


async def test_an_empty_hash_is_never_taken_for_a_script(server: SbatchServer) -> None:
    server.faults = SbatchFaults(empty=True)
    async with service(server.url) as client:
        with pytest.raises(Unavailable, match="no script"):
            await client.submit(workflow())


async def test_a_proxys_page_is_an_outage(server: SbatchServer) -> None:
    server.faults = SbatchFaults(not_json=True)
    async with service(server.url) as client:
        with pytest.raises(Unavailable, match="without JSON"):
            await client.submit(workflow())


async def test_a_service_that_is_not_there_is_an_outage() -> None:
    async with service("http://127.0.0.1:1/graphql", "http://127.0.0.1:1/health") as client:
        with pytest.raises(Unavailable):
            await client.submit(workflow())
        assert "does not answer" in await client.find_problem()


async def test_a_field_that_the_schema_does_not_know_is_named_by_our_path() -> None:
    error = {
        "message": f"unknown field {SECRET}",
        "path": ["variable", "job", "steps", 0, "run", "shell"],
        "extensions": {"code": "GRAPHQL_VALIDATION_FAILED"},
    }
    async with answering(422, {"errors": [error], "data": None}) as (client, _):
        with pytest.raises(SubmissionRejected) as caught:
            await client.submit(workflow())
    assert str(caught.value).startswith("steps[0].run.shell:")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        [],
        "null",
        {"data": None},
        {"data": {"submit": 5}},
        {"data": {"submit": ""}},
        {"data": {"submit": "two words"}},
        {"data": {"submit": "x" * 500}},
        {"data": []},
        "x" * (1 << 21),
    ],
    ids=lambda body: str(body)[:20],
)
async def test_an_answer_without_a_script_is_an_outage(body: Any) -> None:
    async with answering(200, body) as (client, _):
        with pytest.raises(Unavailable):
            await client.submit(workflow())


@pytest.mark.parametrize("errors", [["text"], "text", [{}], [{"extensions": 3, "path": "x"}]])
async def test_errors_of_any_shape_are_a_refusal_even_beside_a_hash(errors: Any) -> None:
    async with answering(200, {"errors": errors, "data": {"submit": "script"}}) as (client, _):
        with pytest.raises(SubmissionRejected, match="schema"):
            await client.submit(workflow())


@pytest.mark.parametrize(
    ("namespace", "path"),
    [
        ("Job.Env[0].Key", "env[0].key"),
        ("Job.Steps[0].For.Steps[0].Run.Container.Image",) * 2,
        ("Job.Resources.MemPerCPU", "resources.memPerCpu"),
        ("Job.Steps[9].Run.Shell", "steps[9].run.shell"),
        ("Job.Env[0].Key'; DROP", "env[0]"),
        ("Job", "the job document"),
        ("", "the job document"),
    ],
)
def test_go_names_become_the_documents_own_path(namespace: str, path: str) -> None:
    found = template_path(namespace, workflow().to_dict())
    if namespace == path:
        path = "steps[0].for.steps[0].run.container.image"
    assert found == path


async def test_the_services_health_is_asked_at_its_own_address(server: SbatchServer) -> None:
    async with service(server.url, f"http://{server.service.host}/health") as client:
        assert await client.find_problem() == ""
    async with service(server.url, f"http://{server.service.host}/nothing") as client:
        assert await client.find_problem() != ""
