"""Each rule of DeepSquare's schema, broken once."""

from __future__ import annotations

import pytest

from bot.domain.errors import WorkflowError
from bot.domain.workflow.document import Workflow
from tests.unit.domain.job_documents import RUN, SMALL, Path, small

LOOP: Path = ("steps", 0, "for")


def problem(document: object) -> WorkflowError:
    with pytest.raises(WorkflowError) as caught:
        Workflow.from_dict(document)
    return caught.value


# One broken rule each: what is put where, which path is blamed, and what is said.
BROKEN: list[tuple[Path, object, str, str]] = [
    (("gpusPerTask",), 1, "gpusPerTask", "no such key here"),
    (("resources", "gpusPerTask"), 1, "resources.gpusPerTask", "Did you mean cpusPerTask"),
    (("resources", "zzz"), 1, "resources.zzz", "Known are: tasks, cpusPerTask, memPerCpu, gpus"),
    (("resources", "tasks"), 0, "resources.tasks", "0 is too small. Allowed is 1 to 2147483647"),
    (("resources", "gpus"), -1, "resources.gpus", "too small"),
    (("resources", "gpus"), 2**31, "resources.gpus", "too large"),
    (("resources", "gpus"), True, "resources.gpus", "must be a whole number, not true or false"),
    (("resources", "gpus"), "4", "resources.gpus", "must be a whole number, not text"),
    (("resources", "gpus"), 1.0, "resources.gpus", "must be a whole number, not a fraction"),
    (("resources", "gpus"), None, "resources.gpus", "must be a whole number, not empty"),
    (("resources",), [], "resources", "must be a mapping, not a list"),
    (("resources",), {}, "resources.tasks", "is missing"),
    (("env",), {}, "env", "must be a list, not a mapping"),
    (("env", 0, "key"), "1A", "env[0].key", "is not a name for an environment variable"),
    (("env", 0, "key"), "A\nB C", "env[0].key", "is not a name for an environment variable"),
    (("env", 0, "key"), "A\n", "env[0].key", "is not a name for an environment variable"),
    (("env", 0, "key"), "Ä", "env[0].key", "is not a name for an environment variable"),
    (("env", 0, "key"), "PATH", "env[0].key", "may not be set"),
    (("env", 0, "key"), "LD_LIBRARY_PATH", "env[0].key", "may not be set"),
    (("env", 0, "value"), 50, "env[0].value", "must be text, not a whole number. Put it in quo"),
    (("env", 0, "value"), None, "env[0].value", "must be text, not empty. Write text here"),
    (("env", 0, "value"), b"a", "env[0].value", "must be text, not a bytes"),
    (("env", 0, "value"), "a\0b", "env[0].value", "contains a NUL character"),
    (("env", 0, "value"), "\ud83d", "env[0].value", "lone surrogate"),
    (("enableLogging",), "true,", "enableLogging", "must be true or false, not text"),
    (("enableLogging",), 1, "enableLogging", "must be true or false, not a whole number"),
    (("inputMode",), 512, "inputMode", "512 is too large"),
    (("input", "s3"), SMALL["output"]["s3"], "input", "either http or s3"),  # type: ignore[index]
    (("input", "http"), None, "input", "either http or s3"),
    (("input", "http", "url"), "transfer.example.org", "input.http.url", "not an absolute URL"),
    (("input", "http", "url"), "", "input.http.url", "not an absolute URL"),
    (("input", "http", "url"), "https://a b", "input.http.url", "not an absolute URL"),
    (("output", "s3", "bucketUrl"), "s3://b/", "output.s3.bucketUrl", "is not a bucket"),
    (("output", "s3", "path"), "out", "output.s3.path", "is not an absolute path"),
    (("output", "s3", "endpointUrl"), "x", "output.s3.endpointUrl", "not an absolute URL"),
    (("steps",), None, "steps", "must be a list, not empty"),
    (("steps", 0, "name"), "", "steps[0].name", "is empty text. Leave the key out"),
    (("steps", 0, "run"), {"command": "x"}, "steps[0]", "has both run and for"),
    (("steps", 0), {"name": "x"}, "steps[0]", "does nothing"),
    (("steps", 0), {"steps": []}, "steps[0]", "does nothing"),
    (("steps", 2, "dependsOn", 0), "gb", "steps[2].dependsOn[0]", "was launched as gb"),
    (("steps", 1, "dependsOn"), ["bg"], "steps[1].dependsOn[0]", "was launched as bg"),
    (("steps", 2, "dependsOn", 0), "b-g", "steps[2].dependsOn[0]", "is not a handle name"),
    (("steps", 1, "launch", "handleName"), "b g", "steps[1].launch.handleName", "not a handle"),
    (
        ("steps", 1, "launch", "signalOnParentStepExit"),
        65,
        "steps[1].launch.signalOnParentStepExit",
        "too large",
    ),
    (("steps", 3, "use", "source"), "owner/modules", "steps[3].use.source", "module's source"),
    (("steps", 3, "use", "exportEnvAs"), "1", "steps[3].use.exportEnvAs", "is not a name"),
    (("steps", 3, "use", "args", 0, "key"), "a b", "steps[3].use.args[0].key", "is not a name"),
    (("steps", 4, "for", "items"), [], "steps[4].for", "either items or range"),
    (("steps", 4, "for", "items", 0), 7, "steps[4].for.items[0]", "must be text"),
    (("steps", 4, "for", "range"), {"begin": 1, "end": 1}, "steps[4].for", "either items or"),
    ((*LOOP, "range"), {"begin": 2, "end": 1}, "steps[0].for.range", "no number: from 2 to 1"),
    ((*LOOP, "range", "increment"), -1, "steps[0].for.range", "no number: from 1 to 2"),
    ((*LOOP, "range", "end"), "2", "steps[0].for.range.end", "must be a whole number"),
    ((*LOOP, "parallel"), "yes", "steps[0].for.parallel", "must be true or false"),
]

BROKEN_RUNS: list[tuple[Path, object, str, str]] = [
    (("command",), None, "command", "must be text"),
    (("shell",), "", "shell", "is empty text"),
    (("shell",), "/bin/zsh", "shell", "Allowed are: /bin/bash, /bin/ash, /bin/sh, ENTRYPOINT"),
    (("container",), None, "shell", "is only allowed with a container"),
    (("container", "image"), "Library/x", "container.image", "is not an image name"),
    (("container", "image"), "x@sha256:ab", "container.image", "is not an image name"),
    (("container", "image"), "", "container.image", "is not an image name"),
    (("container", "image"), "x:1\n", "container.image", "is not an image name"),
    (("container", "registry"), "r.example:5000", "container.registry", "not a bare host name"),
    (("container", "registry"), "https://r", "container.registry", "not a bare host name"),
    (("container", "registry"), "", "container.registry", "is empty text"),
    (("container", "password"), "", "container.password", "is empty text"),
    (("container", "mounts", 0, "hostDir"), "opt", "container.mounts[0].hostDir", "absolute path"),
    (("container", "mounts", 0, "options"), "x", "container.mounts[0].options", '"" (empty)'),
    (("resources", "tasks"), 0, "resources.tasks", "too small"),
    (("resources", "memPerCpu"), 0, "resources.memPerCpu", "too small"),
    (("network",), "bridge", "network", "Allowed are: host, slirp4netns, pasta"),
    (("dns",), ["9.9.9.9", "dns.example"], "dns[1]", "is not an IP address"),
    (("network",), "host", "dns", "is only allowed with a network of its own"),
    (("mapUid",), -1, "mapUid", "too small"),
    (("workDir",), "tmp", "workDir", "is not an absolute path"),
    (("mpi",), "openmpi", "mpi", "Allowed are: none, pmix_v4, pmi2"),
    (("mounts",), [], "mounts", "no such key here"),
    (("customNetworkInterfaces",), [{1: 2}], "customNetworkInterfaces[0]", "written as JSON"),
    (("customNetworkInterfaces",), [{1}], "customNetworkInterfaces[0]", "written as JSON"),
    (("customNetworkInterfaces",), [float("nan")], "customNetworkInterfaces[0]", "JSON"),
]


@pytest.mark.parametrize(("at", "value", "where", "said"), BROKEN)
def test_a_broken_rule_is_named_with_its_path_and_a_hint(
    at: Path, value: object, where: str, said: str
) -> None:
    error = problem(small((at, value)))
    assert error.location == where
    assert said in str(error)
    assert error.hint.endswith((".", "?"))


@pytest.mark.parametrize(("at", "value", "where", "said"), BROKEN_RUNS)
def test_a_broken_rule_of_a_command_is_named_with_its_path(
    at: Path, value: object, where: str, said: str
) -> None:
    error = problem(small(((*RUN, *at), value)))
    assert error.location == f"steps[0].for.steps[0].run.{where}"
    assert said in str(error)
