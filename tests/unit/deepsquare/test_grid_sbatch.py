"""The GraphQL endpoint, asked by httpx: the answers' exact shapes, and the hour of a script."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from bot.domain.errors import WorkflowError
from bot.domain.workflow.document import Workflow
from tests.backends.jobs import submission
from tests.deepsquare.testnet.client import MUTATION
from tests.deepsquare.testnet.sbatch import SbatchFaults, SbatchServer, ScriptGone

JOB = submission("job", "https://transfer.example.org").workflow.to_dict()


class Hours:
    """A clock in seconds that a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def hours() -> Hours:
    return Hours()


@pytest.fixture
async def sbatch(hours: Hours) -> AsyncIterator[SbatchServer]:
    server = SbatchServer(hours)
    await server.service.start()
    yield server
    await server.service.stop()


async def post(sbatch: SbatchServer, job: object, query: object = MUTATION) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        body = {"query": query, "variables": {"job": job}, "operationName": "Submit"}
        return await client.post(sbatch.url, json=body)


def changed(change: Callable[[Any], object]) -> dict[str, Any]:
    job = copy.deepcopy(JOB)
    change(job)
    return job


def at(*path: str | int, value: object) -> Callable[[Any], object]:
    """Puts a value into the document."""

    def change(job: Any) -> None:
        for part in path[:-1]:
            job = job[part]
        job[path[-1]] = value

    return change


RUN = ("steps", 1, "run")


async def test_a_job_gets_a_new_script_of_22_characters_each_time(sbatch: SbatchServer) -> None:
    scripts = set()
    for _ in range(2):
        answer = await post(sbatch, JOB)
        assert answer.status_code == 200
        assert set(answer.json()) == {"data"}
        scripts.add(answer.json()["data"]["submit"])
    assert [len(script) for script in scripts] == [22, 22]
    assert [sbatch.fetch(script) for script in scripts] == [JOB, JOB]
    assert sbatch.submits == 2


async def test_a_script_is_kept_for_an_hour(sbatch: SbatchServer, hours: Hours) -> None:
    script = (await post(sbatch, JOB)).json()["data"]["submit"]
    hours.now += 3600
    assert sbatch.fetch(script) == JOB
    hours.now += 1
    with pytest.raises(ScriptGone):
        sbatch.fetch(script)
    with pytest.raises(ScriptGone):
        sbatch.fetch("never seen")


@pytest.mark.parametrize("body", [b"{", b"[]", b"7", b'{"variables": {}}'])
async def test_a_body_that_is_no_request_is_a_400(sbatch: SbatchServer, body: bytes) -> None:
    async with httpx.AsyncClient() as client:
        headers = {"Content-Type": "application/json"}
        answer = await client.post(sbatch.url, content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["message"].startswith("json body could not be decoded")


@pytest.mark.parametrize(
    "query", ["", "mutation {", "mutation Submit($job: Job!) { cancel(job: $job) }", 7]
)
async def test_a_query_that_is_not_known_is_a_422(sbatch: SbatchServer, query: object) -> None:
    answer = await post(sbatch, JOB, query)
    assert answer.status_code == 422
    assert answer.json()["data"] is None
    assert answer.json()["errors"][0]["extensions"]["code"] == "GRAPHQL_PARSE_FAILED"


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (at("resources", "gpusPerTask", value=1), ["resources", "gpusPerTask"]),
        (at("resources", "gpus", value="4"), ["resources", "gpus"]),
        (at("resources", "tasks", value=True), ["resources", "tasks"]),
        (at("resources", "tasks", value=2**31), ["resources", "tasks"]),
        (at("steps", value=None), ["steps"]),
        (lambda job: job["resources"].pop("gpus"), ["resources", "gpus"]),
        (at("env", 0, "value", value=None), ["env", 0, "value"]),
        (at("steps", 0, value="no step"), ["steps", 0]),
        (at(*RUN, "mounts", value=[]), [*RUN, "mounts"]),
        (at(*RUN, "container", value={"image": 7}), [*RUN, "container", "image"]),
    ],
)
async def test_what_is_not_of_the_schemas_types_is_a_422(
    sbatch: SbatchServer, change: Callable[[Any], object], path: list[str | int]
) -> None:
    job = changed(change)
    answer = await post(sbatch, job)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["path"] == ["variable", "job", *path]
    assert error["extensions"] == {"code": "GRAPHQL_VALIDATION_FAILED"}
    assert answer.json()["data"] is None
    with pytest.raises(WorkflowError):
        Workflow.from_dict(job)


async def test_a_validation_error_has_the_exact_shape(sbatch: SbatchServer) -> None:
    answer = await post(sbatch, changed(at("env", 0, "key", value="1A")))
    assert answer.status_code == 200
    fields = '{"error": "valid_envvar_name", "field": "Key", "value": "1A"}'
    sentence = "Field 'Key' (='1A') is not a valid environment variable"
    original = "Key: 'Job.Env[0].Key' Error:Field validation for 'Key' failed on the"
    assert answer.json() == {
        "errors": [
            {
                "message": f"{sentence} {fields}",
                "path": ["submit"],
                "extensions": {
                    "type": "validation",
                    "tag": "valid_envvar_name",
                    "namespace": "Job.Env[0].Key",
                    "field": "Key",
                    "original_message": f"{original} 'valid_envvar_name' tag",
                },
            }
        ],
        "data": {"submit": ""},
    }


CONTAINER = {"image": "library/stable-diffusion:latest", "deepsquareHosted": True}


@pytest.mark.parametrize(
    ("change", "namespace", "tag"),
    [
        (at("resources", "tasks", value=0), "Resources.Tasks", "gte"),
        (at("resources", "gpus", value=-1), "Resources.Gpus", "gte"),
        (at("env", 0, "key", value="PATH"), "Env[0].Key", "ne"),
        (at("inputMode", value=512), "InputMode", "lt"),
        (at("output", value={"http": {"url": "here"}}), "Output.HTTP.URL", "url"),
        (
            at("steps", 1, "dependsOn", value=["a b"]),
            "Steps[1].DependsOn[0]",
            "alphanum_underscore",
        ),
        (at(*RUN, "shell", value=""), "Steps[1].Run.Shell", "oneof"),
        (at(*RUN, "workDir", value="here"), "Steps[1].Run.WorkDir", "startswith"),
        (at(*RUN, "dns", value=["nine"]), "Steps[1].Run.DNS[0]", "ip"),
        (at(*RUN, "resources", value={"tasks": 0}), "Steps[1].Run.Resources.Tasks", "gte"),
        (
            at(*RUN, "container", value={**CONTAINER, "image": "Upper/case"}),
            "Steps[1].Run.Container.Image",
            "valid_container_image_url_short",
        ),
        (
            at(*RUN, "container", value={**CONTAINER, "registry": "host:5000"}),
            "Steps[1].Run.Container.Registry",
            "hostname",
        ),
    ],
)
async def test_a_broken_rule_is_a_200_with_errors_and_an_empty_hash(
    sbatch: SbatchServer, change: Callable[[Any], object], namespace: str, tag: str
) -> None:
    job = changed(change)
    answer = await post(sbatch, job)
    assert answer.status_code == 200
    assert answer.json()["data"] == {"submit": ""}
    (error,) = answer.json()["errors"]
    assert error["extensions"]["namespace"] == f"Job.{namespace}"
    assert error["extensions"]["tag"] == tag
    assert sbatch.submits == 0
    with pytest.raises(WorkflowError):
        Workflow.from_dict(job)


async def test_a_name_with_a_newline_passes_as_it_does_there(sbatch: SbatchServer) -> None:
    answer = await post(sbatch, changed(at("env", 0, "key", value="A\nB C")))
    assert answer.json()["data"]["submit"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (at("steps", 1, "run", value={"command": "true", "shell": "/bin/sh"}), "wrong number"),
        (
            at(*RUN, "container", value={"image": "library/debian:12"}),
            "failed to fetch image library/debian:12",
        ),
        (at("steps", 1, value={"use": {"source": "github.com/a/b"}}), "module clone failed"),
    ],
)
async def test_what_the_renderer_cannot_do_is_an_internal_error(
    sbatch: SbatchServer, change: Callable[[Any], object], said: str
) -> None:
    answer = await post(sbatch, changed(change))
    assert answer.status_code == 200
    assert answer.json()["data"] == {"submit": ""}
    (error,) = answer.json()["errors"]
    assert error["extensions"] == {"type": "internal"}
    assert said in error["message"]


async def test_the_endpoint_fails_as_asked(sbatch: SbatchServer) -> None:
    sbatch.faults = SbatchFaults(status=502)
    assert (await post(sbatch, JOB)).status_code == 502
    sbatch.faults = SbatchFaults(not_json=True)
    assert (await post(sbatch, JOB)).text.startswith("<html>")
    sbatch.faults = SbatchFaults(empty=True)
    assert (await post(sbatch, JOB)).json() == {"data": {"submit": ""}}
    sbatch.faults = SbatchFaults(internal="redis: nil")
    assert (await post(sbatch, JOB)).json()["errors"][0]["message"] == "redis: nil"
    assert sbatch.submits == 0
    sbatch.faults = SbatchFaults(lost=1)
    with pytest.raises(httpx.RemoteProtocolError):
        await post(sbatch, JOB)
    assert (await post(sbatch, JOB)).json()["data"]["submit"]
    assert sbatch.submits == 2
    await sbatch.service.stop()
    with pytest.raises(httpx.ConnectError):
        await post(sbatch, JOB)


async def test_health_is_two_letters(sbatch: SbatchServer) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.get(sbatch.url.replace("graphql", "health"))
    assert answer.text == "ok"
