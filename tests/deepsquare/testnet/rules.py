"""The service's own rules for a job of the right shape, and where its renderer gives up.

Written from the service's documented behaviour and not from ``bot.domain``: both must refuse what
is wrong, each for itself. Names in errors are the service's Go names.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.deepsquare.testnet.schema import TYPES

_GO = {"env": "Env", "dns": "DNS", "http": "HTTP", "url": "URL", "readOnlyRootFS": "ReadOnlyRootFS"}


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule: the validator's tag, and the field by its Go path."""

    namespace: str
    tag: str
    value: Any
    sentence: str

    def error(self) -> dict[str, Any]:
        """As it stands in the answer."""
        field = self.namespace.rpartition(".")[2]
        facts = f'{{"error": "{self.tag}", "field": "{field}", "value": "{self.value}"}}'
        original = f"Key: '{self.namespace}' Error:Field validation for '{field}' failed"
        return {
            "message": f"Field '{field}' (='{self.value}') {self.sentence} {facts}",
            "path": ["submit"],
            "extensions": {
                "type": "validation",
                "tag": self.tag,
                "namespace": self.namespace,
                "field": field,
                "original_message": f"{original} on the '{self.tag}' tag",
            },
        }


@dataclass(frozen=True, slots=True)
class Rule:
    """What a value must fulfil."""

    tag: str
    holds: Callable[[Any], bool]
    sentence: str = "is not valid"


def _at_least(least: int) -> Rule:
    return Rule("gte", lambda value: value >= least)


def _one_of(*words: str) -> Rule:
    return Rule("oneof", lambda value: value in words)


def _like(tag: str, pattern: str, sentence: str = "is not valid") -> Rule:
    # Each line is looked at by itself, and one good line will do: so does the service.
    compiled = re.compile(f"^(?:{pattern})$", re.MULTILINE | re.ASCII)
    return Rule(tag, lambda value: bool(compiled.search(value)), sentence)


def _is_url(value: str) -> bool:
    parts = urlsplit(value)
    return bool(parts.scheme and (parts.netloc or parts.path))


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


_ENV_NAME = _like(
    "valid_envvar_name", "[a-zA-Z_][a-zA-Z0-9_]*", "is not a valid environment variable"
)
_NOT_RESERVED = Rule("ne", lambda value: value not in ("PATH", "LD_LIBRARY_PATH"))
_ABSOLUTE = Rule("startswith", lambda value: value.startswith("/"))
_HANDLE = _like("alphanum_underscore", "[A-Za-z0-9_]+")
_URL = Rule("url", _is_url)
RULES: dict[tuple[str, str], tuple[Rule, ...]] = {
    ("JobResources", "tasks"): (_at_least(1),),
    ("JobResources", "cpusPerTask"): (_at_least(1),),
    ("JobResources", "memPerCpu"): (_at_least(1),),
    ("JobResources", "gpus"): (_at_least(0),),
    ("Job", "inputMode"): (Rule("lt", lambda value: value < 512),),
    ("EnvVar", "key"): (_ENV_NAME, _NOT_RESERVED),
    ("HTTPData", "url"): (_URL,),
    ("S3Data", "bucketUrl"): (
        Rule("startswith", lambda value: value.startswith("s3://")),
        Rule("endsnotwith", lambda value: not value.endswith("/")),
    ),
    ("S3Data", "path"): (_ABSOLUTE,),
    ("S3Data", "endpointUrl"): (_URL,),
    ("Step", "dependsOn"): (_HANDLE,),
    ("StepAsyncLaunch", "handleName"): (_HANDLE,),
    ("StepRun", "shell"): (_one_of("/bin/bash", "/bin/ash", "/bin/sh", "ENTRYPOINT"),),
    ("StepRun", "network"): (_one_of("host", "slirp4netns", "pasta"),),
    ("StepRun", "dns"): (Rule("ip", _is_address),),
    ("StepRun", "workDir"): (_ABSOLUTE,),
    ("StepRun", "mpi"): (_one_of("none", "pmix_v4", "pmi2"),),
    ("StepRunResources", "tasks"): (_at_least(1),),
    ("StepRunResources", "cpusPerTask"): (_at_least(1),),
    ("StepRunResources", "memPerCpu"): (_at_least(1),),
    ("StepRunResources", "gpusPerTask"): (_at_least(0),),
    ("ContainerRun", "image"): (
        _like("valid_container_image_url_short", "/.*|[a-z0-9/._-]+(:[A-Za-z0-9._:-]+)?"),
    ),
    ("ContainerRun", "registry"): (_like("hostname", "[A-Za-z0-9.-]+"),),
    ("Mount", "hostDir"): (_ABSOLUTE,),
    ("Mount", "containerDir"): (_ABSOLUTE,),
    ("Mount", "options"): (_one_of("ro", "rw", ""),),
    ("StepUse", "exportEnvAs"): (_ENV_NAME, _NOT_RESERVED),
}


def violations(job: dict[str, Any]) -> list[Violation]:
    """The first broken rule of every field, in the document's own order."""
    return list(_violations(job, "Job", "Job"))


def _violations(value: dict[str, Any], kind: str, namespace: str) -> Iterator[Violation]:
    for key, part in value.items():
        if part is None:
            continue
        inner = TYPES[kind][key].replace("!", "").strip("[]")
        name = f"{namespace}.{_GO.get(key, key[0].upper() + key[1:])}"
        numbered = isinstance(part, list)
        for position, item in enumerate(part if numbered else [part]):
            here = f"{name}[{position}]" if numbered else name
            broken = [rule for rule in RULES.get((kind, key), ()) if not rule.holds(item)]
            if broken:
                yield Violation(here, broken[0].tag, item, broken[0].sentence)
            elif inner in TYPES:
                yield from _violations(item, inner, here)


def rendering_problem(job: dict[str, Any]) -> str | None:
    """Why the renderer would fail on a job that passed validation, if it would."""
    for step in _steps(job["steps"]):
        run = step.get("run")
        if step.get("use") is not None:
            return f"module clone failed: {step['use']['source']}: repository not found"
        if run is None or step.get("steps"):
            continue
        container = run.get("container")
        if container is None:
            if run.get("shell"):
                return "template: wrong number of args for not: want 1 got 2"
            continue
        absolute = container["image"].startswith("/")
        if not (container.get("deepsquareHosted") or absolute):
            return f"failed to fetch image {container['image']}: no registry answers here"
    return None


def _steps(steps: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for step in steps:
        yield step
        for key in ("steps", "catch", "finally"):
            yield from _steps(step.get(key) or [])
        for key in ("for", "launch", "use"):
            yield from _steps((step.get(key) or {}).get("steps") or [])
