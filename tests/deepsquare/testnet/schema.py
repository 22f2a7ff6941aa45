"""The GraphQL schema's types for a job, and how gqlgen checks a variable against them.

Only names, types and nullability: what a value must look like is ``rules``'. Unknown fields, wrong
types and missing required fields are one error each, and the request is refused before anything
else is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Path = tuple[str | int, ...]

TYPES: dict[str, dict[str, str]] = {
    "Job": {
        "resources": "JobResources!",
        "env": "[EnvVar!]",
        "enableLogging": "Boolean",
        "input": "TransportData",
        "inputMode": "Int",
        "steps": "[Step!]!",
        "output": "TransportData",
        "continuousOutputSync": "Boolean",
        "virtualNetworks": "[VirtualNetwork!]",
    },
    "JobResources": {"tasks": "Int!", "cpusPerTask": "Int!", "memPerCpu": "Int!", "gpus": "Int!"},
    "EnvVar": {"key": "String!", "value": "String!"},
    "TransportData": {"http": "HTTPData", "s3": "S3Data"},
    "HTTPData": {"url": "String!"},
    "S3Data": {
        "region": "String!",
        "bucketUrl": "String!",
        "path": "String!",
        "accessKeyId": "String!",
        "secretAccessKey": "String!",
        "endpointUrl": "String!",
        "deleteSync": "Boolean",
    },
    "Step": {
        "name": "String",
        "dependsOn": "[String!]",
        "if": "String",
        "steps": "[Step!]",
        "run": "StepRun",
        "for": "StepFor",
        "launch": "StepAsyncLaunch",
        "use": "StepUse",
        "catch": "[Step!]",
        "finally": "[Step!]",
    },
    "StepRun": {
        "command": "String!",
        "shell": "String",
        "resources": "StepRunResources",
        "container": "ContainerRun",
        "network": "String",
        "dns": "[String!]",
        "customNetworkInterfaces": "[NetworkInterface!]",
        "env": "[EnvVar!]",
        "mapUid": "Int",
        "mapGid": "Int",
        "workDir": "String",
        "disableCpuBinding": "Boolean",
        "mpi": "String",
    },
    "StepRunResources": {
        "tasks": "Int",
        "cpusPerTask": "Int",
        "memPerCpu": "Int",
        "gpusPerTask": "Int",
    },
    "ContainerRun": {
        "image": "String!",
        "registry": "String",
        "apptainer": "Boolean",
        "deepsquareHosted": "Boolean",
        "username": "String",
        "password": "String",
        "mounts": "[Mount!]",
        "mountHome": "Boolean",
        "readOnlyRootFS": "Boolean",
        "x11": "Boolean",
    },
    "Mount": {"hostDir": "String!", "containerDir": "String!", "options": "String!"},
    "StepFor": {
        "parallel": "Boolean!",
        "items": "[String!]",
        "range": "ForRange",
        "steps": "[Step!]!",
    },
    "ForRange": {"begin": "Int!", "end": "Int!", "increment": "Int"},
    "StepAsyncLaunch": {
        "handleName": "String",
        "signalOnParentStepExit": "Int",
        "steps": "[Step!]!",
    },
    "StepUse": {
        "source": "String!",
        "args": "[EnvVar!]",
        "exportEnvAs": "String",
        "steps": "[Step!]",
    },
}

_SCALARS = {"String": str, "Int": int, "Boolean": bool}
# Their fields are not known here, and no workflow of this project uses them.
_OPAQUE = ("VirtualNetwork", "NetworkInterface")


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One error of a variable; the path begins below ``variable``."""

    path: Path
    message: str


def mismatches(value: Any, kind: str = "Job!", path: Path = ("job",)) -> list[Mismatch]:
    """Everything in which ``value`` is not of the GraphQL type ``kind``."""
    required = kind.endswith("!")
    kind = kind.removesuffix("!")
    if value is None:
        return [Mismatch(path, "cannot be null")] if required else []
    if kind.startswith("["):
        items = value if isinstance(value, list) else [value]  # GraphQL makes a list of one
        inner = kind[1:-1]
        return [
            found
            for position, item in enumerate(items)
            for found in mismatches(item, inner, (*path, position))
        ]
    if kind in _OPAQUE:
        return []
    if kind in _SCALARS:
        good = type(value) is _SCALARS[kind] and _fits(value)
        return [] if good else [Mismatch(path, f"cannot use {type(value).__name__} as {kind}")]
    if not isinstance(value, dict):
        return [Mismatch(path, f"must be a {kind}")]
    return _fields(value, TYPES[kind], path)


def _fields(value: dict[str, Any], fields: dict[str, str], path: Path) -> list[Mismatch]:
    found = [Mismatch((*path, key), "unknown field") for key in value if key not in fields]
    for key, kind in fields.items():
        if key in value:
            found += mismatches(value[key], kind, (*path, key))
        elif kind.endswith("!"):
            found.append(Mismatch((*path, key), "must be defined"))
    return found


def _fits(value: object) -> bool:
    """Whether a number is a GraphQL Int."""
    return not isinstance(value, int) or -(2**31) <= value < 2**31
